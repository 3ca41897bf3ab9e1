"""The commands of the store: list, verify, prune."""

from __future__ import annotations

from typing import Annotated

import typer

from harness import terminal
from harness.cli.common import (
    Cache,
    FormatOption,
    Group,
    Quiet,
    open_store,
    say,
    show_tables,
    size,
)
from harness.wording import count

app = typer.Typer(cls=Group, rich_markup_mode=None)


@app.callback(invoke_without_command=True)
def store(context: typer.Context) -> None:
    """List, check or prune embeddings kept on disk.

    Example: harness store prune --limit 10GB
    """
    if context.invoked_subcommand is None:
        list_spaces()


@app.command("list")
def list_spaces(cache: Cache = None, style: FormatOption = "terminal") -> None:
    """List what the store holds, least recently used first.

    Example: harness store list
    """
    from harness.report import listings

    show_tables([listings.spaces(open_store(cache))], style)


@app.command()
def verify(cache: Cache = None, quiet: Quiet = False) -> None:
    """Check the checksum of every file of embeddings.

    Damaged files are set aside, and their texts encoded again when needed.

    Example: harness store verify
    """
    with terminal.showing("store", quiet) as progress:
        whole, damaged = open_store(cache).verify(progress=progress)
    for path in damaged:
        say(f"damaged: {path}")
    print(f"{whole} whole, {len(damaged)} damaged")
    if damaged:
        raise typer.Exit(1)


@app.command()
def prune(
    limit: Annotated[
        str,
        typer.Option(
            "--limit", metavar="SIZE", help="Size to keep, as 500MB or 10GB; 0 removes all."
        ),
    ],
    cache: Cache = None,
) -> None:
    """Remove embeddings, least recently used first, down to a size.

    Example: harness store prune --limit 10GB
    """
    removed = open_store(cache).prune(size(limit))
    freed = sum(space.bytes for space in removed)
    print(f"removed {count(len(removed), 'encoder space')}, {freed / 1e6:,.1f} MB")
