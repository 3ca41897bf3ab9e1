"""Charts: what a figure shows, one colour a value, the same bytes, no state of pyplot."""

from __future__ import annotations

import sys

import pytest

from harness.frames import Column, Frame
from harness.frames.charts import PALETTE, Bars, Dots, Lines, Points, Reference, draw, image
from harness.stats import Estimate

COLUMNS = [
    Column("system"), Column("documents", "count"), Column("score", "estimate", "high"),
    Column("lost", "share"), Column("cut"),
]  # fmt: skip
ROWS = [
    (system, documents, Estimate(base / documents, base / documents - 0.01, 0.9), 0.1, cut)
    for system, base in (("bm25", 5.0), ("minilm", 8.0))
    for cut in ("whole", "half")
    for documents in (10, 100, 1000)
]
FRAME = Frame("t", COLUMNS, ROWS, name="t")
SMALL = FRAME.where("documents", 10).where("cut", "whole")

LINES = Lines(FRAME, "documents", "score", "system", dash="cut", log="x", title="by size")
DOTS = Dots(SMALL, "score", "system", "system", references=(Reference(0.2, "chance"),))


def texts(figure) -> set[str]:
    from matplotlib.text import Text

    return {item.get_text().replace("\n", " ") for item in figure.findobj(Text)}


def test_a_figure_says_what_it_shows(monkeypatch):
    monkeypatch.delitem(sys.modules, "matplotlib.pyplot", raising=False)
    figure = draw([LINES, DOTS], "Scores fall")
    image(figure, "svg")
    assert figure.get_suptitle() == "Scores fall"
    said = texts(figure)
    assert {"by size", "documents", "score, 95% interval", "bm25", "minilm", "chance"} <= said
    assert {"whole", "half", "10", "100", "1,000"} <= said
    assert "matplotlib.pyplot" not in sys.modules


def test_a_value_that_has_the_second_dash_alone_is_in_the_legend():
    rows = [row for row in ROWS if (row[0] == "bm25") == (row[4] == "whole")]
    frame = Frame("t", COLUMNS, rows, name="t")
    [legend] = draw([Lines(frame, "documents", "score", "system", dash="cut")], "h").legends
    assert [text.get_text() for text in legend.get_texts()] == ["bm25", "minilm"]


def test_a_legend_of_long_names_has_fewer_columns():
    rows = [(letter * 50, 1.0) for letter in "abcde"]
    frame = Frame("t", [Column("name"), Column("x", "number")], rows, name="t")
    figure = draw([Bars(frame, "x", "name", "name")], "h")
    assert len(image(figure, "svg")) > 0
    [legend] = figure.legends
    assert legend.get_window_extent().width < figure.bbox.width


def test_a_logarithmic_axis_of_shares_is_in_percent():
    rows = [(share, 0.5) for share in (0.001, 0.0129, 1)]
    frame = Frame("t", [Column("x", "share"), Column("y", "score")], rows, name="t")
    figure = draw([Lines(frame, "x", "y", log="x")], "h")
    image(figure, "svg")
    assert {"0.1%", "1.29%", "100%"} <= texts(figure)


def test_lines_are_the_rows():
    axes = draw([LINES], "h").axes[0]
    lines = [line for line in axes.get_lines() if len(line.get_xdata()) == 3]
    assert [list(line.get_ydata()) for line in lines] == [
        [0.5, 0.05, 0.005], [0.5, 0.05, 0.005], [0.8, 0.08, 0.008], [0.8, 0.08, 0.008],
    ]  # fmt: skip
    assert [line.get_linestyle() for line in lines] == ["-", "--", "-", "--"]
    assert [line.get_color() for line in lines] == [*PALETTE[:1] * 2, *PALETTE[1:2] * 2]
    assert axes.get_xscale() == "log"
    assert len(axes.collections) == 4  # a band each
    assert (
        not draw([Lines(FRAME, "documents", "score", "system", band=False)], "h")
        .axes[0]
        .collections
    )


def test_a_value_has_one_colour_in_all_panels():
    only = Dots(SMALL.where("system", "minilm"), "score", "system", "system")
    figure = draw([LINES, only], "h")
    dots = figure.axes[1].get_lines()[0]
    assert dots.get_color() == PALETTE[1]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["bm25", "minilm"]


def test_rows_stand_in_their_order():
    axes = draw([DOTS], "h").axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["bm25", "minilm"]
    assert axes.yaxis_inverted()


def test_bars_and_points():
    bars = Bars(SMALL, "lost", "system", label="cut")
    points = Points(SMALL, "documents", "score", "system", mark="cut", label="cut", log="xy")
    figure = draw([bars, points, DOTS], "h")
    image(figure, "png")
    assert [patch.get_width() for patch in figure.axes[0].patches] == [0.1, 0.1]
    assert "  whole" in texts(figure)
    assert figure.axes[1].get_yscale() == "log"
    assert not figure.axes[3].axison


@pytest.mark.parametrize("kind", ["png", "svg"])
def test_the_same_figure_has_the_same_bytes(kind):
    assert image(draw([LINES, DOTS], "h"), kind) == image(draw([LINES, DOTS], "h"), kind)


def test_what_is_not_there_is_not_drawn():
    rows = [("bm25", 1, None, None, ""), ("bm25", 2, Estimate(0.5), None, "")]
    frame = Frame("t", COLUMNS, rows, name="t")
    image(draw([Lines(frame, "documents", "score"), Dots(frame, "score", "system")], "h"), "png")


def drawn(columns, rows, **more):
    frame = Frame("t", columns, rows, name="t")
    x, y, *_ = [column.name for column in columns]
    figure = draw([Lines(frame, x, y, **more)], "h")
    image(figure, "png")
    return figure.axes[0]


def test_labels_are_inside_and_apart():
    columns = [Column("ms", "ms"), Column("y", "score"), Column("name")]
    rows = [(1 + 0.001 * i, 1.0, f"number {i}") for i in range(4)] + [(9.0, 1.0, "rightmost")]
    axes = drawn(columns, [*rows, (None, 1.0, "absent")], label="name", log="x")
    boxes = [text.get_window_extent() for text in axes.texts]
    assert [text.get_text() for text in axes.texts] == [name for *_, name in rows]
    assert all(axes.get_window_extent().containsx(x) for box in boxes for x in (box.x0, box.x1))
    assert not any(one.overlaps(two) for one in boxes for two in boxes if one is not two)


def test_counts_have_whole_ticks():
    axes = drawn([Column("draws", "count"), Column("y", "score")], [(1, 0.5), (2, 0.6)])
    assert all(tick == int(tick) for tick in axes.get_xticks())


@pytest.mark.parametrize(("lowest", "from_zero"), [(0.1, True), (0.98, False)])
def test_heights_begin_at_zero_unless_they_would_look_the_same(lowest, from_zero):
    axes = drawn([Column("x", "number"), Column("y", "score")], [(1, lowest), (2, 0.99)])
    low, high = axes.get_ylim()
    assert bool(low <= 0) is from_zero
    assert high > 0.99


def test_a_logarithmic_axis_within_a_power_of_ten_has_ticks():
    axes = drawn([Column("x", "ms"), Column("y", "score")], [(0.06, 0.5), (0.13, 0.5)], log="x")
    low, high = axes.get_xlim()
    assert len([tick for tick in axes.get_xticks() if low <= tick <= high]) >= 3


def test_equal_lines_have_other_dashes_and_markers():
    columns = [Column("x", "number"), Column("y", "score"), Column("by")]
    rows = [(x, 0.5, by) for by in "ab" for x in (1, 2)]
    lines = drawn(columns, rows, by="by").get_lines()
    assert [line.get_linestyle() for line in lines] == ["-", "--"]
    assert [line.get_marker() for line in lines] == ["o", "s"]
