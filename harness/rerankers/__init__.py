"""Scores of (query, document) texts read together: each module registers rerankers for specs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from harness.arrays import Float32
from harness.progress import Progress
from harness.spec import Registry, Spec


@dataclass(frozen=True)
class Scored:
    """scores: float32 [p], the higher the more relevant; tokens: read in all, -1 where the model
    does not tell; truncated: pairs of which only the beginning was read.
    """

    scores: Float32
    tokens: int = -1
    truncated: int = 0


class Reranker(Protocol):
    """Reads a query and a document together. It may have `warnings` for the record, and `spent()`:
    what was paid for, by name.
    """

    def fingerprint(self) -> Mapping[str, object]:
        """All that decides its scores, as JSON: weights or revision, dtype, lengths."""

    def load(self) -> None:
        """Bring the weights to memory, if that has not happened; score does it otherwise."""

    def score(
        self, pairs: Sequence[tuple[str, str]], progress: Progress, *, root: Path | None = None
    ) -> Scored:
        """Scores of (query, document) pairs, those of a query side by side, in their order.

        root: the folder under which scores that were paid for may be kept.
        """


RERANKERS: Registry[Reranker] = Registry("reranker", "harness.rerankers")


def reranker_spec(text: str | Spec) -> Spec:
    """A spec as given, or cross:... for a bare hub id or folder."""
    return RERANKERS.named(text, "cross")
