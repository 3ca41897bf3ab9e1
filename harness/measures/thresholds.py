"""Relevance cut-off: what one threshold on scores returns, and whether scores tell when to abstain.

Everything is over pooled pairs: each (query, document) pair that a run scores, of every query that
has judgments. A document that the run does not list is never returned.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from harness.arrays import Float64, Int64
from harness.data import Retrieval
from harness.errors import InputError
from harness.measures.judged import find, place, ratio
from harness.vectors import Run, ranking

Bools = NDArray[np.bool_]
Objective = Literal["f1", "mean_f1"]

RATES = np.linspace(0, 1, 11)[:-1]  # shares of queries to abstain from, as MTEB


@dataclass(frozen=True)
class Pool:
    """Scored pairs [p], by query and within a query by rank.

    query: int64, from 0 to q - 1; score: float64; relevant: bool; wanted: int64 [q], the relevant
    documents of each query, listed or not.
    """

    query: Int64
    score: Float64
    relevant: Bools
    wanted: Int64

    @cached_property
    def listed(self) -> Int64:
        """[q]: pairs of each query."""
        return np.bincount(self.query, minlength=len(self.wanted))

    @property
    def ends(self) -> tuple[Float64, Float64]:
        """[p] each: the first and the last score of the pair's query."""
        last = np.cumsum(self.listed)
        first = last - self.listed
        return self.score[first[self.query]], self.score[last[self.query] - 1]

    def of(self, kept: Bools) -> Pool:
        """The pairs of some queries, which are numbered anew. kept: [q]."""
        pairs, number = kept[self.query], np.cumsum(kept) - 1
        query = number[self.query[pairs]]
        return Pool(query, self.score[pairs], self.relevant[pairs], self.wanted[kept])

    def with_scores(self, way: str) -> Pool:
        """The same with the scores of one of WAYS."""
        return replace(self, score=WAYS[way](self))


def pool(run: Run, data: Retrieval) -> Pool:
    """All pairs that a run [q, k] scores, of the queries that have judgments."""
    rows = np.flatnonzero(data.qrels.judged)
    relevant, wanted = _relevant(run, data)
    listed = run.docs[rows] >= 0
    scores = run.scores[rows][listed].astype(np.float64)
    return Pool(np.nonzero(listed)[0], scores, relevant[rows][listed], wanted[rows])


def unanswerable(run: Run, data: Retrieval) -> Run:
    """The run [q, k] of each query in a corpus without the documents relevant to it.

    The others keep their scores: exact for a model that scores each document by itself; weights of
    terms are those of the whole corpus.
    """
    docs = np.where(_relevant(run, data)[0], np.int32(-1), run.docs)
    return ranking.unpack(ranking.best(ranking.pack(run.scores, docs), docs.shape[1]))


def _relevant(run: Run, data: Retrieval) -> tuple[Bools, Int64]:
    """Which results are relevant [q, k], and how many documents are [q]."""
    found = find(run, data.qrels if data.binary is None else data.binary)
    hit, relevant = found.gain > 0, np.zeros(run.docs.shape, np.bool_)
    relevant[found.query[hit], found.rank[hit]] = True
    return relevant, found.relevant.astype(np.int64)


def _z_score(pool: Pool) -> Float64:
    """Standard deviations above the mean of the query's results; 0 where they are all equal."""
    (first, last), count = pool.ends, np.maximum(pool.listed, 1)
    apart = pool.score - (np.bincount(pool.query, pool.score, len(count)) / count)[pool.query]
    deviation = np.sqrt(np.bincount(pool.query, apart**2, len(count)) / count)[pool.query]
    return ratio(apart, np.where(first > last, deviation, 0))


def _min_max(pool: Pool) -> Float64:
    """From 0 for the query's last result to 1 for its first; 0 where they are all equal."""
    first, last = pool.ends
    return ratio(pool.score - last, first - last)


WAYS: dict[str, Callable[[Pool], Float64]] = {
    "score": lambda pool: pool.score,
    "z-score": _z_score,
    "min-max": _min_max,
    "less the first": lambda pool: pool.score - pool.ends[0],
    "rank": lambda pool: -np.asarray(place(pool.query) + 1, np.float64),
}
"""Ways to compare scores [p] of different queries, by name; one threshold on "rank" returns as many
documents for every query.
"""


@dataclass(frozen=True)
class Curve:
    """What each threshold returns, [t], from the highest down: one for each distinct score.

    precision, recall, f1: over all pairs. mean_f1: the mean of F1 over queries, 0 for a query that
    gets nothing or has nothing relevant (trec_eval's set_F). size: documents that a query gets,
    mean; empty: share of queries that get none; wrong: share that get some, none of it relevant.
    """

    threshold: Float64
    precision: Float64
    recall: Float64
    f1: Float64
    mean_f1: Float64
    size: Float64
    empty: Float64
    wrong: Float64

    @property
    def average_precision(self) -> float:
        """Area under precision and recall: precision at each threshold times the gain in recall."""
        return float(np.diff(self.recall, prepend=0) @ self.precision)

    def precision_at(self, recall: float) -> float | None:
        """The best precision of the thresholds that reach a recall; None where none does."""
        reached = self.precision[self.recall >= recall]
        return float(reached.max()) if len(reached) else None

    def best(self, objective: Objective) -> float:
        """The threshold of the highest value, the highest of equals: halfway to the next score.

        Infinite where there is no pair: nothing is returned.
        """
        if not len(self.threshold):
            return np.inf
        at = int(getattr(self, objective).argmax())
        return float(self.threshold[at : at + 2].mean())


def curve(pool: Pool) -> Curve:
    """Every threshold on the scores of all queries; pairs of one score are returned together."""
    q, wanted = len(pool.wanted), int(pool.wanted.sum())
    query, score, relevant = _by_score(pool)
    returned, hits, before, after = _f1_steps(query, relevant, pool.wanted)
    order = np.argsort(-score, kind="stable")
    last = np.flatnonzero(np.append(np.diff(score[order]) != 0, True)[: len(score)])

    def sum_above(steps: NDArray[np.generic]) -> Float64:
        """[t]: the sum of steps [p] over the pairs that a threshold returns."""
        return np.asarray(steps[order].cumsum(dtype=np.float64)[last])

    found, right = last + 1.0, sum_above(relevant)
    reached, correct = sum_above(returned == 1), sum_above(relevant & (hits == 1))
    return Curve(
        threshold=score[order][last],
        precision=right / found,
        recall=right / max(wanted, 1),
        f1=2 * right / (found + wanted),
        mean_f1=sum_above(after - before) / q,
        size=found / q,
        empty=1 - reached / q,
        wrong=(reached - correct) / q,
    )


def own_best(pool: Pool) -> Float64:
    """[q]: the highest F1 that any threshold of the query's own reaches."""
    query, score, relevant = _by_score(pool)
    after = _f1_steps(query, relevant, pool.wanted)[3]
    whole = np.append((np.diff(score) != 0) | (np.diff(query) != 0), True)[: len(score)]
    best = np.zeros(len(pool.wanted))
    np.maximum.at(best, query[whole], after[whole])
    return best


def _by_score(pool: Pool) -> tuple[Int64, Float64, Bools]:
    """Pairs by query and then by score, which need not be the order of ranks."""
    order = np.lexsort((-pool.score, pool.query))
    return pool.query[order], pool.score[order], pool.relevant[order]


def _f1_steps(
    query: Int64, relevant: Bools, wanted: Int64
) -> tuple[Int64, Int64, Float64, Float64]:
    """Of each pair's query, [p]: pairs and relevant ones down to it, F1 without it and with it."""
    returned = place(query) + 1
    total = relevant.cumsum()
    hits = total - (total - relevant)[np.arange(len(query)) - returned + 1]
    whole = returned + wanted[query]
    before = 2 * (hits - relevant) / np.maximum(whole - 1, 1)
    return returned, hits, before, 2 * hits / whole


@dataclass(frozen=True)
class Returned:
    """What thresholds return of each query, [q]: documents, and relevant ones; those wanted."""

    documents: Int64
    hits: Int64
    wanted: Int64

    @property
    def f1(self) -> float:
        """Over all pairs."""
        return float(2 * self.hits.sum() / max(self.documents.sum() + self.wanted.sum(), 1))

    @property
    def each_f1(self) -> Float64:
        """[q]: of each query."""
        return np.asarray(2 * self.hits / np.maximum(self.documents + self.wanted, 1))

    @property
    def empty(self) -> float:
        """Share of queries that get nothing."""
        return float((self.documents == 0).mean())

    @property
    def wrong(self) -> float:
        """Share of queries that get something, none of it relevant."""
        return float(((self.documents > 0) & (self.hits == 0)).mean())


def return_above(pool: Pool, thresholds: Float64) -> Returned:
    """What a threshold for each query [q] returns: pairs whose score reaches it."""
    kept, q = pool.score >= thresholds[pool.query], len(pool.wanted)
    documents = np.bincount(pool.query[kept], minlength=q)
    hits = np.bincount(pool.query[kept & pool.relevant], minlength=q)
    return Returned(documents, hits, pool.wanted)


def halves(q: int, seed: int) -> Bools:
    """[q]: which queries a draw puts into the second half."""
    return np.random.default_rng(seed).permutation(q) >= q // 2


def held_out(pool: Pool, objectives: Sequence[Objective], seed: int) -> list[Float64]:
    """[q] for each objective: the best threshold of the half of the queries that a query is not in.

    Raises InputError for a single query.
    """
    q = len(pool.wanted)
    if q < 2:
        raise InputError("one judged query: a threshold is chosen on half of them, expected two")
    second = halves(q, seed)
    curves = curve(pool.of(~second)), curve(pool.of(second))
    return [np.where(second, *(one.best(objective) for one in curves)) for objective in objectives]


def confidences(run: Run) -> dict[str, Float64]:
    """How sure each query's scores look, [q] by name, 0 for a query without results.

    max, std and diff1 (the first less the second) are MTEB's; z is the first's z-score.
    """
    listed = run.docs >= 0
    count, scores = listed.sum(axis=1), np.where(listed, run.scores.astype(np.float64), 0)
    first = scores[:, 0]
    second = scores[:, 1] if scores.shape[1] > 1 else first
    apart = np.where(listed, scores - (scores.sum(axis=1) / np.maximum(count, 1))[:, None], 0)
    std = np.sqrt(np.square(apart).sum(axis=1) / np.maximum(count, 1))
    varies = first > scores[np.arange(len(count)), np.maximum(count - 1, 0)]
    return {
        "max": first,
        "std": std,
        "diff1": np.where(count > 1, first - second, 0),
        "z": ratio(apart[:, 0], np.where(varies, std, 0)),
    }


def nauc(confidence: Float64, values: Float64) -> float | None:
    """Normalised area under the abstention curve, as MTEB computes it. Both: [q].

    The curve is the mean value of the queries kept when abstaining from the shares RATES of least
    confidence (Gisserot-Boukhlef et al. 2024, arXiv 2402.12997); equal confidences count as in any
    order. 0 for a constant mean, as by chance; 1 for an oracle, which abstains from the lowest
    values. None where values are all equal.
    """
    if values.min() == values.max():
        return None
    flat = values.mean() * (RATES[-1] - RATES[0])
    got, oracle = (_area(_abstaining(order, values)) for order in (confidence, values))
    return float((got - flat) / (oracle - flat))


def _abstaining(confidence: Float64, values: Float64) -> Float64:
    """Mean value of what is kept at each rate; at least one query is."""
    order = np.argsort(confidence, kind="stable")
    _, tied = np.unique(confidence[order], return_inverse=True)
    expected = (np.bincount(tied, values[order]) / np.bincount(tied))[tied]
    q = len(values)
    return np.array([expected[min(round(rate * q), q - 1) :].mean() for rate in RATES])


def _area(curve: Float64) -> float:
    """By trapezoids over RATES."""
    return float((curve[1:] + curve[:-1]) / 2 @ np.diff(RATES))


def auroc(answerable: Float64, without: Float64) -> Float64:
    """Values [q] whose mean is AUROC, and whose spread is that of its sampling error.

    AUROC is the probability that an answerable query looks surer than another one that is not, ties
    half. answerable, without: [q], confidences of the same queries with and without their relevant
    documents; all pairs of two different queries count. The values are the estimate's influence,
    so that AUROCs are compared query by query as means are (DeLong et al. 1988). Raises InputError
    for fewer than two queries.
    """
    q = len(answerable)
    if q < 2:
        raise InputError(f"{q} answerable queries: AUROC compares two different ones")
    own = np.sign(answerable - without) / 2 + 0.5
    beaten = _midrank(answerable, without) - own
    beating = q - _midrank(without, answerable) - own
    return np.asarray((beaten + beating - beaten.mean()) / (q - 1))


def _midrank(values: Float64, among: Float64) -> Float64:
    """How many of `among` lie below each value, ties counted half."""
    ranked = np.sort(among)
    sides = (np.searchsorted(ranked, values, side) for side in ("left", "right"))
    return np.asarray(sum(sides) / 2)
