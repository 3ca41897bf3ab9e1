"""Standard output and standard error of the command line: what leaves through them is harmless.

Characters of data that act on a terminal are written out, secrets masked, and no line is a command
of a CI service unless `put` says so. An encoding that lacks a character shows its code; a stream
that is closed takes everything and keeps nothing.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO

from harness.errors import HarnessError, reason
from harness.masking import mask
from harness.shown import LACKING, disarm, escape

LAYOUT = "\n\t"  # what is left as it is


class UnwrittenError(HarnessError):
    """Standard output cannot be written; without a message where its reader went away."""


class Outlet(io.TextIOBase):
    """A stream that takes lines of text and passes them on without what acts.

    Args:
        stream: Where lines go; None where it was closed.
        needed: Whether what cannot be written is an error: not of what is said beside the results.
    """

    def __init__(self, stream: TextIO | None, *, needed: bool) -> None:
        self.stream = stream
        self._needed, self._held = needed, ""
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=LACKING)

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """Of the stream."""
        return self.stream.encoding if self.stream else "utf-8"

    def isatty(self) -> bool:
        """Whether the stream is a terminal."""
        return self.stream is not None and self.stream.isatty()

    def fileno(self) -> int:
        """Number of the stream's descriptor."""
        if self.stream is None:
            raise io.UnsupportedOperation("fileno")
        return self.stream.fileno()

    def writable(self) -> bool:
        """Whether it can be written: always."""
        return True

    def write(self, text: str) -> int:
        """Take text; whole lines are passed on."""
        lines, newline, self._held = (self._held + text).rpartition("\n")
        if newline:
            self.pass_on("\n".join(map(_tame, lines.split("\n"))) + "\n")
        return len(text)

    def flush(self) -> None:
        """Pass on what is left of a line, too."""
        held, self._held = self._held, ""
        self.pass_on(_tame(held))

    def pass_on(self, text: str) -> None:
        """Write a text as it is. Raises UnwrittenError where it is needed and cannot be written."""
        if self.stream is None:
            return
        try:
            self.stream.write(text)
            self.stream.flush()
        except (OSError, ValueError) as error:
            self._close()
            if isinstance(error, BrokenPipeError) and self._needed:
                raise UnwrittenError from None
            if self._needed:
                why = error.strerror if isinstance(error, OSError) else None
                raise UnwrittenError(f"standard output: {why or reason(error)}") from None

    def _close(self) -> None:
        """Let what the stream still holds go nowhere, when the interpreter writes it at its end."""
        stream, self.stream = self.stream, None
        with suppress(OSError, ValueError, AttributeError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())  # type: ignore[union-attr]


def _tame(line: str) -> str:
    return disarm(escape(mask(line), keep=LAYOUT))


def put(line: str) -> None:
    """Print a line that is laid out for a terminal, or a command of a CI service.

    line: its texts of others were escaped before.
    """
    out: Any = sys.stdout
    if isinstance(out, Outlet):
        out.flush()
        out.pass_on(mask(line) + "\n")
    else:
        out.write(line + "\n")


@contextmanager
def guarding() -> Iterator[None]:
    """Put an outlet before both streams, and descriptors in the place of those that are closed."""
    while (free := os.open(os.devnull, os.O_RDWR)) < 3:  # else the next file is taken for a stream
        os.set_inheritable(free, True)
    os.close(free)
    before = sys.stdout, sys.stderr
    out, err = Outlet(sys.stdout, needed=True), Outlet(sys.stderr, needed=False)
    sys.stdout, sys.stderr = out, err
    try:
        yield
    finally:
        err.flush()
        sys.stdout, sys.stderr = before
