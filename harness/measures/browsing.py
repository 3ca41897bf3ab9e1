"""Measures that model how somebody reads down a ranking, and where they stop."""

from __future__ import annotations

import numpy as np

from harness.arrays import Float64
from harness.errors import InputError
from harness.measures import measure
from harness.measures.judged import Judged, place


@measure(
    "ERR", cutoff=True, graded=True, aliases=("expected_reciprocal_rank",),
    citation="Chapelle et al. 2009; gdeval is ERR(top=4)",
)  # fmt: skip
def expected_reciprocal_rank(judged: Judged, cutoff: int, top: float | None = None) -> Float64:
    """Expected 1 / rank that satisfies a reader: gain g does with probability (2^g - 1) / 2^top.

    top: the highest grade there is; None for the highest among the judgments.
    """
    highest = judged.judged_gain.max(initial=0)
    grade = highest if top is None else top
    if grade < highest:
        raise InputError(
            f"ERR(top={top:g}): the judgments hold a gain of {highest:g}, which is more"
        )
    within = judged.find_relevant(cutoff)
    query, rank = judged.query[within], judged.rank[within]
    # (2^gain - 1) / 2^grade, so that no power of a high grade is infinite
    satisfied = 2.0 ** (judged.gain[within] - grade) - 2.0**-grade
    staying, values = np.ones(judged.size), np.zeros(judged.size)
    order = np.argsort(place(query), kind="stable")
    for rows in np.split(order, np.cumsum(np.bincount(place(query)))[:-1]):
        at = query[rows]  # each query once: its first relevant result, then its second
        values[at] += staying[at] * satisfied[rows] / (rank[rows] + 1)
        staying[at] *= 1 - satisfied[rows]
    return values


@measure("RBP", cutoff="optional", citation="Moffat and Zobel 2008")
def rank_biased_precision(judged: Judged, cutoff: int | None, p: float = 0.8) -> Float64:
    """Relevant share of the documents seen by a reader who goes on from each with probability p."""
    if not 0 < p < 1:
        raise InputError(f"RBP(p={p:g}): expected a probability between 0 and 1")
    return judged.total((1 - p) * p**judged.rank, judged.find_relevant(cutoff))
