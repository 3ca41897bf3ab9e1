"""What chance explains: how near the nearest of so many random directions is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from harness.arrays import Float32, Float64, Int64
from harness.errors import InputError


def cap(cosine: Float64, d: int) -> Float64:
    """Probability that a random direction of d dimensions has at least this cosine with another.

    The share of the sphere in a spherical cap: P(cos >= c) = 1/2 I_{1-c^2}((d-1)/2, 1/2) for
    c >= 0, by the regularised incomplete beta function (Li 2011, "Concise Formulas for the Area and
    Volume of a Hyperspherical Cap"). Raises InputError for fewer than two dimensions.
    """
    from scipy.special import betainc

    if d < 2:
        raise InputError(f"{d} dimensions: a spherical cap needs at least 2")
    half = betainc((d - 1) / 2, 0.5, np.clip(1 - np.square(cosine), 0, 1)) / 2
    p: Float64 = np.where(np.asarray(cosine) < 0, 1 - half, half)
    return p


def any_of(p: Float64, n: Int64 | int) -> Float64:
    """Probability that at least one of n independent events of probability p happens: 1-(1-p)^n."""
    return np.asarray(-np.expm1(n * np.log1p(-np.minimum(p, 1 - 2.0**-53))))


def wrong_by_chance(
    queries: Float32,
    relevant: Float32,
    rows: Int64,
    judged: NDArray[np.bool_],
    sizes: Sequence[int],
) -> Float64:
    """Share of queries to which some random direction is nearer than all that is relevant [sizes].

    Args:
        queries: Vectors of length 1 [q, d].
        relevant: Vectors of length 1 of relevant documents [p, d].
        rows: The query of each of them [p].
        judged: Queries that count [q].
        sizes: Documents of each corpus; those that are not relevant are random directions.
    """
    q, d = queries.shape
    cosines = np.einsum("pd,pd->p", queries[rows], relevant, dtype=np.float64)
    nearest = np.full(q, -1.0)  # of a query without relevant documents: anything is nearer
    np.maximum.at(nearest, rows, cosines)
    p, known = cap(nearest[judged], d), np.bincount(rows, minlength=q)[judged]
    return np.array([any_of(p, size - known).mean() for size in sizes])
