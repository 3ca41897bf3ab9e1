"""A strict fake of faiss's GPU module, on faiss of the CPU, for machines that have no GPU.

    with faked(devices=2, memory=1 << 30) as machine: ...

It refuses what faiss-gpu 1.15.1 refuses, in its words, and errs where a GPU may: products are off
by a share of the bound that certified search allows for, and equal ones come in any order. What
is from where in faiss's source is said where it is done; each fake errs on the strict side.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

from harness import accelerators, visibility
from harness.indexes import devices
from harness.indexes.exact import DenseSearcher
from harness.indexes.faiss_library import load_faiss
from harness.indexes.gpu import faiss_devices
from harness.progress import silent
from harness.vectors import Dense, Run
from harness.vectors.lengths import check_documents
from tests.indexes import faiss_gpu_indexes as fakes
from tests.indexes import faiss_gpu_moves as moves
from tests.indexes.faiss_gpu_machine import Machine, Resources

TEMPORARY = 1536 << 20  # StandardGpuResources.cpp: kMaxTempMem, on devices of more than 8 GiB
MEMORY = 80 << 30


@contextlib.contextmanager
def faked(
    number: int = 2,
    *,
    memory: int = MEMORY,
    temporary: int = TEMPORARY,
    share: float = 0.95,
    seed: int = 0,
    faiss: bool = True,
    torch: bool = False,
    cuvs: bool = False,
) -> Iterator[Machine]:
    """Let the harness believe in GPUs.

    Args:
        number: of devices.
        memory: bytes of each that are free at first.
        temporary: bytes of each that faiss takes when it first uses it.
        share: of the bound of rounding that products are off by, at most.
        seed: of what is random.
        faiss: whether faiss sees the devices.
        torch: whether torch does; it computes on the processor then.
        cuvs: whether faiss is built with cuVS, as faiss-gpu-cuvs is.

    Yields:
        What was moved, allocated and searched.
    """
    machine = Machine(number, memory, temporary, share, seed)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in _see(machine, faiss, torch).items():
            patch.setattr(accelerators, name, value)
        for name in accelerators.VOIDING:
            patch.delenv(name, raising=False)
        patch.setattr(devices, "free_memory", lambda name: machine.free(devices.ordinal(name)))
        if torch:
            patch.setattr(devices, "place", _place)
        patch.setattr(faiss_devices, "_resources", {})
        if faiss:
            library = load_faiss()
            for name, value in _module(machine, library, cuvs).items():
                patch.setattr(library, name, value, raising=False)
        yield machine


@pytest.fixture
def fake_gpu() -> Iterator[Machine]:
    """Two devices that faiss alone sees."""
    with faked() as machine:
        yield machine


def search_exactly(documents: Dense, queries: Dense, k: int) -> Run:
    """What exact search on the processor finds, whatever devices there are."""
    values = documents.values
    searcher = DenseSearcher(values, check_documents(values), devices.TILE)
    return searcher.search(queries, k, silent).run


def _see(machine: Machine, faiss: bool, torch: bool) -> dict[str, Any]:
    """What stands for functions of harness.accelerators."""
    number = machine.number
    listed = [
        visibility.Gpu(i, "Fake GPU", "9.0", machine.memory, machine.memory) for i in range(number)
    ]
    return {
        "present": lambda: True,
        "hidden": lambda: False,
        "too_old": lambda: False,
        "driver": lambda: "580.65.06",
        "gpus": lambda: listed,
        "_list_once": lambda: tuple(listed),
        "faiss_count": lambda: number if faiss else 0,
        "torch_count": lambda: number if torch else 0,
        "explain_torch": lambda: "" if torch else "torch sees no device",
        "explain_faiss": lambda: "" if faiss else "faiss sees no device",
    }


def _place(name: str) -> Any:
    import torch

    return torch.device("cpu")


def options(name: str, **defaults: Any) -> type:
    """A class of options that refuses names which are not of faiss's (SWIG takes any, unseen)."""

    def start(self: Any) -> None:
        for key, value in defaults.items():
            setattr(self, key, value)

    return type(name, (), {"__slots__": tuple(defaults), "__init__": start})


CLONER = {
    "allowCpuCoarseQuantizer": False, "indicesOptions": 3, "reserveVecs": 0,
    "storeTransposed": False, "useFloat16": False, "useFloat16CoarseQuantizer": False,
    "usePrecomputed": False, "verbose": False,
}  # fmt: skip
CONFIG = {"device": 0, "memorySpace": 1}
CAGRA_CONFIG = {
    "intermediate_graph_degree": 128, "graph_degree": 64, "build_algo": 0, "nn_descent_niter": 20,
    "ivf_pq_params": None, "ivf_pq_search_params": None, "refine_rate": 2.0,
    "store_dataset": True, "guarantee_connectivity": False, "devices": None,
    "all_neighbors_params": None, "gpu_hnsw_upper_levels": False,
    "gpu_hnsw_intermediate_degree": 0, "gpu_hnsw_guarantee_connectivity": False,
}  # fmt: skip
CAGRA_SEARCH = {
    "max_queries": 0, "itopk_size": 64, "max_iterations": 0, "algo": 2, "team_size": 0,
    "search_width": 1, "min_iterations": 0, "thread_block_size": 0, "hashmap_mode": 2,
    "hashmap_min_bitlen": 0, "hashmap_max_fill_rate": 0.5, "num_random_samplings": 1,
    "seed": 0x128394, "sel": None,
}  # fmt: skip


def _module(machine: Machine, library: Any, cuvs: bool) -> dict[str, Any]:
    """What stands for names of faiss."""
    cloner = {**CLONER, "use_cuvs": cuvs}  # GpuClonerOptions.h: on by default in builds with it
    multiple = {**cloner, "common_ivf_quantizer": False, "shard": False, "shard_type": 1}
    config = {**CONFIG, "use_cuvs": cuvs}
    downcast = library.downcast_index
    ours = (fakes.GpuIndex, moves.Several, moves.Transformed)
    found = {
        "downcast_index": lambda index: index if isinstance(index, ours) else downcast(index),
        "get_num_gpus": lambda: machine.number,
        "StandardGpuResources": lambda: Resources(machine),
        "GpuClonerOptions": options("GpuClonerOptions", **cloner),
        "GpuMultipleClonerOptions": options("GpuMultipleClonerOptions", **multiple),
        "GpuIndexFlatConfig": options(
            "GpuIndexFlatConfig", storeTransposed=False, useFloat16=False, **config
        ),
        "IndexReplicas": moves.Replicas,
        "IndexShards": moves.Shards,
        "GpuParameterSpace": moves.ParameterSpace,
        "GpuIndex": fakes.GpuIndex,
        "GpuIndexFlat": fakes.GpuIndexFlat,
        "GpuIndexIVF": fakes.GpuIndexIVF,
        "GpuIndexIVFFlat": fakes.GpuIndexIVFFlat,
        "GpuIndexIVFScalarQuantizer": fakes.GpuIndexIVFScalarQuantizer,
        "GpuIndexIVFPQ": fakes.GpuIndexIVFPQ,
        "index_cpu_to_gpu": moves.index_cpu_to_gpu,
        "index_cpu_to_gpu_multiple_py": moves.index_cpu_to_gpu_multiple_py,
        "index_gpu_to_cpu": moves.index_gpu_to_cpu,
        "isGpuIndex": lambda index: isinstance(index, fakes.GpuIndex),
        "isGpuIndexImplemented": moves.is_implemented,
        "tryCastGpuIndex": lambda index: index if isinstance(index, fakes.GpuIndex) else None,
        "knn_gpu": moves.knn_gpu,
    }
    if cuvs:
        found |= {
            "GpuIndexCagra": fakes.GpuIndexCagra,
            "GpuIndexCagraConfig": options("GpuIndexCagraConfig", **config, **CAGRA_CONFIG),
            "SearchParametersCagra": options("SearchParametersCagra", **CAGRA_SEARCH),
        }
    return found
