"""Why a graph of neighbours misses some: intrinsic dimension, contrast, order of insertion.

Elliott and Clark 2024 (arXiv 2405.17813): the recall of HNSW falls with the local intrinsic
dimension (LID) of the data, and moves with the order in which documents are inserted. Here the same
documents are inserted in several orders, each with several seeds of the graph's levels; each
query's LID is set beside its recall; and so are vectors of prescribed dimension.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isqrt
from typing import Annotated, Any, ClassVar

import numpy as np

from harness.analysis.geometry import lid, neighbours
from harness.analysis.graphs import FAR, NEAR, GraphSettings
from harness.analysis.insertion import (
    RANDOM,
    Swept,
    groups,
    insertion_orders,
    k_means,
    stands_out,
    sweep,
)
from harness.analysis.nearness import NTH, lid_correlation, nearness, query_lid
from harness.analysis.synthetic import VectorSet, synthetic
from harness.arrays import Float32, Float64, Int64
from harness.errors import InputError
from harness.frames import Column, Frame
from harness.frames.charts import Dots, Lines, Reference
from harness.frames.formats import number
from harness.indexes import Searcher
from harness.progress import Progress, silent
from harness.session import Session
from harness.spec import join
from harness.stats import Estimate
from harness.studies import STUDIES, Findings, Study

LARGEST = 100_000  # documents: all are compared with all, and inserted many times
MOST = 10_000  # synthetic documents
RECALL = f"recall@{NEAR}"

EF = Column("ef_search", "count", about="candidates that a search keeps")
ORDERS = [
    Column("documents inserted"),
    EF,
    Column(RECALL, "estimate", "high", "mean of seeds, interval over queries"),
    Column("least", "score", about="of the seeds"),
    Column("most", "score", about="of the seeds"),
    Column("change", "change", "high", "of recall from the random order, paired by query"),
    Column("differs", about="by more than queries and seeds explain"),
    Column("score", "estimate", "high", "of the task's measure"),
    Column("score change", "change", "high", "from exact search; ties may be others"),
]
SEEDS = [Column("documents inserted"), EF, Column("seed", "count"), Column(RECALL, "score")]
RELATION = [
    EF,
    Column("Spearman", "estimate", about=f"of the LID of queries and their {RECALL}", digits=2),
]
QUARTERS = [
    EF,
    Column("LID from", "number", about="of a quarter of the queries", digits=1),
    Column("to", "number", digits=1),
    Column("mean", "number", digits=1),
    Column("queries", "count"),
    Column(RECALL, "estimate", "high", "mean of the seeds of random orders"),
]
VECTORS = [
    Column("vectors"),
    Column("rank", "count", about="dimensions that synthetic vectors were drawn in"),
    Column("LID", "number", "low", f"mean of the queries, from up to {FAR} documents", digits=1),
    *(Column(f"cosine of {n}", "number", about="nth nearest document", digits=3) for n in NTH),
    Column("of any", "number", about="cosine of all documents: less apart is harder", digits=3),
]
DIMENSION = [
    Column("vectors"),
    Column("local dimension (LID) of queries", "number"),
    Column(RECALL, "estimate"),
]


@STUDIES.register("insertion")
@dataclass(frozen=True)
class Insertion(Study):
    """Why a graph misses neighbours: intrinsic dimension, and the order of insertion.

    Documents are inserted at random, by their local intrinsic dimension (LID) ascending and
    descending, along the first principal component, and group by group. At most 100,000 are, since
    each is compared with all others. Recall of synthetic vectors of known dimension stands beside.
    """

    takes = "one"
    default_task: ClassVar[str] = "limit-1k"
    old_options: ClassVar[Mapping[str, str]] = {"-i": "index"}

    index: Annotated[str, "graph in order of insertion; hnswlib: extra of that name"] = "hnswlib"
    M: Annotated[int, "links of each node of the graph"] = 16
    ef_construction: Annotated[int, "candidates considered when a document is inserted"] = 128
    ef_search: Annotated[tuple[int, ...], "candidates of a search; each is tried"] = (10, 40)
    draws: Annotated[int, "random orders, and graphs built for each other order"] = 3
    separator: Annotated[
        str, "group documents by the part of their ids before this text; empty: by k-means"
    ] = ""
    labels: Annotated[str, "path of a JSON file, {document id: group}, instead of a separator"] = ""
    ranks: Annotated[
        tuple[int, ...], "dimensions of synthetic vectors; those above the model's are left out"
    ] = (8, 16, 32, 64, 128)

    def __post_init__(self) -> None:
        if self.draws < 1:
            raise InputError(f"{self.draws} draws: expected at least 1")
        if min(self.ranks, default=2) < 2:
            raise InputError(f"ranks={join(self.ranks)}: expected at least 2 dimensions")

    def run(self, session: Session, systems: Sequence[str], task: str) -> Findings:
        """Insert a task's documents in several orders and search each graph.

        Raises:
            InputError: for more than 100,000 documents, fewer than four that differ, documents
                without a label or a separator, a task that is not searched, and what the index
                refuses.
        """
        seeds = tuple(1 + seed for seed in session.seeds(self.draws))  # hnswlib: 0 is as 1
        graph = GraphSettings(self.index, self.M, self.ef_construction, self.ef_search, seeds)
        asked = session.collection(task)
        vectors = session.vectors(systems[0], asked)
        documents, queries = vectors.arrays["documents"], vectors.arrays["queries"]
        grouped = groups(asked.collection.corpus.ids, self.labels, self.separator)
        orders = document_orders(documents, grouped, seeds[0], session.progress)

        def score(searcher: Searcher) -> Float64:
            run = session.retrieve(vectors, searcher, asked.main.depth)
            return session.values(run, asked)

        exact, progress = score(session.index("exact", vectors.documents)), session.progress
        swept = sweep(documents, queries, graph, orders, score=score, progress=progress)
        lids = query_lid(documents, queries, swept.truth)
        built = f"{self.index}, M={self.M}, ef_construction={self.ef_construction}"
        title = (
            f"{systems[0]} on {task}: {len(documents):,} documents inserted in several orders; "
            f"{built}, draws={self.draws}; {asked.main} by exact search {number(exact.mean())}"
        )
        told = order_frame(title, swept, session, exact)
        quarters, relation = relations(swept, lids, session)
        n, dim = documents.shape
        ranks = [rank for rank in self.ranks if rank <= dim]
        sets = synthetic(ranks, graph, min(n, MOST), width=dim, progress=progress)
        recall = {ef: swept.recall[RANDOM, ef].mean(axis=0) for ef in self.ef_search}
        own = VectorSet(systems[0], None, nearness(documents, queries, swept.truth, lids), recall)
        vector = vector_frames([*sets, own], quarters, session)
        frames = [told, quarters, relation, *vector, seed_frame(swept, seeds)]
        notes = graph.notes(max(NEAR, asked.main.depth) + asked.exclude_self)
        said, drawn = headline(told, quarters), charts(told, vector[1])
        return Findings(f"{systems[0]} on {task}, {said}", frames, drawn, [*vectors.notes, *notes])


def document_orders(
    documents: Float32,
    grouped: tuple[str, Sequence[str] | Sequence[int]] | None,
    seed: int,
    progress: Progress = silent,
) -> dict[str, Int64]:
    """Rows of documents [n, d] in every order that is not random.

    Raises:
        InputError: for more than 100,000 documents, or fewer than four that differ.
    """
    if len(documents) > LARGEST:
        raise InputError(
            f"{len(documents):,} documents: expected at most {LARGEST:,}, since each is compared "
            "with all others and inserted many times"
        )
    near = neighbours(documents, FAR, progress=progress)
    grouped = grouped or ("by cluster", k_means(documents, isqrt(len(near.rows)), seed))
    return insertion_orders(documents, lid(near.distances)[near.which], grouped)


def order_frame(title: str, swept: Swept, session: Session, exact: Float64 | None = None) -> Frame:
    """What is found after each order, the random one first.

    Args:
        title: Of the frame.
        swept: By order and ef_search.
        session: Whose seed draws intervals.
        exact: The measure by exact search [judged].
    """
    rows = list[tuple[Any, ...]]()
    for (name, ef), recall in swept.recall.items():
        random, means = swept.recall[RANDOM, ef], recall.mean(axis=1)
        change, differs, scores = None, "", list[Estimate | None]([None, None])
        if name != RANDOM:
            change = session.estimate(recall.mean(axis=0) - random.mean(axis=0))
            differs = "yes" if stands_out(change, means, random.mean(axis=1)) else "within noise"
        if exact is not None:
            values = swept.values[name, ef].mean(axis=0)
            scores = [session.estimate(values), session.estimate(values - exact)]
        found = session.estimate(recall.mean(axis=0))
        rows.append((name, ef, found, means.min(), means.max(), change, differs, *scores))
    title += "; within noise: what the spread of queries or of seeds explains"
    return Frame(title, ORDERS, rows, name="orders")


def seed_frame(swept: Swept, seeds: Sequence[int]) -> Frame:
    """Recall of each graph."""
    rows = [
        (name, ef, seed, mean)
        for (name, ef), recall in swept.recall.items()
        for seed, mean in zip(seeds, recall.mean(axis=1), strict=True)
    ]
    return Frame(f"{RECALL} of each graph", SEEDS, rows, name="seeds", shown=False)


def relations(swept: Swept, lids: Float64, session: Session) -> tuple[Frame, Frame]:
    """Dimension [q] and recall of queries beside each other, where they have a dimension.

    Returns:
        Recall of quarters of the queries; and the correlation, None where all recalls or all
        dimensions are equal.
    """
    known = np.isfinite(lids)
    order = np.flatnonzero(known)[np.argsort(lids[known], kind="stable")]
    parts = [rows for rows in np.array_split(order, 4) if len(rows)]
    quarters, told = list[tuple[Any, ...]](), list[tuple[Any, ...]]()
    for ef in (ef for name, ef in swept.recall if name == RANDOM):
        recall = swept.recall[RANDOM, ef].mean(axis=0)
        told.append((ef, lid_correlation(lids[known], recall[known], session.seed)))
        quarters += [
            (ef, lids[rows[0]], lids[rows[-1]], lids[rows].mean(), len(rows),
             session.estimate(recall[rows]))
            for rows in parts
        ]  # fmt: skip
    title = f"Do queries of higher local intrinsic dimension find fewer of the {NEAR} nearest?"
    return (
        Frame(title, QUARTERS, quarters, name="quarters"),
        Frame("Correlation of dimension and recall", RELATION, told, name="relation"),
    )


def vector_frames(
    sets: Sequence[VectorSet], quarters: Frame, session: Session
) -> tuple[Frame, Frame]:
    """How far neighbours stand out, of synthetic vectors and, last, of the model's.

    Also what is drawn: recall by dimension, with the smallest ef_search, where most is missed.
    """
    efs, rows, drawn = list(sets[-1].recall), list[tuple[Any, ...]](), list[tuple[Any, ...]]()
    for one in sets:
        found = {ef: session.estimate(values) for ef, values in one.recall.items()}
        cosines = [one.near.cosines.get(nth) for nth in NTH]
        told = (one.near.lid, *cosines, one.near.average, *found.values())
        rows.append((one.name, one.rank, *told))
        if one.rank is not None and one.near.lid is not None:
            drawn.append((f"synthetic, {one.name}", one.near.lid, found[min(efs)]))
    for row in quarters.where("ef_search", min(efs)).records():
        drawn.append((f"{sets[-1].name}, quarters of the queries", row["mean"], row[RECALL]))
    columns = [Column(f"{RECALL}, ef_search={ef}", "estimate", "high") for ef in efs]
    title = "How far neighbours stand out, beside synthetic vectors"
    return (
        Frame(title, [*VECTORS, *columns], rows, name="vectors"),
        Frame(f"{RECALL} by dimension", DIMENSION, drawn, name="dimension", shown=False),
    )


def charts(orders: Frame, drawn: Frame) -> list[Lines | Dots]:
    """Recall by dimension, beside recall by order of insertion."""
    searched = [f"ef_search={ef}" for ef in orders["ef_search"]]
    shown = orders.with_column(Column("search"), searched)
    random = shown.where("documents inserted", RANDOM).records()
    lines = tuple(Reference(row[RECALL].mean, f"random, {row['search']}") for row in random)
    about = f"{RECALL} by dimension, ef_search={min(orders.numbers('ef_search')):g}"
    return [
        Lines(drawn, "local dimension (LID) of queries", RECALL, "vectors", title=about),
        Dots(
            shown, RECALL, "documents inserted", "search", references=lines,
            title=f"{RECALL} by order of insertion",
        ),
    ]  # fmt: skip


def headline(orders: Frame, quarters: Frame) -> str:
    """What dimension does to recall, and what order does, with the smallest ef_search."""
    ef = int(min(orders.numbers("ef_search")))
    there = orders.where("ef_search", ef).where("differs", "yes").records()
    second = "no order of insertion differs from a random one by more than noise"
    if there:
        most = max(there, key=lambda row: abs(row["change"].mean))
        name = most["documents inserted"]
        how = name if name.startswith("by ") else f"by {name}"
        second = f"inserting {how} moves it by {100 * most['change'].mean:+.1f} points"
    recall = quarters.where("ef_search", ef).numbers(RECALL)
    if len(recall) < 2:
        return f"ef_search={ef}: {second.replace('moves it', f'moves {RECALL}')}"
    return (
        f"ef_search={ef}: {RECALL} is {recall[0]:.2f} for queries of low dimension, "
        f"{recall[-1]:.2f} for those of high; {second}"
    )


STUDIES.alias("order", "insertion", old=True)
