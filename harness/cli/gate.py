"""The commands that hold a candidate to a baseline: gate, baseline."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
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
    say,
    show_tables,
)
from harness.cli.evaluate import Batch, Done, measure_like, say_notes
from harness.errors import HarnessError, InputError
from harness.outlet import put
from harness.wording import count

if TYPE_CHECKING:
    from harness.compare import Side
    from harness.gate import CandidateSide, Gate
    from harness.gate.policy import Policy as GatePolicy
    from harness.gate.processes import Processes
    from harness.records import Record
    from harness.records.measured_costs import MeasuredCosts

TURNS = 3  # of measuring costs, where the interval of one holds its limit
CANNOT_JUDGE = 2  # exit status of the gate, whatever else goes wrong: 1 is a verdict

app = typer.Typer()
baseline_app = group(
    "Freeze records as a baseline for the gate.\n\n"
    "Example: harness baseline freeze results/minilm --out baselines/minilm"
)


Policy = Annotated[
    Path | None,
    typer.Option(
        "--policy", metavar="FILE", help="TOML file of tolerances and limits: see docs/ci.md."
    ),
]


@baseline_app.command()
def freeze(
    paths: Records,
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="FOLDER", help="Folder to write the baseline to.")
    ],
    replace: Annotated[
        bool, typer.Option("--replace", help="Overwrite a baseline that is there.")
    ] = False,
    costs: Annotated[
        bool,
        typer.Option(
            "--costs", help="Measure what the system costs, so that a policy can limit it."
        ),
    ] = False,
    policy: Policy = None,
    cache: Cache = None,
    plugin: Plugins = None,
    quiet: Quiet = False,
) -> None:
    """Copy one system's newest records, with checksums, to commit.

    With --costs, or where --policy limits costs, they are measured now, on this machine.

    Example: harness baseline freeze results/minilm --out baselines/minilm --costs
    """
    from harness import compare as comparing
    from harness import gate as gates
    from harness.gate.costs import wants_measuring

    rules, measured = _read_policy(policy), {}
    if policy and not costs and not wants_measuring(rules.cost):
        raise InputError(f"{policy}: no cost is limited: name one under [cost], or give --costs")
    if costs or policy:
        load_plugins(plugin)
        side = comparing.side(paths)
        gates.check_folder(out, replace=replace)
        measured = _freeze_costs(side, _processes(cache, plugin, rules), quiet)
    kept = gates.freeze(paths, out, replace=replace, measured=measured)
    print(f"{count(len(kept), 'record')} frozen in {out}{' with costs' if measured else ''}")


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

    Exit status: 0 passes, 1 worse or failed, 2 cannot judge.

    Example: harness gate --model path/to/model --baseline baselines/minilm --policy gate.toml
    """
    load_plugins(plugin)
    from harness import gate as gates

    if not baseline:
        raise InputError("the gate needs --baseline FOLDER, of `harness baseline freeze`")
    if not paths and not model:
        raise InputError("name the candidate: its records, or --model SYSTEM to evaluate it")
    held, rules = gates.thaw(Path(baseline)), _read_policy(policy)
    store, failed, read = open_store(cache, fresh=fresh), dict[str, Exception](), list(paths or [])
    known = [record for _, record in held.tasks.values()]
    costed, done = _has_costs(known, baseline, rules), list[Done]()
    with terminal.showing("gate", quiet) as progress:
        if model:
            done, failed = measure_like(known, model, Batch(store, seed, out, quiet=quiet))
            say_notes(done, quiet=quiet)
            read += [path for path, _ in done]
        costed = costed and bool(done)  # else there is nothing to measure
        for _ in range(TURNS):
            if costed:
                done = _add_costs(done, _processes(cache, plugin, rules), quiet=quiet)
            candidate = _gather(read, model or "", failed)
            judged = gates.judge(held, candidate, rules, seed=seed, progress=progress)
            if not (costed and any(cost.unsure for cost in judged.costs)):
                break
    _show_gate(judged, style)
    _write_gate(judged, junit, markdown, github=github)
    raise typer.Exit(judged.exit_status)


def _read_policy(path: Path | None) -> GatePolicy:
    from harness.gate import policy as policies

    return policies.read_policy(path) if path else policies.Policy()


def _gather(read: list[Path], model: str, failed: dict[str, Exception]) -> CandidateSide:
    """The candidate, also one that was measured on nothing."""
    from harness import compare as comparing
    from harness import gate as gates

    if failed and not read:
        return gates.CandidateSide(model, {}, failed)
    side = comparing.side(read)
    return gates.CandidateSide(side.name, side.tasks, failed)


def _processes(cache: Path | None, plugins: list[Path] | None, rules: GatePolicy) -> Processes:
    """How costs are measured."""
    from harness.gate.processes import Processes

    return Processes(open_store(cache).root, plugins or [], rules.cost.runs)


def _freeze_costs(side: Side, processes: Processes, quiet: bool) -> dict[str, MeasuredCosts]:
    """Costs of a system on each of its tasks.

    Raises:
        InputError: They cannot be measured, or the system is not the one of the records.
    """
    from harness.gate.processes import of_record

    with terminal.showing("costs", quiet) as progress:
        asked = [of_record(record) for _, record in side.tasks.values()]
        found = processes.measure(asked, progress)
    for (task, (path, record)), (costs, fingerprint) in zip(side.tasks.items(), found, strict=True):
        if not costs.runs:
            raise InputError(f"costs of {side.name} on {task} cannot be measured: {costs.why}")
        if json.dumps(record.system.fingerprint, sort_keys=True) != json.dumps(
            fingerprint, sort_keys=True
        ):
            raise InputError(
                f"{path}: {side.name} is no longer the system that was measured: evaluate it "
                "again, then freeze that"
            )
    return {task: costs for task, (costs, _) in zip(side.tasks, found, strict=True)}


def _has_costs(known: Sequence[Record], baseline: str, rules: GatePolicy) -> bool:
    """Whether costs are limited and a baseline has some to hold others to; says where it lacks."""
    from harness.gate.costs import wants_measuring

    if not wants_measuring(rules.cost):
        return False
    if any(record.costs and record.costs.runs for record in known):
        return True
    say(
        f"note: {baseline} was frozen without costs: those that the policy limits are not measured "
        "and not compared; freeze it anew with harness baseline freeze --costs"
    )
    return False


def _add_costs(done: Sequence[Done], processes: Processes, *, quiet: bool) -> list[Done]:
    """Measure costs, and put them into the records, behind what these have; returns the records."""
    from harness import disk, records
    from harness.gate.processes import of_record
    from harness.records.measured_costs import MeasuredCosts

    with terminal.showing("costs", quiet) as progress:
        found = processes.measure([of_record(record) for _, record in done], progress)
    costed = list[Done]()
    for (path, record), (costs, _) in zip(done, found, strict=True):
        before = record.costs.runs if record.costs else ()
        more = MeasuredCosts((*before, *costs.runs), "" if before else costs.why)
        costed.append((path, record.model_copy(update={"costs": more})))
        disk.write_whole(path, records.to_bytes(costed[-1][1]))
    return costed


@app.command("measure-costs", hidden=True)
def measure_costs(
    model: Annotated[str, typer.Option("--model", "-m", metavar="SYSTEM", help="Measured.")],
    task: Annotated[str, typer.Option("--task", "-t", metavar="TASK", help="On what.")],
    index: Annotated[
        str, typer.Option("--index", "-i", metavar="INDEX", help="Searched.")
    ] = "exact",
    rewrite: Annotated[
        str, typer.Option("--rewrite", "-r", metavar="REWRITING", help="Of queries.")
    ] = "none",
    cache: Cache = None,
    plugin: Plugins = None,
) -> None:
    """Measure once what a system costs, and print it as JSON: a process of the gate's many.

    Example: harness measure-costs --model bm25 --task limit-small
    """
    load_plugins(plugin)
    from dataclasses import asdict

    from harness.gate.one_run import CostRequest, measure_run
    from harness.session import Session

    session = Session(open_store(cache), lenient=True)
    run, fingerprint = measure_run(session, CostRequest(model, task, index, rewrite))
    print(json.dumps({"run": asdict(run), "fingerprint": dict(fingerprint)}))


def _show_gate(judged: Gate, style: str) -> None:
    """Print the verdicts."""
    from harness.report import gate as report

    show_tables(report.page(judged), style, lambda: report.data(judged))
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
            with disk.writing(path):
                path.parent.mkdir(parents=True, exist_ok=True)
                disk.write_whole(path, data)
    if github:
        for line in report.workflow_commands(judged):
            put(line)
        _add_summary(report.markdown(judged, report.SUMMARY_BYTES))
    sys.stdout.flush()


def _add_summary(text: str) -> None:
    """Add to the summary of a GitHub step; where it cannot be written, the verdict stands."""
    from harness import disk

    path = os.environ.get("GITHUB_STEP_SUMMARY")
    if path:
        try:
            with disk.writing(Path(path)), open(path, "a", encoding="utf-8") as file:
                file.write(text)
        except HarnessError as error:
            say(f"note: GITHUB_STEP_SUMMARY: {error}")
