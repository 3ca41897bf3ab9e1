"""The commands that hold a candidate to a baseline: gate, baseline."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness import terminal
from harness.cli.common import (
    OUT,
    Cache,
    FormatOption,
    Fresh,
    Made,
    Plugins,
    Quiet,
    Records,
    Seed,
    group,
    load_plugins,
    open_store,
    show_tables,
)
from harness.cli.evaluate import Batch, measure_like, say_notes
from harness.errors import HarnessError, InputError, reason

if TYPE_CHECKING:
    from harness.gate import Gate

CANNOT_JUDGE = 2  # exit status of the gate, whatever else goes wrong: 1 is a verdict

app = typer.Typer()
baseline_app = group(
    "Freeze records as a baseline for the gate.\n\n"
    "Example: harness baseline freeze results/minilm --out baselines/minilm"
)


@baseline_app.command()
def freeze(
    paths: Records,
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="FOLDER", help="Folder to write the baseline to.")
    ],
    replace: Annotated[
        bool, typer.Option("--replace", help="Overwrite a baseline that is there.")
    ] = False,
) -> None:
    """Copy one system's newest records, with checksums, to commit.

    Example: harness baseline freeze results/minilm --out baselines/minilm
    """
    from harness import gate as gates
    from harness.frames.formats import count

    kept = gates.freeze(paths, out, replace=replace)
    print(f"{count(len(kept), 'record')} frozen in {out}")


Baseline = Annotated[
    str | None,  # as a path, nothing and the folder here would be the same
    typer.Option(
        "--baseline", "-b", metavar="FOLDER", help="Folder that harness baseline freeze wrote."
    ),
]
Candidates = Annotated[
    list[Path] | None,
    typer.Argument(metavar="RECORDS", help="Records of the candidate: files or folders."),
]
Candidate = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        metavar="SYSTEM",
        help="Candidate to measure now, on the tasks of the baseline, in place of records.",
    ),
]
Policy = Annotated[
    Path | None,
    typer.Option(
        "--policy", metavar="FILE", help="TOML file of tolerances and limits: see docs/ci.md."
    ),
]
Junit = Annotated[
    Path | None, typer.Option("--junit", metavar="FILE", help="Write JUnit XML here.")
]
Markdown = Annotated[
    Path | None, typer.Option("--markdown", metavar="FILE", help="Write Markdown here.")
]
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
    out: Made = OUT,
    seed: Seed = 0,
    cache: Cache = None,
    fresh: Fresh = False,
    plugin: Plugins = None,
    style: FormatOption = "terminal",
    quiet: Quiet = False,
) -> None:
    """Test whether a candidate is worse than a baseline.

    Exit status: 0 passes, 1 regressed, 2 cannot judge.

    Example: harness gate --model path/to/model --baseline baselines/minilm --policy gate.toml
    """
    load_plugins(plugin)
    from harness import compare as comparing
    from harness import gate as gates
    from harness.gate import policy as policies

    if not baseline:
        raise InputError("the gate needs --baseline FOLDER, of `harness baseline freeze`")
    if not paths and not model:
        raise InputError("name the candidate: its records, or --model SYSTEM to evaluate it")
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
    _show_gate(judged, style)
    _write_gate(judged, junit, markdown, github=github)
    raise typer.Exit(judged.exit_status)


def _show_gate(judged: Gate, style: str) -> None:
    """Print the verdicts."""
    from harness.report import data
    from harness.report import gate as report

    show_tables(report.page(judged), style, lambda: data.read(report.to_json(judged)))
    if style != "json":
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
