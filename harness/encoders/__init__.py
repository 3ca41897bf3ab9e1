"""Text to vectors: each module registers encoders that a spec can name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from harness.arrays import Float32, Int32
from harness.data import Role
from harness.spec import Registry, Spec
from harness.vectors import Embeddings, MultiVector, Representation, Sparse

Similarity = Literal["cosine", "dot", "maxsim"]


@dataclass(frozen=True)
class Encoded:
    """values: float32 [n, d], or what the encoder makes instead; tokens: int32 [n], before
    truncation, -1 where the model does not tell; truncated: bool [n], whether the model read only
    the beginning of a text.
    """

    values: Float32 | Sparse | MultiVector
    tokens: Int32
    truncated: NDArray[np.bool_]


class TextEncoder(Protocol):
    """Turns each text into a vector or several, whatever else is encoded with it.

    It may have `warnings`, a tuple of sentences for the record, `instructed(instructions)`,
    which gives the encoder for a task's instructions by role, `spent()`: what was paid for, by
    name, and `kept`, False where its vectors cannot be known again.
    """

    @property
    def makes(self) -> Representation:
        """What a text becomes."""

    @property
    def similarity(self) -> Similarity:
        """How two of its vectors are compared; maxsim where a text has several."""

    def fingerprint(self) -> Mapping[str, object]:
        """All that decides its vectors, as JSON: weights or revision, dtype, lengths."""

    def prompt(self, role: Role) -> str:
        """What is put before a text in this role."""

    def load(self) -> None:
        """Bring the weights to memory, if that has not happened; encode does it otherwise."""

    def encode(self, texts: Sequence[str], role: Role) -> Encoded:
        """Vectors of texts, in their order; raw, not normalised unless the model does it."""


@runtime_checkable
class StreamingEncoder(Protocol):
    """A TextEncoder whose vectors come in parts and are paid for, so that each is kept at once."""

    def stream(self, texts: Sequence[str], role: Role) -> Iterator[tuple[slice, Encoded]]:
        """Yield which texts are encoded, and as what, in any order; all of them in the end.

        Where one part fails, those under way are yielded before the error is raised.
        """


@dataclass(frozen=True)
class Collection:
    """A collection as vectors, and how many tokens each text had.

    counts: how often each term occurs in each document [n, v], where that was asked for and the
    encoder counts terms. warnings: a sentence each.
    """

    documents: Embeddings
    queries: Embeddings
    document_tokens: Int32
    query_tokens: Int32
    counts: Sparse | None = None
    warnings: tuple[str, ...] = ()


@runtime_checkable
class CollectionEncoder(Protocol):
    """Weighs terms by their frequency in the whole corpus, so it needs all of it at once."""

    @property
    def makes(self) -> Representation:
        """What a text becomes."""

    @property
    def similarity(self) -> Similarity:
        """How a query is compared with a document."""

    @property
    def symmetric(self) -> bool:
        """Whether queries can be compared with each other: their vectors are made as documents'
        are, and dense. Without a corpus such an encoder is fitted on the texts themselves.
        """

    def fingerprint(self) -> Mapping[str, object]:
        """All that decides its vectors, as JSON."""

    def encode_collection(
        self, documents: Sequence[str], queries: Sequence[str], *, counts: bool = False
    ) -> Collection:
        """Vectors whose similarity is the retrieval score.

        counts: also give the term counts of documents.
        """


Encoder = TextEncoder | CollectionEncoder

ENCODERS: Registry[Encoder] = Registry("encoder", "harness.encoders")


def encoder_spec(text: str | Spec) -> Spec:
    """A spec as given, or st:... for a bare hub id or folder."""
    return ENCODERS.named(text, "st")


def instructed(encoder: Encoder, instructions: Mapping[str, str]) -> Encoder:
    """The encoder for a task's instructions by role, where it reads them."""
    read = getattr(encoder, "instructed", None)
    return encoder if read is None else read(instructions)
