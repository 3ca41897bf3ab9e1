"""What the studies of vectors share: a task with a model's vectors of it, and means of queries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from harness import catalog, stats
from harness.arrays import Float32, Float64
from harness.data import Data, Pairs, Retrieval
from harness.encoders import ENCODERS, Encoder, encoder_spec
from harness.errors import InputError
from harness.indexes import INDEXES, Index
from harness.kinds import KINDS
from harness.kinds.retrieval import RetrievalKind
from harness.measures import Measure
from harness.phases import Clock
from harness.progress import Progress, silent
from harness.represent import represent
from harness.spec import parse
from harness.store import Store
from harness.systems import RETRIEVERS, resolve, served
from harness.vectors import Dense, Embeddings, Representation, Run


@dataclass(frozen=True)
class Subject:
    """A task with the vectors of its texts as the model returned them, by part."""

    task: catalog.TaskEntry
    data: Retrieval | Pairs
    similarity: str
    vectors: Mapping[str, Embeddings]
    warnings: tuple[str, ...]

    @property
    def arrays(self) -> dict[str, Float32]:
        """Dense vectors as arrays [n, d], by part: what is scaled here stays scaled."""
        parts = self.vectors.items()
        return {name: part.values for name, part in parts if isinstance(part, Dense)}


def created(encoder: str) -> Encoder:
    """The encoder that a spec names. Raises InputError for what only ranks or has an index."""
    named, index = served(encoder)
    if index is not None or parse(named).name in RETRIEVERS:
        raise InputError(
            f"{encoder}: this study looks at the vectors of an encoder: name it alone, as minilm"
        )
    return ENCODERS.create(encoder_spec(named))


def representation(encoder: str) -> Representation:
    """What a model makes of a text. encoder: a spec. Raises what the encoder raises."""
    return created(encoder).representation


def embed(
    encoder: str,
    task: str,
    *,
    store: Store,
    progress: Progress = silent,
    makes: tuple[Representation, ...] = ("dense",),
) -> Subject:
    """Load a task and encode its texts, through the store. encoder, task: specs.

    Raises InputError for a model that makes none of the representations `makes` and a task that is
    neither retrieval nor pairs; else what encoder and store raise.
    """
    asked, clock = catalog.task(task), Clock(progress)
    model = created(encoder)
    if model.representation not in makes:
        needed = " or ".join(makes)
        raise InputError(
            f"{encoder} makes {model.representation} vectors: this study needs {needed} ones"
        )
    with clock.phase("load", "data"):
        data = asked.load()
    model = model.with_instructions(asked.instructions(data))
    if isinstance(data, Retrieval):
        if data.corpus.parents is not None or data.candidates is not None:
            raise InputError(f"{task} has passages or candidates: this study needs neither")
    elif not isinstance(data, Pairs):
        raise InputError(f"{task} is a task of {data.kind}: expected retrieval or pairs")
    made = represent(encoder, model, KINDS.create(data.kind).parts(data), store, clock)
    return Subject(asked, data, model.similarity, made.parts, (*data.warnings, *made.warnings))


def searched(subject: Subject) -> tuple[Retrieval, Measure]:
    """The collection and its main measure. Raises as `collection`."""
    return _collection(subject.task, subject.data, ())


def collection(task: str, measure: str = "") -> tuple[catalog.TaskEntry, Retrieval, Measure]:
    """A task that is searched, its data, and the measure asked for or its main one.

    Raises InputError for a task of another kind, or a measure of groups of queries.
    """
    asked = catalog.task(task)
    return asked, *_collection(asked, asked.load(), [measure] if measure else ())


def _collection(
    task: catalog.TaskEntry, data: Data, measures: Sequence[str]
) -> tuple[Retrieval, Measure]:
    if not isinstance(data, Retrieval):
        raise InputError(f"{task.spec} is a task of {data.kind}: expected retrieval")
    measure = task.measures(data, measures)[0]
    if measure.definition("retrieval").grouped:
        raise InputError(
            f"{task.spec} is measured by {measure}, of groups: expected one of queries"
        )
    return data, measure


def distinct(systems: Sequence[str]) -> list[str]:
    """Name each system once; a wrong name is said here, before any is searched with.

    Raises:
        InputError: for no system, or one that is not known.
    """
    if not systems:
        raise InputError("no system is named: expected at least one")
    for system in systems:
        resolve(system)
    return list(dict.fromkeys(systems))


def per_query(run: Run, data: Retrieval, measure: Measure) -> Float64:
    """A measure of a run, one value a judged query; what lies beyond its cut-off plays no part."""
    verdict = RetrievalKind().judge(run, data, [measure])
    return np.asarray(verdict.per_query[str(measure)], np.float64)


def dense_index(spec: str) -> Index:
    """An index for dense vectors whose libraries are there. Raises InputError."""
    index = INDEXES.create(spec)
    if "dense" not in index.accepts:
        raise InputError(f"index {spec} takes {' or '.join(index.accepts)} vectors: expected dense")
    index.require("dense")
    return index


@dataclass(frozen=True)
class Interval:
    """A mean over queries with its 95 % bootstrap interval."""

    mean: float
    low: float
    high: float

    @property
    def significant(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.low > 0 or self.high < 0


def interval(values: Float64, seed: int = 0) -> Interval:
    """The mean of values [q]; equal seeds draw equal queries, so differences are paired."""
    low, high = stats.bootstrap_means(values[None, :], seed)
    return Interval(float(values.mean()), float(low[0]), float(high[0]))
