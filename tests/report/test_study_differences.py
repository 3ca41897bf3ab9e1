"""Two runs of a study: values that moved, rows that one lacks, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.errors import InputError
from harness.frames import Column, Frame
from harness.report.findings import About, save
from harness.report.study_differences import page, read_both
from harness.stats import Estimate
from harness.studies import Findings

ABOUT = About("mine,draws=3", ("a", "b"), "t", 7, "2026-01-01T00:00:00Z", {})
COLUMNS = [
    Column("system"), Column("docs", "count"), Column("score", "estimate", "high"),
    Column("best"), Column("size", "bytes", "low"),
]  # fmt: skip
ROWS = [
    ("a", 10, Estimate(0.5, 0.4, 0.6), "x", 1000),
    ("a", 20, Estimate(0.25, 0.1, 0.3), "x", None),
    ("b", 10, None, "y", 3),
]


@pytest.fixture
def compared(tmp_path):
    """Tables of two runs whose frame "scores" has these rows."""

    def run(first, second, **changed):
        for name, rows, about in (("1", first, ABOUT), ("2", second, replace(ABOUT, **changed))):
            frames = [
                Frame("Scores", COLUMNS, rows, name="scores"),
                Frame("Kept", [Column("y", "score")], [(int(name) / 4,)], name="k", shown=False),
            ]
            save(tmp_path / name, Findings(f"run {name}", frames), about)
        both = read_both(tmp_path / "1", tmp_path / "2" / "numbers.json")
        assert both is not None
        return page(*both)

    return run


def test_equal_runs(compared):
    runs, note = compared(ROWS, ROWS)
    assert runs.rows[0] == ["study", "mine,draws=3", "mine,draws=3"]
    assert runs.rows[-2:] == [["found", "run 1", "run 2"], ["rows that the other lacks", "0", "0"]]
    assert note.rows == [["9 values compared, no difference"]]


def test_values_that_moved_are_told_with_their_row(compared):
    second = [
        ("a", 10, Estimate(0.625, 0.4, 0.6), "z", 900),
        ("b", 10, Estimate(0.5, 0.5, 0.5), "y", 3),
        ("b", 30, None, "y", 3),
        ("c", 30, None, "y", 3),
    ]
    runs, moved = compared(ROWS, second, seed=8)
    assert runs.rows[3] == ["seed", "7", "8"]
    assert runs.rows[-1] == ["rows that the other lacks", "1", "2"]
    assert moved.title == "4 of 6 values differ"
    assert moved.rows == [
        ["scores", "a, 10", "score", "0.5000 [0.4000, 0.6000]", "0.6250 [0.4000, 0.6000]",
         "-0.125"],
        ["scores", "a, 10", "best", "x", "z", ""],
        ["scores", "a, 10", "size", "1,000", "900", "+100"],
        ["scores", "b, 10", "score", "–", "0.5000 [0.5000, 0.5000]", ""],
    ]  # fmt: skip


def test_rows_of_one_name_are_told_apart_by_their_order(compared):
    _, moved = compared([ROWS[0], ROWS[0]], [ROWS[0], (*ROWS[0][:4], 2000)])
    assert [row[1:] for row in moved.rows] == [["a, 10", "size", "1,000", "2,000", "-1,000"]]


def test_what_is_refused(compared, tmp_path):
    compared(ROWS, ROWS)
    (tmp_path / "records").mkdir()
    assert read_both(tmp_path / "records", tmp_path / "none") is None
    with pytest.raises(InputError, match="records: not the folder of a study, as the other is"):
        read_both(tmp_path / "1", tmp_path / "records")
    with pytest.raises(InputError, match=r"1 is of the study mine, .*2/numbers.json of other: exp"):
        compared(ROWS, ROWS, study="other,draws=3")


def test_runs_without_a_common_row_are_not_called_equal(compared):
    runs, note = compared(ROWS, [("c", 10, Estimate(0.5, 0.4, 0.6), "x", 1000)])
    assert runs.rows[-1] == ["rows that the other lacks", "3", "1"]
    assert note.rows == [["no row is in both: nothing is compared"]]
