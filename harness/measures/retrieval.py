"""Measures of rankings, over arrays; trec_eval's definitions, one number a query.

A document is relevant if its gain is above 0. A query without results scores 0, and so does one
whose judgments hold nothing relevant. Runs come ranked: nothing here sorts results.

Source: https://github.com/usnistgov/trec_eval/tree/f425365 (m_ndcg_cut.c, m_map_cut.c, m_recall.c,
m_P.c, m_recip_rank.c, m_success.c, m_Rprec.c, m_bpref.c).
"""

from __future__ import annotations

import numpy as np

from harness.arrays import Float64, Int64
from harness.measures import DEPTH, measure
from harness.measures.judged import Judged, place, ratio, sums

TREC = "trec_eval"


def discount(rank: Int64) -> Float64:
    """1 / log2(rank + 2) for ranks from 0 (Järvelin and Kekäläinen 2002, base 2)."""
    return np.asarray(1 / np.log2(rank + 2.0))


@measure(
    "nDCG", cutoff=True, graded=True, mteb="ndcg",
    citation="Järvelin and Kekäläinen 2002; trec_eval's ndcg_cut",
)  # fmt: skip
def ndcg(judged: Judged, cutoff: int) -> Float64:
    """Normalised discounted cumulative gain, with linear gains."""
    query, rank, gain = judged.ideal
    above = rank < cutoff
    best = sums(query[above], gain[above] * discount(rank[above]), judged.size)
    got = judged.total(judged.gain * discount(judged.rank), judged.find_relevant(cutoff))
    return ratio(got, best)


@measure(
    "AP", cutoff=True, whole={"AP": DEPTH, "MAP": DEPTH}, mteb="map",
    citation="Buckley and Voorhees 2000; trec_eval's map_cut, and its map at 1000",
)  # fmt: skip
def average_precision(judged: Judged, cutoff: int) -> Float64:
    """Mean over all relevant documents of the precision at their rank."""
    within = judged.find_relevant(cutoff)
    precision = np.zeros(len(judged.query))
    precision[within] = (place(judged.query[within]) + 1) / (judged.rank[within] + 1)
    return ratio(judged.total(precision, within), judged.relevant)


@measure("R", cutoff=True, mteb="recall", citation=TREC)
def recall(judged: Judged, cutoff: int) -> Float64:
    """Relevant results above the cut-off, of all relevant documents."""
    return ratio(judged.hits(cutoff), judged.relevant)


@measure("P", cutoff=True, mteb="precision", citation=TREC)
def precision(judged: Judged, cutoff: int) -> Float64:
    """Relevant results above the cut-off, of the cut-off, also where fewer were returned."""
    return judged.hits(cutoff) / cutoff


@measure("RP", cutoff=True, aliases=("R_cap", "capped_recall"), citation="Thakur et al. 2021, BEIR")
def capped_recall(judged: Judged, cutoff: int) -> Float64:
    """Relevant results above the cut-off, of min(cut-off, relevant documents)."""
    return ratio(judged.hits(cutoff), np.minimum(judged.relevant, cutoff))


@measure("Rprec", aliases=("R-precision", "R_prec"), citation=TREC)
def r_precision(judged: Judged) -> Float64:
    """Precision among the first R results, where R documents are relevant."""
    above = judged.find_relevant(None) & (judged.rank < judged.relevant[judged.query])
    return ratio(judged.total(np.ones(len(above)), above), judged.relevant)


@measure("bpref", citation="Buckley and Voorhees 2004; trec_eval")
def bpref(judged: Judged) -> Float64:
    """How few judged not relevant rank above relevant documents; the unjudged do not count."""
    wrong = judged.gain == 0  # a gain below 0 is a pool's document that nobody judged
    before = np.cumsum(wrong)  # no relevant row adds to it, so the row itself does not count
    first = np.searchsorted(judged.query, np.arange(judged.size))
    earlier = np.append(0, before)[first]
    above = before - earlier[judged.query]
    most = np.minimum(judged.relevant, judged.irrelevant)[judged.query]
    lost = np.minimum(above, judged.relevant[judged.query]) / np.maximum(most, 1)
    return ratio(judged.total(1 - lost, judged.gain > 0), judged.relevant)


@measure("Success", cutoff=True, aliases=("hit", "hits"), mteb="hit_rate", citation=TREC)
def success(judged: Judged, cutoff: int) -> Float64:
    """1 where anything relevant stands above the cut-off, else 0."""
    return (judged.hits(cutoff) > 0).astype(np.float64)


@measure("RR", cutoff=True, whole={"recip_rank": DEPTH}, mteb="mrr", citation=TREC)
def reciprocal_rank(judged: Judged, cutoff: int) -> Float64:
    """1 / rank of the first relevant result above the cut-off, else 0."""
    within = judged.find_relevant(cutoff)
    first = within.copy()
    first[within] = place(judged.query[within]) == 0
    return judged.total(1 / (judged.rank + 1.0), first)


@measure("Judged", cutoff=True, graded=True, citation="ir-measures")
def share_judged(judged: Judged, cutoff: int) -> Float64:
    """Results above the cut-off that were judged at all, of the cut-off."""
    return judged.total(np.ones(len(judged.query)), judged.rank < cutoff) / cutoff
