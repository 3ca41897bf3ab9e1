"""What a system costs, measured again and again so that a gate can tell a change from noise.

Each run is a process of its own, so that no run knows of another, and memory is that of the system
alone. Times are the least of many rounds, on one thread: whatever else a machine does makes work
longer, never shorter. Beside each run the machine itself is measured.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


@dataclass(frozen=True)
class CostRun:
    """What one process measured.

    Attributes:
        product_s: Seconds of a fixed product of matrices: how fast this machine computes.
        copy_s: Seconds of copying fixed memory: how fast it moves data.
        loop_s: Seconds of a fixed loop of Python: how fast it interprets.
        start_s: Cold: seconds from a process without the model to the first texts encoded; None
            where no texts are encoded, or each is paid for.
        encode_s: Warm: seconds a text, encoded again; None likewise.
        query_s: Warm: seconds of a query alone, encoded and searched; None where none can be asked.
        cold_mb: Peak resident memory of loading the model and encoding the first texts, MB.
        warm_mb: Of searching with vectors that were there; None where nothing is searched.
    """

    product_s: Positive
    copy_s: Positive
    loop_s: Positive
    start_s: Positive | None = None
    encode_s: Positive | None = None
    query_s: Positive | None = None
    cold_mb: Positive | None = None
    warm_mb: Positive | None = None


@dataclass(frozen=True)
class MeasuredCosts:
    """All runs of a system on a task.

    Attributes:
        runs: In the order in which they were made.
        why: What kept costs from being measured, where there are no runs.
    """

    runs: tuple[CostRun, ...] = ()
    why: str = ""
