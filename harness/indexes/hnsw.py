"""HNSW graphs of faiss, with the parameters that vector databases use if nothing is said.

Malkov and Yashunin 2018. faiss inserts in an order of its own: by level, shuffled.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from harness.arrays import Float32, Int64
from harness.indexes import INDEXES, CountingSearcher, Searcher
from harness.indexes import factory as faiss_index
from harness.indexes.approximate import Approximate, at_least, refuse_too_large, too_narrow
from harness.indexes.exact import load_faiss, longest
from harness.indexes.pairwise import Metric
from harness.progress import Progress, silent
from harness.spec import unknown
from harness.vectors import Dense, Embeddings, Representation


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
        """Candidates kept by a search for k."""
        wanted = max(self.ef_search, round(self.ef_per_k * k))
        return min(wanted, self.ef_most) if self.ef_most else wanted


PLAIN = Preset(M=16, ef_construction=128, ef_search=64)


@cache
def presets() -> Mapping[str, Preset]:
    """What vector databases and libraries do by default, by name: presets.toml."""
    text = Path(__file__).with_name("presets.toml").read_text("utf-8")
    found = {name: Preset(**values) for name, values in tomllib.loads(text).items()}
    return MappingProxyType(dict(sorted(found.items())))


@INDEXES.register("hnsw")
@dataclass(frozen=True)
class Hnsw:
    """HNSW graph of faiss, M=16, ef_construction=128, ef_search=64; hnsw:qdrant as Qdrant does.

    target: a preset, which the parameters override. metric: ip for inner product, l2 for Euclidean
    distance, whose scores are negated squares. seed: of the levels that nodes are drawn. Never
    fewer candidates are kept than results are wanted, as databases do.
    """

    target: str | None = None
    M: int | None = None
    ef_construction: int | None = None
    ef_search: int | None = None
    metric: Metric = "ip"
    seed: int = 12345

    def __post_init__(self) -> None:
        at_least(self._name, 2, M=self.M)
        at_least(self._name, 1, ef_construction=self.ef_construction, ef_search=self.ef_search)
        at_least(self._name, 0, seed=self.seed)
        if self.target is not None and self.target not in presets():
            raise unknown("preset of hnsw", self.target, presets())

    @property
    def _name(self) -> str:
        return "hnsw" if self.target is None else f"hnsw:{self.target}"

    @property
    def parameters(self) -> Preset:
        """What the preset, if there is one, and the parameters say."""
        chosen = PLAIN if self.target is None else presets()[self.target]
        if self.ef_search is not None:
            chosen = replace(chosen, ef_search=self.ef_search, ef_per_k=0, ef_most=0)
        return replace(
            chosen,
            M=self.M or chosen.M,
            ef_construction=self.ef_construction or chosen.ef_construction,
        )

    @property
    def takes(self) -> tuple[Representation, ...]:
        """One vector a text."""
        return ("dense",)

    def require(self, makes: Representation) -> None:
        """Raises InputError where faiss is not installed."""
        load_faiss()

    def describe(self) -> Mapping[str, object]:
        """Parameters as they are used, where a preset is from, and the library."""
        used = {key: value for key, value in asdict(self.parameters).items() if value}
        return {**used, **self.structure()}

    def structure(self) -> Mapping[str, object]:
        """Parameters of the build, and the library."""
        return {
            "kind": "faiss HNSW",
            "M": self.parameters.M,
            "ef_construction": self.parameters.ef_construction,
            "metric": self.metric,
            "seed": self.seed,
            "faiss": load_faiss().__version__,
        }

    def grow(self, documents: Dense, progress: Progress) -> Any:
        """Insert all documents. Raises InputError for NaN and for what memory will not hold."""
        faiss, (n, d) = load_faiss(), documents.values.shape
        longest(documents.values)
        index = faiss.IndexHNSWFlat(d, self.parameters.M, faiss_index.metric_number(self.metric))
        index.hnsw.efConstruction = self.parameters.ef_construction
        index.hnsw.rng = faiss.RandomGenerator(self.seed)
        refuse_too_large(f"{self._name} over {n:,} vectors", faiss_index.footprint(index, n))
        progress("build", 0, n, "documents")
        index.add(np.ascontiguousarray(documents.values, np.float32))  # parts would be ordered
        progress("build", n, n, "documents")
        return index

    def searcher(self, built: Any, documents: Dense) -> CountingSearcher:
        """The graph, searched with ef_search candidates; what is found is scored exactly."""
        faiss, parameters = load_faiss(), self.parameters

        def nearest(queries: Float32, m: int) -> tuple[Int64, Float32, int | None]:
            faiss.cvar.hnsw_stats.reset()
            ef = faiss.SearchParametersHNSW(efSearch=max(parameters.ef(m), m))
            scores, docs = built.search(queries, m, params=ef)
            return docs, scores, int(faiss.cvar.hnsw_stats.ndis)

        # the index's own copy: what a search has read is in the processor's cache
        pointer = faiss.downcast_index(built.storage).get_xb()
        values = faiss.rev_swig_ptr(pointer, documents.values.size).reshape(documents.values.shape)
        return Approximate(values, nearest, self.bytes(built), self.metric)

    def build(self, documents: Embeddings) -> Searcher:
        """Build the graph and search it at once."""
        assert isinstance(documents, Dense)
        return self.searcher(self.grow(documents, silent), documents)

    def write(self, built: Any, path: Path) -> None:
        """Write a faiss file. Raises OSError."""
        faiss_index.write(built, path)

    def read(self, path: Path) -> Any:
        """Read it. Raises InputError."""
        return faiss_index.read(path)

    def bytes(self, built: Any) -> int:
        """Vectors and links."""
        return faiss_index.footprint(built, built.ntotal)

    def warnings(self, k: int) -> tuple[str, ...]:
        """Whether fewer candidates are kept than results wanted."""
        return too_narrow(self._name, self.parameters.ef(k), k)
