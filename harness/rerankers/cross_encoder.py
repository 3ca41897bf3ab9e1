"""Cross-encoders: a model reads a query and a document together (Nogueira and Cho 2019)."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.arrays import Float32, Int64
from harness.encoders.checkpoint import MODEL, Checkpoint, ModelOptions, checkpoint
from harness.encoders.models import MODELS
from harness.errors import EncodingError, InputError
from harness.progress import Progress
from harness.rerankers import RERANKERS, Reranker, Scored
from harness.wording import count

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder

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
    return CrossEncoderReranker(found, own if prompt is None else prompt, options.batch_size)


@dataclass(frozen=True)
class CrossEncoderReranker(Reranker):
    """A model and what decides its scores; the weights are with MODELS.

    Attributes:
        checkpoint: Which weights, and how they compute.
        prompt: What is put before a pair.
        batch_size: Pairs that the model reads together.
    """

    checkpoint: Checkpoint
    prompt: str
    batch_size: int

    @property
    def key(self) -> Hashable:
        """Which weights these are among all that are loaded."""
        return (type(self).__name__, self.checkpoint.key)

    @property
    def model(self) -> CrossEncoder:
        """The model, loaded where it is not. Raises InputError where it cannot be."""
        return MODELS.get(self.key, self.read_weights)

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

    def made_with(self) -> Mapping[str, str]:
        """Tell device, threads, dtype, batch size and the versions of libraries."""
        return self.checkpoint.made_with(self.batch_size)

    def load(self) -> None:
        """Load the model. Raises InputError where it cannot be loaded or used."""
        MODELS.get(self.key, self.read_weights)

    def score(
        self, pairs: Sequence[tuple[str, str]], progress: Progress, *, root: Path | None = None
    ) -> Scored:
        """Score pairs by raw logits, whatever the model would squeeze them by.

        The order is the same, and a float32 near 1 ties where its logit does not. Pairs of as many
        tokens share a batch.

        Args:
            pairs: Query and document, those of a query side by side.
            progress: Told how far it is.
            root: Not used: nothing is paid for.

        Returns:
            The scores, in the order of the pairs.

        Raises:
            EncodingError: The model gives NaN or infinity.
        """
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
        self._refuse_broken(scores, pairs)
        read = np.minimum(lengths, model.max_seq_length or np.inf)
        return Scored(scores, int(read.sum()), int(np.count_nonzero(lengths > read)))

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
