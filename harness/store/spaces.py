"""What a store holds, as it is listed and removed: spaces of vectors, and structures of indexes."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from operator import index
from pathlib import Path
from typing import Any

import harness.store.shards as shards
from harness import disk
from harness.disk import foreign
from harness.disk.lease import alone
from harness.errors import InputError, StoreError, reason

DESCRIBED = {"embeddings": "space.json", "indexes": "structure.json"}
SAID = {"label", "role", "prompt"}  # of a space, to people


@dataclass(frozen=True)
class Space:
    """One encoder's vectors in one role with one prompt, or a structure over some vectors."""

    path: Path
    description: dict[str, Any]
    texts: int
    bytes: int
    used: float  # seconds since the epoch


def folders(root: Path, kind: str) -> list[Path]:
    """Folders of spaces or structures, without what is unfinished or set aside."""
    return [
        path
        for path in disk.entries(root / kind)
        if path.is_dir() and not path.name.startswith(".") and path.suffix != ".damaged"
    ]


def read_all(root: Path, *, strict: bool = True) -> list[Space]:
    """All spaces and structures of a store, the least recently used first.

    Raises StoreError for a space whose description cannot be read, where that is `strict`.
    """
    found = list[Space]()
    for kind, name in DESCRIBED.items():
        for folder in folders(root, kind):
            with suppress(FileNotFoundError):  # not described yet, or removed meanwhile
                used = (folder / name).stat().st_mtime
                found.append(
                    _read_space(folder, used, strict=strict)
                    if kind == "embeddings"
                    else _read_structure(folder, used)
                )
    return sorted(found, key=lambda space: space.used)


def prune(root: Path, limit: int, keep: float) -> list[Space]:
    """Remove what was used least recently, until `limit` bytes are left; returns what went.

    keep: a time; what was used since then stays, and so does what is in use. Leftovers of killed
    runs and damaged shards go.
    """
    _clear(root)
    spaces = read_all(root, strict=False)
    total = sum(space.bytes for space in spaces)
    removed = []
    for space in spaces:
        if total <= limit or space.used >= keep:
            break
        if _remove(space.path):
            total -= space.bytes
            removed.append(space)
    return removed


def _remove(folder: Path) -> bool:
    """Remove what nobody uses; whether it went."""
    with suppress(OSError), alone(folder) as free:  # a read-only store, or another was faster
        if free:
            disk.remove_folder(folder)
            return True
    return False


def _clear(root: Path) -> None:
    """Remove what killed runs left, once it is an hour old, and what a prune began to remove."""
    for kind, name in DESCRIBED.items():
        disk.sweep(root / kind, again=True)
        for folder in folders(root, kind):
            if not (folder / name).exists() and disk.is_stale(folder):
                _remove(folder)  # what nothing describes is never listed
            for path in disk.entries(folder):
                if path.name.startswith(".") or path.suffix == ".damaged":
                    _discard(path)
        for path in disk.entries(root / kind):
            if path.suffix == ".damaged":
                _discard(path)


def _discard(path: Path) -> None:
    if disk.is_stale(path):
        disk.discard(path)


def _read_space(folder: Path, used: float, *, strict: bool) -> Space:
    """One encoder's vectors. Raises StoreError where that is strict, and FileNotFoundError."""
    try:
        description = foreign.read_json(folder / "space.json")
        said = description if isinstance(description, dict) else {}
        if not all(isinstance(said.get(name), str) for name in SAID):
            raise InputError(f"{folder}/space.json: expected {', '.join(sorted(SAID))} as text")
        texts = sum(map(shards.count, shards.paths(folder)))
    except (OSError, InputError) as error:
        went = error if isinstance(error, OSError) else error.__cause__
        if isinstance(went, FileNotFoundError):
            raise went from None
        if strict:
            raise StoreError(
                f"{folder}: cannot be read: {reason(error)}; delete that folder"
            ) from error
        description, texts = {"label": "unreadable"}, 0
    return Space(folder, description, texts, _size(folder), used)


def _read_structure(folder: Path, used: float) -> Space:
    """What harness.indexes.saved keeps: {"vectors": {"shape"}, "structure": {"kind"}, "bytes"}.

    One that cannot be read is no loss: it is listed as such, and built anew when it is wanted.
    """
    try:
        about = foreign.read_json(folder / "structure.json")
        label, n = about["structure"]["kind"], index(about["vectors"]["shape"][0])
        if not isinstance(label, str):
            raise TypeError("a kind that is no text")
    except (InputError, ValueError, LookupError, TypeError):
        label, n = "unreadable", 0
    description = {"label": label, "role": "index", "prompt": ""}
    return Space(folder, description, n, _size(folder), used)


def _size(folder: Path) -> int:
    """Bytes of the files in a folder."""
    size = 0
    for path in disk.entries(folder):
        with suppress(FileNotFoundError):  # a temporary name that has become another
            size += path.stat().st_size
    return size
