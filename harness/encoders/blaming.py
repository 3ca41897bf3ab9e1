"""One line for what a model raises, with what to do where its device is full."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from harness.accelerators import is_full, tell_full
from harness.errors import HarnessError, blame


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
            raise kind(f"{what}: the device is {tell_full(error)}: {relief}") from error
