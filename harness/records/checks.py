"""What a record that somebody else wrote is held to, once and where it is read.

What passes here can be sorted, added, formatted and written: no reader has to look again.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from harness.errors import InputError

DEEPEST = 64  # levels of lists and objects
LARGEST = 2**63  # of numbers: what arrays of integers hold, and squares of floats do


def refuse_odd(data: object) -> None:
    """Refuse parsed JSON that is nested too deeply, or holds a number that is none or too large.

    Raises:
        InputError: Saying what is wrong, and in which field.
    """
    rest = [(data, "", 0)]
    while rest:
        value, where, depth = rest.pop()
        if depth > DEEPEST:
            raise InputError(f"{where[:100]}: nested more than {DEEPEST} levels deep")
        if isinstance(value, Mapping | list):
            inner = value.items() if isinstance(value, Mapping) else enumerate(value)
            rest += [(one, f"{where}.{key}".lstrip("."), depth + 1) for key, one in inner]
        elif isinstance(value, int | float) and not abs(value) < LARGEST:
            raise InputError(f"{where[:100]}: {value!r:.40}: expected a number below 2^63")


def check_time(text: str) -> str:
    """Return a time that sorts as text does. Raises ValueError for any other."""
    moment = datetime.fromisoformat(text)  # which also reads 20260131T120000Z, and weeks
    if moment.utcoffset() != timedelta(0) or text[:19] != moment.isoformat()[:19]:
        raise ValueError("expected a time in UTC, as 2026-01-31T12:00:00Z")
    return text
