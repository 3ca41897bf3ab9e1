"""Candidates for MaxSim as a page of numbers and a figure."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from harness.frames import Table
from harness.report.tables import number
from harness.studies.proxy import NEAR, ONCE, REPEATS, SHARES, Proxy, Way

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito 2008; token search is grey
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
GREYS = {REPEATS: "#999999", ONCE: "#333333"}


def page(found: Proxy) -> list[Table]:
    """What each kind of candidates finds, and how many of them are needed."""
    tables = [_found(found), _needed(found)]
    if found.warnings:
        tables.append(Table("Warnings", [""], [[warning] for warning in found.warnings]))
    return tables


def _found(found: Proxy) -> Table:
    shown = [at for at, depth in enumerate(found.depths) if str(depth).strip("0") == "1"]
    rows = [
        [
            way.name,
            "" if way.dimension is None else f"{way.dimension:,}",
            f"{way.bytes:,}",
            f"{way.bytes / found.bytes:.2f}",
            *(f"{way.found[at]:.1%}" for at in shown),
            "" if way.recall is None else _interval(way),
        ]
        for way in found.ways
    ]
    title = (
        f"{found.encoder} on {found.task}: share of {found.queries:,} queries whose first of "
        f"{found.documents:,} documents by MaxSim is among N candidates ({found.vectors:,} vectors "
        f"of {found.width} dimensions, {found.asked:.1f} of a query)"
    )
    header = ["candidates", "dimensions", "bytes", "of the vectors'"]
    header += [f"1Recall@{found.depths[at]:,}" for at in shown]
    header.append(f"recall of the {NEAR} nearest in {NEAR}, 95 % interval")
    return Table(title, header, rows, frozenset(range(1, len(header))))


def _interval(way: Way) -> str:
    assert way.recall is not None
    return f"{number(way.recall.mean)} [{number(way.recall.low)}, {number(way.recall.high)}]"


def _needed(found: Proxy) -> Table:
    rows = [
        [way.name, *(f"over {found.deepest:,}" if n is None else f"{n:,}" for n in way.needed)]
        for way in found.ways
    ]
    header = ["candidates", *(f"{share:.0%}" for share in SHARES)]
    title = "Candidates to have the first document by MaxSim, by share of queries"
    return Table(title, header, rows, frozenset(range(1, len(header))))


def figure(found: Proxy) -> Figure:
    """1Recall against candidates, a line a kind.

    Made without the state of pyplot: save it with `figure.savefig(path)`.
    """
    from matplotlib.figure import Figure

    made = Figure(figsize=(8.5, 5.5), layout="constrained")
    axes = made.subplots()
    title = textwrap.fill(_finding(found), 72)
    made.suptitle(title, x=0.01, ha="left", fontsize=13, fontweight="bold")
    for at, way in enumerate(found.ways):
        colour = GREYS.get(way.name, COLOURS[at % len(COLOURS)])
        dash = "--" if way.dimension is None else "-"
        size = "" if way.dimension is None else f" ({way.dimension:,}-d)"
        label = way.name.removeprefix("muvera,") + size
        axes.plot(found.depths, way.found, dash, color=colour, marker="o", ms=4, lw=2, label=label)
    axes.set_xscale("log")
    axes.set_xticks(found.depths, [f"{depth:,}" for depth in found.depths])
    axes.minorticks_off()
    axes.set_ylim(0, 1.03)
    axes.yaxis.set_major_formatter("{x:.0%}")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#E5E5E5")
    axes.set_axisbelow(True)
    axes.legend(loc="lower right", frameon=False, labelcolor="linecolor", fontsize=9)
    axes.set_xlabel(f"candidates, of {found.documents:,} documents")
    about = f"share of {found.queries:,} queries whose first document by MaxSim is among them"
    axes.set_title(about, loc="left", fontsize=11)
    return made


def _finding(found: Proxy) -> str:
    """Candidates for 95 % of queries: of the encoding that needs fewest, and of token search."""
    encoded = [way for way in found.ways if way.dimension is not None]
    known = [(way.needed[-1], way.dimension) for way in encoded if way.needed[-1] is not None]
    once = next(way.needed[-1] for way in found.ways if way.name == ONCE)
    said = f"{found.encoder} on {found.task}, {SHARES[-1]:.0%} of queries"
    if not known:
        return f"{said}: no encoding has their first document among {found.deepest:,}"
    least, dimension = min(known)
    return f"{said}: {least:,} candidates of {dimension:,}-d encodings, {once:,} of token search"
