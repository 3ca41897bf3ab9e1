"""Exact vectors for any relevance: 2k dimensions return everything, if numbers are fine enough.

Documents lie on the moment curve (t, t^2, ... t^2k), t evenly spaced in [-1, 1]; the query for a
set of k of them is -(t - t_1)^2 ... (t - t_k)^2 by its coefficients, which is greatest on its own
documents and smaller on all others. So the number of dimensions alone limits no retrieval by inner
products (Alon et al. bound the sign rank by 2k in the same way): margin and precision do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from harness.analysis.relevance import Relevance, require_room
from harness.arrays import Float64
from harness.disk.memory import available_memory
from harness.errors import InputError
from harness.wording import count

Precision = Literal["float64", "float32", "float16", "bfloat16"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)


@dataclass(frozen=True)
class MomentCurve:
    """What the exact vectors return at a precision.

    Attributes:
        precision: What vectors and scores are stored in.
        unit: Whether vectors have length 1, so that their products are cosines.
        dim: Dimensions of the vectors.
        recall: Share of the relevant documents among the best of each query, as many as it has; of
            equal scores the first document's is better.
        margin: The least gap between a relevant document of a query and another one, negative where
            their order breaks, None where numbers overflow.
    """

    precision: Precision
    unit: bool
    dim: int
    recall: float
    margin: float | None


def oracle(
    relevance: Relevance, precision: Precision = "float64", *, unit: bool = False
) -> MomentCurve:
    """Store exact vectors and their scores at a precision and rank by them.

    Vectors and scores are rounded, sums are not: as hardware that accumulates in a finer format.

    Args:
        relevance: What is to be returned.
        precision: One of PRECISIONS.
        unit: Vectors of length 1 and cosines, for which documents are lifted to a sphere by one
            more dimension.

    Raises:
        InputError: for an unknown precision or what does not fit into memory.
    """
    if precision not in PRECISIONS:
        raise InputError(f"precision {precision!r}: expected one of {', '.join(PRECISIONS)}")
    cells = relevance.queries * relevance.documents
    what = (
        f"scores of {count(relevance.queries, 'query')} by {count(relevance.documents, 'document')}"
    )
    require_room(48 * cells, available_memory(), what)
    documents, queries = _vectors(relevance)
    if unit:
        documents, queries = _lift(documents, queries)
    with np.errstate(over="ignore", invalid="ignore"):
        stored = _round(queries, precision) @ _round(documents, precision).T
        scores = _round(stored, precision)
    relevant = np.zeros(scores.shape, np.bool_)
    relevant[relevance.query, relevance.doc] = True
    rank = np.argsort(np.argsort(-scores, axis=1, kind="stable"), axis=1)
    within = rank[relevant] < relevance.sizes[relevance.query]
    recall = float((np.bincount(relevance.query, within) / relevance.sizes).mean())
    lowest = np.where(relevant, scores, np.inf).min(axis=1)
    gap = float((lowest - np.where(relevant, -np.inf, scores).max(axis=1)).min())
    finite = gap if np.isfinite(gap) else None
    return MomentCurve(precision, unit, documents.shape[1], recall, finite)


def _vectors(relevance: Relevance) -> tuple[Float64, Float64]:
    """Documents [n, 2k] and queries [m, 2k], k the most that is relevant to one query."""
    t = np.linspace(-1, 1, relevance.documents)
    width = 2 * int(relevance.sizes.max())
    queries = np.zeros((relevance.queries, width))
    own = np.split(t[relevance.doc], np.cumsum(relevance.sizes)[:-1])
    for row, roots in zip(queries, own, strict=True):
        coefficients = np.poly(np.repeat(roots, 2))[::-1]  # of t^0, t^1, ...
        row[: len(coefficients) - 1] = -coefficients[1:]  # t^0 is the same for every document
    return t[:, None] ** np.arange(1, width + 1), queries


def _lift(documents: Float64, queries: Float64) -> tuple[Float64, Float64]:
    """The same inner products, scaled for each query, of vectors of length 1."""
    squares = (documents**2).sum(axis=1)
    height = np.sqrt(squares.max() - squares)
    lifted = np.column_stack([documents, height]) / np.sqrt(squares.max())
    flat = np.column_stack([queries, np.zeros(len(queries))])
    return lifted, flat / np.linalg.norm(flat, axis=1, keepdims=True)


def _round(values: Float64, precision: Precision) -> Float64:
    """Values as a precision holds them (to nearest, ties to even)."""
    if precision != "bfloat16":
        return values.astype(precision).astype(np.float64)
    bits = values.astype(np.float32).view(np.uint32)  # bfloat16 is the upper half of float32
    even = ((bits >> 16) & 1) + np.uint32(0x7FFF)
    return ((bits + even) & np.uint32(0xFFFF_0000)).view(np.float32).astype(np.float64)
