"""Recall of neighbours: what an approximate search finds of the nearest, one number a query.

Documents that lie equally near are equally right, so ties beyond the k-th count, as in
big-ann-benchmarks, which takes scores within 1e-6 for equal. (ann-benchmarks takes 1e-3, which
flatters vectors of length 1, whose scores lie close together.)
"""

from __future__ import annotations

import numpy as np

from harness.arrays import Float64
from harness.errors import InputError
from harness.vectors import Run
from harness.wording import count

EPSILON = 1e-6
"""Scores of vectors of length 1 that differ by no more are equal but for rounding."""


def neighbour_recall(approximate: Run, exact: Run, k: int, epsilon: float = 0.0) -> Float64:
    """Share of the k nearest documents that is found [q], of all where there are fewer than k.

    approximate: [q, a], of which the first k count, by id alone: its scores are not looked at.
    exact: [q, m], the k best first. Columns beyond the k-th are further documents with exact
    scores, in any order: one whose score is at least the k-th less epsilon is as good as found
    among the k. A document that is not listed never is.

    A query with nothing to find has missed nothing: 1. Raises InputError for k below 1 and for
    runs of different queries.
    """
    if k < 1:
        raise InputError(f"recall of k={k} neighbours: expected at least 1")
    if len(approximate.docs) != len(exact.docs):
        raise InputError(
            f"neighbours of {len(approximate.docs)} and of {count(len(exact.docs), 'query')}: "
            "expected the same queries"
        )
    found, rows = approximate.docs[:, :k], np.arange(len(exact.docs))
    nearest = np.count_nonzero(exact.docs[:, :k] >= 0, axis=1)
    last = exact.scores[rows, np.maximum(nearest - 1, 0)].astype(np.float64)
    enough = (exact.docs >= 0) & (exact.scores >= (last - epsilon)[:, None])
    width = max(found.max(initial=0), exact.docs.max(initial=0)) + np.int64(1)
    wanted = (rows[:, None] * width + exact.docs)[enough]
    given = np.unique((rows[:, None] * width + found)[found >= 0])  # a document counts once
    hits = np.bincount(given[np.isin(given, wanted)] // width, minlength=len(rows))
    return np.where(nearest > 0, hits / np.maximum(nearest, 1), 1.0)


def neighbour_overlap(approximate: Run, exact: Run, k: int) -> Float64:
    """The same by id alone [q]: a tie beyond the k-th does not count."""
    return neighbour_recall(approximate, Run(exact.docs[:, :k], exact.scores[:, :k]), k)
