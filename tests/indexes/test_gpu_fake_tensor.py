"""Scans by torch over tensors of two GPUs without numbers: devices, types and shapes must agree."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

from harness.indexes import ragged
from harness.indexes.gpu import stream, torch_maxsim, torch_scan
from harness.indexes.gpu.memory import Division, Share
from harness.indexes.gpu.stream import Tiles
from tests.indexes.test_gpu import PRECISIONS, made
from tests.indexes.test_maxsim import made as several


@pytest.fixture
def two_gpus(monkeypatch):
    """Where each product is made, and of which type; numbers are zeros when they come back."""
    seen = set()
    matmul = torch.Tensor.__matmul__

    def multiply(one, other):
        seen.add((str(one.device), one.dtype, str(other.device), other.dtype))
        return matmul(one, other)

    def bring(tensor):
        assert isinstance(tensor, FakeTensor)
        assert tensor.device.type == "cpu"
        kind = str(tensor.dtype).removeprefix("torch.")
        return np.zeros(tuple(tensor.shape), kind)

    def rows(tensor, part):
        start, stop, _ = part.indices(len(tensor))
        return tensor.narrow(0, start, max(stop - start, 0))

    def copy(tensor, other, *, non_blocking=False):
        assert tensor.shape == other.shape
        return tensor

    # what a build for the processor does by CUDA itself where tensors say so
    monkeypatch.setattr(torch.Tensor, "__getitem__", rows)
    monkeypatch.setattr(torch.Tensor, "copy_", copy)
    monkeypatch.setattr(torch.Tensor, "contiguous", lambda tensor: tensor * 1)
    # a mode is a thread's
    monkeypatch.setattr(torch_scan, "each_device", lambda works: [work() for work in works])
    monkeypatch.setattr(torch_maxsim, "each_device", lambda works: [work() for work in works])
    monkeypatch.setattr(torch_maxsim, "work_ahead", itertools.chain.from_iterable)
    monkeypatch.setattr(stream, "open_stream", lambda _: None)
    monkeypatch.setattr(torch.Tensor, "numpy", bring)
    monkeypatch.setattr(torch.Tensor, "__matmul__", multiply)
    return seen


def on_both(precision: str) -> set[tuple[str, torch.dtype, str, torch.dtype]]:
    kind = getattr(torch, precision)
    return {(name, kind, name, kind) for name in ("cuda:0", "cuda:1")}


def plan(rows: list[int], middle: list[int], tile: int) -> Division:
    """The first device holds all of its rows, the second some."""
    first, second = Share("cuda:0", rows[0], rows[1], rows[1], tile), middle
    return Division((first, Share("cuda:1", rows[1], second[0], rows[2], tile)), 40)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("resident", [100, 130, 200])
def test_documents_are_multiplied_where_they_are(precision, resident, two_gpus):
    documents, queries = made("unit", 200), made("unit", 7, seed=1)
    with FakeTensorMode(allow_non_fake_inputs=True):
        tiles = Tiles(documents.values, 1.0, precision)
        scan = torch_scan.TorchScan.of_plan(tiles, plan([0, 100, 200], [resident], 30))
        assert [str(held.device) for held in scan.held] == ["cuda:0", "cuda:1"]
        assert [len(held) for held in scan.held] == [100, resident - 100]
        found = scan.nearest(queries.values, 60)
    docs, products = found.docs, found.products
    assert found.devices == ("cuda:0", "cuda:1")
    assert (docs.shape, docs.dtype) == ((7, 60), np.int64)
    assert (products.shape, products.dtype) == ((7, 60), np.float32)
    assert two_gpus == on_both(precision)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("resident", [30, 40, 60])
def test_tokens_are_multiplied_where_they_are(precision, resident, two_gpus):
    documents, queries = several(60, 7, 16, 0), several(9, 6, 16, 1)
    _, kept = ragged.drop_empty(documents)
    _, asked = ragged.drop_empty(queries)
    offsets = kept.offsets[[0, 30, len(kept)]].tolist()
    middle = kept.offsets[[min(resident, len(kept))]].tolist()
    with FakeTensorMode(allow_non_fake_inputs=True):
        tiles = Tiles(kept.values, 1.0, precision)
        scan = torch_maxsim.TorchMaxSim.of_plan(kept, tiles, plan(offsets, middle, 50))
        parts = list(scan.compare(asked))
    compared = np.zeros((len(asked), len(kept)), int)
    for part in parts:
        compared[slice(*part.queries), slice(*part.documents)] += 1
        assert part.scores.dtype == np.float64
        assert not part.why
    assert (compared == 1).all()
    assert two_gpus == on_both(precision)
