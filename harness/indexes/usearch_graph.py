"""HNSW graphs of usearch, with vectors that may be rounded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from harness.arrays import Float32, Int64
from harness.errors import InputError
from harness.indexes import INDEXES
from harness.indexes.approximate import Answer
from harness.indexes.faiss_library import search_threads
from harness.indexes.graph import Graph, pad

SIZES = {"f32": 4, "bf16": 2, "i8": 1}  # bytes of a number


@INDEXES.register("usearch")
@dataclass(frozen=True)
class Usearch(Graph):
    """HNSW graph of usearch; dtype f32, bf16 (usearch's default) or i8 (needs the package usearch).

    metric: ip for inner product, cosine, l2 for Euclidean distance, whose scores are negated
    squares; i8 rounds numbers between -1 and 1. Scores of rounded vectors are those of usearch.
    """

    dtype: Literal["f32", "bf16", "i8"] = "f32"

    kind: ClassVar[str] = "usearch"
    module: ClassVar[str] = "usearch.index"
    library: ClassVar[str] = "usearch"

    @property
    def full(self) -> bool:
        """Whether vectors are not rounded."""
        return self.dtype == "f32"

    def check(self, norm: float) -> None:
        """Refuse numbers beyond 1 as i8."""
        if self.dtype == "i8" and norm > 1.001:
            rounds = "dtype=i8 rounds numbers between -1 and 1"
            advice = "choose f32, bf16, or a model that is compared by cosine"
            raise InputError(f"usearch: {rounds}, and a vector is {norm:.3g} long: {advice}")

    def node_bytes(self, dim: int) -> int:
        """Count the vector and the links."""
        return SIZES[self.dtype] * dim + 8 * self.M + 32

    def empty(self, n: int, dim: int) -> Any:
        """Make a graph, which grows as it is filled."""
        metric = "l2sq" if self.metric == "l2" else "ip"
        links = {"connectivity": self.M, "expansion_add": self.ef_construction}
        return self.load_library().Index(ndim=dim, metric=metric, dtype=self.dtype, **links)

    def insert(self, graph: Any, rows: Int64, block: Float32) -> None:
        """Insert documents by one thread."""
        graph.add(rows.astype(np.uint64), block, threads=1)

    def ask(self, built: Any, queries: Float32, m: int) -> Answer:
        """Search the graph, which counts distances."""
        built.expansion_search = min(self.ef_search, len(built))  # another may share it
        found = built.search(queries, m, threads=search_threads(len(queries)))
        counts = found.counts if len(queries) > 1 else None  # of one query, all columns count
        docs, distances = pad(found.keys, found.distances, m, counts)
        return docs, (self.metric == "ip") - distances, int(found.computed_distances)

    def write(self, built: Any, path: Path) -> None:
        """Write a file of usearch."""
        built.save(str(path))

    def read(self, path: Path) -> Any:
        """Read a file of usearch."""
        return self.load_library().Index.restore(str(path))

    def size(self, built: Any) -> int:
        """Count the bytes of vectors and links."""
        return int(built.serialized_length)
