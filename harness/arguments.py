"""What callers hand over, read at the door: what an argument may be follows from its name.

    @read_arguments
    def search(system, collection, k=10, *, index="exact"): ...

What people have is taken (a NumPy integer, 2.0, a path as text); anything else ends in one line
before anything is computed.
"""

from __future__ import annotations

import inspect
import math
import os
import reprlib
from collections.abc import Callable
from dataclasses import fields
from functools import wraps
from numbers import Integral, Real
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from harness.arrays import is_iterable
from harness.errors import InputError
from harness.parameters import LARGEST

P = ParamSpec("P")
T = TypeVar("T")


def _refuse(name: str, value: object, expected: str) -> InputError:
    return InputError(f"{name}={reprlib.repr(value)}: expected {expected}")


def _whole(least: int) -> Callable[[str, object], int]:
    """A reader of whole numbers."""

    def read(name: str, value: object) -> int:
        fits = isinstance(value, Integral) or (
            isinstance(value, Real) and float(value).is_integer()
        )
        number = int(value) if fits and not isinstance(value, bool) else least - 1  # type: ignore[call-overload]
        if not least <= number <= LARGEST:
            most = f" to {LARGEST:,}" if number > LARGEST else ""
            raise _refuse(name, value, f"a whole number from {least}{most}")
        return number

    return read


def _read_share(name: str, value: object) -> float:
    """A number between 0 and 1, neither of them."""
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 < float(value) < 1:
        raise _refuse(name, value, "a number between 0 and 1")
    return float(value)


def _read_depth(name: str, value: object) -> int | None:
    """Results of each query; None for as many as measures look at."""
    return None if value is None else _whole(0)(name, value)


def _read_time(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 <= float(value) < math.inf:
        raise _refuse(name, value, "seconds since the epoch")
    return float(value)


def _read_text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise _refuse(name, value, "text")
    return value


def read_names(name: str, value: object) -> list[str]:
    """Names in a list, or one name; none at all for None. Raises InputError for anything else."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, bytes) or not (value is None or is_iterable(value)):
        raise _refuse(name, value, "a list of names")
    listed = [] if value is None else list(value)
    for each in listed:
        if not isinstance(each, str):
            raise _refuse(name, value, f"a list of names, and {reprlib.repr(each)} is no text")
    return listed


def _read_flag(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise _refuse(name, value, "True or False")
    return value


def _read_progress(name: str, value: object) -> Any:
    if not (value is None or isinstance(value, bool) or _takes_progress(value)):
        raise _refuse(name, value, "True, False, or a function of stage, done, total and unit")
    return value


def _takes_progress(value: object) -> bool:
    """Whether a value can be called as a `Progress` is, as far as it tells."""
    if not callable(value):
        return False
    try:
        inspect.signature(value).bind("stage", 0, 1, "unit")
    except (TypeError, ValueError) as error:
        return isinstance(error, ValueError)  # a function that tells nothing
    return True


def read_path(name: str, value: object) -> Path:
    """A path that is given as such or as text. Raises InputError for anything else."""
    if not isinstance(value, str | os.PathLike) or not str(value) or "\0" in str(value):
        raise _refuse(name, value, "a path")
    return Path(value).expanduser()


def _read_paths(name: str, value: object) -> list[Path]:
    """Paths in a list, or one alone."""
    if isinstance(value, str | os.PathLike) or not is_iterable(value):
        return [read_path(name, value)]
    return [read_path(name, each) for each in value]


READERS: dict[str, Callable[[str, Any], Any]] = {
    "seed": _whole(0),
    "latency": _whole(0),
    "k": _whole(1),
    "depth": _read_depth,
    "shard": _whole(1),
    "limit": _whole(0),
    "since": _read_time,
    "alpha": _read_share,
    "index": _read_text,
    "rewrite": _read_text,
    "role": _read_text,
    "license": _read_text,
    "measures": read_names,
    "exclude_self": _read_flag,
    "fresh": _read_flag,
    "progress": _read_progress,
    "path": read_path,
    "paths": _read_paths,
    "folder": read_path,
    "root": read_path,
}


def read_arguments(call: Callable[P, T]) -> Callable[P, T]:
    """Decorate a function whose arguments are read by their names.

    Returns:
        The function; it raises InputError for a value that its argument cannot have.
    """
    signature = inspect.signature(call)

    @wraps(call)
    def read(*given: P.args, **named: P.kwargs) -> T:
        try:
            bound = signature.bind(*given, **named)
        except TypeError:  # too few or too many: Python says it better
            return call(*given, **named)
        for name, value in bound.arguments.items():
            if name in READERS:
                bound.arguments[name] = READERS[name](name, value)
        return call(*bound.args, **bound.kwargs)

    return read


def read_fields(made: Any) -> None:
    """Read the fields of a dataclass, from its `__post_init__`, as arguments are."""
    for field in fields(made):
        if field.init and field.name in READERS:
            value = READERS[field.name](field.name, getattr(made, field.name))
            object.__setattr__(made, field.name, value)
