"""The commands of the store: list, verify, prune."""

from __future__ import annotations

from typing import Annotated

import typer

from harness import terminal
from harness.cli.common import (
    Cache,
    FormatOption,
    Json,
    Quiet,
    check_format,
    group,
    open_store,
    say,
    show_tables,
    size,
)

app = group(
    "List, check or prune embeddings kept on disk.\n\nExample: harness store prune --limit 10GB"
)


@app.command("list")
def store_list(cache: Cache = None, style: FormatOption = "terminal", json: Json = False) -> None:
    """List what the store holds, least recently used first.

    Example: harness store list
    """
    check_format(style)
    from harness.report import listings

    store = open_store(cache)
    show_tables([listings.spaces(store)], "json" if json else style)


@app.command()
def verify(cache: Cache = None, quiet: Quiet = False) -> None:
    """Check every file's checksum.

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
        str, typer.Option("--limit", help="Size to keep, as 500MB or 10GB; 0 removes all.")
    ],
    cache: Cache = None,
) -> None:
    """Remove embeddings, least recently used first, down to a size.

    Example: harness store prune --limit 10GB
    """
    removed = open_store(cache).prune(size(limit))
    freed = sum(space.bytes for space in removed)
    print(f"removed {len(removed)} encoder spaces, {freed / 1e6:,.1f} MB")
