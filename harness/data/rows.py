"""Rows of whatever people hold data in: frames, mappings, records, tuples, datasets.

A row is a dict by the one name of each column, whatever the collection calls it: `_id`, `doc_id`
and `docno` are one. Its place, as Python would write it (`corpus[3]`), is what an error names.
"""

from __future__ import annotations

import math
import re
import reprlib
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from decimal import Decimal
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, cast, runtime_checkable

import numpy as np

from harness.arrays import TOO_LARGE, is_iterable
from harness.errors import InputError, reason
from harness.wording import count

if TYPE_CHECKING:
    import pyarrow as pa

Row = dict[str, Any]
DECIMAL = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
NO_NUMBERS = (bool, np.timedelta64)  # whole numbers by their classes, and by nothing else


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
PAIR = (
    Field("query-id", (*QUERY, "query")),
    Field("corpus-id", (*DOCUMENT, "_id", "id", "document", "doc")),
)
# a frame of results joined with judgments has both a score and a relevance
JUDGMENTS = (*PAIR, Field("score", ("relevance", "rel", "gain", "score", "label")))
RESULTS = (*PAIR, Field("score", ("score",)))


def rows(given: object, columns: Sequence[Field], noun: str) -> Iterator[tuple[str, Row]]:
    """Yield the place and the row of everything that is given.

    Args:
        given: A DataFrame of pandas, polars or whatever else hands over Arrow's columns; or an
            iterable of mappings, named tuples, dataclasses, objects or plain tuples (a dataset of
            the datasets library is one). Plain tuples have the needed columns in their order.
        columns: What a row consists of.
        noun: What errors call the whole: "corpus".

    Raises:
        InputError: A needed column is missing (the error names those that are there) or there
            twice, or what is given holds no rows.
    """
    pandas = sys.modules.get("pandas")
    if pandas is not None and isinstance(given, pandas.DataFrame):
        cells = [given.iloc[:, at].tolist for at in range(given.shape[1])]
        yield from _read_frame([*map(str, given.columns)], cells, columns, noun, "iloc")
        return
    if isinstance(given, _Arrow) and (table := _read_table(given, noun)) is not None:
        cells = [column.to_pylist for column in table.columns]
        yield from _read_frame(table.column_names, cells, columns, noun, "row")
        return
    if isinstance(given, str | bytes | Mapping) or not is_iterable(given):
        raise InputError(f"{noun}: {type(given).__name__}: expected a mapping, a DataFrame or rows")
    for number, item in enumerate(given):
        where = f"{noun}[{number}]"
        yield where, row(item, columns, where)


def _read_table(given: _Arrow, noun: str) -> pa.Table | None:
    """Arrow's columns as a table; None for a single column, which is a list of values."""
    import pyarrow as pa

    try:
        return pa.table(given)
    except (TypeError, ValueError, pa.ArrowException) as error:
        if is_iterable(given):
            return None
        raise InputError(f"{noun}: {type(given).__name__}: no table: {reason(error)}") from None


def _read_frame(
    names: Sequence[str],
    cells: Sequence[Callable[[], list[Any]]],
    columns: Sequence[Field],
    noun: str,
    place: str,
) -> Iterator[tuple[str, Row]]:
    """Rows of a frame, named by their position. cells: what lists each column."""
    there = _locate(names, columns, f"{noun}: the DataFrame")
    values = [_restore_whole(cells[names.index(spelling)]()) for spelling in there.values()]
    for number, found in enumerate(zip(*values, strict=True)):
        yield f"{noun}.{place}[{number}]", dict(zip(there, found, strict=True))


def _restore_whole(cells: list[Any]) -> list[Any]:
    """Whole numbers that became floats because one of the column is missing, whole again.

    So that the cell which is missing is what an error names.
    """
    if not {float} >= set(map(type, cells)) or not any(map(math.isnan, cells)):
        return cells
    return [int(cell) if cell.is_integer() else cell for cell in cells]


@runtime_checkable
class _Arrow(Protocol):
    """What frames of polars, pyarrow and duckdb have."""

    def __arrow_c_stream__(self, requested_schema: object = None) -> object: ...


def row(item: object, columns: Sequence[Field], where: str) -> Row:
    """One mapping, named tuple, dataclass, object or plain tuple as a row. Raises as `rows`."""
    if columns is TEXTS and isinstance(item, str):
        return {"text": item}
    named = item if isinstance(item, Mapping) else _name_fields(item)
    if named is not None:
        there = _locate(list(named), columns, f"{where}: the row")
        return {name: named[spelling] for name, spelling in there.items()}
    needed = [column.name for column in columns if column.needed]
    if not isinstance(item, tuple | list):
        expected = "text" if columns is TEXTS else f"a row with {', '.join(needed)}"
        raise InputError(f"{where}: {_show(item)}: expected {expected}")
    if len(item) != len(needed):
        raise InputError(
            f"{where}: {count(len(item), 'field')}: expected {len(needed)}, "
            f"{', '.join(needed)}; or a dict or a named tuple"
        )
    return dict(zip(needed, item, strict=True))


def _name_fields(item: Any) -> dict[str, Any] | None:
    """Values by field of what has named fields; None for anything else."""
    if is_dataclass(item) and not isinstance(item, type):
        return {field.name: getattr(item, field.name) for field in fields(item)}
    try:
        return dict(cast(Any, item)._asdict() if isinstance(item, tuple) else vars(item))
    except (AttributeError, TypeError):
        return None


def _locate(names: Sequence[str], columns: Sequence[Field], where: str) -> dict[str, str]:
    """The spelling that is there of each column.

    Raises InputError where a needed one lacks, or one is there twice.
    """
    found = dict[str, str]()
    for column in columns:
        spelling = next((one for one in column.spellings if one in names), None)
        if spelling is not None:
            found[column.name] = spelling
        elif column.needed:
            held = ", ".join(map(repr, names)) or "none"
            raise InputError(
                f"{where} has no column {column.name!r}: expected one of "
                f"{', '.join(column.spellings)} (found: {held})"
            )
        if spelling is not None and names.count(spelling) > 1:
            raise InputError(
                f"{where} has {names.count(spelling)} columns {spelling!r}: expected one"
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


def judgments(
    given: object, noun: str = "qrels", columns: Sequence[Field] = JUDGMENTS
) -> Iterator[tuple[str, Row]]:
    """Rows of query-id, corpus-id and score that are given by query, or as `rows` takes them.

    Args:
        given: Scores by document by query; or, by query, documents that are relevant: 1 each.
        noun: What errors call the whole.
        columns: JUDGMENTS; or RESULTS, which are never without a score.

    Raises:
        InputError: As `rows`; a query has something else.
    """
    if not isinstance(given, Mapping):
        yield from rows(given, columns, noun)
        return
    for query, found in given.items():
        where = f"{noun}[{query!r}]"
        bare = columns is JUDGMENTS and is_iterable(found)
        if isinstance(found, str | bytes) or not (bare or isinstance(found, Mapping)):
            raise InputError(f"{where}: {_show(found)}: expected scores by document")
        pairs = found.items() if isinstance(found, Mapping) else ((one, 1) for one in found)
        for document, score in pairs:
            at = f"{where}[{document!r}]"
            yield at, {"query-id": query, "corpus-id": document, "score": score}


class Judgment(NamedTuple):
    """A document judged for a query, or found for it: ids, the number, and where it stands."""

    query: str
    document: str
    gain: float
    where: str = ""


def triples(found: Iterable[tuple[str, Row]], what: str) -> Iterator[Judgment]:
    """Query id, document id and number of rows with their place.

    Args:
        found: As `judgments` yields them.
        what: The number is: a score, a gain.

    Raises:
        InputError: An id or a number is something else.
    """
    for where, row in found:
        yield Judgment(
            identifier(row["query-id"], where, "query"),
            identifier(row["corpus-id"], where, "document"),
            number(row["score"], where, what),
            where,
        )


def identifier(value: object, where: str, noun: str) -> str:
    """An id as text; a whole number is written as one, anything else is refused.

    Args:
        value: What was given as the id.
        where: Its place, for the error.
        noun: What it is the id of.

    Raises:
        InputError: The value is neither text nor a whole number, or is empty.
    """
    if isinstance(value, str) and value:
        return str(value)
    if not isinstance(value, NO_NUMBERS) and isinstance(value, Integral):
        return str(int(value))
    raise InputError(
        f"{where}: the {noun} id is {_describe(value)}: expected text or a whole number"
    )


def content(value: object, where: str, noun: str) -> str:
    """A text that must be there. Raises InputError for NaN, None and whatever is no text."""
    if isinstance(value, str):
        return str(value)
    raise InputError(f"{where}: the {noun} is {_describe(value)}: expected text")


def number(value: object, where: str, noun: str) -> float:
    """A number that float32 holds, as text or not. Raises InputError for anything else."""
    parsed = read_number(value)
    if not abs(parsed) < TOO_LARGE:
        expected = "number that float32 holds" if math.isfinite(parsed) else "finite number"
        raise InputError(f"{where}: the {noun} is {_show(value)}: expected a {expected}")
    return parsed


def read_number(value: object) -> float:
    """A real number, as text or not, as a float; NaN for anything else, as truth and times.

    Text is a number in decimals, as 2, -0.5 or 1e-3: not all that Python reads, as 1_0 or ' 1'.
    """
    if type(value) is float:  # first: the other questions are slow
        return value
    if isinstance(value, str):
        return float(value) if DECIMAL.fullmatch(value) else math.nan
    if isinstance(value, NO_NUMBERS) or not isinstance(value, Real | Decimal):
        return math.nan
    try:
        return float(value)
    except (ValueError, OverflowError):
        return math.nan


def _describe(value: object) -> str:
    """What stands where something else should."""
    if absent(value):
        return "missing (None)" if value is None else "missing (NaN)"
    if isinstance(value, str) and not value:
        return "empty"
    return f"{_show(value)}, {type(value).__name__}"


def _show(value: object) -> str:
    """A value, cut to a readable length."""
    try:
        return reprlib.repr(value)
    except ValueError:  # a whole number of more digits than Python writes
        return f"{type(value).__name__} of thousands of digits"


def absent(value: object) -> bool:
    """Whether a value stands for none: None, NaN, pandas' NA and NaT."""
    if isinstance(value, str):  # first: the others are slow, and most values are text
        return False
    if not isinstance(value, NO_NUMBERS) and isinstance(value, Real):
        return value != value  # noqa: PLR0124 - a whole number may be beyond any float
    return value is None or type(value).__name__ in ("NAType", "NaTType")
