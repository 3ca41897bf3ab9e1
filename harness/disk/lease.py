"""Folders in use: who reads or fills one holds it, and what is held is not removed.

A lease is a lock of the system on the folder itself, so it ends with the process, however that
ends, and needs no right to write. Where a file system has no such locks (some that are shared over
a network), a folder that somebody wrote to within the hour counts as held.
"""

from __future__ import annotations

import fcntl
import os
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from harness import disk


class Lease:
    """A claim on a folder, until it is closed or nothing refers to it any more."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.close = weakref.finalize(self, os.close, descriptor)

    def __enter__(self) -> Lease:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def lock(self, how: int) -> bool:
        """Lock the folder; False where its file system has no locks. Raises BlockingIOError."""
        try:
            fcntl.flock(self._descriptor, how)
        except BlockingIOError:
            raise
        except OSError:
            return False
        return True

    def is_at(self, folder: Path) -> bool:
        """Whether the folder of that name is the one that is held."""
        try:
            return os.path.samestat(os.fstat(self._descriptor), folder.stat())
        except OSError:
            return False


def hold(folder: Path) -> Lease | None:
    """Share a folder with others that use it; None where it is not there, or is not readable."""
    while True:
        try:
            lease = Lease(os.open(folder, os.O_RDONLY | os.O_DIRECTORY))
        except OSError:
            return None
        if not lease.lock(fcntl.LOCK_SH) or lease.is_at(folder):
            return lease
        lease.close()  # it was removed between the two: perhaps there is another one now


@contextmanager
def alone(folder: Path) -> Iterator[bool]:
    """Whether nobody else uses a folder; nobody can begin to before the block ends."""
    try:
        lease = Lease(os.open(folder, os.O_RDONLY | os.O_DIRECTORY))
    except OSError:
        yield False
        return
    with lease:
        try:
            free = lease.lock(fcntl.LOCK_EX | fcntl.LOCK_NB) or disk.is_stale(folder)
        except BlockingIOError:
            free = False
        yield free and lease.is_at(folder)
