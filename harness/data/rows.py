"""Rows of whatever people hold data in: frames, mappings, records, tuples, datasets.

A row is a dict by the one name of each column, whatever the collection calls it: `_id`, `doc_id`
and `docno` are one. Its place, as Python would write it (`corpus[3]`), is what an error names.
"""

from __future__ import annotations

import math
import reprlib
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from numbers import Integral, Real
from typing import Any, Protocol, runtime_checkable

from harness.errors import InputError

Row = dict[str, Any]


@dataclass(frozen=True)
class Field:
    """A column by its one name.

    Attributes:
        name: As rows have it.
        spellings: What BEIR, TREC, ir_datasets and MTEB call it; the first that is there counts.
        needed: Whether rows without it are refused.
    """

    name: str
    spellings: tuple[str, ...]
    needed: bool = True


DOCUMENT = ("doc_id", "docid", "docno", "document_id", "document-id", "corpus-id", "corpus_id")
QUERY = ("query-id", "query_id", "qid")
CONTENT = ("text", "contents", "content", "body")
PASSED_ON = (Field("metadata", ("metadata",), False),)

CORPUS = (
    Field("_id", ("_id", "id", *DOCUMENT)),
    Field("text", CONTENT),
    Field("title", ("title",), False),
    *PASSED_ON,
)
QUERIES = (
    Field("_id", ("_id", "id", *QUERY)),
    Field("text", (*CONTENT, "query", "title")),
    Field("instruction", ("instruction",), False),
)
TEXTS = (Field("text", CONTENT), Field("title", ("title",), False))  # a text alone is a row, too
JUDGMENTS = (
    Field("query-id", QUERY),
    Field("corpus-id", (*DOCUMENT, "_id", "id", "document", "doc")),
    Field("score", ("score", "relevance", "rel", "gain", "label")),
)


def rows(given: object, columns: Sequence[Field], noun: str) -> Iterator[tuple[str, Row]]:
    """Yield the place and the row of everything that is given.

    Args:
        given: A DataFrame, or an iterable of mappings, named tuples, dataclasses or plain tuples
            (a dataset of the datasets library is one). Tuples have the columns in their order.
        columns: What a row consists of.
        noun: What errors call the whole: "corpus".

    Raises:
        InputError: A needed column is missing (the error names those that are there), or what is
            given holds no rows.
    """
    pandas = sys.modules.get("pandas")
    if pandas is not None and isinstance(given, pandas.DataFrame):
        yield from _read_frame(given, columns, noun)
        return
    if isinstance(given, str | bytes) or not isinstance(given, Iterable):
        raise InputError(f"{noun}: {type(given).__name__}: expected a mapping, a DataFrame or rows")
    for number, item in enumerate(given):
        where = f"{noun}[{number}]"
        yield where, row(item, columns, where)


def _read_frame(frame: Any, columns: Sequence[Field], noun: str) -> Iterator[tuple[str, Row]]:
    """Rows of a DataFrame, named by their position."""
    there = _locate([str(name) for name in frame.columns], columns, f"{noun}: the DataFrame")
    by_name = {str(name): at for at, name in enumerate(frame.columns)}
    values = [frame.iloc[:, by_name[spelling]].tolist() for spelling in there.values()]
    for number, cells in enumerate(zip(*values, strict=True)):
        yield f"{noun}.iloc[{number}]", dict(zip(there, cells, strict=True))


@runtime_checkable
class _Named(Protocol):
    """What named tuples have."""

    def _asdict(self) -> dict[str, Any]: ...


def row(item: object, columns: Sequence[Field], where: str) -> Row:
    """One mapping, named tuple, dataclass or plain tuple as a row. Raises as `rows` does."""
    if columns is TEXTS and isinstance(item, str):
        return {"text": item}
    if isinstance(item, _Named):
        item = item._asdict()
    elif is_dataclass(item) and not isinstance(item, type):
        item = {field.name: getattr(item, field.name) for field in fields(item)}
    if isinstance(item, Mapping):
        there = _locate(list(item), columns, f"{where}: the row")
        return {name: item[spelling] for name, spelling in there.items()}
    if isinstance(item, tuple | list):
        return _read_by_position(item, columns, where)
    needed = ", ".join(column.name for column in columns if column.needed)
    expected = "text" if columns is TEXTS else f"a row with {needed}"
    raise InputError(f"{where}: {reprlib.repr(item)}: expected {expected}")


def _read_by_position(item: Sequence[object], columns: Sequence[Field], where: str) -> Row:
    """A plain tuple as a row; the four columns of TREC's qrels are known by their number."""
    needed = [column.name for column in columns if column.needed]
    if len(item) == 4 and columns is JUDGMENTS:
        item = [item[0], *item[2:]]
    if len(item) != len(needed):
        raise InputError(
            f"{where}: {len(item)} fields: expected {len(needed)}, {', '.join(needed)}"
        )
    return dict(zip(needed, item, strict=True))


def _locate(names: Sequence[str], columns: Sequence[Field], where: str) -> dict[str, str]:
    """The spelling that is there of each column. Raises InputError where a needed one lacks."""
    found = dict[str, str]()
    for column in columns:
        spelling = next((one for one in column.spellings if one in names), None)
        if spelling is not None:
            found[column.name] = spelling
        elif column.needed:
            held = ", ".join(map(repr, names)) or "none"
            raise InputError(
                f"{where} has no column {column.spellings[0]!r}: expected one of "
                f"{', '.join(column.spellings)} (found: {held})"
            )
    return found


def texts(given: object, columns: Sequence[Field], noun: str) -> Iterator[tuple[str, Row]]:
    """Rows of texts that are given by their id, or as `rows` takes them.

    Raises:
        InputError: As `rows`.
    """
    if not isinstance(given, Mapping):
        yield from rows(given, columns, noun)
        return
    for id, value in given.items():
        where = f"{noun}[{id!r}]"
        item = {**value, "_id": id} if isinstance(value, Mapping) else {"_id": id, "text": value}
        yield where, row(item, columns, where)


def judgments(given: object, noun: str = "qrels") -> Iterator[tuple[str, Row]]:
    """Rows of query-id, corpus-id and score that are given by query, or as `rows` takes them.

    Args:
        given: Scores by document by query; or, by query, documents that are relevant: 1 each.
        noun: What errors call the whole.

    Raises:
        InputError: As `rows`; a query has something else.
    """
    if not isinstance(given, Mapping):
        yield from rows(given, JUDGMENTS, noun)
        return
    for query, found in given.items():
        where = f"{noun}[{query!r}]"
        if isinstance(found, str | bytes) or not isinstance(found, Iterable):
            raise InputError(f"{where}: {reprlib.repr(found)}: expected scores by document")
        pairs = found.items() if isinstance(found, Mapping) else ((one, 1) for one in found)
        for document, score in pairs:
            at = f"{where}[{document!r}]"
            yield at, {"query-id": query, "corpus-id": document, "score": score}


def identifier(value: object, where: str, noun: str) -> str:
    """An id as text; a whole number is written as one, anything else is refused.

    Args:
        value: What was given as the id.
        where: Its place, for the error.
        noun: What it is the id of.

    Raises:
        InputError: The value is neither text nor a whole number.
    """
    if isinstance(value, str):
        return str(value)
    if not isinstance(value, bool) and isinstance(value, Integral):
        return str(int(value))
    raise InputError(
        f"{where}: the {noun} id is {reprlib.repr(value)}, {type(value).__name__}: "
        "expected text or a whole number"
    )


def content(value: object, where: str, noun: str) -> str:
    """A text that must be there. Raises InputError for NaN, None and whatever is no text."""
    if isinstance(value, str):
        return str(value)
    found = "missing (NaN)" if absent(value) else f"{reprlib.repr(value)}, {type(value).__name__}"
    raise InputError(f"{where}: the {noun} is {found}: expected text")


def number(value: object, where: str, noun: str) -> float:
    """A finite number, as text or not. Raises InputError for anything else."""
    try:
        if isinstance(value, bool) or not isinstance(value, Real | str):
            raise ValueError
        parsed = float(value)
    except (ValueError, OverflowError):
        parsed = math.nan
    if not math.isfinite(parsed):
        raise InputError(f"{where}: the {noun} is {reprlib.repr(value)}: expected a finite number")
    return parsed


def absent(value: object) -> bool:
    """Whether a value stands for none: None, NaN, pandas' NA and NaT."""
    if isinstance(value, str):  # first: the others are slow, and most values are text
        return False
    if isinstance(value, Real):
        return math.isnan(value)
    return value is None or type(value).__name__ in ("NAType", "NaTType")
