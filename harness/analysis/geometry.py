"""How vectors lie in their space: spread, isotropy, intrinsic dimension, hubs.

Sources of the measures:
    alignment, uniformity   Wang and Isola 2020
    mean cosine             Ethayarajh 2019 (anisotropy)
    IsoScore                Rudman et al. 2022
    effective rank          Roy and Vetterli 2007
    TwoNN                   Facco et al. 2017
    k neighbours            Levina and Bickel 2004; MacKay and Ghahramani 2005, their comment on it
    local dimension         Amsaleg et al. 2015
    hubness                 Radovanović et al. 2010
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from harness.arrays import Float32, Float64, Int32, Int64
from harness.errors import InputError
from harness.indexes import INDEXES
from harness.progress import Progress, silent
from harness.vectors import Dense, Run, ranking
from harness.wording import count

CELLS = 1 << 22  # numbers of a block
NEAR = 20  # neighbours that the intrinsic dimension is estimated from


def alignment(x: Float32, y: Float32, a: float = 2) -> float:
    """Mean of |x - y|^a over positive pairs, row by row (Wang and Isola 2020). x, y: [n, d].

    Returns:
        0 where the vectors of every pair are equal.

    Raises:
        InputError: for shapes that differ, nothing, or numbers that are not finite.
    """
    _refuse(x, 1)
    _refuse(y, 1)
    if x.shape != y.shape:
        raise InputError(f"pairs of vectors {x.shape} and {y.shape}: expected equal shapes")
    total, step = 0.0, max(1, CELLS // x.shape[1])
    for low in range(0, len(x), step):
        apart = x[low : low + step].astype(np.float64) - y[low : low + step]
        total += float((np.einsum("nd,nd->n", apart, apart) ** (a / 2)).sum())
    return total / len(x)


def chance_alignment(x: Float32, y: Float32) -> float:
    """Mean of |x - y|^2 over all pairs of a row of x [n, d] and one of y [m, d].

    What `alignment` would be if positive pairs were no nearer than any: |x|^2 and |y|^2 on average,
    less twice the product of the means.
    """
    squares = [np.einsum("nd,nd->", part, part, dtype=np.float64) / len(part) for part in (x, y)]
    means = [part.mean(axis=0, dtype=np.float64) for part in (x, y)]
    return float(sum(squares) - 2 * (means[0] @ means[1]))


def uniformity(x: Float32, t: float = 2, *, progress: Progress = silent) -> float:
    """Log of the mean of exp(-t |x - y|^2) over all pairs of rows (Wang and Isola 2020). x: [n, d].

    Exact, in blocks. 0 where all vectors are equal; the more evenly they are spread the lower.

    Raises:
        InputError: for fewer than two rows or numbers that are not finite.
    """
    _refuse(x, 2)
    values = _centre(x)  # short vectors lose fewer digits in |x|^2 + |y|^2 - 2xy
    squares, n, total = np.einsum("nd,nd->n", values, values), len(x), -math.inf
    step = max(1, CELLS // n)
    for low in range(0, n - 1, step):
        rows = slice(low, low + step)
        apart = squares[rows, None] + squares[low:] - 2 * (values[rows] @ values[low:].T)
        exponent = -t * np.maximum(apart, 0)
        exponent[np.tril_indices(len(exponent), m=n - low)] = -np.inf  # each pair once
        highest = exponent.max()
        total = np.logaddexp(total, highest + np.log(np.exp(exponent - highest).sum()))
        progress("uniformity", min(low + step, n), n, "vectors")
    return float(total - math.log(n * (n - 1) / 2))


def uniform_uniformity(d: int, t: float = 2) -> float:
    """Uniformity of points spread evenly over the unit sphere of d dimensions; t above 0.

    -2t + log 0F1(; d/2; t^2), the series summed as logarithms, so that no term overflows.
    """
    from scipy.special import gammaln, logsumexp

    k = np.arange(int(2 * t) + 64)  # from 2t on a term is less than a quarter of that before it
    terms = 2 * k * math.log(t) - gammaln(d / 2 + k) + gammaln(d / 2) - gammaln(k + 1)
    return float(logsumexp(terms)) - 2 * t


def mean_cosine(x: Float32) -> float:
    """Mean cosine over all pairs of rows, 0 where directions are balanced. x: [n, d].

    Exact: the square of the sum of unit rows holds the cosine of every pair twice. A zero row has
    cosine 0 with all others.

    Raises:
        InputError: as `uniformity`.
    """
    _refuse(x, 2)
    lengths = np.sqrt(np.einsum("nd,nd->n", x, x, dtype=np.float64))
    known = lengths > 0
    whole = np.divide(1, lengths, out=np.zeros(len(x)), where=known) @ x.astype(np.float64)
    return float((whole @ whole - known.sum()) / (len(x) * (len(x) - 1)))


def spectrum(x: Float32) -> Float64:
    """Variances along the principal components, descending: [d], zeros beyond the rank. x: [n, d].

    Raises:
        InputError: where all rows are equal, and as `uniformity`.
    """
    _refuse(x, 2)
    values = _centre(x)
    n, d = values.shape
    gram = values.T @ values if n >= d else values @ values.T  # eigenvalues differ in zeros only
    found = np.maximum(np.linalg.eigvalsh(gram)[::-1], 0) / n
    if not found[0] > 0:
        raise InputError(f"all {n} vectors are equal: they vary in no direction")
    return np.pad(found, (0, d - len(found)))


def isoscore(variances: Float64) -> float:
    """IsoScore of variances [d]: 1 where all are equal, 0 where all but one are 0.

    Rudman et al. 2022 take the distance of the normalised variances from (1, ..., 1) and rescale it
    twice. Put together this is (r - 1) / (d - 1) with the participation ratio
    r = (sum w)^2 / sum w^2.

    Raises:
        InputError: for fewer than two dimensions.
    """
    if len(variances) < 2:
        raise InputError("IsoScore is not defined for vectors of one dimension")
    ratio = variances.sum() ** 2 / (variances @ variances)
    return float((ratio - 1) / (len(variances) - 1))


def effective_rank(variances: Float64) -> float:
    """Exp of the entropy of the shares of singular values, 1 to d (Roy and Vetterli 2007)."""
    singular = np.sqrt(variances[variances > 0])
    shares = singular / singular.sum()
    return float(np.exp(-(shares @ np.log(shares))))


def components(variances: Float64, share: float) -> int:
    """How many principal components hold this share of the variance."""
    held = np.cumsum(variances) / variances.sum()
    return int(np.searchsorted(held, share - 1e-9)) + 1


@dataclass(frozen=True)
class Neighbours:
    """The nearest others of each distinct vector, by Euclidean distance.

    Attributes:
        rows: int32 [m, k] of distinct vectors, nearest first.
        distances: float64 [m, k], all above 0.
        which: int64 [n], the distinct vector that each given one equals.
    """

    rows: Int32
    distances: Float64
    which: Int64


def neighbours(x: Float32, k: int = NEAR, *, progress: Progress = silent) -> Neighbours:
    """The k nearest others of each distinct row of x [n, d], or all others where there are fewer.

    Raises:
        InputError: for k below 3, fewer than four distinct rows or numbers that are not finite.
    """
    _refuse(x, 1)
    if k < 3:
        raise InputError(f"k={k}: expected at least 3 neighbours")
    as_bytes = (x + np.float32(0)).view(f"V{4 * x.shape[1]}").ravel()  # adding 0 makes -0.0 a 0.0
    _, first, which = np.unique(as_bytes, return_index=True, return_inverse=True)
    values, n = x[first], len(first)
    if n < 4:
        raise InputError(f"{count(len(x), 'vector')}, {n} of them distinct: expected at least 4")
    k = min(k, n - 1)
    # |x - y|^2 is least where xy - |y|^2 / 2 is highest: an inner product in d + 1 dimensions
    centred = _centre(values).astype(np.float32)
    half = np.einsum("nd,nd->n", centred, centred)[:, None] / 2
    documents, queries = np.hstack([centred, -half]), np.hstack([centred, np.ones_like(half)])
    near = _search(documents, queries, k + 1, progress)
    rows = ranking.without(near, np.arange(n, dtype=np.int32)).docs
    distances, step = np.empty((n, k)), max(1, CELLS // (k * x.shape[1]))
    for low in range(0, n, step):  # again from the vectors: float32 products know few digits
        part = slice(low, low + step)
        apart = values[rows[part]].astype(np.float64) - values[part, None]
        distances[part] = np.sqrt(np.einsum("nkd,nkd->nk", apart, apart))
    order = np.argsort(distances, axis=1, kind="stable")
    take = np.take_along_axis
    return Neighbours(take(rows, order, axis=1), take(distances, order, axis=1), which)


def _search(documents: Float32, queries: Float32, k: int, progress: Progress) -> Run:
    searcher = INDEXES.create("exact").open(Dense(documents))
    return searcher.search(Dense(queries), k, progress).run


def two_nn(distances: Float64) -> float | None:
    """Intrinsic dimension from two neighbours: 1 / mean of ln(r2 / r1) (Facco et al. 2017).

    distances: [m, k >= 2], ascending, above 0. None where r1 equals r2 at every point.
    """
    mean = float(np.log(distances[:, 1] / distances[:, 0]).mean())
    return 1 / mean if mean else None


def two_nn_fit(distances: Float64, discard: float = 0.1) -> float | None:
    """Intrinsic dimension from two neighbours by a line through the origin (Facco et al. 2017).

    distances: [m, k >= 2], ascending, above 0. The slope of -ln(1 - F) over ln(r2 / r1), F being
    the share of points with a smaller ratio; a share of `discard` with the largest is left out.
    None where those that are left are all 1.
    """
    x = np.sort(np.log(distances[:, 1] / distances[:, 0]))[: int(len(distances) * (1 - discard))]
    y = -np.log1p(-np.arange(len(x)) / len(distances))
    return float(x @ y / (x @ x)) if x.any() else None


def lid(distances: Float64) -> Float64:
    """Local intrinsic dimension of each point [m]: -1 / mean of ln(r_i / r_k) over i = 1 ... k.

    distances: [m, k], ascending, above 0. Infinite where a point's neighbours are all equally far.
    """
    mean = -np.log(distances / distances[:, -1:]).mean(axis=1)
    return np.asarray(np.divide(1, mean, out=np.full(len(mean), np.inf), where=mean > 0))


@dataclass(frozen=True)
class LevinaBickel:
    """Intrinsic dimension from k neighbours.

    Attributes:
        k: How many.
        mean: Over points, each with k - 1 in the numerator; None where a point's neighbours are all
            equally far.
        unbiased: The same with k - 2.
        mackay_ghahramani: The harmonic mean, None where all points are so.
    """

    k: int
    mean: float | None
    unbiased: float | None
    mackay_ghahramani: float | None


def mle(distances: Float64) -> LevinaBickel:
    """Intrinsic dimension by maximum likelihood. distances: [m, k >= 3], ascending, above 0."""
    k, points = distances.shape[1], lid(distances)
    mean, inverse = float(points.mean()) / k, float((1 / points).mean())
    return LevinaBickel(
        k,
        mean * (k - 1) if math.isfinite(mean) else None,
        mean * (k - 2) if math.isfinite(mean) else None,
        (k - 1) / k / inverse if inverse else None,
    )


@dataclass(frozen=True)
class Hubness:
    """How often vectors are among the k nearest to others.

    Attributes:
        k: How many.
        skewness: Of these counts, 0 where all are equal.
        largest: Of these counts.
        antihubs: The share of vectors that are near to nothing.
    """

    k: int
    skewness: float
    largest: int
    antihubs: float


def hubness(rows: Int32, n: int) -> Hubness:
    """Occurrences of n vectors in lists of the nearest k [q, k]; -1 pads a list."""
    counts = np.bincount(rows[rows >= 0], minlength=n)
    apart = counts - counts.mean()
    deviation = math.sqrt((apart**2).mean())
    skewness = float((apart**3).mean()) / deviation**3 if deviation else 0.0
    return Hubness(rows.shape[1], skewness, int(counts.max()), float((counts == 0).mean()))


def _centre(x: Float32) -> Float64:
    """Rows in float64 without their mean."""
    values = x.astype(np.float64)
    values -= values.mean(axis=0)
    return values


def _refuse(x: Float32, least: int) -> None:
    """Raise InputError for what is not a matrix of enough finite rows."""
    if x.ndim != 2 or len(x) < least or not x.shape[1] or not np.isfinite(x).all():
        raise InputError(
            f"vectors of shape {x.shape}: expected at least {least} of one or more finite numbers"
        )
