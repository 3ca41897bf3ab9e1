"""Where a task's score is lost: by the vectors, by a metric they were not made for, by the index.

The funnel of Iceberg (github.com/ZJU-DAILY/Iceberg), in numbers of one task:

    best possible     documents in the order of their judgments, cut where the measure ends: 1 for
                      nDCG, less for recall where more are relevant than the cut-off admits
    exact search      with the model's own similarity; what it lacks, the vectors lose
    misused metrics   exact search with another similarity over the same vectors
    the index         approximate search with the model's own similarity
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar

import numpy as np

from harness.arrays import Float32
from harness.frames import Column, Frame
from harness.frames.charts import Bars
from harness.indexes import INDEXES, Searcher
from harness.measures.neighbours import neighbour_overlap
from harness.pipeline.retrieve import drop_self
from harness.session import Session
from harness.spec import bare
from harness.studies import STUDIES, Findings, Study
from harness.studies.setting import check_index, find_notes
from harness.tasks import Task
from harness.tasks.vectors import TaskVectors
from harness.vectors import Dense, Run, ranking
from harness.vectors.lengths import unit
from harness.wording import count

NEAR = 10  # neighbours that exact and other searches are compared by
BEST = "best possible"
NAMES = {"cosine": "cosine", "dot": "inner product"}
EVEN = 1e-5  # lengths that differ by no more are equal but for rounding
STAGES = [
    Column("stage"),
    Column("score", "estimate", "high", "mean of the measure"),
    Column("beside", about="the stage that losses are counted from"),
    Column("lost", "estimate", "low", "score of that stage less this one, paired by query"),
    Column("of the best", "share", "high", "of the best possible score"),
    Column("same nearest", "share", "high", f"of the {NEAR} that exact search returns, by id"),
    Column("what it means"),
]
VECTORS = [
    Column("model"),
    Column("similarity", about="that the model was made for"),
    Column("documents", "count"),
    Column("queries", "count", about="with judgments"),
    Column("shortest", "number", about="length of a vector as the model returned it"),
    Column("longest", "number"),
    Column("index", about="with all its parameters"),
]


@STUDIES.register("funnel")
@dataclass(frozen=True)
class Funnel(Study):
    """Where a score is lost: by the vectors, by a wrong metric, by the index."""

    takes: ClassVar = "one"
    default_task: ClassVar[str] = "limit-1k"
    old_options: ClassVar[Mapping[str, str]] = {"-i": "index"}

    index: Annotated[str, "index that serves the vectors, as hnsw or [hnsw,like=chroma]"] = "hnsw"

    def run(self, session: Session, systems: Sequence[str], task: str) -> Findings:
        """Score every stage by the task's main measure.

        Raises:
            InputError: for an index or a model of other than dense vectors, for a task where
                nothing is searched or whose main measure is one of groups of queries.
        """
        index = bare(self.index)
        check_index(index, "dense")
        asked, [system] = session.collection(task), systems
        raw = session.vectors(system, asked, scaled=False)
        own = session.vectors(system, asked)
        served = session.index(index, own.documents)
        searches = _searches(session, own, raw) | {index: (own, served)}
        rows, lengths = _stages(session, asked, searches), _lengths(raw)
        full, judged = str(INDEXES.resolve(index)), int(asked.collection.qrels.judged.sum())
        said = _said(judged, lengths, len(searches), full)
        title = f"{system} on {task}: where {asked.main} is lost"
        cells = [(*row, what) for row, what in zip(rows, said, strict=True)]
        stages = Frame(title, STAGES, cells, name="stages")
        vectors = [system, own.similarity, len(own.documents), judged, *lengths, full]
        about = Frame("What was searched", VECTORS, [vectors], name="vectors", turned=True)
        drawn = f"{asked.main}; in grey what is lost of it, with its 95% interval"
        chart = Bars(stages, "score", "stage", label="lost", title=drawn)
        deepest = max(NEAR, asked.main.depth) + asked.exclude_self
        notes = (*own.notes, *find_notes(index, deepest), *served.info.notes)
        found = headline(stages, system, task, judged, str(asked.main))
        return Findings(found, [stages, about], [chart], notes)


def _searches(
    session: Session, own: TaskVectors, raw: TaskVectors
) -> dict[str, tuple[TaskVectors, Searcher]]:
    """Exact searches by name, that of the model's own similarity first."""
    found = {f"exact, {NAMES[own.similarity]}": own}
    for name, (documents, queries) in _misuse(raw):
        parts = {"documents": Dense(documents), "queries": Dense(queries)}
        found[f"exact, {name}"] = replace(own, parts=parts)
    return {n: (one, session.index("exact", one.documents)) for n, one in found.items()}


def _stages(
    session: Session, task: Task, searches: Mapping[str, tuple[TaskVectors, Searcher]]
) -> list[tuple[Any, ...]]:
    """Rows of STAGES, the best possible first; what they mean is left out."""
    before, values, truth = BEST, session.values(_ideal(task), task), None
    best = float(values.mean())
    whole = 1.0 if best else None
    rows: list[tuple[Any, ...]] = [(BEST, session.estimate(values), None, None, whole, None)]
    for name, (vectors, searcher) in searches.items():
        session.progress("search", len(rows) - 1, len(searches), "stages")
        near = session.retrieve(vectors, searcher, NEAR)
        got = session.values(session.retrieve(vectors, searcher, task.main.depth), task)
        kept = float(neighbour_overlap(near, truth or near, NEAR).mean())
        share = float(got.mean()) / best if best else None
        lost = session.estimate(values - got)
        rows.append((name, session.estimate(got), before, lost, share, kept))
        if truth is None:  # all that follows is set beside exact search
            before, values, truth = name, got, near
    session.progress("search", len(searches), len(searches), "stages")
    return rows


def _ideal(task: Task) -> Run:
    """Judged documents by their gain, as deep as the measure looks."""
    data, measure = task.collection, task.main
    graded = data.binary is None or measure.definition(data.kind).graded
    qrels = data.qrels if graded or data.binary is None else data.binary
    own, q = task.exclude_self, len(data.queries)
    deep = measure.depth + own
    run = ranking.of_cells(qrels.query_rows, qrels.docs, qrels.gains, q=q, k=deep)
    return drop_self(run, data, measure.depth) if own else run


def _misuse(raw: TaskVectors) -> Iterator[tuple[str, tuple[Float32, Float32]]]:
    """Vectors whose inner product ranks as a similarity that is not the model's."""
    documents, queries = raw.arrays["documents"], raw.arrays["queries"]
    if raw.similarity == "cosine":
        yield "inner product of vectors as they are", (documents, queries)
    else:
        yield "cosine", (unit(documents.copy()), unit(queries.copy()))
    # |x - y|^2 is least where xy - |y|^2 / 2 is highest: an inner product in d + 1 dimensions
    mean = documents.mean(axis=0, dtype=np.float64).astype(np.float32)
    centred, asked = documents - mean, queries - mean
    half = np.einsum("nd,nd->n", centred, centred)[:, None] / 2
    one = np.ones((len(asked), 1), np.float32)
    yield "Euclidean distance", (np.hstack([centred, -half]), np.hstack([asked, one]))


def _lengths(raw: TaskVectors) -> tuple[float, float]:
    """The least and the largest norm of vectors as the model returned them."""
    squares = [np.einsum("nd,nd->n", p, p, dtype=np.float64) for p in raw.arrays.values()]
    return min(float(s.min()) for s in squares) ** 0.5, max(float(s.max()) for s in squares) ** 0.5


def _said(queries: int, lengths: tuple[float, float], searches: int, full: str) -> list[str]:
    """What each stage's loss is, in order."""
    low, high = lengths
    varied = f"vectors have lengths {low:.3g} to {high:.3g}"
    if high - low <= EVEN * high:
        varied = "all vectors are equally long, so every metric ranks alike"
    return [
        f"{count(queries, 'query')}, documents in the order of their judgments",
        "what the vectors lose",
        *[f"what a wrong metric loses; {varied}"] * (searches - 2),
        f"what the index loses; in full: {full}",
    ]


def headline(stages: Frame, system: str, task: str, queries: int, measure: str) -> str:
    """How much vectors and index lose. stages: of STAGES, the index last."""
    lost, spec = stages.estimates("lost"), stages["stage"][-1]
    vectors, index = lost[0].mean or 0.0, lost[-1].mean or 0.0
    first = f"{system} on {task}: the vectors lose {vectors:.3f} {measure}"
    if not lost[-1].significant:
        return f"{first}, {spec} nothing seen in {count(queries, 'query')}"
    return f"{first}, {spec} {'another' if index > 0 else 'gains'} {abs(index):.4f}"
