"""One evaluation from top to bottom: load, encode, build, search, score, record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness import catalog, ranking, records, stats, trec
from harness.encoders import ENCODERS, CollectionEncoder, Encoder, encoder_spec
from harness.indexes import INDEXES
from harness.judge import Verdict, judge_pairs, judge_run
from harness.measures import Measure
from harness.phases import Clock
from harness.records import Asked, Record, Search, System
from harness.represent import Vectors, represent, unit
from harness.spec import Spec
from harness.store import Store, default_root
from harness.types import (
    Dense,
    InputError,
    Pairs,
    Progress,
    Representation,
    Retrieval,
    Role,
    Run,
    Sparse,
    silent,
)


@dataclass(frozen=True)
class Evaluation:
    """A record with what it was made from.

    per_query: columns [q] of what was scored; run: [q, k], for a retrieval task.
    """

    record: Record
    per_query: Mapping[str, Any]
    data: Retrieval | Pairs
    run: Run | None


@dataclass(frozen=True)
class _Setting:
    """What every step of one evaluation needs."""

    task: catalog.Task
    measures: tuple[Measure, ...]
    index: tuple[str, Spec]  # as asked, in full
    store: Store
    seed: int
    clock: Clock

    @property
    def depth(self) -> int:
        """Results that the deepest measure looks at."""
        return max(measure.cutoff or 0 for measure in self.measures)


@dataclass(frozen=True)
class _Outcome:
    """What one system did on a task's data."""

    system: System
    search: Search | None
    vectors: Vectors
    verdict: Verdict
    run: Run | None = None


def evaluate(
    encoder: str,
    task: str,
    index: str = "exact",
    *,
    measures: Sequence[str] = (),
    store: Store | None = None,
    seed: int = 0,
    loaded: Encoder | None = None,
    progress: Progress = silent,
) -> Evaluation:
    """Measure an encoder on a task: harness.evaluate("minilm", "limit-small").record.main.mean

    encoder, task, index: specs. measures: in place of the task's own; the first is the main one.
    seed: of the bootstrap. loaded: the encoder that the spec names, if it was created before.

    Raises InputError for what is asked wrongly or cannot be read, EncodingError for a model that
    returns no embeddings, StoreError for a store that cannot be used.
    """
    asked, searched, clock = catalog.task(task), INDEXES.resolve(index), Clock(progress)
    system = loaded or ENCODERS.create(encoder_spec(encoder))
    with clock.phase("load data"):
        data = asked.load()
    chosen = _chosen(asked, data, measures)
    store = store or Store(default_root())
    setting = _Setting(asked, chosen, (index, searched), store, seed, clock)
    if isinstance(data, Pairs):
        outcome = _pairs(encoder, system, data, setting)
    else:
        outcome = _retrieval(encoder, system, data, setting)
    return _recorded(outcome, data, setting)


def evaluate_run(
    path: Path,
    task: str,
    *,
    measures: Sequence[str] = (),
    seed: int = 0,
    progress: Progress = silent,
) -> Evaluation:
    """Measure a ranking that another program wrote as a TREC run file.

    Raises InputError for a file or a task that cannot be read, or a task of sentence pairs.
    """
    asked, clock = catalog.task(task), Clock(progress)
    with clock.phase("load data"):
        data = asked.load()
    if isinstance(data, Pairs):
        raise InputError(f"{asked.spec} has pairs of sentences: a run file ranks documents")
    chosen, store = _chosen(asked, data, measures), Store(default_root())
    setting = _Setting(asked, chosen, ("given", Spec("given")), store, seed, clock)
    with clock.phase("read run"):
        deep = setting.depth + asked.exclude_self
        run, notes = trec.read_run(path, data.queries, data.corpus, deep)
    name, digest = f"run:{path.name}", {"run_sha256": records.file_digest(path)}
    system = System(
        spec=name,
        full=name,
        fingerprint=digest,
        makes="run",
        similarity="given",
        dimension=None,
        prompts={},
    )
    return _recorded(_judged(system, run, data, Vectors({}, {}, notes), setting), data, setting)


def _retrieval(spec: str, encoder: Encoder, data: Retrieval, setting: _Setting) -> _Outcome:
    """Encode corpus and queries, search, and judge the run."""
    clock, index = setting.clock, INDEXES.create(setting.index[1])
    makes: Representation = "sparse" if isinstance(encoder, CollectionEncoder) else "dense"
    if makes not in index.takes:
        raise InputError(
            f"{spec} makes {makes} vectors and index {setting.index[0]} takes "
            f"{' or '.join(index.takes)}: choose another index"
        )
    index.require(makes)
    parts: dict[str, tuple[Role, Sequence[str]]] = {
        "documents": ("document", data.corpus.texts),
        "queries": ("query", data.queries.texts),
    }
    vectors = represent(spec, encoder, parts, setting.store, clock)
    documents, queries = vectors.parts["documents"], vectors.parts["queries"]
    system = _system(spec, encoder, documents)
    with clock.phase("build", len(data.corpus), "documents"):
        if system.similarity == "cosine":
            for part in (documents, queries):
                assert isinstance(part, Dense)
                unit(part.values)
        searcher = index.build(documents)
    with clock.phase("search", len(data.queries), "queries"):
        wanted = min(setting.depth, len(data.corpus)) + setting.task.exclude_self
        run = searcher.search(queries, wanted, clock.progress)
    return _judged(system, run, data, vectors, setting, details=dict(index.describe()))


def _judged(
    system: System,
    run: Run,
    data: Retrieval,
    vectors: Vectors,
    setting: _Setting,
    *,
    details: Mapping[str, object] | None = None,
) -> _Outcome:
    """Judge a run, the query's own document dropped where the task says so."""
    with setting.clock.phase("score", len(data.queries), "queries"):
        if setting.task.exclude_self:  # the run is one deeper for it
            own = [data.corpus.rows.get(id, -1) for id in data.queries.ids]
            run = ranking.without(run, np.asarray(own, np.int32))
        verdict = judge_run(run, data, setting.measures, setting.seed)
    asked, full = setting.index
    search = Search(spec=asked, full=str(full), depth=setting.depth, details=dict(details or {}))
    return _Outcome(system, search, vectors, verdict, run)


def _pairs(spec: str, encoder: Encoder, data: Pairs, setting: _Setting) -> _Outcome:
    """Encode both sides of the pairs and judge their similarities."""
    parts: dict[str, tuple[Role, Sequence[str]]] = {
        "sentences": ("text", [*data.left, *data.right])
    }
    vectors = represent(spec, encoder, parts, setting.store, setting.clock)
    sentences = vectors.parts["sentences"]
    assert isinstance(sentences, Dense)
    with setting.clock.phase("score", len(data), "pairs"):
        left, right = sentences.values[: len(data)], sentences.values[len(data) :]
        verdict = judge_pairs(left, right, data, setting.measures, setting.seed)
    return _Outcome(_system(spec, encoder, sentences), None, vectors, verdict)


def _recorded(outcome: _Outcome, data: Retrieval | Pairs, setting: _Setting) -> Evaluation:
    """Everything together as a record."""
    asked, verdict, vectors = setting.task, outcome.verdict, outcome.vectors
    names = [str(measure) for measure in setting.measures]
    task = Asked(
        spec=asked.spec,
        source=str(asked.source),
        kind="pairs" if isinstance(data, Pairs) else "retrieval",
        family=asked.definition.family,
        fingerprint=data.fingerprint(),
        exclude_self=asked.exclude_self,
        licence=asked.definition.licence,
        reference=asked.definition.reference,
    )
    record = Record(
        id=records.identity(outcome.system, task, outcome.search, names),
        created=records.stamp(),
        system=outcome.system,
        task=task,
        search=outcome.search,
        main_measure=names[0],
        scores=verdict.scores,
        counts={**verdict.counts, **vectors.counts},
        warnings=[*data.warnings, *vectors.warnings, *verdict.warnings],
        phases=setting.clock.phases,
        bootstrap={"seed": setting.seed, "resamples": stats.RESAMPLES, "level": 0.95},
        environment=records.environment(),
    )
    return Evaluation(record, verdict.per_query, data, outcome.run)


def _system(spec: str, encoder: Encoder, documents: Dense | Sparse) -> System:
    """What a record says of an encoder."""
    common: dict[str, Any] = {
        "spec": spec,
        "full": str(ENCODERS.resolve(encoder_spec(spec))),
        "fingerprint": dict(encoder.fingerprint()),
    }
    if isinstance(documents, Sparse) or isinstance(encoder, CollectionEncoder):
        width = documents.matrix.shape[1] if isinstance(documents, Sparse) else None
        return System(**common, makes="sparse", similarity="dot", dimension=width, prompts={})
    roles: tuple[Role, ...] = ("query", "document", "text")
    return System(
        **common,
        makes="dense",
        similarity=encoder.similarity,
        dimension=documents.values.shape[1],
        prompts={role: encoder.prompt(role) for role in roles},
    )


def _chosen(
    asked: catalog.Task, data: Retrieval | Pairs, measures: Sequence[str]
) -> tuple[Measure, ...]:
    """The measures asked for, or the task's. Raises InputError for one of the other kind."""
    chosen = tuple(Measure.parse(text) for text in measures) or asked.measures(data)
    kind = "pairs" if isinstance(data, Pairs) else "retrieval"
    for measure in chosen:
        if measure.kind != kind:
            raise InputError(f"{measure} does not fit {asked.spec}, a task of {kind}")
    return tuple(dict.fromkeys(chosen))
