"""Measures of rankings, over arrays; trec_eval's definitions, one number a query.

A document is relevant if its gain is above 0. A query without results scores 0, and so does one
whose judgments hold nothing relevant. Runs come ranked: nothing here sorts results.

Source: https://github.com/usnistgov/trec_eval/tree/f425365 (m_ndcg_cut.c, m_map_cut.c, m_recall.c,
m_P.c, m_recip_rank.c, m_success.c).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.arrays import Float64, Int64
from harness.data import Qrels
from harness.vectors import Run


@dataclass(frozen=True)
class Found:
    """The judged documents among the results, by query and then by rank.

    size: number of queries q. query, rank (from 0), gain: [h], one row a judged result.
    judged_query, judged_gain: [nnz], the judgments themselves.
    """

    size: int
    query: Int64
    rank: Int64
    gain: Float64
    judged_query: Int64
    judged_gain: Float64

    def total(self, value: NDArray[Any], where: NDArray[np.bool_]) -> Float64:
        """[q]: the sum over each query's rows of `value` [h] where `where` [h] holds."""
        return _sums(self.query[where], value[where], self.size)

    def within(self, cutoff: int) -> NDArray[np.bool_]:
        """[h]: relevant and ranked above the cut-off."""
        return (self.gain > 0) & (self.rank < cutoff)

    def hits(self, cutoff: int) -> Float64:
        """[q]: relevant results above the cut-off."""
        return self.total(np.ones(len(self.query)), self.within(cutoff))

    @cached_property
    def relevant(self) -> Float64:
        """[q]: relevant documents, found or not."""
        return _sums(self.judged_query, self.judged_gain > 0, self.size)

    @cached_property
    def ideal(self) -> tuple[Int64, Int64, Float64]:
        """Query, rank and gain [r] of the best possible ranking."""
        kept = self.judged_gain > 0
        query, gain = self.judged_query[kept], self.judged_gain[kept]
        order = np.lexsort((-gain, query))
        query, gain = query[order], gain[order]
        return query, place(query), gain


def _sums(query: Int64, value: NDArray[Any], size: int) -> Float64:
    """[size]: the sum of values by query."""
    return np.bincount(query, value, minlength=size).astype(np.float64, copy=False)


def place(query: Int64) -> Int64:
    """[h]: how many rows of the same query come before; `query` is ascending."""
    return np.arange(len(query)) - np.searchsorted(query, query)


def find(run: Run, qrels: Qrels) -> Found:
    """Look every result up in the judgments. run: [q, k], ranked."""
    q, k = run.docs.shape
    width = max(run.docs.max(initial=0), qrels.docs.max(initial=0)) + 1
    known = qrels.docs >= 0
    anywhere = np.zeros(width, np.bool_)  # judged for any query: few results are worth a search
    anywhere[qrels.docs[known]] = True
    flat = run.docs.ravel()
    candidates = np.flatnonzero(anywhere[flat] & (flat >= 0))
    judged = qrels.query_rows[known] * width + qrels.docs[known]  # ascending, as qrels are sorted
    wanted = (candidates // k) * width + flat[candidates]
    at = np.searchsorted(judged, wanted)
    at[at == len(judged)] = 0
    hit = judged[at] == wanted if len(judged) else np.zeros(len(wanted), np.bool_)
    query, rank = np.divmod(candidates[hit], k)
    gains = qrels.gains.astype(np.float64)
    return Found(q, query, rank, gains[known][at[hit]], qrels.query_rows, gains)


def discount(rank: Int64) -> Float64:
    """1 / log2(rank + 2) for ranks from 0 (Järvelin and Kekäläinen 2002, base 2)."""
    return np.asarray(1 / np.log2(rank + 2.0))


def ndcg(found: Found, cutoff: int) -> Float64:
    """Normalised discounted cumulative gain, linear gains (trec_eval's ndcg_cut)."""
    query, rank, gain = found.ideal
    above = rank < cutoff
    best = _sums(query[above], gain[above] * discount(rank[above]), found.size)
    got = found.total(found.gain * discount(found.rank), found.within(cutoff))
    return ratio(got, best)


def average_precision(found: Found, cutoff: int) -> Float64:
    """Mean over all relevant documents of precision at their rank (map_cut)."""
    within = found.within(cutoff)
    precision = np.zeros(len(found.query))
    precision[within] = (place(found.query[within]) + 1) / (found.rank[within] + 1)
    return ratio(found.total(precision, within), found.relevant)


def recall(found: Found, cutoff: int) -> Float64:
    """Relevant results above the cut-off, of all relevant documents."""
    return ratio(found.hits(cutoff), found.relevant)


def precision(found: Found, cutoff: int) -> Float64:
    """Relevant results above the cut-off, of the cut-off, also where fewer were returned."""
    return found.hits(cutoff) / cutoff


def r_precision(found: Found, cutoff: int) -> Float64:
    """Relevant results above the cut-off, of min(cut-off, relevant): BEIR's capped recall."""
    return ratio(found.hits(cutoff), np.minimum(found.relevant, cutoff))


def success(found: Found, cutoff: int) -> Float64:
    """1 where anything relevant stands above the cut-off, else 0."""
    return (found.hits(cutoff) > 0).astype(np.float64)


def reciprocal_rank(found: Found, cutoff: int) -> Float64:
    """1 / rank of the first relevant result above the cut-off, else 0."""
    within = found.within(cutoff)
    first = within.copy()
    first[within] = place(found.query[within]) == 0
    return found.total(1 / (found.rank + 1.0), first)


def judged(found: Found, cutoff: int) -> Float64:
    """Results above the cut-off that were judged at all, of the cut-off."""
    return found.total(np.ones(len(found.query)), found.rank < cutoff) / cutoff


def ratio(part: Float64, whole: Float64) -> Float64:
    """Part / whole, 0 where the whole is 0."""
    return np.divide(part, whole, out=np.zeros(len(part)), where=whole > 0)


GRADED = frozenset({"nDCG", "Judged"})  # the others ask only whether a document is relevant

RETRIEVAL: dict[str, Callable[[Found, int], Float64]] = {
    "nDCG": ndcg,
    "AP": average_precision,
    "RR": reciprocal_rank,
    "R": recall,
    "P": precision,
    "RP": r_precision,
    "Success": success,
    "Judged": judged,
}
