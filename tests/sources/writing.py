"""Small collections written in every format, and the one line that a bad one must give."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harness.errors import InputError

Rows = Sequence[dict[str, Any]]

CORPUS = (
    {"_id": "d2", "title": "On cats", "text": "Cats sleep."},
    {"_id": "d10", "title": "", "text": "Žluťoučký kůň 🐎, a tab\tand a\nnewline."},
    {"_id": "d1", "title": "", "text": "Dogs bark."},
)
QUERIES = ({"_id": "q1", "text": "Who sleeps?"}, {"_id": "q2", "text": "Who barks?"})
QRELS = (
    {"query-id": "q1", "corpus-id": "d2", "score": 2},
    {"query-id": "q2", "corpus-id": "d1", "score": 1},
    {"query-id": "q2", "corpus-id": "d2", "score": 0},
)


def complaint(load: Callable[[], object]) -> str:
    """The message of the InputError that a call must end in: one line."""
    with pytest.raises(InputError) as caught:
        load()
    message = str(caught.value)
    assert message.splitlines() == [message]
    assert len(message) < 500
    return message


def write_bytes(path: Path, data: bytes) -> Path:
    """Write, compressed if the name ends so; makes the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def write_rows(path: Path, rows: Rows) -> Path:
    """Write rows in the format that the name says; "qrels" is TREC's four columns."""
    kind = path.name.removesuffix(".gz").rpartition(".")[2]
    if kind == "parquet":
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(list(rows)), path)
        return path
    if kind == "jsonl":
        lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    elif kind == "tsv":
        lines = ["\t".join(rows[0]), *("\t".join(map(str, row.values())) for row in rows)]
    else:
        lines = [f"{row['query-id']} 0 {row['corpus-id']} {row['score']}" for row in rows]
    return write_bytes(path, "".join(f"{line}\n" for line in lines).encode())


def write_collection(
    root: Path,
    *,
    corpus: Rows | bytes = CORPUS,
    queries: Rows | bytes = QUERIES,
    qrels: Rows | bytes = QRELS,
    texts: str = "jsonl",
    judgments: str = "tsv",
) -> Path:
    """A folder in the BEIR layout; bytes are written as they are. Returns the folder."""
    parts = [(f"corpus.{texts}", corpus), (f"queries.{texts}", queries)]
    for name, content in [*parts, (f"qrels/test.{judgments}", qrels)]:
        path = root / name
        if isinstance(content, bytes):
            write_bytes(path, content)
        else:
            write_rows(path, content)
    return root
