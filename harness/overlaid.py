"""Whose files lie in a folder that several distributions were installed into.

pip does not look whether a file is another distribution's: the last that is installed overwrites
it, and all of them stay listed as installed. Each has a RECORD of its files' sizes and hashes.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path

CODE = (".so", ".pyd", ".dylib", ".py")


def find_owner(
    found: Sequence[metadata.Distribution], package: str
) -> metadata.Distribution | None:
    """Find the distribution whose code lies in a package's folder.

    Args:
        found: Distributions that bring the package.
        package: Its name.

    Returns:
        The one whose files are all there; None where that is none, as where files of several are
        mixed, or not known.
    """
    left = [dist for dist in found if _lies_there(dist, package, whole=False)]
    if len(left) > 1:  # hashes are read only where sizes are the same
        left = [dist for dist in left if _lies_there(dist, package, whole=True)]
    return left[0] if len(left) == 1 else None


def _lies_there(dist: metadata.Distribution, package: str, *, whole: bool) -> bool:
    """Tell whether all files of code are as a RECORD has them, by size or by hash."""
    files = list(_list_code(dist, package))
    try:
        return bool(files) and all(
            _hash(Path(file.locate()), file.hash) if whole else _measure(file) for file in files
        )
    except OSError:
        return False


def _list_code(dist: metadata.Distribution, package: str) -> Iterator[metadata.PackagePath]:
    for file in dist.files or ():
        if file.parts[0] == package and file.suffix in CODE:
            yield file


def _measure(file: metadata.PackagePath) -> bool:
    return file.size is None or Path(file.locate()).stat().st_size == file.size


def _hash(path: Path, recorded: metadata.FileHash | None) -> bool:
    if recorded is None or recorded.mode not in hashlib.algorithms_guaranteed:
        return False
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, recorded.mode).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode() == recorded.value
