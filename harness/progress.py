"""How long work tells how far it is."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, int, int, str], None]
"""Called as progress(stage, done, total, unit); total 0 means that it is not known."""


def silent(stage: str, done: int, total: int, unit: str) -> None:
    """A Progress that reports nothing."""
