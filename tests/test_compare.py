"""Two systems compared: numbers by hand, and every reason not to compare."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harness import compare, records, stats
from harness.api import evaluate
from harness.compare import Item, difference, side
from harness.errors import InputError
from harness.measures.pairs import correlation
from harness.records import IndexRecord, RewritingRecord
from harness.records.item_values import IncomparableError
from harness.report import differences
from harness.stats import Estimate
from tests.comparable import record, saved

A = [1.0, 1.0, 0.5, 0.0, 0.5]
B = [0.0, 0.5, 0.5, 0.5, 0.5]


def pair(tmp_path, a, b, **changes):
    """Two saved records as (path, record)."""
    paths = saved(tmp_path / "a", a), saved(tmp_path / "b", b, **changes)
    return [(path, records.load(path)) for path in paths]


def test_a_difference_by_hand(tmp_path):
    one, two = pair(tmp_path, {"nDCG@10": A}, {"nDCG@10": B})
    found = difference(one, two)
    # A - B is 1, 0.5, 0, -0.5, 0: of the 8 sign patterns of 1, 0.5, 0.5 the sums are 2, 1 (twice),
    # 0, 0, -1 (twice), -2; observed 1
    assert found.difference == pytest.approx(0.2)
    assert (found.p.two_sided, found.p.greater, found.p.less) == (6 / 8, 3 / 8, 7 / 8)
    assert (found.wins, found.ties, found.losses, found.items) == (2, 2, 1, 5)
    spread = np.std([1, 0.5, 0, -0.5, 0], ddof=1)
    assert found.effect == pytest.approx(0.2 / spread)
    assert found.detectable == pytest.approx(2.801585 * spread / np.sqrt(5))
    assert found.low < 0.2 < found.high
    assert found.best == (Item("q0", 1.0, 0.0), Item("q1", 1.0, 0.5))
    assert found.worst == (Item("q3", 0.0, 0.5),)
    assert (found.fall, found.rise) == (found.p.less, found.p.greater)
    assert (found.holm, found.benjamini_hochberg) == (6 / 8, 6 / 8)  # nothing else is compared
    # with a margin of 1 nothing was lost: all differences + 1 are at least 0.5
    shifted = difference(one, two, margin=1.0)
    assert (shifted.p, shifted.fall) == (found.p, 1.0)
    # differences - 1 are 0, -0.5, -1, -1.5, -1: no sign pattern is lower
    assert shifted.rise == 1.0
    assert (
        difference(two, one, margin=0.1).rise
        == stats.randomisation(np.r_[-1.1, -0.6, -0.1, 0.4, -0.1], seed=0).greater
    )
    back = difference(two, one)
    assert back.difference == -found.difference
    assert (back.p.less, back.wins) == (found.p.greater, found.losses)


def test_ten_queries_at_most_are_named_the_first_of_equals_first(tmp_path):
    one, two = pair(tmp_path, {"R@2": np.ones(30)}, {"R@2": np.zeros(30)})
    assert [item.id for item in difference(one, two).best] == [f"q{i}" for i in range(10)]
    assert [item.id for item in difference(two, one).worst] == [f"q{i}" for i in range(10)]
    assert difference(one, two).worst == ()


def test_measures_that_disagree_are_explained(tmp_path):
    one, two = pair(
        tmp_path,
        {"nDCG@10": A, "R@10": [0, 0, 1, 1, 0], "RR@10": A},
        {"nDCG@10": B, "R@10": [1, 1, 1, 0, 0], "RR@10": B},
    )
    found = difference(one, two)
    assert [other.measure for other in found.others] == ["R@10", "RR@10"]
    assert [other.measure for other in found.disagreeing] == ["R@10"]
    disagreeing = found.disagreeing[0]
    assert disagreeing.difference == pytest.approx(-0.2)
    assert (disagreeing.against, disagreeing.reverse) == (2, 1)


def test_equal_records_do_not_differ(tmp_path):
    one, two = pair(tmp_path, {"nDCG@10": A}, {"nDCG@10": A})
    found = difference(one, two)
    assert (found.difference, found.low, found.high) == (0, 0, 0)
    assert found.p == stats.PValues(1, 1, 1)
    assert (found.effect, found.error, found.ties) == (None, 0.0, 5)


def other_task(**changes):
    return {"task": record().task.model_copy(update=changes)}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (other_task(fingerprint={"corpus": "bb"}), "the data differ: corpus"),
        (other_task(fingerprint={"corpus": "aa", "qrels": "c"}), "the data differ: qrels"),
        (other_task(kind="pairs"), "the kind of task differs: retrieval and pairs"),
        (other_task(exclude_self=True), "one leaves a query's own document out"),
        ({"main_measure": "R@2"}, "the measure differs: nDCG@10 and R@2"),
    ],
)
def test_what_asks_another_question_is_not_compared(tmp_path, changes, message):
    both = {"nDCG@10": A, "R@2": B}
    one, two = pair(tmp_path, both, both, **changes)
    with pytest.raises(IncomparableError, match=message):
        difference(one, two)


def test_scores_that_are_not_defined_are_not_compared(tmp_path):
    (path, made), two = pair(tmp_path, {"nDCG@10": A}, {"nDCG@10": B})
    none = made.model_copy(update={"scores": {"nDCG@10": Estimate(mean=None, low=None, high=None)}})
    with pytest.raises(IncomparableError, match="nDCG@10 is not defined for the first"):
        difference((path, none), two)


def test_other_queries_are_not_compared(tmp_path):
    one, two = pair(tmp_path, {"nDCG@10": A}, {"nDCG@10": [*B, 0.5]})
    with pytest.raises(IncomparableError, match="what was scored differs: 5 and 6"):
        difference(one, two)


@pytest.mark.parametrize("values", [[0.1] * 5, [np.nan, 1, 1, 1, 1]])
def test_values_of_another_record_are_noticed(tmp_path, values):
    one, two = pair(tmp_path, {"nDCG@10": A}, {"nDCG@10": B})
    ids = [f"q{i}" for i in range(5)]
    table = pa.table({"query_id": ids, "nDCG@10": np.asarray(values, np.float64)})
    pq.write_table(table, two[0].with_suffix(".parquet"))
    with pytest.raises(IncomparableError, match="the two files do not belong together"):
        difference(one, two)


def test_lost_values_are_said(tmp_path):
    one, two = pair(tmp_path, {"nDCG@10": A}, {"nDCG@10": B})
    one[0].with_suffix(".parquet").unlink()
    with pytest.raises(IncomparableError, match="not readable"):
        difference(one, two)


def test_a_measure_without_values_of_queries_is_compared_by_its_intervals(tmp_path):
    pairs = []
    for name, mean in (("a", 0.6), ("b", 0.5)):
        made = record(scores={"p-MRR": mean})
        path = records.save(made, {"query_id": ["q0"]}, tmp_path / name)
        pairs.append((path, made))
    found = difference(*pairs)
    # each interval is 0.04 wide: error = 0.04 sqrt(2) / 3.919928, z = 0.1 / error = 6.93
    assert not found.paired
    assert found.error == pytest.approx(0.0144311, abs=1e-6)
    assert (found.low, found.high) == pytest.approx((0.0717157, 0.1282843), abs=1e-6)
    assert found.p.two_sided < 1e-9
    assert (found.wins, found.ties, found.losses, found.items) == (0, 0, 0, 0)
    close = pairs[1][0], record(scores={"p-MRR": 0.49})
    assert difference(pairs[1], close).p.two_sided == pytest.approx(0.4883398)  # z = 0.6929519
    # against a margin of 0.1 the difference of 0.1 is nothing
    assert difference(*pairs, margin=0.1).rise == pytest.approx(0.5)
    assert difference(pairs[1], pairs[0], margin=0.1).fall == pytest.approx(0.5)
    assert (found.effect, found.wins, found.best) == (None, 0, ())
    bare = pairs[0][1].model_copy(update={"scores": {"p-MRR": Estimate(1, None, None)}})
    with pytest.raises(IncomparableError, match="neither values of each query nor an interval"):
        difference((pairs[0][0], bare), pairs[1])


def test_correlations_are_compared_pair_by_pair(tmp_path):
    random = np.random.default_rng(0)
    gold = random.random(200)
    pairs = []
    for name, noise in (("a", 0.1), ("b", 0.6)):
        x = gold + noise * random.standard_normal(200)
        mean = float(correlation("spearman", x, gold))
        made = record(scores={"cosine_spearman": mean})
        columns = {"pair": list(range(200)), "gold": gold, "cosine": x}
        pairs.append((records.save(made, columns, tmp_path / name), made))
    found = difference(*pairs)
    assert found.paired
    assert found.items == 200
    assert found.difference == pytest.approx(
        pairs[0][1].main.mean - pairs[1][1].main.mean, abs=1e-12
    )
    assert 0 < found.low < found.difference < found.high
    assert found.p.greater == 1 / 10_001


def test_another_index_or_rewriting_is_noted(tmp_path):
    index = IndexRecord(spec="hnsw", full="hnsw,M=16", exact=False)
    rewriting = RewritingRecord(spec="rm3", full="rm3,k=10", details={})
    one, two = pair(tmp_path, {"nDCG@10": A}, {"nDCG@10": B}, index=index, rewriting=rewriting)
    assert difference(one, two).notes == (
        "index differs: exact and hnsw,M=16",
        "rewriting differs: none and rm3,k=10",
    )
    assert side([tmp_path / "b"]).name == "m + rm3 @ hnsw"


def test_another_build_of_faiss_is_noted(tmp_path):
    index, sides = IndexRecord(spec="exact", full="exact", exact=True), []
    builds = {"numpy": "2", "faiss-cpu": "1.15.1"}, {"faiss-gpu": "1.15.1"}
    for (path, made), packages in zip(
        pair(tmp_path, {"nDCG@10": A}, {"nDCG@10": B}), builds, strict=True
    ):
        machine = made.environment.model_copy(update={"packages": packages})
        sides.append((path, made.model_copy(update={"index": index, "environment": machine})))
    assert difference(*sides).notes == (
        "faiss differs, and so may last bits of scores: faiss-cpu 1.15.1 and faiss-gpu 1.15.1",
    )
    assert difference(sides[0], sides[0]).notes == ()


def test_two_systems_over_their_tasks(tmp_path):
    random = np.random.default_rng(0)
    base = random.random((3, 60))
    for i, shift in enumerate((0.3, 0.0, 0.05)):
        saved(tmp_path / "a", {"nDCG@10": base[i] + shift * random.random(60)}, f"t{i}")
        saved(tmp_path / "b", {"nDCG@10": base[i]}, f"t{i}", system="n")
    saved(tmp_path / "a", {"nDCG@10": A}, "only-a")
    saved(tmp_path / "b", {"nDCG@10": A}, "only-b", system="n")
    saved(tmp_path / "a", {"nDCG@10": A}, "odd")
    saved(tmp_path / "b", {"R@2": A}, "odd", system="n")
    seen = []
    found = compare.compare(
        side([tmp_path / "a"]), side([tmp_path / "b"]), progress=lambda *what: seen.append(what)
    )
    assert (found.a, found.b) == ("m", "n")
    assert [one.task for one in found.differences] == ["t0", "t1", "t2"]
    assert found.refused == (("odd", "the measure differs: nDCG@10 and R@2"),)
    assert (found.only_a, found.only_b) == (("only-a",), ("only-b",))
    p = [one.p.two_sided for one in found.differences]
    assert [one.holm for one in found.differences] == stats.holm(p)
    assert [one.benjamini_hochberg for one in found.differences] == stats.benjamini_hochberg(p)
    assert p[1] == 1.0
    assert p[0] < 0.001
    assert len(seen) == 4


def test_the_same_comparison_twice_is_the_same(tmp_path):
    random = np.random.default_rng(0)
    one, two = pair(tmp_path, {"nDCG@10": random.random(50)}, {"nDCG@10": random.random(50)})
    assert difference(one, two) == difference(one, two)
    assert difference(one, two, seed=1).p != difference(one, two).p


def test_one_name_on_both_sides_is_told_apart(tmp_path):
    saved(tmp_path / "a", {"R@2": A})
    saved(tmp_path / "b", {"R@2": B})
    found = compare.compare(side([tmp_path / "a"]), side([tmp_path / "b"]))
    assert (found.a, found.b) == ("m (A)", "m (B)")


def test_of_a_task_the_newest_record_counts(tmp_path):
    saved(tmp_path, {"R@2": A}, created="2026-02-02T00:00:00.000000Z")
    saved(tmp_path, {"R@2": B}, created="2026-01-01T00:00:00.000000Z")
    assert side([tmp_path]).tasks["t"][1].main.mean == np.mean(A)


def test_a_side_is_one_system_and_shares_a_task(tmp_path):
    saved(tmp_path / "a", {"R@2": A}, "one")
    saved(tmp_path / "b", {"R@2": A}, "other", system="n")
    with pytest.raises(InputError, match=r"records of 2 systems \(m, n\): name the files"):
        side([tmp_path])
    with pytest.raises(InputError, match="m and n share no task: nothing to compare"):
        compare.compare(side([tmp_path / "a"]), side([tmp_path / "b"]))


@pytest.mark.parametrize("task", ["limit,docs=40,queries=30,k=2,attributes=5"])
def test_real_records_compare(tmp_path, task):
    for model in ("hashing,dim=16", "bm25"):
        made = evaluate(model, task, measures=["R@2", "nDCG@10"])
        records.save(made.record, made.per_query, tmp_path / model[:4])
    found = compare.compare(side([tmp_path / "hash"]), side([tmp_path / "bm25"]))
    one = found.differences[0]
    assert one.difference < 0
    assert one.p.less < 0.01
    assert one.wins + one.ties + one.losses == 30
    assert one.others[0].measure == "nDCG@10"


def test_items_are_called_by_what_they_are(tmp_path):
    for system, values in (("a", [1.0, 0.0, 1.0]), ("b", [0.0, 0.0, 1.0])):
        made = record("t", {"accuracy": float(np.mean(values)), "f1": 0.5}, system=system)
        columns = {"text": [0, 1, 2], "accuracy": values, "f1": [0.5] * 3}
        if system == "b":
            columns["f1"] = [0.75, 0.25, 0.5]
        records.save(made, columns, tmp_path / system)
    found = compare.compare(*(side([tmp_path / system]) for system in ("a", "b")))
    (best,) = [table for table in differences.page(found) if "beats" in table.title]
    assert (best.header[0], best.rows[0][0]) == ("text", "0")
