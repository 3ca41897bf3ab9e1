"""How scores of a board move with other tasks and other queries, drawn anew."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence

import numpy as np

from harness import records
from harness.arrays import Float64, Int64
from harness.board import Board, BoardEntry
from harness.errors import InputError
from harness.stats import aggregate


def move_queries(board: Board, tasks: Sequence[str], seed: int) -> dict[int, Float64]:
    """How scores move with other queries, [s, resamples], by the task's place, where known."""
    each = {at: _deviations(board, task, [seed, at]) for at, task in enumerate(tasks)}
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


def _deviations(board: Board, task: str, seed: Sequence[int]) -> Float64 | None:
    """How far each system's score moves with other queries, [s, resamples]; None: not known.

    From per-query values, the same queries for all systems that share them; else, where an entry
    has an interval, from the normal distribution of that width; else NaN.
    """
    each = [(row, board.entries.get((name, task))) for row, name in enumerate(board.systems)]
    known = [(row, entry) for row, entry in each if entry and entry.low is not None]
    if not known:
        return None
    moved = np.full((len(board.systems), aggregate.RESAMPLES), np.nan)
    shared: dict[str, list[tuple[int, Float64]]] = {}
    random = np.random.default_rng([*seed, 1])
    for row, entry in known:
        found = _per_query(entry)
        if found is not None:
            shared.setdefault(found[0], []).append((row, found[1]))
        elif entry.low is not None and entry.high is not None:
            deviation = (entry.high - entry.low) / (2 * aggregate.NORMAL)
            moved[row] = deviation * random.standard_normal(aggregate.RESAMPLES)
    for group in shared.values():
        values = np.stack([own for _, own in group]) * board.signs[board.tasks.index(task)]
        drawn = aggregate.resample_means(values, seed)
        moved[[row for row, _ in group]] = drawn - values.mean(axis=1, keepdims=True)
    return moved


def _per_query(entry: BoardEntry) -> tuple[str, Float64] | None:
    """A digest of the query ids and the main measure's values [q], where their mean is the score.

    None where the record has none: an import, a correlation, or a file that is gone.
    """
    if entry.path is None or entry.score is None:
        return None
    try:
        table = records.per_query(entry.path)
    except InputError:
        return None
    names = table.column_names
    if entry.measure not in names[1:]:
        return None
    try:
        values = table.column(entry.measure).to_numpy().astype(np.float64)
    except (ValueError, TypeError):
        return None
    if not len(values) or not np.isclose(values.mean(), entry.score, rtol=0, atol=1e-9):
        return None  # a mean over groups of queries, or a file of another record
    ids = hashlib.sha256(json.dumps(table.column(0).to_pylist(), default=str).encode())
    return ids.hexdigest(), values
