"""What commands share: options, and how things are said."""

from __future__ import annotations

import errno
import os
import shutil
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

from harness import terminal
from harness.errors import (
    HarnessError,
    InputError,
    RefusedWarning,
    RenamedWarning,
    UnkeptWarning,
    reason,
)
from harness.shown import clean
from harness.wording import tell_idle

if TYPE_CHECKING:
    from harness.frames import Frame, Table
    from harness.store import Store

OUT = Path("results/local")
# warnings to those who write a library or call it, which no user of a command can act on
OF_PROGRAMS = (DeprecationWarning, PendingDeprecationWarning, FutureWarning, ImportWarning,
               ResourceWarning, EncodingWarning)  # fmt: skip

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
Json = Annotated[
    bool,
    typer.Option("--json", expose_value=False, help="Print JSON: short for --format json."),
]


@dataclass(frozen=True)
class Idle:
    """Options that do nothing where others are given, or are not.

    options: names of parameters. where: whether they do nothing, by all values. why: as the user
    is told.
    """

    options: tuple[str, ...]
    where: Callable[[Mapping[str, Any]], bool]
    why: str


MEASURED = ("out", "cache", "fresh")  # what a command that measures on the way does it with
IDLE = {
    "eval": [
        Idle(
            ("index", "rewrite", "latency", "cache", "fresh"),
            lambda given: given["run"] and not given["model"],
            "for --run without --model",
        )
    ],
    "leaderboard": [
        Idle(("task", "latency", *MEASURED), lambda given: not given["model"], "without --model"),
        Idle(("texts", "figure"), lambda given: not given["html"], "without --html"),
    ],
    "freeze": [
        Idle(
            ("cache", "plugin", "quiet"),
            lambda given: not given["costs"] and not given["policy"],
            "without --costs or --policy",
        )
    ],
    "gate": [Idle(MEASURED, lambda given: not given["model"], "without --model")],
    "measures": [Idle(("style", "json"), lambda given: given["page"], "beside --markdown")],
}
"""By command, which options are refused, and where."""


class Once(TyperCommand):
    """A command that refuses options that do nothing, and a second value of one that takes one."""

    def __init__(self, *words: Any, **options: Any) -> None:
        super().__init__(*words, **options)
        _offer_json(self.params)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the words of a command. Raises InputError."""
        _, _, order = self.make_parser(ctx).parse_args(list(args))
        for one in self.params:
            single = isinstance(one, TyperOption) and not one.multiple and not one.is_flag
            if single and order.count(one) > 1:
                raise InputError(f"{one.opts[0]} is given {order.count(one)} times: expected once")
        rest = super().parse_args(ctx, args)
        _read_format(ctx)
        for idle in IDLE.get(str(self.name), ()):
            given = _name_given(ctx, idle.options) if idle.where(ctx.params) else []
            if given:
                raise InputError(f"{tell_idle(given)} {idle.why}")
        return rest


def _take_json(json: Json = False) -> None:
    """Stand for a command, so that typer makes the option."""


def _offer_json(params: list[Any]) -> None:
    """Give a command that prints in several formats the short option for one of them."""
    names = [one.name for one in params]
    if "style" in names:
        made = typer.Typer(add_completion=False)
        made.command()(_take_json)
        params.insert(names.index("style") + 1, typer.main.get_command(made).params[0])


def _name_given(ctx: Any, names: Iterable[str]) -> list[str]:
    """Those of a command's options that the user gave, not the environment."""
    return [
        one.opts[0]
        for one in ctx.command.params
        if one.name in names and ctx.get_parameter_source(one.name).name == "COMMANDLINE"
    ]


def _read_format(ctx: Any) -> None:
    """Fold --json into the format, and refuse one that there is not. Raises InputError."""
    if "style" not in ctx.params:
        return
    from harness.report.tables import FORMATS

    style = ctx.params["style"]
    given = _name_given(ctx, ("style", "json"))
    if len(given) == 2 and style != "json":
        raise InputError(f"--json and --format {style}: expected one of them")
    if style not in FORMATS:
        raise InputError(f"--format {style}: expected one of {', '.join(FORMATS)}")
    if "--json" in given:
        ctx.params["style"] = "json"


class Group(TyperGroup):
    """Commands whose help names values as people do, and keeps an example on one line.

    Attributes:
        listing: Parameters of what is listed where no command is named.
    """

    listing: tuple[str, ...] = ("style", "json", "plugin")

    def __init__(self, *words: Any, **options: Any) -> None:
        super().__init__(*words, **options)
        _offer_json(self.params)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the words before a command, or in place of one. Raises InputError."""
        if not args and self.no_args_is_help:
            print(ctx.get_help())
            ctx.exit()
        rest = super().parse_args(ctx, args)
        _read_format(ctx)
        return rest

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command that is named, and read no options for another one.

        Raises:
            InputError: There is no such command; or options were given that only listing takes.
        """
        from harness.registry import unknown

        name = args[0]
        if self.get_command(ctx, name) is None:
            raise unknown("command", name, self.list_commands(ctx))
        given = _name_given(ctx, self.listing)
        if given:
            raise InputError(f"{', '.join(given)} before {name}: expected after it, or not at all")
        return super().resolve_command(ctx, args)

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


def show_tables(
    tables: Sequence[Table | Frame], style: str, document: Callable[[], Any] | None = None
) -> None:
    """Print tables in a format.

    Args:
        tables: What people read.
        style: Of FORMATS.
        document: Makes what programs read; without it, the tables are frames.
    """
    from harness.frames import Frame
    from harness.report import data
    from harness.report.tables import write

    if style in ("json", "csv"):
        frames = [table for table in tables if isinstance(table, Frame)]
        print(data.write(document() if document else data.of_frames(frames), style))
        return
    written = [table.table() if isinstance(table, Frame) else table for table in tables]
    if style == "terminal":
        terminal.show(written)
    else:
        print(write(written, style))


def room(style: str) -> int | None:
    """How many measures there is room for, None for all."""
    return 5 if style == "terminal" else None


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
    print(clean(line), file=sys.stderr, flush=True)


@contextmanager
def renamings_said_last() -> Iterator[None]:
    """Say what was given by an old name, or not kept, when all else is said: a line each, once.

    So is what libraries warn of, but for what only concerns those who write programs.
    """
    shown, lines = warnings.showwarning, dict[str, type[Warning]]()
    notes = dict[str, None]()

    def keep(message: Any, category: type[Warning], *where: Any, **more: Any) -> None:
        if issubclass(category, RefusedWarning | RenamedWarning | UnkeptWarning):
            lines[str(message)] = category
        elif os.environ.get("HARNESS_DEBUG"):
            shown(message, category, *where, **more)
        elif not issubclass(category, OF_PROGRAMS):
            notes[f"note: a library warns: {' '.join(str(message).split())}"] = None

    with warnings.catch_warnings():
        warnings.simplefilter("always", RenamedWarning)
        warnings.simplefilter("always", RefusedWarning)
        warnings.showwarning = keep
        try:
            yield
        except BaseException as ended:
            if not isinstance(ended, SystemExit) or ended.code:
                # beside an error the others would be taken for the remedy
                lines = {k: kind for k, kind in lines.items() if kind is RefusedWarning}
            raise
        finally:
            for line in [*lines, *notes]:
                say(line)


def one_line(error: BaseException) -> str:
    """An error in one line; one that the harness did not foresee with its type."""
    if isinstance(error, HarnessError):
        return " ".join(str(error).split())
    if isinstance(error, MemoryError):
        return f"not enough memory: {reason(error)}"
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return f"{type(error).__name__}: {reason(error)} (HARNESS_DEBUG=1 shows where)"


def is_misuse(error: BaseException) -> bool:
    """Whether what was asked for is wrong: also a name that no file can have."""
    too_long = isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG
    return too_long or isinstance(error, InputError)


def program() -> str:
    """How to call this program from where the user is."""
    beside = Path(sys.executable).parent / "harness"
    if shutil.which("harness") or not beside.exists():
        return "harness"
    return os.path.relpath(beside)
