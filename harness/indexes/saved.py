"""Structures of indexes on disk: built once from the same vectors with the same parameters.

    FOLDER/KEY/structure        the file, in the library's own format
              /structure.json   what it was built from and with, its SHA-256, and a seal

KEY is a digest of the vectors and of everything that decides the structure, the library's version
among it: a structure of other vectors or of another version is never found. Libraries trust what
they read, so only a structure that this user has built is: KEY and seal are digests by the user's
own key.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import stat
import tempfile
from abc import abstractmethod
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from harness import disk
from harness.disk import foreign, seal
from harness.disk.lease import hold
from harness.errors import InputError, StoreError, reason
from harness.indexes import Found, Index, IndexInfo, Searcher
from harness.indexes.cosine import open_by_cosine
from harness.progress import Progress, silent
from harness.vectors import Embeddings, MultiVector, Representation, Sparse

BLOCK = 1 << 14  # rows hashed at a time
ATTEMPTS = 5  # at giving a structure its name, while others do the same
ABSENT = (FileNotFoundError, NotADirectoryError, PermissionError)  # also what is not for this user
UNKEPT = "the index was built and not kept: the store cannot be written"
UNKEYED = (
    "the index was built and not kept: there is no place for the key that kept ones are known by; "
    "set XDG_STATE_HOME to a folder of yours"
)
DAMAGED = "a damaged index in the store was set aside and built anew"


@dataclass(frozen=True)
class FileIndex(Index):
    """An index whose structure is costly to build and fits a file: built once and kept.

    It is searched with whatever parameters only matter then (ef_search, nprobe). A library's index
    is a frozen dataclass that says what is its own: `make`, `searcher`, `save`, `load` and `size`.
    Its fields, but those of `search_only`, and the version of `library` are what the structure is
    kept by.
    """

    kind: ClassVar[str]  # what the structure is called in the store
    library: ClassVar[str]  # the distribution that builds it
    search_only: ClassVar[tuple[str, ...]] = ()  # fields that only a search looks at

    accepts: ClassVar[tuple[Representation, ...]] = ("dense",)

    def build_key(self) -> Mapping[str, object]:
        """Tell what decides the structure besides the vectors, as JSON: parameters and library."""
        fields = {name: value for name, value in asdict(self).items()
                  if name not in self.search_only}  # fmt: skip
        return {"kind": self.kind, **fields, self.library: self._version()}

    def _version(self) -> str:
        """The library's. Raises InputError where no distribution of that name is installed."""
        try:
            return version(self.library)
        except PackageNotFoundError:
            raise InputError(
                f"index {self.kind}: no distribution {self.library!r} is installed: install it, or "
                "name in `library` the one that builds the index, as pip lists it"
            ) from None

    def describe(self) -> Mapping[str, object]:
        """Tell the parameters of the build, and the library."""
        return self.build_key()

    def by_product(self) -> FileIndex | None:
        """Give the same index by inner product, where this one compares by cosine."""
        return None

    @abstractmethod
    def make(self, documents: Embeddings, progress: Progress) -> Any:
        """Build the structure.

        Raises:
            InputError: for vectors it cannot take, or too many.
        """

    @abstractmethod
    def searcher(self, built: Any, documents: Embeddings) -> Searcher:
        """Wrap the structure, to be searched with this index's parameters."""

    @abstractmethod
    def save(self, built: Any, path: Path) -> None:
        """Write the structure to a file.

        Raises:
            OSError: where it cannot be written.
        """

    @abstractmethod
    def load(self, path: Path) -> Any:
        """Read what `save` wrote.

        Raises:
            InputError: where it is no such file.
        """

    @abstractmethod
    def size(self, built: Any) -> int:
        """Count the bytes of memory that serve the structure, vectors included."""

    def open(
        self, documents: Embeddings, place: Path | None = None, progress: Progress = silent
    ) -> Searcher:
        """Build the structure, or read it where it was built before from the same vectors.

        A file whose checksum does not hold is set aside, and the searcher's notes say so, as they
        say where it is not kept because the folder cannot be written.
        """
        if (product := self.by_product()) is not None:
            return open_by_cosine(product, documents, place, progress)
        if place is None:
            return self.searcher(self.make(documents, progress), documents)
        built, reused, notes = _read_or_build(self, documents, place, progress)
        return _Kept(self.searcher(built, documents), reused, notes)


@dataclass(frozen=True)
class _Kept:
    """The searcher of a structure that is kept; notes: what was noticed of the file."""

    searcher: Searcher
    reused: bool
    notes: tuple[str, ...]

    @property
    def info(self) -> IndexInfo:
        info = self.searcher.info
        return replace(info, reused=self.reused, notes=(*info.notes, *self.notes))

    def search(self, queries: Embeddings, k: int, progress: Progress) -> Found:
        return self.searcher.search(queries, k, progress)


def _read_or_build(
    index: FileIndex, documents: Embeddings, folder: Path, progress: Progress
) -> tuple[Any, bool, tuple[str, ...]]:
    """An index's structure, whether it was read from `folder`, and what was noticed.

    Where it was not, it is built, and kept there if it can be. Raises InputError for vectors that
    cannot be searched and StoreError where what is there cannot be read.
    """
    if (user := seal.user_key()) is None:
        return index.make(documents, progress), False, (UNKEYED,)
    vectors = {"sha256": digest(documents), "shape": [len(documents), documents.dim]}
    about = {"vectors": vectors, "structure": dict(index.build_key())}
    place = _Place(folder / seal.sign(user, about)[:32], about, user)
    try:
        built, damaged = _read(index, place)
        notes = (DAMAGED,) if damaged else ()
        reused = built is not None
        if built is None:
            built = index.make(documents, progress)
            notes = notes if _keep(index, built, place) else (*notes, UNKEPT)
    except OSError as error:
        what = error.strerror or reason(error)
        raise StoreError(f"{place.path}: the index store cannot be used: {what}") from error
    return built, reused, notes


def digest(vectors: Embeddings) -> str:
    """Compute the SHA-256 of the shape and the numbers of vectors."""
    found = hashlib.sha256(repr((len(vectors), vectors.dim)).encode())
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


@dataclass(frozen=True)
class _Place:
    """Where a structure is kept; about: what it is of and built with; key: the user's own."""

    path: Path
    about: Mapping[str, Any]
    key: bytes

    def describe(self, data: Path) -> bytes:
        """What is written beside a structure's file. Raises OSError."""
        sha256 = disk.file_sha256(data)
        sealed = seal.sign(self.key, [self.about, sha256])
        more = {"bytes": data.stat().st_size, "sha256": sha256, "seal": sealed}
        return (json.dumps({**self.about, **more}, indent=2, sort_keys=True) + "\n").encode()

    def is_ours(self) -> bool:
        """Whether this user wrote the structure, and it is whole. Raises OSError."""
        data, beside = self.path / "structure", self.path / "structure.json"
        if not all(stat.S_ISREG(path.stat().st_mode) for path in (data, beside)):
            return False  # a pipe would never end
        try:
            sealed = foreign.read_json(beside)["seal"]
        except (InputError, TypeError, KeyError):
            return False
        return seal.is_signed(self.key, [self.about, disk.file_sha256(data)], sealed)


def _read(index: FileIndex, kept: _Place) -> tuple[Any, bool]:
    """The structure kept at a place, None if there is none; and whether a damaged one was."""
    place = kept.path
    with ExitStack() as leases:
        if lease := hold(place):
            leases.enter_context(lease)
        try:
            if kept.is_ours():
                built = index.load(place / "structure")
                with suppress(OSError):
                    os.utime(place / "structure.json")  # when it was last used, for prune
                return built, False
        except ABSENT:  # nothing was built, or somebody removed it
            return None, False
        except InputError:
            pass
        if lease and lease.is_at(place):  # else another process has set it aside
            _set_aside(place)
        return None, True


def _set_aside(place: Path) -> None:
    aside = place.with_name(f"{place.name}.damaged")
    with suppress(OSError):  # a read-only store, or another process was faster
        if aside.exists():
            disk.remove_folder(aside)
        os.rename(place, aside)


def _keep(index: FileIndex, built: Any, place: _Place) -> bool:
    """Write a structure, whole or not at all; False where it cannot be, whatever the reason.

    It is built beside, in a folder of its own: processes and threads that build the same one do not
    meet, and the first that is done has its in place.
    """
    folder = place.path.parent
    try:
        disk.make_folder(folder)
        disk.sweep(folder)
        made = Path(tempfile.mkdtemp(dir=folder, prefix=disk.HIDDEN, suffix=".part"))
    except OSError:
        return False
    try:
        data = made / "structure"
        index.save(built, data)
        with open(data, "rb") as file:
            os.fsync(file.fileno())
        disk.write_whole(made / "structure.json", place.describe(data))
        os.chmod(made, 0o755)
        _put(made, place)
    except OSError:
        return False
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return True


def _put(made: Path, kept: _Place) -> None:
    """Give a folder its name, unless a whole one of that name is there. Raises OSError."""
    place = kept.path
    for _ in range(ATTEMPTS):
        try:
            os.rename(made, place)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        else:
            disk.flush(place.parent)
            return
        with suppress(OSError):  # another process is at work at the same
            if kept.is_ours():
                return
        with suppress(OSError):
            disk.remove_folder(place)
