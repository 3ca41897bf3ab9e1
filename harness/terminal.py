"""How tables and progress look on a terminal; for harness.cli and harness.api."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from harness.outlet import Outlet, put
from harness.progress import Progress, silent
from harness.shown import clean

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.table import Table as Grid

    from harness.frames import Table

NARROW, WIDE = 8, 24  # characters that columns of texts get at least, on a terminal, in a file
PAGE = 120  # columns of tables where there is no terminal, and COLUMNS does not say
PATIENCE_S = 10.0  # between two lines of progress where there is no terminal
OVERWRITTEN_S = 0.2  # between two states of a notebook's line


def show(tables: Sequence[Table]) -> None:
    """Print tables to standard output, as wide as the terminal, or as a page in a file.

    A table that a terminal has no room for is printed in parts below each other, each with the
    columns that name its rows. Titles, and texts with addresses, below their table, stand whole in
    lines of their own.
    """
    from rich.console import Console
    from rich.text import Text

    known = sys.stdout.isatty() or os.environ.get("COLUMNS")
    console = Console(width=None if known else PAGE, highlight=False)
    room = console.width
    for table in map(_clean_table, tables):
        inside = [i for i in range(len(table.header)) if i not in table.links]
        least, whole = _measure(table, NARROW if known else WIDE)
        with console.capture() as captured:
            console.print(Text(table.title, "bold"), soft_wrap=True)
            for part in _part(inside, table.numeric, least, room) if known else [inside]:
                widths = _fit([least[i] for i in part], [whole[i] for i in part], room)
                console.width = max(room, _frame(widths))
                console.print(_grid(table, dict(zip(part, widths, strict=True))))
            for line in _list_links(table):
                console.print(Text(line), soft_wrap=True)
        text = "\n".join(map(str.rstrip, captured.get().splitlines()))
        put(text) if console.is_terminal else print(text)


def _clean_table(table: Table) -> Table:
    rows = [[clean(cell) for cell in row] for row in table.rows]
    header = [clean(name) for name in table.header]
    return replace(table, title=clean(table.title), header=header, rows=rows)


def _grid(table: Table, widths: Mapping[int, int]) -> Grid:
    """Lay out some columns of a table. widths: by column."""
    from rich import box
    from rich.table import Table as Grid
    from rich.text import Text

    made = Grid(box=box.SIMPLE_HEAD, show_header=any(table.header))
    for column, width in widths.items():
        side: Literal["left", "right"] = "right" if column in table.numeric else "left"
        made.add_column(Text(table.header[column]), justify=side, overflow="fold", width=width)
    for row in table.rows:
        made.add_row(*(Text(row[column]) for column in widths))
    return made


def _measure(table: Table, text: int) -> tuple[list[int], list[int]]:
    """Characters that each column needs, so that no number is broken, and that it would fill.

    text: what a column of texts needs at most, and the name of one of numbers.
    """
    from rich.cells import cell_len

    least, whole = list[int](), list[int]()
    for column, name in enumerate(table.header):
        head, cells = cell_len(name), max([cell_len(row[column]) for row in table.rows], default=0)
        whole.append(max(head, cells, 1))
        unbroken = cells if column in table.numeric else 0
        least.append(max(unbroken, min(whole[-1], text)))
    return least, whole


def _part(
    columns: Sequence[int], numeric: Container[int], least: Sequence[int], room: int
) -> Iterator[list[int]]:
    """Columns in as few parts as have room, each with those that name rows: the first, or two.

    Two where the second is of texts: a task and a system, a rank and a system.
    """
    names = [*columns[:1], *(i for i in columns[1:2] if i not in numeric)]
    part = list(names)
    for column in columns[len(names) :]:
        if part != names and _frame([least[i] for i in [*part, column]]) > room:
            yield part
            part = list(names)
        part.append(column)
    yield part


def _frame(widths: Sequence[int]) -> int:
    """Characters of a line of columns with what stands around them."""
    return sum(widths) + 3 * len(widths) + 1


def _fit(least: Sequence[int], whole: Sequence[int], room: int) -> list[int]:
    """Widths of columns within a room, where there is one: the widest give way first."""
    for most in range(max(whole, default=0), 0, -1):
        widths = [max(own, min(full, most)) for own, full in zip(least, whole, strict=True)]
        if _frame(widths) <= room:
            return widths
    return list(least)


def _list_links(table: Table) -> list[str]:
    """A line for each text with an address, after the first cells of the rows that have it."""
    named = dict[str, list[str]]()
    for column in sorted(table.links):
        for row in table.rows:
            if row[column]:
                named.setdefault(row[column], []).append(row[0])
    return [f"  {', '.join(names)}: {text}" for text, names in named.items()]


@contextmanager
def showing(title: str, quiet: bool) -> Iterator[Progress]:
    """A Progress on standard error: a bar on a terminal, else a line every ten seconds."""
    if quiet or sys.stderr is None:  # as it is of a program without a console
        yield silent
    elif _is_terminal():
        with _bars() as bars:
            sys.stderr = Outlet(sys.stderr, needed=False)  # where rich prints above the bar
            yield _Bar(bars, title).report
    else:
        yield _Lines(title).report


@contextmanager
def watch(title: str) -> Iterator[Progress]:
    """A Progress for calls from Python: a bar on a terminal, a line in a notebook, else nothing."""
    display = _find_display()
    if display is not None:
        handle = display({"text/plain": clean(title)}, raw=True, display_id=True)
        yield _Cell(handle, title).report
        handle.update({"text/plain": clean(f"{title}: done")}, raw=True)
    else:
        with showing(title, quiet=not _is_terminal()) as progress:
            yield progress


def _is_terminal() -> bool:
    with suppress(AttributeError, ValueError):  # there is none, or it is closed
        return sys.stderr.isatty()
    return False


def _find_terminal() -> Any:
    """What standard error is behind outlets and rich's own stream: bars move the cursor."""
    from rich.file_proxy import FileProxy

    stream: Any = sys.stderr
    while isinstance(stream, Outlet | FileProxy):
        stream = stream.stream if isinstance(stream, Outlet) else stream.rich_proxied_file
    return stream


def _find_display() -> Callable[..., Any] | None:
    """IPython's display, where this is a notebook."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    if shell is None or not hasattr(shell, "kernel"):
        return None
    from IPython.display import display

    shown: Callable[..., Any] = display
    return shown


def _bars() -> Bars:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        SpinnerColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[how]}"),
        TimeRemainingColumn(),
        console=Console(file=_find_terminal()),
        transient=True,
        redirect_stdout=False,
    )


@dataclass
class _Stage:
    """The stage under way and when it began; the rate counts from there."""

    name: str = ""
    began: float = 0.0
    first: int = 0

    def rate(self, stage: str, done: int) -> float | None:
        """Items a second since the stage began, None before there is anything to tell."""
        now = time.monotonic()
        if stage != self.name:
            self.name, self.began, self.first = stage, now, done
        took = now - self.began
        return (done - self.first) / took if took > 0.2 and done > self.first else None


@dataclass
class _Bar:
    bars: Bars
    title: str
    stage: _Stage = field(default_factory=_Stage)

    def __post_init__(self) -> None:
        self.task = self.bars.add_task(clean(self.title), total=None, how="")

    def report(self, stage: str, done: int, total: int, unit: str) -> None:
        new = stage != self.stage.name
        rate = self.stage.rate(stage, done)
        if new:
            self.bars.reset(self.task, total=total or None)
        how = _tell(done, total, unit, rate)
        what = clean(f"{self.title}: {stage}")
        self.bars.update(self.task, description=what, completed=done, total=total or None, how=how)


@dataclass
class _Cell:
    """A line of a notebook that is written over. handle: what IPython's display gives."""

    handle: Any
    title: str
    stage: _Stage = field(default_factory=_Stage)
    said: float = 0.0

    def report(self, stage: str, done: int, total: int, unit: str) -> None:
        rate, now = self.stage.rate(stage, done), time.monotonic()
        if now - self.said < OVERWRITTEN_S:
            return
        self.said = now
        line = f"{self.title}: {stage} {_tell(done, total, unit, rate)}".rstrip()
        self.handle.update({"text/plain": clean(line)}, raw=True)


@dataclass
class _Lines:
    title: str
    stage: _Stage = field(default_factory=_Stage)
    said: float = field(default_factory=time.monotonic)

    def report(self, stage: str, done: int, total: int, unit: str) -> None:
        rate = self.stage.rate(stage, done)
        if time.monotonic() - self.said < PATIENCE_S:
            return
        self.said = time.monotonic()
        line = f"{self.title}: {stage} {_tell(done, total, unit, rate)}".rstrip()
        left = f", {(total - done) / rate:.0f} s left" if rate and total else ""
        print(clean(line + left), file=sys.stderr, flush=True)


def _tell(done: int, total: int, unit: str, rate: float | None) -> str:
    """How far a stage is, and how fast: 5/10 texts, 2/s. total: 0 where it is not known."""
    far = f"{_short(done)}/{_short(total)} {unit}" if total else ""
    return ", ".join(filter(None, [far, f"{_short(rate)}/s" if rate else ""]))


def _short(value: float) -> str:
    """A count in few characters: 950, 12,300, 4.1 M."""
    for size, mark in ((1e9, " G"), (1e6, " M")):
        if value >= size:
            return f"{value / size:.1f}{mark}"
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.1f}"
