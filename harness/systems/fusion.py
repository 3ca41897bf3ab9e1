"""Rankings of several retrievers as one: by their ranks, or by a convex combination of scores.

A document that a retriever does not return counts there as its worst: nothing for ranks, the lowest
normalised score of the query for scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import inf
from typing import Literal

import numpy as np

from harness.arrays import Float64, Int64
from harness.data import Retrieval
from harness.errors import InputError
from harness.parameters import check_range
from harness.pipeline.single import Ranked, Request
from harness.rewriting import REWRITERS, Feedback
from harness.systems import RETRIEVERS, Retriever
from harness.systems.composite import Part, ask, deepen, join, rank_parts, split_parts
from harness.vectors import Run, ranking

Norm = Literal["min-max", "z-score", "theoretical", "none"]
Interpolate = Literal["after", "before", "both"]
STEPS = {2: 20, 3: 10}  # of a weight from 0 to 1 that are tried, by the number of retrievers


@RETRIEVERS.register("rrf")
def reciprocal_rank(
    target: str, *, k: int = 60, depth: int = 1000, interpolate: Interpolate = "after"
) -> Fusion:
    """Reciprocal rank fusion, the sum of 1 / (k + rank) over systems: rrf:bm25+minilm.

    depth: results of each. interpolate: around pseudo-relevance feedback (--rewrite), see convex.
    Cormack, Clarke and Buettcher 2009.
    """
    check_range("rrf", k=(k, 0, inf))
    return Fusion(split_parts("rrf", target), depth, interpolate, k=k)


@RETRIEVERS.register("convex")
def convex(
    target: str,
    *,
    weights: str = "",
    norm: Norm = "min-max",
    tune: str = "",
    depth: int = 1000,
    interpolate: Interpolate = "after",
) -> Fusion:
    """Weighted sum of normalised scores: convex:bm25+minilm,weights=0.4+0.6 or tune=dev.

    weights: one a retriever, equal without any; scaled to sum 1. tune: the split whose judgments
    choose them, never the one measured. norm: min-max and z-score of each query's results;
    theoretical: from the lowest score possible (0 for bm25, -1 for cosine) to the query's best
    (Bruch, Gai and Ingber 2023). depth: results of each. interpolate: combine after
    pseudo-relevance feedback, before it (feedback looks at the combination, and what it finds is
    the result), or both (Li et al. 2022, "To interpolate or not to interpolate").
    """
    parts = split_parts("convex", target)
    if weights and tune:
        raise InputError(f"convex: weights={weights} and tune={tune}: expected one of them")
    given = _weights(weights, len(parts)) if weights else (1 / len(parts),) * len(parts)
    if tune and len(parts) not in STEPS:
        raise InputError(f"convex: tune={tune}: weights of {len(parts)} are not tuned: give them")
    return Fusion(parts, depth, interpolate, norm=norm, weights=given, tune=tune)


@dataclass(frozen=True)
class Fusion(Retriever):
    """Retrievers by their specs, and how their rankings become one: by ranks where k is given."""

    systems: tuple[str, ...]
    depth: int
    interpolate: Interpolate
    k: int | None = None
    norm: Norm = "none"
    weights: tuple[float, ...] = ()
    tune: str = ""

    def __post_init__(self) -> None:
        check_range("fusion", depth=(self.depth, 1, inf))

    @property
    def parts(self) -> tuple[str, ...]:
        """What is fused."""
        return self.systems

    def rank(self, spec: str, data: Retrieval, request: Request) -> Ranked:
        """Rank by each, and combine; around feedback as `interpolate` says."""
        asked = deepen(request, self.depth)
        k = min(request.depth, len(data.corpus.ranked))
        chosen = self._tune(asked)
        feedback = isinstance(REWRITERS.create(request.rewrite), Feedback)
        if not feedback or self.interpolate == "after":
            found = rank_parts(self.parts, data, asked)
        else:
            found, chosen = self._around(data, asked, chosen)
        with request.clock.phase("search", "fusion", items=len(data.queries), unit="queries"):
            run = self._fuse([part for _, part in found], chosen, k)
        answer = ask(found, lambda parts: self._fuse(parts, chosen, k))
        return join(spec, found, run, request, weights=chosen, answer=answer)

    def _around(
        self, data: Retrieval, request: Request, weights: tuple[float, ...]
    ) -> tuple[list[Part], tuple[float, ...]]:
        """Parts and weights to combine, by feedback that looks at a combination."""
        if data.corpus.parents is not None:
            raise InputError(
                f"interpolate={self.interpolate}: feedback looks at passages, and a combination "
                "ranks documents: use interpolate=after"
            )
        before = rank_parts(self.parts, data, replace(request, rewrite="none"))
        first = self._fuse([part for _, part in before], weights, request.depth)
        moved = rank_parts(self.parts, data, replace(request, feedback=first))
        if self.interpolate == "both":
            return moved, weights
        kept = [i for i, (_, part) in enumerate(moved) if part.rewritten]
        if not kept:
            raise InputError(f"no part of {'+'.join(self.parts)} takes {request.rewrite}")
        total = sum(weights[i] for i in kept) if weights else 0
        scaled = tuple(weights[i] / total if total else 1 / len(kept) for i in kept)
        return [moved[i] for i in kept], scaled if weights else ()

    def _tune(self, request: Request) -> tuple[float, ...]:
        """The weights; chosen by the judgments of another split, where that is asked for."""
        if not self.tune:
            return self.weights
        if request.tuning is None:
            raise InputError(f"tune={self.tune}: there is no other split here: give weights")
        clock = request.clock.aside("tuning")
        with clock.phase("load", self.tune):
            tuning = request.tuning(self.tune)
        asked = replace(request, clock=clock, rewrite="none")
        found = [part for _, part in rank_parts(self.parts, tuning.data, asked)]
        steps, scored = STEPS[len(found)], list[tuple[float, float, tuple[float, ...]]]()
        for counts in product(range(steps + 1), repeat=len(found)):
            if sum(counts) == steps:
                weights = tuple(count / steps for count in counts)
                score = tuning.score(self._fuse(found, weights, request.depth))
                uneven = sum((weight - 1 / len(found)) ** 2 for weight in weights)
                scored.append((score, -uneven, weights))
        return max(scored)[2]

    def _fuse(self, found: Sequence[Ranked], weights: tuple[float, ...], k: int) -> Run:
        runs = [part.run for part in found]
        if self.k is not None:
            return by_rank(runs, self.k, k)
        scores, floors = zip(*(normalise(part, self.norm) for part in found), strict=True)
        return by_score(runs, scores, floors, weights, k)


def by_rank(runs: Sequence[Run], constant: int, k: int) -> Run:
    """Reciprocal rank fusion of runs [q, any]: the k best by the sum of 1 / (constant + rank)."""
    scores = [
        np.broadcast_to(1 / (constant + 1.0 + np.arange(run.docs.shape[1])), run.docs.shape)
        for run in runs
    ]
    floors = [np.zeros(len(run.docs)) for run in runs]
    return by_score(runs, scores, floors, (1.0,) * len(runs), k)


def by_score(
    runs: Sequence[Run],
    scores: Sequence[Float64],
    floors: Sequence[Float64],
    weights: Sequence[float],
    k: int,
) -> Run:
    """The k best by the weighted sum of scores [q, any], in float64, in the order of the runs.

    floors: [q] of each run, the score of a document that it does not hold.
    """
    cells, parts = list[Int64](), list[Float64]()
    width = 1 + max(int(run.docs.max(initial=0)) for run in runs)
    for run, score, floor, weight in zip(runs, scores, floors, weights, strict=True):
        rows, columns = np.nonzero(run.docs >= 0)
        cells.append(rows * width + run.docs[rows, columns])
        parts.append(weight * (score[rows, columns] - floor[rows]))
    keys, of = np.unique(np.concatenate(cells), return_inverse=True)
    sums = np.bincount(of, np.concatenate(parts), minlength=len(keys))
    rows, docs = np.divmod(keys, width)
    least = sum(weight * floor for weight, floor in zip(weights, floors, strict=True))
    total = (sums + np.asarray(least)[rows]).astype(np.float32)
    return ranking.of_cells(rows, docs.astype(np.int32), total, q=len(runs[0].docs), k=k)


def normalise(part: Ranked, norm: Norm) -> tuple[Float64, Float64]:
    """Scores [q, k] on a common scale, and [q] that of a document which is not among them.

    Equal scores are 1 (min-max) or 0 (z-score). Raises InputError for the theoretical bounds of
    scores that have none.
    """
    run, least = part.run, part.least
    found = run.docs >= 0
    scores = np.where(found, run.scores.astype(np.float64), np.nan)
    none = ~found.any(axis=1)
    scores[none] = 0  # of a query without results: whatever they are, they are of no document
    if norm == "none":
        return scores, np.nanmin(scores, axis=1)
    if norm == "z-score":
        deviation = np.nanstd(scores, axis=1, keepdims=True)
        values = (scores - np.nanmean(scores, axis=1, keepdims=True)) / np.where(
            deviation > 0, deviation, 1
        )
        return values, np.nanmin(values, axis=1)
    if norm == "theoretical" and least is None:
        raise InputError(
            f"norm=theoretical: the scores of {part.system.spec} have no lowest one that is "
            "possible: choose norm=min-max"
        )
    low = np.nanmin(scores, axis=1, keepdims=True) if norm == "min-max" else np.float64(least or 0)
    span = np.nanmax(scores, axis=1, keepdims=True) - low
    values = np.where(span > 0, (scores - low) / np.where(span > 0, span, 1), 1.0)
    return values, np.zeros(len(scores))


def _weights(text: str, parts: int) -> tuple[float, ...]:
    try:
        weights = [float(part) for part in text.split("+")]
    except ValueError:
        weights = []
    total = sum(weights)
    fits = all(0 <= weight < float("inf") for weight in weights) and 0 < total < float("inf")
    if len(weights) != parts or not fits:
        raise InputError(
            f"convex: weights={text}: expected {parts} numbers with + between, none below 0, not "
            "all 0, as 0.4+0.6"
        )
    return tuple(weight / total for weight in weights)
