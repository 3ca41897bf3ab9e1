"""Orders of insertion: an index that forgets what came first, worked-out dimensions, hnswlib."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import dataclass

import numpy as np
import pytest

from harness.analysis import nearness
from harness.analysis.graphs import GraphSettings
from harness.analysis.insertion import Swept, stands_out, sweep
from harness.analysis.nearness import query_lid
from harness.analysis.synthetic import VectorSet, synthetic
from harness.disk import cache_root
from harness.encoders import ENCODERS
from harness.errors import InputError
from harness.frames import Frame
from harness.indexes import INDEXES
from harness.indexes.saved import FileIndex
from harness.progress import silent
from harness.session import Session
from harness.spec import parse
from harness.stats import Estimate
from harness.store import Store
from harness.studies import STUDIES, Findings, insertion
from harness.studies.insertion import (
    ORDERS,
    QUARTERS,
    Insertion,
    charts,
    document_orders,
    headline,
    order_frame,
    relations,
    vector_frames,
)
from harness.vectors import Dense, Run
from tests.fakes import Counting, beir

TASK = "limit,docs=60,queries=30,k=2,attributes=5"
MODEL = "hashing,dim=24"
SMALL = {"M": 4, "ef_construction": 20, "ef_search": (10, 60), "draws": 2, "ranks": ()}


def study(model: str, task: str, *, progress=silent, **options) -> Findings:
    session = Session(Store(cache_root()), progress=progress)
    return Insertion(**options).run(session, [model], task)


def swept(documents, queries, graph) -> Frame:
    """What is found after each order, without a task."""
    orders = document_orders(documents, None, graph.seeds[0])
    return order_frame("t", sweep(documents, queries, graph, orders), Session(Store(cache_root())))


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


def by_name(orders: Frame, ef: int) -> dict[str, dict]:
    return {row["documents inserted"]: row for row in orders.where("ef_search", ef).records()}


def test_what_is_inserted_first_is_forgotten_and_rows_are_those_of_the_corpus(forgetful):
    # on an arc from the first axis to the second, half of the queries at either end
    angles = np.linspace(0.1, 1.47, 40)
    documents = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    queries = documents[[0, 1, 38, 39]]
    graph = GraphSettings(forgetful, ef_search=(20, 40), seeds=(1, 2))
    orders = swept(documents, queries, graph)
    half, whole = by_name(orders, 20), by_name(orders, 40)
    assert all(order["recall@10"] == Estimate(1, 1, 1) for order in whole.values())
    # along the component one end comes first: its two queries find nothing, the others all
    first, random = half["first component"], half["random"]
    assert first["recall@10"].mean == 0.5
    assert (first["least"], first["most"]) == (0.5, 0.5)
    assert 0 < random["recall@10"].mean < 1
    assert random["least"] < random["most"]
    assert first["change"].mean == pytest.approx(0.5 - random["recall@10"].mean)
    assert random["change"] is None
    assert random["score"] is random["score change"] is None
    assert random["differs"] == ""
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
    found = by_name(swept(documents, queries, GraphSettings(forgetful, ef_search=(30,))), 30)
    assert found["LID ascending"]["recall@10"].mean == 1
    assert found["LID descending"]["recall@10"].mean == 0


def test_labels_and_prefixes_keep_groups_together(forgetful, tmp_path):
    texts = {f"{'zb'[i % 2]}-{i:02}": f"word{i} other{i % 5}" for i in range(20)}
    task = beir(tmp_path / "t", texts, {"q": "word1 other1"}, [("q", "b-01", 1)])
    graph = {"index": forgetful, "ef_search": (10,), "ranks": ()}
    prefixed = study(MODEL, task, **graph, separator="-")
    found = by_name(prefixed["orders"], 10)["by id prefix"]
    assert found["score"].mean == 0  # "b" comes before "z" and is forgotten
    assert "nDCG@10 by exact search 1.0000" in prefixed["orders"].title
    assert found["score change"].mean == -1

    def labelled(labels: object) -> Findings:
        path = tmp_path / "labels.json"
        path.write_text(json.dumps(labels), "utf-8")
        return study(MODEL, task, **graph, labels=str(path))

    by_label = labelled({id: "last" if id[0] == "b" else "first" for id in texts})
    assert by_name(by_label["orders"], 10)["by label"]["score"].mean == 1
    assert by_label.notes[-1] == "keeps 10"
    with pytest.raises(InputError, match="document 'b-01' has no label: expected one for each"):
        labelled({})
    with pytest.raises(InputError, match=r"labels\.json: expected a JSON object of groups by"):
        labelled([])
    with pytest.raises(InputError, match=r"none\.json: cannot be read"):
        study(MODEL, task, **graph, labels=str(tmp_path / "none.json"))
    with pytest.raises(InputError, match="document id 'b-01' holds no ':' to group it by"):
        study(MODEL, task, **graph, separator=":")


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
    monkeypatch.setattr(nearness, "BLOCK", 3)
    assert query_lid(documents, queries, near).tolist() == whole.tolist()


def test_apart_is_what_neither_queries_nor_seeds_explain():
    random, change = (0.79, 0.81), Estimate(0.03, 0.01, 0.05)
    assert stands_out(change, (0.82, 0.84), random)
    assert not stands_out(change, (0.80, 0.84), random)
    assert not stands_out(Estimate(0.03, -0.01, 0.07), (0.82, 0.84), random)
    assert stands_out(Estimate(-0.06, -0.1, -0.01), (0.70, 0.78), random)
    assert not stands_out(change, random, random)


def test_a_study_with_hnswlib(monkeypatch):
    pytest.importorskip("hnswlib")
    monkeypatch.setattr(
        ENCODERS, "create", lambda spec: Counting(dim=24)
    )  # no two scores are equal
    told: list[tuple[str, int, int, str]] = []
    found = study(MODEL, TASK, progress=lambda *words: told.append(words), **SMALL)
    assert [words for words in told if words[0] == "insert"][-1] == ("insert", 10, 10, "graphs")
    orders = found["orders"]
    assert f"{MODEL} on {TASK}: 60 documents inserted in several orders; hnswlib, M=4, " in (
        orders.title
    )
    exact = float(orders.title.rpartition("; R@2 by exact search ")[2].split(";")[0])
    assert len(orders) == 10
    assert len(found["seeds"]) == 20
    complete = by_name(orders, 60)
    assert all(row["recall@10"].mean == 1 for row in complete.values())  # all 60 are candidates
    assert {row["score"] for row in complete.values()} == {complete["random"]["score"]}
    assert complete["random"]["score"].mean == pytest.approx(exact, abs=5e-5)
    assert complete["random"]["score change"] == Estimate(0, 0, 0)
    rough, none = found["relation"]["Spearman"]
    assert none is None  # all recalls are 1
    assert -1 <= rough.low <= rough.mean <= rough.high <= 1
    quarters = found["quarters"].where("ef_search", 10)
    assert quarters["queries"] == (8, 8, 7, 7)
    bounds = [bound for row in quarters.records() for bound in (row["LID from"], row["to"])]
    assert bounds == sorted(bounds)
    [own] = found["vectors"].records()
    assert own["cosine of 100"] is None
    assert 1 > own["cosine of 1"] > own["cosine of 10"] > own["of any"]
    assert study(MODEL, TASK, **SMALL) == found


def test_synthetic_vectors_of_fitting_dimension_stand_beside_the_models(forgetful):
    found = study(MODEL, TASK, index=forgetful, ef_search=(60,), draws=1, ranks=(8, 16, 32))
    rows = found["vectors"].records()
    assert [(row["vectors"], row["rank"]) for row in rows] == [
        ("one subspace", 8), ("one subspace", 16), ("20 clusters", 8), ("20 clusters", 16),
        (MODEL, None),
    ]  # fmt: skip
    assert rows[-1]["recall@10, ef_search=60"] == found["orders"]["recall@10"][0]
    assert found["dimension"].values("vectors") == [
        "synthetic, one subspace", "synthetic, 20 clusters", f"{MODEL}, quarters of the queries"
    ]  # fmt: skip


def test_recall_falls_as_the_dimension_rises():
    pytest.importorskip("hnswlib")
    graph = GraphSettings(M=4, ef_construction=20, ef_search=(10,), seeds=(1,))
    found = synthetic((3, 12, 48), graph, 1200, queries=60, width=48)
    assert [one.rank for one in found] == [3, 12, 48] * 2
    for kind in ("one subspace", "20 clusters"):
        three = [one for one in found if one.name == kind]
        lids = [one.near.lid for one in three]
        recalls = [one.recall[10].mean() for one in three]
        assert lids == sorted(lids)
        assert recalls == sorted(recalls, reverse=True)
        assert recalls[0] > recalls[2] + 0.1
    assert found[5].recall[10].mean() > found[2].recall[10].mean()  # they stand out in clusters


def test_quarters_without_a_dimension_and_vectors_that_have_none():
    session = Session(Store(cache_root()))
    recall = {("random", 10): np.array([[1.0, 0.5, 0.0]])}
    run = Run(np.zeros((3, 1), np.int32), np.zeros((3, 1), np.float32))
    quarters, relation = relations(Swept(run, recall, {}), np.array([np.inf, 4, 2]), session)
    assert [row["mean"] for row in quarters.records()] == [2, 4]
    assert [row["recall@10"].mean for row in quarters.records()] == [0, 0.5]
    assert relation["Spearman"][0].mean == pytest.approx(1)
    near = nearness.Nearness(None, {1: 0.9}, 0.1)
    sets = [
        VectorSet("20 clusters", 8, near, {10: np.ones(3)}),
        VectorSet("m", None, near, {10: np.ones(3)}),
    ]
    known, drawn = vector_frames(sets, quarters, session)
    assert known["LID"] == (None, None)
    assert set(drawn["vectors"]) == {"m, quarters of the queries"}  # no dimension to draw it at


def test_the_headline_and_what_is_drawn():
    one = Estimate(1, 1, 1)
    scores = (Estimate(0.5, 0.4, 0.6), Estimate(-0.02, -0.03, -0.01))
    change = Estimate(0.05, 0.02, 0.08)
    rows = [
        ("random", 10, Estimate(0.8, 0.7, 0.9), 0.79, 0.81, None, "", *scores),
        ("random", 40, one, 0.79, 0.81, None, "", *scores),
        ("LID descending", 10, Estimate(0.85, 0.8, 0.9), 0.84, 0.86, change, "yes", *scores),
        ("LID descending", 40, one, 0.84, 0.86, Estimate(0, -0.01, 0.01), "within noise", *scores),
    ]
    orders = Frame("t", ORDERS, rows, name="orders")
    numbers = [
        (10, 5.0, 10.0, 8.0, 50, Estimate(0.97, 0.95, 0.99)),
        (10, 10.5, 40.0, 20.0, 50, Estimate(0.71, 0.66, 0.76)),
    ]
    quarters = Frame("t", QUARTERS, numbers, name="quarters")
    assert headline(orders, quarters) == (
        "ef_search=10: recall@10 is 0.97 for queries of low dimension, 0.71 for those of "
        "high; inserting by LID descending moves it by +5.0 points"
    )
    alike = orders.where("differs", "", "within noise")
    none = "no order of insertion differs from a random one by more than noise"
    assert headline(alike, quarters).endswith(none)
    lone = quarters.where("ef_search", 40)
    assert headline(orders, lone) == (
        "ef_search=10: inserting by LID descending moves recall@10 by +5.0 points"
    )
    dots = charts(orders, Frame("t", insertion.DIMENSION, [], name="dimension"))[1]
    assert [reference.at for reference in dots.references] == [0.8, 1]
    assert dots.frame.values("search") == ["ef_search=10", "ef_search=40"]


def test_the_old_name_is_an_alias():
    assert STUDIES.create("order,M=4,ef_search=5+7") == Insertion(M=4, ef_search=(5, 7))
    with pytest.raises(InputError, match="0 draws: expected at least 1"):
        Insertion(draws=0)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"seeds": ()}, r"seeds \(\): expected one or more different numbers"),
        ({"ef_search": (10, 10)}, r"ef_search \(10, 10\): expected one or more different"),
        ({"M": 1}, "hnswlib: M=1: expected at least 2"),
        ({"ef_search": (10, 0)}, "hnswlib: ef_search=0: expected at least 1"),
        ({"index": "exact"}, "unknown parameter of exact 'M'"),
        (
            {"index": "exact"},
            r"\(the study sets M, ef_construction, ef_search, seed of the index: ",
        ),
        (
            {"index": "hnswlib,M=8,seed=1"},
            "seed=1 gives M, seed, which the study sets",
        ),
    ],
)
def test_a_graph_that_is_refused(given, message):
    pytest.importorskip("hnswlib")
    with pytest.raises(InputError, match=message):
        GraphSettings(**given)


def test_an_index_without_a_structure_is_refused(monkeypatch):
    create = INDEXES.create
    monkeypatch.setattr(INDEXES, "create", lambda spec: create("exact"))
    with pytest.raises(InputError, match="plain builds no structure: expected a graph, as hnswlib"):
        GraphSettings("plain")


def test_without_hnswlib_one_line_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "hnswlib", None)
    with pytest.raises(InputError, match=r"hnswlib cannot be imported \(.*\[hnswlib\]'$"):
        GraphSettings()


def test_too_many_and_too_few_documents(forgetful, monkeypatch):
    values = np.eye(5, dtype=np.float32)
    graph = GraphSettings(forgetful)
    with pytest.raises(InputError, match="3 vectors, 3 of them distinct: expected at least 4"):
        swept(values[:3], values, graph)
    monkeypatch.setattr(insertion, "LARGEST", 4)
    with pytest.raises(InputError, match="5 documents: expected at most 4, since each is compared"):
        swept(values, values, graph)


def test_ranks_beyond_the_width_are_refused(forgetful):
    with pytest.raises(InputError, match="rank 64: expected 2 to 32"):
        synthetic((64,), GraphSettings(forgetful, ef_search=(5,)), 10, queries=2, width=32)
