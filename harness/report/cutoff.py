"""Relevance cut-off as a page of numbers and a figure."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING

from harness.frames import Table
from harness.report.tables import number
from harness.studies.cutoff import RECALLS, Cutoff, System, Way
from harness.studies.subject import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito 2008
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
NAMES = {
    "max": "highest score",
    "std": "deviation of scores",
    "diff1": "first less second",
    "z": "first's z-score",
}


def page(cutoff: Cutoff) -> list[Table]:
    """What one threshold reaches, what it returns, precision at recall, and abstention."""
    tables = [_reached(cutoff), _returned(cutoff), _at_recall(cutoff), _abstention(cutoff)]
    if cutoff.warnings:
        tables.append(Table("Warnings", [""], [[warning] for warning in cutoff.warnings]))
    return tables


def _reached(cutoff: Cutoff) -> Table:
    rows = [
        [
            *names,
            number(way.area),
            f"{way.threshold:.4g}",
            number(way.seen),
            number(way.f1),
            _value(way.mean_f1),
            "" if way is system.ways[0] else _value(way.gain),
            number(system.own.mean),
        ]
        for system, way, names in _ways(cutoff)
    ]
    share = cutoff.relevant / (cutoff.queries * cutoff.documents)
    scored = "all" if cutoff.depth == cutoff.documents else f"the first {cutoff.depth:,}"
    title = (
        f"One threshold for all queries of {cutoff.task}: {cutoff.queries:,} queries, {scored} of "
        f"{cutoff.documents:,} documents scored, {share:.2%} of pairs relevant; held out: chosen "
        "on the other half of the queries"
    )
    header = ["model", "compared by", "PR-AUC", "threshold", "F1 of pairs, best", "held out"]
    header += ["mean F1 of queries, held out", "beside the score", "each query's own best"]
    return Table(title, header, rows, frozenset(range(2, 9)))


def _returned(cutoff: Cutoff) -> Table:
    rows = [
        [
            *names,
            f"{way.size:.1f}",
            f"{way.empty:.1%}",
            f"{way.wrong:.1%}",
            f"{way.refused:.1%}",
        ]
        for _, way, names in _ways(cutoff)
    ]
    title = (
        "What queries get at the threshold of the best mean F1, held out; the last column is of "
        "the same queries without their relevant documents"
    )
    header = ["model", "compared by", "documents a query", "nothing", "nothing relevant"]
    return Table(title, [*header, "nothing, unanswerable"], rows, frozenset(range(2, 6)))


def _at_recall(cutoff: Cutoff) -> Table:
    rows = [[*names, *map(number, way.at_recall)] for _, way, names in _ways(cutoff)]
    header = ["model", "compared by", *(f"recall {recall:g}" for recall in RECALLS)]
    title = "Precision over all pairs at a recall of at least"
    return Table(title, header, rows, frozenset(range(2, len(header))))


def _abstention(cutoff: Cutoff) -> Table:
    rows = [
        [
            system.model,
            NAMES[one.name],
            number(one.nauc),
            number(one.nauc_half),
            _value(one.auroc),
        ]
        for system in cutoff.systems
        for one in system.confidences
    ]
    title = (
        f"When to return nothing, by {cutoff.measure}: nAUC is 0 by chance, 1 for an oracle; AUROC "
        "of answerable against unanswerable queries is 0.5 by chance"
    )
    header = ["model", "confidence", "nAUC", "nAUC, half of them unanswerable", "AUROC"]
    return Table(title, header, rows, frozenset({2, 3, 4}))


def _ways(cutoff: Cutoff) -> Iterator[tuple[System, Way, list[str]]]:
    """Each model with each way to compare its scores, and their names."""
    for system in cutoff.systems:
        for way in system.ways:
            yield system, way, [system.model, way.name]


def _value(interval: Interval) -> str:
    return f"{number(interval.mean)} [{number(interval.low)}, {number(interval.high)}]"


def figure(cutoff: Cutoff) -> Figure:
    """Precision and recall of every threshold; F1 of the held-out one by way to compare scores.

    Made without the state of pyplot: save it with `figure.savefig(path)`.
    """
    from matplotlib.figure import Figure

    made = Figure(figsize=(10.5, 5.2), layout="constrained")
    left, right = made.subplots(1, 2)
    title = textwrap.fill(_finding(cutoff), 88)
    made.suptitle(title, x=0.01, ha="left", fontsize=13, fontweight="bold")
    for at, system in enumerate(cutoff.systems):
        colour = COLOURS[at % len(COLOURS)]
        _draw_curves(left, system, colour)
        _draw_ways(right, system, colour, 0.3 - 0.6 * (at + 0.5) / len(cutoff.systems))
    left.set_title("one threshold on scores; dashed, on ranks", loc="left", fontsize=11)
    left.set(xlim=(0, 1.02), ylim=(0, 1.02), xlabel="recall of all pairs", ylabel="precision")
    ways = [way.name for way in cutoff.systems[0].ways]
    right.set_yticks([-line for line in range(len(ways))], ways)
    right.tick_params(axis="y", length=0)
    right.set_xlim(0, 1.02)
    right.set_xlabel("mean F1 of queries, held out, 95 % interval")
    right.set_title("dotted: each query's own best threshold", loc="left", fontsize=11)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color="#E5E5E5")
        axes.set_axisbelow(True)
    made.legend(
        *left.get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False
    )
    return made


def _draw_curves(axes: Axes, system: System, colour: str) -> None:
    """Thresholds on scores, and on ranks: as many documents for every query."""
    ways = {way.name: way.points for way in system.ways}
    for name, dash, label in (("score", "-", system.model), ("rank", "--", None)):
        points = ways[name]
        recalls, precisions = [p.recall for p in points], [p.precision for p in points]
        axes.plot(recalls, precisions, dash, color=colour, lw=2 if label else 1.2, label=label)


def _draw_ways(axes: Axes, system: System, colour: str, shift: float) -> None:
    means = [way.mean_f1.mean for way in system.ways]
    error = [
        [way.mean_f1.mean - way.mean_f1.low for way in system.ways],
        [way.mean_f1.high - way.mean_f1.mean for way in system.ways],
    ]
    places = [shift - line for line in range(len(means))]
    axes.errorbar(means, places, xerr=error, fmt="o", color=colour, ms=5)
    axes.axvline(system.own.mean, color=colour, ls=":", lw=1.2)


def _finding(cutoff: Cutoff) -> str:
    """What one threshold reaches for the first model, by the best way, and at best."""
    system = cutoff.systems[0]
    plain, *others = system.ways
    best = max(others, key=lambda way: way.mean_f1.mean)
    return (
        f"{system.model} on {cutoff.task}: one threshold reaches mean F1 {plain.mean_f1.mean:.2f} "
        f"on scores, {best.mean_f1.mean:.2f} by {best.name}, {system.own.mean:.2f} if each query "
        f"had its own; {plain.refused:.0%} of unanswerable queries get nothing"
    )
