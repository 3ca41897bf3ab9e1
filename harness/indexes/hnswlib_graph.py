"""HNSW graphs of hnswlib, which inserts documents in their own order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from harness.arrays import Float32, Int64
from harness.errors import InputError, reason
from harness.indexes import INDEXES, CountingSearcher, Searcher
from harness.indexes.approximate import Approximate, at_least, load, refuse_too_large, too_narrow
from harness.indexes.exact import load_faiss, longest
from harness.indexes.pairwise import Metric
from harness.progress import Progress, silent
from harness.vectors import Dense, Embeddings, Representation

BLOCK = 1 << 12  # documents inserted between two reports of progress


@INDEXES.register("hnswlib")
@dataclass(frozen=True)
class Hnswlib:
    """HNSW graph of hnswlib, built by one thread in the order of the documents (optional).

    metric: ip for inner product, l2 for Euclidean distance, whose scores are negated squares. seed:
    of the levels that nodes are drawn. Never fewer candidates are kept than results are wanted.
    """

    M: int = 16
    ef_construction: int = 128
    ef_search: int = 64
    metric: Metric = "ip"
    seed: int = 100

    def __post_init__(self) -> None:
        at_least("hnswlib", 2, M=self.M)
        at_least("hnswlib", 1, ef_construction=self.ef_construction, ef_search=self.ef_search)
        at_least("hnswlib", 0, seed=self.seed)

    @property
    def takes(self) -> tuple[Representation, ...]:
        """One vector a text."""
        return ("dense",)

    def require(self, makes: Representation) -> None:
        """Raises InputError where hnswlib or faiss, which scores, is not installed."""
        load("hnswlib", "hnswlib")
        load_faiss()

    def describe(self) -> Mapping[str, object]:
        """Parameters of the build, and the library."""
        return self.structure()

    def structure(self) -> Mapping[str, object]:
        """Parameters of the build, and the library."""
        return {
            "kind": "hnswlib",
            "M": self.M,
            "ef_construction": self.ef_construction,
            "metric": self.metric,
            "seed": self.seed,
            "hnswlib": version("hnswlib"),
        }

    def grow(self, documents: Dense, progress: Progress) -> Any:
        """Insert all documents, one after the other, so that a build repeats.

        Raises InputError for NaN and for what memory will not hold.
        """
        n, d = documents.values.shape
        longest(documents.values)
        refuse_too_large(f"hnswlib over {n:,} vectors", n * (4 * d + 8 * self.M + 24))
        index = load("hnswlib", "hnswlib").Index(self.metric, d)
        index.init_index(n, M=self.M, ef_construction=self.ef_construction, random_seed=self.seed)
        for low in range(0, n, BLOCK):
            block = documents.values[low : low + BLOCK]
            index.add_items(block, np.arange(low, low + len(block)), num_threads=1)
            progress("build", low + len(block), n, "documents")
        return index

    def searcher(self, built: Any, documents: Dense) -> CountingSearcher:
        """The graph, searched with ef_search candidates; what is found is scored exactly."""

        def nearest(queries: Float32, m: int) -> tuple[Int64, Float32, int | None]:
            built.set_ef(max(self.ef_search, m))
            docs = _found(built, queries, m)
            return docs, np.zeros(docs.shape, np.float32), None

        values = np.ascontiguousarray(documents.values, np.float32)
        return Approximate(values, nearest, self.bytes(built), self.metric)

    def build(self, documents: Embeddings) -> Searcher:
        """Build the graph and search it at once."""
        assert isinstance(documents, Dense)
        return self.searcher(self.grow(documents, silent), documents)

    def write(self, built: Any, path: Path) -> None:
        """Write a file of hnswlib. Raises OSError."""
        built.save_index(str(path))
        if path.stat().st_size != built.index_file_size():  # hnswlib itself says nothing
            raise OSError("hnswlib could not write the whole file: is the disk full?")

    def read(self, path: Path) -> Any:
        """Read it. Raises InputError."""
        try:
            header = np.fromfile(path, "<u8", 6)  # where vectors begin and end is in the last two
            index = load("hnswlib", "hnswlib").Index(self.metric, int(header[4] - header[5]) // 4)
            index.load_index(str(path))
        except (RuntimeError, IndexError) as error:
            raise InputError(f"{path}: not an index of this hnswlib: {reason(error)}") from error
        return index

    def bytes(self, built: Any) -> int:
        """Vectors and links."""
        return int(built.index_file_size())

    def warnings(self, k: int) -> tuple[str, ...]:
        """Whether fewer candidates would be kept than results wanted."""
        return too_narrow("hnswlib", self.ef_search, k)


def _found(index: Any, queries: Float32, m: int) -> Int64:
    """Documents [q, m] that a graph reaches, -1 for the rest: hnswlib itself refuses a search that
    reaches fewer than m.
    """
    threads = load_faiss().omp_get_max_threads() if len(queries) > 1 else 1
    try:
        return np.asarray(index.knn_query(queries, m, num_threads=threads)[0], np.int64)
    except RuntimeError:
        if len(queries) > 1:
            return np.concatenate([_found(index, query[None], m) for query in queries])
    least, most = 0, m  # so many are reached, so many are not
    docs = np.full((1, m), -1, np.int64)
    while most - least > 1:
        middle = (least + most) // 2
        try:
            docs[0, :middle] = index.knn_query(queries, middle, num_threads=1)[0][0]
            least = middle
        except RuntimeError:
            most = middle
    return docs
