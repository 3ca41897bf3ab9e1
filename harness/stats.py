"""Intervals: how far a score would move with another draw of the same number of queries."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from harness.measures.binary import QUALITIES, resampled
from harness.measures.pairs import correlation
from harness.types import Float64, Int64, Progress, silent

RESAMPLES = 1000
CHUNK = 4_000_000  # resampled values held at a time


def bootstrap_means(values: Float64, seed: int, level: float = 0.95) -> tuple[Float64, Float64]:
    """Percentile bootstrap interval of each row's mean (Efron and Tibshirani 1993, ch. 13).

    values: [m, q]; every row sees the same resamples, so that measures can be compared. Returns
    low and high, [m] each.
    """
    q = values.shape[1]
    means = np.concatenate(
        [
            np.stack([np.bincount(row, minlength=q) for row in rows]) @ values.T / q
            for rows in _resamples(q, seed)
        ]
    )
    return _tails(means, level)


def bootstrap_correlation(
    kind: str, x: Float64, y: Float64, seed: int, level: float = 0.95
) -> tuple[float, float]:
    """Percentile bootstrap interval of a correlation: pairs are drawn anew and ranked anew.

    x, y: [n]. Resamples in which a side is constant are left out.
    """
    drawn = [correlation(kind, x[rows], y[rows]) for rows in _resamples(len(x), seed)]
    drawn_all = np.concatenate(drawn)
    low, high = _tails(drawn_all[~np.isnan(drawn_all)][:, None], level)
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
    for rows in _resamples(len(gold), seed):
        progress("intervals", len(drawn), RESAMPLES, "resamples")
        counts = np.stack([np.bincount(row, minlength=len(gold)) for row in rows])
        counts = counts[counts @ (gold == 1) > 0]
        found = {kind: resampled(x, gold, counts) for kind, x in values.items()}
        best = {q: np.max([one[q] for one in found.values()], axis=0) for q in QUALITIES}
        columns = [name.partition("_")[::2] for name in names]
        each = [best[q] if kind == "max" else found[kind][q] for kind, q in columns]
        drawn.extend(np.stack(each, axis=1))
    low, high = _tails(np.array(drawn).reshape(-1, len(names)), level)
    return {name: (float(low[i]), float(high[i])) for i, name in enumerate(names)}


def _resamples(n: int, seed: int) -> Iterator[Int64]:
    """RESAMPLES draws of n rows with replacement, in chunks [c, n]."""
    random = np.random.default_rng(seed)
    chunk = max(1, CHUNK // n)
    for start in range(0, RESAMPLES, chunk):
        yield random.integers(n, size=(min(chunk, RESAMPLES - start), n))


def _tails(drawn: Float64, level: float) -> tuple[Float64, Float64]:
    if not len(drawn):
        nothing = np.full(drawn.shape[1], np.nan)
        return nothing, nothing
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return low, high
