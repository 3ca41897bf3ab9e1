"""RM3: terms of the first results join a query, weighted by a relevance model.

After Lavrenko and Croft 2001 (the relevance model, RM1) and Abdul-Jaleel et al. 2004 (its mixture
with the query, RM3). With c(w, D) the count of term w in document D and s(D, Q) its score:

    P(w|D) = c(w, D) / sum_v c(v, D)             maximum likelihood, not smoothed
    P(D|Q) = s(D, Q) / sum_D' s(D', Q)           over the first `depth` results that score above 0
    P(w|R) = sum_D P(w|D) P(D|Q)                 its `terms` largest, then scaled to sum 1
    q'     = weight c(w, Q) / |Q| + (1 - weight) P(w|R)

Terms are those of the encoder: stems, stop words gone, and of a query only those that the corpus
knows. No term is left out for its length or its document frequency.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from harness.arrays import Float32, Int32
from harness.parameters import check_range
from harness.progress import Progress
from harness.rewriting import REWRITERS, Feedback
from harness.vectors import Embeddings, Representation, Run, Sparse, of_kind

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

QUERIES = 512  # whose terms are ranked at a time


@REWRITERS.register("rm3")
@dataclass(frozen=True)
class RM3(Feedback):
    """RM3, for bm25: add terms of the first depth results; weight is that of the original query.

    The defaults are Anserini's.
    """

    accepts: ClassVar[tuple[Representation, ...]] = ("sparse",)
    counts: ClassVar[bool] = True
    depth: int = 10
    terms: int = 10
    weight: float = 0.5

    def __post_init__(self) -> None:
        sizes = {"depth": (self.depth, 1, inf), "terms": (self.terms, 1, inf)}
        check_range("rm3", **sizes, weight=(self.weight, 0, 1))

    def expand(
        self, queries: Embeddings, documents: Embeddings, run: Run, progress: Progress
    ) -> Sparse:
        """Weigh the terms of each query anew.

        Args:
            queries: Term counts [q, v].
            documents: Term counts [n, v].
            run: The first search.
            progress: Told how far it is.

        Returns:
            Term weights [q, v], which sum to 1. A query without results that score above 0 keeps
            its own terms alone.
        """
        from scipy.sparse import vstack

        terms, corpus = of_kind(queries, Sparse).matrix, of_kind(documents, Sparse).matrix
        total, parts = len(queries), []
        for start in range(0, total, QUERIES):
            rows = slice(start, start + QUERIES)
            own = _distribution(terms[rows].astype(np.float64))
            model = _relevance_model(
                corpus, run.docs[rows, : self.depth], run.scores[rows, : self.depth]
            )
            model = _distribution(_largest(model, self.terms))
            weight = np.where(np.diff(model.indptr), self.weight, 1.0)
            part = own.multiply(weight[:, None]) + model.multiply(1 - weight[:, None])
            parts.append(part.tocsr().astype(np.float32))
            progress("feedback", min(start + QUERIES, total), total, "queries")
        expanded = vstack(parts, "csr")
        expanded.eliminate_zeros()
        return Sparse(expanded)


def _relevance_model(counts: csr_matrix, docs: Int32, scores: Float32) -> csr_matrix:
    """P(w|R) of each query: float64 [q, v]. docs, scores: [q, k]."""
    from scipy.sparse import csr_matrix

    row, rank = np.nonzero((docs >= 0) & (scores > 0))
    chosen, column = np.unique(docs[row, rank], return_inverse=True)
    likelihood = _distribution(counts[chosen].astype(np.float64))
    score = scores[row, rank].astype(np.float64)
    weights = csr_matrix((score, (row, column)), shape=(len(docs), len(chosen)))
    return _distribution(weights) @ likelihood


def _distribution(matrix: csr_matrix) -> csr_matrix:
    """Rows scaled to sum 1, in place; a row of zeros stays."""
    sums = np.asarray(matrix.sum(axis=1)).ravel()
    matrix.data /= np.repeat(np.where(sums, sums, 1), np.diff(matrix.indptr))
    return matrix


def _largest(matrix: csr_matrix, terms: int) -> csr_matrix:
    """The largest entries of each row, ties by the lower column, compared as float32.

    What was summed in another order is equal there.
    """
    from scipy.sparse import csr_matrix

    lengths = np.diff(matrix.indptr)
    row = np.repeat(np.arange(len(lengths)), lengths)
    order = np.lexsort((matrix.indices, -matrix.data.astype(np.float32), row))
    rank = np.arange(len(row)) - np.repeat(matrix.indptr[:-1], lengths)
    kept = order[rank < terms]
    return csr_matrix((matrix.data[kept], (row[kept], matrix.indices[kept])), shape=matrix.shape)
