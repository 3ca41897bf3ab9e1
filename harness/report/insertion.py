"""Why a graph misses neighbours: dimension and order of insertion, as a page and a figure."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING

from harness.frames import Table
from harness.report.tables import number
from harness.studies.insertion import (
    NEAR,
    RANDOM,
    SUBSPACE,
    Insertion,
    Nearness,
    Order,
    Quarter,
    Relation,
)
from harness.studies.subject import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# colours that colour-blind readers tell apart (Okabe and Ito 2008)
MODEL, GREY = "#D55E00", "#666666"
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9")  # by ef_search, in turn
RECALL = f"recall@{NEAR}"


def page(insertion: Insertion) -> list[Table]:
    """Orders, dimension beside recall, contrast, and synthetic vectors to compare with."""
    tables = [_orders(insertion), _quarters(insertion), _contrast(insertion)]
    if insertion.ranks:
        tables.append(_ranks(insertion))
    if insertion.warnings:
        tables.append(Table("Warnings", [""], [[warning] for warning in insertion.warnings]))
    return tables


def _orders(insertion: Insertion) -> Table:
    """A row an order and ef_search."""
    rows = [
        [
            order.name,
            str(order.ef_search),
            number(order.recall.mean),
            _range(order.recall),
            f"{min(order.seeds):.4f} to {max(order.seeds):.4f}",
            _signed(order.change),
            "" if random is order else "yes" if order.apart(random) else "within noise",
            "" if order.score is None else number(order.score.mean),
            _signed(order.score_change),
        ]
        for order, random in _pairs(insertion)
    ]
    header = ["documents inserted", "ef_search", RECALL, "over queries", "over seeds"]
    header += ["change from random", "differs", insertion.measure, "change from exact"]
    graph = insertion.graph
    title = (
        f"{insertion.encoder} on {insertion.task}: {insertion.documents:,} documents inserted in "
        f"several orders; {graph.index}, M={graph.M}, ef_construction={graph.ef_construction}, "
        f"{len(graph.seeds)} seeds; {insertion.measure} by exact search "
        f"{number(insertion.score.mean)}"
    )
    return Table(title, header, rows, frozenset({1, 2, 3, 4, 5, 7, 8}))


def _pairs(insertion: Insertion) -> Iterator[tuple[Order, Order]]:
    """Each order with the random one that was searched alike."""
    random = {order.ef_search: order for order in insertion.orders if order.name == RANDOM}
    for order in insertion.orders:
        yield order, random[order.ef_search]


def _quarters(insertion: Insertion) -> Table:
    """A row a quarter of the queries, and one for all."""
    rows = []
    for relation in insertion.relations:
        rows += [
            [
                str(relation.ef_search),
                f"{number(quarter.low, 1)} to {number(quarter.high, 1)}",
                f"{quarter.queries:,}",
                number(quarter.recall.mean),
                _range(quarter.recall),
            ]
            for quarter in relation.quarters
        ]
        low, high = number(relation.low, 2), number(relation.high, 2)
        rho = [number(relation.spearman, 2), f"[{low}, {high}]"]
        rows.append([str(relation.ef_search), "Spearman", "all", *rho])
    header = ["ef_search", "LID of the query", "queries", RECALL, "95 % interval"]
    title = (
        f"Do queries of higher local intrinsic dimension (LID) find fewer of the {NEAR} nearest?"
    )
    return Table(title, header, rows, frozenset(range(5)))


def _contrast(insertion: Insertion) -> Table:
    """How far the nearest stand out."""
    near = insertion.near
    rows = [["LID of the queries, mean", number(near.lid, 1), f"from {near.neighbours} documents"]]
    rows += [
        [f"cosine of neighbour {nth:,}", number(cosine), "mean over queries"]
        for nth, cosine in near.cosines.items()
    ]
    rows.append(["cosine of any document", number(near.average), "the less apart, the harder"])
    return Table("How far neighbours stand out", ["measure", "value", "what"], rows, frozenset({1}))


def _ranks(insertion: Insertion) -> Table:
    """A row a set of synthetic vectors, and the model's to compare with."""
    efs = insertion.graph.ef_search
    random = {o.ef_search: o.recall for o in insertion.orders if o.name == RANDOM}
    sets: list[tuple[str, str, Nearness, dict[int, Interval]]] = [
        (rank.kind, str(rank.rank), rank.near, rank.recall) for rank in insertion.ranks
    ]
    sets.append((f"{insertion.encoder}, as above", "", insertion.near, random))
    rows = [
        [
            name,
            rank,
            number(near.lid, 1),
            *(number(near.cosines.get(nth), 3) for nth in (1, 10, 100)),
            *(number(recall[ef].mean) if ef in recall else "–" for ef in efs),
        ]
        for name, rank, near, recall in sets
    ]
    header = ["vectors", "rank", "LID", *(f"cosine of {nth}" for nth in (1, 10, 100))]
    header += [f"{RECALL}, ef_search={ef}" for ef in efs]
    title = "Synthetic vectors: the dimension decides, and so does how far neighbours stand out"
    return Table(title, header, rows, frozenset(range(1, len(header))))


def _range(interval: Interval) -> str:
    return f"[{number(interval.low)}, {number(interval.high)}]"


def _signed(interval: Interval | None) -> str:
    if interval is None:
        return ""
    return f"{interval.mean:+.4f} [{interval.low:+.4f}, {interval.high:+.4f}]"


def figure(insertion: Insertion) -> Figure:
    """Recall against dimension, beside recall by order of insertion."""
    from matplotlib.figure import Figure

    made = Figure(figsize=(11, 5), layout="constrained")
    left, right = made.subplots(1, 2, width_ratios=(1, 1))
    title = textwrap.fill(_finding(insertion), 92)
    made.suptitle(title, x=0.01, ha="left", fontsize=13, fontweight="bold")
    _draw_dimension(left, insertion)
    _draw_orders(right, insertion)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_axisbelow(True)
    graph = insertion.graph
    about = (
        f"{insertion.documents:,} documents, {insertion.queries:,} queries; {graph.index}, "
        f"M={graph.M}, ef_construction={graph.ef_construction}; bars: 95 % intervals over queries; "
        f"small dots: {len(graph.seeds)} seeds"
    )
    made.supxlabel(about, x=0.01, ha="left", fontsize=8.5, color=GREY)
    return made


def _hardest(insertion: Insertion) -> Relation:
    """With the smallest ef_search, where most is missed."""
    return min(insertion.relations, key=lambda relation: relation.ef_search)


def _finding(insertion: Insertion) -> str:
    """What dimension does to recall, and what order does."""
    relation = _hardest(insertion)
    name = f"{insertion.encoder} on {insertion.task}, ef_search={relation.ef_search}"
    told = [
        (order.change.mean, order.name)
        for order, random in _pairs(insertion)
        if order.ef_search == relation.ef_search and order.change and order.apart(random)
    ]
    change, order = max(told, key=lambda pair: abs(pair[0]), default=(0.0, ""))
    second = "no order of insertion differs from a random one by more than noise"
    if order:
        second = f"inserting {_how(order)} moves it by {100 * change:+.1f} points"
    if len(relation.quarters) < 2:
        return f"{name}: {second.replace('moves it', f'moves {RECALL}')}"
    least, most = relation.quarters[0].recall.mean, relation.quarters[-1].recall.mean
    first = f"{RECALL} is {least:.2f} for queries of low dimension, {most:.2f} for those of high"
    return f"{name}: {first}; {second}"


def _how(order: str) -> str:
    """An order as the end of a sentence."""
    return order if order.startswith("by ") else f"by {order}"


def _draw_dimension(axes: Axes, insertion: Insertion) -> None:
    """Synthetic sets as grey curves, the quarters of the queries on top."""
    relation = _hardest(insertion)
    ef = relation.ef_search
    for kind in dict.fromkeys(rank.kind for rank in insertion.ranks):
        line = [
            (rank.near.lid, rank.recall[ef].mean)
            for rank in insertion.ranks
            if rank.kind == kind and rank.near.lid is not None and ef in rank.recall
        ]
        if not line:
            continue
        style = "-" if kind == SUBSPACE else "--"
        name = f"synthetic, {kind}"
        axes.plot(*zip(*line, strict=True), style, marker="o", color=GREY, ms=4, label=name)
    quarters = relation.quarters
    axes.errorbar(
        [quarter.mean for quarter in quarters],
        [quarter.recall.mean for quarter in quarters],
        yerr=list(zip(*(_arms(quarter) for quarter in quarters), strict=True)) or None,
        fmt="s-", color=MODEL, lw=2.5, capsize=3,
        label=f"{insertion.encoder}, quarters of the queries",
    )  # fmt: skip
    axes.set_xlim(left=0)
    axes.set_ylim(0, 1.03)
    axes.legend(loc="lower left", frameon=False, labelcolor="linecolor", fontsize=11)
    axes.grid(axis="y", color="#E5E5E5")
    axes.set_xlabel("local intrinsic dimension of the queries (LID)")
    axes.set_title(f"{RECALL} by dimension, ef_search={ef}", loc="left", fontsize=11)


def _arms(quarter: Quarter) -> tuple[float, float]:
    recall = quarter.recall
    return recall.mean - recall.low, recall.high - recall.mean


def _draw_orders(axes: Axes, insertion: Insertion) -> None:
    """A dot an order and ef_search, with its interval and its seeds."""
    names = list(dict.fromkeys(order.name for order in insertion.orders))
    efs = insertion.graph.ef_search
    for order, random in _pairs(insertion):
        which = efs.index(order.ef_search)
        colour = COLOURS[which % len(COLOURS)]
        y = -names.index(order.name)
        arms = [[order.recall.mean - order.recall.low], [order.recall.high - order.recall.mean]]
        solid = order is random or order.apart(random)
        axes.errorbar(
            order.recall.mean, y, xerr=arms, fmt="o", ms=8, capsize=3, color=colour,
            mfc=colour if solid else "white",
        )  # fmt: skip
        axes.plot(order.seeds, [y - 0.25] * len(order.seeds), ".", color=colour, ms=4)
        if order is random:
            axes.axvline(order.recall.mean, color=colour, lw=1, ls=":")
            axes.text(
                order.recall.mean, 0.45, f"ef_search={order.ef_search}",
                color=colour, ha="center", va="bottom", fontweight="bold",
            )  # fmt: skip
    axes.set_yticks([-place for place in range(len(names))], names)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(0.5 - len(names), 0.8)
    axes.set_xlabel(f"{RECALL}; hollow: not told from random")
    axes.grid(axis="x", color="#E5E5E5")
    axes.set_title(f"{RECALL} by order of insertion", loc="left", fontsize=11)
