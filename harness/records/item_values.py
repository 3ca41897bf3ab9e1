"""What each item adds to a measure, read from beside a record: what paired tests are made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness import records, stats
from harness.arrays import Float64
from harness.errors import InputError
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
    place, table = _read_columns(held, record)
    columns = dict[str, Float64]()
    for name, score in record.scores.items():
        kind, _, correlation = name.rpartition("_")
        if score.mean is None:
            continue
        if name in table:
            values = np.asarray(table[name], np.float64)
        elif {kind, "gold"} <= set(table) and correlation in ("spearman", "pearson"):
            x, gold = (np.asarray(table[column], np.float64) for column in (kind, "gold"))
            values = stats.influence(correlation, x, gold)
        else:
            continue
        if not abs(values.mean() - score.mean) <= 1e-6:
            raise IncomparableError(
                f"{place}: {name} averages to {values.mean():.6f}, its "
                f"record says {score.mean:.6f}: the two files do not belong together"
            )
        columns[name] = values
    name, ids = next(iter(table.items()))  # of the ids, as query_id, pair, text
    noun = name.removesuffix("_id").replace("_", " ")
    return ItemValues([str(id) for id in ids], columns, noun)


def _read_columns(held: Path | Mapping[str, Any], record: Record) -> tuple[str, Mapping[str, Any]]:
    """Columns of what was scored, the ids first, and where they are."""
    if not isinstance(held, Path):
        return f"{record.name} on {record.task.spec}", held
    try:
        table = records.per_query(held)
    except InputError as error:
        raise IncomparableError(str(error)) from None
    read = {name: table.column(name) for name in table.column_names}
    ids = table.column(0).to_pylist()
    return str(held.with_suffix(".parquet")), {**read, table.column_names[0]: ids}
