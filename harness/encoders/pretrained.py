"""What encoders of sentence-transformers have in common, whatever they make of a text."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from harness.arrays import Float32, Int32, Int64
from harness.data import Role
from harness.encoders import Encoded
from harness.encoders.blaming import blame_model
from harness.encoders.checkpoint import Checkpoint
from harness.encoders.devices import warn_slow
from harness.encoders.models import MODELS
from harness.encoders.prompting import PromptedEncoder, ask, count_tokens
from harness.encoders.sizes import count_parameters
from harness.errors import EncodingError, InputError
from harness.packing.batches import TEXTS, Examples, Features
from harness.threads import work_ahead
from harness.vectors import MultiVector, Sparse
from harness.wording import count

if TYPE_CHECKING:
    from harness.packing.model import Packed, Taken, Tokenised

UNKNOWN = 10**9  # tokens: tokenizers name such a limit where they have none
BATCHES = 16  # of a part, about: their texts are sorted by tokens, and lost where a run is killed
CHARACTERS, MARKS = 4, 2  # of a token, about, and what a tokenizer puts around a text

Batch = tuple[NDArray[np.intp], list[NDArray[Any]]]  # rows, and the arrays that they became


@dataclass(frozen=True)
class Loaded:
    """A model in memory.

    Attributes:
        model: The model.
        packed: It as it reads packed batches; None where it does not.
        notes: What was noticed as it was loaded, as sentences for the record: why it is not packed,
            where it ought to be.
    """

    model: Any
    packed: Packed | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Pretrained(ABC):
    """A model of sentence-transformers; the weights are with MODELS.

    Attributes:
        checkpoint: Which weights, and how they compute.
        batch_size: Texts, or pairs of them, that the model reads together.
        handed: A model that somebody loaded, in place of the checkpoint's weights.
    """

    checkpoint: Checkpoint
    batch_size: int = 32
    handed: Any = None

    @property
    def key(self) -> Hashable:
        """Which weights these are among all that are loaded."""
        return (type(self).__name__, self.checkpoint.key)

    @property
    def loaded(self) -> Loaded:
        """The model, loaded where it is not. Raises InputError where it cannot be."""
        return MODELS.get(self.key, self._load) if self.handed is None else Loaded(self.handed)

    @property
    def model(self) -> Any:
        """The model as sentence-transformers has it. Raises InputError where it cannot be had."""
        return self.loaded.model

    @abstractmethod
    def read_weights(self) -> Any:
        """Load the model anew. Raises InputError where its folder does not hold a usable one."""

    @abstractmethod
    def examples(self) -> Examples:
        """What packed and padded batches are compared by."""

    @abstractmethod
    def take(self, made: Features, texts: int) -> Taken:
        """Take from what the model makes of so many texts what the encoder keeps of them."""

    def compare(self, made: Features, texts: int) -> Taken:
        """Take from it what packed and padded batches are compared by."""
        return self.take(made, texts)

    def load(self) -> None:
        """Load the model. Raises InputError where its folder does not hold a usable one."""
        _ = self.loaded

    def _load(self) -> Loaded:
        """Load the model, and have it read packed batches where that comes to the same."""
        target, options = self.checkpoint.target, self.checkpoint.options
        model = self.read_weights()
        slow = () if self.device_kind else warn_slow(target, options.dtype)
        notes = (*slow, *self.warn_unlimited(model))
        if not self.checkpoint.packing:
            return Loaded(model, notes=notes)
        from harness.packing.check import pack

        packed = pack(model, self.compare, self.examples(), options.batch_tokens)
        if not isinstance(packed, str):
            return Loaded(model, packed, notes)
        note = f"{target} reads padded batches: {packed}"
        del model  # before it is loaded anew
        return Loaded(self.read_weights(), notes=(*notes, note))

    def warn_unlimited(self, model: Any) -> tuple[str, ...]:
        """Say where neither the model nor the spec tells how many tokens of a text are read."""
        if getattr(model[0], "model", None) is None or (model.max_seq_length or UNKNOWN) < UNKNOWN:
            return ()
        return (f"{self.checkpoint.target} names no limit: all tokens of a text are read",)

    @property
    def parameters(self) -> int | None:
        """Numbers in the weights of all modules."""
        if self.handed is not None:
            return int(sum(one.numel() for one in self.handed.parameters()))
        return count_parameters(self.checkpoint.folder)

    @property
    def device_kind(self) -> str:
        """As torch calls it; "" for the processor."""
        return self.checkpoint.device_kind

    def blaming(self, what: str) -> AbstractContextManager[None]:
        """Raise EncodingError in place of whatever the model raises. what: as in 3 texts."""
        packed = self.key in MODELS and self.loaded.packed  # then a batch was of one text
        relief = self.checkpoint.relief(1 if packed else self.batch_size)
        if self.handed is not None:
            relief = "hand over a model on another device, or with weights in 16 bits"
        return blame_model(f"{self.checkpoint.target} fails on {what}", EncodingError, relief)

    def made_with(self) -> Mapping[str, str]:
        """Tell device, threads, dtype, size of batches and the versions of libraries.

        Whether a model that may be packed is packed follows from these.
        """
        return self.checkpoint.made_with(self.batch_size)


class PretrainedEncoder(Pretrained, PromptedEncoder):
    """A model that makes vectors of texts, with what is put before them."""

    def examples(self) -> Examples:
        """Documents, with their prompt."""
        return Examples(TEXTS, "document", self.prompt("document"))

    def encode(self, texts: Sequence[str], role: Role) -> Encoded:
        """Encode texts.

        Args:
            texts: Any number of texts.
            role: What the texts are.

        Returns:
            Vectors in the order of the texts; of a text without tokens zeros, or none.

        Raises:
            InputError: The model cannot be loaded, has fewer dimensions than are to be kept, or a
                prompt wants an instruction that the task does not have.
            EncodingError: The model fails, whatever it raises.
        """
        with self.blaming(count(len(texts), "text")):
            prompt, packed = self._begin(role)
            if packed is not None:
                return self._encode_packed(packed, packed.tokenise(texts, role, prompt), role)
            made = self.encode_asked(texts, role)
            return replace(made, notes=(*made.notes, *self.loaded.notes))

    def stream(
        self, texts: Sequence[str], role: Role, most: int | None = None
    ) -> Iterator[tuple[slice, Encoded]]:
        """Encode texts part by part; each is tokenised while the one before it is computed.

        Args:
            texts: Any number of texts.
            role: What the texts are.
            most: Texts of a part; None for any number.

        Yields:
            Which texts are encoded, and as what, in their order.

        Raises:
            InputError, EncodingError: As `encode`.
        """
        with self.blaming(count(len(texts), "text")):
            prompt, packed = self._begin(role)
        if packed is None:
            yield from super().stream(texts, role, most)
            return
        parts = list(_divide(self.expect(texts, role), most, BATCHES * packed.batch_tokens))
        tokens = work_ahead([(packed.tokenise(texts[part], role, prompt) for part in parts)])
        for part in parts:
            with self.blaming(count(part.stop - part.start, "text")):
                made = self._encode_packed(packed, next(tokens), role)
            yield part, made

    def expect(self, texts: Sequence[str], role: Role) -> Int64:
        """Tell by characters about how many tokens are read of each text [n], as the model cuts."""
        lengths = np.fromiter(map(len, texts), np.int64, len(texts))
        most = self.limit(role) or np.inf
        return np.minimum(lengths // CHARACTERS + MARKS, most).astype(np.int64)

    def check(self) -> None:
        """Raise InputError for what is asked of the model and can be known only of a loaded one."""
        return

    def _begin(self, role: Role) -> tuple[str, Packed | None]:
        """The prompt of a role, and the model as it reads packed batches, where it does."""
        prompt, packed = self.prompting.require(role, self.checkpoint.target), self.loaded.packed
        self.check()
        if prompt and (limit := self.limit(role)):
            self._require_room(self._count(prompt, packed), limit, role)
        return prompt, packed if packed is not None and packed.reads(role) else None

    def _count(self, prompt: str, packed: Packed | None) -> int:
        """Tokens of a prompt, with the marks around it."""
        if packed is not None:
            return int(packed.tokenise_whole([prompt], "").counts[0])
        return int(count_tokens(self.model, [prompt], "", None)[0][0])

    def _require_room(self, tokens: int, limit: int, role: Role) -> None:
        """Raise InputError where a prompt leaves no room for a text."""
        if tokens >= limit:
            raise InputError(
                f"{self.checkpoint.target}: its {role} prompt has {tokens} tokens, with the marks "
                f"around it, of {limit} that the model reads: expected room for a text"
            )

    def _encode_packed(self, packed: Packed, tokens: Tokenised, role: Role) -> Encoded:
        """Encode texts whose tokens are known."""
        taken, notes = list[Batch](), [*self.loaded.notes, *tokens.notes]
        for rows, arrays, noted in packed.run(tokens, role, self.take):
            taken.append((rows, arrays))
            notes += noted
        values, counts = self.put(taken, len(tokens.rows)), tokens.counts
        cut, read = counts > tokens.lengths, int(tokens.lengths.sum())
        return Encoded(values, counts, cut, tuple(notes), read=read)

    @abstractmethod
    def put(self, taken: Sequence[Batch], texts: int) -> Float32 | Sparse | MultiVector:
        """Put what was taken of some texts where these are among so many."""

    @abstractmethod
    def encode_asked(self, texts: Sequence[str], role: Role) -> Encoded:
        """Encode texts by what `ask` gives."""

    @abstractmethod
    def limit(self, role: Role) -> int | None:
        """Tokens that the model reads of a text in this role; None where that has no limit."""

    def ask(
        self, texts: Sequence[str], role: Role, limit: int | None, **options: Any
    ) -> tuple[list[int], Any, tuple[Int32, NDArray[np.bool_]]]:
        """What the model makes of texts, with its prompt: see `prompting.ask`.

        Raises InputError where a prompt wants an instruction that the task does not have.
        """
        prompt = self.prompting.require(role, self.checkpoint.target)
        options["batch_size"] = self.batch_size
        return ask(self.model, texts, role, prompt, limit, **options)


def _divide(expected: Int64, most: int | None, tokens: int) -> Iterator[slice]:
    """Divide texts into parts of so many at most, of about so many tokens."""
    begin, held = 0, 0
    for at, one in enumerate(expected.tolist()):
        held += one
        if held >= tokens or at + 1 - begin == most:
            yield slice(begin, at + 1)
            begin, held = at + 1, 0
    if begin < len(expected):
        yield slice(begin, len(expected))
