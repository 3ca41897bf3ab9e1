"""Values of each item beside a record: numbers with their ids, bounded before they are read."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from harness.disk import footer, foreign
from harness.errors import InputError, reason

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

BYTES = 2**29  # of a file
ROWS = 2**21  # a small file may hold any number of equal ones
VALUES = 2**25  # in all columns
IDS = 2**28  # bytes of all ids


def read_columns(path: Path) -> pa.Table:
    """Read the ids, which are the first column, and every column of numbers.

    Raises:
        InputError: It is no regular file of Parquet, or too large, or its ids are none.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    data = foreign.read_bytes(path, BYTES)
    try:
        with pq.ParquetFile(pa.BufferReader(data)) as file:
            names = _choose(file.schema_arrow, file.metadata.num_rows, path)
            groups = footer.read_groups(BytesIO(data))
            _refuse_long(sum(group.columns[0] for group in groups), path)
        # ids stay a dictionary until it is known how long they are together
        with pq.ParquetFile(pa.BufferReader(data), read_dictionary=names[:1]) as file:
            table = _read_whole(file, names, path)
        table.column(0).validate(full=True)  # that ids are UTF-8
    except (OSError, pa.ArrowException, UnicodeDecodeError, footer.NoFooterError) as error:
        raise InputError(f"{path}: not readable: {reason(error)}") from None
    return table


def _choose(schema: pa.Schema, rows: int, path: Path) -> list[str]:
    """The columns that are read. Raises InputError."""
    from pyarrow import types

    names = list(schema.names)
    if len({*names}) < len(names) or not names:
        raise InputError(f"{path}: columns {', '.join(names)[:100]}: expected different names")
    ids = schema.types[0]
    if not (types.is_string(ids) or types.is_large_string(ids) or types.is_integer(ids)):
        raise InputError(
            f"{path}: {names[0]} is of type {ids!s:.40}: expected ids, text or integers"
        )
    kept = [
        name
        for name, kind in zip(names, schema.types, strict=True)
        if types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind)
    ]
    names = list(dict.fromkeys([names[0], *kept]))
    if rows > ROWS or rows * len(names) > VALUES:
        raise InputError(
            f"{path}: {rows:,} rows of {len(names):,} columns: expected at most {ROWS:,} rows"
        )
    return names


def _read_whole(file: pq.ParquetFile, names: list[str], path: Path) -> pa.Table:
    """The columns, ids as they are. Raises InputError where these are too long together."""
    import pyarrow as pa
    import pyarrow.compute as pc

    table = file.read(columns=names)
    ids = table.column(0)
    if not pa.types.is_dictionary(ids.type):
        return table
    each = (pc.binary_length(part.dictionary).take(part.indices) for part in ids.chunks)
    _refuse_long(sum(pc.sum(lengths, min_count=0).as_py() for lengths in each), path)
    return table.set_column(0, names[0], ids.cast(ids.type.value_type))


def _refuse_long(size: int, path: Path) -> None:
    """Raise InputError where ids are too long together."""
    if size > IDS:
        raise InputError(f"{path}: {size:,} bytes of ids: expected at most {IDS:,}")
