"""The commands that test this machine: selftest gpu."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from harness import terminal
from harness.cli.common import Quiet, group
from harness.errors import InputError

app = group(
    "Test whether this machine computes what it should.\n\nExample: harness selftest gpu --quick"
)

Devices = Annotated[
    str,
    typer.Option(
        "--devices", metavar="N,N", help="Numbers of the GPUs to test, as 0 or 0,1; all of them."
    ),
]
Quick = Annotated[
    bool, typer.Option("--quick", help="Smaller sizes: under a minute in place of about ten.")
]
JsonFile = Annotated[
    Path | None,
    typer.Option(
        "--json", metavar="FILE", help="Write every check to this file, to send to others."
    ),
]


@app.command()
def gpu(
    devices: Devices = "all",
    quick: Quick = False,
    json: JsonFile = None,
    quiet: Quiet = False,
) -> None:
    """Test search and encoding on GPUs against the processor.

    Results of exact search have to be equal to the bit, errors within their bound, other indexes as
    good as on the processor, and what a GPU cannot do refused in a line. Needs no network. It takes
    nearly all free memory of the first GPU for a moment: give it one that nobody else uses.

    Exit status: 0 all equal, 1 something differs or fails, 2 there is no GPU to test.

    Example: harness selftest gpu --devices 0,1 --json selftest.json
    """
    from harness import disk
    from harness.selftest import report, run
    from harness.selftest.cases import FULL, QUICK
    from harness.selftest.machine import find_machine

    machine = find_machine(devices)
    if json is not None:
        _check_file(json)
    with terminal.showing("selftest", quiet) as progress:
        made = run(QUICK if quick else FULL, machine, progress, quick=quick)
    terminal.show([report.head(made.facts), *report.tables(made)])
    for line in report.lines(made):
        print(line)
    if json is not None:
        with disk.writing(json):
            disk.write_whole(json, report.write_json(made))
        print(f"written to {json}")
    raise typer.Exit(made.exit_status)


def _check_file(path: Path) -> None:
    """Check that a file can be written, before the work that fills it. Raises InputError."""
    from harness import disk

    if path.is_dir():
        raise InputError(f"--json {path}: a folder: expected the name of a file")
    with disk.writing(path, "choose another place for --json", InputError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
