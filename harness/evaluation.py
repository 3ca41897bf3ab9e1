"""The steps of one evaluation: rank or encode, judge, record."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from harness import records, stats, trec
from harness.data import Data, Pairs, Retrieval
from harness.disk import file_sha256
from harness.errors import InputError
from harness.indexes import INDEXES
from harness.kinds import Verdict, classification, clustering, pairs, retrieval, summarization
from harness.phases import Clock
from harness.records import Asked, Record, Search, System
from harness.represent import represent
from harness.retrieve import without_own
from harness.single import Ranked, Request, Tuning, described, opened, spent
from harness.spec import parse
from harness.systems import RETRIEVERS, Retriever, rank
from harness.tasks import Task
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

    per_query: columns [q] of what was scored, the ids first; run: [q, k], for a retrieval task.
    data, run: None for an evaluation that was saved and loaded.
    """

    record: Record
    per_query: Mapping[str, Any]
    data: Data | None
    run: Run | None


@dataclass(frozen=True)
class Setting:
    """What every step of one evaluation needs."""

    task: Task
    seed: int
    clock: Clock
    depth: int


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


def of_system(
    model: str,
    request: Request,
    setting: Setting,
    rewritten: records.Rewriting | None,
    latency: int,
) -> Evaluation:
    """Measure a system. model: a spec, or the name of one that was handed over."""
    task = setting.task
    request = replace(request, tuning=lambda split: _tuning(setting, split))
    if not isinstance(task.data, Retrieval):
        return _recorded(_vectors(model, setting, request), setting)
    ranked = rank(model, task.data, request)
    if rewritten and not ranked.rewritten:
        raise InputError(
            f"{model} has no part that {rewritten.spec} fits: choose another rewriting"
        )
    if latency:
        ranked = _timed(ranked, len(task.data.queries), latency, setting.clock)
    return _recorded(_judged(ranked, request.index, setting, rewritten), setting)


def of_run(path: Path, setting: Setting) -> Evaluation:
    """Measure a ranking that another program wrote as a TREC run file."""
    task, data = setting.task, setting.task.data
    if not isinstance(data, Retrieval):
        raise InputError(f"{task.name} is a task of {data.kind}: a run file ranks documents")
    with setting.clock.phase("read run"):
        deep = setting.depth + task.exclude_self
        run, notes = trec.read_run(path, data.queries, data.corpus, deep)
        if task.exclude_self:
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


def _judged(
    ranked: Ranked, index: str, setting: Setting, rewritten: records.Rewriting | None = None
) -> _Outcome:
    """Judge a ranking."""
    task, data = setting.task, setting.task.collection
    with setting.clock.phase("score", len(data.queries), "queries"):
        verdict = retrieval.judge(ranked.run, data, task.measures, setting.seed)
    index = "given" if ranked.index == "given" else index  # by no index of ours
    full = index if index == "given" else ranked.index or str(INDEXES.resolve(index))
    search = Search(spec=index, full=full, depth=setting.depth, details=dict(ranked.details))
    return _Outcome(
        ranked.system, verdict, ranked.counts, ranked.warnings, ranked.spent, search, rewritten,
        ranked.run,
    )  # fmt: skip


def _vectors(model: str, setting: Setting, request: Request) -> _Outcome:
    """Encode the texts of a task that searches nothing, and judge their vectors."""
    task, data, clock = setting.task.name, setting.task.data, setting.clock
    assert not isinstance(data, Retrieval)
    if request.rewrite != "none":
        raise InputError(f"{task} has no queries: nothing to rewrite")
    handed_over = request.opened.get(model)
    registered = handed_over is None and parse(model).name in RETRIEVERS
    if registered or isinstance(handed_over, Retriever):
        raise InputError(f"{model} only ranks, and {task} is a task of {data.kind}: choose a model")
    encoder = opened(model, request)
    if encoder.makes != "dense" and not isinstance(data, Pairs):
        raise InputError(
            f"{model} makes {encoder.makes} vectors and {task} is a task of "
            f"{data.kind}: choose a model that makes dense vectors"
        )
    kind: Any = JUDGED[data.kind]
    before = spent(encoder)
    vectors = represent(model, encoder, kind.parts(data), request.store, clock)
    parts = {
        n: part.values if isinstance(part, Dense) else part for n, part in vectors.parts.items()
    }
    with clock.phase("score"):
        verdict = kind.judge(
            parts, data, setting.task.measures, seed=setting.seed, progress=clock.progress
        )
    system = described(model, encoder, next(iter(vectors.parts.values())))
    return _Outcome(system, verdict, vectors.counts, vectors.warnings, spent(encoder, before))


def _tuning(setting: Setting, split: str) -> Tuning:
    """Judged queries of another split of the task's collection, to choose weights by.

    Raises InputError for the split that is measured, by whatever name, and the test split.
    """
    task, data = setting.task, setting.task.collection
    other = task.split(split)
    assert isinstance(other, Retrieval)
    judged = [
        {text for text, kept in zip(one.queries.texts, one.qrels.judged, strict=True) if kept}
        for one in (data, other)
    ]
    if split == "test" or judged[0] & judged[1]:
        raise InputError(
            f"{task.name}: tune={split}: these queries are measured with, or are the test split: "
            "weights chosen by them prove nothing; name another split"
        )
    main = task.main

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


def _recorded(outcome: _Outcome, setting: Setting) -> Evaluation:
    """Everything together as a record."""
    asked, data, verdict = setting.task.entry, setting.task.data, outcome.verdict
    names = list(verdict.scores)  # as asked, but for what vectors have in place of cosine
    task = Asked(
        spec=setting.task.name,
        source=str(asked.source),
        kind=data.kind,
        family=asked.definition.family or data.kind,
        fingerprint=data.fingerprint(),
        exclude_self=setting.task.exclude_self,
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
