"""Measures as people ask for them: one name, or several."""

from __future__ import annotations

from harness.arguments import read_names
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
    names = read_names("measures", asked)
    chosen = tuple(dict.fromkeys(Measure.parse(name, kind) for name in names))
    for measure in chosen:
        if whose and kind not in measure.kinds:
            raise InputError(f"{measure} does not fit {whose}")
    return chosen
