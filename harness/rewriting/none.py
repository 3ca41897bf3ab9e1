"""Queries as they are: what every rewriting is compared with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.progress import Progress
from harness.rewriting import REWRITERS, Rewritten, TextRewriter


@REWRITERS.register("none")
@dataclass(frozen=True)
class Unchanged(TextRewriter):
    """Queries as they are."""

    def rewrite(
        self, texts: Sequence[str], progress: Progress, *, root: Path | None = None
    ) -> Rewritten:
        """Give the same texts."""
        return Rewritten(list(texts))
