"""Rows of JSON Lines, CSV, TSV and Parquet files, each with the place it came from.

Every error names file and line, what was found and what was expected.
"""

from __future__ import annotations

import csv
import gzip
import json
import reprlib
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, cast

from harness.data.rows import Row, read_number
from harness.errors import InputError, reason

TABLES = (".jsonl", ".jsonl.gz", ".csv", ".csv.gz", ".tsv", ".tsv.gz", ".parquet")


def find(folder: Path, stem: str, suffixes: Sequence[str]) -> Path:
    """The file `stem` in a folder with the first of the suffixes that exists.

    Raises InputError that lists what was looked for.
    """
    for suffix in suffixes:
        path = folder / f"{stem}{suffix}"
        if path.is_file():
            return path
    looked = ", ".join(f"{stem}{suffix}" for suffix in suffixes)
    raise InputError(f"{folder}: no {stem} file: expected one of {looked}")


def table(target: str, split: str, noun: str) -> Path:
    """The file that a target names, or the table SPLIT of the folder that it names.

    Raises InputError where there is none. noun: what is expected there.
    """
    path = Path(target).expanduser()
    if path.is_dir():
        return find(path, split, TABLES)
    if not path.is_file():
        raise InputError(f"{path}: no such file or folder: expected {noun}")
    return path


def rows(path: Path) -> Iterator[tuple[str, Row]]:
    """Yield ("file:line", row) for every row of a file, read by its suffix.

    .jsonl .csv .tsv, each also with .gz, and .parquet. Raises InputError for a missing or
    truncated file, broken JSON, bad UTF-8 and an unknown suffix.
    """
    kind = path.name.removesuffix(".gz").rpartition(".")[2]
    readers = {"jsonl": _jsonl, "csv": _csv, "tsv": _tsv, "parquet": _parquet}
    if kind not in readers:
        raise InputError(f"{path}: unknown suffix: expected {', '.join(readers)}")
    return readers[kind](path)


def lines(path: Path) -> Iterator[tuple[str, str]]:
    """Yield ("file:line", text) for every line, blank ones too; .gz is unpacked."""
    number = 0
    try:
        with open(path, "rb") as raw:
            packed = path.suffix == ".gz"
            stream = cast(BinaryIO, gzip.GzipFile(fileobj=raw)) if packed else raw
            for number, data in enumerate(stream, 1):
                try:
                    text = data.decode("utf-8-sig" if number == 1 else "utf-8")
                except UnicodeDecodeError as error:
                    raise InputError(
                        f"{path}:{number}: byte {error.start} is not UTF-8: convert the file"
                    ) from None
                yield f"{path}:{number}", text.rstrip("\r\n")
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(
            f"{path}:{number}: the compressed file is damaged ({reason(error)}): fetch it again"
        ) from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or reason(error)}") from None


def _jsonl(path: Path) -> Iterator[tuple[str, Row]]:
    for where, line in lines(path):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:  # ValueError: or a number of 5,000 digits
            raise InputError(f"{where}: broken JSON: {reason(error)}") from None
        if not isinstance(row, dict):
            raise InputError(f"{where}: expected a JSON object, got {type(row).__name__}")
        yield where, row


def _csv(path: Path) -> Iterator[tuple[str, Row]]:
    """CSV with a header; a quoted field may span lines, and the row is named by the last."""
    reader = csv.reader((f"{line}\n" for _, line in lines(path)), strict=True)
    try:
        yield from _table((f"{path}:{reader.line_num}", fields) for fields in reader)
    except csv.Error as error:
        raise InputError(f"{path}:{reader.line_num}: broken CSV: {reason(error)}") from None


def _tsv(path: Path) -> Iterator[tuple[str, Row]]:
    """Tab-separated with a header; quotes are ordinary characters."""
    return _table((where, line.split("\t")) for where, line in lines(path) if line.strip())


def _table(records: Iterable[tuple[str, list[str]]]) -> Iterator[tuple[str, Row]]:
    """Rows by column name; the first record that is not empty is the header."""
    header: list[str] = []
    for where, fields in records:
        if not header:
            header = fields
            if twice := next((name for name in header if header.count(name) > 1), None):
                raise InputError(f"{where}: {header.count(twice)} columns {twice!r}: expected one")
        elif len(fields) not in (0, len(header)):
            raise InputError(f"{where}: {len(fields)} fields: expected {len(header)}")
        elif fields:
            yield where, dict(zip(header, fields, strict=True))


def _parquet(path: Path) -> Iterator[tuple[str, Row]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=8192):
                for row in batch.to_pylist():
                    number += 1
                    yield f"{path} row {number}", row
    except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a readable Parquet file: {reason(error)}") from None


def text(row: Row, key: str, where: str, default: str | None = None) -> str:
    """A field that must be text. Raises InputError naming the field and what it held."""
    value = row.get(key, default)
    if value is None and default is not None:
        return default
    if not isinstance(value, str):
        raise InputError(f"{where}: {key!r} {_excerpt(row, key)}: expected text")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InputError(f"{where}: {key!r} holds a lone surrogate: not valid Unicode") from None
    return value


def number(row: Row, key: str, where: str) -> float:
    """A field that must be a finite number. Raises InputError as `text` does."""
    parsed = read_number(row.get(key))
    if not -1e300 < parsed < 1e300:
        raise InputError(f"{where}: {key!r} {_excerpt(row, key)}: expected a finite number")
    return parsed


def identifier(row: Row, key: str, where: str) -> str:
    """A field that must be text and not empty. Raises InputError as `text` does."""
    id = text(row, key, where)
    if not id:
        raise InputError(f"{where}: {key!r} is empty: expected an id")
    return id


def label(row: Row, key: str, where: str) -> str:
    """A field that must name a class, as text; a boolean names none."""
    value = row.get(key)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str) or not value:
        found = _excerpt(row, key)
        raise InputError(f"{where}: {key!r} {found}: expected a label, text or a whole number")
    return text(row, key, where)


def _excerpt(row: Row, key: str) -> str:
    """What stands in a field, cut to a readable length."""
    if key in row:
        return f"is {reprlib.repr(row[key])}"
    return f"is missing (found: {', '.join(map(repr, row))})"
