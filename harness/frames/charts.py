"""Charts of frames: what is drawn is named by columns; how it looks is decided here, once.

    Lines(frame, x="documents", y="score", by="system", log="x")
    draw([Lines(...), Dots(...)], headline) -> a figure with a panel each

A value of `by` has one colour in all panels. Figures are made without the state of pyplot, and
`image` gives the same bytes for the same figure.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Literal

from harness.frames import Cell, Column, Frame
from harness.frames.formats import WHOLE
from harness.stats import Estimate

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito 2008: told apart by colour-blind readers
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
GREY, GRID = "#666666", "#E5E5E5"
PERCENT = ("share", "relative")
MEASURED = ("ms", "seconds", "rate", "bytes")  # units of what nobody chose
BESIDE = ((5, -11), (-5, -11), (5, 4), (-5, 4), (5, -25), (-5, -25), (5, -39), (-5, -39))
DASHES = ("-", "--", "-.", ":")
MARKERS = "osD^vPXph"
Log = Literal["", "x", "y", "xy"]


@dataclass(frozen=True)
class Reference:
    """A thin line at a value of x or y, with a label beside it."""

    at: float
    label: str = ""
    axis: Literal["x", "y"] = "x"


@dataclass(frozen=True)
class Lines:
    """A line a value of `by`: y against x, both numbers, in the order of the rows.

    Args:
        frame: What is drawn.
        x: Column along the axis below.
        y: Column of heights.
        by: Column that colours tell; "" for one line.
        dash: Column that dashes tell within a colour.
        band: Whether intervals of estimates are drawn, as a band.
        points: Whether each value is marked.
        log: Axes that are logarithmic.
        label: Column of texts beside the points.
        title: Of the panel.
        references: Lines to hold values against.
    """

    frame: Frame
    x: str
    y: str
    by: str = ""
    dash: str = ""
    band: bool = True
    points: bool = True
    log: Log = ""
    label: str = ""
    title: str = ""
    references: tuple[Reference, ...] = ()


@dataclass(frozen=True)
class Points:
    """A point a row: y against x, both numbers; estimates with their intervals.

    Args:
        mark: Column that markers tell. The others are those of Lines.
    """

    frame: Frame
    x: str
    y: str
    by: str = ""
    mark: str = ""
    log: Log = ""
    label: str = ""
    title: str = ""
    references: tuple[Reference, ...] = ()


@dataclass(frozen=True)
class Dots:
    """A row of the chart a value of y, with a dot and its interval for each value of `by`.

    Args:
        x: Column of numbers or estimates.
        y: Column of names, the first on top. The others are those of Lines.
    """

    frame: Frame
    x: str
    y: str
    by: str = ""
    log: Log = ""
    title: str = ""
    references: tuple[Reference, ...] = ()


@dataclass(frozen=True)
class Bars:
    """As Dots, with bars from zero.

    Args:
        label: Column of texts behind the bars. The others are those of Dots.
    """

    frame: Frame
    x: str
    y: str
    by: str = ""
    label: str = ""
    title: str = ""
    references: tuple[Reference, ...] = ()


Chart = Lines | Points | Dots | Bars
Colours = Mapping[Cell, str]


def draw(charts: Sequence[Chart], headline: str) -> Figure:
    """Draw charts side by side, two in a row, under a headline.

    Args:
        charts: At least one.
        headline: What they show, a sentence.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(len(charts), 2)
    lines = -(-len(charts) // columns)
    heights = [max(map(_height, charts[i * columns : (i + 1) * columns])) for i in range(lines)]
    width = 9.0 if columns == 1 else 13.0
    made = Figure(figsize=(width, 1.2 + sum(heights)), layout="constrained", facecolor="white")
    FigureCanvasAgg(made)
    title = textwrap.fill(headline, int(8.4 * width))
    made.suptitle(title, x=0.01, ha="left", fontsize=13, fontweight="bold")
    panels = made.subplots(lines, columns, squeeze=False, height_ratios=heights).ravel()
    colours, pairs = _colours(charts), list(zip(panels, charts, strict=False))
    for axes, chart in pairs:
        _panel(axes, chart, colours)
    for axes in panels[len(charts) :]:
        axes.set_axis_off()
    _legend(made, colours)
    for axes, chart in pairs:
        if isinstance(chart, Lines | Points) and chart.label:
            made.draw_without_rendering()  # lays out: only then is known where there is room
            _write_beside(axes, chart)
    return made


def image(figure: Figure, kind: Literal["png", "svg"]) -> bytes:
    """The figure as a file; the same bytes for the same figure."""
    import matplotlib

    buffer = BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "retrieval-harness", "axes.unicode_minus": False}):
        metadata = {"Date": None} if kind == "svg" else {}
        figure.savefig(buffer, format=kind, dpi=160, metadata=metadata)
    return buffer.getvalue()


def _height(chart: Chart) -> float:
    """Inches that a panel needs."""
    if isinstance(chart, Lines | Points):
        return 4.3
    many = len(chart.frame.values(chart.by)) if chart.by else 1
    return max(1.3, 0.9 + len(chart.frame.values(chart.y)) * (0.22 + 0.16 * many))


def _colours(charts: Sequence[Chart]) -> dict[Cell, str]:
    """A colour for each value of `by`, in the order of the charts."""
    values = [value for chart in charts if chart.by for value in chart.frame.values(chart.by)]
    return {value: PALETTE[at % len(PALETTE)] for at, value in enumerate(dict.fromkeys(values))}


def _panel(axes: Axes, chart: Chart, colours: Colours) -> None:
    match chart:
        case Lines():
            _lines(axes, chart, colours)
        case Points():
            _points(axes, chart, colours)
        case Dots() | Bars():
            _rows(axes, chart, colours)
    _references(axes, chart.references)
    _finish(axes, chart)


def _groups(frame: Frame, by: str, colours: Colours) -> list[tuple[Frame, str, str]]:
    """Rows of each value of `by`, its colour and its name in the legend."""
    if not by:
        return [(frame, PALETTE[0], "")]
    column = frame.column(by)
    return [
        (frame.where(by, value), colours[value], column.write(value)) for value in frame.values(by)
    ]


def _lines(axes: Axes, chart: Lines, colours: Colours) -> None:
    dashes = chart.frame.values(chart.dash) if chart.dash else [None]
    for group, colour, name in _groups(chart.frame, chart.by, colours):
        label, place = name, PALETTE.index(colour)  # so that of equal lines each is seen
        for at, dash in enumerate(dashes):
            rows = group.where(chart.dash, dash) if chart.dash else group
            if not len(rows):
                continue
            x, y = rows.numbers(chart.x), rows.numbers(chart.y)
            style = DASHES[(at if chart.dash else place) % len(DASHES)]
            mark = MARKERS[place] if chart.points else ""
            axes.plot(x, y, style, color=colour, lw=2, marker=mark, ms=4, label=label)
            label = ""
            low, high = _bounds(rows, chart.y)
            if chart.band and low != high:
                axes.fill_between(x, low, high, color=colour, alpha=0.12, lw=0)
    if chart.dash and len(dashes) > 1:
        _key(axes, [chart.frame.column(chart.dash).write(dash) for dash in dashes])


def _key(axes: Axes, names: Sequence[str]) -> None:
    """What dashes mean, inside the panel."""
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=GREY, ls=DASHES[at % len(DASHES)], label=name)
        for at, name in enumerate(names)
    ]
    axes.legend(handles=handles, frameon=False, fontsize=9)


def _points(axes: Axes, chart: Points, colours: Colours) -> None:
    marks = chart.frame.values(chart.mark) if chart.mark else [None]
    for group, colour, name in _groups(chart.frame, chart.by, colours):
        for at, mark in enumerate(marks):
            rows = group.where(chart.mark, mark) if chart.mark else group
            axes.errorbar(
                rows.numbers(chart.x), rows.numbers(chart.y), xerr=_arms(rows, chart.x),
                yerr=_arms(rows, chart.y), fmt=MARKERS[at % len(MARKERS)], color=colour, ms=6,
                lw=1.2, label="" if at else name,
            )  # fmt: skip


def _write_beside(axes: Axes, chart: Lines | Points) -> None:
    """Label each point where there is room: inside the panel, on no other label."""
    taken = [text.get_window_extent() for text in axes.texts]
    panel, column = axes.get_window_extent(), chart.frame.column(chart.label)
    x, y = chart.frame.numbers(chart.x), chart.frame.numbers(chart.y)
    for cell, *point in zip(chart.frame[chart.label], x, y, strict=True):
        for right, up in BESIDE if all(map(math.isfinite, point)) else ():
            text = axes.annotate(
                column.write(cell), (point[0], point[1]), (right, up), fontsize=8, color=GREY,
                textcoords="offset points", ha="left" if right > 0 else "right",
            )  # fmt: skip
            box = text.get_window_extent()
            inside = panel.contains(box.x0, box.y0) and panel.containsx(box.x1)
            if (inside and not box.count_overlaps(taken)) or (right, up) == BESIDE[-1]:
                taken.append(box)
                break
            text.remove()


def _rows(axes: Axes, chart: Dots | Bars, colours: Colours) -> None:
    names = chart.frame.values(chart.y)
    groups = _groups(chart.frame, chart.by, colours)
    for place, (rows, colour, name) in enumerate(groups):
        shift = (place - (len(groups) - 1) / 2) * 0.7 / len(groups)
        at = [names.index(value) + shift for value in rows[chart.y]]
        x, arms = rows.numbers(chart.x), _arms(rows, chart.x)
        if isinstance(chart, Dots):
            axes.errorbar(x, at, xerr=arms, fmt="o", color=colour, ms=5, lw=1.6, label=name)
            continue
        axes.barh(at, x, height=0.7 / len(groups), color=colour, label=name)
        axes.errorbar(x, at, xerr=arms, fmt="none", ecolor="black", lw=1.2, capsize=3)
        if chart.label:
            column = rows.column(chart.label)
            ends = [high if math.isfinite(high) else 0 for high in _bounds(rows, chart.x)[1]]
            for text, end, y in zip(rows[chart.label], ends, at, strict=True):
                said = f"  {column.write(text)}"
                axes.text(max(end, 0), y, said, va="center", fontsize=9, color=GREY)
    column = chart.frame.column(chart.y)
    axes.set_yticks(range(len(names)), [textwrap.fill(column.write(one), 40) for one in names])
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(names) - 0.5, -0.5)


def _bounds(rows: Frame, name: str) -> tuple[list[float], list[float]]:
    """Ends of intervals; the value itself where there is none."""
    low, high = list[float](), list[float]()
    for cell, mean in zip(rows[name], rows.numbers(name), strict=True):
        ends = (cell.low, cell.high) if isinstance(cell, Estimate) else (None, None)
        low.append(mean if ends[0] is None else ends[0])
        high.append(mean if ends[1] is None else ends[1])
    return low, high


def _arms(rows: Frame, name: str) -> list[list[float]] | None:
    """Lengths of intervals below and above; None where there are none."""
    if not rows.estimates(name):
        return None
    mean, (low, high) = rows.numbers(name), _bounds(rows, name)
    below = [max(m - end, 0) for m, end in zip(mean, low, strict=True)]
    return [below, [max(end - m, 0) for m, end in zip(mean, high, strict=True)]]


def _references(axes: Axes, references: Sequence[Reference]) -> None:
    for one in references:
        upright = one.axis == "x"
        across = axes.axvline if upright else axes.axhline
        across(one.at, color=GREY, lw=1, ls=":" if one.label else "-", zorder=0.5)
        if not one.label:
            continue
        left, right = axes.get_xlim()
        behind = not upright or one.at > (left + right) / 2  # so that the label stays inside
        axes.annotate(
            one.label, (one.at, 0.99) if upright else (0.99, one.at), (-3 if behind else 3, 2),
            xycoords=axes.get_xaxis_transform() if upright else axes.get_yaxis_transform(),
            textcoords="offset points", fontsize=8, color=GREY, ha="right" if behind else "left",
            va="top" if upright else "bottom",
        )  # fmt: skip


def _finish(axes: Axes, chart: Chart) -> None:
    """Axes, grid and labels, the same for all."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_axisbelow(True)
    axes.set_title(textwrap.fill(chart.title, 70), loc="left", fontsize=11)
    x = chart.frame.column(chart.x)
    axes.set_xlabel(_label(x))
    log = "" if isinstance(chart, Bars) else chart.log
    _tick(axes, "x", chart.frame, x, log)
    if isinstance(chart, Dots | Bars):
        axes.grid(axis="x", color=GRID)
        axes.spines["left"].set_visible(False)
    else:
        y = chart.frame.column(chart.y)
        axes.grid(color=GRID)
        axes.set_ylabel(_label(y))
        _tick(axes, "y", chart.frame, y, log)
        if y.unit in ("share", "score", "estimate") and "y" not in log:
            low, high = axes.get_ylim()
            if 0 < low < high / 2:  # else what differs little would look the same
                axes.set_ylim(0, high + 0.05 * low)


def _label(column: Column) -> str:
    said = ", 95% interval" if column.unit in ("estimate", "change") else ""
    return column.header + (" per second" if column.unit == "rate" else said)


def _tick(axes: Axes, which: Literal["x", "y"], frame: Frame, column: Column, log: Log) -> None:
    """Ticks as values are: percent, or whole; on a logarithmic axis at those that were chosen."""
    from matplotlib import ticker

    axis, percent = axes.xaxis if which == "x" else axes.yaxis, column.unit in PERCENT
    if which not in log:
        if percent:
            axis.set_major_formatter("{x:.0%}")
        if column.unit in WHOLE:
            axes.locator_params(which, integer=True)
        return
    (axes.set_xscale if which == "x" else axes.set_yscale)("log")
    different = sorted({x for x in frame.numbers(column.name) if math.isfinite(x) and x > 0})
    if len(different) <= 9 and column.unit not in MEASURED:
        axis.set_major_locator(ticker.FixedLocator(different))
    elif different and different[-1] < 10 * different[0]:  # hardly a power of ten between
        axis.set_major_locator(ticker.MaxNLocator(5, steps=[1, 2, 5, 10]))
    else:
        axis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(lambda at, _: f"{100 * at:,.3g}%" if percent else f"{at:,g}")
    axis.set_minor_formatter(ticker.NullFormatter())


def _legend(figure: Figure, colours: Colours) -> None:
    """One legend for all panels, of the colours that have a name."""
    named: dict[str, Artist] = {}
    for axes in figure.axes:
        for handle, name in zip(*axes.get_legend_handles_labels(), strict=True):
            named.setdefault(name, handle)
    if colours and named:
        room = int(12 * figure.get_figwidth() / (max(map(len, named)) + 8))  # 12 letters an inch
        figure.legend(
            list(named.values()), list(named), loc="outside lower left",
            ncols=max(1, min(len(named), 4, room)), frameon=False,
        )  # fmt: skip
