"""Rows of files, read in another way than the harness does, and as leniently as can be.

Nothing is imported from the harness. What is no row raises whatever it raises.
"""

from __future__ import annotations

import gzip
import json
import re
from io import BytesIO
from typing import Any

import pyarrow.parquet as pq

Row = dict[str, Any]
BLANKS = " \t\v\f\r"


def rows(form: str, data: bytes) -> list[Row]:
    """Rows of a file of the form that its name ends with."""
    if form.endswith(".gz"):
        return rows(form.removesuffix(".gz"), gzip.decompress(data))
    if form == ".parquet":
        table = pq.ParquetFile(BytesIO(data)).read()
        assert len(set(table.column_names)) == table.num_columns
        return table.to_pylist()
    text = data.decode("utf-8-sig")
    if form == ".jsonl":
        return [json.loads(line) for line in lines(text) if line.strip()]
    if form == ".csv":
        records = split_cells(text, ",")
    else:
        records = [line.split("\t") for line in lines(text)]
        if all(len(cell) > 1 and cell[0] == cell[-1] == '"' for cell in records[0]):
            records = split_cells(text, "\t")
    filled = [cells for cells in records if any(cell.strip() for cell in cells)]
    return [dict(zip(filled[0], cells, strict=True)) for cells in filled[1:]]


def lines(text: str) -> list[str]:
    """Lines that end with a line feed, or with a carriage return before it."""
    return [line.removesuffix("\r") for line in text.split("\n")]


def split_cells(text: str, separator: str) -> list[list[str]]:
    """Records of CSV as RFC 4180 has them."""
    records, cells, cell, quoted, at = list[list[str]](), list[str](), "", False, 0
    while at < len(text):
        here, pair = text[at], text[at : at + 2]
        at += 1
        if quoted and pair == '""':
            cell, at = cell + '"', at + 1
        elif quoted or (here == '"' and not cell):
            quoted, cell = not quoted if here == '"' else quoted, cell + here * (here != '"')
        elif here == separator:
            cells, cell = [*cells, cell], ""
        elif pair == "\r\n" or here == "\n":
            records, cells, cell = [*records, [*cells, cell]], [], ""
            at += pair == "\r\n"
        else:
            cell += here
    return [*records, [*cells, cell]]


def number(value: Any) -> float:
    """A number, or a text that is one."""
    assert not isinstance(value, bool)
    return float(value)


def text_of(row: Row) -> str:
    """Title and text of a document."""
    title = row.get("title")
    return f"{title} {row['text']}".strip() if title else row["text"]


def corpus(found: list[Row]) -> list[tuple[str, str]]:
    """Ids and texts, by id."""
    return sorted((str(row["_id"]), text_of(row).strip()) for row in found)


def queries(found: list[Row]) -> list[tuple[str, str]]:
    """Ids and texts in their order."""
    return [(str(row["_id"]), row["text"]) for row in found]


def judgments(found: list[Row]) -> list[tuple[str, str, float]]:
    """Query, document and gain."""
    return [(str(row["query-id"]), str(row["corpus-id"]), number(row["score"])) for row in found]


def pairs(found: list[Row]) -> list[tuple[str, str, float]]:
    """Two sentences and their score."""
    return [(row["sentence1"], row["sentence2"], number(row["score"])) for row in found]


def labels(found: list[Row]) -> list[tuple[str, str]]:
    """Texts and labels."""
    return [(row["text"], str(row["label"])) for row in found]


def clusters(found: list[Row]) -> list[tuple[str, list[str]]]:
    """Texts and their labels, from coarse to fine."""
    listed = [(row["text"], row["label"]) for row in found]
    return [(text, list(map(str, one if isinstance(one, list) else [one]))) for text, one in listed]


def trec(data: bytes, columns: int) -> list[list[str]]:
    """Columns of lines that are not blank: between tabs where there are as many, else by blanks."""
    found = []
    for line in lines(data.decode("utf-8-sig")):
        cells = [cell.strip(BLANKS) for cell in line.split("\t")]
        if len(cells) != columns or not all(cells):
            cells = list(filter(None, re.split(f"[{BLANKS}]+", line)))
        found += [cells] if cells else []
    assert all(len(cells) == columns for cells in found)
    return found
