"""Approximate search beside exact search, as a page of numbers and a figure."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.report.tables import Table, number
from harness.spec import parse
from harness.studies.comparison import (
    NEAR,
    Answer,
    Comparison,
    Interval,
    Point,
    Ranking,
    Swap,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")  # Okabe and Ito 2008
GREY = "#666666"
NAMED = 10  # queries that a row names, at most


def page(comparison: Comparison) -> list[Table]:
    """What every setting finds and costs, what to choose, and whether models change places."""
    points = comparison.points
    tables = [_answers(comparison.answers), _finds(points), _costs(comparison)]
    if comparison.rankings:
        tables.append(_rankings(comparison.rankings))
    if any(ranking.swaps for ranking in comparison.rankings):
        tables.append(_swaps(comparison.rankings))
    if any(point.lost for point in points):
        tables.append(_lost(points))
    notes = [f"{p.task}, {p.model}, {p.index}: {note}" for p in points for note in p.warnings]
    if notes or comparison.warnings:
        rows = [[note] for note in (*comparison.warnings, *notes)]
        tables.append(Table("Warnings", [""], rows))
    return tables


def _answers(answers: Sequence[Answer]) -> Table:
    said = {"distances": "{:,.0f} distances a query", "p50": "{:.2f} ms, median latency"}
    rows = [
        [
            answer.task,
            answer.model,
            answer.wanted,
            answer.index or "none of those tried",
            "–" if answer.cost is None else said[answer.by].format(answer.cost),
        ]
        for answer in answers
    ]
    header = ["task", "model", "to keep", "cheapest", "at"]
    return Table("The cheapest setting that loses little", header, rows)


def _finds(points: Sequence[Point]) -> Table:
    """Neighbours, the task's measure, and the queries that lost documents."""
    exact = _exact(points)
    rows = [
        [
            point.task,
            point.model,
            point.index,
            number(point.near.recall.mean),
            f"{number(point.asked.recall.mean)} @{point.asked.k}",
            point.measure,
            f"{number(exact[point.task, point.model].score.mean)} → {number(point.score.mean)}",
            _signed(point.change),
            f"{len(point.lost):,}",
            f"{len(point.stranded):,}",
        ]
        for point in points
    ]
    header = ["task", "model", "index", f"recall@{NEAR}", "recall@cut-off", "measure"]
    header += ["exact → index", "change, 95 % interval", "queries that lost", "left with none"]
    title = "What is found, beside exact search on the same vectors"
    return Table(title, header, rows, frozenset({3, 4, 6, 7, 8, 9}))


def _costs(comparison: Comparison) -> Table:
    """Of a search for as many results as the task looks at."""
    rows = [
        [
            point.task,
            point.model,
            point.index,
            str(point.asked.k),
            "–" if point.asked.distances is None else f"{point.asked.distances:,.0f}",
            *(f"{ms:.2f}" for ms in (point.asked.p50, point.asked.p95, point.asked.p99)),
            f"{point.asked.per_second:,.0f}",
            f"{point.asked.per_cpu_second:,.0f}",
            "reused" if point.reused else f"{point.build_s:.2f}",
            "–" if point.bytes is None else f"{point.bytes / 1e6:,.1f}",
        ]
        for point in comparison.points
    ]
    header = ["task", "model", "index", "k", "distances", "p50 ms", "p95 ms", "p99 ms"]
    header += ["queries/s", "queries/CPU s", "build s", "MB"]
    threads = comparison.threads
    batch = f"{threads} thread" + ("s" if threads > 1 else "")
    title = f"What it costs: latency one query at a time on 1 thread, batches on {batch}"
    return Table(title, header, rows, frozenset(range(3, len(header))))


def _rankings(rankings: Sequence[Ranking]) -> Table:
    rows = [
        [
            ranking.task,
            ranking.index,
            _order(ranking.exact),
            _order(ranking.approximate),
            str(ranking.moved),
            number(ranking.tau, 2),
            str(len(ranking.swaps)),
        ]
        for ranking in rankings
    ]
    header = ["task", "index", "by exact search", "by index", "most places moved"]
    header += ["Kendall tau", "swaps"]
    return Table("Does the ranking of models change?", header, rows, frozenset({4, 5, 6}))


def _swaps(rankings: Sequence[Ranking]) -> Table:
    rows = [
        [
            ranking.task,
            ranking.index,
            f"{swap.first} – {swap.second}",
            _signed(swap.exact),
            _signed(swap.approximate),
            _verdict(swap),
        ]
        for ranking in rankings
        for swap in ranking.swaps
    ]
    header = ["task", "index", "models", "difference, exact", "difference, index", "verdict"]
    title = "Models that change places (95 % intervals of paired differences)"
    return Table(title, header, rows, frozenset({3, 4}))


def _verdict(swap: Swap) -> str:
    """What a swap says, by whether either difference is significant."""
    if swap.exact.significant:
        after = "significantly so" if swap.approximate.significant else "not significantly"
        return f"a significant difference is reversed, {after}"
    if swap.approximate.significant:
        return "not significant to begin with, significant after"
    return "not significant to begin with, nor after"


def _lost(points: Sequence[Point]) -> Table:
    rows = [
        [point.task, point.model, point.index, _ids(list(point.lost)), _ids(point.stranded)]
        for point in points
        if point.lost
    ]
    header = ["task", "model", "index", "queries that lost", "of these left with none"]
    return Table("Queries whose relevant documents only exact search finds", header, rows)


def _ids(ids: Sequence[str]) -> str:
    more = f" and {len(ids) - NAMED:,} more" if len(ids) > NAMED else ""
    return ", ".join(ids[:NAMED]) + more


def _order(places: dict[str, int]) -> str:
    """Models in their order, "=" between equals."""
    ordered = sorted(places, key=places.__getitem__)
    text = ordered[0]
    for before, model in zip(ordered, ordered[1:], strict=False):
        text += f" {'=' if places[before] == places[model] else '>'} {model}"
    return text


def _signed(interval: Interval) -> str:
    return f"{interval.mean:+.4f} [{interval.low:+.4f}, {interval.high:+.4f}]"


def _exact(points: Sequence[Point]) -> dict[tuple[str, str], Point]:
    """Exact search by task and model: the first point of each."""
    found: dict[tuple[str, str], Point] = {}
    for point in points:
        found.setdefault((point.task, point.model), point)
    return found


def figure(comparison: Comparison) -> Figure:
    """Recall against queries per second, and the task's measure against latency.

    One colour a model and task; a diamond is exact search. Settings that differ in one parameter
    are joined, and its value stands beside each.
    """
    from matplotlib.figure import Figure

    exact = list(_exact(comparison.points).values())
    colours = {_name(p): COLOURS[i % len(COLOURS)] for i, p in enumerate(exact)}
    made = Figure(figsize=(11, 5.4), layout="constrained")
    made.suptitle(
        textwrap.fill(_finding(comparison), 96),
        x=0.01,
        ha="left",
        fontsize=13,
        fontweight="bold",
    )
    left, right = made.subplots(1, 2)
    for point in exact:
        own = [p for p in comparison.points if _name(p) == _name(point)]
        _draw(left, own, colours[_name(point)], quality=False)
        _draw(right, own, colours[_name(point)], quality=True)
    left.set_title(f"share of the {NEAR} nearest that is found", loc="left", fontsize=11)
    left.set_xlabel("queries per second, in a batch")
    measures = ", ".join(dict.fromkeys(point.measure for point in exact))
    right.set_title(f"{measures}; dashed: exact search", loc="left", fontsize=11)
    right.set_xlabel("milliseconds a query (median), one at a time")
    for axes in (left, right):
        axes.set_xscale("log")
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color="#E5E5E5")
        axes.set_axisbelow(True)
        axes.margins(x=0.12, y=0.12)
    made.legend(*left.get_legend_handles_labels(), loc="outside lower left", ncols=3, frameon=False)
    return made


def _name(point: Point) -> str:
    return f"{point.model} on {point.task}"


def _draw(axes: Axes, points: Sequence[Point], colour: str, *, quality: bool) -> None:
    """A model on a task, exact search first; quality: the task's measure against latency."""

    def at(point: Point) -> tuple[float, float]:
        if quality:
            return point.asked.p50, point.score.mean
        return point.near.per_second, point.near.recall.mean

    exact, *tried = points
    axes.plot(*at(exact), "D", color=colour, ms=8, label=_name(exact))
    axes.annotate("exact", at(exact), (0, 7), textcoords="offset points", ha="center", fontsize=8)
    if quality:
        axes.axhline(exact.score.mean, color=colour, ls="--", lw=1, alpha=0.6)
    for group in _families(tried):
        xs, ys = zip(*map(at, group), strict=True)
        axes.plot(xs, ys, "o-" if len(group) > 1 else "o", color=colour, lw=1.5, ms=5)
        for point, label in zip(group, _labels(group), strict=True):
            axes.annotate(
                label, at(point), (4, -10), textcoords="offset points", fontsize=8, color=GREY
            )
