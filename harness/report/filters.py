"""Recall of filtered search as a page of numbers and a figure."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.frames import Table
from harness.report.tables import number
from harness.studies.filters import FACTORS, Answer, Filters

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito 2008
COLOURS = {"pre-filter": "#666666", "post-filter": "#0072B2", "native": "#D55E00"}
DASHES = {1: ":", 2: "-.", 5: "--", 10: "-"}


def page(filters: Filters) -> list[Table]:
    """What the predicates were, and recall, missing results and speed of each way."""
    named = [f"{bucket.selectivity:.1%}" for bucket in filters.buckets]
    tables = [_predicates(filters)]
    for title, cell in {
        f"Recall at {filters.k} of the nearest documents that match, 95 % interval": _recall,
        f"Queries with fewer results than match, up to {filters.k}": lambda a: f"{a.short:.1%}",
        "Queries per second, all asked together": lambda a: f"{a.per_second:,.0f}",
        "Milliseconds of a query asked alone, median (95th percentile)": _alone,
    }.items():
        rows = [[name, *map(cell, answers)] for name, answers in ways(filters).items()]
        numeric = frozenset(range(1, len(named) + 1))
        tables.append(Table(title, ["documents that match", *named], rows, numeric))
    if filters.warnings:
        tables.append(Table("Warnings", [""], [[warning] for warning in filters.warnings]))
    return tables


def _recall(answer: Answer) -> str:
    return f"{number(answer.recall)} [{number(answer.low)}, {number(answer.high)}]"


def _alone(answer: Answer) -> str:
    return f"{answer.p50_ms:.2f} ({answer.p95_ms:.2f})"


def _predicates(filters: Filters) -> Table:
    rows = [
        [
            f"{bucket.selectivity:.1%}",
            f"{bucket.share:.2%}",
            f"{bucket.matches:,.0f}",
            str(len(bucket.predicates)),
            textwrap.shorten("; ".join(bucket.predicates), 100, placeholder=" ..."),
        ]
        for bucket in filters.buckets
    ]
    title = (
        f"{filters.encoder} on {filters.task}: {filters.queries:,} queries with predicates on "
        f"{filters.attribute} over {filters.documents:,} documents"
    )
    header = ["selectivity", "measured", "documents", "predicates", "which"]
    return Table(title, header, rows, frozenset({0, 1, 2, 3}))


def ways(filters: Filters) -> dict[str, list[Answer]]:
    """The answers of each way by its name, as the page orders them."""
    found: dict[str, list[Answer]] = {}
    for answer in filters.answers:
        factor = "" if answer.factor is None else f" x{answer.factor}"
        found.setdefault(f"{answer.way}{factor}, {answer.index}", []).append(answer)
    return found


def figure(filters: Filters) -> Figure:
    """Recall against selectivity: before, after and inside the search of the index.

    Made without the state of pyplot: save it with `figure.savefig(path)`.
    """
    from matplotlib.figure import Figure

    made = Figure(figsize=(8.5, 5.5), layout="constrained")
    axes = made.subplots()
    title = textwrap.fill(_finding(filters), 72)
    made.suptitle(title, x=0.01, ha="left", fontsize=13, fontweight="bold")
    share = {bucket.selectivity: 100 * bucket.share for bucket in filters.buckets}
    for answers in ways(filters).values():
        if answers[0].way != "post-filter" or answers[0].index == filters.index:
            _draw(axes, answers, [share[answer.selectivity] for answer in answers])
    axes.set_xscale("log")
    axes.set_xticks(list(share.values()), [f"{percent:.2g} %" for percent in share.values()])
    axes.minorticks_off()
    axes.set_ylim(0, 1.08)
    axes.yaxis.set_major_formatter("{x:.0%}")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#E5E5E5")
    axes.set_axisbelow(True)
    axes.set_xlabel(f"of {filters.documents:,} documents match; predicates on {filters.attribute}")
    about = f"share found of the {filters.k} nearest that match, index {filters.index}"
    axes.set_title(about, loc="left", fontsize=11)
    return made


def _finding(filters: Filters) -> str:
    """What is left at the selectivity nearest to 1 %, where ways differ most."""
    nearest = min((b.selectivity for b in filters.buckets), key=lambda s: abs(math.log(s / 0.01)))
    there = {
        (answer.way, answer.index, answer.factor): f"{answer.recall:.0%}"
        for answer in filters.answers
        if answer.selectivity == nearest
    }
    post = there["post-filter", filters.index, FACTORS[-1]]
    native = there.get(("native", filters.index, None))
    inside = "" if native is None else f", filtering inside {filters.index} {native}"
    return (
        f"{filters.encoder} on {filters.task}, {nearest:.1%} match: filtering {FACTORS[-1]} x "
        f"{filters.k} results finds {post}{inside}, filtering first all"
    )


def _draw(axes: Axes, answers: Sequence[Answer], shares: Sequence[float]) -> None:
    """A line, named where it is nearest to the middle."""
    first, recalls = answers[0], [answer.recall for answer in answers]
    dash = "-" if first.factor is None else DASHES[first.factor]
    factor = "" if first.factor is None else f" x{first.factor}"
    axes.plot(shares, recalls, dash, color=COLOURS[first.way], marker="o", ms=4, lw=2)
    at = min(range(len(recalls)), key=lambda i: abs(recalls[i] - 0.5))
    axes.annotate(
        f"{first.way}{factor}",
        (shares[at], recalls[at]),
        xytext=(-7, 5) if at else (7, 5),
        textcoords="offset points",
        ha="right" if at else "left",
        color=COLOURS[first.way],
        bbox={"color": "white", "pad": 1, "alpha": 0.8},
    )
