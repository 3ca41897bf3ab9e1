"""HNSW graphs of hnswlib, which inserts documents in their own order."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from harness.arrays import Float32, Int64
from harness.indexes import INDEXES
from harness.indexes.approximate import Answer, at_least
from harness.indexes.faiss_library import search_threads
from harness.indexes.graph import Graph, reach


@INDEXES.register("hnswlib")
@dataclass(frozen=True)
class Hnswlib(Graph):
    """HNSW graph of hnswlib, built by one thread in document order (needs the package hnswlib).

    metric: ip for inner product, cosine, l2 for Euclidean distance, whose scores are negated
    squares. seed: of the levels that nodes are drawn. Never fewer candidates are kept than results
    are wanted.
    """

    seed: int = 100

    kind: ClassVar[str] = "hnswlib"
    module: ClassVar[str] = "hnswlib"
    library: ClassVar[str] = "hnswlib"

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(self.kind, 0, seed=self.seed)

    def node_bytes(self, dim: int) -> int:
        """Count the vector and the links."""
        return 4 * dim + 8 * self.M + 24

    def empty(self, n: int, dim: int) -> Any:
        """Make a graph for n documents."""
        graph = self.load_library().Index(self.metric, dim)
        graph.init_index(n, M=self.M, ef_construction=self.ef_construction, random_seed=self.seed)
        return graph

    def insert(self, graph: Any, rows: Int64, block: Float32) -> None:
        """Insert documents by one thread."""
        graph.add_items(block, rows, num_threads=1)

    def ask(self, built: Any, queries: Float32, m: int) -> Answer:
        """Search the graph, which tells no distances."""
        ef = max(min(self.ef_search, built.get_current_count()), m)
        built.set_ef(ef)  # another searcher may share the graph

        def nearest(queries: Float32, m: int) -> Int64:
            threads = search_threads(len(queries))
            return np.asarray(built.knn_query(queries, m, num_threads=threads)[0], np.int64)

        docs = reach(nearest, queries, m)
        return docs, np.zeros(docs.shape, np.float32), None

    def write(self, built: Any, path: Path) -> None:
        """Write a file of hnswlib."""
        built.save_index(str(path))
        if path.stat().st_size != built.index_file_size():  # hnswlib itself says nothing
            raise OSError("hnswlib could not write the whole file: is the disk full?")

    def read(self, path: Path) -> Any:
        """Read a file of hnswlib."""
        header = np.fromfile(path, "<u8", 6)  # where vectors begin and end is in the last two
        graph = self.load_library().Index(self.metric, int(header[4] - header[5]) // 4)
        graph.load_index(str(path))
        return graph

    def size(self, built: Any) -> int:
        """Count the bytes of vectors and links."""
        return int(built.index_file_size())
