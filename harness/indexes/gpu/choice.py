"""Which library scans for exact search: faiss where it can and all documents fit, else torch."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from importlib.metadata import version

import numpy as np

from harness import accelerators
from harness.arrays import Float32, Int64
from harness.indexes import devices
from harness.indexes.gpu.certified import CertifiedSearcher, Precision, Scan
from harness.indexes.gpu.faiss_scan import FaissScan
from harness.indexes.gpu.torch_scan import TorchScan
from harness.vectors.lengths import check_documents

FAISS_KEEPS = 2 << 30  # bytes of a device that faiss reserves, and a tile of its products


@dataclass(frozen=True)
class FlatScan:
    """A flat index of faiss, which is asked by many queries at a time."""

    inner: FaissScan

    @property
    def most(self) -> int:
        """As faiss says."""
        return self.inner.most

    def batch(self, m: int) -> int:
        """Queries at a time."""
        return devices.QUERIES

    def nearest(self, queries: Float32, m: int) -> tuple[Int64, Float32]:
        """As faiss finds them."""
        with devices.room("a device is full"):
            return self.inner.nearest(queries, m)


@dataclass(frozen=True)
class Placement:
    """Devices by name, what is computed there, and whether faiss divides documents among them."""

    names: tuple[str, ...]
    precision: Precision
    sharded: bool

    @property
    def by_faiss(self) -> bool:
        """Whether faiss can scan there."""
        return self.precision != "bfloat16" and devices.sees("faiss", self.names)

    @property
    def by_torch(self) -> bool:
        """Whether torch can."""
        return set(self.names) == {"cpu"} or devices.sees("torch", self.names)

    def open(self, documents: Float32) -> CertifiedSearcher:
        """Make documents [n, d] searchable.

        Raises:
            InputError: for NaN or infinity, and what faiss refuses.
            DeviceFullError: where there is room on the devices for nothing.
        """
        extent = check_documents(documents)
        own = np.ascontiguousarray(documents, np.float32)
        of = partial(TorchScan.of, own, extent.most, self.names, self.precision)
        if self.by_faiss and (not self.by_torch or self._fits(own)):
            scan, deep = self._scan_by_faiss(own, extent.most), of if self.by_torch else None
            return CertifiedSearcher(own, extent, scan, self.precision, deep)
        scan = of()
        return CertifiedSearcher(own, extent, scan, self.precision, notes=scan.plan.notes)

    def _scan_by_faiss(self, documents: Float32, longest: float) -> Scan:
        half = self.precision == "float16"
        with devices.room(f"{' or '.join(self.names)} is full"):
            flat = FaissScan.of(documents, longest, self.names, half=half, sharded=self.sharded)
        return FlatScan(flat)

    def _fits(self, documents: Float32) -> bool:
        """Whether faiss can hold the documents."""
        size = documents.size * (2 if self.precision == "float16" else 4)
        share = size // len(self.names) if self.sharded else size
        return share + FAISS_KEEPS <= min(map(devices.free_memory, self.names))

    def describe(self) -> dict[str, object]:
        """Tell what scans dense vectors that fit, and what scans those of tokens."""
        by_torch = f"torch {version('torch')}" if self.by_torch else ""
        dense = accelerators.faiss_name() if self.by_faiss else by_torch
        return {"dense": dense, "multi-vector": by_torch}
