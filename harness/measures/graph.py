"""How entangled judgments are: the graph that shared relevant documents draw between queries.

Average query strength and graph density after Weller et al. 2025 (arXiv 2508.21038, appendix F),
whose published numbers are those of queries joined by documents, not of documents joined by
queries; the latter is here under its own name.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from math import comb
from typing import Any

import numpy as np

from harness.data import Qrels
from harness.progress import Progress, silent

BLOCK = 2**22  # shared documents counted at a time, beside those of one row: bounds memory


@dataclass(frozen=True)
class QrelGraph:
    """Two graphs over the judgments whose gain is above 0.

    queries: those with at least one relevant document; only they are nodes. strength: the mean
    over them of the sum, over the others, of the Jaccard similarity of the relevant sets. density:
    the share of pairs of them with a relevant document in common. documents: those relevant to any
    query. document_density: the share of pairs of them that some query finds both relevant.
    Each number is 0 where there is no pair.
    """

    queries: int
    documents: int
    strength: float
    density: float
    document_density: float


def qrel_graph(qrels: Qrels, *, progress: Progress = silent) -> QrelGraph:
    """The graphs of judgments, in memory that grows with the judgments, not with q x q.

    A document that the corpus does not hold has lost its id, so each of its judgments counts as a
    document of its own.
    """
    held = _build_incidence(qrels)
    queries, documents = held.shape
    sizes = np.diff(held.indptr)
    strength = 0.0
    edges = 0
    for start, shared in _count_shared(held, "query graph", progress):
        rows = start + np.repeat(np.arange(shared.shape[0]), np.diff(shared.indptr))
        others = shared.indices != rows
        rows, columns, both = rows[others], shared.indices[others], shared.data[others]
        strength += float((both / (sizes[rows] + sizes[columns] - both)).sum())
        edges += len(both)
    pairs = sum(
        shared.nnz - shared.shape[0]
        for _, shared in _count_shared(held.T.tocsr(), "document graph", progress)
    )
    return QrelGraph(
        queries,
        documents,
        strength / max(queries, 1),
        edges / max(2 * comb(queries, 2), 1),
        pairs / max(2 * comb(documents, 2), 1),
    )


def _build_incidence(qrels: Qrels) -> Any:
    """Which query has which relevant document: CSR of ones [queries, documents], none empty."""
    from scipy.sparse import csr_matrix

    relevant = qrels.gains > 0
    docs = qrels.docs[relevant].astype(np.int64)
    unknown = docs < 0
    docs[unknown] = docs.max(initial=0) + 1 + np.arange(unknown.sum())
    rows, columns = (
        np.unique(ids, return_inverse=True)[1] for ids in (qrels.query_rows[relevant], docs)
    )
    shape = (rows.max(initial=-1) + 1, columns.max(initial=-1) + 1)
    return csr_matrix((np.ones(len(rows), np.int32), (rows, columns)), shape=shape)


def _count_shared(held: Any, stage: str, progress: Progress) -> Iterator[tuple[int, Any]]:
    """How many columns each row has in common with each: a first row and a CSR block from it on."""
    columns = held.T.tocsr()
    cost = np.cumsum(held @ np.diff(columns.indptr).astype(np.int64))
    starts = np.flatnonzero(np.diff(cost // BLOCK, prepend=-1))
    for start, end in pairwise([*starts.tolist(), held.shape[0]]):
        yield start, held[start:end] @ columns
        progress(stage, end, held.shape[0], "rows")
