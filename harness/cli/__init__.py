"""The command line: with harness.terminal, the only part that prints.

Results go to standard output, progress and errors to standard error. Exit status: 0 done, 1 an
evaluation failed, 2 wrong usage or input, also of the only evaluation, 130 interrupted, 143
terminated. Of the gate 1 says that the candidate is worse or fails, and nothing else.
"""

from __future__ import annotations

import os
import re
import sys
import traceback
from collections.abc import Sequence
from signal import SIGINT, Signals
from typing import Annotated

import typer

from harness import __version__, masking
from harness.cli import board, evaluate, export, gate, listing, models, selftest, store, study
from harness.cli.common import Group, Once, is_misuse, one_line, renamings_said_last, say
from harness.errors import InputError
from harness.outlet import UnwrittenError, guarding
from harness.signals import WORDS, heeding

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
app.add_typer(selftest.app, name="selftest")
for _group in (app, gate.baseline_app, export.app, models.app, store.app, selftest.app):
    for _each in _group.registered_commands:
        _each.cls = Once


def main() -> None:
    """Run a command; errors are one line on standard error."""
    failed = gate.CANNOT_JUDGE if sys.argv[1:2] == ["gate"] else 1
    with guarding(), heeding() as signals:
        status = _run(failed)
        if signals or status == 128 + SIGINT:  # whatever became of exceptions on the way
            ended = Signals(signals[0]) if signals else SIGINT
            status = 128 + ended
            what = "whole shards and records are kept; run the same command to go on"
            say(f"{WORDS[ended]}: {what}")
    raise SystemExit(status)


def _run(failed: int) -> int:
    """Run a command; returns the exit status. failed: of one that was not the user's mistake."""
    try:
        try:
            _check_words(sys.argv[1:])
            with renamings_said_last():
                app()
        finally:
            sys.stdout.flush()  # here, where it can be said that nobody reads it
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except KeyboardInterrupt:
        return 128 + SIGINT
    except Exception as error:
        if os.environ.get("HARNESS_DEBUG"):
            traceback.print_exc()
        elif str(error) or not isinstance(error, UnwrittenError):
            say(f"error: {one_line(error)}")
        return 2 if is_misuse(error) else failed
    return 0


def _check_words(words: Sequence[str]) -> None:
    """Raise InputError for an argument that is no text; remember the secrets that others hold."""
    for word in words:
        masking.notice(word)
        if re.search("[\ud800-\udfff]", word):
            raise InputError(
                f"{word!r}: not UTF-8: rename it, or set LC_ALL=C.UTF-8 or PYTHONUTF8=1 where the "
                "locale is the reason"
            )
