"""How long work tells how far it is."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, int, int, str], None]
"""Called as progress(stage, done, total, unit); total 0 means that it is not known."""


def prefix(whole: str, progress: Progress) -> Progress:
    """A Progress of a part, which names the whole before each stage."""
    return lambda stage, done, total, unit: progress(f"{whole}: {stage}", done, total, unit)


def silent(stage: str, done: int, total: int, unit: str) -> None:
    """A Progress that reports nothing."""
