"""The commands that set systems side by side: leaderboard, compare."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

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
    Seed,
    load_plugins,
    open_store,
    say,
    show_tables,
)
from harness.cli.evaluate import (
    DEFAULT_TASKS,
    Batch,
    Done,
    Failed,
    end,
    measure_all,
    say_notes,
)
from harness.disk import foreign
from harness.errors import HarnessError, InputError
from harness.wording import count, tell_idle

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from harness.board import Board
    from harness.board.standings import Standings
    from harness.progress import Progress

RECORDS = Path("results")

app = typer.Typer()

Ranked = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="RECORDS",
        help="Records and MTEB's result files: .json or folders. [default: results]",
    ),
]
Models = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        "-m",
        metavar="SYSTEM",
        help="System to measure now, its records ranked with the others, as minilm@int8; "
        "repeat for more.",
    ),
]
Tasks = Annotated[
    list[str] | None,
    typer.Option(
        "--task",
        "-t",
        metavar="TASK",
        help="Task or suite that --model is measured on; repeat for more. [default: core]",
    ),
]
Order = Annotated[
    Literal["borda", "mean"], typer.Option(help="Rank by Borda points or mean score.")
]
Common = Annotated[bool, typer.Option("--common", help="Rank by the tasks that every system has.")]
FixedTasks = Annotated[
    bool, typer.Option("--fixed-tasks", help="Treat tasks as fixed: draw only queries.")
]
Alpha = Annotated[
    float, typer.Option(metavar="SHARE", help="Significance level of groups, 0 to 1.")
]
Subsets = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME", help="Subset of MTEB's tasks that counts, as en; repeat for more."
    ),
]
Splits = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME",
        help="Split that counts of MTEB's tasks that have it, as test; repeat for more.",
    ),
]
Families = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help='JSON file of families of MTEB tasks: {"STS12": "STS"}.'),
]
Loose = Annotated[
    bool,
    typer.Option("--loose", help="Join revisions of MTEB's data and models, as its board does."),
]
Refused = Annotated[bool, typer.Option("--refused", help="List the files left out, with reasons.")]
Most = Annotated[
    int | None,
    typer.Option("--rows", "-n", min=1, metavar="N", help="Show at most so many systems."),
]
Page = Annotated[
    Path | None,
    typer.Option("--html", metavar="FILE", help="Also write a page for browsers, as board.html."),
]
WithTexts = Annotated[
    bool,
    typer.Option(
        "--texts",
        help="Show texts of queries in the page: loads the tasks that the records name, so use it "
        "with records that you trust.",
    ),
]
Figures = Annotated[
    list[Path] | None,
    typer.Option(metavar="PATH", help="Study's folder, or SVG, to put on the --html page."),
]


@app.command()
def leaderboard(
    paths: Ranked = None,
    model: Models = None,
    task: Tasks = None,
    latency: Latency = 0,
    out: Made = OUT,
    order: Order = "borda",
    common: Common = False,
    fixed_tasks: FixedTasks = False,
    alpha: Alpha = 0.05,
    subset: Subsets = None,
    split: Splits = None,
    families: Families = None,
    loose: Loose = False,
    refused: Refused = False,
    rows: Most = None,
    html: Page = None,
    texts: WithTexts = False,
    figure: Figures = None,
    seed: Seed = 0,
    cache: Cache = None,
    fresh: Fresh = False,
    plugin: Plugins = None,
    style: FormatOption = "terminal",
    quiet: Quiet = False,
) -> None:
    """Rank systems by their records.

    By mean, Borda and Kemeny, with intervals, groups of equals, and quality against cost.

    Example: harness leaderboard results/local --html leaderboard.html

    Example: harness leaderboard -m bm25 -m minilm@int8 -m rrf:bm25+minilm -t core
    """
    load_plugins(plugin)
    from harness.board import entries, load, standings
    from harness.report import leaderboard as report

    ordering = standings.Ordering(
        order, common=common, fixed_tasks=fixed_tasks, alpha=alpha, seed=seed
    )
    reading = entries.MtebReading(
        subset or (), split or (), _read_families(families), strict=not loose
    )
    batch = Batch(open_store(cache, fresh=fresh), seed, out, quiet=quiet)
    done, failed = _measure_first(model, task, latency, batch)
    read = [*(paths or []), *(path for path, _ in done)]
    if model and not read:
        end(done, failed)
    with terminal.showing("leaderboard", quiet) as progress:
        board = load(read or [RECORDS], reading, progress=progress)
        _refuse_idle(board, subset=subset, split=split, families=families, loose=loose)
        ranked = standings.standings(board, ordering, progress)
        said = html and _write_page(board, ranked, html, figure or (), progress, texts=texts)
    tables = report.page(board, ranked, details=refused, most=rows)
    show_tables(tables, style, lambda: report.data(board, ranked, rows))
    if said and not quiet:
        say(said)
    end(done, failed)


def _measure_first(
    models: list[str] | None, tasks: list[str] | None, latency: int, batch: Batch
) -> tuple[list[Done], list[Failed]]:
    """Measure the systems that were named, before records are read."""
    if not models:
        return [], []
    done, failed = measure_all(models, tasks or DEFAULT_TASKS, {"latency": latency}, batch)
    say_notes(done, quiet=batch.quiet)
    if done and not batch.quiet:
        say(f"{count(len(done), 'record')} written under {batch.out}")
    return done, failed


def _refuse_idle(board: Board, **given: object) -> None:
    """Refuse options of MTEB's results where no file is one. Raises InputError."""
    idle = [f"--{name}" for name, value in given.items() if value]
    if idle and not board.refused and all(entry.subject for entry in board.entries.values()):
        raise InputError(f"{tell_idle(idle)}: none of these is a result of MTEB")


def _write_page(
    board: Board,
    ranked: Standings,
    path: Path,
    figures: Sequence[Path],
    progress: Progress,
    *,
    texts: bool,
) -> str:
    """Write the page for the browser; returns what to say of it."""
    from harness.report import page

    known = partial(_read_texts, board) if texts else None
    size = page.write(board, ranked, path, texts=known, figures=figures, progress=progress)
    return f"written: {path} ({size / 1e6:,.1f} MB)"


def _read_texts(board: Board, task: str) -> Mapping[str, str]:
    """Query texts by id of a task that is the one that its records name; else none."""
    from harness import records
    from harness.data import Retrieval
    from harness.tasks import catalog

    entries = (entry for (_, own), entry in board.entries.items() if own == task)
    path = next((entry.path for entry in entries if entry.path), None)
    try:
        record = records.load(path) if path else None
        data = catalog.task(record.task.spec).load() if record else None
    except HarnessError:
        return {}
    if (
        not isinstance(data, Retrieval)
        or not record
        or data.fingerprint() != record.task.fingerprint
    ):
        return {}
    return dict(zip(data.queries.ids, data.queries.texts, strict=True))


def _read_families(path: Path | None) -> dict[str, str]:
    """The families of MTEB's tasks that a file names, if there is one."""
    if path is None:
        return {}
    found = foreign.read_json(path)
    if not isinstance(found, dict) or not all(isinstance(v, str) for v in found.values()):
        raise InputError(f"{path}: expected an object of families by task")
    return found


@app.command()
def compare(
    a: Annotated[
        Path,
        typer.Argument(metavar="ONE", help="Records of one system, or a study: a file or folder."),
    ],
    b: Annotated[
        Path,
        typer.Argument(metavar="OTHER", help="Records of the other system, or the other study."),
    ],
    seed: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="Random seed, of records. [default: 0]")
    ] = None,
    style: FormatOption = "terminal",
    quiet: Quiet = False,
) -> None:
    """Compare two systems query by query, or two runs of a study.

    Shows the difference, first less second, with intervals, p values, wins and losses; of folders
    of studies, each value that differs.

    Example: harness compare results/local/minilm results/local/bm25
    """
    from harness import compare as comparing
    from harness.report import differences, study_differences

    studies = study_differences.read_both(a, b)
    if studies:
        if seed is not None:
            raise InputError("--seed plays no part where studies are compared: nothing is drawn")
        page = study_differences.page(*studies)
        show_tables(page, style, lambda: study_differences.data(*studies))
        return
    with terminal.showing("compare", quiet) as progress:
        one, other = comparing.side([a]), comparing.side([b])
        found = comparing.compare(one, other, seed=seed or 0, progress=progress)
    show_tables(differences.page(found), style, lambda: differences.data(found))
    if not found.differences:
        raise InputError(f"nothing was compared: {': '.join(found.refused[0])}")
