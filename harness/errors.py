"""The errors and warnings that a user can cause or act on, each one clear line.

HarnessError
├── InputError       what was asked for or given is wrong: exit status 2
├── EncodingError    a model returned something that is not an embedding
└── StoreError       the embedding store cannot be read or written

RenamedWarning       what was asked for by an old name was understood, and has a new one
"""

from __future__ import annotations


class HarnessError(Exception):
    """What a user can act on, in one line: what is wrong, where, what to do."""


class InputError(HarnessError):
    """A name, file, option or value that was asked for or given is wrong."""


class EncodingError(HarnessError):
    """A model returned something that is not one finite vector per text."""


class StoreError(HarnessError):
    """The embedding store cannot be read or written."""


class RenamedWarning(FutureWarning):
    """A spec names a parameter by an old name; the message says the new one."""


def reason(error: BaseException) -> str:
    """The first line of an exception's message, or its type where it has none."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
