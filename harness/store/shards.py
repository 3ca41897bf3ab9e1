"""Shards: files of rows (key, tokens, truncated, vector) that are whole or absent.

Where texts have different numbers of them, terms with their weights or token vectors follow in a
second array of the same file, text after text, and a row says how many are its own. Last comes what
made the vectors, as JSON; shards of older versions do not say it. A shard's name is its SHA-256.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness import disk, wording
from harness.arrays import BROKEN
from harness.encoders import Encoded
from harness.errors import EncodingError
from harness.threads import PARSING
from harness.vectors import MultiVector, Sparse

KEY = "S16"  # the first 16 bytes of SHA-256, compared as bytes
COLUMNS = (("key", KEY), ("tokens", "<i4"), ("truncated", "?"))  # and the vector; or these, and
SPARSE = [*COLUMNS, ("length", "<i4"), ("vocabulary", "<i4")]  # terms with weights
MULTI = [*COLUMNS, ("length", "<i4"), ("dimensions", "<i4")]  # token vectors
TERM = np.dtype([("term", "<i4"), ("weight", "<f4")])


def keys_of(texts: Sequence[str]) -> NDArray[np.bytes_]:
    """Keys of texts [n]."""
    digests = b"".join(hashlib.sha256(text.encode()).digest()[:16] for text in texts)
    return np.frombuffer(digests, KEY)


def pack(encoded: Encoded, texts: Sequence[str]) -> list[NDArray[Any]]:
    """Arrays of a shard, keys unset, from what an encoder returned for some texts.

    Raises:
        EncodingError: Anything but finite vectors for each text; it says what is wrong.
    """
    values, n = encoded.values, len(texts)
    if isinstance(values, Sparse | MultiVector):
        if len(values) != n:
            raise EncodingError(
                f"the encoder returned vectors of {len(values)} for {wording.count(n, 'text')}"
            )
        rows, items, finite = _split_ragged(values)
        arrays = [rows, items]
        broken = np.unique(np.repeat(np.arange(n), rows["length"])[~finite])
    else:
        if np.ma.is_masked(values):
            raise EncodingError("the encoder returned masked numbers: expected numbers alone")
        array = np.asarray(values, np.float32)
        if array.ndim != 2 or len(array) != n or not array.shape[1]:
            raise EncodingError(
                f"the encoder returned an array of shape {array.shape} for "
                f"{wording.count(n, 'text')}: expected ({n}, d)"
            )
        broken = np.flatnonzero(~np.isfinite(array).all(axis=1))
        rows = np.empty(n, [*COLUMNS, ("vector", "<f4", (array.shape[1],))])
        rows["vector"] = array
        arrays = [rows]
    if len(broken):
        raise EncodingError(
            f"the encoder returned NaN or infinity for {len(broken)} of "
            f"{wording.count(n, 'text')}, the first {texts[broken[0]][:60]!r}: try dtype=float32"
        )
    rows["tokens"], rows["truncated"] = encoded.tokens, encoded.truncated
    return arrays


def _split_ragged(
    values: Sparse | MultiVector,
) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.bool_]]:
    """Rows [n], the terms or token vectors that follow them, and which of these are finite."""
    n = len(values)
    if isinstance(values, Sparse):
        rows, lengths = np.empty(n, SPARSE), np.diff(values.matrix.indptr)
        rows["vocabulary"], items = values.dim, np.empty(values.matrix.nnz, TERM)
        items["term"], items["weight"] = values.matrix.indices, values.matrix.data
        finite = np.isfinite(items["weight"])
    else:
        rows, lengths = np.empty(n, MULTI), values.lengths
        rows["dimensions"], items = values.dim, np.asarray(values.values, np.float32)
        finite = np.isfinite(items).all(axis=1)
    rows["length"] = lengths
    return rows, items, finite


def width_of(rows: NDArray[np.void]) -> int:
    """Dimensions of the vectors: the last column holds them, or says how many."""
    columns = rows.dtype.names or ()
    last = rows[columns[-1]]
    return int(last.shape[1] if last.ndim > 1 else last[0])


def write(space: Path, arrays: Sequence[NDArray[Any]], maker: Mapping[str, str]) -> None:
    """Write a shard into the folder of its space. maker: what made it. Raises OSError."""
    file, said = io.BytesIO(), json.dumps(maker, sort_keys=True).encode()
    for array in [*arrays, np.frombuffer(said, np.uint8)]:
        np.save(file, array, allow_pickle=False)
    data = file.getbuffer()
    disk.write_whole(space / f"{hashlib.sha256(data).hexdigest()[:32]}.npy", data)


def paths(space: Path) -> list[Path]:
    """Shards of a space, by name."""
    return [path for path in disk.entries(space) if path.suffix == ".npy"]


def read_rows(path: Path) -> NDArray[np.void]:
    """Rows of a shard [n], in memory: the file is closed.

    Raises OSError, and ValueError for a file that is no shard.
    """
    return _check(_read(path, 1)[0], path)


def read_items(path: Path) -> tuple[NDArray[np.void], NDArray[Any]]:
    """Rows of a shard, and the terms or token vectors behind them. Raises as read_rows does."""
    rows, items = _read(path, 2)
    kind, shape = (TERM, ()) if _check(rows, path).dtype == SPARSE else ("<f4", (width_of(rows),))
    if items.dtype != kind or items.shape != (rows["length"].sum(), *shape):
        raise ValueError(f"{path}: not a shard of vectors")
    return rows, items


def read_keys(path: Path) -> tuple[NDArray[np.bytes_], tuple[str, int]]:
    """Keys of a shard [n]; the name of its last column and the width of its vectors.

    All shards of a space must share these two. Raises as read_rows does.
    """
    rows = _check(_map(path), path)
    *_, last = rows.dtype.names or ("",)
    return rows["key"].copy(), (last, width_of(rows))


def read_maker(path: Path) -> str:
    """What made a shard, as JSON; empty where it does not say. Raises OSError."""
    with suppress(*BROKEN), open(path, "rb") as file:
        end = file.seek(0, os.SEEK_END)
        file.seek(0)
        while file.tell() < end:
            last = np.lib.format.read_magic(file)
            read = np.lib.format.read_array_header_1_0 if last == (1, 0) else _read_header_2_0
            with PARSING:
                shape, _, kind = read(file)
            size = math.prod(shape) * kind.itemsize
            if kind == np.uint8 and file.tell() + size == end:
                return file.read(size).decode()
            file.seek(size, os.SEEK_CUR)
    return ""


_read_header_2_0 = np.lib.format.read_array_header_2_0


def count(path: Path) -> int:
    """Texts in a shard; none in one that is broken, which is set aside when it is next wanted."""
    with suppress(OSError, *BROKEN):
        return len(_map(path))
    return 0


def stamp(path: Path) -> tuple[int, int] | None:
    """When a shard was written, in nanoseconds since the epoch, and its file; None for none.

    What is written again has another stamp, also with the same bytes and so the same name.
    """
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino


def is_whole(path: Path) -> bool:
    """Whether a shard's name is its checksum. Raises OSError."""
    return disk.file_sha256(path)[:32] == path.stem


def set_aside(path: Path) -> Path:
    """Give a damaged shard another name; returns where it lies now."""
    aside = path.with_suffix(".damaged")
    try:
        path.rename(aside)
        if disk.file_sha256(aside)[:32] == path.stem:  # another process mended it meanwhile
            return aside.rename(path)
    except OSError:  # a read-only store, or another process was faster: it is left out all the same
        return path
    return aside


def _read(path: Path, parts: int) -> list[NDArray[Any]]:
    try:
        with open(path, "rb") as file, PARSING:
            return [np.lib.format.read_array(file, allow_pickle=False) for _ in range(parts)]
    except BROKEN as error:
        raise ValueError(f"{path}: not a shard of vectors") from error


def _map(path: Path) -> NDArray[Any]:
    """A shard's rows as a map, which ends with the array: nothing but what is used is read."""
    try:
        with PARSING:
            return np.lib.format.open_memmap(path, mode="r")
    except BROKEN as error:
        raise ValueError(f"{path}: not a shard of vectors") from error


def _check(rows: NDArray[Any], path: Path) -> NDArray[np.void]:
    """Rows whose columns are a shard's, at least one. Raises OSError and ValueError."""
    columns = rows.dtype.names or ("",)
    kinds = [np.dtype(SPARSE), np.dtype(MULTI)]
    if columns[-1] == "vector":
        kinds = [np.dtype([*COLUMNS, ("vector", "<f4", rows.dtype["vector"].shape)])]
    fits = rows.ndim == 1 and len(rows) and rows.dtype in kinds and width_of(rows) >= 1
    if not fits or (columns[-1] != "vector" and not _has_room(rows, path)):
        raise ValueError(f"{path}: not a shard of vectors")
    return rows


def _has_room(rows: NDArray[Any], path: Path) -> bool:
    """Whether rows are of one width, and the file can hold as many items as they say."""
    lengths, widths = rows["length"], rows[(rows.dtype.names or ())[-1]]
    size = TERM.itemsize if rows.dtype == SPARSE else 4 * int(widths[0])
    items = int(lengths.sum(dtype=np.int64))
    same = bool((widths == widths[0]).all() and (lengths >= 0).all())
    return same and items * size <= path.stat().st_size
