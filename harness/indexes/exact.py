"""Exact search: every document is compared with every query, and the ranking rule decides.

Blocks of documents and queries are multiplied, and the products above a threshold that a sample
suggests are candidates: at k = 1,000 this costs less than the heaps of a flat faiss index
(benchmarks/search.py). But a product's last bits depend on block size and thread count, so every
candidate is scored again by one routine of faiss that sees nothing but the two vectors. The k best
are certified: what stayed below the threshold, plus the rounding error that is possible, must be
below the k-th. Queries that cannot be certified (many equal scores) get a lower threshold. Few
results come from faiss's flat scan instead, scored again and certified in the same way.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from harness import accelerators
from harness.arrays import Float32, Int64
from harness.errors import InputError
from harness.indexes import INDEXES, Found, Index, IndexInfo, Searcher
from harness.indexes.adaptive import AdaptiveSearcher
from harness.indexes.cosine import open_by_cosine
from harness.indexes.duplicates import Distinct, find_distinct
from harness.indexes.faiss_library import load_faiss, matrix_products
from harness.indexes.maxsim import MaxSimSearcher
from harness.indexes.sparse import SparseSearcher
from harness.progress import Progress, silent
from harness.vectors import Dense, Embeddings, MultiVector, Representation, Sparse, ranking
from harness.vectors.lengths import Extent, check_documents, check_queries

QUERIES = 512  # multiplied at a time with
DOCUMENTS = 4096  # so many documents: the products stay in the processor's cache
HEAPED = 32  # results, up to which faiss's flat scan is faster than a threshold
SPARE = 16  # results more that the scan gives, to certify the others
FEW = 4  # queries that are compared one by one: products and threads would cost more
SAMPLE = 2048  # documents of a block that set the first threshold
EARLY = 8  # one in so many parts of it sets the second
CELLS = 1 << 22  # candidates held at a time where there is no threshold
ROUNDING = 2.0**-24
UNDERFLOW = 2.0**-149


@INDEXES.register("exact")
@dataclass(frozen=True)
class Exact(Index):
    """Exact search by inner product, or by MaxSim over token vectors, in bounded memory.

    block: documents compared at a time; results do not depend on it. metric: cosine for dense
    vectors whose lengths are to play no part. device: cpu never searches on GPUs, where large
    batches are searched otherwise if that is sooner; results do not depend on it.
    """

    block: int = 1 << 18
    metric: Literal["cosine"] | None = None
    device: Literal["cpu"] | None = None

    accepts: ClassVar[tuple[Representation, ...]] = ("dense", "sparse", "multi-vector")
    exact: ClassVar[bool] = True
    mergeable: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.block < 1:
            raise InputError(f"exact: block={self.block}: expected at least 1")

    def require(self, representation: Representation) -> None:
        """Check that faiss, which scores dense vectors, is installed."""
        if representation == "dense":
            load_faiss()

    def open(
        self, documents: Embeddings, place: Path | None = None, progress: Progress = silent
    ) -> Searcher:
        """Check the vectors; nothing is copied nor kept.

        Raises:
            InputError: for NaN or infinity.
        """
        if self.metric:
            return open_by_cosine(replace(self, metric=None), documents, place, progress)
        match documents:
            case Sparse():
                return SparseSearcher.of(documents)
            case MultiVector():
                searcher: Searcher = MaxSimSearcher.of(documents, self.block)
            case Dense(values):
                extent = check_documents(values, self.block)
                searcher = DenseSearcher(values, extent, self.block)
        if self.device == "cpu" or not accelerators.present():
            return searcher
        by_gpus = INDEXES.create("gpu").open
        return AdaptiveSearcher(documents, searcher, replace(self, device="cpu").open, by_gpus)


def rounding(d: int, longest: float, norms: Float32) -> Float32:
    """Bound how far two float32 sums of d products may be apart (Higham 2002, sec. 3.1).

    Args:
        d: dimensions.
        longest: the largest norm of a document.
        norms: of queries [q].

    Returns:
        Twice gamma_d |q| |x| for each query [q], and what products may lose that are tiny.
    """
    bound = 2 * d * ROUNDING / (1 - d * ROUNDING) * longest * norms + d * UNDERFLOW
    return bound.astype(np.float32)


@dataclass(frozen=True)
class DenseSearcher:
    """documents: float32 [n, d]; extent: how long they are."""

    documents: Float32
    extent: Extent
    block: int

    @property
    def info(self) -> IndexInfo:
        """The vectors themselves."""
        return IndexInfo(int(self.documents.nbytes), exact=True)

    def search(self, queries: Embeddings, k: int, progress: Progress) -> Found:
        """Find the k best documents of each query [q, k]; padded where k > n."""
        n, d = self.documents.shape
        values, norms = check_queries(queries, d, self.extent)
        q, error = len(values), rounding(d, self.extent.most, norms)
        keys = np.zeros((q, k), np.uint64)

        def search(low: int, start: int, block: Float32, distinct: Distinct | None) -> int:
            rows = slice(low, low + QUERIES)
            found = _best(values[rows], block, k, error[rows], distinct)
            if start:
                found = np.where(found > 0, found + np.uint64(start), found)
                found = ranking.best(np.concatenate([keys[rows], found], axis=1), k)
            keys[rows] = found
            return len(found) * len(block)

        if q < FEW:
            return Found(ranking.unpack(self._singly(values, k)))
        compared = 0
        with _one_thread_each() as pool:
            for start in range(0, n, self.block):
                block = np.ascontiguousarray(self.documents[start : start + self.block])
                part = start, block, find_distinct(block)
                for task in [pool.submit(search, low, *part) for low in range(0, q, QUERIES)]:
                    compared += task.result()
                    progress("search", compared, n * q, "comparisons")
        return Found(ranking.unpack(keys))

    def _singly(self, values: Float32, k: int) -> ranking.Keys:
        """Ranked keys [q, k] of few queries, compared with one document after the other."""
        keys = np.zeros((len(values), k), np.uint64)
        for start in range(0, len(self.documents), self.block):
            block = np.ascontiguousarray(self.documents[start : start + self.block])
            packed = _one_by_one(values, block, start)
            keys = ranking.best(np.concatenate([keys, packed], axis=1), k)
        return keys


@contextmanager
def _one_thread_each() -> Iterator[ThreadPoolExecutor]:
    """A thread for a batch of queries: BLAS's own threads would spin while the rest is done."""
    from threadpoolctl import threadpool_limits

    faiss = load_faiss()
    threads = faiss.omp_get_max_threads()  # which the limit is one of
    one_each = partial(faiss.omp_set_num_threads, 1)
    with (
        matrix_products(),
        threadpool_limits(1),
        ThreadPoolExecutor(threads, initializer=one_each) as pool,
    ):
        try:
            yield pool
        except BaseException:  # Ctrl-C must not wait for all that is queued
            pool.shutdown(cancel_futures=True)
            raise


def _one_by_one(queries: Float32, block: Float32, start: int) -> ranking.Keys:
    """Keys [q, n] of every document of the block, in its order."""
    faiss, n = load_faiss(), len(block)
    docs, keys = np.arange(n), np.empty((len(queries), n), np.uint64)
    scores = np.empty(n, np.float32)
    for row in range(len(queries)):
        arrays = (queries, np.full(n, row), block, docs, scores)  # kept: faiss has only pointers
        faiss.pairwise_indexed_inner_product(queries.shape[1], n, *map(faiss.swig_ptr, arrays))
        keys[row] = ranking.pack(scores, docs + start)
    return keys


def _best(
    queries: Float32, block: Float32, k: int, error: Float32, distinct: Distinct | None = None
) -> ranking.Keys:
    """Ranked keys [q, k] of the block's best documents, each query's certified."""
    if distinct:
        return distinct.expand(_best(queries, block[distinct.last], k, error))
    if k <= HEAPED and k + SPARE <= len(block):
        keys, sure = _scan_flat(queries, block, k, error)
        if not sure.all():
            keys[~sure] = _scan_by_threshold(queries[~sure], block, k, error[~sure])
        return keys
    return _scan_by_threshold(queries, block, k, error)


def _scan_flat(
    queries: Float32, block: Float32, k: int, error: Float32
) -> tuple[ranking.Keys, NDArray[np.bool_]]:
    """Ranked keys [q, k] by faiss's flat scan, the fastest for few results, scored again.

    Also whether nothing that the scan left out, [q], can be among the k best.
    """
    faiss = load_faiss()
    queries = np.ascontiguousarray(queries)
    q, d = queries.shape
    scanned, docs = faiss.knn(queries, block, k + SPARE, metric=faiss.METRIC_INNER_PRODUCT)
    rows, flat = np.repeat(np.arange(q), k + SPARE), np.ascontiguousarray(docs.ravel())
    scores = np.empty(len(rows), np.float32)
    arrays = (queries, rows, block, flat, scores)
    faiss.pairwise_indexed_inner_product(d, len(rows), *map(faiss.swig_ptr, arrays))
    keys = ranking.best(ranking.pack(scores.reshape(docs.shape), docs), k)
    return keys, ranking.unpack(keys[:, -1:]).scores[:, 0] > scanned[:, -1] + error


def _scan_by_threshold(queries: Float32, block: Float32, k: int, error: Float32) -> ranking.Keys:
    """Ranked keys [q, k], from the products above a threshold that a sample suggests."""
    n = len(block)
    wanted = min(k, n)
    sample = np.ascontiguousarray(block[:: -(-n // SAMPLE)])
    rank = _safe(wanted * len(sample) / n)
    keys = np.zeros((len(queries), k), np.uint64)
    open_, tighten = np.arange(len(queries)), True
    while len(open_):
        asked = _Asked(queries[open_], error[open_], k)
        threshold = np.full(len(open_), -np.inf, np.float32)
        if rank < len(sample):  # what ties with it passes, too
            nth = np.partition(asked.queries @ sample.T, -rank, axis=1)[:, -rank]
            threshold = nth - 2 * asked.error
        found, threshold = _collect_above(asked, block, threshold, tighten=tighten)
        full = found[:, wanted - 1] > 0
        floor = asked.floor(found, wanted)
        unsure = full & (threshold > floor)
        if unsure.any():  # nothing below the floor can be among the k best, whatever else is there
            again = asked.take(unsure)
            found[unsure], _ = _collect_above(again, block, floor[unsure], tighten=False)
        keys[open_] = found
        open_ = open_[~full]
        # a query whose neighbours lie side by side in the block was cut too high by a part of it
        tighten, rank = False, rank if tighten else rank * 8
    return keys


def _safe(expected: float) -> int:
    """A rank in a sample that will hardly ever leave less than is expected of the whole."""
    return int(expected + 4 * expected**0.5 + 4)


@dataclass(frozen=True)
class _Asked:
    """Queries [q, d], how far their products may be from scores [q], and results wanted."""

    queries: Float32
    error: Float32
    k: int

    def take(self, rows: NDArray[np.bool_]) -> _Asked:
        """Some of the queries."""
        return _Asked(self.queries[rows], self.error[rows], self.k)

    def floor(self, keys: ranking.Keys, wanted: int) -> Float32:
        """[q]: a product below it is of no document among the best, where some are known.

        keys: ranked [q, k]; wanted: how many of them there can be.
        """
        last = keys[:, wanted - 1 : wanted]
        lowest = ranking.unpack(last).scores[:, 0] - self.error
        lowest = np.nextafter(lowest.astype(np.float32), np.float32(-np.inf))
        return np.where(last[:, 0] > 0, lowest, np.float32(-np.inf))


def _collect_above(
    asked: _Asked, block: Float32, threshold: Float32, *, tighten: bool
) -> tuple[ranking.Keys, Float32]:
    """Ranked keys [q, k] of documents whose product passes a threshold [q], padded if too few.

    The highest rows come first, so that what ties with the k best is seen to rank below them.
    tighten: raise the threshold once, by what an eighth of the block held. Returns the threshold
    that no document left out has passed, unless it cannot be among the k best.
    """
    q, n, k = len(asked.queries), len(block), asked.k
    queries = np.ascontiguousarray(asked.queries)
    pieces = _Pieces(q, k)
    products = np.empty(q * DOCUMENTS, np.float32)  # used again: fresh pages would cost more
    passes = np.empty(q * DOCUMENTS, np.bool_)
    lows = list(range(0, n, DOCUMENTS))[::-1]
    early, bar = lows[::EARLY], threshold
    for low in [*early, *(low for place, low in enumerate(lows) if place % EARLY)]:
        part = block[low : low + DOCUMENTS]
        shape, cells = (q, len(part)), q * len(part)
        product = np.matmul(queries, part.T, out=products[:cells].reshape(shape))
        above = np.greater_equal(product, bar[:, None], out=passes[:cells].reshape(shape))
        row, doc = np.divmod(np.flatnonzero(above), len(part))
        pieces.add(row, ranking.pack(_score(queries, row, part, doc), doc + low))
        if tighten and low == early[-1]:
            rank = _safe(k * min(DOCUMENTS * len(early), n) / n)
            nth = pieces.merge(rank)[:, rank - 1 : rank]
            better = np.where(nth > 0, ranking.unpack(nth).scores, -np.inf)[:, 0]
            better = better - 2 * asked.error
            threshold = np.maximum(threshold, better.astype(np.float32))
            bar = np.maximum(bar, threshold)
        if pieces.many:
            pieces.merge(k)
            bar = np.maximum(threshold, asked.floor(pieces.best, min(k, n)))
    return pieces.merge(k)[:, :k], threshold


def _score(queries: Float32, rows: Int64, documents: Float32, docs: Int64) -> Float32:
    """Scores of pairs [p], by a routine of faiss that sees nothing but the two vectors."""
    faiss, scores = load_faiss(), np.empty(len(rows), np.float32)
    arrays = [faiss.swig_ptr(array) for array in (queries, rows, documents, docs, scores)]
    faiss.pairwise_indexed_inner_product(queries.shape[1], len(rows), *arrays)
    return scores


class _Pieces:
    """Keys of q queries as they come, of which no more are held than may be among the k best."""

    def __init__(self, q: int, k: int) -> None:
        self.best: ranking.Keys = np.zeros((q, k), np.uint64)
        self._rows: list[NDArray[np.uint16]] = []
        self._keys: list[ranking.Keys] = []
        self._counts = np.zeros(q, np.int64)
        self._most = max(CELLS, 2 * q * k)

    @property
    def many(self) -> bool:
        """Whether it is time to merge them."""
        return bool(self._counts.max(initial=0) * len(self._counts) > self._most)

    def add(self, rows: Int64, keys: ranking.Keys) -> None:
        """Hold keys [p] of queries' rows [p] that rank above the k best merged before."""
        better = keys > self.best[rows, -1]
        if not better.all():
            rows, keys = rows[better], keys[better]
        self._rows.append(rows.astype(np.uint16))
        self._keys.append(keys)
        self._counts += np.bincount(rows, minlength=len(self._counts))

    def merge(self, width: int) -> ranking.Keys:
        """Rank all of them; returns the best [q, width], or [q, k] if that is more."""
        k, table = self.best.shape[1], self.best
        if self._rows:
            order = np.argsort(np.concatenate(self._rows), kind="stable")
            more = np.zeros((len(table), self._counts.max(initial=0)), np.uint64)
            filled = np.arange(more.shape[1]) < self._counts[:, None]
            more[filled] = np.concatenate(self._keys)[order]
            table = np.hstack([table, more])
        ranked = ranking.best(table, max(width, k))
        self.best = ranked[:, :k]
        self._rows, self._keys = [], []
        self._counts[:] = 0
        return ranked
