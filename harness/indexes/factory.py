"""Any index that faiss can build from a factory string: lists, quantisers, graphs, bits."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from harness.arrays import Float32
from harness.errors import InputError
from harness.indexes import INDEXES, IndexInfo
from harness.indexes.approximate import (
    Answer,
    Approximate,
    at_least,
    refuse_too_large,
    too_narrow,
)
from harness.indexes.faiss_library import (
    FaissIndex,
    complaint,
    counted_search,
    footprint,
    holds_vectors,
    lists,
    load_faiss,
    matrix_products,
    metric_number,
    parts,
)
from harness.indexes.saved import FileIndex
from harness.progress import Progress
from harness.vectors import Dense, Embeddings, Representation, of_kind
from harness.vectors.lengths import Metric, check_documents
from harness.wording import count

BLOCK = 1 << 16  # vectors added at a time
TRAINING = 1 << 17  # vectors trained on, or POINTS for each centroid if that is more
POINTS = 256  # as many as faiss itself uses of what it is given
ENOUGH = 39  # fewer for each centroid, and faiss warns
EF_SEARCH = 16  # what faiss does by default


@INDEXES.register("faiss", renamed={"refine": "oversample"})
@dataclass(frozen=True)
class Factory(FaissIndex):
    """Any index of faiss.index_factory: faiss:IVF1024_Flat,nprobe=16; _ is a comma, __ is _.

    target: the string; with a leading B (BFlat, BIVF256) an index of bits, the signs of numbers.
    metric: ip for inner product, cosine, l2 for Euclidean distance, whose scores are negated
    squares; bits are compared by Hamming distance, negated. nprobe: lists searched; ef_search:
    candidates that a graph keeps, also one over the lists. oversample: score the oversample * k
    best exactly; 0 for none. seed: of the documents trained on. Exact search by Euclidean distance
    is faiss:Flat,metric=l2.
    """

    target: str
    metric: Metric = "ip"
    nprobe: int | None = None
    ef_search: int | None = None
    oversample: int = 0
    seed: int = 0

    kind: ClassVar[str] = "faiss factory"
    family: ClassVar[str] = "faiss"  # of specs, as errors name them

    def __post_init__(self) -> None:
        at_least(self._name, 1, nprobe=self.nprobe, ef_search=self.ef_search)
        at_least(self._name, 0, oversample=self.oversample, seed=self.seed)

    @property
    def _name(self) -> str:
        return f"{self.family}:{self.target}"

    @property
    def string(self) -> str:
        """The factory string as faiss reads it."""
        return re.sub("__?", lambda found: "," if len(found[0]) == 1 else "_", self.target)

    @property
    def binary(self) -> bool:
        """Whether vectors are stored as the signs of their numbers."""
        return self.target.startswith("B")

    def require(self, representation: Representation) -> None:
        """Check that faiss is installed and can read the string."""
        try:
            self.make_empty(768)
        except InputError as error:
            if "parse" in str(error) or "did not generate" in str(error):
                raise  # the dimensions, which are not known yet, do not matter

    def build_key(self) -> Mapping[str, object]:
        """Tell what is built, and the library."""
        return {
            "kind": self.kind,
            "string": self.string,
            "metric": self.metric,
            "seed": self.seed,
            "faiss": load_faiss().__version__,
        }

    def notes(self, k: int) -> tuple[str, ...]:
        """Tell whether a graph keeps fewer candidates than results are asked of it."""
        if not any(re.match("B?HNSW", part) for part in self.string.split(",")):
            return ()
        wanted, ef = k * max(self.oversample, 1), self.ef_search or EF_SEARCH
        return too_narrow(self._name, ef, wanted, "those beyond are hardly searched for")

    def by_product(self) -> FileIndex | None:
        """Give the same index by inner product, where this one compares by cosine."""
        return replace(self, metric="ip") if self.metric == "cosine" else None

    def make_empty(self, dim: int) -> Any:
        """An index without documents. Raises InputError for what faiss does not take."""
        faiss = load_faiss()
        try:
            if self.binary:
                return faiss.index_binary_factory(-(-dim // 8) * 8, self.string)
            return faiss.index_factory(dim, self.string, metric_number(self.metric))
        except RuntimeError as error:
            why = complaint(error)
            raise InputError(f"{self._name}: faiss refuses it for {dim}-d: {why}") from error

    def make(self, documents: Embeddings, progress: Progress) -> Any:
        """Train on a sample of the documents and add them all.

        Raises InputError for NaN, for too few documents and for what memory will not hold.
        """
        values = of_kind(documents, Dense).values
        n, dim = values.shape
        check_documents(values)
        index = self.make_empty(dim)
        refuse_too_large(f"{self._name} over {n:,} vectors", footprint(index, n))
        with matrix_products():
            return self._fill(index, values, progress)

    def _fill(self, index: Any, values: Float32, progress: Progress) -> Any:
        """Train an empty index and add the documents, here. Raises InputError for too few."""
        self._train(index, values, progress)
        n = len(values)
        for start in range(0, n, BLOCK):
            index.add(self._rows(values[start : start + BLOCK]))
            progress("build", min(start + BLOCK, n), n, "documents")
        return index

    def _train(self, index: Any, values: Float32, progress: Progress) -> None:
        """Train an empty index on a sample of the documents. Raises InputError for too few."""
        n = len(values)
        needed = self._count_centroids(index)
        if n < needed:
            raise InputError(
                f"{self._name} learns {needed:,} centroids from {count(n, 'document')}: expected "
                "at least as many; lower the number of lists or bits, or choose exact"
            )
        for part in parts(index):
            for clustered in (part, getattr(part, "pq", None)):
                if (clustering := getattr(clustered, "cp", None)) is not None:
                    clustering.min_points_per_centroid = 1  # `searcher` notes it, nothing prints
            if hasattr(part, "do_polysemous_training"):
                part.do_polysemous_training = False  # long, and for a filter that is not used
        many = min(n, max(TRAINING, POINTS * lists(index)))
        chosen = np.random.default_rng(self.seed).choice(n, many, replace=False)
        progress("train", 0, many, "documents")
        try:
            self._learn(index, self._rows(values[np.sort(chosen)]))
        except RuntimeError as error:
            raise InputError(f"{self._name} cannot be trained: {complaint(error)}") from error
        progress("train", many, many, "documents")

    def _learn(self, index: Any, rows: NDArray[Any]) -> None:
        index.train(rows)

    def _count_centroids(self, index: Any) -> int:
        """Count the centroids that one clustering learns, of lists or of parts of vectors."""
        codes = [getattr(getattr(part, "pq", None), "ksub", 0) for part in parts(index)]
        coarse = 0 if "IMI" in self.string else lists(index)  # whose lists are pairs of centroids
        return max(coarse, *map(int, codes))

    def _rows(self, values: Float32) -> NDArray[Any]:
        """Vectors as the index takes them."""
        if self.binary:
            return np.packbits(values > 0, axis=1)
        return np.ascontiguousarray(values, np.float32)

    def ask(self, built: Any, queries: Float32, m: int) -> Answer:
        """Search the index with nprobe and ef_search."""
        self.tune(built)  # another searcher may share the structure
        sign = 1 if self.metric == "ip" and not self.binary else -1
        scores, docs, distances = counted_search(built, self._rows(queries), m)
        return docs, sign * scores.astype(np.float32), distances

    def searcher(self, built: Any, documents: Embeddings) -> Approximate:
        """Wrap the index, searched with nprobe and ef_search.

        Raises InputError for a parameter that has no meaning for it.
        """
        self.tune(built)
        values = np.ascontiguousarray(of_kind(documents, Dense).values, np.float32)
        full = holds_vectors(built)
        size = self.size(built) + (values.nbytes if self.oversample and not full else 0)
        return Approximate(
            values,
            partial(self.ask, built),
            IndexInfo(size, notes=self.note(built, len(values))),
            self.metric,
            rescore=full or self.oversample > 0,
            oversample=max(self.oversample, 1),
        )

    def tune(self, index: Any) -> None:
        """Set what a search is done with. Raises InputError for what has no meaning for it."""
        unused = {"nprobe": self.nprobe, "ef_search": self.ef_search}
        for part in parts(index):
            if self.nprobe is not None and hasattr(part, "nprobe"):
                part.nprobe = self.nprobe
                unused.pop("nprobe", None)
            if self.ef_search is not None and hasattr(part, "hnsw"):
                part.hnsw.efSearch = min(self.ef_search, max(part.ntotal, 1))
                unused.pop("ef_search", None)
        for name, value in unused.items():
            if value is not None:
                raise InputError(f"{self._name} has no {name}: leave {name}={value} out")

    def note(self, built: Any, n: int) -> tuple[str, ...]:
        """Note what of a built index over n documents is not as it should be."""
        centroids, notes = lists(built), []
        if centroids and n < ENOUGH * centroids:
            notes.append(
                f"{self._name} was trained on {n / centroids:.0f} documents a list: "
                f"faiss asks for {ENOUGH}"
            )
        if centroids and (self.nprobe or 1) > centroids:
            notes.append(
                f"{self._name} has {count(centroids, 'list')}: nprobe={self.nprobe} searches all"
            )
        return tuple(notes)

    def load(self, path: Path, *, binary: bool = False) -> Any:
        """Read a faiss file, of bits where they are stored."""
        return super().load(path, binary=binary or self.binary)
