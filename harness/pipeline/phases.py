"""How long each phase of an evaluation takes, and the memory it needs."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Literal

from harness.progress import Progress, silent

PhaseKind = Literal["load", "encode", "build", "search", "rerank", "rewrite", "score"]
Purpose = Literal["answer", "tuning", "latency"]


@dataclass(frozen=True)
class Phase:
    """Wall and CPU seconds (of all threads), peak resident memory, and what was worked on.

    Attributes:
        kind: What was done.
        part: The part of a system that did it, inner parts after ": "; "" for the whole.
        of: What it was done to: documents, queries, data, a model.
        wall_s: Seconds by the clock.
        cpu_s: Seconds of all threads.
        peak_mb: Peak resident memory in MB.
        items: How many were worked on, 0 where nobody counts.
        unit: What `items` counts.
        purpose: Answering the task's queries; or tuning weights before, or timing queries after.
    """

    kind: PhaseKind
    part: str
    of: str
    wall_s: float
    cpu_s: float
    peak_mb: float
    items: int = 0
    unit: str = ""
    purpose: Purpose = "answer"

    @property
    def label(self) -> str:
        """The phase in words, for people: "tuning: bm25: encode documents"."""
        purpose = "" if self.purpose == "answer" else self.purpose
        what = f"{self.kind} {self.of}".rstrip()
        return ": ".join(word for word in (purpose, self.part, what) if word)


@dataclass
class Clock:
    """Collects phases in the order they end, and tells when one begins.

    Attributes:
        progress: Hears of each phase as it begins.
        phases: Those that ended without an error.
        part: Of a system, what is timed.
        purpose: Of all phases of this clock.
    """

    progress: Progress = silent
    phases: list[Phase] = field(default_factory=list)
    part: str = ""
    purpose: Purpose = "answer"

    def nest(self, part: str) -> Clock:
        """Return the same clock for an inner part of the system."""
        return replace(self, part=f"{self.part}: {part}" if self.part else part)

    def aside(self, purpose: Purpose) -> Clock:
        """Return the same clock for work that no query of the task waits for."""
        return replace(self, purpose=purpose)

    @contextmanager
    def phase(
        self, kind: PhaseKind, of: str = "", *, items: int = 0, unit: str = ""
    ) -> Iterator[None]:
        """Time a block; it is recorded only if it ends without an error."""
        self.progress(f"{kind} {of}".rstrip(), 0, 0, "")
        reset_peak()
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        took = time.perf_counter() - wall, time.process_time() - cpu
        self.phases.append(Phase(kind, self.part, of, *took, peak_mb(), items, unit, self.purpose))


def texts_per_s(phases: Sequence[Phase]) -> float | None:
    """Return the texts encoded a second; by a system of several parts, each text by all of them.

    None where some part encoded nothing, as its vectors came from the store.
    """
    parts: dict[str, list[Phase]] = {}
    for phase in _answering(phases):
        if phase.kind == "encode":
            parts.setdefault(phase.part, []).append(phase)
    texts = [sum(phase.items for phase in part) for part in parts.values()]
    seconds = [sum(phase.wall_s for phase in part if phase.items) for part in parts.values()]
    if not texts or not all(texts) or not all(seconds):
        return None
    return 1 / sum(took / count for took, count in zip(seconds, texts, strict=True))


def search_ms(phases: Sequence[Phase]) -> float | None:
    """Return milliseconds of search and reranking a query, all queries being asked together.

    None without a search.
    """
    asked = [phase for phase in _answering(phases) if phase.kind in ("search", "rerank")]
    queries = max((phase.items for phase in asked if phase.unit == "queries"), default=0)
    return 1000 * sum(phase.wall_s for phase in asked) / queries if queries else None


def _answering(phases: Sequence[Phase]) -> list[Phase]:
    return [phase for phase in phases if phase.purpose == "answer"]


def peak_mb() -> float:
    """Peak resident memory in MB: since the last reset on Linux, of the process elsewhere."""
    with suppress(OSError, StopIteration), open("/proc/self/status", encoding="ascii") as file:
        return int(next(line for line in file if line.startswith("VmHWM")).split()[1]) / 1024
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def waited_s() -> float:
    """Seconds that this thread has waited for a processor that others used; 0 where none tells."""
    with (
        suppress(OSError, ValueError),
        open("/proc/thread-self/schedstat", encoding="ascii") as file,
    ):
        return int(file.read().split()[1]) / 1e9
    return 0.0


def reset_peak() -> None:
    """Let the peak begin at what is resident now, where the system can."""
    with suppress(OSError), open("/proc/self/clear_refs", "w", encoding="ascii") as file:
        file.write("5")  # resets VmHWM (proc_pid_clear_refs(5)); not available everywhere
