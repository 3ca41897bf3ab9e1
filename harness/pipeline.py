"""One evaluation from top to bottom: load, rank or encode, judge, record."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from harness import catalog, records, stats, trec
from harness.data import Data, Pairs, Retrieval
from harness.disk import cache_root, file_sha256
from harness.encoders import Encoder, user_model
from harness.encoders.models import MODELS
from harness.errors import InputError
from harness.indexes import INDEXES
from harness.kinds import Verdict, classification, clustering, pairs, retrieval, summarization
from harness.measures import Measure
from harness.phases import Clock
from harness.progress import Progress, silent
from harness.records import Asked, Record, Search, System
from harness.represent import represent
from harness.retrieve import without_own
from harness.single import Ranked, Request, Tuning, described, encoder_of, rewriting
from harness.spec import parse
from harness.store import Store
from harness.systems import RETRIEVERS, rank, served
from harness.usage import known_usage
from harness.vectors import Dense, Run

WARM = 3  # queries before those whose latency counts

# kinds whose vectors are judged without a search
JUDGED = {
    "pairs": pairs,
    "classification": classification,
    "clustering": clustering,
    "summarization": summarization,
}


@dataclass(frozen=True)
class Evaluation:
    """A record with what it was made from.

    per_query: columns [q] of what was scored; run: [q, k], for a retrieval task.
    """

    record: Record
    per_query: Mapping[str, Any]
    data: Data
    run: Run | None


@dataclass(frozen=True)
class _Setting:
    """What every step of one evaluation needs."""

    task: catalog.Task
    data: Data
    measures: tuple[Measure, ...]
    exclude_self: bool
    seed: int
    clock: Clock

    @property
    def depth(self) -> int:
        """Results that the deepest measure looks at."""
        return max(measure.depth for measure in self.measures)


@dataclass(frozen=True)
class _Outcome:
    """What one system did on a task's data."""

    system: System
    verdict: Verdict
    counts: Mapping[str, int | None]
    warnings: Sequence[str]
    spent: Mapping[str, float]
    search: Search | None = None
    rewriting: records.Rewriting | None = None
    run: Run | None = None


def evaluate(
    model: object,
    task: str,
    index: str = "exact",
    *,
    rewrite: str = "none",
    measures: Sequence[str] = (),
    store: Store | None = None,
    seed: int = 0,
    latency: int = 0,
    progress: Progress = silent,
) -> Evaluation:
    """Measure a model on a task: harness.evaluate("minilm", "limit-small").record.main.mean

    model: a spec, or a model of your own: a function of texts, an object with encode(texts), a
    model of sentence-transformers or mteb. task, index, rewrite: specs; an index that the model
    names is the one. measures: in place of the task's own; the first is the main one. seed: of the
    bootstrap. latency: queries that are asked one by one besides, to time them.

    Raises InputError for what is asked wrongly or cannot be read, EncodingError for a model that
    returns no embeddings, StoreError for a store that cannot be used.
    """
    if latency < 0:
        raise InputError(f"latency={latency}: expected a number of queries, 0 for none")
    named, own = _named(model)
    if named not in own:
        named, its_own = served(named)
        index = its_own or index
    INDEXES.resolve(index)
    rewritten = rewriting(rewrite)
    setting = _setting(task, measures, seed, progress)
    data = setting.data
    request = Request(
        setting.depth,
        store or Store(cache_root()),
        setting.clock,
        index=index,
        rewrite=rewrite,
        exclude_self=setting.exclude_self,
        instructions=setting.task.instructions(data),
        own=own,
        tuning=lambda split: _tuning(setting, split),
    )
    if not isinstance(data, Retrieval):
        return _recorded(_vectors(named, setting, request), setting)
    with MODELS.scope():  # a system of several models needs them in turn
        ranked = rank(named, data, request)
        if rewritten and not ranked.rewritten:
            raise InputError(f"{named} has no part that {rewrite} fits: choose another rewriting")
        if latency:
            ranked = _timed(ranked, len(data.queries), latency, setting.clock)
    return _recorded(_judged(ranked, index, setting, rewritten), setting)


def _named(model: object) -> tuple[str, dict[str, Encoder]]:
    """A model's spec; or that of one that was handed over, and the encoder that it names."""
    if isinstance(model, str):
        return model, {}
    encoder = user_model.adapt(model)
    spec = user_model.own_spec(model, encoder)
    return spec, {spec: encoder}


def evaluate_run(
    path: Path,
    task: str,
    *,
    measures: Sequence[str] = (),
    seed: int = 0,
    progress: Progress = silent,
) -> Evaluation:
    """Measure a ranking that another program wrote as a TREC run file.

    Raises InputError for a file or a task that cannot be read, or a task that ranks nothing.
    """
    setting = _setting(task, measures, seed, progress)
    data = setting.data
    if not isinstance(data, Retrieval):
        raise InputError(
            f"{setting.task.spec} is a task of {data.kind}: a run file ranks documents"
        )
    with setting.clock.phase("read run"):
        deep = setting.depth + setting.exclude_self
        run, notes = trec.read_run(path, data.queries, data.corpus, deep)
        if setting.exclude_self:
            run = without_own(run, data, data.corpus.ranked)
    name, digest = f"run:{path.name}", {"run_sha256": file_sha256(path)}
    system = System(
        spec=name,
        full=name,
        fingerprint=digest,
        makes="run",
        similarity="given",
        dimension=None,
        prompts={},
    )
    return _recorded(_judged(Ranked(run, system, warnings=tuple(notes)), "given", setting), setting)


def _setting(task: str, measures: Sequence[str], seed: int, progress: Progress) -> _Setting:
    """Load a task's data, and say how it is judged."""
    asked, clock = catalog.task(task), Clock(progress)
    with clock.phase("load data"):
        data = asked.load()
    chosen = asked.measures(data, measures)
    return _Setting(asked, data, chosen, asked.excludes(data), seed, clock)


def _judged(
    ranked: Ranked, index: str, setting: _Setting, rewritten: records.Rewriting | None = None
) -> _Outcome:
    """Judge a ranking."""
    data = setting.data
    assert isinstance(data, Retrieval)
    with setting.clock.phase("score", len(data.queries), "queries"):
        verdict = retrieval.judge(ranked.run, data, setting.measures, setting.seed)
    full = index if index == "given" else ranked.index or str(INDEXES.resolve(index))
    search = Search(spec=index, full=full, depth=setting.depth, details=dict(ranked.details))
    return _Outcome(
        ranked.system, verdict, ranked.counts, ranked.warnings, ranked.spent, search, rewritten,
        ranked.run,
    )  # fmt: skip


def _vectors(model: str, setting: _Setting, request: Request) -> _Outcome:
    """Encode the texts of a task that searches nothing, and judge their vectors."""
    task, data, clock = setting.task.spec, setting.data, setting.clock
    assert not isinstance(data, Retrieval)
    if request.rewrite != "none":
        raise InputError(f"{task} has no queries: nothing to rewrite")
    if model not in request.own and parse(model).name in RETRIEVERS:
        raise InputError(f"{model} only ranks, and {task} is a task of {data.kind}: choose a model")
    encoder = encoder_of(model, request)
    if encoder.representation != "dense" and not isinstance(data, Pairs):
        raise InputError(
            f"{model} makes {encoder.representation} vectors and {task} is a task of "
            f"{data.kind}: choose a model that makes dense vectors"
        )
    kind: Any = JUDGED[data.kind]
    vectors = represent(model, encoder, kind.parts(data), request.store, clock)
    parts = {
        n: part.values if isinstance(part, Dense) else part for n, part in vectors.parts.items()
    }
    with clock.phase("score"):
        verdict = kind.judge(
            parts, data, setting.measures, seed=setting.seed, progress=clock.progress
        )
    system = described(model, encoder, next(iter(vectors.parts.values())))
    paid = known_usage(vectors.usage)
    return _Outcome(system, verdict, vectors.counts, vectors.warnings, paid)


def _tuning(setting: _Setting, split: str) -> Tuning:
    """Judged queries of another split of the task's collection, to choose weights by.

    Raises InputError for the split that is measured, by whatever name, and the test split.
    """
    task, data = setting.task, setting.data
    assert isinstance(data, Retrieval)
    other = task.split(split)
    assert isinstance(other, Retrieval)
    judged = [
        {text for text, kept in zip(one.queries.texts, one.qrels.judged, strict=True) if kept}
        for one in (data, other)
    ]
    if split == "test" or judged[0] & judged[1]:
        raise InputError(
            f"{task.spec}: tune={split}: these queries are measured with, or are the test split: "
            "weights chosen by them prove nothing; name another split"
        )
    main = setting.measures[0]

    def score(run: Run) -> float:
        mean = retrieval.judge(run, other, [main], setting.seed).scores[str(main)].mean
        return -np.inf if mean is None else mean

    return Tuning(other, score)


def _timed(ranked: Ranked, queries: int, asked: int, clock: Clock) -> Ranked:
    """Ask some queries one by one, encoding and all; what each took is a detail of the search."""
    if ranked.answer is None:
        note = "latency is not measured of passages, candidates, rewritten queries, paid scores"
        return replace(ranked, warnings=(*ranked.warnings, note))
    rows = np.linspace(0, queries - 1, min(asked, queries)).astype(int)
    for row in rows[:WARM]:
        ranked.answer(int(row))
    taken = []
    with clock.phase("ask one by one", len(rows), "queries"):
        for done, row in enumerate(rows):
            clock.progress("ask one by one", done, len(rows), "queries")
            begun = time.perf_counter()
            ranked.answer(int(row))
            taken.append(1000 * (time.perf_counter() - begun))
    p50, p95 = np.percentile(taken, (50, 95)).tolist()
    found = {"p50": p50, "p95": p95, "queries": len(rows)}
    return replace(ranked, details={**ranked.details, "latency_ms": found})


def _recorded(outcome: _Outcome, setting: _Setting) -> Evaluation:
    """Everything together as a record."""
    asked, data, verdict = setting.task, setting.data, outcome.verdict
    names = list(verdict.scores)  # as asked, but for what vectors have in place of cosine
    task = Asked(
        spec=asked.spec,
        source=str(asked.source),
        kind=data.kind,
        family=asked.definition.family or data.kind,
        fingerprint=data.fingerprint(),
        exclude_self=setting.exclude_self,
        licence=asked.definition.licence or data.origin.licence or "not stated",
        reference=asked.definition.reference or data.origin.reference,
    )
    record = Record(
        id=records.identity(outcome.system, task, outcome.search, outcome.rewriting, names),
        created=records.stamp(),
        system=outcome.system,
        task=task,
        search=outcome.search,
        rewriting=outcome.rewriting,
        main_measure=names[0],
        scores=verdict.scores,
        counts={**outcome.counts, **verdict.counts},
        spent=dict(outcome.spent),
        warnings=[*data.warnings, *outcome.warnings, *verdict.warnings],
        phases=setting.clock.phases,
        bootstrap={"seed": setting.seed, "resamples": stats.RESAMPLES, "level": 0.95},
        environment=records.environment(),
    )
    return Evaluation(record, verdict.per_query, data, outcome.run)
