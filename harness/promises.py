"""Functions of others, called and held to what they promise: what is wrong is one line."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.arrays import TOO_LARGE, Float64
from harness.errors import InputError, blame, reason


def require_parameters(function: Callable[..., Any], names: Sequence[str], what: str) -> None:
    """Raise InputError where a function does not take parameters of these names.

    what: whose function it is.
    """
    own = inspect.signature(function).parameters
    lacking = [name for name in names if name not in own]
    if lacking and all(one.kind is not one.VAR_KEYWORD for one in own.values()):
        raise InputError(
            f"{what}: its function has no parameter {lacking[0]}: "
            f"expected ({', '.join([*list(own)[:1], *names])})"
        )


def call(function: Callable[..., Any], what: str, *given: object, **named: object) -> Any:
    """What a function returns. Raises InputError for whatever it raises, but our own errors."""
    with blame(f"{what} failed"):
        return function(*given, **named)


def read_values(returned: object, what: str, size: int | None, rows: Sequence[str]) -> Float64:
    """What a function returned, as numbers.

    Args:
        returned: A list or an array, of real numbers that float32 holds.
        what: Whose function it is, with "returns".
        size: How many values there must be; None for any number of them, NaN among them.
        rows: What each value is of, for errors; empty for its number.

    Raises:
        InputError: For anything else.
    """
    try:
        found: NDArray[Any] = np.asarray(returned)
    except (TypeError, ValueError) as error:
        raise InputError(f"{what} no numbers: {reason(error)}") from None
    if found.dtype.kind not in "biuf":
        held = type(returned).__name__ if found.dtype.kind == "O" else found.dtype.name
        raise InputError(f"{what} {held}: expected real numbers")
    if found.ndim != 1 or size not in (None, len(found)):
        expected = "a list" if size is None else f"{size}, one for each"
        raise InputError(f"{what} values of shape {list(found.shape)}: expected {expected}")
    values = found.astype(np.float64)
    wrong = ~(np.abs(values) < TOO_LARGE)
    if size is None:
        wrong &= ~np.isnan(values)
    if wrong.any():
        row = int(wrong.argmax())
        value = "NaN" if np.isnan(values[row]) else f"{values[row]:g}"
        where = f"for query {rows[row]!r}" if rows else f"in row {row}"
        raise InputError(f"{what} {value} {where}: expected a finite number")
    return values
