"""Part of the judgments: tau and error rate worked out by hand, beside evaluations of their own."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from harness.api import evaluate
from harness.disk import cache_root
from harness.errors import InputError
from harness.frames import Frame
from harness.session import Session
from harness.sources.folder import folder
from harness.stats import Estimate
from harness.store import Store
from harness.studies.judgments import BUCKETS, ONE, REDUCED, SELECTIONS, Judgments, headline
from tests.fakes import beir

# a, b and c are relevant, x is judged and is not; nobody judged y and z
DOCUMENTS = {"a": "1", "b": "22", "c": "333", "x": "4444", "y": "4444", "z": "4444"}
RANKINGS = ["abcx", "xcba", "xybc", "xyzc"]  # by reciprocal rank 1, 1/2, 1/3, 1/4


def store() -> Store:
    return Store(cache_root())


def study(systems, task, *, seed=0, cells=None, **options):
    session = Session(store(), seed, cells=cells)
    return Judgments(**{"measure": "", **options}).run(session, systems, task)


def toy(where: Path, queries: int, rankings=RANKINGS) -> tuple[list[str], str]:
    """Runs that rank alike for every query, and their task."""
    names = [f"q{i}" for i in range(queries)]
    judged = [(q, id, gain) for q in names for id, gain in zip("abcx", (1, 1, 1, 0), strict=True)]
    task = beir(where / "task", DOCUMENTS, dict.fromkeys(names, "text"), judged)
    runs = []
    for number, ranking in enumerate(rankings):
        lines = [
            f"{q} Q0 {id} {rank} {10 - rank} t\n"
            for q in names
            for rank, id in enumerate(ranking, 1)
        ]
        path = where / f"run{number}"
        path.write_text("".join(lines))
        runs.append(str(path))
    return runs, task


def measured(where: Path, queries: int = 1, **options):
    runs, task = toy(where, queries)
    return study(runs, task, **{"measure": "RR@10", **options})


def part(found, selection, share=None):
    rule = ONE if share is None else f"{share:.0%}"
    (one,) = found["reduced"].where("stay judged", selection).where("of each query", rule).records()
    return one


def by_p(row):
    return [row[f"tau, {bucket}"] for bucket in BUCKETS]


def scores(found, measure="RR@10"):
    return found["systems"].numbers(measure)


# Pairs in order, of six, by the only document that stays judged:
#   a: 1, 1/4, 0, 0          five, one gets equal
#   b: 1/2, 1/3, 1/3, 0      five, one gets equal
#   c: 1/3, 1/2, 1/4, 1/4    four, one turns, one gets equal
A = B = 5 / 6
C = 3 / 6


def test_the_systems_by_all_judgments(tmp_path):
    found = measured(tmp_path)
    systems = found["systems"]
    names = [Path(system).name for system in systems["system"]]
    assert names == ["run0", "run1", "run2", "run3"]
    assert scores(found) == pytest.approx([1, 1 / 2, 1 / 3, 1 / 4])
    assert systems["judged@10"] == pytest.approx([0.4, 0.4, 0.3, 0.2])
    assert systems["hole@10"] == pytest.approx([0.6, 0.6, 0.7, 0.8])
    assert systems.title == (f"RR@10 on folder:{tmp_path / 'task'}: 1 query, 3 relevant documents")


@pytest.mark.parametrize(
    ("selection", "tau", "best"),
    # c is found by four systems, b by three, a by two; the systems rank a, c, b and c highest
    [
        ("shortest", A, 1),
        ("longest", C, 0),
        ("popular", C, 0),
        ("system", (A + C + B + C) / 4, 0.5),
    ],
)
def test_one_relevant_document_by_hand(selection, tau, best, tmp_path):
    found = measured(tmp_path)
    one = part(found, selection)
    assert one["tau"].mean == pytest.approx(tau)
    assert one["turned"] == pytest.approx((1 - tau) / 2)
    assert sum(found["pairs"]["pairs of systems"]) == 6
    assert (one["documents"], one["best stays best"]) == (1, best)
    assert one["share"] == pytest.approx(1 / 3)
    assert one["versions"] == (4 if selection == "system" else 1)
    assert (one["tau"].low is None) == (selection != "system")


def test_error_rates_by_hand(tmp_path):
    found = measured(tmp_path)
    assert part(found, "shortest")["turned"] == pytest.approx(1 / 12)  # half a pair of six
    assert part(found, "longest")["turned"] == pytest.approx(0.25)  # one and a half


def test_two_of_three_and_all_by_hand(tmp_path):
    found = measured(tmp_path, shares=(0.5, 0.9))
    # a and b: 1, 1/3, 1/3, 0; b and c: 1/2, 1/2, 1/3, 1/4
    for selection in ("shortest", "longest"):
        one = part(found, selection, 0.5)
        assert (one["documents"], one["tau"].mean) == (2, pytest.approx(5 / 6))
        assert part(found, selection, 0.9)["tau"].mean == 1
    best = [part(found, name, 0.5)["best stays best"] for name in ("shortest", "longest")]
    assert best == [1, 0]
    (enough,) = found["enough"].where("stay judged", "shortest").rows
    assert enough == ("shortest", 0.5, None, None, 0.5)
    assert found["enough"]["stay judged"] == tuple(SELECTIONS)
    curve = found["curves"].where("stay judged", "longest")
    assert curve.numbers("Kendall's tau") == pytest.approx([C, 5 / 6, 1, 1])
    shares = curve.numbers("relevant documents that stay judged")
    assert shares == pytest.approx([1 / 3, 2 / 3, 1, 1])


def test_where_no_part_is_enough_all_judgments_are_needed(tmp_path):
    found = measured(tmp_path, shares=(0.1,))  # one of three, by which tau is 3 / 6
    assert found["enough"].where("stay judged", "longest")["all pairs"] == (1.0,)


def test_random_draws_by_hand(tmp_path):
    one = part(measured(tmp_path, draws=4000), "random")
    tau = one["tau"]
    assert tau.mean == pytest.approx((A + B + C) / 3, abs=0.01)  # four standard errors
    assert (tau.low, tau.high) == pytest.approx((C, A))
    assert one["best stays best"] == pytest.approx(2 / 3, abs=0.03)
    assert one["versions"] == 4000


@pytest.mark.parametrize(("queries", "bucket"), [(1, 2), (5, 2), (6, 1), (7, 1), (8, 0)])
def test_pairs_by_p_value(queries, bucket, tmp_path):
    # all queries differ alike: p = 2 / 2^queries, .0625 for 5, .03125 for 6, .0078 for 8
    found = measured(tmp_path, queries)
    one = part(found, "longest")
    assert [there is not None for there in by_p(one)] == [at == bucket for at in range(3)]
    assert found["pairs"]["pairs of systems"][bucket] == 6
    assert by_p(one)[bucket] == one["tau"].mean
    assert one["tau"].mean == pytest.approx(C)


def test_pools_by_hand(tmp_path):
    first, third = measured(tmp_path, queries=2, pools=(3, 1))["pools"].rows
    # the first results are a and x; the first three a, b, c, x, y, z: of each of two queries
    assert first[:4] == (1, 4, 2, pytest.approx(2 / 6))
    assert first[4:] == pytest.approx((A, (1 - A) / 2))
    assert third == (3, 12, 6, 1, 1, 0)


def test_systems_that_score_the_same_have_no_order_to_keep(tmp_path):
    runs, task = toy(tmp_path, 1, [*RANKINGS, "aybz"])
    found = study(runs, task, measure="RR@10")
    assert "1 pair of systems left out: equal by all judgments" in found.notes
    assert sum(found["pairs"]["pairs of systems"]) == 9
    with pytest.raises(InputError, match="all 2 systems score the same: there is no order to keep"):
        study([runs[0], runs[4]], task, measure="RR@10")


@pytest.fixture(scope="module")
def collection(tmp_path_factory) -> tuple[Path, list[tuple[str, str, float]]]:
    """40 documents, 12 queries with 1 to 6 relevant ones of two grades, and others judged not."""
    random, where = np.random.default_rng(5), tmp_path_factory.mktemp("judgments")
    words = [f"w{i}" for i in range(30)]
    documents = {
        f"d{i:02}": " ".join(random.choice(words, size=5 + i % 7)) + " " * i for i in range(40)
    }
    queries, judged = {}, []
    for i in range(12):
        chosen = random.choice(40, size=8, replace=False)
        queries[f"q{i}"] = " ".join(documents[f"d{chosen[0]:02}"].split()[:3])
        gains = [1 + at % 2 if at <= i // 2 else 0 for at in range(8)]
        judged += [(f"q{i}", f"d{row:02}", g) for row, g in zip(chosen, gains, strict=True)]
    judged.append(("q3", "gone", 1))
    beir(where / "all", documents, queries, judged)
    return where, judged


@pytest.mark.parametrize("selection", ["longest", "shortest"])
def test_scores_are_those_of_a_collection_without_the_documents(selection, collection, tmp_path):
    where, judged = collection
    data = folder(str(where / "all"))
    texts = dict(zip(data.corpus.ids, data.corpus.texts, strict=True))
    sign = -1 if selection == "longest" else 1
    kept = [one for one in judged if not one[2]]
    for query in data.queries.ids:
        relevant = sorted(
            (one for one in judged if one[0] == query and one[2]),
            key=lambda one: (one[1] == "gone", sign * len(texts.get(one[1], "")), one[1]),
        )
        kept += relevant[: max(1, int(len(relevant) / 2 + 0.5))]
    queries = dict(zip(data.queries.ids, data.queries.texts, strict=True))
    less = beir(tmp_path / "less", texts, queries, kept)
    models = ["bm25", "bm25,b=0,k1=3", "hashing,dim=32", "hashing,dim=8"]
    means = [
        [evaluate(model, task, store=store()).record.main.mean for model in models]
        for task in (f"folder:{where / 'all'}", less)
    ]
    pairs = [(i, j) for i in range(4) for j in range(i)]
    same = [
        np.sign((means[0][i] - means[0][j]) * np.round(means[1][i] - means[1][j], 12))
        for i, j in pairs
    ]
    found = study(models, f"folder:{where / 'all'}", shares=(0.5,))
    one = part(found, selection, 0.5)
    assert one["documents"] == sum(gain > 0 for *_, gain in kept)
    assert one["tau"].mean == pytest.approx(np.mean(same))
    assert scores(found, "nDCG@10") == sorted(means[0], reverse=True)


def test_blocks_of_draws_change_nothing(collection, monkeypatch):
    models, task = ["bm25", "hashing,dim=32"], f"folder:{collection[0] / 'all'}"
    whole = study(models, task, draws=30)
    monkeypatch.setattr("harness.analysis.partial.CHUNK", 500)
    assert study(models, task, draws=30) == whole
    assert study(models, task, draws=30, seed=1)["reduced"] != whole["reduced"]
    assert whole["reduced"].where("stay judged", "random").values("versions") == [30]


def test_cells_are_records_that_are_kept(collection, tmp_path, monkeypatch):
    models, task = ["bm25", "hashing,dim=32"], f"folder:{collection[0] / 'all'}"
    first = study(models, task, draws=3, cells=tmp_path)
    assert len([*tmp_path.glob("*.json")]) == 2
    monkeypatch.setattr(Session, "evaluate", None)  # nothing is searched again
    assert study(models, task, draws=3, cells=tmp_path) == first


def test_specs_and_runs_stand_side_by_side(tmp_path):
    runs, task = toy(tmp_path, 2)
    found = study(["hashing,dim=64", *runs[:2], "bm25"], task, measure="RR@10", pools=(3,))
    alone = study(runs[:2], task, measure="RR@10", pools=(3,))
    both = {row["system"]: row for row in found["systems"].records()}
    assert [both[run]["RR@10"].mean for run in runs[:2]] == scores(alone) == [1, 1 / 2]
    assert set(both) == {"hashing,dim=64", "bm25", *runs[:2]}


def test_a_run_leaves_out_the_own_document_of_a_query(tmp_path):
    runs, _ = toy(tmp_path, 1)
    beir(tmp_path / "own", DOCUMENTS, {"x": "text"}, [("x", id, 1) for id in "abc"])
    for run in map(Path, runs):
        run.write_text(run.read_text().replace("q0", "x"))
    task = f"folder:{tmp_path / 'own'},exclude_self=true"
    found = study(runs, task, measure="RR@10")
    assert scores(found) == [1, 1, 1 / 2, 1 / 3]


@pytest.mark.parametrize(
    ("systems", "more", "message"),
    [
        (["bm25", "bm25"], {}, "1 systems: expected at least two, to be put in order"),
        (None, {"shares": [1.0]}, "a share of 1: expected one between 0 and 1"),
        (None, {"draws": 0}, "0 draws: expected at least 1"),
        (None, {"pools": [0]}, "0 results in a pool: expected at least 1"),
        (None, {"measure": "nDCG"}, "measure 'nDCG': expected a cut-off of at least 1"),
        (["bm25", "bm26"], {}, "unknown model 'bm26'"),
    ],
)
def test_what_is_refused(systems, more, message, collection):
    with pytest.raises(InputError, match=re.escape(message)):
        study(systems or ["bm25", "hashing"], f"folder:{collection[0] / 'all'}", **more)


def test_one_relevant_document_a_query_leaves_nothing_to_drop(tmp_path):
    task = beir(tmp_path / "t", {"a": "red", "b": "blue"}, {"q": "red"}, [("q", "a", 1)])
    with pytest.raises(InputError, match="no query has two relevant documents: no judgment can be"):
        study(["bm25", "hashing"], task)


TURNED = {"random": 0.5, "longest": -0.25, "shortest": 0.75, "popular": 0.25, "system": 0.125}


@pytest.mark.parametrize(
    ("taus", "ending"),
    [
        (TURNED, "25% of pairs of 3 systems if drawn at random, 62% if the longest one"),
        (
            TURNED | {"popular": -1},
            "25% of pairs of 3 systems if drawn at random, 100% if one that most systems find",
        ),
        (
            dict.fromkeys(TURNED, 0.5),
            "25% of pairs of 3 systems if drawn at random, more than by any other choice",
        ),
    ],
)
def test_the_headline_is_the_choice_that_misleads_most(taus, ending):
    rows = [
        (name, rule, 30, 0.05, 1, Estimate(tau), (1 - tau) / 2, None, None, None, 0.5)
        for name, other in taus.items()
        for rule, tau in ((ONE, other), ("50%", -1))
    ]
    reduced = Frame("t", REDUCED, rows, name="reduced")
    assert headline(reduced, 3) == f"one relevant document a query turns {ending}"
