"""Where two curves over growing sizes change places, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness import stats
from harness.arrays import Float64


@dataclass(frozen=True)
class Crossing:
    """Where two curves change places: the first time from the smallest size on.

    Attributes:
        ahead: 1 where the one leads first, -1 where the other does, 0 where they are equal.
        size: Interpolated on the logarithm of the size; None where nothing is crossed.
        low: 95% interval over queries; None where it goes beyond the sizes measured.
        high: Its other end.
        crossed: Share of resamples of the queries in which the leader changes.
    """

    ahead: int
    size: float | None
    low: float | None
    high: float | None
    crossed: float


def crossing(one: Float64, other: Float64, sizes: Sequence[int], seed: int) -> Crossing:
    """Compare two curves, whose values [sizes, q] are of the same queries."""
    apart = one - other
    means = apart.mean(axis=1)
    sign = int(next((np.sign(mean) for mean in means if mean), 0))
    [found] = places(sign * means[None], sizes).tolist()
    random, q = np.random.default_rng(seed), apart.shape[1]
    counts = (random.multinomial(q, np.full(q, 1 / q)) for _ in range(stats.RESAMPLES))
    leads = sign * np.stack([apart @ drawn / q for drawn in counts])
    crossed = float(((leads < 0).any(axis=1) & (leads > 0).any(axis=1)).mean())
    if not math.isfinite(found):
        return Crossing(sign, None, None, None, crossed)
    tails = np.quantile(places(leads, sizes), [0.025, 0.975], method="inverted_cdf").tolist()
    low, high = (tail if sizes[0] < tail < math.inf else None for tail in tails)
    return Crossing(sign, found, low, high, crossed)


def places(ahead: Float64, sizes: Sequence[int]) -> Float64:
    """[r]: the size at which each lead [r, sizes] first turns negative, infinite where none does.

    Interpolated on the logarithm of the size; the smallest size where it is negative from there on.
    """
    rows, logs = np.arange(len(ahead)), np.log(sizes)
    behind = ahead < 0
    at = behind.argmax(axis=1)
    before = np.maximum(at - 1, 0)
    last, now = ahead[rows, before], ahead[rows, at]
    share = np.divide(last, last - now, out=np.zeros(len(ahead)), where=at > 0)
    found: Float64 = np.exp(logs[before] + share * (logs[at] - logs[before]))
    found[~behind.any(axis=1)] = np.inf
    return found
