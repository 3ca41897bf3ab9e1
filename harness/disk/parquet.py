"""Rows of Parquet files that others wrote, in bounded memory.

A page may hold a text once that stands in every row, or a list of a billion nothings. So what rows
may take at most is known by the sizes in the footer before any is read, and counted as they come.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.disk import footer, foreign
from harness.disk.lines import largest_unpacked, refuse_bomb
from harness.errors import InputError, reason
from harness.wording import count

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

BATCH = 256  # rows that are unpacked at a time, at most
VALUE = 8  # bytes that any value counts for, also one that is none


@dataclass(frozen=True)
class Sized:
    """An open file, with bytes.

    Attributes:
        file: To be read.
        most: That it may unpack to.
        largest: Of its largest group of rows, which one row may have alone.
    """

    file: pq.ParquetFile
    most: int
    largest: int


@contextmanager
def reading(path: Path) -> Iterator[Sized]:
    """Open a file that is held to what its footer says.

    Raises:
        InputError: It is no regular file of Parquet, or unpacks to far more than text does; also
            for whatever pyarrow finds wrong with it within.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with foreign.open_regular(path) as raw, pq.ParquetFile(raw) as file:
            groups = footer.read_groups(raw)
            most = largest_unpacked(os.fstat(raw.fileno()).st_size)
            refuse_bomb(str(path), sum(group.bytes for group in groups), most)
            refuse_bomb(str(path), sum(group.values for group in groups) * VALUE, most)
            yield Sized(file, most, max((group.bytes for group in groups), default=0))
    except (OSError, pa.ArrowException, UnicodeDecodeError, footer.NoFooterError) as error:
        raise InputError(f"{path}: not a readable Parquet file: {reason(error)}") from None


def read_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield ("file row number", row) for every row. Raises InputError as `reading` does."""
    with reading(path) as sized:
        file, most = sized.file, sized.most
        names, number, unpacked = file.schema_arrow.names, 0, 0
        for name, times in Counter(names).items():
            if times > 1:
                raise InputError(f"{path}: {times} columns {name!r}: expected one")
        shared = any(map(_is_shared, file.schema_arrow.types))
        for batch in file.iter_batches(max(1, min(BATCH, most // max(1, sized.largest)))):
            unpacked += 0 if shared else batch.nbytes
            refuse_bomb(str(path), unpacked, most)  # before its rows take as much again
            rows = batch.to_pylist()
            if shared:
                unpacked += sum(map(_measure, rows))
                refuse_bomb(str(path), unpacked, most)
            for row in rows:
                number += 1
                yield f"{path} row {number}", row
        if number != file.metadata.num_rows:
            told = count(file.metadata.num_rows, "row")
            raise InputError(
                f"{path}: {count(number, 'row')} where its footer tells of {told}: damaged"
            )


def _is_shared(kind: pa.DataType) -> bool:
    """Whether values of a type are kept once for all rows that have them."""
    import pyarrow as pa

    within = (kind.field(at).type for at in range(kind.num_fields))
    return pa.types.is_dictionary(kind) or any(map(_is_shared, within))


def _measure(value: object) -> int:
    """Bytes of a value and of all that it holds."""
    if isinstance(value, str | bytes):
        return VALUE + len(value)
    if isinstance(value, dict):
        return VALUE + sum(map(_measure, value.values()))
    return VALUE + sum(map(_measure, value)) if isinstance(value, list | tuple) else VALUE
