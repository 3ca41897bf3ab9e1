"""Scans by torch: tiles of documents, or of their tokens, multiplied on devices."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from harness.arrays import Float32, Float64, Int64
from harness.indexes import devices, maxsim
from harness.indexes.gpu.certified import Precision, rounding_error, scale
from harness.vectors import MultiVector

if TYPE_CHECKING:
    import torch

    Ranked = tuple[torch.Tensor, torch.Tensor]  # products and documents [q, m]


@dataclass(frozen=True)
class TorchScan:
    """Tiles of documents multiplied by torch. shards: (first row, documents on a device)."""

    shards: list[tuple[int, torch.Tensor]]
    most: int

    @classmethod
    def of(
        cls, documents: Float32, norm: float, names: tuple[str, ...], precision: Precision
    ) -> TorchScan:
        """Divide documents [n, d] among devices. Raises InputError where they do not fit."""
        import torch

        n, d = documents.shape
        bounds = [n * i // len(names) for i in range(len(names) + 1)]
        shards = []
        for device, (low, high) in zip(names, itertools.pairwise(bounds), strict=True):
            devices.refuse_too_large(device, (high - low) * d * getattr(torch, precision).itemsize)
            shard = torch.empty((high - low, d), dtype=getattr(torch, precision), device=device)
            for start in range(0, high - low, devices.TILE):
                block, _ = scale(
                    documents[low + start : min(low + start + devices.TILE, high)], norm
                )
                shard[start : start + len(block)] = torch.from_numpy(block)
            shards.append((low, shard))
        return cls(shards, n)

    def nearest(self, queries: Float32, m: int) -> tuple[Int64, Float32]:
        """Find the documents [q, m] of the highest products, highest first, and the products."""
        import torch

        found: list[Ranked] = []
        with full_sums():
            for first, shard in self.shards:
                moved = torch.from_numpy(queries).to(shard.device, shard.dtype)
                best: list[Ranked] = []
                for low in range(0, len(shard), devices.TILE):
                    products = (moved @ shard[low : low + devices.TILE].T).float()
                    top, at = torch.topk(products, min(m, products.shape[1]), dim=1)
                    best = [_merge([*best, (top, at + (first + low))], m)]
                found.extend((top.cpu(), at.cpu()) for top, at in best)
        top, docs = _merge(found, m)
        return docs.numpy(), top.numpy()


@dataclass(frozen=True)
class TorchMaxSim:
    """Tiles of documents' tokens multiplied by torch, rough MaxSim for the certified search.

    documents: each with tokens; longest: the largest norm of one; shards: (first document, those
    after the last, their tokens and their numbers of tokens on a device), divided by a power of 2.
    """

    documents: MultiVector
    longest: float
    precision: Precision
    shards: list[tuple[int, int, torch.Tensor, torch.Tensor]]

    @classmethod
    def of(
        cls, documents: MultiVector, longest: float, *, names: tuple[str, ...],
        precision: Precision,
    ) -> TorchMaxSim:  # fmt: skip
        """Divide documents among devices. Raises InputError where they do not fit."""
        import torch

        offsets, kind, shards = documents.offsets, getattr(torch, precision), []
        shares = [offsets[-1] * i // len(names) for i in range(len(names) + 1)]
        bounds = np.searchsorted(offsets, shares).tolist()
        for device, (low, high) in zip(names, itertools.pairwise(bounds), strict=True):
            first, last = int(offsets[low]), int(offsets[high])
            devices.refuse_too_large(device, (last - first) * documents.dim * kind.itemsize)
            shard = torch.empty((last - first, documents.dim), dtype=kind, device=device)
            for start in range(first, last, devices.TILE):
                block, _ = scale(documents.values[start : min(start + devices.TILE, last)], longest)
                shard[start - first : start - first + len(block)] = torch.from_numpy(block)
            lengths = torch.from_numpy(documents.lengths[low:high]).to(device)
            shards.append((low, high, shard, lengths))
        return cls(documents, longest, precision, shards)

    @property
    def rows(self) -> int:
        """Tokens of queries at a time."""
        return devices.QUERIES

    def tiles(self) -> Iterator[tuple[int, int]]:
        """List ranges of documents, each on one device."""
        for first, last, _, _ in self.shards:
            for low, high in maxsim.parts(
                self.documents.offsets[first : last + 1], devices.TILE, devices.TILE
            ):
                yield low + first, high + first

    def scores(self, queries: MultiVector, low: int, high: int) -> Float64:
        """Compute rough scores [q, high - low]."""
        import torch

        first, _, shard, lengths = next(each for each in self.shards if low < each[1])
        start, end = self.documents.offsets[[low, high]] - self.documents.offsets[first]
        scaled, exponents = scale(queries.values)
        moved = torch.from_numpy(scaled).to(shard.device, shard.dtype)
        with full_sums():
            products = (shard[start:end] @ moved.T).float()
        own = lengths[low - first : high - first]
        highest = torch.segment_reduce(products, "max", lengths=own, axis=0).double()
        powers = np.ldexp(1.0, exponents + np.frexp(np.float32(self.longest))[1])
        each = (highest * torch.from_numpy(powers).to(shard.device)).T.contiguous()
        counts = torch.from_numpy(queries.lengths).to(shard.device)
        rough: Float64 = torch.segment_reduce(each, "sum", lengths=counts, axis=0).cpu().numpy()
        return rough

    def slack(self, norms: Float32) -> Float64:
        """Bound twice the error of a product, for tokens [t]: room for rounding scores."""
        error = rounding_error(norms, self.documents.dim, self.longest, self.precision)
        return 2 * error.astype(np.float64)


def _merge(pairs: list[Ranked], m: int) -> Ranked:
    """The m highest of several (products, documents) [q, ...], the highest first."""
    import torch

    products = torch.cat([top for top, _ in pairs], dim=1)
    docs = torch.cat([at for _, at in pairs], dim=1)
    top, order = torch.topk(products, min(m, products.shape[1]), dim=1)
    return top, torch.gather(docs, 1, order)


@contextmanager
def full_sums() -> Iterator[None]:
    """Multiply on GPUs without TF32 and without sums in 16 bits, as the bound supposes."""
    import torch

    matmul = torch.backends.cuda.matmul
    names = ["allow_fp16_reduced_precision_reduction", "allow_bf16_reduced_precision_reduction"]
    before = {name: getattr(matmul, name) for name in ["allow_tf32", *names]}
    try:
        for name in before:
            setattr(matmul, name, False)
        yield
    finally:
        for name, value in before.items():
            setattr(matmul, name, value)
