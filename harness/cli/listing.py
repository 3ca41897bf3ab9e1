"""The commands that list what there is: tasks, measures, models, indexes, rewritings."""

from __future__ import annotations

from typing import Annotated

import typer

from harness.cli.common import FormatOption, Plugins, load_plugins, show_tables


def tasks(
    name: Annotated[
        str | None, typer.Argument(metavar="TASK", help="Task to show samples of.")
    ] = None,
    plugin: Plugins = None,
    style: FormatOption = "terminal",
) -> None:
    """List tasks and suites, or show samples of one task.

    Example: harness tasks limit-small
    """
    load_plugins(plugin)
    from harness.report import listings
    from harness.tasks import catalog

    if name is None:
        show_tables(listings.tasks(), style)
        return
    found = listings.task(catalog.task(name))
    show_tables(found, style, lambda: listings.card(found))


def indexes(plugin: Plugins = None, style: FormatOption = "terminal") -> None:
    """List indexes and their parameters.

    Also the presets of hnsw: what vector databases build and search with by default.

    Example: harness indexes --json
    """
    load_plugins(plugin)
    from harness.indexes import INDEXES
    from harness.report import listings

    found = [listings.registry("Indexes", INDEXES, "indexes"), listings.presets()]
    show_tables(found, style)


def measures(
    plugin: Plugins = None,
    style: FormatOption = "terminal",
    page: Annotated[bool, typer.Option("--markdown", help="Print docs/measures.md.")] = False,
) -> None:
    """List measures, how each is spelled and defined.

    Example: harness measures --json
    """
    load_plugins(plugin)
    from harness.measures.page import markdown
    from harness.report import listings

    if page:
        print(markdown(), end="")
    else:
        show_tables(listings.measures(), style)


def rewritings(plugin: Plugins = None, style: FormatOption = "terminal") -> None:
    """List ways to rewrite queries, and their parameters.

    Example: harness rewritings
    """
    load_plugins(plugin)
    from harness.report import listings
    from harness.rewriting import REWRITERS

    show_tables([listings.registry("Rewritings", REWRITERS, "rewritings")], style)
