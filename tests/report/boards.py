"""Boards for the page's tests, whose numbers are known."""

from __future__ import annotations

from pathlib import Path

from harness.board import Board, of_entries
from harness.board.entries import BoardEntry
from harness.records.costs import BY_KEY

HOSTILE = "</script><script>document.title='owned'</script><img src=x onerror=alert(1)>"


def entry(system: str, task: str, score: float | None, **changes: object) -> BoardEntry:
    """An entry with an interval of ±0.05; the dimension is the model's only known cost."""
    known = {
        "system": system,
        "task": task,
        "family": "words",
        "kind": "retrieval",
        "measure": "nDCG@10",
        "score": score,
        "low": None if score is None else score - 0.05,
        "high": None if score is None else score + 0.05,
        "path": None,
        "cost": {**dict.fromkeys(BY_KEY), "dim": float(len(system))},
        "conditions": "c",
    }
    return BoardEntry(**{**known, **changes})  # type: ignore[arg-type]


def small(folder: Path) -> Board:
    """Three models on three tasks of two families; gamma lacks one, and a name is hostile.

    On `birds`, alpha and beta have scores of twelve queries: q0 1 against 0, q11 0 against 1, the
    ten between them (12 - i) / 12 against 0.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    paths = {}
    for name in ("alpha", "beta"):
        values = (
            [1.0 if i == 0 else (12 - i) / 12 for i in range(11)] if name == "alpha" else 11 * [0.0]
        )
        values.append(0.0 if name == "alpha" else 1.0)
        paths[name] = folder / f"{name}.json"
        table = pa.table({"query_id": [f"q{i}" for i in range(12)], "nDCG@10": values})
        pq.write_table(table, paths[name].with_suffix(".parquet"))
    size = {**dict.fromkeys(BY_KEY), "dim": 384.0, "parameters": 2e8}
    return of_entries(
        [
            entry("alpha", "birds", 0.9, path=paths["alpha"]),
            entry("beta", "birds", 0.6, path=paths["beta"], cost=size),
            entry("gamma", "birds", 0.7),
            entry("alpha", "trees", 0.5),
            entry("beta", "trees", 0.8, cost=size),
            entry("alpha", HOSTILE, 0.25, family="odd"),
            entry("beta", HOSTILE, 0.35, family="odd", cost=size),
            entry("gamma", HOSTILE, 0.99, family="odd"),
        ],
        refused=[(Path("bad.json"), "not a record <b>")],
    )
