"""Rows of JSON Lines, CSV, TSV and Parquet files, each with the place it came from.

Every error names file and line, what was found and what was expected.
"""

from __future__ import annotations

import csv
import json
import reprlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from harness.data.rows import Row, read_number
from harness.disk import parquet
from harness.disk.lines import LONGEST, read_lines
from harness.errors import InputError, reason
from harness.spec import is_unicode
from harness.wording import count

JSON_BLANKS = " \t\r\n"
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
    readers: dict[str, Callable[[Path], Iterator[tuple[str, Row]]]] = {
        "jsonl": _jsonl, "csv": read_csv, "tsv": _tsv, "parquet": parquet.read_rows,
    }  # fmt: skip
    if kind not in readers:
        raise InputError(f"{path}: unknown suffix: expected {', '.join(readers)}")
    return readers[kind](path)


def lines(path: Path) -> Iterator[tuple[str, str]]:
    """Yield ("file:line", text without its end) for every line, as `read_lines` does."""
    for where, line in read_lines(path):
        yield where, line.removesuffix("\n").removesuffix("\r")


def _jsonl(path: Path) -> Iterator[tuple[str, Row]]:
    for where, line in read_lines(path):
        if line.strip(JSON_BLANKS):
            yield where, _require_object(_parse(line, where), where)


def read_json(path: Path) -> Iterator[tuple[str, Row]]:
    """Yield the objects of JSON Lines, or of one array, each with its place."""
    first = next((line for _, line in read_lines(path) if line.strip(JSON_BLANKS)), "")
    if not first.lstrip(JSON_BLANKS).startswith("["):
        yield from _jsonl(path)
        return
    listed = _parse("".join(line for _, line in read_lines(path)), str(path))
    for number, row in enumerate(listed, 1):
        where = f"{path} row {number}"
        yield where, _require_object(row, where)


def _parse(text: str, where: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_make_object)
    except (ValueError, RecursionError) as error:  # ValueError: or a number of 5,000 digits
        raise InputError(f"{where}: broken JSON: {reason(error)}") from None


def _require_object(value: object, where: str) -> Row:
    if not isinstance(value, dict):
        raise InputError(f"{where}: expected a JSON object, got {type(value).__name__}")
    return value


def _make_object(pairs: list[tuple[str, object]]) -> Row:
    """A JSON object; no name may stand twice in it, as only the last would count."""
    made = dict(pairs)
    if len(made) < len(pairs):
        twice = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"{reprlib.repr(twice)} stands twice in an object: keep one")
    return made


def read_csv(path: Path, delimiter: str = ",") -> Iterator[tuple[str, Row]]:
    """Yield rows of CSV with a header, each with its place.

    A quoted field may span lines, and the row is named by the last.
    """
    csv.field_size_limit(max(LONGEST, csv.field_size_limit()))
    cells = csv.reader((line for _, line in read_lines(path)), delimiter=delimiter, strict=True)
    try:
        yield from _table((f"{path}:{cells.line_num}", fields) for fields in cells)
    except csv.Error as error:
        raise InputError(f"{path}:{cells.line_num}: broken CSV: {reason(error)}") from None


def _tsv(path: Path) -> Iterator[tuple[str, Row]]:
    """Tab-separated with a header; quotes are ordinary characters, unless all of it is quoted."""
    header = split_header(path)
    if header and all(len(cell) > 1 and cell[0] == cell[-1] == '"' for cell in header):
        return read_csv(path, "\t")
    return _table((where, line.split("\t")) for where, line in lines(path) if line.strip(" "))


def split_header(path: Path) -> list[str]:
    """The cells of the first line of a tab-separated file that is not blank."""
    return next((line.split("\t") for _, line in lines(path) if line.strip(" ")), [])


def _table(records: Iterable[tuple[str, list[str]]]) -> Iterator[tuple[str, Row]]:
    """Rows by column name; the first record that is not empty is the header."""
    header: list[str] = []
    for where, fields in records:
        if not header:
            header = fields
            for name, times in Counter(header).items():
                if name and times > 1:  # a spreadsheet may leave several without a name
                    raise InputError(f"{where}: {times} columns {name!r}: expected one")
        elif len(fields) not in (0, len(header)):
            raise InputError(f"{where}: {count(len(fields), 'field')}: expected {len(header)}")
        elif fields:
            yield where, dict(zip(header, fields, strict=True))


def text(row: Row, key: str, where: str, default: str | None = None) -> str:
    """A field that must be text. Raises InputError naming the field and what it held."""
    value = row.get(key, default)
    if value is None and default is not None:
        return default
    if not isinstance(value, str):
        raise InputError(f"{where}: {key!r} {_excerpt(row, key)}: expected text")
    if not is_unicode(value):
        raise InputError(f"{where}: {key!r} holds a lone surrogate: not valid Unicode")
    return value


def number(row: Row, key: str, where: str) -> float:
    """A field that must be a finite number. Raises InputError as `text` does."""
    parsed = read_number(row.get(key))
    if not -1e300 < parsed < 1e300:
        raise InputError(f"{where}: {key!r} {_excerpt(row, key)}: expected a finite number")
    return parsed


def identifier(row: Row, key: str, where: str) -> str:
    """A field that must be an id: text that is not empty, or a whole number, which becomes text.

    Raises InputError as `text` does.
    """
    value = row.get(key)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
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
