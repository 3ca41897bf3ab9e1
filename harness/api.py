"""What scripts and notebooks use: evaluations, searches and vectors by a call."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack, get_args, overload

import numpy as np

from harness import results, terminal
from harness.arguments import read_arguments, read_path
from harness.arrays import Float32
from harness.data import Retrieval, Role
from harness.disk import cache_root
from harness.encoders import ENCODERS, CollectionEncoder, Encoder, encoder_spec
from harness.errors import ENDINGS, InputError, warn_caller
from harness.evaluation import Evaluation
from harness.indexes import INDEXES
from harness.measures.asked import choose
from harness.pipeline.phases import Clock
from harness.pipeline.represent import Workplace, represent
from harness.progress import Progress, prefix, silent
from harness.report.findings import load_findings, study_folder
from harness.results import Failure, Results, StoppedError
from harness.rewriting import REWRITERS
from harness.session import Session
from harness.store import Store, read_store
from harness.studies import Findings
from harness.systems import Retriever, choose_index, refuse_idle_index, resolve, split_index
from harness.systems.external import LEFT_OUT
from harness.systems.own import adopt
from harness.tasks import Task, catalog
from harness.tasks.collection import Asked, Collection, read_task, read_texts
from harness.vectors import Dense, Run

if TYPE_CHECKING:
    import pandas as pd

Kept = Store | str | Path | None


class Options(TypedDict, total=False):
    """What `evaluate` may be told besides systems, tasks and an index; said there."""

    rewrite: str
    measures: Sequence[str]
    store: Kept
    fresh: bool
    seed: int
    latency: int
    progress: bool | Progress


Many = list[Any] | tuple[Any, ...]


@overload
def evaluate(  # type: ignore[overload-overlap]
    systems: Many, tasks: Asked | Many, index: str = ..., **options: Unpack[Options]
) -> Results: ...
@overload
def evaluate(
    systems: object, tasks: Many, index: str = ..., **options: Unpack[Options]
) -> Results: ...
@overload
def evaluate(
    systems: object, tasks: Asked, index: str = ..., **options: Unpack[Options]
) -> Evaluation: ...
@read_arguments
def evaluate(
    systems: object,
    tasks: Asked | Many,
    index: str = "exact",
    *,
    rewrite: str = "none",
    measures: Sequence[str] = (),
    store: Kept = None,
    fresh: bool = False,
    seed: int = 0,
    latency: int = 0,
    progress: bool | Progress = True,
) -> Evaluation | Results:
    """Measure systems on tasks: harness.evaluate(["bm25", "minilm"], ["limit-small", mine]).

    Args:
        systems: A spec (`minilm@hnsw`), a model or a search of your own; or a list of them.
        tasks: A spec, a `Collection` (or a dict of its parts, or a folder's path) or a task; or a
            list of them, suites among them.
        index: For systems that name none.
        rewrite: How queries are rewritten first.
        measures: In place of the tasks' own; the first is the main one.
        store: Where embeddings are kept, or its folder; the usual one for None.
        fresh: Encode every text again; what the store held is replaced.
        seed: Of bootstraps and tests.
        latency: Queries that are asked one by one besides, to time them.
        progress: True for a bar on a terminal and a line in a notebook; False for silence; or a
            function of stage, done, total and unit.

    Returns:
        One `Evaluation` for one system and one task; for lists `Results`, systems outside and
        tasks inside. A pair that fails stops no other, and is in `Results.failed`.

    Raises:
        InputError: A name is unknown, or two systems or tasks have one name: said before anything
            is computed. For one system and one task also whatever its evaluation raises.
        StoppedError: Ctrl-C, of lists: its `results` are what was finished.
    """
    session = Session(_open_store(store, fresh=fresh), seed)
    asked: dict[str, Any] = {
        "index": index,
        "rewrite": rewrite,
        "measures": measures,
        "latency": latency,
    }
    if not isinstance(systems, list | tuple) and not isinstance(tasks, list | tuple):
        with _watch(progress, "evaluate") as report:
            return replace(session, progress=report).evaluate(systems, tasks, **asked)
    rows = _name_systems(systems if isinstance(systems, list | tuple) else [systems])
    columns = _name_tasks(tasks if isinstance(tasks, list | tuple) else [tasks])
    _check_names(index, rewrite, measures)
    refuse_idle_index([system for _, system in rows], index)
    session.lenient = len(columns) > 1
    with _watch(progress, "evaluate") as report:
        return _evaluate_pairs(session, rows, columns, asked, report)


@read_arguments
def evaluate_run(
    path: str | Path,
    task: Asked,
    *,
    measures: Sequence[str] = (),
    seed: int = 0,
    progress: bool | Progress = False,
) -> Evaluation:
    """Measure a ranking that another program wrote as a TREC run file.

    Args:
        path: The file.
        task: What it ranks the documents of.
        measures: In place of the task's own; the first is the main one.
        seed: Of bootstraps.
        progress: As `evaluate`.

    Raises:
        InputError: The file or the task cannot be read, or the task ranks nothing.
    """
    with _watch(progress, "evaluate") as report:
        session = Session(_open_store(None), seed, report)
        return session.evaluate_run(Path(path), task, measures=measures)


@read_arguments
def search(
    system: object,
    collection: Asked,
    k: int = 10,
    *,
    index: str = "exact",
    store: Kept = None,
    progress: bool | Progress = True,
) -> pd.DataFrame:
    """The best documents of each query: harness.search("minilm@hnsw", collection, k=10).

    Args:
        system: A spec, or a model or a search of your own.
        collection: What is searched, with its queries, as `evaluate` takes a task; judgments are
            not needed.
        k: Documents of each query.
        index: For a system that names none.
        store: Where embeddings are kept, or its folder; the usual one for None.
        progress: As `evaluate`.

    Returns:
        Columns query, document, rank (from 1) and score, in the order of queries and ranks. Results
        that the collection does not hold are left out, with a warning that counts them.

    Raises:
        InputError: The system is unknown, or the task is none that is searched.
    """
    with _watch(progress, "search") as report:
        session = Session(_open_store(store), progress=report)
        task = session.task(collection)
        data, ranked = task.collection, session.rank(system, task, depth=k, index=index)
    for note in ranked.warnings:
        if note.endswith(LEFT_OUT):
            warn_caller(note)
    return _tabulate(ranked.run, data)


def _open_store(given: Kept, *, fresh: bool = False) -> Store:
    """The store that is meant. fresh: what it held before now plays no part."""
    store = read_store(cache_root() if given is None else given)
    return replace(store, since=time.time()) if fresh else store


def _tabulate(run: Run, data: Retrieval) -> pd.DataFrame:
    """The results of a run, a row each."""
    import pandas as pd

    rows, columns = np.nonzero(run.docs >= 0)
    found = {
        "query": [data.queries.ids[row] for row in rows.tolist()],
        "document": [data.corpus.ranked[doc] for doc in run.docs[rows, columns].tolist()],
        "rank": columns + 1,
        "score": run.scores[rows, columns],
    }
    return pd.DataFrame(found)


@read_arguments
def embed(
    model: object,
    texts: Any,
    role: Role = "document",
    *,
    store: Kept = None,
    progress: bool | Progress = True,
) -> Float32:
    """Vectors of texts: harness.embed("minilm", ["one text", "another"]).

    Args:
        model: Spec of an encoder of dense vectors, or a model of your own.
        texts: Any number of them: a list, or all that a `Collection` takes as its corpus, in the
            order in which they stand there.
        role: document, query or text: what the model is told that they are.
        store: Where embeddings are kept, or its folder; the usual one for None.
        progress: As `evaluate`.

    Returns:
        An array float32 [n, d], as the model makes them (not scaled to length 1).

    Raises:
        InputError: The model is unknown, or makes no dense vectors of single texts.
    """
    listed = read_texts(texts)
    if role not in get_args(Role):
        raise InputError(f"role={role}: expected one of {', '.join(get_args(Role))}")
    label, encoder = _create_encoder(model)
    if isinstance(encoder, CollectionEncoder) or encoder.representation != "dense":
        raise InputError(
            f"{label} makes no dense vectors of single texts: expected a model that does, as minilm"
        )
    parts: dict[str, tuple[Role, Sequence[str]]] = {"texts": (role, listed)}
    with _watch(progress, "embed") as report:
        place = Workplace(_open_store(store), Clock(report))
        made = represent(label, encoder, parts, place).parts["texts"]
    if not isinstance(made, Dense):
        raise InputError(f"{label} makes other vectors than it says: expected dense ones")
    return np.array(made.values)


def _create_encoder(model: object) -> tuple[str, Encoder]:
    """The encoder that is meant, and its name."""
    if not isinstance(model, str):
        name, found = adopt(model)
        if isinstance(found, Retriever):
            raise InputError(f"{name} only ranks: expected a model that makes vectors")
        return name, found
    resolve(model)
    named, index = split_index(model)
    spec = encoder_spec(named)
    if index is not None or spec.name not in ENCODERS:
        raise InputError(f"{model}: expected a model that makes vectors, alone, as minilm")
    return named, ENCODERS.create(spec)


def _name_systems(asked: Sequence[object]) -> list[tuple[str, object]]:
    """Systems with their names. Raises InputError for one that is unknown, and for equal names."""
    found = list[tuple[str, object]]()
    for system in asked:
        if isinstance(system, str):
            resolve(system)
            named, index = split_index(system)
            found.append((named if index in (None, "exact") else f"{named}@{index}", system))
        else:
            found.append(adopt(system))
    _refuse_equal([name for name, _ in found], "system")
    return found


def _name_tasks(asked: Sequence[object]) -> list[tuple[str, str | Task | Collection]]:
    """Tasks with their names, suites replaced by what they hold. Raises as `_name_systems`."""
    found = list[tuple[str, str | Task | Collection]]()
    for task in map(read_task, asked):
        if isinstance(task, str):
            found += [(catalog.task(each).spec, each) for each in catalog.expand([task])]
        else:
            found.append((task.task.name if isinstance(task, Collection) else task.name, task))
    _refuse_equal([name for name, _ in found], "task")
    return found


def _refuse_equal(names: Sequence[str], noun: str) -> None:
    if not names:
        raise InputError(f"there is no {noun}: expected at least one")
    name_it = "set its attribute `name`" if noun == "system" else "give one a name"
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"two {noun}s are called {name}: name each once, or {name_it}")


def _check_names(index: str, rewrite: str, measures: Sequence[str]) -> None:
    """Refuse what is misspelt before anything is computed. Raises InputError."""
    INDEXES.resolve(index)
    REWRITERS.resolve(rewrite)
    choose(measures)


def _evaluate_pairs(
    session: Session,
    systems: Sequence[tuple[str, object]],
    tasks: Sequence[tuple[str, str | Task | Collection]],
    asked: dict[str, Any],
    progress: Progress,
) -> Results:
    """Every system on every task. Raises StoppedError, with what is finished, for Ctrl-C."""
    done, failed = list[Evaluation](), list[Failure]()
    for system, given in systems:
        for task, data in tasks:
            report = prefix(f"{system} on {task}", progress)
            try:
                one = {**asked, "index": choose_index(given, asked["index"])}
                found = replace(session, progress=report).evaluate(given, data, **one)
            except ENDINGS as error:  # a pair that fails stops no other
                failed.append(Failure(system, task, error))
            except KeyboardInterrupt:
                pairs = len(systems) * len(tasks)
                finished = Results(tuple(done), tuple(failed), session.seed)
                raise StoppedError(finished, f"{system} on {task}", pairs) from None
            else:
                done.append(found)
    return Results(tuple(done), tuple(failed), session.seed)


@overload
def load(paths: str | Path) -> Results | Findings: ...  # type: ignore[overload-overlap]
@overload
def load(paths: Sequence[str | Path]) -> Results: ...
def load(paths: str | Path | Sequence[str | Path]) -> Results | Findings:
    """Read what was saved: harness.load("results/*"), harness.load("results/studies/scale-...").

    Args:
        paths: Record files, folders of them, and patterns; of folders and patterns what is no
            record is left out, with a warning that counts it. Or the folder of one study, which is
            the one that holds its page and its numbers.json, or that file.

    Returns:
        For records `Results`: the evaluations in the order in which they were made, without data
        and rankings. For the folder of a study its `Findings`: headline, frames by name and notes,
        without charts.

    Raises:
        InputError: There is nothing to read, or it cannot be read.
    """
    if isinstance(paths, str | Path):
        folder = study_folder(read_path("paths", paths))
        if folder is not None:
            return load_findings(folder).findings
    return results.load(paths)


@contextmanager
def _watch(progress: bool | Progress, title: str) -> Iterator[Progress]:
    """What is told how far work is."""
    if progress is True:
        with terminal.watch(title) as report:
            yield report
    else:
        yield progress or silent
