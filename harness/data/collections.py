"""The data of a task, by kind: what is encoded, and what it is judged by."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import numpy as np

from harness.arrays import Float64, Int64
from harness.data.judgments import Candidates, Changes, Qrels
from harness.data.texts import Corpus, Queries, array_digest, text_digest
from harness.errors import InputError
from harness.wording import count


@dataclass(frozen=True)
class Purpose:
    """What texts are encoded for, which decides what some models put before them.

    Attributes:
        name: What the task is called.
        type: What mteb calls tasks of its type, as "Retrieval" or "STS".
        instructions: What the task asks for, by role, for models that read it.
        language: Of its texts, a code of ISO 639; "mul" for several, empty where it is not known.
    """

    name: str = ""
    type: str = ""
    instructions: Mapping[str, str] = field(default_factory=dict)
    language: str = ""


NO_TASK = Purpose()


@dataclass(frozen=True)
class Origin:
    """What a source tells of its data: who may use it, and how its makers measure with it.

    measures: the main one first; empty: the default of the kind. exclude_self: a query's own
    document is no result. instructions: what the task asks for, by role, for models that read it.
    name, type: what mteb calls the task and tasks of its type, where it has them. language: of its
    texts, as `Purpose` has it. description: of what was made by parameters, in words.
    """

    license: str = ""
    reference: str = ""
    measures: tuple[str, ...] = ()
    exclude_self: bool = False
    instructions: Mapping[str, str] = field(default_factory=dict)
    name: str = ""
    type: str = ""
    description: str = ""
    language: str = ""


class Data(Protocol):
    """What the data of every kind of task have. kind: the name that its kind is registered by."""

    kind: ClassVar[str]
    __dataclass_fields__: ClassVar[dict[str, Any]]  # a frozen dataclass: replace() works

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the source noticed and tolerated, a sentence each."""

    @property
    def origin(self) -> Origin:
        """What the source tells of them."""

    def fingerprint(self) -> dict[str, str]:
        """SHA-256 of the content of each part."""


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
            "qrels": array_digest(self.qrels.indptr, self.qrels.docs, self.qrels.gains),
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
            parts["binary"] = array_digest(self.binary.indptr, self.binary.docs, self.binary.gains)
        if self.candidates is not None:
            parts["candidates"] = array_digest(self.candidates.indptr, self.candidates.docs)
        if self.groups is not None:
            parts["groups"] = array_digest(self.groups)
        if self.changes is not None:
            changes = self.changes
            parts["changes"] = array_digest(changes.before, changes.after, changes.docs)
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
        return {"pairs": text_digest(self.left, self.right), "gold": array_digest(self.gold)}

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
                f"{count(len(self.labels), 'text')} with "
                f"{count(len(set(self.labels)), 'different label')}: "
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
        return parts if self.sets is None else {**parts, "sets": array_digest(self.sets)}


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
            "ratings": array_digest(np.array([r for row in self.ratings for r in row], np.float64)),
        }
