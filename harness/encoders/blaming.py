"""One line for what a model raises, with what to do where its device is full."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from harness.accelerators import is_full
from harness.errors import HarnessError, blame, reason

TOLD = 2  # sentences of what torch says of a full device: how much it tried to take


@contextmanager
def blame_model(what: str, kind: type[HarnessError], relief: str) -> Iterator[None]:
    """Say in one line what code of others raises within, whatever it is; our own errors pass.

    Args:
        what: The model and what it was to do: "my-model fails on 3 texts".
        kind: Of the error that is raised in its place.
        relief: What to do where the device is full.
    """
    with blame(what, kind):
        try:
            yield
        except (RuntimeError, MemoryError) as error:
            if not is_full(error):
                raise
            said = ". ".join(reason(error).split(". ")[:TOLD]).rstrip(".")
            raise kind(f"{what}: the device is full ({said}): {relief}") from error
