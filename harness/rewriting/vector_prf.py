"""Pseudo-relevance feedback on dense vectors: a query moves towards its first results.

After Li et al. 2023, "Pseudo Relevance Feedback with Deep Language Models and Dense Retrievers".
The new vectors are not normalised: the length of a query does not change its ranking.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import ClassVar

import numpy as np

from harness.arrays import Float64, Int32
from harness.errors import InputError
from harness.parameters import check_range
from harness.progress import Progress
from harness.rewriting import REWRITERS, Feedback
from harness.vectors import Dense, Embeddings, Representation, Run, of_kind


@REWRITERS.register("average")
@dataclass(frozen=True)
class Average(Feedback):
    """Mean of a query's vector and those of its first depth results (Vector-PRF)."""

    accepts: ClassVar[tuple[Representation, ...]] = ("dense",)
    depth: int = 3

    def __post_init__(self) -> None:
        check_range("average", depth=(self.depth, 1, inf))

    def expand(
        self, queries: Embeddings, documents: Embeddings, run: Run, progress: Progress
    ) -> Dense:
        """Return mean(q, d1 .. dn) for each query, n <= depth of them found: float32 [q, d]."""
        docs = run.docs[:, : self.depth]
        each = 1 / (1 + _count_found(docs))
        return _move(queries, documents, docs, progress, own=each, each=each)


@REWRITERS.register("rocchio")
@dataclass(frozen=True)
class Rocchio(Feedback):
    """Search again with alpha * query + beta * mean of the first depth results (Vector-PRF)."""

    accepts: ClassVar[tuple[Representation, ...]] = ("dense",)
    depth: int = 5
    alpha: float = 0.4
    beta: float = 0.6

    def __post_init__(self) -> None:
        weights = {"alpha": (self.alpha, 0, inf), "beta": (self.beta, 0, inf)}
        check_range("rocchio", depth=(self.depth, 1, inf), **weights)
        if not self.alpha and not self.beta:
            raise InputError("rocchio: alpha=0 and beta=0 leave no query: raise one of them")

    def expand(
        self, queries: Embeddings, documents: Embeddings, run: Run, progress: Progress
    ) -> Dense:
        """Return alpha q + beta mean(d1 .. dn), n <= depth of them found: float32 [q, d]."""
        docs = run.docs[:, : self.depth]
        found = _count_found(docs)
        own, each = np.full_like(found, self.alpha), self.beta / np.maximum(found, 1)
        return _move(queries, documents, docs, progress, own=own, each=each)


def _count_found(docs: Int32) -> Float64:
    """[q]: how many of a query's documents [q, k] are there."""
    found: Float64 = np.count_nonzero(docs >= 0, axis=1).astype(np.float64)
    return found


def _move(
    queries: Embeddings,
    documents: Embeddings,
    docs: Int32,
    progress: Progress,
    *,
    own: Float64,
    each: Float64,
) -> Dense:
    """The query times own [q] plus every one of its documents docs [q, k] times each [q]."""
    found = of_kind(documents, Dense).values
    moved = of_kind(queries, Dense).values * own[:, None].astype(np.float32)
    for rank in range(docs.shape[1]):
        rows = np.flatnonzero(docs[:, rank] >= 0)
        share = each[rows, None].astype(np.float32)
        moved[rows] += share * found[docs[rows, rank]]
        progress("feedback", rank + 1, docs.shape[1], "ranks")
    return Dense(moved)
