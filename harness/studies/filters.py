"""What filtered queries lose: the nearest documents among those whose metadata fit a predicate.

Three ways to answer a query with a predicate:
    pre-filter    the documents that match are searched, exactly: nothing is lost
    post-filter   all are searched, for `factor` times as many results, and what does not match is
                  dropped: of a predicate independent of the vectors about factor x selectivity of
                  the wanted results are left
    native        the index looks at the predicate while it searches (faiss's HNSW)

Truth is exact search restricted to what matches; where fewer than k match, they are the truth.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, ClassVar

import numpy as np

from harness.analysis.filtered import Filtered, Native, faiss_native
from harness.analysis.predicates import Predicate, attributes, predicates
from harness.analysis.timing import time_each
from harness.arrays import Int64
from harness.errors import InputError
from harness.frames import Column, Frame
from harness.frames.charts import Lines
from harness.frames.formats import percent
from harness.indexes import INDEXES, Index, Searcher
from harness.indexes.hnsw import Hnsw
from harness.indexes.saved import FileIndex
from harness.measures.neighbours import EPSILON, neighbour_recall
from harness.session import Session
from harness.studies import STUDIES, Findings, Study
from harness.vectors import Dense, Run
from harness.wording import count

SELECTIVITIES = (0.001, 0.01, 0.1, 0.5)
FACTORS = (1, 2, 5, 10)
QUERIES = 1000  # at most
SINGLES = 30  # queries asked one at a time

SELECTIVITY = Column("selectivity", "share", about="of the documents, about so many match")
MATCHING = Column(
    "documents that match", "share", about="measured, the mean of predicates", digits=2
)
BUCKETS = [
    SELECTIVITY,
    MATCHING,
    Column("documents", "number", about="that match, the median of predicates", digits=0),
    Column("predicates", "count", about="queries take turns"),
    Column("which"),
]
PREDICATES = [SELECTIVITY, Column("predicate"), Column("documents", "count")]
ANSWERS = [
    SELECTIVITY,
    MATCHING,
    Column("answered", about="the way, with its factor, and the index"),
    Column("way"),
    Column("index"),
    Column("factor", "count", about="results searched for, times k, before what fails is dropped"),
    Column("recall", "estimate", "high", "of the nearest k that match"),
    Column("short", "share", "low", "queries with fewer results than there are, up to k"),
    Column("per second", "rate", "high", "queries, all asked together; predicate included"),
    Column("p50", "ms", "low", "a query asked alone on 1 thread, median; predicate included"),
    Column("p95", "ms", "low", "the same, 95th percentile"),
]
SHOWN = {
    "recall": "Recall at {k} of the nearest documents that match, by share that matches",
    "short": "Queries with fewer results than match, up to {k}",
    "per second": "Queries per second, all asked together",
    "p50": "Milliseconds of a query asked alone, median",
    "p95": "Milliseconds of a query asked alone, 95th percentile",
}


@STUDIES.register("filters")
@dataclass(frozen=True)
class Filters(Study):
    """What filtered queries lose, by how few documents pass the filter.

    Predicates are values, members of lists and ranges of numbers, found in the metadata of the
    documents. Up to 1,000 queries are asked, drawn with the seed. Selectivities that no predicate
    comes near are left out. Speed is that of this machine, and on a shared one it varies.
    """

    takes = "one"
    default_task: ClassVar[str] = "complex-and"
    old_options: ClassVar[Mapping[str, str]] = {"-i": "index"}

    index: Annotated[str, "index of dense vectors to filter, set beside exact search"] = "hnsw"
    k: Annotated[int, "results for each query"] = 10
    attribute: Annotated[
        str | None,
        "metadata field to filter by; by default all fields; random: drawn numbers instead",
    ] = None

    def __post_init__(self) -> None:
        if self.k < 1:
            raise InputError(f"k={self.k}: expected at least 1")

    def run(self, session: Session, systems: Sequence[str], task: str) -> Findings:
        """Answer queries with predicates before, after and inside the search.

        Raises:
            InputError: for an unknown attribute, an index that takes no dense vectors, a corpus of
                which no predicate has any of the selectivities, a task that is not retrieval; else
                what encoder, store and index raise.
        """
        index = INDEXES.create(self.index)
        corpus = session.task(task).collection.corpus
        vectors = session.vectors(systems[0], task)
        asked, random = vectors.arrays["queries"], np.random.default_rng(session.seed)
        queries = Dense(asked[np.sort(random.permutation(len(asked))[:QUERIES])])
        documents = Dense(vectors.arrays["documents"])
        searchers, native, notes = self._open(session, index, documents)
        name, columns = attributes(corpus, self.attribute, random)
        buckets, missing, rows = dict[float, list[Predicate]](), list[str](), list[Any]()
        for done, selectivity in enumerate(SELECTIVITIES):
            session.progress("filter", done, len(SELECTIVITIES), "selectivities")
            chosen = predicates(columns, selectivity, len(documents), random)
            if not chosen:
                missing.append(_lacks(name, selectivity))
                continue
            buckets[selectivity] = chosen
            matches = np.stack([predicate.matches for predicate in chosen])
            filtered = Filtered(queries, documents, matches, self.k)
            rows += [
                (selectivity, matches.mean(), *row)
                for row in _answers(filtered, searchers, native, session)
            ]
        if not buckets:
            raise InputError(f"{task}: {'; '.join(missing)}: nothing to measure")
        title = (
            f"{systems[0]} on {task}: {count(len(queries), 'query')} with predicates on {name} "
            f"over {count(len(documents), 'document')}"
        )
        answers = Frame("Answers to filtered queries", ANSWERS, rows, name="answers", shown=False)
        frames = [*_predicates(title, buckets), *self._make_frames(answers), answers]
        said = f"{systems[0]} on {task}, {self._headline(answers, len(documents))}"
        return Findings(said, frames, [self._chart(answers)], [*vectors.notes, *notes, *missing])

    def _open(
        self, session: Session, index: Index, documents: Dense
    ) -> tuple[dict[str, Searcher], Native | None, list[str]]:
        """Documents in an exact and in the given index, by spec; and what was noticed.

        Between them a search of it that looks at predicates, where it is an HNSW graph of faiss.
        """
        # timed beside graphs of the processor, not whichever is sooner on this machine
        native, searchers = None, {"exact": session.index("exact,device=cpu", documents)}
        if isinstance(index, Hnsw):
            graph = index.make(documents, session.progress)
            searchers[self.index] = index.searcher(graph, documents)
            native = faiss_native(graph, index.parameters)
        elif self.index != "exact":
            searchers[self.index] = session.index(self.index, documents)
        if not isinstance(index, FileIndex):
            return searchers, native, []
        depths = sorted({min(self.k * factor, len(documents)) for factor in FACTORS})
        return searchers, native, [note for depth in depths for note in index.notes(depth)]

    def _make_frames(self, answers: Frame) -> Iterator[Frame]:
        """A frame a quantity: ways below each other, selectivities side by side."""
        for column, title in SHOWN.items():
            yield answers.pivot(
                "answered", "selectivity", column, title=title.format(k=self.k),
                name=column.replace(" ", "-"),
            )  # fmt: skip

    def _chart(self, answers: Frame) -> Lines:
        """Recall by selectivity, of post-filtering that of the given index alone."""
        drawn = [
            row["answered"]
            for row in answers.records()
            if row["way"] != "post-filter" or row["index"] == self.index
        ]
        title = f"share found of the {self.k} nearest that match"
        frame = answers.where("answered", *drawn)
        return Lines(frame, "documents that match", "recall", "answered", log="x", title=title)

    def _headline(self, answers: Frame, documents: int) -> str:
        """What is left at the selectivity nearest to 1%, where ways differ most."""
        nearest = min(answers.numbers("selectivity"), key=lambda s: abs(math.log(s / 0.01)))
        rows = answers.where("selectivity", nearest).where("index", self.index)
        passing = rows.numbers("documents that match")[0]
        left = {(row["way"], row["factor"]): row["recall"].mean for row in rows.records()}
        post, native = left["post-filter", FACTORS[-1]], left.get(("native", None))
        inside = "" if native is None else f", {percent(native)} by filtering inside {self.index}"
        best = min(FACTORS[-1] * self.k, documents)
        return (
            f"where {percent(passing)} of documents pass the filter: recall@{self.k} is 100% by "
            f"filtering before the search, {percent(post)} by filtering the {best:,} best of "
            f"{self.index} after it{inside}"
        )


def _lacks(attribute: str, selectivity: float) -> str:
    return f"no predicate on {attribute} is met by about {percent(selectivity)} of documents"


def _list_some(texts: Sequence[str], room: int = 100) -> str:
    """The first texts, each whole, and how many more there are."""
    ends = np.cumsum([len(text) + 2 for text in texts])
    kept = max(1, int(np.count_nonzero(ends <= room)))
    more = f"; and {len(texts) - kept:,} more" if kept < len(texts) else ""
    return "; ".join(texts[:kept]) + more


def _predicates(title: str, buckets: Mapping[float, Sequence[Predicate]]) -> list[Frame]:
    """What the predicates of each selectivity are: in short, and each."""
    rows, each = [], list[tuple[Any, ...]]()
    for selectivity, chosen in buckets.items():
        matches = np.stack([predicate.matches for predicate in chosen])
        counts = np.count_nonzero(matches, axis=1)
        texts = [predicate.text for predicate in chosen]
        shares = selectivity, matches.mean(), np.median(counts)
        rows.append((*shares, len(chosen), _list_some(texts)))
        each += [(selectivity, *pair) for pair in zip(texts, counts, strict=True)]
    return [
        Frame(title, BUCKETS, rows, name="selectivities"),
        Frame("Predicates", PREDICATES, each, name="predicates", shown=False),
    ]


def _answers(
    filtered: Filtered, searchers: Mapping[str, Searcher], native: Native | None, session: Session
) -> Iterator[tuple[Any, ...]]:
    """What each way finds, and how fast: rows of ANSWERS from `answered` on."""
    everything, k = np.arange(len(filtered.queries)), filtered.k
    truth = filtered.before(everything, 2 * k)  # deeper: ties beyond k count
    wanted = np.count_nonzero(truth.docs[:, :k] >= 0, axis=1)
    for way, index, factor, search in _ways(filtered, searchers, native):
        started = time.perf_counter()
        run = search(everything)
        seconds = time.perf_counter() - started
        alone = time_each(search, np.split(everything[:SINGLES], len(everything[:SINGLES])))
        recall = session.estimate(neighbour_recall(run, truth, k, EPSILON))
        short = np.mean(np.count_nonzero(run.docs >= 0, axis=1) < wanted)
        name = way if factor is None else f"{way} x{factor}"
        speed = (len(everything) / seconds, *np.quantile(alone, [0.5, 0.95]))
        yield (f"{name}, {index}", way, index, factor, recall, short, *speed)


def _ways(
    filtered: Filtered, searchers: Mapping[str, Searcher], native: Native | None
) -> Iterator[tuple[str, str, int | None, Callable[[Int64], Run]]]:
    """How queries can be answered: the way, the index, the factor, and rows of queries -> run."""
    yield "pre-filter", "exact", None, filtered.before
    for index, searcher in searchers.items():
        for factor in FACTORS:
            search = partial(filtered.after, searcher=searcher, factor=factor)
            yield "post-filter", index, factor, search
        if native is not None and index != "exact":
            yield "native", index, None, partial(filtered.inside, native=native)


STUDIES.alias("filter", "filters", old=True)
