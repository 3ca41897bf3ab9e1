"""How far a score would move with other queries, and whether two systems differ.

Another draw of as many queries, that is: intervals, paired tests, corrections for many tests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from statistics import NormalDist

import numpy as np

from harness.arrays import Float64, Int64
from harness.errors import InputError
from harness.measures.binary import resample
from harness.measures.pairs import correlation
from harness.progress import Progress, silent

RESAMPLES = 1000
PERMUTATIONS = 10_000
CHUNK = 4_000_000  # resampled values held at a time
Z95 = NormalDist().inv_cdf(0.975)  # half the width of a 95% interval in standard errors


@dataclass(frozen=True)
class Estimate:
    """A mean over queries, or a correlation, and its bootstrap interval; None: not defined."""

    mean: float | None
    low: float | None = None
    high: float | None = None

    @property
    def significant(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


def generator(seed: object) -> np.random.Generator:
    """Random numbers of a seed. Raises InputError for what is no whole number of at least 0."""
    if isinstance(seed, bool) or not isinstance(seed, Integral) or seed < 0:
        raise InputError(f"seed={seed!r}: expected a whole number of at least 0")
    return np.random.default_rng(int(seed))


def estimate(values: Float64, seed: int = 0) -> Estimate:
    """The mean of values [q] with its 95% bootstrap interval.

    Equal seeds draw equal queries, so that differences are paired.
    """
    low, high = bootstrap_means(values[None, :], seed)
    return Estimate(float(values.mean()), float(low[0]), float(high[0]))


def estimate_ratio(values: Float64, whole: Float64, seed: int = 0) -> Estimate:
    """The mean of values [q] over that of others of the same queries, with its 95% interval.

    Percentile bootstrap, both drawn together; not defined where the others have no mean but 0.
    """
    if not whole.mean():
        return Estimate(None)

    def ratio(rows: Int64) -> float:
        of = float(whole[rows].mean())
        return float(values[rows].mean()) / of if of else float("nan")

    ends = bootstrap_statistic(ratio, len(whole), seed)
    return without_nan(float(values.mean() / whole.mean()), *ends)


def quantile_ranks(q: int, share: float, level: float = 0.95) -> tuple[int, int]:
    """Ranks, from 1, of the values between which a quantile lies, whatever they are drawn from.

    The interval of order statistics of q values (Conover 1999, sec. 3.2): the number of values
    below the quantile is binomial. 0 or q + 1 where no value bounds it.
    """
    from scipy.stats import binom

    low, high = binom.ppf([(1 - level) / 2, (1 + level) / 2], q, share)
    return int(low), int(high) + 1


def without_nan(mean: float, low: float, high: float) -> Estimate:
    """An estimate of plain floats, None in place of NaN."""
    return Estimate(*(None if np.isnan(value) else float(value) for value in (mean, low, high)))


def intervals(values: Mapping[str, Float64], seed: int) -> dict[str, Estimate]:
    """The mean of each measure's values [q] with its bootstrap interval; of none, not defined."""
    if not any(map(len, values.values())):
        return dict.fromkeys(values, Estimate(None, None, None))
    low, high = bootstrap_means(np.stack(list(values.values())), seed)
    return {
        name: without_nan(value.mean(), low[i], high[i])
        for i, (name, value) in enumerate(values.items())
    }


def bootstrap_means(values: Float64, seed: int, level: float = 0.95) -> tuple[Float64, Float64]:
    """Percentile bootstrap interval of each row's mean (Efron and Tibshirani 1993, ch. 13).

    values: [m, q]; every row sees the same resamples, so that measures can be compared. Returns
    low and high, [m] each.
    """
    q = values.shape[1]
    draws = draw_counts(q, generator(seed))
    return tails(np.concatenate([counts @ values.T / q for counts in draws]), level)


def bootstrap_correlation(
    kind: str, x: Float64, y: Float64, seed: int, level: float = 0.95
) -> tuple[float, float]:
    """Percentile bootstrap interval of a correlation: pairs are drawn anew and ranked anew.

    x, y: [n]. Resamples in which a side is constant are left out.
    """
    drawn = [correlation(kind, x[rows], y[rows]) for rows in _draw_rows(len(x), generator(seed))]
    drawn_all = np.concatenate(drawn)
    low, high = tails(drawn_all[~np.isnan(drawn_all)][:, None], level)
    return float(low[0]), float(high[0])


def bootstrap_statistic(
    statistic: Callable[[Int64], float], n: int, seed: int, level: float = 0.95
) -> tuple[float, float]:
    """Percentile bootstrap interval of any number that is made of n rows.

    statistic: of rows [n], drawn with replacement; resamples for which it is NaN are left out.
    """
    drawn = np.array([statistic(row) for rows in _draw_rows(n, generator(seed)) for row in rows])
    low, high = tails(drawn[~np.isnan(drawn)][:, None], level)
    return float(low[0]), float(high[0])


def bootstrap_separation(
    values: Mapping[str, Float64],
    gold: Float64,
    names: Sequence[str],
    seed: int,
    *,
    level: float = 0.95,
    progress: Progress = silent,
) -> dict[str, tuple[float, float]]:
    """Percentile bootstrap intervals of measures of pair classification, pairs drawn anew.

    values: [n] by kind of similarity; gold: [n], 0 or 1; names: measures, as max_ap. Resamples
    without a positive pair are left out.
    """
    drawn: list[Float64] = []
    for draws in draw_counts(len(gold), generator(seed)):
        progress("intervals", len(drawn), RESAMPLES, "resamples")
        counts = draws[draws @ (gold == 1) > 0]
        found = {kind: resample(x, gold, counts) for kind, x in values.items()}
        each = [
            np.max([one[q] for kind, one in found.items() if of in (kind, "max")], axis=0)
            for of, _, q in (name.partition("_") for name in names)
        ]
        drawn.extend(np.stack(each, axis=1))
    low, high = tails(np.array(drawn).reshape(-1, len(names)), level)
    return {name: (float(low[i]), float(high[i])) for i, name in enumerate(names)}


def draw_counts(n: int, random: np.random.Generator) -> Iterator[Int64]:
    """How often each of n rows is in each of RESAMPLES draws with replacement, in chunks [c, n]."""
    for rows in _draw_rows(n, random):
        yield np.stack([np.bincount(row, minlength=n) for row in rows])


def _draw_rows(n: int, random: np.random.Generator) -> Iterator[Int64]:
    """RESAMPLES draws of n rows with replacement, in chunks [c, n]."""
    chunk = max(1, CHUNK // n)
    for start in range(0, RESAMPLES, chunk):
        yield random.integers(n, size=(min(chunk, RESAMPLES - start), n))


def tails(drawn: Float64, level: float = 0.95) -> tuple[Float64, Float64]:
    """Percentile intervals of columns [b, m]: low and high, [m] each; NaN where there is none."""
    if not len(drawn):
        nothing = np.full(drawn.shape[1], np.nan)
        return nothing, nothing
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return low, high


@dataclass(frozen=True)
class PValues:
    """Of "no difference", against a mean that is not zero, below zero, above zero."""

    two_sided: float
    less: float
    greater: float


def randomisation(differences: Float64, seed: int, *, permutations: int = PERMUTATIONS) -> PValues:
    """Paired randomisation test of a mean of zero: signs are flipped.

    Fisher 1935; Smucker, Allan and Carterette 2007. differences: [q]. All 2^q sign patterns where
    there are no more of them than permutations, zeros left out; else that many are drawn, and the
    observed pattern counts as one of them (Phipson and Smyth 2010).
    """
    moved = differences[differences != 0]
    total, slack = moved.sum(), 1e-9 * np.abs(moved).sum()  # equal sums differ by their rounding
    exact = 2 ** min(len(moved), 63) <= permutations
    counts = np.zeros(3)
    for flips in _every_flip(len(moved)) if exact else _flips(len(moved), permutations, seed):
        sums = total - 2 * (flips @ moved)
        for i, hit in enumerate(
            (np.abs(sums) >= abs(total) - slack, sums <= total + slack, sums >= total - slack)
        ):
            counts[i] += hit.sum()
    shares = counts / 2 ** len(moved) if exact else (1 + counts) / (1 + permutations)
    return PValues(*map(float, shares))


def _every_flip(n: int) -> Iterator[Float64]:
    yield (np.arange(2**n)[:, None] >> np.arange(n) & 1).astype(np.float64)


def _flips(n: int, permutations: int, seed: int) -> Iterator[Float64]:
    """Random 0 and 1, [c, n] at a time."""
    random = generator(seed)
    width, chunk = -(-n // 8), max(1, CHUNK // n)
    for start in range(0, permutations, chunk):
        drawn = random.integers(256, size=(min(chunk, permutations - start), width), dtype=np.uint8)
        yield np.unpackbits(drawn, axis=1, count=n).astype(np.float64)


def normal_p(z: float) -> PValues:
    """The same three of a statistic that is standard normal where there is no difference."""
    less = NormalDist().cdf(z)
    return PValues(2 * min(less, 1 - less), less, 1 - less)


def holm(p: Sequence[float] | Float64) -> list[float]:
    """Adjusted p-values: at most alpha of all families of tests have a false alarm (Holm 1979)."""
    values = np.asarray(p, np.float64)
    order = np.argsort(values, kind="stable")
    adjusted = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    return _unsort(adjusted, order)


def benjamini_hochberg(p: Sequence[float]) -> list[float]:
    """Adjusted p-values: at most alpha of all alarms are expected to be false.

    By Benjamini and Hochberg 1995.
    """
    values = np.asarray(p, np.float64)
    order = np.argsort(values, kind="stable")
    scaled = values[order] * len(values) / np.arange(1, len(values) + 1)
    return _unsort(np.minimum.accumulate(scaled[::-1])[::-1], order)


def _unsort(adjusted: Float64, order: Int64) -> list[float]:
    found = np.empty(len(order))
    found[order] = np.minimum(adjusted, 1)
    return found.tolist()


def effect_size(differences: Float64) -> float | None:
    """Cohen's d of paired values: the mean difference in standard deviations of the differences.

    None where they do not vary.
    """
    error = standard_error(differences)
    return float(differences.mean() / (error * len(differences) ** 0.5)) if error else None


def standard_error(values: Float64) -> float | None:
    """Of a mean; exactly 0 for what is constant, None for a single value."""
    if len(values) < 2:
        return None
    constant = (values == values[0]).all()
    return 0.0 if constant else float(values.std(ddof=1) / len(values) ** 0.5)


def detectable(
    error: float, *, alpha: float = 0.05, power: float = 0.8, two_sided: bool = True
) -> float:
    """The least true difference that a test finds with this power, from its standard error.

    (z[1 - alpha / 2] + z[power]) error, with alpha in full for a one-sided test (Cohen 1988, normal
    approximation).
    """
    z = NormalDist().inv_cdf
    return float((z(1 - alpha / (1 + two_sided)) + z(power)) * error)


def influence(kind: str, x: Float64, gold: Float64) -> Float64:
    """What each pair adds to a correlation: values [n] whose mean is the correlation.

    Their spread is, for many pairs, that of its sampling error (the infinitesimal jackknife, Efron
    1982). x, gold: [n], neither constant. With them, two correlations with the same gold scores are
    compared pair by pair as means are.
    """
    columns = [x, gold]
    if kind == "spearman":
        columns = [_midrank_share(column) for column in columns]
    f, g = (column - column.mean() for column in columns)
    product, f_square, g_square = f * g, f * f, g * g
    covariance, f_variance, g_variance = product.mean(), f_square.mean(), g_square.mean()
    scale = np.sqrt(f_variance * g_variance)
    r = covariance / scale
    if kind == "spearman":  # another pair also moves the ranks of all above it
        product += _mean_above(x, g) + _mean_above(gold, f) - 2 * covariance
        f_square += 2 * (_mean_above(x, f) - f_variance)
        g_square += 2 * (_mean_above(gold, g) - g_variance)
    return np.asarray(
        r
        + (product - covariance) / scale
        - r / 2 * (f_square / f_variance + g_square / g_variance - 2)
    )


def _midrank_share(values: Float64) -> Float64:
    """The share of values below each, ties counted half."""
    return _mean_above(-values, np.ones(len(values)))


def _mean_above(values: Float64, weights: Float64) -> Float64:
    """The mean over all of the weights of what is greater than each value, ties counted half."""
    _, at = np.unique(values, return_inverse=True)
    tied = np.bincount(at, weights)
    greater = tied[::-1].cumsum()[::-1] - tied / 2
    return np.asarray(greater[at] / len(values))
