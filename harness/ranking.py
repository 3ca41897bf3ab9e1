"""The one ranking rule: score descending as float32, ties by document id descending.

trec_eval's rule (form_res_rels.c). Documents are sorted by id, so an id is its row number, and a
score with its row packs into one integer whose order is the rule: ranking, merging and cutting
are a sort of integers, and nothing sorts again later. Key 0 is padding: it ranks below all else.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.types import Float32, Int32, Run

Keys = NDArray[np.uint64]
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
