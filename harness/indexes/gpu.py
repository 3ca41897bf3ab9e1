"""Search on GPUs: exact, by a flat faiss index or by torch, and faiss's IVF and CAGRA.

Exact search is a scan, in 32 or 16 bits, whose best are scored again as exact search on the CPU
does it; a query's k best are certified: what the scan left out, plus the rounding error that is
possible, must be below the k-th. A query that cannot be certified (many equal scores) is scanned
for more, and then searched on the CPU. Of late interaction torch makes the rough scores, and every
document that may be among the k best is scored again. So results are those of the index `exact`, to
the bit.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from harness.arrays import Float32, Float64, Int64
from harness.errors import InputError
from harness.indexes import INDEXES, CountingSearcher, Index, Searcher, maxsim, pairwise
from harness.indexes.approximate import Approximate, at_least
from harness.indexes.exact import DenseSearcher, Exact, checked, load_faiss, longest, rounding
from harness.indexes.factory import Factory, holds_vectors, metric_number, said
from harness.indexes.pairwise import Metric
from harness.progress import Progress, silent
from harness.vectors import Dense, Embeddings, MultiVector, Representation, Run, ranking

if TYPE_CHECKING:
    import torch

    Ranked = tuple[torch.Tensor, torch.Tensor]  # products and documents [q, m]

Precision = Literal["float32", "float16", "bfloat16"]
QUERIES = 1024  # scanned with at a time, or so many of their tokens
TILE = 1 << 16  # documents multiplied at a time, or so many of their tokens
FAISS_MOST = 2048  # results of a flat faiss index on a GPU, at most
CAGRA_EF = 64  # what cuVS keeps by default
TRUNCATED = 4  # tensor cores cut the sums that IEEE arithmetic rounds
UNIT = {"float32": 0.0, "float16": 2.0**-11, "bfloat16": 2.0**-8}  # roundoff of a product


@INDEXES.register("gpu")
def gpu(
    target: str | None = None,
    *,
    precision: Precision = "float32",
    devices: str = "all",
    sharded: bool = False,
    fallback: Literal["none", "cpu"] = "none",
    metric: Metric = "ip",
    nprobe: int | None = None,
    ef_search: int | None = None,
) -> Index:
    """Search on GPUs: exact, or gpu:IVF1024_Flat, gpu:CAGRA through faiss.

    precision: of the first pass; results are exact in any. devices: all, or numbers as in 0+2.
    sharded: divide the documents among devices, else each holds all of them (torch always divides).
    fallback: where no GPU answers, cpu searches there and warns. metric, nprobe, ef_search: of what
    is not exact, as of the index faiss.

    Raises InputError for parameters that do not go together.
    """
    if target is None:
        if metric != "ip" or nprobe is not None or ef_search is not None:
            raise InputError("gpu: exact search takes no metric, nprobe or ef_search: leave it out")
        return GpuExact(precision, devices, sharded, fallback)
    if precision == "bfloat16":
        raise InputError(f"gpu:{target}: precision=bfloat16: expected float32 or float16")
    at_least(f"gpu:{target}", 1, nprobe=nprobe, ef_search=ef_search)
    inner = Factory(target, metric, nprobe=nprobe, ef_search=ef_search)
    return GpuFactory(inner, precision, devices, sharded, fallback)


class Scan(Protocol):
    """Documents on devices, divided by a power of 2 so that no norm is above 1."""

    @property
    def most(self) -> int:
        """Results of one query, at most."""

    def nearest(self, queries: Float32, m: int) -> tuple[Int64, Float32]:
        """Documents [q, m] of the highest products, the highest first, and these products."""


@dataclass(frozen=True)
class GpuExact:
    """Exact search on GPUs by inner product or, over several vectors a text, MaxSim."""

    precision: Precision = "float32"
    devices: str = "all"
    sharded: bool = False
    fallback: Literal["none", "cpu"] = "none"

    @property
    def takes(self) -> tuple[Representation, ...]:
        """One vector a text, or several."""
        return ("dense", "multi-vector")

    def require(self, makes: Representation) -> None:
        """Raises InputError where no GPU answers and no fallback is allowed."""
        load_faiss()
        chosen = _chosen(self.devices, self.fallback)
        if makes == "multi-vector" and not set(chosen) <= {"cpu"}:
            _require_torch()

    def describe(self) -> Mapping[str, object]:
        """What searches, and on how many devices; results are exact."""
        chosen = _chosen(self.devices, self.fallback)
        return {"exact": True, "devices": len(chosen), "precision": self.precision}

    def warnings(self, k: int) -> tuple[str, ...]:
        """Whether the CPU searches in place of a GPU."""
        return _fallen(_chosen(self.devices, self.fallback))

    def build(self, documents: Embeddings) -> Searcher:
        """Copy the documents to the devices. Raises InputError for NaN and for too many."""
        chosen = _chosen(self.devices, self.fallback)
        if not chosen:
            return Exact().build(documents)
        if isinstance(documents, MultiVector):
            scan_of = partial(TorchMaxSim.of, devices=chosen, precision=self.precision)
            return maxsim.MaxSimSearcher.of(documents, scan=scan_of)
        assert isinstance(documents, Dense)
        values = documents.values
        norm = longest(values)
        if load_faiss().get_num_gpus() and self.precision != "bfloat16" and chosen != ("cpu",):
            half = self.precision == "float16"
            scan: Scan = FaissScan.of(values, norm, chosen, half=half, sharded=self.sharded)
        else:
            scan = TorchScan.of(values, norm, chosen, self.precision)
        contiguous = np.ascontiguousarray(values, np.float32)
        return CertifiedSearcher(contiguous, norm, scan, self.precision)


@dataclass(frozen=True)
class CertifiedSearcher:
    """A scan whose results are scored exactly and certified. longest: the largest norm."""

    documents: Float32
    longest: float
    scan: Scan
    precision: Precision

    def search(self, queries: Embeddings, k: int, progress: Progress) -> Run:
        """The k best documents of each query [q, k]; padded where k > n."""
        n, d = self.documents.shape
        values, norms = checked(queries, d)
        q, error = len(values), _error(norms, d, self.longest, self.precision)
        keys = np.zeros((q, k), np.uint64)
        for low in range(0, q, QUERIES):
            rows = np.arange(low, min(low + QUERIES, q))
            for m in (k + k // 4 + 32, 8 * k + 256):
                rows = self._certify(values, rows, min(m, n), error, keys)
            if len(rows):
                on_cpu = DenseSearcher(self.documents, self.longest, TILE)
                run = on_cpu.search(Dense(values[rows]), k, silent)
                keys[rows] = ranking.pack(run.scores, run.docs)
            progress("search", min(low + QUERIES, q), q, "queries")
        return ranking.unpack(keys)

    def _certify(
        self, values: Float32, rows: Int64, m: int, error: Float32, keys: ranking.Keys
    ) -> Int64:
        """Fill the keys of queries that the m best of a scan decide; returns the other rows."""
        n, k = len(self.documents), keys.shape[1]
        if not len(rows) or m > self.scan.most:
            return rows
        part = values[rows]
        scaled, exponents = _scaled(part)
        docs, products = self.scan.nearest(scaled, m)
        left_out = np.ldexp(products[:, -1], exponents + np.frexp(np.float32(self.longest))[1])
        each = np.repeat(np.arange(len(rows)), m)
        scores = pairwise.dense(part, each, self.documents, docs.ravel()).reshape(docs.shape)
        found = ranking.best(ranking.pack(scores, docs), k)
        kth = ranking.unpack(found[:, min(k, n) - 1, None]).scores[:, 0]
        sure = (kth > left_out + error[rows]) | (m == n)
        keys[rows[sure]] = found[sure]
        left: Int64 = rows[~sure]
        return left


def _error(norms: Float32, d: int, longest: float, precision: Precision) -> Float32:
    """[q]: how far a scan's product may be from the exact score, for queries of these norms.

    Query, document and product are rounded once each (Higham 2002, sec. 3.1): three times u,
    and one more for products of errors; float16 is off by 2^-25 besides where it is subnormal,
    and norms are at least 1/2.
    """
    u = UNIT[precision]
    rounded = 4 * (u + 2.0**-24 * d**0.5) * longest * norms if u else np.float32(0)
    bound: Float32 = rounded + TRUNCATED * rounding(d, longest, norms)
    return bound


def _scaled(values: Float32, norm: float | None = None) -> tuple[Float32, Any]:
    """Rows [n, d] divided by powers of 2, which is exact, and the exponents: each row to a norm
    from 1/2 to 1, or all by what does this to a row of that norm.
    """
    norms = np.sqrt(np.einsum("nd,nd->n", values, values)) if norm is None else np.float32(norm)
    exponents = np.frexp(norms)[1]
    return np.ldexp(values, -exponents[:, None] if norm is None else -exponents), exponents


@dataclass(frozen=True)
class TorchScan:
    """Tiles of documents multiplied by torch. shards: (first row, documents on a device)."""

    shards: list[tuple[int, torch.Tensor]]
    most: int

    @classmethod
    def of(
        cls, documents: Float32, norm: float, devices: tuple[str, ...], precision: Precision
    ) -> TorchScan:
        """Divide documents [n, d] among devices. Raises InputError where they do not fit."""
        import torch

        n, d = documents.shape
        bounds = [n * i // len(devices) for i in range(len(devices) + 1)]
        shards = []
        for device, (low, high) in zip(devices, itertools.pairwise(bounds), strict=True):
            _refuse_too_large(device, (high - low) * d * getattr(torch, precision).itemsize)
            shard = torch.empty((high - low, d), dtype=getattr(torch, precision), device=device)
            for start in range(0, high - low, TILE):
                block, _ = _scaled(documents[low + start : min(low + start + TILE, high)], norm)
                shard[start : start + len(block)] = torch.from_numpy(block)
            shards.append((low, shard))
        return cls(shards, n)

    def nearest(self, queries: Float32, m: int) -> tuple[Int64, Float32]:
        """Documents [q, m] of the highest products, the highest first, and these products."""
        import torch

        found: list[Ranked] = []
        with _full_sums():
            for first, shard in self.shards:
                moved = torch.from_numpy(queries).to(shard.device, shard.dtype)
                best: list[Ranked] = []
                for low in range(0, len(shard), TILE):
                    products = (moved @ shard[low : low + TILE].T).float()
                    top, at = torch.topk(products, min(m, products.shape[1]), dim=1)
                    best = [_merged([*best, (top, at + (first + low))], m)]
                found.extend((top.cpu(), at.cpu()) for top, at in best)
        top, docs = _merged(found, m)
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
        cls, documents: MultiVector, longest: float, *, devices: tuple[str, ...],
        precision: Precision,
    ) -> TorchMaxSim:  # fmt: skip
        """Divide documents among devices. Raises InputError where they do not fit."""
        import torch

        offsets, kind, shards = documents.offsets, getattr(torch, precision), []
        shares = [offsets[-1] * i // len(devices) for i in range(len(devices) + 1)]
        bounds = np.searchsorted(offsets, shares).tolist()
        for device, (low, high) in zip(devices, itertools.pairwise(bounds), strict=True):
            first, last = int(offsets[low]), int(offsets[high])
            _refuse_too_large(device, (last - first) * documents.width * kind.itemsize)
            shard = torch.empty((last - first, documents.width), dtype=kind, device=device)
            for start in range(first, last, TILE):
                block, _ = _scaled(documents.values[start : min(start + TILE, last)], longest)
                shard[start - first : start - first + len(block)] = torch.from_numpy(block)
            lengths = torch.from_numpy(documents.lengths[low:high]).to(device)
            shards.append((low, high, shard, lengths))
        return cls(documents, longest, precision, shards)

    @property
    def rows(self) -> int:
        """Tokens of queries at a time."""
        return QUERIES

    def tiles(self) -> Iterator[tuple[int, int]]:
        """Ranges of documents, each on one device."""
        for first, last, _, _ in self.shards:
            for low, high in maxsim.parts(self.documents.offsets[first : last + 1], TILE, TILE):
                yield low + first, high + first

    def scores(self, queries: MultiVector, low: int, high: int) -> Float64:
        """Rough scores [q, high - low]."""
        import torch

        first, _, shard, lengths = next(each for each in self.shards if low < each[1])
        start, end = self.documents.offsets[[low, high]] - self.documents.offsets[first]
        scaled, exponents = _scaled(queries.values)
        moved = torch.from_numpy(scaled).to(shard.device, shard.dtype)
        with _full_sums():
            products = (shard[start:end] @ moved.T).float()
        own = lengths[low - first : high - first]
        highest = torch.segment_reduce(products, "max", lengths=own, axis=0).double()
        powers = np.ldexp(1.0, exponents + np.frexp(np.float32(self.longest))[1])
        each = (highest * torch.from_numpy(powers).to(shard.device)).T.contiguous()
        counts = torch.from_numpy(queries.lengths).to(shard.device)
        rough: Float64 = torch.segment_reduce(each, "sum", lengths=counts, axis=0).cpu().numpy()
        return rough

    def slack(self, norms: Float32) -> Float64:
        """[t]: twice the error of a product, which has room for rounding scores."""
        error = _error(norms, self.documents.width, self.longest, self.precision)
        return 2 * error.astype(np.float64)


def _merged(pairs: list[Ranked], m: int) -> Ranked:
    """The m highest of several (products, documents) [q, ...], the highest first."""
    import torch

    products = torch.cat([top for top, _ in pairs], dim=1)
    docs = torch.cat([at for _, at in pairs], dim=1)
    top, order = torch.topk(products, min(m, products.shape[1]), dim=1)
    return top, torch.gather(docs, 1, order)


@contextmanager
def _full_sums() -> Iterator[None]:
    """Products on GPUs without TF32 and without sums in 16 bits, as the bound supposes."""
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


@dataclass(frozen=True)
class FaissScan:
    """A flat index of faiss on GPUs."""

    index: Any
    most: int = FAISS_MOST

    @classmethod
    def of(
        cls, documents: Float32, norm: float, devices: tuple[str, ...], *, half: bool, sharded: bool
    ) -> FaissScan:
        """Copy documents [n, d] to devices. Raises InputError where faiss cannot."""
        flat = load_faiss().IndexFlatIP(documents.shape[1])
        index = _moved(flat, devices, half=half, sharded=sharded)
        try:
            index.add(_scaled(documents, norm)[0])  # at once: shards number what they are given
        except RuntimeError as error:
            raise InputError(f"gpu: faiss cannot hold the documents: {said(error)}") from error
        return cls(index)

    def nearest(self, queries: Float32, m: int) -> tuple[Int64, Float32]:
        """Documents [q, m] of the highest products, the highest first, and these products."""
        products, docs = self.index.search(queries, m)
        return docs, products


@dataclass(frozen=True)
class GpuFactory:
    """An index of faiss's factory, or CAGRA, built and searched on GPUs; kept as one of the CPU."""

    inner: Factory
    precision: Precision
    devices: str
    sharded: bool
    fallback: Literal["none", "cpu"]

    @property
    def _cagra(self) -> bool:
        return self.inner.target == "CAGRA"

    @property
    def takes(self) -> tuple[Representation, ...]:
        """One vector a text."""
        return ("dense",)

    def require(self, makes: Representation) -> None:
        """Raises InputError where no GPU answers, or this faiss cannot use it."""
        chosen, faiss = _chosen(self.devices, self.fallback), load_faiss()
        if chosen and not faiss.get_num_gpus():
            raise InputError(f"gpu:{self.inner.target} needs faiss-gpu: pip install faiss-gpu")
        if self._cagra and not hasattr(faiss, "GpuIndexCagra"):
            raise InputError("gpu:CAGRA needs faiss with cuVS: pip install faiss-gpu-cuvs")
        if not self._cagra:
            self.inner.require(makes)

    def describe(self) -> Mapping[str, object]:
        """What is built, and on how many devices it is searched."""
        chosen = _chosen(self.devices, self.fallback)
        return {**self.structure(), "devices": len(chosen), "precision": self.precision}

    def structure(self) -> Mapping[str, object]:
        """What is built, the library and where."""
        where = "gpu" if _chosen(self.devices, self.fallback) else "cpu"
        return {**self.inner.structure(), "built": where}

    def grow(self, documents: Dense, progress: Progress) -> Any:
        """Build on the first GPU. Raises InputError as the index faiss does."""
        chosen = _chosen(self.devices, self.fallback)[:1]
        if not chosen:
            return self.inner.grow(documents, progress)
        if not self._cagra:
            return self.inner.grow(
                documents,
                progress,
                moved=lambda index: _moved(index, chosen, half=False, sharded=False),
            )
        faiss, values = load_faiss(), np.ascontiguousarray(documents.values, np.float32)
        longest(values)
        kind = metric_number(self.inner.metric)
        index = faiss.GpuIndexCagra(faiss.StandardGpuResources(), values.shape[1], kind)
        index.train(values)
        progress("build", len(values), len(values), "documents")
        return faiss.index_gpu_to_cpu(index)

    def searcher(self, built: Any, documents: Dense) -> CountingSearcher:
        """The index on the GPUs, searched with nprobe or ef_search."""
        chosen = _chosen(self.devices, self.fallback)
        if not chosen:
            found = self.inner.searcher(built, documents)
            found.warnings += _fallen(chosen)
            return found
        faiss, full = load_faiss(), self._cagra or holds_vectors(built)
        half = self.precision == "float16"
        moved = _moved(built, chosen, half=half, sharded=self.sharded)
        if self.inner.nprobe is not None:
            faiss.GpuParameterSpace().set_index_parameter(moved, "nprobe", self.inner.nprobe)
        wide = {}
        if self._cagra:
            wide["params"] = faiss.SearchParametersCagra()
            wide["params"].itopk_size = self.inner.ef_search or CAGRA_EF

        def nearest(queries: Float32, m: int) -> tuple[Int64, Float32, int | None]:
            scores, docs = moved.search(queries, m, **wide)
            return docs, scores if self.inner.metric == "ip" else -scores, None

        values = np.ascontiguousarray(documents.values, np.float32)
        return Approximate(values, nearest, self.bytes(built), self.inner.metric, rescore=full)

    def build(self, documents: Embeddings) -> Searcher:
        """Build the index and search it at once."""
        assert isinstance(documents, Dense)
        return self.searcher(self.grow(documents, silent), documents)

    def write(self, built: Any, path: Path) -> None:
        """Write a faiss file. Raises OSError."""
        self.inner.write(built, path)

    def read(self, path: Path) -> Any:
        """Read it. Raises InputError."""
        return self.inner.read(path)

    def bytes(self, built: Any) -> int:
        """Codes, lists and links."""
        return self.inner.bytes(built)

    def warnings(self, k: int) -> tuple[str, ...]:
        """As of the index faiss."""
        return self.inner.warnings(k)


def _chosen(devices: str, fallback: str) -> tuple[str, ...]:
    """Devices by the names that torch gives them; none where the CPU is to stand in.

    devices=cpu runs the code of GPUs on the processor, for tests. Raises InputError.
    """
    if devices == "cpu":
        return ("cpu",)
    import torch

    count = max(torch.cuda.device_count(), load_faiss().get_num_gpus())
    if not count and fallback == "cpu":
        return ()
    if not count:
        raise InputError("gpu: no CUDA device answers: choose the index exact, or fallback=cpu")
    known = {str(number): f"cuda:{number}" for number in range(count)}
    wanted = list(known) if devices == "all" else devices.split("+")
    if not set(wanted) <= set(known):
        raise InputError(f"gpu: devices={devices}: expected all, or of {'+'.join(known)}")
    return tuple(known[number] for number in dict.fromkeys(wanted))


def _require_torch() -> None:
    """Raise InputError where torch has no GPU, whatever faiss has."""
    import torch

    if not torch.cuda.is_available():
        raise InputError(
            "gpu: torch searches late interaction and sees no CUDA device: install torch for CUDA"
        )


def _fallen(chosen: tuple[str, ...]) -> tuple[str, ...]:
    """The warning that the CPU stands in for a GPU."""
    return () if chosen else ("no CUDA device answers: the CPU searched in its place",)


def _moved(index: Any, devices: tuple[str, ...], *, half: bool, sharded: bool) -> Any:
    """A faiss index on GPUs. Raises InputError where faiss cannot."""
    faiss = load_faiss()
    options = faiss.GpuMultipleClonerOptions()
    options.useFloat16, options.shard = half, sharded
    numbers = [int(device.removeprefix("cuda:")) for device in devices]
    resources = [faiss.StandardGpuResources() for _ in numbers]
    try:
        return faiss.index_cpu_to_gpu_multiple_py(resources, index, options, numbers)
    except RuntimeError as error:
        raise InputError(f"gpu: faiss cannot move this index there: {said(error)}") from error


def _refuse_too_large(device: str, documents: int) -> None:
    """Raise InputError where documents of so many bytes and a tile do not fit on a device."""
    import torch

    if device == "cpu":
        return
    needed, free = documents + 8 * QUERIES * TILE, torch.cuda.mem_get_info(device)[0]
    if needed > free:
        raise InputError(
            f"gpu: the documents need about {needed / 1e9:,.1f} GB on {device} and "
            f"{free / 1e9:,.1f} GB are free: use more devices or precision=float16"
        )
