"""Relevance cut-off: two queries worked out by hand, real data, and what is refused."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest

from harness import catalog
from harness.disk import cache_root
from harness.encoders import ENCODERS
from harness.errors import InputError
from harness.measures.binary import average_precision
from harness.store import Store
from harness.studies import cutoff
from harness.studies.cutoff import study
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


def store() -> Store:
    return Store(cache_root())


@pytest.fixture
def apart(numbers, tmp_path) -> cutoff.Cutoff:
    """x scores a 3, b 2 and c 1; y ten times as much; a is relevant to both."""
    task = beir(tmp_path / "t", DOCUMENTS, QUERIES, JUDGED)
    return study([numbers], task, store=Store(tmp_path / "s"))


def test_thresholds_by_hand(apart):
    [system] = apart.systems
    assert (apart.queries, apart.documents, apart.depth, apart.relevant) == (2, 3, 3, 2)
    assert (system.score.mean, system.own.mean) == (1, 1)
    ways = {way.name: way for way in system.ways}
    score = ways["score"]
    # in order: y's a, b, c at 30, 20, 10, then x's a, b, c: 3, 2, 1
    assert score.area == pytest.approx(1 / 2 + 1 / 2 * 2 / 4)
    assert score.at_recall == (1, 0.5, 0.5, 0.5)
    assert (score.threshold, score.seen) == (25, pytest.approx(2 / 3))
    # x's 2.5 returns all of y, F1 1/2; y's 25 nothing of x
    assert score.mean_f1.mean == pytest.approx(1 / 4)
    assert score.f1 == pytest.approx(2 / 5)
    assert (score.size, score.empty, score.wrong) == (1.5, 0.5, 0)
    assert score.refused == 0.5  # without a, y's 20 and 10 still pass
    assert score.gain.mean == 0
    for name in ("z-score", "min-max", "rank"):
        way = ways[name]
        assert (way.area, way.seen, way.f1, way.mean_f1.mean) == (1, 1, 1, 1)
        assert way.gain.mean == pytest.approx(3 / 4)
        assert (way.size, way.empty, way.wrong) == (1, 0, 0)
    less = ways["less the first"]  # y's 5 below its first returns all of x
    assert (less.area, less.f1, less.mean_f1.mean) == (1, pytest.approx(2 / 3), 0.75)
    # without a the first of two is 1 deviation above their mean; thresholds lie halfway from the
    # first's 1.22 to the second's 0
    assert [way.refused for way in ways.values()] == [0.5, 0, 0, 0, 0]
    assert [(p.threshold, p.recall, p.size) for p in score.points] == [(30, 0.5, 0.5), (3, 1, 2)]


def test_abstention_by_hand(apart):
    told = {one.name: one for one in apart.systems[0].confidences}
    assert {name: one.nauc for name, one in told.items()} == dict.fromkeys(told)  # all score 1
    # answerable 3 and 30, unanswerable 2 and 20: 3 < 20 and 30 > 2
    assert told["max"].auroc.mean == pytest.approx(0.5)
    assert told["z"].auroc.mean == 1
    assert told["z"].nauc_half == pytest.approx(1)


def test_only_the_depth_asked_for_is_scored(numbers, tmp_path, monkeypatch):
    task = beir(tmp_path / "t", DOCUMENTS, QUERIES, [*JUDGED, ("y", "c", 1)])
    kept = Store(tmp_path / "s")
    found = study([numbers], task, depth=2, store=kept)
    assert (found.depth, found.relevant) == (2, 3)
    assert found.systems[0].ways[0].at_recall[-1] is None  # c is not scored
    monkeypatch.setattr(cutoff, "WHOLE", 2)
    monkeypatch.setattr(cutoff, "DEPTH", 1)
    assert study([numbers], task, store=kept).depth == 1
    monkeypatch.setattr(cutoff, "WHOLE", 3)
    monkeypatch.setattr(cutoff, "PAIRS", 5)
    assert study([numbers], task, store=kept).depth == 1


def test_a_query_s_own_document_is_no_result(numbers, tmp_path):
    task = beir(tmp_path / "t", DOCUMENTS, {"b": "1", "c": "10"}, [("b", "a", 1), ("c", "a", 1)])
    found = study([numbers], f"{task},exclude_self=true", store=Store(tmp_path / "s"))
    [rank] = [way for way in found.systems[0].ways if way.name == "rank"]
    assert rank.points[-1].size == 1  # at the threshold that reaches all relevant ones
    assert found.systems[0].ways[0].area == pytest.approx(1 / 2 + 1 / 2 * 2 / 3)


def test_a_real_collection():
    folder = shared("med")
    task = f"folder:{folder}"
    told: list[str] = []
    found = study(
        ["hashing", "bm25"], task, store=store(), progress=lambda stage, *_: told.append(stage)
    )
    hashing, bm25 = found.systems
    assert found.relevant == 696
    assert bm25.score.mean == pytest.approx(0.6957, abs=1e-4)
    data = catalog.task(task).load()
    scores, relevant = scored(data)
    assert hashing.ways[0].area == pytest.approx(average_precision(scores, relevant), abs=1e-6)
    for system in found.systems:
        assert all(way.seen >= way.f1 for way in system.ways)
        assert all(way.mean_f1.mean <= system.own.mean for way in system.ways)
        assert all(len(way.points) <= cutoff.POINTS for way in system.ways)
        [*_, rank] = system.ways
        assert (rank.empty, rank.refused) == (0, 0)
    assert "score bm25" in told
    json.dumps(asdict(found), allow_nan=False)
    assert study(["hashing"], task, store=store()).systems == (hashing,)


def scored(data) -> tuple[np.ndarray, np.ndarray]:
    """Cosines of feature hashing for all pairs of a collection, and which are relevant."""
    model = ENCODERS.create("hashing")
    parts = [model.encode(part.texts, role).values for part, role in (
        (data.queries, "query"), (data.corpus, "document"),
    )]  # fmt: skip
    queries, documents = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in parts)
    relevant = np.zeros((len(queries), len(documents)), bool)
    relevant[data.qrels.query_rows, data.qrels.docs] = data.qrels.gains > 0
    return (queries @ documents.T).ravel().astype(np.float64), relevant.ravel()


@pytest.mark.parametrize(
    ("judged", "options", "message"),
    [
        (JUDGED[:1], {}, "one judged query: a threshold is chosen on half of them, expected two"),
        ([*JUDGED[:1], ("y", "a", 0)], {}, "1 answerable queries: AUROC compares two different"),
        ([("x", "?", 1), ("y", "?", 1)], {}, "bm25 finds no relevant document: there is nothing"),
        (JUDGED, {"measure": "Robustness@10"}, "measured by Robustness@10, of groups"),
        (JUDGED, {"measure": "nDGC@10"}, "unknown measure 'nDGC'"),
        (JUDGED, {"models": ["bm25", "rrf:bm25+bm26"]}, "unknown model 'bm26'"),
    ],
)
def test_what_is_refused(judged, options, message, tmp_path):
    texts = {id: f"number {text}" for id, text in DOCUMENTS.items()}
    asked = dict.fromkeys(QUERIES, "number")
    task = beir(tmp_path / "t", texts, asked, judged)
    with pytest.raises(InputError, match=message):
        study(**{"models": ["bm25"], "task": task, "store": store(), **options})


def test_a_task_of_another_kind_is_refused(tmp_path):
    path = tmp_path / "pairs.jsonl"
    rows = [{"sentence1": "a", "sentence2": t, "score": i} for i, t in enumerate("abc")]
    path.write_text("\n".join(map(json.dumps, rows)), "utf-8")
    with pytest.raises(InputError, match="is a task of pairs: expected retrieval"):
        study(["bm25"], f"pairs:{path}", store=store())
