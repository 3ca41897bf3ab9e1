"""The command line: with harness.terminal, the only module that prints.

Results go to standard output, progress and errors to standard error. Exit status: 0 done, 1 an
evaluation failed, 2 wrong usage or input, 130 interrupted.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness import terminal
from harness.types import HarnessError, InputError, Progress, Retrieval, reason

if TYPE_CHECKING:
    from harness.encoders import Encoder
    from harness.pipeline import Evaluation
    from harness.records import Record
    from harness.report.tables import Table
    from harness.spec import Registry
    from harness.store import Store

DEFAULT_MODELS = ["minilm", "bm25"]
DEFAULT_TASKS = ["core"]
OUT = Path("results/local")
STUDIES = Path("results/studies")

app = typer.Typer(
    help="Measure text-embedding and retrieval models.\n\n"
    "Example: harness eval --model minilm --model bm25 --task limit-small",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
store_app = typer.Typer(
    help="The embeddings on disk.\n\nExample: harness store prune --limit 10GB",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(store_app, name="store")
study_app = typer.Typer(
    help="Experiments on a model: a page of numbers and a figure.\n\n"
    "Example: harness study geometry --model minilm --task limit-small",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(study_app, name="study")

Plugins = Annotated[
    list[Path] | None,
    typer.Option("--plugin", help="A .py file that registers more, or a .toml file of tasks."),
]
Cache = Annotated[
    Path | None,
    typer.Option("--cache", help="Folder of the store.", envvar="HARNESS_CACHE", show_envvar=True),
]
FormatOption = Annotated[
    str, typer.Option("--format", "-f", help="terminal, markdown, csv, latex or json.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no notes.")]
Json = Annotated[bool, typer.Option("--json", help="As --format json.")]


@app.command("eval")
def eval_(
    model: Annotated[
        list[str] | None,
        typer.Option("--model", "-m", help="Encoder spec, hub id or folder; repeat for more."),
    ] = None,
    task: Annotated[
        list[str] | None, typer.Option("--task", "-t", help="Task spec or suite; repeat for more.")
    ] = None,
    index: Annotated[str, typer.Option("--index", "-i", help="Index spec.")] = "exact",
    rewrite: Annotated[
        str, typer.Option("--rewrite", "-r", help="How queries are rewritten, as rm3 or average.")
    ] = "none",
    measure: Annotated[
        list[str] | None,
        typer.Option("--measure", help="In place of the task's own, as nDCG@10; repeat for more."),
    ] = None,
    run: Annotated[
        list[Path] | None,
        typer.Option("--run", help="Score a TREC run file instead of a model; repeat for more."),
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the records.")] = OUT,
    trec: Annotated[
        Path | None, typer.Option("--trec", help="Folder for run and qrels files as TREC's.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the bootstrap intervals.")] = 0,
    cache: Cache = None,
    plugin: Plugins = None,
    style: FormatOption = "terminal",
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure models on tasks, write the records and print the scores.

    Example: harness eval -m minilm -m bm25,k1=0.9 -t limit-small -t folder:my/collection
    """
    _format(style)
    _plugins(plugin)
    systems: list[str | Path] = [*(model or ([] if run else DEFAULT_MODELS)), *(run or [])]
    tasks = _checked(systems, task or DEFAULT_TASKS, index, rewrite, measure or [])
    began, store = time.time(), _store(cache)
    done: list[tuple[Path, Record]] = []  # not the evaluations: they hold the collections
    failed: list[tuple[str, Exception]] = []
    for system in systems:
        one = partial(
            _one, system, index=index, rewrite=rewrite, measures=measure or [], seed=seed,
            store=store, opened={},
        )  # fmt: skip
        for name in tasks:
            pair = f"{system} on {name}"
            try:
                with terminal.showing(pair, quiet) as progress:
                    found = one(name, progress=progress)
                    done.append((_kept(found, out, trec), found.record))
            except Exception as error:  # one that fails does not stop the others
                if os.environ.get("HARNESS_DEBUG"):
                    raise
                failed.append((pair, error))
                _say(f"failed: {pair}: {_line(error)}")
    _report(done, "json" if json else style)
    if not quiet:
        _notes(done)
    if len(failed) + len(done) > 1:
        _summary(len(done), failed)
    if done and not quiet and not json:
        _next(done[-1][0], len(done))
    removed = store.prune(keep=began)
    if removed and not quiet:
        _say(f"the store was beyond its limit: removed the {len(removed)} least recently used")
    if failed:
        usage = len(systems) * len(tasks) == 1 and isinstance(failed[0][1], InputError)
        raise typer.Exit(2 if usage else 1)


def _checked(
    systems: list[str | Path], tasks: list[str], index: str, rewrite: str, measures: list[str]
) -> list[str]:
    """Tasks with suites expanded; what is misspelt is said before anything is computed."""
    from harness import catalog
    from harness.encoders import ENCODERS, encoder_spec
    from harness.indexes import INDEXES
    from harness.measures import Measure
    from harness.rewriting import REWRITERS

    for system in systems:
        if isinstance(system, str):
            ENCODERS.resolve(encoder_spec(system))
    expanded = catalog.expand(tasks)
    for name in expanded:
        catalog.task(name)
    INDEXES.resolve(index)
    REWRITERS.resolve(rewrite)
    for name in measures:
        Measure.parse(name)
    return expanded


def _one(
    system: str | Path,
    task: str,
    *,
    index: str,
    rewrite: str,
    measures: list[str],
    seed: int,
    store: Store,
    opened: dict[str, Encoder],
    progress: Progress,
) -> Evaluation:
    """Measure one model or run file; a model is opened once and kept in `opened`."""
    from harness.encoders import ENCODERS, encoder_spec
    from harness.pipeline import evaluate, evaluate_run

    if isinstance(system, Path):
        return evaluate_run(system, task, measures=measures, seed=seed, progress=progress)
    if system not in opened:
        progress("open the model", 0, 0, "")
        opened[system] = ENCODERS.create(encoder_spec(system))
    return evaluate(
        system, task, index, rewrite=rewrite, measures=measures, store=store, seed=seed,
        loaded=opened[system], progress=progress,
    )  # fmt: skip


def _kept(found: Evaluation, out: Path, trec_folder: Path | None) -> Path:
    """Write an evaluation's files; returns the record's path."""
    from harness import records, trec

    path = records.save(found.record, found.per_query, out)
    if trec_folder is not None and found.run is not None:
        name = path.stem
        try:
            trec_folder.mkdir(parents=True, exist_ok=True)
            data, tag = found.data, found.record.system.spec
            assert isinstance(data, Retrieval)
            trec.write_run(trec_folder / f"{name}.run", found.run, data.queries, data.corpus, tag)
            trec.write_qrels(trec_folder / f"{name}.qrels", data.qrels, data.queries, data.corpus)
        except OSError as error:
            raise HarnessError(f"{trec_folder}: cannot be written: {reason(error)}") from error
    return path


def _report(done: list[tuple[Path, Record]], style: str) -> None:
    """Print the scores of what was evaluated."""
    from harness.report import tables

    if style == "json":
        print("[" + ",\n".join(record.model_dump_json(indent=2) for _, record in done) + "]")
    elif done:
        found = [record for _, record in done]
        _print([*tables.scores(found, _room(style)), *tables.families(found)], style)


def _notes(done: list[tuple[Path, Record]]) -> None:
    """Say what was noticed and tolerated."""
    for _, record in done:
        for warning in record.warnings:
            _say(f"note: {record.system.spec} on {record.task.spec}: {warning}")


def _summary(done: int, failed: list[tuple[str, Exception]]) -> None:
    """Say again what failed, after everything else."""
    if failed:
        _say(f"{len(failed)} of {len(failed) + done} evaluations failed:")
    for pair, error in failed:
        _say(f"  {pair}: {_line(error)}")


def _next(last: Path, count: int) -> None:
    """Say where the records are and what to do next."""
    _say(f"{count} record{'s' if count > 1 else ''} written under {last.parent.parent}")
    harness = _program()
    _say(f"One, whole:       {harness} show {last}")
    _say(f"All, as a table:  {harness} show {last.parent.parent}")
    _say(f"Your own:         {harness} eval --model path/to/model --task folder:path/to/collection")


def _program() -> str:
    """How to call this program from where the user is."""
    beside = Path(sys.executable).parent / "harness"
    if shutil.which("harness") or not beside.exists():
        return "harness"
    return os.path.relpath(beside)


@app.command()
def tasks(
    name: Annotated[str | None, typer.Argument(help="A task: shows samples of it.")] = None,
    plugin: Plugins = None,
    style: FormatOption = "terminal",
    json: Json = False,
) -> None:
    """List tasks and suites, or show samples of one.

    Example: harness tasks limit-small
    """
    _format(style)
    _plugins(plugin)
    from harness import catalog
    from harness.report import listings

    found = listings.task(catalog.task(name)) if name else listings.tasks()
    _print(found, "json" if json else style)


@app.command()
def models(plugin: Plugins = None, style: FormatOption = "terminal", json: Json = False) -> None:
    """List encoders with their parameters and defaults.

    Example: harness models --format markdown
    """
    from harness.encoders import ENCODERS

    _registry("Encoders", ENCODERS, plugin, "json" if json else style)


@app.command()
def indexes(plugin: Plugins = None, style: FormatOption = "terminal", json: Json = False) -> None:
    """List indexes with their parameters and defaults.

    Example: harness indexes --json
    """
    from harness.indexes import INDEXES

    _registry("Indexes", INDEXES, plugin, "json" if json else style)


@app.command()
def rewritings(
    plugin: Plugins = None, style: FormatOption = "terminal", json: Json = False
) -> None:
    """List the ways to rewrite queries, with their parameters and defaults.

    Example: harness rewritings
    """
    from harness.rewriting import REWRITERS

    _registry("Rewritings", REWRITERS, plugin, "json" if json else style)


@app.command()
def show(
    paths: Annotated[list[Path], typer.Argument(help="Record files, or folders of them.")],
    style: FormatOption = "terminal",
    json: Json = False,
) -> None:
    """Print a record whole, or the scores of several.

    Example: harness show results/local
    """
    _format(style)
    from harness import records
    from harness.report import tables

    found = [record for _, record in records.load_all(paths)]
    if json or style == "json":
        print("[" + ",\n".join(record.model_dump_json(indent=2) for record in found) + "]")
    else:
        one = len(found) == 1
        scored = [*tables.scores(found, _room(style)), *tables.families(found)]
        _print(tables.details(found[0]) if one else scored, style)


StudyModel = Annotated[str, typer.Option("--model", "-m", help="Encoder spec.")]
StudyTask = Annotated[str, typer.Option("--task", "-t", help="Task spec.")]
StudyOut = Annotated[Path, typer.Option("--out", "-o", help="Folder for what is written.")]


@study_app.command()
def geometry(
    model: StudyModel = "minilm",
    task: StudyTask = "limit-small",
    sample: Annotated[int, typer.Option(min=4, help="Vectors of a set looked at.")] = 10_000,
    seed: Annotated[int, typer.Option(min=0, help="Of what is drawn.")] = 0,
    out: StudyOut = STUDIES,
    cache: Cache = None,
    plugin: Plugins = None,
    style: FormatOption = "terminal",
    quiet: Quiet = False,
) -> None:
    """How a model's vectors lie in space, and what is left when they are cut.

    Example: harness study geometry --model minilm --task folder:my/collection
    """
    _format(style)
    _plugins(plugin)
    from harness.report import geometry as report
    from harness.studies import truncation
    from harness.studies.geometry import study

    store = _store(cache)
    with terminal.showing(f"{model} on {task}", quiet) as progress:
        found = study(model, task, store=store, seed=seed, sample=sample, progress=progress)
        curves = {
            how: truncation.curve(model, task, how=how, store=store, progress=progress)
            for how in ("truncate", "pca")
        }
    plain = {how: [asdict(point) for point in points] for how, points in curves.items()}
    tables, figure = report.page(found, curves), report.figure(found, curves)
    _page(out, f"geometry-{model}-{task}", found, {"curves": plain}, tables, figure, style)


@study_app.command()
def capacity(
    model: StudyModel = "minilm",
    task: StudyTask = "limit-small",
    dim: Annotated[
        list[int] | None,
        typer.Option("--dim", min=1, help="Dimension of free embeddings; repeat for more."),
    ] = None,
    k: Annotated[int, typer.Option("--k", min=1, help="Documents to return for a query.")] = 2,
    gamma: Annotated[float, typer.Option(help="Margin of the bound, below 1.")] = 0.1,
    seed: Annotated[int, typer.Option(min=0, help="Of the free embeddings.")] = 42,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    out: StudyOut = STUDIES,
    cache: Cache = None,
    plugin: Plugins = None,
    style: FormatOption = "terminal",
    quiet: Quiet = False,
) -> None:
    """Where a model stands against what its dimension could do.

    Example: harness study capacity --model minilm --task limit-small --dim 4 --dim 5 --dim 6
    """
    _format(style)
    _plugins(plugin)
    from harness.report import capacity as report
    from harness.studies.capacity import study

    store = _store(cache)
    with terminal.showing(f"{model} on {task}", quiet) as progress:
        found = study(
            model, task, dims=dim or [4, 5, 6], k=k, gamma=gamma, seed=seed, device=device,
            folder=store.root / "capacity", store=store, progress=progress,
        )  # fmt: skip
    tables, figure = report.page(found), report.figure(found)
    _page(out, f"capacity-{model}-{task}", found, {}, tables, figure, style)


def _page(
    out: Path, name: str, study: Any, about: dict[str, Any],
    tables: list[Table], figure: Any, style: str,
) -> None:  # fmt: skip
    """Print a study's page, and keep it with its figure."""
    from harness import records
    from harness.disk import slug
    from harness.report import pages

    about |= {"created": records.stamp(), "environment": records.environment()}
    written = pages.save(out / slug(name), study, about, tables, figure)
    _print(tables, style)
    for path in written:
        _say(f"written: {path}")


@store_app.command("list")
def store_list(cache: Cache = None, style: FormatOption = "terminal", json: Json = False) -> None:
    """List what the store holds, the least recently used first.

    Example: harness store list
    """
    _format(style)
    from harness.report import listings

    store = _store(cache)
    _print([listings.spaces(store)], "json" if json else style)


@store_app.command()
def verify(cache: Cache = None, quiet: Quiet = False) -> None:
    """Test every checksum; damaged shards are set aside and made anew when needed.

    Example: harness store verify
    """
    with terminal.showing("store", quiet) as progress:
        whole, damaged = _store(cache).verify(progress=progress)
    for path in damaged:
        _say(f"damaged: {path}")
    print(f"{whole} whole, {len(damaged)} damaged")
    if damaged:
        raise typer.Exit(1)


@store_app.command()
def prune(
    limit: Annotated[
        str, typer.Option("--limit", help="Size to leave, as 500MB or 10GB; 0 empties.")
    ],
    cache: Cache = None,
) -> None:
    """Remove the least recently used until a size is left.

    Example: harness store prune --limit 10GB
    """
    removed = _store(cache).prune(_bytes(limit))
    freed = sum(space.bytes for space in removed)
    print(f"removed {len(removed)} encoder spaces, {freed / 1e6:,.1f} MB")


def _registry(title: str, registry: Registry[Any], plugin: Plugins, style: str) -> None:
    _format(style)
    _plugins(plugin)
    from harness.report import listings

    _print([listings.registry(title, registry)], style)


def _print(tables: list[Table], style: str) -> None:
    from harness.report.tables import write

    if style == "terminal":
        terminal.show(tables)
    else:
        print(write(tables, style))


def _room(style: str) -> int | None:
    return 5 if style == "terminal" else None


def _format(style: str) -> None:
    from harness.report.tables import FORMATS

    if style not in FORMATS:
        raise InputError(f"--format {style}: expected one of {', '.join(FORMATS)}")


def _plugins(paths: list[Path] | None) -> None:
    from harness import catalog
    from harness.spec import load_plugin

    for path in paths or []:
        catalog.add(path) if path.suffix == ".toml" else load_plugin(path)


def _store(cache: Path | None) -> Store:
    from harness.store import DEFAULT_LIMIT, Store, default_root

    limit = os.environ.get("HARNESS_CACHE_LIMIT")
    return Store(cache or default_root(), limit=_bytes(limit) if limit else DEFAULT_LIMIT)


def _bytes(text: str) -> int:
    """A size as people write it: 500MB, 10GB, 1.5 GB, 0."""
    units = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
    number = text.strip().rstrip("BKMGTbkmgt ")
    unit = text.strip()[len(number) :].strip().upper()
    try:
        size = int(float(number) * units[unit])
    except (KeyError, ValueError, OverflowError):
        size = -1
    if size < 0:
        raise InputError(f"size {text!r}: expected a number and KB, MB, GB or TB")
    return size


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _line(error: BaseException) -> str:
    """An error in one line; one that the harness did not foresee with its type."""
    if isinstance(error, HarnessError):
        return " ".join(str(error).split())
    return f"{type(error).__name__}: {reason(error)} (HARNESS_DEBUG=1 shows where)"


def main() -> None:
    """Run a command; errors are one line on standard error."""
    try:
        try:
            app()
        finally:
            sys.stdout.flush()  # here, where a reader that has gone away can be answered
    except (KeyboardInterrupt, SystemExit) as error:
        if isinstance(error, SystemExit) and error.code != 130:  # which typer makes of Ctrl-C
            raise
        _say("interrupted: whole shards and records are kept; run the same command to go on")
        raise SystemExit(130) from None
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None
    except Exception as error:
        if os.environ.get("HARNESS_DEBUG"):
            raise
        _say(f"error: {_line(error)}")
        raise SystemExit(2 if isinstance(error, InputError) else 1) from None
