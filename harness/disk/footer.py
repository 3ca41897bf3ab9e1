"""Sizes in the footer of a Parquet file, read without pyarrow.

pyarrow ends the process where the sizes that a damaged footer tells of a column do not fit the
column's type, and only its own accessors of columns do. The footer is a struct of Thrift's compact
protocol (https://github.com/apache/thrift, doc/specs/thrift-compact-protocol.md) with the fields
of https://github.com/apache/parquet-format, src/main/thrift/parquet.thrift.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, BinaryIO

MAGIC = b"PAR1"
LARGEST = 64 << 20  # bytes of a footer
TRUE, FALSE, BYTE, DOUBLE, BINARY, LIST, SET, STRUCT = 1, 2, 3, 7, 8, 9, 10, 12
INTEGERS, FIXED = (4, 5, 6), {BYTE: 1, DOUBLE: 8}
GROUPS, COLUMNS, GROUP_BYTES, CHUNK, VALUES, CHUNK_BYTES = 4, 1, 2, 3, 5, 6  # fields


class NoFooterError(ValueError):
    """A file does not end as Parquet does."""


@dataclass(frozen=True)
class RowGroup:
    """What a footer says of a group of rows.

    Attributes:
        bytes: Of all columns, unpacked.
        values: In all columns, also those of lists, and those that are none.
        columns: Bytes of each column, unpacked.
    """

    bytes: int
    values: int
    columns: tuple[int, ...]


def read_groups(file: BinaryIO) -> list[RowGroup]:
    """Read what the footer says of each group of rows.

    Raises:
        NoFooterError: It is not there, or none of Parquet.
    """
    try:
        found, _ = _read(_tail(file), 0, STRUCT)
        return [_read_group(group) for group in found[GROUPS]]
    except (IndexError, KeyError, TypeError, ValueError, RecursionError, OSError):
        raise NoFooterError("no footer of Parquet ends it") from None


def _tail(file: BinaryIO) -> bytes:
    """The bytes of the footer. Raises ValueError where there is none."""
    end = file.seek(0, os.SEEK_END) - 8
    file.seek(max(end, 0))
    tail = file.read(8)
    size = int.from_bytes(tail[:4], "little")
    if tail[4:] != MAGIC or not 0 < size <= min(end, LARGEST):
        raise ValueError(size)
    file.seek(end - size)
    return file.read(size)


def _read_group(group: Any) -> RowGroup:
    """A group of rows, from its fields."""
    chunks = [column[CHUNK] for column in group[COLUMNS]]
    columns = tuple(_count(chunk[CHUNK_BYTES]) for chunk in chunks)
    return RowGroup(_count(group[GROUP_BYTES]), sum(_count(c[VALUES]) for c in chunks), columns)


def _count(value: Any) -> int:
    """A number of at least 0. Raises ValueError for anything else."""
    if type(value) is not int or value < 0:
        raise ValueError(value)
    return value


def _read(data: bytes, at: int, kind: int) -> tuple[Any, int]:
    """A value of a type, and where it ends: fields by number of a struct."""
    if kind in (TRUE, FALSE):
        return kind == TRUE, at
    if kind in INTEGERS:
        number, at = _read_varint(data, at)
        return number >> 1 ^ -(number & 1), at
    if kind in FIXED:
        return data[at + FIXED[kind] - 1], at + FIXED[kind]  # which raises beyond the end
    if kind == BINARY:
        size, at = _read_varint(data, at)
        return None, at + size
    read = {LIST: _read_list, SET: _read_list, STRUCT: _read_struct}[kind]  # no field is a map
    return read(data, at)


def _read_list(data: bytes, at: int) -> tuple[list[Any], int]:
    size, kind = data[at] >> 4, data[at] & 15
    at += 1
    if size == 15:
        size, at = _read_varint(data, at)
    found = list[Any]()
    for _ in range(size):  # a truth value within a list is a byte
        value, at = _read(data, at, BYTE if kind in (TRUE, FALSE) else kind)
        found.append(value)
    return found, at


def _read_struct(data: bytes, at: int) -> tuple[dict[int, Any], int]:
    found, number = dict[int, Any](), 0
    while head := data[at]:
        at += 1
        if head >> 4:
            number += head >> 4
        else:
            number, at = _read(data, at, INTEGERS[0])
        found[number], at = _read(data, at, head & 15)
    return found, at + 1


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    """A whole number of 7 bits a byte, the lowest first."""
    number = shift = 0
    while shift < 64:
        byte = data[at]
        number, at, shift = number | (byte & 127) << shift, at + 1, shift + 7
        if byte < 128:
            return number, at
    raise ValueError(number)
