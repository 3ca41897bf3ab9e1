"""Rankings judged by part of the judgments, for many choices of what stays judged at a time.

A document that is taken out counts as not relevant, as one that nobody looked at does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness import stats
from harness.arrays import Float64, Int64
from harness.data import Corpus, Qrels, Retrieval
from harness.errors import InputError
from harness.measures.asked import Measure
from harness.measures.judged import Judged, find, place
from harness.stats import aggregate
from harness.vectors import Run

Bool = NDArray[np.bool_]

CHUNK = 1 << 21  # judgments of all versions held at a time


@dataclass(frozen=True)
class Relevant:
    """The relevant documents of a collection, all queries together [p].

    Attributes:
        qrels: The judgments that a measure goes by.
        rows: int64 [p], which of them say relevant.
        query: int64 [p], ascending: the query of each.
    """

    qrels: Qrels
    rows: Int64
    query: Int64

    @property
    def docs(self) -> Int64:
        """Their rows of the corpus [p], -1 for what it does not hold."""
        return self.qrels.docs[self.rows].astype(np.int64)

    def first(self, places: Int64, share: float | None) -> Bool:
        """Which of them stay judged [v, p], a share of each query's, at least one.

        Args:
            places: Of each within its query, from 0 [v, p]: low ones stay longest.
            share: None for one of each query.
        """
        counts = np.bincount(self.query)
        wanted = np.maximum(1, np.floor((share or 0) * counts + 0.5))
        return np.asarray(places < wanted[self.query])

    def places(self, keys: Float64) -> Int64:
        """The place of each within its query, from 0, by ascending keys [v, p], then by row."""
        places = np.empty(keys.shape, np.int64)
        for row, key in zip(places, keys, strict=True):
            row[np.lexsort((key, self.query))] = place(self.query)
        return places


def relevant(data: Retrieval, measure: Measure) -> Relevant:
    """The relevant documents by the judgments that a measure goes by."""
    graded = data.binary is None or measure.definition("retrieval").graded
    qrels = data.qrels if graded or data.binary is None else data.binary
    rows = np.flatnonzero(qrels.gains > 0)
    return Relevant(qrels, rows, qrels.query_rows[rows])


@dataclass(frozen=True)
class Rankings:
    """Rankings [q, k] of s systems, looked up once, to be judged by part of the judgments.

    Attributes:
        measure: What they are scored by.
        relevant: What could be found.
        found: Of each system, with the row of the judgment in place of its gain.
        scored: [q], the queries that have judgments.
    """

    measure: Measure
    relevant: Relevant
    found: tuple[Judged, ...]
    scored: Bool

    def ranks(self) -> Float64:
        """The rank of each relevant document in each ranking [s, p], from 0, infinite if absent."""
        ranks = np.full((len(self.found), len(self.relevant.qrels.docs)), np.inf)
        for row, found in zip(ranks, self.found, strict=True):
            row[found.gain.astype(np.int64)] = found.rank
        return np.asarray(ranks[:, self.relevant.rows])

    def means(self, stay: Bool) -> Float64:
        """The mean of the measure [s, v] of each system by each version of the judgments.

        Versions are taken for further queries, so that one pass scores them all.

        Args:
            stay: Which relevant documents are judged [v, p].
        """
        judgments, q = len(self.relevant.qrels.docs), len(self.scored)
        kept = np.ones((len(stay), judgments), np.bool_)
        kept[:, self.relevant.rows] = stay
        step = max(1, CHUNK // max(judgments, q))
        blocks = [self._block(kept[low : low + step], q) for low in range(0, len(kept), step)]
        return np.concatenate(blocks, axis=1)

    def _block(self, kept: Bool, q: int) -> Float64:
        """The same of a few versions; kept: [v, nnz]."""
        qrels = self.relevant.qrels
        gains, rows = qrels.gains.astype(np.float64), qrels.query_rows
        version, judgment = np.nonzero(kept)
        judged = version * q + rows[judgment], gains[judgment]
        means = []
        for one in self.found:
            at = one.gain.astype(np.int64)
            version, hit = np.nonzero(kept[:, at])
            found = Judged(
                len(kept) * q, version * q + one.query[hit], one.rank[hit], gains[at[hit]], *judged
            )
            values = self.measure.values(found, kind="retrieval").reshape(len(kept), q)
            means.append(values[:, self.scored].mean(axis=1))
        return np.stack(means)


def rankings(runs: Sequence[Run], data: Retrieval, measure: Measure) -> Rankings:
    """Look rankings up in the judgments of a collection."""
    wanted = relevant(data, measure)
    rows: Any = np.arange(len(wanted.qrels.gains))
    found = tuple(find(run, replace(wanted.qrels, gains=rows)) for run in runs)
    return Rankings(measure, wanted, found, data.qrels.judged)


@dataclass(frozen=True)
class Ordered:
    """Rankings with their order by all judgments.

    Attributes:
        rankings: Of s systems.
        values: The measure of each judged query [s, q].
        pairs: Two systems each that differ [n, 2].
        bucket: [n], how many of the bounds the p-value of each pair's difference reaches.
        best: int64 [s], the systems, the best first.
    """

    rankings: Rankings
    values: Float64
    pairs: Int64
    bucket: Int64
    best: Int64

    def keep_order(self, stay: Bool) -> Float64:
        """Whether pairs keep their order [n, v] by versions of the judgments."""
        return aggregate.kept_order(self.values.mean(axis=1), self.rankings.means(stay))[1]


def order_systems(
    runs: Sequence[Run], data: Retrieval, measure: Measure, bounds: Sequence[float], seed: int
) -> Ordered:
    """Order systems by all judgments.

    Args:
        runs: A ranking [q, k] of each system.
        data: Their collection.
        measure: With a value for each query.
        bounds: Of p-values, ascending, that part pairs into groups.
        seed: Of the paired randomisation tests.

    Raises:
        InputError: where all systems score the same.
    """
    found = rankings(runs, data, measure)
    qrels = found.relevant.qrels
    values = np.stack(
        [measure.values(find(run, qrels), kind="retrieval")[found.scored] for run in runs]
    )
    means = values.mean(axis=1)
    pairs, _ = aggregate.kept_order(means, means[:, None])
    if not len(pairs):
        raise InputError(f"all {len(runs)} systems score the same: there is no order to keep")
    apart = [values[one] - values[other] for one, other in pairs]
    p = [stats.randomisation(each, seed).two_sided for each in apart]
    sign = -1 if measure.definition(data.kind).better == "low" else 1
    best = np.argsort(-sign * means, kind="stable")
    return Ordered(found, values, pairs, np.searchsorted(bounds, p, side="right"), best)


def keys(selection: str, found: Rankings, corpus: Corpus) -> Float64:
    """By what relevant documents are ordered [v, p]: those of low keys stay judged longest.

    Args:
        selection: longest or shortest text first; popular, found by most systems first; system,
            by each system's ranks in turn.
        found: Rankings of systems.
        corpus: Where the documents are from.
    """
    if selection in ("longest", "shortest"):
        docs = found.relevant.docs
        lengths: Float64 = np.array([len(text) for text in corpus.texts], np.float64)
        if corpus.parents is not None:
            lengths = np.bincount(corpus.parents, lengths, len(corpus.ranked)).astype(np.float64)
        known = np.where(docs >= 0, lengths[docs], np.nan)  # not-a-number is sorted last
        return (-known if selection == "longest" else known)[None]
    ranks = found.ranks()
    if selection == "popular":
        return np.asarray(-(ranks < found.measure.depth).sum(axis=0, dtype=np.float64)[None])
    return ranks


def least_share(shares: Sequence[float], taus: Sequence[float], enough: float) -> float | None:
    """The least share from which on tau is high enough, 1 for none; None where no tau is known."""
    if not shares or np.isnan(taus).all():
        return None
    low = [at for at, tau in enumerate(taus) if tau < enough]
    return ([*shares, 1.0])[low[-1] + 1 if low else 0]
