"""Files that are whole or absent, and arrays that may be larger than memory."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from pathlib import Path

import numpy as np

from harness.arrays import Float32


def cache_root() -> Path:
    """$HARNESS_CACHE, else retrieval-harness in the user's cache folder."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("HARNESS_CACHE") or Path(cache) / "retrieval-harness").expanduser()


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's content. Raises OSError."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_whole(path: Path, data: bytes | memoryview) -> None:
    """Write a file so that its name never stands for part of it: also after kill -9.

    The data goes to a hidden name beside it, is flushed to the disk and renamed. Raises OSError.
    """
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".part")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    descriptor = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)  # the rename itself
    finally:
        os.close(descriptor)


def matrix(rows: int, columns: int, folder: Path) -> Float32:
    """An unset float32 array [rows, columns]: in memory, or in a nameless file where it would
    take more than half of what is free.
    """
    if rows * columns * 4 <= available_memory() // 2:
        return np.empty((rows, columns), np.float32)
    with tempfile.TemporaryFile(dir=folder) as file:
        return np.memmap(file, np.float32, "w+", shape=(rows, columns))


def available_memory() -> int:
    """Bytes of memory that a new array may take, as the system tells."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith("MemAvail"))
    except (OSError, StopIteration):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


def slug(text: str) -> str:
    """A spec as part of a file name: readable, and never another folder."""
    clean = re.sub(r"[^A-Za-z0-9.=_-]+", "_", text).strip("._") or "_"
    return (
        clean if len(clean) <= 80 else clean[:60] + hashlib.sha256(text.encode()).hexdigest()[:12]
    )
