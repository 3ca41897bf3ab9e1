"""Exact search against comparing every pair, whatever block, thread count and ties there are."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import InputError
from harness.indexes import INDEXES, exact
from harness.indexes.exact import Exact
from harness.indexes.faiss_library import load_faiss
from harness.progress import silent
from harness.vectors import Dense, Run, ranking


def pair_scores(queries: np.ndarray, documents: np.ndarray) -> np.ndarray:
    """Every inner product [q, n] by the routine of faiss that sees one pair at a time."""
    faiss = load_faiss()
    q, n = len(queries), len(documents)
    scores = np.empty(q * n, np.float32)
    query, doc = (part.ravel().astype(np.int64) for part in np.mgrid[:q, :n])
    arrays = [np.ascontiguousarray(a) for a in (queries, query, documents, doc)]
    pointers = [faiss.swig_ptr(array) for array in (*arrays, scores)]
    faiss.pairwise_indexed_inner_product(queries.shape[1], q * n, *pointers)
    return scores.reshape(q, n)


def reference(queries: np.ndarray, documents: np.ndarray, k: int) -> Run:
    """Sort every document by (score descending, row descending), in plain Python."""
    docs = np.full((len(queries), k), -1, np.int32)
    scores = np.zeros((len(queries), k), np.float32)
    for i, row in enumerate(pair_scores(queries, documents)):
        order = sorted(range(len(row)), key=lambda doc: (-row[doc], -doc))[:k]
        docs[i, : len(order)], scores[i, : len(order)] = order, row[order]
    return Run(docs, scores)


def search(queries: np.ndarray, documents: np.ndarray, k: int, block: int = 1 << 18) -> Run:
    return Exact(block).open(Dense(documents)).search(Dense(queries), k, silent).run


def same(found: Run, expected: Run) -> None:
    np.testing.assert_array_equal(found.docs, expected.docs)
    np.testing.assert_array_equal(found.scores, expected.scores)
    assert found.docs.dtype == np.int32
    assert found.scores.dtype == np.float32


def made(kind: str, n: int, d: int, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    values = random.standard_normal((n, d)).astype(np.float32)
    if kind == "rounded":
        values = np.round(values)
    elif kind == "duplicated":
        values = values[random.integers(max(1, n // 50), size=n)]
    elif kind == "equal":
        values[:] = values[0]
    elif kind == "near":  # equal but for their last bits
        values[:] = values[0] * (1 + random.integers(-1, 2, (n, d)).astype(np.float32) * 2**-23)
    elif kind == "zero":
        values[:] = 0
    elif kind == "sorted":  # the best documents all in the last block
        values = values[np.argsort(values[:, 0])]
    elif kind == "scaled":
        values *= np.float32(10.0) ** random.integers(-3, 4, size=(n, 1)).astype(np.float32)
    return np.ascontiguousarray(values)


KINDS = ["random", "rounded", "duplicated", "equal", "near", "zero", "sorted", "scaled"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("k", [1, 10, 100])
def test_it_finds_what_comparing_every_pair_finds(kind, k):
    documents, queries = made(kind, 3000, 24), made("random", 20, 24, seed=1)
    same(search(queries, documents, k), reference(queries, documents, k))


@pytest.mark.parametrize("kind", ["random", "rounded", "duplicated", "equal"])
def test_more_documents_than_are_multiplied_at_a_time(kind):
    documents, queries = made(kind, 9000, 8), made("random", 5, 8, seed=1)
    same(search(queries, documents, 50), reference(queries, documents, 50))


@pytest.mark.parametrize("block", [1, 2, 7, 64, 299, 300, 301, 100_000])
@pytest.mark.parametrize("kind", KINDS)
def test_results_do_not_depend_on_the_block(kind, block):
    documents, queries = made(kind, 300, 16), made("rounded", 9, 16, seed=1)
    same(search(queries, documents, 20, block), reference(queries, documents, 20))


@pytest.mark.parametrize("k", [299, 300, 301, 1000])
@pytest.mark.parametrize("block", [64, 100_000])
def test_a_cut_off_up_to_and_beyond_the_corpus_is_padded(k, block):
    documents, queries = made("duplicated", 300, 16), made("random", 9, 16, seed=1)
    found = search(queries, documents, k, block)
    same(found, reference(queries, documents, k))
    assert (found.docs[:, 300:] == -1).all()
    assert (np.sort(found.docs[:, :300], axis=1)[:, -min(k, 300) :] >= 0).all()


def test_more_queries_than_are_multiplied_at_a_time():
    documents, queries = made("rounded", 200, 4), made("rounded", 1100, 4, seed=1)
    same(search(queries, documents, 5), reference(queries, documents, 5))


def test_ties_across_the_cut_off_keep_the_last_rows():
    documents = np.ones((100, 2), np.float32)
    documents[40] = 2
    found = search(np.ones((1, 2), np.float32), documents, 4)
    assert found.docs.tolist() == [[40, 99, 98, 97]]
    assert found.scores.tolist() == [[4.0, 2.0, 2.0, 2.0]]


def test_negative_zero_and_zero_are_equal_scores():
    documents = np.array([[0.0], [-0.0], [0.0]], np.float32)
    found = search(np.array([[1.0], [-1.0]], np.float32), documents, 3)
    assert found.docs.tolist() == [[2, 1, 0], [2, 1, 0]]


def test_all_scores_negative():
    documents = made("random", 500, 3)
    documents[:, 0] = -1
    queries = np.array([[1, 0, 0]], np.float32)
    assert search(queries, documents, 3).docs.tolist() == [[499, 498, 497]]
    assert search(queries, documents, 3).scores.tolist() == [[-1.0, -1.0, -1.0]]


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(1, 400),
    d=st.integers(1, 20),
    k=st.integers(1, 60),
    block=st.integers(1, 500),
    kind=st.sampled_from(KINDS),
    seed=st.integers(0, 1000),
)
def test_any_shape(n, d, k, block, kind, seed):
    documents, queries = made(kind, n, d, seed), made("rounded", 4, d, seed + 1)
    same(search(queries, documents, k, block), reference(queries, documents, k))


def test_a_memory_map_is_searched_as_an_array_is(tmp_path):
    documents, queries = made("rounded", 700, 12), made("random", 6, 12, seed=1)
    np.save(tmp_path / "documents.npy", documents)
    mapped = np.load(tmp_path / "documents.npy", mmap_mode="r")
    for block in (100, 10_000):
        same(search(queries, mapped, 15, block), reference(queries, documents, 15))


def test_arrays_of_another_layout_are_searched_all_the_same():
    documents, queries = made("random", 400, 12), made("random", 6, 12, seed=1)
    expected = reference(queries, documents, 10)
    same(search(np.asfortranarray(queries), np.asfortranarray(documents), 10), expected)
    wide = np.zeros((400, 30), np.float32)
    wide[:, 5:17] = documents
    same(search(queries, wide[:, 5:17], 10), expected)


CHILD = """
    import hashlib
    import numpy as np
    from harness.indexes.exact import Exact
    from harness.progress import silent
    from harness.vectors import Dense
    random = np.random.default_rng(7)
    documents = random.standard_normal((6000, 48)).astype(np.float32)
    documents[3000:] = documents[:3000]
    queries = random.standard_normal((1200, 48)).astype(np.float32)
    run = Exact().open(Dense(documents)).search(Dense(queries), 20, silent).run
    print(hashlib.sha256(run.docs.tobytes() + run.scores.tobytes()).hexdigest())
"""


def test_results_do_not_depend_on_the_number_of_threads():
    found = [
        subprocess.run(
            [sys.executable, "-c", textwrap.dedent(CHILD)],
            env={**os.environ, "OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for threads in ("1", "2")
    ]
    random = np.random.default_rng(7)
    documents = random.standard_normal((6000, 48)).astype(np.float32)
    documents[3000:] = documents[:3000]
    queries = random.standard_normal((1200, 48)).astype(np.float32)
    scores = pair_scores(queries, documents)
    rows = np.broadcast_to(np.arange(6000, dtype=np.int32), scores.shape)
    run = ranking.unpack(ranking.best(ranking.pack(scores, rows), 20))
    expected = hashlib.sha256(run.docs.tobytes() + run.scores.tobytes()).hexdigest()
    assert found == [expected, expected]


def test_batches_of_queries_are_searched_by_as_many_threads_as_faiss_has(monkeypatch):
    faiss, asked = load_faiss(), []

    class Watched(exact.ThreadPoolExecutor):
        def __init__(self, threads: int, **options: object) -> None:
            asked.append(threads)
            super().__init__(threads, **options)

    monkeypatch.setattr(exact, "ThreadPoolExecutor", Watched)
    before = faiss.omp_get_max_threads()
    try:
        faiss.omp_set_num_threads(3)
        search(made("random", 1100, 4), made("random", 200, 4), 5)
        assert (asked, faiss.omp_get_max_threads()) == ([3], 3)
    finally:
        faiss.omp_set_num_threads(before)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38])
def test_a_document_that_is_no_vector_is_refused_with_its_row(value):
    documents = made("random", 50, 4)
    documents[33, 2] = value
    with pytest.raises(InputError, match="document row 33 holds NaN, infinity or a number too"):
        Exact(block=20).open(Dense(documents))


@pytest.mark.parametrize("value", [np.nan, np.inf, 3e38])
def test_a_query_that_is_no_vector_is_refused(value):
    queries = made("random", 5, 4)
    queries[1, 0] = value
    with pytest.raises(InputError, match="a query's vector holds NaN, infinity or a number"):
        search(queries, made("random", 50, 4), 3)


def test_widths_must_agree():
    with pytest.raises(InputError, match="queries are 3-d and documents 4-d: expected one width"):
        search(made("random", 5, 3), made("random", 50, 4), 3)


def test_progress_counts_every_comparison():
    told: list[tuple[str, int, int, str]] = []
    searcher = Exact(block=100).open(Dense(made("random", 250, 4)))
    searcher.search(Dense(made("random", 600, 4)), 3, lambda *report: told.append(report))
    assert told[-1] == ("search", 150_000, 150_000, "comparisons")
    assert [report[1] for report in told] == sorted(report[1] for report in told)
    assert len(told) == 3 * 2


def test_it_is_registered_with_its_block():
    assert INDEXES.create("exact,block=5") == Exact(5)
    assert str(INDEXES.resolve("exact")) == "exact,block=262144"
    assert Exact().accepts == ("dense", "sparse", "multi-vector")
    assert Exact().describe() == {"exact": True}
    with pytest.raises(InputError, match="exact: block=0: expected at least 1"):
        INDEXES.create("exact,block=0")


def test_few_results_of_many_equal_documents_are_the_last_rows():
    """More ties than the flat scan can tell apart: the rule decides, by way of the threshold."""
    values = np.zeros((500, 8), np.float32)
    values[:, 0] = 1
    values[:50, 1] = 0.5
    queries = np.zeros((6, 8), np.float32)
    queries[:, 0] = 1
    queries[3:, 1] = 1
    run = INDEXES.create("exact").open(Dense(values)).search(Dense(queries), 5, silent).run
    assert run.docs[:3].tolist() == [[499, 498, 497, 496, 495]] * 3
    assert run.docs[3:].tolist() == [[49, 48, 47, 46, 45]] * 3


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("k", [1, 10, 40, 700])
def test_candidates_are_merged_as_they_come(kind, k, monkeypatch):
    monkeypatch.setattr(exact, "CELLS", 1)
    monkeypatch.setattr(exact, "DOCUMENTS", 64)
    monkeypatch.setattr(exact, "SAMPLE", 128)
    documents, queries = made(kind, 1500, 8), made("random", 7, 8, seed=1)
    same(search(queries, documents, k), reference(queries, documents, k))


@pytest.mark.parametrize("distinct", [1, 50])
def test_equal_vectors_are_scored_once_a_query(distinct, monkeypatch):
    scored, score = [], exact._score

    def counting(queries, rows, documents, docs):
        scored.append(len(rows))
        return score(queries, rows, documents, docs)

    monkeypatch.setattr(exact, "_score", counting)
    documents = made("random", distinct, 8)[np.arange(20_000) % distinct]
    run = search(made("random", 8, 8, seed=1), documents, 1000)
    assert sum(scored) == 8 * distinct
    assert (run.docs[:, 0] >= 20_000 - distinct).all()  # the last of those that are best
    assert (np.diff(run.docs[:, :300]) == -distinct).all()  # and then those before it
