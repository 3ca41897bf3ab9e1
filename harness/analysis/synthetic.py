"""Vectors of a prescribed intrinsic dimension, whatever the number of their components.

Elliott and Clark 2024 (arXiv 2405.17813) take such vectors to separate what the dimension of the
data does to a graph of neighbours from what the width of the vectors does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from harness.analysis.graphs import GraphSettings, graph_recall, nearest
from harness.analysis.nearness import Nearness, nearness, query_lid
from harness.arrays import Float32, Float64
from harness.errors import InputError
from harness.progress import Progress, silent
from harness.vectors.lengths import unit
from harness.wording import count

SPREAD = 0.5  # of a cluster, beside the length 1 of its centre
CLUSTERS = 20  # each larger than the neighbours looked at
SUBSPACE, CLUSTERED = "one subspace", f"{CLUSTERS} clusters"


def subspace(n: int, width: int, rank: int, *, seed: int = 0) -> Float32:
    """Vectors [n, width] of length 1, evenly spread in a random subspace.

    They are Gaussian in `rank` dimensions, rotated into `width` and scaled to length 1, so they lie
    on a sphere of rank - 1 dimensions. Raises InputError for a rank below 2 or above the width.
    """
    return draw_clusters(n, width, rank, clusters=1, spread=None, seed=seed)


def draw_clusters(
    n: int, width: int, rank: int, *, clusters: int, spread: float | None = SPREAD, seed: int = 0
) -> Float32:
    """Vectors [n, width] of length 1 in clusters, each in a subspace of its own.

    A centre of length 1 in a random direction and, added to it, a Gaussian in `rank` dimensions
    with a standard length of `spread`; None leaves out the centre. Vectors are assigned to clusters
    at random, so any of them are a sample. Raises InputError as `subspace`, and without clusters.
    """
    if not 2 <= rank <= width:
        raise InputError(f"rank {rank}: expected 2 to {width}, the width of the vectors")
    if n < 1 or clusters < 1:
        raise InputError(
            f"{count(n, 'vector')} in {count(clusters, 'cluster')}: expected at least one of each"
        )
    from threadpoolctl import threadpool_limits

    random = np.random.default_rng(seed)
    assigned = random.integers(clusters, size=n)
    values = np.empty((n, width), np.float32)
    with threadpool_limits(1):  # products of more threads may round otherwise
        for cluster in range(clusters):
            rows = np.flatnonzero(assigned == cluster)
            axes = np.linalg.qr(random.standard_normal((width, rank)))[0].astype(np.float32)
            around = random.standard_normal((len(rows), rank), np.float32) @ axes.T
            if spread is not None:
                centre = random.standard_normal((1, width))
                centre /= np.linalg.norm(centre)
                around = (centre + spread / rank**0.5 * around).astype(np.float32)
            values[rows] = around
    return unit(values)


@dataclass(frozen=True)
class VectorSet:
    """Documents and queries, how they lie, and what a graph finds of them.

    Attributes:
        name: What they are.
        rank: Dimensions of the subspace, or of that of each cluster; None for a model's vectors.
        near: How queries lie to documents.
        recall: What a graph finds, by ef_search [q].
    """

    name: str
    rank: int | None
    near: Nearness
    recall: Mapping[int, Float64]


def synthetic(
    ranks: Sequence[int],
    graph: GraphSettings,
    documents: int,
    *,
    width: int,
    queries: int = 500,
    progress: Progress = silent,
) -> list[VectorSet]:
    """Search vectors of prescribed dimension, in one subspace and in clusters.

    Args:
        ranks: Dimensions.
        graph: Built once for each; its first seed also draws the vectors.
        documents: How many there are.
        width: Components of a vector.
        queries: How many there are; they are drawn as documents are.
        progress: Told of graphs done.

    Raises:
        InputError: for a rank below 2 or above the width.
    """
    found, seed, n = list[VectorSet](), graph.seeds[0], documents + queries
    for kind in (SUBSPACE, CLUSTERED):
        for rank in ranks:
            progress("synthetic", len(found), 2 * len(ranks), "graphs")
            if kind == SUBSPACE:
                values = subspace(n, width, rank, seed=seed)
            else:
                values = draw_clusters(n, width, rank, clusters=CLUSTERS, seed=seed)
            here, there = values[:documents], values[documents:]
            truth = nearest(here, there)
            near = nearness(here, there, truth, query_lid(here, there, truth))
            grown = graph.grow(here, np.arange(documents), seed)
            recall = {ef: graph_recall(searcher, there, truth) for ef, searcher in grown}
            found.append(VectorSet(kind, rank, near, recall))
    progress("synthetic", len(found), len(found), "graphs")
    return found
