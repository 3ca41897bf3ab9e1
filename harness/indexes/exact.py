"""Exact search: every document is compared with every query, and the ranking rule decides.

Blocks of documents and queries are multiplied, and only the products above a threshold that a
sample of the block suggests are looked at: at k = 1,000 this costs less than the heaps of a flat
faiss index, which take as long as the product itself (benchmarks/search.py). But a product's last
bits depend on block size and thread count. So a few more than k candidates are kept, each is scored
again by one fixed routine of faiss, and the k best of those are certified: the best document left
out, plus the rounding error that is possible, must stay below the k-th. Queries that cannot be
certified (many equal scores) are searched again with more candidates.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness import ranking
from harness.indexes import INDEXES, Searcher
from harness.indexes.sparse import SparseSearcher
from harness.types import Dense, Float32, InputError, Progress, Representation, Run, Sparse

QUERIES = 512  # multiplied at a time with
DOCUMENTS = 4096  # so many documents: the products stay in the processor's cache
SAMPLE = 2048  # documents of a block that set the first threshold
CELLS = 1 << 22  # candidates held at a time: about 100 MB with all that goes with them
ROUNDING = 2.0**-24


@INDEXES.register("exact")
@dataclass(frozen=True)
class Exact:
    """Exact search by inner product, dense (faiss flat) or sparse, in bounded memory.

    block: documents compared at a time; results do not depend on it.
    """

    block: int = 1 << 18

    def __post_init__(self) -> None:
        if self.block < 1:
            raise InputError(f"exact: block={self.block}: expected at least 1")

    @property
    def takes(self) -> tuple[Representation, ...]:
        """Dense and sparse vectors."""
        return ("dense", "sparse")

    def describe(self) -> Mapping[str, object]:
        """The search is exact whatever the library."""
        return {"exact": True}

    def build(self, documents: Dense | Sparse) -> Searcher:
        """Check the vectors; nothing is copied. Raises InputError for NaN or infinity."""
        if isinstance(documents, Sparse):
            return SparseSearcher.of(documents)
        longest = 0.0
        for start in range(0, len(documents), self.block):
            block = documents.values[start : start + self.block]
            squares = np.einsum("nd,nd->n", block, block)
            broken = np.flatnonzero(~np.isfinite(squares))
            if len(broken):
                raise InputError(
                    f"the vector of document row {start + broken[0]} holds NaN, infinity or a "
                    "number too large for float32"
                )
            longest = max(longest, float(squares.max(initial=0)) ** 0.5)
        return DenseSearcher(documents.values, longest, self.block)


@dataclass(frozen=True)
class DenseSearcher:
    """documents: float32 [n, d]; longest: the largest norm of a row."""

    documents: Float32
    longest: float
    block: int

    def search(self, queries: Dense | Sparse, k: int, progress: Progress) -> Run:
        """The k best documents of each query [q, k]; padded where k > n."""
        from threadpoolctl import threadpool_limits

        assert isinstance(queries, Dense)
        values = np.ascontiguousarray(queries.values, np.float32)
        q, d = values.shape
        n, width = self.documents.shape
        if d != width:
            raise InputError(f"queries are {d}-d and documents {width}-d: expected one width")
        norms = np.sqrt(np.einsum("qd,qd->q", values, values))
        if not np.isfinite(norms).all():
            raise InputError("a query's vector holds NaN, infinity or a number beyond float32")
        # two sums of d products differ by at most twice gamma_d |q| |x| (Higham 2002, sec. 3.1)
        error = 2 * d * ROUNDING / (1 - d * ROUNDING) * self.longest * norms
        keys, compared = np.zeros((q, k), np.uint64), 0
        faiss = load_faiss()
        threads = faiss.omp_get_max_threads()
        one_each = partial(faiss.omp_set_num_threads, 1)
        # a thread a batch of queries: BLAS's own threads would spin while the rest is done
        with threadpool_limits(1), ThreadPoolExecutor(threads, initializer=one_each) as pool:
            for start in range(0, n, self.block):
                block = np.ascontiguousarray(self.documents[start : start + self.block])

                def search(low: int, start: int = start, block: Float32 = block) -> int:
                    rows = slice(low, low + QUERIES)
                    found = _best(values[rows], block, start, k, error[rows])
                    both = np.concatenate([keys[rows], found], axis=1) if start else found
                    keys[rows] = ranking.best(both, k)
                    return len(found) * len(block)

                for done in pool.map(search, range(0, q, QUERIES)):
                    compared += done
                    progress("search", compared, n * q, "comparisons")
        return ranking.unpack(keys)


def _best(queries: Float32, block: Float32, start: int, k: int, error: Float32) -> ranking.Keys:
    """Ranked keys [q, k] of the block's best documents, each query's certified."""
    n = len(block)
    keys = np.zeros((len(queries), k), np.uint64)
    wide = min(n, k + max(32, k // 16))
    uncertain = np.arange(len(queries))
    while len(uncertain):
        left = []
        for rows in np.array_split(uncertain, -(-len(uncertain) * wide // CELLS)):
            rough = ranking.unpack(_candidates(queries[rows], block, wide))
            scores = _rescored(queries[rows], block, rough.docs)
            found = ranking.best(ranking.pack(scores, rough.docs + start), k)
            keys[rows] = found
            if wide < n:
                last = ranking.unpack(found[:, -1:]).scores[:, 0]
                left.append(rows[rough.scores[:, -1] + error[rows] >= last])
        uncertain = np.concatenate(left) if left else uncertain[:0]
        wide = min(n, 8 * wide)
    return keys


def _candidates(queries: Float32, block: Float32, wide: int, rank: float = 0) -> ranking.Keys:
    """Ranked keys [q, wide] of the block's best documents by plain matrix products.

    rank: where in a sample's ranking to put the threshold; where too few documents pass it, it is
    put lower.
    """
    q, n = len(queries), len(block)
    threshold = np.full((q, 1), -np.inf, np.float32)
    sample = np.ascontiguousarray(block[:: max(1, n // SAMPLE)])
    expected = wide * len(sample) / n
    rank = int(rank or expected + 4 * expected**0.5 + 4)
    if rank < len(sample):
        products = queries @ sample.T
        threshold = np.partition(products, -rank, axis=1)[:, -rank, None]
    rows, keys = [], []
    space = np.empty(q * DOCUMENTS, np.float32)  # used again: fresh pages would cost more
    for start in range(0, n, DOCUMENTS):
        documents = block[start : start + DOCUMENTS]
        products = space[: q * len(documents)].reshape(q, len(documents))
        np.matmul(queries, documents.T, out=products)
        passed = np.flatnonzero(products >= threshold)
        row, doc = np.divmod(passed.astype(np.int32), np.int32(products.shape[1]))
        rows.append(row.astype(np.uint16))
        keys.append(ranking.pack(products.ravel()[passed], doc + np.int32(start)))
    all_rows = np.concatenate(rows)
    counts = np.bincount(all_rows, minlength=q)
    table = np.zeros((q, counts.max()), np.uint64)
    by_query = np.argsort(all_rows, kind="stable")
    table[np.arange(table.shape[1]) < counts[:, None]] = np.concatenate(keys)[by_query]
    found = ranking.best(table, wide)
    few = np.flatnonzero(counts < wide)
    if len(few):
        found[few] = _candidates(queries[few], block, wide, 8 * rank)
    return found


def _rescored(queries: Float32, block: Float32, rows: NDArray[np.int32]) -> Float32:
    """Inner products [q, c] of each query with its candidates, the same in every surrounding."""
    faiss = load_faiss()
    scores = np.empty(rows.shape, np.float32)
    arrays = (scores, np.ascontiguousarray(queries), block, rows.astype(np.int64))
    pointers = [faiss.swig_ptr(array) for array in arrays]
    faiss.fvec_inner_products_by_idx(*pointers, block.shape[1], *rows.shape)
    return scores


def load_faiss() -> Any:
    """The faiss module. Raises InputError where neither faiss-cpu nor faiss-gpu is installed."""
    try:
        import faiss
    except ImportError as error:
        raise InputError(
            "faiss is not installed: pip install 'retrieval-harness[cpu]', or [gpu] for CUDA"
        ) from error
    return faiss
