"""The commands that decide with records: leaderboard, compare, gate, baseline."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from harness import terminal
from harness.cli.common import (
    OUT,
    Cache,
    FormatOption,
    Fresh,
    Json,
    Plugins,
    Quiet,
    check_format,
    group,
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
    measure_like,
    say_notes,
)
from harness.errors import HarnessError, InputError, reason

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from harness.board import Board
    from harness.board.standings import Standings
    from harness.gate import Gate
    from harness.progress import Progress

RECORDS = Path("results")
CANNOT_JUDGE = 2  # exit status of the gate, whatever else goes wrong: 1 is a verdict

app = typer.Typer()
baseline_app = group(
    "Freeze records as a baseline for the gate.\n\n"
    "Example: harness baseline freeze results/minilm --out baselines/minilm"
)

Records = Annotated[
    list[Path] | None,
    typer.Argument(help="Records and MTEB's result files: .json or folders. [default: results]"),
]
Seed = Annotated[int, typer.Option(min=0, help="Random seed.")]


Models = Annotated[
    list[str] | None,
    typer.Option("--model", "-m", help="Measure this first, as minilm@int8; repeat for more."),
]
Tasks = Annotated[
    list[str] | None,
    typer.Option("--task", "-t", help="Task or suite for --model; repeat. [default: core]"),
]
Latency = Annotated[
    int, typer.Option(min=0, help="Queries to ask one by one, to time each; 0 times none.")
]
Made = Annotated[Path, typer.Option("--out", "-o", help="Folder to write new records to.")]
Order = Annotated[
    Literal["borda", "mean"], typer.Option(help="Rank by Borda points or mean score.")
]
Common = Annotated[bool, typer.Option("--common", help="Rank by the tasks that every system has.")]
FixedTasks = Annotated[
    bool, typer.Option("--fixed-tasks", help="Treat tasks as fixed: draw only queries.")
]
Alpha = Annotated[float, typer.Option(help="Significance level of groups, 0 to 1.")]
Subsets = Annotated[
    list[str] | None, typer.Option(help="Subset of MTEB's tasks that counts, as en; repeat.")
]
Families = Annotated[
    Path | None, typer.Option(help='JSON file of families of MTEB tasks: {"STS12": "STS"}.')
]
Loose = Annotated[
    bool, typer.Option("--loose", help="Merge dataset revisions, as MTEB's board does.")
]
Refused = Annotated[bool, typer.Option("--refused", help="List the files left out, with reasons.")]
Most = Annotated[
    int | None, typer.Option("--rows", "-n", min=1, help="Show at most so many systems.")
]
Page = Annotated[
    Path | None, typer.Option("--html", help="Also write a page for browsers, as board.html.")
]
Figures = Annotated[
    list[Path] | None, typer.Option(help="Study's folder, or SVG, to put on the --html page.")
]


@app.command()
def leaderboard(
    paths: Records = None,
    model: Models = None,
    task: Tasks = None,
    latency: Latency = 0,
    out: Made = OUT,
    order: Order = "borda",
    common: Common = False,
    fixed_tasks: FixedTasks = False,
    alpha: Alpha = 0.05,
    subset: Subsets = None,
    families: Families = None,
    loose: Loose = False,
    refused: Refused = False,
    rows: Most = None,
    html: Page = None,
    figure: Figures = None,
    seed: Seed = 0,
    cache: Cache = None,
    fresh: Fresh = False,
    plugin: Plugins = None,
    style: FormatOption = "terminal",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Rank systems by their records.

    By mean, Borda and Kemeny, with intervals, groups of equals, and quality against cost.

    Example: harness leaderboard results/local --html leaderboard.html

    Example: harness leaderboard -m bm25 -m minilm@int8 -m rrf:bm25+minilm -t core
    """
    check_format(style)
    load_plugins(plugin)
    store = open_store(cache, fresh=fresh)
    done, failed = _measure_first(model, task, latency, Batch(store, seed, out, quiet=quiet))
    read = [*(paths or []), *(path for path, _ in done)]
    if model and not read:
        end(done, failed)
    from harness.board.standings import Ordering, standings
    from harness.report import leaderboard as report

    ordering = Ordering(order, common=common, fixed_tasks=fixed_tasks, alpha=alpha, seed=seed)
    named, said = _json(families), None
    with terminal.showing("leaderboard", quiet) as progress:
        board = _load(read or [RECORDS], subset, named, progress, strict=not loose)
        ranked = standings(board, ordering, progress)
        if html:
            said = _html(board, ranked, html, figure or (), progress)
    if as_json or style == "json":
        print(report.to_json(board, ranked, rows))
    else:
        show_tables(report.page(board, ranked, details=refused, most=rows), style)
    if said and not quiet:
        say(said)
    end(done, failed)


def _measure_first(
    models: list[str] | None, tasks: list[str] | None, latency: int, batch: Batch
) -> tuple[list[Done], list[Failed]]:
    """Measure the systems that were named, before records are read."""
    if tasks and not models:
        raise InputError("--task is what --model is measured on: name a model too")
    if not models:
        return [], []
    done, failed = measure_all(models, tasks or DEFAULT_TASKS, {"latency": latency}, batch)
    say_notes(done, quiet=batch.quiet)
    return done, failed


def _load(
    paths: Sequence[Path],
    subsets: Sequence[str] | None,
    families: Mapping[str, str] | None,
    progress: Progress,
    *,
    strict: bool,
) -> Board:
    from harness.board import load

    return load(paths, subsets=subsets or (), families=families, strict=strict, progress=progress)


def _html(
    board: Board, ranked: Standings, path: Path, figures: Sequence[Path], progress: Progress
) -> str:
    """Write the page for the browser; returns what to say of it."""
    from harness.report import page

    size = page.write(board, ranked, path, texts=_texts, figures=figures, progress=progress)
    return f"written: {path} ({size / 1e6:,.1f} MB)"


def _texts(task: str) -> Mapping[str, str]:
    """Query texts by id of a task that can be loaded without a network; else none."""
    from harness.data import Retrieval
    from harness.tasks import catalog

    try:
        asked = catalog.task(task)
        if asked.source.name in ("hub", "mteb", "irds"):
            return {}
        data = asked.load()
    except HarnessError:
        return {}
    if not isinstance(data, Retrieval):
        return {}
    return dict(zip(data.queries.ids, data.queries.texts, strict=True))


def _json(path: Path | None) -> dict[str, str] | None:
    """The families of MTEB's tasks that a file names, if there is one."""
    if path is None:
        return None
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not readable JSON: {reason(error)}") from None
    if not isinstance(found, dict) or not all(isinstance(v, str) for v in found.values()):
        raise InputError(f"{path}: expected an object of families by task")
    return found


@app.command()
def compare(
    a: Annotated[Path, typer.Argument(help="Records of one system, or a study: a file or folder.")],
    b: Annotated[Path, typer.Argument(help="Records of the other system, or the other study.")],
    seed: Seed = 0,
    style: FormatOption = "terminal",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Compare two systems query by query, or two runs of a study.

    Shows the difference, first less second, with intervals, p values, wins and losses; of folders
    of studies, each value that differs.

    Example: harness compare results/local/minilm results/local/bm25
    """
    check_format(style)
    from harness import compare as comparing
    from harness.report import differences, study_differences

    style = "json" if as_json else style
    studies = study_differences.read_both(a, b)
    if studies:
        show_tables(study_differences.page(*studies), style)
        return
    with terminal.showing("compare", quiet) as progress:
        one, other = comparing.side([a]), comparing.side([b])
        found = comparing.compare(one, other, seed=seed, progress=progress)
    show_tables(differences.page(found), style)


@baseline_app.command()
def freeze(
    paths: Annotated[list[Path], typer.Argument(help="Records: .json files, or folders of them.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write the baseline to.")],
    replace: Annotated[
        bool, typer.Option("--replace", help="Overwrite a baseline that is there.")
    ] = False,
) -> None:
    """Copy one system's newest records, with checksums, to commit.

    Example: harness baseline freeze results/minilm --out baselines/minilm
    """
    from harness import gate as gates

    kept = gates.freeze(paths, out, replace=replace)
    print(f"{len(kept)} records frozen in {out}")


Baseline = Annotated[
    str | None,  # as a path, nothing and the folder here would be the same
    typer.Option(
        "--baseline", "-b", metavar="PATH", help="Folder that harness baseline freeze wrote."
    ),
]
Candidates = Annotated[
    list[Path] | None, typer.Argument(help="Records of the candidate: files or folders.")
]
Candidate = Annotated[
    str | None,
    typer.Option(
        "--model", "-m", help="Measure this candidate first, on the tasks of the baseline."
    ),
]
Policy = Annotated[
    Path | None,
    typer.Option("--policy", help="TOML file of tolerances and limits: see docs/ci.md."),
]
Junit = Annotated[Path | None, typer.Option("--junit", help="Write JUnit XML here.")]
Markdown = Annotated[Path | None, typer.Option("--markdown", help="Write Markdown here.")]
Github = Annotated[
    bool,
    typer.Option("--github", help="Annotate in GitHub Actions, and add to the step's summary."),
]


@app.command()
def gate(
    paths: Candidates = None,
    baseline: Baseline = None,
    model: Candidate = None,
    policy: Policy = None,
    junit: Junit = None,
    markdown: Markdown = None,
    github: Github = False,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write new records to.")] = OUT,
    seed: Seed = 0,
    cache: Cache = None,
    fresh: Fresh = False,
    plugin: Plugins = None,
    style: FormatOption = "terminal",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Test whether a candidate is worse than a baseline.

    Exit status: 0 passes, 1 regressed, 2 cannot judge.

    Example: harness gate --model path/to/model --baseline baselines/minilm --policy gate.toml
    """
    check_format(style)
    load_plugins(plugin)
    from harness import compare as comparing
    from harness import gate as gates
    from harness.gate import policy as policies

    if not baseline:
        raise InputError("the gate needs --baseline DIR, of `harness baseline freeze`")
    if not paths and not model:
        raise InputError("name the candidate: its records, or --model SPEC to evaluate it")
    held, read = gates.thaw(Path(baseline)), list(paths or [])
    rules = policies.read_policy(policy) if policy else policies.Policy()
    store = open_store(cache, fresh=fresh)
    with terminal.showing("gate", quiet) as progress:
        if model:
            known = [record for _, record in held.tasks.values()]
            done = measure_like(known, model, Batch(store, seed, out, quiet=quiet))
            say_notes(done, quiet=quiet)
            read += [path for path, _ in done]
        judged = gates.judge(held, comparing.side(read), rules, seed=seed, progress=progress)
    _show_gate(judged, "json" if as_json else style)
    _write_gate(judged, junit, markdown, github=github)
    raise typer.Exit(judged.exit_status)


def _show_gate(judged: Gate, style: str) -> None:
    """Print the verdicts."""
    from harness.report import gate as report

    if style == "json":
        print(report.to_json(judged))
    else:
        show_tables(report.page(judged), style)
        with_it = style in ("terminal", "markdown")
        print(report.summary(judged), file=sys.stdout if with_it else sys.stderr)


def _write_gate(judged: Gate, junit: Path | None, markdown: Path | None, *, github: bool) -> None:
    """The files and lines that other programs read."""
    from harness import disk
    from harness.report import gate as report

    files = {junit: report.junit(judged), markdown: report.markdown(judged).encode()}
    for path, data in files.items():
        if path is not None:
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                disk.write_whole(path, data)
            except OSError as error:
                raise HarnessError(f"{path}: cannot be written: {reason(error)}") from error
    if github:
        for line in report.workflow_commands(judged):
            print(line)
        summary = os.environ.get("GITHUB_STEP_SUMMARY")
        if summary:
            with open(summary, "a", encoding="utf-8") as file:
                file.write(report.markdown(judged, report.SUMMARY_BYTES))
    sys.stdout.flush()
