"""The commands that measure and show records: eval, show."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypedDict

import typer

from harness import terminal
from harness.cli.common import (
    OUT,
    Cache,
    FormatOption,
    Fresh,
    Latency,
    Made,
    Plugins,
    Quiet,
    Records,
    Seed,
    is_misuse,
    load_plugins,
    one_line,
    open_store,
    program,
    room,
    say,
    show_tables,
)
from harness.wording import count

if TYPE_CHECKING:
    from harness.evaluation import Evaluation
    from harness.records import Record
    from harness.session import Session
    from harness.store import Store

DEFAULT_MODELS = ["minilm", "bm25"]
DEFAULT_TASKS = ["core"]

Done = tuple[Path, "Record"]  # not the evaluation: it holds the collection
Failed = tuple[str, Exception]  # what of, and why


SystemSpecs = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        "-m",
        metavar="SYSTEM",
        help="What to measure: a name, a hub id, a folder or a spec, as bm25,k1=0.9 or "
        "minilm@hnsw; repeat for more. [default: minilm and bm25]",
    ),
]
TaskSpecs = Annotated[
    list[str] | None,
    typer.Option(
        "--task",
        "-t",
        metavar="TASK",
        help="What to measure on: a task, a suite or your own data, as limit-small, core or "
        "folder:my/collection; repeat for more. [default: core]",
    ),
]
IndexSpec = Annotated[
    str,
    typer.Option(
        "--index",
        "-i",
        metavar="INDEX",
        help="Index that is searched, as hnsw,M=32: see harness indexes.",
    ),
]
RewriteSpec = Annotated[
    str,
    typer.Option(
        "--rewrite",
        "-r",
        metavar="REWRITING",
        help="How queries are rewritten before the search, as rm3: see harness rewritings.",
    ),
]
MeasureNames = Annotated[
    list[str] | None,
    typer.Option(
        "--measure",
        metavar="MEASURE",
        help="Measure, as nDCG@10, in place of the task's own; the first is the main one; "
        "repeat for more. See harness measures.",
    ),
]
RunFiles = Annotated[
    list[Path] | None,
    typer.Option(
        "--run",
        metavar="FILE",
        help="Score a ranking that another program wrote, a TREC run file; repeat for more. "
        "Without --model no model is measured.",
    ),
]
TrecFolder = Annotated[
    Path | None,
    typer.Option(
        "--trec",
        metavar="FOLDER",
        help="Folder to also write rankings and judgments to, as TREC's files.",
    ),
]

app = typer.Typer()


@app.command("eval")
def evaluate(
    model: SystemSpecs = None,
    task: TaskSpecs = None,
    index: IndexSpec = "exact",
    rewrite: RewriteSpec = "none",
    measure: MeasureNames = None,
    run: RunFiles = None,
    out: Made = OUT,
    trec: TrecFolder = None,
    latency: Latency = 0,
    seed: Seed = 0,
    cache: Cache = None,
    fresh: Fresh = False,
    plugin: Plugins = None,
    style: FormatOption = "terminal",
    quiet: Quiet = False,
) -> None:
    """Measure models on tasks.

    Writes one record per model and task, and prints the scores with 95% intervals.

    Example: harness eval -m minilm -m bm25,k1=0.9 -t limit-small -t folder:my/collection
    """
    load_plugins(plugin)
    systems: list[str | Path] = [*(model or ([] if run else DEFAULT_MODELS)), *(run or [])]
    began, batch = time.time(), Batch(open_store(cache, fresh=fresh), seed, out, trec, quiet=quiet)
    asked: Asked = {
        "index": index, "rewrite": rewrite, "measures": measure or [], "latency": latency,
    }  # fmt: skip
    done, failed = measure_all(systems, task or DEFAULT_TASKS, asked, batch)
    _report([record for _, record in done], style)
    say_notes(done, quiet=quiet)
    if len(failed) + len(done) > 1:
        _say_failed(len(done), failed)
    if done and not quiet and style != "json":
        _say_next(done[-1][0], len(done))
    removed = batch.store.prune(keep=began)
    if removed and not quiet:
        say(f"the store was beyond its limit: removed {count(len(removed), 'encoder space')}")
    end(done, failed)


class Asked(TypedDict, total=False):
    """How systems are searched and measured; see `Session.evaluate`."""

    index: str
    rewrite: str
    measures: Sequence[str]
    latency: int


@dataclass(frozen=True)
class Batch:
    """Where evaluations find embeddings and leave files.

    Attributes:
        store: Where embeddings are kept.
        seed: Of bootstraps and tests.
        out: Folder for the records.
        trec: Folder for run and qrels files, if they are wanted.
        quiet: Whether no progress is shown.
    """

    store: Store
    seed: int
    out: Path
    trec: Path | None = None
    quiet: bool = field(kw_only=True)


def measure_all(
    systems: Sequence[str | Path], tasks: list[str], asked: Asked, batch: Batch
) -> tuple[list[Done], list[Failed]]:
    """Measure every system on every task, and write the records; one that fails stops no other."""
    from harness.encoders.models import MODELS

    tasks = _check(systems, tasks, asked)
    from harness.session import Session

    session, done, failed = Session(batch.store, batch.seed), list[Done](), list[Failed]()
    session.lenient = len(tasks) > 1
    for system in systems:
        with MODELS.scope():  # what one system needs stays for all tasks
            for name in tasks:
                pair = f"{system} on {name}"
                with _going_on(pair, session, failed, quiet=batch.quiet):
                    _warn_of_no_trec(session, name, batch)
                    found = _measure_one(session, system, name, asked)
                    done.append((_keep(found, batch.out, batch.trec), found.record))
    return done, failed


@contextmanager
def _going_on(pair: str, session: Session, failed: list[Failed], *, quiet: bool) -> Iterator[None]:
    """Show how far an evaluation is; one that fails is said and noted, and stops no other."""
    try:
        with terminal.showing(pair, quiet) as progress:
            session.progress = progress
            yield
    except Exception as error:
        if os.environ.get("HARNESS_DEBUG"):
            raise
        failed.append((pair, error))
        say(f"failed: {pair}: {one_line(error)}")


def measure_like(
    known: Sequence[Record], model: str, batch: Batch
) -> tuple[list[Done], dict[str, Exception]]:
    """Measure a model on tasks that others were measured on, searched and judged as they were.

    Returns:
        What was measured, and by task why it was not; one that fails stops no other.

    Raises:
        InputError: The model is unknown, said before anything is computed.
    """
    from harness.encoders.models import MODELS
    from harness.session import Session
    from harness.systems import choose_index, resolve

    resolve(model)
    session = Session(batch.store, batch.seed, lenient=True)
    done, failed = list[Done](), list[Failed]()
    with MODELS.scope():  # what the model needs stays for all tasks
        for record in known:
            pair = f"{model} on {record.task.spec}"
            with _going_on(pair, session, failed, quiet=batch.quiet):
                found = session.evaluate(
                    model,
                    record.task.spec,
                    index=choose_index(model, record.index.spec if record.index else "exact"),
                    rewrite=record.rewriting.spec if record.rewriting else "none",
                    measures=list(record.scores),
                )
                done.append((_keep(found, batch.out, batch.trec), found.record))
    at = {f"{model} on {record.task.spec}": record.task.spec for record in known}
    return done, {at[pair]: error for pair, error in failed}


def end(done: Sequence[Done], failed: Sequence[Failed]) -> None:
    """Exit with the status that failures ask for, if there are any.

    That is 1, but 2 where the only evaluation that was asked for was asked wrongly.
    """
    if failed:
        usage = len(failed) + len(done) == 1 and is_misuse(failed[0][1])
        raise typer.Exit(2 if usage else 1)


def _check(systems: Sequence[str | Path], tasks: list[str], asked: Asked) -> list[str]:
    """Tasks with suites expanded; what is misspelt is said before anything is computed."""
    from harness.indexes import INDEXES
    from harness.measures.asked import Measure
    from harness.rewriting import REWRITERS
    from harness.systems import refuse_idle_index, resolve
    from harness.tasks import catalog

    for system in systems:
        if isinstance(system, str):
            resolve(system)
    expanded = catalog.expand(tasks)
    for name in expanded:
        catalog.task(name)
    INDEXES.resolve(index := asked.get("index", "exact"))
    refuse_idle_index([system for system in systems if isinstance(system, str)], index)
    REWRITERS.resolve(asked.get("rewrite", "none"))
    for name in asked.get("measures", ()):
        Measure.parse(name)
    return expanded


def _warn_of_no_trec(session: Session, task: str, batch: Batch) -> None:
    """Refuse, or of several tasks note, that a task has no rankings to write."""
    if batch.trec:
        from harness.tasks.idle import refuse_idle

        asked = {"trec": batch.trec}
        for note in refuse_idle(session.task(task), asked, lenient=session.lenient):
            if not batch.quiet:
                say(f"note: {task}: {note}")


def _measure_one(session: Session, system: str | Path, task: str, asked: Asked) -> Evaluation:
    """Measure one system or run file."""
    from harness.systems import choose_index

    if isinstance(system, Path):
        return session.evaluate_run(system, task, measures=asked.get("measures", ()))
    asked = {**asked, "index": choose_index(system, asked.get("index", "exact"))}
    return session.evaluate(system, task, **asked)


def _keep(found: Evaluation, out: Path, trec_folder: Path | None) -> Path:
    """Write an evaluation's files; returns the record's path."""
    from harness import disk, records
    from harness.data import Retrieval
    from harness.sources import trec

    path = records.save(found.record, found.per_query, out)
    data = found.data
    if trec_folder is not None and found.run is not None and isinstance(data, Retrieval):
        name, tag = path.stem, found.record.system.spec
        with disk.writing(trec_folder):
            trec_folder.mkdir(parents=True, exist_ok=True)
            trec.write_run(trec_folder / f"{name}.run", found.run, data.queries, data.corpus, tag)
            trec.write_qrels(trec_folder / f"{name}.qrels", data.qrels, data.queries, data.corpus)
    return path


def _report(records: Sequence[Record], style: str, *, whole: bool = False) -> None:
    """Print records as data, or their scores. whole: all that a single one holds, for people."""
    from harness.report import data, tables
    from harness.results import make_rows

    if style == "json":
        print("[" + ",\n".join(record.model_dump_json(indent=2) for record in records) + "]")
    elif style == "csv":
        print(data.write({"scores": make_rows(records)}, style))
    elif records:
        scored = [*tables.scores(records, room(style)), *tables.families(records)]
        show_tables(tables.details(records[0]) if whole else scored, style)


def say_notes(done: Sequence[Done], *, quiet: bool) -> None:
    """Say what was noticed and tolerated."""
    for _, record in () if quiet else done:
        for warning in record.warnings:
            say(f"note: {record.name} on {record.task.spec}: {warning}")


def _say_failed(done: int, failed: Sequence[Failed]) -> None:
    """Say how many failed, and which, after everything else; why was said when it happened."""
    if failed:
        pairs = ", ".join(pair for pair, _ in failed)
        say(f"{len(failed)} of {len(failed) + done} evaluations failed: {pairs}")


def _say_next(last: Path, records: int) -> None:
    """Say where the records are and what to do next."""
    say(f"{count(records, 'record')} written under {last.parent.parent}")
    harness = program()
    say(f"One, whole:       {harness} show {last}")
    say(f"All, as a table:  {harness} show {last.parent.parent}")
    say(f"Your own:         {harness} eval --model path/to/model --task folder:path/to/collection")


@app.command()
def show(
    paths: Records,
    plugin: Plugins = None,
    style: FormatOption = "terminal",
) -> None:
    """Show one record in full, or the scores of several as a table.

    Example: harness show results/local
    """
    load_plugins(plugin)
    from harness import records

    found = [record for _, record in records.load_all(paths)]
    _report(found, style, whole=len(found) == 1)
