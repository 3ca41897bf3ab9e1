"""One evaluation, with all that is needed to believe and repeat it: JSON and Parquet on disk.

FOLDER/ENCODER/TASK-INDEX-STAMP-ID.json       the record
                                 .parquet     one row a query (or pair), one column a measure
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from harness import disk
from harness.errors import HarnessError, InputError, reason
from harness.phases import Phase

if TYPE_CHECKING:
    import pyarrow as pa

SCHEMA = 1
PACKAGES = (
    "retrieval-harness",
    "bm25s",
    "faiss-cpu",
    "faiss-gpu",
    "numpy",
    "PyStemmer",
    "scipy",
    "sentence-transformers",
    "tokenizers",
    "torch",
    "transformers",
)


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Score(_Frozen):
    """A measure's mean over scored queries (or a correlation) with its bootstrap interval.

    None where it is not defined: a correlation with something constant.
    """

    mean: float | None
    low: float | None
    high: float | None


class System(_Frozen):
    """What was measured. spec: as asked; full: short names replaced, defaults filled in."""

    spec: str
    full: str
    fingerprint: dict[str, Any]
    makes: str
    similarity: str
    dimension: int | None
    prompts: dict[str, str]


class Asked(_Frozen):
    """The task. fingerprint: SHA-256 of the content of its parts."""

    spec: str
    source: str
    kind: str
    family: str
    fingerprint: dict[str, str]
    exclude_self: bool
    licence: str
    reference: str


class Rewriting(_Frozen):
    """How queries were rewritten before they were searched with. details: what decides it."""

    spec: str
    full: str
    details: dict[str, Any]


class Search(_Frozen):
    """How documents were found. depth: results kept for each query."""

    spec: str
    full: str
    depth: int
    details: dict[str, Any]


class Record(_Frozen):
    """One evaluation of one system on one task. spent: at endpoints, by name (tokens, cost)."""

    schema_version: int = SCHEMA
    id: str
    created: str
    system: System
    task: Asked
    search: Search | None
    rewriting: Rewriting | None = None
    main_measure: str
    scores: dict[str, Score]
    counts: dict[str, int | None]
    spent: dict[str, float] = {}
    warnings: list[str]
    phases: list[Phase]
    bootstrap: dict[str, float]
    environment: dict[str, Any]

    @property
    def name(self) -> str:
        """What was chosen: the model, how queries were rewritten, an index that is not exact."""
        rewriting = f" + {self.rewriting.spec}" if self.rewriting else ""
        index = self.search.spec if self.search else "exact"
        return f"{self.system.spec}{rewriting}" + (
            "" if index in ("exact", "given") else f" @ {index}"
        )

    @property
    def main(self) -> Score:
        """The score that the task is ranked by."""
        return self.scores[self.main_measure]


def identity(
    system: System,
    task: Asked,
    search: Search | None,
    rewriting: Rewriting | None,
    measures: Sequence[str],
) -> str:
    """Equal for two evaluations that must give the same scores."""
    parts = [
        {"fingerprint": system.fingerprint, "prompts": system.prompts},
        {"fingerprint": task.fingerprint, "exclude_self": task.exclude_self},
        search and {"full": search.full, "depth": search.depth},
        list(measures),
        *([{"full": rewriting.full, "details": rewriting.details}] if rewriting else []),
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]


def stamp() -> str:
    """Now, in UTC, to the microsecond."""
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def save(record: Record, per_query: Mapping[str, Any], folder: Path) -> Path:
    """Write a record and its per-query values; returns the path of the JSON file.

    The Parquet file is written first: a record that exists has its values. Raises HarnessError
    where the folder cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    parts = [
        record.task.spec,
        record.search.spec if record.search else "",
        re.sub(r"\W", "", record.created),
        record.id,
    ]
    name = "-".join(disk.slug(part) for part in parts if part)
    path = folder / disk.slug(record.system.spec) / f"{name}.json"
    table, buffer = pa.table(dict(per_query)), BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        disk.write_whole(path.with_suffix(".parquet"), buffer.getbuffer())
        disk.write_whole(path, (record.model_dump_json(indent=2) + "\n").encode())
    except OSError as error:
        raise HarnessError(
            f"{path}: cannot be written: {error.strerror or reason(error)}; "
            "choose another folder with --out DIR"
        ) from error
    return path


def load(path: Path) -> Record:
    """Read a record. Raises InputError for a file that is not one, saying what is wrong."""
    try:
        data = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: not a readable record: {reason(error)}") from None
    found = data.get("schema_version") if isinstance(data, dict) else None
    if found != SCHEMA:
        raise InputError(f"{path}: schema_version is {found!r}: expected {SCHEMA}")
    try:
        return Record.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise InputError(f"{path}: {where}: {first['msg']}: not a record of this version") from None


def load_all(paths: Sequence[Path]) -> list[tuple[Path, Record]]:
    """Read records from files and folders, in order of path. Raises InputError."""
    found = []
    for path in paths:
        if not path.exists():
            raise InputError(f"{path}: no such record or folder")
        files = sorted(path.rglob("*.json")) if path.is_dir() else [path]
        found += [(file, load(file)) for file in files]
    if not found:
        raise InputError(f"{', '.join(map(str, paths))}: no records: expected *.json files")
    return found


def per_query(path: Path) -> pa.Table:
    """The values of each query that belong to a record's file. Raises InputError."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_table(path.with_suffix(".parquet"))
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path.with_suffix('.parquet')}: not readable: {reason(error)}") from None


def score(mean: float, low: float, high: float) -> Score:
    """A Score, None for NaN."""
    values = (None if np.isnan(value) else float(value) for value in (mean, low, high))
    return Score(**dict(zip(("mean", "low", "high"), values, strict=True)))


def environment() -> dict[str, Any]:
    """Versions, commit, machine and threads of this process."""
    torch = sys.modules.get("torch")
    gpus = (
        [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        if torch and torch.cuda.is_available()
        else []
    )
    return {
        **_machine(),
        "gpus": gpus,
        "torch_threads": torch.get_num_threads() if torch else None,
        "thread_variables": {
            name: os.environ[name]
            for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
            if name in os.environ
        },
    }


@cache
def _machine() -> dict[str, Any]:
    return {
        "python": platform.python_version(),
        "packages": {name: found for name in PACKAGES if (found := _version(name))},
        **_commit(),
        "platform": platform.platform(),
        "processor": _processor(),
        "cpus": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _commit() -> dict[str, Any]:
    """The checkout that the harness runs from; empty when it is installed."""
    root = Path(__file__).parent.parent
    if not (root / ".git").exists():
        return {"commit": None, "dirty": None}

    def git(*words: str) -> str:
        asked = subprocess.run(
            ["git", "-C", str(root), *words], capture_output=True, text=True, timeout=10, check=True
        )
        return asked.stdout.strip()

    try:
        return {
            "commit": git("rev-parse", "HEAD"),
            "dirty": bool(git("status", "--porcelain", "--untracked-files=no")),
        }
    except (OSError, subprocess.SubprocessError):
        return {"commit": None, "dirty": None}


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next(line.split(":", 1)[1].strip() for line in file if "model name" in line)
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
