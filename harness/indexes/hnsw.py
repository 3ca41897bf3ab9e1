"""HNSW graphs of faiss, with the parameters that vector databases use if nothing is said.

Malkov and Yashunin 2018. faiss inserts in an order of its own: by level, shuffled.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from harness.arrays import Float32
from harness.indexes import INDEXES, IndexInfo, Searcher
from harness.indexes.approximate import (
    Answer,
    Approximate,
    at_least,
    refuse_too_large,
    too_narrow,
)
from harness.indexes.faiss_library import (
    Computed,
    FaissIndex,
    footprint,
    load_faiss,
    metric_number,
)
from harness.indexes.saved import FileIndex
from harness.progress import Progress
from harness.registry import unknown
from harness.vectors import Dense, Embeddings, of_kind
from harness.vectors.lengths import Metric, check_documents


@dataclass(frozen=True)
class Preset:
    """Parameters of a graph, and where they are from.

    M: links of a node, twice as many on the lowest level; ef_construction: candidates kept while
    it is inserted; ef_search: candidates kept by a search, or ef_per_k times k if that is more, but
    no more than ef_most if that is given.
    """

    M: int
    ef_construction: int
    ef_search: int
    ef_per_k: float = 0
    ef_most: int = 0
    source: str = ""

    def ef(self, k: int) -> int:
        """Count the candidates kept by a search for k."""
        wanted = max(self.ef_search, round(self.ef_per_k * k))
        return min(wanted, self.ef_most) if self.ef_most else wanted


PLAIN = Preset(M=16, ef_construction=128, ef_search=64)


@cache
def presets() -> Mapping[str, Preset]:
    """Read what vector databases and libraries do by default, by name: presets.toml."""
    text = Path(__file__).with_name("presets.toml").read_text("utf-8")
    found = {name: Preset(**values) for name, values in tomllib.loads(text).items()}
    return MappingProxyType(dict(sorted(found.items())))


@INDEXES.register("hnsw", renamed={"target": "like"})
@dataclass(frozen=True)
class Hnsw(FaissIndex):
    """HNSW graph of faiss, M=16, ef_construction=128, ef_search=64; like=qdrant: its defaults.

    like: a database or library whose defaults are taken, which the parameters override. metric: ip
    for inner product, cosine, l2 for Euclidean distance, whose scores are negated squares. seed: of
    the levels that nodes are drawn. Never fewer candidates are kept than results are wanted, as
    databases do.
    """

    like: str | None = None
    M: int | None = None
    ef_construction: int | None = None
    ef_search: int | None = None
    metric: Metric = "ip"
    seed: int = 12345

    def __post_init__(self) -> None:
        at_least(self._name, 2, 2**15, M=self.M)
        at_least(self._name, 1, ef_construction=self.ef_construction, ef_search=self.ef_search)
        at_least(self._name, 0, seed=self.seed)
        if self.like is not None and self.like not in presets():
            raise unknown("preset of hnsw", self.like, presets())

    @property
    def _name(self) -> str:
        return "hnsw" if self.like is None else f"hnsw,like={self.like}"

    @property
    def parameters(self) -> Preset:
        """What the preset, if there is one, and the parameters say."""
        chosen = PLAIN if self.like is None else presets()[self.like]
        if self.ef_search is not None:
            chosen = replace(chosen, ef_search=self.ef_search, ef_per_k=0, ef_most=0)
        return replace(
            chosen,
            M=self.M or chosen.M,
            ef_construction=self.ef_construction or chosen.ef_construction,
        )

    def describe(self) -> Mapping[str, object]:
        """Tell the parameters as they are used, where a preset is from, and the library."""
        used = {key: value for key, value in asdict(self.parameters).items() if value}
        return {**used, **self.build_key()}

    def build_key(self) -> Mapping[str, object]:
        """Tell the parameters of the build, and the library."""
        return {
            "kind": "faiss HNSW",
            "M": self.parameters.M,
            "ef_construction": self.parameters.ef_construction,
            "metric": self.metric,
            "seed": self.seed,
            "faiss": load_faiss().__version__,
        }

    def notes(self, k: int) -> tuple[str, ...]:
        """Tell whether fewer candidates are kept than results wanted."""
        return too_narrow(self._name, self.parameters.ef(k), k)

    def by_product(self) -> FileIndex | None:
        """Give the same index by inner product, where this one compares by cosine."""
        return replace(self, metric="ip") if self.metric == "cosine" else None

    def make(self, documents: Embeddings, progress: Progress) -> Any:
        """Insert all documents."""
        faiss, vectors = load_faiss(), of_kind(documents, Dense).values
        n, dim = vectors.shape
        check_documents(vectors)
        index = faiss.IndexHNSWFlat(dim, self.parameters.M, metric_number(self.metric))
        index.hnsw.efConstruction = self.parameters.ef_construction
        index.hnsw.rng = faiss.RandomGenerator(self.seed)
        refuse_too_large(f"{self._name} over {n:,} vectors", footprint(index, n))
        progress("build", 0, n, "documents")
        index.add(np.ascontiguousarray(vectors, np.float32))  # parts would be ordered
        progress("build", n, n, "documents")
        return index

    def ask(self, built: Any, queries: Float32, m: int) -> Answer:
        """Search the graph with ef_search candidates."""
        before = Computed.now()
        ef = max(min(self.parameters.ef(m), built.ntotal), m)  # faiss takes memory for all of them
        asked = load_faiss().SearchParametersHNSW(efSearch=ef)
        scores, docs = built.search(queries, m, params=asked)
        return docs, scores, Computed.now().since(before).graphs

    def searcher(self, built: Any, documents: Embeddings) -> Searcher:
        """Wrap the graph; what is found is scored exactly."""
        faiss, shape = load_faiss(), of_kind(documents, Dense).values.shape
        # the index's own copy: what a search has read is in the processor's cache
        pointer = faiss.downcast_index(built.storage).get_xb()
        values = faiss.rev_swig_ptr(pointer, shape[0] * shape[1]).reshape(shape)
        info = IndexInfo(self.size(built))
        return Approximate(values, partial(self.ask, built), info, self.metric)
