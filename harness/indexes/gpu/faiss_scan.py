"""faiss on GPUs: a flat index that scans, and indexes of its factory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import numpy as np

from harness.arrays import Float32, Int64
from harness.errors import InputError
from harness.indexes import IndexInfo, Searcher, devices
from harness.indexes.approximate import Answer, Approximate
from harness.indexes.factory import Factory
from harness.indexes.faiss_library import (
    FaissIndex,
    complaint,
    holds_vectors,
    load_faiss,
    matrix_products,
    metric_number,
)
from harness.indexes.gpu.certified import Precision, scale
from harness.indexes.saved import FileIndex
from harness.optional import install
from harness.progress import Progress
from harness.vectors import Dense, Embeddings, Representation, of_kind
from harness.vectors.lengths import check_documents

FAISS_MOST = 2048  # results of a flat faiss index on a GPU, at most
CAGRA_EF = 64  # what cuVS keeps by default


@dataclass(frozen=True)
class FaissScan:
    """A flat index of faiss on GPUs."""

    index: Any
    most: int = FAISS_MOST

    @classmethod
    def of(
        cls, documents: Float32, norm: float, names: tuple[str, ...], *, half: bool, sharded: bool
    ) -> FaissScan:
        """Copy documents [n, d] to devices. Raises InputError where faiss cannot."""
        flat = load_faiss().IndexFlatIP(documents.shape[1])
        index = to_gpus(flat, names, half=half, sharded=sharded)
        try:
            index.add(scale(documents, norm)[0])  # at once: shards number what they are given
        except RuntimeError as error:
            raise InputError(f"gpu: faiss cannot hold the documents: {complaint(error)}") from error
        return cls(index)

    def nearest(self, queries: Float32, m: int) -> tuple[Int64, Float32]:
        """Find the documents [q, m] of the highest products, highest first, and the products."""
        products, docs = self.index.search(queries, m)
        return docs, products


def to_gpus(index: Any, names: tuple[str, ...], *, half: bool, sharded: bool) -> Any:
    """Put a faiss index on GPUs. Raises InputError where faiss cannot."""
    faiss = load_faiss()
    options = faiss.GpuMultipleClonerOptions()
    options.useFloat16, options.shard = half, sharded
    numbers = [int(device.removeprefix("cuda:")) for device in names]
    resources = [faiss.StandardGpuResources() for _ in numbers]
    try:
        return faiss.index_cpu_to_gpu_multiple_py(resources, index, options, numbers)
    except RuntimeError as error:
        raise InputError(f"gpu: faiss cannot move this index there: {complaint(error)}") from error


@dataclass(frozen=True)
class GpuFactory(FaissIndex):
    """An index of faiss's factory, or CAGRA, built and searched on GPUs; kept as one of the CPU."""

    inner: Factory
    precision: Precision
    devices: str
    sharded: bool
    fallback: Literal["none", "cpu"]

    @property
    def _cagra(self) -> bool:
        return self.inner.target == "CAGRA"

    def require(self, representation: Representation) -> None:
        """Check that a GPU answers and this faiss can use it."""
        chosen, faiss = devices.choose(self.devices, self.fallback), load_faiss()
        if chosen and not faiss.get_num_gpus():
            raise InputError(f"gpu:{self.inner.target} needs faiss-gpu: {install('gpu')}")
        if self._cagra and not hasattr(faiss, "GpuIndexCagra"):
            raise InputError("gpu:CAGRA needs faiss with cuVS: pip install faiss-gpu-cuvs")
        if not self._cagra:
            self.inner.require(representation)

    def describe(self) -> Mapping[str, object]:
        """Tell what is built, and on how many devices it is searched."""
        chosen = devices.choose(self.devices, self.fallback)
        return {**self.build_key(), "devices": len(chosen), "precision": self.precision}

    def build_key(self) -> Mapping[str, object]:
        """Tell what is built, the library and where."""
        where = "gpu" if devices.choose(self.devices, self.fallback) else "cpu"
        return {**self.inner.build_key(), "built": where}

    def notes(self, k: int) -> tuple[str, ...]:
        """As of the index faiss."""
        return self.inner.notes(k)

    def by_product(self) -> FileIndex | None:
        """As of the index faiss."""
        inner = self.inner.by_product()
        return replace(self, inner=inner) if isinstance(inner, Factory) else None

    def make(self, documents: Embeddings, progress: Progress) -> Any:
        """Build on the first GPU. Raises InputError as the index faiss does."""
        chosen = devices.choose(self.devices, self.fallback)[:1]
        if not chosen:
            return self.inner.make(documents, progress)
        if not self._cagra:
            there = partial(to_gpus, names=chosen, half=False, sharded=False)
            return self.inner.make(documents, progress, moved=there)
        faiss = load_faiss()
        values = np.ascontiguousarray(of_kind(documents, Dense).values, np.float32)
        check_documents(values)
        kind = metric_number(self.inner.metric)
        index = faiss.GpuIndexCagra(faiss.StandardGpuResources(), values.shape[1], kind)
        index.train(values)
        progress("build", len(values), len(values), "documents")
        return faiss.index_gpu_to_cpu(index)

    def searcher(self, built: Any, documents: Embeddings) -> Searcher:
        """Put the index on the GPUs, searched with nprobe or ef_search."""
        chosen = devices.choose(self.devices, self.fallback)
        if not chosen:
            found = self.inner.searcher(built, documents)
            return replace(
                found,
                info=replace(found.info, notes=found.info.notes + devices.note_fallback(chosen)),
            )
        faiss, full = load_faiss(), self._cagra or holds_vectors(built)
        half = self.precision == "float16"
        index = to_gpus(built, chosen, half=half, sharded=self.sharded)
        if self.inner.nprobe is not None:
            faiss.GpuParameterSpace().set_index_parameter(index, "nprobe", self.inner.nprobe)
        wide = {}
        if self._cagra:
            wide["params"] = faiss.SearchParametersCagra()
            wide["params"].itopk_size = self.inner.ef_search or CAGRA_EF

        def nearest(queries: Float32, m: int) -> Answer:
            with matrix_products():
                scores, docs = index.search(queries, m, **wide)
            return docs, scores if self.inner.metric == "ip" else -scores, None

        values = np.ascontiguousarray(of_kind(documents, Dense).values, np.float32)
        info = IndexInfo(self.size(built))
        return Approximate(values, nearest, info, self.inner.metric, rescore=full)
