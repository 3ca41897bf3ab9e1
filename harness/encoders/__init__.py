"""Text to vectors: each module registers encoders that a spec can name.

Encoders are values: they hold what decides their vectors, can be pickled, and keep no weights.
Weights are in one place (`harness.encoders.models`), whoever asks for them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from harness.arrays import Float32, Int32, Int64
from harness.data import Purpose, Role
from harness.endpoints.usage import Usage
from harness.registry import Registry
from harness.spec import Spec
from harness.vectors import Embeddings, MultiVector, Representation, Sparse

Similarity = Literal["cosine", "dot", "maxsim"]

AT_ONCE = 64  # texts of one call, or the encoder's batch_size if that is more
OWN = "own"  # how specs of models begin that somebody handed over; none is registered by this name


@dataclass(frozen=True)
class Encoded:
    """Vectors of texts, and what became known while they were made.

    Attributes:
        values: float32 [n, d], or what the encoder makes instead.
        tokens: int32 [n], before truncation; -1 where the model does not tell.
        truncated: bool [n], whether the model read only the beginning of a text.
        notes: What was noticed, as sentences for the record.
        usage: What was paid for, by name.
        read: Tokens that the model read of all texts; 0 where it does not tell.
    """

    values: Float32 | Sparse | MultiVector
    tokens: Int32
    truncated: NDArray[np.bool_]
    notes: tuple[str, ...] = ()
    usage: Usage = field(default_factory=dict)
    read: int = 0


class _Described(ABC):
    """What every encoder says of itself."""

    @property
    @abstractmethod
    def representation(self) -> Representation:
        """What a text becomes."""

    @property
    @abstractmethod
    def similarity(self) -> Similarity:
        """How two of its vectors are compared; maxsim where a text has several."""

    @abstractmethod
    def fingerprint(self) -> Mapping[str, object]:
        """Tell all that decides its vectors, as JSON: weights or revision, dtype, lengths."""

    @property
    def parameters(self) -> int | None:
        """Numbers that make up its weights; None where there are none, or nobody tells."""
        return None

    def for_task(self, purpose: Purpose) -> Self:
        """Give the encoder as it is asked for a task; itself where that makes no difference."""
        return self

    def made_with(self) -> Mapping[str, str]:
        """Tell what may change the last bits of its vectors, and is not part of what it is.

        Returns:
            Names and values, as the device and versions of libraries.
        """
        return {}


class TextEncoder(_Described):
    """Turns each text into a vector or several, whatever else is encoded with it."""

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences for the record that are known before anything is encoded."""
        return ()

    @property
    def cacheable(self) -> bool:
        """Whether its vectors can be known again by its fingerprint."""
        return True

    @property
    def device_kind(self) -> str:
        """Which kind of device makes its vectors, as cuda; "" for the processor or what decides.

        Vectors of two kinds differ in their last bits, and are kept apart.
        """
        return ""

    @property
    def batch_size(self) -> int:
        """Texts that the model reads together; 0 where that does not matter."""
        return 0

    @property
    def asked_dim(self) -> int | None:
        """Dimensions asked of its vectors; None for as many as the model makes."""
        return None

    @property
    def part_size(self) -> int:
        """Texts of one call of `encode`, where many are encoded."""
        return max(AT_ONCE, self.batch_size)

    @property
    def paid(self) -> bool:
        """Whether each answer is paid for, so that it is kept at once."""
        return False

    @property
    def no_usage(self) -> Usage:
        """The usage of a call that asks for nothing: its names, with zeros."""
        return {}

    def prompt(self, role: Role) -> str:
        """Tell what is put before a text in this role."""
        return ""

    def name_prompt(self, role: Role) -> str:
        """Tell what that is called: one of the model's prompts, or a parameter of the spec."""
        return ""

    def load(self) -> None:
        """Bring the weights to memory, if there are any; encode does it otherwise."""
        return

    @abstractmethod
    def encode(self, texts: Sequence[str], role: Role) -> Encoded:
        """Encode texts.

        Args:
            texts: Any number of texts.
            role: What the texts are.

        Returns:
            Vectors in the order of the texts; not normalised unless the model does it.
        """

    def expect(self, texts: Sequence[str], role: Role) -> Int64:
        """Tell about how much work each text is, so that time left is told by work, not by texts.

        Args:
            texts: Any number of texts.
            role: What the texts are.

        Returns:
            int64 [n]: about the tokens that are read of each, or ones where that is not known.
        """
        return np.ones(len(texts), np.int64)

    def stream(
        self, texts: Sequence[str], role: Role, most: int | None = None
    ) -> Iterator[tuple[slice, Encoded]]:
        """Encode texts part by part.

        Args:
            texts: Any number of texts.
            role: What the texts are.
            most: Texts of a part; None for any number.

        Yields:
            Which texts are encoded, and as what, in any order; all of them in the end. Where one
            part fails, those under way come before the error is raised.
        """
        size = min(self.part_size, most or self.part_size)
        for low in range(0, len(texts), size):
            rows = slice(low, min(low + size, len(texts)))
            yield rows, self.encode(texts[rows], role)


@dataclass(frozen=True)
class EncodedCollection:
    """A collection as vectors, and how many tokens each text had.

    Attributes:
        documents: Vectors of the documents.
        queries: Vectors of the queries.
        document_tokens: int32 [n].
        query_tokens: int32 [q].
        counts: How often each term occurs in each document [n, v], where that was asked for and
            the encoder counts terms.
        notes: What was noticed, as sentences for the record.
    """

    documents: Embeddings
    queries: Embeddings
    document_tokens: Int32
    query_tokens: Int32
    counts: Sparse | None = None
    notes: tuple[str, ...] = ()


class CollectionEncoder(_Described):
    """Weighs terms by their frequency in the whole corpus, so it needs all of it at once."""

    @property
    def symmetric(self) -> bool:
        """Whether queries can be compared with each other.

        Their vectors then are made as documents' are, and dense. Without a corpus such an encoder
        is fitted on the texts themselves.
        """
        return False

    @abstractmethod
    def encode_collection(
        self, documents: Sequence[str], queries: Sequence[str], *, counts: bool = False
    ) -> EncodedCollection:
        """Encode a collection, so that similarity is the retrieval score.

        Args:
            documents: Texts of the documents.
            queries: Texts of the queries.
            counts: Also give the term counts of documents.

        Returns:
            Vectors of both, in their order.
        """


Encoder = TextEncoder | CollectionEncoder

ENCODERS: Registry[Encoder] = Registry(
    "encoder", "harness.encoders", reserved=(OWN,), beside="harness.systems"
)


def encoder_spec(text: str | Spec) -> Spec:
    """Read a spec, and a bare hub id or folder as st:...

    Args:
        text: A spec, or what stands for one.

    Returns:
        The spec of an encoder.
    """
    return ENCODERS.infer(text, "st")
