"""Datasets of the Hugging Face hub, or of a folder: which of their tables are read as what."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

from harness.data import Classification, Clustering, Data, Pairs, Qrels, Retrieval
from harness.data.rows import Row
from harness.errors import InputError
from harness.sources import SOURCES, assembly
from harness.sources.assembly import Columns, Judgments
from harness.sources.hub_tables import Tables


@SOURCES.register("hub")
def hub(
    target: str,
    *,
    kind: Literal["retrieval", "pairs", "classification", "clustering"] = "retrieval",
    revision: str | None = None,
    corpus: str = "corpus/corpus",
    queries: str = "queries/queries",
    qrels: str = "default/test",
    id: str = "_id",
    text: str = "text",
    title: str = "title",
    parent: str | None = None,
    query_id: str = "_id",
    query_text: str = "text",
    query_title: str = "",
    instruction: str | None = None,
    judgments: str | None = None,
    binary: str | None = None,
    qrels_query: str = "query-id",
    qrels_document: str = "corpus-id",
    score: str = "score",
    train: str = "default/train",
    test: str = "default/test",
    left: str = "sentence1",
    right: str = "sentence2",
    label: str = "label",
) -> Data:
    """A dataset of the hub (ORG/NAME), or a folder of such tables.

    Tables are corpus, queries, qrels; test of pairs and clustering; train and test. The others name
    columns: parent, the document of a passage, which is judged; query_title, before its query, and
    instruction, behind it; judgments, of a query, {id, label} each, and binary ones. revision: a
    commit, or a branch or tag, which may move.

    Raises InputError for what is missing, cannot be had, or is not the commit asked for.
    """
    reader, tables = _reader(kind, dict(locals())), Tables(target, revision)
    data, (origin, notes) = reader.read(tables), tables.provenance()
    return replace(data, origin=origin, warnings=(*data.warnings, *notes))


def _reader(kind: str, given: Mapping[str, Any]) -> _Reader:
    """What reads tables of a kind. Raises InputError for a parameter that it does not read."""
    taken = inspect.signature(READERS[kind]).parameters
    for name, parameter in inspect.signature(hub).parameters.items():
        if name not in {"target", "kind", "revision", *taken} and given[name] != parameter.default:
            where = f"hub:{given['target']}: kind={kind}"
            raise InputError(f"{where} does not read {name}: leave it out")
    return READERS[kind](**{name: given[name] for name in taken})


class _Reader(Protocol):
    """Names of tables and columns, which reads them."""

    def read(self, tables: Tables) -> Data:
        """Make data of the tables."""


@dataclass(frozen=True, kw_only=True)
class _RetrievalReader:
    corpus: str
    queries: str
    qrels: str
    id: str
    text: str
    title: str
    parent: str | None
    query_id: str
    query_text: str
    query_title: str
    instruction: str | None
    judgments: str | None
    binary: str | None
    qrels_query: str
    qrels_document: str
    score: str

    def read(self, tables: Tables) -> Retrieval:
        documents = assembly.corpus(
            tables.rows(self.corpus, self.id, self.parent, self.text, self.title),
            tables.place(self.corpus),
            Columns(self.id, self.text, self.title, parent=self.parent),
        )
        columns = Columns(
            self.query_id, self.query_text, self.query_title, instruction=self.instruction
        )
        named = (self.query_id, self.query_text, self.query_title, self.instruction)
        rows = tables.rows(self.queries, *named)
        asked = assembly.queries(rows, tables.place(self.queries), columns)
        judged, place = self._judge(tables)
        found = assembly.retrieval(documents, asked, judged, place, tables.target)
        if not self.binary:
            return found
        return replace(found, binary=Qrels.of(self._nest(tables, self.binary), asked, documents))

    def _judge(self, tables: Tables) -> tuple[Judgments, str]:
        """Judgments and where they stand: in a column of queries, or a table of their own."""
        if self.judgments:
            place = f"{tables.place(self.queries)} {self.judgments}"
            return self._nest(tables, self.judgments), place
        columns = (self.qrels_query, self.qrels_document, self.score)
        rows = tables.rows(self.qrels, *columns)
        return assembly.judgments(rows, *columns), tables.place(self.qrels)

    def _nest(self, tables: Tables, column: str) -> Judgments:
        rows = tables.rows(self.queries, self.query_id, column)
        return assembly.judgments(_unnest(rows, self.query_id, column))


@dataclass(frozen=True, kw_only=True)
class _PairsReader:
    test: str
    left: str
    right: str
    score: str

    def read(self, tables: Tables) -> Pairs:
        rows = tables.rows(self.test, self.left, self.right, self.score)
        return assembly.pairs(rows, tables.place(self.test), self.left, self.right, self.score)


@dataclass(frozen=True, kw_only=True)
class _ClassificationReader:
    train: str
    test: str
    text: str
    label: str

    def read(self, tables: Tables) -> Classification:
        columns = (self.text, self.label)
        learned, asked = (
            assembly.read_labels(tables.rows(part, *columns), tables.place(part), *columns)
            for part in (self.train, self.test)
        )
        return assembly.classification(learned, asked)


@dataclass(frozen=True, kw_only=True)
class _ClusteringReader:
    test: str
    text: str
    label: str

    def read(self, tables: Tables) -> Clustering:
        columns = (self.text, self.label)
        return assembly.clustering(
            tables.rows(self.test, *columns), tables.place(self.test), *columns
        )


READERS: dict[str, Callable[..., _Reader]] = {
    "retrieval": _RetrievalReader,
    "pairs": _PairsReader,
    "classification": _ClassificationReader,
    "clustering": _ClusteringReader,
}


def _unnest(rows: Iterator[tuple[str, Row]], query: str, column: str) -> Iterator[tuple[str, Row]]:
    """The judgments that stand in a query's row, as rows of qrels; null is none."""
    for where, row in rows:
        listed = [] if row.get(column) is None else row[column]
        if isinstance(listed, dict):  # datasets' Sequence of a dict: a dict of lists
            each = zip(*listed.values(), strict=True)
            listed = [dict(zip(listed, values, strict=True)) for values in each]
        for one in listed if isinstance(listed, list) else [listed]:
            if not isinstance(one, dict) or not {"id", "label"} <= set(one):
                raise InputError(f"{where}: {column!r} holds {one!r}: expected id and label")
            judged = {"corpus-id": one["id"], "score": one["label"]}
            yield where, {"query-id": row.get(query), **judged}
