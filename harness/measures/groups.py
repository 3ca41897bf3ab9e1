"""Measures over queries that belong together: one question in parts or with other instructions."""

from __future__ import annotations

import numpy as np

from harness.arrays import Float64, Int32, Int64, spans
from harness.data import Changes, Qrels
from harness.errors import InputError
from harness.measures import measure
from harness.measures.judged import Judged, find
from harness.measures.retrieval import average_precision, ndcg
from harness.vectors import Run, ranking


@measure(
    "Robustness", cutoff=True, graded=True, needs=("groups",), mteb="robustness",
    citation="Oh et al. 2024, InstructIR",
)  # fmt: skip
def robustness(judged: Judged, cutoff: int, groups: Int64) -> Float64:
    """The lowest nDCG among the instructions of a query, one value a query.

    groups: [q].
    """
    values, scored = ndcg(judged, cutoff), judged.scored
    return group_minimum(values[scored], groups[scored])


@measure(
    "MergedAP", cutoff=True, graded=True, needs=("run", "qrels", "groups"),
    mteb="max_over_subqueries_map", citation="MTEB's MindSmallReranking",
)  # fmt: skip
def merged_average_precision(
    judged: Judged, cutoff: int, run: Run, qrels: Qrels, groups: Int64
) -> Float64:
    """AP of each group of queries taken for one question.

    run: [q, k]; groups: [q].
    """
    return average_precision(find(*join_groups(run, qrels, groups)), cutoff)


@measure(
    "p-MRR", needs=("run", "changes"), citation="Weller et al. 2024, FollowIR, as MTEB computes it"
)
def paired_reciprocal_rank(judged: Judged, run: Run, changes: Changes) -> Float64:
    """How far documents fall that a changed instruction made irrelevant, one value a query."""
    return p_mrr(run, changes)


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


def join_groups(run: Run, qrels: Qrels, groups: Int64) -> tuple[Run, Qrels]:
    """Each group of judged queries as one question: run [g, k] and judgments, groups ascending.

    run: [q, k]; groups: [q]. A document has its best score for any query of the group; the
    judgments are those of the last query, as MTEB takes them: it judges all parts of a question
    alike. The mean AP@1000 of these is MTEB's main score of MindSmallReranking.
    """
    judged = np.flatnonzero(qrels.judged)
    _, last, inverse = np.unique(groups[judged][::-1], return_index=True, return_inverse=True)
    places = np.flatnonzero(run.docs[judged].ravel() >= 0)
    rows = inverse[::-1][places // run.docs.shape[1]]
    docs, scores = run.docs[judged].ravel()[places], run.scores[judged].ravel()[places]
    order = np.lexsort((-scores, docs, rows))
    rows, docs, scores = rows[order], docs[order], scores[order]
    best = np.append(True, (rows[1:] != rows[:-1]) | (docs[1:] != docs[:-1]))[: len(rows)]
    merged = ranking.of_cells(
        rows[best], docs[best], scores[best], q=len(last), k=run.docs.shape[1]
    )
    ends = judged[::-1][last]
    lengths = np.diff(qrels.indptr)[ends]
    cells = spans(qrels.indptr[ends], lengths)
    return merged, Qrels(np.append(0, lengths.cumsum()), qrels.docs[cells], qrels.gains[cells])
