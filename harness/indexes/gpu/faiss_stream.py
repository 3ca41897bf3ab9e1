"""Scans by faiss of documents that stay on the host: copied to devices for each batch of queries.

For devices that faiss sees and torch does not, where the documents do not fit.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.arrays import Float32, Int64
from harness.indexes import devices
from harness.indexes.faiss_library import load_faiss
from harness.indexes.gpu.certified import Nearest, scale
from harness.indexes.gpu.faiss_devices import MOST, leave_room, share_resources, using

VECTORS = 1 << 28  # bytes of documents on a device at a time
ASKED = 1 << 26  # bytes of queries and results there at a time
SAFE = range(-20, 41)  # exponents of norms with which products in 32 bits lose nothing more


@dataclass(frozen=True)
class FaissStream:
    """Documents [n, d] on the host, of which each device scans a part.

    norm: the largest of one; names: of the devices.
    """

    documents: Float32
    norm: float
    names: tuple[str, ...]
    most: int = MOST
    streamed: float = 1.0

    @classmethod
    def of(cls, documents: Float32, norm: float, names: tuple[str, ...]) -> FaissStream:
        """Scan documents [n, d] in 32 bits; C-contiguous ones are not copied.

        Raises:
            DeviceFullError: where a device has no room for a block of them.
        """
        leave_room("the smallest block", 2 * VECTORS + ASKED, names)
        return cls(np.ascontiguousarray(documents, np.float32), norm, names)

    @property
    def notes(self) -> tuple[str, ...]:
        """Say that nothing stays on the devices."""
        names = " and ".join(self.names)
        how = "they were copied there batch by batch, in 32 bits"
        return (f"the vectors did not fit on {names}: {how}",)

    def batch(self, m: int) -> int:
        """Queries at a time: all documents are copied for each batch of them."""
        return devices.WIDER * devices.QUERIES

    def nearest(self, queries: Float32, m: int) -> Nearest:
        """Find the documents of the highest products. Raises DeviceFullError: no room for it."""
        n, asked = len(self.documents), np.ascontiguousarray(queries)
        names = self.names[:n]
        bounds = [n * i // len(names) for i in range(len(names) + 1)]

        def scan(place: int) -> tuple[Int64, Float32]:
            low, high = bounds[place : place + 2]
            return self._scan(names[place], resources[place], (low, high), (asked, m))

        with using(f"faiss on {' or '.join(names)}"), ThreadPoolExecutor(len(names)) as pool:
            resources = [share_resources(name) for name in names]
            docs, products = merge(list(pool.map(scan, range(len(names)))), m)
        return Nearest(docs, products, names)

    def _scan(
        self, name: str, resources: Any, rows: tuple[int, int], asked: tuple[Float32, int]
    ) -> tuple[Int64, Float32]:
        """The best documents of some rows, by a device. asked: queries, and results of each."""
        faiss, (low, high), (queries, m) = load_faiss(), rows, asked
        row, exponent = 4 * queries.shape[1], int(np.frexp(np.float32(self.norm))[1])
        safe = exponent in SAFE
        step, found = high - low if safe else max(1, VECTORS // row), []
        for start in range(low, high, step):
            block = self.documents[start : min(start + step, high)]
            products, docs = faiss.knn_gpu(
                resources, queries, block if safe else scale(block, self.norm)[0],
                min(m, len(block)), metric=faiss.METRIC_INNER_PRODUCT,
                device=devices.ordinal(name), use_cuvs=False,
                vectorsMemoryLimit=max(VECTORS, row), queriesMemoryLimit=ASKED,
            )  # fmt: skip
            found.append((docs + start, np.ldexp(products, -exponent) if safe else products))
        return merge(found, m)


def merge(found: list[tuple[Int64, Float32]], m: int) -> tuple[Int64, Float32]:
    """The m highest of several (documents, products) [q, ...], the highest first."""
    docs = np.concatenate([each for each, _ in found], axis=1)
    products = np.concatenate([each for _, each in found], axis=1)
    order = np.argsort(-products, axis=1, kind="stable")[:, :m]
    return np.take_along_axis(docs, order, axis=1), np.take_along_axis(products, order, axis=1)
