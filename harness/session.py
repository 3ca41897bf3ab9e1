"""One session: the one way from specs to numbers, for evaluations, studies, the gate and scripts.

    session = Session(Store(cache_root()))
    session.evaluate("minilm", "limit-small").record.main
    session.rank("bm25", task, depth=10).run
    session.grid(["bm25", "minilm"], [task, task.changed("in capitals", queries=...)])

Data are loaded once a session, and so are the vectors of a task. Arrays are never changed in place.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from harness import evaluation, grid, stats, systems, tasks
from harness.arguments import read_arguments, read_fields, read_path
from harness.arrays import Float64
from harness.encoders import ENCODERS, Encoder, encoder_spec
from harness.encoders.models import MODELS
from harness.errors import InputError
from harness.evaluation import Evaluation, Setting
from harness.grid import Cell, Cells, Grid
from harness.indexes import INDEXES, Searcher
from harness.measures.asked import Measure
from harness.pipeline.phases import Clock
from harness.pipeline.represent import VectorCache, Workplace, represent
from harness.pipeline.retrieve import Searchable, retrieve
from harness.pipeline.single import Ranked, Request, rewriting
from harness.progress import Progress, prefix, silent
from harness.rewriting import REWRITERS
from harness.spec import parse, split_list
from harness.stats import Estimate
from harness.store import Store, read_store
from harness.systems import RETRIEVERS, Retriever, rank, resolve, split_index
from harness.systems.own import adopt
from harness.tasks import Task, catalog
from harness.tasks.collection import Asked, Collection, read_task
from harness.tasks.idle import refuse_idle
from harness.tasks.vectors import TaskVectors, representation_of, texts_of
from harness.vectors import Embeddings, Representation, Run


@dataclass
class Session:
    """What evaluations share: the store, loaded models, tasks with their data, vectors.

    Attributes:
        store: Where embeddings and structures of indexes are kept.
        seed: Of bootstraps, tests and whatever is drawn.
        progress: Called as work goes on.
        cells: Folder in which the cells of grids are kept, so that a killed study goes on; None
            keeps nothing.
        lenient: Leave out what a task has no use for, and say so in its record: of many tasks.
    """

    store: Store
    seed: int = 0
    progress: Progress = silent
    cells: Path | None = None
    lenient: bool = False
    _tasks: dict[str, Task] = field(default_factory=dict, repr=False)
    _cache: VectorCache = field(default_factory=VectorCache, repr=False)

    def __post_init__(self) -> None:
        read_fields(self)
        self.store = read_store(self.store)
        if not callable(self.progress):
            raise InputError("a session's progress is a function of stage, done, total and unit")
        self.cells = None if self.cells is None else read_path("cells", self.cells)

    def seeds(self, n: int) -> range:
        """Seeds of n draws, the first that of the session."""
        return range(self.seed, self.seed + n)

    def task(self, asked: Asked, measures: Sequence[str] = ()) -> Task:
        """A task with its data, which are loaded once.

        Raises:
            InputError: The task or a measure is unknown, or the data cannot be read.
        """
        asked = read_task(asked)
        if isinstance(asked, Collection):
            return asked.task.measured_by(measures)
        if isinstance(asked, Task):
            return asked.measured_by(measures)
        if asked not in self._tasks:
            with Clock(self.progress).phase("load", "data"):
                self._tasks[asked] = tasks.load(asked)
        return self._tasks[asked].measured_by(measures)

    def collection(self, asked: Asked, measure: str = "", *, low: bool = False) -> Task:
        """A task that is searched, with one main measure that has a value for each query.

        Args:
            asked: A task, its spec, or a collection.
            measure: In place of the task's own.
            low: Whether the caller can use one whose low values are good: it goes by `Task.sign`.

        Raises:
            InputError: As `task`; the task is of another kind, the measure is one of groups, or it
                is good where it is low and the caller takes high values for good.
        """
        found = self.task(asked)
        task = found.measured_by([measure] if found.collection and measure else ())
        return task.require_values() if low else task.require_values().require_high()

    def expand(self, joined: str) -> list[str]:
        """Specs of tasks that are joined, those of a suite in its place, each once.

        Raises:
            InputError: A suite is unknown.
        """
        return catalog.expand(split_list(joined))

    def check(self, systems: Sequence[str]) -> None:
        """Refuse a wrong name before anything is computed. Raises InputError."""
        if not systems:
            raise InputError("no system is named: expected at least one")
        for system in systems:
            resolve(system)

    def encoder(self, model: str, task: Task) -> Encoder:
        """The encoder that a spec names, as it is asked for the task.

        Raises:
            InputError: The model is unknown, only ranks, or names an index.
        """
        named, index = split_index(model)
        if index is not None or parse(named).name in RETRIEVERS:
            raise InputError(
                f"{model}: this study looks at the vectors of an encoder: name it alone, as minilm"
            )
        return ENCODERS.create(encoder_spec(named)).for_task(task.purpose)

    def vectors(
        self,
        model: str,
        asked: Asked,
        *,
        scaled: bool = True,
        representations: Sequence[Representation] = ("dense",),
    ) -> TaskVectors:
        """A model's vectors of a task, through the store; made or read once a session.

        Args:
            model: Spec of an encoder.
            asked: A task of any kind.
            scaled: At length 1 where the model compares by cosine; else as the model made them.
            representations: What the caller can use.

        Raises:
            InputError: The model makes other vectors; the task has passages or candidates.
        """
        task = self.task(asked)
        encoder = self.encoder(model, task)
        if encoder.representation not in representations:
            needed = " or ".join(representations)
            raise InputError(
                f"{model} makes {encoder.representation} vectors: expected {needed} ones"
            )
        scaled = scaled and encoder.similarity == "cosine"
        place = Workplace(self.store, Clock(self.progress), self._cache)
        made = represent(model, encoder, texts_of(task), place, scaled=scaled)
        notes = (*task.data.warnings, *made.warnings)
        return TaskVectors(task, model, encoder.similarity, made.parts, notes)

    def index(self, spec: str, documents: Embeddings) -> Searcher:
        """Documents made searchable, by a structure of the store where there is one.

        Raises:
            InputError: The index is unknown, its library is not installed, or it does not take
                these vectors.
        """
        index = INDEXES.create(spec)
        makes = representation_of(documents)
        if makes not in index.accepts:
            raise InputError(
                f"index {spec} takes {' or '.join(index.accepts)} vectors: these are {makes}"
            )
        index.require(makes)
        return index.open(documents, self.store.root / "indexes", self.progress)

    def search(self, vectors: TaskVectors, k: int, index: str = "exact") -> Run:
        """The k best documents of each query of a task [q, k], by its vectors alone."""
        searcher = self.index(index, vectors.documents)
        return searcher.search(vectors.queries, k, self.progress).run

    def retrieve(self, vectors: TaskVectors, searcher: Searcher, k: int) -> Run:
        """The k best documents of each query [q, k], without its own where the task says so.

        Args:
            vectors: Of the task that is searched.
            searcher: Of its documents, made by `index`.
            k: Results of each query.
        """
        opened = Searchable(vectors.task.collection, vectors.documents, searcher)
        own = vectors.task.exclude_self
        found = retrieve(vectors.queries, opened, k, exclude_self=own, progress=self.progress)
        return found.run

    @read_arguments
    def rank(
        self,
        system: object,
        task: Asked,
        *,
        depth: int | None = None,
        index: str = "exact",
        rewrite: str = "none",
    ) -> Ranked:
        """A system's ranking of a collection.

        Args:
            system: Spec of an encoder or of what is made of several, with its index or without;
                or a model or a search of your own.
            task: A task that is searched, or its spec, or a collection.
            depth: Results of each query; None for what the deepest measure looks at.
            index: For a system that names none.
            rewrite: How queries are rewritten first.

        Raises:
            InputError: What encoders, indexes, rerankers and the store raise.
        """
        searched, clock = self.task(task), Clock(self.progress)
        named, own = self._name(system)
        refuse_idle(searched, {"index": index})
        systems.refuse_idle_index([system], index)
        request = self._request(searched, clock, index=index, rewrite=rewrite)
        request = replace(request, own=own, depth=depth or searched.depth)
        return rank(named, searched.collection, request)

    def values(self, run: Run, task: Task, measure: Measure | None = None) -> Float64:
        """A measure of a run, one value for each judged query; the task's main one for None.

        What lies beyond the cut-off of the measure plays no part.
        """
        measure = measure or task.main
        verdict = task.kind.judge(run, task.collection, [measure])
        return grid.each_value(verdict.per_query, str(measure))

    def estimate(self, values: Float64) -> Estimate:
        """The mean of values [q] with its 95% bootstrap interval.

        Equal seeds draw equal queries, so that differences are paired.
        """
        return stats.estimate(values, self.seed)

    @read_arguments
    def evaluate(
        self,
        system: object,
        asked: Asked,
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
                encode(texts), a model of sentence-transformers or mteb; or a search of your own:
                a function of texts and k, an object with search(texts, k).
            asked: A task, its spec, or a collection.
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
        named, own = self._name(system)
        systems.refuse_idle_index([system], index)
        if named not in own:
            named, its_own = split_index(named)
            named, index = systems.rename(named), its_own or index
        index, rewrite = INDEXES.rename(index), REWRITERS.rename(rewrite)  # as records say it
        INDEXES.resolve(index)
        rewritten = rewriting(rewrite)
        clock = Clock(self.progress)
        with clock.phase("load", "data"):
            task = self.task(asked, measures)
        if lacking := task.kind.lacks(task.data):
            raise InputError(f"{task.name} has no {lacking}")
        setting = Setting(task, self.seed, clock, max(depth, task.depth), self.lenient)
        request = self._request(task, clock, index=index, rewrite=rewrite)
        request = replace(request, own=own, depth=setting.depth)
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
            variants: Of one task of any kind, with the same judged queries (pairs, texts); the
                first is what others are compared with.
            depth: Results kept for each query, if more than the measure looks at.
            index: For systems that name none.
            rewrite: How queries are rewritten first.

        Raises:
            InputError: What `evaluate` raises; a main measure without a value for each item.
        """
        self.check(asked)
        systems.refuse_idle_index(asked, index)
        measure = self.task(variants[0]).require_values().main
        names, rows = tuple(dict.fromkeys(asked)), list[tuple[Cell, ...]]()
        for system in names:
            row, before = list[Cell](), len(rows) * len(variants) + 1
            with MODELS.scope():  # what one system needs stays for all variants
                for variant in variants:
                    task, cell = variant.measured_by([str(measure)]), before + len(row)
                    with self._tell(f"cell {cell} of {len(names) * len(variants)}, {system}"):
                        row.append(self._cell(system, task, depth, index=index, rewrite=rewrite))
            rows.append(tuple(row))
        return Grid(names, tuple(variants), measure, tuple(rows))

    @contextmanager
    def _tell(self, whole: str) -> Iterator[None]:
        """Let all progress name the whole meanwhile."""
        told, self.progress = self.progress, prefix(whole, self.progress)
        try:
            yield
        finally:
            self.progress = told

    def _cell(self, system: str, task: Task, depth: int, *, index: str, rewrite: str) -> Cell:
        """A cell of a grid, kept or made now."""
        index = systems.choose_index(system, index)
        key = grid.key(systems.identity(system, index, rewrite), task, depth, self.seed)
        cells = None if self.cells is None else Cells(self.cells, self.store.since)
        if cells and (kept := cells.get(key)):
            return kept
        found = self.evaluate(system, task, index=index, rewrite=rewrite, depth=depth)
        grid.each_value(found.per_query, str(task.main))  # refused here, not in the last column
        cell = Cell(found.record, found.per_query, found.run)
        if cells:
            cells.put(key, cell)
        return cell

    @read_arguments
    def evaluate_run(
        self, path: Path, asked: Asked, *, measures: Sequence[str] = (), depth: int = 0
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
        with clock.phase("load", "data"):
            task = self.task(asked, measures)
        return evaluation.of_run(path, Setting(task, self.seed, clock, max(depth, task.depth)))

    def _name(self, system: object) -> tuple[str, dict[str, Encoder | Retriever]]:
        """A system's spec; or that of a model that was handed over, and the encoder it names."""
        if isinstance(system, str):
            return system, {}
        name, adapted = adopt(system)
        return name, {name: adapted}

    def _request(self, task: Task, clock: Clock, *, index: str, rewrite: str) -> Request:
        return Request(
            task.depth,
            self.store,
            clock,
            index=index,
            rewrite=rewrite,
            exclude_self=task.exclude_self,
            purpose=task.purpose,
            cache=self._cache,
        )
