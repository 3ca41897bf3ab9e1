"""Death by SIGKILL at the n-th file operation of a process: nothing is flushed, nothing mended."""

from __future__ import annotations

import builtins
import io
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import disk

EVENTS = {
    "open", "os.rename", "os.link", "os.symlink", "os.mkdir", "os.remove", "os.rmdir", "os.truncate"
}  # fmt: skip
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


@dataclass
class Fault:
    """Counts file operations below a folder; dies at one of them.

    Attributes:
        folder: Operations elsewhere do not count.
        deadly: The number of the operation, from 0; None for none.
        seen: Operations so far.
    """

    folder: Path
    deadly: int | None = None
    seen: int = 0

    def install(self) -> None:
        """Watch this process from now on, for good: it is a child that was forked for it."""
        sys.addaudithook(self._hear)
        exchange, before = disk._exchange, self._strike

        def flush(_: int) -> None:  # which costs time, and nothing is lost without by a kill
            before()

        def swap(one: Path, other: Path) -> bool:
            before()
            return exchange(one, other)

        os.fsync, disk._exchange = flush, swap
        io.open = builtins.open = self._open

    def _hear(self, event: str, given: tuple[Any, ...]) -> None:
        if event in EVENTS and self._counts(event, given):
            self._strike()

    def _counts(self, event: str, given: tuple[Any, ...]) -> bool:
        if event == "open" and not (isinstance(given[2], int) and given[2] & WRITING):
            return False
        return not isinstance(given[0], int) and self._is_inside(given[0])

    def _is_inside(self, path: Any) -> bool:
        """Whether a path is below the folder, where the process works; one that is open, too."""
        name = "" if isinstance(path, int) else os.fsdecode(path)
        return not os.path.isabs(name) or name.startswith(str(self.folder))

    def _strike(self) -> None:
        if self._is_next():
            os.kill(os.getpid(), signal.SIGKILL)

    def _is_next(self) -> bool:
        self.seen += 1
        return self.seen - 1 == self.deadly

    def _open(
        self, file: Any, mode: str = "r", buffering: int = -1, *args: Any, **named: Any
    ) -> Any:
        """What `open` gives, whose writes are torn in two where they are deadly."""
        if not set(mode) & set("wax+") or buffering == 0 or not self._is_inside(file):
            return _OPEN(file, mode, buffering, *args, **named)
        texts = dict(
            zip(("encoding", "errors", "newline", "closefd", "opener"), args, strict=False)
        )
        texts |= named
        raw = _Torn(file, mode.replace("b", "").replace("t", ""), texts.pop("closefd", True),
                    texts.pop("opener", None))  # fmt: skip
        raw.fault = self
        out = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
        return out if "b" in mode else io.TextIOWrapper(out, **texts)


class _Torn(io.FileIO):
    """A file of which only half is written when its process dies."""

    fault: Fault

    def write(self, data: Any) -> int:
        if self.fault._is_next():
            super().write(memoryview(data)[: len(data) // 2])
            os.kill(os.getpid(), signal.SIGKILL)
        return super().write(data)


_OPEN = io.open
