"""Records made by hand, for what compares them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from harness import records
from harness.environment import Environment
from harness.pipeline.phases import Phase
from harness.records import IndexRecord, Record, SystemRecord, TaskRecord
from harness.records.measured_costs import CostRun, MeasuredCosts
from harness.stats import Estimate


def costed(
    encode: float, query: float = 0.002, mb: float = 100.0, *, runs: int = 3, machine: float = 1.0
) -> MeasuredCosts:
    """Runs that are all alike. machine: how many times as long it takes for everything."""
    one = CostRun(
        *(machine * seconds for seconds in (0.004, 0.001, 0.002)),
        start_s=machine, encode_s=machine * encode, query_s=machine * query,
        cold_mb=mb, warm_mb=2 * mb,
    )  # fmt: skip
    return MeasuredCosts((one,) * runs)


PHASES = [
    Phase("encode", "", "documents", 2.0, 4.0, 500.0, 900, "texts"),
    Phase("encode", "", "queries", 0.5, 1.0, 400.0, 100, "texts"),
    Phase("search", "", "", 0.2, 0.4, 300.0, 100, "queries"),
]


def record(
    name: str = "t",
    scores: Mapping[str, float | None] | None = None,
    *,
    system: str = "m",
    **changes: Any,
) -> Record:
    """A record of one system on one task; scores: means by measure, the main one first."""
    means = scores or {"nDCG@10": 0.5}
    parts: dict[str, Any] = {
        "id": "0" * 12,
        "created": "2026-01-01T00:00:00.000000Z",
        "system": SystemRecord(
            spec=system, full=system, fingerprint={}, representation="dense", similarity="cosine",
            dim=384, prompts={"query": ""},
        ),
        "task": TaskRecord(
            spec=name, source=name, kind="retrieval", family="f",
            fingerprint={"corpus": "aa" if name == "t" else f"aa of {name}"},
            exclude_self=False, license="", reference="",
        ),
        "depth": 10,
        "index": IndexRecord(spec="exact", full="exact", exact=True),
        "main_measure": next(iter(means)),
        "scores": {
            measure: Estimate(mean, mean and mean - 0.02, mean and mean + 0.02)
            for measure, mean in means.items()
        },
        "counts": {},
        "warnings": [],
        "phases": PHASES,
        "bootstrap": {},
        "environment": Environment(processor="p", cpus=2),
    }  # fmt: skip
    return Record(**{**parts, **changes})


def saved(
    folder: Path,
    columns: Mapping[str, Sequence[float]],
    name: str = "t",
    *,
    system: str = "m",
    **changes: Any,
) -> Path:
    """Write the record of what each query scored: its means are those of the columns."""
    values = {measure: np.asarray(v, np.float64) for measure, v in columns.items()}
    made = record(
        name, {measure: float(v.mean()) for measure, v in values.items()}, system=system, **changes
    )
    ids = [f"q{i}" for i in range(len(next(iter(values.values()))))]
    return records.save(made, {"query_id": ids, **values}, folder)
