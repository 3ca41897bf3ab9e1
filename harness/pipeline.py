"""One evaluation from top to bottom: load, rewrite, encode, build, search, score, record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness import catalog, records, stats, trec
from harness.disk import cache_root
from harness.encoders import ENCODERS, CollectionEncoder, Encoder, encoder_spec, instructed
from harness.indexes import INDEXES, Index, Searcher, Structured, saved
from harness.kinds import Verdict, classification, clustering, pairs, retrieval, summarization
from harness.measures import Measure
from harness.phases import Clock
from harness.records import Asked, Record, Search, System
from harness.represent import Vectors, represent, unit
from harness.retrieve import Collection, retrieve, without_own
from harness.rewriting import REWRITERS, Feedback, Rewriter, TextRewriter
from harness.spec import Spec
from harness.store import Store
from harness.types import (
    Data,
    Dense,
    Embeddings,
    InputError,
    Progress,
    Retrieval,
    Role,
    Run,
    silent,
)

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
    measures: tuple[Measure, ...]
    index: tuple[str, Spec]  # as asked, in full
    rewrite: str
    rewriting: records.Rewriting | None
    exclude_self: bool
    store: Store
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
    search: Search | None
    vectors: Vectors
    verdict: Verdict
    run: Run | None = None


def evaluate(
    encoder: str,
    task: str,
    index: str = "exact",
    *,
    rewrite: str = "none",
    measures: Sequence[str] = (),
    store: Store | None = None,
    seed: int = 0,
    loaded: Encoder | None = None,
    progress: Progress = silent,
) -> Evaluation:
    """Measure an encoder on a task: harness.evaluate("minilm", "limit-small").record.main.mean

    encoder, task, index, rewrite: specs. measures: in place of the task's own; the first is the
    main one. seed: of the bootstrap. loaded: the encoder that the spec names, if it was created
    before.

    Raises InputError for what is asked wrongly or cannot be read, EncodingError for a model that
    returns no embeddings, StoreError for a store that cannot be used.
    """
    asked, searched, clock = catalog.task(task), INDEXES.resolve(index), Clock(progress)
    system = loaded or ENCODERS.create(encoder_spec(encoder))
    rewriter = _rewriter(rewrite)
    with clock.phase("load data"):
        data = asked.load()
    system = instructed(system, asked.instructions(data))
    setting = _Setting(
        asked,
        asked.measures(data, measures),
        (index, searched),
        rewrite,
        _rewriting(rewrite, rewriter),
        asked.excludes(data),
        store or Store(cache_root()),
        seed,
        clock,
    )
    if isinstance(data, Retrieval):
        outcome = _retrieval(encoder, system, data, rewriter, setting)
    else:
        outcome = _vectors(encoder, system, data, setting)
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

    Raises InputError for a file or a task that cannot be read, or a task that ranks nothing.
    """
    asked, clock = catalog.task(task), Clock(progress)
    with clock.phase("load data"):
        data = asked.load()
    if not isinstance(data, Retrieval):
        raise InputError(f"{asked.spec} is a task of {data.kind}: a run file ranks documents")
    setting = _Setting(
        asked,
        asked.measures(data, measures),
        ("given", Spec("given")),
        "none",
        None,
        asked.excludes(data),
        Store(cache_root()),
        seed,
        clock,
    )
    with clock.phase("read run"):
        deep = setting.depth + setting.exclude_self
        run, notes = trec.read_run(path, data.queries, data.corpus, deep)
        if setting.exclude_self:
            run = without_own(run, data, data.corpus.ranked)
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


def _retrieval(
    spec: str, encoder: Encoder, data: Retrieval, rewriter: Rewriter | None, setting: _Setting
) -> _Outcome:
    """Encode corpus and queries, search, and judge the run."""
    clock, index = setting.clock, INDEXES.create(setting.index[1])
    if encoder.makes not in index.takes:
        raise InputError(
            f"{spec} makes {encoder.makes} vectors and index {setting.index[0]} takes "
            f"{' or '.join(index.takes)}: choose another index"
        )
    index.require(encoder.makes)
    feedback = rewriter if isinstance(rewriter, Feedback) else None
    if feedback and encoder.makes not in feedback.takes:
        raise InputError(
            f"{spec} makes {encoder.makes} vectors and {setting.rewrite} takes "
            f"{' or '.join(feedback.takes)}: choose another rewriting"
        )
    if isinstance(rewriter, TextRewriter):
        with clock.phase("rewrite", len(data.queries), "queries"):
            root = setting.store.root
            texts = rewriter.rewrite(data.queries.texts, clock.progress, root=root)
            data = replace(data, queries=replace(data.queries, texts=texts))
    counts = feedback is not None and feedback.counts
    vectors = represent(spec, encoder, retrieval.parts(data), setting.store, clock, counts=counts)
    documents, queries = vectors.parts["documents"], vectors.parts["queries"]
    system = _system(spec, encoder, documents)
    with clock.phase("build", len(data.corpus), "documents"):
        if system.similarity == "cosine":
            for part in (documents, queries):
                assert isinstance(part, Dense)
                unit(part.values)
        searcher, built, notes = _built(index, documents, setting)
    with clock.phase("search", len(data.queries), "queries"):
        run = retrieve(
            queries,
            Collection(data, documents, searcher, vectors.parts.get("counts")),
            setting.depth,
            exclude_self=setting.exclude_self,
            feedback=feedback,
            progress=clock.progress,
        )
    if data.candidates is not None:  # which are few: all of them are scored
        built, notes = {"candidates": True}, ()
    vectors = replace(vectors, warnings=[*vectors.warnings, *notes])
    return _judged(system, run, data, vectors, setting, details=built)


def _built(
    index: Index, documents: Embeddings, setting: _Setting
) -> tuple[Searcher, dict[str, object], tuple[str, ...]]:
    """Documents made searchable, by a structure of the store where there is one; what it is, and
    what was noticed.
    """
    if not isinstance(index, Structured):
        return index.build(documents), dict(index.describe()), ()
    assert isinstance(documents, Dense)
    folder = setting.store.root / "indexes"
    searcher, reused = saved.searcher(index, documents, folder, setting.clock.progress)
    notes = (*searcher.warnings, *index.warnings(setting.depth))
    return searcher, {**index.describe(), "bytes": searcher.bytes, "reused": reused}, notes


def _judged(
    system: System,
    run: Run,
    data: Retrieval,
    vectors: Vectors,
    setting: _Setting,
    *,
    details: Mapping[str, object] | None = None,
) -> _Outcome:
    """Judge a run."""
    with setting.clock.phase("score", len(data.queries), "queries"):
        verdict = retrieval.judge(run, data, setting.measures, setting.seed)
    asked, full = setting.index
    search = Search(spec=asked, full=str(full), depth=setting.depth, details=dict(details or {}))
    return _Outcome(system, search, vectors, verdict, run)


def _vectors(spec: str, encoder: Encoder, data: Data, setting: _Setting) -> _Outcome:
    """Encode the texts of a task that searches nothing, and judge their vectors."""
    assert not isinstance(data, Retrieval)
    if setting.rewriting is not None:
        raise InputError(f"{setting.task.spec} has no queries: nothing to rewrite")
    if encoder.makes != "dense":
        raise InputError(
            f"{spec} makes {encoder.makes} vectors and {setting.task.spec} is a task of "
            f"{data.kind}: choose a model that makes dense vectors"
        )
    kind: Any = JUDGED[data.kind]
    vectors = represent(spec, encoder, kind.parts(data), setting.store, setting.clock)
    dense = {name: part.values for name, part in vectors.parts.items() if isinstance(part, Dense)}
    with setting.clock.phase("score"):
        verdict = kind.judge(
            dense, data, setting.measures, seed=setting.seed, progress=setting.clock.progress
        )
    system = _system(spec, encoder, next(iter(vectors.parts.values())))
    return _Outcome(system, None, vectors, verdict)


def _recorded(outcome: _Outcome, data: Data, setting: _Setting) -> Evaluation:
    """Everything together as a record."""
    asked, verdict, vectors = setting.task, outcome.verdict, outcome.vectors
    names = [str(measure) for measure in setting.measures]
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
        id=records.identity(outcome.system, task, outcome.search, setting.rewriting, names),
        created=records.stamp(),
        system=outcome.system,
        task=task,
        search=outcome.search,
        rewriting=setting.rewriting,
        main_measure=names[0],
        scores=verdict.scores,
        counts={**vectors.counts, **verdict.counts},
        warnings=[*data.warnings, *vectors.warnings, *verdict.warnings],
        phases=setting.clock.phases,
        bootstrap={"seed": setting.seed, "resamples": stats.RESAMPLES, "level": 0.95},
        environment=records.environment(),
    )
    return Evaluation(record, verdict.per_query, data, outcome.run)


def _system(spec: str, encoder: Encoder, documents: Embeddings) -> System:
    """What a record says of an encoder."""
    similarity, prompts = "dot", dict[str, str]()
    if not isinstance(encoder, CollectionEncoder):
        roles: tuple[Role, ...] = ("query", "document", "text")
        similarity, prompts = encoder.similarity, {str(r): encoder.prompt(r) for r in roles}
    return System(
        spec=spec,
        full=str(ENCODERS.resolve(encoder_spec(spec))),
        fingerprint=dict(encoder.fingerprint()),
        makes=encoder.makes,
        similarity=similarity,
        dimension=documents.width,
        prompts=prompts,
    )


def _rewriter(spec: str) -> Rewriter | None:
    """The rewriter that a spec names, None for queries as they are."""
    return None if str(REWRITERS.resolve(spec)) == "none" else REWRITERS.create(spec)


def _rewriting(spec: str, rewriter: Rewriter | None) -> records.Rewriting | None:
    """What a record says of how queries were rewritten."""
    if rewriter is None:
        return None
    full = str(REWRITERS.resolve(spec))
    details = dict(rewriter.describe()) if isinstance(rewriter, TextRewriter) else {}
    return records.Rewriting(spec=spec, full=full, details=details)
