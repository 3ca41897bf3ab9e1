"""How queries lie to their nearest documents: local intrinsic dimension, and cosines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from harness.arrays import Float32, Float64
from harness.measures.pairs import correlation
from harness.stats import Estimate, bootstrap_correlation
from harness.vectors import Run

BLOCK = 1 << 12  # queries whose distances are computed at a time
NTH = (1, 10, 100)  # neighbours whose cosine is told


@dataclass(frozen=True)
class Nearness:
    """How queries lie to their nearest documents. The less cosines differ, the harder the search.

    Attributes:
        lid: Mean local intrinsic dimension of the queries; None where none has one.
        cosines: Mean cosine of the nth nearest document, by n of NTH.
        average: Mean cosine of all documents.
    """

    lid: float | None
    cosines: Mapping[int, float]
    average: float


def nearness(documents: Float32, queries: Float32, near: Run, lids: Float64) -> Nearness:
    """Measure how far the nearest documents stand out.

    Args:
        documents: Vectors [n, d].
        queries: Vectors [q, d].
        near: The nearest documents of each query [q, k].
        lids: Local intrinsic dimensions of the queries [q].
    """
    known = lids[np.isfinite(lids)]
    lengths = [np.linalg.norm(part, axis=1) for part in (documents, queries)]
    here, there = (
        np.divide(part, norm[:, None], out=np.zeros_like(part), where=norm[:, None] > 0)
        for part, norm in zip((documents, queries), lengths, strict=True)
    )
    cosines = {
        nth: float(np.einsum("qd,qd->q", here[near.docs[:, nth - 1]], there).mean())
        for nth in NTH
        if nth <= near.docs.shape[1]
    }
    average = float(here.mean(axis=0, dtype=np.float64) @ there.mean(axis=0, dtype=np.float64))
    return Nearness(float(known.mean()) if len(known) else None, cosines, average)


def query_lid(documents: Float32, queries: Float32, near: Run) -> Float64:
    """Local intrinsic dimension of queries [q] by maximum likelihood (Amsaleg et al. 2015).

    -1 / mean of ln(r / largest r), r being Euclidean distances; a document at distance 0 is left
    out. Infinite where all are equally far.

    Args:
        documents: Vectors [n, d].
        queries: Vectors [q, d].
        near: The nearest documents of each query [q, k].
    """
    distances = np.empty(near.docs.shape)
    for column, docs in enumerate(near.docs.T):
        for low in range(0, len(queries), BLOCK):
            part = slice(low, low + BLOCK)
            apart = documents[docs[part]].astype(np.float64) - queries[part]
            distances[part, column] = np.sqrt(np.einsum("qd,qd->q", apart, apart))
    known = distances > 0
    farthest = distances.max(axis=1, keepdims=True)
    ratios = np.divide(distances, farthest, out=np.ones_like(distances), where=known)
    mean = -np.log(ratios).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    return np.asarray(np.divide(1, mean, out=np.full(len(mean), np.inf), where=mean > 0))


def lid_correlation(lids: Float64, recall: Float64, seed: int) -> Estimate | None:
    """Spearman's correlation of dimensions [q] and recall [q] of queries, with its interval.

    None where all recalls or all dimensions are equal.
    """
    if len(recall) < 2 or not np.ptp(recall) or not np.ptp(lids):
        return None
    rho = float(correlation("spearman", lids, recall))
    return Estimate(rho, *bootstrap_correlation("spearman", lids, recall, seed=seed))
