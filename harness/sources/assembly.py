"""Rows with their place -> data: what every source of documents, pairs and labels shares.

A row is a dict by column; its place ("corpus.jsonl:3") is what an error names. Every function
raises InputError with the place of the row that is wrong.
"""

from __future__ import annotations

import reprlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np

from harness.data import (
    Classification,
    Clustering,
    Corpus,
    Labelled,
    Pairs,
    Qrels,
    Queries,
    Retrieval,
)
from harness.data.judgments import Given
from harness.data.rows import Judgment, Row
from harness.errors import InputError
from harness.sources import files
from harness.wording import count

Rows = Iterable[tuple[str, Row]]
Judgments = Iterable[Judgment]


@dataclass(frozen=True)
class Columns:
    """Names of the columns of documents or queries.

    A title may be missing from a row, an instruction or the object of metadata null.
    """

    id: str = "_id"
    text: str = "text"
    title: str = ""
    parent: str | None = None
    instruction: str | None = None
    metadata: str | None = None


CORPUS = Columns(title="title", metadata="metadata")
QUERIES = Columns(instruction="instruction")
OWN_LEFT_OUT = {"beir/arguana", "beir/quora", "mteb/arguana", "mteb/quora"}


def leaves_own_out(dataset: str) -> bool:
    """Whether a query's own document is no result, as the makers of a data set measure with it.

    dataset: its id on the hub or in ir_datasets, where BEIR's have their splits below them.
    """
    return "/".join(dataset.lower().split("/")[:2]) in OWN_LEFT_OUT


def corpus(rows: Rows, place: str, columns: Columns = CORPUS) -> Corpus:
    """Documents, or passages where `columns` name a parent. place: all of the rows, for errors."""
    ids, texts, parents, objects = [], [], [], []
    for where, row, id, text in _texts(rows, "document", place, columns):
        ids.append(id)
        texts.append(text.strip())  # as MTEB does with documents, not with queries
        if columns.parent:
            parents.append(files.identifier(row, columns.parent, where))
        if columns.metadata:
            objects.append(_object(row, columns.metadata, where))
    names = sorted({name for one in objects for name in one})
    metadata = {name: [one.get(name) for one in objects] for name in names}
    return Corpus.of(ids, texts, parents or None, metadata=metadata or None)


def _object(row: Row, key: str, where: str) -> Row:
    """A field that must be an object, null or absent."""
    value = row.get(key)
    if value is not None and not isinstance(value, dict):
        raise InputError(f"{where}: {key!r} is {reprlib.repr(value)}: expected an object")
    return value or {}


def queries(rows: Rows, place: str, columns: Columns = QUERIES) -> Queries:
    """Queries; an instruction follows its query after one space, as in MTEB.

    A query is its text: its title is no part of it, in BEIR and MTEB, unless `columns` name one.
    """
    ids, texts = [], []
    name = columns.instruction
    for where, row, id, text in _texts(rows, "query", place, columns):
        ids.append(id)
        instruction = files.text(row, name, where, default="") if name else ""
        texts.append(f"{text} {instruction}" if instruction else text)
    return Queries(ids, texts)


def _texts(
    rows: Rows, noun: str, place: str, columns: Columns
) -> Iterator[tuple[str, Row, str, str]]:
    """Place, row, id and text; title and text are joined by a space, as BEIR and MTEB do."""
    seen: dict[str, str] = {}
    for where, row in rows:
        id = files.identifier(row, columns.id, where)
        if id in seen:
            raise InputError(f"{where}: {noun} id {id!r} stands at {seen[id]} already")
        seen[id] = where
        title = files.text(row, columns.title, where, default="") if columns.title else ""
        body = files.text(row, columns.text, where)
        yield where, row, id, f"{title} {body}".strip() if title else body
    if not seen:
        raise InputError(f"{place}: holds no {noun}: expected at least one")


def judgments(
    rows: Rows, query: str = "query-id", document: str = "corpus-id", gain: str = "score"
) -> Judgments:
    """Query id, document id and gain of each row. query, document, gain: names of columns."""
    for where, row in rows:
        yield Judgment(
            files.identifier(row, query, where),
            files.identifier(row, document, where),
            files.number(row, gain, where),
            where,
        )


def retrieval(
    corpus: Corpus, queries: Queries, judged: Iterable[Given], place: str, source: str
) -> Retrieval:
    """A collection. Raises InputError where no query or no document of it is judged.

    place, source: what errors call the judgments and the whole.
    """
    qrels = Qrels.of(judged, queries, corpus)
    if not qrels.judged.any():
        raise InputError(
            f"{place}: judges none of the {count(len(queries), 'query')} of {source}"
            f"{_compare_ids(qrels.unknown_query, queries.ids)}"
        )
    if qrels.unknown_documents == len(qrels.docs):
        raise InputError(
            f"{place}: judges none of the {count(len(corpus.ranked), 'document')} of {source}"
            f"{_compare_ids(qrels.unknown_document, corpus.ranked)}"
        )
    return Retrieval(corpus, queries, qrels)


def _compare_ids(unknown: str, held: Sequence[str]) -> str:
    """What was expected of ids, with one of each side; nothing where none is judged."""
    same = f": expected the same ids on both sides, as {held[0]!r}, not {unknown}"
    return same if unknown else ""


def pairs(rows: Rows, place: str, left: str, right: str, score: str) -> Pairs:
    """Sentence pairs with a gold score. left, right, score: names of columns."""
    ones, others, gold = [], [], []
    for where, row in rows:
        ones.append(files.text(row, left, where))
        others.append(files.text(row, right, where))
        gold.append(files.number(row, score, where))
    if len(set(gold)) < 2:
        raise InputError(
            f"{place}: {count(len(gold), 'pair')} with "
            f"{count(len(set(gold)), 'different gold score')}: "
            "a correlation needs two"
        )
    return Pairs(ones, others, np.asarray(gold))


def read_labels(rows: Rows, place: str, text: str, label: str) -> Labelled:
    """Texts with a label each. text, label: names of columns."""
    found = [(files.text(row, text, where), files.label(row, label, where)) for where, row in rows]
    try:
        return Labelled([text for text, _ in found], [label for _, label in found])
    except InputError as error:
        raise InputError(f"{place}: {error}") from None


def classification(train: Labelled, test: Labelled) -> Classification:
    """Both parts; test texts whose label cannot be learned are a warning."""
    strange = set(test.labels) - set(train.labels)
    lost = sum(label in strange for label in test.labels)
    notes = (f"{lost} of {len(test)} test texts have a label that no training text has",)
    return Classification(train, test, warnings=notes if lost else ())


def clustering(rows: Rows, place: str, text: str, label: str) -> Clustering:
    """Texts with a label each, or a list of labels from coarse to fine; it may end early."""
    texts, labels = [], []
    for where, row in rows:
        texts.append(files.text(row, text, where))
        given = row.get(label)
        each = [{label: one} for one in given] if isinstance(given, list) and given else [row]
        labels.append([files.label(one, label, where) for one in each])
    levels = tuple(zip_longest(*labels))
    for number, level in enumerate(levels or ((),), 1):
        different = len(set(level) - {None})
        if different < 2:
            raise InputError(
                f"{place}: {count(len(texts), 'text')} with "
                f"{count(different, 'different label')} on level "
                f"{number}: expected at least two labels"
            )
    return Clustering(texts, levels)
