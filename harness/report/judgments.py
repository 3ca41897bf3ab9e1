"""The order of systems under part of the judgments, as tables and a figure."""

from __future__ import annotations

import textwrap
from itertools import cycle
from typing import TYPE_CHECKING

from harness.charts import PALETTE
from harness.frames import Table
from harness.report.tables import number
from harness.studies.judgments import (
    BUCKETS,
    ENOUGH,
    SELECTIONS,
    Agreement,
    Judgments,
    Reduced,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GREY = "#666666"


def page(found: Judgments) -> list[Table]:
    """The systems, their order by part of the judgments, how much is enough, what pools find."""
    tables = [_systems(found), _reduced(found), _enough(found), _pools(found)]
    if found.warnings:
        tables.append(Table("Warnings", [""], [[warning] for warning in found.warnings]))
    return tables


def _systems(found: Judgments) -> Table:
    rows = [
        [
            system.name,
            number(system.score.mean),
            f"[{number(system.score.low)}, {number(system.score.high)}]",
            f"{system.judged:.1%}",
            f"{system.hole:.1%}",
        ]
        for system in found.systems
    ]
    cutoff = found.measure.partition("@")[2]
    title = (
        f"{found.measure} on {found.task} by all judgments: {found.queries:,} queries, "
        f"{found.relevant:,} relevant documents"
    )
    header = ["system", found.measure, "95 % interval", f"judged@{cutoff}", f"hole@{cutoff}"]
    return Table(title, header, rows, frozenset(range(1, 5)))


def _reduced(found: Judgments) -> Table:
    rows = [
        [
            one.selection,
            "one a query" if one.share is None else f"{one.share:.0%}",
            f"{one.kept:,}, {one.kept / found.relevant:.0%}",
            *_agreement(one.agreement),
            *(number(part.tau if part else None, 3) for part in one.by_p),
            f"{one.best:.0%}",
        ]
        for one in found.reduced
    ]
    pairs = [part.pairs if part else 0 for part in found.reduced[0].by_p]
    by_p = [f"tau, {name}: {n}" for name, n in zip(BUCKETS, pairs, strict=True)]
    header = ["stay judged", "share", "documents", "tau", "95 % of versions", "error rate", *by_p]
    header += ["best stays best"]
    title = (
        f"Order of systems by part of the relevant documents, beside that by all: "
        f"{found.reduced[0].agreement.pairs} pairs, by the p-value of their difference"
    )
    return Table(title, header, rows, frozenset(range(2, len(header))))


def _agreement(agreement: Agreement) -> list[str]:
    """Tau, what versions lie between, and the error rate."""
    low, high = number(agreement.low, 3), number(agreement.high, 3)
    between = "" if agreement.low is None else f"[{low}, {high}]"
    return [number(agreement.tau, 3), between, f"{agreement.error:.1f} %"]


def _enough(found: Judgments) -> Table:
    shares = sorted({one.share for one in found.reduced if one.share is not None})
    there = [part is not None for part in found.reduced[0].by_p]
    rows = [
        [
            f"{one.selection}: {SELECTIONS[one.selection]}",
            _least(one.share),
            *(_least(share) if some else "–" for share, some in zip(one.by_p, there, strict=True)),
        ]
        for one in found.enough
    ]
    title = f"Share of relevant documents from which on tau is at least {ENOUGH}, of " + ", ".join(
        f"{share:.0%}" for share in shares
    )
    header = ["stay judged", "all pairs", *BUCKETS]
    return Table(title, header, rows, frozenset(range(1, 5)))


def _least(share: float | None) -> str:
    return "all" if share is None else f"{share:.0%}"


def _pools(found: Judgments) -> Table:
    rows = [
        [
            str(pool.depth),
            f"{pool.results:,}",
            f"{pool.found:,}",
            f"{pool.found / found.relevant:.1%}",
            number(pool.agreement.tau, 3),
            f"{pool.agreement.error:.1f} %",
        ]
        for pool in found.pools
    ]
    header = ["depth", "to judge", "relevant found", "of all", "tau", "error rate"]
    title = f"Judging the first results of all {len(found.systems)} systems (pooling)"
    return Table(title, header, rows, frozenset(range(6)))


def figure(found: Judgments) -> Figure:
    """Kendall's tau against the share of relevant documents that stay judged.

    Made without the state of pyplot: save it with `figure.savefig(path)`.
    """
    from matplotlib.figure import Figure

    made = Figure(figsize=(9, 5.5), layout="constrained")
    axes = made.subplots()
    title = textwrap.fill(_finding(found), 76)
    made.suptitle(title, x=0.01, ha="left", fontsize=13, fontweight="bold")
    axes.axhline(ENOUGH, color=GREY, lw=1, ls=":")
    for selection, colour in zip(SELECTIONS, cycle(PALETTE[:6])):
        own = [one for one in found.reduced if one.selection == selection]
        _draw(axes, sorted(own, key=lambda one: one.kept), found.relevant, colour)
    axes.set_xlim(0, 1.02)
    axes.set_ylim(top=1.03)
    axes.xaxis.set_major_formatter("{x:.0%}")
    axes.set_xlabel(f"of {found.relevant:,} relevant documents stay judged; open: one a query")
    about = f"Kendall's tau with the order by all judgments, {len(found.systems)} systems"
    axes.set_title(f"{about}; band: 95 % of random draws", loc="left", fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#E5E5E5")
    axes.set_axisbelow(True)
    axes.legend(loc="lower right", frameon=False)
    return made


def _draw(axes: Axes, own: list[Reduced], relevant: int, colour: str) -> None:
    """A line up to all judgments, with the band of what is random."""
    shares = [*(one.kept / relevant for one in own), 1.0]
    taus = [*(one.agreement.tau for one in own), 1.0]
    name = own[0].selection
    axes.plot(shares, taus, "-o", color=colour, lw=2, ms=4, label=name)
    single = next(one for one in own if one.share is None)
    axes.plot(single.kept / relevant, single.agreement.tau, "o", color=colour, mfc="white", ms=7)
    if name == "random":
        low = [*(one.agreement.low or 0 for one in own), 1.0]
        high = [*(one.agreement.high or 0 for one in own), 1.0]
        axes.fill_between(shares, low, high, color=colour, alpha=0.12, lw=0)


def _finding(found: Judgments) -> str:
    """One relevant document a query at random, and by the selection that misleads most."""
    single = {one.selection: one.agreement for one in found.reduced if one.share is None}
    worst = min(single, key=lambda name: single[name].tau)
    said = (
        f"{found.task}: one relevant document a query turns {single['random'].error:.0f} % of "
        f"pairs of {len(found.systems)} systems if drawn at random"
    )
    if worst == "random":
        return f"{said}, more than by any other choice"
    names = {"popular": "one that most systems find", "system": "one that a system ranks highest"}
    return f"{said}, {single[worst].error:.0f} % if {names.get(worst, f'the {worst} one')}"
