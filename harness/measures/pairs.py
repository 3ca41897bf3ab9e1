"""Measures of sentence pairs: how the similarity of two vectors follows the gold score.

Spearman and Pearson correlation of cosine, dot product, and negated Euclidean and Manhattan
distance, as MTEB names them. A correlation is one number for the whole task, so the per-pair values
are the similarities themselves.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np
from numpy.typing import NDArray

from harness.types import Float32, Float64

BLOCK = 4096  # pairs widened to float64 at a time


def _cosine(a: Float64, b: Float64) -> Float64:
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.asarray(np.divide(_dot(a, b), norms, out=np.zeros(len(a)), where=norms > 0))


def _dot(a: Float64, b: Float64) -> Float64:
    return np.asarray(np.einsum("nd,nd->n", a, b))


SIMILARITIES: dict[str, Callable[[Float64, Float64], Float64]] = {
    "cosine": _cosine,
    "dot": _dot,
    "euclidean": lambda a, b: -np.linalg.norm(a - b, axis=1),
    "manhattan": lambda a, b: -np.abs(a - b).sum(axis=1),
}

PAIR_MEASURES = tuple(
    f"{similarity}_{correlation}"
    for similarity, correlation in product(SIMILARITIES, ("spearman", "pearson"))
)

BINARY_MEASURES = tuple(
    f"{similarity}_{measure}"
    for measure, similarity in product(("ap", "f1", "accuracy"), ("max", *SIMILARITIES))
)


def similarities(left: Float32, right: Float32) -> dict[str, Float64]:
    """Similarity of each pair by each kind. left, right: [n, d]; returns [n] each."""
    blocks = [slice(start, start + BLOCK) for start in range(0, len(left), BLOCK)]
    return {
        name: np.concatenate(
            [kind(left[b].astype(np.float64), right[b].astype(np.float64)) for b in blocks]
        )
        for name, kind in SIMILARITIES.items()
    }


def correlation(kind: str, x: NDArray[np.float64], y: NDArray[np.float64]) -> Float64:
    """Pearson's r, or Spearman's rho (r of the ranks, ties averaged), row by row.

    x, y: [..., n]; returns [...], NaN where either side of a row is constant.
    """
    constant = (x == x[..., :1]).all(axis=-1) | (y == y[..., :1]).all(axis=-1)
    if kind == "spearman":
        from scipy.stats import rankdata

        x, y = rankdata(x, axis=-1), rankdata(y, axis=-1)
    x = x - x.mean(axis=-1, keepdims=True)
    y = y - y.mean(axis=-1, keepdims=True)
    norms = np.sqrt((x * x).sum(axis=-1) * (y * y).sum(axis=-1))
    with np.errstate(divide="ignore", invalid="ignore"):
        r = np.clip((x * y).sum(axis=-1) / norms, -1, 1)
    return np.where(constant, np.nan, r)  # rounding may leave a constant row a norm above 0
