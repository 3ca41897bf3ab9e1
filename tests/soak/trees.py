"""What lies in a folder, as values that are equal where results are: without times and the like."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

HIDDEN = (".part", ".removed", ".before")
KEPT = (".part", "tiny.lock")  # what pulls of one model are kept apart by
MEASURED = {"phases", "environment", "created", "latency", "reused", "usage", "seal"}  # of a record
BUILT = {"build", "reused"}  # of a study: what a run that goes on finds built


def read(folder: Path) -> dict[str, Any]:
    """The value of each file by its place; vectors of the store by theirs, whatever the shard."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if not path.is_file() or is_leftover(name):
            continue
        if path.suffix == ".npy":
            found.setdefault(f"{path.parent.relative_to(folder)}/*", set()).update(_rows(path))
        else:
            found[name] = _value(path)
    return found


def leftovers(folder: Path) -> list[str]:
    """Unfinished files and folders."""
    return [
        name
        for path in sorted(folder.rglob("*"))
        if is_leftover(name := str(path.relative_to(folder))) and path.name not in KEPT
    ]


def is_leftover(name: str) -> bool:
    """Whether a name is that of something unfinished, or lies within such a folder."""
    return any(part.startswith(".") and part.endswith(HIDDEN) for part in name.split("/"))


def _rows(path: Path) -> set[bytes]:
    """Rows of a whole shard."""
    assert hashlib.sha256(path.read_bytes()).hexdigest()[:32] == path.stem, f"{path} is half a file"
    return {row.tobytes() for row in np.load(path)}


def _value(path: Path) -> Any:
    data = path.read_bytes()
    if path.name == "key":  # the user's own, which is random
        return len(data)
    if path.suffix == ".json":
        return _without_times(json.loads(data))
    if path.with_name("numbers.json").exists():  # of a study: these say what its numbers do
        assert data.rstrip(), f"{path} is empty"
        return "there"
    return hashlib.sha256(data).hexdigest()


def _without_times(value: Any) -> Any:
    if isinstance(value, list):
        return list(map(_without_times, value))
    if not isinstance(value, dict):
        return value
    if {"columns", "rows"} <= set(value):
        kept = [at for at, one in enumerate(value["columns"]) if one["name"] not in BUILT]
        return [[row[at] for at in kept] for row in value["rows"]]
    return {key: _without_times(one) for key, one in value.items()
            if key not in MEASURED and not key.endswith("_encoded_now")}  # fmt: skip
