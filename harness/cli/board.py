"""The commands that decide with records: leaderboard, compare, gate, baseline, export."""

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
from harness.cli.evaluate import DEFAULT_TASKS, Done, Failed, end, measured
from harness.errors import HarnessError, InputError, reason

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from harness.board import Board
    from harness.compare import Side
    from harness.gate import Gate
    from harness.progress import Progress
    from harness.standings import Standings

RECORDS = Path("results")

baseline_app = group(
    "Records that a candidate is held to.\n\n"
    "Example: harness baseline freeze results/minilm --out baselines/minilm"
)
export_app = group(
    "Records in the formats of other tools.\n\n"
    "Example: harness export mteb results/local --out exported"
)

Records = Annotated[
    list[Path] | None, typer.Argument(help="Record files, folders of them, MTEB's results.")
]
Seed = Annotated[int, typer.Option(min=0, help="Of what is drawn.")]


def leaderboard(
    paths: Records = None,
    model: Annotated[
        list[str] | None,
        typer.Option("--model", "-m", help="Measure it first, as MODEL@INDEX; repeat for more."),
    ] = None,
    task: Annotated[
        list[str] | None, typer.Option("--task", "-t", help="On this task or suite; repeat.")
    ] = None,
    latency: Annotated[
        int, typer.Option(min=0, help="Ask so many queries one by one too, to time them.")
    ] = 0,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for records made now.")] = OUT,
    order: Annotated[
        Literal["borda", "mean"], typer.Option(help="What systems are ranked by.")
    ] = "borda",
    common: Annotated[
        bool, typer.Option("--common", help="Only over the tasks that every system has.")
    ] = False,
    fixed_tasks: Annotated[
        bool, typer.Option("--fixed-tasks", help="These tasks are no sample of others.")
    ] = False,
    alpha: Annotated[float, typer.Option(help="Of the groups that cannot be told apart.")] = 0.05,
    subset: Annotated[
        list[str] | None, typer.Option(help="Of MTEB's tasks, as en; repeat for more.")
    ] = None,
    families: Annotated[
        Path | None, typer.Option(help='JSON with the family of MTEB\'s tasks: {"STS12": "STS"}.')
    ] = None,
    loose: Annotated[
        bool, typer.Option("--loose", help="MTEB's data revisions share a column.")
    ] = False,
    refused: Annotated[
        bool, typer.Option("--refused", help="Name the files that were left out.")
    ] = False,
    rows: Annotated[
        int | None, typer.Option("--rows", "-n", min=1, help="Systems shown, at most.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option("--html", help="Also write a page for the browser.")
    ] = None,
    figure: Annotated[
        list[Path] | None, typer.Option(help="SVG of a study, for the page; repeat for more.")
    ] = None,
    seed: Seed = 0,
    cache: Cache = None,
    plugin: Plugins = None,
    style: FormatOption = "terminal",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Rank systems by their records: means, Borda, Kemeny, groups, quality against cost.

    Example: harness leaderboard results/local --html leaderboard.html

    Example: harness leaderboard -m bm25 -m minilm@int8 -m rrf:bm25+minilm -t core
    """
    check_format(style)
    load_plugins(plugin)
    if task and not model:
        raise InputError("--task is what --model is measured on: name a model too")
    done, failed = list[Done](), list[Failed]()
    if model:
        done, failed = measured(
            model, task or DEFAULT_TASKS, latency=latency, seed=seed, store=open_store(cache),
            out=out, quiet=quiet,
        )  # fmt: skip
    paths = [*(paths or []), *(path for path, _ in done)]
    if model and not paths:
        end(done, failed)
    from harness.board import load
    from harness.report import leaderboard as report
    from harness.standings import standings

    named = _json(families)
    with terminal.showing("leaderboard", quiet) as progress:
        board = load(
            paths or [RECORDS], subsets=subset or (), families=named, strict=not loose,
            progress=progress,
        )  # fmt: skip
        ranked = standings(
            board, order=order, common=common, fixed_tasks=fixed_tasks, alpha=alpha, seed=seed,
            progress=progress,
        )  # fmt: skip
        said = html and _html(board, ranked, html, figure or (), progress)
    tables = report.page(board, ranked, details=refused, most=rows)
    show_tables(tables, "json" if as_json else style)
    if said:
        say(said)
    end(done, failed)


def _html(
    board: Board, ranked: Standings, path: Path, figures: Sequence[Path], progress: Progress
) -> str:
    """Write the page for the browser; returns what to say of it."""
    from harness.report import page

    size = page.write(board, ranked, path, texts=_texts, figures=figures, progress=progress)
    return f"written: {path} ({size / 1e6:,.1f} MB)"


def _texts(task: str) -> Mapping[str, str]:
    """Query texts by id of a task that can be loaded without a network; else none."""
    from harness import catalog
    from harness.data import Retrieval

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


def compare(
    a: Annotated[Path, typer.Argument(help="Records of one system: a file or a folder.")],
    b: Annotated[Path, typer.Argument(help="Records of the other.")],
    seed: Seed = 0,
    style: FormatOption = "terminal",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Two systems query by query: differences, tests, effect sizes, wins and losses.

    Example: harness compare results/local/minilm results/local/bm25
    """
    check_format(style)
    from harness import compare as comparing
    from harness.report import differences

    with terminal.showing("compare", quiet) as progress:
        one, other = comparing.side([a]), comparing.side([b])
        found = comparing.compare(one, other, seed=seed, progress=progress)
    show_tables(differences.page(found), "json" if as_json else style)


@baseline_app.command()
def freeze(
    paths: Annotated[list[Path], typer.Argument(help="Record files, or folders of them.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the baseline.")],
    replace: Annotated[
        bool, typer.Option("--replace", help="Take the place of the baseline there.")
    ] = False,
) -> None:
    """Copy one system's newest records, with checksums, to be committed.

    Example: harness baseline freeze results/minilm --out baselines/minilm
    """
    from harness import gate as gates

    kept = gates.freeze(paths, out, replace=replace)
    print(f"{len(kept)} records frozen in {out}")


def gate(
    paths: Annotated[
        list[Path] | None, typer.Argument(help="The candidate's records, if there are any.")
    ] = None,
    baseline: Annotated[
        Path | None, typer.Option("--baseline", "-b", help="A folder of `harness baseline freeze`.")
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="Evaluate this first, on its tasks.")
    ] = None,
    policy: Annotated[
        Path | None, typer.Option("--policy", help="TOML: tolerances, tests, limits of cost.")
    ] = None,
    junit: Annotated[Path | None, typer.Option("--junit", help="Write JUnit XML.")] = None,
    markdown: Annotated[Path | None, typer.Option("--markdown", help="Write Markdown.")] = None,
    github: Annotated[
        bool, typer.Option("--github", help="Annotations, and the step's summary.")
    ] = False,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for new records.")] = Path(
        "results/local"
    ),
    seed: Seed = 0,
    cache: Cache = None,
    plugin: Plugins = None,
    style: FormatOption = "terminal",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Hold a candidate to a baseline. Exit status: 0 passes, 1 regressed, 2 cannot judge.

    Example: harness gate --model path/to/model --baseline baselines/minilm --policy gate.toml
    """
    check_format(style)
    load_plugins(plugin)
    from harness import compare as comparing
    from harness import gate as gates
    from harness import policy as policies
    from harness.report import gate as report

    if baseline is None:
        raise InputError("the gate needs --baseline DIR, of `harness baseline freeze`")
    if not paths and model is None:
        raise InputError("name the candidate: its records, or --model SPEC to evaluate it")
    held = gates.thaw(baseline)
    rules = policies.read_policy(policy) if policy else policies.Policy()
    measured = list(paths or [])
    with terminal.showing("gate", quiet) as progress:
        if model is not None:
            measured += _evaluated(model, held, out, cache=cache, seed=seed, quiet=quiet)
        judged = gates.judge(held, comparing.side(measured), rules, seed=seed, progress=progress)
    if as_json or style == "json":
        print(report.to_json(judged))
    else:
        show_tables(report.page(judged), style)
        print(report.summary(judged))
    _written(judged, junit, markdown, github=github)
    raise typer.Exit(judged.exit_status)


def _evaluated(
    model: str, held: Side, out: Path, *, cache: Path | None, seed: int, quiet: bool
) -> list[Path]:
    """Records of a model on a baseline's tasks, searched and measured as there."""
    from harness import records
    from harness.encoders.models import MODELS
    from harness.session import Session

    session, made = Session(open_store(cache), seed), []
    with MODELS.scope():  # what the model needs stays for all tasks
        for task, (_, record) in held.tasks.items():
            with terminal.showing(f"{model} on {task}", quiet) as progress:
                session.progress = progress
                found = session.evaluate(
                    model,
                    record.task.spec,
                    index=record.index.spec if record.index else "exact",
                    rewrite=record.rewriting.spec if record.rewriting else "none",
                    measures=list(record.scores),
                )
            made.append(records.save(found.record, found.per_query, out))
    return made


def _written(judged: Gate, junit: Path | None, markdown: Path | None, *, github: bool) -> None:
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


@export_app.command()
def mlflow(
    paths: Annotated[list[Path], typer.Argument(help="Record files, or folders of them.")],
    uri: Annotated[str, typer.Option(help="Of the tracking store.")] = "sqlite:///mlflow.db",
    experiment: Annotated[str, typer.Option(help="Its name.")] = "retrieval-harness",
) -> None:
    """Write records as MLflow runs; what was exported before is left out.

    Example: harness export mlflow results/local --uri sqlite:///mlflow.db
    """
    from harness import records
    from harness.exchange import trackers

    _runs([trackers.save_mlflow(r, uri, experiment) for _, r in records.load_all(paths)], uri)


@export_app.command()
def wandb(
    paths: Annotated[list[Path], typer.Argument(help="Record files, or folders of them.")],
    project: Annotated[str, typer.Option(help="Its name.")] = "retrieval-harness",
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the offline runs.")] = Path(
        "results/local"
    ),
) -> None:
    """Write records as offline runs of Weights & Biases, for `wandb sync`.

    Example: harness export wandb results/local --project embedders
    """
    from harness import records
    from harness.exchange import trackers

    if not project:
        raise InputError("--project: expected a name")
    found = [trackers.save_wandb(r, project, out) for _, r in records.load_all(paths)]
    _runs(found, str(out))


def _runs(new: list[bool], where: str) -> None:
    print(f"{sum(new)} runs written to {where}, {len(new) - sum(new)} were there already")


@export_app.command()
def mteb(
    paths: Annotated[list[Path], typer.Argument(help="Record files, or folders of them.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the results.")],
) -> None:
    """Write records as MTEB's TaskResult files.

    Example: harness export mteb results/local --out exported
    """
    from harness import records
    from harness.exchange import mteb as exchange

    kept = [exchange.save(record, out) for _, record in records.load_all(paths)]
    print(f"{len(kept)} results written under {out}")
