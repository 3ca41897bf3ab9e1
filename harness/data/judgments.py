"""Which documents answer a query, and which may be ranked for it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.arrays import TOO_LARGE, Float32, Int32, Int64
from harness.data.texts import Corpus, Queries
from harness.errors import InputError


@dataclass(frozen=True)
class Qrels:
    """Judgments as compressed sparse rows over the queries.

    indptr: int64 [q+1]; docs: int32 [nnz], row of the corpus, or -1 for a document that the corpus
    does not hold; gains: float32 [nnz]. Documents are ascending within a query, so the unknown
    ones come first. They can never be found and stay in every denominator, as in trec_eval.
    """

    indptr: Int64
    docs: Int32
    gains: Float32
    unknown_queries: int = 0
    repeated: int = 0

    @classmethod
    def of(
        cls, judgments: Iterable[tuple[str, str, float]], queries: Queries, corpus: Corpus
    ) -> Qrels:
        """Build from (query id, document id, gain).

        Judgments of unknown queries are left out and counted in `unknown_queries`; one repeated
        with the same gain is counted in `repeated` and kept once. Raises InputError where a
        document is judged twice with different gains, or a gain is no finite float32.
        """
        rows: list[dict[str, float]] = [{} for _ in queries.ids]
        unknown_queries = repeated = 0
        for query_id, document_id, gain in judgments:
            row = queries.rows.get(query_id)
            if row is None:
                unknown_queries += 1
                continue
            if not abs(gain) < TOO_LARGE:
                raise InputError(
                    f"the judgment of document {document_id!r} for query {query_id!r} is {gain}: "
                    "expected a finite float32"
                )
            known = rows[row].get(document_id)
            if known is not None and known != gain:
                raise InputError(
                    f"document {document_id!r} is judged twice for query {query_id!r}, "
                    f"as {known:g} and as {gain:g}: keep one"
                )
            repeated += known is not None
            rows[row][document_id] = gain
        return cls._pack(rows, corpus, unknown_queries, repeated)

    @classmethod
    def _pack(
        cls, rows: list[dict[str, float]], corpus: Corpus, unknown_queries: int, repeated: int
    ) -> Qrels:
        indptr = np.zeros(len(rows) + 1, np.int64)
        np.cumsum([len(row) for row in rows], out=indptr[1:])
        docs = np.empty(indptr[-1], np.int32)
        gains = np.empty(indptr[-1], np.float32)
        for i, row in enumerate(rows):
            found = sorted((corpus.row(id), gain) for id, gain in row.items())
            docs[indptr[i] : indptr[i + 1]] = [doc for doc, _ in found]
            gains[indptr[i] : indptr[i + 1]] = [gain for _, gain in found]
        return cls(indptr, docs, gains, unknown_queries, repeated)

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
