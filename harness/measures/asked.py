"""Measures as people ask for them: one name, or several."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from harness.errors import InputError
from harness.measures import Measure


def choose(asked: object, kind: str = "", whose: str = "") -> tuple[Measure, ...]:
    """Read measures under any usual spellings, each once.

    Args:
        asked: Their names, or one name.
        kind: Of the task, as `Measure.parse` takes it.
        whose: What they must fit, for an error; empty where any kind will do.

    Raises:
        InputError: A measure is unknown, is no name, or is one of another kind of task.
    """
    chosen = tuple(dict.fromkeys(Measure.parse(one, kind) for one in list_names(asked)))
    for measure in chosen:
        if whose and kind not in measure.kinds:
            raise InputError(f"{measure} does not fit {whose}")
    return chosen


def list_names(asked: object) -> list[Any]:
    """Names of measures, or the one name. Raises InputError for what is neither."""
    if isinstance(asked, str):
        return [asked]
    if isinstance(asked, bytes) or not isinstance(asked, Iterable):
        raise InputError(f"measures={asked!r}: expected names, as ['nDCG@10']")
    return list(asked)
