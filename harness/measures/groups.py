"""Measures over queries that belong together: one question under several instructions."""

from __future__ import annotations

import numpy as np

from harness.types import Changes, Float64, InputError, Int32, Int64, Run


def p_mrr(run: Run, changes: Changes) -> Float64:
    """[g]: pairwise MRR of each query whose instruction changed, by its row `changes.before`.

    The mean of `rank_change` over the documents that the new instruction made irrelevant (FollowIR,
    arXiv 2403.15246, as MTEB computes it); the score of a task is the mean over its queries.
    """
    before = ranks(run, changes.before, changes.docs)
    after = ranks(run, changes.after, changes.docs)
    _, rows = np.unique(changes.before, return_inverse=True)
    return np.asarray(np.bincount(rows, rank_change(before, after)) / np.bincount(rows))


def ranks(run: Run, queries: Int64, documents: Int32) -> Int64:
    """Rank of one document for one query, from 1; behind all results where it is not among them.

    queries, documents: [n] rows, -1 for a document that the corpus does not hold; returns [n].
    """
    results = run.docs[queries]
    hit = results == documents[:, None]  # the first padding, -1, stands behind all results
    absent = (results >= 0).sum(axis=1) + 1
    return np.asarray(np.where(hit.any(axis=1), hit.argmax(axis=1) + 1, absent))


def rank_change(before: Int64, after: Int64) -> Float64:
    """How far documents fell between two rankings: from -1 to 1, above 0 for one that fell.

    before, after: [n] ranks from 1. Returns [n]: 1 - before / after where a document fell, else
    after / before - 1 (FollowIR). Raises InputError for a rank below 1.
    """
    if min(before.min(initial=1), after.min(initial=1)) < 1:
        raise InputError("a rank below 1: expected ranks that count from 1")
    return np.where(before >= after, after / before - 1, 1 - before / after)


def group_minimum(values: Float64, groups: Int64) -> Float64:
    """[g]: the lowest value of each group, groups ascending. values, groups: [n].

    Of nDCG@10 over the instructions of a query, the mean of these is Robustness@10 (InstructIR,
    arXiv 2402.14334).
    """
    known, rows = np.unique(groups, return_inverse=True)
    lowest = np.full(len(known), np.inf)
    np.minimum.at(lowest, rows, values)
    return lowest
