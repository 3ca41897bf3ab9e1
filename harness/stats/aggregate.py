"""Many scores as one order: means, Borda, Kemeny, pairwise wins, groups, stability, Pareto fronts.

Functions of a matrix of scores [s, t], a row a system and a column a task, larger is better, NaN
where a system lacks a task. What a missing score means is said by each.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness import stats
from harness.arrays import Float64, Int64
from harness.progress import Progress, silent

Bool = NDArray[np.bool_]

EXACT = 12  # systems that disagree in a circle whose best order is found for certain
TINY = 1e-12  # what is left of equal means by rounding


def family_means(scores: Float64, families: Sequence[Hashable]) -> dict[Any, Float64]:
    """The mean of each row over the tasks of each family, NaN where one is missing.

    families: [t]. The mean over families of the result is MTEB's Mean (TaskType).
    """
    names = list(dict.fromkeys(families))
    return {name: scores[:, [family == name for family in families]].mean(axis=1) for name in names}


def borda(scores: Float64) -> Float64:
    """Points of each system on each task [s, t]: systems less rank, equals sharing the mean rank.

    A missing score has no points. Sums of rows are MTEB's Borda counts.
    """
    from scipy.stats import rankdata

    ranks = rankdata(-scores, axis=0, nan_policy="omit")
    return np.where(np.isnan(scores), 0.0, len(scores) - ranks)


def places(values: Float64) -> Float64:
    """Places from 1, the largest first, equals sharing the best; along the last axis, NaN kept."""
    from scipy.stats import rankdata

    return np.asarray(rankdata(-values, method="min", axis=-1, nan_policy="omit"), np.float64)


def kendall_tau(one: Float64 | Sequence[float], other: Float64 | Sequence[float]) -> float | None:
    """Return Kendall's tau-b of two orders, None where one of them has all equal.

    Args:
        one: Values [s], none missing.
        other: Those of the same systems.
    """
    from scipy.stats import kendalltau

    tau = float(kendalltau(one, other).statistic)
    return None if np.isnan(tau) else tau


def kept_order(before: Float64, after: Float64) -> tuple[Int64, Float64]:
    """Whether systems keep their order; the mean over pairs is Kendall's tau.

    before: scores [s]; after: [s, v], in v other measurements. Returns the pairs [p, 2] that differ
    before, and [p, v]: 1 where a pair is in the same order after, -1 in the other, 0 where equal.
    Differences up to TINY are what rounding leaves of none.
    """
    first, second = np.triu_indices(len(before), 1)
    order, moved = before[first] - before[second], after[first] - after[second]
    moved = np.where(np.abs(moved) < TINY, 0, moved)
    kept = np.abs(order) > TINY
    pairs = np.stack([first, second], axis=1)[kept]
    return pairs, np.sign(moved[kept]) * np.sign(order[kept])[:, None]


@dataclass(frozen=True)
class Pairwise:
    """Every two systems on the tasks that both have, all [s, s], row against column.

    wins: the share of tasks on which the row scores higher, equal scores counting half: how
    probable it is to win on a task drawn from these. margin: wins less losses, in tasks.
    difference: of the means. p: two-sided, of Student's paired t-test over tasks, not corrected.
    NaN where there are no common tasks (for p: fewer than two).
    """

    wins: Float64
    margin: Int64
    difference: Float64
    p: Float64


def pairwise(scores: Float64, progress: Progress = silent) -> Pairwise:
    """Compare every two rows on the tasks that both have."""
    from scipy.special import stdtr

    n = len(scores)
    wins, difference, p = (np.full((n, n), np.nan) for _ in range(3))
    margin = np.zeros((n, n), np.int64)
    for i in range(n):
        progress("compare", i, n, "systems")
        apart = scores[i] - scores[i:]  # [n - i, t]
        common = ~np.isnan(apart)
        tasks = common.sum(axis=1)
        apart[~common] = 0
        ahead = (apart > 0).sum(axis=1) - (apart < 0).sum(axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            mean = apart.sum(axis=1) / tasks
            squares = (np.where(common, apart - mean[:, None], 0) ** 2).sum(axis=1)
            error = np.sqrt(squares / (tasks - 1) / tasks)
            p[i, i:] = 2 * stdtr(np.maximum(tasks - 1, 1), -_ratio(mean, error))
            wins[i, i:] = (1 + ahead / tasks) / 2
        p[i, i:][tasks < 2] = np.nan
        margin[i, i:], difference[i, i:] = ahead, mean
        wins[i:, i], p[i:, i] = 1 - wins[i, i:], p[i, i:]
        margin[i:, i], difference[i:, i] = -ahead, -mean
    return Pairwise(wins, margin, difference, p)


def _ratio(difference: Float64, error: Float64) -> Float64:
    """|difference| in standard errors: none where both are 0, infinite where the error is."""
    size = np.where(np.abs(difference) < TINY, 0, np.abs(difference))
    return np.where(size == 0, 0, size / np.where(error < TINY, 0, error))


def normal_p(drawn: Float64) -> Float64:
    """Two-sided p [s, s] of every difference by its spread over resamples, not corrected.

    drawn: [s, b], a system's score in each resample; NaN where one of the two is not known.
    """
    from scipy.special import ndtr

    covariance = np.cov(drawn).reshape(len(drawn), len(drawn))
    own = np.diag(covariance)
    error = np.sqrt(np.maximum(own[:, None] + own - 2 * covariance, 0))
    centre = drawn.mean(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        p = 2 * ndtr(-_ratio(centre[:, None] - centre, error))
    return np.where(np.isnan(error), np.nan, p)


def separable(p: Float64, alpha: float = 0.05) -> Bool:
    """[s, s]: pairs whose p, corrected by Holm over all pairs, is at most alpha; NaN is none."""
    rows, columns = np.triu_indices(len(p), 1)
    known = ~np.isnan(p[rows, columns])
    rows, columns = rows[known], columns[known]
    apart = np.zeros(p.shape, bool)
    apart[rows, columns] = np.asarray(stats.holm(p[rows, columns])) <= alpha
    return apart | apart.T


def groups(apart: Bool) -> list[list[int]]:
    """Sets of systems, none of which is told apart from another of its set.

    apart: [s, s], systems from best to worst. Two systems share a set exactly where they are not
    told apart (a compact letter display, Piepho 2004), found by covering such pairs greedily,
    from the best system and its farthest equal. Sets are ordered by their members.
    """
    alike = ~apart
    covered = np.zeros_like(alike)
    found = []
    for i in range(len(alike)):
        while (left := np.flatnonzero(alike[i] & ~covered[i])).size:
            members = {i, int(left[-1])}
            free = alike[i] & alike[left[-1]]
            for k in range(len(alike)):
                if free[k]:
                    members.add(k)
                    free &= alike[k]
            block = sorted(members)
            covered[np.ix_(block, block)] = True
            found.append(block)
    return sorted(found)


@dataclass(frozen=True)
class Consensus:
    """An order of systems. agreement: pairs of (task, two systems) in its favour less against.

    exact: no order agrees more; else it is the best that moving one system at a time leads to.
    """

    order: list[int]
    agreement: int
    exact: bool


def kemeny(margin: Int64) -> Consensus:
    """The order that agrees most with the tasks (Kemeny 1959), from margins [s, s] of `pairwise`.

    Systems fall into blocks, each of which beats the next man by man in a majority of tasks; any
    best order keeps them so (Truchon 1998). A block of up to EXACT systems is solved over all its
    subsets; a larger one is improved from its Borda-like order, sum of margins descending.
    """
    from scipy.sparse.csgraph import connected_components

    _, block = connected_components(margin >= 0, directed=True, connection="strong")
    beaten = (margin > 0).sum(axis=1)
    order: list[int] = []
    exact = True
    for b in sorted(set(block.tolist()), key=lambda b: -float(beaten[block == b].mean())):
        rows = np.flatnonzero(block == b)
        rows = rows[np.argsort(-margin[np.ix_(rows, rows)].sum(axis=1), kind="stable")]
        inner = margin[np.ix_(rows, rows)]
        exact &= len(rows) <= EXACT
        best = _subsets(inner) if len(rows) <= EXACT else _moves(inner)
        order += rows[best].tolist()
    ordered = margin[np.ix_(order, order)]
    return Consensus(order, int(np.triu(ordered, 1).sum()), exact)


def _subsets(margin: Int64) -> list[int]:
    """The best order by dynamic programming over subsets (Held and Karp 1962)."""
    n = len(margin)
    best, last = np.zeros(1 << n, np.int64), np.zeros(1 << n, np.int64)
    against = np.zeros((1 << n, n), np.int64)  # margin of a subset's members over each system
    for subset in range(1, 1 << n):
        low = (subset & -subset).bit_length() - 1
        against[subset] = against[subset & (subset - 1)] + margin[low]
        members = [i for i in range(n) if subset >> i & 1]
        totals = [best[subset ^ 1 << i] + against[subset ^ 1 << i, i] for i in members]
        # of equals the later one goes last, so that the given order stands where nothing speaks
        choice = max(range(len(members)), key=lambda k: (totals[k], members[k]))
        best[subset], last[subset] = totals[choice], members[choice]
    order: list[int] = []
    subset = (1 << n) - 1
    while subset:
        order.append(int(last[subset]))
        subset ^= 1 << order[-1]
    return order[::-1]


def _moves(margin: Int64) -> list[int]:
    """Move one system at a time to where it agrees most, until none can be improved."""
    order = list(range(len(margin)))
    improved = True
    while improved:
        improved = False
        for one in range(len(margin)):
            at = order.index(one)
            rest = order[:at] + order[at + 1 :]
            # half the agreement of each place, up to a constant: what is passed changes sides
            gain = np.concatenate([[0], np.cumsum(-margin[one, rest])])
            to = int(gain.argmax())
            if gain[to] > gain[at]:
                order = [*rest[:to], one, *rest[to:]]
                improved = True
    return order


def resample_means(values: Float64, seed: Sequence[int]) -> Float64:
    """Means of each row over queries drawn with replacement, the same for all rows.

    values: [s, q]; returns [s, resamples].
    """
    q = values.shape[1]
    draws = stats.draw_counts(q, np.random.default_rng(seed))
    return np.concatenate([values @ counts.T / q for counts in draws], axis=1)


def task_draws(tasks: int, seed: int) -> Int64:
    """How often each task is drawn in each resample of as many tasks, [resamples, t]."""
    return np.concatenate([*stats.draw_counts(tasks, stats.generator(seed))])


def two_level(scores: Float64, counts: Int64, deviations: Mapping[int, Float64]) -> Float64:
    """Means [s, b] where tasks are drawn anew and, in each, its queries.

    scores: [s, t]; counts: [b, t] of `task_draws`, or ones for tasks that are not drawn;
    deviations: by task, [s, b], by how much a system's score moves with each draw of queries. A
    task that is drawn c times is measured on c draws of queries, whose sum deviates sqrt(c) times
    as much as one, so one draw serves.
    """
    total = scores @ counts.T
    for task, moved in deviations.items():
        total += np.sqrt(counts[:, task]) * moved
    return np.asarray(total / scores.shape[1])


@dataclass(frozen=True)
class Stability:
    """How ranks move with the tasks, [s] each, of resamples of the tasks.

    kept: the share in which a system has its own place; first: is the first; low, high: places,
    95% of resamples between them.
    """

    kept: Float64
    first: Float64
    low: Float64
    high: Float64


def stability(totals: Float64, drawn: Float64) -> Stability:
    """Compare places by totals [s] with those in each resample, drawn [s, b]."""
    own, each = places(totals), places(drawn.T).T
    low, high = np.quantile(each, [0.025, 0.975], axis=1, method="inverted_cdf")
    return Stability((each == own[:, None]).mean(axis=1), (each == 1).mean(axis=1), low, high)


@dataclass(frozen=True)
class Front:
    """Which systems no other beats in quality without more cost, and how far the others are, [s].

    behind: quality that the best system of no higher cost has more; dearer: cost over the least
    cost of no lower quality (1 on the front). NaN where quality or cost is not known, and dearer
    where every system of no lower quality and no higher cost is left out.
    """

    on: Bool
    behind: Float64
    dearer: Float64


def pareto(quality: Float64, cost: Float64, worse: Bool | None = None) -> Front:
    """The Pareto front of quality [s], larger is better, and cost [s], smaller is better.

    worse: [s, s], whether the column's system is known to be worse than the row's, whatever its
    quality here; it is then not set against its cost.
    """
    known = ~np.isnan(quality) & ~np.isnan(cost)
    behind, dearer = (np.full(len(quality), np.nan) for _ in range(2))
    q, c = quality[known], cost[known]
    if len(q):
        own = np.eye(len(q), dtype=bool)
        rivals = (q >= q[:, None]) & (c <= c[:, None]) & ~own
        rivals &= True if worse is None else ~worse[np.ix_(known, known)]
        behind[known] = np.where(c <= c[:, None], q, -np.inf).max(axis=1) - q
        least = np.where(rivals | own, c, np.inf).min(axis=1)
        ratio = np.where(c == least, 1, c / np.where(least == 0, np.nan, least))
        dearer[known] = np.where((behind[known] > 0) & ~rivals.any(axis=1), np.nan, ratio)
    return Front((behind == 0) & (dearer == 1), behind, dearer)
