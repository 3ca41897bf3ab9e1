"""The command line: with harness.terminal, the only part that prints.

Results go to standard output, progress and errors to standard error. Exit status: 0 done, 1 an
evaluation failed, 2 wrong usage or input, also of the only evaluation, 130 interrupted. Of the gate
1 says that the candidate is worse or fails, and nothing else.
"""

from __future__ import annotations

import os
import sys
import traceback
from typing import Annotated

import typer

from harness import __version__
from harness.cli import board, evaluate, export, gate, listing, models, store, study
from harness.cli.common import Group, Once, one_line, renamings_said_last, say
from harness.errors import InputError

app = typer.Typer(
    cls=Group,
    help="Measure text-embedding and retrieval models.\n\n"
    "Example: harness eval --model minilm --model bm25 --task limit-small",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"retrieval-harness {__version__}")
        raise typer.Exit


@app.callback()
def harness(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Say what all commands are for. version: printed by its callback, before a command is run."""


for _part in (evaluate.app, study.old, board.app, gate.app):
    app.registered_commands += _part.registered_commands
app.add_typer(gate.baseline_app, name="baseline")
app.add_typer(export.app, name="export")
app.add_typer(study.app, name="study")
for _command in (listing.tasks, listing.measures, listing.indexes, listing.rewritings):
    app.command()(_command)
app.add_typer(models.app, name="models")
app.add_typer(store.app, name="store")
for _group in (app, gate.baseline_app, export.app, models.app, store.app):
    for _each in _group.registered_commands:
        _each.cls = Once


def main() -> None:
    """Run a command; errors are one line on standard error."""
    failed = gate.CANNOT_JUDGE if sys.argv[1:2] == ["gate"] else 1
    try:
        try:
            with renamings_said_last():
                app()
        finally:
            sys.stdout.flush()  # here, where a reader that has gone away can be answered
    except (KeyboardInterrupt, SystemExit) as error:
        if isinstance(error, SystemExit) and error.code != 130:  # which typer makes of Ctrl-C
            raise
        say("interrupted: whole shards and records are kept; run the same command to go on")
        raise SystemExit(130) from None
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(failed) from None
    except Exception as error:
        if os.environ.get("HARNESS_DEBUG"):
            traceback.print_exc()
        else:
            say(f"error: {one_line(error)}")
        raise SystemExit(2 if isinstance(error, InputError) else failed) from None
