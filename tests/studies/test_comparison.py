"""Approximate search beside exact search: losses, answers and swaps worked out by hand."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from harness import catalog
from harness.api import evaluate
from harness.encoders import ENCODERS
from harness.errors import InputError
from harness.indexes import INDEXES, Found, Index, IndexInfo
from harness.parameters import Entry
from harness.progress import silent
from harness.store import Store
from harness.studies.comparison import Comparison, study, sweep
from harness.studies.subject import Interval
from harness.vectors import Embeddings, MultiVector, Sparse, ranking
from tests.fakes import Counting, beir

SECOND, FOURTH = 0.6309298, 0.4306766  # 1 / log2(3), 1 / log2(5): nDCG of the one relevant there

# scores of documents a, b, c, d, a row a query
GOOD = [[0.9, 0.8, 0.7, 0.6], [0.6, 0.9, 0.8, 0.7], [0.9, 0.6, 0.8, 0.7], [0.6, 0.7, 0.8, 0.9]]
FAIR = [[0.8, 0.7, 0.6, 0.9], [0.6, 0.8, 0.7, 0.9], [0.8, 0.7, 0.9, 0.6], [0.9, 0.8, 0.7, 0.6]]
POOR = [[0.1, 0.9, 0.8, 0.7], [0.9, 0.1, 0.8, 0.7], [0.9, 0.8, 0.1, 0.7], [0.9, 0.8, 0.7, 0.1]]
DIAGONAL = [("q0", "a", 1), ("q1", "b", 1), ("q2", "c", 1), ("q3", "d", 1)]


@dataclass(frozen=True)
class Dropping(Index):
    """Exact search that never finds some documents (rows, as 1+3), at a cost that is given."""

    drop: str = ""
    cost: int = 0
    size: int = 0
    accepts: ClassVar = ("dense",)

    def open(self, documents, place=None, progress=silent):
        rows = [int(row) for row in self.drop.split("+") if row]
        notes = (f"{len(rows)} documents are dropped",) if rows else ()
        info = IndexInfo(self.size or None, notes=notes)
        return DroppingSearcher(documents, np.array(rows), self.cost, info)


@dataclass(frozen=True)
class DroppingSearcher:
    documents: Embeddings
    dropped: np.ndarray
    cost: int
    info: IndexInfo

    def search(self, queries, k, progress):
        whole = INDEXES.create("exact").open(self.documents)
        run = whole.search(queries, len(self.documents), progress).run
        docs = np.where(np.isin(run.docs, self.dropped), np.int32(-1), run.docs)
        kept = ranking.unpack(ranking.best(ranking.pack(run.scores, docs), k))
        return Found(kept, self.cost * len(queries) or None)


class Anything(Dropping):
    accepts = ("dense", "sparse", "multi-vector")


class Weighing(Dropping):
    accepts = ("sparse",)


@pytest.fixture(autouse=True)
def dropping(monkeypatch):
    INDEXES.names()  # those that are ours are there
    for name, made in (("dropping", Dropping), ("anything", Anything), ("weighing", Weighing)):
        monkeypatch.setitem(INDEXES._entries, name, Entry(name, made))


@dataclass(frozen=True)
class Given(Counting):
    """Queries q0, q1 ... are unit vectors, so that a document's vector is a column of scores."""

    similarity = "dot"
    table: tuple[tuple[float, ...], ...] = ()

    def vector(self, text, role):
        scores = np.array(self.table, np.float32)
        if role == "query":
            return np.eye(len(scores), dtype=np.float32)[int(text[1:])]
        return scores[:, "abcd".index(text[0])]


class GivenSparse(Given):
    representation = "sparse"

    def encode(self, texts, role):
        made = super().encode(texts, role)
        return replace(made, values=Sparse(csr_matrix(made.values)))


class GivenSeveral(Given):
    representation, similarity = "multi-vector", "maxsim"

    def encode(self, texts, role):
        made = super().encode(texts, role)
        return replace(made, values=MultiVector(made.values, np.arange(len(texts) + 1)))


@pytest.fixture
def models(monkeypatch):
    """Models good, fair and poor by name; good also as sparse vectors, and as several a text."""
    tables = {"good": GOOD, "fair": FAIR, "poor": POOR, "sparse": GOOD, "several": GOOD}
    kinds = {"sparse": GivenSparse, "several": GivenSeveral}

    def create(spec):
        name = str(spec)
        return kinds.get(name, Given)(name, table=tuple(map(tuple, tables[name])))

    monkeypatch.setattr(ENCODERS, "create", create)


@pytest.fixture
def made(models, tmp_path):
    """A comparison on documents a to d: (settings, models, judgments) -> Comparison."""

    def compare(settings, names=("good",), judgments=DIAGONAL, more="") -> Comparison:
        queries = {f"q{i}": f"q{i}" for i in range(4)}
        documents = {name: name for name in "abcd"}
        task = beir(tmp_path / "data", documents, queries, judgments) + more
        return study(names, [task], settings, store=Store(tmp_path / "store"))

    return compare


def close(interval: Interval, mean: float, low: float, high: float) -> bool:
    return asdict(interval) == pytest.approx({"mean": mean, "low": low, "high": high}, abs=1e-6)


@pytest.mark.parametrize(
    ("model", "distances", "size"),
    [
        ("good", 4, 4 * 4 * 4),
        ("sparse", None, 16 * (4 + 4) + 5 * 4),  # weights and their terms, where rows begin
        ("several", 4, 4 * 4 * 4 + 5 * 8),
    ],
)
def test_what_a_dropped_document_costs(made, model, distances, size):
    exact, point = made(["anything,drop=3,cost=7"], [model]).points
    assert (exact.index, exact.score.mean) == ("exact", pytest.approx((3 + SECOND) / 4))
    assert close(exact.change, 0, 0, 0)
    assert close(exact.near.recall, 1, 1, 1)
    assert exact.near.distances == distances
    assert exact.bytes == size
    assert point.score.mean == pytest.approx((2 + SECOND) / 4)
    # of four queries one lost 1: a resample holds it at least three times with probability 13/256,
    # four times with 1/256, so that three times is the 2.5th percentile
    assert close(point.change, -0.25, -0.75, 0)
    assert not point.change.significant
    assert point.near.k == point.asked.k == 4  # of 10: there are no more documents
    assert close(point.near.recall, 0.75, 0.75, 0.75)
    assert point.near.overlap == 0.75
    assert point.near.distances == 7
    assert (point.lost, point.stranded) == ({"q3": ("d",)}, ("q3",))
    assert point.bytes is None
    assert point.warnings == ("1 documents are dropped",)


def test_a_query_that_lost_one_of_two_is_not_left_with_none(made):
    judgments = [*DIAGONAL, ("q3", "c", 2), ("q0", "b", 0)]
    point = made(["dropping,drop=1+3"], judgments=judgments).points[1]
    assert point.lost == {"q1": ("b",), "q3": ("d",)}
    assert point.stranded == ("q1",)


@pytest.fixture
def measured(models, tmp_path):
    """A task on documents a to d with measures of its own."""
    names = []

    def define(*measures: str) -> str:
        path, queries = tmp_path / "tasks.toml", {f"q{i}": f"q{i}" for i in range(4)}
        data = beir(tmp_path / "data", {name: name for name in "abcd"}, queries, DIAGONAL)
        path.write_text(f'[mine]\nsource = "{data}"\nmeasures = {json.dumps(measures)}\n', "utf-8")
        catalog.add(path)
        names.append(path)
        return "mine"

    yield define
    for path in names:
        catalog._extra.remove(path)
    catalog.definitions.cache_clear()


def test_a_document_that_exact_search_does_not_find_is_not_lost(measured, tmp_path):
    # P@1 looks at one result: c is second for q2
    found = study(
        ["good"], [measured("P@1", "R@4")], ["dropping,drop=2"], store=Store(tmp_path / "store")
    )
    exact, point = found.points
    assert (point.measure, point.score.mean, exact.score.mean) == ("P@1", 0.75, 0.75)
    assert point.lost == {}
    assert (point.near.k, point.asked.k) == (4, 1)
    assert point.near.recall.mean == 0.75
    assert point.asked.recall.mean == 1  # c is nearest to no query


def test_ties_beyond_the_exact_run_count(tmp_path):
    documents = {f"d{i:02}": "same words" for i in range(30)}
    task = beir(tmp_path / "data", documents, {"q": "words"}, [("q", "d29", 1)])
    settings = ["dropping,drop=" + "%2B".join(map(str, range(20, 30))), "dropping,drop=29"]
    found = study(["hashing,dim=8"], [task], settings, store=Store(tmp_path / "store"))
    _, most, one = found.points
    assert (most.near.recall.mean, most.near.overlap) == (1, 0)
    assert (one.near.recall.mean, one.near.overlap) == (1, 0.9)
    assert most.lost == {"q": ("d29",)}


def test_exact_search_scores_what_the_pipeline_scores(tmp_path):
    task = "limit,docs=60,queries=30,k=2,attributes=5"
    exact, _ = study(["hashing,dim=24"], [task], ["dropping,drop=0"], store=Store(tmp_path)).points
    main = evaluate("hashing,dim=24", task).record.main
    assert asdict(exact.score) == {"mean": main.mean, "low": main.low, "high": main.high}
    assert (exact.near.k, exact.asked.k, exact.measure) == (10, 2, "R@2")


def test_a_query_s_own_document_is_left_out(tmp_path):
    texts = {"a": "red apple", "b": "red apple pie", "c": "blue car", "d": "blue bus"}
    task = beir(tmp_path / "own", texts, texts, [("a", "b", 1), ("c", "d", 1)])
    task += ",exclude_self=true"
    exact, point = study(
        ["hashing,dim=64"], [task], ["dropping,drop=1"], store=Store(tmp_path / "store")
    ).points
    assert exact.score.mean == 1
    assert point.lost == {"a": ("b",)}
    # a, c and d find two of their three others; b finds all of its own
    assert point.near.recall.mean == pytest.approx((3 * 2 / 3 + 1) / 4)


def answers(found: Comparison) -> list[tuple[str | None, str, float | None]]:
    return [(a.index, a.by, a.cost) for a in found.answers]


def test_the_cheapest_setting_by_distances(made):
    settings = ["dropping,cost=9", "dropping,cost=5", "dropping,drop=3,cost=2", "dropping,cost=7"]
    found = made(settings, judgments=DIAGONAL[:3])  # d is relevant to nothing
    assert answers(found) == [("dropping,cost=5", "distances", 5), (settings[2], "distances", 2)]
    assert [a.wanted for a in found.answers] == [
        "recall@10 of at least 0.95",
        "nDCG@10 within 0.5% of exact search",
    ]


def test_none_is_cheap_enough(made):
    found = made(["dropping,drop=3,cost=2"])
    assert answers(found) == [(None, "distances", None), (None, "distances", None)]
    assert [(a.index, a.cost) for a in found.fastest] == [(None, None)] * 12


def test_by_latency_where_a_setting_does_not_tell_its_distances(made):
    found = made(["dropping,drop=3,cost=2", "dropping"])
    p50 = found.points[2].near.p50
    assert answers(found)[0] == ("dropping", "p50", p50)
    assert p50 > 0


def test_the_fastest_by_accuracy_and_memory(made, monkeypatch):
    monkeypatch.setattr(
        "harness.studies.comparison._latencies",
        lambda searcher, queries, k: np.array([float(getattr(searcher, "cost", 9))]),
    )
    found = made(
        [
            "dropping,drop=3,cost=1,size=64",  # finds three of four
            "dropping,cost=3,size=129",  # exact search has 64 bytes
            "dropping,cost=5,size=128",
            "dropping,cost=7,size=96",
            "dropping,cost=4",
        ]
    )
    targets = [f"accuracy@10 of at least {share}%" for share in (90, 95, 97, 99)]
    assert [(a.wanted, a.budget, a.index, a.cost) for a in found.fastest] == [
        (target, budget, f"dropping,cost={cost},size={size}", cost)
        for target in targets
        for budget, cost, size in ((None, 3, 129), (2.0, 5, 128), (1.5, 7, 96))
    ]
    assert {a.by for a in found.fastest} == {"p50"}


def test_settings_are_tried_for_the_models_whose_vectors_they_take(made):
    settings = ["dropping,cost=3", "anything,drop=3", "weighing,cost=3"]
    found = made(settings, ["good", "sparse", "several"])
    assert [(p.model, p.index) for p in found.points] == [
        ("good", "exact"),
        ("good", "dropping,cost=3"),
        ("good", "anything,drop=3"),
        ("sparse", "exact"),
        ("sparse", "anything,drop=3"),
        ("sparse", "weighing,cost=3"),
        ("several", "exact"),
        ("several", "anything,drop=3"),
    ]
    (ranking,) = found.rankings  # of models that were searched with one setting
    assert ranking.index == "anything,drop=3"
    assert ranking.exact == ranking.approximate == {"good": 1, "sparse": 1, "several": 1}
    assert [(a.model, a.index) for a in found.answers[::2]] == [
        ("good", "dropping,cost=3"),
        ("sparse", "weighing,cost=3"),
        ("several", None),
    ]


def test_a_model_that_weighs_terms_by_the_corpus(tmp_path):
    task = "limit,docs=60,queries=30,k=2,attributes=5"
    found = study(["bm25"], [task], ["weighing,drop=0"], store=Store(tmp_path))
    main = evaluate("bm25", task).record.main
    assert asdict(found.points[0].score) == {"mean": main.mean, "low": main.low, "high": main.high}


def test_models_change_places(made):
    found = made(["dropping,drop=3", "dropping"], ["good", "fair", "poor"])
    means = {p.model: p.score.mean for p in found.points if p.index == "exact"}
    assert means == pytest.approx(
        {
            "good": (3 + SECOND) / 4,
            "fair": (1 + 2 * SECOND + FOURTH) / 4,
            "poor": FOURTH,
        },
        abs=1e-6,
    )
    dropped, same = found.rankings
    assert dropped.exact == {"good": 1, "fair": 2, "poor": 3}
    assert dropped.approximate == {"good": 2, "fair": 1, "poor": 3}
    assert (dropped.moved, dropped.tau) == (1, pytest.approx(1 / 3))  # 2 of 3 pairs agree
    (swap,) = dropped.swaps
    assert (swap.first, swap.second) == ("good", "fair")
    apart = np.array([1 - SECOND, 1 - SECOND, SECOND - 1, 1 - FOURTH])
    assert swap.exact.mean == pytest.approx(apart.mean())
    assert not swap.exact.significant
    # only q2 differs: c is second and first
    assert close(swap.approximate, (SECOND - 1) / 4, 3 * (SECOND - 1) / 4, 0)
    assert (same.moved, same.tau, same.swaps) == (0, 1, ())


def test_equal_models_share_a_place_and_have_no_order(made, monkeypatch):
    table = tuple(map(tuple, GOOD))
    monkeypatch.setattr(ENCODERS, "create", lambda spec: Given(str(spec), table=table))
    (found,) = made(["dropping,drop=3"], ["one", "two"]).rankings
    assert found.exact == found.approximate == {"one": 1, "two": 1}
    assert (found.tau, found.swaps) == (None, ())


def test_an_interval_is_significant_where_it_leaves_out_0():
    assert Interval(0.2, 0.1, 0.3).significant
    assert Interval(-0.2, -0.3, -0.1).significant
    assert not Interval(0.1, 0.0, 0.3).significant


def test_each_setting_is_tried_once_and_costs_are_told(made):
    settings = ["dropping", "exact", "dropping,drop=,cost=0", "dropping,cost=3"]
    found = made(settings)
    assert [p.index for p in found.points] == ["exact", "dropping", "dropping,cost=3"]
    for search in (s for p in found.points for s in (p.near, p.asked)):
        assert 0 < search.p50 <= search.p95 <= search.p99
        assert min(search.per_second, search.per_cpu_second) > 0
        assert search.timed == 4
    assert all(p.build_s > 0 and not p.reused for p in found.points)
    assert found.threads >= 1
    json.dumps(asdict(found), allow_nan=False)


def test_a_structure_is_built_once_for_settings_that_differ_in_the_search_only(
    monkeypatch, tmp_path
):
    monkeypatch.setattr(ENCODERS, "create", lambda spec: Counting(dim=24))  # no two vectors equal
    task = "limit,docs=200,queries=30,k=2,attributes=5"
    settings = [*sweep("hnsw,M=4", "ef_search", (1, 200)), "hnsw,M=5,ef_search=200"]
    store, told = Store(tmp_path), list[tuple[str, int, int, str]]()
    found = study(
        ["counting"], [task], settings, store=store,
        progress=lambda *words: told.append(words),
    )  # fmt: skip
    _, least, most, other = found.points
    assert [p.reused for p in found.points] == [False, False, True, False]
    assert least.bytes == most.bytes > 200 * 24 * 4
    assert least.near.distances < most.near.distances < 200 * 4
    assert most.near.recall.mean == other.near.recall.mean == 1
    assert (most.change.mean, most.lost) == (0, {})
    assert any("ef_search=1" in note for note in least.warnings)
    assert most.warnings == ()
    assert [w[1:] for w in told if w[0] == "compare"] == [(i, 4, "settings") for i in range(5)]


def test_a_sweep_is_settings_that_differ_in_one_parameter():
    assert sweep("hnsw,M=8,ef_search=4", "ef_search", (16, 32)) == [
        "hnsw,M=8,ef_search=16",
        "hnsw,M=8,ef_search=32",
    ]


def test_what_is_refused(tmp_path, monkeypatch):
    class Other(Dropping):
        accepts = ("sparse", "multi-vector")

    class Late(Dropping):
        accepts = ("multi-vector",)

    monkeypatch.setitem(INDEXES._entries, "late", Entry("late", Late))
    monkeypatch.setitem(INDEXES._entries, "other", Entry("other", Other))
    pairs = tmp_path / "pairs.jsonl"
    rows = [{"sentence1": "a", "sentence2": "b", "score": score} for score in (0, 1)]
    pairs.write_text("\n".join(map(json.dumps, rows)), "utf-8")
    store, task = Store(tmp_path), "limit,docs=9,queries=5,k=1"
    for models, tasks, settings, message in (
        ([], [task], ["dropping"], "expected a model, a task and an index other than exact"),
        (["hashing"], [task], ["exact"], "an index other than exact"),
        (["hashing"], [task], ["nothing"], "unknown index 'nothing'"),
        (
            ["hashing"],
            [task],
            ["other"],
            "index other takes sparse or multi-vector vectors and hashing makes dense: choose",
        ),
        (
            ["hashing", "bm25"],
            [task],
            ["dropping", "weighing", "late"],
            "index late takes multi-vector vectors and hashing makes dense and bm25 makes sparse",
        ),
        (
            ["hashing", "bm25"],
            [task],
            ["weighing", "weighing,drop=1"],
            "hashing makes dense vectors, which none of these indexes takes: weighing, we",
        ),
        (["hashing"], [f"pairs:{pairs}"], ["dropping"], "a task of pairs: expected retrieval"),
    ):
        with pytest.raises(InputError, match=message):
            study(models, tasks, settings, store=store)


def test_measures_of_groups_are_refused(measured, tmp_path):
    with pytest.raises(InputError, match="mine is measured by Robustness@10, of groups"):
        study(["good"], [measured("Robustness@10")], ["dropping"], store=Store(tmp_path / "store"))
