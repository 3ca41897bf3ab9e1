"""What approximate indexes share: the search itself, and what is checked beforehand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from harness.arrays import Float32, Int64
from harness.disk import memory
from harness.errors import InputError
from harness.indexes import Found, IndexInfo, scoring
from harness.progress import Progress
from harness.vectors import Embeddings, ranking
from harness.vectors.lengths import Extent, Metric, check_documents, check_queries

QUERIES = 1024  # searched with at a time
MOST = 2**31 - 1  # as libraries count

Answer = tuple[Int64, Float32, int | None]
"""Documents int64 [q, m], -1 where there is none; scores [q, m], the higher the nearer; and the
distances computed, where the library tells."""
Nearest = Callable[[Float32, int], Answer]
"""A structure's answer to queries [q, d] and m."""


@dataclass(frozen=True)
class Approximate:
    """A structure and how it is asked, with the one ranking rule on top.

    Attributes:
        documents: float32 [n, d], C-contiguous.
        nearest: asks the structure.
        info: size and origin of what is searched.
        metric: what `documents` are scored by.
        rescore: whether what is found is scored by `documents`, as exact search does; else scores
            are the structure's.
        oversample: results asked of the structure, as a multiple of k.
    """

    documents: Float32
    nearest: Nearest
    info: IndexInfo
    metric: Metric = "ip"
    rescore: bool = True
    oversample: int = 1

    @cached_property
    def extent(self) -> Extent:
        """How long the documents are."""
        return check_documents(self.documents)

    def search(self, queries: Embeddings, k: int, progress: Progress) -> Found:
        """Find the k best documents of each query [q, k]; padded where fewer are found."""
        n, d = self.documents.shape
        values, _ = check_queries(queries, d, self.extent, self.metric)
        q, counted = len(values), list[int | None]()
        keys = np.zeros((q, k), np.uint64)
        for low in range(0, q, QUERIES):
            part = values[low : low + QUERIES]
            docs, scores, distances = self.nearest(part, min(k * self.oversample, n))
            if self.rescore:
                rows = np.repeat(np.arange(len(part)), docs.shape[1])
                flat = scoring.dense(part, rows, self.documents, docs.ravel(), self.metric)
                scores = flat.reshape(docs.shape)
            keys[low : low + QUERIES] = ranking.best(ranking.pack(scores, docs), k)
            counted.append(distances)
            progress("search", min(low + QUERIES, q), q, "queries")
        return Found(ranking.unpack(keys), total(counted))


def total(counts: list[int | None]) -> int | None:
    """Add up counts; None where one of them is not known."""
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None


def at_least(spec: str, least: int, most: int = MOST, **values: int | None) -> None:
    """Check parameters of an index.

    Args:
        spec: that an error names.
        least: what each is to be at least.
        most: and at most.
        values: by name; None is not given.

    Raises:
        InputError: for one that is smaller or larger.
    """
    for name, value in values.items():
        if value is not None and value < least:
            raise InputError(f"{spec}: {name}={value}: expected at least {least}")
        if value is not None and value > most:
            raise InputError(f"{spec}: {name}={value}: expected at most {most:,}")


def too_narrow(name: str, ef: int, k: int, then: str = "") -> tuple[str, ...]:
    """Note that a graph is searched for more results than its list of candidates holds."""
    then = then or f"it searches with {k:,}"
    line = f"{name} has ef_search={ef:,}, less than the {k:,} results wanted: {then}"
    return (line,) if ef < k else ()


def refuse_too_large(what: str, needed: float) -> None:
    """Check that a structure of so many bytes fits into the memory that is free.

    Raises:
        InputError: where it does not.
    """
    free = memory.available_memory()
    if needed > free:
        raise InputError(
            f"{what} needs about {needed / 1e9:,.1f} GB of memory and {free / 1e9:,.1f} GB are "
            "free: choose a compressed index (faiss:IVF1024_SQ8), fewer dimensions or documents"
        )
