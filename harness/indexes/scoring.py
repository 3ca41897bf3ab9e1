"""Scores of given (query, document) pairs, equal for equal vectors whatever found them.

A reranking task asks for them, and what an index finds is scored so.
"""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
from numpy.typing import NDArray

from harness.arrays import Float32
from harness.data import Candidates
from harness.indexes import maxsim
from harness.indexes.faiss_library import load_faiss, single_thread
from harness.progress import Progress, silent
from harness.vectors import Dense, Embeddings, MultiVector, Run, Sparse, of_kind, ranking
from harness.vectors.lengths import Metric

CELLS = 1 << 16  # pairs scored at a time
FEW = 1 << 11  # pairs that are scored sooner than threads are woken


def rank(
    queries: Embeddings, documents: Embeddings, candidates: Candidates, *, k: int,
    progress: Progress,
) -> Run:  # fmt: skip
    """Rank each query's candidates, by the one ranking rule; exact.

    Args:
        queries: q of them.
        documents: that candidates are rows of.
        candidates: of each query.
        k: results of a query.
        progress: told of candidates scored.

    Returns:
        A run [q, k], or as wide as the most candidates of a query where these are fewer.
    """
    q = len(queries)
    k = min(k, int(np.diff(candidates.indptr).max(initial=1)))
    rows = np.repeat(np.arange(q), np.diff(candidates.indptr))
    found = scores(queries, documents, rows, candidates.docs, progress=progress)
    return ranking.of_cells(rows, candidates.docs, found, q=q, k=k)


def scores(
    queries: Embeddings,
    documents: Embeddings,
    rows: NDArray[np.integer],
    docs: NDArray[np.integer],
    *,
    progress: Progress = silent,
) -> Float32:
    """Score pairs by their inner products or MaxSim, as exact search computes them.

    Args:
        queries: q of them.
        documents: n of them.
        rows: row of the query of each pair [p].
        docs: row of the document of each pair [p].
        progress: told of pairs scored.

    Returns:
        Scores [p].
    """
    found = np.empty(len(rows), np.float32)
    for start in range(0, len(rows), CELLS):
        part = slice(start, start + CELLS)
        found[part] = _scores(queries, documents, rows[part], docs[part])
        progress("search", min(start + CELLS, len(rows)), len(rows), "candidates")
    return found


def _scores(
    queries: Embeddings,
    documents: Embeddings,
    rows: NDArray[np.integer],
    docs: NDArray[np.integer],
) -> Float32:
    if isinstance(queries, Sparse) and isinstance(documents, Sparse):
        products = queries.matrix[rows].multiply(documents.matrix[docs]).tocsr()
        ones = np.ones(products.shape[1], np.float32)
        return np.asarray(products @ ones)  # added term by term; sum(axis=1) has another order
    if isinstance(queries, MultiVector) and isinstance(documents, MultiVector):
        return maxsim.scores(queries, documents, rows.astype(np.int64), docs)
    chosen = np.ascontiguousarray(of_kind(documents, Dense).values[docs])
    asked = np.ascontiguousarray(of_kind(queries, Dense).values)
    return dense(asked, rows, chosen, np.arange(len(docs)))


def dense(
    queries: Float32,
    rows: NDArray[np.integer],
    documents: Float32,
    docs: NDArray[np.integer],
    metric: Metric = "ip",
) -> Float32:
    """Score pairs of dense vectors by a routine that sees nothing but the two vectors.

    Args:
        queries: C-contiguous float32 [q, d].
        rows: row of the query of each pair [p].
        documents: C-contiguous float32 [n, d].
        docs: row of the document of each pair [p], or -1.
        metric: l2 for Euclidean distances, squared and negated; else inner products.

    Returns:
        Scores [p]; -infinity where a row is -1.
    """
    faiss, scores = load_faiss(), np.empty(len(rows), np.float32)
    score = faiss.pairwise_indexed_L2sqr if metric == "l2" else faiss.pairwise_indexed_inner_product
    indices = [np.ascontiguousarray(each, np.int64) for each in (rows, docs)]
    arrays = [faiss.swig_ptr(a) for a in (queries, indices[0], documents, indices[1], scores)]
    with single_thread() if len(rows) < FEW else nullcontext():
        score(queries.shape[1], len(rows), *arrays)
    return -scores if metric == "l2" else scores
