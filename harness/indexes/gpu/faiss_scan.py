"""Scans by flat indexes of faiss on GPUs, which hold all documents."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.arrays import Float32
from harness.indexes import devices
from harness.indexes.gpu.certified import Nearest, scale
from harness.indexes.gpu.faiss_devices import MOST, count_scratch, make_flat, take_part, using
from harness.indexes.gpu.faiss_stream import SAFE

SAFE_HALF = range(9)  # exponents of norms that 16 bits hold as well as those from 1/2 to 1


@dataclass(frozen=True)
class FaissScan:
    """Flat indexes of faiss on GPUs of these names, which divide documents where sharded.

    power: of 2, that products are divided by.
    """

    index: Any
    names: tuple[str, ...]
    sharded: bool
    power: int = 0
    most: int = MOST
    streamed: float = 0.0
    notes: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, documents: Float32, norm: float, names: tuple[str, ...], *, half: bool, sharded: bool
    ) -> FaissScan:
        """Copy documents [n, d] to devices. norm: the largest of one.

        Each device is given its documents at once: what is added later would be copied there
        together with what is there already, and both need room. The host copies them only where
        their norms are so large or small that they have to be scaled before.

        Raises:
            DeviceFullError: where a device has no room for them.
            InputError: for what faiss refuses.
        """
        n, d = documents.shape
        power = int(np.frexp(np.float32(norm))[1])
        safe = power in (SAFE_HALF if half else SAFE)
        names = names[: max(n, 1)] if sharded else names
        shares = len(names) if sharded else 1
        bounds = [n * i // shares for i in range(shares + 1)]
        with using(f"gpu: {n:,} documents on {' or '.join(names)}") as faiss:
            index = faiss.IndexShards(d, True, True) if sharded else faiss.IndexReplicas(d, True)
            for place, name in enumerate(names):
                low, high = bounds[place % shares : place % shares + 2]
                part = documents[low:high] if safe else scale(documents[low:high], norm)[0]
                flat = make_flat(name, d, half=half)
                flat.add(np.ascontiguousarray(part, np.float32))
                (index.add_shard if sharded else index.addIndex)(flat)
        power = power if safe else 0
        return cls(flat if len(names) == 1 else index, names, sharded, power)

    @staticmethod
    def count_bytes(n: int, d: int, names: tuple[str, ...], *, half: bool, sharded: bool) -> int:
        """Bytes that each device has to have free for n documents of d numbers, at most."""
        share = -(-n // len(names)) if sharded else n
        return share * (d * (2 if half else 4) + 4) + max(map(count_scratch, names))

    def batch(self, m: int) -> int:
        """Queries at a time, however many results there are of each."""
        return devices.QUERIES

    def nearest(self, queries: Float32, m: int) -> Nearest:
        """Find the documents of the highest products. Raises DeviceFullError: no room for it."""
        with using(f"faiss on {' or '.join(self.names)}"):
            products, docs = self.index.search(np.ascontiguousarray(queries), m)
        names = take_part(self.names, len(queries), sharded=self.sharded)
        return Nearest(docs, np.ldexp(products, -self.power), names)
