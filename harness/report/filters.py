"""Recall of filtered search as a page of numbers and a figure."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.report.tables import Table, number
from harness.studies.filters import Answer, Filters

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GREY, POST, INDEX, NATIVE = "#666666", "#0072B2", "#D55E00", "#009E73"  # Okabe and Ito 2008
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
    """Recall against selectivity, a line a way; made without the state of pyplot."""
    from matplotlib.figure import Figure

    made = Figure(figsize=(9, 5.5), layout="constrained")
    axes = made.subplots()
    title = textwrap.fill(_finding(filters), 80)
    made.suptitle(title, x=0.01, ha="left", fontsize=13, fontweight="bold")
    ends = [_draw(axes, answers) for answers in ways(filters).values()]
    axes.set_xscale("log")
    shares = [bucket.share for bucket in filters.buckets]
    axes.set_xticks(shares, [f"{share:.2g}" for share in (100 * s for s in shares)])
    axes.minorticks_off()
    least, most = min(shares), max(shares)
    axes.set_xlim(least * 0.9, most * max(most / least, 2) ** 0.42)
    axes.set_ylim(0, 1.05)
    axes.yaxis.set_major_formatter("{x:.0%}")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#E5E5E5")
    axes.set_axisbelow(True)
    _label(axes, most, ends)
    axes.set_xlabel(f"documents that match, % of {filters.documents:,}")
    axes.set_title(
        f"recall at {filters.k} of the nearest documents that match", loc="left", fontsize=11
    )
    return made


def _draw(axes: Axes, answers: Sequence[Answer]) -> tuple[float, str, str]:
    return 0.0, "", ""
