"""What was paid for at endpoints: amounts by name, and their sums."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

N = TypeVar("N", int, float)
Usage = Mapping[str, float | None]  # by name, as "tokens"; None where it is not known


def sum_usage(parts: Iterable[Mapping[str, N | None]]) -> dict[str, N | None]:
    """Add amounts up by name.

    Args:
        parts: What each call has used, or counts of each part.

    Returns:
        The sum of each name that any part has; None where one part does not know its own.
    """
    sums: dict[str, N | None] = {}
    for part in parts:
        for name, amount in part.items():
            before = sums.get(name, 0)
            sums[name] = None if amount is None or before is None else before + amount
    return sums


def known_usage(usage: Usage) -> dict[str, float]:
    """Leave out what is not known.

    Args:
        usage: Amounts by name.

    Returns:
        Those that are numbers.
    """
    return {name: amount for name, amount in usage.items() if amount is not None}
