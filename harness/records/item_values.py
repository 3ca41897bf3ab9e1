"""What each item adds to a measure, read from beside a record: what paired tests are made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness import records, stats
from harness.arrays import Float64
from harness.errors import InputError, reason
from harness.records import Record


class IncomparableError(InputError):
    """Two scores that do not answer the same question."""


@dataclass(frozen=True)
class ItemValues:
    """What each item adds to a measure: columns [n] whose means are the scores.

    noun: what an item is: query, pair, text.
    """

    ids: list[str]
    columns: dict[str, Float64]
    noun: str


def read_items(held: Path | Mapping[str, Any], record: Record) -> ItemValues:
    """Values of each item, of the measures that have them."""
    if isinstance(held, Path):
        place, table = str(held.with_suffix(".parquet")), _read_columns(held)
    else:
        place, table = f"{record.name} on {record.task.spec}", held
    means = {name: score.mean for name, score in record.scores.items() if score.mean is not None}
    columns = {
        name: values
        for name, mean in means.items()
        if (values := read_values(table, name, mean, place)) is not None
    }
    name, ids = next(iter(table.items()))  # of the ids, as query_id, pair, text
    noun = name.removesuffix("_id").replace("_", " ")
    return ItemValues([str(id) for id in ids], columns, noun)


def read_measure(path: Path, measure: str, mean: float) -> tuple[list[str], Float64]:
    """Return the ids of items, and what each adds to one measure, [n].

    Args:
        path: Of a record that they stand beside.
        measure: Its name.
        mean: What the record says that they average to.

    Raises:
        IncomparableError: They are not there, are damaged, or of another record.
    """
    table = _read_columns(path)
    values = read_values(table, measure, mean, str(path))
    if values is None:
        raise IncomparableError(f"{path}: no values of {measure} for each item")
    return [str(id) for id in next(iter(table.values()))], values


def read_values(table: Mapping[str, Any], name: str, mean: float, place: str) -> Float64 | None:
    """What each item adds to a measure [n]; None where it has no such values.

    Args:
        table: Columns of what was scored.
        name: Of the measure.
        mean: What the values have to average to.
        place: Where the columns are from.

    Raises:
        IncomparableError: They average to something else, or are no numbers.
    """
    kind, _, correlation = name.rpartition("_")
    if name in table:
        values = _to_floats(table, name, place)
    elif {kind, "gold"} <= set(table) and correlation in ("spearman", "pearson"):
        x, gold = (_to_floats(table, column, place) for column in (kind, "gold"))
        values = stats.influence(correlation, x, gold)
    else:
        return None
    if not abs(values.mean() - mean) <= 1e-6:
        raise IncomparableError(
            f"{place}: {name} averages to {values.mean():.6f}, its "
            f"record says {mean:.6f}: the two files do not belong together"
        )
    return values


def _to_floats(table: Mapping[str, Any], column: str, place: str) -> Float64:
    try:
        return np.asarray(table[column], np.float64)
    except (ValueError, TypeError) as error:
        raise IncomparableError(f"{place}: {column}: no numbers: {reason(error)}") from None


def _read_columns(held: Path) -> Mapping[str, Any]:
    """Columns of what was scored, the ids first."""
    try:
        table = records.per_query(held)
    except InputError as error:
        raise IncomparableError(str(error)) from None
    read = {name: table.column(name) for name in table.column_names}
    ids = table.column(0).to_pylist()
    return {**read, table.column_names[0]: ids}
