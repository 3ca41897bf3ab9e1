"""Rough MaxSim by torch: tiles of documents' tokens multiplied on devices, for the exact search."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from harness.arrays import Float32, Float64, Int64
from harness.errors import reason
from harness.indexes import devices, maxsim, ragged
from harness.indexes.gpu.arithmetic import full_sums
from harness.indexes.gpu.certified import Precision, rounding_error, scale
from harness.indexes.gpu.memory import Division, Share, Sizes, divide
from harness.indexes.gpu.stream import Tiles
from harness.indexes.gpu.torch_scan import ROWS, each_device, hold, itemsize
from harness.indexes.maxsim import Rough
from harness.threads import work_ahead
from harness.vectors import MultiVector

if TYPE_CHECKING:
    import torch

T = TypeVar("T")
SHORT = 4  # documents of a tile: its tokens by so many, at most
HIGHEST = 20 // SHORT + 1  # bytes a product of documents' highest: float32, float64 twice
MOST = 1 << 18  # documents that the processor compares at a time


@dataclass(frozen=True)
class TorchMaxSim:
    """Documents' tokens on devices as planned, rough MaxSim for the certified search.

    documents: each with tokens; tiles: their tokens; held: those that stay, of each device.
    """

    documents: MultiVector
    tiles: Tiles
    plan: Division
    held: tuple[torch.Tensor, ...]

    @classmethod
    def of(
        cls, documents: MultiVector, longest: float, *, names: tuple[str, ...],
        precision: Precision,
    ) -> TorchMaxSim:  # fmt: skip
        """Divide documents among devices. Raises DeviceFullError where none fits."""
        offsets = documents.offsets
        shares = [offsets[-1] * i // len(names) for i in range(len(names) + 1)]
        bounds = offsets[np.searchsorted(offsets, shares)].tolist()
        sizes = Sizes(
            documents.dim, itemsize(precision), HIGHEST, 0, wider=False,
            longest=int(documents.lengths.max(initial=1)),
        )  # fmt: skip
        tiles = Tiles(documents.values, longest, precision)
        return cls.of_plan(documents, tiles, divide(bounds, names, sizes))

    @classmethod
    def of_plan(cls, documents: MultiVector, tiles: Tiles, plan: Division) -> TorchMaxSim:
        """Copy what is to stay, to all devices at once."""
        whole = [_whole(share, documents.offsets) for share in plan.shares]
        kept = each_device([partial(hold, tiles, share) for share in whole])
        shares = tuple(_whole(share, documents.offsets) for share, _ in kept)
        return cls(documents, tiles, replace(plan, shares=shares), tuple(held for _, held in kept))

    @property
    def notes(self) -> tuple[str, ...]:
        """Tell what is streamed."""
        return self.plan.notes

    @property
    def streamed(self) -> float:
        """Part that does not stay there."""
        return self.plan.streamed

    def compare(self, queries: MultiVector) -> Iterator[Rough]:
        """Rough scores, part by part, of one device after the other while all compare."""
        cuts = ragged.parts(queries.offsets, self.plan.batch, len(queries))
        asked = [(low, ragged.take_texts(queries, low, high)) for low, high in cuts]
        works = [
            _Device(self, share, held).compare(asked)
            for share, held in zip(self.plan.shares, self.held, strict=True)
        ]
        with full_sums():
            yield from work_ahead(works)

    def slack(self, norms: Float32) -> Float64:
        """Bound twice the error of a product, for tokens [t]: room for rounding scores."""
        error = rounding_error(norms, self.documents.dim, self.tiles.longest, self.tiles.precision)
        return 2 * error.astype(np.float64)


@dataclass(frozen=True)
class _Piece:
    """Queries from a row on, and the documents from a row up to another, to be compared.

    tight: whether a device had no room for more at a time.
    """

    row: int
    texts: MultiVector
    low: int
    high: int
    tight: bool = False


@dataclass(frozen=True)
class _Device:
    """What one device compares."""

    scan: TorchMaxSim
    share: Share
    held: torch.Tensor

    def compare(self, asked: Sequence[tuple[int, MultiVector]]) -> Iterator[Rough]:
        """Rough scores of every tile and of every part of the queries, by row of its first.

        Smaller ones where the device is full; where there is no room for one document and one
        query, the processor compares what is left.
        """
        offsets, tile, why = self.scan.documents.offsets, self.share.tile, ""
        done, last = np.searchsorted(offsets, [self.share.low, self.share.high]).tolist()
        while done < last and not why:
            try:
                for low, high, tokens in self._tiles(done, last, tile):
                    tight = tile < self.share.tile
                    todo = [_Piece(row, texts, low, high, tight) for row, texts in asked[::-1]]
                    while todo and not why:
                        why = yield from self._try(todo, tokens, int(offsets[low]))
                    yield from self._compare_here(todo[::-1], why)
                    done = high
                    if why:
                        break
            except devices.DeviceFullError as error:
                why, tile = reason(error) if tile <= ROWS else "", max(tile // 2, ROWS)
        yield from self._compare_here([_Piece(*each, done, last) for each in asked], why)

    def _tiles(self, first: int, last: int, rows: int) -> Iterator[tuple[int, int, torch.Tensor]]:
        """Documents from a row up to another, and their tokens on the device, at most so many."""
        offsets = self.scan.documents.offsets
        kept = max(first, int(np.searchsorted(offsets, self.share.resident)))
        for low, high in _parts(offsets, first, kept, rows):
            start, end = (offsets[[low, high]] - self.share.low).tolist()
            yield low, high, self.held[start:end]
        cuts = list(_parts(offsets, kept, last, rows))
        ranges = [(int(offsets[low]), int(offsets[high])) for low, high in cuts]
        streamed = self.scan.tiles.stream(self.share.name, ranges)
        for (low, high), (_, tokens) in zip(cuts, streamed, strict=True):
            yield low, high, tokens

    def _try(
        self, todo: list[_Piece], tokens: torch.Tensor, start: int
    ) -> Generator[Rough, None, str]:
        """Compare the last piece, or put halves of it there; returns why neither can be."""
        piece = todo.pop()
        low, high = piece.low, piece.high
        own = slice(*(self.scan.documents.offsets[[low, high]] - start).tolist())
        try:
            with devices.room(self.share.name):
                rough = self._score(piece.texts, low, high, tokens[own])
        except devices.DeviceFullError as error:
            halves = _halve(piece)
            todo.extend(halves or [piece])
            return "" if halves else reason(error)
        queries = piece.row, piece.row + len(piece.texts)
        yield Rough(queries, (low, high), rough, self.share.name, tight=piece.tight)
        return ""

    def _score(self, queries: MultiVector, low: int, high: int, tokens: torch.Tensor) -> Float64:
        """Rough scores [q, high - low]."""
        import torch

        scaled, exponents = scale(queries.values)
        moved = torch.from_numpy(scaled).to(tokens.device, tokens.dtype)
        own = torch.from_numpy(self.scan.documents.lengths[low:high]).to(tokens.device)
        products = (tokens @ moved.T).float()
        highest = torch.segment_reduce(products, "max", lengths=own, axis=0)
        del products
        longest = np.frexp(np.float32(self.scan.tiles.longest))[1]
        powers = torch.from_numpy(np.ldexp(1.0, exponents + longest)).to(tokens.device)
        each = highest.double().mul_(powers).T.contiguous()
        counts = torch.from_numpy(queries.lengths).to(tokens.device)
        rough: Float64 = torch.segment_reduce(each, "sum", lengths=counts, axis=0).cpu().numpy()
        return rough

    def _compare_here(self, pieces: Sequence[_Piece], why: str) -> Iterator[Rough]:
        """Rough scores by the processor, whose products are nearer than the bound of the scan."""
        documents = self.scan.documents
        for piece in pieces:
            row, low = piece.row, piece.low
            some = MultiVector(documents.values, documents.offsets[low : piece.high + 1])
            for part in maxsim.ArrayScan(some, self.scan.tiles.longest, MOST).compare(piece.texts):
                (first, last), (start, end) = part.queries, part.documents
                asked, compared = (first + row, last + row), (start + low, end + low)
                yield Rough(asked, compared, part.scores, why=why)


def _halve(piece: _Piece) -> list[_Piece]:
    """Halves of the queries, or of the documents of one query; none of one of each."""
    row, texts, tight = piece.row, piece.texts, replace(piece, tight=True)
    if (half := len(texts) // 2) > 0:
        first = ragged.take_texts(texts, 0, half)
        second = ragged.take_texts(texts, half, len(texts))
        return [replace(tight, row=row + half, texts=second), replace(tight, texts=first)]
    middle = (piece.low + piece.high) // 2
    halves = [replace(tight, low=middle), replace(tight, high=middle)]
    return halves if middle > piece.low else []


def _parts(offsets: Int64, low: int, high: int, rows: int) -> Iterator[tuple[int, int]]:
    """Documents from a row up to another, in ranges of so many tokens, and a share of texts."""
    for first, last in ragged.parts(offsets[low : high + 1], rows, max(1, rows // SHORT)):
        yield first + low, last + low


def _whole(share: Share, offsets: Int64) -> Share:
    """A share of which whole documents stay."""
    last = int(np.searchsorted(offsets, share.resident, side="right")) - 1
    return replace(share, resident=max(share.low, int(offsets[last])))
