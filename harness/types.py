"""The values that flow through one evaluation, and the errors a user can cause.

Everything after loading works on row numbers: documents are sorted by id, so that "document id
descending" (trec_eval's tie rule) is "row number descending" from here on.

    HarnessError
    ├── InputError       what was asked for or given is wrong: exit status 2
    ├── EncodingError    a model returned something that is not an embedding
    └── StoreError       the embedding store cannot be read or written
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]

TOO_LARGE = 2.0**128 - 2.0**103  # from here on a number is infinite as float32

Role = Literal["query", "document", "text"]
Representation = Literal["dense", "sparse"]

Progress = Callable[[str, int, int, str], None]
"""Called as progress(stage, done, total, unit); total 0 means that it is not known."""


def silent(stage: str, done: int, total: int, unit: str) -> None:
    """A Progress that reports nothing."""


class HarnessError(Exception):
    """What a user can act on, in one line: what is wrong, where, what to do."""


class InputError(HarnessError):
    """A name, file, option or value that was asked for or given is wrong."""


class EncodingError(HarnessError):
    """A model returned something that is not one finite vector per text."""


class StoreError(HarnessError):
    """The embedding store cannot be read or written."""


def reason(error: BaseException) -> str:
    """The first line of an exception's message, or its type where it has none."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


@dataclass(frozen=True)
class Corpus:
    """Documents in ascending order of id (by code point, as strcmp orders UTF-8).

    ids: [n] unique; texts: [n], title and body joined by one space.
    """

    ids: Sequence[str]
    texts: Sequence[str]

    @classmethod
    def of(cls, ids: Sequence[str], texts: Sequence[str]) -> Corpus:
        """Sort documents by id.

        Raises InputError for an empty corpus and for an id that occurs twice.
        """
        if not ids:
            raise InputError("the corpus is empty: expected at least one document")
        order = sorted(range(len(ids)), key=ids.__getitem__)
        sorted_ids = [ids[i] for i in order]
        refuse_bad_ids(sorted_ids, "document")
        return cls(sorted_ids, [texts[i] for i in order])

    @cached_property
    def rows(self) -> dict[str, int]:
        """Row number by document id."""
        return {id: row for row, id in enumerate(self.ids)}

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Queries:
    """Queries in the order of their source. ids: [q] unique; texts: [q]."""

    ids: Sequence[str]
    texts: Sequence[str]

    def __post_init__(self) -> None:
        if not self.ids:
            raise InputError("there are no queries: expected at least one")
        refuse_bad_ids(sorted(self.ids), "query")

    @cached_property
    def rows(self) -> dict[str, int]:
        """Row number by query id."""
        return {id: row for row, id in enumerate(self.ids)}

    def __len__(self) -> int:
        return len(self.ids)


def refuse_bad_ids(sorted_ids: Sequence[str], noun: str) -> None:
    """Raise InputError for an empty id or two equal neighbours."""
    if not sorted_ids[0]:
        raise InputError(f"a {noun} has an empty id: expected text")
    for one, other in pairwise(sorted_ids):
        if one == other:
            raise InputError(f"{noun} id {one!r} occurs more than once: ids must be unique")


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
        return cls._packed(rows, corpus, unknown_queries, repeated)

    @classmethod
    def _packed(
        cls, rows: list[dict[str, float]], corpus: Corpus, unknown_queries: int, repeated: int
    ) -> Qrels:
        indptr = np.zeros(len(rows) + 1, np.int64)
        np.cumsum([len(row) for row in rows], out=indptr[1:])
        docs = np.empty(indptr[-1], np.int32)
        gains = np.empty(indptr[-1], np.float32)
        for i, row in enumerate(rows):
            found = sorted((corpus.rows.get(id, -1), gain) for id, gain in row.items())
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
class Retrieval:
    """A test collection: find, for each query, the documents judged relevant.

    warnings: what the source noticed and tolerated, a sentence each.
    """

    corpus: Corpus
    queries: Queries
    qrels: Qrels
    warnings: tuple[str, ...] = ()

    def fingerprint(self) -> dict[str, str]:
        """SHA-256 of the content of corpus, queries and qrels, whatever file they came from."""
        qrels = hashlib.sha256()
        for array in (self.qrels.indptr, self.qrels.docs, self.qrels.gains):
            qrels.update(array.tobytes())
        return {
            "corpus": text_digest(self.corpus.ids, self.corpus.texts),
            "queries": text_digest(self.queries.ids, self.queries.texts),
            "qrels": qrels.hexdigest(),
        }


@dataclass(frozen=True)
class Pairs:
    """Sentence pairs with a gold similarity (STS). left, right: [n] texts; gold: float64 [n]."""

    left: Sequence[str]
    right: Sequence[str]
    gold: Float64
    warnings: tuple[str, ...] = ()

    def fingerprint(self) -> dict[str, str]:
        """SHA-256 of the texts and of the gold scores."""
        return {
            "pairs": text_digest(self.left, self.right),
            "gold": hashlib.sha256(self.gold.tobytes()).hexdigest(),
        }

    def __len__(self) -> int:
        return len(self.left)


def text_digest(*columns: Sequence[str]) -> str:
    """SHA-256 over columns of text, each text preceded by its length in bytes."""
    digest = hashlib.sha256()
    for row in zip(*columns, strict=True):
        for text in row:
            data = text.encode()
            digest.update(b"%d:" % len(data))
            digest.update(data)
    return digest.hexdigest()


@dataclass(frozen=True)
class Dense:
    """One vector a text: values float32 [n, d], which may be a memory map."""

    values: Float32

    def __len__(self) -> int:
        return len(self.values)


@dataclass(frozen=True)
class Sparse:
    """One sparse vector a text: matrix float32 CSR [n, v]."""

    matrix: csr_matrix

    def __len__(self) -> int:
        return int(self.matrix.shape[0])


@dataclass(frozen=True)
class Run:
    """A ranking for every query: docs int32 [q, k], scores float32 [q, k].

    Score descending, ties by row descending; -1 pads a row with fewer than k results.
    """

    docs: Int32
    scores: Float32
