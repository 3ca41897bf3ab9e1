"""Corpora, queries, judgments, pairs and labels, in every form that rows come in."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest

from harness.data.rows import Row
from harness.sources import assembly, files
from tests.fuzz import oracles
from tests.fuzz.frame import Reader, fuzz, in_file
from tests.fuzz.mutations import DEEP, damaged, damaged_tables, write_table


def _corpus(rows: Any) -> object:
    found = assembly.corpus(rows, "corpus")
    return list(zip(found.ids, found.texts, strict=True))


def _queries(rows: Any) -> object:
    found = assembly.queries(rows, "queries")
    return list(zip(found.ids, found.texts, strict=True))


def _pairs(rows: Any) -> object:
    found = assembly.pairs(rows, "pairs", "sentence1", "sentence2", "score")
    return list(zip(found.left, found.right, found.gold.tolist(), strict=True))


def _labels(rows: Any) -> object:
    found = assembly.read_labels(rows, "labels", "text", "label")
    return list(zip(found.texts, found.labels, strict=True))


def _clusters(rows: Any) -> object:
    found = assembly.clustering(rows, "labels", "text", "label")
    levels = zip(*found.levels, strict=True)
    return [(text, [one for one in labels if one is not None])
            for text, labels in zip(found.texts, levels, strict=True)]  # fmt: skip


# rows of a table of this kind, what the harness makes of them, what the oracle does
TABLES: dict[str, tuple[list[Row], Callable[[Any], object], Callable[[list[Row]], object]]] = {
    "corpus": (
        [
            {"_id": "d2", "title": "Über", "text": "an apple, red"},
            {"_id": "d1", "title": "", "text": 'a "pear"'},
        ],
        _corpus,
        oracles.corpus,
    ),
    "queries": (
        [
            {"_id": "q2", "text": "apples"},
            {"_id": "q1", "text": "pears "},
        ],
        _queries,
        oracles.queries,
    ),
    "qrels": (
        [
            {"query-id": "q1", "corpus-id": "d1", "score": 1},
            {"query-id": "q2", "corpus-id": "d2", "score": 2},
        ],
        lambda rows: [tuple(one[:3]) for one in assembly.judgments(rows)],
        oracles.judgments,
    ),
    "pairs": (
        [
            {"sentence1": "a cat", "sentence2": "a dog", "score": 2.5},
            {"sentence1": "one", "sentence2": "two", "score": 0},
        ],
        _pairs,
        oracles.pairs,
    ),
    "labels": ([{"text": "a", "label": "x"}, {"text": "b", "label": "7"}], _labels, oracles.labels),
    "clusters": (
        [{"text": "a", "label": ["x", "y"]}, {"text": "b", "label": ["z", "7"]}],
        _clusters,
        oracles.clusters,
    ),
}
FORMS = (".jsonl", ".csv", ".tsv", ".parquet", ".jsonl.gz")


def _write(form: str, rows: list[Row]) -> bytes:
    """A table as a file."""
    if form == ".parquet":
        return write_table(pa.Table.from_pylist(rows))
    if form == ".jsonl.gz":
        return gzip.compress(_write(".jsonl", rows), mtime=0)
    if form == ".jsonl":
        return "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows).encode()
    quote = '"{}"'.format if form == ".csv" else str
    cells = [list(rows[0]), *(map(str, row.values()) for row in rows)]
    texts = [[quote(cell.replace('"', '""' if form == ".csv" else '"')) for cell in row]
             for row in cells]  # fmt: skip
    separator = "," if form == ".csv" else "\t"
    return "".join(f"{separator.join(row)}\n" for row in texts).encode()


def _reader(kind: str, form: str) -> Reader:
    rows, read, expect = TABLES[kind]
    deep = b'{"_id":' + b"[" * DEEP
    if form == ".parquet":
        twice = pa.Table.from_arrays([[1, 2]] * 2, ["_id", "_id"])
        refused = (b"", write_table(twice))
    else:
        refused = (b"\xff\xfea\0", deep if form == ".jsonl" else b"_id\n1\n", b'{"_id": "a"')
    if kind == "qrels":  # which may be empty here: the collection then has no judged query
        refused = refused[:1]
    return Reader(
        f"{kind}{form}",
        in_file(f"table{form}", lambda path: read(files.rows(path))),
        lambda data: expect(oracles.rows(form, data)),
        seeds=(_write(form, rows), _write(form, rows[::-1])),
        refused=refused,
        damage=damaged_tables if form == ".parquet" else damaged,
    )


READERS = [
    _reader(kind, form)
    for kind in TABLES
    for form in FORMS
    if not (kind == "clusters" and form in (".csv", ".tsv"))
]


@pytest.mark.parametrize("reader", READERS, ids=str)
def test_tables(reader, tmp_path):
    fuzz(reader, tmp_path)
