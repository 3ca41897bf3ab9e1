"""Indexes of faiss's factory, and CAGRA, built and searched on GPUs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from harness.arrays import Float32
from harness.errors import InputError
from harness.indexes import IndexInfo, Searcher, devices
from harness.indexes.approximate import Answer, Approximate
from harness.indexes.factory import Factory
from harness.indexes.faiss_library import (
    FaissIndex,
    footprint,
    holds_vectors,
    lists,
    load_faiss,
    matrix_products,
    metric_number,
    parts,
)
from harness.indexes.gpu.certified import Precision
from harness.indexes.gpu.faiss_devices import (
    MOST,
    NoFormError,
    quoting,
    refuse_too_large,
    share_resources,
    to_gpus,
    using,
)
from harness.indexes.gpu.substitute import GpuSearcher, Substitute
from harness.indexes.saved import FileIndex
from harness.optional import install
from harness.progress import Progress, silent
from harness.vectors import Dense, Embeddings, Representation, of_kind
from harness.vectors.lengths import check_documents

CAGRA_EF = 64  # candidates that cuVS keeps by default
CAGRA_STEP = 32  # and in steps of so many
CAGRA_LINKS = 128  # of a document, before the graph is thinned


@dataclass(frozen=True)
class OnDevice(Factory):
    """The index faiss, built on a device where it has lists; half: tables of codes in 16 bits."""

    device: str = "cuda:0"
    half: bool = False

    family: ClassVar[str] = "gpu"

    def _fill(self, index: Any, values: Float32, progress: Progress) -> Any:
        """Train and fill it there, where lists grow by doubling, and fetch it.

        A flat index would be copied there with every block that is added.
        """
        if not lists(index):
            return super()._fill(index, values, progress)
        needed, names = 2 * footprint(index, len(values)), (self.device,)
        refuse_too_large(f"{self._name}, as it is built,", needed, names)
        half = self.half and isinstance(_core(index), load_faiss().IndexIVFPQ)
        there = to_gpus(index, names, half=half, sharded=False, what=self._name)
        with using(self._name) as faiss:
            super()._fill(there, values, progress)
            return faiss.index_gpu_to_cpu(there)

    def _learn(self, index: Any, rows: Any) -> None:
        try:
            with devices.room(f"{self._name}, as it is built,"), quoting():
                super()._learn(index, rows)
        except RuntimeError as error:
            raise NoFormError(f"{self._name} cannot be trained on GPUs ({error})") from error


@dataclass(frozen=True)
class GpuFactory(FaissIndex):
    """An index of faiss's factory, or CAGRA, built and searched on GPUs; kept as one of the CPU."""

    inner: Factory
    precision: Precision
    devices: str
    sharded: bool
    fallback: Literal["none", "cpu"]

    def __post_init__(self) -> None:
        name, instead = self._name, f"use {self._instead}"
        if self.devices == "cpu":
            raise InputError(f"{name}: devices=cpu: faiss has GPU code for GPUs alone: {instead}")
        if self.inner.binary:
            raise InputError(f"{name}: indexes of bits are searched on the CPU alone: {instead}")
        if not self._cagra:
            return
        if self.inner.nprobe is not None:
            raise InputError(f"{name} has no nprobe: leave nprobe={self.inner.nprobe} out")
        if self.sharded:
            raise InputError(f"{name}: sharded=true: faiss has a graph on one device: leave it out")
        if self.precision != "float32":
            self._refuse_precision()

    @property
    def _name(self) -> str:
        return f"gpu:{self.inner.target}"

    @property
    def _cagra(self) -> bool:
        return self.inner.target == "CAGRA"

    @property
    def _instead(self) -> str:
        return "the index hnsw" if self._cagra else f"faiss:{self.inner.target}"

    @property
    def _half(self) -> bool:
        return self.precision == "float16"

    def _choose(self) -> tuple[str, ...]:
        instead = f"use {self._instead}" + ("" if self._cagra else ", or fallback=cpu")
        chosen = devices.choose(self.devices, self.fallback, ("faiss",), self._name, instead)
        return chosen[:1] if self._cagra else chosen

    def _build_on(self, device: str) -> OnDevice:
        same = {field.name: getattr(self.inner, field.name) for field in fields(self.inner)}
        return OnDevice(**same, device=device, half=self._half)

    def _refuse_precision(self) -> None:
        raise InputError(
            f"{self._name}: precision={self.precision} changes nothing in faiss: leave it out"
        )

    def require(self, representation: Representation) -> None:
        """Check that a GPU answers, that this faiss can use it, and that parameters have a use."""
        chosen, faiss = self._choose(), load_faiss()
        if not self._cagra:
            (self._build_on(chosen[0]) if chosen else self.inner).require(representation)
        elif not chosen:
            raise InputError(
                f"gpu:CAGRA is built by GPUs alone, and none answers: use {self._instead}"
            )
        elif not hasattr(faiss, "GpuIndexCagra"):
            raise InputError(
                f"gpu:CAGRA needs faiss with cuVS, in an environment of its own: "
                f"{install('cuvs')}; or use {self._instead}"
            )

    def describe(self) -> Mapping[str, object]:
        """Tell what is built, and on how many devices it is searched."""
        return self._describe_built("gpu" if self._on_gpu else "cpu", len(self._choose()))

    def _describe_built(self, where: str, number: int) -> Mapping[str, object]:
        key = {**self.inner.build_key(), "built": where}
        return {**key, "devices": number, "precision": self.precision}

    def build_key(self) -> Mapping[str, object]:
        """Tell what is built, the library and where."""
        return {**self.inner.build_key(), "built": "gpu" if self._on_gpu else "cpu"}

    @property
    def _on_gpu(self) -> bool:
        """Whether GPUs build it: they do what has lists to fill, and graphs."""
        return bool(self._choose()) and (self._cagra or "IVF" in self.inner.string)

    def notes(self, k: int) -> tuple[str, ...]:
        """As of the index faiss; of CAGRA, what it keeps and where it searches."""
        chosen = self._choose()
        if not (chosen and self._cagra):
            return self.inner.notes(k)
        kept, asked, found = self._keep(k), self.inner.ef_search or CAGRA_EF, []
        if kept != asked:
            found.append(
                f"gpu:CAGRA keeps {kept:,} candidates of a query, not {asked:,}: at least as many "
                f"as results, in steps of {CAGRA_STEP}"
            )
        if "+" in self.devices:
            found.append(
                f"gpu:CAGRA searches on {chosen[0]} alone: faiss has a graph on one device"
            )
        return tuple(found)

    def _keep(self, k: int) -> int:
        """Candidates of a query that CAGRA keeps for k results."""
        return -(-max(self.inner.ef_search or CAGRA_EF, k) // CAGRA_STEP) * CAGRA_STEP

    def by_product(self) -> FileIndex | None:
        """As of the index faiss."""
        inner = self.inner.by_product()
        return replace(self, inner=inner) if isinstance(inner, Factory) else None

    def open(
        self, documents: Embeddings, place: Path | None = None, progress: Progress = silent
    ) -> Searcher:
        """Build the structure or read it, and put it on the devices, or let the CPU stand in.

        Raises:
            InputError: for what has no form on GPUs or no room there, where the CPU may not.
        """
        chosen = self._choose()
        if self.by_product() is not None or not chosen:
            return super().open(documents, place, progress)
        try:
            if not self._cagra:
                self._try(documents.dim, chosen)
            return super().open(documents, place, progress)
        except (devices.DeviceFullError, NoFormError) as error:
            if self.fallback == "cpu" and not self._cagra:
                return self._substitute(self.inner.open(documents, place, progress), str(error))
            more = "" if isinstance(error, NoFormError) else self._more
            raise InputError(f"{error}: use {self._instead}{more}") from error

    def _substitute(self, searcher: Searcher, why: str) -> Searcher:
        return Substitute(searcher, why, self._describe_built("cpu", 0))

    @property
    def _more(self) -> str:
        """What else helps where a device is full."""
        if self._cagra:
            return ", or a device with more memory"
        return ", or more devices" if self.sharded else ", or sharded=true over more devices"

    def _try(self, dim: int, names: tuple[str, ...]) -> None:
        """Put an index without documents on one device and on all, before anything is built."""
        empty = self._build_on(names[0]).make_empty(dim)
        for some in dict.fromkeys([names[:1], names]):
            to_gpus(empty, some, half=self._half, sharded=self.sharded, what=self._name)
        self._tune(empty, names)

    def _tune(self, index: Any, names: tuple[str, ...]) -> None:
        """Set what a search is done with.

        Raises:
            NoFormError: for more lists than GPUs search.
            InputError: for what has no use.
        """
        self._build_on(names[0]).tune(index)
        nprobe = min(self.inner.nprobe or 1, lists(index) or 1)
        if nprobe > MOST:
            asked = f"{self._name}: nprobe={self.inner.nprobe}"
            raise NoFormError(f"{asked}: GPUs search {MOST:,} lists for a query, at most")
        for part in parts(index):
            if hasattr(part, "nprobe"):
                part.nprobe = nprobe
        faiss = load_faiss()
        flat = isinstance(_core(index), faiss.IndexFlat | faiss.IndexIVFPQ)
        if self._half and not flat:
            self._refuse_precision()

    def make(self, documents: Embeddings, progress: Progress) -> Any:
        """Build on the first GPU.

        Raises:
            DeviceFullError: where it has no room.
            InputError: as the index faiss does.
        """
        chosen = self._choose()
        if not chosen:
            return self.inner.make(documents, progress)
        if self._cagra:
            return self._make_graph(of_kind(documents, Dense).values, chosen[0], progress)
        return self._build_on(chosen[0]).make(documents, progress)

    def _make_graph(self, documents: Float32, name: str, progress: Progress) -> Any:
        check_documents(documents)
        n, d = documents.shape
        # vectors and their codes, and the graph before and after it is thinned
        refuse_too_large("gpu:CAGRA, as it is built,", n * (5 * d + 8 * CAGRA_LINKS), (name,))
        values = np.ascontiguousarray(documents, np.float32)  # it reads them until it is fetched
        with using("gpu:CAGRA") as faiss:
            config = faiss.GpuIndexCagraConfig()
            config.device = devices.ordinal(name)
            metric = metric_number(self.inner.metric)
            index = faiss.GpuIndexCagra(share_resources(name), d, metric, config)
            index.train(values)
            progress("build", n, n, "documents")
            return faiss.index_gpu_to_cpu(index)

    def searcher(self, built: Any, documents: Embeddings) -> Searcher:
        """Put the index on the GPUs, searched with nprobe or ef_search.

        Raises:
            NoFormError: where it cannot be there.
            DeviceFullError: where a device has no room.
            InputError: for parameters that have no use.
        """
        chosen = self._choose()
        values = np.ascontiguousarray(of_kind(documents, Dense).values, np.float32)
        if not chosen:
            blind = devices.name_blind(("faiss",))
            return self._substitute(self.inner.searcher(built, documents), blind)
        self._tune(built, chosen)
        share = -(-len(values) // len(chosen)) if self.sharded else len(values)
        refuse_too_large(self._name, self._count_bytes(built, share), chosen)
        there = to_gpus(built, chosen, half=self._half, sharded=self.sharded, what=self._name)
        full = self._cagra or holds_vectors(built)
        notes = self._build_on(chosen[0]).note(built, len(values))
        ask = partial(self._ask, there, len(values))
        info = IndexInfo(self.size(built), notes=notes)
        on_gpus = Approximate(values, ask, info, self.inner.metric, rescore=full)
        on_cpu = None
        if self.fallback == "cpu":
            on_cpu = replace(self.inner.searcher(built, documents), rescore=full)
        return GpuSearcher(on_gpus, chosen, self.sharded, on_cpu, self._name, self._instead)

    def _count_bytes(self, built: Any, n: int) -> int:
        """Bytes of a device that hold n documents; rows of a list are kept in groups of 32."""
        core = _core(built)
        padding = 32 * lists(built) * getattr(core, "code_size", 0)
        flat = isinstance(core, load_faiss().IndexFlat)
        return (footprint(built, n) + padding) // (2 if flat and self._half else 1)

    def _ask(self, there: Any, n: int, queries: Float32, m: int) -> Answer:
        wide = {}
        with matrix_products(), using(self._name) as faiss:
            if self._cagra:
                wide["params"] = faiss.SearchParametersCagra()
                wide["params"].itopk_size = self._keep(m)
            scores, docs = there.search(queries, m, **wide)
        docs = np.where((docs >= 0) & (docs < n), docs, -1)  # others are of what was not found
        return docs, scores if self.inner.metric == "ip" else -scores, None


def _core(index: Any) -> Any:
    """The index behind transforms of vectors."""
    return _core(load_faiss().downcast_index(index.index)) if hasattr(index, "chain") else index
