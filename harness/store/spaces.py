"""What a store holds, as it is listed and removed: spaces of vectors, and structures of indexes."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import disk
from harness.store import shards
from harness.errors import StoreError, reason

DESCRIBED = ("embeddings/[!.]*/space.json", "indexes/[!.]*/structure.json")


@dataclass(frozen=True)
class Space:
    """One encoder's vectors in one role with one prompt, or a structure over some vectors."""

    path: Path
    description: dict[str, Any]
    texts: int
    bytes: int
    used: float  # seconds since the epoch


def read_all(root: Path) -> list[Space]:
    """All spaces and structures of a store, the least recently used first."""
    found = [_read_space(path.parent) for path in root.glob(DESCRIBED[0])]
    found += [_read_structure(path) for path in root.glob(DESCRIBED[1])]
    return sorted(found, key=lambda space: space.used)


def prune(root: Path, limit: int, keep: float) -> list[Space]:
    """Remove what was used least recently, until `limit` bytes are left; returns what went.

    keep: a time; what was used since then stays. Leftovers of killed runs and damaged shards go.
    """
    _clear(root)
    spaces = read_all(root)
    total = sum(space.bytes for space in spaces)
    removed = []
    for space in spaces:
        if total <= limit or space.used >= keep:
            break
        with suppress(OSError):  # a read-only store, or another process was faster
            disk.remove_folder(space.path)
            total -= space.bytes
            removed.append(space)
    return removed


def _clear(root: Path) -> None:
    """Remove what killed runs left, once it is an hour old, and what a prune began to remove."""
    for name in ("embeddings", "indexes"):
        disk.sweep(root / name, again=True)
    left = ("embeddings/*/.*", "embeddings/*/*.damaged", "indexes/*/.*", "indexes/*.damaged")
    for path in [path for pattern in left for path in root.glob(pattern)]:
        if disk.is_stale(path):
            disk.discard(path)
    described = {path.parent for pattern in DESCRIBED for path in root.glob(pattern)}
    for path in {*root.glob("embeddings/*"), *root.glob("indexes/*")} - described:
        if path.is_dir() and not path.name.startswith(".") and disk.is_stale(path):
            with suppress(OSError):  # what nothing describes is never listed
                disk.remove_folder(path)


def _read_space(path: Path) -> Space:
    try:
        described = path / "space.json"
        description = json.loads(described.read_text("utf-8"))
        texts = sum(map(shards.count, path.glob("*.npy")))
        size = sum(file.stat().st_size for file in path.iterdir())
        return Space(path, description, texts, size, described.stat().st_mtime)
    except (OSError, ValueError) as error:
        raise StoreError(f"{path}: cannot be read: {reason(error)}; delete that folder") from error


def _read_structure(path: Path) -> Space:
    """What harness.indexes.saved keeps: {"vectors": {"shape"}, "structure": {"kind"}, "bytes"}.

    One that cannot be read is no loss: it is listed as such, and built anew when it is wanted.
    """
    folder, used = path.parent, path.stat().st_mtime
    try:
        about = json.loads(path.read_text("utf-8"))
        label, n = about["structure"]["kind"], about["vectors"]["shape"][0]
    except (ValueError, LookupError, TypeError):
        label, n = "unreadable", 0
    size = sum(file.stat().st_size for file in folder.iterdir())
    return Space(folder, {"label": label, "role": "index", "prompt": ""}, n, size, used)
