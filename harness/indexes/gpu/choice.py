"""Which library scans for exact search: faiss where it can and all documents fit, else torch."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version

import numpy as np

from harness import accelerators
from harness.arrays import Float32
from harness.indexes import devices
from harness.indexes.gpu.certified import CertifiedSearcher, Precision
from harness.indexes.gpu.faiss_scan import FaissScan
from harness.indexes.gpu.faiss_stream import FaissStream
from harness.indexes.gpu.torch_scan import TorchScan
from harness.vectors.lengths import check_documents


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
        by_torch = partial(TorchScan.of, own, extent.most, self.names, self.precision)
        if self.by_faiss and self._fits(own):
            with suppress(devices.DeviceFullError):  # another process may have been sooner
                half = self.precision == "float16"
                flat = FaissScan.of(own, extent.most, self.names, half=half, sharded=self.sharded)
                deep = by_torch if self.by_torch else None
                return CertifiedSearcher(own, extent, flat, self.precision, deep)
        if self.by_torch:
            return CertifiedSearcher(own, extent, by_torch(), self.precision)
        stream = FaissStream.of(own, extent.most, self.names)
        return CertifiedSearcher(own, extent, stream, "float32")

    def _fits(self, documents: Float32) -> bool:
        """Whether faiss can hold the documents."""
        n, d = documents.shape
        half = self.precision == "float16"
        needed = FaissScan.count_bytes(n, d, self.names, half=half, sharded=self.sharded)
        return all(devices.has_room(name, needed) for name in self.names)

    def describe(self) -> dict[str, object]:
        """Tell what scans dense vectors that fit, and what scans those of tokens."""
        by_torch = f"torch {version('torch')}" if self.by_torch else ""
        dense = accelerators.faiss_name() if self.by_faiss else by_torch
        return {"dense": dense, "multi-vector": by_torch}
