"""Arrays that may be larger than memory."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np

from harness.arrays import Float32


def matrix(rows: int, columns: int, folder: Path) -> Float32:
    """Unset float32 [rows, columns] in memory; in a nameless file if over half of what is free."""
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
