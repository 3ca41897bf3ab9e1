"""Embeddings on disk, found by content: a text is encoded once per encoder, role and prompt.

    ROOT/embeddings/SPACE/space.json    what the vectors are: encoder, role, prompt
                         /SHARD.npy     rows (key, tokens, truncated, vector); named by its SHA-256

A shard is written to a temporary name, flushed and renamed, so that what has a shard's name is
whole; its name is its checksum, tested whenever it is read.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness.encoders import TextEncoder
from harness.store import shards
from harness.store.held import look
from harness.store.plan import Embedded, Plan, lacking
from harness.types import Progress, Role, StoreError, reason, silent

__all__ = ["DEFAULT_LIMIT", "Embedded", "Plan", "Space", "Store"]

STALE_S = 3600  # a temporary file of this age belongs to no running process
DEFAULT_LIMIT = 50 * 10**9


@dataclass(frozen=True)
class Space:
    """One encoder's vectors in one role with one prompt, or a structure over some vectors."""

    path: Path
    description: dict[str, Any]
    texts: int
    bytes: int
    used: float  # seconds since the epoch


@dataclass(frozen=True)
class Store:
    """A folder of embeddings. shard: texts in a shard, at most; limit: bytes it may hold."""

    root: Path
    shard: int = 1024
    limit: int = DEFAULT_LIMIT

    def plan(self, encoder: TextEncoder, texts: Sequence[str], role: Role, label: str = "") -> Plan:
        """Look up which texts must be encoded; label: what people call the encoder.

        Raises StoreError where shards cannot be read.
        """
        identity = {
            "encoder": dict(encoder.fingerprint()),
            "role": role,
            "prompt": encoder.prompt(role),
        }
        space = self.root / "embeddings" / _digest(identity)
        keys = shards.keys_of(texts)
        unique, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
        held = look(space)
        return Plan(
            space,
            {"label": label, **identity},
            encoder,
            role,
            self.shard,
            held,
            texts,
            unique,
            first,
            inverse,
            lacking(held, unique, first, texts),
        )

    def spaces(self) -> list[Space]:
        """All spaces and the structures of indexes, the least recently used first."""
        found = [_read_space(path.parent) for path in self.root.glob("embeddings/*/space.json")]
        found += [_read_structure(path) for path in self.root.glob("indexes/*/structure.json")]
        return sorted(found, key=lambda space: space.used)

    def verify(self, *, progress: Progress = silent) -> tuple[int, list[Path]]:
        """Test every checksum; returns how many shards are whole and where the others lie.

        A damaged shard is set aside under another name, and its texts are encoded anew when they
        are next wanted.
        """
        paths = sorted(self.root.glob("embeddings/*/*.npy"))
        damaged = []
        for done, path in enumerate(paths, 1):
            if not shards.is_whole(path):
                damaged.append(shards.set_aside(path))
            progress("verify", done, len(paths), "shards")
        return len(paths) - len(damaged), damaged

    def prune(self, limit: int | None = None, *, keep: float = float("inf")) -> list[Space]:
        """Remove spaces, the least recently used first, until `limit` bytes are left.

        keep: a time; spaces used since then stay. Leftovers of killed runs and damaged shards go.
        """
        left = ("embeddings/*/.*", "embeddings/*/*.damaged", "indexes/*/.*", "indexes/*.damaged")
        for path in [path for pattern in left for path in self.root.glob(pattern)]:
            with suppress(OSError):  # a read-only store, or another process was faster
                if time.time() - path.stat().st_mtime > STALE_S:
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
        spaces = self.spaces()
        total = sum(space.bytes for space in spaces)
        removed = []
        for space in spaces:
            if total <= (self.limit if limit is None else limit) or space.used >= keep:
                break
            shutil.rmtree(space.path, ignore_errors=True)
            if not space.path.exists():
                total -= space.bytes
                removed.append(space)
        return removed


def _digest(description: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()[:32]


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
