"""Where vectors go that the store cannot keep: a folder for each space, as long as the process."""

from __future__ import annotations

import atexit
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from numpy.typing import NDArray

import harness.store.shards as shards

_folders: dict[Path, Path] = {}  # by the space that could not be written


def places(space: Path) -> list[Path]:
    """Where the shards of a space lie: its folder, and that for what could not be kept, if any."""
    return [space, _folders[space]] if space in _folders else [space]


def paths(space: Path) -> list[Path]:
    """All shards of a space: those that are kept come first, each by name."""
    return [path for place in places(space) for path in shards.paths(place)]


def write(space: Path, arrays: Sequence[NDArray[Any]], maker: Mapping[str, str]) -> bool:
    """Write a shard that its space cannot keep; False where there is no place for it either."""
    try:
        if space not in _folders:
            folder = mkdtemp(prefix="harness-")
            atexit.register(shutil.rmtree, folder, ignore_errors=True)
            _folders.setdefault(space, Path(folder))
        shards.write(_folders[space], arrays, maker)
    except OSError:
        return False
    return True
