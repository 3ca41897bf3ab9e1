"""The studies of whole systems, whatever they are made of: judgments."""

from __future__ import annotations

from typing import Annotated

import typer

from harness import terminal
from harness.cli.common import (
    Cache,
    FormatOption,
    Plugins,
    Quiet,
    check_format,
    load_plugins,
    open_store,
)
from harness.cli.studies import STUDIES, Seed, StudyOut, StudyTask, page


def judgments(
    model: Annotated[
        list[str] | None,
        typer.Option("--model", "-m", help="Model spec, or a TREC run file; repeat for more."),
    ] = None,
    task: StudyTask = "complex-and",
    measure: Annotated[str, typer.Option(help="In place of the task's main one.")] = "",
    share: Annotated[
        list[float] | None,
        typer.Option(help="Of the relevant documents that stay judged; repeat for more."),
    ] = None,
    draws: Annotated[int, typer.Option(min=1, help="Of what stays judged at random.")] = 200,
    pool: Annotated[
        list[int] | None, typer.Option(min=1, help="Depth of a pool; repeat for more.")
    ] = None,
    seed: Seed = 0,
    out: StudyOut = STUDIES,
    cache: Cache = None,
    plugin: Plugins = None,
    style: FormatOption = "terminal",
    quiet: Quiet = False,
) -> None:
    """How the order of systems changes when part of the judgments is missing.

    Example: harness study judgments -m bm25 -m minilm -m run.trec -t folder:my/collection
    """
    check_format(style)
    load_plugins(plugin)
    from harness.report import judgments as report
    from harness.studies.judgments import POOLS, SHARES, study

    models = model or ["bm25", "bm25,k1=0.9,b=0.4", "minilm", "hashing"]
    with terminal.showing(f"{len(models)} systems on {task}", quiet) as progress:
        found = study(
            models, task, measure=measure, shares=share or SHARES, draws=draws,
            pools=pool or POOLS, store=open_store(cache), seed=seed, progress=progress,
        )  # fmt: skip
    name = f"judgments-{'-'.join(models)}-{task}"
    page(out, name, found, report.page(found), report.figure(found), style)
