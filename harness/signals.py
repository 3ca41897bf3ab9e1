"""Interrupts and terminations: one line and the right status, whenever they come.

Whatever is written is whole or absent, so a program may end at any moment.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import contextmanager, suppress

TYPE_CHECKING = False  # typing takes longer than all else that comes before signals are heard
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

WORDS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}


class SignalledError(KeyboardInterrupt):
    """A signal came that ends the program.

    Of a class of its own: where KeyboardInterrupt itself has passed code that was made at run
    time, Python ends by SIGINT, whatever the signal and the exit status.
    """


def end_at_once() -> None:
    """Let a signal end the program with one line.

    For where nothing is to be left in order: while libraries are imported, and when all is done.
    """
    for number in _heard():
        signal.signal(number, _end)


def _heard() -> list[signal.Signals]:
    """Signals that can be answered: not what a job in the background ignores, nor in a thread."""
    if threading.current_thread() is not threading.main_thread():
        return []
    return [number for number in WORDS if signal.getsignal(number) is not signal.SIG_IGN]


def _end(number: int, frame: object) -> None:
    with suppress(OSError):
        os.write(2, f"{WORDS[signal.Signals(number)]}\n".encode())
    os._exit(128 + number)


@contextmanager
def heeding() -> Iterator[list[int]]:
    """Raise SignalledError for each signal that ends a program.

    One that Python cannot raise, as where it comes while an object is destroyed, ends it at once.

    Yields:
        The signals that came, also those whose exception was lost.
    """
    came, own = list[int](), os.getpid()

    def stop(number: int, frame: object) -> None:
        if os.getpid() != own:  # a child that a library has forked
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        came.append(number)
        raise SignalledError

    def lose(lost: Any) -> None:
        if came and issubclass(lost.exc_type, KeyboardInterrupt):
            _end(came[0], None)
        sys.__unraisablehook__(lost)

    before = {number: signal.signal(number, stop) for number in _heard()}
    sys.unraisablehook, hook = lose, sys.unraisablehook
    try:
        yield came
    finally:
        sys.unraisablehook = hook
        for number, old in before.items():
            signal.signal(number, old)
