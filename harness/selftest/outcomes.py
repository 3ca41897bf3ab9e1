"""What a check came to, and the first result that is not the same on either side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from harness.vectors import Run

Status = Literal["equal", "differs", "refused", "not shown", "error"]


@dataclass(frozen=True)
class FirstDifference:
    """The first result that differs: its place, and the key on either side.

    Attributes:
        query: Row of the query.
        rank: From 0.
        gpu_document: Row of the document that the GPU ranks there, -1 for none.
        gpu_score: Its score.
        gpu_bits: The bits of that float32, in hexadecimal.
        cpu_document: Row of the document that the CPU ranks there, -1 for none.
        cpu_score: Its score.
        cpu_bits: The bits of that float32, in hexadecimal.
    """

    query: int
    rank: int
    gpu_document: int
    gpu_score: float
    gpu_bits: str
    cpu_document: int
    cpu_score: float
    cpu_bits: str

    def __str__(self) -> str:
        """In a line."""
        return (
            f"query {self.query}, rank {self.rank}: "
            f"GPU document {self.gpu_document} score {self.gpu_score:.9g} (0x{self.gpu_bits}), "
            f"CPU document {self.cpu_document} score {self.cpu_score:.9g} (0x{self.cpu_bits})"
        )


@dataclass(frozen=True)
class Outcome:
    """What one check came to.

    Attributes:
        section: What it belongs to.
        name: What was checked.
        status: equal or differs; refused, as it should be; not shown, where results are equal and
            the processor decided all of them in place of the devices; or error, where something was
            raised that should not be, or a device had no room.
        details: In a line.
        gpu_seconds: Of the search on GPUs, after a shorter one to warm up.
        cpu_seconds: Of the same search on the processor.
        peak_bytes: Of memory on the devices.
        peak_by: What told: torch, the most that it held; or the driver, what was gone afterwards.
        compared: Results that were compared.
        differing: How many of them are not the same.
        first: The first of these.
        by_devices: Part of the search that devices decided.
        queries: That were searched with on devices; none where no search is checked.
        decided: How many of them devices alone decided.
        ratio: Largest error to its bound, where that was measured.
        notes: What the search said of itself.
        index: What the index says it is, as JSON.
    """

    section: str
    name: str
    status: Status
    details: str = ""
    gpu_seconds: float | None = None
    cpu_seconds: float | None = None
    peak_bytes: int | None = None
    peak_by: str = ""
    compared: int = 0
    differing: int = 0
    first: FirstDifference | None = None
    by_devices: float = 1.0
    queries: int = 0
    decided: int = 0
    ratio: float | None = None
    notes: tuple[str, ...] = ()
    index: Mapping[str, object] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether it is as it should be."""
        return self.status in ("equal", "refused")

    @property
    def failed(self) -> bool:
        """Whether it is not."""
        return self.status in ("differs", "error")


@dataclass(frozen=True)
class Unchecked:
    """What was not checked, and why."""

    what: str
    why: str


def compare_runs(gpu: Run, cpu: Run) -> tuple[int, FirstDifference | None]:
    """Compare documents and bits of scores [q, k].

    Returns:
        How many results differ, and the first of them.

    Raises:
        ValueError: The runs are not of one shape.
    """
    shapes = {gpu.docs.shape, gpu.scores.shape, cpu.docs.shape, cpu.scores.shape}
    if len(shapes) > 1:
        raise ValueError(f"results {gpu.docs.shape} on GPUs and {cpu.docs.shape} on the CPU")
    one, other = (run.scores.astype(np.float32).view(np.uint32) for run in (gpu, cpu))
    rows, ranks = np.nonzero((gpu.docs != cpu.docs) | (one != other))
    if not len(rows):
        return 0, None
    at = int(rows[0]), int(ranks[0])
    first = FirstDifference(
        *at,
        int(gpu.docs[at]), float(gpu.scores[at]), f"{one[at]:08x}",
        int(cpu.docs[at]), float(cpu.scores[at]), f"{other[at]:08x}",
    )  # fmt: skip
    return len(rows), first
