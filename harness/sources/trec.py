"""TREC's text formats: qrels ("qid 0 docid gain") and runs ("qid Q0 docid rank score tag").

Ranks in a file are ignored, as trec_eval does: the order is that of harness.ranking. Ids that
hold white space (the documents of LIMIT are people's names) are percent-encoded when written:
TREC's columns have no other way to carry them. A column is decoded when it is no id as it stands.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from urllib.parse import quote, unquote

import numpy as np

from harness import disk
from harness.data import Corpus, Qrels, Queries, rows
from harness.data.rows import Judgment
from harness.data.unknown import show_unknown
from harness.disk.memory import available_memory
from harness.errors import InputError
from harness.sources import files
from harness.vectors import Run, ranking
from harness.wording import count

QRELS, RUN = "qid 0 docid gain", "qid Q0 docid rank score tag"
MARCO = "qid docid rank"
CELL = 32  # bytes of memory that a result takes until it is unpacked
BLANKS = " \t\v\f\r"  # white space as trec_eval has it: an id may hold that of Unicode
PART = re.compile(f"[^{BLANKS}]+")
PRINTABLE = "".join(chr(code) for code in range(33, 127) if chr(code) != "%")


def read_columns(path: Path, form: str) -> Iterator[tuple[str, list[str]]]:
    """Yield the place and the columns of each line that is not blank.

    Args:
        path: Of the file.
        form: QRELS or RUN. Columns are parted by white space; by tabs alone where a line has just
            as many of these, so that an id or a tag between them may hold blanks. A run may have
            MS MARCO's three columns: it is read as if it had scores, by its ranks.

    Raises:
        InputError: A line has another number of columns, which would be read as something that it
            does not say; or the file cannot be read.
    """
    found = ((where, line) for where, line in files.lines(path) if line.strip(BLANKS))
    first = next(found, None)
    if first is None:
        return
    whole = chain([first], found)
    if form is RUN and len(PART.findall(first[1])) == len(first[1].split("\t")) == 3:
        yield from _read_ranks(whole)
        return
    for where, line in whole:
        yield where, _split(line, form, where)


def _split(line: str, form: str, where: str) -> list[str]:
    """The columns of a line, as many as the form has."""
    wanted = len(form.split())
    columns = [column.strip(BLANKS) for column in line.split("\t")]
    if len(columns) != wanted or not all(columns):
        columns = PART.findall(line)
    if len(columns) != wanted:
        raise InputError(f"{where}: {count(len(columns), 'column')}: expected {form!r}")
    return columns


def _read_ranks(lines: Iterable[tuple[str, str]]) -> Iterator[tuple[str, list[str]]]:
    """Lines of MS MARCO as those of a run, the best document of each query with the best score.

    Raises InputError where the last column is none of ranks: 1, 2, 3 and so on for each query.
    """
    ranks: dict[str, set[int]] = {}
    where = ""
    for where, line in lines:
        query, document, rank = _split(line, MARCO, where)
        number = int(rank) if rank.isascii() and rank.isdigit() and len(rank) < 10 else 0
        seen = ranks.setdefault(query, set())
        if number < 1 or number in seen:
            raise InputError(
                f"{where}: {rank!r} is no rank of {query!r}: expected each of 1, 2, ... once"
            )
        seen.add(number)
        yield where, [query, "Q0", document, rank, str(-number), "marco"]
    for query, seen in ranks.items():
        if max(seen) > len(seen):
            raise InputError(
                f"{where}: {len(seen)} ranks up to {max(seen)} of {query!r}: expected {MARCO!r} "
                f"with each rank from 1, or {RUN!r}"
            )


def read_qrels(path: Path, queries: Queries, corpus: Corpus) -> Iterator[Judgment]:
    """Yield judgments with their places. Raises InputError with file and line."""
    for where, columns in read_columns(path, QRELS):
        gain = rows.number(columns[3], where, "gain")
        document = _document(columns[2], corpus)
        yield Judgment(_id(columns[0], queries.rows), document, gain, where)


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
    """Read a run file and rank it; returns a run [q, <=k] and warnings.

    It is as wide as the longest ranking of the file, whatever k is. Lines of queries or documents
    that the task does not hold are left out and counted. Raises InputError for a malformed line, a
    score that is no number, a document ranked twice.
    """
    found: list[dict[int, float]] = [{} for _ in queries.ids]
    strange: dict[str, list[tuple[str, str]]] = {"queries": [], "documents": []}
    for where, columns in read_columns(path, RUN):
        score = rows.number(columns[4], where, "score")
        query = queries.rows.get(_id(columns[0], queries.rows))
        doc = _row(columns[2], corpus)
        if query is None:
            strange["queries"].append((columns[0], where))
        if doc < 0:
            strange["documents"].append((columns[2], where))
        if query is None or doc < 0:
            continue
        if doc in found[query]:
            raise InputError(f"{where}: document {columns[2]!r} is ranked twice for {columns[0]!r}")
        found[query][doc] = score
    there: dict[str, Container[str]] = {"queries": queries.rows, "documents": corpus}
    return _rank(found, k, path), [
        f"{count(len(named), 'line')} of {path.name} with unknown {what}, as "
        f"{show_unknown(named, there[what])}"
        for what, named in strange.items()
        if named
    ]


def _rank(found: Sequence[Mapping[int, float]], k: int, path: Path) -> Run:
    """The run [q, <=k] of scores by document. Raises InputError where it is beyond memory."""
    k = min(k, max(1, *map(len, found)))
    if CELL * len(found) * k > available_memory():
        raise InputError(
            f"{path}: {len(found):,} rankings of which one has {k:,} results are too large for "
            "this memory: choose measures with a lower cut-off"
        )
    keys = np.zeros((len(found), k), np.uint64)
    for row, scores in enumerate(found):
        if scores:
            packed = ranking.pack(
                np.fromiter(scores.values(), np.float32), np.fromiter(scores, np.int64)
            )
            keys[row] = ranking.best(packed[None, :], k)[0]
    return ranking.unpack(keys)


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
