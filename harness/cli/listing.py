"""The commands that list what there is: tasks, measures, models, indexes, rewritings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli.common import FormatOption, Json, Plugins, check_format, load_plugins, show_tables

if TYPE_CHECKING:
    from harness.registry import Registry


def tasks(
    name: Annotated[
        str | None, typer.Argument(metavar="TASK", help="Task to show samples of.")
    ] = None,
    plugin: Plugins = None,
    style: FormatOption = "terminal",
    json: Json = False,
) -> None:
    """List tasks and suites, or show samples of one task.

    Example: harness tasks limit-small
    """
    check_format(style)
    load_plugins(plugin)
    from harness.report import listings
    from harness.tasks import catalog

    found = listings.task(catalog.task(name)) if name else listings.tasks()
    show_tables(found, "json" if json else style)


def indexes(plugin: Plugins = None, style: FormatOption = "terminal", json: Json = False) -> None:
    """List indexes and their parameters.

    Also the presets of hnsw: what vector databases build and search with by default.

    Example: harness indexes --json
    """
    check_format(style)
    load_plugins(plugin)
    from harness.indexes import INDEXES
    from harness.report import listings

    found = [listings.registry("Indexes", INDEXES), listings.presets()]
    show_tables(found, "json" if json else style)


def measures(
    plugin: Plugins = None,
    style: FormatOption = "terminal",
    json: Json = False,
    page: Annotated[bool, typer.Option("--markdown", help="Print docs/measures.md.")] = False,
) -> None:
    """List measures, how each is spelled and defined.

    Example: harness measures --json
    """
    check_format(style)
    load_plugins(plugin)
    from harness.measures.page import markdown
    from harness.report import listings

    if page:
        print(markdown(), end="")
    else:
        show_tables(listings.measures(), "json" if json else style)


def rewritings(
    plugin: Plugins = None, style: FormatOption = "terminal", json: Json = False
) -> None:
    """List ways to rewrite queries, and their parameters.

    Example: harness rewritings
    """
    from harness.rewriting import REWRITERS

    _registry("Rewritings", REWRITERS, plugin, "json" if json else style)


def _registry(title: str, registry: Registry[Any], plugin: Plugins, style: str) -> None:
    check_format(style)
    load_plugins(plugin)
    from harness.report import listings

    show_tables([listings.registry(title, registry)], style)
