"""Measures of sentence pairs: how the similarity of two vectors follows the gold score.

Spearman and Pearson correlation of cosine, dot product, and negated Euclidean and Manhattan
distance, as MTEB names them. A correlation is one number for the whole task, so the per-pair values
are the similarities themselves.

Texts with several vectors have none of these. In place of the dot product they have maxsim, the
first text's vectors looking for their best in the second, summed, as such models score (and MTEB's
`spearman`); in place of cosine, which does not depend on lengths either, meanmaxsim: the mean over
the vectors of each text, and of both directions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from harness.arrays import Float32, Float64, Int64
from harness.measures import measure
from harness.measures.binary import separation
from harness.vectors import Sparse

CELLS = 1 << 21  # numbers of a block of pairs that are widened to float64 at a time

INSTEAD = {"cosine": "meanmaxsim", "dot": "maxsim"}


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

TOKEN_MEASURES = tuple(
    f"{similarity}_{measure}"
    for similarity in INSTEAD.values()
    for measure in ("spearman", "pearson", "ap", "f1", "accuracy")
)

BINARY_MEASURES = tuple(
    f"{similarity}_{measure}"
    for measure, similarity in product(("ap", "f1", "accuracy"), ("max", *SIMILARITIES))
)


@dataclass(frozen=True)
class Compared:
    """What measures of pairs are functions of; each returns one number, as an array [1].

    similarities: float64 [n] by kind of similarity; gold: float64 [n].
    """

    similarities: Mapping[str, Float64]
    gold: Float64

    def rows(self, rows: Int64) -> Compared:
        """Some of the pairs, in this order."""
        some = {name: values[rows] for name, values in self.similarities.items()}
        return Compared(some, self.gold[rows])


def similarities(left: Float32 | Sparse, right: Float32 | Sparse) -> dict[str, Float64]:
    """Similarity of each pair by each kind. left, right: [n, d]; returns [n] each."""
    n, width = left.matrix.shape if isinstance(left, Sparse) else left.shape
    step = max(1, CELLS // width)
    found: dict[str, list[Float64]] = {name: [] for name in SIMILARITIES}
    for start in range(0, n, step):
        a, b = (_wide(side, slice(start, start + step)) for side in (left, right))
        for name, kind in SIMILARITIES.items():
            found[name].append(kind(a, b))
    return {name: np.concatenate(values) for name, values in found.items()}


def _wide(side: Float32 | Sparse, rows: slice) -> Float64:
    values = side.matrix[rows].toarray() if isinstance(side, Sparse) else side[rows]
    return np.asarray(values, np.float64)


def token_similarities(
    forth: Float32, back: Float32, left: Int64, right: Int64
) -> dict[str, Float64]:
    """Similarity of pairs of texts with several vectors, by each kind, [n].

    forth, back: MaxSim of the left text's vectors in the right one's, and the other way; left,
    right: how many vectors each text has.
    """
    means = [score / np.maximum(lengths, 1) for score, lengths in ((forth, left), (back, right))]
    return {"meanmaxsim": (means[0] + means[1]) / 2, "maxsim": forth.astype(np.float64)}


def compared_as(measure: str) -> str:
    """The measure that a score stands beside: of cosine, say, where it is one of meanmaxsim."""
    similarity, _, rest = measure.partition("_")
    known = {instead: kind for kind, instead in INSTEAD.items()}
    return f"{known[similarity]}_{rest}" if similarity in known else measure


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


def _correlate(similarity: str, kind: str) -> Callable[[Compared], Float64]:
    """A measure: the correlation of one similarity with the gold scores."""

    def values(compared: Compared) -> Float64:
        return correlation(kind, compared.similarities[similarity][None], compared.gold[None])

    return values


def _separate(similarity: str, quality: str) -> Callable[[Compared], Float64]:
    """A measure: how well one similarity, or the best of all, tells pairs apart."""

    def values(compared: Compared) -> Float64:
        names = compared.similarities if similarity == "max" else [similarity]
        each = [separation(compared.similarities[name], compared.gold) for name in names]
        return np.array([max(getattr(one, quality) for one in each)])

    return values


def _register() -> None:
    """Every similarity with every correlation and every quality of separation."""
    named = {
        "cosine": "cosine", "dot": "dot product", "euclidean": "negated Euclidean distance",
        "manhattan": "negated Manhattan distance", "meanmaxsim": "mean MaxSim",
        "maxsim": "MaxSim", "max": "best of the similarities",
    }  # fmt: skip
    qualities = {"ap": "Average precision", "f1": "Best F1", "accuracy": "Best accuracy"}
    for name in (*PAIR_MEASURES, *BINARY_MEASURES, *TOKEN_MEASURES):
        similarity, _, rest = name.partition("_")
        if rest in qualities:
            function = _separate(similarity, rest)
            about = f"{qualities[rest]} of a threshold on the {named[similarity]}."
        else:
            function = _correlate(similarity, rest)
            about = f"{rest.title()} correlation of the {named[similarity]} with the gold score."
        measure(name, kind="pairs", depth=0, citation="MTEB", about=about)(function)


_register()
