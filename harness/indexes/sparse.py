"""Exact search over sparse vectors, by blocked sparse products."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from harness.errors import InputError
from harness.progress import Progress
from harness.vectors import Embeddings, Run, Sparse, ranking

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

CELLS = 1 << 23  # products of one batch of queries, at most


def checked(vectors: Embeddings, width: int, whose: str) -> csr_matrix:
    """Sparse vectors as a matrix. whose: "document" or "query".

    Raises InputError for NaN, infinity and a width that is not that of the documents.
    """
    assert isinstance(vectors, Sparse)
    if vectors.width != width:
        raise InputError(
            f"queries have {vectors.width:,} terms and documents {width:,}: expected one vocabulary"
        )
    if not np.isfinite(vectors.matrix.data).all():
        raise InputError(f"a {whose}'s sparse vector holds NaN or infinity")
    return vectors.matrix


@dataclass(frozen=True)
class SparseSearcher:
    """inverted: CSR [v, n], the documents of each term."""

    inverted: csr_matrix

    @classmethod
    def of(cls, documents: Sparse) -> SparseSearcher:
        """Turn documents into posting lists. Raises InputError for NaN or infinity."""
        return cls(checked(documents, documents.width, "document").T.tocsr())

    def search(self, queries: Embeddings, k: int, progress: Progress) -> Run:
        """The k best documents of each query; one that scores 0 (no term shared) is no result."""
        v, n = self.inverted.shape
        q, matrix = len(queries), checked(queries, v, "query")
        keys = np.zeros((q, k), np.uint64)
        batch = max(1, CELLS // max(n, 1))
        for start in range(0, q, batch):
            products = (matrix[start : start + batch] @ self.inverted).tocsr()
            for row in range(products.shape[0]):
                part = slice(products.indptr[row], products.indptr[row + 1])
                if part.start < part.stop:
                    packed = ranking.pack(products.data[part], products.indices[part])
                    keys[start + row] = ranking.best(packed[None, :], k)[0]
            progress("search", min(start + batch, q), q, "queries")
        return ranking.unpack(keys)
