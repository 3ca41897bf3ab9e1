"""Approximate search beside exact search: losses, answers and swaps worked out by hand."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from harness.analysis.approximation import share_lost
from harness.analysis.orders import verdict
from harness.analysis.settings import families, read_sweep, sweep
from harness.api import evaluate
from harness.data import Corpus, Qrels, Queries
from harness.disk import cache_root
from harness.encoders import ENCODERS
from harness.errors import InputError
from harness.indexes import INDEXES, Found, Index, IndexInfo
from harness.parameters import Entry
from harness.progress import silent
from harness.session import Session
from harness.spec import join
from harness.stats import Estimate
from harness.store import Store
from harness.studies import Findings
from harness.studies.ann import Ann
from harness.studies.setting import ExactReference, TriedSetting, judge_margin, tell_kept
from harness.tasks import catalog
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


def study(names, tasks, settings, *, store, progress=silent, **options) -> Findings:
    session = Session(store, progress=progress)
    return Ann(indexes=tuple(settings), **options).run(session, names, join(tasks))


@dataclass(frozen=True)
class Point:
    """What frames hold of one model and setting; near: of the nearest, asked: of the measure."""

    setting: dict[str, Any]
    near: dict[str, Any]
    asked: dict[str, Any]
    lost: dict[str, tuple[str, ...]]
    stranded: tuple[str, ...]
    notes: list[str]

    @property
    def score(self) -> float:
        return self.setting["score"].mean

    @property
    def change(self) -> Estimate:
        return self.setting["change"]


def points(found: Findings) -> list[Point]:
    """The settings in order, exact search first of each model and task."""
    made = []
    for row in found["settings"].records():
        who = ("task", "model", "index")
        of = {
            name: [r for r in found[name].records() if all(r[w] == row[w] for w in who)]
            for name in ("searches", "lost")
        }
        lost: dict[str, tuple[str, ...]] = {}
        for one in of["lost"]:
            lost[one["query"]] = (*lost.get(one["query"], ()), one["document"])
        stranded = tuple(dict.fromkeys(r["query"] for r in of["lost"] if r["left with none"]))
        assert (row["lost"], row["left with none"]) == (len(lost), len(stranded))
        head = f"{row['task']}, {row['model']}, {row['index']}: "
        notes = [n.removeprefix(head) for n in found.notes if n.startswith(head)]
        near, asked = of["searches"][0], of["searches"][-1]
        made.append(Point(row, near, asked, lost, stranded, notes))
    return made


@pytest.fixture
def made(models, tmp_path):
    """A comparison on documents a to d: (settings, models, judgments) -> Findings."""

    def compare(settings, names=("good",), judgments=DIAGONAL, **options) -> Findings:
        queries = {f"q{i}": f"q{i}" for i in range(4)}
        documents = {name: name for name in "abcd"}
        task = beir(tmp_path / "data", documents, queries, judgments)
        return study(names, [task], settings, store=Store(tmp_path / "store"), **options)

    return compare


def close(interval: Estimate, mean: float, low: float, high: float) -> bool:
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
    exact, point = points(made(["anything,drop=3,cost=7"], [model]))
    assert (exact.setting["index"], exact.score) == ("exact", pytest.approx((3 + SECOND) / 4))
    assert close(exact.change, 0, 0, 0)
    assert close(exact.near["recall"], 1, 1, 1)
    assert exact.near["distances"] == distances
    assert exact.setting["memory"] == size
    assert point.score == pytest.approx((2 + SECOND) / 4)
    # of four queries one lost 1: a resample holds it at least three times with probability 13/256,
    # four times with 1/256, so that three times is the 2.5th percentile
    assert close(point.change, -0.25, -0.75, 0)
    assert not point.change.significant
    assert point.near["k"] == point.asked["k"] == 4  # of 10: there are no more documents
    assert close(point.near["recall"], 0.75, 0.75, 0.75)
    assert point.near["accuracy"] == 0.75
    assert point.near["distances"] == 7
    assert (point.lost, point.stranded) == ({"q3": ("d",)}, ("q3",))
    assert point.setting["memory"] is None
    assert point.notes == ["1 documents are dropped"]


def test_a_query_that_lost_one_of_two_is_not_left_with_none(made):
    judgments = [*DIAGONAL, ("q3", "c", 2), ("q0", "b", 0)]
    point = points(made(["dropping,drop=1+3"], judgments=judgments))[1]
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
    exact, point = points(found)
    assert (point.setting["measure"], point.score, exact.score) == ("P@1", 0.75, 0.75)
    assert point.lost == {}
    assert (point.near["k"], point.asked["k"]) == (4, 1)
    assert point.near["recall"].mean == 0.75
    assert point.asked["recall"].mean == 1  # c is nearest to no query


def test_ties_beyond_the_exact_run_count(tmp_path):
    documents = {f"d{i:02}": "same words" for i in range(30)}
    task = beir(tmp_path / "data", documents, {"q": "words"}, [("q", "d29", 1)])
    settings = ["dropping,drop=" + "%2B".join(map(str, range(20, 30))), "dropping,drop=29"]
    found = study(["hashing,dim=8"], [task], settings, store=Store(tmp_path / "store"))
    _, most, one = points(found)
    assert (most.near["recall"].mean, most.near["accuracy"]) == (1, 0)
    assert (one.near["recall"].mean, one.near["accuracy"]) == (1, 0.9)
    assert most.lost == {"q": ("d29",)}


def test_exact_search_scores_what_the_pipeline_scores(tmp_path):
    task = "limit,docs=60,queries=30,k=2,attributes=5"
    exact, _ = points(study(["hashing,dim=24"], [task], ["dropping,drop=0"], store=Store(tmp_path)))
    main = evaluate("hashing,dim=24", task).record.main
    assert asdict(exact.setting["score"]) == {"mean": main.mean, "low": main.low, "high": main.high}
    assert (exact.near["k"], exact.asked["k"], exact.setting["measure"]) == (10, 2, "R@2")


def test_a_query_s_own_document_is_left_out(tmp_path):
    texts = {"a": "red apple", "b": "red apple pie", "c": "blue car", "d": "blue bus"}
    task = beir(tmp_path / "own", texts, texts, [("a", "b", 1), ("c", "d", 1)])
    task += ",exclude_self=true"
    exact, point = points(
        study(["hashing,dim=64"], [task], ["dropping,drop=1"], store=Store(tmp_path / "store"))
    )
    assert exact.score == 1
    assert point.lost == {"a": ("b",)}
    # a, c and d find two of their three others; b finds all of its own
    assert point.near["recall"].mean == pytest.approx((3 * 2 / 3 + 1) / 4)


def places(found: Findings, index: str) -> tuple[dict[str, int], ...]:
    """By exact search and by a setting, of each model."""
    of = found["places"].where("index", index)
    return tuple(dict(zip(of["model"], of[by], strict=True)) for by in ("exact", "approximate"))


def answers(found: Findings) -> list[tuple[str | None, str, float | None]]:
    return [(a["cheapest"], a["by"], a[a["by"]]) for a in found["answers"].records()]


def test_the_cheapest_setting_by_distances(made):
    settings = ["dropping,cost=9", "dropping,cost=5", "dropping,drop=3,cost=2", "dropping,cost=7"]
    found = made(settings, judgments=DIAGONAL[:3])  # d is relevant to nothing
    assert answers(found) == [("dropping,cost=5", "distances", 5), (settings[2], "distances", 2)]
    assert list(found["answers"]["to keep"]) == [
        "recall@10 of at least 0.95",
        "nDCG@10 within 0.5% of exact search",
    ]


def test_none_is_cheap_enough(made):
    found = made(["dropping,drop=3,cost=2"])
    assert answers(found) == [(None, "distances", None), (None, "distances", None)]
    assert found["fastest"].select("fastest", "p50").rows == ((None, None),) * 4


def test_by_latency_where_a_setting_does_not_tell_its_distances(made):
    found = made(["dropping,drop=3,cost=2", "dropping"])
    p50 = points(found)[2].near["p50"]
    assert answers(found)[0] == ("dropping", "p50", p50)
    assert p50 > 0


def test_the_fastest_by_accuracy_and_memory(made, monkeypatch):
    monkeypatch.setattr(
        "harness.analysis.timing.latencies",
        lambda searcher, queries, k: np.array([9.0 if searcher.info.exact else searcher.cost]),
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
    assert list(found["fastest"].select("to keep", "memory, x exact", "fastest", "p50").rows) == [
        (target, budget, f"dropping,cost={cost},size={size}", cost)
        for target in targets
        for budget, cost, size in ((None, 3, 129), (2.0, 5, 128), (1.5, 7, 96))
    ]


def test_settings_are_tried_for_the_models_whose_vectors_they_take(made):
    settings = ["dropping,cost=3", "anything,drop=3", "weighing,cost=3"]
    found = made(settings, ["good", "sparse", "several"])
    assert list(found["settings"].select("model", "index").rows) == [
        ("good", "exact"),
        ("good", "dropping,cost=3"),
        ("good", "anything,drop=3"),
        ("sparse", "exact"),
        ("sparse", "anything,drop=3"),
        ("sparse", "weighing,cost=3"),
        ("several", "exact"),
        ("several", "anything,drop=3"),
    ]
    (ranking,) = found["rankings"].records()  # of models that were searched with one setting
    assert ranking["index"] == "anything,drop=3"
    assert ranking["by exact search"] == ranking["by index"] == "good = sparse = several"
    ones = {"good": 1, "sparse": 1, "several": 1}
    assert places(found, "anything,drop=3") == (ones, ones)
    assert list(found["answers"].select("model", "cheapest").rows)[::2] == [
        ("good", "dropping,cost=3"),
        ("sparse", "weighing,cost=3"),
        ("several", None),
    ]


def test_a_model_that_weighs_terms_by_the_corpus(tmp_path):
    task = "limit,docs=60,queries=30,k=2,attributes=5"
    found = study(["bm25"], [task], ["weighing,drop=0"], store=Store(tmp_path))
    main = evaluate("bm25", task).record.main
    assert asdict(points(found)[0].setting["score"]) == {
        "mean": main.mean,
        "low": main.low,
        "high": main.high,
    }


def test_models_change_places(made):
    found = made(["dropping,drop=3", "dropping"], ["good", "fair", "poor"])
    exact = [p for p in points(found) if p.setting["index"] == "exact"]
    means = {p.setting["model"]: p.score for p in exact}
    assert means == pytest.approx(
        {
            "good": (3 + SECOND) / 4,
            "fair": (1 + 2 * SECOND + FOURTH) / 4,
            "poor": FOURTH,
        },
        abs=1e-6,
    )
    dropped, same = found["rankings"].records()
    assert places(found, "dropping,drop=3") == (
        {"good": 1, "fair": 2, "poor": 3},
        {"good": 2, "fair": 1, "poor": 3},
    )
    assert dropped["by index"] == "fair > good > poor"
    assert (dropped["moved"], dropped["Kendall tau"]) == (1, pytest.approx(1 / 3))  # 2 of 3 agree
    (swap,) = found["swaps"].records()
    assert (swap["first"], swap["second"]) == ("good", "fair")
    apart = np.array([1 - SECOND, 1 - SECOND, SECOND - 1, 1 - FOURTH])
    assert swap["exact"].mean == pytest.approx(apart.mean())
    assert not swap["exact"].significant
    # only q2 differs: c is second and first
    assert close(swap["approximate"], (SECOND - 1) / 4, 3 * (SECOND - 1) / 4, 0)
    assert swap["verdict"] == "not significant to begin with, nor after"
    assert (same["moved"], same["Kendall tau"], same["swaps"]) == (0, 1, 0)
    assert found.headline == (
        "A setting keeps recall@10 of at least 0.95 for 3 of 3 models and tasks, the task's "
        "measure within 0.5% for 3 of 3; models change places in 1 of 2 cases"
    )
    charts = [(chart.by, chart.dash, chart.label) for chart in found.charts]
    assert charts == [("model", "setting", "value")] * 2


def test_equal_models_share_a_place_and_have_no_order(made, monkeypatch):
    table = tuple(map(tuple, GOOD))
    monkeypatch.setattr(ENCODERS, "create", lambda spec: Given(str(spec), table=table))
    found = made(["dropping,drop=3"], ["one", "two"])
    assert places(found, "dropping,drop=3") == ({"one": 1, "two": 1}, {"one": 1, "two": 1})
    (ranking,) = found["rankings"].records()
    assert (ranking["Kendall tau"], ranking["swaps"]) == (None, 0)


CLEAR, VAGUE = Estimate(0.2, 0.1, 0.3), Estimate(0.2, -0.1, 0.3)


@pytest.mark.parametrize(
    ("exact", "after", "said"),
    [
        (CLEAR, Estimate(-0.2, -0.3, -0.1), "a significant difference is reversed, significantly"),
        (CLEAR, Estimate(-0.1, -0.3, 0.1), "a significant difference is reversed, not signif"),
        (VAGUE, Estimate(-0.2, -0.3, -0.1), "not significant to begin with, significant after"),
        (VAGUE, Estimate(-0.1, -0.3, 0.1), "not significant to begin with, nor after"),
    ],
)
def test_whether_models_that_change_places_differed(exact, after, said):
    assert verdict(exact, after).startswith(said)


def test_an_interval_is_significant_where_it_leaves_out_0():
    assert Estimate(0.2, 0.1, 0.3).significant
    assert Estimate(-0.2, -0.3, -0.1).significant
    assert not Estimate(0.1, 0.0, 0.3).significant


def test_each_setting_is_tried_once_and_costs_are_told(made):
    settings = ["dropping", "exact", "dropping,drop=,cost=0", "dropping,cost=3"]
    found = made(settings)
    assert list(found["settings"]["index"]) == ["exact", "dropping", "dropping,cost=3"]
    for search in found["searches"].records():
        assert 0 < search["p50"] <= search["p95"] <= search["p99"]
        assert min(search["queries/s"], search["queries/CPU s"]) > 0
        assert search["timed"] == 4
    assert all(seconds > 0 for seconds in found["settings"]["build"])
    assert not any(found["settings"]["reused"])
    assert "batches on" in found["searches"].title
    for frame in found.frames:
        json.dumps(frame.plain(), allow_nan=False)


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
    _, least, most, other = points(found)
    assert list(found["settings"]["reused"]) == [False, False, True, False]
    assert least.setting["memory"] == most.setting["memory"] > 200 * 24 * 4
    assert least.near["distances"] < most.near["distances"] < 200 * 4
    assert most.near["recall"].mean == other.near["recall"].mean == 1
    assert (most.change.mean, most.lost) == (0, {})
    assert any("ef_search=1" in note for note in least.notes)
    assert most.notes == []
    assert [w[1:] for w in told if w[0] == "compare"] == [(i, 4, "settings") for i in range(5)]


def test_a_sweep_is_settings_that_differ_in_one_parameter():
    assert sweep("hnsw,M=8,ef_search=4", "ef_search", (16, 32)) == [
        "hnsw,M=8,ef_search=16",
        "hnsw,M=8,ef_search=32",
    ]


def test_a_sweep_is_of_each_index(made):
    found = made(["dropping,drop=3"], sweep="cost=2,5")
    assert list(found["settings"]["index"])[1:] == [f"dropping,drop=3,cost={n}" for n in (2, 5)]
    assert read_sweep("cost=2,5") == read_sweep("[cost=2+5]") == ("cost", ["2", "5"])
    with pytest.raises(InputError, match=r"sweep=ef: expected \[PARAMETER=VALUE"):
        study(["good"], ["limit-small"], ["dropping"], store=Store(cache_root()), sweep="ef")


def test_where_no_index_is_named_hnsw_is_swept(tmp_path):
    task = "limit,docs=60,queries=30,k=2,attributes=5"
    usual = study(["hashing,dim=8"], [task], [], store=Store(tmp_path / "s"))
    widths = [f"hnsw,ef_search={n}" for n in (8, 16, 32, 64, 128, 256)]
    assert list(usual["settings"]["index"]) == ["exact", *widths]
    said = "hnsw,ef_search=8 and ef_search=16, 32, 64, 128, 256"
    assert usual["curves"].values("setting") == ["exact", said]
    assert list(usual["curves"]["value"]) == ["exact", "8", "16", "32", "64", "128", "256"]


def test_settings_that_differ_in_one_parameter_are_a_family():
    full = {f"hnsw,M=16,ef_search={n}": f"hnsw,ef_search={n}" for n in (8, 32)}
    full |= {"exact": "exact", "hnsw:qdrant,M=16,ef_search=100": "hnsw:qdrant"}
    one = "hnsw,ef_search=8 and ef_search=32"
    assert list(families(full).values()) == [
        (one, "8"), (one, "32"), ("exact", ""), ("hnsw:qdrant", ""),
    ]  # fmt: skip


def test_the_headline_of_one_model_and_task(made):
    found = made(["dropping,cost=9", "dropping,drop=3,cost=2"])
    assert "good on " in found.headline
    assert found.headline.endswith(
        ": dropping,cost=9 keeps recall@10 of at least 0.95; dropping,cost=9 keeps nDCG@10 within "
        "0.5% of exact search"
    )
    assert [chart.by for chart in found.charts] == ["setting"] * 2


def test_the_headline_refers_to_the_notes_of_what_it_names(made):
    found = made(["dropping,cost=9,drop=0", "dropping,drop=3,cost=2"])
    line = tell_kept(found["answers"], [f"{found['answers']['task'][0]}, good, other: no"])
    assert "notes" not in line
    named = f"{found['answers']['task'][0]}, good, {found['answers']['cheapest'][0]}: keeps 10"
    assert "(see the notes) keeps recall@10" in tell_kept(found["answers"], [named])


@pytest.mark.parametrize(("cost", "noted"), [(5, True), (3, False)])
def test_exact_search_that_is_faster_is_noted(made, monkeypatch, cost, noted):
    def latencies(searcher, queries, k):
        return np.array([4.0 if searcher.info.exact else searcher.cost])

    monkeypatch.setattr("harness.analysis.timing.latencies", latencies)
    notes = made(["dropping,cost=9", f"dropping,cost={cost}"]).notes
    assert any("none is faster than exact search: 4 ms" in note for note in notes) is noted


@pytest.mark.parametrize(
    ("options", "message"),
    [({"k": 0}, "k=0"), ({"recall": 1.5}, "recall=1.5"), ({"margin": -0.1}, "margin=-0.1")],
)
def test_shares_and_neighbours_out_of_range(options, message):
    with pytest.raises(InputError, match=message):
        Ann(**options)


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


@pytest.mark.parametrize(
    ("change", "lost", "kept"),
    [
        (np.zeros(1000), 0, "kept"),
        (np.full(1000, -0.0039), 0, "kept"),  # of 0.8, 0.5% are 0.004
        (np.full(1000, -0.0041), 0, "lost"),
        # means of -0.0027 with intervals of +-0.0062: less than 0.004 is not shown, nor more
        (np.tile([-0.1027, 0.0973], 500), 0, "undecided"),
        (np.tile([-0.1027, -0.0973], 500), 0, "lost"),
        (np.zeros(1000), 54, "lost"),  # others make up for what 54 queries lost
        (np.zeros(1000), 5, "undecided"),
        (np.zeros(1000), 1, "kept"),
    ],
)
def test_what_a_setting_keeps_is_shown_by_an_interval_of_scores_and_of_losses(
    tmp_path, change, lost, kept
):
    exact = ExactReference(None, 10, None, np.full(1000, 0.8))
    shares = np.zeros(1000)
    shares[:lost] = 1.0
    rest = dict.fromkeys(("near", "asked", "build_s", "reused", "bytes", "notes"))
    tried = TriedSetting(
        index="x", values=exact.values + change, lost_shares=shares, lost=(), **rest
    )
    assert judge_margin(Session(Store(tmp_path)), tried, exact, 0.005) == kept


def test_recall_that_every_query_has_is_enough(made):
    found = made(["dropping,drop=3,cost=2"], recall=0.74)  # three of four for each query
    assert found["answers"]["cheapest"][0] == "dropping,drop=3,cost=2"


def test_recall_of_few_queries_shows_nothing(made):
    found = made(["dropping,drop=3,cost=2"], k=1, recall=0.5)
    assert points(found)[1].near["recall"].mean == 0.75  # 1, 1, 1, 0: any draw may have 2 zeros
    told = found["answers"].records()[0]
    assert (told["cheapest"], told["undecided"]) == (None, 1)
    assert "nothing tried is shown to keep recall@1 of at least 0.5, 1 undecided" in found.headline


def test_relevant_documents_lost_are_shares_of_those_found():
    queries = Queries(["q0", "q1", "q2"], ["", "", ""])
    corpus = Corpus.of(["a", "b", "c"], ["", "", ""])
    pairs = [("q0", "a", 1), ("q0", "b", 1), ("q1", "c", 1), ("q2", "a", 0)]
    qrels = Qrels.of(pairs, queries, corpus)
    exact, other = np.array([[0, 1], [0, 1], [0, 1]]), np.array([[0, 2], [0, 2], [1, 2]])
    # of q0 b is lost; c of q1 was not found before; q2 has nothing to lose
    assert share_lost(qrels, 3, exact, other).tolist() == [0.5, 0.0, 0.0]
