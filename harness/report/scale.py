"""Scores of growing corpora as a page of numbers and a figure."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from harness.frames import Table
from harness.report.tables import number
from harness.studies.scale import Crossing, Curve, Scale

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GREY, BLACK = "#666666", "#000000"
# Okabe and Ito 2008; a colour a model, a dash a number of dimensions
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
DASHES = ("-", "--", "-.", ":")


def page(scale: Scale) -> list[Table]:
    """Scores by size, where curves and the baseline cross, and errors beside those of chance."""
    tables = [_scores(scale), _crossings(scale), _errors(scale)]
    if scale.warnings:
        tables.append(Table("Warnings", [""], [[warning] for warning in scale.warnings]))
    return tables


def _scores(scale: Scale) -> Table:
    rows = []
    for at, size in enumerate(scale.sizes):
        points = [curve.points[at] for curve in scale.curves]
        cells = [f"{number(p.score)} [{number(p.low)}, {number(p.high)}]" for p in points]
        rows.append([f"{size:,}", *cells])
    title = (
        f"{scale.measure} on {scale.task} by documents: {scale.judged:,} judged ones in every "
        f"corpus, the others {_others(scale)}"
    )
    header = ["documents", *(curve.name for curve in scale.curves)]
    return Table(title, header, rows, frozenset(range(len(header))))


def _others(scale: Scale) -> str:
    named = {"corpus": "of the task in a random order", "random": "random strings"}
    return named.get(scale.distractors, f"of {scale.distractors}")


def _crossings(scale: Scale) -> Table:
    rows = [
        [
            crossing.curve,
            crossing.first or "equal",
            "none" if crossing.documents is None else f"{crossing.documents:,.0f}",
            _interval(crossing, scale),
            crossing.then or "equal",
            f"{crossing.crossed:.0%}",
        ]
        for crossing in scale.crossings
    ]
    header = ["curve", "leads first", "crossing", "95 % interval", "leads then", "resamples cross"]
    title = f"Where curves and {scale.baseline}, weighted anew for each corpus, change places"
    return Table(title, header, rows, frozenset({2, 3, 5}))


def _interval(crossing: Crossing, scale: Scale) -> str:
    if crossing.documents is None:
        return ""
    low = f"below {scale.sizes[0]:,}" if crossing.low is None else f"{crossing.low:,.0f}"
    high = f"above {scale.sizes[-1]:,}" if crossing.high is None else f"{crossing.high:,.0f}"
    return f"{low} to {high}"


def _errors(scale: Scale) -> Table:
    """The smallest and the largest corpus are enough to see the difference."""
    rows = [
        [curve.name, str(curve.width or "–"), *(_share(value) for value in _ends(curve))]
        for curve in scale.curves
    ]
    ends = (scale.sizes[0], scale.sizes[-1])
    cells = [f"{what}, {size:,}" for size in ends for what in ("measured", "by chance")]
    title = (
        "Queries whose first result is not relevant, beside the share if all other documents "
        "were random directions (spherical caps)"
    )
    header = ["curve", "dimensions", *cells]
    return Table(title, header, rows, frozenset(range(1, len(header))))


def _ends(curve: Curve) -> list[float | None]:
    return [
        value for at in (0, -1) for value in (curve.points[at].wrong, curve.points[at].by_chance)
    ]


def _share(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.1%}" if value >= 0.001 or value == 0 else f"{100 * value:.0e} %"


def figure(scale: Scale) -> Figure:
    """Score against documents, above errors measured and by chance; the crossing is marked.

    Made without the state of pyplot: save it with `figure.savefig(path)`.
    """
    from matplotlib.figure import Figure

    made = Figure(figsize=(9, 8), layout="constrained")
    above, below = made.subplots(2, sharex=True, height_ratios=(3, 2))
    title = textwrap.fill(_finding(scale), 76)
    made.suptitle(title, x=0.01, ha="left", fontsize=13, fontweight="bold")
    styles = _styles(scale)
    _draw_scores(above, scale, styles)
    _draw_errors(below, scale, styles)
    below.set_xscale("log")
    ticks = scale.sizes[:: -(-len(scale.sizes) // 7)]
    below.set_xticks(ticks, [f"{size:,}" for size in ticks])
    below.minorticks_off()
    below.set_xlabel(f"documents: {scale.judged:,} judged, the others {_others(scale)}")
    first, last = scale.sizes[0], scale.sizes[-1]
    below.set_xlim(first * (first / last) ** 0.03, last * (last / first) ** 0.45)
    for axes in (above, below):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color="#E5E5E5")
        axes.set_axisbelow(True)
    return made


def _styles(scale: Scale) -> dict[str, tuple[str, str]]:
    """Colour and dash by the name of a curve."""
    models = [m for m in dict.fromkeys(c.model for c in scale.curves) if m != scale.baseline]
    seen: dict[str, int] = {}
    found = {}
    for curve in scale.curves:
        place = seen[curve.model] = seen.get(curve.model, -1) + 1
        colour = BLACK if curve.model == scale.baseline else COLOURS[models.index(curve.model) % 6]
        found[curve.name] = colour, DASHES[place % 4]
    return found


def _finding(scale: Scale) -> str:
    """Where the first model and the baseline change places, or who leads; and what is lost."""
    first, crossing = scale.curves[0], next(iter(scale.crossings), None)
    lost = f"{scale.measure} {first.points[0].score:.3f} → {first.points[-1].score:.3f}"
    said = f"{first.name} from {scale.sizes[0]:,} to {scale.sizes[-1]:,} documents: {lost}"
    if crossing is None or not crossing.first:
        return said
    if crossing.documents is None:
        return f"{said}; {crossing.first} leads at every size"
    return f"{said}; {crossing.then} leads from about {float(f'{crossing.documents:.2g}'):,.0f} on"


def _draw_scores(axes: Axes, scale: Scale, styles: Mapping[str, tuple[str, str]]) -> None:
    ends = []
    for curve in scale.curves:
        colour, dash = styles[curve.name]
        scores = [point.score for point in curve.points]
        axes.plot(scale.sizes, scores, dash, color=colour, marker="o", ms=4, lw=2)
        low, high = [p.low for p in curve.points], [p.high for p in curve.points]
        if dash == "-":  # more bands would cover each other
            axes.fill_between(scale.sizes, low, high, color=colour, alpha=0.1, lw=0)
        ends.append((scores[-1], f"{curve.name}: {scores[-1]:.3f}", colour))
    for crossing in scale.crossings:
        if crossing.documents is not None:
            colour = styles[crossing.curve][0]
            axes.axvline(crossing.documents, color=colour, ls=":", lw=1.5)
            near = f"{crossing.documents:,.0f}"
            axes.annotate(
                near, (crossing.documents, 0.02), xycoords=("data", "axes fraction"), color=colour,
                xytext=(4, 0), textcoords="offset points", fontsize=9,
            )  # fmt: skip
    axes.margins(y=0.1)
    axes.set_ylim(bottom=0)
    _label(axes, scale.sizes[-1], ends)
    axes.set_title(f"{scale.measure}, 95 % interval", loc="left", fontsize=11)


def _draw_errors(axes: Axes, scale: Scale, styles: Mapping[str, tuple[str, str]]) -> None:
    """Of the first model: measured as a line with points, chance as a thin one without."""
    ends = []
    for curve in scale.curves:
        if curve.model != scale.curves[0].model:
            continue
        colour, dash = styles[curve.name]
        wrong = [point.wrong for point in curve.points]
        axes.plot(scale.sizes, wrong, dash, color=colour, marker="o", ms=4, lw=2)
        ends.append((wrong[-1], f"{curve.name}: {wrong[-1]:.0%}", colour))
        chance = [point.by_chance for point in curve.points if point.by_chance is not None]
        if chance:
            axes.plot(scale.sizes, chance, dash, color=GREY, lw=1.5)
            ends.append((chance[-1], f"{curve.width}-d by chance: {chance[-1]:.1%}", GREY))
    axes.set_ylim(0, 1.05)
    axes.yaxis.set_major_formatter("{x:.0%}")
    _label(axes, scale.sizes[-1], ends)
    title = f"{scale.curves[0].model}: queries whose first result is not relevant"
    axes.set_title(f"{title}; grey: were all others random directions", loc="left", fontsize=11)


def _label(axes: Axes, x: float, ends: Sequence[tuple[float, str, str]]) -> None:
    """Names at the ends of curves, pushed apart where they would cover each other."""
    low, high = axes.get_ylim()
    least = (high - low) / 18
    at = low - least
    for y, text, colour in sorted(ends):
        at = max(y, at + least)
        axes.annotate(
            text, (x, y), xytext=(x * 1.04, at), textcoords="data", color=colour, va="center",
            fontsize=9,
        )  # fmt: skip
