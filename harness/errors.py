"""The errors and warnings that a user can cause or act on, each one clear line.

HarnessError
├── InputError       what was asked for or given is wrong: exit status 2
├── EncodingError    a model returned something that is not an embedding
└── StoreError       the embedding store cannot be read or written

RenamedWarning       what was asked for by an old name was understood, and has a new one
RefusedWarning       files were left out of what was read, as they are of no use
UnkeptWarning        vectors were made and used, and could not be kept
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from harness.shown import clean

if TYPE_CHECKING:
    from pydantic import ValidationError

LONGEST = 1600  # characters of a message; what to do stands at its end


class HarnessError(Exception):
    """What a user can act on, in one line: what is wrong, where, what to do."""

    def __str__(self) -> str:
        """The message in one line of bounded length, without secrets, whatever is in it."""
        line, half = clean(super().__str__()), LONGEST // 2
        return line if len(line) <= LONGEST else f"{line[:half]} ... {line[-half:]}"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the message and the attributes, whatever the class is made with."""
        return _restore, (type(self), self.args), vars(self)


def _restore(kind: type[HarnessError], said: tuple[Any, ...]) -> HarnessError:
    error = kind.__new__(kind)
    error.args = said
    return error


class InputError(HarnessError):
    """A name, file, option or value that was asked for or given is wrong."""


class EncodingError(HarnessError):
    """A model returned something that is not one finite vector per text."""


class StoreError(HarnessError):
    """The embedding store cannot be read or written."""


class RenamedWarning(FutureWarning):
    """A spec names a parameter by an old name; the message says the new one."""


class RefusedWarning(UserWarning):
    """Files of a folder are no records; the message says how many, which and why."""


class UnkeptWarning(UserWarning):
    """The embedding store cannot be written; the message says which, and how to have another."""


ENDINGS = (Exception, SystemExit)
"""What may come of a function that is somebody else's; Ctrl-C is not its own."""


def reason(error: BaseException) -> str:
    """The first line of an exception's message, or its type where it has none."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def name_fault(error: ValidationError) -> str:
    """The first field that is not as expected, and what is."""
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"


@contextmanager
def blame(what: str, kind: type[HarnessError] = InputError) -> Iterator[None]:
    """Say in one line what code of others raises within, whatever it is; our own errors pass.

    Args:
        what: The code and what it was to do: "my-model fails on 3 texts".
        kind: Of the error that is raised in its place.
    """
    try:
        yield
    except HarnessError:
        raise
    except ENDINGS as error:
        raise kind(f"{what}: {type(error).__name__}: {reason(error)}") from error


def warn_caller(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn of the line of the user's program that led here, however deep in this package."""
    frame, level = sys._getframe(), 1
    while frame.f_back and frame.f_globals["__name__"].partition(".")[0] == "harness":
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)
