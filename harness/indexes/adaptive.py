"""Exact search by the processor or by GPUs, whichever rates that are measured here say is sooner.

Results are the same to the bit, so that only seconds depend on the choice; what was found out, and
which of the two searched, is told with the results.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

from harness.errors import ENDINGS, reason
from harness.indexes import Found, IndexInfo, Searcher
from harness.indexes.devices import DeviceFullError
from harness.indexes.faiss_library import load_faiss
from harness.progress import Progress, silent
from harness.vectors import Dense, Embeddings, MultiVector, Sparse
from harness.wording import count

FASTEST = 5e10  # products of numbers that a thread adds up in a second, at most
SMALL = 0.5  # seconds of the processor that are not worth a measurement
WORTH = 1.0  # seconds of the processor that are not worth starting CUDA
ALONE = 10  # queries, below which GPUs are not thought of
BATCH = 512  # queries measured with, for each thread of the processor
FEW, MANY = 1 << 13, 1 << 17  # documents that the processor and GPUs are measured with

_rates: dict[tuple[object, ...], Rates] = {}  # by what they were measured with, in this process


@dataclass(frozen=True)
class Rates:
    """Comparisons of a query and a document a second, and documents a second to make ready.

    devices: GPUs that they are of; none for the processor's.
    """

    compared: float
    opened: float
    devices: tuple[str, ...] = ()

    def seconds(self, n: int, q: int, *, opened: bool) -> float:
        """Predict a search of n documents, which are still to be made ready unless `opened`."""
        return n * q / self.compared + (0 if opened else n / self.opened)


@dataclass(frozen=True)
class AdaptiveSearcher:
    """Documents that the processor or GPUs search, decided for each batch of queries.

    Attributes:
        documents: n of them, checked.
        processor: Searches them.
        by_processor: Makes other documents ready for the processor.
        by_gpus: Makes documents ready for GPUs.
    """

    documents: Dense | MultiVector
    processor: Searcher
    by_processor: Callable[[Embeddings], Searcher]
    by_gpus: Callable[[Embeddings], Searcher]

    @property
    def info(self) -> IndexInfo:
        """The vectors themselves."""
        return self.processor.info

    @cached_property
    def _gpus(self) -> Searcher:
        return self.by_gpus(self.documents)

    def search(self, queries: Embeddings, k: int, progress: Progress) -> Found:
        """Find the k best documents of each query [q, k], and tell which of the two searched."""
        try:
            sooner, why = self._compare(queries, k)
            found = self._search_there(queries, k, progress) if sooner else None
        except ENDINGS as error:  # whatever it is, the processor can do without GPUs
            found, why = None, f"the processor searched, since a GPU could not: {reason(error)}"
        if found is None:
            found = self.processor.search(queries, k, progress)
        return replace(found, notes=(*found.notes, *filter(None, [why])))

    def _search_there(self, queries: Embeddings, k: int, progress: Progress) -> Found:
        """Search by GPUs; with what was noticed when documents were copied there."""
        found = self._gpus.search(queries, k, progress)
        return replace(found, notes=(*self._gpus.info.notes, *found.notes))

    def _compare(self, queries: Embeddings, k: int) -> tuple[bool, str]:
        """Whether GPUs would be sooner, and what is known of that; "" where it is a small thing."""
        n, q = len(self.documents), len(queries)
        if q < ALONE or self._products(queries) / (FASTEST * _threads()) < SMALL:
            return False, ""
        both = self.documents, queries
        sizes = [len(vectors).bit_length() // 2 for vectors in both]  # rates differ by these, too
        lengths = [_rows(vectors) // max(len(vectors), 1) for vectors in both]
        key = (type(self.documents), self.documents.dim, k, *sizes, *lengths)
        if ("processor", *key) not in _rates:
            _rates["processor", *key] = _measure(self.by_processor, *both, k, FEW)
        before = _rates["processor", *key].seconds(n, q, opened=True)
        if before < WORTH:
            return False, ""
        if ("GPUs", *key) not in _rates:
            _measure(self.by_gpus, *both, k, 1)  # CUDA starts
            found = _measure(self.by_gpus, *both, k, MANY)
            if not found.devices:  # the processor's rate is none of theirs
                raise DeviceFullError("a trial was searched by the processor in their place")
            _rates["GPUs", *key] = found
        after = _rates["GPUs", *key].seconds(n, q, opened="_gpus" in vars(self))
        return after < before, (
            f"exact search: {before:.2g} s predicted of the processor and {after:.2g} s of GPUs, "
            f"by measured rates, for {count(n, 'document')} and {count(q, 'query')}"
        )

    def _products(self, queries: Embeddings) -> float:
        """Products of numbers that are summed up."""
        return float(_rows(self.documents)) * _rows(queries) * self.documents.dim


def _threads() -> int:
    return int(load_faiss().omp_get_max_threads())


def _rows(vectors: Embeddings) -> int:
    return len(vectors.values) if isinstance(vectors, MultiVector) else len(vectors)


def _first(vectors: Embeddings, many: int) -> Embeddings:
    """The first texts; nothing is copied of dense vectors and tokens."""
    match vectors:
        case Dense(values):
            return Dense(values[:many])
        case MultiVector(values, offsets):
            offsets = offsets[: many + 1]
            return MultiVector(values[: offsets[-1]], offsets)
        case Sparse(matrix):
            return Sparse(matrix[:many])


def _measure(
    open_: Callable[[Embeddings], Searcher],
    documents: Dense | MultiVector,
    queries: Embeddings,
    k: int,
    many: int,
) -> Rates:
    """Make the first documents ready and search them, as if all were asked."""
    asked, few = _first(queries, BATCH * _threads()), _first(documents, many)
    begun = time.perf_counter()
    searcher = open_(few)
    opened = time.perf_counter()
    found = searcher.search(asked, k, silent)
    ended = time.perf_counter()
    compared = len(few) * len(asked) / max(ended - opened, 1e-9)
    return Rates(compared, len(few) / max(opened - begun, 1e-9), found.devices)
