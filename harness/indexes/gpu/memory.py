"""How documents are divided among devices: what stays there, what is streamed, in which tiles.

All is predicted before anything is copied. Sizes are upper bounds of what torch allocates: products
in the precision of the scan and in float32, what topk counts in, what it found, sorted and merged.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from harness.disk.memory import available_memory
from harness.indexes import devices

LEAST = 256  # rows of a tile, and queries, below which no device is searched
COPIED = 1 << 26  # bytes of float32 that are copied at a time to what stays
SPARE = 1 << 28  # bytes left for work spaces of cuBLAS and for what lies between blocks
FOUND = 1 << 22  # results of all queries at a time
# bytes of a result while topk sorts and merges it: a product and a row (12) of what was found, of
# what is new, of both in one; sorted values and rows, both buffers of a sort, rows gathered (64)
MERGED = 12 + 12 + 24 + 64
COUNTED = 2  # bytes of a product that topk of several blocks counts in, at most (1.5)
UNKNOWN = 1 << 62  # bytes of a device that tells none: it says itself when it is full


@dataclass(frozen=True)
class Share:
    """Rows of one device, low up to high: those below `resident` stay there, others are streamed.

    tile: rows that are multiplied at a time.
    """

    name: str
    low: int
    resident: int
    high: int
    tile: int

    @property
    def streamed(self) -> int:
        """Rows that are copied for every batch of queries."""
        return self.high - self.resident

    def ranges(self) -> list[tuple[int, int]]:
        """Tiles of what is streamed, as ranges of rows."""
        return cut(self.resident, self.high, self.tile)


@dataclass(frozen=True)
class Division:
    """Shares of the devices, and queries, or tokens of them, that are multiplied with at a time."""

    shares: tuple[Share, ...]
    batch: int

    @property
    def streamed(self) -> float:
        """Part of the rows that is streamed."""
        rows = sum(share.high - share.low for share in self.shares)
        return sum(share.streamed for share in self.shares) / max(rows, 1)

    @property
    def notes(self) -> tuple[str, ...]:
        """Say how much is streamed, where something is."""
        if not self.streamed:
            return ()
        names = " and ".join(share.name for share in self.shares)
        part = f"{100 * self.streamed:.2g} % of the vectors"
        return (f"{part} did not fit on {names}: they were copied there batch by batch",)


@dataclass(frozen=True)
class Sizes:
    """What a scan takes: d numbers of itemsize a row, and bytes beside each product.

    results: of a query, at most; wider: whether more queries at a time save copies of what is
    streamed; longest: rows that are not divided.
    """

    d: int
    itemsize: int
    beside: int
    results: int
    wider: bool
    longest: int = 1

    @property
    def row(self) -> int:
        """Bytes of a row that stays, with 8 of how many there are."""
        return self.d * self.itemsize + 8

    def scratch(self, batch: int, tile: int) -> int:
        """Bytes of a multiplication."""
        cell = 4 + self.beside + (self.itemsize if self.itemsize < 4 else 0)
        rows = max(tile, self.longest)
        found = MERGED * min(FOUND, batch * self.results)
        return SPARE + found + batch * (rows * cell + self.d * (4 + self.itemsize))

    def buffers(self, tile: int) -> int:
        """Bytes of two buffers, and of a tile that is scaled and rounded."""
        return max(tile, self.longest) * self.d * (4 * 3 + self.itemsize)


def cut(low: int, high: int, rows: int) -> list[tuple[int, int]]:
    """Cut rows from low up to high into ranges of so many, at most."""
    return list(itertools.pairwise([*range(low, high, rows), high])) if low < high else []


def copied_at_a_time(d: int) -> int:
    """Rows of d numbers."""
    return max(1, COPIED // (4 * d))


def divide(bounds: Sequence[int], names: Sequence[str], sizes: Sizes) -> Division:
    """Divide rows among devices by what is free there now.

    Args:
        bounds: first row of each device, and that after the last.
        names: the devices.
        sizes: what the scan takes.

    Raises:
        DeviceFullError: where one has no room even for the smallest tile.
    """
    free = [_free(name) // names.count(name) for name in names]
    shares = list(zip(names, itertools.pairwise(bounds), free, strict=True))
    for batch, tile in _steps(devices.QUERIES, devices.TILE):
        copied = min(copied_at_a_time(sizes.d), bounds[-1] - bounds[0])
        need = max(sizes.scratch(batch, tile), sizes.buffers(copied))
        if all((high - low) * sizes.row + need <= room for _, (low, high), room in shares):
            whole = (Share(name, low, high, high, tile) for name, (low, high), _ in shares)
            return Division(tuple(whole), batch)
    wider = devices.WIDER if sizes.wider else 1
    for batch, tile in _steps(devices.QUERIES * wider, max(1, devices.TILE // wider)):
        need = sizes.scratch(batch, tile) + sizes.buffers(tile)
        if need <= min(free):
            divided = (
                Share(name, low, min(high, low + (room - need) // sizes.row), high, tile)
                for name, (low, high), room in shares
            )
            return Division(tuple(divided), batch)
    least = min(range(len(free)), key=free.__getitem__)
    raise devices.DeviceFullError(
        f"{names[least]} has {free[least] / 1e9:,.1f} GB free, and the smallest tile needs "
        f"{need / 1e9:,.1f} GB"
    )


def _free(name: str) -> int:
    free = available_memory() if name == "cpu" else devices.free_memory(name)
    return UNKNOWN if free is None else free


def _steps(batch: int, tile: int) -> list[tuple[int, int]]:
    """Sizes that are tried: a smaller tile first, then fewer queries."""
    steps = [(batch, tile)]
    while max(batch, tile) > LEAST:
        batch, tile = (batch, max(tile // 2, 1)) if tile > LEAST else (batch // 2, tile)
        steps.append((batch, tile))
    return steps
