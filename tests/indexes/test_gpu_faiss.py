"""Exact search by flat indexes of faiss on GPUs, with a strict fake in their place."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import InputError
from harness.indexes import INDEXES, devices
from harness.indexes.faiss_library import load_faiss
from harness.indexes.gpu import certified, faiss_devices, faiss_scan, faiss_stream
from harness.indexes.gpu.faiss_devices import TEMPORARY
from harness.indexes.gpu.faiss_scan import FaissScan
from harness.indexes.gpu.faiss_stream import FaissStream
from harness.progress import silent
from harness.vectors.lengths import check_documents
from tests.indexes import faiss_gpu_indexes as fakes
from tests.indexes.faiss_gpu import faked, search_exactly
from tests.indexes.test_gpu import made, same

KINDS = ["random", "unit", "large", "equal", "zero", "near"]
NAMES = ("cuda:0", "cuda:1", "cuda:2")


@settings(max_examples=80, deadline=None)
@given(
    precision=st.sampled_from(["float32", "float16"]),
    kind=st.sampled_from(KINDS),
    number=st.integers(1, 3),
    sharded=st.booleans(),
    n=st.integers(1, 400),
    k=st.integers(1, 60),
    d=st.integers(1, 40),
    seed=st.integers(0, 99),
)
def test_results_are_those_of_exact_search_to_the_bit(
    precision, kind, number, sharded, n, k, d, seed
):
    documents, queries = made(kind, n, d, seed), made(kind, 5, d, seed + 1)
    with faked(number, seed=seed) as machine:
        spec = f"gpu,precision={precision},sharded={str(sharded).lower()}"
        found = INDEXES.create(spec).open(documents).search(queries, k, silent).run
        assert machine.searches
    same(found, search_exactly(documents, queries, k))


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_documents_of_zeros_are_ranked_by_their_rows(precision):
    """Errors of divided sums count, also where those of the scores themselves are nothing."""
    documents, queries = made("equal", 50, 8), made("random", 9, 8, seed=1)
    documents.values[:] = 0
    queries.values[:] *= 1000
    with faked(2):
        index = INDEXES.create(f"gpu,precision={precision}")
        found = index.open(documents).search(queries, 5, silent).run
    assert found.docs.tolist() == [[49, 48, 47, 46, 45]] * 9
    assert not found.scores.any()


@settings(max_examples=40, deadline=None)
@given(
    kind=st.sampled_from(KINDS),
    number=st.integers(1, 3),
    tile=st.integers(40, 3000),
    n=st.integers(1, 300),
    k=st.integers(1, 50),
    power=st.sampled_from([0, -40, 45]),
    seed=st.integers(0, 99),
)
def test_documents_of_the_host_give_the_same_bits(kind, number, tile, n, k, power, seed):
    documents, queries = made(kind, n, 10, seed), made(kind, 5, 10, seed + 1)
    documents.values[:] = np.ldexp(documents.values, 0 if kind == "large" else power)
    extent = check_documents(documents.values)
    with faked(number, seed=seed), pytest.MonkeyPatch.context() as patch:
        patch.setattr(faiss_stream, "VECTORS", tile)
        scan = FaissStream.of(documents.values, extent.most, NAMES[:number])
        searcher = certified.CertifiedSearcher(documents.values, extent, scan, "float32")
        found = searcher.search(queries, k, silent).run
    same(found, search_exactly(documents, queries, k))


@pytest.mark.parametrize("power", [-60, -21, -20, 0, 9, 40, 41, 50])
@pytest.mark.parametrize("kind", ["flat", "shards", "half", "stream"])
def test_products_are_those_of_documents_no_longer_than_1(kind, power, monkeypatch):
    monkeypatch.setattr(faiss_stream, "VECTORS", 40 * 12 * 4)
    documents, queries = made("unit", 100, 12).values, made("unit", 3, 12, seed=1).values
    true = (queries.astype(np.float64) @ documents.T.astype(np.float64)) * 0.75
    half = kind == "half"
    values, norm = (
        np.ldexp(0.75 * documents, power).astype(np.float32),
        float(np.ldexp(0.7501, power)),
    )
    with faked(2):
        if kind == "stream":
            scan = FaissStream.of(values, norm, NAMES[:2])
        else:
            scan = FaissScan.of(values, norm, NAMES[:2], half=half, sharded=kind == "shards")
        found = scan.nearest(queries, 100)
        docs, products = found.docs, found.products
    off = np.abs(np.take_along_axis(true, docs, axis=1) - products)
    precision = "float16" if half else "float32"
    assert (off <= certified.rounding_error(np.float32([1.0001]), 12, 1, precision)).all()
    assert (np.sort(docs, axis=1) == np.arange(100)).all()
    assert (np.diff(products, axis=1) <= 0).all()


@pytest.mark.parametrize("sharded", [False, True])
@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_any_number_of_results(precision, sharded):
    documents, queries = made("unit", 2500), made("unit", 3, seed=1)
    with faked():
        spec = f"gpu,precision={precision},sharded={str(sharded).lower()}"
        searcher = INDEXES.create(spec).open(documents)
        for k in (1, 223, 1613, 1614, 2000, 2048, 2049, 2500, 2501):
            same(searcher.search(queries, k, silent).run, search_exactly(documents, queries, k))


@pytest.mark.parametrize("spec", ["gpu", "gpu,precision=float16,sharded=true,devices=1"])
def test_a_flat_faiss_index_scans(spec, fake_gpu):
    documents, queries = made("random", 900), made("random", 7, seed=1)
    searcher = INDEXES.create(spec).open(documents)
    expected = search_exactly(documents, queries, 20)
    same(searcher.search(queries, 20, silent).run, expected)
    half = "float16" in spec
    held = [("GpuIndexFlat", 1)] if half else [("GpuIndexFlat", 0), ("GpuIndexFlat", 1)]
    assert fake_gpu.moves == held
    size = 900 * (16 * (2 if half else 4) + 4) + TEMPORARY
    assert fake_gpu.used == ({1: size} if half else {0: size, 1: size})
    deep = searcher.search(queries, 900, silent).run
    same(deep, search_exactly(documents, queries, 900))


def test_a_flat_faiss_index_is_asked_for_no_more_than_2048(fake_gpu, monkeypatch):
    asked = []
    nearest = faiss_scan.FaissScan.nearest

    def counted(self, queries, m):
        asked.append(m)
        return nearest(self, queries, m)

    monkeypatch.setattr(faiss_scan.FaissScan, "nearest", counted)
    documents, queries = made("unit", 3000), made("unit", 3, seed=1)
    searcher = INDEXES.create("gpu").open(documents)
    for k in (200, 2500):
        expected = search_exactly(documents, queries, k)
        same(searcher.search(queries, k, silent).run, expected)
    assert asked == [282]


def test_late_interaction_needs_torch_to_see_the_device(fake_gpu):
    index = INDEXES.create("gpu")
    index.require("dense")
    assert index.accepts == ("dense", "multi-vector")
    message = (
        "gpu: torch, which would search here, uses no CUDA device: choose the index exact, or "
        "fallback=cpu"
    )
    with pytest.raises(InputError, match=message):
        index.require("multi-vector")
    INDEXES.create("gpu,devices=cpu").require("multi-vector")


def test_a_device_has_one_set_of_resources(fake_gpu):
    for spec in ("gpu", "gpu,sharded=true", "gpu:IVF4_Flat", "gpu:Flat"):
        INDEXES.create(spec).open(made("unit", 200))
    assert fake_gpu.resources == 2
    assert fake_gpu.started == {(0, 0), (1, 1)}


def test_documents_are_given_to_faiss_as_they_are(fake_gpu, monkeypatch):
    added = []
    add = fakes.GpuIndexFlat.add
    monkeypatch.setattr(fakes.GpuIndexFlat, "add", lambda self, x: (added.append(x), add(self, x)))
    for norm, shared in ((1, True), (1e-5, True), (1e9, True), (1e-9, False), (1e15, False)):
        documents = made("unit", 200).values * np.float32(norm)
        for half, sharded in ((False, False), (False, True), (True, False)):
            added.clear()
            FaissScan.of(documents, norm * 1.001, NAMES[:2], half=half, sharded=sharded)
            assert [len(x) for x in added] == ([100, 100] if sharded else [200, 200])
            kept = shared and (not half or norm == 1)
            assert all(np.shares_memory(x, documents) == kept for x in added)
            if not kept:
                assert 0.5 <= np.linalg.norm(added[0], axis=1).max() <= 1


@pytest.mark.parametrize(("half", "sharded"), [(False, False), (True, False), (False, True)])
def test_memory_is_predicted_as_it_is_used(half, sharded):
    documents = made("unit", 1001).values
    with faked() as machine:
        needed = FaissScan.count_bytes(1001, 16, NAMES[:2], half=half, sharded=sharded)
        FaissScan.of(documents, 1.001, NAMES[:2], half=half, sharded=sharded)
        kept = needed - FaissScan.count_bytes(0, 16, NAMES[:2], half=half, sharded=sharded)
    rows, numbers = 501 if sharded else 1001, 16 * (2 if half else 4)
    assert max(machine.peak.values()) == TEMPORARY + rows * (numbers + 4)
    assert needed == max(machine.peak.values()) + (1 << 28)
    assert kept == rows * (numbers + 4) + TEMPORARY  # which the process has taken by now


def test_a_full_device_is_told_from_other_errors():
    documents, queries = made("unit", 1000).values, made("unit", 300, seed=1).values
    full = pytest.raises(devices.DeviceFullError, match=r"documents on cuda:0.*out of memory")
    with faked(1, memory=1000 * 68 + 99, temporary=100), full:
        FaissScan.of(documents, 1.001, ("cuda:0",), half=False, sharded=False)
    with faked(1, memory=1000 * 68 + 100 + 5000, temporary=100) as machine:
        scan = FaissScan.of(documents, 1.001, ("cuda:0",), half=False, sharded=False)
        assert scan.nearest(queries[:10], 9).docs.shape == (10, 9)
        with pytest.raises(devices.DeviceFullError, match="out of memory"):
            scan.nearest(queries, 9)
        with pytest.raises(
            InputError, match=r"faiss on cuda:0: Error: .*up to 2048 \(requested 2049"
        ):
            scan.nearest(queries[:1], 2049)
        assert machine.used == {0: 68_100}
        stream = FaissStream(documents, 1.001, ("cuda:0",))
        with pytest.raises(devices.DeviceFullError, match=r"faiss on cuda:0: .*out of memory"):
            stream.nearest(queries[:1], 9)


def test_a_stream_takes_no_more_than_it_says(monkeypatch):
    monkeypatch.setattr(faiss_stream, "VECTORS", 1 << 14)
    monkeypatch.setattr(faiss_stream, "ASKED", 1 << 14)
    documents, queries = made("unit", 5000).values, made("unit", 40, seed=1).values
    with faked(temporary=0) as machine:
        scan = FaissStream.of(documents, 1.001, NAMES[:2])
        scan.nearest(queries, 20)
        assert max(machine.peak.values()) <= 3 << 14
        assert [device for _, device, *_ in machine.searches] in ([0, 1], [1, 0])


@pytest.mark.parametrize(
    ("sharded", "q", "names"),
    [
        (True, 1, NAMES[:2]),  # two documents
        (False, 1, NAMES[:1]),  # replicas divide queries
        (False, 3, NAMES[:3]),
        (False, 4, NAMES[:2]),  # two each
        (False, 0, ()),
    ],
)
def test_fewer_documents_or_queries_than_devices(sharded, q, names):
    documents, queries = made("unit", 2), made("unit", q, seed=1)
    with faked(3) as machine:
        index = INDEXES.create(f"gpu,sharded={str(sharded).lower()}")
        found = index.open(documents).search(queries, 5, silent)
        assert {device for _, device, *_ in machine.searches} == set(range(len(names)))
    assert found.devices == names
    same(found.run, search_exactly(documents, queries, 5))


def test_where_little_is_free_faiss_keeps_nothing():
    """It would take 1.5 GiB of a device when it first uses it."""
    documents, queries = made("unit", 300), made("unit", 5, seed=1)
    least = 2 * faiss_stream.VECTORS + faiss_stream.ASKED + faiss_devices.BESIDE
    for free in (least, least - 1):
        with faked(1, memory=free) as machine:
            if free < least:
                message = "gpu: the smallest block needs about 0.9 GB on cuda:0 and 0.9 GB are free"
                with pytest.raises(InputError, match=f"^{message}: free some"):
                    INDEXES.create("gpu").open(documents)
                continue
            found = INDEXES.create("gpu").open(documents).search(queries, 5, silent)
            assert machine.started == {(0, 0)}
            assert found.devices == ("cuda:0",)
            same(found.run, search_exactly(documents, queries, 5))


def test_one_thread_at_a_time_is_on_a_device(fake_gpu, monkeypatch):
    documents, queries = made("unit", 200), made("unit", 4, seed=1)
    searchers = [INDEXES.create("gpu").open(documents) for _ in range(2)]
    find, failed = fakes.GpuIndexFlat.find, []

    def slow(self, *asked):
        time.sleep(0.02)
        return find(self, *asked)

    def search(searcher):
        try:
            searcher.search(queries, 3, silent)
        except AssertionError as error:
            failed.append(error)

    monkeypatch.setattr(fakes.GpuIndexFlat, "find", slow)
    threads = [threading.Thread(target=search, args=[searcher]) for searcher in searchers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []


@pytest.mark.parametrize("half", [False, True])
def test_the_fake_errs_up_to_the_bound(half):
    documents, queries = made("random", 500, 24, 3).values, made("random", 20, 24, 4).values
    longest, norms = np.linalg.norm(documents, axis=1).max(), np.linalg.norm(queries, axis=1)
    precision = "float16" if half else "float32"
    with faked() as machine:
        metric = load_faiss().METRIC_INNER_PRODUCT
        products, docs = fakes.rough(machine, queries, documents, 500, metric, half=half)
    true = queries.astype(np.float64) @ documents.T.astype(np.float64)
    off = np.abs(np.take_along_axis(true, docs, axis=1) - products).max(axis=1)
    share = off / certified.rounding_error(norms, 24, float(longest), precision)
    assert 0.9 < share.max() < 1
    assert (np.sort(docs, axis=1) == np.arange(500)).all()


def test_the_fake_mixes_ties_and_is_strict(fake_gpu):
    faiss = load_faiss()
    for name in ("GpuMultipleClonerOptions", "GpuClonerOptions", "GpuIndexFlatConfig"):
        with pytest.raises(AttributeError):
            getattr(faiss, name)().use_float16 = True
    options = faiss.GpuMultipleClonerOptions()
    options.shard = True
    resources = [faiss.StandardGpuResources() for _ in range(2)]
    flat = faiss.index_cpu_to_gpu_multiple_py(resources, faiss.IndexFlatIP(8), options, [0, 1])
    values = made("zero", 50, 8).values[::2][:20].copy()
    flat.add(values)
    assert flat.search(values[:1], 20)[1].tolist() != [list(range(20))]
    with pytest.raises(RuntimeError, match="only add\\(\\) in a single pass is supported"):
        flat.add(values)
    graph = faiss.index_cpu_to_gpu_multiple_py(resources, faiss.IndexHNSWFlat(8, 4), options)
    assert (type(graph).__name__, fake_gpu.clones) == ("IndexHNSWFlat", ["IndexHNSWFlat"])
    with pytest.raises(RuntimeError, match="This index type is not implemented on GPU"):
        faiss.index_cpu_to_gpu(resources[0], 0, faiss.IndexHNSWFlat(8, 4))
    with pytest.raises(RuntimeError, match="Invalid GPU device 2"):
        faiss.index_cpu_to_gpu(resources[0], 2, faiss.IndexFlatIP(8))
    whole = faiss.index_gpu_to_cpu(flat)
    np.testing.assert_array_equal(whole.reconstruct_n(0, 20), values)
