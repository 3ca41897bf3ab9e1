"""What commands share: options, and how things are said."""

from __future__ import annotations

import os
import shutil
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

from harness import terminal
from harness.errors import HarnessError, InputError, RenamedWarning, UnkeptWarning, reason

if TYPE_CHECKING:
    from harness.frames import Table
    from harness.store import Store

OUT = Path("results/local")

Plugins = Annotated[
    list[Path] | None,
    typer.Option(
        "--plugin",
        metavar="FILE",
        help="Load this first: a .py file that registers models, measures, studies, ..., or a "
        ".toml file of tasks; repeat for more.",
    ),
]
Cache = Annotated[
    Path | None,
    typer.Option(
        "--cache",
        metavar="FOLDER",
        help="Folder of the store of embeddings. [default: ~/.cache/retrieval-harness]",
        envvar="HARNESS_CACHE",
        show_envvar=True,
    ),
]
Fresh = Annotated[
    bool,
    typer.Option("--fresh", help="Encode every text again; what the store held is replaced."),
]
FormatOption = Annotated[
    str,
    typer.Option(
        "--format",
        "-f",
        metavar="FORMAT",
        help="How results are printed: terminal, markdown, csv, latex or json.",
    ),
]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="Print results only: no progress, no notes.")
]
Records = Annotated[
    list[Path], typer.Argument(metavar="RECORDS", help="Records: .json files, or folders of them.")
]
Made = Annotated[
    Path, typer.Option("--out", "-o", metavar="FOLDER", help="Folder to write new records to.")
]
Seed = Annotated[int, typer.Option(min=0, metavar="N", help="Random seed.")]
Latency = Annotated[
    int,
    typer.Option(min=0, metavar="N", help="Queries to ask one by one, to time each; 0 times none."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON: short for --format json.")]


class Once(TyperCommand):
    """A command that refuses a second value of an option that takes one: which is meant?"""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the words of a command."""
        _, _, order = self.make_parser(ctx).parse_args(list(args))
        for one in self.params:
            single = isinstance(one, TyperOption) and not one.multiple and not one.is_flag
            if single and order.count(one) > 1:
                raise InputError(f"{one.opts[0]} is given {order.count(one)} times: expected once")
        return super().parse_args(ctx, args)


class Group(TyperGroup):
    """Commands whose help names values as people do, and keeps an example on one line."""

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Find a command, its help put into words."""
        found = super().get_command(ctx, cmd_name)
        if found is not None and "\b\nExample" not in (found.help or ""):
            found.help = (found.help or "").replace("\n\nExample", "\n\n\b\nExample")
            for one in found.params:
                if isinstance(one, TyperArgument):
                    _name_argument(one)
        return found


def _name_argument(argument: TyperArgument) -> None:
    """Show an argument by its name alone, not with Python's type of it."""
    name = f"{argument.metavar}..." if argument.nargs != 1 else str(argument.metavar)
    pieces = [name if argument.required else f"[{name}]"]
    vars(argument).update(display_type_rich=lambda ctx: "", get_usage_pieces=lambda ctx: pieces)


def group(help: str) -> typer.Typer:
    """A group of commands. help: ends with an example."""
    return typer.Typer(cls=Group, help=help, no_args_is_help=True, rich_markup_mode=None)


def show_tables(tables: list[Table], style: str) -> None:
    """Print tables in a format."""
    from harness.report.tables import write

    if style == "terminal":
        terminal.show(tables)
    else:
        print(write(tables, style))


def room(style: str) -> int | None:
    """How many measures there is room for, None for all."""
    return 5 if style == "terminal" else None


def check_format(style: str) -> None:
    """Raise InputError for an unknown format, before anything is computed."""
    from harness.report.tables import FORMATS

    if style not in FORMATS:
        raise InputError(f"--format {style}: expected one of {', '.join(FORMATS)}")


def load_plugins(paths: list[Path] | None) -> None:
    """Take what plugins register and define. Raises InputError."""
    from harness.registry import load_plugin
    from harness.tasks import catalog

    # tasks last: what they name may be what a .py file registers
    for path in sorted(paths or [], key=lambda path: path.suffix == ".toml"):
        catalog.add(path) if path.suffix == ".toml" else load_plugin(path)


def open_store(cache: Path | None, *, fresh: bool = False) -> Store:
    """The store that was asked for, with the limit that the environment sets.

    fresh: what was kept before now plays no part.
    """
    from harness.disk import cache_root
    from harness.store import DEFAULT_LIMIT, Store

    limit = os.environ.get("HARNESS_CACHE_LIMIT")
    most = size(limit) if limit else DEFAULT_LIMIT
    return Store(cache or cache_root(), limit=most, since=time.time() if fresh else 0.0)


def size(text: str) -> int:
    """A size as people write it: 500MB, 10GB, 1.5 GB, 0."""
    units = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
    number = text.strip().rstrip("BKMGTbkmgt ")
    unit = text.strip()[len(number) :].strip().upper()
    try:
        size = int(float(number) * units[unit])
    except (KeyError, ValueError, OverflowError):
        size = -1
    if size < 0:
        raise InputError(f"size {text!r}: expected a number and KB, MB, GB or TB")
    return size


def say(line: str) -> None:
    """Print a line beside the results."""
    print(line, file=sys.stderr, flush=True)


@contextmanager
def renamings_said_last() -> Iterator[None]:
    """Say what was given by an old name, or not kept, when all else is said: a line each, once."""
    shown, lines = warnings.showwarning, dict[str, None]()

    def keep(message: Any, category: type[Warning], *where: Any, **more: Any) -> None:
        if issubclass(category, RenamedWarning | UnkeptWarning):
            lines[str(message)] = None
        else:
            shown(message, category, *where, **more)

    with warnings.catch_warnings():
        warnings.simplefilter("always", RenamedWarning)
        warnings.showwarning = keep
        try:
            yield
        except BaseException as ended:
            if not isinstance(ended, SystemExit) or ended.code:
                lines.clear()  # beside an error they would be taken for the remedy
            raise
        finally:
            for line in lines:
                say(line)


def one_line(error: BaseException) -> str:
    """An error in one line; one that the harness did not foresee with its type."""
    if isinstance(error, HarnessError):
        return " ".join(str(error).split())
    return f"{type(error).__name__}: {reason(error)} (HARNESS_DEBUG=1 shows where)"


def program() -> str:
    """How to call this program from where the user is."""
    beside = Path(sys.executable).parent / "harness"
    if shutil.which("harness") or not beside.exists():
        return "harness"
    return os.path.relpath(beside)
