"""Embeddings on disk, found by content: a text is encoded once per encoder, role and prompt.

    ROOT/embeddings/SPACE/space.json    what the vectors are: encoder, role, prompt
                         /SHARD.npy     rows (key, tokens, truncated, vector); named by its SHA-256

A shard is written to a temporary name, flushed and renamed, so that what has a shard's name is
whole; its name is its checksum, tested whenever it is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness import disk
from harness.arguments import read_fields, read_path
from harness.data import Role
from harness.disk.lease import hold
from harness.encoders import TextEncoder
from harness.progress import Progress, silent
from harness.store import passing, shards, spaces
from harness.store.held import Held, look
from harness.store.plan import Embedded, Plan, lacking
from harness.store.spaces import Space

__all__ = ["DEFAULT_LIMIT", "Embedded", "Plan", "Space", "Store", "read_store"]

DEFAULT_LIMIT = 50 * 10**9


@dataclass(frozen=True)
class Store:
    """A folder of embeddings.

    Attributes:
        root: The folder.
        shard: Texts in a shard, at most.
        limit: Bytes it may hold.
        since: A time in seconds since the epoch: what was kept before plays no part, and is
            replaced by what is encoded anew.
    """

    root: Path
    shard: int = 1024
    limit: int = DEFAULT_LIMIT
    since: float = 0.0

    def __post_init__(self) -> None:
        read_fields(self)

    def plan(self, encoder: TextEncoder, texts: Sequence[str], role: Role, label: str = "") -> Plan:
        """Look up which texts must be encoded; label: what people call the encoder.

        Raises StoreError where shards cannot be read.
        """
        identity = {
            "encoder": dict(encoder.fingerprint()),
            "role": role,
            "prompt": encoder.prompt(role),
        }
        if kind := encoder.device_kind:
            identity["device"] = kind
        space = self.root / "embeddings" / disk.json_sha256(identity)[:32]
        keys = shards.keys_of(texts)
        unique, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
        lease = hold(space)
        held = look(passing.paths(space))
        old = self._find_stale(held, unique) if self.since else {}
        held = held.without(*old) if old else held
        return Plan(
            space,
            {"label": label, **identity},
            encoder,
            role,
            self.shard,
            lease,
            held,
            texts,
            unique,
            first,
            inverse,
            lacking(held, unique, first, texts),
            old,
        )

    def _find_stale(self, held: Held, unique: NDArray[np.bytes_]) -> dict[Path, tuple[int, int]]:
        """Shards that any of the keys is in and that play no part, with their stamps."""
        stamps = {path: shards.stamp(path) for path in held.touching(unique)}
        return {path: one for path, one in stamps.items() if one and one[0] < self.since * 1e9}

    def spaces(self) -> list[Space]:
        """All spaces and the structures of indexes, the least recently used first."""
        return spaces.read_all(self.root)

    def verify(self, *, progress: Progress = silent) -> tuple[int, list[Path]]:
        """Test every checksum; returns how many shards are whole and where the others lie.

        A damaged shard is set aside under another name, and its texts are encoded anew when they
        are next wanted.
        """
        paths = [
            path
            for space in spaces.folders(self.root, "embeddings")
            for path in shards.paths(space)
        ]
        whole, damaged = 0, list[Path]()
        for done, path in enumerate(paths, 1):
            with suppress(FileNotFoundError):  # it went since the folder was listed
                if shards.is_whole(path):
                    whole += 1
                else:
                    damaged.append(shards.set_aside(path))
            progress("verify", done, len(paths), "shards")
        return whole, damaged

    def prune(self, limit: int | None = None, *, keep: float = float("inf")) -> list[Space]:
        """Remove spaces, the least recently used first, until `limit` bytes are left.

        keep: a time; spaces used since then stay, and so do those in use. Leftovers of killed runs
        and damaged shards go.
        """
        return spaces.prune(self.root, self.limit if limit is None else limit, keep)


def read_store(given: object) -> Store:
    """A store that is given as such, or as its folder. Raises InputError for anything else."""
    return given if isinstance(given, Store) else Store(read_path("store", given))
