"""Why a graph of neighbours misses some: intrinsic dimension, contrast, order of insertion.

Elliott and Clark 2024 (arXiv 2405.17813): the recall of HNSW falls with the local intrinsic
dimension (LID) of the data, and moves with the order in which documents are inserted. Here the same
documents are inserted in several orders, each with several seeds of the graph's levels; each
query's LID is set beside its recall; and `ranks` measures vectors of prescribed dimension.

An order is only seen where the library keeps it: hnswlib does, while faiss sorts and shuffles what
is added at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import isqrt
from typing import Any

import numpy as np

from harness.analysis import geometry
from harness.arrays import Float32, Float64, Int64
from harness.errors import InputError
from harness.indexes import INDEXES, Searcher, Structured
from harness.measures.neighbours import EPSILON, neighbour_recall
from harness.measures.pairs import correlation
from harness.progress import Progress, silent
from harness.spec import parse
from harness.stats import bootstrap_correlation
from harness.store import Store
from harness.studies import synthetic
from harness.studies.funnel import Case, case
from harness.studies.subject import Interval, interval
from harness.vectors import Dense, Embeddings, Run, ranking

INDEX = "hnswlib"
RANKS = (8, 16, 32, 64, 128)  # of synthetic vectors
RANDOM = "random"
NEAR = 10  # neighbours that recall is of
FAR = 100  # neighbours that a dimension is estimated from
LARGEST = 100_000  # documents: all are compared with all, and inserted many times
CLUSTERS = 20  # of synthetic vectors: each larger than the neighbours looked at
SUBSPACE, CLUSTERED = "one subspace", f"{CLUSTERS} clusters"
BLOCK = 1 << 12  # queries whose distances are computed at a time


@dataclass(frozen=True)
class Graph:
    """How the graph is built and searched; seeds: of its levels, and of random orders.

    hnswlib draws the same levels with the seeds 0 and 1.
    """

    index: str = INDEX
    M: int = 16
    ef_construction: int = 128
    ef_search: tuple[int, ...] = (10, 40)
    seeds: tuple[int, ...] = (1, 2, 3)

    def __post_init__(self) -> None:
        for name, given in (("ef_search", self.ef_search), ("seeds", self.seeds)):
            if not given or len(set(given)) < len(given):
                raise InputError(f"{name} {given}: expected one or more different numbers")
        for ef_search, seed in product(self.ef_search, self.seeds):
            self.at(ef_search, seed)

    def at(self, ef_search: int, seed: int) -> Structured:
        """The index with these parameters.

        Raises InputError where it does not take them or its library is not installed.
        """
        asked = {
            "M": self.M,
            "ef_construction": self.ef_construction,
            "ef_search": ef_search,
            "seed": seed,
        }
        spec = parse(self.index).merged([(name, str(value)) for name, value in asked.items()])
        index = INDEXES.create(spec)
        index.require("dense")
        if not isinstance(index, Structured):
            raise InputError(f"{self.index} builds no structure: expected a graph, as {INDEX}")
        return index


@dataclass(frozen=True)
class Nearness:
    """How queries lie to their nearest documents.

    lid: mean local intrinsic dimension of the queries, by maximum likelihood (Amsaleg et al. 2015)
    from `neighbours` documents, None where none has one. cosines: mean cosine of the nth nearest,
    by n; average: of all documents. The less these differ, the harder the search.
    """

    neighbours: int
    lid: float | None
    cosines: dict[int, float]
    average: float


@dataclass(frozen=True)
class Order:
    """Recall@10 of the graph after one order of insertion, searched with one ef_search.

    recall: mean over seeds, interval over queries; seeds: the mean of each. change: of recall from
    the random order, paired by query, None for that itself. score: of the task's measure, and
    score_change: from exact search (of equally near documents at the cut-off a graph may return
    others, which changes the score and not the recall); None without a task.
    """

    name: str
    ef_search: int
    recall: Interval
    seeds: tuple[float, ...]
    change: Interval | None
    score: Interval | None
    score_change: Interval | None

    def apart(self, random: Order) -> bool:
        """Whether it differs from the random order by more than queries and seeds explain.

        The interval of the change leaves out 0, and no seed of one is within the range of the
        other's.
        """
        above = min(self.seeds) > max(random.seeds) or max(self.seeds) < min(random.seeds)
        return self.change is not None and self.change.significant and above


@dataclass(frozen=True)
class Quarter:
    """A quarter of the queries, by their LID: its range, mean, and the recall@10 there."""

    low: float
    high: float
    mean: float
    queries: int
    recall: Interval


@dataclass(frozen=True)
class Relation:
    """Each query's LID beside its recall@10, the mean over seeds of random orders.

    spearman: with its bootstrap interval [low, high] over queries; None where all recalls or all
    dimensions are equal. quarters: of the queries, LID ascending.
    """

    ef_search: int
    spearman: float | None
    low: float | None
    high: float | None
    quarters: tuple[Quarter, ...]


@dataclass(frozen=True)
class Rank:
    """Synthetic vectors in a subspace of so many dimensions, or in clusters with one each.

    recall: recall@10 by ef_search, random order, the first seed.
    """

    kind: str
    rank: int
    near: Nearness
    recall: dict[int, Interval]


@dataclass(frozen=True)
class Insertion:
    """All that is measured of a model's vectors of a task; ranks: synthetic ones to compare with.

    structure: what decides the first graph, as its index tells. score: of the task's measure, by
    exact search.
    """

    encoder: str
    task: str
    graph: Graph
    structure: dict[str, Any]
    documents: int
    dimension: int
    queries: int
    measure: str
    score: Interval
    near: Nearness
    orders: tuple[Order, ...]
    relations: tuple[Relation, ...]
    ranks: tuple[Rank, ...]
    warnings: tuple[str, ...]


def study(
    encoder: str,
    task: str,
    *,
    store: Store,
    graph: Graph | None = None,
    labels: Mapping[str, str] | None = None,
    separator: str = "",
    progress: Progress = silent,
) -> Insertion:
    """Insert a task's documents in several orders and search each graph. encoder, task: specs.

    Orders: random, by LID ascending and descending, along the first principal component, and by
    group: `labels` by document id; or what an id holds before the `separator`; or k-means clusters.
    A group is inserted as a whole. graph: None for hnswlib with its usual parameters.

    Raises InputError for more than 100,000 documents, fewer than four that differ, documents
    without a label or a separator, and as `Graph.at` and `funnel.case`.
    """
    graph = graph or Graph()
    found = case(encoder, task, store=store, progress=progress)
    documents, queries = found.own
    groups = _groups(found.data.corpus.ids, labels, separator)
    swept = _sweep(documents, queries, graph, groups=groups, of=found, progress=progress)
    dimensions = query_lid(documents, queries, swept.truth)
    deepest = max(NEAR, found.measure.depth) + found.exclude_self
    first = [graph.at(ef, graph.seeds[0]) for ef in graph.ef_search]
    notes = [note for index in first for note in index.warnings(deepest)]
    return Insertion(
        encoder=encoder,
        task=task,
        graph=graph,
        structure=dict(first[0].structure()),
        documents=len(documents),
        dimension=documents.shape[1],
        queries=len(queries),
        measure=str(found.measure),
        score=interval(swept.scored),
        near=_nearness(documents, queries, swept.truth, dimensions),
        orders=swept.orders(),
        relations=tuple(
            _relation(ef, dimensions, swept.recall[RANDOM, ef].mean(axis=0))
            for ef in graph.ef_search
        ),
        ranks=(),
        warnings=tuple(dict.fromkeys((*found.warnings, *notes))),
    )


def sweep(
    documents: Float32, queries: Float32, graph: Graph, *, progress: Progress = silent
) -> tuple[Order, ...]:
    """The orders of `study` for vectors [n, d] and [q, d], compared by inner product.

    Raises InputError as `study`.
    """
    return _sweep(documents, queries, graph, progress=progress).orders()


def ranks(
    asked: Sequence[int] = RANKS,
    *,
    documents: int = 10_000,
    queries: int = 500,
    width: int = 384,
    graph: Graph | None = None,
    progress: Progress = silent,
) -> tuple[Rank, ...]:
    """Recall@10 of vectors of prescribed dimension, in one subspace and in 20 clusters.

    graph: as for `study`; its first seed also draws the vectors. Queries are drawn as documents
    are. Raises InputError for a rank below 2 or above the width, and as `Graph.at`.
    """
    graph, found = graph or Graph(), list[Rank]()
    seed = graph.seeds[0]
    for kind, clusters in ((SUBSPACE, 0), (CLUSTERED, CLUSTERS)):
        for rank in asked:
            progress("synthetic", len(found), 2 * len(asked), "graphs")
            n = documents + queries
            if clusters:
                values = synthetic.clustered(n, width, rank, clusters=clusters, seed=seed)
            else:
                values = synthetic.subspace(n, width, rank, seed=seed)
            here, there = values[:documents], values[documents:]
            truth = _exact(here, there, silent)
            near = _nearness(here, there, truth, query_lid(here, there, truth))
            recall = {
                ef: interval(_recall(searcher, there, truth))
                for ef, searcher in _grown(graph, here, np.arange(documents), seed)
            }
            found.append(Rank(kind, rank, near, recall))
    progress("synthetic", len(found), len(found), "graphs")
    return tuple(found)


def query_lid(documents: Float32, queries: Float32, near: Run) -> Float64:
    """Local intrinsic dimension of queries [q] from the documents that exact search finds [q, k].

    -1 / mean of ln(r / largest r), r being Euclidean distances (Amsaleg et al. 2015); a document at
    distance 0 is left out. Infinite where all are equally far.
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


@dataclass(frozen=True)
class _Shuffled:
    """A searcher of documents in another order; order: [n], the row of each in the corpus."""

    searcher: Searcher
    order: Int64

    def search(self, queries: Embeddings, k: int, progress: Progress) -> Run:
        """The run [q, k] in rows of the corpus."""
        run = self.searcher.search(queries, k, progress)
        rows = np.where(run.docs < 0, -1, self.order[run.docs])
        return ranking.unpack(ranking.best(ranking.pack(run.scores, rows), k))


@dataclass(frozen=True)
class _Swept:
    """By order and ef_search: recall [seeds, q] and the task's measure [seeds, judged]; by exact
    search: the nearest documents, and the measure [judged].
    """

    truth: Run
    scored: Float64
    recall: dict[tuple[str, int], Float64]
    values: dict[tuple[str, int], Float64]

    def orders(self) -> tuple[Order, ...]:
        """What is told of each, the random order first."""
        found = []
        for (name, ef), by_seed in self.recall.items():
            recall, random = by_seed.mean(axis=0), self.recall[RANDOM, ef].mean(axis=0)
            known = (name, ef) in self.values
            values = self.values[name, ef].mean(axis=0) if known else None
            found.append(
                Order(
                    name=name,
                    ef_search=ef,
                    recall=interval(recall),
                    seeds=tuple(by_seed.mean(axis=1).tolist()),
                    change=None if name == RANDOM else interval(recall - random),
                    score=None if values is None else interval(values),
                    score_change=None if values is None else interval(values - self.scored),
                )
            )
        return tuple(found)


def _sweep(
    documents: Float32,
    queries: Float32,
    graph: Graph,
    *,
    groups: tuple[str, Sequence[str]] | None = None,
    of: Case | None = None,
    progress: Progress,
) -> _Swept:
    """Build a graph for each order and seed, and search it with each ef_search."""
    if len(documents) > LARGEST:
        raise InputError(
            f"{len(documents):,} documents: expected at most {LARGEST:,}, since each is compared "
            "with all others and inserted many times"
        )
    truth, scored = _exact(documents, queries, progress), np.empty(0)
    if of is not None:
        exact = INDEXES.create("exact").build(Dense(documents))
        scored = of.values(of.search(exact, queries, of.measure.depth))
    fixed = _fixed(documents, groups, graph.seeds[0], progress)
    names = [RANDOM, *fixed]
    recall: dict[tuple[str, int], list[Float64]] = {}
    values: dict[tuple[str, int], list[Float64]] = {}
    for done, (name, seed) in enumerate(product(names, graph.seeds)):
        progress("insert", done, len(names) * len(graph.seeds), "graphs")
        order = fixed.get(name, np.random.default_rng(seed).permutation(len(documents)))
        for ef, searcher in _grown(graph, documents, order, seed):
            recall.setdefault((name, ef), []).append(_recall(searcher, queries, truth))
            if of is not None:
                run = of.search(searcher, queries, of.measure.depth)
                values.setdefault((name, ef), []).append(of.values(run))
    progress("insert", len(names) * len(graph.seeds), len(names) * len(graph.seeds), "graphs")
    stacked = ({key: np.array(rows) for key, rows in each.items()} for each in (recall, values))
    return _Swept(truth, scored, *stacked)


def _grown(
    graph: Graph, documents: Float32, order: Int64, seed: int
) -> Iterator[tuple[int, Searcher]]:
    """One graph, to be searched with each ef_search in turn."""
    placed = Dense(np.ascontiguousarray(documents[order]))
    built = graph.at(graph.ef_search[0], seed).grow(placed, silent)
    for ef in graph.ef_search:
        yield ef, _Shuffled(graph.at(ef, seed).searcher(built, placed), order)


def _exact(documents: Float32, queries: Float32, progress: Progress) -> Run:
    """The nearest documents of each query [q, 100], or all where there are fewer."""
    searcher = INDEXES.create("exact").build(Dense(documents))
    return searcher.search(Dense(queries), min(FAR, len(documents)), progress)


def _recall(searcher: Searcher, queries: Float32, truth: Run) -> Float64:
    """Recall@10 of each query [q], of a search for no more: graphs raise ef_search to k."""
    k = min(NEAR, truth.docs.shape[1])
    return neighbour_recall(searcher.search(Dense(queries), k, silent), truth, k, EPSILON)


def _groups(
    ids: Sequence[str], labels: Mapping[str, str] | None, separator: str
) -> tuple[str, Sequence[str]] | None:
    """The name of the order and the group of each document; None where clusters are to be found."""
    if labels is not None:
        missing = next((id for id in ids if id not in labels), None)
        if missing is not None:
            raise InputError(f"document {missing!r} has no label: expected one for each document")
        return "by label", [labels[id] for id in ids]
    if separator:
        missing = next((id for id in ids if separator not in id), None)
        if missing is not None:
            raise InputError(f"document id {missing!r} holds no {separator!r} to group it by")
        return "by id prefix", [id.partition(separator)[0] for id in ids]
    return None


def _fixed(
    documents: Float32,
    groups: tuple[str, Sequence[str]] | None,
    seed: int,
    progress: Progress,
) -> dict[str, Int64]:
    """Rows in every order that is not random [n]."""
    from threadpoolctl import threadpool_limits

    near = geometry.neighbours(documents, FAR, progress=progress)
    dimension = geometry.lid(near.distances)[near.which]
    with threadpool_limits(1):  # sums of more threads round otherwise
        centred = documents - documents.mean(axis=0)
        axis = np.linalg.eigh(centred.T @ centred)[1][:, -1]
        along = centred @ (axis * np.sign(axis[np.abs(axis).argmax()]))
        name, codes = groups or ("by cluster", _clusters(documents, isqrt(len(near.rows)), seed))
    keys = {
        "LID ascending": dimension,
        "LID descending": -dimension,
        name: np.unique(codes, return_inverse=True)[1],
        "first component": along,
    }
    return {name: np.argsort(key, kind="stable") for name, key in keys.items()}


def _clusters(documents: Float32, clusters: int, seed: int) -> Sequence[int]:
    """The k-means cluster of each document."""
    from sklearn.cluster import MiniBatchKMeans

    model = MiniBatchKMeans(n_clusters=clusters, n_init=1, random_state=seed)
    found: list[int] = model.fit_predict(documents).tolist()
    return found


def _nearness(documents: Float32, queries: Float32, near: Run, dimensions: Float64) -> Nearness:
    known = dimensions[np.isfinite(dimensions)]
    lengths = [np.linalg.norm(part, axis=1) for part in (documents, queries)]
    here, there = (
        np.divide(part, norm[:, None], out=np.zeros_like(part), where=norm[:, None] > 0)
        for part, norm in zip((documents, queries), lengths, strict=True)
    )
    k = near.docs.shape[1]
    cosines = {
        nth: float(np.einsum("qd,qd->q", here[near.docs[:, nth - 1]], there).mean())
        for nth in (1, 10, 100)
        if nth <= k
    }
    average = float(here.mean(axis=0, dtype=np.float64) @ there.mean(axis=0, dtype=np.float64))
    return Nearness(k, float(known.mean()) if len(known) else None, cosines, average)


def _relation(ef: int, dimensions: Float64, recall: Float64) -> Relation:
    """Dimension and recall of each query [q], set beside each other where there is a dimension."""
    known = np.isfinite(dimensions)
    dimensions, recall = dimensions[known], recall[known]
    rho = low = high = None
    if len(recall) > 1 and np.ptp(recall) > 0 and np.ptp(dimensions) > 0:
        rho = float(correlation("spearman", dimensions, recall))
        low, high = bootstrap_correlation("spearman", dimensions, recall, seed=0)
    order = np.argsort(dimensions, kind="stable")
    quarters = [
        Quarter(
            low=float(dimensions[rows[0]]),
            high=float(dimensions[rows[-1]]),
            mean=float(dimensions[rows].mean()),
            queries=len(rows),
            recall=interval(recall[rows]),
        )
        for rows in np.array_split(order, 4)
        if len(rows)
    ]
    return Relation(ef, rho, low, high, tuple(quarters))
