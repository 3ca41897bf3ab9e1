"""How tables and progress look on a terminal; for harness.cli and harness.api."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from harness.outlet import Outlet, put
from harness.progress import Progress, silent
from harness.shown import clean

if TYPE_CHECKING:
    from rich.progress import Progress as Bars

    from harness.frames import Table

NARROW, WIDE = 8, 24  # characters that a column of texts gets at least, on a terminal, in a file
PAGE = 120  # columns of tables where there is no terminal, and COLUMNS does not say
PATIENCE_S = 10.0  # between two lines of progress where there is no terminal
OVERWRITTEN_S = 0.2  # between two states of a notebook's line


def show(tables: Sequence[Table]) -> None:
    """Print tables to standard output, as wide as the terminal, or as a page in a file.

    Titles, and texts with addresses, below their table, stand whole in lines of their own.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table as Grid
    from rich.text import Text

    known = sys.stdout.isatty() or os.environ.get("COLUMNS")
    console = Console(width=None if known else PAGE, highlight=False)
    room = console.width
    for table in map(_clean_table, tables):
        grid = Grid(
            box=box.SIMPLE_HEAD,
            show_header=any(table.header),
        )
        console.width = max(room, _measure(table, NARROW if known else WIDE))
        inside = [i for i in range(len(table.header)) if i not in table.links]
        for column, name in ((i, table.header[i]) for i in inside):
            right = column in table.numeric
            widths = [min(len(name), NARROW), *(len(row[column]) for row in table.rows)]
            widest = max(widths) if right else 0
            grid.add_column(
                Text(name),
                justify="right" if right else "left",
                overflow="fold",
                min_width=min(widest, 24) or None,
            )
        for row in table.rows:
            grid.add_row(*(Text(row[column]) for column in inside))
        with console.capture() as captured:
            console.print(Text(table.title, "bold"), soft_wrap=True)
            console.print(grid)
            for line in _list_links(table):
                console.print(Text(line), soft_wrap=True)
        text = "\n".join(map(str.rstrip, captured.get().splitlines()))
        put(text) if console.is_terminal else print(text)


def _clean_table(table: Table) -> Table:
    rows = [[clean(cell) for cell in row] for row in table.rows]
    header = [clean(name) for name in table.header]
    return replace(table, title=clean(table.title), header=header, rows=rows)


def _measure(table: Table, text: int) -> int:
    """Columns that a table needs, so that no number is cut off. text: room of a column of texts."""
    needed = 2
    for column, name in enumerate(table.header):
        width = max([len(row[column]) for row in table.rows], default=0)
        if column in table.numeric:
            needed += 3 + max(width, min(len(name), text))
        elif column not in table.links:
            needed += 3 + min(max(width, len(name)), text)
    return needed


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
        how = f"{_short(done)}/{_short(total)} {unit}" if total else ""
        if rate:
            how += f", {_short(rate)}/s"
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
        how = f" {_short(done)}/{_short(total)} {unit}" if total else ""
        how += f", {_short(rate)}/s" if rate else ""
        self.handle.update({"text/plain": clean(f"{self.title}: {stage}{how}")}, raw=True)


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
        how = f" {_short(done)}/{_short(total)} {unit}" if total else ""
        if rate:
            how += f", {_short(rate)}/s, {(total - done) / rate:.0f} s left"
        print(clean(f"{self.title}: {stage}{how}"), file=sys.stderr, flush=True)


def _short(value: float) -> str:
    """A count in few characters: 950, 12,300, 4.1 M."""
    for size, mark in ((1e9, " G"), (1e6, " M")):
        if value >= size:
            return f"{value / size:.1f}{mark}"
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.1f}"
