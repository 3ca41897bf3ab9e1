"""Two runs of one study side by side: which numbers moved, row by row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path

from harness.errors import InputError
from harness.frames import Cell, Column, Frame, Table
from harness.report.data import SCHEMA
from harness.report.findings import Saved, load_findings, study_folder
from harness.spec import parse
from harness.stats import Estimate
from harness.wording import count

NAMING = ("text", "flag", "count", "number")  # units of what tells rows apart
MOVED = ["frame", "row", "column", "first", "second", "first less second"]
Measured = dict[str, tuple[Column, Cell]]  # by column name
Moved = tuple[str, str, Column, Cell, Cell]  # frame, row, column, and both values


def read_both(first: Path, second: Path) -> tuple[Saved, Saved] | None:
    """Both studies, None where neither path is of one.

    Raises:
        InputError: One is a study and the other is not, or they are of two studies.
    """
    paths = first, second
    folders = [study_folder(path) for path in paths]
    if folders == [None, None]:
        return None
    for path, folder in zip(paths, folders, strict=True):
        if folder is None:
            raise InputError(f"{path}: not the folder of a study, as the other is: expected both")
    one, other = (load_findings(folder) for folder in folders if folder)
    names = [parse(saved.about.study).name for saved in (one, other)]
    if names[0] != names[1]:
        raise InputError(
            f"{first} is of the study {names[0]}, {second} of {names[1]}: expected two of one study"
        )
    return one, other


def page(one: Saved, other: Saved) -> list[Table]:
    """What was run, which values moved, and how many rows only one of the two has."""
    moved, equal, alone = _compare(one, other)
    cells = [
        [name, row, column.name, column.write(a), column.write(b), _write(_subtract(a, b))]
        for name, row, column, a, b in moved
    ]
    counts = ["rows that the other lacks", *map(str, alone)]
    tables = [Table("Two runs", ["", "first", "second"], [*_facts(one, other), counts])]
    if moved:
        title = f"{len(moved):,} of {count(len(moved) + equal, 'value')} differ"
        return [*tables, Table(title, MOVED, cells, frozenset({3, 4, 5}))]
    alike = f"{count(equal, 'value')} compared, no difference"
    note = alike if equal else "no row is in both: nothing is compared"
    return [*tables, Table("Notes", [""], [[note]])]


def data(one: Saved, other: Saved) -> dict[str, object]:
    """The same as a document: what was run, and the values that moved."""
    moved, equal, alone = _compare(one, other)
    runs = [
        dict(zip(("fact", "first", "second"), fact, strict=True)) for fact in _facts(one, other)
    ]
    return {
        "schema": SCHEMA,
        "equal": equal,
        "only_first": alone[0],
        "only_second": alone[1],
        "runs": runs,
        "moved": [
            {
                "frame": name,
                "row": row,
                "column": column.name,
                "first": a,
                "second": b,
                "difference": _subtract(a, b),
            }
            for name, row, column, a, b in moved
        ],
    }


def _compare(one: Saved, other: Saved) -> tuple[list[Moved], int, tuple[int, int]]:
    """Values that moved, how many did not, and how many rows only one of the two has.

    Rows are the same where all before their first measured column is: one with a direction, or of
    another unit than texts and counts.
    """
    moved, equal, alone = list[Moved](), 0, (0, 0)
    frames = [{f.name: f for f in s.findings.frames if f.shown} for s in (one, other)]
    for name in dict.fromkeys([*frames[0], *frames[1]]):
        here, there = (_rows(of.get(name)) for of in frames)
        alone = alone[0] + len(here.keys() - there), alone[1] + len(there.keys() - here)
        for key in [key for key in here if key in there]:
            row = ", ".join(filter(None, key[:-1]))
            for column, (a, b) in _both(here[key], there[key]):
                equal += a == b
                moved += [] if a == b else [(name, row, column, a, b)]
    return moved, equal, alone


def _facts(one: Saved, other: Saved) -> list[list[str]]:
    """What was run and found: the name of a fact, then that of each side."""
    sides = [
        (
            saved.about.study, ", ".join(saved.about.systems), saved.about.task,
            str(saved.about.seed), saved.about.created, saved.findings.headline,
        )
        for saved in (one, other)
    ]  # fmt: skip
    names = ("study", "systems", "task", "seed", "created", "found")
    return [list(fact) for fact in zip(names, *sides, strict=True)]


def _rows(frame: Frame | None) -> dict[tuple[str, ...], Measured]:
    """Measured cells by what names their row: its texts, then how often they stood above it."""
    found, seen = dict[tuple[str, ...], Measured](), Counter[tuple[str, ...]]()
    if frame is None:
        return found
    n = len(list(takewhile(_names, frame.columns)))
    for row in frame.rows:
        key = tuple(c.write(cell) for c, cell in zip(frame.columns[:n], row[:n], strict=True))
        measured = zip(frame.columns[n:], row[n:], strict=True)
        found[*key, str(seen[key])] = {column.name: (column, cell) for column, cell in measured}
        seen[key] += 1
    return found


def _names(column: Column) -> bool:
    return column.unit in NAMING and not column.better


def _both(here: Measured, there: Measured) -> Iterator[tuple[Column, tuple[Cell, Cell]]]:
    """Columns that both have, with the cells of both."""
    for name, (column, cell) in here.items():
        if name in there and there[name][0].unit == column.unit:
            yield column, (cell, there[name][1])


def _subtract(one: Cell, other: Cell) -> float | None:
    """The first less the second, of estimates their means; nothing for texts."""
    a, b = (cell.mean if isinstance(cell, Estimate) else cell for cell in (one, other))
    if isinstance(a, bool | str | None) or isinstance(b, bool | str | None):
        return None
    return a - b


def _write(difference: float | None) -> str:
    return "" if difference is None else f"{difference:+,.4g}"
