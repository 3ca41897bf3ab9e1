"""A measure whose low values are good: everything that orders systems by it is turned round."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest

from harness import Session, board, compare, gate, measure, records
from harness.board.standings import Ordering, standings
from harness.errors import InputError
from harness.gate.policy import Policy
from harness.measures import MEASURES
from harness.progress import silent
from harness.report import differences, leaderboard, tables
from harness.report import gate as verdicts
from harness.report.page.content import content
from harness.stats import Estimate
from harness.store import Store
from harness.studies.ann import Ann
from harness.studies.funnel import Funnel
from harness.studies.geometry import Geometry
from harness.studies.judgments import Judgments
from harness.studies.prompts import Prompts
from harness.studies.robustness import Robustness
from tests.comparable import saved
from tests.fakes import beir

LOST = ["Lost@10"]
FOUND = {  # what each system finds of four queries on two tasks; none of it with plain rounding
    "a": ([1.0, 0.5, 0.75, 0.25], [0.5, 0.5, 0.25, 0.25]),
    "b": ([0.5, 0.5, 0.5, 0.0], [0.75, 0.5, 0.25, 0.5]),
    "c": ([0.25, 0.0, 0.5, 0.0], [0.25, 0.0, 0.0, 0.25]),
}


def write(folder, *, low=(False, False)):
    """Records of R@10, or of what it lacks negated: -R@10, low values good, by task."""
    for system, columns in FOUND.items():
        for task, column, turned in zip(("s", "t"), columns, low, strict=True):
            name, values = ("Lost@10", -np.array(column)) if turned else ("R@10", column)
            about = {"lower_is_better": LOST if turned else []}
            saved(folder / system, {name: values}, task, system=system, **about)
    return folder


@pytest.mark.parametrize("by", ["borda", "mean"])
@pytest.mark.parametrize("fixed", [True, False])
def test_a_board_is_mirrored(tmp_path, by, fixed):
    ordering = Ordering(by, fixed_tasks=fixed)
    high = standings(board.load([write(tmp_path / "high")]), ordering)
    low = standings(board.load([write(tmp_path / "low", low=(True, True))]), ordering)
    assert [row.system for row in low.rows] == ["a", "b", "c"]
    for one, other in zip(high.rows, low.rows, strict=True):
        turned = ("mean", "low", "high", "part", "families", "mean_of_families")
        kept = {name: value for name, value in vars(one).items() if name not in turned}
        assert kept == {name: value for name, value in vars(other).items() if name not in turned}
        assert (other.mean, other.low, other.high) == (-one.mean, -one.high, -one.low)
        assert other.families == {"f": -one.mean}
    np.testing.assert_array_equal(high.wins, low.wins)
    assert (high.sign(), low.sign(), low.sign("f")) == (1, -1, -1)
    assert low.rows[0].mean == -0.5
    assert low.notes[-1] == "low scores are good, and so are low means"


def test_a_board_of_both_directions_ranks_by_what_is_good(tmp_path):
    made = board.load([write(tmp_path, low=(False, True))])
    found = standings(made, Ordering("mean"))
    assert [(row.system, row.mean) for row in found.rows] == [
        ("a", (0.625 + 0.375) / 2), ("b", (0.375 + 0.5) / 2), ("c", (0.1875 + 0.125) / 2)
    ]  # fmt: skip
    assert found.notes[-1].startswith("low scores are good on 1 of 2 tasks: means count them as")
    shown = leaderboard.scores(made, found)
    assert [row[1:] for row in shown.rows] == [
        ["0.6250*", "-0.3750"], ["0.3750", "-0.5000*"], ["0.1875", "-0.1250"]
    ]  # fmt: skip


def test_tables_and_the_page_put_the_lowest_first(tmp_path):
    made = board.load([write(tmp_path, low=(True, True))])
    found = standings(made)
    assert [row[4] for row in leaderboard.ranking(made, found).rows] == [
        "-0.5000", "-0.4375", "-0.1562"
    ]  # fmt: skip
    costs = next(iter(leaderboard.costs(made, found)))  # all cost the same: the best is the front
    assert [row[1:2] + row[3:5] for row in costs.rows] == [
        ["-0.5000", "front", ""], ["-0.4375", "", "0.0625"], ["-0.1562", "", "0.3438"]
    ]  # fmt: skip
    held = [record for _, record in records.load_all([tmp_path])]
    (shown,) = tables.scores(held)
    assert [row[1] for row in shown.rows] == ["a", "b", "c", "b", "a", "c"]
    page = content(made, found, room=10**6, folder=tmp_path, texts=None, progress=silent)
    assert [task["sign"] for task in page["tasks"]] == [-1, -1]
    assert [c["down"] for c in page["columns"] if c["title"] in ("Mean", "Borda")] == [False, True]


def pair(folder, *, low):
    return [compare.side([write(folder, low=(low, low)) / system]) for system in ("a", "b")]


def test_a_comparison_is_mirrored(tmp_path):
    high = compare.compare(*pair(tmp_path / "high", low=False))
    low = compare.compare(*pair(tmp_path / "low", low=True))
    for one, other in zip(high.differences, low.differences, strict=True):
        assert (other.difference, other.low, other.high) == (-one.difference, -one.high, -one.low)
        assert (other.gain, other.least_gain) == (one.gain, one.least_gain)
        same = ("p", "fall", "rise", "holm", "wins", "ties", "losses", "error")
        assert [vars(one)[name] for name in same] == [vars(other)[name] for name in same]
        assert [i.id for i in one.best + one.worst] == [i.id for i in other.best + other.worst]
    first = low.differences[0]
    assert (first.difference, first.wins, first.losses) == (-0.25, 3, 0)
    notes = differences.page(low)[-1]
    assert notes.rows[0] == ["s", "Lost@10: a low value is good"]


def test_means_alone_are_compared_in_their_direction(tmp_path):
    for system, mean in (("a", 0.1), ("b", 0.4)):
        about = {"lower_is_better": ["loss"]}
        saved(tmp_path / system, {"loss": [mean] * 4}, system=system, **about)
        (path,) = (tmp_path / system).rglob("*.json")
        whole = json.loads(path.read_text())
        whole["main_measure"], whole["lower_is_better"] = "gap", ["gap"]
        whole["scores"] = {"gap": whole["scores"]["loss"]}
        path.write_text(json.dumps(whole))
    sides = [compare.side([tmp_path / system]) for system in ("a", "b")]
    (one,) = compare.compare(*sides).differences
    assert (one.paired, one.difference < 0, one.gain > 0) == (False, True, True)
    assert one.p.greater < 0.001 < one.p.less


def test_measures_that_agree_do_not_disagree(tmp_path):
    for system, found in (("a", [1.0, 0.5, 0.0]), ("b", [0.5, 0.5, 0.25])):
        columns = {"R@10": found, "Misses@10": 1 - np.array(found)}
        saved(tmp_path / system, columns, system=system, lower_is_better=["Misses@10"])
    sides = [compare.side([tmp_path / system]) for system in ("a", "b")]
    (one,) = compare.compare(*sides).differences
    assert one.disagreeing == ()
    assert [(o.against, o.reverse) for o in one.others] == [(0, 0)]


@pytest.mark.parametrize(
    ("change", "status"), [(0.05, "regressed"), (-0.05, "improved"), (0.0, "same")]
)
def test_a_gate_fails_where_a_low_measure_rises(tmp_path, change, status):
    old = np.linspace(0.2, 0.8, 400)
    about = {"lower_is_better": LOST}
    saved(tmp_path / "old", {"Lost@10": old}, **about)
    saved(tmp_path / "new", {"Lost@10": old + change}, **about)
    sides = [compare.side([tmp_path / name]) for name in ("old", "new")]
    found = gate.judge(*sides, Policy())
    assert [one.status for one in found.verdicts] == [status]
    assert "low is good" in verdicts.page(found)[0].rows[0][-1]


def test_a_rise_that_few_queries_cannot_show_is_not_let_through(tmp_path):
    about = {"lower_is_better": LOST}
    saved(tmp_path / "old", {"Lost@10": [0.1, 0.9, 0.5, 0.2]}, **about)
    saved(tmp_path / "new", {"Lost@10": [0.9, 0.9, 0.5, 0.2]}, **about)
    found = gate.judge(*(compare.side([tmp_path / name]) for name in ("old", "new")), Policy())
    assert (found.verdicts[0].blind, found.exit_status) == (True, 2)
    # differences 0.8, 0, 0, 0: error 0.2, and 0.01 + 2.486475 x 0.2 = 0.5073
    assert "shows a rise of 0.5073 or more, 0.1000 is asked for" in found.verdicts[0].reason


def test_the_command_line_needs_no_plugin_to_know(run, tmp_path):
    folder = write(tmp_path, low=(True, True))
    done = run("leaderboard", folder, "-f", "csv")
    assert done.status == 0, done.err
    rows = [row for row in csv.DictReader(io.StringIO(done.out)) if row["table"] == "ranking"]
    assert [row["system"] for row in rows] == ["a", "b", "c"]


@pytest.fixture
def session(tmp_path, monkeypatch) -> Session:
    """A session where Lost@K is -R@K, low values good."""
    MEASURES.names()
    monkeypatch.setattr(MEASURES, "_entries", dict(MEASURES._entries))

    @measure("Lost", cutoff=True, better="low", citation="nobody")
    def lost(judged, cutoff):
        """What recall lacks of nothing."""
        return -judged.hits(cutoff) / judged.relevant.clip(1)

    return Session(Store(tmp_path / "cache"))


def mirror(cell):
    """A cell of the frame of a measure as it is in that of the same negated."""
    if isinstance(cell, Estimate):
        return Estimate(-cell.mean, -cell.high, -cell.low)
    return cell


def assert_mirrored(high, low, kept=()):
    """Two frames agree but for columns of the measure, whose values and directions are turned."""
    assert len(high) == len(low) > 0
    for one, other in zip(high.columns, low.columns, strict=True):
        turned = one.unit in ("score", "estimate", "change", "relative") and one.name not in kept
        directions = {"high": "low", "low": "high", "": ""}
        assert other.better == (directions[one.better] if turned else one.better), one.name
        for a, b in zip(high[one.name], low[other.name], strict=True):
            if one.unit in ("score",) or (one.unit == "estimate" and not isinstance(a, Estimate)):
                assert b == pytest.approx(-a), one.name
            elif isinstance(a, Estimate):
                back = mirror(a)
                assert (b.mean, b.low, b.high) == pytest.approx((back.mean, back.low, back.high))
            else:
                assert a == b or b == pytest.approx(a), one.name


TASK = "limit-small,queries=40"


def test_a_study_of_prompts_is_mirrored(session):
    one, other = (
        Prompts(("", "query: "), measure=name).run(session, ["hashing"], TASK)
        for name in ("R@10", "Lost@10")
    )
    assert_mirrored(one["choice"], other["choice"])
    assert one["choice"]["best"] == other["choice"]["best"] != one["choice"]["worst"]
    assert one["prompts"]["best on a half"] == other["prompts"]["best on a half"]


def test_a_study_of_robustness_is_mirrored(session):
    task = session.task(TASK)
    one, other = (
        Robustness(("typos", "upper-case"), draws=1).run(session, ["bm25", "hashing"], name)
        for name in (own_spec(session, task, "R@10"), own_spec(session, task, "Lost@10"))
    )
    assert_mirrored(one["systems"], other["systems"])
    for column in ("worse", "better", "overlap"):
        assert one["effects"][column] == other["effects"][column]
    dropped = [frame["effects"].numbers("drop rate") for frame in (one, other)]
    assert dropped[0] == [-rate for rate in dropped[1]]
    for column in ("more robust", "p, Holm"):
        assert one["contrasts"][column] == other["contrasts"][column]
    assert "costs the most R@10" in one.headline
    assert "adds the most to Lost@10" in other.headline


def own_spec(session, task, name):
    """The task under another name, measured by one measure."""
    session._tasks[name] = task.measured_by([name])
    return name


def test_a_study_of_judgments_is_mirrored(session):
    one, other = (
        Judgments(name, shares=(0.5,), draws=5, pools=(5,)).run(
            session, ["bm25", "hashing", "hashing,dim=16"], "complex-and,queries=30"
        )
        for name in ("R@10", "Lost@10")
    )
    assert one["systems"]["system"] == other["systems"]["system"]
    for name in ("reduced", "pairs", "pools"):
        assert one[name].rows == other[name].rows


@pytest.mark.parametrize("study", [Funnel(), Ann(), Geometry()])
def test_a_study_of_losses_refuses_a_low_measure_in_one_line(session, study):
    own_spec(session, session.task(TASK), "Lost@10")
    with pytest.raises(InputError, match=r"is measured by Lost@10, which is good where it is low"):
        study.run(session, ["hashing"], "Lost@10")


def test_weights_are_tuned_towards_low_values(session, tmp_path):
    texts = {"a": "red", "b": "blue sky", "c": "blue"}
    queries = {"q": "red", "d": "blue sky sky sky", "e": "sky blue blue"}
    folder = beir(tmp_path / "data", texts, queries, [("q", "a", 1)])
    dev = "query-id\tcorpus-id\tscore\nd\tb\t1\ne\tc\t1\n"
    (tmp_path / "data" / "qrels" / "dev.tsv").write_text(dev)
    one, other = (
        session.evaluate("convex:hashing+bm25,tune=dev", folder, measures=[name]).record.weights
        for name in ("R@1", "Lost@1")
    )
    assert one == other
