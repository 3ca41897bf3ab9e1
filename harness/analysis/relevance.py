"""Which documents are relevant to which queries, without texts: all k-subsets, or a task's own."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from itertools import chain, combinations
from math import comb

import numpy as np

from harness.arrays import Int64
from harness.data import Qrels
from harness.disk.memory import available_memory
from harness.errors import InputError


@dataclass(frozen=True)
class Relevance:
    """Binary relevance: document `doc[i]` is relevant to query `query[i]`.

    Attributes:
        label: Names the matrix, equal for equal matrices.
        query: [p], ascending; every query occurs.
        doc: [p]; every document occurs.
    """

    label: str
    query: Int64
    doc: Int64

    @property
    def queries(self) -> int:
        """Number of queries."""
        return int(self.query[-1]) + 1

    @property
    def documents(self) -> int:
        """Number of documents."""
        return int(self.doc.max()) + 1

    @property
    def sizes(self) -> Int64:
        """[queries]: relevant documents of each query."""
        return np.bincount(self.query)


def subsets(n: int, k: int) -> Relevance:
    """Ask a query for each of the C(n, k) subsets of k out of n documents.

    Raises:
        InputError: unless 1 <= k < n and the subsets fit into memory.
    """
    if not 1 <= k < n:
        raise InputError(f"subsets of k={k} out of n={n} documents: expected 1 <= k < n")
    count = comb(n, k)
    what = f"the {count:,} subsets of k={k} out of n={n} documents"
    require_room(16 * k * count, available_memory(), what)
    doc = np.fromiter(chain.from_iterable(combinations(range(n), k)), np.int64, count * k)
    return Relevance(f"n{n}-k{k}", np.repeat(np.arange(count), k), doc)


def take_judged(qrels: Qrels) -> Relevance:
    """Take the queries and documents that some judgment (gain above 0) connects, renumbered.

    What is relevant to nothing is left out: one more dimension, in which all queries are positive
    and it alone is negative, ranks it below the rest.

    Raises:
        InputError: where nothing is relevant.
    """
    kept = (qrels.gains > 0) & (qrels.docs >= 0)
    if not kept.any():
        raise InputError("no document of the task is relevant to any query: nothing to return")
    query = np.unique(qrels.query_rows[kept], return_inverse=True)[1]
    doc = np.unique(qrels.docs[kept], return_inverse=True)[1].astype(np.int64)
    digest = hashlib.sha256(np.stack([query, doc]).tobytes()).hexdigest()[:12]
    return Relevance(f"qrels-{digest}", query, doc)


def require_room(needed: int, free: int, what: str) -> None:
    """Refuse what needs more bytes than are free. Raises InputError."""
    if needed > free:
        raise InputError(
            f"{what} need {needed / 1e9:,.1f} GB of memory, {free / 1e9:,.1f} GB are free: "
            "choose fewer documents, a smaller k or a larger machine"
        )
