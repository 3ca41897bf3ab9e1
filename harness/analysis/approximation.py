"""What a search misses of exact search on the same vectors: neighbours, and relevant documents."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.arrays import Float64, Int32, Int64
from harness.data import Candidates, Qrels
from harness.indexes import scoring
from harness.measures.neighbours import EPSILON, neighbour_recall
from harness.progress import silent
from harness.vectors import Embeddings, Run


def recall(run: Run, truth: Run, k: int, queries: Embeddings, documents: Embeddings) -> Float64:
    """Share of the k nearest that a run holds [q], ties counting however many there are.

    Args:
        run: [q, k], by any scores: an index may search by rounded vectors.
        truth: [q, m], exact search of at least k.
        k: How many are looked at.
        queries: Vectors [q, d].
        documents: Vectors [n, d].
    """
    again = _rescore(run, queries, documents)
    known = Run(np.hstack([truth.docs, again.docs]), np.hstack([truth.scores, again.scores]))
    return neighbour_recall(run, known, k, EPSILON)


def _rescore(run: Run, queries: Embeddings, documents: Embeddings) -> Run:
    """A run's documents with their exact scores [q, k]."""
    found = run.docs >= 0
    indptr = np.concatenate([[0], np.cumsum(found.sum(axis=1))])
    candidates = Candidates(indptr, run.docs[found])
    return scoring.rank(queries, documents, candidates, k=run.docs.shape[1], progress=silent)


def find_lost(
    qrels: Qrels, n: int, exact: Int32, other: Int32
) -> tuple[Int64, Int64, NDArray[np.bool_]]:
    """Relevant documents that one ranking holds and the other does not.

    Args:
        qrels: What is relevant.
        n: Documents of the corpus.
        exact: Documents [q, k] of the one.
        other: Documents [q, k] of the other.

    Returns:
        Of each: the row of its query, its own row, and whether the other leaves that query without
        any relevant document.
    """
    query, doc, before, after = _find_relevant(qrels, n, exact, other)
    gone = before & ~after
    return query[gone], doc[gone], ~np.isin(query[gone], query[after])


def share_lost(qrels: Qrels, n: int, exact: Int32, other: Int32) -> Float64:
    """Share of a query's relevant documents in one ranking that the other lacks [judged queries].

    What the other holds instead makes no difference. Parameters as of `find_lost`.
    """
    query, _, before, after = _find_relevant(qrels, n, exact, other)
    size = len(qrels.judged)
    gone = np.bincount(query[before & ~after], minlength=size)
    return (gone / np.maximum(np.bincount(query[before], minlength=size), 1))[qrels.judged]


def _find_relevant(
    qrels: Qrels, n: int, exact: Int32, other: Int32
) -> tuple[Int64, Int64, NDArray[np.bool_], NDArray[np.bool_]]:
    """Query and document of each relevant pair, and whether either ranking holds it."""
    kept = (qrels.gains > 0) & (qrels.docs >= 0)
    query, doc = qrels.query_rows[kept].astype(np.int64), qrels.docs[kept].astype(np.int64)
    before, after = (np.isin(query * n + doc, _cells(docs, n)) for docs in (exact, other))
    return query, doc, before, after


def _cells(docs: Int32, n: int) -> Int64:
    """A number for each (query, document) of a ranking [q, k]."""
    rows, columns = np.nonzero(docs >= 0)
    return np.asarray(rows * n + docs[rows, columns], np.int64)
