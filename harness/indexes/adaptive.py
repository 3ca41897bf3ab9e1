"""Exact search by the processor or by GPUs, whichever rates that are measured here say is sooner.

Results are the same to the bit, so that only seconds depend on the choice; what was found out, and
which of the two searched, is told with the results.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from threading import Lock

from harness.errors import ENDINGS, reason
from harness.indexes import Found, IndexInfo, Searcher, devices
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
NONE = "a trial was searched by the processor in their place"  # whose rate is none of theirs

_Key = tuple[object, ...]
_rates: dict[_Key, Rates | str] = {}  # by what they were measured with; or why there are none
_measuring = Lock()  # of rates: two trials at once would each be slower than a search is


@dataclass(frozen=True)
class Rates:
    """Comparisons of a query and a document a second, and documents a second to make ready.

    devices: GPUs that they are of; none for the processor's.
    """

    compared: float
    opened: float
    devices: tuple[str, ...] = ()

    def seconds(self, n: int, q: int, *, opened: bool, streamed: float = 0.0) -> float:
        """Predict a search of n documents.

        Args:
            n: Documents.
            q: Queries.
            opened: Whether the documents are ready.
            streamed: Part of them that is copied again for every batch of queries, if they are.
        """
        copies = streamed * -(-q // (devices.QUERIES * devices.WIDER)) + (not opened)
        return n * q / self.compared + copies * n / self.opened


@dataclass
class _There:
    """Documents on GPUs, copied when they are first searched there, by one thread.

    lost: why they cannot be searched there, once that is known.
    """

    lock: Lock = field(default_factory=Lock)
    searcher: Searcher | None = None
    lost: str = ""

    def check(self) -> None:
        """Raise DeviceFullError where they are lost."""
        if self.lost:
            raise devices.DeviceFullError(self.lost)


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
    _there: _There = field(default_factory=_There, compare=False)

    @property
    def info(self) -> IndexInfo:
        """The vectors themselves."""
        return self.processor.info

    def search(self, queries: Embeddings, k: int, progress: Progress) -> Found:
        """Find the k best documents of each query [q, k], and tell which of the two searched.

        What GPUs failed at is not tried again on these documents, nor are such trials.
        """
        if len(queries) < ALONE or self._products(queries) / (FASTEST * _threads()) < SMALL:
            return self.processor.search(queries, k, progress)
        key = self._describe_work(queries, k)
        try:
            found, why = self._search_there(key, queries, k, progress)
        except ENDINGS as error:  # whatever it is, the processor can do without GPUs
            found, lost = self.processor.search(queries, k, progress), reason(error)
            self._there.lost = lost  # so it was not for the queries
            _rates.setdefault(("GPUs", *key), lost)
            why = f"the processor searched, since a GPU could not: {lost}"
        if found is None:
            found = self.processor.search(queries, k, progress)
        return replace(found, notes=(*found.notes, *filter(None, [why])))

    def _search_there(
        self, key: _Key, queries: Embeddings, k: int, progress: Progress
    ) -> tuple[Found | None, str]:
        """Search by GPUs, where they are sooner, with what was noticed as documents were copied.

        Returns:
            What they found, if they searched; and why, "" where it is a small thing.
        """
        n, q = len(self.documents), len(queries)
        before = self._rate("processor", key, queries, k).seconds(n, q, opened=True)
        if before < WORTH:
            return None, ""
        self._there.check()
        there, after = self._open(self._rate("GPUs", key, queries, k), q, before)
        why = (
            f"exact search: {_write_seconds(before)} predicted of the processor and "
            f"{_write_seconds(after)} of GPUs, by measured rates, for {count(n, 'document')} and "
            f"{count(q, 'query')}"
        )
        if there is None or after >= before:
            return None, why
        found = there.search(queries, k, progress)
        if found.instead and found.instead.full and not found.devices:
            self._there.lost = found.instead.why  # it raised nothing, and would do so each time
        return replace(found, notes=(*there.info.notes, *found.notes)), why

    def _rate(self, whose: str, key: _Key, queries: Embeddings, k: int) -> Rates:
        """Rates of the processor or of GPUs, measured once in a process.

        Raises:
            DeviceFullError: where GPUs have none.
        """
        with _measuring:
            if (whose, *key) not in _rates:
                both = self.documents, queries
                if whose == "processor":
                    _rates[whose, *key] = _measure(self.by_processor, *both, k, FEW)
                else:
                    _measure(self.by_gpus, *both, k, 1)  # CUDA starts
                    measured = _measure(self.by_gpus, *both, k, MANY)
                    _rates[whose, *key] = measured if measured.devices else NONE
            rates = _rates[whose, *key]
        if isinstance(rates, str):
            raise devices.DeviceFullError(rates)
        return rates

    def _open(self, rates: Rates, q: int, before: float) -> tuple[Searcher | None, float]:
        """Documents on GPUs, copied where that pays, and seconds predicted of so many queries.

        What does not fit there is known only afterwards, and may be reason enough to leave it.
        """
        with self._there.lock:
            self._there.check()  # another thread may have tried meanwhile
            there, n = self._there.searcher, len(self.documents)
            opened, streamed = there is not None, there.info.streamed if there else 0.0
            after = rates.seconds(n, q, opened=opened, streamed=streamed)
            if there is None and after < before:
                there = self._there.searcher = self._copy()
                after = rates.seconds(n, q, opened=False, streamed=there.info.streamed)
        return there, after

    def _copy(self) -> Searcher:
        """Documents on GPUs; what stands in the way is kept before another thread tries."""
        try:
            return self.by_gpus(self.documents)
        except ENDINGS as error:
            self._there.lost = reason(error)
            raise

    def _describe_work(self, queries: Embeddings, k: int) -> _Key:
        """What rates depend on: kind, width, and about how many documents, queries and results.

        Searches that deepen ask for 4 times as many results each time: some steps have one key.
        """
        both = self.documents, queries
        sizes = [*(len(each).bit_length() // 2 for each in both), k.bit_length() // 4]
        lengths = [_rows(vectors) // max(len(vectors), 1) for vectors in both]
        return (type(self.documents), self.documents.dim, *sizes, *lengths)

    def _products(self, queries: Embeddings) -> float:
        """Products of numbers that are summed up."""
        return float(_rows(self.documents)) * _rows(queries) * self.documents.dim


def _write_seconds(seconds: float) -> str:
    return f"{seconds:.2g} s" if seconds < 100 else f"{seconds:,.0f} s"


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
