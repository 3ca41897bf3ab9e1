"""Scores of given (query, document) pairs: what a reranking task asks for."""

from __future__ import annotations

import numpy as np

from harness import ranking
from harness.indexes import maxsim
from harness.indexes.exact import load_faiss
from harness.types import (
    Candidates,
    Dense,
    Embeddings,
    Float32,
    Int32,
    Int64,
    MultiVector,
    Progress,
    Run,
    Sparse,
)

CELLS = 1 << 16  # pairs scored at a time


def rank(
    queries: Embeddings, documents: Embeddings, candidates: Candidates, *, k: int,
    progress: Progress,
) -> Run:  # fmt: skip
    """The k best of each query's candidates, by the one ranking rule; exact.

    A run [q, k], or as wide as the most candidates of a query where these are fewer.
    """
    q = len(queries)
    k = min(k, int(np.diff(candidates.indptr).max(initial=1)))
    rows = np.repeat(np.arange(q), np.diff(candidates.indptr))
    scores = np.empty(len(rows), np.float32)
    for start in range(0, len(rows), CELLS):
        part = slice(start, start + CELLS)
        scores[part] = _products(queries, documents, rows[part], candidates.docs[part])
        progress("search", min(start + CELLS, len(rows)), len(rows), "candidates")
    return ranking.of_cells(rows, candidates.docs, scores, q=q, k=k)


def _products(
    queries: Embeddings, documents: Embeddings, rows: Int64, docs: Int32
) -> Float32:
    """Inner products [p], as exact search computes them."""
    if isinstance(queries, Sparse) and isinstance(documents, Sparse):
        products = queries.matrix[rows].multiply(documents.matrix[docs])
        return np.asarray(products.sum(axis=1), np.float32).ravel()
    if isinstance(queries, MultiVector) and isinstance(documents, MultiVector):
        return maxsim.scores(queries, documents, rows, docs)
    assert isinstance(queries, Dense)
    assert isinstance(documents, Dense)
    faiss = load_faiss()
    chosen = np.ascontiguousarray(documents.values[docs])
    values = np.ascontiguousarray(queries.values)
    each, scores = np.arange(len(docs)), np.empty(len(docs), np.float32)
    arrays = [faiss.swig_ptr(array) for array in (values, rows, chosen, each, scores)]
    faiss.pairwise_indexed_inner_product(values.shape[1], len(docs), *arrays)
    return scores
