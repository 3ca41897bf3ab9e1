"""Approximate search beside exact search, as a page of numbers and a figure."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import cycle, pairwise
from typing import TYPE_CHECKING

from harness.frames import Table
from harness.report.tables import number
from harness.spec import parse
from harness.studies.comparison import (
    BUDGETS,
    LOSS,
    NEAR,
    RECALL,
    Answer,
    Comparison,
    Point,
    Ranking,
    Swap,
)
from harness.studies.subject import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

COLOURS = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#000000",
)  # Okabe and Ito 2008
MARKERS = "Dosv^PXph"  # exact search first
GREY = "#666666"
NAMED = 5  # queries that a row names, at most


def page(comparison: Comparison) -> list[Table]:
    """What every setting finds and costs, what to choose, and whether models change places."""
    points = comparison.points
    tables = [_answers(comparison.answers), _fastest(comparison)]
    tables += [_finds(points), _costs(comparison)]
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


def _fastest(comparison: Comparison) -> Table:
    """A row for each accuracy, a column for each budget of memory."""
    exact, rows = _exact(comparison.points), dict[tuple[str, str, str], list[str]]()
    for answer in comparison.fastest:
        found = "none" if answer.cost is None else f"{answer.index}, {answer.cost:.2f} ms"
        own = [f"{exact[answer.task, answer.model].near.p50:.2f} ms"]
        rows.setdefault((answer.task, answer.model, answer.wanted), own).append(found)
    budgets = ["any memory" if b is None else f"at most {b:g} x exact" for b in BUDGETS]
    header = ["task", "model", "to keep", "exact search", *budgets]
    title = "The fastest setting, median latency, by accuracy and memory"
    return Table(title, header, [[*key, *found] for key, found in rows.items()])


def _finds(points: Sequence[Point]) -> Table:
    """Neighbours, the task's measure, and the queries that lost documents."""
    exact = _exact(points)
    rows = [
        [
            point.task,
            point.model,
            point.index,
            number(point.near.recall.mean),
            number(point.near.overlap),
            f"{number(point.asked.recall.mean)} @{point.asked.k}",
            point.measure,
            f"{number(exact[point.task, point.model].score.mean)} → {number(point.score.mean)}",
            _signed(point.change),
            f"{len(point.lost):,}",
            f"{len(point.stranded):,}",
        ]
        for point in points
    ]
    header = ["task", "model", "index", f"recall@{NEAR}", f"accuracy@{NEAR}", "recall@cut-off"]
    header += [
        "measure",
        "exact → index",
        "change, 95 % interval",
        "queries that lost",
        "left with none",
    ]
    title = "What is found, beside exact search on the same vectors"
    return Table(title, header, rows, frozenset({3, 4, 5, 7, 8, 9, 10}))


def _costs(comparison: Comparison) -> Table:
    """Of a search for as many results as the task looks at."""
    exact = _exact(comparison.points)
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
            *_size(point.bytes, exact[point.task, point.model].bytes),
        ]
        for point in comparison.points
    ]
    header = ["task", "model", "index", "k", "distances", "p50 ms", "p95 ms", "p99 ms"]
    header += ["queries/s", "queries/CPU s", "build s", "MB", "x exact"]
    threads = comparison.threads
    batch = f"{threads} thread" + ("s" if threads > 1 else "")
    title = f"What it costs: latency one query at a time on 1 thread, batches on {batch}"
    return Table(title, header, rows, frozenset(range(3, len(header))))


def _size(bytes: int | None, exact: int | None) -> tuple[str, str]:
    """Megabytes, and how many times those of exact search."""
    if bytes is None or exact is None:
        return "–", "–"
    return f"{bytes / 1e6:,.1f}", f"{bytes / exact:.2f}"


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
    for before, model in pairwise(ordered):
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
    """Recall against queries per second, and the task's measure against latency; a row a task.

    A colour a model, a diamond exact search, another marker each setting; settings that differ in
    one parameter are joined, and its values stand beside them.
    """
    from matplotlib.figure import Figure

    points = comparison.points
    tasks = list(dict.fromkeys(point.task for point in points))
    models = list(dict.fromkeys(point.model for point in points))
    made = Figure(figsize=(10.5, 1.6 + 3.7 * len(tasks)), layout="constrained")
    title = textwrap.fill(_finding(comparison), 92)
    made.suptitle(title, x=0.01, ha="left", fontsize=13, fontweight="bold")
    for task, (left, right) in zip(tasks, made.subplots(len(tasks), 2, squeeze=False), strict=True):
        for model, colour in zip(models, cycle(COLOURS)):
            own = [point for point in points if (point.task, point.model) == (task, model)]
            every = len(models) == 1
            _draw(left, own, _recall_at_speed, colour=colour, every=every)
            _draw(right, own, _score_at_latency, colour=colour, every=every)
            right.axhline(own[0].score.mean, color=colour, ls="--", lw=1, alpha=0.6)
        left.axhline(RECALL, color=GREY, ls=":", lw=1)
        measure = next(point.measure for point in points if point.task == task)
        found = f"share of the {NEAR} nearest that is found; dotted: {RECALL:g}"
        _finish(left, f"{task}\n{found}", "queries per second, in a batch")
        measure = next(point.measure for point in points if point.task == task)
        _finish(right, f"\n{measure}; dashed: exact search", "milliseconds a query, median")
    made.legend(
        handles=_key(models, _families(points)), loc="outside lower left", ncols=2, frameon=False
    )
    return made


def _recall_at_speed(point: Point) -> tuple[float, float]:
    return point.near.per_second, point.near.recall.mean


def _score_at_latency(point: Point) -> tuple[float, float]:
    return point.asked.p50, point.score.mean


def _draw(
    axes: Axes,
    points: Sequence[Point],
    at: Callable[[Point], tuple[float, float]],
    *,
    colour: str,
    every: bool,
) -> None:
    """A model's settings on a task; every: with the values of a parameter beside all points of a
    curve, else beside its ends.
    """
    by_full = {point.full: point for point in points}
    for marker, family in zip(cycle(MARKERS), _families(points)):
        group = [by_full[full] for full in family.settings]
        axes.plot(*zip(*map(at, group), strict=True), f"{marker}-", color=colour, lw=1.5, ms=6)
        for i, (value, point) in enumerate(zip(family.values, group, strict=True)):
            if len(group) > 1 and (every or i in (0, len(group) - 1)):
                place = (5, -11)
                axes.annotate(
                    value, at(point), place, textcoords="offset points", fontsize=8, color=GREY
                )


def _finish(axes: Axes, title: str, below: str) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    axes.set_title(title, loc="left", fontsize=11)
    axes.set_xlabel(below)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#E5E5E5")
    axes.set_axisbelow(True)
    axes.margins(x=0.12, y=0.12)


def _key(models: Sequence[str], families: Sequence[_Family]) -> list[Line2D]:
    """What colours and markers mean."""
    from matplotlib.lines import Line2D

    colours = [
        Line2D([], [], color=colour, lw=4, label=model)
        for model, colour in zip(models, cycle(COLOURS))
    ]
    markers = [
        Line2D([], [], color=GREY, ls="", marker=marker, label=family.label)
        for marker, family in zip(cycle(MARKERS), families)
    ]
    return colours + markers


@dataclass(frozen=True)
class _Family:
    """Settings, in full, that differ in one parameter only, and its values; or one setting."""

    label: str
    settings: tuple[str, ...]
    values: tuple[str, ...]


def _families(points: Sequence[Point]) -> list[_Family]:
    """The settings of points, as many together as there are."""
    asked = {point.full: point.index for point in points}
    rest, found = list(asked), list[_Family]()
    while rest:
        groups = {"": rest[:1]}
        for key, _ in parse(rest[0]).params:
            groups[key] = [full for full in rest if _bare(full, key) == _bare(rest[0], key)]
        key, group = max(groups.items(), key=lambda item: len(item[1]))
        values = tuple(dict(parse(full).params).get(key, "") for full in group)
        label = asked[rest[0]]
        if key:
            label += f" and {key}={', '.join(values[1:])}"
        found.append(_Family(label, tuple(group), values))
        rest = [full for full in rest if full not in group]
    return found


def _bare(full: str, key: str) -> tuple[object, ...]:
    """A setting without one parameter."""
    spec = parse(full)
    return spec.name, spec.target, tuple(pair for pair in spec.params if pair[0] != key)


def _finding(comparison: Comparison) -> str:
    """What the cheapest setting is, for one model and task; of more, how many have one."""
    answers = comparison.answers
    if len(answers) == 2:
        said = [f"{a.index or 'nothing tried'} keeps {a.wanted}" for a in answers]
        return f"{answers[0].model} on {answers[0].task}: {'; '.join(said)}"
    said = []
    for kind in (answers[::2], answers[1::2]):
        held = sum(answer.index is not None for answer in kind)
        said.append(f"{held} of {len(kind)}")
    text = f"A setting keeps {answers[0].wanted} for {said[0]} models and tasks, the task's measure"
    text += f" within {LOSS:.1%} for {said[1]}"
    if comparison.rankings:
        changed = sum(bool(ranking.swaps) for ranking in comparison.rankings)
        text += f"; models change places in {changed} of {len(comparison.rankings)} cases"
    return text
