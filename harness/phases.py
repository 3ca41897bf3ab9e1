"""How long each phase of an evaluation takes, and the memory it needs."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from harness.progress import Progress, silent

SEARCHES = ("search", "fuse", "rerank")  # phases that a query waits for
TUNING = "tune on "  # a part by this name chose weights, before what is measured


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


def texts_per_s(phases: Sequence[Phase]) -> float | None:
    """Texts encoded a second; by a system made of several, each text by all of them.

    None where some part encoded nothing, as its vectors came from the store.
    """
    parts: dict[str, list[Phase]] = {}
    for part, name, phase in _measured(phases):
        if name.startswith("encode"):
            parts.setdefault(part, []).append(phase)
    texts = [sum(phase.items for phase in part) for part in parts.values()]
    seconds = [sum(phase.wall_s for phase in part if phase.items) for part in parts.values()]
    if not texts or not all(texts) or not all(seconds):
        return None
    return 1 / sum(took / count for took, count in zip(seconds, texts, strict=True))


def search_ms(phases: Sequence[Phase]) -> float | None:
    """Milliseconds of search a query, where all are asked together; None without a search."""
    asked = [phase for _, name, phase in _measured(phases) if name in SEARCHES]
    queries = max((phase.items for phase in asked if phase.unit == "queries"), default=0)
    return 1000 * sum(phase.wall_s for phase in asked) / queries if queries else None


def _measured(phases: Sequence[Phase]) -> list[tuple[str, str, Phase]]:
    """Phases with the part that they are of and their own name."""
    return [
        (part, name, phase)
        for phase in phases
        if TUNING not in phase.name
        for part, _, name in [phase.name.rpartition(": ")]
    ]


def peak_mb() -> float:
    """Peak resident memory in MB: since the last reset on Linux, of the process elsewhere."""
    with suppress(OSError, StopIteration), open("/proc/self/status", encoding="ascii") as file:
        return int(next(line for line in file if line.startswith("VmHWM")).split()[1]) / 1024
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def _reset_peak() -> None:
    with suppress(OSError), open("/proc/self/clear_refs", "w", encoding="ascii") as file:
        file.write("5")  # resets VmHWM (proc_pid_clear_refs(5)); not available everywhere
