"""Classes and functions of the fake of faiss's GPU module; see faiss_gpu."""

from __future__ import annotations

import weakref
from types import SimpleNamespace
from typing import Any

import numpy as np

from harness.indexes.faiss_library import load_faiss
from harness.indexes.gpu import certified
from tests.indexes.faiss_gpu_machine import Machine, Resources, fail, thrown

MOST = 2048  # GPU_MAX_SELECTION_K of DeviceDefs.cuh
LOWEST = np.finfo(np.float32).min
CODES = (1, 2, 3, 4, 8, 12, 16, 20, 24, 28, 32, 40, 48, 56, 64, 96)  # IVFPQ.cu
SHARED = 48 << 10  # bytes of shared memory of a block
# of GpuScalarQuantizer.cuh
SQ_TYPES = ("8bit", "8bit_uniform", "8bit_direct", "4bit", "4bit_uniform", "fp16")
TOGETHER = 64  # queries multiplied at a time


def rough(
    machine: Machine, queries: Any, documents: Any, k: int, metric: int, *, half: bool
) -> tuple[Any, Any]:
    """Nearest documents as a GPU may find them: products off by up to a share of their bound.

    Ties are in any order, and places beyond the last document are -1.
    """
    n, d = documents.shape
    scores, labels = np.full((len(queries), k), LOWEST), np.full((len(queries), k), -1, np.int64)
    product = metric == load_faiss().METRIC_INNER_PRODUCT
    precision = "float16" if half else "float32"
    longest = float(np.linalg.norm(documents.astype(np.float64), axis=1).max(initial=0))
    for low in range(0, len(queries) if n else 0, TOGETHER):
        part = queries[low : low + TOGETHER].astype(np.float64)
        norms = np.linalg.norm(part, axis=1)
        whole = certified.rounding_error(norms, d, longest, precision).astype(np.float64)
        bound = machine.share * whole
        off = machine.random.uniform(-1, 1, (len(part), n))
        off = np.where(np.abs(off) > 0.5, np.sign(off), off) * bound[:, None]
        true = _compare(part, documents.astype(np.float64), product=product)
        if half:
            rounded = _compare(_half(part), _half(documents), product=product)
            room = np.maximum(np.abs(bound[:, None]) - np.abs(rounded - true), 0)
            off = rounded - true + np.clip(off, -room, room)
        if machine.share < 1:  # rounded to float32 it is within the bound, too
            most = np.maximum(whole[:, None] - np.spacing(np.abs(true).astype(np.float32)), 0)
            off = np.clip(off, -most, most)
        found = (true + off).astype(np.float32)
        mixed = machine.random.permutation(n)
        best = mixed[np.argsort(-found[:, mixed], axis=1, kind="stable")[:, :k]]
        rows = slice(low, low + len(part))
        scores[rows, : min(k, n)] = np.take_along_axis(found, best, axis=1)
        labels[rows, : min(k, n)] = best
    return (scores if product else -scores), labels


def _half(values: Any) -> Any:
    return values.astype(np.float16).astype(np.float64)


def _compare(queries: Any, documents: Any, *, product: bool) -> Any:
    products = queries @ documents.T
    if product:
        return products
    return 2 * products - (queries**2).sum(1)[:, None] - (documents**2).sum(1)[None]


class GpuIndex:
    """An index on a device. cpu: what it holds, as an index of the CPU."""

    metric_arg = 0.0
    verbose = False

    def __init__(self, resources: Resources, cpu: Any, device: int) -> None:
        resources.start(device)
        self.resources, self.machine, self.cpu = resources, resources.machine, cpu
        self._device, self._held = device, SimpleNamespace(size=0)
        self.machine.moves.append((type(self).__name__, device))
        release, held = self.machine.release, self._held
        weakref.finalize(self, lambda: release(device, held.size))

    def hold(self, more: int, *, again: bool = False) -> None:
        """Allocate; `again`: what was there is copied to a larger place, and both are held then."""
        size = self._held.size + more
        self.machine.allocate(self._device, size if again else more)
        if again:
            self.machine.release(self._device, self._held.size)
        self._held.size = size

    d = property(lambda self: self.cpu.d)
    ntotal = property(lambda self: self.cpu.ntotal)
    is_trained = property(lambda self: self.cpu.is_trained)
    metric_type = property(lambda self: self.cpu.metric_type)

    def getDevice(self) -> int:
        """The device."""
        return self._device

    def train(self, x: Any) -> None:
        """Learn."""
        self.cpu.train(self.checked(x))

    def checked(self, x: Any) -> Any:
        """Vectors as faiss takes them: they are read by pointer."""
        assert x.shape[1:] == (self.d,), "assert d == self.d"
        assert (x.dtype, x.flags.c_contiguous) == (np.float32, True), "faiss would copy it"
        return x

    def search(self, x: Any, k: int, params: Any = None) -> tuple[Any, Any]:
        """Find the nearest. Raises RuntimeError as GpuIndex.cu and IndexUtils.cu do."""
        x = self.checked(x)
        if not self.is_trained:
            raise fail("GpuIndex::search", "this->is_trained", "Index not trained")
        if not 0 < k <= MOST:
            what = f"GPU index only supports min/max-K selection up to {MOST} (requested {k})"
            raise fail(
                "void faiss::gpu::validateKSelect(int)", "k > 0 && k <= getMaxKSelection()", what
            )
        name = type(self).__name__
        self.machine.searches.append((name, self._device, len(x), k))
        with self.resources.taken(self._device, len(x) * (4 * self.d + 12 * k)):
            return self.find(x, k, params)

    def find(self, x: Any, k: int, params: Any) -> tuple[Any, Any]:
        """As of each class."""
        raise NotImplementedError

    def to_cpu(self) -> Any:
        """Fetch it."""
        return load_faiss().clone_index(self.cpu)


class GpuIndexFlat(GpuIndex):
    """Exact but for rounding. It is made of (resources, index, config) or of
    (resources, d, metric, config)."""

    def __init__(self, resources: Resources, first: Any, *rest: Any) -> None:
        faiss, (*metric, config) = load_faiss(), rest
        cpu = faiss.IndexFlat(first, *metric) if metric else None
        made = cpu or faiss.IndexFlat(first.d, first.metric_type)
        super().__init__(resources, made, config.device)
        self.half = config.useFloat16
        if cpu is None and first.ntotal:
            self.add(faiss.rev_swig_ptr(first.get_xb(), first.ntotal * first.d).reshape(-1, self.d))

    def add(self, x: Any) -> None:
        """Append; FlatIndex.cu reserves exactly, so a second add copies what was there."""
        x = self.checked(x)
        self.hold(len(x) * (self.d * (2 if self.half else 4) + 4), again=True)
        self.cpu.add(x)  # `rough` rounds, and needs to know what exact products are

    def train(self, x: Any) -> None:
        """Nothing to learn."""

    def reset(self) -> None:
        """Drop what it holds."""
        self.machine.release(self._device, self._held.size)
        self._held.size = 0
        self.cpu.reset()

    def find(self, x: Any, k: int, params: Any) -> tuple[Any, Any]:
        """Search."""
        n = self.ntotal
        stored = load_faiss().rev_swig_ptr(self.cpu.get_xb(), n * self.d) if n else np.empty(0)
        stored = stored.reshape(n, self.d)
        return rough(self.machine, x, stored, k, self.metric_type, half=self.half)


class GpuIndexIVF(GpuIndex):
    """Lists, of a copy of an index of the CPU."""

    def __init__(self, resources: Resources, cpu: Any, config: Any) -> None:
        faiss = load_faiss()
        if cpu.nprobe > MOST:  # GpuIndexIVF.cu: copyFrom
            what = f"GPU index only supports nprobe <= {MOST}; passed {cpu.nprobe}"
            raise fail("GpuIndexIVF::copyFrom", "index->nprobe <= getMaxKSelection()", what)
        if not isinstance(faiss.downcast_index(cpu.quantizer), faiss.IndexFlat):
            raise unknown()
        self.check(cpu, config)
        super().__init__(resources, faiss.clone_index(cpu), config.device)
        self.nprobe, self.cp = cpu.nprobe, self.cpu.cp
        self.hold(self.ntotal * (self.cpu.code_size + 8) + 4 * self.d * self.nlist)

    nlist = property(lambda self: self.cpu.nlist)
    quantizer = property(lambda self: self.cpu.quantizer)

    def check(self, cpu: Any, config: Any) -> None:
        """Check what a GPU can. Raises RuntimeError."""

    def add(self, x: Any) -> None:
        """Append; a list below 4 MiB doubles its place (DeviceVector.cuh): twice what it needs."""
        x = self.checked(x)
        if not self.is_trained:
            raise fail("GpuIndex::add_with_ids", "this->is_trained", "Index not trained")
        self.hold(2 * len(x) * (self.cpu.code_size + 8))
        self.cpu.add(x)

    def find(self, x: Any, k: int, params: Any) -> tuple[Any, Any]:
        """Search; what is equally near comes in any order, and scores are off a little."""
        if not 0 < self.nprobe <= MOST:
            what = (
                f"GPU IVF index only supports nprobe selection up to {MOST} "
                f"(requested {self.nprobe})"
            )
            raise fail("void faiss::gpu::validateNProbe(size_t)", "nprobe > 0 && ...", what)
        self.cpu.nprobe = self.nprobe
        more = min(k + 8, max(self.ntotal, k))
        scores, labels = self.cpu.search(x, more)
        sign = 1 if self.metric_type == load_faiss().METRIC_INNER_PRODUCT else -1
        noise = self.machine.random.uniform(-1e-7, 1e-7, scores.shape)
        off = np.where(labels >= 0, scores + np.abs(scores) * noise, -sign * np.inf)
        order = np.argsort(-sign * off, axis=1, kind="stable")[:, :k]
        found = np.take_along_axis(np.where(labels >= 0, off, scores), order, axis=1)
        return found.astype(np.float32), np.take_along_axis(labels, order, axis=1)


class GpuIndexIVFFlat(GpuIndexIVF):
    """Lists of vectors of 32 bits: useFloat16 does not reach it (GpuCloner.cpp)."""


class GpuIndexIVFScalarQuantizer(GpuIndexIVF):
    """Lists of vectors with fewer bits for each number."""

    def check(self, cpu: Any, config: Any) -> None:
        """Check the kind of bits, once it is trained: before, nothing does."""
        if cpu.is_trained:
            self.check_kind(cpu)

    def train(self, x: Any) -> None:
        """Check the kind of bits, and learn."""
        self.check_kind(self.cpu)
        super().train(x)

    @staticmethod
    def check_kind(cpu: Any) -> None:
        """Raise RuntimeError for bits that GPUs have not."""
        kinds = [getattr(load_faiss().ScalarQuantizer, f"QT_{name}") for name in SQ_TYPES]
        if cpu.sq.qtype not in kinds:
            what = "Unsupported scalar QuantizerType on GPU"
            raise fail("verifySQSettings_", "isSQSupported(sq.qtype)", what)


class GpuIndexIVFPQ(GpuIndexIVF):
    """Lists of codes. Its useFloat16 is of tables that distances are looked up in."""

    pq = property(lambda self: self.cpu.pq)

    def train(self, x: Any) -> None:
        """Learn, without what only filters of the CPU need."""
        self.cpu.do_polysemous_training = False
        super().train(x)

    def check(self, cpu: Any, config: Any) -> None:
        """Check what GpuIndexIVFPQ.cu checks without cuVS."""
        m, where = cpu.pq.M, "void faiss::gpu::GpuIndexIVFPQ::verifyPQSettings_() const"
        if cpu.pq.nbits != 8:
            raise fail(where, "index->pq.nbits == 8", "GPU: only pq.nbits == 8 is supported")
        if not cpu.by_residual:
            what = "GPU: only by_residual = true is supported"
            raise fail(where, "index->by_residual", what)
        if m not in CODES:
            what = f"Number of bytes per encoded vector / sub-quantizers ({m}) is not supported"
            raise fail(where, "IVFPQ::isSupportedPQCodeLength(subQuantizers_)", what)
        if (needed := m * 256 * (2 if config.useFloat16 else 4)) > SHARED:
            what = (
                f"Device {config.device} has {SHARED} bytes of shared memory, while 8 bits per "
                f"code and {m} sub-quantizers requires {needed} bytes. Consider "
                "useFloat16LookupTables and/or reduce parameters"
            )
            raise fail(where, "requiredSmemSize <= getMaxSharedMemPerBlock()", what)


class GpuIndexCagra(GpuIndex):
    """A graph of cuVS, here exact search that leaves out a neighbour now and then."""

    def __init__(self, resources: Resources, d: int, metric: int, config: Any) -> None:
        faiss = load_faiss()
        super().__init__(resources, faiss.IndexHNSWCagra(d, 16, metric), config.device)

    is_trained = property(lambda self: self.ntotal > 0)

    def train(self, x: Any) -> None:
        """Build the graph."""
        self.hold(x.size * 4 + len(x) * 64 * 4)
        self.cpu.add(self.checked(x))

    add = train

    def find(self, x: Any, k: int, params: Any) -> tuple[Any, Any]:
        """Search. A neighbour that is not found is 2^32 - 1, as cuVS counts in 32 bits."""
        wide = params.itopk_size if params else 64
        if wide < k or wide % 32:
            raise thrown("cagra::search", f"topk = {k} must be smaller than itopk_size = {wide}")
        faiss, n = load_faiss(), self.ntotal
        flat = faiss.downcast_index(self.cpu.storage)
        stored = faiss.rev_swig_ptr(flat.get_xb(), n * self.d).reshape(n, self.d)
        scores, labels = rough(self.machine, x, stored, k, self.metric_type, half=False)
        labels[:, -1] = np.where(2 * k > n, 2**32 - 1, labels[:, -1])
        return scores, labels

    def to_cpu(self) -> Any:
        """Fetch it."""
        return self.cpu


def unknown() -> RuntimeError:
    """What faiss says of a type that has no form on one device."""
    where = "faiss::Index* faiss::gpu::ToGpuCloner::clone_Index(const faiss::Index*)"
    return thrown(where, "This index type is not implemented on GPU.")
