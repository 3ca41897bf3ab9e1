"""Orders of insertion: an index that forgets what came first, worked-out dimensions, hnswlib."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import asdict, dataclass, replace

import numpy as np
import pytest

from harness.disk import cache_root
from harness.encoders import ENCODERS
from harness.errors import InputError
from harness.indexes import INDEXES
from harness.indexes.saved import FileIndex
from harness.spec import parse
from harness.store import Store
from harness.studies import insertion
from harness.studies.insertion import Graph, Order, query_lid, ranks, study, sweep
from harness.studies.subject import Interval
from harness.vectors import Dense, Run
from tests.fakes import Counting, beir

TASK = "limit,docs=60,queries=30,k=2,attributes=5"
MODEL = "hashing,dim=24"
SMALL = Graph(M=4, ef_construction=20, ef_search=(10, 60), seeds=(1, 2))


def store() -> Store:
    return Store(cache_root())


@dataclass(frozen=True)
class Forgetful(FileIndex):
    """Exact search without the first documents inserted; ef_search says how many are kept."""

    ef_search: int

    def build_key(self):
        return {"kind": "forgetful"}

    def make(self, documents, progress):
        return documents.values

    def searcher(self, built, documents):
        kept = built.copy()
        kept[: len(kept) - self.ef_search] = -1e6  # all components: far from queries above 0
        return INDEXES.create("exact").open(Dense(kept))

    def save(self, built, path):
        raise NotImplementedError

    def load(self, path):
        raise NotImplementedError

    def size(self, built):
        return 0

    def notes(self, k):
        return (f"keeps {self.ef_search}",)


@pytest.fixture
def forgetful(monkeypatch):
    """An index of that name."""
    create = INDEXES.create

    def made(spec):
        name, given = parse(spec).name, dict(parse(spec).params)
        return Forgetful(int(given["ef_search"])) if name == "forgetful" else create(spec)

    monkeypatch.setattr(INDEXES, "create", made)
    return "forgetful"


def by_name(orders, ef) -> dict[str, Order]:
    return {order.name: order for order in orders if order.ef_search == ef}


def test_what_is_inserted_first_is_forgotten_and_rows_are_those_of_the_corpus(forgetful):
    # on an arc from the first axis to the second, half of the queries at either end
    angles = np.linspace(0.1, 1.47, 40)
    documents = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    queries = documents[[0, 1, 38, 39]]
    graph = Graph(forgetful, ef_search=(20, 40), seeds=(1, 2))
    orders = sweep(documents, queries, graph)
    half, whole = by_name(orders, 20), by_name(orders, 40)
    assert all(order.recall == Interval(1, 1, 1) for order in whole.values())
    # along the component one end comes first: its two queries find nothing, the others all
    assert half["first component"].recall.mean == 0.5
    assert half["first component"].seeds == (0.5, 0.5)
    assert 0 < half["random"].recall.mean < 1
    assert half["random"].seeds[0] != half["random"].seeds[1]
    expected = 0.5 - half["random"].recall.mean
    assert half["first component"].change.mean == pytest.approx(expected)
    assert half["random"].change is None
    assert half["random"].score is None
    assert set(half) == {
        "random", "LID ascending", "LID descending", "by cluster", "first component"
    }  # fmt: skip


def test_the_dimension_of_documents_decides_the_order(forgetful, monkeypatch):
    # thirty on a line and, far from them, thirty in eight dimensions, which the queries are near to
    monkeypatch.setattr(insertion, "FAR", 8)
    random = np.random.default_rng(0)
    line, ball = np.zeros((30, 8), np.float32), random.random((30, 8), np.float32) + 9
    line[:, 0] = np.arange(30) / 30 + 1
    queries = np.ones((4, 8), np.float32)
    documents = np.concatenate([line, ball])
    found = by_name(sweep(documents, queries, Graph(forgetful, ef_search=(30,))), 30)
    assert found["LID ascending"].recall.mean == 1
    assert found["LID descending"].recall.mean == 0


def test_labels_and_prefixes_keep_groups_together(forgetful, tmp_path):
    texts = {f"{'zb'[i % 2]}-{i:02}": f"word{i} other{i % 5}" for i in range(20)}
    task = beir(tmp_path / "t", texts, {"q": "word1 other1"}, [("q", "b-01", 1)])
    graph = Graph(forgetful, ef_search=(10,))
    prefixed = study(MODEL, task, store=store(), graph=graph, separator="-")
    found = by_name(prefixed.orders, 10)["by id prefix"]
    assert found.score.mean == 0  # "b" comes before "z" and is forgotten
    assert prefixed.score.mean == 1
    assert found.score_change.mean == -1
    labels = {id: "last" if id[0] == "b" else "first" for id in texts}
    labelled = study(MODEL, task, store=store(), graph=graph, labels=labels)
    assert by_name(labelled.orders, 10)["by label"].score.mean == 1
    assert labelled.warnings[-1] == "keeps 10"
    with pytest.raises(InputError, match="document 'b-01' has no label: expected one for each"):
        study(MODEL, task, store=store(), graph=graph, labels={})
    with pytest.raises(InputError, match="document id 'b-01' holds no ':' to group it by"):
        study(MODEL, task, store=store(), graph=graph, separator=":")


def test_the_dimension_at_a_query_by_hand():
    documents = np.array([[0, 0], [1, 0], [0, 2], [4, 0], [0, -4]], np.float32)
    near = Run(np.array([[1, 2, 3], [0, 1, 3], [3, 4, 3]], np.int32), np.zeros((3, 3), np.float32))
    found = query_lid(documents, np.zeros((3, 2), np.float32), near)
    # ln 1/4 + ln 2/4 + ln 4/4 = -3 ln 2 over three; without the one at distance 0, -2 ln 2 over two
    assert found[:2] == pytest.approx([1 / math.log(2), 1 / math.log(2)])
    assert found[2] == math.inf


def test_the_dimension_at_a_query_does_not_depend_on_blocks(monkeypatch):
    random = np.random.default_rng(0)
    documents, queries = (random.random((n, 4), np.float32) for n in (30, 7))
    near = INDEXES.create("exact").open(Dense(documents)).search(Dense(queries), 9, print).run
    whole = query_lid(documents, queries, near)
    monkeypatch.setattr(insertion, "BLOCK", 3)
    assert query_lid(documents, queries, near).tolist() == whole.tolist()


def test_apart_is_what_neither_queries_nor_seeds_explain():
    random = Order("random", 10, Interval(0.8, 0.7, 0.9), (0.79, 0.81), None, None, None)
    other = replace(random, name="x", seeds=(0.82, 0.84), change=Interval(0.03, 0.01, 0.05))
    assert other.apart(random)
    assert not replace(other, seeds=(0.80, 0.84)).apart(random)
    assert not replace(other, change=Interval(0.03, -0.01, 0.07)).apart(random)
    assert replace(other, seeds=(0.70, 0.78), change=Interval(-0.06, -0.1, -0.01)).apart(random)
    assert not random.apart(random)


def test_a_study_with_hnswlib(monkeypatch):
    pytest.importorskip("hnswlib")
    monkeypatch.setattr(
        ENCODERS, "create", lambda spec: Counting(dim=24)
    )  # no two scores are equal
    told: list[tuple[str, int, int, str]] = []
    found = study(
        MODEL, TASK, store=store(), graph=SMALL, progress=lambda *words: told.append(words)
    )
    assert [words for words in told if words[0] == "insert"][-1] == ("insert", 10, 10, "graphs")
    assert (found.documents, found.queries, found.dimension, found.measure) == (60, 30, 24, "R@2")
    assert found.structure["M"] == 4
    assert len(found.orders) == 10
    complete = by_name(found.orders, 60)
    assert all(order.recall.mean == 1 for order in complete.values())  # all 60 are candidates
    assert all(order.score == found.score for order in complete.values())
    assert complete["random"].score_change == Interval(0, 0, 0)
    rough, exact = found.relations
    assert (exact.spearman, exact.low, exact.high) == (None, None, None)  # all recalls are 1
    assert -1 <= rough.low <= rough.spearman <= rough.high <= 1
    assert [quarter.queries for quarter in rough.quarters] == [8, 8, 7, 7]
    bounds = [bound for quarter in rough.quarters for bound in (quarter.low, quarter.high)]
    assert bounds == sorted(bounds)
    assert list(found.near.cosines) == [1, 10]
    assert 1 > found.near.cosines[1] > found.near.cosines[10] > found.near.average
    assert found.near.neighbours == 60
    json.dumps(asdict(found), allow_nan=False)
    assert study(MODEL, TASK, store=store(), graph=SMALL) == found


def test_recall_falls_as_the_dimension_rises():
    pytest.importorskip("hnswlib")
    graph = replace(SMALL, ef_search=(10,), seeds=(1,))
    found = ranks((3, 12, 48), documents=1200, queries=60, width=48, graph=graph)
    assert [one.rank for one in found] == [3, 12, 48] * 2
    for kind in ("one subspace", "20 clusters"):
        three = [one for one in found if one.kind == kind]
        lids = [one.near.lid for one in three]
        recalls = [one.recall[10].mean for one in three]
        assert lids == sorted(lids)
        assert recalls == sorted(recalls, reverse=True)
        assert recalls[0] > recalls[2] + 0.1
    assert found[5].recall[10].mean > found[2].recall[10].mean  # neighbours stand out in clusters


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"seeds": ()}, r"seeds \(\): expected one or more different numbers"),
        ({"ef_search": (10, 10)}, r"ef_search \(10, 10\): expected one or more different"),
        ({"M": 1}, "hnswlib: M=1: expected at least 2"),
        ({"ef_search": (10, 0)}, "hnswlib: ef_search=0: expected at least 1"),
        ({"index": "exact"}, "unknown parameter of exact 'M'"),
    ],
)
def test_a_graph_that_is_refused(given, message):
    pytest.importorskip("hnswlib")
    with pytest.raises(InputError, match=message):
        Graph(**given)


def test_an_index_without_a_structure_is_refused(monkeypatch):
    create = INDEXES.create
    monkeypatch.setattr(INDEXES, "create", lambda spec: create("exact"))
    with pytest.raises(InputError, match="plain builds no structure: expected a graph, as hnswlib"):
        Graph("plain")


def test_without_hnswlib_one_line_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "hnswlib", None)
    with pytest.raises(InputError, match="hnswlib is not installed: pip install"):
        Graph()


def test_too_many_and_too_few_documents(forgetful, monkeypatch):
    values = np.eye(5, dtype=np.float32)
    graph = Graph(forgetful)
    with pytest.raises(InputError, match="3 vectors, 3 of them distinct: expected at least 4"):
        sweep(values[:3], values, graph)
    monkeypatch.setattr(insertion, "LARGEST", 4)
    with pytest.raises(InputError, match="5 documents: expected at most 4, since each is compared"):
        sweep(values, values, graph)


def test_ranks_beyond_the_width_are_refused(forgetful):
    with pytest.raises(InputError, match="rank 64: expected 2 to 32"):
        ranks((64,), documents=10, queries=2, width=32, graph=Graph(forgetful, ef_search=(5,)))
