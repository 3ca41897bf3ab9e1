"""Exact search on GPUs that are too small, or become full: torch's code on the processor."""

from __future__ import annotations

import itertools
import re
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import accelerators
from harness.errors import InputError
from harness.indexes import INDEXES, devices, gpu, maxsim, ragged
from harness.indexes.exact import Exact
from harness.indexes.gpu import certified, memory, torch_maxsim, torch_scan
from harness.indexes.gpu.memory import Division, Share, Sizes
from harness.indexes.gpu.stream import Tiles
from harness.progress import silent
from harness.vectors import Dense, Embeddings, MultiVector, Run
from harness.vectors.lengths import check_documents, measure
from tests.indexes.test_gpu import PRECISIONS, made, same
from tests.indexes.test_maxsim import made as several

GB = 10**9
FULL = "cuda:0: out of memory (2.15 GB more were asked for)"
TIGHT = "{} had less room than planned: smaller parts were multiplied at a time"


def expected(documents: Embeddings, queries: Embeddings, k: int) -> Run:
    return Exact().open(documents).search(queries, k, silent).run


@pytest.fixture
def small(monkeypatch):
    """Two GPUs whose place the processor takes, each with so many bytes free."""

    def have(*free: int) -> None:
        room = dict(zip(("cuda:0", "cuda:1"), free, strict=False))
        monkeypatch.setattr(accelerators, "torch_count", lambda: len(free))
        monkeypatch.setattr(accelerators, "present", lambda: True)
        monkeypatch.setattr(devices, "place", lambda _: torch.device("cpu"))
        monkeypatch.setattr(devices, "free_memory", room.__getitem__)

    return have


def drawn(data: st.DataObject, bounds: list[int]) -> Division:
    """Any plan of rows that are divided there."""
    tiles, batches = st.integers(1, 90), st.integers(1, 9)
    shares = [
        Share("cpu", low, data.draw(st.integers(low, high)), high, data.draw(tiles))
        for low, high in itertools.pairwise(bounds)
    ]
    return Division(tuple(shares), data.draw(batches))


@settings(max_examples=60, deadline=None)
@given(
    data=st.data(),
    precision=st.sampled_from(PRECISIONS),
    kind=st.sampled_from(["random", "large", "equal", "near"]),
    n=st.integers(1, 200),
    k=st.integers(1, 60),
    seed=st.integers(0, 99),
)
def test_any_plan_finds_what_exact_search_finds(data, precision, kind, n, k, seed):
    documents, queries = made(kind, n, 12, seed), made(kind, 7, 12, seed + 1)
    cuts = sorted(data.draw(st.lists(st.integers(0, n), max_size=2)))
    extent = check_documents(documents.values)
    tiles = Tiles(documents.values, extent.most, precision)
    scan = torch_scan.TorchScan.of_plan(tiles, drawn(data, [0, *cuts, n]))
    searcher = certified.CertifiedSearcher(documents.values, extent, scan, precision)
    same(searcher.search(queries, k, silent).run, expected(documents, queries, k))


@settings(max_examples=40, deadline=None)
@given(
    data=st.data(),
    precision=st.sampled_from(PRECISIONS),
    n=st.integers(1, 50),
    k=st.integers(1, 20),
    seed=st.integers(0, 99),
)
def test_any_plan_of_tokens_finds_what_exact_search_finds(data, precision, n, k, seed):
    documents, queries = several(n, 7, 12, seed), several(5, 6, 12, seed + 1)
    searcher = maxsim.MaxSimSearcher.of(
        documents, scan=lambda few, longest: planned(data, few, longest, precision)
    )
    same(searcher.search(queries, k, silent).run, expected(documents, queries, k))


def planned(data, documents: MultiVector, longest: float, precision) -> torch_maxsim.TorchMaxSim:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(documents)), max_size=2)))
    bounds = documents.offsets[[0, *cuts, len(documents)]].tolist()
    tiles = Tiles(documents.values, longest, precision)
    return torch_maxsim.TorchMaxSim.of_plan(documents, tiles, drawn(data, bounds))


SIZES = Sizes(768, 4, memory.COUNTED, memory.FOUND * memory.MERGED, wider=True)


def test_all_stays_where_it_fits(small):
    small(80 * GB, 80 * GB)
    plan = memory.divide([0, 10**7, 2 * 10**7], ("cuda:0", "cuda:1"), SIZES)
    first = Share("cuda:0", 0, 10**7, 10**7, 65536)
    assert plan == Division((first, Share("cuda:1", 10**7, 2 * 10**7, 2 * 10**7, 65536)), 1024)
    assert plan.streamed == 0
    assert plan.notes == ()


def test_what_does_not_fit_is_streamed_for_more_queries_at_a_time(small):
    small(80 * GB, 24 * GB)
    plan = memory.divide([0, 10**7, 2 * 10**7], ("cuda:0", "cuda:1"), SIZES)
    assert plan.batch == 8192
    assert [share.tile for share in plan.shares] == [8192, 8192]
    assert [share.streamed for share in plan.shares] == [0, 2_627_223]
    for share, free in zip(plan.shares, (80, 24), strict=True):
        needs = (share.resident - share.low) * (4 * 768 + 8)
        needs += SIZES.scratch(8192, 8192) + SIZES.buffers(8192) * bool(share.streamed)
        assert needs <= free * GB
    said = "13 % of the vectors did not fit on cuda:0 and cuda:1: they were copied there batch by "
    assert plan.notes == (f"{said}batch",)


def test_a_smaller_tile_comes_before_a_stream(small):
    small(2 * GB)
    plan = memory.divide([0, 350_000], ("cuda:0",), SIZES)
    assert plan == Division((Share("cuda:0", 0, 350_000, 350_000, 16384),), 1024)


def test_scratch_is_what_tensors_take():
    """Late interaction of one-token documents takes 2.2 GB in tiles of 65,536 and 1,024 tokens."""
    assert SIZES.scratch(1024, 65536) == 2**28 + 2**22 * 112 + 1024 * (65536 * 6 + 768 * 8)
    half = Sizes(128, 2, torch_maxsim.HIGHEST, 0, wider=False)
    assert half.scratch(1024, 65536) == 2**28 + 1024 * (65536 * 12 + 128 * 6)
    assert replace(half, longest=10**6).scratch(1, 1) == 2**28 + 10**6 * 12 + 128 * 6


@pytest.mark.parametrize("kind", ["dense", "multi-vector"])
def test_a_full_device_is_refused_in_one_line_or_the_cpu_stands_in(kind, small):
    small(80 * GB, 0)
    documents = made("unit", 50) if kind == "dense" else several(50, 7, 16, 0)
    queries = made("unit", 3, seed=1) if kind == "dense" else several(3, 7, 16, 1)
    why = r"cuda:1 has 0.0 GB free, and the smallest tile needs 0\.[37] GB"
    with pytest.raises(
        InputError, match=f"^gpu: {why}: free some, choose other devices, or fallback=cpu$"
    ):
        gpu.GpuExact().open(documents)
    searcher = INDEXES.create("gpu,fallback=cpu").open(documents)
    (note,) = searcher.info.notes
    assert note.startswith("cuda:1 has 0.0 GB free")
    assert note.endswith(": the CPU searched in its place")
    same(searcher.search(queries, 4, silent).run, expected(documents, queries, 4))


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_small_device_streams_a_memory_map(precision, small, tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "SPARE", 0)
    monkeypatch.setattr(torch_scan, "FOUND", 1 << 12)
    monkeypatch.setattr(memory, "FOUND", 1 << 12)
    small(1_500_000)
    documents, queries = made("unit", 30_000), made("unit", 9, seed=1)
    np.save(tmp_path / "documents.npy", documents.values)
    mapped = Dense(np.load(tmp_path / "documents.npy", mmap_mode="r"))
    searcher = gpu.GpuExact(precision).open(mapped)
    (note,) = searcher.info.notes
    assert "of the vectors did not fit on cuda:0: they were copied there batch by batch" in note
    assert isinstance(searcher.documents.base, np.memmap)
    found = searcher.search(queries, 5, silent)
    same(found.run, expected(documents, queries, 5))
    assert found.notes == ()


@pytest.mark.parametrize("power", [-140, -126, -1, 0, 1, 60])
def test_tiles_are_divided_by_powers_of_two_to_the_bit(power):
    documents = np.ldexp(made("unit", 20).values, power)
    longest = float(measure(documents).max())
    tiles = Tiles(documents, longest, "float32").stream("cpu", [(0, 9), (9, 10), (10, 20)])
    found = [(low, tile.numpy().copy()) for low, tile in tiles]
    assert [low for low, _ in found] == [0, 9, 10]
    scaled, _ = certified.scale(documents, longest)
    np.testing.assert_array_equal(np.concatenate([tile for _, tile in found]), scaled)
    assert 0.5 <= measure(scaled).max() < 1.001


class Memory:
    """Raises as torch does where a call of a device's thread asks for too much; counts them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls, self.failing = 0, lambda call, size: False
        self.lock = threading.Lock()
        for name in ("topk", "segment_reduce", "empty"):
            monkeypatch.setattr(torch, name, self.watch(getattr(torch, name)))
        monkeypatch.setattr(torch.Tensor, "to", self.watch(torch.Tensor.to))
        monkeypatch.setattr(torch.Tensor, "__matmul__", self.watch(torch.Tensor.__matmul__))

    def watch(self, function):
        def watched(*given, **options):
            if threading.current_thread() is threading.main_thread():
                return function(*given, **options)
            with self.lock:
                self.calls += 1
                call = self.calls
            made_of = given[0].numel() if isinstance(given[0], torch.Tensor) else 0
            if self.failing(call, made_of):
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB\nmore")
            return function(*given, **options)

        return watched


def plans(n: int) -> Iterator[Division]:
    for resident in (0, n // 2, n):
        yield Division((Share("cuda:0", 0, resident, n, 70), Share("cuda:1", n, n, n, 70)), 40)


def test_memory_that_runs_out_at_any_call_changes_no_result(small, monkeypatch):
    small(GB, GB)
    documents, queries = made("unit", 300), made("unit", 50, seed=1)
    extent, right = check_documents(documents.values), expected(documents, queries, 9)
    watch, noted = Memory(monkeypatch), []
    tiles = Tiles(documents.values, extent.most, "float16")
    for plan in plans(300):
        scan = torch_scan.TorchScan.of_plan(tiles, plan)
        searcher = certified.CertifiedSearcher(documents.values, extent, scan, "float16")
        watch.calls = 0
        assert searcher.search(queries, 9, silent).notes == ()
        for at in range(1, watch.calls + 1):
            watch.calls, watch.failing = 0, lambda call, size, at=at: call == at
            found = searcher.search(queries, 9, silent)
            same(found.run, right)
            noted.append(found.notes)
            watch.failing = lambda call, size: False
    assert set(noted) == {(TIGHT.format("cuda:0"),), (TIGHT.format("cuda:1"),)}  # none by the CPU
    watch.calls, watch.failing = 0, lambda call, size: call > 12
    found = searcher.search(queries, 9, silent)
    same(found.run, right)
    assert found.notes == (f"50 of 50 queries were searched on the CPU: {FULL}",)
    watch.failing = lambda call, size: size > 40 * 70  # of what is computed at a time, a part fits
    scan = torch_scan.TorchScan.of_plan(tiles, next(plans(300)))
    found = replace(searcher, scan=scan).search(queries, 9, silent)
    same(found.run, right)
    assert found.notes == (TIGHT.format("cuda:0"),)


def test_late_interaction_goes_on_where_memory_runs_out(small, monkeypatch):
    small(GB, GB)
    documents, queries = several(80, 7, 16, 0), several(20, 6, 16, 1)
    right, watch, noted = expected(documents, queries, 9), Memory(monkeypatch), []
    kept = ragged.drop_empty(documents)[1]
    half = int(kept.offsets[len(kept) // 2])
    for resident in (0, half):
        first = Share("cuda:0", 0, resident, half, 100)
        plan = Division((first, Share("cuda:1", half, len(kept.values), len(kept.values), 100)), 30)
        searcher = maxsim.MaxSimSearcher.of(documents, scan=partial(scan_of, plan=plan))
        watch.calls = 0
        assert searcher.search(queries, 9, silent).notes == ()
        for at in range(1, watch.calls + 1):
            watch.calls, watch.failing = 0, lambda call, size, at=at: call == at
            found = searcher.search(queries, 9, silent)
            same(found.run, right)
            noted.append(found.notes)
            watch.failing = lambda call, size: False
        watch.failing = lambda call, size: size > 1100  # 64 tokens of documents fit
        found = searcher.search(queries, 9, silent)
        same(found.run, right)
        assert found.notes == (TIGHT.format("cuda:0 and cuda:1"),)
        watch.calls, watch.failing = 0, lambda call, size: True
        found = searcher.search(queries, 9, silent)
        watch.failing = lambda call, size: False
        same(found.run, right)
        asked = len(ragged.drop_empty(queries)[1])
        all_ = f"{asked * len(kept):,}"
        assert found.notes[0].startswith(
            f"{all_} of {all_} comparisons were made on the CPU: cuda:"
        )
    assert set(noted) == {(TIGHT.format("cuda:0"),), (TIGHT.format("cuda:1"),)}


def scan_of(documents: MultiVector, longest: float, plan: Division) -> torch_maxsim.TorchMaxSim:
    tiles = Tiles(documents.values, longest, "float32")
    return torch_maxsim.TorchMaxSim.of_plan(documents, tiles, plan)


def test_less_stays_where_a_device_has_become_full(small, monkeypatch):
    small(GB, GB)
    documents = made("unit", 300)
    watch = Memory(monkeypatch)
    watch.failing = lambda call, size: True
    tiles, always = Tiles(documents.values, 1.0, "float32"), next(plans(300))
    with pytest.raises(devices.DeviceFullError, match=r"cuda:[01]: out of memory \(2.15 GB more"):
        torch_scan.TorchScan.of_plan(tiles, always)
    watch.calls, watch.failing = 0, lambda call, size: call in (1, 3)
    plan = Division((Share("cuda:0", 0, 300, 300, 70),), 40)
    scan = torch_scan.TorchScan.of_plan(tiles, plan)
    assert (scan.plan.shares[0].resident, len(scan.held[0])) == (75, 75)


@dataclass(frozen=True)
class Shallow:
    """A scan by products of float64 that gives no more than some results, as faiss does."""

    documents: np.ndarray
    most: int
    asked: list[tuple[int, int]]
    notes: tuple[str, ...] = ()
    streamed: float = 0.0

    def batch(self, m: int) -> int:
        return 4

    def nearest(self, queries, m):
        self.asked.append((len(queries), m))
        products = queries.astype(np.float64) @ self.documents.T.astype(np.float64)
        docs = np.argsort(-products, axis=1, kind="stable")[:, :m]
        top = np.take_along_axis(products, docs, axis=1).astype(np.float32)
        return certified.Nearest(docs, top, ("cuda:0",))


def shallow(kind: str, n: int, most: int, **options) -> certified.CertifiedSearcher:
    documents = made(kind, n)
    extent = check_documents(documents.values)
    scaled, _ = certified.scale(documents.values, extent.most)
    scan = Shallow(scaled, most, [])
    return certified.CertifiedSearcher(documents.values, extent, scan, "float32", **options)


@pytest.mark.parametrize(
    ("k", "asked", "notes"),
    [
        (10, [(4, 44), (2, 44)], ()),
        (60, [(4, 107), (2, 107)], ()),
        (100, [(4, 120), (2, 120)], ()),  # less than 157, and enough
        (120, [], ("6 of 6 queries were searched on the CPU: {}",)),
        (600, [], ("6 of 6 queries were searched on the CPU: {}",)),
    ],
)
def test_a_scan_is_asked_for_no_more_than_it_gives(k, asked, notes):
    searcher, queries = shallow("unit", 500, 120), made("unit", 6, seed=1)
    found = searcher.search(queries, k, silent)
    same(found.run, expected(Dense(searcher.documents), queries, k))
    why = "on a GPU faiss finds 120 results of a query, at most"
    assert found.notes == tuple(note.format(why) for note in notes)
    assert searcher.scan.asked == asked


def test_many_results_are_asked_of_another_scan_made_once():
    made_of, said = [], ("half of it did not fit",)

    def deep():
        made_of.append(1)
        return replace(shallow("unit", 500, 500).scan, notes=said)

    searcher, queries = shallow("unit", 500, 120, deep=deep), made("unit", 6, seed=1)
    for k in (60, 100, 400, 600):
        found = searcher.search(queries, k, silent)
        same(found.run, expected(Dense(searcher.documents), queries, k))
        assert found.notes == (said if k > 60 else ())  # what that scan is asked for
    assert searcher.info.notes == ()
    assert made_of == [1]
    assert searcher.scan.asked == [(4, 107), (2, 107)]
    assert searcher._deeper.asked == [(4, 157), (2, 157), *[(4, 500), (2, 500)] * 2]


def test_two_threads_make_another_scan_once():
    made_of = []

    def deep():
        made_of.append(1)
        time.sleep(0.05)
        return shallow("unit", 500, 500).scan

    searcher, queries = shallow("unit", 500, 120, deep=deep), made("unit", 6, seed=1)
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda _: searcher.search(queries, 100, silent), range(2)))
    for one in found:
        same(one.run, expected(Dense(searcher.documents), queries, 100))
    assert made_of == [1]


def test_equal_scores_get_a_second_scan_and_then_the_cpu():
    searcher, queries = shallow("equal", 500, 450), made("unit", 6, seed=1)
    found = searcher.search(queries, 10, silent)
    same(found.run, expected(Dense(searcher.documents), queries, 10))
    assert searcher.scan.asked == [(4, 44), (4, 336), (2, 44), (2, 336)]
    assert found.notes == (
        "6 of 6 queries were searched on the CPU: too many scores are equal, or closer than "
        "rounding can tell apart",
    )
    searcher.scan.asked.clear()
    searcher.search(queries, 60, silent)
    assert searcher.scan.asked == [(4, 107), (4, 450), (2, 107), (2, 450)]  # not 736


def test_no_room_for_another_scan_leaves_the_cpu():
    def deep():
        raise devices.DeviceFullError("cuda:0 has 0.1 GB free")

    searcher, queries = shallow("unit", 500, 120, deep=deep), made("unit", 6, seed=1)
    found = searcher.search(queries, 200, silent)
    same(found.run, expected(Dense(searcher.documents), queries, 200))
    assert found.notes == ("6 of 6 queries were searched on the CPU: cuda:0 has 0.1 GB free",)


def test_batches_leave_room_for_many_results():
    tiles = Tiles(made("unit", 5).values, 1.0, "float32")
    scan = torch_scan.TorchScan.of_plan(tiles, Division((Share("cpu", 0, 5, 5, 9),), 8192))
    assert [scan.batch(m) for m in (1, 44, 512, 2532, 10**7)] == [8192, 8192, 8192, 1656, 1]


@pytest.mark.parametrize("kind", ["dense", "multi-vector"])
def test_only_devices_that_compared_are_named(kind, small):
    small(GB, GB)
    documents = made("unit", 1) if kind == "dense" else several(1, 7, 16, 0)
    queries = made("unit", 3, seed=1) if kind == "dense" else several(3, 7, 16, 1)
    searcher = INDEXES.create("gpu").open(documents)
    assert len(searcher.search(queries, 1, silent).devices) == 1
    none = Dense(documents.values[:0]) if kind == "dense" else documents.take(np.arange(0))
    assert INDEXES.create("gpu").open(none).search(queries, 1, silent).devices == ()


@pytest.mark.parametrize("kind", ["dense", "multi-vector"])
def test_a_device_that_fails_is_named_in_one_line(kind, small, monkeypatch):
    small(GB)

    def fail(*_, **__):
        raise RuntimeError("CUDA error: an illegal memory access was encountered\nmore lines")

    documents = made("unit", 50) if kind == "dense" else several(50, 7, 16, 0)
    queries = made("unit", 3, seed=1) if kind == "dense" else several(3, 7, 16, 1)
    searcher = INDEXES.create("gpu").open(documents)
    monkeypatch.setattr(torch, "topk" if kind == "dense" else "segment_reduce", fail)
    message = (
        "cuda:0 failed (CUDA error: an illegal memory access was encountered): a device that "
        "failed computes nothing more in this process: run it again, and harness selftest gpu "
        "where it fails again"
    )
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        searcher.search(queries, 3, silent)


def test_few_documents_need_little_room(small):
    small(3 * 10**8)
    documents, queries = made("unit", 50), made("unit", 3, seed=1)
    found = INDEXES.create("gpu").open(documents).search(queries, 4, silent)
    assert (found.devices, found.notes) == (("cuda:0",), ())
    same(found.run, expected(documents, queries, 4))


@pytest.mark.parametrize(
    ("said", "asked"),
    [
        ("CUDA out of memory. Tried to allocate 512.00 MiB. GPU 0 has", " (0.537 GB more were"),
        ("alloc fail type FlatData dev 0 size 1610612736 bytes (cudaMalloc", " (1.61 GB more were"),
        ("CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`", ""),
    ],
)
def test_how_much_a_full_device_was_asked_for(said, asked):
    with pytest.raises(devices.DeviceFullError) as raised, devices.room("cuda:0"):
        raise RuntimeError(said)
    assert str(raised.value) == f"cuda:0: out of memory{asked and asked + ' asked for)'}"
