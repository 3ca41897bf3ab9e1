"""GPU search as far as a CPU can show it: the code of torch on the processor, faiss's replaced."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import accelerators
from harness.errors import InputError
from harness.indexes import INDEXES, devices, gpu, maxsim, ragged
from harness.indexes.exact import Exact
from harness.indexes.gpu import certified, torch_scan
from harness.progress import silent
from harness.vectors import Dense, Run
from harness.vectors.lengths import Extent
from tests.indexes.test_maxsim import made as several

PRECISIONS = ["float32", "float16", "bfloat16"]


def made(kind: str, n: int, d: int = 16, seed: int = 0) -> Dense:
    values = np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32)
    if kind == "unit":
        values /= np.linalg.norm(values, axis=1, keepdims=True)
    elif kind == "large":
        values *= np.float32(10) ** np.random.default_rng(seed).integers(-9, 9, (n, 1))
    elif kind == "equal":
        values[:] = values[0]
    elif kind == "zero":
        values[::2] = 0
    elif kind == "near":  # below what 16 bits tell apart
        values = (values[:1] + 1e-5 * values).astype(np.float32)
    return Dense(values)


def same(one: Run, other: Run) -> None:
    np.testing.assert_array_equal(one.docs, other.docs)
    np.testing.assert_array_equal(one.scores, other.scores)


@settings(max_examples=60, deadline=None)
@given(
    precision=st.sampled_from(PRECISIONS),
    kind=st.sampled_from(["random", "unit", "large", "equal", "zero", "near"]),
    n=st.integers(1, 400),
    k=st.integers(1, 60),
    d=st.integers(1, 40),
    tile=st.integers(1, 500),
    seed=st.integers(0, 99),
)
def test_results_are_those_of_exact_search_to_the_bit(precision, kind, n, k, d, tile, seed):
    documents, queries = made(kind, n, d, seed), made(kind, 5, d, seed + 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(devices, "TILE", tile)
        searcher = gpu.GpuExact(precision, "cpu").open(documents)
        found = searcher.search(queries, k, silent).run
    same(found, Exact().open(documents).search(queries, k, silent).run)


@settings(max_examples=40, deadline=None)
@given(
    precision=st.sampled_from(PRECISIONS),
    kind=st.sampled_from(["random", "large", "whole", "tiny"]),
    n=st.integers(1, 60),
    k=st.integers(1, 40),
    tile=st.integers(1, 80),
    rows=st.integers(1, 20),
    seed=st.integers(0, 99),
)
def test_late_interaction_is_that_of_exact_search_to_the_bit(
    precision, kind, n, k, tile, rows, seed
):
    documents = several(n, 7, 12, seed, whole=kind == "whole")
    queries = several(5, 6, 12, seed + 1, whole=kind == "whole")
    for part in (documents, queries) if kind in ("large", "tiny") else ():
        powers = np.random.default_rng(seed).integers(-9, 9, (len(part.values), 1))
        part.values[:] *= np.float32(10) ** (powers if kind == "large" else powers - 9)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(devices, "TILE", tile)
        patch.setattr(devices, "QUERIES", rows)
        patch.setattr(devices, "choose", lambda *_: ("cpu",) * (1 + seed % 3))
        searcher = gpu.GpuExact(precision).open(documents)
        found = searcher.search(queries, k, silent).run
    same(found, Exact().open(documents).search(queries, k, silent).run)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_rough_maxsim_is_within_its_bound(precision):
    documents, queries = several(50, 9, 32, 3), several(9, 6, 32, 4)
    searcher = gpu.GpuExact(precision, "cpu").open(documents)
    kept, asked = searcher.documents, ragged.drop_empty(queries)[1]
    (part,) = searcher.scan.compare(asked)
    assert (part.queries, part.documents) == ((0, len(asked)), (0, len(kept)))
    rough = part.scores
    rows, docs = np.divmod(np.arange(rough.size), len(kept))
    exact = maxsim.scores(asked, kept, rows, docs).reshape(rough.shape)
    slack = searcher.scan.slack(np.linalg.norm(queries.values, axis=1))
    bound = np.add.reduceat(slack, asked.offsets[:-1])
    share = np.abs(rough - exact).max(axis=1) / (bound / 2)
    assert share.max() < 1
    if precision != "float32":
        assert share.max() > 0.01


def test_the_cpu_stands_in_for_late_interaction_too(monkeypatch):
    monkeypatch.setattr(accelerators, "torch_count", lambda: 0)
    index, documents, queries = (
        INDEXES.create("gpu,fallback=cpu"),
        several(9, 7, 8, 0),
        several(3, 7, 8, 1),
    )
    index.require("multi-vector")
    found = index.open(documents).search(queries, 3, silent).run
    same(found, Exact().open(documents).search(queries, 3, silent).run)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_documents_are_divided_among_devices(precision):
    documents, queries = made("unit", 500), made("unit", 7, seed=1)
    scan = torch_scan.TorchScan.of(documents.values, 1.0, ("cpu", "cpu", "cpu"), precision)
    assert [share.low for share in scan.plan.shares] == [0, 166, 333]
    searcher = certified.CertifiedSearcher(documents.values, Extent(1, 1.001), scan, precision)
    expected = Exact().open(documents).search(queries, 9, silent).run
    same(searcher.search(queries, 9, silent).run, expected)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_bound_holds_and_is_not_idle(precision):
    """Products of a scan are off by less than the bound, and for 16 bits by a fair part of it."""
    documents, queries = made("random", 2000, 64, 3), made("large", 50, 64, 4)
    norms = np.linalg.norm(queries.values, axis=1)
    longest = float(np.linalg.norm(documents.values, axis=1).max())
    scan = torch_scan.TorchScan.of(documents.values, longest, ("cpu",), precision)
    scaled, exponents = certified.scale(queries.values)
    found = scan.nearest(scaled, 2000)
    docs = found.docs
    products = np.ldexp(found.products, (exponents + np.frexp(np.float32(longest))[1])[:, None])
    true = queries.values.astype(np.float64) @ documents.values.T.astype(np.float64)
    off = np.abs(np.take_along_axis(true, docs, axis=1) - products).max(axis=1)
    share = off / certified.rounding_error(norms, 64, longest, precision)
    assert share.max() < 1
    if precision != "float32":
        assert share.max() > 0.02


def test_a_few_candidates_suffice(monkeypatch):
    """Of unit vectors nothing is left to the CPU, nor to a second scan."""
    asked = []
    nearest = torch_scan.TorchScan.nearest

    def counted(self, queries, m):
        asked.append((len(queries), m))
        return nearest(self, queries, m)

    monkeypatch.setattr(torch_scan.TorchScan, "nearest", counted)
    documents, queries = made("unit", 5000, 32), made("unit", 40, 32, 1)
    for precision in ("float32", "float16"):
        gpu.GpuExact(precision, "cpu").open(documents).search(queries, 10, silent)
    assert asked == [(40, 44), (40, 44)]


def test_equal_scores_are_left_to_the_cpu(monkeypatch):
    rows = []
    search = certified.DenseSearcher.search

    def counted(self, queries, k, progress):
        rows.append(len(queries))
        return search(self, queries, k, progress)

    monkeypatch.setattr(certified.DenseSearcher, "search", counted)
    documents, queries = made("equal", 3000), made("unit", 4, seed=1)
    found = gpu.GpuExact("float16", "cpu").open(documents).search(queries, 3, silent).run
    assert rows == [4]
    assert found.docs.tolist() == [[2999, 2998, 2997]] * 4


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("gpu", "gpu: no CUDA device answers: choose the index exact, or fallback=cpu"),
        (
            "gpu:IVF8_Flat",
            "gpu:IVF8_Flat: no CUDA device answers: use faiss:IVF8_Flat, or fallback=cpu",
        ),
        ("gpu,nprobe=3", "gpu: exact search takes no metric=l2, nprobe or ef_search: leave it out"),
        ("gpu:Flat,precision=bfloat16", "gpu:Flat: precision=bfloat16: expected float32 or float"),
        ("gpu:IVF8_Flat,nprobe=0", "gpu:IVF8_Flat: nprobe=0: expected at least 1"),
        ("gpu,precision=int8", "gpu: precision=int8: expected one of float32, float16, bfloat16"),
    ],
)
def test_bad_input(spec, message, monkeypatch):
    monkeypatch.setattr(accelerators, "torch_count", lambda: 0)
    with pytest.raises(InputError, match=f"^{re.escape(message)}"):
        INDEXES.create(spec).require("dense")


def test_devices_are_chosen_by_number(monkeypatch):
    monkeypatch.setattr(accelerators, "torch_count", lambda: 3)
    assert devices.choose("all", "none") == ("cuda:0", "cuda:1", "cuda:2")
    assert devices.choose("2+0+2", "none") == ("cuda:2", "cuda:0")
    for wrong in ("3", "0+", "one"):
        with pytest.raises(InputError, match=re.escape(f"gpu: devices={wrong}: expected all, or")):
            devices.choose(wrong, "cpu")


@pytest.mark.parametrize("spec", ["gpu,fallback=cpu", "gpu:IVF4_Flat,nprobe=4,fallback=cpu"])
def test_the_cpu_stands_in_where_it_may(spec, monkeypatch):
    monkeypatch.setattr(accelerators, "torch_count", lambda: 0)
    index, documents, queries = INDEXES.create(spec), made("unit", 300), made("unit", 5, seed=1)
    index.require("dense")
    searcher = index.open(documents)
    expected = Exact().open(documents).search(queries, 4, silent).run
    same(searcher.search(queries, 4, silent).run, expected)
    notes = (*searcher.info.notes, *index.notes(4))
    assert notes == ("no CUDA device answers: the CPU searched in its place",)
    assert index.describe()["devices"] == 0
