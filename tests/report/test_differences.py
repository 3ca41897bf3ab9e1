"""A comparison as tables."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness import compare
from harness.compare import side
from harness.frames.formats import probability
from harness.report.differences import page
from harness.report.tables import write
from tests.comparable import saved


@pytest.fixture
def found(tmp_path) -> compare.Comparison:
    saved(tmp_path / "a", {"nDCG@10": [1, 0.5, 0.5, 0], "R@10": [0, 0, 1, 1]})
    saved(tmp_path / "b", {"nDCG@10": [0, 0.5, 0.5, 0.5], "R@10": [1, 1, 1, 0]}, system="n")
    saved(tmp_path / "a", {"R@2": [1, 0]}, "left")
    saved(tmp_path / "b", {"R@2": [1, 0]}, "right", system="n")
    saved(tmp_path / "a", {"R@2": [1, 0]}, "odd")
    saved(tmp_path / "b", {"R@5": [1, 0]}, "odd", system="n")
    return compare.compare(side([tmp_path / "a"]), side([tmp_path / "b"]))


def test_the_page_in_numbers(found):
    tasks, measures, ahead, behind, notes = page(found)
    assert tasks.title == "m against n"
    row = dict(zip(tasks.header, tasks.rows[0], strict=True))
    interval = row.pop("95% interval")
    assert interval.startswith("[-0.")
    # 1, 0, 0, -0.5: mean 0.125, standard deviation 0.629153, x 2.801585 / 2 = 0.8813
    assert row == {
        "task": "t", "measure": "nDCG@10", "m": "0.5000", "n": "0.3750", "difference": "+0.1250",
        "p": "1.000", "p Holm": "1.000", "p B-H": "1.000", "effect d": "0.20",
        "detectable": "0.8813", "wins / ties / losses": "1 / 2 / 1",
    }  # fmt: skip
    assert measures.rows == [["t", "nDCG@10 +0.1250", "R@10 -0.2500", "1", "1", "2"]]
    assert ahead.title == "t: where m beats n most, nDCG@10"
    assert ahead.rows == [["q0", "1.0000", "0.0000", "+1.0000"]]
    assert behind.rows == [["q3", "0.0000", "0.5000", "-0.5000"]]
    assert notes.rows == [
        ["odd", "not compared: the measure differs: R@2 and R@5"],
        ["left", "only m was measured"],
        ["right", "only n was measured"],
    ]


def test_what_is_said_of_a_measure_without_values_of_queries(found):
    bare = replace(found.differences[0], paired=False, notes=("index differs: a and b",))
    *_, notes = page(replace(found, differences=(bare,)))
    assert notes.rows[:2] == [
        ["t", "index differs: a and b"],
        ["t", "nDCG@10 has no value for each query: the intervals were taken as independent"],
    ]
    assert page(replace(found, differences=(bare,)))[0].rows[0][-1] == "–"


@pytest.mark.parametrize("style", ["markdown", "latex"])
def test_every_format_holds_every_table(found, style):
    text = write(page(found), style)
    assert all(word in text for word in ("only m was measured", "0.8813", "q0"))


def test_probabilities_as_text():
    assert [probability(p) for p in (0.0001, 0.001, 0.0499, 1.0)] == [
        "< 0.001", "0.001", "0.050", "1.000",
    ]  # fmt: skip
