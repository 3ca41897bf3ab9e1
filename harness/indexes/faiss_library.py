"""The library faiss: how it is loaded, what of its process-wide state is touched, its files.

faiss keeps settings and counters for the whole process. What a search needs of them is set in a
context here and given back after it; counters are read before and after, never reset.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from harness import optional
from harness.arrays import Int64
from harness.errors import InputError, reason
from harness.indexes.saved import FileIndex
from harness.vectors import Representation
from harness.vectors.lengths import Metric

PRODUCTS = 2048  # queries x dimensions from which products are made: else hundreds scan singly

_lock = threading.Lock()
_thresholds: list[int] = []  # what is to be given back, for each that needs products now


def load_faiss() -> Any:
    """Import faiss.

    Returns:
        The module.

    Raises:
        InputError: where neither faiss-cpu nor faiss-gpu is installed.
    """
    return optional.load("faiss", "cpu")


@contextmanager
def matrix_products() -> Iterator[Any]:
    """Let faiss multiply also small batches of queries as matrices meanwhile.

    The threshold is the process's: the last of several threads gives back what the first found.

    Yields:
        The module.
    """
    faiss = load_faiss()
    with _lock:
        _thresholds.append(faiss.cvar.distance_compute_blas_threshold)
        faiss.cvar.distance_compute_blas_threshold = PRODUCTS
    try:
        yield faiss
    finally:
        with _lock:
            before = _thresholds.pop()
            if not _thresholds:
                faiss.cvar.distance_compute_blas_threshold = before


@contextmanager
def single_thread() -> Iterator[None]:
    """Let faiss work in the calling thread alone meanwhile."""
    faiss = load_faiss()
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(threads)


def search_threads(queries: int) -> int:
    """Threads for a search: those of faiss, one for a single query, which more would slow down."""
    return int(load_faiss().omp_get_max_threads()) if queries > 1 else 1


@dataclass(frozen=True)
class Computed:
    """Distances that faiss has computed in this process so far, in graphs and in lists."""

    graphs: int
    lists: int

    @classmethod
    def now(cls) -> Computed:
        """Read faiss's counters."""
        found = load_faiss().cvar
        return cls(int(found.hnsw_stats.ndis), int(found.indexIVF_stats.ndis))

    def since(self, before: Computed) -> Computed:
        """Subtract an earlier reading."""
        return Computed(self.graphs - before.graphs, self.lists - before.lists)


def counted_search(
    index: Any, queries: NDArray[Any], m: int
) -> tuple[NDArray[Any], Int64, int | None]:
    """Search a faiss index.

    Args:
        index: over n documents.
        queries: [q, d] as the index takes them.
        m: results of a query.

    Returns:
        Distances [q, m], documents [q, m], -1 where there is none, and how many distances were
        computed, None where faiss does not tell.
    """
    before = Computed.now()
    with matrix_products() as faiss:
        distances, docs = index.search(queries, m)
    spent = Computed.now().since(before)
    computed = spent.graphs + spent.lists
    if spent.lists and not spent.graphs:  # the lists themselves were compared one by one
        computed += len(queries) * lists(index)
    if not computed and isinstance(index, faiss.IndexFlatCodes | faiss.IndexBinaryFlat):
        computed = len(queries) * index.ntotal
    return distances, docs, computed or None


@dataclass(frozen=True)
class FaissIndex(FileIndex):
    """An index whose structure is one of faiss."""

    def require(self, representation: Representation) -> None:
        """Check that faiss is installed."""
        load_faiss()

    def save(self, built: Any, path: Path) -> None:
        """Write a faiss file."""
        faiss = load_faiss()
        binary = isinstance(built, faiss.IndexBinary)
        try:
            (faiss.write_index_binary if binary else faiss.write_index)(built, str(path))
        except RuntimeError as error:
            raise OSError(complaint(error)) from error

    def load(self, path: Path, *, binary: bool = False) -> Any:
        """Read a faiss file."""
        faiss = load_faiss()
        try:
            return (faiss.read_index_binary if binary else faiss.read_index)(str(path))
        except RuntimeError as error:
            raise InputError(f"{path}: not an index of this faiss: {complaint(error)}") from error

    def size(self, built: Any) -> int:
        """Count the bytes of codes, lists and links."""
        return footprint(built, built.ntotal)


def metric_number(name: Metric) -> int:
    """Look up the number of a metric in faiss."""
    faiss = load_faiss()
    return int(faiss.METRIC_L2 if name == "l2" else faiss.METRIC_INNER_PRODUCT)


def complaint(error: RuntimeError) -> str:
    """Quote what faiss says, without where its code says it."""
    return re.sub(r"^Error in .*? at \S+:\d+: ", "", reason(error))


def parts(index: Any) -> Iterator[Any]:
    """List a faiss index and those inside it, each as what it is; they live as long as it does."""
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
    """Count the inverted lists of a faiss index; 0 where it has none."""
    return next((int(part.nlist) for part in parts(index) if hasattr(part, "nlist")), 0)


def holds_vectors(index: Any) -> bool:
    """Tell whether a faiss index compares documents by their full vectors."""
    faiss = load_faiss()
    kinds = (faiss.IndexFlat, faiss.IndexIVFFlat, faiss.IndexHNSWFlat, faiss.IndexRefineFlat)
    return isinstance(index, kinds)


def footprint(index: Any, n: int) -> int:
    """Count the bytes that a faiss index takes with n vectors, whether they are in it yet or not.

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
