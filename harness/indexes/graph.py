"""What HNSW graphs of libraries share: a graph is filled block by block, kept and searched."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from harness.arrays import Float32, Int64
from harness.errors import InputError, reason
from harness.indexes import IndexInfo, Searcher
from harness.indexes.approximate import (
    Answer,
    Approximate,
    at_least,
    refuse_too_large,
    too_narrow,
)
from harness.indexes.faiss_library import load_faiss
from harness.indexes.saved import FileIndex
from harness.optional import load
from harness.progress import Progress
from harness.vectors import Dense, Embeddings, Representation, of_kind
from harness.vectors.lengths import Metric, check_documents

BLOCK = 1 << 12  # documents inserted between two reports of progress


@dataclass(frozen=True)
class Graph(FileIndex):
    """An HNSW graph of a library, whose results are scored by the documents' full vectors.

    A library says how a graph is made (`empty`, `insert`), asked, written and read.
    """

    M: int = 16
    ef_construction: int = 128
    ef_search: int = 64
    metric: Metric = "ip"

    module: ClassVar[str]  # that the library is imported by
    search_only: ClassVar[tuple[str, ...]] = ("ef_search",)

    def __post_init__(self) -> None:
        at_least(self.kind, 2, M=self.M)
        at_least(self.kind, 1, ef_construction=self.ef_construction, ef_search=self.ef_search)

    @property
    def full(self) -> bool:
        """Whether vectors are not rounded, and scores those of exact search."""
        return True

    def load_library(self) -> Any:
        """Import the library."""
        return load(self.module, self.library)

    def require(self, representation: Representation) -> None:
        """Check that the library and faiss, which scores, are installed."""
        self.load_library()
        load_faiss()

    def notes(self, k: int) -> tuple[str, ...]:
        """Tell whether fewer candidates are kept than results wanted."""
        return too_narrow(self.kind, self.ef_search, k)

    def by_product(self) -> FileIndex | None:
        """Give the same index by inner product, where this one compares by cosine."""
        return replace(self, metric="ip") if self.metric == "cosine" else None

    @abstractmethod
    def node_bytes(self, dim: int) -> int:
        """Count the bytes that a document takes in the graph."""

    @abstractmethod
    def empty(self, n: int, dim: int) -> Any:
        """Make a graph for n documents."""

    @abstractmethod
    def insert(self, graph: Any, rows: Int64, block: Float32) -> None:
        """Insert documents [b, d] with the rows that they have in the corpus [b]."""

    @abstractmethod
    def ask(self, built: Any, queries: Float32, m: int) -> Answer:
        """Search the graph with ef_search candidates."""

    @abstractmethod
    def write(self, built: Any, path: Path) -> None:
        """Write the graph as the library does; it may raise RuntimeError."""

    @abstractmethod
    def read(self, path: Path) -> Any:
        """Read the graph as the library does; it may raise RuntimeError, ValueError, IndexError."""

    def check(self, norm: float) -> None:
        """Check the largest norm of a document. Raises InputError."""

    def make(self, documents: Embeddings, progress: Progress) -> Any:
        """Insert all documents, one after the other, so that a build repeats."""
        values = of_kind(documents, Dense).values
        n, dim = values.shape
        self.check(check_documents(values).most)
        refuse_too_large(f"{self.kind} over {n:,} vectors", n * self.node_bytes(dim))
        graph = self.empty(n, dim)
        for low in range(0, n, BLOCK):
            block = np.ascontiguousarray(values[low : low + BLOCK], np.float32)
            self.insert(graph, np.arange(low, low + len(block)), block)
            progress("build", low + len(block), n, "documents")
        return graph

    def searcher(self, built: Any, documents: Embeddings) -> Searcher:
        """Wrap the graph; what is found is scored exactly where its vectors are full."""
        values = np.ascontiguousarray(of_kind(documents, Dense).values, np.float32)
        info = IndexInfo(self.size(built))
        return Approximate(values, partial(self.ask, built), info, self.metric, rescore=self.full)

    def save(self, built: Any, path: Path) -> None:
        """Write the library's file."""
        try:
            self.write(built, path)
        except RuntimeError as error:
            raise OSError(reason(error)) from error

    def load(self, path: Path) -> Any:
        """Read the library's file."""
        try:
            return self.read(path)
        except (RuntimeError, ValueError, IndexError) as error:
            where = f"{path}: not an index of this {self.library}"
            raise InputError(f"{where}: {reason(error)}") from error


def pad(docs: Int64, scores: Float32, m: int, counts: Int64 | None) -> tuple[Int64, Float32]:
    """Widen what a library returned to [q, m], with -1 where there is no document.

    Args:
        docs: Documents [q, r], or [r] of a single query.
        scores: Theirs, of the same shape.
        m: Results of a query.
        counts: How many columns count [q]; None for all.
    """
    docs, scores = np.atleast_2d(docs), np.atleast_2d(scores)
    wide = np.full((len(docs), m), -1, np.int64)
    values = np.zeros(wide.shape, np.float32)
    wide[:, : docs.shape[1]], values[:, : docs.shape[1]] = docs, scores
    if counts is not None:
        beyond = np.arange(m) >= counts[:, None]
        wide[beyond], values[beyond] = -1, 0  # where a library leaves anything, NaN too
    return wide, values


def reach(nearest: Callable[[Float32, int], Int64], queries: Float32, m: int) -> Int64:
    """Find as many documents as a graph reaches, where its library refuses to return fewer than m.

    Args:
        nearest: Asks the library for the m nearest documents of queries [q, d]; RuntimeError where
            it reaches fewer.
        queries: [q, d].
        m: Documents of a query, at most.

    Returns:
        Documents [q, m], -1 for the rest.
    """
    try:
        return nearest(queries, m)
    except RuntimeError:
        if len(queries) > 1:
            return np.concatenate([reach(nearest, query[None], m) for query in queries])
    least, most = 0, m  # so many are reached, so many are not
    docs = np.full((1, m), -1, np.int64)
    while most - least > 1:
        middle = (least + most) // 2
        try:
            docs[0, :middle] = nearest(queries, middle)[0]
            least = middle
        except RuntimeError:
            most = middle
    return docs
