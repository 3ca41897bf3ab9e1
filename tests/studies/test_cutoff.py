"""Relevance cut-off: two queries worked out by hand, real data, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest

from harness.disk import cache_root
from harness.encoders import ENCODERS
from harness.errors import InputError
from harness.measures.binary import average_precision
from harness.progress import silent
from harness.session import Session
from harness.store import Store
from harness.studies import Findings, cutoff
from harness.studies.cutoff import Cutoff
from harness.tasks import catalog
from tests.fakes import Counting, beir
from tests.shared import shared

DOCUMENTS = {"a": "3", "b": "2", "c": "1"}
QUERIES = {"x": "1", "y": "10"}
JUDGED = [("x", "a", 1), ("y", "a", 1)]


@pytest.fixture
def numbers(monkeypatch) -> str:
    """The spec of a model whose scores are products of the numbers that texts are."""

    class Numbers(Counting):
        @property
        def similarity(self):
            return "dot"

        def vector(self, text, role):
            return np.array([text], np.float32)

    monkeypatch.setattr(ENCODERS, "create", lambda spec: Numbers())
    return "hashing"


def study(systems, task, *, store=None, progress=silent, **options) -> Findings:
    session = Session(store or Store(cache_root()), progress=progress)
    return Cutoff(**options).run(session, systems, task)


def ways(found: Findings, system: str) -> dict[str, dict]:
    """Every number of a system by how its scores were compared."""
    made: dict[str, dict] = {}
    for name in ("thresholds", "returned", "recall"):
        for row in found[name].where("system", system).records():
            made.setdefault(row["compared by"], {}).update(row)
    return made


def points(found: Findings, way: str) -> list[tuple]:
    frame = found["curves"].where("compared by", way)
    return list(zip(frame["threshold"], frame["recall"], frame["documents"], strict=True))


@pytest.fixture
def apart(numbers, tmp_path) -> Findings:
    """x scores a 3, b 2 and c 1; y ten times as much; a is relevant to both."""
    task = beir(tmp_path / "t", DOCUMENTS, QUERIES, JUDGED)
    return study([numbers], task, store=Store(tmp_path / "s"))


def test_thresholds_by_hand(apart, numbers):
    [system] = apart["systems"].records()
    assert "2 queries, all of 3 documents scored, 2 pairs relevant" in apart["systems"].title
    assert (system["score"].mean, system["own best"].mean) == (1, 1)
    made = ways(apart, numbers)
    score = made["score"]
    # in order: y's a, b, c at 30, 20, 10, then x's a, b, c: 3, 2, 1
    assert score["PR-AUC"] == pytest.approx(1 / 2 + 1 / 2 * 2 / 4)
    assert [score[f"recall {r:g}"] for r in cutoff.RECALLS] == [1, 0.5, 0.5, 0.5]
    assert (score["threshold"], score["F1 of pairs"]) == (25, pytest.approx(2 / 3))
    # x's 2.5 returns all of y, F1 1/2; y's 25 nothing of x
    assert score["mean F1"].mean == pytest.approx(1 / 4)
    assert score["held out"] == pytest.approx(2 / 5)
    assert (score["documents"], score["nothing"], score["nothing relevant"]) == (1.5, 0.5, 0)
    assert score["refused"] == 0.5  # without a, y's 20 and 10 still pass
    assert score["gain"] is None
    for name in ("z-score", "min-max", "rank"):
        way = made[name]
        assert (way["PR-AUC"], way["F1 of pairs"], way["held out"]) == (1, 1, 1)
        assert way["mean F1"].mean == 1
        assert way["gain"].mean == pytest.approx(3 / 4)
        assert (way["documents"], way["nothing"], way["nothing relevant"]) == (1, 0, 0)
    less = made["less the first"]  # y's 5 below its first returns all of x
    assert (less["PR-AUC"], less["held out"]) == (1, pytest.approx(2 / 3))
    assert less["mean F1"].mean == 0.75
    # without a the first of two is 1 deviation above their mean; thresholds lie halfway from the
    # first's 1.22 to the second's 0
    assert apart["returned"]["refused"] == (0.5, 0, 0, 0, 0)
    assert points(apart, "score") == [(30, 0.5, 0.5), (3, 1, 2)]


def test_abstention_by_hand(apart):
    told = {row["confidence"]: row for row in apart["abstention"].records()}
    assert list(told) == list(cutoff.CONFIDENCES.values())
    assert {row["nAUC"] for row in told.values()} == {None}  # all score 1
    # answerable 3 and 30, unanswerable 2 and 20: 3 < 20 and 30 > 2
    assert told["highest score"]["AUROC"].mean == pytest.approx(0.5)
    assert told["first's z-score"]["AUROC"].mean == 1
    assert told["first's z-score"]["nAUC, half"] == pytest.approx(1)


def test_the_headline(apart, numbers, tmp_path):
    assert apart.headline == (
        f"{numbers} on folder:{tmp_path / 't'}: one threshold reaches mean F1 0.25 on scores, "
        "1.00 by z-score, 1.00 if each query had its own; 50% of unanswerable queries get nothing"
    )


def test_only_the_depth_asked_for_is_scored(numbers, tmp_path, monkeypatch):
    task = beir(tmp_path / "t", DOCUMENTS, QUERIES, [*JUDGED, ("y", "c", 1)])
    kept = Store(tmp_path / "s")

    def depth(**options) -> str:
        title = study([numbers], task, store=kept, **options)["systems"].title
        return title.partition("queries, ")[2].partition(" documents")[0]

    found = study([numbers], task, depth=2, store=kept)
    assert depth(depth=2) == "the first 2 of 3"
    assert "3 pairs relevant" in found["systems"].title
    assert ways(found, numbers)["score"]["recall 0.95"] is None  # c is not scored
    monkeypatch.setattr(cutoff, "WHOLE", 2)
    monkeypatch.setattr(cutoff, "DEPTH", 1)
    assert depth() == "the first 1 of 3"
    monkeypatch.setattr(cutoff, "WHOLE", 3)
    monkeypatch.setattr(cutoff, "PAIRS", 5)
    assert depth() == "the first 1 of 3"


def test_a_query_s_own_document_is_no_result(numbers, tmp_path):
    task = beir(tmp_path / "t", DOCUMENTS, {"b": "1", "c": "10"}, [("b", "a", 1), ("c", "a", 1)])
    found = study([numbers], f"{task},exclude_self=true", store=Store(tmp_path / "s"))
    assert points(found, "rank")[-1][2] == 1  # at the threshold that reaches all relevant ones
    assert found["thresholds"]["PR-AUC"][0] == pytest.approx(1 / 2 + 1 / 2 * 2 / 3)


def test_a_real_collection():
    folder = shared("med")
    task = f"folder:{folder}"
    told: list[str] = []
    found = study(["hashing", "bm25"], task, progress=lambda stage, *_: told.append(stage))
    assert "696 pairs relevant" in found["systems"].title
    assert found["systems"].numbers("score")[1] == pytest.approx(0.6957, abs=1e-4)
    data = catalog.task(task).load()
    scores, relevant = scored(data)
    area = ways(found, "hashing")["score"]["PR-AUC"]
    assert area == pytest.approx(average_precision(scores, relevant), abs=1e-6)
    for system, own in zip(("hashing", "bm25"), found["systems"].numbers("own best"), strict=True):
        made = ways(found, system)
        assert all(way["F1 of pairs"] >= way["held out"] for way in made.values())
        assert all(way["mean F1"].mean <= own for way in made.values())
        assert (made["rank"]["nothing"], made["rank"]["refused"]) == (0, 0)
        curves = found["curves"].where("system", system)
        assert all(len(curves.where("compared by", way)) <= cutoff.POINTS for way in made)
    assert "cut off bm25" in told
    alone = study(["hashing"], task)
    for name in cutoff.FRAMES:
        if name != "systems":
            assert alone[name].rows == found[name].where("system", "hashing").rows


def scored(data) -> tuple[np.ndarray, np.ndarray]:
    """Cosines of feature hashing for all pairs of a collection, and which are relevant."""
    model = ENCODERS.create("hashing")
    parts = [model.encode(part.texts, role).values for part, role in (
        (data.queries, "query"), (data.corpus, "document"),
    )]  # fmt: skip
    queries, documents = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in parts)
    relevant = np.zeros((len(queries), len(documents)), bool)
    relevant[data.qrels.query_rows, data.qrels.docs] = data.qrels.gains > 0
    scores = queries.astype(np.float64) @ documents.T.astype(np.float64)
    return scores.astype(np.float32).ravel().astype(np.float64), relevant.ravel()


@pytest.mark.parametrize(
    ("judged", "options", "message"),
    [
        (JUDGED[:1], {}, "one judged query: a threshold is chosen on half of them, expected two"),
        ([*JUDGED[:1], ("y", "a", 0)], {}, "1 answerable queries: AUROC compares two different"),
        ([("x", "a", 0), ("y", "b", 0)], {}, "bm25 finds no relevant document: there is nothing"),
        (JUDGED, {"measure": "Robustness@10"}, "measured by Robustness@10, of groups"),
        (JUDGED, {"depth": 0}, "depth=0: expected at least 1"),
        (JUDGED, {"measure": "nDGC@10"}, "unknown measure 'nDGC'"),
        (JUDGED, {"systems": ["bm25", "rrf:bm25+bm26"]}, "unknown model 'bm26'"),
    ],
)
def test_what_is_refused(judged, options, message, tmp_path):
    texts = {id: f"number {text}" for id, text in DOCUMENTS.items()}
    asked = dict.fromkeys(QUERIES, "number")
    task = beir(tmp_path / "t", texts, asked, judged)
    with pytest.raises(InputError, match=message):
        study(**{"systems": ["bm25"], "task": task, **options})


def test_a_task_of_another_kind_is_refused(tmp_path):
    path = tmp_path / "pairs.jsonl"
    rows = [{"sentence1": "a", "sentence2": t, "score": i} for i, t in enumerate("abc")]
    path.write_text("\n".join(map(json.dumps, rows)), "utf-8")
    with pytest.raises(InputError, match="is a task of pairs: expected retrieval"):
        study(["bm25"], f"pairs:{path}")
