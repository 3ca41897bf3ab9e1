"""Exact search over sparse vectors, by blocked sparse products."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from harness.errors import InputError
from harness.indexes import Found, IndexInfo
from harness.progress import Progress
from harness.vectors import Embeddings, Sparse, of_kind, ranking
from harness.vectors.lengths import Extent

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

CELLS = 1 << 23  # products of one batch of queries, at most


def check_sparse(vectors: Embeddings, dim: int, whose: str) -> csr_matrix:
    """Check sparse vectors.

    Args:
        vectors: n of them.
        dim: terms of the documents' vocabulary.
        whose: "document" or "query".

    Returns:
        Their matrix [n, dim].

    Raises:
        InputError: for NaN, infinity and another vocabulary than that of the documents.
    """
    vectors = of_kind(vectors, Sparse)
    if vectors.dim != dim:
        raise InputError(
            f"queries have {vectors.dim:,} terms and documents {dim:,}: expected one vocabulary"
        )
    broken = np.flatnonzero(~np.isfinite(vectors.matrix.data))
    if len(broken):
        row = np.searchsorted(vectors.matrix.indptr, broken[0], side="right") - 1
        raise InputError(f"a {whose}'s sparse vector holds NaN or infinity: that of row {row}")
    return vectors.matrix


@dataclass(frozen=True)
class SparseSearcher:
    """inverted: CSR [v, n], the documents of each term."""

    inverted: csr_matrix
    info: IndexInfo

    @classmethod
    def of(cls, documents: Sparse) -> SparseSearcher:
        """Turn documents into posting lists. Raises InputError for NaN or infinity."""
        inverted = check_sparse(documents, documents.dim, "document").T.tocsr()
        return cls(inverted, IndexInfo(documents.bytes, exact=True))

    @cached_property
    def extent(self) -> Extent:
        """How large weights of documents are."""
        return Extent.of(np.abs(self.inverted.data))

    def search(self, queries: Embeddings, k: int, progress: Progress) -> Found:
        """Find the k best of each query; one that scores 0 (no term shared) is no result."""
        v, n = self.inverted.shape
        q, matrix = len(queries), check_sparse(queries, v, "query")
        self.extent.check(np.abs(matrix.data), rows=np.repeat(np.arange(q), np.diff(matrix.indptr)))
        keys = np.zeros((q, k), np.uint64)
        batch = max(1, CELLS // max(n, 1))
        for start in range(0, q, batch):
            products = (matrix[start : start + batch] @ self.inverted).tocsr()
            if len(broken := np.flatnonzero(~np.isfinite(products.data))):
                row = start + np.searchsorted(products.indptr, broken[0], side="right") - 1
                raise InputError(f"scores of query row {row} are beyond float32: scale the weights")
            for row in range(products.shape[0]):
                part = slice(products.indptr[row], products.indptr[row + 1])
                if part.start < part.stop:
                    packed = ranking.pack(products.data[part], products.indices[part])
                    keys[start + row] = ranking.best(packed[None, :], k)[0]
            progress("search", min(start + batch, q), q, "queries")
        return Found(ranking.unpack(keys))
