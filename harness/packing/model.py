"""A model of sentence-transformers that reads batches without padding (see `check`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from threading import RLock
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from harness.accelerators import is_full
from harness.arrays import Int32
from harness.data import Role
from harness.packing.batches import Features, count_from, fill, lay_out
from harness.wording import count

Input = str | tuple[str, str]
Taken = tuple[torch.Tensor, ...]
Take = Callable[[Features, int], Taken]

LONGEST = 1_000_000  # characters of a text that are looked at, where they hold tokens enough
TEXT = {"padding": False, "return_attention_mask": False, "verbose": False}
COMMON = {"return_tensors": None}
RAGGED = {"text": TEXT, "common": COMMON}  # how texts are tokenised
WHOLE = {"text": {**TEXT, "truncation": False}, "common": COMMON}


class Leaving:
    """Tensors on their way from a device, which computes meanwhile."""

    def __init__(self, tensors: Taken) -> None:
        """Begin to copy them."""
        self._event = None
        if any(one.is_cuda for one in tensors):
            tensors = tuple(
                torch.empty(one.shape, dtype=one.dtype, pin_memory=True).copy_(
                    one, non_blocking=True
                )
                for one in tensors
            )
            self._event = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._event.record()
        self._tensors = tensors

    def land(self) -> list[NDArray[Any]]:
        """Give them as arrays, once they are there."""
        if self._event is not None:
            self._event.synchronize()
        return [one.cpu().numpy() for one in self._tensors]


@dataclass(frozen=True)
class Tokenised:
    """Texts as a model's tokenizer gives them.

    Attributes:
        rows: By text, what the tokenizer gives by name, cut at the model's limit.
        counts: int32 [n], tokens of each text before it was cut.
        context: What else a model is told of a batch.
        notes: What was noticed, as sentences for the record.
    """

    rows: list[dict[str, list[int]]]
    counts: Int32
    context: Features = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, made: Features, texts: int) -> Tokenised:
        """Sort what a tokenizer gives for so many texts, each of which is whole or cut."""
        names = [name for name, value in made.items() if isinstance(value, list)]
        rows = [{name: made[name][at] for name in names} for at in range(texts)]
        counts = np.fromiter((len(row["input_ids"]) for row in rows), np.int32, texts)
        return cls(rows, counts, {k: v for k, v in made.items() if k not in names})

    @property
    def lengths(self) -> Int32:
        """Tokens [n] that are read of each text."""
        found = (len(row["input_ids"]) for row in self.rows)
        return np.fromiter(found, np.int32, len(self.rows))


class Packed:
    """A model that reads packed batches.

    Attributes:
        model: The model, which reads padded ones, too.
        batch_tokens: Tokens of a batch; less after its device was full.
    """

    def __init__(self, model: Any, batch_tokens: int) -> None:
        """Hold a model that attends to each text of a packed batch alone.

        Args:
            model: The model.
            batch_tokens: Tokens of a batch.
        """
        self.model = model
        self.batch_tokens = batch_tokens
        self._first = count_from(model[0].model)
        self._lock = RLock()  # a tokenizer keeps where it cuts: two threads would mix it up

    def reads(self, role: Role) -> bool:
        """Whether it reads texts in this role: not queries that are filled up to a length."""
        return role != "query" or getattr(self.model[0], "query_expansion", None) is None

    def tokenise(self, texts: Sequence[str], role: Role, prompt: str) -> Tokenised:
        """Give the tokens of texts, each of which is tokenised once.

        Args:
            texts: The texts.
            role: What they are.
            prompt: What is put before each.

        Returns:
            Their tokens. Where a million characters fill the model's limit, tokens are counted up
            to there.
        """
        found = self._tokenise([text[:LONGEST] for text in texts], role, prompt)
        long = [at for at, text in enumerate(texts) if len(text) > LONGEST]
        short = [at for at in long if found.counts[at] == len(found.rows[at]["input_ids"])]
        if short:  # of so many characters few made tokens
            whole = self._tokenise([texts[at] for at in short], role, prompt)
            found.counts[short] = whole.counts
            for at, row in zip(short, whole.rows, strict=True):
                found.rows[at] = row
        if cut := len(long) - len(short):
            note = f"tokens of {count(cut, 'text')} counted in the first {LONGEST:,} characters"
            found = Tokenised(found.rows, found.counts, found.context, (note,))
        return found

    def tokenise_whole(self, inputs: Sequence[Input], prompt: str) -> Tokenised:
        """Give all tokens of texts or pairs.

        Args:
            inputs: Texts, or pairs of them.
            prompt: What is put before each.
        """
        return Tokenised.of(self.preprocess(inputs, "text", prompt, WHOLE), len(inputs))

    def tokenise_pairs(self, pairs: Sequence[tuple[str, str]], prompt: str) -> Tokenised:
        """Give the tokens of pairs; those that are too long are tokenised again, to be cut.

        Args:
            pairs: The pairs.
            prompt: What is put before each.
        """
        found = self.tokenise_whole(pairs, prompt)
        long = np.flatnonzero(found.counts > (self.model.max_seq_length or np.inf)).tolist()
        if long:
            cut = self.preprocess([pairs[at] for at in long], "text", prompt, RAGGED)
            for at, row in zip(long, Tokenised.of(cut, len(long)).rows, strict=True):
                found.rows[at] = row
        return found

    def _tokenise(self, texts: Sequence[Input], role: Role, prompt: str) -> Tokenised:
        """The same of texts as they are."""
        options = {"text": {**TEXT, "return_overflowing_tokens": True}, "common": COMMON}
        made = self.preprocess(texts, role, prompt, options)
        of = np.array(made.pop("overflow_to_sample_mapping"), np.intp)
        parts = Tokenised.of(made, len(of))  # of a text that is cut, what follows is a row, too
        first = np.flatnonzero(np.diff(of, prepend=-1))
        more = parts.counts - self.model.tokenizer.num_special_tokens_to_add()
        more[first] = parts.counts[first]
        counts = np.bincount(of, more, len(texts)).astype(np.int32)
        return Tokenised([parts.rows[at] for at in first], counts, parts.context)

    def preprocess(
        self, inputs: Sequence[Input], role: Role, prompt: str, options: dict[str, Any]
    ) -> Features:
        """Give what the library's own tokenising makes of texts or pairs.

        Args:
            inputs: Texts, or pairs of them.
            role: What they are.
            prompt: What is put before each.
            options: How they are tokenised, as `processing_kwargs` of sentence-transformers.
        """
        task = {} if role == "text" else {"task": role}
        with self._lock:
            made = self.model.preprocess(
                list(inputs), prompt=prompt or None, processing_kwargs=options, **task
            )
        return dict(made)

    def run(
        self, tokens: Tokenised, role: Role, take: Take
    ) -> Iterator[tuple[NDArray[np.intp], list[NDArray[Any]], tuple[str, ...]]]:
        """Read texts, batch by batch.

        A batch is copied from its device while the next one is computed. Where the device is full,
        batches are halved from then on.

        Args:
            tokens: The texts.
            role: What they are.
            take: Takes from what the model made of so many texts the tensors that are wanted.

        Yields:
            Rows of texts that have tokens, what was taken of them, and notes.
        """
        before: tuple[NDArray[np.intp], Leaving, tuple[str, ...]] | None = None
        for launched in self._launch(tokens, role, take):
            if before is not None:
                yield before[0], before[1].land(), before[2]
            before = launched
        if before is not None:
            yield before[0], before[1].land(), before[2]

    def _launch(
        self, tokens: Tokenised, role: Role, take: Take
    ) -> Iterator[tuple[NDArray[np.intp], Leaving, tuple[str, ...]]]:
        lengths = tokens.lengths
        left = fill(lengths, np.flatnonzero(lengths), self.batch_tokens)
        notes: tuple[str, ...] = ()
        while left:
            batch = left[0]
            try:
                made = self.read([tokens.rows[row] for row in batch], tokens.context, role)
                leaving = Leaving(take(made, len(batch)))
            except (RuntimeError, MemoryError) as error:
                if not is_full(error) or len(batch) == 1:
                    raise
                self._halve(int(lengths[batch].sum()))
                notes = (f"the device was full: batches of {self.batch_tokens:,} tokens since",)
                left = fill(lengths, np.concatenate(left), self.batch_tokens)
                continue
            left = left[1:]
            yield batch, leaving, notes
            notes = ()

    def _halve(self, tokens: int) -> None:
        """Have batches of half as many tokens as did not fit."""
        with self._lock:
            self.batch_tokens = max(1, min(self.batch_tokens, tokens // 2))
        if self.model.device.type == "cuda":
            torch.cuda.empty_cache()

    def read(self, rows: Sequence[dict[str, list[int]]], context: Features, role: Role) -> Features:
        """Give what the model makes of a batch; texts of one token may stand behind it."""
        laid = lay_out(rows, self._first, self.model.tokenizer.pad_token_id or 0)
        device = self.model.device
        batch = {
            name: value.to(device, non_blocking=True) if isinstance(value, torch.Tensor) else value
            for name, value in laid.items()
        }
        task = {} if role == "text" else {"task": role}
        with torch.inference_mode():
            return dict(self.model({**batch, **context}, **task))
