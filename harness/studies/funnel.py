"""Where a task's score is lost: by the vectors, by a metric they were not made for, by the index.

The funnel of Iceberg (github.com/ZJU-DAILY/Iceberg), in numbers of one task:

    best possible     documents in the order of their judgments, cut where the measure ends: 1 for
                      nDCG, less for recall where more are relevant than the cut-off admits
    exact search      with the model's own similarity; what it lacks, the vectors lose
    misused metrics   exact search with another similarity over the same vectors
    the index         approximate search with the model's own similarity
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from harness.arrays import Float32, Float64
from harness.data import Retrieval
from harness.indexes import INDEXES, Searcher
from harness.measures import Measure
from harness.measures.neighbours import neighbour_overlap
from harness.progress import Progress, silent
from harness.represent import unit
from harness.retrieve import Collection, drop_self, retrieve
from harness.store import Store
from harness.studies.subject import Interval, dense_index, embed, interval, per_query, searched
from harness.vectors import Dense, Run, ranking

NEAR = 10  # neighbours that exact and other searches are compared by
BEST = "best possible"
NAMES = {"cosine": "cosine", "dot": "inner product"}


@dataclass(frozen=True)
class Case:
    """A retrieval task with a model's vectors of it, float32 [n, d] and [q, d].

    raw: as the model returned them; own: so that their inner product is the model's similarity.
    """

    data: Retrieval
    measure: Measure
    similarity: str
    exclude_self: bool
    raw: tuple[Float32, Float32]
    own: tuple[Float32, Float32]
    warnings: tuple[str, ...]

    def search(self, searcher: Searcher, queries: Float32, depth: int) -> Run:
        """The best documents of each query [q, depth], without its own where the task says so."""
        documents = Dense(self.own[0])
        collection = Collection(self.data, documents, searcher)
        return retrieve(
            Dense(queries), collection, depth, exclude_self=self.exclude_self, progress=silent
        )

    def values(self, run: Run) -> Float64:
        """The task's measure of a run, one value a judged query."""
        return per_query(run, self.data, self.measure)


def case(encoder: str, task: str, *, store: Store, progress: Progress = silent) -> Case:
    """Load and encode a retrieval task. encoder, task: specs.

    Raises InputError for a task where nothing is searched or whose main measure is one of groups of
    queries, and as `subject.embed`.
    """
    subject = embed(encoder, task, store=store, progress=progress)
    data, measure = searched(subject)
    raw = subject.arrays["documents"], subject.arrays["queries"]
    scaled = subject.similarity == "cosine"
    own = (unit(raw[0].copy()), unit(raw[1].copy())) if scaled else raw
    exclude = subject.task.excludes(data)
    return Case(data, measure, subject.similarity, exclude, raw, own, subject.warnings)


@dataclass(frozen=True)
class Stage:
    """A way to rank the documents, its score, and what it loses.

    loss: the score of `beside` less this one, paired by query; above 0 where this one is worse.
    kept: share of the 10 documents that exact search returns, by id; None for the best possible.
    """

    name: str
    score: Interval
    beside: str | None
    loss: Interval | None
    kept: float | None


@dataclass(frozen=True)
class Funnel:
    """The stages of one model, task and index, in the order of this module's description.

    index: spec as asked; full: defaults filled in. lengths: the least and the largest norm of the
    vectors of documents and queries as the model returned them.
    """

    encoder: str
    task: str
    index: str
    full: str
    measure: str
    similarity: str
    documents: int
    queries: int
    lengths: tuple[float, float]
    stages: tuple[Stage, ...]
    seed: int
    warnings: tuple[str, ...]

    @property
    def best(self) -> Stage:
        """The best possible ranking."""
        return self.stages[0]

    @property
    def exact(self) -> Stage:
        """Exact search with the model's own similarity."""
        return self.stages[1]

    @property
    def misused(self) -> tuple[Stage, ...]:
        """Exact search with other similarities."""
        return self.stages[2:-1]

    @property
    def approximate(self) -> Stage:
        """The index, with the model's own similarity."""
        return self.stages[-1]


def study(
    encoder: str,
    task: str,
    index: str,
    *,
    store: Store,
    seed: int = 0,
    progress: Progress = silent,
) -> Funnel:
    """Score every stage by the task's main measure. encoder, task, index: specs.

    A structure that the index needs is kept under the store's root and used again. Raises
    InputError for an index that does not take dense vectors, and as `case`.
    """
    chosen = dense_index(index)
    found = case(encoder, task, store=store, progress=progress)
    documents, queries = Dense(found.own[0]), found.own[1]
    exact, own = INDEXES.create("exact"), NAMES[found.similarity]
    searches = {f"exact, {own}": (exact.open(documents), queries)}
    for name, (there, asked) in _misused(found):
        searches[f"exact, {name}"] = exact.open(Dense(there)), asked
    searches[index] = (served := chosen.open(documents, store.root / "indexes", progress)), queries
    before, values, truth = BEST, found.values(_ideal(found)), None
    stages = [Stage(BEST, interval(values, seed), None, None, None)]
    for name, (searcher, asked) in searches.items():
        progress("search", len(stages) - 1, len(searches), "stages")
        near = found.search(searcher, asked, NEAR)
        got = found.values(found.search(searcher, asked, found.measure.depth))
        kept = float(neighbour_overlap(near, truth or near, NEAR).mean())
        lost = interval(values - got, seed)
        stages.append(Stage(name, interval(got, seed), before, lost, kept))
        if truth is None:  # all that follows is set beside exact search
            before, values, truth = name, got, near
    progress("search", len(searches), len(searches), "stages")
    deepest = max(NEAR, found.measure.depth) + found.exclude_self
    notes = (*chosen.notes(deepest), *served.info.notes)
    return Funnel(
        encoder=encoder,
        task=task,
        index=index,
        full=str(INDEXES.resolve(index)),
        measure=str(found.measure),
        similarity=found.similarity,
        documents=len(documents),
        queries=int(found.data.qrels.judged.sum()),
        lengths=_lengths(found),
        stages=tuple(stages),
        seed=seed,
        warnings=(*found.warnings, *notes),
    )


def _ideal(found: Case) -> Run:
    """Judged documents by their gain, as deep as the measure looks."""
    data, measure = found.data, found.measure
    graded = measure.definition("retrieval").graded
    qrels = data.qrels if data.binary is None or graded else data.binary
    depth = measure.depth + found.exclude_self
    q = len(data.queries)
    run = ranking.of_cells(qrels.query_rows, qrels.docs, qrels.gains, q=q, k=depth)
    return drop_self(run, data) if found.exclude_self else run


def _misused(found: Case) -> Iterator[tuple[str, tuple[Float32, Float32]]]:
    """Vectors whose inner product ranks as a similarity that is not the model's."""
    documents, queries = found.raw
    if found.similarity == "cosine":
        yield "inner product of vectors as they are", found.raw
    else:
        yield "cosine", (unit(documents.copy()), unit(queries.copy()))
    # |x - y|^2 is least where xy - |y|^2 / 2 is highest: an inner product in d + 1 dimensions
    mean = documents.mean(axis=0, dtype=np.float64).astype(np.float32)
    centred, asked = documents - mean, queries - mean
    half = np.einsum("nd,nd->n", centred, centred)[:, None] / 2
    one = np.ones((len(asked), 1), np.float32)
    yield "Euclidean distance", (np.hstack([centred, -half]), np.hstack([asked, one]))


def _lengths(found: Case) -> tuple[float, float]:
    """The least and the largest norm of vectors as the model returned them."""
    squares = [np.einsum("nd,nd->n", part, part, dtype=np.float64) for part in found.raw]
    return min(float(s.min()) for s in squares) ** 0.5, max(float(s.max()) for s in squares) ** 0.5
