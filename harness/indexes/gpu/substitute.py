"""What stands in for a GPU that cannot search, and why."""

from __future__ import annotations

from dataclasses import dataclass, replace

from harness.errors import InputError
from harness.indexes import Found, IndexInfo, Searcher, devices
from harness.indexes.approximate import Approximate
from harness.indexes.gpu.faiss_devices import MOST
from harness.progress import Progress
from harness.vectors import Embeddings


@dataclass(frozen=True)
class GpuSearcher:
    """An index on GPUs of these names.

    on_cpu: what may stand in; name, instead: of both, as errors say them.
    """

    on_gpus: Approximate
    names: tuple[str, ...]
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
            return replace(self.on_gpus.search(queries, k, progress), devices=self.names)
        except devices.DeviceFullError as error:
            if self.on_cpu is None:
                raise InputError(f"{error}: use {self.instead}, or fallback=cpu") from error
            found = self.on_cpu.search(queries, k, progress)
            note = f"{error}: the CPU searched in its place"
            return replace(found, notes=(*found.notes, note))


@dataclass(frozen=True)
class Substitute:
    """What searches on the CPU in place of GPUs, and why."""

    searcher: Searcher
    note: str

    @property
    def info(self) -> IndexInfo:
        """Of what is searched, and the note."""
        info = self.searcher.info
        return replace(info, notes=(*info.notes, self.note))

    def search(self, queries: Embeddings, k: int, progress: Progress) -> Found:
        """Find the k best documents of each query [q, k]."""
        return self.searcher.search(queries, k, progress)
