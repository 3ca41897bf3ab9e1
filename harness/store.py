"""Embeddings on disk, found by content: a text is encoded once per encoder, role and prompt.

    ROOT/embeddings/SPACE/space.json    what the vectors are: encoder, role, prompt
                         /SHARD.npy     rows (key, tokens, truncated, vector); named by its SHA-256

Where texts have different numbers of them, terms with their weights or token vectors follow in a
second array of the same file, text after text, and a row says how many are its own.

A shard is written to a temporary name, flushed and renamed, so that what has a shard's name is
whole; its name is its checksum, tested whenever it is read. Missing texts are sorted by length and
cut into shards of a fixed number, so a run that was killed goes on where it stopped with the very
batches it would have had, and its vectors are the same to the bit. Of an encoder that is paid for
every reply is a shard: what was paid for is kept, whatever happens next.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness import disk
from harness.arrays import Float32, Int64, spans
from harness.data import Role
from harness.encoders import Encoded, TextEncoder
from harness.errors import EncodingError, StoreError, reason
from harness.progress import Progress, silent
from harness.usage import sum_usage
from harness.vectors import MultiVector, Sparse

KEY = "S16"  # the first 16 bytes of SHA-256, compared as bytes
COLUMNS = (("key", KEY), ("tokens", "<i4"), ("truncated", "?"))  # and the vector; or these, and
SPARSE = [*COLUMNS, ("length", "<i4"), ("vocabulary", "<i4")]  # terms with weights
MULTI = [*COLUMNS, ("length", "<i4"), ("dimensions", "<i4")]  # token vectors
TERM = np.dtype([("term", "<i4"), ("weight", "<f4")])
STALE_S = 3600  # a temporary file of this age belongs to no running process
DEFAULT_LIMIT = 50 * 10**9


@dataclass(frozen=True)
class Embedded:
    """Vectors of texts, in their order, and how they were come by.

    distinct: different texts; made: how many of them were not in the store. warnings: what was
    noticed and mended. Notes and usage of what was made now are those of `encoded`.
    """

    encoded: Encoded
    distinct: int
    made: int
    warnings: tuple[str, ...] = ()


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
        description = {"label": label, **identity}
        unique, first, inverse = np.unique(_keys(texts), return_index=True, return_inverse=True)
        held = _Held.read(space)
        missing = np.flatnonzero(~held.holds(unique))
        lengths = np.fromiter((len(texts[first[i]]) for i in missing), np.int64, len(missing))
        missing = missing[np.argsort(-lengths, kind="stable")]
        wanted = [texts[first[i]] for i in missing]
        return Plan(
            self, encoder, role, description, space, held, unique, inverse, unique[missing], wanted
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
        shards = sorted(self.root.glob("embeddings/*/*.npy"))
        damaged = []
        for done, path in enumerate(shards, 1):
            if not _whole(path):
                damaged.append(_set_aside(path))
            progress("verify", done, len(shards), "shards")
        return len(shards) - len(damaged), damaged

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


@dataclass(frozen=True)
class Plan:
    """Texts looked up in the store: what is missing is known, nothing is encoded yet.

    unique: keys ascending [u]; inverse: [n], the key of each text; missing: keys and texts to
    encode, the longest first, so that a model pads little and shows soon if memory suffices.
    """

    store: Store
    encoder: TextEncoder
    role: Role
    description: dict[str, Any]
    space: Path
    held: _Held
    unique: NDArray[np.bytes_]
    inverse: NDArray[np.int64]
    missing: NDArray[np.bytes_]
    texts: Sequence[str]

    def fetch(self, progress: Progress = silent, name: str = "texts") -> Embedded:
        """Encode what is missing, shard by shard, and return the vectors of all texts.

        Raises EncodingError where the encoder returns anything but finite vectors for each text,
        and StoreError where the store cannot be written; whole shards stay.
        """
        held, usages = self.held, [self.encoder.no_usage]
        notes = dict[str, None]()
        if len(self.missing):
            _prepare(self.space, self.description)
            for arrays, made in self._shards(progress, f"encode {name}"):
                _write(self.space, arrays)
                notes |= dict.fromkeys(note for part in made for note in part.notes)
                usages += [part.usage for part in made]
            held = _Held.read(self.space)
        encoded = held.gather(self.unique, self.inverse, self.store.root)
        encoded = replace(encoded, notes=tuple(notes), usage=sum_usage(usages))
        _touch(self.space)
        return Embedded(encoded, len(self.unique), len(self.missing), self.held.warnings)

    def _shards(
        self, progress: Progress, stage: str
    ) -> Iterator[tuple[list[NDArray[Any]], list[Encoded]]]:
        """Yield shards as the arrays of their files, and what they were made of, as it is made."""
        total, done = len(self.texts), 0
        progress(stage, 0, total, "texts")
        width = self.held.width
        parts, made = list[list[NDArray[Any]]](), list[Encoded]()
        for texts, encoded, whole in self._encoded():
            rows, *items = _packed(encoded, self.texts[texts])
            if width not in (None, _width(rows)):
                remedy = f"; if the model changed, delete {self.space}" if self.held.width else ""
                raise EncodingError(
                    f"the encoder returned {_width(rows)}-d vectors after {width}-d ones: "
                    f"expected one width{remedy}"
                )
            width = _width(rows)
            rows["key"] = self.missing[texts]
            parts.append([rows, *items])
            made.append(encoded)
            if whole:
                yield [np.concatenate(arrays) for arrays in zip(*parts, strict=True)], made
                parts, made = [], []
            done += len(rows)
            progress(stage, done, total, "texts")

    def _encoded(self) -> Iterator[tuple[slice, Encoded, bool]]:
        """Yield which missing texts are encoded, as what, and whether a shard ends with them.

        Of what is paid for each part is a shard, so that nothing of it is lost.
        """
        if self.encoder.paid:
            for rows, encoded in self.encoder.stream(self.texts, self.role):
                yield rows, encoded, True
            return
        total = len(self.texts)
        for start in range(0, total, self.store.shard):
            texts = self.texts[start : start + self.store.shard]
            left = len(texts)
            for rows, encoded in self.encoder.stream(texts, self.role):
                left -= rows.stop - rows.start
                yield slice(start + rows.start, start + rows.stop), encoded, not left


@dataclass(frozen=True)
class _Held:
    """What a space holds: keys ascending [m], and for each the shard and the row in it."""

    paths: list[Path]
    shards: list[NDArray[np.void]]  # memory maps
    keys: NDArray[np.bytes_]
    shard: NDArray[np.int64]
    row: NDArray[np.int64]
    warnings: tuple[str, ...]

    @classmethod
    def read(cls, space: Path) -> _Held:
        """Open every shard whose checksum holds; set the others aside."""
        paths, shards, damaged = [], [], 0
        for path in sorted(space.glob("*.npy")):
            try:
                if not _whole(path):
                    _set_aside(path)
                    damaged += 1
                    continue
                shards.append(np.load(path, mmap_mode="r", allow_pickle=False))
                paths.append(path)
            except (OSError, ValueError) as error:
                raise StoreError(f"{path}: cannot be read: {reason(error)}") from error
        if len({_width(shard) for shard in shards}) > 1:
            raise StoreError(f"{space}: holds vectors of several widths: delete that folder")
        keys = np.concatenate([np.empty(0, KEY), *(shard["key"] for shard in shards)])
        sizes = [len(shard) for shard in shards]
        row = np.concatenate([np.empty(0, np.int64), *(np.arange(size) for size in sizes)])
        order = np.argsort(keys, kind="stable")
        note = (
            f"{damaged} damaged shard(s) of the store were set aside and their texts encoded anew"
        )
        return cls(
            paths,
            shards,
            keys[order],
            np.repeat(np.arange(len(shards)), sizes)[order],
            row[order],
            (note,) if damaged else (),
        )

    @property
    def width(self) -> int | None:
        """Dimensions of the vectors; None where there is none."""
        return _width(self.shards[0]) if self.shards else None

    def holds(self, keys: NDArray[np.bytes_]) -> NDArray[np.bool_]:
        """[n]: which of these keys are here."""
        at = np.searchsorted(self.keys, keys)
        found = at < len(self.keys)
        found[found] = self.keys[at[found]] == keys[found]
        return found

    def gather(
        self, unique: NDArray[np.bytes_], inverse: NDArray[np.int64], folder: Path
    ) -> Encoded:
        """Vectors of the texts whose keys are unique[inverse]."""
        at = np.searchsorted(self.keys, unique)[inverse]
        order = np.argsort(self.shard[at], kind="stable")
        bounds = np.searchsorted(self.shard[at][order], np.arange(len(self.shards) + 1))
        parts = [order[low:high] for low, high in pairwise(bounds)]  # texts of each shard

        def filled(out: NDArray[Any], column: str) -> NDArray[Any]:
            for shard, texts in zip(self.shards, parts, strict=True):
                out[texts] = shard[column][self.row[at[texts]]]
            return out

        n, width = len(inverse), _width(self.shards[0])
        columns = self.shards[0].dtype.names or ()
        values: Float32 | Sparse | MultiVector
        if "vector" in columns:
            values = filled(disk.matrix(n, width, folder), "vector")
        else:
            offsets = _offsets(filled(np.empty(n, np.int64), "length"))
            if "vocabulary" in columns:
                terms = self._items(np.empty(offsets[-1], TERM), offsets, at, parts)
                values = _csr(terms, offsets, width)
            else:
                items = disk.matrix(int(offsets[-1]), width, folder)
                values = MultiVector(self._items(items, offsets, at, parts), offsets)
        tokens = filled(np.empty(n, np.int32), "tokens")
        return Encoded(values, tokens, filled(np.empty(n, np.bool_), "truncated"))

    def _items(
        self, out: NDArray[Any], offsets: Int64, at: Int64, parts: list[Int64]
    ) -> NDArray[Any]:
        """Terms or token vectors of texts, from the second arrays of the shards; fills `out`."""
        for path, shard, texts in zip(self.paths, self.shards, parts, strict=True):
            if len(texts):
                rows = self.row[at[texts]]
                lengths = shard["length"][rows]
                with open(path, "rb") as file:
                    np.load(file, allow_pickle=False)
                    items = np.load(file, allow_pickle=False)
                starts = _offsets(shard["length"])[rows]
                out[spans(offsets[texts], lengths)] = items[spans(starts, lengths)]
        return out


def _csr(terms: NDArray[np.void], offsets: Int64, vocabulary: int) -> Sparse:
    from scipy.sparse import csr_matrix

    columns = (np.ascontiguousarray(terms[name]) for name in ("weight", "term"))
    return Sparse(csr_matrix((*columns, offsets), (len(offsets) - 1, vocabulary)))


def _offsets(lengths: NDArray[np.integer]) -> Int64:
    """Where texts of these lengths begin and, last, where they end: int64 [n+1]."""
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)])


def _width(rows: NDArray[np.void]) -> int:
    """Dimensions of the vectors: the last column holds them, or says how many."""
    assert rows.dtype.names is not None
    last = rows[rows.dtype.names[-1]]
    return int(last.shape[1] if last.ndim > 1 else last[0])


def _digest(description: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()[:32]


def _keys(texts: Sequence[str]) -> NDArray[np.bytes_]:
    digests = b"".join(hashlib.sha256(text.encode()).digest()[:16] for text in texts)
    return np.frombuffer(digests, KEY)


def _packed(encoded: Encoded, texts: Sequence[str]) -> list[NDArray[Any]]:
    """An encoder's output as the arrays of a shard, keys unset.

    Raises EncodingError saying what is wrong with it.
    """
    values, n = encoded.values, len(texts)
    if isinstance(values, Sparse | MultiVector):
        if len(values) != n:
            raise EncodingError(
                f"the encoder returned vectors of {len(values)} texts for {n} texts"
            )
        if isinstance(values, Sparse):
            rows, lengths = np.empty(n, SPARSE), np.diff(values.matrix.indptr)
            rows["vocabulary"], items = values.width, np.empty(values.matrix.nnz, TERM)
            items["term"], items["weight"] = values.matrix.indices, values.matrix.data
            finite = np.isfinite(items["weight"])
        else:
            rows, lengths = np.empty(n, MULTI), values.lengths
            rows["dimensions"], items = values.width, np.asarray(values.values, np.float32)
            finite = np.isfinite(items).all(axis=1)
        rows["length"], arrays = lengths, [rows, items]
        broken = np.unique(np.repeat(np.arange(n), lengths)[~finite])
    else:
        array = np.asarray(values, np.float32)
        if array.ndim != 2 or len(array) != n or not array.shape[1]:
            raise EncodingError(
                f"the encoder returned an array of shape {array.shape} for {n} texts: "
                f"expected ({n}, d)"
            )
        broken = np.flatnonzero(~np.isfinite(array).all(axis=1))
        rows = np.empty(n, [*COLUMNS, ("vector", "<f4", (array.shape[1],))])
        rows["vector"] = array
        arrays = [rows]
    if len(broken):
        raise EncodingError(
            f"the encoder returned NaN or infinity for {len(broken)} of {n} texts, "
            f"the first {texts[broken[0]][:60]!r}: try dtype=float32"
        )
    rows["tokens"], rows["truncated"] = encoded.tokens, encoded.truncated
    return arrays


def _prepare(space: Path, description: dict[str, Any]) -> None:
    path = space / "space.json"
    try:
        space.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            disk.write_whole(path, json.dumps(description, indent=2).encode())
    except OSError as error:
        raise _unwritable(space, error) from error


def _write(space: Path, arrays: list[NDArray[Any]]) -> None:
    file = io.BytesIO()
    for array in arrays:
        np.save(file, array, allow_pickle=False)
    data = file.getbuffer()
    try:
        disk.write_whole(space / f"{hashlib.sha256(data).hexdigest()[:32]}.npy", data)
    except OSError as error:
        raise _unwritable(space, error) from error


def _unwritable(space: Path, error: OSError) -> StoreError:
    return StoreError(
        f"{space}: cannot be written: {error.strerror or reason(error)}; what was encoded before "
        "is kept. Free space, or choose another place with --cache DIR or HARNESS_CACHE"
    )


def _whole(path: Path) -> bool:
    return disk.file_sha256(path)[:32] == path.stem


def _set_aside(path: Path) -> Path:
    aside = path.with_suffix(".damaged")
    try:
        return path.rename(aside)
    except OSError:  # a read-only store: the shard is left out all the same
        return path


def _touch(space: Path) -> None:
    with suppress(OSError):  # a read-only store still serves
        os.utime(space / "space.json")


def _read_space(path: Path) -> Space:
    try:
        described = path / "space.json"
        description = json.loads(described.read_text("utf-8"))
        texts = sum(map(_length, path.glob("*.npy")))
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


def _length(shard: Path) -> int:
    """Texts in a shard; none in one cut short, which is set aside when it is next wanted."""
    with suppress(OSError, ValueError, EOFError):
        return len(np.load(shard, mmap_mode="r", allow_pickle=False))
    return 0
