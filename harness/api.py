"""What scripts and notebooks use: evaluations, searches and vectors by a call."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack, get_args, overload

import numpy as np

from harness import results, terminal
from harness.arrays import Float32
from harness.data import Retrieval, Role
from harness.disk import cache_root
from harness.encoders import ENCODERS, CollectionEncoder, Encoder, encoder_spec
from harness.errors import InputError
from harness.evaluation import Evaluation
from harness.indexes import INDEXES
from harness.measures import Measure
from harness.pipeline.phases import Clock
from harness.pipeline.represent import Workplace, represent
from harness.progress import Progress, silent
from harness.report.findings import load_findings, study_folder
from harness.results import Failure, Results
from harness.rewriting import REWRITERS
from harness.session import Session
from harness.store import Store
from harness.studies import Findings
from harness.systems import Retriever, resolve, split_index
from harness.systems.own import adopt
from harness.tasks import Task, catalog
from harness.tasks.collection import Collection
from harness.vectors import Dense, Run

if TYPE_CHECKING:
    import pandas as pd

Asked = str | Task | Collection


class Options(TypedDict, total=False):
    """What `evaluate` may be told besides systems, tasks and an index; said there."""

    rewrite: str
    measures: Sequence[str]
    store: Store | None
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
def evaluate(
    systems: object,
    tasks: Asked | Many,
    index: str = "exact",
    *,
    rewrite: str = "none",
    measures: Sequence[str] = (),
    store: Store | None = None,
    seed: int = 0,
    latency: int = 0,
    progress: bool | Progress = True,
) -> Evaluation | Results:
    """Measure systems on tasks: harness.evaluate(["bm25", "minilm"], ["limit-small", mine]).

    Args:
        systems: A spec (`minilm@hnsw`), a model or a search of your own; or a list of them.
        tasks: A spec, a `Collection` or a task; or a list of them, suites among them.
        index: For systems that name none.
        rewrite: How queries are rewritten first.
        measures: In place of the tasks' own; the first is the main one.
        store: Where embeddings are kept; the usual one for None.
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
    """
    session = Session(store or Store(cache_root()), seed)
    asked: dict[str, Any] = {
        "index": index,
        "rewrite": rewrite,
        "measures": measures,
        "latency": latency,
    }
    if not isinstance(systems, list | tuple) and isinstance(tasks, Asked):
        with _watch(progress, "evaluate") as report:
            return replace(session, progress=report).evaluate(systems, tasks, **asked)
    rows = _name_systems(systems if isinstance(systems, list | tuple) else [systems])
    columns = _name_tasks([tasks] if isinstance(tasks, Asked) else tasks)
    _check_names(index, rewrite, measures)
    with _watch(progress, "evaluate") as report:
        return _evaluate_pairs(session, rows, columns, asked, report)


def evaluate_run(
    path: str | Path,
    task: Asked,
    *,
    measures: Sequence[str] = (),
    seed: int = 0,
    progress: Progress = silent,
) -> Evaluation:
    """Measure a ranking that another program wrote as a TREC run file.

    Args:
        path: The file.
        task: What it ranks the documents of.
        measures: In place of the task's own; the first is the main one.
        seed: Of bootstraps.
        progress: Called as work goes on.

    Raises:
        InputError: The file or the task cannot be read, or the task ranks nothing.
    """
    session = Session(Store(cache_root()), seed, progress)
    return session.evaluate_run(Path(path), task, measures=measures)


def search(
    system: object,
    collection: Asked,
    k: int = 10,
    *,
    index: str = "exact",
    store: Store | None = None,
    progress: bool | Progress = True,
) -> pd.DataFrame:
    """The best documents of each query: harness.search("minilm@hnsw", collection, k=10).

    Args:
        system: A spec, or a model or a search of your own.
        collection: What is searched, with its queries; judgments are not needed.
        k: Documents of each query.
        index: For a system that names none.
        store: Where embeddings are kept; the usual one for None.
        progress: As `evaluate`.

    Returns:
        Columns query, document, rank (from 1) and score, in the order of queries and ranks.

    Raises:
        InputError: The system is unknown, or the task is none that is searched.
    """
    if k < 1:
        raise InputError(f"k={k}: expected at least 1")
    with _watch(progress, "search") as report:
        session = Session(store or Store(cache_root()), progress=report)
        data = session.task(collection).collection
        run = session.rank(system, collection, depth=k, index=index).run
    return _tabulate(run, data)


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


def embed(
    model: object,
    texts: Sequence[str],
    role: Role = "document",
    *,
    store: Store | None = None,
    progress: bool | Progress = True,
) -> Float32:
    """Vectors of texts: harness.embed("minilm", ["one text", "another"]).

    Args:
        model: Spec of an encoder of dense vectors, or a model of your own.
        texts: Any number of them.
        role: document, query or text: what the model is told that they are.
        store: Where embeddings are kept; the usual one for None.
        progress: As `evaluate`.

    Returns:
        An array float32 [n, d], as the model makes them (not scaled to length 1).

    Raises:
        InputError: The model is unknown, or makes no dense vectors of single texts.
    """
    listed = _check_texts(texts)
    if role not in get_args(Role):
        raise InputError(f"role={role}: expected one of {', '.join(get_args(Role))}")
    label, encoder = _create_encoder(model)
    if isinstance(encoder, CollectionEncoder) or encoder.representation != "dense":
        raise InputError(
            f"{label} makes no dense vectors of single texts: expected a model that does, as minilm"
        )
    parts: dict[str, tuple[Role, Sequence[str]]] = {"texts": (role, listed)}
    with _watch(progress, "embed") as report:
        store = store or Store(cache_root())
        made = represent(label, encoder, parts, Workplace(store, Clock(report))).parts["texts"]
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


def _check_texts(texts: Sequence[str]) -> list[str]:
    """Texts as a list. Raises InputError for one text alone, none, and what is no text."""
    if isinstance(texts, str):
        raise InputError(f"texts={texts[:40]!r}: expected a list of texts")
    listed = list(texts)
    for number, text in enumerate(listed):
        if not isinstance(text, str):
            raise InputError(f"texts[{number}] is {text!r}: expected text")
    if not listed:
        raise InputError("there are no texts: expected at least one")
    return listed


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


def _name_tasks(asked: Sequence[Asked]) -> list[tuple[str, Asked]]:
    """Tasks with their names, suites replaced by what they hold. Raises as `_name_systems`."""
    found = list[tuple[str, Asked]]()
    for task in asked:
        if isinstance(task, str):
            found += [(catalog.task(each).spec, each) for each in catalog.expand([task])]
        else:
            found.append((task.task.name if isinstance(task, Collection) else task.name, task))
    _refuse_equal([name for name, _ in found], "task")
    return found


def _refuse_equal(names: Sequence[str], noun: str) -> None:
    if not names:
        raise InputError(f"there is no {noun}: expected at least one")
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"two {noun}s are called {name}: name each once, or give one a name")


def _check_names(index: str, rewrite: str, measures: Sequence[str]) -> None:
    """Refuse what is misspelt before anything is computed. Raises InputError."""
    INDEXES.resolve(index)
    REWRITERS.resolve(rewrite)
    for measure in measures:
        Measure.parse(measure)


def _evaluate_pairs(
    session: Session,
    systems: Sequence[tuple[str, object]],
    tasks: Sequence[tuple[str, Asked]],
    asked: dict[str, Any],
    progress: Progress,
) -> Results:
    """Every system on every task."""
    done, failed = list[Evaluation](), list[Failure]()
    for system, given in systems:
        for task, data in tasks:
            report = _name_pair(progress, f"{system} on {task}")
            try:
                found = replace(session, progress=report).evaluate(given, data, **asked)
            except Exception as error:  # noqa: BLE001 - a pair that fails stops no other
                failed.append(Failure(system, task, error))
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
        folder = study_folder(Path(paths).expanduser())
        if folder is not None:
            return load_findings(folder).findings
    return results.load(paths)


def _name_pair(progress: Progress, pair: str) -> Progress:
    """Progress that tells the pair, too."""

    def report(stage: str, done: int, total: int, unit: str) -> None:
        progress(f"{pair}: {stage}", done, total, unit)

    return report


@contextmanager
def _watch(progress: bool | Progress, title: str) -> Iterator[Progress]:
    """What is told how far work is."""
    if progress is True:
        with terminal.watch(title) as report:
            yield report
    else:
        yield progress or silent
