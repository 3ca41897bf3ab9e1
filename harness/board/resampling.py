"""How scores of a board move with other tasks and other queries, drawn anew."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from harness import stats
from harness.arrays import Float64, Int64
from harness.board import Board
from harness.board.queries import Held, QueryValues
from harness.stats import aggregate


def move_queries(board: Board, tasks: Sequence[str], held: Held, seed: int) -> dict[int, Float64]:
    """How scores move with other queries, [s, resamples], by the task's place, where known."""
    each = {
        at: _deviations(
            board, task, {row: v for (row, own), v in held.items() if own == at}, [seed, at]
        )
        for at, task in enumerate(tasks)
    }
    return {at: moved for at, moved in each.items() if moved is not None}


def draw_means(
    scores: Float64, counts: Int64, moved: Mapping[int, Float64], *, fixed: bool
) -> Float64:
    """Means in resamples [s, b]: of tasks and queries, or, with fixed tasks, of queries alone.

    With fixed tasks, NaN where it is not known how a score moves with its queries.
    """
    if not fixed:
        known = {column: np.nan_to_num(each) for column, each in moved.items()}
        return aggregate.two_level(scores, counts, known)
    nothing = np.full((len(scores), len(counts)), np.nan)
    each = {column: moved.get(column, nothing) for column in range(scores.shape[1])}
    return aggregate.two_level(scores, np.ones_like(counts), each)


def _deviations(
    board: Board, task: str, held: Mapping[int, QueryValues], seed: Sequence[int]
) -> Float64 | None:
    """How far each system's score moves with other queries, [s, resamples]; None: not known.

    From per-query values, the same queries for all systems that share them; else, where an entry
    has an interval, from the normal distribution of that width; else NaN.
    """
    each = [(row, board.entries.get((name, task))) for row, name in enumerate(board.systems)]
    known = [(row, entry) for row, entry in each if entry and entry.low is not None]
    if not known:
        return None
    moved = np.full((len(board.systems), stats.RESAMPLES), np.nan)
    shared: dict[str, list[tuple[int, Float64]]] = {}
    random = np.random.default_rng([*seed, 1])
    for row, entry in known:
        if row in held:
            shared.setdefault(held[row].asked, []).append((row, held[row].values))
        elif entry.low is not None and entry.high is not None:
            deviation = (entry.high - entry.low) / (2 * stats.Z95)
            moved[row] = deviation * random.standard_normal(stats.RESAMPLES)
    for group in shared.values():
        values = np.stack([own for _, own in group])
        drawn = aggregate.resample_means(values, seed)
        moved[[row for row, _ in group]] = drawn - values.mean(axis=1, keepdims=True)
    return moved
