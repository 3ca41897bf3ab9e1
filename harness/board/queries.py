"""What single queries say of the systems of a board: values of each, and tests of pairs of them.

The test of a pair is that of `harness compare`: the signs of paired differences are flipped, here
of all tasks at once, each with equal weight. So a group and a comparison rest on the same.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from harness import stats
from harness.arrays import Float64
from harness.board import Board
from harness.board.entries import BoardEntry
from harness.errors import InputError
from harness.records.item_values import read_measure

MANY = 100  # differences from which their sum is normal enough to tell what is far from alpha
NEAR = 1.25  # times alpha, and a part of it: what is decided by the test that `compare` has


@dataclass(frozen=True)
class QueryValues:
    """What each query adds to a score [q], larger is better. asked: a digest of their ids."""

    asked: str
    values: Float64


Held = Mapping[tuple[int, int], QueryValues]
"""By the places of a system and of a task."""


@dataclass(frozen=True)
class PairTests:
    """Two-sided p of every two systems that have all tasks [f, f], NaN where there was no test.

    by_query: from single queries; otherwise: from tasks, or from intervals where these are fixed.
    """

    by_query: Float64
    otherwise: Float64

    @property
    def p(self) -> Float64:
        """Those by queries where these are known, else the others."""
        return np.where(np.isnan(self.by_query), self.otherwise, self.by_query)


def read_values(board: Board, tasks: Sequence[str]) -> Held:
    """Read the values of single queries of each system and task that has them."""
    found = dict[tuple[int, int], QueryValues]()
    for row, system in enumerate(board.systems):
        for column, task in enumerate(tasks):
            entry = board.entries.get((system, task))
            own = None if entry is None else _read(entry)
            if own is not None:
                found[row, column] = own
    return found


def _read(entry: BoardEntry) -> QueryValues | None:
    """None where a record has none: an import, an average precision, or a file that is gone."""
    if entry.path is None or entry.score is None:
        return None
    try:
        ids, values = read_measure(entry.path, entry.measure, entry.score)
    except InputError:
        return None
    asked = hashlib.sha256(json.dumps(ids).encode()).hexdigest()
    return QueryValues(asked, entry.sign * values)


def compare_pairs(
    held: Held, systems: Sequence[int], tasks: int, *, alpha: float, seed: int
) -> Float64:
    """Test whether the means of two systems over fixed tasks differ, from their queries.

    Args:
        held: What is known of queries.
        systems: Places of those that are tested.
        tasks: How many there are.
        alpha: Of all pairs together; near it, p is that of the whole randomisation test.
        seed: Of that test.

    Returns:
        Two-sided p [s, s], not corrected, NaN where the two do not share the queries of all tasks.
    """
    p = np.full((len(systems), len(systems)), np.nan)
    differences = dict[tuple[int, int], Float64]()
    for i, j in combinations(range(len(systems)), 2):
        apart = _subtract(held, systems[i], systems[j], tasks)
        if apart is not None:
            differences[i, j] = apart
            p[i, j] = p[j, i] = _test_roughly(apart, seed)
    pairs = [*differences]
    adjusted = stats.holm([p[pair] for pair in pairs])
    for (i, j), value in zip(pairs, adjusted, strict=True):
        if alpha / NEAR <= value <= alpha * NEAR:
            p[i, j] = p[j, i] = stats.randomisation(differences[i, j], seed).two_sided
    return p


def _subtract(held: Held, one: int, other: int, tasks: int) -> Float64 | None:
    """Paired differences of all tasks, whose sum is that of the means; None: not known."""
    parts = list[Float64]()
    for task in range(tasks):
        a, b = held.get((one, task)), held.get((other, task))
        if a is None or b is None or a.asked != b.asked:
            return None
        parts.append((a.values - b.values) / len(a.values))
    return np.concatenate(parts)


def _test_roughly(differences: Float64, seed: int) -> float:
    """The p of a randomisation test, of many differences by what its sums are distributed as."""
    moved = differences[differences != 0]
    if len(moved) < MANY:
        return stats.randomisation(differences, seed).two_sided
    return stats.normal_p(float(moved.sum() / np.sqrt((moved**2).sum()))).two_sided
