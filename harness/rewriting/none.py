"""Queries as they are: what every rewriting is compared with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.progress import Progress
from harness.rewriting import REWRITERS


@REWRITERS.register("none")
@dataclass(frozen=True)
class Unchanged:
    """Queries as they are."""

    def rewrite(
        self, texts: Sequence[str], progress: Progress, *, root: Path | None = None
    ) -> list[str]:
        """The same texts."""
        return list(texts)

    def describe(self) -> Mapping[str, object]:
        """Nothing decides anything."""
        return {}
