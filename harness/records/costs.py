"""What a system costs, each with its title, unit and direction: the one list of costs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from harness.pipeline import phases
from harness.records import Record


@dataclass(frozen=True)
class Cost:
    """One cost of a record.

    Attributes:
        key: Its name in data.
        title: Its name for people.
        unit: What it is counted in.
        better: Whether less of it is better, or more.
        of: The cost of a record; None where the record does not tell.
        digits: Decimals that are shown.
        over: How several tasks become one: the median, or the largest.
        ranked: Whether systems are set side by side by it; the peak memory of a process also holds
            what the process did before.
    """

    key: str
    title: str
    unit: str
    better: Literal["less", "more"]
    of: Callable[[Record], float | None]
    digits: int = 0
    over: Literal["median", "max"] = "median"
    ranked: bool = True


def dim(record: Record) -> float | None:
    """Return the dimensions of dense vectors, one vector a text."""
    return record.system.dim if record.system.representation == "dense" else None


def index_bytes(record: Record) -> float | None:
    """Return the memory of what is searched; of dense vectors it follows from their number."""
    if record.index is None:
        return None
    known, documents, numbers = record.index.bytes, record.counts.get("documents"), dim(record)
    if known is None and documents and numbers:
        return 4 * documents * numbers
    return known


def document_bytes(record: Record) -> float | None:
    """Return the memory of what is searched, a document."""
    size, documents = index_bytes(record), record.counts.get("documents")
    return size / documents if size and documents else None


COSTS = (
    Cost("texts_per_s", "texts encoded per second", "texts/s", "more",
         lambda record: phases.texts_per_s(record.phases)),
    Cost("dim", "dimension", "", "less", dim),
    Cost("index_bytes", "bytes of the largest index", "bytes", "less", index_bytes, over="max"),
    Cost("document_bytes", "bytes a document in the index", "bytes", "less", document_bytes),
    Cost("search_ms", "milliseconds of search a query, in a batch", "ms", "less",
         lambda record: phases.search_ms(record.phases), digits=3),
    Cost("latency_ms", "milliseconds of one query alone, encoded and searched", "ms", "less",
         lambda record: record.latency.p50_ms if record.latency else None, digits=3),
    Cost("parameters", "parameters", "", "less", lambda record: record.system.parameters),
    Cost("peak_mb", "peak memory", "MB", "less",
         lambda record: max((phase.peak_mb for phase in record.phases), default=None),
         ranked=False),
)  # fmt: skip
BY_KEY = {cost.key: cost for cost in COSTS}
RANKED = tuple(cost for cost in COSTS if cost.ranked)


def of_record(record: Record) -> dict[str, float | None]:
    """Return every cost of a record by its key, None where the record does not tell."""
    return {cost.key: cost.of(record) for cost in COSTS}
