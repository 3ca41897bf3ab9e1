"""Scores of cut vectors: reference values, what each way of cutting keeps, what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from harness.api import evaluate
from harness.disk import cache_root
from harness.encoders import ENCODERS
from harness.errors import InputError
from harness.progress import silent
from harness.session import Session
from harness.store import Store
from harness.studies import truncation
from harness.studies.truncation import Cut
from harness.tasks import catalog
from tests.fakes import Counting, beir
from tests.shared import shared

TASK = "limit,docs=60,queries=30,k=2,attributes=5"
MODEL = "hashing,dim=24"
HOWS = ("truncate", "truncate-raw", "pca")


def curve(model, task, dims=(), *, how="truncate", measures=(), store=None, progress=silent):
    session = Session(store or Store(cache_root()), progress=progress)
    return truncation.curve(session, model, session.task(task, measures), dims, how=how)


@pytest.fixture(scope="module")
def sentences(tmp_path_factory) -> str:
    """Twelve pairs; the more words they share the higher the gold score."""
    words = [f"word{i}" for i in range(12)]
    pairs = [(words[:9], words[i : i + 9], 9 - i) for i in range(4)]
    pairs += [([word], words[i:], i % 3) for i, word in enumerate(words[:8])]
    rows = [
        {"sentence1": " ".join(left), "sentence2": " ".join(right), "score": score}
        for left, right, score in pairs
    ]
    path: Path = tmp_path_factory.mktemp("pairs") / "pairs.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), "utf-8")
    return f"pairs:{path}"


@pytest.mark.parametrize(
    ("dim", "expected"),
    [
        (384, (0.1620, 0.4805, 0.6945)),
        (256, (0.1260, 0.4300, 0.6650)),
        (128, (0.1115, 0.3895, 0.6310)),
        (64, (0.0945, 0.3675, 0.5960)),
        (32, (0.0895, 0.3230, 0.5510)),
    ],
)
def test_minilm_on_limit_small_meets_the_reference_values(packaged, dim, expected):
    task, measures = f"folder:{shared('limit-small')}", ["R@2", "R@10", "R@20"]
    (point,) = curve("minilm", task, [dim], measures=measures)
    assert point.dim == dim
    assert point.scores == pytest.approx(dict(zip(measures, expected, strict=True)), abs=2e-4)


@pytest.mark.parametrize("how", ["truncate", "truncate-raw"])
def test_all_dimensions_score_what_the_pipeline_scores(how):
    record = evaluate(MODEL, TASK).record
    last = curve(MODEL, TASK, how=how)[-1]
    assert last == Cut(24, {name: score.mean for name, score in record.scores.items()})


def test_all_dimensions_of_sentences_score_what_the_pipeline_scores(sentences):
    record = evaluate(MODEL, sentences).record
    last = curve(MODEL, sentences)[-1]
    assert last.scores["cosine_spearman"] == pytest.approx(record.main.mean, abs=1e-6)


def test_dimensions_double_up_to_all():
    assert [point.dim for point in curve(MODEL, TASK)] == [2, 4, 8, 16, 24]
    power = curve("hashing,dim=16", TASK)
    assert [point.dim for point in power] == [2, 4, 8, 16]
    asked = curve(MODEL, TASK, [24, 3, 3, 1])
    assert [point.dim for point in asked] == [1, 3, 24]


@pytest.fixture
def vectors(monkeypatch, tmp_path):
    """A task of four documents and a query whose vectors are given: (similarity, rows) -> spec."""

    def given(similarity: str, query: list[float], documents: dict[str, list[float]]) -> str:
        rows = {"q": query, **documents}

        class Given(Counting):
            @property
            def similarity(self):
                return similarity

            def vector(self, text, role):
                return np.array(rows[text], np.float32)

        monkeypatch.setattr(ENCODERS, "create", lambda spec: Given())
        texts = {name: name for name in documents}
        return beir(tmp_path / "given", texts, {"q": "q"}, [("q", "a", 1)])

    return given


def first(task: str, dim: int, how: str, tmp_path) -> float:
    """1 where document a comes first with so many dimensions."""
    (point,) = curve("given", task, [dim], how=how, measures=["P@1"], store=Store(tmp_path / "s"))
    return point.scores["P@1"]


def test_cut_vectors_are_scaled_again_unless_raw(vectors, tmp_path):
    # whole, b is nearer; in the first dimension alone both are +1 when scaled, and the later id
    # wins; unscaled, a is the longer
    task = vectors("cosine", [1, 2], {"a": [1, 0], "b": [1, 2]})
    assert first(task, 2, "truncate", tmp_path) == 0
    assert first(task, 1, "truncate", tmp_path) == 0
    assert first(task, 1, "truncate-raw", tmp_path) == 1


def test_where_the_model_compares_by_dot_product_nothing_is_scaled(vectors, tmp_path):
    task = vectors("dot", [1, 1], {"a": [9, 0], "b": [1, 1]})
    assert first(task, 1, "truncate", tmp_path) == 1
    assert first(task, 2, "truncate", tmp_path) == 1


def test_principal_components_are_those_of_the_documents(vectors, tmp_path):
    # documents vary along the last dimension alone, where a is on the side of the query
    documents = {"a": [1, 0, 3], "b": [1, 0, -1], "c": [1, 0, -2]}
    task = vectors("dot", [-5, 0, 1], documents)
    assert first(task, 1, "pca", tmp_path) == 1
    assert first(task, 3, "pca", tmp_path) == 1  # more than there are: the same
    assert first(task, 1, "truncate", tmp_path) == 0  # all alike there: the latest id


def test_components_beyond_the_rank_add_nothing():
    points = curve("hashing,dim=100", "limit,docs=9,queries=5,k=1", [8, 50, 100], how="pca")
    assert points[0].scores == points[1].scores == points[2].scores


def test_a_correlation_that_is_not_defined_is_left_out(vectors, tmp_path, sentences, monkeypatch):
    class Same(Counting):
        def vector(self, text, role):
            return np.array([1, len(text)], np.float32)

    monkeypatch.setattr(ENCODERS, "create", lambda spec: Same())
    one, two = curve("same", sentences, [1, 2], store=Store(tmp_path / "s"))
    assert "cosine_spearman" not in one.scores
    assert "cosine_spearman" in two.scores


@pytest.mark.parametrize("how", HOWS)
def test_every_way_works_on_sentences(sentences, how):
    points = curve(MODEL, sentences, [4, 24], how=how)
    assert all(-1 <= point.scores["cosine_spearman"] <= 1 for point in points)


def test_a_query_s_own_document_is_left_out(tmp_path):
    texts = {"a": "red apple", "b": "red apple pie", "c": "blue car", "d": "blue bus"}
    task = beir(tmp_path / "own", texts, texts, [("a", "b", 1), ("c", "d", 1)])
    dims = [64]
    (own,) = curve("hashing,dim=64", task, dims, measures=["P@1"])
    (left,) = curve("hashing,dim=64", f"{task},exclude_self=true", dims, measures=["P@1"])
    assert (own.scores["P@1"], left.scores["P@1"]) == (0, 1)


def test_progress_counts_dimensions():
    told: list[tuple[str, int, int, str]] = []
    curve(MODEL, TASK, [2, 24], progress=lambda *words: told.append(words))
    scored = [words for words in told if words[0] == "score truncate"]
    assert scored == [("score truncate", done, 2, "dimensions") for done in (0, 1, 2)]


@pytest.mark.parametrize(
    ("model", "dims", "more", "message"),
    [
        (MODEL, [0], {}, "0 dimensions: expected 1 to 24, as many as the model has"),
        (MODEL, [2, 25], {}, "25 dimensions: expected 1 to 24"),
        (
            MODEL,
            (),
            {"measures": ["cosine_pearson"]},
            "cosine_pearson does not fit limit,docs=60",
        ),
        ("bm25", (), {}, "bm25 makes sparse vectors: expected dense ones"),
    ],
)
def test_what_is_refused(model, dims, more, message):
    with pytest.raises(InputError, match=message):
        curve(model, TASK, dims, **more)


def test_documents_that_do_not_differ_have_no_components(tmp_path):
    task = beir(tmp_path / "same", {"a": "red", "b": "red"}, {"q": "red"}, [("q", "a", 1)])
    with pytest.raises(InputError, match="principal components on are all equal"):
        curve(MODEL, task, how="pca")


def test_a_study_gives_the_model_the_tasks_instruction(tmp_path, monkeypatch):
    """As the pipeline does: a prompt with a place for it would else be refused."""
    given = []

    class Reading(Counting):
        def for_task(self, purpose):
            given.append(dict(purpose.instructions))
            return self

    monkeypatch.setattr("harness.session.ENCODERS.create", lambda spec: Reading())
    task = beir(tmp_path / "data", {"a": "x", "b": "y"}, {"q": "x"}, [("q", "a", 1)])
    table = tmp_path / "mine.toml"
    table.write_text(f'[told]\nsource = "{task}"\ninstruction = "Find it"\nmeasures = ["R@1"]\n')
    monkeypatch.setattr(catalog, "_extra", [table])
    catalog.definitions.cache_clear()
    try:
        curve("hashing", "told", [1], store=Store(tmp_path / "store"))
    finally:
        monkeypatch.undo()
        catalog.definitions.cache_clear()
    assert given == [{"query": "Find it", "text": "Find it"}]
