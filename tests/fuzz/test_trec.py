"""TREC's judgments and runs."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest

from harness.data import Corpus, Queries
from harness.sources import trec
from tests.fuzz import oracles
from tests.fuzz.frame import Reader, fuzz, in_file

QUERIES = Queries(["q1", "q 2"], ["one", "two"])
CORPUS = Corpus.of(["d1", "d2", "a b"], ["x", "y", "z"])
IDS = {"q1", "q 2", "d1", "d2", "a b"}


def _read_qrels(path: Path) -> object:
    return [tuple(one[:3]) for one in trec.read_qrels(path, QUERIES, CORPUS)]


def _id(column: str) -> str:
    return column if column in IDS else unquote(column)


def _expect_qrels(data: bytes) -> object:
    rows = oracles.trec(data, 4)
    return [(_id(query), _id(document), float(gain)) for query, _, document, gain in rows]


def _read_run(path: Path) -> object:
    run, _ = trec.read_run(path, QUERIES, CORPUS, 3)
    return [
        (query, CORPUS.ids[doc], float(score))
        for query, docs, scores in zip(QUERIES.ids, run.docs, run.scores, strict=True)
        for doc, score in zip(docs, scores, strict=True)
        if doc >= 0
    ]


def _expect_run(data: bytes) -> object:
    try:
        rows = [(row[0], row[2], row[4]) for row in oracles.trec(data, 6)]
    except AssertionError:  # MS MARCO's columns
        rows = [(query, document, f"-{rank}") for query, document, rank in oracles.trec(data, 3)]
    scores = {
        (_id(query), _id(document)): float(np.float32(score)) for query, document, score in rows
    }
    return [
        (query, document, score)
        for query in QUERIES.ids
        for document, score in sorted(
            ((d, s) for (q, d), s in scores.items() if q == query and d in CORPUS.ids),
            key=lambda each: (each[1], each[0]),
            reverse=True,
        )
    ]


READERS = [
    Reader(
        "qrels",
        in_file("test.qrels", _read_qrels),
        _expect_qrels,
        seeds=(b"q1 0 d1 1\nq%202 0 a%20b 2\n", b"q1\t0\td2\t-1\r\nq9 0 d9 0.5\n"),
        refused=(b"q1 0 d1\n", b"q1 0 d1 1 tag x\n", b"q1 0 d1 1_0\n", b"q1 0 d1 nan\n"),
    ),
    Reader(
        "run",
        in_file("a.run", _read_run),
        _expect_run,
        seeds=(
            b"q1 Q0 d1 1 0.5 tag\nq1 Q0 d2 2 0.25 tag\nq%202 Q0 a%20b 1 3 tag\n",
            b"q1 Q0 d1 1 7 t\nq1 Q0 d2 2 7 t\nq9 Q0 d1 1 2 t\n",
        ),
        refused=(b"q1 Q0 d1 1 inf t\n", b"q1 Q0 d1 1\n", b"q1 Q0 d1 1 1e39 t\n"),
    ),
]


@pytest.mark.parametrize("reader", READERS, ids=str)
def test_trec(reader, tmp_path):
    fuzz(reader, tmp_path)
