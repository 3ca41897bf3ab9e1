"""How numbers are written, by what they are: one place for tables, pages, headlines.

A negative number has a hyphen before it, and a percent sign no blank: -22.5%. What rounds to 0 has
no hyphen: the z of format specs.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, get_args

from harness.stats import Estimate

Unit = Literal[
    "text", "link", "flag", "count", "bytes", "number", "score", "difference", "share", "relative",
    "estimate", "change", "p", "ms", "seconds", "rate",
]  # fmt: skip
"""What a column's values are: `link` text with an address; `score` in [0, 1]; `difference` of
scores, signed; `share` of a whole and `relative` change, both written as percent; `estimate` and
`change` (signed), Estimates; `p` of a test; `rate` a second."""

UNITS: tuple[str, ...] = get_args(Unit)
WORDS = ("text", "link", "flag")  # set flush left
WHOLE = ("count", "bytes")
INTERVALS = ("estimate", "change")
SUFFIXES: dict[str, str] = {"ms": " (ms)", "seconds": " (s)", "bytes": " (bytes)"}
"""What follows a column's name where its values are numbers of a unit."""


def number(value: float | None, digits: int = 4, *, signed: bool = False) -> str:
    """Write a score, or a difference of scores; a dash where it is not defined."""
    if value is None or math.isnan(value):
        return "–"
    return f"{value:{'+' if signed else ''}z.{digits}f}"


def bounds(low: float | None, high: float | None, digits: int = 4, *, signed: bool = False) -> str:
    """Write an interval: [low, high]."""
    return f"[{', '.join(number(end, digits, signed=signed) for end in (low, high))}]"


def interval(value: Estimate, *, signed: bool = False, digits: int = 4) -> str:
    """Write an estimate: mean [low, high]."""
    mean = number(value.mean, digits, signed=signed)
    if value.low is None or value.high is None:
        return mean
    return f"{mean} {bounds(value.low, value.high, digits, signed=signed)}"


def percent(value: float, digits: int = 1, *, signed: bool = False) -> str:
    """Write a share as percent."""
    return f"{value:{'+' if signed else ''}z.{digits}%}"


def probability(value: float) -> str:
    """Write a p-value."""
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def write(value: float | Estimate, unit: Unit, digits: int | None = None) -> str:
    """Write a value of a unit.

    Args:
        value: An Estimate for the units INTERVALS.
        unit: What it is.
        digits: Decimals, in place of those of the unit.
    """
    if isinstance(value, Estimate):
        return interval(value, signed=unit == "change", digits=4 if digits is None else digits)
    return _WRITTEN[unit](value, digits)


def _fix(usual: int, sign: str = "") -> Callable[[float, int | None], str]:
    return lambda value, digits: f"{value:{sign}z,.{usual if digits is None else digits}f}"


def _percentage(sign: str = "") -> Callable[[float, int | None], str]:
    return lambda value, digits: f"{value:{sign}z.{1 if digits is None else digits}%}"


_WRITTEN: dict[str, Callable[[float, int | None], str]] = {
    "flag": lambda value, _: "yes" if value else "no",
    "count": _fix(0),
    "bytes": _fix(0),
    "number": lambda value, digits: f"{value:,.4g}" if digits is None else f"{value:z,.{digits}f}",
    "score": _fix(4),
    "difference": _fix(4, "+"),
    "share": _percentage(),
    "relative": _percentage("+"),
    "p": lambda value, _: probability(value),
    "ms": _fix(2),
    "seconds": _fix(1),
    "rate": _fix(0),
}
