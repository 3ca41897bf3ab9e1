"""The funnel: scores of vectors whose losses are worked out by hand, and what is refused."""

from __future__ import annotations

import json
from math import log2
from typing import Any

import numpy as np
import pytest

from harness.disk import cache_root
from harness.encoders import ENCODERS
from harness.errors import InputError
from harness.frames import Frame
from harness.indexes import INDEXES, Index
from harness.indexes.hnswlib_graph import Hnswlib
from harness.progress import silent
from harness.session import Session
from harness.stats import Estimate
from harness.store import Store
from harness.studies import Findings
from harness.studies.funnel import STAGES, Funnel, headline
from harness.tasks import load
from harness.vectors import Dense
from tests.fakes import Counting, beir

TASK = "limit,docs=60,queries=30,k=3,attributes=5"
MODEL = "hashing,dim=24"
SECOND = 1 / log2(3)  # what a document at rank 2 adds to DCG


def store() -> Store:
    return Store(cache_root())


def study(model, task, index, *, store, progress=silent) -> Findings:
    return Funnel(index).run(Session(store, progress=progress), [model], task)


def scores(found: Findings) -> list[float]:
    """Of the stages, in order."""
    return [one.mean for one in found["stages"].estimates("score")]


def losses(found: Findings) -> list[Any]:
    """Of the stages but the best possible, in order."""
    return found["stages"].estimates("lost")


@pytest.fixture
def given(monkeypatch, tmp_path):
    """Score a task whose vectors are given, by the funnel's stages."""

    def run(similarity, query, documents, *, index="exact", judged=("a",), gain=1, **options):
        rows = {"q": query, **documents}

        class Given(Counting):
            @property
            def similarity(self):
                return similarity

            def vector(self, text, role):
                return np.array(rows[text], np.float32)

        monkeypatch.setattr(ENCODERS, "create", lambda spec: Given())
        texts = {name: name for name in documents}
        task = beir(tmp_path / "given", texts, {"q": "q"}, [("q", id, gain) for id in judged])
        found = study("given", task, index, store=Store(tmp_path / "s"), **options)
        return found, scores(found)

    return run


def test_cosine_vectors_of_different_length_lose_by_inner_product_and_euclid(given):
    # by cosine a is first; by inner product b, 9 > 2; by distance c is nearest, then a
    documents = {"a": [2, 0], "b": [9, 9], "c": [1, 0.4]}
    found, made = given("cosine", [1, 0], documents)
    assert made == pytest.approx([1, 1, SECOND, SECOND, 1])
    assert list(found["stages"]["stage"]) == [
        "best possible",
        "exact, cosine",
        "exact, inner product of vectors as they are",
        "exact, Euclidean distance",
        "exact",
    ]
    assert losses(found)[1].mean == pytest.approx(1 - SECOND)
    assert list(found["stages"]["beside"]) == [
        None, "best possible", *["exact, cosine"] * 3
    ]  # fmt: skip
    [about] = found["vectors"].records()
    assert (about["shortest"], about["longest"]) == pytest.approx((1, 162**0.5))
    assert "vectors have lengths 1 to 12.7" in found["stages"]["what it means"][2]
    assert list(found["stages"]["same nearest"]) == [None, 1, 1, 1, 1]  # all three are returned


def test_a_model_of_inner_products_loses_by_cosine(given):
    # b scores highest by inner product, a by cosine and by distance
    documents = {"a": [2, 0], "b": [9, 9], "c": [0, 1]}
    found, made = given("dot", [1, 0], documents, judged=("b",))
    assert made == pytest.approx([1, 1, SECOND, 0.5, 1])
    assert list(found["stages"]["stage"][1:4]) == [
        "exact, inner product",
        "exact, cosine",
        "exact, Euclidean distance",
    ]


def test_vectors_that_are_wrong_lose_what_the_best_possible_had(given):
    found, made = given("cosine", [1, 0], {"a": [0, 1], "b": [1, 0]})
    assert made[:2] == pytest.approx([1, SECOND])
    assert losses(found)[0] == Estimate(*[pytest.approx(1 - SECOND)] * 3)


def test_what_the_corpus_lacks_nothing_finds(given):
    # a is found at best first, the other relevant document never
    _, made = given("cosine", [1, 0], {"a": [1, 0], "b": [0, 1]}, judged=("a", "missing"))
    assert made[:2] == pytest.approx([1 / (1 + SECOND)] * 2)


def test_recall_below_the_number_of_relevant_documents_has_a_ceiling():
    found = study(MODEL, load(TASK, ["R@2"]), "exact", store=store())
    assert found["stages"].title.endswith(": where R@2 is lost")
    assert scores(found)[0] == pytest.approx(2 / 3)
    stages = found["stages"]["score"]
    assert stages[-1] == stages[1]
    assert list(found["stages"]["of the best"])[:2] == [1, stages[1].mean / stages[0].mean]


def test_graded_judgments_are_ranked_by_gain(given, tmp_path):
    texts = {"a": "a", "b": "b"}
    task = beir(tmp_path / "graded", texts, {"q": "a"}, [("q", "a", 1), ("q", "b", 3)])
    found = study(MODEL, task, "exact", store=store())
    assert scores(found)[0] == 1


def test_a_query_s_own_document_is_not_the_best(tmp_path):
    texts = {"a": "red apple", "b": "red pear", "c": "blue car"}
    judgments = [("a", "a", 3), ("a", "b", 1)]
    task = beir(tmp_path / "own", texts, {"a": "red apple"}, judgments)
    own = study(MODEL, task, "exact", store=store())
    left = study(MODEL, f"{task},exclude_self=true", "exact", store=store())
    assert scores(own)[0] == 1
    assert scores(left)[0] == pytest.approx(1 / (3 + SECOND))


class Lossy(Index):
    """Exact search that never finds the document of one row."""

    accepts = ("dense",)

    def open(self, documents, place=None, progress=silent):
        values = documents.values.copy()
        values[0] = 0
        return INDEXES.create("exact").open(Dense(values))


def test_what_the_index_loses_is_beside_exact_search(given, monkeypatch):
    create = INDEXES.create
    monkeypatch.setattr(INDEXES, "create", lambda s: Lossy() if str(s) == "lossy" else create(s))
    monkeypatch.setattr(INDEXES, "resolve", lambda spec: spec)
    found, made = given("cosine", [1, 0], {"a": [1, 0], "b": [1, 1]}, index="lossy")
    assert made[-1] == pytest.approx(SECOND)
    assert losses(found)[-1].mean == pytest.approx(1 - SECOND)


def test_a_structure_is_built_once_and_its_warnings_are_told(tmp_path, monkeypatch):
    pytest.importorskip("hnswlib")
    built = []
    make = Hnswlib.make
    monkeypatch.setattr(Hnswlib, "make", lambda self, *rest: built.append(1) or make(self, *rest))
    kept = Store(tmp_path)
    told: list[tuple[str, int, int, str]] = []
    index = "[hnswlib,ef_search=5]"  # as it stands in a spec
    first = study(MODEL, TASK, index, store=kept, progress=lambda *words: told.append(words))
    assert study(MODEL, TASK, index, store=kept) == first
    assert len(built) == 1
    assert first["stages"]["stage"][-1] == "hnswlib,ef_search=5"
    assert (
        first["vectors"]["index"][0]
        == "hnswlib,M=16,ef_construction=128,ef_search=5,metric=ip,seed=100"
    )
    assert any("ef_search=5" in warning for warning in first.notes)
    assert 0.5 < first["stages"]["same nearest"][-1] <= 1
    assert ("search", 4, 4, "stages") in told
    for frame in first.frames:
        json.dumps(frame.plain(), allow_nan=False)


def test_vectors_of_one_length_are_said_to_be(given):
    found, _ = given("cosine", [1, 0], {"a": [1, 0], "b": [0, 1]})
    said = found["stages"]["what it means"]
    assert said[0] == "1 query, documents in the order of their judgments"
    assert said[2].endswith("all vectors are equally long, so every metric ranks alike")


def test_nothing_to_find(given):
    found, made = given("cosine", [1, 0], {"a": [1, 0], "b": [0, 1]}, gain=0)
    assert made[1:] == [0] * 4
    assert list(found["stages"]["of the best"]) == [None] * 5


@pytest.mark.parametrize(
    ("loss", "said"),
    [
        ((0.02, 0.01, 0.03), "hnsw another 0.0200"),
        ((0.02, -0.01, 0.03), "hnsw nothing seen in 1,500 queries"),
        ((-0.02, -0.03, -0.01), "hnsw gains 0.0200"),
    ],
)
def test_the_headline_says_what_vectors_and_index_lose(loss, said):
    score = Estimate(0.6, 0.5, 0.7)
    rows = [
        ("best possible", score, None, None, None, None, ""),
        ("exact, cosine", score, "best possible", Estimate(0.2, 0.1, 0.3), None, None, ""),
        ("hnsw", score, "exact, cosine", Estimate(*loss), None, None, ""),
    ]
    stages = Frame("", STAGES, rows, name="stages")
    assert headline(stages, "m", "t", 1500, "R@2") == f"m on t: the vectors lose 0.200 R@2, {said}"


@pytest.mark.parametrize(
    ("model", "task", "index", "message"),
    [
        ("bm25", TASK, "exact", "bm25 makes sparse vectors: expected dense ones"),
        (MODEL, TASK, "nowhere", "unknown index 'nowhere'"),
        (MODEL, "pairs", "exact", "is a task of pairs: expected retrieval"),
    ],
)
def test_what_is_refused(model, task, index, message, tmp_path):
    if task == "pairs":
        path = tmp_path / "pairs.jsonl"
        rows = [{"sentence1": "a", "sentence2": t, "score": i} for i, t in enumerate("abc")]
        path.write_text("\n".join(map(json.dumps, rows)), "utf-8")
        task = f"pairs:{path}"
    with pytest.raises(InputError, match=message):
        study(model, task, index, store=store())


def test_an_index_for_other_vectors_is_refused(monkeypatch):
    class Terms(Lossy):
        accepts = ("sparse",)

    monkeypatch.setattr(INDEXES, "create", lambda spec: Terms())
    with pytest.raises(InputError, match="terms takes sparse vectors: expected dense"):
        study(MODEL, TASK, "terms", store=store())
