"""Approximate search against exact search on the same vectors: what users lose, what they gain.

Vectors are dense, sparse or several a text; a setting serves the models whose vectors it takes.
Every model x task x setting is set beside exact search: neighbours missed, the task's measure and
its change, queries that lost relevant documents, time and memory; and whether the models would be
ranked differently.

A search is timed for as many results as it is judged by: HNSW raises ef_search to k, so a deeper
search would be a better one. Latency is of one query at a time on one thread, throughput of all
queries at once on all threads; libraries take different paths through the two.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np

from harness import aggregate
from harness.arrays import Float64, Int32, Int64
from harness.data import Candidates, Retrieval
from harness.errors import InputError
from harness.indexes import INDEXES, Index, Searcher, scoring
from harness.indexes.faiss_library import load_faiss
from harness.measures import Measure
from harness.measures.neighbours import EPSILON, neighbour_overlap, neighbour_recall
from harness.progress import Progress, silent
from harness.represent import unit
from harness.retrieve import Collection, retrieve
from harness.spec import parse
from harness.store import Store
from harness.studies.subject import (
    Interval,
    Subject,
    embed,
    interval,
    per_query,
    representation,
    searched,
)
from harness.vectors import Embeddings, Run, Sparse, alone

NEAR = 10  # neighbours that recall is of, beside the task's cut-off
TIMED = 500  # queries whose latency is taken, at most
WARM = 20  # queries before those
ROUNDS = 3  # of the whole batch, of which the median counts
RECALL = 0.95  # of the neighbours: enough
LOSS = 0.005  # of the task's measure: tolerated
ACCURACIES = (0.90, 0.95, 0.97, 0.99)  # of the 10 nearest, by id: what the fastest is told for
BUDGETS = (None, 2.0, 1.5)  # times the bytes of exact search, as in Bruch et al. (ECIR 2025)


@dataclass(frozen=True)
class Search:
    """What a search for the k best finds of the exact ones, and what it costs.

    recall: of the k nearest, tied ones counting; overlap: the same by id alone, which the papers of
    Seismic call accuracy@k. distances: a query, None where nothing tells. p50, p95, p99:
    milliseconds of one query at a time on one thread, of so many `timed`. per_second: queries of a
    batch of all in a second of wall time; per_cpu_second: of time on all threads.
    """

    k: int
    recall: Interval
    overlap: float
    distances: float | None
    timed: int
    p50: float
    p95: float
    p99: float
    per_second: float
    per_cpu_second: float


@dataclass(frozen=True)
class Point:
    """A model on a task, searched with one setting.

    index: the setting as asked; full: with its defaults. near: a search for the 10 best; asked: for
    as many as the task's main `measure` looks at. change: of the score from exact search, by a
    paired bootstrap. lost: by query, the relevant documents that exact search finds within the
    cut-off and this one does not; stranded: the queries among them left without any. build_s:
    wall seconds until it could be searched; reused: it was read, not built. bytes: to serve it,
    None where the index does not tell; of exact search, those of the vectors.
    """

    model: str
    task: str
    index: str
    full: str
    measure: str
    score: Interval
    change: Interval
    lost: dict[str, tuple[str, ...]]
    stranded: tuple[str, ...]
    near: Search
    asked: Search
    build_s: float
    reused: bool
    bytes: int | None
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Answer:
    """The cheapest setting tried that keeps what is wanted, None where none does.

    by: what is cheap: "distances" a query where every setting tells, else "p50", milliseconds.
    budget: its bytes, at most so many times those of exact search; None for any.
    """

    model: str
    task: str
    wanted: str
    index: str | None
    by: Literal["distances", "p50"]
    cost: float | None
    budget: float | None = None


@dataclass(frozen=True)
class Swap:
    """Two models in another order than under exact search, which puts `first` before `second`.

    exact, approximate: the score of `first` less that of `second` under each, paired by query.
    """

    first: str
    second: str
    exact: Interval
    approximate: Interval


@dataclass(frozen=True)
class Ranking:
    """Models by their score on a task, under exact search and under a setting.

    places: from 1, equals sharing the better one. tau: Kendall's tau-b of the two, None where it is
    not defined. moved: the most places that a model moved.
    """

    task: str
    index: str
    exact: dict[str, int]
    approximate: dict[str, int]
    moved: int
    tau: float | None
    swaps: tuple[Swap, ...]


@dataclass(frozen=True)
class Comparison:
    """All points, exact search first of each model and task; answers; rankings of two models or
    more. fastest: answers by accuracy@10 and bytes. threads: that a batch was searched with.
    warnings: of models and data.
    """

    seed: int
    threads: int
    points: tuple[Point, ...]
    answers: tuple[Answer, ...]
    fastest: tuple[Answer, ...]
    rankings: tuple[Ranking, ...]
    warnings: tuple[str, ...]


def sweep(index: str, parameter: str, values: Sequence[object]) -> list[str]:
    """Settings that differ in one parameter; where it matters to searches only, `study` builds
    once. sweep("hnsw", "ef_search", (16, 32)) -> ["hnsw,ef_search=16", "hnsw,ef_search=32"]
    """
    return [str(parse(index).merged([(parameter, str(value))])) for value in values]


@dataclass(frozen=True)
class _Case:
    """A model's vectors of a task, and what exact search makes of them.

    truth: [q, max(10, cut-off)]; values: of the measure, one a judged query.
    """

    model: str
    subject: Subject
    data: Retrieval
    measure: Measure
    exclude_self: bool
    documents: Embeddings
    queries: Embeddings
    truth: Run
    values: Float64


def study(
    models: Sequence[str],
    tasks: Sequence[str],
    settings: Sequence[str],
    *,
    store: Store,
    seed: int = 0,
    progress: Progress = silent,
) -> Comparison:
    """Compare approximate settings with exact search. models, tasks, settings: specs.

    A setting is tried for the models whose vectors it takes. Structures are kept under the store's
    root and used again. Raises InputError for a setting that takes the vectors of no model, a model
    whose vectors no setting takes, a task whose main measure is not one of rankings of single
    queries, and as `subject.embed`; else what encoder, store and index raise.
    """
    chosen: dict[str, str] = {}
    for spec in ("exact", *settings):
        chosen.setdefault(str(INDEXES.resolve(spec)), spec)
    indexes = {spec: INDEXES.create(spec) for spec in chosen.values()}
    models, tasks = list(dict.fromkeys(models)), list(dict.fromkeys(tasks))
    if not models or not tasks or len(indexes) < 2:
        raise InputError("expected a model, a task and an index other than exact, at least")
    fitting = _fitting(models, indexes)
    points, rankings, warnings = list[Point](), list[Ranking](), dict[str, None]()
    answers, fastest = list[Answer](), list[Answer]()
    total = len(tasks) * sum(map(len, fitting.values()))
    for task in tasks:
        values: dict[str, dict[str, Float64]] = {spec: {} for spec in indexes}
        for model in models:
            case, own = _case(model, task, store, progress), list[Point]()
            warnings |= dict.fromkeys(f"{task}, {model}: {w}" for w in case.subject.warnings)
            for spec, index in fitting[model].items():
                progress("compare", len(points) + len(own), total, "settings")
                point, values[spec][model] = _point(
                    case, spec, index, store=store, seed=seed, progress=progress
                )
                own.append(point)
            points += own
            answers += _answers(own)
            fastest += _fastest(own)
        by_exact = values.pop("exact")
        rankings += [
            _ranking(task, spec, {model: by_exact[model] for model in of}, of, seed)
            for spec, of in values.items()
            if len(of) > 1
        ]
    progress("compare", total, total, "settings")
    return Comparison(
        seed=seed,
        threads=int(load_faiss().omp_get_max_threads()),
        points=tuple(points),
        answers=tuple(answers),
        fastest=tuple(fastest),
        rankings=tuple(rankings),
        warnings=tuple(warnings),
    )


def _fitting(models: Sequence[str], indexes: Mapping[str, Index]) -> dict[str, dict[str, Index]]:
    """The indexes that take each model's vectors, exact search first.

    Raises InputError for an index or a model that is left with none, and for missing libraries.
    """
    makes = {model: representation(model) for model in models}
    made = " and ".join(f"{model} makes {kind}" for model, kind in makes.items())
    for spec, index in indexes.items():
        kinds = set(makes.values()).intersection(index.accepts)
        if not kinds:
            takes = " or ".join(index.accepts)
            raise InputError(f"index {spec} takes {takes} vectors and {made}: choose another index")
        for kind in sorted(kinds):
            index.require(kind)
    fitting = {
        model: {spec: index for spec, index in indexes.items() if kind in index.accepts}
        for model, kind in makes.items()
    }
    for model, own in fitting.items():
        if len(own) == 1:
            raise InputError(
                f"{model} makes {makes[model]} vectors, which none of these indexes takes: "
                f"{', '.join(list(indexes)[1:])}; name one that does, or leave the model out"
            )
    return fitting


def _case(model: str, task: str, store: Store, progress: Progress) -> _Case:
    """Encode a task and search it exactly."""
    kinds = INDEXES.create("exact").accepts
    subject = embed(model, task, store=store, progress=progress, makes=kinds)
    data, measure = searched(subject)
    exclude = subject.task.excludes(data)
    if subject.similarity == "cosine":
        for part in subject.arrays.values():
            unit(part)
    documents, queries = (subject.vectors[name] for name in ("documents", "queries"))
    collection = Collection(data, documents, INDEXES.create("exact").open(documents))
    depth = max(NEAR, measure.depth)
    truth = retrieve(queries, collection, depth, exclude_self=exclude, progress=progress)
    values = per_query(truth, data, measure)
    return _Case(model, subject, data, measure, exclude, documents, queries, truth, values)


def _point(
    case: _Case, spec: str, index: Index, *, store: Store, seed: int, progress: Progress
) -> tuple[Point, Float64]:
    """One setting, and the measure's value for each judged query."""
    data, cutoff, begun = case.data, case.measure.depth, time.perf_counter()
    searcher = index.open(case.documents, store.root / "indexes", progress)
    build_s = time.perf_counter() - begun
    collection = Collection(data, case.documents, searcher)
    runs, searches = {}, {}
    for k in dict.fromkeys((NEAR, cutoff)):
        runs[k] = retrieve(
            case.queries, collection, k, exclude_self=case.exclude_self, progress=silent
        )
        searches[k] = _search(case, searcher, runs[k], k, seed)
    values = per_query(runs[cutoff], data, case.measure)
    lost, stranded = _lost(data, case.truth.docs[:, :cutoff], runs[cutoff].docs)
    deepest = min(max(NEAR, cutoff) + case.exclude_self, len(case.documents))
    return Point(
        model=case.model,
        task=case.subject.task.spec,
        index=spec,
        full=str(INDEXES.resolve(spec)),
        measure=str(case.measure),
        score=interval(values, seed),
        change=interval(values - case.values, seed),
        lost=lost,
        stranded=stranded,
        near=searches[NEAR],
        asked=searches[cutoff],
        build_s=build_s,
        reused=bool(searcher.info.reused),
        bytes=searcher.info.bytes,
        warnings=(*searcher.info.notes, *index.notes(deepest)),
    ), values


def _search(case: _Case, searcher: Searcher, run: Run, k: int, seed: int) -> Search:
    """Recall of a run's k best against exact search; time and distances of a search for them."""
    k = min(k, case.truth.docs.shape[1])
    again = _rescored(case, run)  # so that ties count however many there are
    docs = np.hstack([case.truth.docs, again.docs])
    known = Run(docs, np.hstack([case.truth.scores, again.scores]))
    n, q = len(case.documents), len(case.queries)
    asked, taken = min(k + case.exclude_self, n), []
    for _ in range(ROUNDS):
        wall, cpu = time.perf_counter(), time.process_time()
        computed = searcher.search(case.queries, asked, silent).distances
        taken.append((time.perf_counter() - wall, time.process_time() - cpu))
    if searcher.info.exact and not isinstance(case.documents, Sparse):  # whose lists leave most out
        computed = n * q
    wall, cpu = np.maximum(np.median(taken, axis=0), 1e-9).tolist()
    latency = _latencies(searcher, case.queries, asked)
    p50, p95, p99 = np.percentile(latency, (50, 95, 99)).tolist()
    return Search(
        k=k,
        recall=interval(neighbour_recall(run, known, k, EPSILON), seed),
        overlap=float(neighbour_overlap(run, case.truth, k).mean()),
        distances=None if computed is None else computed / q,
        timed=len(latency),
        p50=p50,
        p95=p95,
        p99=p99,
        per_second=q / wall,
        per_cpu_second=q / cpu,
    )


def _rescored(case: _Case, run: Run) -> Run:
    """A run's documents with their exact scores [q, k]: an index may search by rounded vectors."""
    found = run.docs >= 0
    indptr = np.concatenate([[0], np.cumsum(found.sum(axis=1))])
    candidates = Candidates(indptr, run.docs[found])
    k = run.docs.shape[1]
    return scoring.rank(case.queries, case.documents, candidates, k=k, progress=silent)


def _latencies(searcher: Searcher, queries: Embeddings, k: int) -> Float64:
    """Milliseconds of one query at a time, on one thread."""
    from threadpoolctl import threadpool_limits

    q = len(queries)
    rows = np.linspace(0, q - 1, min(q, TIMED)).astype(int)
    taken = []
    with threadpool_limits(1):
        for row in [*rows[:WARM], *rows]:
            query = alone(queries, row)
            begun = time.perf_counter()
            searcher.search(query, k, silent)
            taken.append(1000 * (time.perf_counter() - begun))
    return np.array(taken[-len(rows) :])


def _lost(
    data: Retrieval, exact: Int32, approximate: Int32
) -> tuple[dict[str, tuple[str, ...]], tuple[str, ...]]:
    """Relevant documents by query that one ranking [q, k] holds and the other does not; and the
    queries that it leaves without any.
    """
    width, qrels = len(data.corpus), data.qrels
    kept = (qrels.gains > 0) & (qrels.docs >= 0)
    query, doc = qrels.query_rows[kept], qrels.docs[kept]
    before, after = (
        np.isin(query * width + doc, _cells(docs, width)) for docs in (exact, approximate)
    )
    gone: dict[str, tuple[str, ...]] = {}
    for row, document in zip(query[before & ~after], doc[before & ~after], strict=True):
        id = data.queries.ids[row]
        gone[id] = (*gone.get(id, ()), data.corpus.ids[document])
    left = set(query[after].tolist())
    return gone, tuple(id for id in gone if data.queries.rows[id] not in left)


def _cells(docs: Int32, width: int) -> Int64:
    """A number for each (query, document) of a ranking [q, k]."""
    rows, columns = np.nonzero(docs >= 0)
    return rows * width + docs[rows, columns]


def _answers(points: Sequence[Point]) -> list[Answer]:
    """What is cheapest of a model's settings on a task, exact search first among the points."""
    exact, *tried = points
    least = (1 - LOSS) * exact.score.mean
    told = all(None not in (p.near.distances, p.asked.distances) for p in tried)
    by: Literal["distances", "p50"] = "distances" if told else "p50"
    keeping = {
        f"recall@{NEAR} of at least {RECALL:g}": [
            (p.index, p.near) for p in tried if p.near.recall.mean >= RECALL
        ],
        f"{exact.measure} within {LOSS:.1%} of exact search": [
            (p.index, p.asked) for p in tried if p.score.mean >= least
        ],
    }
    answers = []
    for wanted, settings in keeping.items():
        costs = [(getattr(search, by), index) for index, search in settings]
        cost, index = min(costs, default=(None, None))
        answers.append(Answer(exact.model, exact.task, wanted, index, by, cost))
    return answers


def _fastest(points: Sequence[Point]) -> list[Answer]:
    """What is fastest of a model's settings on a task, at an accuracy and within a memory."""
    exact, *tried = points
    assert exact.bytes is not None
    answers = []
    for accuracy in ACCURACIES:
        wanted = f"accuracy@{NEAR} of at least {accuracy:.0%}"
        for budget in BUDGETS:
            costs = [
                (point.near.p50, point.index)
                for point in tried
                if point.near.overlap >= accuracy
                and (budget is None or (point.bytes or np.inf) <= budget * exact.bytes)
            ]
            cost, index = min(costs, default=(None, None))
            answers.append(Answer(exact.model, exact.task, wanted, index, "p50", cost, budget))
    return answers


def _ranking(
    task: str, index: str, exact: Mapping[str, Float64], other: Mapping[str, Float64], seed: int
) -> Ranking:
    """How models rank by the mean of their values [q], by exact search and otherwise."""
    before, after = ({m: float(v.mean()) for m, v in values.items()} for values in (exact, other))
    places = [
        dict(zip(means, map(int, aggregate.places(np.array([*means.values()]))), strict=True))
        for means in (before, after)
    ]
    swaps = []
    for first, second in combinations(sorted(before, key=lambda m: -before[m]), 2):
        if before[first] > before[second] and after[first] < after[second]:
            apart = (interval(v[first] - v[second], seed) for v in (exact, other))
            swaps.append(Swap(first, second, *apart))
    return Ranking(
        task=task,
        index=index,
        exact=places[0],
        approximate=places[1],
        moved=max(abs(places[0][m] - places[1][m]) for m in before),
        tau=aggregate.kendall_tau([*before.values()], [*after.values()]),
        swaps=tuple(swaps),
    )
