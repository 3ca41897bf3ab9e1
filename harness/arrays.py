"""Names of array types, row numbers of spans, what can be gone through, what is a number."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from tokenize import TokenError
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]
Labels = Sequence[str] | Sequence[int] | NDArray[Any]

# what numpy raises for a broken header of a file, which it reads as Python
BROKEN = (
    ValueError, EOFError, SyntaxError, TokenError, TypeError, LookupError, ArithmeticError,
    MemoryError, RecursionError, Warning,
)  # fmt: skip
TOO_LARGE = 2.0**128 - 2.0**103  # from here on a number is infinite as float32


def is_iterable(value: object) -> TypeGuard[Iterable[Any]]:
    """Whether a value can be gone through: an array without dimensions only looks so."""
    try:
        iter(value)  # type: ignore[call-overload]
    except TypeError:
        return False
    return True


def spans(starts: Int64, lengths: Int64) -> Int64:
    """Row numbers of spans of rows, one span after the other; starts, lengths: [n]."""
    ends = np.cumsum(lengths)
    shift: Int64 = np.repeat(starts - (ends - lengths), lengths)
    return shift + np.arange(len(shift))


def is_finite(value: float) -> bool:
    """Whether a float holds a number, which may be a whole one of any size."""
    try:
        return math.isfinite(value)
    except OverflowError:
        return False
