"""The page and the figure of approximate search beside exact search."""

from __future__ import annotations

import io
import json
import sys
from dataclasses import replace

import pytest

from harness.report.comparison import figure, page
from harness.report.tables import write
from harness.studies.comparison import (
    Answer,
    Comparison,
    Point,
    Ranking,
    Search,
    Swap,
)
from harness.studies.subject import Interval

NOTHING = Interval(0, 0, 0)
SETTINGS = {f"hnsw,ef_search={ef}": f"hnsw,M=16,ef_search={ef}" for ef in (8, 32, 128)}


def point(model: str, index: str, recall: float, score: float, **more) -> Point:
    """One setting; the better its recall the slower it is."""
    search = Search(
        k=10,
        recall=Interval(recall, recall, recall),
        overlap=recall - 0.1,
        distances=1000 * recall,
        timed=300,
        p50=recall,
        p95=2 * recall,
        p99=3 * recall,
        per_second=10_000 / recall,
        per_cpu_second=5_000 / recall,
    )
    full = SETTINGS.get(index, index)
    whole = Point(
        model=model,
        task="t",
        index=index,
        full=full,
        measure="nDCG@10",
        score=Interval(score, 0, 1),
        change=NOTHING,
        lost={},
        stranded=(),
        near=search,
        asked=search,
        build_s=1.25,
        reused=False,
        bytes=2_500_000,
        warnings=(),
    )
    return replace(whole, **more)


EXACT = point("m", "exact", 1, 0.5)
LOST = {f"q{i}": ("d",) for i in range(7)}
POINTS = (
    EXACT,
    point("m", "hnsw,ef_search=8", 0.8, 0.4, lost=LOST, stranded=("q1",),
          change=Interval(-0.1, -0.2, -0.05), warnings=("few candidates",), bytes=3_125_000),
    point("m", "hnsw,ef_search=32", 0.96, 0.49, reused=True, bytes=None),
    point("m", "hnsw,ef_search=128", 0.99, 0.5),
)  # fmt: skip
ANSWERS = (
    Answer("m", "t", "recall@10 of at least 0.95", "hnsw,ef_search=32", "distances", 960.4),
    Answer("m", "t", "nDCG@10 within 0.5% of exact search", None, "p50", None),
)
TARGET = "accuracy@10 of at least 90%"
FASTEST = (
    Answer("m", "t", TARGET, "hnsw,ef_search=32", "p50", 0.957),
    Answer("m", "t", TARGET, "hnsw,ef_search=128", "p50", 0.99, 2.0),
    Answer("m", "t", TARGET, None, "p50", None, 1.5),
)
ONE = Comparison(0, 2, POINTS, ANSWERS, FASTEST, (), ())


def ranked(exact: Interval, after: Interval) -> Comparison:
    """Two models that change places."""
    swap = Swap("m", "n", exact, after)
    ranking = Ranking("t", "hnsw,ef_search=8", {"m": 1, "n": 2}, {"m": 2, "n": 1}, 1, -1.0, (swap,))
    same = Ranking("t", "hnsw,ef_search=32", {"m": 1, "n": 1}, {"m": 1, "n": 1}, 0, None, ())
    points = (*POINTS, *(replace(p, model="n") for p in POINTS))
    answers = (*ANSWERS, *(replace(a, model="n", index="hnsw,ef_search=8") for a in ANSWERS))
    return Comparison(0, 1, points, answers, FASTEST, (ranking, same), ("odd data",))


def test_a_page_says_what_to_choose_what_is_lost_and_what_it_costs():
    answers, fastest, finds, costs, lost, warnings = page(ONE)
    assert answers.rows == [
        ["t", "m", ANSWERS[0].wanted, "hnsw,ef_search=32", "960 distances a query"],
        ["t", "m", ANSWERS[1].wanted, "none of those tried", "–"],
    ]
    assert fastest.header[4:] == ["any memory", "at most 2 x exact", "at most 1.5 x exact"]
    assert fastest.rows == [
        ["t", "m", TARGET, "1.00 ms", "hnsw,ef_search=32, 0.96 ms", "hnsw,ef_search=128, 0.99 ms",
         "none"],
    ]  # fmt: skip
    assert finds.rows[1] == [
        "t", "m", "hnsw,ef_search=8", "0.8000", "0.7000", "0.8000 @10", "nDCG@10",
        "0.5000 → 0.4000", "-0.1000 [-0.2000, -0.0500]", "7", "1",
    ]  # fmt: skip
    assert costs.title.endswith("1 thread, batches on 2 threads")
    assert costs.rows[0][3:] == [
        "10", "1,000", "1.00", "2.00", "3.00", "10,000", "5,000", "1.25", "2.5", "1.00",
    ]  # fmt: skip
    assert costs.rows[1][-2:] == ["3.1", "1.25"]
    assert costs.rows[2][-3:] == ["reused", "–", "–"]
    assert lost.rows == [["t", "m", "hnsw,ef_search=8", "q0, q1, q2, q3, q4 and 2 more", "q1"]]
    assert warnings.rows == [["t, m, hnsw,ef_search=8: few candidates"]]


def test_what_a_library_does_not_tell_is_a_dash():
    untold = replace(EXACT, asked=replace(EXACT.asked, distances=None))
    by_time = replace(ANSWERS[0], by="p50", cost=0.125)
    answers, _, _, costs = page(Comparison(0, 1, (untold,), (by_time,), (), (), ()))
    assert costs.rows[0][4] == "–"
    assert answers.rows[0][-1] == "0.12 ms, median latency"


CLEAR, VAGUE = Interval(0.2, 0.1, 0.3), Interval(0.2, -0.1, 0.3)


@pytest.mark.parametrize(
    ("exact", "after", "verdict"),
    [
        (CLEAR, Interval(-0.2, -0.3, -0.1), "a significant difference is reversed, significantly"),
        (CLEAR, Interval(-0.1, -0.3, 0.1), "a significant difference is reversed, not signif"),
        (VAGUE, Interval(-0.2, -0.3, -0.1), "not significant to begin with, significant after"),
        (VAGUE, Interval(-0.1, -0.3, 0.1), "not significant to begin with, nor after"),
    ],
)
def test_a_page_says_whether_models_that_change_places_differed(exact, after, verdict):
    _, _, _, _, rankings, swaps, _, warnings = page(ranked(exact, after))
    assert rankings.rows == [
        ["t", "hnsw,ef_search=8", "m > n", "n > m", "1", "-1.00", "1"],
        ["t", "hnsw,ef_search=32", "m = n", "m = n", "0", "–", "0"],
    ]
    assert swaps.rows[0][2] == "m – n"
    assert swaps.rows[0][-1].startswith(verdict)
    assert warnings.rows[0] == ["odd data"]


def test_a_page_is_written_in_every_format():
    tables = page(ranked(CLEAR, VAGUE))
    assert json.loads(write(tables, "json"))[2][1]["queries that lost"] == "7"
    for style in ("markdown", "csv", "latex"):
        assert "Kendall tau" in write(tables, style)


def texts(comparison: Comparison) -> list[str]:
    """All that is written on a figure, which is drawn to see that it can be."""
    from matplotlib.text import Text

    made = figure(comparison)
    made.savefig(io.BytesIO(), format="svg")
    return [item.get_text().replace("\n", " ") for item in made.findobj(Text)]


def test_the_title_of_a_figure_is_what_it_shows():
    said = texts(ONE)
    assert (
        "m on t: hnsw,ef_search=32 keeps recall@10 of at least 0.95; nothing tried keeps nDCG@10 "
        "within 0.5% of exact search"
    ) in said
    assert "hnsw,ef_search=8 and ef_search=32, 128" in said  # one curve, its values beside it
    assert {"8", "32", "128", "exact", "m"} <= set(said)


def test_several_models_and_settings_that_are_no_sweep():
    whole = ranked(CLEAR, VAGUE)
    other = replace(POINTS[1], index="hnsw:qdrant", full="hnsw:qdrant,M=16,ef_search=100")
    said = texts(replace(whole, points=(*whole.points, other, replace(other, model="n"))))
    assert (
        "A setting keeps recall@10 of at least 0.95 for 2 of 2 models and tasks, the task's "
        "measure within 0.5% for 1 of 2; models change places in 1 of 2 cases"
    ) in said
    assert {"m", "n", "hnsw:qdrant"} <= set(said)


def test_joined_settings_are_points_of_one_line():
    left, _ = figure(ONE).axes
    lines = [line.get_xydata().tolist() for line in left.lines if line.get_marker() == "o"]
    assert lines == [[[10_000 / r, r] for r in (0.8, 0.96, 0.99)]]


def test_no_state_of_pyplot_is_touched(monkeypatch):
    monkeypatch.delitem(sys.modules, "matplotlib.pyplot", raising=False)
    texts(ONE)
    assert "matplotlib.pyplot" not in sys.modules
