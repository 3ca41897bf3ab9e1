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
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar, Literal

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
Representation = Literal["dense", "sparse", "multi-vector"]

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

    Where texts are passages, `parents` names the document that each belongs to, as int32 [n] rows
    of `parent_ids`, ascending. Passages are searched; documents are ranked, each by its best
    passage (MaxP, Dai and Callan 2019), and judged.

    metadata: columns [n] by name, of text, numbers or lists, None where a document has no value;
    no part of the text.
    """

    ids: Sequence[str]
    texts: Sequence[str]
    parents: Int32 | None = None
    parent_ids: Sequence[str] = ()
    metadata: Mapping[str, Sequence[object]] | None = None

    @classmethod
    def of(
        cls,
        ids: Sequence[str],
        texts: Sequence[str],
        parents: Sequence[str] | None = None,
        *,
        metadata: Mapping[str, Sequence[object]] | None = None,
    ) -> Corpus:
        """Sort documents by id. parents: [n] ids of the documents that passages belong to.

        Raises InputError for an empty corpus and for an id that is empty or occurs twice.
        """
        if not ids:
            raise InputError("the corpus is empty: expected at least one document")
        order = sorted(range(len(ids)), key=ids.__getitem__)
        sorted_ids = [ids[i] for i in order]
        refuse_bad_ids(sorted_ids, "document")
        sorted_texts = [texts[i] for i in order]
        columns = metadata and {name: [col[i] for i in order] for name, col in metadata.items()}
        if parents is None:
            return cls(sorted_ids, sorted_texts, metadata=columns)
        known = sorted(set(parents))
        refuse_bad_ids(known, "parent document")
        row = {id: number for number, id in enumerate(known)}
        rows = np.array([row[parents[i]] for i in order], np.int32)
        return cls(sorted_ids, sorted_texts, rows, known, columns)

    @property
    def ranked(self) -> Sequence[str]:
        """Ids of what is ranked and judged: documents, or the parents of passages."""
        return self.ids if self.parents is None else self.parent_ids

    @cached_property
    def rows(self) -> dict[str, int]:
        """Row number by id of what is ranked."""
        return {id: row for row, id in enumerate(self.ranked)}

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
class Origin:
    """What a source tells of its data: who may use it, and how its makers measure with it.

    measures: the main one first; empty: the default of the kind. exclude_self: a query's own
    document is no result. instructions: what the task asks for, by role, for models that read it.
    """

    licence: str = ""
    reference: str = ""
    measures: tuple[str, ...] = ()
    exclude_self: bool = False
    instructions: Mapping[str, str] = field(default_factory=dict)


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
            found = {corpus.rows.get(document, -1) for document in named.get(id, ())}
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


@dataclass(frozen=True)
class Retrieval:
    """A test collection: find, for each query, the documents judged relevant.

    binary: judgments for the measures that ask whether a document is relevant, where the
    collection has them beside graded ones. candidates: what may be ranked, where that is given.
    groups: int64 [q], equal for the parts of a question, or for queries that ask the same with
    another instruction. warnings: what the source noticed and tolerated, a sentence each.
    """

    corpus: Corpus
    queries: Queries
    qrels: Qrels
    warnings: tuple[str, ...] = ()
    origin: Origin = Origin()
    binary: Qrels | None = None
    candidates: Candidates | None = None
    groups: Int64 | None = None
    changes: Changes | None = None

    kind: ClassVar[str] = "retrieval"

    def fingerprint(self) -> dict[str, str]:
        """SHA-256 of the content of each part, whatever file it came from."""
        parts = {
            "corpus": text_digest(self.corpus.ids, self.corpus.texts),
            "queries": text_digest(self.queries.ids, self.queries.texts),
            "qrels": _digest(self.qrels.indptr, self.qrels.docs, self.qrels.gains),
        }
        if self.corpus.parents is not None:
            parents = [self.corpus.parent_ids[row] for row in self.corpus.parents]
            parts["parents"] = text_digest(parents)
        if self.corpus.metadata is not None:
            names, columns = self.corpus.metadata.keys(), self.corpus.metadata.values()
            objects = (dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True))
            written = [json.dumps(one, sort_keys=True, default=str) for one in objects]
            parts["metadata"] = text_digest(written)
        if self.binary is not None:
            parts["binary"] = _digest(self.binary.indptr, self.binary.docs, self.binary.gains)
        if self.candidates is not None:
            parts["candidates"] = _digest(self.candidates.indptr, self.candidates.docs)
        if self.groups is not None:
            parts["groups"] = _digest(self.groups)
        if self.changes is not None:
            changes = self.changes
            parts["changes"] = _digest(changes.before, changes.after, changes.docs)
        return parts


@dataclass(frozen=True)
class Pairs:
    """Sentence pairs with a gold similarity (STS), or 1 and 0 for equal or not.

    left, right: [n] texts; gold: float64 [n].
    """

    left: Sequence[str]
    right: Sequence[str]
    gold: Float64
    warnings: tuple[str, ...] = ()
    origin: Origin = Origin()

    kind: ClassVar[str] = "pairs"

    def fingerprint(self) -> dict[str, str]:
        """SHA-256 of the texts and of the gold scores."""
        return {"pairs": text_digest(self.left, self.right), "gold": _digest(self.gold)}

    def __len__(self) -> int:
        return len(self.left)


@dataclass(frozen=True)
class Labelled:
    """Texts with one label each, [n]."""

    texts: Sequence[str]
    labels: Sequence[str]

    def __post_init__(self) -> None:
        if len(set(self.labels)) < 2:
            raise InputError(
                f"{len(self.labels)} texts with {len(set(self.labels))} different labels: "
                "expected at least two labels"
            )

    def __len__(self) -> int:
        return len(self.texts)


@dataclass(frozen=True)
class Classification:
    """A probe is fitted on the vectors of `train` and asked for the labels of `test`.

    It is fitted anew in each of the experiments, on as many samples of each label.
    """

    train: Labelled
    test: Labelled
    samples_per_label: int = 8
    experiments: int = 10
    warnings: tuple[str, ...] = ()
    origin: Origin = Origin()

    kind: ClassVar[str] = "classification"

    def fingerprint(self) -> dict[str, str]:
        """SHA-256 of texts and labels of both parts."""
        return {
            "train": text_digest(self.train.texts, self.train.labels),
            "test": text_digest(self.test.texts, self.test.labels),
            "protocol": f"{self.samples_per_label} a label, {self.experiments} experiments",
        }


@dataclass(frozen=True)
class Clustering:
    """Vectors are clustered and compared with labels, on each level of a hierarchy.

    texts: [n]; levels: labels [n] from coarse to fine, one level or more, None for a text that a
    level leaves out. drawn: how many of the texts are drawn and encoded, None for all. sample: how
    many of these each clustering draws, with replacement. sets: int64 [n] where the texts form
    sets that are clustered apart (MTEB's first protocol).
    """

    texts: Sequence[str]
    levels: tuple[Sequence[str | None], ...]
    drawn: int | None = None
    sample: int = 16384
    sets: Int64 | None = None
    warnings: tuple[str, ...] = ()
    origin: Origin = Origin()

    kind: ClassVar[str] = "clustering"

    def fingerprint(self) -> dict[str, str]:
        """SHA-256 of the texts, the labels and the division into sets."""
        levels = [[label or "" for label in level] for level in self.levels]
        parts = {
            "texts": text_digest(self.texts),
            "labels": text_digest(*levels),
            "protocol": f"drawn {self.drawn}, sample {self.sample}",
        }
        return parts if self.sets is None else {**parts, "sets": _digest(self.sets)}


@dataclass(frozen=True)
class Summaries:
    """Machine summaries rated by people, to be compared with human summaries of the same text.

    human: [n] lists of texts; machine: [n] lists of texts; ratings: [n] lists of numbers, one for
    each machine summary.
    """

    human: Sequence[Sequence[str]]
    machine: Sequence[Sequence[str]]
    ratings: Sequence[Sequence[float]]
    warnings: tuple[str, ...] = ()
    origin: Origin = Origin()

    kind: ClassVar[str] = "summarization"

    def fingerprint(self) -> dict[str, str]:
        """SHA-256 of the texts and of the ratings."""
        return {
            "human": text_digest([text for row in self.human for text in row]),
            "machine": text_digest([text for row in self.machine for text in row]),
            "ratings": _digest(np.array([r for row in self.ratings for r in row], np.float64)),
        }


Data = Retrieval | Pairs | Classification | Clustering | Summaries


def _digest(*arrays: NDArray[Any]) -> str:
    """SHA-256 of the bytes of arrays."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(array.tobytes())
    return digest.hexdigest()


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

    @property
    def width(self) -> int:
        """Dimensions."""
        return int(self.values.shape[1])

    @property
    def bytes(self) -> int:
        """Memory that the vectors take."""
        return int(self.values.nbytes)

    def __len__(self) -> int:
        return len(self.values)


@dataclass(frozen=True)
class Sparse:
    """One sparse vector a text: matrix float32 CSR [n, v]."""

    matrix: csr_matrix

    @property
    def width(self) -> int:
        """Terms that a vector can weigh."""
        return int(self.matrix.shape[1])

    @property
    def bytes(self) -> int:
        """Memory that the vectors take."""
        matrix = self.matrix
        return int(matrix.data.nbytes + matrix.indices.nbytes + matrix.indptr.nbytes)

    def __len__(self) -> int:
        return int(self.matrix.shape[0])


@dataclass(frozen=True)
class MultiVector:
    """One vector for each token of a text (late interaction).

    values: float32 [t, d], the tokens of all texts in a row, which may be a memory map; offsets:
    int64 [n+1], text i has the tokens from offsets[i] up to offsets[i+1].
    """

    values: Float32
    offsets: Int64

    @property
    def lengths(self) -> Int64:
        """[n]: vectors of each text."""
        return np.diff(self.offsets)

    @property
    def width(self) -> int:
        """Dimensions."""
        return int(self.values.shape[1])

    @property
    def bytes(self) -> int:
        """Memory that the vectors take."""
        return int(self.values.nbytes + self.offsets.nbytes)

    def __len__(self) -> int:
        return len(self.offsets) - 1


def spans(starts: Int64, lengths: Int64) -> Int64:
    """Row numbers of spans of rows, one span after the other. starts, lengths: [n]"""
    ends = np.cumsum(lengths)
    shift: Int64 = np.repeat(starts - (ends - lengths), lengths)
    return shift + np.arange(len(shift))


Embeddings = Dense | Sparse | MultiVector


def alone(vectors: Embeddings, row: int) -> Embeddings:
    """One text's vectors, as a set of one."""
    if isinstance(vectors, Sparse):
        return Sparse(vectors.matrix[row : row + 1])
    if isinstance(vectors, MultiVector):
        low, high = vectors.offsets[row : row + 2]
        return MultiVector(vectors.values[low:high], np.array([0, high - low]))
    return Dense(vectors.values[row : row + 1])


@dataclass(frozen=True)
class Run:
    """A ranking for every query: docs int32 [q, k], scores float32 [q, k].

    Score descending, ties by row descending; -1 pads a row with fewer than k results.
    """

    docs: Int32
    scores: Float32
