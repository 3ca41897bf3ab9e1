"""Relevance cut-off: what one threshold on a model's scores returns, and when it returns nothing.

A ranking always has a first document. Whoever shows only what is relevant, or nothing, needs a
threshold that holds for all queries, and so scores that mean the same for all of them. Thresholds
are chosen on one half of the queries and applied to the other. They are set beside those on scores
made comparable in several ways (a model that learns such a map: Cosine Adapter, arXiv 2408.04887),
one of which returns equally many documents for every query, and beside the best that a threshold
of each query's own could reach.

When to return nothing is asked twice: of the queries as they are, whose rankings are better or
worse (MTEB's abstention), and of queries whose relevant documents have been taken away.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from harness.arrays import Float64
from harness.data import Retrieval
from harness.errors import InputError
from harness.measures.thresholds import (
    WAYS,
    Bools,
    Curve,
    Pool,
    confidences,
    curve,
    halves,
    held_out,
    nauc,
    own_best,
    pool,
    returned,
    told_apart,
    unanswerable,
)
from harness.phases import Clock
from harness.progress import Progress, silent
from harness.single import Request
from harness.store import Store
from harness.studies.subject import Interval, collection, interval, per_query
from harness.systems import rank, resolve
from harness.vectors import Run

WHOLE = 10_000  # documents of a corpus that are all scored, where the pairs are not too many
PAIRS = 5_000_000
DEPTH = 1000  # documents scored otherwise
RECALLS = (0.5, 0.8, 0.9, 0.95)
POINTS = 100  # of a curve, kept for its figure


@dataclass(frozen=True)
class Point:
    """What one threshold returns over all queries: precision and recall over all pairs, and
    documents that a query gets, mean.
    """

    threshold: float
    recall: float
    precision: float
    size: float


@dataclass(frozen=True)
class Way:
    """One threshold for all queries on scores compared in one way of `WAYS`.

    area: under precision and recall over all pairs. at_recall: the best precision at a recall of at
    least RECALLS, None where it is not reached. threshold: of the highest F1 over all pairs, and
    `seen` that F1, chosen on the queries that it is measured on; f1: the same held out.

    mean_f1: F1 of each query, its threshold held out and chosen for this mean; gain: that less the
    mean of the scores as they are, paired. size, empty, wrong: at that threshold the documents that
    a query gets, the share of queries that get none, and of those that get some and none of it
    relevant. refused: share of queries that get none when the corpus has nothing relevant.
    """

    name: str
    area: float
    at_recall: tuple[float | None, ...]
    threshold: float
    seen: float
    f1: float
    mean_f1: Interval
    gain: Interval
    size: float
    empty: float
    wrong: float
    refused: float
    points: tuple[Point, ...]


@dataclass(frozen=True)
class Confidence:
    """What a measure of confidence tells, by its name in `confidences`.

    nauc: MTEB's, of the task's queries; None where all score alike. nauc_half: the same when a
    drawn half of the queries has nothing relevant, and so scores 0. auroc: the probability that a
    query with relevant documents looks surer than another one without.
    """

    name: str
    nauc: float | None
    nauc_half: float | None
    auroc: Interval


@dataclass(frozen=True)
class System:
    """A model. score: the mean measure; own: mean F1 if each query had the best threshold of its
    own.
    """

    model: str
    score: Interval
    own: Interval
    ways: tuple[Way, ...]
    confidences: tuple[Confidence, ...]


@dataclass(frozen=True)
class Cutoff:
    """A task's queries cut off by models' scores. depth: documents of a query that are scored;
    relevant: pairs of a judged query and a relevant document.
    """

    task: str
    measure: str
    queries: int
    documents: int
    depth: int
    relevant: int
    systems: tuple[System, ...]
    seed: int
    warnings: tuple[str, ...]


def study(
    models: Sequence[str],
    task: str,
    *,
    depth: int | None = None,
    measure: str = "nDCG@10",
    store: Store,
    seed: int = 0,
    progress: Progress = silent,
) -> Cutoff:
    """Cut the rankings of models off by thresholds. models, task: specs.

    depth: documents of a query that are scored; None for all of a corpus of up to 10,000, while
    the pairs are no more than 5 million, else 1,000. measure: what abstention is to improve. seed:
    of the halves of the queries and of the bootstrap.

    Raises InputError for a task of another kind or with fewer than two answerable queries, for a
    measure of groups, for a model that finds nothing relevant; else what `rank` raises.
    """
    for model in models:
        resolve(model)  # a wrong name is said before any is searched with
    clock = Clock(progress)
    with clock.phase("load", "data"):
        asked, data, chosen = collection(task, measure)
    documents, scored = len(data.corpus.ranked), int(data.qrels.judged.sum())
    whole = documents <= WHOLE and documents * scored <= PAIRS
    depth = min(depth or (documents if whole else DEPTH), documents)
    request = Request(
        depth=max(depth, chosen.depth),
        store=store,
        clock=clock,
        exclude_self=asked.excludes(data),
        instructions=asked.instructions(data),
    )
    systems, notes = [], [*data.warnings]
    for model in dict.fromkeys(models):
        ranked = rank(model, data, request)
        notes += ranked.warnings
        values = per_query(ranked.run, data, chosen)
        run = Run(ranked.run.docs[:, :depth], ranked.run.scores[:, :depth])
        with clock.phase("score", model):
            systems.append(_system(model, run, data, values, seed))
    return Cutoff(
        task,
        measure,
        scored,
        documents,
        depth,
        int(np.count_nonzero((data.qrels if data.binary is None else data.binary).gains > 0)),
        tuple(systems),
        seed,
        tuple(dict.fromkeys(notes)),
    )


def _system(model: str, run: Run, data: Retrieval, values: Float64, seed: int) -> System:
    """Everything about one ranking [q, k]. values: its measure, one a judged query."""
    pairs, without = pool(run, data), unanswerable(run, data)
    if not pairs.relevant.any():
        raise InputError(f"{model} finds no relevant document: there is nothing to cut off")
    lacking, ways, plain = pool(without, data), list[Way](), None
    for name in WAYS:
        way, each = _way(name, pairs.compared(name), lacking.compared(name), plain, seed)
        plain = each if plain is None else plain
        ways.append(way)
    rows = np.flatnonzero(data.qrels.judged)
    sure, unsure = ({n: c[rows] for n, c in confidences(r).items()} for r in (run, without))
    told = _told(sure, unsure, pairs.wanted > 0, values, seed)
    best = interval(own_best(pairs), seed)
    return System(model, interval(values, seed), best, tuple(ways), told)


def _way(
    name: str, pairs: Pool, lacking: Pool, plain: Float64 | None, seed: int
) -> tuple[Way, Float64]:
    """One way to compare scores, and its F1 of each query [q]; plain: that of scores as they are.

    lacking: the pairs of the queries without their relevant documents.
    """
    whole, (over_pairs, over_queries) = curve(pairs), held_out(pairs, ("f1", "mean_f1"), seed)
    got, none = returned(pairs, over_queries), returned(lacking, over_queries)
    best = whole.best("f1")
    each = got.each_f1
    found = Way(
        name=name,
        area=whole.average_precision,
        at_recall=tuple(whole.precision_at(recall) for recall in RECALLS),
        threshold=best,
        seen=float(whole.f1.max()),
        f1=returned(pairs, over_pairs).f1,
        mean_f1=interval(each, seed),
        gain=interval(each - (each if plain is None else plain), seed),
        size=float(got.documents.mean()),
        empty=got.empty,
        wrong=got.wrong,
        refused=none.empty,
        points=_points(whole),
    )
    return found, each


def _points(whole: Curve) -> tuple[Point, ...]:
    """About POINTS of a curve, evenly along its recall, with both ends."""
    wanted = np.linspace(whole.recall[0], whole.recall[-1], POINTS)
    rows = np.unique(np.searchsorted(whole.recall, wanted))
    columns = (whole.threshold, whole.recall, whole.precision, whole.size)
    return tuple(Point(*map(float, row)) for row in zip(*(c[rows] for c in columns), strict=True))


def _told(
    sure: Mapping[str, Float64],
    unsure: Mapping[str, Float64],
    answerable: Bools,
    values: Float64,
    seed: int,
) -> tuple[Confidence, ...]:
    """What confidences [q] by name tell: with the relevant documents and without them."""
    drawn, found = halves(len(values), seed), []
    for name, with_them in sure.items():
        without = unsure[name]
        half = nauc(np.where(drawn, without, with_them), np.where(drawn, 0, values))
        told = interval(told_apart(with_them[answerable], without[answerable]), seed)
        auroc = Interval(told.mean, max(told.low, 0.0), min(told.high, 1.0))
        found.append(Confidence(name, nauc(with_them, values), half, auroc))
    return tuple(found)
