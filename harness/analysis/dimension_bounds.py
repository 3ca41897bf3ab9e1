"""What a dimension allows: the margin bound, and the cubic through measured critical numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, lgamma, log1p

import numpy as np

from harness.errors import InputError

# Weller et al. 2025 (arXiv 2508.21038), Table 6: the largest number of documents whose every pair
# free vectors of d dimensions returned, for d = 4, 5, ... 45
_NUMBERS = """10 14 19 24 28 32 36 42 47 54 62 70 79 89 99 109 120 132 144 157 170 184 198 213 229
    245 261 278 296 314 333 352 372 392 413 434 460 484 505 545 605 626"""
TABLE_6 = dict(enumerate(map(int, _NUMBERS.split()), start=4))
ROUNDING = 1e-9  # ln C(n, k) may lie this much above the whole number that it is


def check_margin(gamma: float) -> None:
    """Raise InputError unless 0 < gamma <= 1."""
    if not 0 < gamma <= 1:
        raise InputError(f"margin bound: gamma={gamma:g}: expected a margin above 0, at most 1")


def margin_bound(n: int, k: int, gamma: float) -> int | None:
    """The fewest dimensions in which every k of n documents can be returned with margin gamma.

    d >= ln C(n, k) / ln(1 + 1/gamma) for unit vectors whose relevant documents score at least
    2 gamma above all others (Weller et al. 2025, theorem 1). A necessary condition: fewer do not
    suffice, so many need not.

    Returns:
        None where k = n, which any ranking returns.

    Raises:
        InputError: unless 1 <= k <= n and 0 < gamma <= 1.
    """
    if not 1 <= k <= n:
        raise InputError(f"margin bound: k={k} of n={n} documents: expected 1 <= k <= n")
    check_margin(gamma)
    if k == n:
        return None
    subsets = lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)
    return ceil(subsets / log1p(1 / gamma) - ROUNDING)


@dataclass(frozen=True)
class Cubic:
    """n = c0 + c1 d + c2 d^2 + c3 d^3, and the share of variance that it explains."""

    coefficients: tuple[float, ...]
    r2: float

    def at(self, dim: float) -> float:
        """The number of documents at a dimension."""
        return sum(c * dim**power for power, c in enumerate(self.coefficients))


def fit(points: Mapping[int, int]) -> Cubic:
    """Fit the least-squares cubic through critical numbers by dimension.

    Beyond the measured dimensions it extrapolates, and no theory says that it goes on so.

    Raises:
        InputError: for fewer than 5 points, through which a cubic tells nothing of its fit.
    """
    if len(points) < 5:
        raise InputError(f"a cubic through {len(points)} critical numbers: expected 5 or more")
    dims, numbers = np.array(list(points.items()), np.float64).T
    coefficients = tuple(float(c) for c in np.polyfit(dims, numbers, 3)[::-1])
    left = numbers - np.polynomial.polynomial.polyval(dims, coefficients)
    spread = float(numbers.var() * len(numbers))
    return Cubic(coefficients, 1 - float(left @ left) / spread if spread else 1.0)
