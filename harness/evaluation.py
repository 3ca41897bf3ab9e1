"""The steps of one evaluation: rank or encode, judge, record."""

from __future__ import annotations

import html
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from harness import accelerators, environment, records, stats
from harness.data import Data, Retrieval
from harness.disk import file_sha256
from harness.encoders import Encoder
from harness.encoders.models import MODELS
from harness.endpoints.usage import known_usage
from harness.errors import InputError
from harness.indexes import INDEXES, IndexInfo
from harness.kinds import Verdict
from harness.pipeline.phases import Clock
from harness.pipeline.represent import Maker, Workplace, represent
from harness.pipeline.retrieve import drop_self
from harness.pipeline.single import (
    Ranked,
    Request,
    Tuning,
    describe,
    encoder_of,
    index_record,
    match_index,
)
from harness.records import IndexRecord, LatencyRecord, Record, SystemRecord, TaskRecord
from harness.sources import trec
from harness.spec import parse
from harness.systems import RETRIEVERS, Retriever, rank
from harness.tasks import Task
from harness.tasks.idle import refuse_idle
from harness.vectors import Dense, Embeddings, Run, ranking
from harness.wording import count

WARM = 3  # queries before those whose latency counts


@dataclass(frozen=True, repr=False)
class Evaluation:
    """A record with what it was made from.

    Attributes:
        record: What is kept: scores with all that is needed to believe and repeat them.
        per_query: Columns [q] of what was scored, the ids first.
        data: The task's; None of an evaluation that was saved and loaded.
        run: The ranking [q, k] of a task that is searched; None of one that was loaded.
    """

    record: Record
    per_query: Mapping[str, Any]
    data: Data | None
    run: Run | None

    def __repr__(self) -> str:
        record = self.record
        main = f"{record.main_measure} {write_score(record.main)}"
        return f"Evaluation({record.name} on {record.task.spec}: {main})"

    def _repr_html_(self) -> str:
        record = self.record
        rows = [
            f"<tr><th>{html.escape(name)}</th><td>{write_score(score)}</td></tr>"
            for name, score in record.scores.items()
        ]
        head = html.escape(f"{record.name} on {record.task.spec}")
        return f"<p>{head}</p><table>{''.join(rows)}</table>"


def write_score(score: stats.Estimate) -> str:
    """A score as people read it: 0.812 [0.790, 0.833]."""
    if score.mean is None:
        return "not defined"
    interval = "" if score.low is None else f" [{score.low:.3f}, {score.high:.3f}]"
    return f"{score.mean:.3f}{interval}"


@dataclass(frozen=True)
class Setting:
    """What every step of one evaluation needs.

    Attributes:
        task: With its data and measures.
        seed: Of the bootstrap.
        clock: Collects the phases.
        depth: Results of each query that are kept.
        lenient: Whether what the task has no use for is a note, and no error.
        notes: What the record warns of, whatever the evaluation finds.
    """

    task: Task
    seed: int
    clock: Clock
    depth: int
    lenient: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Outcome:
    """What one system did on a task's data."""

    system: SystemRecord
    verdict: Verdict
    counts: Mapping[str, int | None]
    warnings: Sequence[str]
    usage: Mapping[str, float]
    makers: Sequence[Maker]
    ranked: Ranked | None = None
    index: IndexRecord | None = None
    rewriting: records.RewritingRecord | None = None
    ties: float | None = None


def of_system(
    model: str,
    request: Request,
    setting: Setting,
    rewritten: records.RewritingRecord | None,
    latency: int,
) -> Evaluation:
    """Measure a system. model: a spec, or the name of one that was handed over."""
    task, index = setting.task, request.index
    deeper = setting.depth - task.depth
    asked = {"index": index, "rewrite": request.rewrite, "latency": latency, "depth": deeper}
    notes = refuse_idle(task, asked, lenient=setting.lenient)
    setting = replace(setting, notes=notes)
    if notes and (task.kind.ranks or not INDEXES.create(index).compresses):
        index = "exact"  # of candidates, and of vectors that nobody searches
    request = replace(request, index=index, tuning=lambda split: _tuning(setting, split))
    if not task.kind.ranks:
        return _make_record(_vectors(model, setting, request), setting)
    data = task.collection
    with MODELS.scope():  # a system of several models needs them in turn
        ranked = rank(model, data, request)
        if rewritten and not ranked.rewritten:
            raise InputError(
                f"{model} has no part that {rewritten.spec} fits: choose another rewriting"
            )
        if latency:
            ranked = _measure_latency(ranked, len(data.queries), latency, setting.clock)
    return _make_record(_judge(ranked, request.index, setting, rewritten), setting)


def of_run(path: Path, setting: Setting) -> Evaluation:
    """Measure a ranking that another program wrote as a TREC run file."""
    task = setting.task
    if not task.kind.ranks:
        raise InputError(f"{task.name} is a task of {task.data.kind}: a run file ranks documents")
    data = task.collection
    with setting.clock.phase("load", "run"):
        deep = setting.depth + task.exclude_self
        run, notes = trec.read_run(path, data.queries, data.corpus, deep)
        notes += _find_unanswered(path, run, data, notes)
        if task.exclude_self:
            run = drop_self(run, data, setting.depth)
    name, digest = f"run:{path.name}", {"run_sha256": file_sha256(path)}
    where = f"run:{'/'.join(path.parts[-2:])}"  # runs of several systems may be called the same
    system = SystemRecord(spec=name, full=where, source="run", fingerprint=digest)
    return _make_record(_judge(Ranked(run, system, warnings=tuple(notes)), None, setting), setting)


def _find_unanswered(path: Path, run: Run, data: Retrieval, notes: Sequence[str]) -> list[str]:
    """What a run lacks, in a sentence. Raises InputError where it answers no judged query."""
    lacks = np.flatnonzero(data.qrels.judged & (run.docs < 0).all(axis=1))
    judged = int(data.qrels.judged.sum())
    if not len(lacks):
        return []
    first = data.queries.ids[lacks[0]]
    if len(lacks) == judged:
        why = "; ".join(notes) or "it ranks nothing for them"
        raise InputError(
            f"{path} has no results for the {count(judged, 'judged query')}, as {first!r}: {why}"
        )
    return [
        f"{path.name} has no results for {len(lacks):,} of "
        f"{count(judged, 'judged query')}, which score "
        f"0, as {first!r}"
    ]


def _judge(
    ranked: Ranked,
    index: str | None,
    setting: Setting,
    rewritten: records.RewritingRecord | None = None,
) -> _Outcome:
    """Judge a ranking. index: as asked; None of a run that was made elsewhere."""
    task, data = setting.task, setting.task.collection
    with setting.clock.phase("score", items=len(data.queries), unit="queries"):
        verdict = task.kind.judge(ranked.run, data, task.measures, setting.seed)
    served = ranked.index  # None of a search that is somebody else's
    if served is not None and index is not None:
        served = served.model_copy(update={"spec": index})
    ties = ranking.share_tied(ranked.run, cut := task.main.depth or setting.depth)
    notes = [*ranked.warnings, *ranking.note_ties(ties, cut)]
    return _Outcome(
        ranked.system, verdict, ranked.counts, notes, ranked.usage, ranked.makers, ranked,
        served, rewritten, ties,
    )  # fmt: skip


def _vectors(model: str, setting: Setting, request: Request) -> _Outcome:
    """Encode the texts of a task that searches nothing, and judge their vectors."""
    task, data, clock = setting.task.name, setting.task.data, setting.clock
    handed_over = request.own.get(model)
    registered = handed_over is None and parse(model).name in RETRIEVERS
    if registered or isinstance(handed_over, Retriever):
        raise InputError(f"{model} only ranks, and {task} is a task of {data.kind}: choose a model")
    encoder, kind = encoder_of(model, request), setting.task.kind
    if encoder.representation not in kind.accepts:
        raise InputError(
            f"{model} makes {encoder.representation} vectors and {task} is a task of "
            f"{data.kind}: choose a model that makes {' or '.join(sorted(kind.accepts))} vectors"
        )
    compress, index = None, None
    if not INDEXES.create(request.index).exact:
        compress, index = _compressor(model, encoder, request)
    place = Workplace(request.store, clock, request.cache)
    cosine = compress is not None and encoder.similarity == "cosine"  # as they are searched
    vectors = represent(model, encoder, kind.parts(data), place, scaled=cosine)
    made = vectors.parts
    if compress:
        first = next(iter(made.values()))  # the texts to train on, where there are some
        with clock.phase("build", items=sum(map(len, made.values())), unit="texts"):
            made = {name: compress(part, first) for name, part in made.items()}
    parts = {n: part.values if isinstance(part, Dense) else part for n, part in made.items()}
    with clock.phase("score"):
        verdict = kind.judge(parts, data, setting.task.measures, setting.seed, clock.progress)
    system = describe(model, encoder, next(iter(vectors.parts.values())))
    return _Outcome(
        system,
        verdict,
        vectors.counts,
        vectors.warnings,
        known_usage(vectors.usage),
        vectors.makers,
        index=index,
    )


def _compressor(
    model: str, encoder: Encoder, request: Request
) -> tuple[Callable[[Embeddings, Embeddings], Embeddings], IndexRecord]:
    """What makes vectors as the index that was asked for keeps them, and what a record says of it.

    Raises InputError where it does not take them, or is only a way to search.
    """
    spec, index = match_index(model, encoder, request)
    try:
        return index.compressor(), index_record(spec, index, IndexInfo(None))
    except InputError as error:
        raise InputError(f"index {spec}: {error}") from None


def _tuning(setting: Setting, split: str) -> Tuning:
    """Judged queries of another split of the task's collection, to choose weights by.

    Raises InputError for the split that is measured, by whatever name, and the test split.
    """
    task, data = setting.task, setting.task.collection
    other = replace(task, data=task.split(split)).collection
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
        mean = task.kind.judge(run, other, [main], setting.seed).scores[str(main)].mean
        return -np.inf if mean is None else task.sign * mean

    return Tuning(other, score)


def _measure_latency(ranked: Ranked, queries: int, asked: int, clock: Clock) -> Ranked:
    """Ask some queries one by one, encoding and all, and note what they took."""
    if ranked.answer is None:
        note = "latency is not measured of passages, candidates, rewritten queries, paid scores"
        return replace(ranked, warnings=(*ranked.warnings, note))
    rows = np.linspace(0, queries - 1, min(asked, queries)).astype(int)
    for row in rows[:WARM]:
        ranked.answer(int(row))
    taken = []
    clock = clock.aside("latency")
    with clock.phase("search", "one by one", items=len(rows), unit="queries"):
        for done, row in enumerate(rows):
            clock.progress("ask one by one", done, len(rows), "queries")
            begun = time.perf_counter()
            ranked.answer(int(row))
            taken.append(1000 * (time.perf_counter() - begun))
    p50, p95 = np.percentile(taken, (50, 95)).tolist()
    return replace(ranked, latency=LatencyRecord(p50_ms=p50, p95_ms=p95, queries=len(rows)))


def _make_record(outcome: _Outcome, setting: Setting) -> Evaluation:
    """Everything together as a record."""
    data, verdict, ranked = setting.task.data, outcome.verdict, outcome.ranked
    names = list(verdict.scores)  # as asked, but for what vectors have in place of cosine
    task, index = _task_record(setting.task), outcome.index
    searched = (index.full if index else "given", setting.depth if ranked else 0)
    record = Record(
        id=records.identity(
            outcome.system, task, searched if ranked or index else None, outcome.rewriting, names
        ),
        created=records.stamp(),
        system=outcome.system,
        task=task,
        depth=setting.depth if ranked else None,
        index=index,
        rewriting=outcome.rewriting,
        parts=list(ranked.parts) if ranked else [],
        weights=list(ranked.weights) if ranked else [],
        candidates=ranked is not None and ranked.candidates,
        ties=outcome.ties,
        latency=ranked.latency if ranked else None,
        main_measure=names[0],
        scores=verdict.scores,
        lower_is_better=records.lower_is_better(names, data.kind),
        counts={**outcome.counts, **verdict.counts},
        usage=dict(outcome.usage),
        makers=[dict(maker) for maker in outcome.makers],
        warnings=[*setting.notes, *data.warnings, *_note_faults(outcome), *verdict.warnings],
        phases=setting.clock.phases,
        bootstrap={"seed": setting.seed, "resamples": stats.RESAMPLES, "level": 0.95},
        environment=environment.current(),
    )
    return Evaluation(record, verdict.per_query, data, ranked.run if ranked else None)


def _note_faults(outcome: _Outcome) -> list[str]:
    """What an outcome warns of, and builds of faiss over each other where it may have searched."""
    by_faiss = outcome.index and outcome.system.representation != "sparse"
    said = accelerators.tell_overwritten() if by_faiss else ""
    return [*outcome.warnings, *([said] if said else [])]


def _task_record(task: Task) -> TaskRecord:
    asked, data = task.entry, task.data
    return TaskRecord(
        spec=task.name,
        source=str(asked.source),
        kind=data.kind,
        family=asked.definition.family or data.kind,
        fingerprint=data.fingerprint(),
        exclude_self=task.exclude_self,
        license=asked.definition.license or data.origin.license or "not stated",
        reference=asked.definition.reference or data.origin.reference,
    )
