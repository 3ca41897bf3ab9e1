"""The commands that write records in the formats of other tools: export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.common import Plugins, Records, group, load_plugins
from harness.errors import InputError
from harness.wording import count

app = group(
    "Write records for MTEB, MLflow or Weights & Biases.\n\n"
    "Example: harness export mteb results/local --out exported"
)


@app.command()
def mlflow(
    paths: Records,
    uri: Annotated[
        str, typer.Option(metavar="URI", help="Tracking store to write to.")
    ] = "sqlite:///mlflow.db",
    experiment: Annotated[
        str, typer.Option(metavar="NAME", help="Name of the experiment.")
    ] = "retrieval-harness",
    plugin: Plugins = None,
) -> None:
    """Write records as MLflow runs; those written before are skipped.

    Example: harness export mlflow results/local --uri sqlite:///mlflow.db
    """
    load_plugins(plugin)
    from harness import records
    from harness.exchange import trackers

    _say_runs([trackers.save_mlflow(r, uri, experiment) for _, r in records.load_all(paths)], uri)


@app.command()
def wandb(
    paths: Records,
    project: Annotated[
        str, typer.Option(metavar="NAME", help="Name of the project.")
    ] = "retrieval-harness",
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="FOLDER", help="Folder for offline runs.")
    ] = Path("results/local"),
    plugin: Plugins = None,
) -> None:
    """Write records as offline Weights & Biases runs, for `wandb sync`.

    Example: harness export wandb results/local --project embedders
    """
    if not project:
        raise InputError("--project: expected a name")
    load_plugins(plugin)
    from harness import records
    from harness.exchange import trackers

    found = [trackers.save_wandb(r, project, out) for _, r in records.load_all(paths)]
    _say_runs(found, str(out))


def _say_runs(new: list[bool], where: str) -> None:
    old = len(new) - sum(new)
    there = "was" if old == 1 else "were"
    print(f"{count(sum(new), 'run')} written to {where}, {old:,} {there} there already")


@app.command()
def mteb(
    paths: Records,
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="FOLDER", help="Folder to write results to.")
    ],
    plugin: Plugins = None,
) -> None:
    """Write records as MTEB's result files (TaskResult).

    Example: harness export mteb results/local --out exported
    """
    load_plugins(plugin)
    from harness import records
    from harness.exchange import mteb as exchange

    kept = [exchange.save(record, out) for _, record in records.load_all(paths)]
    print(f"{count(len(kept), 'result')} written under {out}")
