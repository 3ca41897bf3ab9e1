"""Two orders of the same systems: places, agreement, and who changes places with whom."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations, pairwise
from math import isnan

import numpy as np

from harness.arrays import Float64
from harness.stats import Estimate, aggregate


@dataclass(frozen=True)
class TwoOrders:
    """How systems rank by the mean of their values, twice.

    Attributes:
        first: Places by name, from 1, equals sharing the better one.
        second: The same by the other values.
        moved: The most places that a system moved.
        tau: Kendall's tau-b of the two; None where it is not defined.
        swaps: Pairs in the first order that are the other way round in the second.
    """

    first: dict[str, int]
    second: dict[str, int]
    moved: int
    tau: float | None
    swaps: tuple[tuple[str, str], ...]


def compare(first: Mapping[str, Float64], second: Mapping[str, Float64]) -> TwoOrders:
    """Compare the orders of two sets of values [q] by name, larger is better."""
    from scipy.stats import kendalltau

    names = list(first)
    before, after = (np.array([of[name].mean() for name in names]) for of in (first, second))
    one, two = (
        dict(zip(names, map(int, aggregate.places(means)), strict=True))
        for means in (before, after)
    )
    tau = float(kendalltau(before, after).statistic)
    swaps = tuple(
        (names[i], names[j])
        for i, j in combinations(np.argsort(-before, kind="stable").tolist(), 2)
        if before[i] > before[j] and after[i] < after[j]
    )
    moved = max(abs(one[name] - two[name]) for name in names)
    return TwoOrders(one, two, moved, None if isnan(tau) else tau, swaps)


def write_order(places: Mapping[str, int]) -> str:
    """An order in one line: minilm > bm25 = hashing."""
    ordered = sorted(places, key=places.__getitem__)
    signs = [" = " if places[a] == places[b] else " > " for a, b in pairwise(ordered)]
    return ordered[0] + "".join(sign + name for sign, name in zip(signs, ordered[1:], strict=True))


def verdict(exact: Estimate, approximate: Estimate) -> str:
    """Say what a swap means, by whether either difference of the two is significant."""
    if exact.significant:
        after = "significantly so" if approximate.significant else "not significantly"
        return f"a significant difference is reversed, {after}"
    if approximate.significant:
        return "not significant to begin with, significant after"
    return "not significant to begin with, nor after"
