"""A model's folder as one SHA-256: of everything that can decide a vector, and of nothing else."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from harness.disk import file_sha256

WEIGHTS = ("*.safetensors",)
SETTINGS = ("*.json", "*.txt", "*.model", "*.jinja", "artifact.metadata")
CODE = ("*.py",)
WORD_VECTORS = ("*.npy", "*.parquet")
UNREAD = ("onnx", "openvino")  # folders with the same weights for other runtimes


def content_sha256(sums: Mapping[str, str]) -> str:
    """SHA-256 over names and sums, in their order."""
    lines = (f"{name}\0{sha256}\n" for name, sha256 in sums.items())
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def file_sums(folder: Path) -> dict[str, str]:
    """SHA-256 by name of every file that can decide a vector, in the order of their paths."""
    found = {path.relative_to(folder): path for path in sorted(folder.rglob("*"))}
    return {
        name.as_posix(): _sum(path)
        for name, path in found.items()
        if any(name.match(pattern) for pattern in (*WEIGHTS, *SETTINGS, *CODE, *WORD_VECTORS))
        and path.is_file()
        and name.parts[0] not in UNREAD
    }


def _sum(path: Path) -> str:
    """SHA-256 of a file, read once as long as nobody touches it."""
    seen = path.stat()
    return _sum_as_seen(path, seen.st_ino, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns)


@lru_cache(maxsize=4096)
def _sum_as_seen(path: Path, *seen: int) -> str:
    """The same. seen: number, size and times of the file, as they were when it was read."""
    return file_sha256(path)
