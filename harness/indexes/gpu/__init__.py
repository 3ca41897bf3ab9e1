"""Search on GPUs: exact, by a flat faiss index or by torch, and faiss's IVF and CAGRA.

Exact search is a scan, in 32 or 16 bits, whose best are scored again as exact search on the CPU
does it; a query's k best are certified: what the scan left out, plus the rounding error that is
possible, must be below the k-th. A query that cannot be certified (many equal scores) is scanned
for more, and then searched on the CPU. Of late interaction torch makes the rough scores, and every
document that may be among the k best is scored again. So results are those of the index `exact`, to
the bit. What does not fit on the devices is streamed from the host, and what a full device cannot
compute any more is searched on the CPU.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import ClassVar, Literal

from harness.errors import InputError
from harness.indexes import INDEXES, Index, Searcher, maxsim
from harness.indexes import devices as cuda
from harness.indexes.approximate import at_least
from harness.indexes.cosine import open_by_cosine
from harness.indexes.exact import Exact
from harness.indexes.factory import Factory
from harness.indexes.faiss_library import load_faiss
from harness.indexes.gpu.certified import Precision
from harness.indexes.gpu.choice import Placement
from harness.indexes.gpu.faiss_factory import GpuFactory
from harness.indexes.gpu.substitute import Substitute
from harness.indexes.gpu.torch_maxsim import TorchMaxSim
from harness.progress import Progress, silent
from harness.vectors import Dense, Embeddings, MultiVector, Representation, of_kind
from harness.vectors.lengths import Metric


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
        if metric == "l2" or nprobe is not None or ef_search is not None:
            raise InputError(
                "gpu: exact search takes no metric=l2, nprobe or ef_search: leave it out"
            )
        return GpuExact(precision, devices, sharded, fallback, metric)
    if precision == "bfloat16":
        raise InputError(f"gpu:{target}: precision=bfloat16: expected float32 or float16")
    at_least(f"gpu:{target}", 1, nprobe=nprobe, ef_search=ef_search)
    inner = Factory(target, metric, nprobe=nprobe, ef_search=ef_search)
    return GpuFactory(inner, precision, devices, sharded, fallback)


@dataclass(frozen=True)
class GpuExact(Index):
    """Exact search on GPUs by inner product or, over several vectors a text, MaxSim."""

    precision: Precision = "float32"
    devices: str = "all"
    sharded: bool = False
    fallback: Literal["none", "cpu"] = "none"
    metric: Metric = "ip"

    accepts: ClassVar[tuple[Representation, ...]] = ("dense", "multi-vector")
    exact: ClassVar[bool] = True
    mergeable: ClassVar[bool] = True

    def require(self, representation: Representation) -> None:
        """Check that a GPU answers, or that the CPU may stand in."""
        load_faiss()
        self._place(representation)

    def _list_libraries(self, representation: Representation) -> tuple[cuda.Library, ...]:
        """Libraries that can scan this."""
        by_faiss = representation == "dense" and self.precision != "bfloat16"
        return ("torch", "faiss") if by_faiss else ("torch",)

    def _place(self, representation: Representation) -> Placement:
        """Devices of a library that can scan this; none where the CPU stands in."""
        names = cuda.choose(self.devices, self.fallback, self._list_libraries(representation))
        return Placement(names, self.precision, self.sharded)

    def describe(self) -> Mapping[str, object]:
        """Tell what searches, and on how many devices; results are exact."""
        place = self._place("dense")
        found = {"exact": True, "devices": len(place.names), "precision": self.precision}
        return {**found, **place.describe()} if place.names else found

    def open(
        self, documents: Embeddings, place: Path | None = None, progress: Progress = silent
    ) -> Searcher:
        """Copy the documents to the devices, as many as fit; nothing is kept.

        Raises:
            InputError: for NaN and for too many, and where there is room for none.
        """
        if self.metric == "cosine":
            return open_by_cosine(replace(self, metric="ip"), documents, place, progress)
        there = self._place(documents.representation)
        if not there.names:
            blind = cuda.name_blind(self._list_libraries(documents.representation))
            return self._substitute(documents, blind)
        try:
            if isinstance(documents, MultiVector):
                names, precision = there.names, self.precision
                scan_of = partial(TorchMaxSim.of, names=names, precision=precision)
                return maxsim.MaxSimSearcher.of(documents, scan=scan_of)
            return there.open(of_kind(documents, Dense).values)
        except cuda.DeviceFullError as error:
            if self.fallback == "cpu":
                return self._substitute(documents, str(error))
            raise InputError(
                f"gpu: {error}: free some, choose other devices, or fallback=cpu"
            ) from error

    def _substitute(self, documents: Embeddings, why: str) -> Searcher:
        described = {"devices": 0, "precision": "float32"}
        return Substitute(Exact(device="cpu").open(documents), why, described)
