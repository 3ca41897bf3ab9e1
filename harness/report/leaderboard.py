"""A board as tables, and as data: who stands where, the scores, who beats whom, what it costs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict

import numpy as np
from numpy.typing import NDArray

from harness.arrays import Float64
from harness.board import Board
from harness.board.standings import Standing, Standings
from harness.frames import Table
from harness.frames.formats import bounds, number, percent
from harness.records.costs import RANKED
from harness.report.data import SCHEMA
from harness.report.tables import spans
from harness.stats.aggregate import pareto
from harness.wording import count

MOST = 12  # systems whose wins over each other are shown
COMPARED = (
    "quality against cost: by means as they were measured; times the cost: over the cheapest "
    "system whose mean is no lower, and that the test which groups rest on does not find worse"
)


def page(
    board: Board, standings: Standings, *, details: bool = False, most: int | None = None
) -> list[Table]:
    """All tables of a board. details: every file that was refused, with the reason, too.

    most: systems shown, at most.
    """
    against_costs = list(costs(board, standings, most))
    compared = [COMPARED] if against_costs else []
    return [
        ranking(board, standings, most),
        scores(board, standings, most),
        wins(standings),
        *against_costs,
        Table("Notes", [""], [[note] for note in [*notes(board, standings), *compared]]),
        *refusals(board, details=details),
    ]


def data(board: Board, standings: Standings, most: int | None = None) -> dict[str, object]:
    """The board as a document: numbers as they are, None for what is not there.

    most: systems listed, at most.
    """
    names = [row.system for row in standings.rows[:most]]
    ranked = [
        {**asdict(row), "costs": {cost.key: board.cost(row.system, cost.key) for cost in RANKED}}
        for row in standings.rows[:most]
    ]
    entries = [board.entries.get((name, task)) for name in names for task in standings.tasks]
    wins = [
        {"system": one, "other": other, "share": None if np.isnan(value) else float(value)}
        for one, row in zip(names, standings.wins, strict=False)
        for other, value in zip(names, row, strict=False)
        if other != one
    ]
    return {
        "schema": SCHEMA,
        "order": standings.order,
        "kemeny_exact": standings.kemeny_exact,
        "ranking": ranked,
        "tasks": standings.tasks,
        "scores": [
            {**asdict(entry), "path": entry.path and str(entry.path)} for entry in entries if entry
        ],
        "wins": wins,
        "notes": notes(board, standings),
        "refused": [{"file": str(path), "reason": why} for path, why in board.refused],
    }


def ranking(board: Board, standings: Standings, most: int | None = None) -> Table:
    """A row a system: its rank, means, intervals, groups and how firm its rank is.

    The mean of a system that lacks tasks stands in brackets, over those that it has. Beside an
    index that is not exact stands what it changes, and its bytes in those of the exact one.
    """
    families = list(dict.fromkeys(standings.families))
    kemeny = "Kemeny" if standings.kemeny_exact else "Kemeny, approximate"
    header = ["rank", "system", "tasks", "Borda", "mean", "95% interval", "groups"]
    several = families if len(families) > 1 else []
    header += [*several, *(["mean of families"] if several else []), kemeny]
    beside = {row.system: board.beside_exact(row.system) for row in standings.rows[:most]}
    header += ["beside exact"] if any(beside.values()) else []
    steady = any(row.places for row in standings.rows)
    header += ["keeps its rank", "is first", "ranks in 95%"] if steady else []
    rows = [
        [
            "–" if row.rank is None else str(row.rank),
            row.system,
            f"{row.tasks} of {len(standings.tasks)}",
            f"{row.borda:g}",
            _mean(row),
            "" if row.low is None else bounds(row.low, row.high),
            spans(row.groups),
            *(number(row.families[name]) for name in several),
            *([number(row.mean_of_families)] if several else []),
            "–" if row.kemeny is None else str(row.kemeny),
            *([_compare_to_exact(beside[row.system])] if any(beside.values()) else []),
            *(_steadiness(row) if steady else []),
        ]
        for row in standings.rows[:most]
    ]
    texts = {1, 6, *([header.index("beside exact")] if any(beside.values()) else [])}
    return Table("Leaderboard", header, rows, frozenset(range(len(header))) - texts)


def _compare_to_exact(found: tuple[float, float | None] | None) -> str:
    if found is None:
        return ""
    change, size = found
    return number(change, signed=True) + (f", {size:.2f} x bytes" if size else "")


def _mean(row: Standing) -> str:
    return number(row.mean) if row.mean is not None else f"({number(row.part)})"


def _steadiness(row: Standing) -> list[str]:
    if row.kept is None or row.first is None or row.places is None:
        return ["–", "–", "–"]
    return [
        percent(row.kept, 0),
        percent(row.first, 0),
        "–".join(map(str, dict.fromkeys(row.places))),
    ]


def scores(board: Board, standings: Standings, most: int | None = None) -> Table:
    """Main scores, a row a system and a column a task; the best of each task is marked *."""
    column = [board.tasks.index(task) for task in standings.tasks]
    row = {system: i for i, system in enumerate(board.systems)}
    matrix, signs = board.scores[:, column], board.signs[column]
    best = signs * np.nanmax(np.where(np.isnan(matrix), -np.inf, matrix * signs), axis=0)
    named: dict[str, Counter[str]] = {}
    for entry in board.entries.values():
        named.setdefault(entry.task, Counter())[entry.measure] += 1
    measures = {task: counted.most_common(1)[0][0] for task, counted in named.items()}
    rows = [
        [
            standing.system,
            *(
                number(value) + ("*" if value == top else "")
                for value, top in zip(matrix[row[standing.system]], best, strict=True)
            ),
        ]
        for standing in standings.rows[:most]
    ]
    header = ["system", *(f"{task} ({measures[task]})" for task in standings.tasks)]
    return Table("Scores", header, rows, frozenset(range(1, len(header))))


def wins(standings: Standings) -> Table:
    """How probable it is that the row beats the column on a task drawn from their common ones."""
    names = [row.system for row in standings.rows[:MOST]]
    rows = [
        [
            name,
            *(
                "" if i == j else "–" if np.isnan(value) else percent(value, 0)
                for j, value in enumerate(standings.wins[i, : len(names)])
            ),
        ]
        for i, name in enumerate(names)
    ]
    title = "How often the row beats the column, tasks equally likely"
    return Table(title, ["system", *names], rows, frozenset(range(1, len(names) + 1)))


def costs(board: Board, standings: Standings, most: int | None = None) -> Iterator[Table]:
    """For each cost that two systems have: the Pareto front, and how far others are.

    Quality is the mean over all tasks, of the systems that lack none; or over the tasks that all
    systems have, where these are more scores. behind: how much more the best system of no higher
    cost scores; times the cost: see COMPARED, a dash where there is no such system.
    """
    ranked, quality, mean = _quality(board, standings)
    sign, worse = standings.sign(), _find_worse(ranked, standings.sign())
    for cost in RANKED:
        values = np.array([board.cost(row.system, cost.key) for row in ranked], np.float64)
        known = np.flatnonzero(~np.isnan(values) & (values > 0))
        if len(known) < 2:
            continue
        values, means = values[known], quality[known]
        spent = values if cost.better == "less" else 1 / values
        front = pareto(means, spent, worse[np.ix_(known, known)])
        rows = [
            [
                ranked[at].system,
                number(sign * means[i]),
                f"{values[i]:,.{cost.digits}f}",
                "front" if front.on[i] else "",
                "" if front.on[i] else number(front.behind[i]),
                "" if front.on[i] else number(front.dearer[i], 1),
            ]
            for i, at in enumerate(known)
        ]
        header = ["system", mean, cost.title, "Pareto", "behind", "times the cost"]
        yield Table(f"Quality against {cost.title}", header, rows[:most], frozenset({1, 2, 4, 5}))


def _find_worse(rows: Sequence[Standing], sign: int) -> NDArray[np.bool_]:
    """Whether the test finds the column's system worse than the row's: they share no group."""
    groups = [set(row.groups) for row in rows]
    means = [np.nan if row.mean is None else sign * row.mean for row in rows]
    apart = [[bool(a and b) and a.isdisjoint(b) for b in groups] for a in groups]
    return np.array(apart) & (np.array(means)[:, None] > np.array(means))


def _quality(board: Board, standings: Standings) -> tuple[list[Standing], Float64, str]:
    """Systems that can be set side by side, means of what is good where high, what these are."""
    columns = [board.tasks.index(task) for task in standings.tasks]
    row = {system: i for i, system in enumerate(board.systems)}
    scores = board.scores[[row[each.system] for each in standings.rows]][:, columns]
    scores = scores * board.signs[columns]
    known = ~np.isnan(scores)
    common, whole = np.flatnonzero(known.all(axis=0)), np.flatnonzero(known.all(axis=1))
    if len(common) * len(scores) > scores.shape[1] * len(whole):
        title = f"mean of {len(common)} of {scores.shape[1]} tasks"
        return list(standings.rows), scores[:, common].mean(axis=1), title
    return [standings.rows[i] for i in whole], scores[whole].mean(axis=1), "mean"


def notes(board: Board, standings: Standings) -> list[str]:
    """How the standings are to be read, and which records others replaced, a sentence each."""
    older = f"{count(board.older, 'record')} left out for newer ones" if board.older else ""
    return [*standings.notes, *board.notes, *filter(None, [older])]


def refusals(board: Board, *, details: bool = False) -> Iterator[Table]:
    """The files that were refused: how many for each reason, or each with its own."""
    if not board.refused:
        return
    title = f"{count(len(board.refused), 'file')} refused"
    if details:
        yield Table(title, ["file", "reason"], [[str(p), why] for p, why in board.refused])
        return
    # what differs from file to file follows a colon or a quote
    counted = Counter(why.partition(":")[0].partition("'")[0].strip() for _, why in board.refused)
    rows = [[why, f"{times:,}"] for why, times in counted.most_common()]
    yield Table(title, ["reason", "files"], rows, frozenset({1}))
