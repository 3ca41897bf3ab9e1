"""The one ranking rule: score descending as float32, ties by document id descending.

trec_eval's rule (form_res_rels.c). Documents are sorted by id, so an id is its row number, and a
score with its row packs into one integer whose order is the rule: ranking, merging and cutting
are a sort of integers, and nothing sorts again later. Key 0 is padding: it ranks below all else.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.arrays import Float32, Int32, Int64
from harness.vectors import Run

MANY = 0.5  # of the queries, whose scores tie at the cut-off

Keys = NDArray[np.uint64]
Cells = tuple[Int64, Int32]  # rows of queries, ascending, and of documents [p]
SIGN = np.uint32(0x8000_0000)
ROW_BITS = np.uint64(32)


def pack(scores: Float32, rows: NDArray[np.integer]) -> Keys:
    """Keys whose descending order is the ranking rule; rows below 0 become padding.

    scores: float32 [...], finite; rows: integers [...] below 2^31.
    """
    bits = (scores + np.float32(0)).view(np.uint32)  # adding 0 makes -0.0 equal to 0.0
    ordered = np.where(bits & SIGN, ~bits, bits | SIGN)
    keys = (ordered.astype(np.uint64) << ROW_BITS) | rows.astype(np.uint32)
    keys[rows < 0] = 0
    return keys


def unpack(keys: Keys) -> Run:
    """The run that ranked keys [q, k] stand for; padding has row -1 and score 0."""
    ordered = (keys >> ROW_BITS).astype(np.uint32)
    scores = np.where(ordered & SIGN, ordered & ~SIGN, ~ordered).view(np.float32)
    padding = keys == 0
    docs = keys.astype(np.uint32).view(np.int32)
    return Run(np.where(padding, np.int32(-1), docs), np.where(padding, np.float32(0), scores))


def best(keys: Keys, k: int) -> Keys:
    """The k best of each row [q, n], best first; a row with fewer is padded."""
    n = keys.shape[1]
    if n > 4 * k:  # a partition is cheaper than sorting what is thrown away
        keys = np.partition(keys, n - k, axis=1)[:, n - k :]
    ranked = np.sort(keys, axis=1)[:, ::-1][:, :k]
    return np.pad(ranked, ((0, 0), (0, k - ranked.shape[1]))) if ranked.shape[1] < k else ranked


def without(run: Run, rows: Int32) -> Run:
    """Drop one document from each query's ranking and close the gap.

    run: [q, k]; rows: int32 [q], -1 for nothing to drop. Returns a run [q, k-1], so that a search
    for k+1 leaves k results.
    """
    q, k = run.docs.shape
    drop = (run.docs == rows[:, None]) & (rows[:, None] >= 0)
    drop[~drop.any(axis=1), -1] = True
    return Run(run.docs[~drop].reshape(q, k - 1), run.scores[~drop].reshape(q, k - 1))


def find_tied(run: Run, cut: int) -> NDArray[np.bool_]:
    """Queries [q] whose last result within a cut-off scores as the first beyond it does.

    run: [q, k]; none where no more than `cut` results are kept.
    """
    if cut >= run.docs.shape[1]:
        return np.zeros(len(run.docs), np.bool_)
    tied: NDArray[np.bool_] = run.scores[:, cut - 1] == run.scores[:, cut]
    return tied & (run.docs[:, cut] >= 0)


def share_tied(run: Run, cut: int) -> float | None:
    """Share of the queries with a tie at a cut-off; None where there are no queries."""
    tied = find_tied(run, cut)
    return float(tied.mean()) if len(tied) else None


def note_ties(ties: float | None, cut: int) -> list[str]:
    """A warning where scores tie at a cut-off for many queries, as those of a collapsed model."""
    if ties is None or ties < MANY:
        return []
    return [
        f"{ties:.0%} of the queries have a tie at the cut-off of {cut:,}: which of the documents "
        "count is decided by their ids"
    ]


def by_parent(run: Run, parents: Int32, k: int) -> tuple[Run, NDArray[np.bool_]]:
    """Rank documents by their best passage (MaxP).

    run: [q, m] of passages; parents: int32 [n], the document of each passage. Returns a run [q, k]
    of documents and, [q], whether no passage beyond the m could change it.
    """
    q, m = run.docs.shape
    found = np.where(run.docs >= 0, parents[run.docs], -1)
    cells = np.flatnonzero(found.ravel() >= 0)
    width = int(parents.max()) + 1
    _, first = np.unique((cells // m) * width + found.ravel()[cells], return_index=True)
    best_of = np.zeros(q * m, np.bool_)
    best_of[cells[first]] = True  # a ranking is descending: the first passage is the best
    rows = np.where(best_of.reshape(q, m), found, -1)
    keys = best(pack(run.scores, rows), k)
    ended = run.docs[:, -1] < 0
    last = np.where(keys[:, k - 1] > 0, unpack(keys[:, k - 1 :]).scores[:, 0], -np.inf)
    return unpack(keys), ended | (last > run.scores[:, -1])


def of_cells(rows: Int64, docs: Int32, scores: Float32, *, q: int, k: int) -> Run:
    """The run [q, k] of scored (query row, document) cells [p]; rows ascending."""
    count = np.bincount(rows, minlength=q)
    table = np.zeros((q, max(k, count.max(initial=0))), np.uint64)
    table[np.arange(table.shape[1]) < count[:, None]] = pack(scores, docs)
    return unpack(best(table, k))


def reorder(run: Run, cells: Cells, scores: Float32, *, depth: int, k: int) -> Run:
    """The k best of a run [q, m] whose first `depth` results, the cells [p], have new scores.

    These come first, by the ranking rule; the others follow in their order, each scored 1 lower.
    """
    rows, docs = cells
    q, width = run.docs.shape
    head = of_cells(rows, docs, scores, q=q, k=min(depth, width))
    left = run.docs[:, depth:]
    lowest = np.where(head.docs >= 0, head.scores, np.inf).min(axis=1, initial=np.inf)
    lower = lowest[:, None] - 1 - np.arange(left.shape[1])
    below = np.where(left >= 0, lower, 0).astype(np.float32)
    both = np.hstack([head.docs, left])[:, :k], np.hstack([head.scores, below])[:, :k]
    return Run(*both)
