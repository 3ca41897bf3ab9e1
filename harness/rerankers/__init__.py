"""Scores of (query, document) texts read together: each module registers rerankers for specs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.arrays import Float32
from harness.endpoints.usage import Usage
from harness.progress import Progress
from harness.registry import Registry
from harness.spec import Spec


@dataclass(frozen=True)
class Scored:
    """Scores of pairs, and what became known while they were made.

    Attributes:
        scores: float32 [p], the higher the more relevant.
        tokens: Read in all; -1 where the model does not tell.
        truncated: Pairs of which only the beginning was read.
        notes: What was noticed, as sentences for the record.
        usage: What was paid for, by name.
    """

    scores: Float32
    tokens: int = -1
    truncated: int = 0
    notes: tuple[str, ...] = ()
    usage: Usage = field(default_factory=dict)


class Reranker(ABC):
    """Reads a query and a document together. It is a value: weights are with MODELS."""

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences for the record that are known before anything is scored."""
        return ()

    @property
    def paid(self) -> bool:
        """Whether scores are paid for; then they are kept, and not asked for to time them."""
        return False

    @abstractmethod
    def fingerprint(self) -> Mapping[str, object]:
        """Tell all that decides its scores, as JSON: weights or revision, dtype, lengths."""

    def made_with(self) -> Mapping[str, str]:
        """Tell what may change the last bits of its scores, and is not part of what it is."""
        return {}

    def load(self) -> None:
        """Bring the weights to memory, if there are any; score does it otherwise."""
        return

    @abstractmethod
    def score(
        self, pairs: Sequence[tuple[str, str]], progress: Progress, *, root: Path | None = None
    ) -> Scored:
        """Score pairs.

        Args:
            pairs: Query and document, those of a query side by side.
            progress: Told how far it is.
            root: The folder under which scores that were paid for may be kept.

        Returns:
            The scores, in the order of the pairs.
        """


RERANKERS: Registry[Reranker] = Registry("reranker", "harness.rerankers")


def reranker_spec(text: str | Spec) -> Spec:
    """Read a spec, and a bare hub id or folder as cross:...

    Args:
        text: A spec, or what stands for one.

    Returns:
        The spec of a reranker.
    """
    return RERANKERS.infer(text, "cross")
