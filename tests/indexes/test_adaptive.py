"""Exact search by the processor or GPUs: which of the two, by what rates, and never other results.

A GPU's place is taken by the processor's own search; what rates are measured is told.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import pytest

from harness import accelerators
from harness.errors import InputError
from harness.indexes import INDEXES, Found, IndexInfo, Instead, Searcher, adaptive
from harness.indexes.adaptive import AdaptiveSearcher, Rates
from harness.indexes.devices import DeviceFullError
from harness.indexes.exact import DenseSearcher, Exact
from harness.indexes.maxsim import MaxSimSearcher
from harness.progress import silent
from harness.vectors import Dense, Embeddings
from tests.indexes.test_maxsim import made as several

ON_CPU = Exact(device="cpu")


@dataclass(frozen=True)
class OnGpus:
    """The processor's search under the name of a GPU."""

    searcher: Searcher

    @property
    def info(self) -> IndexInfo:
        return replace(self.searcher.info, notes=("a part was streamed",))

    def search(self, queries: Embeddings, k: int, progress: object) -> Found:
        return replace(self.searcher.search(queries, k, silent), devices=("cuda:0",))


def by_gpus(documents: Embeddings) -> Searcher:
    return OnGpus(ON_CPU.open(documents))


def made(n: int, seed: int = 0) -> Dense:
    return Dense(np.random.default_rng(seed).standard_normal((n, 8)).astype(np.float32))


def opened(
    documents: Embeddings, gpus: Callable[[Embeddings], Searcher] = by_gpus
) -> AdaptiveSearcher:
    return AdaptiveSearcher(documents, ON_CPU.open(documents), ON_CPU.open, gpus)


@pytest.fixture
def unmeasured(monkeypatch):
    """No rates are known, and all work is worth a measurement."""
    monkeypatch.setattr(adaptive, "SMALL", 0.0)
    monkeypatch.setattr(adaptive, "WORTH", 0.0)
    monkeypatch.setattr(adaptive, "_rates", {})


@pytest.fixture
def rates(monkeypatch):
    """Rates of the processor and of GPUs, as if they were measured; all work counts."""

    def tell(processor: Rates, gpus: Rates) -> None:
        def measure(open_, documents, queries, k, many):
            return processor if many == adaptive.FEW else replace(gpus, devices=("cuda:0",))

        monkeypatch.setattr(adaptive, "_measure", measure)

    monkeypatch.setattr(adaptive, "SMALL", 0.0)
    monkeypatch.setattr(adaptive, "_rates", {})
    return tell


@pytest.mark.parametrize("kind", ["dense", "multi-vector"])
@pytest.mark.parametrize(
    ("gpus", "devices", "said"),
    [
        (Rates(5000, 1000), ("cuda:0",), "exact search: 3 s predicted of the processor and 0.9 s "
         "of GPUs, by measured rates, for 300 documents and 10 queries"),
        (Rates(5000, 100), (), "exact search: 3 s predicted of the processor and 3.6 s of GPUs, "
         "by measured rates, for 300 documents and 10 queries"),
    ],
)  # fmt: skip
def test_the_sooner_of_the_two_searches(kind, gpus, devices, said, rates):
    """300 x 10 comparisons at 1,000 a second: 3 s; 0.6 s and 300 documents to copy on GPUs."""
    rates(Rates(1000, 1e9), gpus)
    many = made if kind == "dense" else lambda n, seed=0: several(n, 7, 8, seed)
    documents, queries = many(300), many(10, 1)
    found = opened(documents).search(queries, 4, silent)
    expected = ON_CPU.open(documents).search(queries, 4, silent).run
    np.testing.assert_array_equal(found.run.docs, expected.docs)
    np.testing.assert_array_equal(found.run.scores, expected.scores)
    streamed = ("a part was streamed",) if devices else ()
    assert (found.devices, found.notes) == (devices, (*streamed, said))


def test_documents_that_are_on_gpus_are_not_copied_again(rates):
    rates(Rates(1000, 1e9), Rates(5000, 100))
    searcher = opened(made(300))
    assert searcher.search(made(10, 1), 4, silent).devices == ()
    assert searcher.search(made(20, 1), 4, silent).devices == ("cuda:0",)  # 6 s against 1.2 + 3
    assert searcher.search(made(10, 1), 4, silent).devices == ("cuda:0",)  # 3 s against 0.6


def test_what_takes_no_second_wakes_no_gpu(rates):
    def never(documents: Embeddings) -> Searcher:
        raise AssertionError

    rates(Rates(3001, 1e9), Rates(1e9, 1e9))
    found = opened(made(300), never).search(made(10, 1), 4, silent)
    assert (found.devices, found.notes) == ((), ())


def test_what_a_gpu_failed_at_is_not_tried_again(rates):
    """A failure of the documents is theirs, one of a trial that of all such work."""
    tried = []

    def fail(documents: Embeddings) -> Searcher:
        tried.append(len(documents))
        raise InputError("gpu: it is full")

    rates(Rates(1000, 1e9), Rates(5000, 1000))
    searcher = opened(made(300), fail)
    said = "the processor searched, since a GPU could not: gpu: it is full"
    for _ in range(3):
        assert searcher.search(made(10, 1), 4, silent).notes == (said,)
    assert tried == [300]


def test_a_trial_that_failed_is_not_made_again(unmeasured):
    tried = []

    def fail(documents: Embeddings) -> Searcher:
        tried.append(len(documents))
        raise InputError("gpu: it is full")

    for seed in range(3):
        found = opened(made(300, seed), fail).search(made(10, 1), 4, silent)
        assert found.notes == ("the processor searched, since a GPU could not: gpu: it is full",)
    assert tried == [1]


def test_wrong_queries_are_no_failure_of_a_gpu(rates):
    rates(Rates(1000, 1e9), Rates(5000, 1000))
    searcher, wrong = opened(made(300)), made(10, 1)
    wrong.values[3, 2] = np.nan
    with pytest.raises(InputError, match=r"row 3"):
        searcher.search(wrong, 4, silent)
    assert searcher.search(made(10, 1), 4, silent).devices == ("cuda:0",)


def test_rates_serve_other_depths_of_about_the_size(monkeypatch, rates):
    measured = []
    rates(Rates(1000, 1e9), Rates(5000, 1000))
    measure = adaptive._measure

    def counted(*given):
        measured.append(given[-2])
        return measure(*given)

    monkeypatch.setattr(adaptive, "_measure", counted)
    searcher = opened(made(300))
    for k in (64, 100, 127, 128, 500):
        searcher.search(made(10, 1), k, silent)
    assert measured == [64, 64, 64, 128, 128, 128]  # the processor, a start and GPUs each


def test_a_search_that_deepens_is_not_measured_at_each_depth(monkeypatch, rates):
    """Passages are asked for 4 times as deep until all documents are sure."""
    measured = []
    rates(Rates(1000, 1e9), Rates(5000, 1000))
    measure = adaptive._measure

    def counted(*given):
        measured.append(given[-2])
        return measure(*given)

    monkeypatch.setattr(adaptive, "_measure", counted)
    searcher = opened(made(300))
    for k in (40, 160, 640, 2560, 10240):
        searcher.search(made(10, 1), k, silent)
    assert measured == [40] * 3 + [160] * 3 + [2560] * 3


def test_documents_that_are_copied_for_each_batch_are_not_taken_for_those_that_stay(rates):
    """300 x 10 comparisons take 0.6 s on GPUs, and half of the documents are copied once more."""

    @dataclass(frozen=True)
    class Streaming(OnGpus):
        @property
        def info(self) -> IndexInfo:
            return replace(super().info, streamed=0.5)

    def stream(documents: Embeddings) -> Searcher:
        return Streaming(ON_CPU.open(documents))

    rates(Rates(1000, 1e9), Rates(5000, 150))
    assert opened(made(300)).search(made(10, 1), 4, silent).devices == ("cuda:0",)  # 2.6 s of 3
    searcher = opened(made(300), stream)
    found = searcher.search(made(10, 1), 4, silent)
    assert (found.devices, found.notes) == (
        (),
        (
            "exact search: 3 s predicted of the processor and 3.6 s of GPUs, by measured rates, "
            "for 300 documents and 10 queries",
        ),
    )
    assert searcher.search(made(10, 1), 4, silent).devices == ("cuda:0",)  # 1.6 s: they are there
    assert Rates(5000, 150).seconds(300, 8193, opened=True, streamed=0.5) == 8193 * 0.06 + 2


def test_two_threads_copy_documents_once(rates):
    copied = []

    def copy(documents: Embeddings) -> Searcher:
        copied.append(1)
        time.sleep(0.05)
        return by_gpus(documents)

    rates(Rates(1000, 1e9), Rates(5000, 1000))
    searcher = opened(made(300), copy)
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda _: searcher.search(made(10, 1), 4, silent), range(2)))
    assert ([one.devices for one in found], copied) == ([("cuda:0",)] * 2, [1])


def test_a_device_that_was_full_in_a_search_is_not_tried_again(rates):
    """It raises nothing: the processor decided all in its place, and would each time."""
    tried = []

    @dataclass(frozen=True)
    class Full(OnGpus):
        def search(self, queries: Embeddings, k: int, progress: object) -> Found:
            tried.append(len(queries))
            full = Instead(len(queries), len(queries), "queries", "cuda:0: full", full=True)
            return replace(super().search(queries, k, progress), devices=(), instead=full)

    rates(Rates(1000, 1e9), Rates(5000, 1000))
    searcher = opened(made(300), lambda documents: Full(ON_CPU.open(documents)))
    searcher.search(made(10, 1), 4, silent)
    found = searcher.search(made(10, 1), 4, silent)
    assert (tried, found.devices) == ([10], ())
    assert found.notes == ("the processor searched, since a GPU could not: cuda:0: full",)


def test_ties_that_the_processor_decided_are_no_failure_of_a_gpu(rates):
    tried = []

    @dataclass(frozen=True)
    class Tying(OnGpus):
        def search(self, queries: Embeddings, k: int, progress: object) -> Found:
            tried.append(len(queries))
            ties = Instead(len(queries), len(queries), "queries", "ties", full=False)
            return replace(super().search(queries, k, progress), devices=(), instead=ties)

    rates(Rates(1000, 1e9), Rates(5000, 1000))
    searcher = opened(made(300), lambda documents: Tying(ON_CPU.open(documents)))
    for _ in range(2):
        searcher.search(made(10, 1), 4, silent)
    assert tried == [10, 10]


def test_two_threads_try_a_failing_gpu_once(rates):
    tried = []

    def fail(documents: Embeddings) -> Searcher:
        tried.append(1)
        time.sleep(0.05)
        raise InputError("gpu: it is full")

    rates(Rates(1000, 1e9), Rates(5000, 1000))
    searcher = opened(made(300), fail)
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda _: searcher.search(made(10, 1), 4, silent), range(2)))
    said = "the processor searched, since a GPU could not: gpu: it is full"
    assert ([one.notes for one in found], tried) == ([(said,)] * 2, [1])


def test_two_threads_measure_once(monkeypatch, rates):
    measured = []
    rates(Rates(1000, 1e9), Rates(5000, 1000))
    measure = adaptive._measure

    def slow(*given):
        measured.append(given[-1])
        time.sleep(0.05)
        return measure(*given)

    monkeypatch.setattr(adaptive, "_measure", slow)
    searcher = opened(made(300))
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: searcher.search(made(10, 1), 4, silent), range(2)))
    assert measured == [adaptive.FEW, 1, adaptive.MANY]


def test_many_seconds_are_written_out(rates):
    rates(Rates(1, 1e9), Rates(1.2, 1e9))
    (_, said) = opened(made(300)).search(made(10, 1), 4, silent).notes
    assert said.startswith("exact search: 3,000 s predicted of the processor and 2,500 s of GPUs")


def test_few_queries_wake_no_gpu(rates):
    rates(Rates(1, 1e9), Rates(1e9, 1e9))
    assert opened(made(300)).search(made(9, 1), 4, silent).devices == ()


def test_a_trial_that_the_processor_made_is_no_rate_of_gpus(unmeasured):
    found = opened(made(300), ON_CPU.open).search(made(10, 1), 4, silent)
    assert found.notes == (
        "the processor searched, since a GPU could not: a trial was searched by the processor in "
        "their place",
    )


def test_small_work_is_not_measured(monkeypatch):
    monkeypatch.setattr(adaptive, "_measure", None)
    assert opened(made(300)).search(made(10, 1), 4, silent).notes == ()


@pytest.mark.parametrize(
    "error",
    [
        InputError("gpu: it is full"),
        DeviceFullError("full"),
        RuntimeError("CUDA\nerror"),
        OSError("libcudart.so"),
        AssertionError("Torch not compiled with CUDA enabled"),
    ],
)
def test_a_gpu_that_fails_is_no_reason_to_fail(error, rates):
    def fail(documents: Embeddings) -> Searcher:
        raise error

    rates(Rates(1000, 1e9), Rates(5000, 1000))
    documents, queries = made(300), made(10, 1)
    found = opened(documents, fail).search(queries, 4, silent)
    expected = ON_CPU.open(documents).search(queries, 4, silent).run
    np.testing.assert_array_equal(found.run.docs, expected.docs)
    first = str(error).splitlines()[0]
    assert found.notes == (f"the processor searched, since a GPU could not: {first}",)


def test_wrong_queries_are_told_as_ever():
    queries = made(10, 1)
    queries.values[3, 2] = np.nan
    with pytest.raises(InputError, match=r"row 3"):
        opened(made(300)).search(queries, 4, silent)


def test_rates_are_measured_by_searching(unmeasured):
    sizes = []

    def watched(documents: Embeddings) -> Searcher:
        sizes.append(len(documents))
        return by_gpus(documents)

    searcher, queries = opened(made(300), watched), made(10, 1)
    searcher.search(queries, 4, silent)
    assert sizes[:2] == [1, 300]  # CUDA starts; then what is timed
    searcher.search(queries, 4, silent)
    assert len(sizes) <= 3  # measured once, and opened at most once


def test_which_of_them_is_opened(monkeypatch):
    dense, tokens = made(9), several(9, 7, 8, 0)
    assert isinstance(INDEXES.create("exact").open(dense), DenseSearcher)  # no driver
    monkeypatch.setattr(accelerators, "present", lambda: True)
    assert isinstance(INDEXES.create("exact").open(dense), AdaptiveSearcher)
    assert isinstance(INDEXES.create("exact").open(tokens), AdaptiveSearcher)
    assert isinstance(INDEXES.create("exact,device=cpu").open(dense), DenseSearcher)
    assert isinstance(INDEXES.create("exact,device=cpu").open(tokens), MaxSimSearcher)
