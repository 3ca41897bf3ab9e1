"""HNSW graphs of usearch, with vectors that may be rounded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

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
SIZES = {"f32": 4, "bf16": 2, "i8": 1}  # bytes of a number


@INDEXES.register("usearch")
@dataclass(frozen=True)
class Usearch:
    """HNSW graph of usearch, built by one thread; dtype bf16 as usearch does, f32 or i8 (optional).

    metric: ip for inner product, l2 for Euclidean distance, whose scores are negated squares; i8
    rounds numbers between -1 and 1. Scores of rounded vectors are those of usearch.
    """

    M: int = 16
    ef_construction: int = 128
    ef_search: int = 64
    dtype: Literal["f32", "bf16", "i8"] = "f32"
    metric: Metric = "ip"

    def __post_init__(self) -> None:
        at_least("usearch", 2, M=self.M)
        at_least("usearch", 1, ef_construction=self.ef_construction, ef_search=self.ef_search)

    @property
    def takes(self) -> tuple[Representation, ...]:
        """One vector a text."""
        return ("dense",)

    def require(self, makes: Representation) -> None:
        """Raises InputError where usearch or faiss, which scores, is not installed."""
        load("usearch.index", "usearch")
        load_faiss()

    def describe(self) -> Mapping[str, object]:
        """Parameters of the build, and the library."""
        return self.structure()

    def structure(self) -> Mapping[str, object]:
        """Parameters of the build, and the library."""
        return {
            "kind": "usearch",
            "M": self.M,
            "ef_construction": self.ef_construction,
            "dtype": self.dtype,
            "metric": self.metric,
            "usearch": load("usearch", "usearch").__version__,
        }

    def grow(self, documents: Dense, progress: Progress) -> Any:
        """Insert all documents, one after the other, so that a build repeats.

        Raises InputError for NaN, for what memory will not hold, and for numbers beyond 1 as i8.
        """
        n, d = documents.values.shape
        norm = longest(documents.values)
        if self.dtype == "i8" and norm > 1.001:
            raise InputError(
                f"usearch: dtype=i8 rounds numbers between -1 and 1, and a vector is {norm:.3g} "
                "long: choose f32, bf16, or a model that is compared by cosine"
            )
        needed = n * (SIZES[self.dtype] * d + 8 * self.M + 32)
        refuse_too_large(f"usearch over {n:,} vectors", needed)
        index = load("usearch.index", "usearch").Index(
            ndim=d,
            metric={"ip": "ip", "l2": "l2sq"}[self.metric],
            dtype=self.dtype,
            connectivity=self.M,
            expansion_add=self.ef_construction,
        )
        for low in range(0, n, BLOCK):
            block = np.ascontiguousarray(documents.values[low : low + BLOCK], np.float32)
            index.add(np.arange(low, low + len(block), dtype=np.uint64), block, threads=1)
            progress("build", low + len(block), n, "documents")
        return index

    def searcher(self, built: Any, documents: Dense) -> CountingSearcher:
        """The graph, searched with ef_search candidates; full vectors are scored exactly."""
        faiss, shift = load_faiss(), 1 if self.metric == "ip" else 0

        def nearest(queries: Float32, m: int) -> tuple[Int64, Float32, int | None]:
            built.expansion_search = self.ef_search  # another searcher may share the graph
            threads = faiss.omp_get_max_threads() if len(queries) > 1 else 1
            found = built.search(queries, m, threads=threads)
            keys, distances = np.atleast_2d(found.keys), np.atleast_2d(found.distances)
            docs = np.full((len(queries), m), -1, np.int64)
            scores = np.zeros(docs.shape, np.float32)
            docs[:, : keys.shape[1]], scores[:, : keys.shape[1]] = keys, shift - distances
            if len(queries) > 1:  # of one query, there are as many columns as results
                docs[np.arange(m) >= found.counts[:, None]] = -1
            return docs, scores, int(found.computed_distances)

        values = np.ascontiguousarray(documents.values, np.float32)
        full = self.dtype == "f32"
        return Approximate(values, nearest, self.bytes(built), self.metric, rescore=full)

    def build(self, documents: Embeddings) -> Searcher:
        """Build the graph and search it at once."""
        assert isinstance(documents, Dense)
        return self.searcher(self.grow(documents, silent), documents)

    def write(self, built: Any, path: Path) -> None:
        """Write a file of usearch. Raises OSError."""
        try:
            built.save(str(path))
        except RuntimeError as error:
            raise OSError(reason(error)) from error

    def read(self, path: Path) -> Any:
        """Read it. Raises InputError."""
        try:
            return load("usearch.index", "usearch").Index.restore(str(path))
        except (RuntimeError, ValueError) as error:
            raise InputError(f"{path}: not an index of this usearch: {reason(error)}") from error

    def bytes(self, built: Any) -> int:
        """Vectors and links."""
        return int(built.serialized_length)

    def warnings(self, k: int) -> tuple[str, ...]:
        """Whether fewer candidates are kept than results wanted."""
        return too_narrow("usearch", self.ef_search, k)
