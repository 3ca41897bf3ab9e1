"""A session: what evaluations and studies share while they run."""

from __future__ import annotations

from dataclasses import dataclass

from harness.progress import Progress, silent
from harness.store import Store


@dataclass(frozen=True)
class Session:
    """Where vectors are kept, the seed of what is drawn, and who is told how far work has come."""

    store: Store
    seed: int = 0
    progress: Progress = silent
