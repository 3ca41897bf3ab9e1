"""How the systems of a board stand: ranks, means, intervals, groups and how firm they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from harness import stats
from harness.arguments import read_fields
from harness.arrays import Float64, Int64
from harness.board import Board, joint_sign
from harness.board.notes import note_signs, note_standings
from harness.board.queries import Held, PairTests, compare_pairs, read_values
from harness.board.resampling import draw_means, move_queries
from harness.errors import InputError
from harness.progress import Progress, silent
from harness.stats import aggregate

Order = Literal["borda", "mean"]


@dataclass(frozen=True)
class Standing:
    """How one system stands.

    rank: by the order asked for, among systems with all tasks; None for one that lacks some, which
    stands below them. mean, low, high: over all tasks, None where one is missing; part: over those
    it has; see `harness.board.joint_sign` for tasks where low scores are good. families: means by
    family; borda: points; kemeny: its place in that order; groups: the numbers of those it belongs
    to. kept, first: shares of resamples of the tasks in which it has its own rank and the first;
    places: 95% of resamples lie between.
    """

    system: str
    rank: int | None
    tasks: int
    mean: float | None
    low: float | None
    high: float | None
    part: float | None
    families: Mapping[str, float | None]
    mean_of_families: float | None
    borda: float
    kemeny: int | None
    groups: tuple[int, ...]
    kept: float | None
    first: float | None
    places: tuple[int, int] | None


@dataclass(frozen=True)
class Standings:
    """All systems, the best first, those that lack a task last.

    tasks, families, signs: [t]. wins: [s, s] of `aggregate.pairwise`, in the order of rows.
    kemeny_exact: whether no order agrees more with the tasks. notes: how it was computed, a
    sentence each.
    """

    rows: tuple[Standing, ...]
    order: Order
    tasks: tuple[str, ...]
    families: tuple[str, ...]
    signs: tuple[int, ...]
    wins: Float64
    kemeny_exact: bool
    notes: tuple[str, ...]

    def sign(self, family: str = "") -> int:
        """-1 where low means are good: of a family, or of all tasks for ""."""
        pairs = zip(self.families, self.signs, strict=True)
        return joint_sign(sign for own, sign in pairs if family in ("", own))


@dataclass(frozen=True)
class Ordering:
    """How systems are ranked.

    Attributes:
        by: Borda points or the mean.
        common: Only over the tasks that every system has.
        fixed_tasks: Take these tasks as all that matter, not as a sample: intervals and groups
            come from queries alone. So it is with a single task.
        alpha: Of the groups, over all pairs.
        seed: Of what is drawn.
    """

    by: Order = "borda"
    _: KW_ONLY
    common: bool = False
    fixed_tasks: bool = False
    alpha: float = 0.05
    seed: int = 0

    def __post_init__(self) -> None:
        read_fields(self)


BORDA = Ordering()


def standings(board: Board, ordering: Ordering = BORDA, progress: Progress = silent) -> Standings:
    """Rank the systems of a board.

    Args:
        board: Systems and tasks.
        ordering: How.
        progress: Hears of each system that is compared.

    Raises:
        InputError: Where no task is left.
    """
    tasks, chosen = _choose_tasks(board, common=ordering.common)
    columns = [board.tasks.index(task) for task in tasks]
    scores = (board.scores * board.signs)[:, columns]  # the larger the better, until described
    fixed = ordering.fixed_tasks or len(tasks) == 1
    counts, held = aggregate.task_draws(len(tasks), ordering.seed), read_values(board, tasks)
    moved = move_queries(board, tasks, held, ordering.seed)
    families = tuple(board.families[column] for column in columns)
    means = _means(scores, families, draw_means(scores, counts, moved, fixed=fixed))
    pairs = aggregate.pairwise(scores, progress)
    ranking = _ranking(scores, means.points if ordering.by == "borda" else scores, means)
    full = np.ix_(ranking.full, ranking.full)
    otherwise = aggregate.normal_p(means.drawn) if fixed else pairs.p
    tests = PairTests(_test_queries(held, ranking, ordering), otherwise[full])
    groups = _groups(tests.p, ordering.alpha)
    steady = None if fixed else aggregate.stability(ranking.totals, ranking.each @ counts.T)
    consensus = aggregate.kemeny(pairs.margin[full])
    notes = note_standings(scores, len(moved), tests, fixed=fixed, alpha=ordering.alpha)
    return _turn_back(
        Standings(
            rows=_rows(board.systems, means, ranking, consensus.order, groups, held=steady),
            order=ordering.by,
            tasks=tasks,
            families=families,
            signs=tuple(board.signs[columns].tolist()),
            wins=pairs.wins[np.ix_(ranking.lines, ranking.lines)],
            kemeny_exact=consensus.exact,
            notes=(*chosen, *notes),
        )
    )


def _test_queries(held: Held, ranking: _Ranking, ordering: Ordering) -> Float64:
    tasks, systems = ranking.each.shape[1], ranking.full.tolist()
    return compare_pairs(held, systems, tasks, alpha=ordering.alpha, seed=ordering.seed)


def _rows(
    systems: Sequence[str],
    means: _Means,
    ranking: _Ranking,
    consensus: Sequence[int],
    groups: Sequence[Sequence[int]],
    *,
    held: aggregate.Stability | None,
) -> tuple[Standing, ...]:
    """The systems in order. consensus, groups, held: of those that have all tasks."""
    rows = [_describe(systems[i], i, means) for i in ranking.lines]
    for at, place in enumerate(ranking.places):
        kemeny = 1 + consensus.index(at)
        rows[at] = replace(rows[at], rank=int(place), kemeny=kemeny, groups=tuple(groups[at]))
        rows[at] = rows[at] if held is None else _steady(rows[at], held, at)
    return tuple(rows)


@dataclass(frozen=True)
class _Means:
    """Of each system: Borda points [s, t], how many scores it has, and its means.

    Its mean, that of the scores it has, means by family and over families, all [s]; means of draws
    [s, b] and their interval.
    """

    points: Float64
    had: Int64
    mean: Float64
    part: Float64
    families: Mapping[str, Float64]
    over_families: Float64
    drawn: Float64
    low: Float64
    high: Float64


def _means(scores: Float64, families: Sequence[str], drawn: Float64) -> _Means:
    had = (~np.isnan(scores)).sum(axis=1)
    low, high = stats.tails(drawn.T)
    by_family = aggregate.family_means(scores, families)
    return _Means(
        points=aggregate.borda(scores),
        had=had,
        mean=scores.mean(axis=1),
        part=np.array(
            [np.nanmean(own) if n else np.nan for own, n in zip(scores, had, strict=True)]
        ),
        families=by_family,
        over_families=np.asarray(np.mean(list(by_family.values()), axis=0)),
        drawn=drawn,
        low=low,
        high=high,
    )


@dataclass(frozen=True)
class _Ranking:
    """Systems with all tasks, the best first, [f].

    What they are ranked by, [f, t], its sums and the places; and all systems in order, those that
    lack tasks last.
    """

    full: Int64
    each: Float64
    totals: Float64
    places: Float64
    lines: list[int]


def _ranking(scores: Float64, each: Float64, means: _Means) -> _Ranking:
    """Order systems by the sums of `each` [s, t]; equal ones by Borda points, then by means."""
    full = np.flatnonzero(~np.isnan(means.mean))
    keys = (-means.mean[full], -means.points[full].sum(axis=1), -each[full].sum(axis=1))
    full = full[np.lexsort(keys)]
    rest = sorted(
        set(range(len(scores))) - set(full.tolist()), key=_order_incomplete(scores, means)
    )
    totals = each[full].sum(axis=1)
    return _Ranking(full, each[full], totals, aggregate.places(totals), [*full.tolist(), *rest])


def _order_incomplete(scores: Float64, means: _Means) -> Callable[[int], tuple[float, ...]]:
    """A key of systems that lack tasks: by their means over the tasks that all systems have.

    Where there are none, those with more tasks come first, and of these the higher means.
    """
    common = ~np.isnan(scores).any(axis=0)
    if common.any():
        return lambda row: (-float(scores[row, common].mean()),)
    return lambda row: (-float(means.had[row]), -float(np.nan_to_num(means.part[row])))


def _groups(p: Float64, alpha: float) -> list[list[int]]:
    """The numbers, from 1, of the groups that each system belongs to."""
    member: list[list[int]] = [[] for _ in p]
    for number, members in enumerate(aggregate.groups(aggregate.separable(p, alpha)), 1):
        for at in members:
            member[at].append(number)
    return member


def _describe(system: str, row: int, means: _Means) -> Standing:
    """How a system stands by itself."""
    return Standing(
        system=system,
        rank=None,
        tasks=int(means.had[row]),
        mean=_none_if_nan(means.mean[row]),
        low=_none_if_nan(means.low[row]),
        high=_none_if_nan(means.high[row]),
        part=_none_if_nan(means.part[row]),
        families={name: _none_if_nan(values[row]) for name, values in means.families.items()},
        mean_of_families=_none_if_nan(means.over_families[row]),
        borda=float(means.points[row].sum()),
        kemeny=None,
        groups=(),
        kept=None,
        first=None,
        places=None,
    )


def _turn_back(standings: Standings) -> Standings:
    """The same, with means as scores are written: low where low ones are good."""
    rows = tuple(_turn_row(row, standings) for row in standings.rows)
    return replace(standings, rows=rows, notes=(*standings.notes, *note_signs(standings.signs)))


def _turn_row(row: Standing, standings: Standings) -> Standing:
    sign, families = standings.sign(), dict[str, float | None]()
    for name, mean in row.families.items():
        families[name] = _turn(mean, standings.sign(name))
    low, high = (row.low, row.high)[::sign]
    return replace(
        row,
        mean=_turn(row.mean, sign),
        low=_turn(low, sign),
        high=_turn(high, sign),
        part=_turn(row.part, sign),
        families=families,
        mean_of_families=_turn(row.mean_of_families, sign),
    )


def _turn(value: float | None, sign: int) -> float | None:
    return None if value is None else sign * value + 0.0  # which makes 0 of -0


def _steady(standing: Standing, held: aggregate.Stability, at: int) -> Standing:
    """The same, with how its rank moves with the tasks."""
    return replace(
        standing,
        kept=float(held.kept[at]),
        first=float(held.first[at]),
        places=(int(held.low[at]), int(held.high[at])),
    )


def _none_if_nan(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _choose_tasks(board: Board, *, common: bool) -> tuple[tuple[str, ...], list[str]]:
    """The tasks that systems are ranked by, and what to say of that.

    All of them, unless those that every system has are asked for, or no system has all.
    """
    known = ~np.isnan(board.scores)
    if common and not known.all(axis=0).any():
        raise InputError("no task is common to all systems: compare fewer systems")
    if not common and known.all(axis=1).any():
        return board.tasks, []
    systems, kept = (len(known), known.all(axis=0)) if common else _share_most(known)
    tasks = tuple(board.tasks[column] for column in np.flatnonzero(kept))
    if common:
        return tasks, []
    if not tasks:
        return board.tasks, [
            "no system has all tasks, and no two have one in common: no one has a rank"
        ]
    who = "every system has, as --common does" if systems == len(known) else f"{systems} share"
    return tasks, [
        f"no system has all {len(board.tasks)} tasks: ranked by the {len(tasks)} that {who}"
    ]


def _share_most(known: NDArray[np.bool_]) -> tuple[int, NDArray[np.bool_]]:
    """Tasks that systems share, and how many of these there are: all if they can, else the most.

    known: [s, t]. Of systems by how many tasks they have, so many that they share the most scores.
    """
    everyone = np.asarray(known.all(axis=0))
    if everyone.any():
        return len(known), everyone
    order = np.argsort(-known.sum(axis=1), kind="stable")
    shared = [np.asarray(known[order[:count]].all(axis=0)) for count in range(2, len(known))]
    sizes = [count * int(tasks.sum()) for count, tasks in enumerate(shared, 2)]
    if not any(sizes):
        return 0, np.zeros(known.shape[1], bool)
    best = int(np.argmax(sizes))
    return best + 2, shared[best]
