"""Moves between the processor and devices, and several devices, in the fake of faiss's GPU module.

After GpuCloner.cpp, GpuAutoTune.cpp, GpuDistance.cu, IndexShards.cpp and IndexReplicas.cpp.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from harness.indexes.faiss_library import load_faiss
from tests.indexes.faiss_gpu_indexes import (
    LOWEST,
    MOST,
    GpuIndex,
    GpuIndexCagra,
    GpuIndexFlat,
    GpuIndexIVF,
    GpuIndexIVFFlat,
    GpuIndexIVFPQ,
    GpuIndexIVFScalarQuantizer,
    rough,
    unknown,
)
from tests.indexes.faiss_gpu_machine import Resources, fail, thrown


class Several:
    """Indexes on several devices. They are kept alive by `addIndex` and `add_shard` alone."""

    def __init__(self, d: int, threaded: bool) -> None:
        self.d, self.threaded, self.inner = d, threaded, list[Any]()

    def count(self) -> int:
        """How many there are."""
        return len(self.inner)

    def at(self, place: int) -> Any:
        """One of them."""
        return self.inner[place]

    metric_type = property(lambda self: self.inner[0].metric_type)
    is_trained = property(lambda self: all(index.is_trained for index in self.inner))


class Replicas(Several):
    """IndexReplicas: each has all the documents, queries are divided."""

    def __init__(self, d: int = 0, threaded: bool = True) -> None:
        super().__init__(d, threaded)

    ntotal = property(lambda self: self.inner[0].ntotal)

    def addIndex(self, index: Any) -> None:
        """Take one more. Raises RuntimeError for one that holds other documents."""
        if self.inner and (index.d, index.ntotal) != (self.inner[0].d, self.inner[0].ntotal):
            raise fail("IndexReplicas::syncWithSubIndexes", "ntotal == index->ntotal", "")
        self.inner.append(index)
        self.d = index.d

    def add(self, x: Any) -> None:
        """Add to each."""
        for index in self.inner:
            index.add(x)

    def search(self, x: Any, k: int, params: Any = None) -> tuple[Any, Any]:
        """Search with a part of the queries on each. Raises RuntimeError for parameters."""
        if params is not None:
            raise fail("IndexReplicas::search", "!params", "search params not supported")
        step = max(1, -(-len(x) // self.count()))  # IndexReplicas.cpp: queriesPerIndex
        parts = [x[low : low + step] for low in range(0, len(x), step)]
        found = [index.search(part, k) for index, part in zip(self.inner, parts, strict=False)]
        return tuple(np.concatenate(each) for each in zip(*found, strict=True))


class Shards(Several):
    """IndexShards: each has a part of the documents, whose numbers follow on where successive."""

    def __init__(self, d: int, threaded: bool = False, successive_ids: bool = True) -> None:
        super().__init__(d, threaded)
        self.successive_ids = successive_ids

    ntotal = property(lambda self: sum(index.ntotal for index in self.inner))

    def add_shard(self, index: Any) -> None:
        """Take one more."""
        if index.d != self.d:
            raise fail("IndexShards::syncWithSubIndexes", "this->d == index->d", "")
        self.inner.append(index)

    def add(self, x: Any) -> None:
        """Add a part to each. Raises RuntimeError for a second time with successive numbers."""
        if not self.successive_ids:
            raise NotImplementedError("numbers of their own")
        if self.ntotal:
            what = "when adding to IndexShards with successive_ids, only add() in a single pass"
            raise fail("IndexShards::add_with_ids", "this->ntotal == 0", f"{what} is supported")
        bounds = [len(x) * i // self.count() for i in range(self.count() + 1)]
        for index, low, high in zip(self.inner, bounds, bounds[1:], strict=False):
            index.add(x[low:high])

    def search(self, x: Any, k: int, params: Any = None) -> tuple[Any, Any]:
        """Search each and merge."""
        first, scores, labels = 0, [], []
        for index in self.inner:
            found, docs = index.search(x, k, params=params)
            scores.append(found)
            labels.append(np.where(docs < 0, docs, docs + first))
            first += index.ntotal if self.successive_ids else 0
        all_scores, all_labels = np.concatenate(scores, 1), np.concatenate(labels, 1)
        sign = 1 if self.metric_type == load_faiss().METRIC_INNER_PRODUCT else -1
        ranked = np.where(all_labels < 0, -np.inf, sign * all_scores)
        order = np.argsort(-ranked, axis=1, kind="stable")[:, :k]
        return tuple(np.take_along_axis(each, order, axis=1) for each in (all_scores, all_labels))


class Transformed:
    """An IndexPreTransform of the processor whose index is on devices. whole: as it came."""

    def __init__(self, whole: Any, index: Any) -> None:
        self.whole, self.index, self.chain, self.d = whole, index, whole.chain, whole.d

    ntotal = property(lambda self: self.index.ntotal)
    is_trained = property(lambda self: self.index.is_trained)

    def _apply(self, x: Any) -> Any:
        for place in range(self.chain.size()):
            x = load_faiss().downcast_VectorTransform(self.chain.at(place)).apply(x)
        return x

    def train(self, x: Any) -> None:
        """Learn the transforms, and then what the index learns."""
        for place in range(self.chain.size()):
            transform = load_faiss().downcast_VectorTransform(self.chain.at(place))
            if not transform.is_trained:
                transform.train(x)
            x = transform.apply(x)
        self.index.train(x)

    def add(self, x: Any) -> None:
        """Transform and add."""
        self.index.add(self._apply(x))

    def search(self, x: Any, k: int, params: Any = None) -> tuple[Any, Any]:
        """Transform and search."""
        return self.index.search(self._apply(x), k, params=params)


def index_cpu_to_gpu(resources: Resources, device: int, index: Any, options: Any = None) -> Any:
    """Copy to one device. Raises RuntimeError for a type that has no form there."""
    faiss = load_faiss()
    options = options or faiss.GpuClonerOptions()
    index = _name_type(index)
    half = options.useFloat16
    config = SimpleNamespace(device=device, useFloat16=half, use_cuvs=options.use_cuvs)
    if isinstance(index, faiss.IndexBinary):
        raise thrown("index_binary_cpu_to_gpu", "cannot clone this type of index")
    if type(index) is faiss.IndexHNSWCagra and hasattr(faiss, "GpuIndexCagra"):
        found = GpuIndexCagra(resources, index.d, index.metric_type, config)
        found.hold(index.ntotal * (4 * index.d + 4 * 64))
        found.cpu = index
        return found
    if isinstance(index, faiss.IndexPreTransform):
        whole = faiss.clone_index(index)
        inner = index_cpu_to_gpu(resources, device, whole.index, options)
        return Transformed(whole, inner)
    if isinstance(index, faiss.IndexFlat):
        return GpuIndexFlat(resources, index, config)
    if isinstance(index, faiss.IndexScalarQuantizer):
        if index.sq.qtype != faiss.ScalarQuantizer.QT_fp16:
            raise unknown()
        config.useFloat16 = True
        found = GpuIndexFlat(resources, index.d, index.metric_type, config)
        if index.ntotal:
            found.add(index.reconstruct_n(0, index.ntotal))
        return found
    for kind, there in (
        (faiss.IndexIVFFlat, GpuIndexIVFFlat),
        (faiss.IndexIVFScalarQuantizer, GpuIndexIVFScalarQuantizer),
        (faiss.IndexIVFPQ, GpuIndexIVFPQ),
    ):
        if type(index) is kind:
            return there(resources, index, config)
    raise unknown()


def _name_type(index: Any) -> Any:
    """The index as what it is; one that is so already is kept alive by whoever has it."""
    faiss = load_faiss()
    return faiss.downcast_index(index) if type(index) is faiss.Index else index


def index_cpu_to_gpu_multiple_py(
    resources: list[Resources], index: Any, co: Any = None, gpus: list[int] | None = None
) -> Any:
    """Copy to devices. On several, a type that has no form there is cloned on the processor."""
    faiss = load_faiss()
    options = co or faiss.GpuMultipleClonerOptions()
    numbers = list(range(len(resources))) if gpus is None else gpus
    if isinstance(index, faiss.IndexBinary):
        raise thrown("index_binary_cpu_to_gpu_multiple", "cannot clone this type of index")
    index = _name_type(index)
    if len(numbers) == 1:
        return index_cpu_to_gpu(resources[0], numbers[0], index, options)
    if isinstance(index, faiss.IndexPreTransform):
        whole = faiss.clone_index(index)
        inner = index_cpu_to_gpu_multiple_py(resources, whole.index, options, numbers)
        return Transformed(whole, inner)
    kinds = (faiss.IndexIVFFlat, faiss.IndexIVFScalarQuantizer, faiss.IndexIVFPQ)
    flat = isinstance(index, faiss.IndexFlat)
    if not flat and type(index) not in kinds:
        resources[0].machine.clones.append(type(index).__name__)
        return faiss.clone_index(index)
    several = list(zip(resources, numbers, strict=True))
    if not options.shard:
        together: Several = Replicas()
        for each, number in several:
            together.addIndex(index_cpu_to_gpu(each, number, index, options))
        return together
    together = Shards(index.d, True, flat)
    for place, (each, number) in enumerate(several):
        part = _share(index, place, len(several), options.shard_type)
        together.add_shard(index_cpu_to_gpu(each, number, part, options))
    return together


def _share(index: Any, place: int, number: int, shard_type: int) -> Any:
    """A part of an index of the processor, for one of several devices."""
    faiss = load_faiss()
    part = faiss.clone_index(index)
    part.reset()
    if isinstance(index, faiss.IndexFlat):
        low, high = index.ntotal * place // number, index.ntotal * (place + 1) // number
        if high > low:
            part.add(index.reconstruct_n(low, high - low))
        return part
    assert shard_type == 1
    index.copy_subset_to(part, faiss.InvertedLists.SUBSET_TYPE_ID_MOD, number, place)
    return part


def index_gpu_to_cpu(index: Any) -> Any:
    """Fetch an index; parts are put together, and one of the processor is cloned."""
    faiss = load_faiss()
    if isinstance(index, Transformed):
        whole, inner = faiss.clone_index(index.whole), index_gpu_to_cpu(index.index)
        inner.this.disown()
        whole.index, whole.own_fields = inner, True
        whole.is_trained, whole.ntotal = inner.is_trained, inner.ntotal
        return whole
    if isinstance(index, GpuIndex):
        return index.to_cpu()
    if isinstance(index, Replicas):
        return index_gpu_to_cpu(index.at(0))
    if not isinstance(index, Shards):
        return faiss.clone_index(index)
    whole = index_gpu_to_cpu(index.at(0))
    for place in range(1, index.count()):
        part = index_gpu_to_cpu(index.at(place))
        if isinstance(whole, faiss.IndexFlat):
            whole.add(part.reconstruct_n(0, part.ntotal))
        else:
            whole.merge_from(part, whole.ntotal if index.successive_ids else 0)
    return whole


def is_implemented(index: Any) -> bool:
    """Tell whether the type itself has a form on GPUs."""
    faiss = load_faiss()
    kinds = (faiss.IndexFlat, faiss.IndexIVFFlat, faiss.IndexIVFScalarQuantizer, faiss.IndexIVFPQ)
    return isinstance(index, kinds)


class ParameterSpace:
    """GpuParameterSpace."""

    def set_index_parameter(self, index: Any, name: str, value: float) -> None:
        """Set a parameter. Raises RuntimeError for one that the index has not."""
        if isinstance(index, Several):
            for place in range(index.count()):
                self.set_index_parameter(index.at(place), name, value)
        elif isinstance(index, Transformed):
            self.set_index_parameter(index.index, name, value)
        elif isinstance(index, GpuIndexIVF) and name == "nprobe":
            index.nprobe = int(value)
        elif isinstance(index, GpuIndex):
            where = "virtual void faiss::ParameterSpace::set_index_parameter(...) const"
            raise thrown(where, f"could not set parameter {name}")
        else:
            load_faiss().ParameterSpace().set_index_parameter(index, name, value)


def knn_gpu(
    res: Any, xq: Any, xb: Any, k: int, D: Any = None, I: Any = None,  # noqa: E741
    metric: int = 1, device: int = -1, use_cuvs: bool = False,
    vectorsMemoryLimit: int = 0, queriesMemoryLimit: int = 0,
) -> tuple[Any, Any]:  # fmt: skip
    """Search vectors of the host on one device, in parts that take no more than the limits."""
    machine, (q, d), n = res.machine, xq.shape, len(xb)
    assert xq.flags.c_contiguous
    assert (xb.flags.c_contiguous, xb.dtype) == (True, xq.dtype)
    if not 0 < k <= MOST:
        raise fail("bfKnn", "k <= GPU_MAX_SELECTION_K", f"bfKnn: k must be <= {MOST}")
    if not q or not n:
        raise fail("bfKnn", "args.numVectors > 0", "bfKnn: numVectors must be > 0")
    res.start(device)
    size, half = xb.itemsize, xb.dtype == np.float16
    part = vectorsMemoryLimit // (d * size) if vectorsMemoryLimit else n
    rows = queriesMemoryLimit // (k * (size + 8) + d * size) if queriesMemoryLimit else q
    for name, number in {"vectors": part, "queries": rows}.items():
        if not number:
            raise fail("bfKnn_tiling", "shard_size > 0", f"{name}MemoryLimit is too low")
    needed = min(part, n) * (d * size + 4) + min(rows, q) * (d * size + 12 * k)
    machine.searches.append(("knn_gpu", device, q, k))
    with res.taken(device, needed):
        found = [
            rough(machine, xq, xb[low : low + part], min(k, len(xb[low : low + part])), metric,
                  half=half)
            for low in range(0, n, part)
        ]  # fmt: skip
    starts = range(0, n, part)
    scores = np.concatenate([each for each, _ in found], 1)
    labels = np.concatenate([docs + low for (_, docs), low in zip(found, starts, strict=True)], 1)
    sign = 1 if metric == load_faiss().METRIC_INNER_PRODUCT else -1
    order = np.argsort(-sign * scores, axis=1, kind="stable")[:, :k]
    scores, labels = (np.take_along_axis(each, order, axis=1) for each in (scores, labels))
    short = ((0, 0), (0, max(k - n, 0)))
    return (
        np.pad(scores, short, constant_values=sign * LOWEST),
        np.pad(labels, short, constant_values=-1),
    )
