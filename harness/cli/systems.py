"""The studies of whole systems, whatever they are made of: prompts, cut-offs, disturbances."""

from __future__ import annotations

from pathlib import Path
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
from harness.cli.studies import STUDIES, Seed, StudyModels, StudyOut, StudyTask, page
from harness.types import InputError

StudyMeasure = Annotated[str, typer.Option(help="Measure with a value a query.")]


def prompts(
    model: StudyModels = None,
    task: StudyTask = "limit-small",
    prompt: Annotated[
        list[str] | None, typer.Option(help="Text put before queries; repeat for more.")
    ] = None,
    document_prompt: Annotated[
        list[str] | None, typer.Option(help="Text put before documents; repeat for more.")
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--prompts", help="File of prompts, a line each, or TOML.")
    ] = None,
    measure: StudyMeasure = "nDCG@10",
    seed: Seed = 0,
    out: StudyOut = STUDIES,
    cache: Cache = None,
    plugin: Plugins = None,
    style: FormatOption = "terminal",
    quiet: Quiet = False,
) -> None:
    """How much scores hang on the prompt before queries: spread, best, worst, Robustness@10.

    Example: harness study prompts -m minilm -t limit-small --prompt "" --prompt "query: "
    """
    check_format(style)
    load_plugins(plugin)
    from harness.report import prompts as report
    from harness.studies.prompts import read, study

    if file is not None:
        if prompt or document_prompt:
            raise InputError("--prompts names a file: give prompts there, or each as an option")
        prompt, document_prompt = read(file)
    models = model or ["minilm"]
    with terminal.showing(f"{', '.join(models)} on {task}", quiet) as progress:
        found = study(
            models, task, prompt, document_prompt, measure=measure, store=open_store(cache),
            seed=seed, progress=progress,
        )  # fmt: skip
    name = f"prompts-{'-'.join(models)}-{task}"
    page(out, name, found, report.page(found), report.figure(found), style)


def cutoff(
    model: StudyModels = None,
    task: StudyTask = "limit-small",
    depth: Annotated[
        int | None,
        typer.Option(min=1, help="Documents of a query scored; all, or 1,000 of many."),
    ] = None,
    measure: StudyMeasure = "nDCG@10",
    seed: Seed = 0,
    out: StudyOut = STUDIES,
    cache: Cache = None,
    plugin: Plugins = None,
    style: FormatOption = "terminal",
    quiet: Quiet = False,
) -> None:
    """What one threshold on scores returns, and whether a model knows when to return nothing.

    Example: harness study cutoff --model minilm --model bm25 --task folder:my/collection
    """
    check_format(style)
    load_plugins(plugin)
    from harness.report import cutoff as report
    from harness.studies.cutoff import study

    models = model or ["minilm"]
    with terminal.showing(f"{', '.join(models)} on {task}", quiet) as progress:
        found = study(
            models, task, depth=depth, measure=measure, store=open_store(cache), seed=seed,
            progress=progress,
        )  # fmt: skip
    name = f"cutoff-{'-'.join(models)}-{task}"
    page(out, name, found, report.page(found), report.figure(found), style)
