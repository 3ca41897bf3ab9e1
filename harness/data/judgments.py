"""Which documents answer a query, and which may be ranked for it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from harness.arrays import TOO_LARGE, Float32, Int32, Int64
from harness.data.rows import Judgment
from harness.data.texts import Corpus, Queries
from harness.data.unknown import show_unknown
from harness.errors import InputError

Given = tuple[str, str, float] | Judgment


@dataclass(frozen=True)
class Qrels:
    """Judgments as compressed sparse rows over the queries.

    indptr: int64 [q+1]; docs: int32 [nnz], row of the corpus, or -1 for a document that the corpus
    does not hold; gains: float32 [nnz]. Documents are ascending within a query, so the unknown
    ones come first. They can never be found and stay in every denominator, as in trec_eval.
    unknown_query, unknown_document: an example of those that are not there, in words.
    """

    indptr: Int64
    docs: Int32
    gains: Float32
    unknown_queries: int = 0
    repeated: int = 0
    unknown_query: str = ""
    unknown_document: str = ""

    @classmethod
    def of(cls, judgments: Iterable[Given], queries: Queries, corpus: Corpus) -> Qrels:
        """Build from (query id, document id, gain), which may be judgments with their places.

        Judgments of unknown queries are left out and counted in `unknown_queries`; one repeated
        with the same gain is counted in `repeated` and kept once. Raises InputError where a
        document is judged twice with different gains, or a gain is no finite float32.
        """
        given = [Judgment(*one) for one in judgments]
        known = [one for one in given if one.query in queries.rows]
        strange = ((one.query, one.where) for one in given if one.query not in queries.rows)
        lost = ((one.document, one.where) for one in known if corpus.row(one.document) < 0)
        rows = _merge(known, queries)
        qrels = cls._pack(rows, corpus)
        return replace(
            qrels,
            unknown_queries=len(given) - len(known),
            repeated=len(known) - len(qrels.docs),
            unknown_query=show_unknown(strange, queries.rows),
            unknown_document=show_unknown(lost, corpus) if qrels.unknown_documents else "",
        )

    @classmethod
    def _pack(cls, rows: list[dict[str, float]], corpus: Corpus) -> Qrels:
        indptr = np.zeros(len(rows) + 1, np.int64)
        np.cumsum([len(row) for row in rows], out=indptr[1:])
        docs = np.empty(indptr[-1], np.int32)
        gains = np.empty(indptr[-1], np.float32)
        for i, row in enumerate(rows):
            found = sorted((corpus.row(id), gain) for id, gain in row.items())
            docs[indptr[i] : indptr[i + 1]] = [doc for doc, _ in found]
            gains[indptr[i] : indptr[i + 1]] = [gain for _, gain in found]
        return cls(indptr, docs, gains)

    @property
    def judged(self) -> NDArray[np.bool_]:
        """[q]: whether the query has any judgment; the others are left out of every mean."""
        return np.diff(self.indptr) > 0

    @property
    def unknown_documents(self) -> int:
        """How many judgments name a document that the corpus does not hold."""
        return int(np.count_nonzero(self.docs < 0))

    @property
    def query_rows(self) -> Int64:
        """[nnz]: the query that each judgment belongs to."""
        return np.repeat(np.arange(len(self.indptr) - 1), np.diff(self.indptr))


def _merge(given: Sequence[Judgment], queries: Queries) -> list[dict[str, float]]:
    """Gains by document of each query. Raises as `Qrels.of`."""
    rows: list[dict[str, float]] = [{} for _ in queries.ids]
    for one in given:
        if not abs(one.gain) < TOO_LARGE:
            raise InputError(
                f"{_begin(one)}the judgment of document {one.document!r} for query {one.query!r} "
                f"is {one.gain}: expected a finite float32"
            )
        before = rows[queries.rows[one.query]].setdefault(one.document, one.gain)
        if before != one.gain:
            first = next(other.where for other in given if other[:2] == one[:2])
            raise InputError(
                f"{_begin(one)}document {one.document!r} is judged twice for query {one.query!r}, "
                f"as {before:g}{f' ({first})' if first else ''} and as {one.gain:g}: keep one"
            )
    return rows


def _begin(judgment: Judgment) -> str:
    """What an error about a judgment begins with: its place, if that is known."""
    return f"{judgment.where}: " if judgment.where else ""


@dataclass(frozen=True)
class Candidates:
    """The documents that may be ranked for each query (reranking), as compressed sparse rows.

    indptr: int64 [q+1]; docs: int32 [nnz], rows of the corpus, ascending within a query. unknown:
    how many were named that the corpus does not hold.
    """

    indptr: Int64
    docs: Int32
    unknown: int = 0

    @classmethod
    def of(cls, named: Mapping[str, Iterable[str]], queries: Queries, corpus: Corpus) -> Candidates:
        """Build from document ids by query id; what the corpus does not hold is left out."""
        rows, unknown = [], 0
        for id in queries.ids:
            found = {corpus.row(document) for document in named.get(id, ())}
            unknown += -1 in found
            rows.append(sorted(found - {-1}))
        indptr = np.zeros(len(rows) + 1, np.int64)
        np.cumsum([len(row) for row in rows], out=indptr[1:])
        return cls(indptr, np.array([doc for row in rows for doc in row], np.int32), unknown)


@dataclass(frozen=True)
class Changes:
    """Documents that a changed instruction made irrelevant (FollowIR), [c] each.

    before, after: int64, rows of the query with the original and with the changed instruction;
    docs: int32, rows of the corpus, -1 for one that it does not hold.
    """

    before: Int64
    after: Int64
    docs: Int32
