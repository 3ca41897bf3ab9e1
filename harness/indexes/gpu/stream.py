"""Rows of the host as they come to a device, tile by tile, copied while others are multiplied."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.arrays import Float32
from harness.indexes import devices
from harness.indexes.gpu.certified import Precision

if TYPE_CHECKING:
    import torch

WIDEST = 126  # powers of 2 that float32 holds without loss


@dataclass(frozen=True)
class Tiles:
    """Documents on the host, float32 [n, d], which may be a memory map.

    longest: the largest norm of one; they are divided on the device by the power of 2 that takes it
    to a norm from 1/2 to 1, which is exact. precision: what they are rounded to.
    """

    documents: Float32
    longest: float
    precision: Precision

    def stream(
        self, name: str, ranges: Sequence[tuple[int, int]]
    ) -> Iterator[tuple[int, torch.Tensor]]:
        """Copy ranges of rows to a device through two buffers.

        While a tile is multiplied, the next one is on its way: it is begun before a tile is given,
        and a buffer is free again as soon as its tile was rounded.

        Yields:
            The first row of a range, and its rows on the device.

        Raises:
            DeviceFullError: where there is no room for the buffers or for a tile.
        """
        if not ranges:
            return
        with devices.room(name):
            rows = max(high - low for low, high in ranges)
            lane = Lane.to(name, rows, self.documents.shape[1])
        try:
            for i, (low, _) in enumerate(ranges):
                if i == 0:
                    lane.begin(0, self.documents[slice(*ranges[0])])
                if i + 1 < len(ranges):
                    lane.begin(i + 1, self.documents[slice(*ranges[i + 1])])
                with devices.room(name):
                    tile = self._round(lane.arrive(i))
                lane.release(i)
                yield low, tile
        finally:
            lane.end()

    def _round(self, rows: torch.Tensor) -> torch.Tensor:
        import torch

        power = -int(np.frexp(np.float32(self.longest))[1])
        first = max(-WIDEST, min(WIDEST, power))
        scaled = rows * 2.0**first
        if power != first:
            scaled *= 2.0 ** (power - first)
        return scaled.to(getattr(torch, self.precision))


@dataclass(frozen=True)
class Lane:
    """Two buffers on the host and two on a device, and what is copied between them.

    copies: the stream of copies; None on the processor, where nothing overlaps. copied, free:
    events of each buffer: its rows have arrived; they have been read on the device.
    """

    copies: torch.cuda.Stream | None
    computes: torch.cuda.Stream | None
    host: list[torch.Tensor]
    there: list[torch.Tensor]
    copied: list[Any]
    free: list[Any]
    rows: list[int]

    @classmethod
    def to(cls, name: str, rows: int, d: int) -> Lane:
        """Make buffers of so many rows of d numbers."""
        import torch

        place, shape = devices.place(name), (rows, d)
        new_event: Any = torch.cuda.Event
        copies = open_stream(place)
        pinned = copies is not None
        return cls(
            copies,
            torch.cuda.current_stream(place) if pinned else None,
            [torch.empty(shape, dtype=torch.float32, pin_memory=pinned) for _ in range(2)],
            [torch.empty(shape, dtype=torch.float32, device=place) for _ in range(2)],
            [new_event() if pinned else None for _ in range(2)],
            [new_event() if pinned else None for _ in range(2)],
            [0, 0],
        )

    def begin(self, i: int, rows: Float32) -> None:
        """Copy rows [r, d]: to the host's buffer now, to the device's when it is free."""
        import torch

        at, count = i % 2, len(rows)
        self.rows[at] = count
        if self.copies:
            self.copied[at].synchronize()  # the copy before last has left the host's buffer
        own = rows if rows.flags.writeable else rows.copy()  # torch warns of what it may not change
        self.host[at][:count].copy_(torch.from_numpy(own))
        with torch.cuda.stream(self.copies) if self.copies else nullcontext():
            if self.copies:
                self.copies.wait_event(self.free[at])
            self.there[at][:count].copy_(self.host[at][:count], non_blocking=True)
            if self.copies:
                self.copied[at].record(self.copies)

    def arrive(self, i: int) -> torch.Tensor:
        """Rows of a copy; what is computed with them waits for it."""
        if self.computes:
            self.computes.wait_event(self.copied[i % 2])
        return self.there[i % 2][: self.rows[i % 2]]

    def release(self, i: int) -> None:
        """Let the buffer be filled again once what was asked for until now is computed."""
        if self.computes:
            self.free[i % 2].record(self.computes)

    def end(self) -> None:
        """Wait for copies, whose buffers are given back."""
        if self.copies:
            self.copies.synchronize()


def open_stream(place: torch.device) -> torch.cuda.Stream | None:
    """A stream of copies to a device; None on the processor."""
    import torch

    new: Any = torch.cuda.Stream
    return new(place) if place.type == "cuda" else None
