"""Frames that were saved, as JSON or as Parquet, read back and held to their types."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.disk import parquet
from harness.errors import InputError, name_fault, reason
from harness.frames import METADATA, SCHEMA, Better, Column, Frame, interval_columns
from harness.frames.formats import INTERVALS, Unit
from harness.stats import Estimate

NO_FRAME = (LookupError, TypeError, ValueError, AttributeError, RecursionError)


class _Column(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str
    unit: Unit
    better: Better
    about: str
    digits: int | None


class _Frame(BaseModel):
    schema_: int = Field(alias="schema")
    name: str
    title: str
    turned: bool
    shown: bool
    columns: list[_Column]
    rows: list[list[Any]]


def from_plain(plain: Mapping[str, Any]) -> Frame:
    """Read what `Frame.plain` makes.

    Raises:
        InputError: for what is no frame, or one of a later schema.
    """
    try:
        if plain["schema"] > SCHEMA:
            raise InputError(
                f"a frame of schema {plain['schema']}: this version reads {SCHEMA}; upgrade harness"
            )
        read = _Frame.model_validate(plain, strict=True)
        rows = [
            [Estimate(**cell) if isinstance(cell, dict) else cell for cell in row]
            for row in read.rows
        ]
        columns = [Column(**column.model_dump()) for column in read.columns]
        return Frame(
            read.title, columns, rows, name=read.name, turned=read.turned, shown=read.shown
        )
    except ValidationError as error:
        raise InputError(f"not a frame: {name_fault(error)}") from None
    except NO_FRAME as error:
        raise InputError(f"not a frame: {reason(error)}") from error


def read_parquet(path: Path) -> Frame:
    """Read what `Frame.parquet` wrote.

    Raises:
        InputError: for a file that cannot be read or holds no frame.
    """
    with parquet.reading(path) as sized:
        found = sized.file.read()
    try:
        about, values = json.loads(found.schema.metadata[METADATA]), found.to_pydict()
        columns = [
            list(map(_estimate, *(values[part] for part in interval_columns(name))))
            if unit in INTERVALS else values[name]
            for name, unit in ((one["name"], one["unit"]) for one in about["columns"])
        ]  # fmt: skip
        return from_plain({**about, "rows": [list(row) for row in zip(*columns, strict=True)]})
    except NO_FRAME as error:
        raise InputError(f"{path}: not a frame: {reason(error)}") from error


def _estimate(mean: float | None, low: float | None, high: float | None) -> Estimate | None:
    return None if mean is None else Estimate(mean, low, high)
