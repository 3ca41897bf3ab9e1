"""Exact search's rough scan by torch: tiles of documents multiplied on devices, all at once."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from harness.arrays import Float32
from harness.indexes import devices
from harness.indexes.gpu.arithmetic import full_sums
from harness.indexes.gpu.certified import Nearest, Precision
from harness.indexes.gpu.memory import (
    COUNTED,
    FOUND,
    Division,
    Share,
    Sizes,
    copied_at_a_time,
    cut,
    divide,
)
from harness.indexes.gpu.stream import Tiles

if TYPE_CHECKING:
    import torch

    Ranked = tuple[torch.Tensor, torch.Tensor]  # products and documents [q, m]

T = TypeVar("T")
FEW = 16  # queries that are not divided where a device is full
ROWS = 64  # documents likewise


@dataclass(frozen=True)
class TorchScan:
    """Documents on devices as planned; held: those that stay, of each device."""

    tiles: Tiles
    plan: Division
    held: tuple[torch.Tensor, ...]

    @classmethod
    def of(
        cls, documents: Float32, norm: float, names: tuple[str, ...], precision: Precision
    ) -> TorchScan:
        """Divide documents [n, d] among devices. Raises DeviceFullError where none fits."""
        n, d = documents.shape
        bounds = [n * i // len(names) for i in range(len(names) + 1)]
        sizes = Sizes(d, itemsize(precision), COUNTED, n, wider=True)
        return cls.of_plan(Tiles(documents, norm, precision), divide(bounds, names, sizes))

    @classmethod
    def of_plan(cls, tiles: Tiles, plan: Division) -> TorchScan:
        """Copy what is to stay, to all devices at once."""
        kept = each_device([partial(hold, tiles, share) for share in plan.shares])
        shares = tuple(share for share, _ in kept)
        return cls(tiles, replace(plan, shares=shares), tuple(held for _, held in kept))

    @property
    def most(self) -> int:
        """As many as there are documents."""
        return len(self.tiles.documents)

    @property
    def notes(self) -> tuple[str, ...]:
        """Say what does not stay on the devices."""
        return self.plan.notes

    @property
    def streamed(self) -> float:
        """Part that does not stay there."""
        return self.plan.streamed

    def batch(self, m: int) -> int:
        """Queries at a time: as planned, fewer where many results of each are held."""
        return max(1, min(self.plan.batch, FOUND // m))

    def nearest(self, queries: Float32, m: int) -> Nearest:
        """Find the documents of the highest products. Raises DeviceFullError: no room for a few."""
        works = [
            partial(_search, self.tiles, share, held, queries, m)
            for share, held in zip(self.plan.shares, self.held, strict=True)
        ]
        with full_sums():
            found = each_device(works)
        top, docs = merge([ranked for ranked, _ in found], m)
        shares = self.plan.shares
        names = dict.fromkeys(share.name for share in shares if share.high > share.low)
        tight = [share.name for share, (_, full) in zip(shares, found, strict=True) if full]
        return Nearest(docs.numpy(), top.numpy(), tuple(names), devices.note_tight(tight))


def each_device(works: Sequence[Callable[[], T]]) -> list[T]:
    """Do what each device has to do, all at the same time, in threads that have no settings."""
    with ThreadPoolExecutor(len(works)) as pool:
        return [task.result() for task in [pool.submit(work) for work in works]]


def hold(tiles: Tiles, share: Share) -> tuple[Share, torch.Tensor]:
    """Copy what is to stay on a device: half of it where it has become too much, and so on."""
    import torch

    name, d = share.name, tiles.documents.shape[1]
    rows = share.resident - share.low
    while True:
        try:
            with devices.room(name):
                kind = getattr(torch, tiles.precision)
                held = torch.empty((rows, d), dtype=kind, device=devices.place(name))
            end = share.low + rows
            for low, tile in tiles.stream(name, cut(share.low, end, copied_at_a_time(d))):
                held[low - share.low : low - share.low + len(tile)].copy_(tile)
            return replace(share, resident=end), held
        except devices.DeviceFullError:
            if not rows:
                raise
            rows //= 2


def _search(
    tiles: Tiles, share: Share, held: torch.Tensor, queries: Float32, m: int
) -> tuple[Ranked, bool]:
    """The best of a device's documents, on the host; by halves of all where it is full.

    Returns:
        These, and whether it was too full for what was planned.

    Raises:
        DeviceFullError: where there is no room for the least either.
    """
    import torch

    try:
        with devices.room(share.name):
            return _scan(tiles, share, held, queries, m)
    except devices.DeviceFullError:
        if len(queries) <= FEW and share.tile <= ROWS:
            raise
    share = replace(share, tile=max(share.tile // 2, min(share.tile, ROWS)))
    half = len(queries) // 2 if len(queries) > FEW else len(queries)
    halves = [
        _search(tiles, share, held, part, m)[0]
        for part in (queries[:half], queries[half:])
        if len(part)
    ]
    return (torch.cat([top for top, _ in halves]), torch.cat([docs for _, docs in halves])), True


def _scan(
    tiles: Tiles, share: Share, held: torch.Tensor, queries: Float32, m: int
) -> tuple[Ranked, bool]:
    """Multiply what stays and what is streamed, tile by tile; copied to the host at the end."""
    import torch

    asked = torch.from_numpy(queries).to(held.device, held.dtype)
    none = torch.empty((len(queries), 0), dtype=torch.float32, device=held.device)
    best, rows = (none, none.long()), share.tile
    resident = (
        (low, held[low - share.low : high - share.low])
        for low, high in cut(share.low, share.resident, share.tile)
    )
    for first, tile in itertools.chain(resident, tiles.stream(share.name, share.ranges())):
        low = 0
        while low < len(tile):
            try:
                with devices.room(share.name):
                    best = _add(best, asked, tile[low : low + rows], first + low, m)
                low += rows
            except devices.DeviceFullError:
                if rows <= ROWS:
                    raise
                rows = max(rows // 2, ROWS)
    return (best[0].cpu(), best[1].cpu()), rows < share.tile


def _add(best: Ranked, asked: torch.Tensor, tile: torch.Tensor, first: int, m: int) -> Ranked:
    """The m best so far and of a tile, whose first row has a number."""
    import torch

    products = (asked @ tile.T).float()
    top, at = torch.topk(products, min(m, products.shape[1]), dim=1)
    return merge([best, (top, at + first)], m)


def merge(pairs: list[Ranked], m: int) -> Ranked:
    """The m highest of several (products, documents) [q, ...], the highest first."""
    import torch

    products = torch.cat([top for top, _ in pairs], dim=1)
    docs = torch.cat([at for _, at in pairs], dim=1)
    top, order = torch.topk(products, min(m, products.shape[1]), dim=1)
    return top, torch.gather(docs, 1, order)


def itemsize(precision: Precision) -> int:
    """Bytes of a number."""
    return 4 if precision == "float32" else 2
