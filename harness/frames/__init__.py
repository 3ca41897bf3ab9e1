"""Frames: typed columns of results, for the terminal, pandas, Parquet, JSON and charts.

    frame = Frame("Scores", [Column("system"), Column("nDCG@10", "estimate")], rows, name="scores")
    frame["system"]      frame.where("system", "bm25")      frame.to_pandas()      frame.table()

A column says what its values are; how they are written follows from that, in one place for all.
"""

from __future__ import annotations

import html
import json
import math
import operator
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from io import BytesIO
from typing import TYPE_CHECKING, Any, Literal

from harness.arrays import is_finite
from harness.errors import InputError
from harness.frames import formats
from harness.frames.formats import INTERVALS, UNITS, WHOLE, WORDS, Unit
from harness.masking import mask
from harness.parameters import LARGEST
from harness.stats import Estimate
from harness.wording import count

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

SCHEMA = 1
METADATA = b"harness.frame"  # in a Parquet file's schema

Better = Literal["", "high", "low"]
Cell = str | bool | int | float | Estimate | None


@dataclass(frozen=True)
class Table:
    """A title, a header and rows of text; `links` are columns that a terminal writes below."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    numeric: frozenset[int] = frozenset()  # set flush right
    links: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Column:
    """A column's name and what its values are.

    Args:
        name: Unique in its frame; with its unit the header and the label of an axis.
        unit: What values are, one of UNITS.
        better: Which values are better, where one can say so: high or low.
        about: What it means, in a phrase.
        digits: Decimals shown, in place of those of the unit.
    """

    name: str
    unit: Unit = "text"
    better: Better = ""
    about: str = ""
    digits: int | None = None

    def __post_init__(self) -> None:
        if self.unit not in UNITS:
            raise InputError(f"column {self.name}: unit {self.unit!r}: expected one of {UNITS}")

    @property
    def header(self) -> str:
        """The name with its unit, as tables and axes have it."""
        return self.name + ("" if self.name == self.unit else formats.SUFFIXES.get(self.unit, ""))

    def write(self, cell: Cell) -> str:
        """Write a value as a page shows it: a dash for a number that is not there."""
        if cell is None:
            return "" if self.unit in WORDS else "–"
        if isinstance(cell, str):
            return cell
        return formats.write(cell, self.unit, self.digits)

    def read(self, cell: Any) -> Cell:
        """Take a value as what the column holds: a NumPy number as a number.

        Raises:
            TypeError: for a value of another type.
            ValueError: for a number that is not finite.
        """
        if cell is None:
            return None
        if self.unit in INTERVALS:
            if not isinstance(cell, Estimate):
                raise TypeError(f"column {self.name}: {cell!r}: expected an Estimate")
            bounds = (self._number(x) for x in (cell.mean, cell.low, cell.high) if x is not None)
            return Estimate(*bounds)
        if self.unit == "flag" and cell in (True, False):
            return bool(cell)
        if self.unit in ("text", "link") and isinstance(cell, str):
            return mask(cell)
        if self.unit in WORDS:
            raise TypeError(f"column {self.name}: {cell!r}: expected a {self.unit}")
        return self._number(cell)

    def _number(self, value: Any) -> float:
        number = operator.index(value) if self.unit in WHOLE else value
        if not is_finite(number) or (self.unit in WHOLE and abs(number) > LARGEST):
            raise ValueError(f"column {self.name} holds {value}: expected a number or None")
        return number if self.unit in WHOLE else float(number)


def follow(columns: Sequence[Column], sign: int) -> list[Column]:
    """The columns of a measure's values and changes, as they are where high values of it are good.

    Args:
        columns: Of a frame: those of scores, estimates and changes of both kinds are the measure's.
        sign: -1 to turn these round.
    """
    turned: dict[Better, Better] = {"high": "low", "low": "high", "": ""}
    return [
        replace(column, better=turned[column.better])
        if sign < 0 and column.unit in ("score", "estimate", "change", "relative")
        else column
        for column in columns
    ]


@dataclass(frozen=True, init=False, repr=False)
class Frame:
    """Rows of cells under typed columns.

    Args:
        title: What the frame shows, a phrase.
        columns: Their names are unique.
        rows: Cells in the order of the columns; None where there is no value.
        name: Short and unique in a study: the name of its Parquet file.
        turned: Laid out with a row a column, for few rows of many unlike values; the first column
            names the rows.
        shown: Whether pages and terminals show it; else it is kept, and may be drawn.
    """

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    name: str
    turned: bool
    shown: bool

    def __init__(
        self,
        title: str,
        columns: Sequence[Column],
        rows: Sequence[Sequence[Any]],
        *,
        name: str,
        turned: bool = False,
        shown: bool = True,
    ) -> None:
        names = [column.name for column in columns]
        if len(set(names)) < len(names):
            raise ValueError(f"frame {name}: two columns have one name: {names}")
        for row in rows:
            if len(row) != len(columns):
                raise ValueError(f"frame {name}: {len(row)} cells, {len(columns)} columns: {row}")
        cells = tuple(
            tuple(column.read(cell) for column, cell in zip(columns, row, strict=True))
            for row in rows
        )
        for field, value in {
            "title": title, "columns": tuple(columns), "rows": cells, "name": name,
            "turned": turned, "shown": shown,
        }.items():  # fmt: skip
            object.__setattr__(self, field, value)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, name: str) -> tuple[Cell, ...]:
        """The values of a column."""
        at = self._place(name)
        return tuple(row[at] for row in self.rows)

    def column(self, name: str) -> Column:
        """The column of a name."""
        return self.columns[self._place(name)]

    def numbers(self, name: str) -> list[float]:
        """A column as numbers: means of estimates, NaN for what is not there."""
        return [math.nan if cell is None else float(_order(cell)) for cell in self[name]]

    def estimates(self, name: str) -> list[Estimate]:
        """A column of estimates without what is not there."""
        return [cell for cell in self[name] if isinstance(cell, Estimate)]

    def records(self) -> list[dict[str, Any]]:
        """Rows as cells by column name."""
        names = [column.name for column in self.columns]
        return [dict(zip(names, row, strict=True)) for row in self.rows]

    def values(self, name: str) -> list[Cell]:
        """The different values of a column, in the order of their first row."""
        return list(dict.fromkeys(self[name]))

    def where(self, name: str, *wanted: Cell) -> Frame:
        """Keep the rows whose cell is one of the wanted values."""
        at = self._place(name)
        return self._with(rows=[row for row in self.rows if row[at] in wanted])

    def sorted_by(self, name: str, *, descending: bool = False) -> Frame:
        """Order rows by a column, estimates by their mean, None last; equals stay as they are."""
        at = self._place(name)
        there = [row for row in self.rows if row[at] is not None]
        there.sort(key=lambda row: _order(row[at]), reverse=descending)
        return self._with(rows=[*there, *(row for row in self.rows if row[at] is None)])

    def select(self, *names: str) -> Frame:
        """Keep these columns, in this order."""
        at = [self._place(name) for name in names]
        return self._with([self.columns[i] for i in at], [[r[i] for i in at] for r in self.rows])

    def with_column(self, column: Column, values: Sequence[Any]) -> Frame:
        """Add a column behind the others."""
        rows = [(*row, value) for row, value in zip(self.rows, values, strict=True)]
        return self._with([*self.columns, column], rows)

    def pivot(self, rows: str, columns: str, values: str, *, title: str, name: str) -> Frame:
        """Spread one column over several: a row each of `rows`, a column each of `columns`.

        Raises:
            ValueError: where two rows fall into one cell.
        """
        shown, made = self.column(values), dict[Cell, dict[Cell, Cell]]()
        for row, column, value in zip(self[rows], self[columns], self[values], strict=True):
            if column in made.setdefault(row, {}):
                raise ValueError(f"frame {self.name}: two values of {row}, {column}")
            made[row][column] = value
        heads = self.values(columns)
        names = [replace(shown, name=self.column(columns).write(head), about="") for head in heads]
        cells = [(row, *(found.get(head) for head in heads)) for row, found in made.items()]
        return Frame(title, [self.column(rows), *names], cells, name=name)

    def table(self, room: int | None = None) -> Table:
        """Lay the frame out as text.

        Args:
            room: Columns shown at most, the first ones; None for all.
        """
        columns = self.columns[:room]
        text = [[c.write(cell) for c, cell in zip(columns, row, strict=False)] for row in self.rows]
        if not self.turned:
            numeric = frozenset(i for i, c in enumerate(columns) if c.unit not in WORDS)
            links = frozenset(i for i, c in enumerate(columns) if c.unit == "link")
            return Table(self.title, [c.header for c in columns], text, numeric, links)
        about = any(column.about for column in columns[1:])
        rows = [
            [column.header, *(row[i] for row in text), *([column.about] if about else [])]
            for i, column in enumerate(columns)
        ][1:]
        header = [columns[0].name, *(row[0] for row in text), *(["meaning"] if about else [])]
        return Table(self.title, header, rows, frozenset(range(1, len(text) + 1)))

    def plain(self) -> dict[str, Any]:
        """The frame as what JSON can hold; `saved.from_plain` reads it."""
        rows = [[_plain(cell) for cell in row] for row in self.rows]
        return {**self._about(), "rows": rows}

    def flat(self) -> dict[str, list[Any]]:
        """Values by column; an estimate x as three columns: x, x_low, x_high."""
        found = dict[str, list[Any]]()
        for column in self.columns:
            cells = self[column.name]
            if column.unit not in INTERVALS:
                found[column.name] = list(cells)
                continue
            for part, name in zip(_PARTS, interval_columns(column.name), strict=True):
                found[name] = [_plain(cell).get(part) if cell else None for cell in cells]
        return found

    def __repr__(self) -> str:
        names = ", ".join(column.name for column in self.columns)
        return f"Frame({self.name}, {count(len(self), 'row')} of {names})"

    def _repr_html_(self) -> str:
        return f"<p>{html.escape(self.title)}</p>{self.to_pandas().to_html(index=False)}"

    def to_pandas(self) -> pd.DataFrame:
        """The frame for pandas; `attrs` holds the schema's number and the columns' metadata."""
        import pandas as pd

        made = pd.DataFrame(self.flat())
        made.attrs = self._about()
        return made

    def parquet(self) -> bytes:
        """The frame as a Parquet file, which `saved.read_parquet` reads back exactly."""
        from pyarrow import parquet

        buffer = BytesIO()
        parquet.write_table(self._arrow(), buffer)
        return buffer.getvalue()

    def _arrow(self) -> pa.Table:
        import pyarrow as pa

        kinds = {"flag": pa.bool_(), **dict.fromkeys(WHOLE, pa.int64())}
        kinds |= dict.fromkeys(("text", "link"), pa.string())
        fields = [
            pa.field(name, kinds.get(column.unit, pa.float64()))
            for column in self.columns
            for name in (
                interval_columns(column.name) if column.unit in INTERVALS else [column.name]
            )
        ]
        schema = pa.schema(fields, {METADATA: json.dumps(self._about()).encode()})
        return pa.table(self.flat(), schema=schema)

    def _about(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            **{key: vars(self)[key] for key in ("name", "title", "turned", "shown")},
            "columns": [asdict(column) for column in self.columns],
        }

    def _with(
        self, columns: Sequence[Column] | None = None, rows: Sequence[Sequence[Any]] = ()
    ) -> Frame:
        made = self.columns if columns is None else tuple(columns)
        return replace(self, columns=made, rows=tuple(map(tuple, rows)))

    def _place(self, name: str) -> int:
        names = [column.name for column in self.columns]
        if name not in names:
            raise KeyError(f"frame {self.name} has no column {name!r}: {', '.join(names)}")
        return names.index(name)


_PARTS = ("mean", "low", "high")


def interval_columns(name: str) -> list[str]:
    """Columns of a Parquet file that hold an estimate: its mean and its bounds."""
    return [name, f"{name}_low", f"{name}_high"]


def _plain(cell: Cell) -> Any:
    return asdict(cell) if isinstance(cell, Estimate) else cell


def _order(cell: Cell) -> Any:
    return cell.mean if isinstance(cell, Estimate) else cell
