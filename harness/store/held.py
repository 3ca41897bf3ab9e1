"""What a space holds: which texts, in which row of which shard.

However many shards there are, at most one is open: keys are read once, rows when they are wanted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

import harness.store.shards as shards
from harness.arrays import Int32, Int64, spans
from harness.disk import foreign, memory
from harness.encoders import Encoded
from harness.errors import StoreError
from harness.vectors import MultiVector, Sparse

T = TypeVar("T")


class LostError(StoreError):
    """A text that was found in a shard is there no more. path: the shard, None where unknown."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        super().__init__(
            f"{path or 'the store'}: vectors went while they were wanted: is another program "
            "removing them? Run it again when that has ended"
        )


@dataclass(frozen=True)
class Held:
    """Texts of a space and where their vectors are.

    paths: shards by name; keys: ascending [m]; shard, row: the place of each [m]; layout: the kind
    and the width of the vectors, None where there is none; damaged: shards set aside; makers: what
    made each shard, as JSON, by path.
    """

    paths: Sequence[Path]
    keys: NDArray[np.bytes_]
    shard: Int32
    row: Int32
    layout: tuple[str, int] | None = None
    damaged: int = 0
    makers: Mapping[Path, str] = field(default_factory=dict)

    @property
    def width(self) -> int | None:
        """Dimensions of the vectors; None where there is none."""
        return self.layout[1] if self.layout else None

    def holds(self, keys: NDArray[np.bytes_]) -> NDArray[np.bool_]:
        """Which of these keys are here [n]."""
        at = np.searchsorted(self.keys, keys)
        found = at < len(self.keys)
        found[found] = self.keys[at[found]] == keys[found]
        return found

    def without(self, *paths: Path | None) -> Held:
        """The same but for some shards, which are read anew when the space is next looked into."""
        return _merge(self, [one for one in self.paths if one not in paths], {})

    def holding(self, unique: NDArray[np.bytes_]) -> list[Path]:
        """Shards that keys are read from."""
        at = np.searchsorted(self.keys, unique[self.holds(unique)])
        return [self.paths[i] for i in np.unique(self.shard[at])]

    def touching(self, unique: NDArray[np.bytes_]) -> list[Path]:
        """Shards that any of these keys is in, also where another has it first."""
        return [self.paths[i] for i in np.unique(self.shard[np.isin(self.keys, unique)])]

    def gather(
        self, unique: NDArray[np.bytes_], inverse: NDArray[np.intp], folder: Path
    ) -> Encoded:
        """Read the vectors of the texts whose keys are unique[inverse].

        Args:
            unique: Keys, ascending [u].
            inverse: The key of each text [n].
            folder: Where an array lies that is larger than memory.

        Raises:
            LostError: A key is not, or no longer, where it was found.
        """
        if not self.holds(unique).all() or self.layout is None:
            raise LostError(None)
        layout, n = self.layout, len(inverse)
        wanted, at = unique[inverse], np.searchsorted(self.keys, unique)[inverse]
        tokens, truncated = np.empty(n, np.int32), np.empty(n, np.bool_)
        vectors = memory.matrix(n, layout[1], folder) if layout[0] == "vector" else None
        lengths = np.zeros(n, np.int64)
        for path, texts in self._visits(at):
            rows = _take(_read(path, shards.read_rows), self.row[at[texts]], wanted[texts], path)
            tokens[texts], truncated[texts] = rows["tokens"], rows["truncated"]
            if vectors is None:
                lengths[texts] = rows["length"]
            else:
                vectors[texts] = rows["vector"]
        if vectors is not None:
            return Encoded(vectors, tokens, truncated)
        values = self._read_ragged(wanted, at, _offsets(lengths), layout, folder)
        return Encoded(values, tokens, truncated)

    def _visits(self, at: NDArray[np.intp]) -> Iterator[tuple[Path, NDArray[np.intp]]]:
        """Yield shards that hold texts, and which; at: the place of each among the keys [n]."""
        order = np.argsort(self.shard[at], kind="stable")
        bounds = np.searchsorted(self.shard[at][order], np.arange(len(self.paths) + 1))
        for path, (low, high) in zip(self.paths, pairwise(bounds), strict=True):
            if low < high:
                yield path, order[low:high]

    def _read_ragged(
        self,
        wanted: NDArray[np.bytes_],
        at: NDArray[np.intp],
        offsets: Int64,
        layout: tuple[str, int],
        folder: Path,
    ) -> Sparse | MultiVector:
        """Terms or token vectors, from the second arrays of the shards."""
        total, sparse = int(offsets[-1]), layout[0] == "vocabulary"
        out: NDArray[Any] = (
            np.empty(total, shards.TERM) if sparse else memory.matrix(total, layout[1], folder)
        )
        for path, texts in self._visits(at):
            rows, items = _read(path, shards.read_items)
            place = self.row[at[texts]]
            lengths = _take(rows, place, wanted[texts], path)["length"]
            starts = _offsets(rows["length"])[place]
            out[spans(offsets[texts], lengths)] = items[spans(starts, lengths)]
        return _csr(out, offsets, layout[1]) if sparse else MultiVector(out, offsets)


NOTHING = Held((), np.empty(0, shards.KEY), np.empty(0, np.int32), np.empty(0, np.int32))


def look(listed: Sequence[Path], before: Held | None = None) -> Held:
    """Find out what the shards of a space hold; those whose checksum does not hold are set aside.

    before: what was found when it was last looked into: those shards are not read again.

    Raises:
        StoreError: A shard cannot be read, or the vectors have several widths.
    """
    before = before or NOTHING
    paths, known, damaged = list[Path](), set(before.paths), 0
    fresh: dict[Path, NDArray[np.bytes_]] = {}
    layouts, makers = set[tuple[str, int]](), dict(before.makers)
    for path in listed:
        if path not in known:
            try:
                keys, layout = _keys(path)
                makers[path] = shards.read_maker(path)
            except FileNotFoundError:  # it went since the folder was listed
                continue
            except ValueError:
                shards.set_aside(path)
                damaged += 1
                continue
            except OSError as error:
                raise foreign.unreadable(path, error, StoreError) from error
            fresh[path] = keys  # now that nothing of it can fail
            layouts.add(layout)
        elif before.layout:
            layouts.add(before.layout)
        paths.append(path)
    if len(layouts) > 1:
        raise StoreError(f"{paths[0].parent}: holds vectors of several widths: delete that folder")
    merged = _merge(before, paths, fresh)
    kind = layouts.pop() if layouts else None
    return replace(merged, layout=kind, damaged=damaged, makers=makers)


def _keys(path: Path) -> tuple[NDArray[np.bytes_], tuple[str, int]]:
    """Keys and layout of a shard. Raises OSError, and ValueError for one that is damaged."""
    if not shards.is_whole(path):
        raise ValueError(f"{path}: its checksum does not hold")
    return shards.read_keys(path)


def _merge(before: Held, paths: Sequence[Path], fresh: Mapping[Path, NDArray[np.bytes_]]) -> Held:
    """Texts of those shards of `before` that are among `paths`, and of fresh ones.

    Where a text is in several, the first by name has it: what is found depends on what is there,
    and not on when it came.
    """
    number = {path: i for i, path in enumerate(paths)}
    moved = np.array([number.get(path, -1) for path in before.paths], np.int32)
    shard = moved[before.shard] if len(moved) else before.shard
    stays = shard >= 0
    sizes = [len(keys) for keys in fresh.values()]
    keys = np.concatenate([before.keys[stays], *fresh.values()])
    row = np.concatenate([before.row[stays], *(np.arange(n, dtype=np.int32) for n in sizes)])
    new = np.repeat(np.array([number[path] for path in fresh], np.int32), sizes)
    shard = np.concatenate([shard[stays], new])
    order = np.argsort(shard, kind="stable")
    order = order[np.argsort(keys[order], kind="stable")]
    return replace(before, paths=paths, keys=keys[order], shard=shard[order], row=row[order])


def _read(path: Path, how: Callable[[Path], T]) -> T:
    """A shard's arrays. Raises LostError where it is no longer what it was."""
    try:
        return how(path)
    except (FileNotFoundError, ValueError) as error:
        raise LostError(path) from error
    except OSError as error:
        raise foreign.unreadable(path, error, StoreError) from error


def _take(
    rows: NDArray[np.void], place: Int32, wanted: NDArray[np.bytes_], path: Path
) -> NDArray[np.void]:
    """Rows of a shard; each must be that of the text that is wanted. Raises LostError."""
    if place.max() >= len(rows) or not np.array_equal(rows["key"][place], wanted):
        raise LostError(path)
    return rows[place]


def _csr(terms: NDArray[np.void], offsets: Int64, vocabulary: int) -> Sparse:
    from scipy.sparse import csr_matrix

    columns = (np.ascontiguousarray(terms[name]) for name in ("weight", "term"))
    return Sparse(csr_matrix((*columns, offsets), (len(offsets) - 1, vocabulary)))


def _offsets(lengths: NDArray[np.integer]) -> Int64:
    """Where texts of these lengths begin and, last, where they end: int64 [n+1]."""
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)])
