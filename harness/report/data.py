"""Results for programs: a document of named tables as JSON, or the same in one table as CSV.

    {"schema": 1, "tasks": [{"task": "limit-small", "documents": 46}], "suites": [...]}

In CSV the first column, `table`, names the table that a row is of. The columns of all tables
follow, each once, and a cell is empty where a row's table has no such column. docs/output.md lists
them.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from harness.frames import Frame
from harness.shown import escape_formula
from harness.stats import Estimate

SCHEMA = 1
"""Of documents: goes up when a table or a column changes its name or meaning."""


def of_frames(frames: Sequence[Frame], **facts: object) -> dict[str, Any]:
    """Frames as tables of a document, under their names, before what stands in no frame."""
    return {"schema": SCHEMA, **{frame.name: frame.records() for frame in frames}, **facts}


def write(document: Mapping[str, Any], style: str) -> str:
    """Write a document as json or csv; a number that is not defined is null, or an empty cell."""
    document = _define(document)
    if style == "json":
        return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)
    rows = list(_rows(document))
    columns = dict.fromkeys(["table", *(name for row in rows for name in row)])
    out = io.StringIO()
    cells = [columns, *([row.get(name) for name in columns] for row in rows)]
    safe = [[escape_formula(x) if isinstance(x, str) else x for x in row] for row in cells]
    csv.writer(out, lineterminator="\n").writerows(safe)
    return out.getvalue().rstrip("\n")


def _define(value: Any) -> Any:
    """A value as JSON knows it: an estimate as an object, None for what is no number."""
    if isinstance(value, Estimate):
        value = asdict(value)
    if isinstance(value, Mapping):
        return {key: _define(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_define(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _rows(document: Mapping[str, Any]) -> Iterator[dict[str, object]]:
    """Rows of all tables; what stands in no table is the last row, of the table `about`."""
    for name, table in document.items():
        for row in _list_rows(table):
            yield {"table": name, **_flatten(row if isinstance(row, dict) else {"value": row})}
    facts = {k: v for k, v in document.items() if not isinstance(v, dict | list) and k != "schema"}
    if facts:
        yield {"table": "about", **_flatten(facts)}


def _list_rows(table: object) -> list[Any]:
    """The rows of a table; of rows by name, with it; an object alone is one row."""
    if isinstance(table, dict):
        named = [{"name": key, **row} for key, row in table.items() if isinstance(row, dict)]
        return named if len(named) == len(table) else [table]
    return table if isinstance(table, list) else []


def _flatten(row: Mapping[str, Any], before: str = "") -> dict[str, object]:
    """Cells by column: of what is nested under both names, an estimate x as x, x_low and x_high."""
    cells = dict[str, object]()
    for key, value in row.items():
        name = f"{before}_{key}" if before and key != "mean" else before or key
        if isinstance(value, dict):
            cells |= _flatten(value, name)
        elif isinstance(value, list):
            cells[name] = json.dumps(value, ensure_ascii=False)
        else:
            cells[name] = json.dumps(value) if isinstance(value, bool) else value
    return cells
