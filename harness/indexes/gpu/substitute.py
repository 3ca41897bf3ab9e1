"""What stands in for a GPU that cannot search, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from harness.errors import InputError
from harness.indexes import Found, IndexInfo, Searcher, devices
from harness.indexes.approximate import Approximate
from harness.indexes.gpu.faiss_devices import MOST, take_part
from harness.progress import Progress
from harness.vectors import Embeddings

INSTEAD = "the CPU searched in its place"


@dataclass(frozen=True)
class GpuSearcher:
    """An index on GPUs of these names, which divide documents where sharded.

    on_cpu: what may stand in; name, instead: of both, as errors say them.
    """

    on_gpus: Approximate
    names: tuple[str, ...]
    sharded: bool
    on_cpu: Searcher | None
    name: str
    instead: str

    @property
    def info(self) -> IndexInfo:
        """Of what is on the GPUs."""
        return self.on_gpus.info

    def search(self, queries: Embeddings, k: int, progress: Progress) -> Found:
        """Find the k best documents of each query [q, k].

        Raises:
            InputError: for more than GPUs find, or have room for, where the CPU may not stand in.
        """
        try:
            if min(k, len(self.on_gpus.documents)) > MOST:
                raise devices.DeviceFullError(
                    f"{self.name}: k={k:,}: GPUs find {MOST:,} results of a query, at most"
                )
            there = take_part(self.names, len(queries), sharded=self.sharded)
            return replace(self.on_gpus.search(queries, k, progress), devices=there)
        except devices.DeviceFullError as error:
            if self.on_cpu is None:
                raise InputError(f"{error}: use {self.instead}, or fallback=cpu") from error
            found = self.on_cpu.search(queries, k, progress)
            return replace(found, notes=(*found.notes, f"{error}: {INSTEAD}"))


@dataclass(frozen=True)
class Substitute:
    """What searches on the CPU in place of GPUs, and why; library: what it is, for the record."""

    searcher: Searcher
    why: str
    library: Mapping[str, object]

    @property
    def info(self) -> IndexInfo:
        """Of what is searched, and what it is instead of."""
        info = self.searcher.info
        notes = (*info.notes, f"{self.why}: {INSTEAD}")
        return replace(info, notes=notes, library=self.library)

    def search(self, queries: Embeddings, k: int, progress: Progress) -> Found:
        """Find the k best documents of each query [q, k]."""
        return self.searcher.search(queries, k, progress)
