"""Any index that faiss can build from a factory string: lists, quantisers, graphs, bits."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.arrays import Float32, Int64
from harness.errors import InputError, reason
from harness.indexes import INDEXES, CountingSearcher, Searcher
from harness.indexes.approximate import Approximate, at_least, refuse_too_large, too_narrow
from harness.indexes.exact import load_faiss, longest
from harness.indexes.pairwise import Metric
from harness.progress import Progress, silent
from harness.vectors import Dense, Embeddings, Representation

BLOCK = 1 << 16  # vectors added at a time
TRAINING = 1 << 17  # vectors trained on, or POINTS for each centroid if that is more
POINTS = 256  # as many as faiss itself uses of what it is given
ENOUGH = 39  # fewer for each centroid, and faiss warns
EF_SEARCH = 16  # what faiss does by default


@INDEXES.register("faiss")
@dataclass(frozen=True)
class Factory:
    """Any index of faiss's factory: faiss:IVF1024_Flat,nprobe=16; "_" for ",", "__" for "_".

    target: the string; with a leading B (BFlat, BIVF256) an index of bits, the signs of numbers.
    metric: ip for inner product, l2 for Euclidean distance, whose scores are negated squares; bits
    are compared by Hamming distance, negated. nprobe: lists searched; ef_search: candidates that a
    graph keeps, also one over the lists. refine: score the refine * k best exactly. seed: of the
    documents trained on. Exact search by Euclidean distance is faiss:Flat,metric=l2.
    """

    target: str
    metric: Metric = "ip"
    nprobe: int | None = None
    ef_search: int | None = None
    refine: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        at_least(self._name, 1, nprobe=self.nprobe, ef_search=self.ef_search)
        at_least(self._name, 0, refine=self.refine, seed=self.seed)

    @property
    def _name(self) -> str:
        return f"faiss:{self.target}"

    @property
    def string(self) -> str:
        """The factory string as faiss reads it."""
        return re.sub("__?", lambda found: "," if len(found[0]) == 1 else "_", self.target)

    @property
    def binary(self) -> bool:
        """Whether vectors are stored as the signs of their numbers."""
        return self.target.startswith("B")

    @property
    def takes(self) -> tuple[Representation, ...]:
        """One vector a text."""
        return ("dense",)

    def require(self, makes: Representation) -> None:
        """Raises InputError where faiss is not installed or cannot read the string."""
        try:
            self._empty(768)
        except InputError as error:
            if "parse" in str(error) or "did not generate" in str(error):
                raise  # the width, which is not known yet, does not matter

    def describe(self) -> Mapping[str, object]:
        """The string and the library."""
        return self.structure()

    def structure(self) -> Mapping[str, object]:
        """What is built, and the library."""
        return {
            "kind": "faiss factory",
            "string": self.string,
            "metric": self.metric,
            "seed": self.seed,
            "faiss": load_faiss().__version__,
        }

    def _empty(self, d: int) -> Any:
        """An index without documents. Raises InputError for what faiss does not take."""
        faiss = load_faiss()
        try:
            if self.binary:
                return faiss.index_binary_factory(-(-d // 8) * 8, self.string)
            return faiss.index_factory(d, self.string, metric_number(self.metric))
        except RuntimeError as error:
            raise InputError(f"{self._name}: faiss refuses it for {d}-d: {said(error)}") from error

    def grow(
        self, documents: Dense, progress: Progress, moved: Callable[[Any], Any] | None = None
    ) -> Any:
        """Train on a sample of the documents and add them all.

        moved: puts the empty index on a GPU, from where it is fetched when it is built. Raises
        InputError for NaN, for too few documents and for what memory will not hold.
        """
        n, d = documents.values.shape
        longest(documents.values)
        index = self._empty(d)
        refuse_too_large(f"{self._name} over {n:,} vectors", footprint(index, n))
        index = moved(index) if moved else index
        self._train(index, documents, progress)
        for start in range(0, n, BLOCK):
            index.add(self._rows(documents.values[start : start + BLOCK]))
            progress("build", min(start + BLOCK, n), n, "documents")
        return load_faiss().index_gpu_to_cpu(index) if moved else index

    def _train(self, index: Any, documents: Dense, progress: Progress) -> None:
        """Train an empty index on a sample of the documents. Raises InputError for too few."""
        n = len(documents)
        for part in parts(index):
            for clustered in (part, getattr(part, "pq", None)):
                if (clustering := getattr(clustered, "cp", None)) is not None:
                    clustering.min_points_per_centroid = 1  # `searcher` warns, nothing prints
            if hasattr(part, "do_polysemous_training"):
                part.do_polysemous_training = False  # long, and for a filter that is not used
        count = min(n, max(TRAINING, POINTS * lists(index)))
        chosen = np.random.default_rng(self.seed).choice(n, count, replace=False)
        progress("train", 0, count, "documents")
        try:
            index.train(self._rows(documents.values[np.sort(chosen)]))
        except RuntimeError as error:
            raise InputError(f"{self._name} cannot be trained: {said(error)}") from error
        progress("train", count, count, "documents")

    def _rows(self, values: Float32) -> NDArray[Any]:
        """Vectors as the index takes them."""
        if self.binary:
            return np.packbits(values > 0, axis=1)
        return np.ascontiguousarray(values, np.float32)

    def searcher(self, built: Any, documents: Dense) -> CountingSearcher:
        """The index, searched with nprobe and ef_search.

        Raises InputError for a parameter that has no meaning for it.
        """
        self.tune(built)
        sign = 1 if self.metric == "ip" and not self.binary else -1
        values = np.ascontiguousarray(documents.values, np.float32)
        full = holds_vectors(built)

        def nearest(queries: Float32, m: int) -> tuple[Int64, Float32, int | None]:
            self.tune(built)  # another searcher may share the structure
            scores, docs, distances = counted(built, self._rows(queries), m)
            return docs, sign * scores.astype(np.float32), distances

        return Approximate(
            values,
            nearest,
            self.bytes(built) + (values.nbytes if self.refine and not full else 0),
            self.metric,
            rescore=full or self.refine > 0,
            factor=max(self.refine, 1),
            warnings=self._noticed(built, len(values)),
        )

    def tune(self, index: Any) -> None:
        """Set what a search is done with. Raises InputError for what has no meaning for it."""
        unused = {"nprobe": self.nprobe, "ef_search": self.ef_search}
        for part in parts(index):
            if self.nprobe is not None and hasattr(part, "nprobe"):
                part.nprobe = self.nprobe
                unused.pop("nprobe", None)
            if self.ef_search is not None and hasattr(part, "hnsw"):
                part.hnsw.efSearch = self.ef_search
                unused.pop("ef_search", None)
        for name, value in unused.items():
            if value is not None:
                raise InputError(f"{self._name} has no {name}: leave {name}={value} out")

    def _noticed(self, built: Any, n: int) -> tuple[str, ...]:
        centroids, found = lists(built), []
        if centroids and n < ENOUGH * centroids:
            found.append(
                f"{self._name} was trained on {n / centroids:.0f} documents a list: "
                f"faiss asks for {ENOUGH}"
            )
        if centroids and (self.nprobe or 1) > centroids:
            found.append(f"{self._name} has {centroids} lists: nprobe={self.nprobe} searches all")
        return tuple(found)

    def build(self, documents: Embeddings) -> Searcher:
        """Build the index and search it at once."""
        assert isinstance(documents, Dense)
        return self.searcher(self.grow(documents, silent), documents)

    def write(self, built: Any, path: Path) -> None:
        """Write a faiss file. Raises OSError."""
        write(built, path)

    def read(self, path: Path) -> Any:
        """Read it. Raises InputError."""
        return read(path, binary=self.binary)

    def bytes(self, built: Any) -> int:
        """Codes, lists and links."""
        return footprint(built, built.ntotal)

    def warnings(self, k: int) -> tuple[str, ...]:
        """Whether a graph keeps fewer candidates than results are asked of it."""
        if not any(re.match("B?HNSW", part) for part in self.string.split(",")):
            return ()
        wanted, ef = k * max(self.refine, 1), self.ef_search or EF_SEARCH
        return too_narrow(self._name, ef, wanted, "those beyond are hardly searched for")


def metric_number(name: Metric) -> int:
    """The number of a metric in faiss."""
    faiss = load_faiss()
    return int(faiss.METRIC_INNER_PRODUCT if name == "ip" else faiss.METRIC_L2)


def said(error: RuntimeError) -> str:
    """What faiss says, without where its code says it."""
    return re.sub(r"^Error in .*? at \S+:\d+: ", "", reason(error))


def parts(index: Any) -> Iterator[Any]:
    """A faiss index and those inside it, each as what it is; they live as long as the first."""
    yield index
    for _, inner in _inside(index):
        yield from parts(inner)


def _inside(index: Any) -> Iterator[tuple[str, Any]]:
    faiss = load_faiss()
    for name in ("index", "base_index", "refine_index", "quantizer", "storage"):
        inner = getattr(index, name, None)
        if inner is not None:
            binary = isinstance(inner, faiss.IndexBinary)
            yield name, (faiss.downcast_IndexBinary if binary else faiss.downcast_index)(inner)


def lists(index: Any) -> int:
    """Inverted lists of a faiss index; 0 where it has none."""
    return next((int(part.nlist) for part in parts(index) if hasattr(part, "nlist")), 0)


def holds_vectors(index: Any) -> bool:
    """Whether a faiss index compares documents by their full vectors."""
    faiss = load_faiss()
    kinds = (faiss.IndexFlat, faiss.IndexIVFFlat, faiss.IndexHNSWFlat, faiss.IndexRefineFlat)
    return isinstance(index, kinds)


def counted(index: Any, queries: NDArray[Any], m: int) -> tuple[NDArray[Any], Int64, int | None]:
    """Distances [q, m] and documents [q, m] of a search, and how many distances it computed."""
    faiss = load_faiss()
    graph, inverted = faiss.cvar.hnsw_stats, faiss.cvar.indexIVF_stats
    graph.reset()
    inverted.reset()
    distances, docs = index.search(queries, m)
    computed = int(graph.ndis) + int(inverted.ndis)
    if inverted.ndis and not graph.ndis:  # the lists themselves were compared one by one
        computed += len(queries) * lists(index)
    if not computed and isinstance(index, faiss.IndexFlatCodes | faiss.IndexBinaryFlat):
        computed = len(queries) * index.ntotal
    return distances, docs, computed or None


def footprint(index: Any, n: int) -> int:
    """Bytes that a faiss index takes with n vectors, whether they are in it yet or not.

    A node of a graph has 2M links of 4 bytes on the lowest level, on average M / (M - 1) on those
    above, and 12 bytes that say where they are; an entry of a list has an id of 8 bytes.
    """
    inside = dict(_inside(index))
    total = 0 if "storage" in inside else n * getattr(index, "code_size", 0)
    if hasattr(index, "hnsw"):
        links = index.hnsw.nb_neighbors(1)
        total += n * (4 * index.hnsw.nb_neighbors(0) + 4 * links // (links - 1) + 12)
    if hasattr(index, "nlist"):
        total += 8 * n
    if hasattr(index, "pq"):
        total += 4 * index.d * index.pq.ksub  # the centroids
    return int(total) + sum(
        footprint(part, index.nlist if name == "quantizer" else n) for name, part in inside.items()
    )


def write(index: Any, path: Path) -> None:
    """Write a faiss index. Raises OSError."""
    faiss = load_faiss()
    binary = isinstance(index, faiss.IndexBinary)
    try:
        (faiss.write_index_binary if binary else faiss.write_index)(index, str(path))
    except RuntimeError as error:
        raise OSError(said(error)) from error


def read(path: Path, *, binary: bool = False) -> Any:
    """Read what `write` wrote. Raises InputError."""
    faiss = load_faiss()
    try:
        return (faiss.read_index_binary if binary else faiss.read_index)(str(path))
    except RuntimeError as error:
        raise InputError(f"{path}: not an index of this faiss: {said(error)}") from error
