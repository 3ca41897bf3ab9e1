"""Exact search by MaxSim: every vector of a query finds its best in a document; the sum ranks.

score(q, d) = sum over i of max over j of q_i . d_j    (ColBERT, Khattab and Zaharia 2020)

Documents stream through in tiles of whole documents. A product's last bits depend on the shape of
what is multiplied, so a tile's products only say which documents can be among the k best, and which
of their tokens can be a maximum; these few are multiplied again in float64, in one order. A score
is therefore a function of query and document alone: blocks, threads and other documents leave it
and the ranking as they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness import ranking
from harness.types import (
    Embeddings,
    Float32,
    Float64,
    InputError,
    Int64,
    MultiVector,
    Progress,
    Run,
    spans,
)

TOKENS = 1 << 13  # tokens in a tile, if it is not one document: products stay in the cache
CHUNK = 1 << 13  # pairs of tokens multiplied anew at a time
ROUNDING = 2.0**-24


@dataclass(frozen=True)
class MaxSimSearcher:
    """documents: checked; longest: the largest norm of a token's vector; block: documents in a
    tile, at most.
    """

    documents: MultiVector
    longest: float
    block: int

    @classmethod
    def of(cls, documents: MultiVector, block: int) -> MaxSimSearcher:
        """Check the vectors; nothing is copied. Raises InputError for NaN or infinity."""
        norms = _norms(documents.values)
        broken = np.flatnonzero(~np.isfinite(norms))
        if len(broken):
            row = np.searchsorted(documents.offsets, broken[0], side="right") - 1
            raise InputError(
                f"a token's vector of document row {row} holds NaN, infinity or a number too "
                "large for float32"
            )
        return cls(documents, float(norms.max(initial=0)), block)

    def search(self, queries: Embeddings, k: int, progress: Progress) -> Run:
        """The k best documents of each query [q, k]; a text without tokens is no result, nor
        finds one.
        """
        assert isinstance(queries, MultiVector)
        q, n, d = len(queries), len(self.documents), self.documents.width
        if queries.width != d:
            raise InputError(
                f"queries are {queries.width}-d and documents {d}-d: expected one width"
            )
        norms = _norms(queries.values)
        if not np.isfinite(norms).all():
            raise InputError(
                "a query's vector holds NaN, infinity or a number too large for float32"
            )
        slack = _slack(norms, self.longest, d)
        keys = np.zeros((q, k), np.uint64)
        for rows, lengths, tokens in self._tiles():
            for row in range(q):
                part = slice(queries.offsets[row], queries.offsets[row + 1])
                if part.start == part.stop:
                    continue
                bar = float(ranking.unpack(keys[row, -1:]).scores[0]) if keys[row, -1] else -np.inf
                query = queries.values[part]
                found, values = _best(query, tokens, lengths, slack[part], k=k, bar=bar)
                packed = np.concatenate([keys[row], ranking.pack(values, rows[found])])
                keys[row] = ranking.best(packed[None, :], k)[0]
            progress("search", (int(rows[-1]) + 1) * q, n * q, "comparisons")
        return ranking.unpack(keys)

    def _tiles(self) -> Iterator[tuple[Int64, Int64, Float32]]:
        """Rows of documents that have tokens, how many each has, and all of them in order."""
        offsets = self.documents.offsets
        rows = np.flatnonzero(self.documents.lengths)
        starts, ends = offsets[rows], offsets[rows + 1]
        low = 0
        while low < len(rows):
            high = int(np.searchsorted(ends, starts[low] + TOKENS, side="right"))
            high = min(max(high, low + 1), low + self.block)
            tokens = self.documents.values[starts[low] : ends[high - 1]]
            yield rows[low:high], (ends - starts)[low:high], np.ascontiguousarray(tokens)
            low = high


def scores(
    queries: MultiVector, documents: MultiVector, rows: Int64, docs: NDArray[np.integer]
) -> Float32:
    """MaxSim of pairs of rows [p], as the search computes it; 0 where a text has no tokens."""
    found = np.zeros(len(rows), np.float32)
    for p, (row, doc) in enumerate(zip(rows, docs, strict=True)):
        query = queries.values[queries.offsets[row] : queries.offsets[row + 1]]
        tokens = documents.values[documents.offsets[doc] : documents.offsets[doc + 1]]
        if len(query) and len(tokens):
            slack = _slack(_norms(query), float(_norms(tokens).max()), queries.width)
            (found[p],) = _best(query, tokens, np.array([len(tokens)]), slack)[1]
    return found


def _best(
    query: Float32,
    tokens: Float32,
    lengths: Int64,
    slack: Float64,
    *,
    k: int = 1,
    bar: float = -np.inf,
) -> tuple[Int64, Float32]:
    """Documents of a tile that can be among its k best and can score `bar`, and their scores."""
    products = query @ tokens.T
    starts = np.cumsum(lengths) - lengths
    highest = np.maximum.reduceat(products, starts, axis=1)  # of a query's token in a document
    rough = highest.sum(axis=0, dtype=np.float64)
    if len(rough) > k:
        bar = max(bar, np.partition(rough, -k)[-k])
    found = np.flatnonzero(rough >= bar - slack.sum())
    if not len(found):
        return found, np.empty(0, np.float32)
    columns = spans(starts[found], lengths[found])
    least = np.repeat(highest[:, found] - slack[:, None], lengths[found], axis=1)
    i, j = np.nonzero(products[:, columns] >= least)  # tokens that can be the best
    again = [
        _products(query[i[low : low + CHUNK]], tokens[columns[j[low : low + CHUNK]]])
        for low in range(0, len(i), CHUNK)
    ]
    cell = i * len(found) + np.repeat(np.arange(len(found)), lengths[found])[j]
    firsts = np.flatnonzero(np.diff(cell, prepend=-1))
    best = np.maximum.reduceat(np.concatenate(again), firsts).reshape(len(query), len(found))
    return found, np.cumsum(best, axis=0)[-1].astype(np.float32)  # in order, as sum may not


def _products(left: Float32, right: Float32) -> Float64:
    """Inner products of rows [p] in float64, each by itself and in one order."""
    products: Float64 = np.multiply(left, right, dtype=np.float64).sum(axis=1)
    return products


def _norms(values: Float32) -> Float32:
    """Norms of rows [t]; infinite where a square is beyond float32."""
    norms: Float32 = np.sqrt(np.einsum("td,td->t", values, values))
    return norms


def _slack(norms: Float32, longest: float, d: int) -> Float64:
    """[t]: how far the float32 product of a query's token may be from that of another token.

    A float32 sum of d products is off by at most gamma_d |q| |x| (Higham 2002, sec. 3.1), on either
    side; d+1 leaves room for rounding a score to float32.
    """
    gamma = (d + 1) * ROUNDING / (1 - (d + 1) * ROUNDING)
    return 2 * gamma * longest * norms.astype(np.float64)
