"""What tests of the store share: how it is asked, looked at, and damaged."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.sparse import csr_matrix

from harness.data import Role
from harness.encoders import Encoded
from harness.store import Embedded, Store
from harness.vectors import MultiVector, Representation, Sparse
from tests.fakes import Counting

TEXTS = ["one", "two words", "three words here", "", "one"]


def fetch(
    store: Store, encoder: Counting, texts: Sequence[str], role: Role = "document"
) -> Embedded:
    return store.plan(encoder, texts, role).fetch()


def shards(store: Store) -> list[Path]:
    return sorted(store.root.glob("embeddings/*/*.npy"))


def direct(encoder: Counting, texts: Sequence[str], role: Role = "document") -> np.ndarray:
    return np.stack([encoder.vector(text, role) for text in texts])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)


def truncate(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def refuse(*_: object, **__: object) -> None:
    raise PermissionError(errno.EACCES, "Permission denied")


@dataclass(frozen=True)
class Ragged(Counting):
    """As many vectors as a text has letters, or as many terms; `broken` goes wrong in one way."""

    kind: Representation = "multi-vector"
    broken: str = ""

    @property
    def representation(self) -> Representation:
        return self.kind

    def rows(self, text: str) -> list[np.ndarray]:
        """What a text becomes: token vectors, or one row of weights."""
        if self.kind == "sparse":
            weights = np.zeros(self.dim, np.float32)
            weights[[ord(letter) % self.dim for letter in text]] = len(text)
            return [weights]
        return [self.vector(f"{text}{i}", "document") for i in range(len(text))]

    def encode(self, texts: Sequence[str], role: Role) -> Encoded:
        self.seen.extend(texts)
        dim = len(self.seen) if self.broken == "growing" else self.dim
        kept = texts[1:] if self.broken == "too few" else texts
        rows = [self.rows(text) for text in kept]
        values = np.array([v for text in rows for v in text], np.float32).reshape(-1, self.dim)
        if self.broken == "nan":
            values[-1, -1] = np.nan
        values = np.resize(values, (len(values), dim))
        tokens = np.array([len(text) for text in texts], np.int32)
        if self.kind == "sparse":
            return Encoded(Sparse(csr_matrix(values)), tokens, tokens > 5)
        offsets = np.cumsum([0, *map(len, rows)])
        return Encoded(MultiVector(values, offsets), tokens, tokens > 5)


@dataclass(frozen=True)
class Made(Counting):
    """Counting, made with a version of a library."""

    version: str = "1.0"

    def made_with(self) -> dict[str, str]:
        return {"device": "cpu", "counting": self.version}


def age(store: Store, seconds: float = 60) -> Store:
    """Let what is kept be old; returns the store in which it plays no part."""
    for path in shards(store):
        os.utime(path, (time.time() - seconds,) * 2)
    return Store(store.root, shard=store.shard, since=time.time() - seconds / 2)
