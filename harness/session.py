"""One session: the one way from specs to numbers, for evaluations, studies, the gate and scripts.

    session = Session(Store(cache_root()))
    session.evaluate("minilm", "limit-small").record.main
    session.rank("bm25", task, depth=10).run
    session.grid(["bm25", "minilm"], [task, task.changed("in capitals", queries=...)])

Data are loaded once a session, and so are the vectors of a task. Arrays are never changed in place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from harness import evaluation, grid, records, stats, systems, tasks
from harness.arrays import Float32, Float64
from harness.encoders import ENCODERS, Encoder, encoder_spec, instructed, own
from harness.errors import InputError
from harness.evaluation import Evaluation, Setting
from harness.grid import Cell, Cells, Grid
from harness.indexes import INDEXES, Searcher, Structured, saved
from harness.kinds import pairs, retrieval
from harness.measures import GROUPED, Measure
from harness.phases import Clock
from harness.progress import Progress, silent
from harness.represent import represent, unit
from harness.single import Ranked, Request, rewriting
from harness.spec import parse
from harness.stats import Estimate
from harness.store import Store
from harness.systems import RETRIEVERS, rank, resolve, served
from harness.tasks import Task
from harness.vectors import Dense, Embeddings, Representation, Run


@dataclass(frozen=True)
class TaskVectors:
    """A model's vectors of a task's texts. They are never changed in place.

    Attributes:
        task: Whose texts they are.
        model: The spec of the encoder.
        similarity: How the model compares two of them: cosine, dot or maxsim.
        parts: By name: "documents" and "queries", or "sentences" of pairs.
        notes: What was noticed on the way, a sentence each.
    """

    task: Task
    model: str
    similarity: str
    parts: Mapping[str, Embeddings]
    notes: tuple[str, ...]

    @property
    def documents(self) -> Embeddings:
        """Of the corpus, in its order."""
        return self.parts["documents"]

    @property
    def queries(self) -> Embeddings:
        """Of the queries, in their order."""
        return self.parts["queries"]

    @property
    def arrays(self) -> dict[str, Float32]:
        """Dense vectors as read-only arrays [n, d], by part."""
        return {name: part.values for name, part in self.parts.items() if isinstance(part, Dense)}


@dataclass
class Session:
    """What evaluations share: the store, loaded models, tasks with their data, vectors.

    Attributes:
        store: Where embeddings and structures of indexes are kept.
        seed: Of bootstraps, tests and whatever is drawn.
        progress: Called as work goes on.
        cells: Folder in which the cells of grids are kept, so that a killed study goes on; None
            keeps nothing.
    """

    store: Store
    seed: int = 0
    progress: Progress = silent
    cells: Path | None = None
    _tasks: dict[str, Task] = field(default_factory=dict, repr=False)
    _vectors: dict[tuple[str, ...], TaskVectors] = field(default_factory=dict, repr=False)
    _opened: dict[str, Any] = field(default_factory=dict, repr=False)

    def release(self) -> None:
        """Let loaded models and vectors go; tasks stay."""
        self._opened.clear()
        self._vectors.clear()

    def seeds(self, n: int) -> range:
        """Seeds of n draws, the first that of the session."""
        return range(self.seed, self.seed + n)

    def task(self, asked: str | Task, measures: Sequence[str] = ()) -> Task:
        """A task with its data, which are loaded once.

        Raises:
            InputError: The task or a measure is unknown, or the data cannot be read.
        """
        if isinstance(asked, Task):
            return asked.measured_by(measures)
        if asked not in self._tasks:
            with Clock(self.progress).phase("load data"):
                self._tasks[asked] = tasks.load(asked)
        return self._tasks[asked].measured_by(measures)

    def collection(self, asked: str | Task, measure: str = "") -> Task:
        """A task that is searched, with one main measure that has a value for each query.

        Raises:
            InputError: As `task`; the task is of another kind, or the measure is one of groups.
        """
        task = self.task(asked)
        if task.collection and measure:  # of another kind: said before its measures are
            task = task.measured_by([measure])
        if task.main.name in GROUPED:
            raise InputError(
                f"{task.name} is measured by {task.main}, of groups: expected one of queries"
            )
        return task

    def check(self, systems: Sequence[str]) -> None:
        """Refuse a wrong name before anything is computed. Raises InputError."""
        if not systems:
            raise InputError("no system is named: expected at least one")
        for system in systems:
            resolve(system)

    def encoder(self, model: str, task: Task) -> Encoder:
        """The encoder that a spec names, for the task's instructions.

        Raises:
            InputError: The model is unknown, only ranks, or names an index.
        """
        named, index = served(model)
        if index is not None or parse(named).name in RETRIEVERS:
            raise InputError(
                f"{model}: this study looks at the vectors of an encoder: name it alone, as minilm"
            )
        if named not in self._opened:
            self._opened[named] = ENCODERS.create(encoder_spec(named))
        return instructed(self._opened[named], task.instructions)

    def vectors(
        self,
        model: str,
        asked: str | Task,
        *,
        scaled: bool = True,
        representations: Sequence[Representation] = ("dense",),
    ) -> TaskVectors:
        """A model's vectors of a task, through the store; made or read once a session.

        Args:
            model: Spec of an encoder.
            asked: A task of retrieval or of sentence pairs.
            scaled: At length 1 where the model compares by cosine; else as the model made them.
            representations: What the caller can use.

        Raises:
            InputError: The model makes other vectors; the task is of another kind, or has passages
                or candidates.
        """
        task = self.task(asked)
        encoder = self.encoder(model, task)
        if encoder.makes not in representations:
            needed = " or ".join(representations)
            raise InputError(f"{model} makes {encoder.makes} vectors: expected {needed} ones")
        scaled = scaled and encoder.similarity == "cosine"
        key = (model, repr(sorted(task.data.fingerprint().items())), str(scaled))
        if key not in self._vectors:
            made = represent(model, encoder, _parts(task), self.store, Clock(self.progress))
            parts = {name: _fixed(part, scaled=scaled) for name, part in made.parts.items()}
            notes = (*task.data.warnings, *made.warnings)
            self._vectors[key] = TaskVectors(task, model, encoder.similarity, parts, notes)
        return replace(self._vectors[key], task=task)

    def index(self, spec: str, documents: Embeddings) -> Searcher:
        """Documents made searchable, by a structure of the store where there is one.

        Raises:
            InputError: The index is unknown, its library is not installed, or it does not take
                these vectors.
        """
        index = INDEXES.create(spec)
        makes = _representation(documents)
        if makes not in index.takes:
            raise InputError(
                f"index {spec} takes {' or '.join(index.takes)} vectors: these are {makes}"
            )
        index.require(makes)
        if isinstance(index, Structured):
            folder = self.store.root / "indexes"
            return saved.searcher(index, documents, folder, self.progress)[0]
        return index.build(documents)

    def search(self, vectors: TaskVectors, k: int, index: str = "exact") -> Run:
        """The k best documents of each query of a task [q, k], by its vectors alone."""
        searcher = self.index(index, vectors.documents)
        return searcher.search(vectors.queries, k, self.progress)

    def rank(
        self,
        system: str,
        task: Task,
        *,
        depth: int | None = None,
        index: str = "exact",
        rewrite: str = "none",
    ) -> Ranked:
        """A system's ranking of a collection.

        Args:
            system: Spec of an encoder or of what is made of several, with its index or without.
            task: A task that is searched.
            depth: Results of each query; None for what the deepest measure looks at.
            index: For a system that names none.
            rewrite: How queries are rewritten first.

        Raises:
            InputError: What encoders, indexes, rerankers and the store raise.
        """
        clock = Clock(self.progress)
        request = self._request(task, clock, index=index, rewrite=rewrite)
        return rank(system, task.collection, replace(request, depth=depth or task.depth))

    def values(self, run: Run, task: Task, measure: Measure | None = None) -> Float64:
        """A measure of a run, one value for each judged query; the task's main one for None.

        What lies beyond the cut-off of the measure plays no part.
        """
        measure = measure or task.main
        verdict = retrieval.judge(run, task.collection, [measure], seed=0)
        return np.asarray(verdict.per_query[str(measure)], np.float64)

    def estimate(self, values: Float64) -> Estimate:
        """The mean of values [q] with its 95 % bootstrap interval.

        Equal seeds draw equal queries, so that differences are paired.
        """
        return stats.estimate(values, self.seed)

    def evaluate(
        self,
        system: object,
        asked: str | Task,
        *,
        index: str = "exact",
        rewrite: str = "none",
        measures: Sequence[str] = (),
        latency: int = 0,
        depth: int = 0,
    ) -> Evaluation:
        """Measure a system on a task.

        Args:
            system: A spec, or a model of your own: a function of texts, an object with
                encode(texts), a model of sentence-transformers or mteb.
            asked: A task or its spec.
            index: For a system that names none.
            rewrite: How queries are rewritten first.
            measures: In place of the task's own; the first is the main one.
            latency: Queries that are asked one by one besides, to time them.
            depth: Results kept for each query, if more than the measures look at.

        Raises:
            InputError: Something is asked wrongly or cannot be read.
            EncodingError: A model returns no embeddings.
            StoreError: The store cannot be used.
        """
        if latency < 0:
            raise InputError(f"latency={latency}: expected a number of queries, 0 for none")
        named, opened = self._named(system)
        if named not in opened:
            named, its_own = served(named)
            index = its_own or index
        INDEXES.resolve(index)
        rewritten = rewriting(rewrite)
        clock = Clock(self.progress)
        with clock.phase("load data"):
            task = self.task(asked, measures)
        setting = Setting(task, self.seed, clock, max(depth, task.depth))
        request = self._request(task, clock, index=index, rewrite=rewrite)
        request = replace(request, opened=opened, depth=setting.depth)
        return evaluation.of_system(named, request, setting, rewritten, latency)

    def grid(
        self,
        asked: Sequence[str],
        variants: Sequence[Task],
        *,
        depth: int = 0,
        index: str = "exact",
        rewrite: str = "none",
    ) -> Grid:
        """Every system on every variant of a task, by the main measure of the first.

        Cells that are kept in the session's folder are read; the others are evaluated and kept, so
        that a killed study goes on where it was. One system is worked on at a time.

        Args:
            asked: Specs of systems; each is evaluated once.
            variants: Of one task, with the same judged queries; the first is what others are
                compared with.
            depth: Results kept for each query, if more than the measure looks at.
            index: For systems that name none.
            rewrite: How queries are rewritten first.

        Raises:
            InputError: What `evaluate` raises; a main measure without a value for each query.
        """
        self.check(asked)
        measure = self.collection(variants[0]).main
        names, rows = tuple(dict.fromkeys(asked)), list[tuple[Cell, ...]]()
        for system in names:
            self.release()
            row = []
            for done, variant in enumerate(variants):
                self.progress(f"search with {system}", done, len(variants), "variants")
                task = variant.measured_by([str(measure)])
                row.append(self._cell(system, task, depth, index=index, rewrite=rewrite))
            rows.append(tuple(row))
        return Grid(names, tuple(variants), measure, tuple(rows))

    def _cell(self, system: str, task: Task, depth: int, *, index: str, rewrite: str) -> Cell:
        """A cell of a grid, kept or made now."""
        about = {
            "system": systems.identity(system, index, rewrite),
            "task": [task.data.fingerprint(), task.exclude_self, dict(task.instructions)],
            "measure": [str(task.main), max(depth, task.depth), self.seed],
            "harness": records.environment()["packages"].get("retrieval-harness"),
        }
        cells, key = None if self.cells is None else Cells(self.cells), grid.key(about)
        if cells and (kept := cells.get(key, task.main)):
            return kept
        found = self.evaluate(system, task, index=index, rewrite=rewrite, depth=depth)
        if found.run is None:
            raise InputError(f"{task.name} ranks nothing: expected a task of retrieval")
        values = np.asarray(found.per_query[str(task.main)], np.float64)
        cell = Cell(found.record, values, found.run)
        if cells:
            cells.put(key, task.main, cell)
        return cell

    def evaluate_run(
        self, path: Path, asked: str | Task, *, measures: Sequence[str] = (), depth: int = 0
    ) -> Evaluation:
        """Measure a ranking that another program wrote as a TREC run file.

        Args:
            path: The file.
            asked: A task or its spec.
            measures: In place of the task's own.
            depth: Results kept for each query, if more than the measures look at.

        Raises:
            InputError: The file or the task cannot be read, or the task ranks nothing.
        """
        clock = Clock(self.progress)
        with clock.phase("load data"):
            task = self.task(asked, measures)
        return evaluation.of_run(path, Setting(task, self.seed, clock, max(depth, task.depth)))

    def _named(self, system: object) -> tuple[str, dict[str, Any]]:
        """A system's spec, or the name of one that was handed over, which then is opened."""
        if isinstance(system, str):
            return system, self._opened
        encoder = own.adapt(system)
        name = getattr(encoder, "name", type(encoder).__name__)
        return name, {**self._opened, name: encoder}

    def _request(self, task: Task, clock: Clock, *, index: str, rewrite: str) -> Request:
        return Request(
            task.depth,
            self.store,
            clock,
            index=index,
            rewrite=rewrite,
            exclude_self=task.exclude_self,
            instructions=task.instructions,
            opened=self._opened,
        )


def _parts(task: Task) -> Mapping[str, Any]:
    """The texts of a task that has one set of documents and queries, or of pairs."""
    if task.data.kind == "pairs":
        return pairs.parts(task.data)  # type: ignore[arg-type]
    data = task.collection
    if data.corpus.parents is not None or data.candidates is not None:
        raise InputError(f"{task.name} has passages or candidates: expected neither")
    return retrieval.parts(data)


def _fixed(part: Embeddings, *, scaled: bool) -> Embeddings:
    """Vectors that nobody changes any more, at length 1 where that is asked for."""
    if isinstance(part, Dense):
        values = unit(part.values) if scaled else part.values
        values.flags.writeable = False
        return Dense(values)
    return part


def _representation(vectors: Embeddings) -> Representation:
    if isinstance(vectors, Dense):
        return "dense"
    return "multi-vector" if hasattr(vectors, "offsets") else "sparse"
