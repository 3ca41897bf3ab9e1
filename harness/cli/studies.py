"""The studies of vectors and indexes: a page of numbers and a figure each."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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
    say,
    show_tables,
)

if TYPE_CHECKING:
    from harness.frames import Table

STUDIES = Path("results/studies")

StudyModel = Annotated[str, typer.Option("--model", "-m", help="Encoder spec.")]
StudyTask = Annotated[str, typer.Option("--task", "-t", help="Task spec.")]
StudyOut = Annotated[Path, typer.Option("--out", "-o", help="Folder for what is written.")]
StudyModels = Annotated[
    list[str] | None, typer.Option("--model", "-m", help="Model spec; repeat for more.")
]
Seed = Annotated[int, typer.Option(min=0, help="Of what is drawn.")]


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
    check_format(style)
    load_plugins(plugin)
    from harness.report import capacity as report
    from harness.studies.capacity import study

    store = open_store(cache)
    with terminal.showing(f"{model} on {task}", quiet) as progress:
        found = study(
            model, task, dims=dim or [4, 5, 6], k=k, gamma=gamma, seed=seed, device=device,
            folder=store.root / "capacity", store=store, progress=progress,
        )  # fmt: skip
    tables, figure = report.page(found), report.figure(found)
    page(out, f"capacity-{model}-{task}", found, tables, figure, style)


def page(
    out: Path,
    name: str,
    study: Any,
    tables: list[Table],
    figure: Any,
    style: str,
    **about: Any,
) -> None:
    """Print a study's page, and keep it with its figure."""
    from harness import environment, records
    from harness.disk import slug
    from harness.report import pages

    about |= {"created": records.stamp(), "environment": environment.current().model_dump()}
    written = pages.save(out / slug(name), study, about, tables, figure)
    show_tables(tables, style)
    for path in written:
        say(f"written: {path}")
