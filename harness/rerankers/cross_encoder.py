"""Cross-encoders: a model reads a query and a document together (Nogueira and Cho 2019)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.arrays import Float32, Int64
from harness.encoders.checkpoint import MODEL, ModelOptions, checkpoint
from harness.encoders.pretrained import Pretrained
from harness.errors import EncodingError, InputError
from harness.packing.batches import TEXTS, Examples
from harness.progress import Progress
from harness.rerankers import RERANKERS, Reranker, Scored
from harness.threads import work_ahead
from harness.wording import count

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder

    from harness.packing.batches import Features
    from harness.packing.model import Packed, Taken

COUNTED = 1024  # pairs whose tokens are counted at a time
WHOLE = {"text": {"truncation": False, "padding": False}, "common": {"return_tensors": None}}


@RERANKERS.register("cross")
def cross_encoder(
    target: str, *, options: ModelOptions = MODEL, prompt: str | None = None
) -> CrossEncoderReranker:
    """Scores of a cross-encoder of sentence-transformers: hub id or folder.

    Also a language model that is asked for yes or no, where sentence-transformers reads it.

    Args:
        target: The model.
        options: How it is had and run.
        prompt: In place of the model's own.

    Returns:
        The reranker.

    Raises:
        InputError: The model cannot be had, is pickled, brings code or does not score pairs.
    """
    found = checkpoint(target, options)
    if not found.is_a("CrossEncoder", "ForSequenceClassification", "ForCausalLM"):
        raise InputError(
            f"{target} does not score pairs: expected a CrossEncoder of sentence-transformers or "
            "a model for sequence classification"
        )
    saved = found.saved
    own = (saved.prompts or {}).get(saved.default_prompt_name or "") or ""
    return CrossEncoderReranker(
        checkpoint=found,
        prompt=own if prompt is None else prompt,
        batch_size=options.batch_size,
    )


@dataclass(frozen=True, kw_only=True)
class CrossEncoderReranker(Pretrained, Reranker):
    """A model that scores pairs.

    Attributes:
        prompt: What is put before a pair.
    """

    prompt: str

    def examples(self) -> Examples:
        """A question with each of some texts."""
        return Examples(tuple(("what is a word?", text) for text in TEXTS), "text", self.prompt)

    def take(self, made: Features, texts: int) -> Taken:
        """Raw logits [n] of the pairs."""
        return (made["scores"][:texts].flatten().float(),)

    def read_weights(self) -> CrossEncoder:
        """Load the model anew. Raises InputError where it gives a pair more than one number."""
        model: CrossEncoder = self.checkpoint.load("CrossEncoder")
        if model.num_labels != 1:
            raise InputError(
                f"{self.checkpoint.target} gives {model.num_labels} numbers for a pair, as a "
                "classifier does: expected a model with one score"
            )
        return model

    def fingerprint(self) -> Mapping[str, object]:
        """Tell weights (content or hub commit), dtype, maximal length, prompt."""
        return {**self.checkpoint.identity, "prompt": self.prompt}

    def score(
        self, pairs: Sequence[tuple[str, str]], progress: Progress, *, root: Path | None = None
    ) -> Scored:
        """Score pairs by raw logits, whatever the model would squeeze them by.

        The order is the same, and a float32 near 1 ties where its logit does not.

        Args:
            pairs: Query and document, those of a query side by side.
            progress: Told how far it is.
            root: Not used: nothing is paid for.

        Returns:
            The scores, in the order of the pairs.

        Raises:
            EncodingError: The model fails, whatever it raises, or gives NaN or infinity.
        """
        with self.blaming(count(len(pairs), "pair")):
            return self._score(pairs, progress)

    def _score(self, pairs: Sequence[tuple[str, str]], progress: Progress) -> Scored:
        """Score pairs, packed or padded."""
        packed = self.loaded.packed
        scored = (
            self._score_padded(pairs, progress)
            if packed is None
            else self._score_packed(packed, pairs, progress)
        )
        self._refuse_broken(scored.scores, pairs)
        return scored

    def _score_packed(
        self, packed: Packed, pairs: Sequence[tuple[str, str]], progress: Progress
    ) -> Scored:
        """Score pairs in packed batches; some are tokenised while those before are scored."""
        scores, read, cut = np.empty(len(pairs), np.float32), 0, 0
        notes = dict.fromkeys(self.loaded.notes)
        starts = range(0, len(pairs), COUNTED)
        parts = (packed.tokenise_pairs(pairs[low : low + COUNTED], self.prompt) for low in starts)
        for low, tokens in zip(starts, work_ahead([parts]), strict=True):
            done = low
            for rows, (made,), noted in packed.run(tokens, "text", self.take):
                scores[low + rows] = made
                notes.update(dict.fromkeys(noted))
                done += len(rows)
                progress("rerank", done, len(pairs), "pairs")
            read += int(tokens.lengths.sum())
            cut += int(np.count_nonzero(tokens.counts > tokens.lengths))
        return Scored(scores, read, cut, tuple(notes))

    def _score_padded(self, pairs: Sequence[tuple[str, str]], progress: Progress) -> Scored:
        """Score pairs by the library's own batches; those of as many tokens share one."""
        from torch.nn import Identity

        model, lengths = self.model, self._lengths(pairs, progress)
        order = np.argsort(-lengths, kind="stable")
        scores = np.empty(len(pairs), np.float32)
        for low in range(0, len(pairs), self.batch_size):
            rows = order[low : low + self.batch_size]
            scores[rows] = model.predict(
                [pairs[row] for row in rows],
                prompt=self.prompt,
                batch_size=self.batch_size,
                activation_fn=Identity(),
                show_progress_bar=False,
            )
            progress("rerank", low + len(rows), len(pairs), "pairs")
        read = np.minimum(lengths, model.max_seq_length or np.inf)
        cut = int(np.count_nonzero(lengths > read))
        return Scored(scores, int(read.sum()), cut, self.loaded.notes)

    def _refuse_broken(self, scores: Float32, pairs: Sequence[tuple[str, str]]) -> None:
        """Raise EncodingError for NaN and infinity."""
        broken = np.flatnonzero(~np.isfinite(scores))
        if len(broken):
            raise EncodingError(
                f"{self.checkpoint.target} gives NaN or infinity for {len(broken)} of "
                f"{count(len(pairs), 'pair')}, the first with query {pairs[broken[0]][0][:60]!r}: "
                "try dtype=float32"
            )

    def _lengths(self, pairs: Sequence[tuple[str, str]], progress: Progress) -> Int64:
        """Tokens [p] of each pair with prompt and template, before truncation."""
        found = np.empty(len(pairs), np.int64)
        options: dict[str, Any] = {"prompt": self.prompt, "processing_kwargs": WHOLE}
        for low in range(0, len(pairs), COUNTED):
            part = list(pairs[low : low + COUNTED])
            rows = self.model.preprocess(part, **options)["input_ids"]
            found[low : low + len(part)] = [len(row) for row in rows]
            progress("count tokens", low + len(part), len(pairs), "pairs")
        return found
