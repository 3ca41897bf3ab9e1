"""Which library scans on GPUs, and what searches where none can."""

from __future__ import annotations

from unittest.mock import Mock

import pytest
import torch

from harness import accelerators
from harness.errors import InputError
from harness.indexes import INDEXES, devices
from harness.indexes.exact import Exact
from harness.indexes.faiss_library import load_faiss
from harness.indexes.gpu import choice, faiss_devices, torch_scan
from harness.indexes.gpu.faiss_stream import FaissStream
from harness.indexes.gpu.substitute import Substitute
from harness.progress import silent
from tests.indexes.test_gpu import made, same
from tests.indexes.test_maxsim import made as several

GB = 10**9


class Flat:
    """What faiss's scan is replaced by."""

    most = 2048
    notes = ()
    streamed = 0.0

    @classmethod
    def of(cls, documents, norm, names, *, half, sharded):
        return cls()

    @staticmethod
    def count_bytes(n, d, names, *, half, sharded):
        return 2 * GB

    def batch(self, m):
        return 4


@pytest.fixture
def seen(monkeypatch):
    """So many devices are seen by torch and by faiss, each with so many bytes free."""

    def see(by_torch: int, by_faiss: int, free: int | None = 80 * GB) -> None:
        monkeypatch.setattr(accelerators, "torch_count", lambda: by_torch)
        monkeypatch.setattr(accelerators, "faiss_count", lambda: by_faiss)
        monkeypatch.setattr(accelerators, "present", lambda: True)
        monkeypatch.setattr(devices, "place", lambda _: torch.device("cpu"))
        monkeypatch.setattr(devices, "free_memory", lambda _: free)
        monkeypatch.setattr(choice, "FaissScan", Flat)
        monkeypatch.setattr(faiss_devices, "_resources", {})
        monkeypatch.setattr(load_faiss(), "StandardGpuResources", Mock, raising=False)

    return see


@pytest.mark.parametrize(
    ("spec", "by_torch", "by_faiss", "free", "kind"),
    [
        ("gpu", 2, 2, 80 * GB, Flat),
        ("gpu,precision=float16", 0, 2, 80 * GB, Flat),
        ("gpu", 0, 2, GB, FaissStream),  # faiss alone sees it
        ("gpu", 0, 2, None, Flat),  # nobody knows: it is tried
        ("gpu", 2, 2, GB, torch_scan.TorchScan),  # faiss keeps 2 GB of a device to itself
        ("gpu", 2, 1, 80 * GB, torch_scan.TorchScan),
        ("gpu,devices=0", 2, 1, 80 * GB, Flat),
        ("gpu,precision=bfloat16", 2, 2, 80 * GB, torch_scan.TorchScan),
        ("gpu", 1, 0, 80 * GB, torch_scan.TorchScan),
    ],
)
def test_faiss_scans_where_it_sees_the_devices_and_all_fits(
    spec, by_torch, by_faiss, free, kind, seen
):
    seen(by_torch, by_faiss, free)
    searcher = INDEXES.create(spec).open(made("unit", 500))
    assert type(searcher.scan) is kind
    if kind is Flat:
        assert (searcher.deep is not None) == bool(by_torch)


def test_many_results_are_scanned_by_torch_beside_faiss(seen):
    seen(1, 1)
    documents, queries = made("unit", 3000), made("unit", 3, seed=1)
    searcher = INDEXES.create("gpu").open(documents)
    found = searcher.search(queries, 1700, silent)
    same(found.run, Exact().open(documents).search(queries, 1700, silent).run)
    assert found.notes == ()


def test_what_searches_is_described(seen, monkeypatch):
    monkeypatch.setattr(accelerators, "faiss_name", lambda: "faiss-gpu 1.15.1")
    monkeypatch.setattr(choice, "version", lambda name: {"torch": "2.13.0"}[name])
    seen(2, 2)
    both = {"exact": True, "devices": 2, "precision": "float32"}
    by_torch = {"multi-vector": "torch 2.13.0"}
    assert INDEXES.create("gpu").describe() == {**both, "dense": "faiss-gpu 1.15.1", **by_torch}
    found = INDEXES.create("gpu,precision=bfloat16").describe()
    assert found == {**both, "precision": "bfloat16", "dense": "torch 2.13.0", **by_torch}
    seen(0, 2)
    found = INDEXES.create("gpu").describe()
    assert found == {**both, "dense": "faiss-gpu 1.15.1", "multi-vector": ""}
    seen(0, 0)
    found = INDEXES.create("gpu,fallback=cpu").describe()
    assert found == {"exact": True, "devices": 0, "precision": "float32"}


@pytest.mark.parametrize(
    ("spec", "by_faiss", "kind", "note"),
    [
        ("gpu,fallback=cpu", 0, "dense", "no CUDA device answers"),
        ("gpu,fallback=cpu", 0, "multi-vector", "no CUDA device answers"),
        ("gpu,fallback=cpu", 2, "multi-vector", "torch, which would search here, uses no CUDA"),
        ("gpu,fallback=cpu,precision=bfloat16", 2, "dense", "torch, which would search here, uses"),
    ],
)
def test_the_cpu_stands_in_for_a_library_that_sees_no_device(spec, by_faiss, kind, note, seen):
    seen(0, by_faiss)
    index = INDEXES.create(spec)
    index.require(kind)
    documents = made("unit", 50) if kind == "dense" else several(50, 7, 16, 0)
    queries = made("unit", 3, seed=1) if kind == "dense" else several(3, 7, 16, 1)
    searcher = index.open(documents)
    assert isinstance(searcher, Substitute)
    (said,) = (*searcher.info.notes, *index.notes(4))
    assert said.startswith(note)
    assert said.endswith(": the CPU searched in its place")
    expected = Exact().open(documents).search(queries, 4, silent).run
    same(searcher.search(queries, 4, silent).run, expected)
    without = INDEXES.create(spec.replace(",fallback=cpu", ""))
    with pytest.raises(InputError, match=f"^gpu: {note}.*: choose the index exact, or"):
        without.require(kind)


def test_torch_s_devices_alone_count_for_what_torch_scans(seen):
    """devices=1, which faiss alone sees, is none of late interaction."""
    seen(1, 2)
    index = INDEXES.create("gpu,devices=1")
    index.require("dense")
    with pytest.raises(InputError, match=r"gpu: devices=1: expected all, or of 0"):
        index.open(several(9, 7, 16, 0))


@pytest.mark.parametrize("name", ["NVIDIA_TF32_OVERRIDE", "CUBLAS_EMULATE_SINGLE_PRECISION"])
def test_a_variable_that_voids_the_bound_is_refused_by_name(name, seen, monkeypatch):
    seen(1, 1)
    monkeypatch.setenv(name, "0")
    INDEXES.create("gpu").require("dense")
    monkeypatch.setenv(name, "1")
    with pytest.raises(InputError) as caught:
        INDEXES.create("gpu").require("dense")
    assert str(caught.value) == (
        f"gpu: {name}=1 lets GPUs multiply less exactly than exact search allows for: unset it"
    )
