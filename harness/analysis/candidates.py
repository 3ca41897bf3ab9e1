"""Candidates for MaxSim: where a query's first document stands among them, and token search.

1Recall@N is the share of queries that have the document that MaxSim ranks first among their first
N candidates (Dhulipala et al. 2024, arXiv 2405.19504). A document that scores as the first counts
as it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from harness.arrays import Int64
from harness.progress import Progress
from harness.stats import quantile_ranks
from harness.vectors import MultiVector, Run

NEVER = np.iinfo(np.int64).max  # candidates that a query needs whose document is not found


def draw(texts: MultiVector, n: int, seed: int) -> MultiVector:
    """Draw n texts without replacement, which stay in their order."""
    return texts.take(np.sort(np.random.default_rng(seed).permutation(len(texts))[:n]))


def first_ranks(run: Run, truth: Run) -> Int64:
    """The rank [q] in a run of what is first by MaxSim, from 1; NEVER where it is not there.

    Args:
        run: Candidates [q, n], in any order of preference.
        truth: By MaxSim [q, k], deep enough to hold what scores as the first does.
    """
    found = np.zeros(run.docs.shape, np.bool_)
    for docs, first in zip(truth.docs.T, _first(truth).T, strict=True):
        found |= (run.docs == docs[:, None]) & first[:, None]
    return np.where(found.any(axis=1), 1 + found.argmax(axis=1), NEVER)


def found_within(needed: Int64, depths: Sequence[int]) -> list[float]:
    """1Recall at each depth.

    Args:
        needed: Candidates that each query needs [q].
        depths: Candidates that are looked at.
    """
    return [float((needed <= depth).mean()) for depth in depths]


def enough_for(needed: Int64, shares: Sequence[float]) -> list[int | None]:
    """The fewest candidates that are enough for a share of the queries; None where none are.

    Args:
        needed: Candidates that each query needs [q].
        shares: Of the queries, above 0 and up to 1.
    """
    ordered = np.sort(needed)
    return [_take_rank(ordered, math.ceil(share * len(ordered))) for share in shares]


def enough_interval(needed: Int64, share: float) -> tuple[int | None, int | None]:
    """The 95% interval of the candidates that are enough for a share of all such queries.

    Args:
        needed: Candidates that each query needs [q].
        share: Of the queries, above 0 and below 1.

    Returns:
        The fewest, 1 where the queries are too few to tell, and the most; None for what is more
        than was looked at, or than the queries can tell.
    """
    ordered, (low, high) = np.sort(needed), quantile_ranks(len(needed), share)
    return _take_rank(ordered, low) if low else 1, _take_rank(ordered, high)


def _take_rank(ordered: Int64, rank: int) -> int | None:
    """Candidates [q], ascending, at a rank from 1; None where there is none, or they are NEVER."""
    found = int(ordered[rank - 1]) if rank <= len(ordered) else NEVER
    return None if found == NEVER else found


def token_search(
    queries: MultiVector, documents: MultiVector, truth: Run, progress: Progress
) -> tuple[Int64, Int64]:
    """Candidates [q] that token search needs to find what is first by MaxSim.

    Each vector of a query finds its nearest among the vectors of all documents, in rounds: a round
    adds a candidate for each vector of the query.

    Args:
        queries: Each with a vector at least.
        documents: Likewise.
        truth: By MaxSim [q, k], deep enough to hold what scores as the first does.
        progress: Told of queries done.

    Returns:
        Candidates where a document that is found again counts again, and where it counts once.
    """
    q, ties = len(queries), _first(truth)
    repeats, once = np.zeros(q, np.int64), np.zeros(q, np.int64)
    for row in range(q):
        own = queries.values[queries.offsets[row] : queries.offsets[row + 1]]
        products = own @ documents.values.T
        highest = np.maximum.reduceat(products, documents.offsets[:-1], axis=1)
        wanted = highest[:, truth.docs[row, ties[row]]].max(axis=1)
        nearer = np.count_nonzero(products > wanted[:, None], axis=1)
        rounds = int(nearer.min()) + 1
        last = np.partition(products, -rounds, axis=1)[:, -rounds]
        repeats[row] = rounds * len(own)
        once[row] = np.count_nonzero((highest >= last[:, None]).any(axis=0))
        progress("token search", row + 1, q, "queries")
    return repeats, once


def _first(truth: Run) -> NDArray[np.bool_]:
    """Which documents score as the first does [q, k]."""
    ties: NDArray[np.bool_] = (truth.docs >= 0) & (truth.scores == truth.scores[:, :1])
    return ties
