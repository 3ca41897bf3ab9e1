"""Exact search by MaxSim: every vector of a query finds its best in a document; the sum ranks.

score(q, d) = sum over i of max over j of q_i . d_j    (ColBERT, Khattab and Zaharia 2020)

Documents stream through in tiles of whole documents, multiplied with several queries at a time. A
product's last bits depend on the shape of what is multiplied, so products only say which documents
can be among the k best; these few are scored anew, in float64 and in one order. A score is
therefore a function of query and document alone: blocks, threads, other documents and other queries
leave it and the ranking as they are.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from harness.arrays import Float32, Float64, Int64
from harness.errors import InputError
from harness.indexes import Found, IndexInfo, Instead, devices, ragged
from harness.indexes.duplicates import Distinct, find_distinct_texts
from harness.progress import Progress
from harness.vectors import Embeddings, MultiVector, ranking
from harness.vectors.lengths import Extent, find_broken, measure

TOKENS = 1 << 12  # of documents in a tile, if it is not one document, multiplied with
ROWS = 1 << 8  # tokens of queries, if it is not one query: products stay in the cache
HELD = 1 << 20  # candidates that wait to be scored anew
CHUNK = 1 << 13  # pairs of tokens multiplied anew at a time
DENSE = 4  # cells of queries and documents for a pair to be scored, up to which all are
ROUNDING = 2.0**-24
UNDERFLOW = 2.0**-149

How = tuple[str, str, bool]
"""Device, why none and how tight it was, of a part that was compared."""


@dataclass(frozen=True)
class Rough:
    """Rough scores [q, n] of queries from a row up to another, and of documents likewise.

    device: that compared, none for the processor; why: it did where a device should have; tight:
    whether the device had no room for more at a time.
    """

    queries: tuple[int, int]
    documents: tuple[int, int]
    scores: Float64
    device: str = ""
    why: str = ""
    tight: bool = False

    @property
    def how(self) -> How:
        """Who compared, and why."""
        return self.device, self.why, self.tight


class TokenScan(Protocol):
    """Documents that each have tokens, to be compared roughly."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What was noticed when they were made ready, a sentence each."""

    @property
    def streamed(self) -> float:
        """Part of them that is copied to devices for every batch of queries."""

    def compare(self, queries: MultiVector) -> Iterator[Rough]:
        """Rough scores of all queries, which all have tokens, and all documents, part by part."""

    def slack(self, norms: Float32) -> Float64:
        """How far apart the rough products of a query's token may seem by error alone, [t].

        With tokens of any two documents; norms: of the queries' tokens. Scores rounded to float32
        are included.
        """


@dataclass(frozen=True)
class ArrayScan:
    """Products by the processor.

    longest: the largest norm of a token's vector; block: documents in a tile, at most.
    """

    documents: MultiVector
    longest: float
    block: int
    notes: tuple[str, ...] = ()
    streamed: float = 0.0

    def compare(self, queries: MultiVector) -> Iterator[Rough]:
        """Rough scores of a tile of documents and some queries: products stay in the cache."""
        cuts = ragged.parts(queries.offsets, ROWS, len(queries))
        asked = [(part, ragged.take_texts(queries, *part)) for part in cuts]
        for tile in ragged.parts(self.documents.offsets, TOKENS, self.block):
            for part, texts in asked:
                yield Rough(part, tile, self._score(texts, *tile))

    def _score(self, queries: MultiVector, low: int, high: int) -> Float64:
        """[q, high - low]."""
        offsets = self.documents.offsets[low : high + 1]
        products = queries.values @ self.documents.values[offsets[0] : offsets[-1]].T
        highest = np.maximum.reduceat(products, offsets[:-1] - offsets[0], axis=1)
        rough: Float64 = np.add.reduceat(highest, queries.offsets[:-1], axis=0, dtype=np.float64)
        return rough

    def slack(self, norms: Float32) -> Float64:
        """As `_slack`."""
        return _slack(norms, self.longest, self.documents.dim)


@dataclass(frozen=True)
class MaxSimSearcher:
    """documents: those that have tokens; rows: which of all these are; exact: of what was given.

    extent: how long their tokens' vectors are; compared: what the scan is of, all documents or one
    of each that are equal, as `distinct` says.
    """

    documents: MultiVector
    rows: Int64
    scan: TokenScan
    extent: Extent
    compared: MultiVector
    distinct: Distinct | None
    exact: bool = True

    @classmethod
    def of(
        cls,
        documents: MultiVector,
        block: int = 1 << 18,
        scan: Callable[[MultiVector, float], TokenScan] | None = None,
        *,
        exact: bool = True,
    ) -> MaxSimSearcher:
        """Check the vectors; they are copied only where most documents are equal.

        Args:
            documents: n of them.
            block: documents compared at a time, at most.
            scan: makes one of documents and the largest norm of a token's vector; None for the
                processor's.
            exact: whether these are the vectors that exact search compares.

        Raises:
            InputError: for NaN or infinity.
        """
        norms = measure(documents.values)
        if (token := find_broken(norms)) is not None:
            row = np.searchsorted(documents.offsets, token, side="right") - 1
            raise InputError(
                f"a token's vector of document row {row} holds NaN, infinity or a number too "
                "large for float32"
            )
        rows, documents = ragged.drop_empty(documents)
        extent, distinct = Extent.of(norms), find_distinct_texts(documents)
        few = documents if distinct is None else documents.take(distinct.last)
        made = scan(few, extent.most) if scan else ArrayScan(few, extent.most, block)
        return cls(documents, rows, made, extent, few, distinct, exact)

    @property
    def info(self) -> IndexInfo:
        """The tokens' vectors themselves."""
        size, scan = self.documents.bytes, self.scan
        return IndexInfo(size, exact=self.exact, notes=scan.notes, streamed=scan.streamed)

    def search(self, queries: Embeddings, k: int, progress: Progress) -> Found:
        """Find the k best documents [q, k]; a text without tokens is no result, nor finds one."""
        q = len(queries)
        queries, norms = ragged.check_tokens(queries, self.documents.dim, self.extent)
        asked, queries = ragged.drop_empty(queries)
        slack = np.add.reduceat(self.scan.slack(norms), queries.offsets[:-1])
        keys = np.zeros((len(asked), k), np.uint64)
        compared = self._search(queries, slack, keys, progress)
        keys = self.distinct.expand(keys) if self.distinct else keys
        run = ragged.restore_rows(ranking.unpack(keys), asked, self.rows, q)
        there = tuple(sorted({device for device, *_ in compared} - {""}))
        tight = devices.note_tight(device for device, _, tight in compared if tight)
        instead = sum_instead(compared)
        notes = (*tight, *([str(instead)] if instead else []))
        return Found(run, notes=notes, devices=there, instead=instead)

    def _search(
        self, queries: MultiVector, slack: Float64, keys: ranking.Keys, progress: Progress
    ) -> Counter[How]:
        """Put the best of queries that have tokens into keys [q, k].

        slack: [q], how far apart rough scores may seem by error alone. Returns how many comparisons
        were made, by the device, why the processor made them in place of one, and how tight it was.
        """
        best, k = np.full(keys.shape, -np.inf), keys.shape[1]  # rough scores
        held: list[tuple[Int64, Int64, Float64]] = []  # rows of queries, documents, rough scores
        waiting, done, compared = 0, 0, Counter[How]()
        for part in self.scan.compare(queries):
            (first, last), (low, _), rough = part.queries, part.documents, part.scores
            best[first:last] = np.partition(
                np.concatenate([best[first:last], rough], axis=1), -k, axis=1
            )[:, -k:]
            bar = best[first:last].min(axis=1) - slack[first:last]
            i, j = np.nonzero(rough >= bar[:, None])
            held.append((i + first, j + low, rough[i, j]))
            waiting += len(i)
            if waiting > HELD:
                self._settle(queries, held, best.min(axis=1) - slack, keys)
                held, waiting = [], 0
            compared[part.how] += rough.size
            done += rough.size
            progress("search", done, len(queries) * len(self.compared), "comparisons")
        if held:
            self._settle(queries, held, best.min(axis=1) - slack, keys)
        return compared

    def _settle(
        self,
        queries: MultiVector,
        held: list[tuple[Int64, Int64, Float64]],
        bar: Float64,
        keys: ranking.Keys,
    ) -> None:
        """Score the candidates that pass the bar [q], and put the best into keys [q, k]."""
        rows, docs, rough = (np.concatenate(arrays) for arrays in zip(*held, strict=True))
        order = np.argsort(rows, kind="stable")
        order = order[rough[order] >= bar[rows[order]]]
        rows, docs = rows[order], docs[order]
        packed = ranking.pack(scores(queries, self.compared, rows, docs), docs)
        ends = np.searchsorted(rows, np.arange(len(keys) + 1))
        for row, (low, high) in enumerate(itertools.pairwise(ends.tolist())):
            both = np.concatenate([keys[row], packed[low:high]])
            keys[row] = ranking.best(both[None], keys.shape[1])[0]


def sum_instead(compared: Counter[How]) -> Instead | None:
    """What the processor compared in place of what should have: a device that was full."""
    instead = {why: number for (_, why, _), number in compared.items() if why}
    part, whole, why = sum(instead.values()), compared.total(), "; ".join(instead)
    return Instead(part, whole, "comparisons", why, full=True) if part else None


def scores(
    queries: MultiVector, documents: MultiVector, rows: Int64, docs: NDArray[np.integer]
) -> Float32:
    """Score pairs by MaxSim, as the search does.

    Args:
        queries: q of them.
        documents: n of them.
        rows: row of the query of each pair [p]; pairs of one query are fastest side by side.
        docs: row of the document of each pair [p].

    Returns:
        Scores [p]; 0 where a text has no tokens.
    """
    found = np.zeros(len(rows), np.float32)
    kept = np.flatnonzero((queries.lengths[rows] > 0) & (documents.lengths[docs] > 0))
    asked, row = np.unique(rows[kept], return_inverse=True)
    chosen, doc = np.unique(docs[kept], return_inverse=True)
    if len(asked) * len(chosen) <= DENSE * len(kept):
        table, queries = np.empty((len(asked), len(chosen)), np.float32), queries.take(asked)
        ends = np.concatenate([[0], np.cumsum(documents.lengths[chosen])])
        for low, high in ragged.parts(ends, TOKENS, len(chosen)):
            table[:, low:high] = _score_all(queries, documents.take(chosen[low:high]))
        found[kept] = table[row, doc]
        return found
    tile = np.cumsum(documents.lengths[docs[kept]]) // TOKENS
    cuts = 1 + np.flatnonzero(np.diff(rows[kept]) | np.diff(tile))
    for pairs in np.split(kept, cuts) if len(kept) else ():
        query, few = queries.take(rows[pairs[:1]]), documents.take(docs[pairs])
        found[pairs] = _score_all(query, few)[0]
    return found


def _score_all(queries: MultiVector, documents: MultiVector) -> Float32:
    """MaxSim of every query with every document [q, n], all of which have tokens.

    By products in float64, in which products of float32 are exact, so that two orders of their sums
    are apart by at most 2 gamma_(d+t) of the lengths (Higham 2002, sec. 3.1): what rounds to one
    float32 on both sides of that is what any order gives. The rest is scored in one order.
    """
    tokens, score = documents.values.astype(np.float64).T, np.empty((len(queries), len(documents)))
    for low, high in ragged.parts(queries.offsets, ROWS, len(queries)):
        part = ragged.take_texts(queries, low, high)
        products = part.values.astype(np.float64) @ tokens
        best = np.maximum.reduceat(products, documents.offsets[:-1], axis=1)
        np.add.reduceat(best, part.offsets[:-1], axis=0, out=score[low:high])
    norms = np.add.reduceat(measure(queries.values).astype(np.float64), queries.offsets[:-1])
    sums = queries.lengths + queries.dim  # twice as much room: norms are rounded, too
    error = (4 * 2.0**-53 * float(measure(documents.values).max()) * sums * norms)[:, None]
    found = score.astype(np.float32)
    unsure = (score - error).astype(np.float32) != (score + error).astype(np.float32)
    for row in np.flatnonzero(unsure.any(axis=1)).tolist():
        few = documents.take(np.flatnonzero(unsure[row]))
        found[row, unsure[row]] = _score_in_order(
            ragged.take_texts(queries, row, row + 1).values, few
        )
    return found


def _score_in_order(query: Float32, documents: MultiVector) -> Float32:
    """MaxSim of a query's tokens and documents [n], each product and each sum in one order.

    Only of those tokens whose product can be the highest.
    """
    tokens, starts, n = documents.values, documents.offsets[:-1], len(documents)
    slack = _slack(measure(query), float(measure(tokens).max()), documents.dim)
    products = query @ tokens.T
    least = np.maximum.reduceat(products, starts, axis=1) - slack[:, None]
    i, j = np.nonzero(products >= np.repeat(least, documents.lengths, axis=1))
    pairs = [
        _products(query[i[low : low + CHUNK]], tokens[j[low : low + CHUNK]])
        for low in range(0, len(i), CHUNK)
    ]
    cell = i * n + np.repeat(np.arange(n), documents.lengths)[j]
    firsts = np.flatnonzero(np.diff(cell, prepend=-1))
    best = np.maximum.reduceat(np.concatenate(pairs), firsts).reshape(len(query), n)
    score: Float64 = np.cumsum(best, axis=0)[-1]  # in order, as sum may not
    return score.astype(np.float32)


def _products(left: Float32, right: Float32) -> Float64:
    """Inner products of rows [p] in float64, each by itself and in one order."""
    products: Float64 = np.multiply(left, right, dtype=np.float64).sum(axis=1)
    return products


def _slack(norms: Float32, longest: float, d: int) -> Float64:
    """[t]: how far the float32 product of a query's token may be from that of another token.

    A float32 sum of d products is off by at most gamma_d |q| |x| (Higham 2002, sec. 3.1), on either
    side, and by what products lose that are tiny; d+1 leaves room for rounding a score to float32.
    """
    gamma = (d + 1) * ROUNDING / (1 - (d + 1) * ROUNDING)
    return 2 * gamma * longest * norms.astype(np.float64) + 2 * (d + 1) * UNDERFLOW
