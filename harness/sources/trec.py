"""TREC's text formats: qrels ("qid 0 docid gain") and runs ("qid Q0 docid rank score tag").

Ranks in a file are ignored, as trec_eval does: the order is that of harness.ranking. Ids that
hold white space (the documents of LIMIT are people's names) are percent-encoded when written:
TREC's columns have no other way to carry them. A column is decoded when it is no id as it stands.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import quote, unquote

import numpy as np

from harness import disk
from harness.arrays import TOO_LARGE
from harness.data import Corpus, Qrels, Queries
from harness.errors import InputError
from harness.sources import files
from harness.vectors import Run, ranking

QRELS, RUN = "qid 0 docid gain", "qid Q0 docid rank score tag"
PRINTABLE = "".join(chr(code) for code in range(33, 127) if chr(code) != "%")


def read_columns(path: Path, form: str) -> Iterator[tuple[str, list[str]]]:
    """Yield the place and the columns of each line that is not blank.

    Args:
        path: Of the file.
        form: QRELS or RUN. A line has as many columns: one of the other form would be read as
            something that it does not say. A run's tag may be of several words, as in trec_eval's
            own data.

    Raises:
        InputError: A line has another number of columns, or the file cannot be read.
    """
    for where, line in files.lines(path):
        columns = line.split(maxsplit=5) if form is RUN else line.split()
        if len(columns) not in (0, len(form.split())):
            raise InputError(f"{where}: {len(columns)} columns: expected {form!r}")
        if columns:
            yield where, columns


def read_qrels(path: Path, queries: Queries, corpus: Corpus) -> Iterator[tuple[str, str, float]]:
    """Yield (query id, document id, gain). Raises InputError with file and line."""
    for where, columns in read_columns(path, QRELS):
        gain = files.number({"gain": columns[3]}, "gain", where)
        yield _id(columns[0], queries.rows), _document(columns[2], corpus), gain


def write_qrels(path: Path, qrels: Qrels, queries: Queries, corpus: Corpus) -> None:
    """Write judgments, all or none; one on an unknown document keeps its place as 'unknown-N'.

    Raises OSError.
    """
    with disk.create(path) as out:
        for row, (query, doc, gain) in enumerate(
            zip(qrels.query_rows, qrels.docs, qrels.gains, strict=True)
        ):
            id = corpus.ranked[doc] if doc >= 0 else f"unknown-{row}"
            out.write(f"{_word(queries.ids[query])} 0 {_word(id)} {gain:.9g}\n".encode())


def read_run(path: Path, queries: Queries, corpus: Corpus, k: int) -> tuple[Run, list[str]]:
    """Read a run file and rank it; returns a run [q, k] and warnings.

    Lines of queries or documents that the task does not hold are left out and counted. Raises
    InputError for a malformed line, a score that is no number, a document ranked twice.
    """
    found: list[dict[int, float]] = [{} for _ in queries.ids]
    strange_queries = strange_documents = 0
    for where, columns in read_columns(path, RUN):
        score = _score(columns[4], where)
        query = queries.rows.get(_id(columns[0], queries.rows))
        doc = _row(columns[2], corpus)
        strange_queries += query is None
        strange_documents += doc < 0
        if query is None or doc < 0:
            continue
        if doc in found[query]:
            raise InputError(f"{where}: document {columns[2]!r} is ranked twice for {columns[0]!r}")
        found[query][doc] = score
    keys = np.zeros((len(queries), k), np.uint64)
    for row, scores in enumerate(found):
        if scores:
            packed = ranking.pack(
                np.fromiter(scores.values(), np.float32), np.fromiter(scores, np.int64)
            )
            keys[row] = ranking.best(packed[None, :], k)[0]
    counts = {"queries": strange_queries, "documents": strange_documents}
    notes = [f"{n} lines of {path.name} name unknown {what}" for what, n in counts.items() if n]
    return ranking.unpack(keys), notes


def write_run(path: Path, run: Run, queries: Queries, corpus: Corpus, tag: str) -> None:
    """Write a run [q, k] in ranked order, whole or not at all.

    Scores read back to the same float32. Raises OSError.
    """
    with disk.create(path) as out:
        for query, docs, scores in zip(queries.ids, run.docs, run.scores, strict=True):
            for rank, (doc, score) in enumerate(zip(docs, scores, strict=True), 1):
                if doc >= 0:
                    id = _word(corpus.ranked[doc])
                    line = f"{_word(query)} Q0 {id} {rank} {score:.9g} {_word(tag)}\n"
                    out.write(line.encode())


def _score(column: str, where: str) -> float:
    score = files.number({"score": column}, "score", where)
    if abs(score) >= TOO_LARGE:
        raise InputError(f"{where}: 'score' is {column!r}: expected a number that float32 holds")
    return score


def _row(column: str, corpus: Corpus) -> int:
    row = corpus.row(column)
    return row if row >= 0 or "%" not in column else corpus.row(unquote(column))


def _document(column: str, corpus: Corpus) -> str:
    row = _row(column, corpus)
    return corpus.ranked[row] if row >= 0 else unquote(column)


def _id(column: str, known: Mapping[str, int]) -> str:
    return column if column in known else unquote(column)


def _word(id: str) -> str:
    """An id as one column: percent-encoded if it holds white space or a percent sign."""
    plain = "%" not in id and len(id.split()) == 1 and id == id.strip() and id.isprintable()
    return id if plain else quote(id, PRINTABLE)
