"""Structures of indexes on disk: built once from the same vectors with the same parameters.

    FOLDER/KEY/structure        the file, in the library's own format
              /structure.json   what it was built from and with, and its SHA-256; written last

KEY is a digest of the vectors and of everything that decides the structure, the library's version
among it: a structure of other vectors or of another version is never found.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness import disk
from harness.errors import InputError, StoreError, reason
from harness.indexes import CountingSearcher, Structured
from harness.progress import Progress
from harness.vectors import Embeddings, MultiVector, Sparse

BLOCK = 1 << 14  # rows hashed at a time
DAMAGED = "a damaged index in the store was set aside and built anew"


def searcher(
    index: Structured, documents: Embeddings, folder: Path, progress: Progress
) -> tuple[CountingSearcher, bool]:
    """An index's searcher, and whether its structure was read from `folder`; else it is built and
    kept there.

    A file whose checksum does not hold is set aside, and the searcher's warnings say so. Raises
    InputError for vectors that cannot be searched and StoreError where the folder cannot be used.
    """
    vectors = {"sha256": digest(documents), "shape": [len(documents), documents.width]}
    about = {"vectors": vectors, "structure": dict(index.structure())}
    key = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:32]
    place = folder / key
    try:
        built, damaged = _read(index, place)
        reused = built is not None
        if built is None:
            built = index.grow(documents, progress)
            _keep(index, built, place, about)
    except OSError as error:
        what = error.strerror or reason(error)
        raise StoreError(f"{place}: the index store cannot be used: {what}") from error
    made = index.searcher(built, documents)
    if damaged:
        made.warnings = (*made.warnings, DAMAGED)
    return made, reused


def digest(vectors: Embeddings) -> str:
    """SHA-256 of the shape and the numbers of vectors."""
    found = hashlib.sha256(repr((len(vectors), vectors.width)).encode())
    if isinstance(vectors, Sparse):
        matrix = vectors.matrix
        for array, kind in ((matrix.indptr, "<i8"), (matrix.indices, "<i8"), (matrix.data, "<f4")):
            _add(found, array, kind)
        return found.hexdigest()
    if isinstance(vectors, MultiVector):
        _add(found, vectors.offsets, "<i8")
    _add(found, vectors.values, "<f4")
    return found.hexdigest()


def _add(found: hashlib._Hash, array: NDArray[Any], kind: str) -> None:
    """Take in an array's numbers, row by row, however it lies in memory."""
    for low in range(0, len(array), BLOCK):
        found.update(np.ascontiguousarray(array[low : low + BLOCK], kind).data)


def _read(index: Structured, place: Path) -> tuple[Any, bool]:
    """The structure kept at a place, None if there is none; and whether a damaged one was."""
    try:
        about = json.loads((place / "structure.json").read_text("utf-8"))
        if about["sha256"] == disk.file_sha256(place / "structure"):
            built = index.read(place / "structure")
            with suppress(OSError):
                os.utime(place / "structure.json")  # when it was last used, for prune
            return built, False
    except FileNotFoundError:  # nothing was built, or a build was killed before it was whole
        return None, False
    except (ValueError, TypeError, KeyError, InputError):
        pass
    aside = place.with_name(f"{place.name}.damaged")
    shutil.rmtree(aside, ignore_errors=True)
    os.replace(place, aside)
    return None, True


def _keep(index: Structured, built: Any, place: Path, about: dict[str, Any]) -> None:
    """Write a structure so that its JSON never stands for part of it."""
    place.mkdir(parents=True, exist_ok=True)
    part = place / f".{os.getpid()}.part"
    try:
        index.write(built, part)
        with open(part, "rb") as file:
            os.fsync(file.fileno())
        about = {**about, "bytes": part.stat().st_size, "sha256": disk.file_sha256(part)}
        os.replace(part, place / "structure")
    finally:
        part.unlink(missing_ok=True)
    text = json.dumps(about, indent=2, sort_keys=True) + "\n"
    disk.write_whole(place / "structure.json", text.encode())
