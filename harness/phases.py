"""How long each phase of an evaluation takes, and the memory it needs."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from harness.types import Progress, silent


@dataclass(frozen=True)
class Phase:
    """Wall and CPU seconds (of all threads), peak resident memory, and what was worked on."""

    name: str
    wall_s: float
    cpu_s: float
    peak_mb: float
    items: int = 0
    unit: str = ""


@dataclass
class Clock:
    """Collects phases in the order they end, and tells when one begins.

    prefix: put before the name of each.
    """

    progress: Progress = silent
    phases: list[Phase] = field(default_factory=list)
    prefix: str = ""

    def within(self, name: str) -> Clock:
        """The same clock, for a part: its phases are called "name: phase"."""
        return Clock(self.progress, self.phases, f"{self.prefix}{name}: ")

    @contextmanager
    def phase(self, name: str, items: int = 0, unit: str = "") -> Iterator[None]:
        """Time a block. It is recorded only if it ends without an error."""
        self.progress(name, 0, 0, "")
        _reset_peak()
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        took = time.perf_counter() - wall, time.process_time() - cpu
        self.phases.append(Phase(self.prefix + name, *took, peak_mb(), items, unit))


def peak_mb() -> float:
    """Peak resident memory in MB: since the last reset on Linux, of the process elsewhere."""
    with suppress(OSError, StopIteration), open("/proc/self/status", encoding="ascii") as file:
        return int(next(line for line in file if line.startswith("VmHWM")).split()[1]) / 1024
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def _reset_peak() -> None:
    with suppress(OSError), open("/proc/self/clear_refs", "w", encoding="ascii") as file:
        file.write("5")  # resets VmHWM (proc_pid_clear_refs(5)); not available everywhere
