"""Sparse search against multiplying dense matrices; a score of 0 is no result."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from harness.errors import InputError
from harness.indexes import sparse
from harness.indexes.exact import Exact
from harness.progress import silent
from harness.vectors import Run, Sparse


def search(queries: np.ndarray, documents: np.ndarray, k: int) -> Run:
    searcher = Exact().open(Sparse(csr_matrix(documents)))
    return searcher.search(Sparse(csr_matrix(queries)), k, silent).run


def reference(queries: np.ndarray, documents: np.ndarray, k: int) -> Run:
    """Every pair whose score is not 0, sorted by (score descending, row descending)."""
    docs = np.full((len(queries), k), -1, np.int32)
    scores = np.zeros((len(queries), k), np.float32)
    for i, row in enumerate((queries @ documents.T).astype(np.float32)):
        order = sorted(np.flatnonzero(row), key=lambda doc: (-row[doc], -doc))[:k]
        docs[i, : len(order)], scores[i, : len(order)] = order, row[order]
    return Run(docs, scores)


def made(n: int, v: int, density: float, seed: int) -> np.ndarray:
    """Small whole numbers, so that sums are exact in any order, and many are equal."""
    random = np.random.default_rng(seed)
    values = random.integers(-3, 8, size=(n, v)) * (random.random((n, v)) < density)
    return values.astype(np.float32)


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(1, 60),
    v=st.integers(1, 30),
    k=st.integers(1, 70),
    density=st.floats(0, 1),
    seed=st.integers(0, 1000),
)
def test_it_finds_what_a_dense_product_finds(n, v, k, density, seed):
    documents, queries = made(n, v, density, seed), made(5, v, density, seed + 1)
    found, expected = search(queries, documents, k), reference(queries, documents, k)
    np.testing.assert_array_equal(found.docs, expected.docs)
    np.testing.assert_array_equal(found.scores, expected.scores)
    assert found.docs.shape == (5, k)
    assert found.docs.dtype == np.int32
    assert found.scores.dtype == np.float32


def test_a_document_that_shares_no_term_is_no_result():
    documents = np.array([[1, 0, 0], [0, 1, 0], [2, 1, 0]], np.float32)
    queries = np.array([[1, 0, 0], [0, 0, 1], [0, 0, 0]], np.float32)
    found = search(queries, documents, 3)
    assert found.docs.tolist() == [[2, 0, -1], [-1, -1, -1], [-1, -1, -1]]
    assert found.scores.tolist() == [[2.0, 1.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]


def test_a_negative_score_is_a_result_and_one_that_cancels_is_none():
    documents = np.array([[1, -1], [0, 0], [-1, 0]], np.float32)
    found = search(np.array([[1, 1]], np.float32), documents, 3)
    assert found.docs.tolist() == [[2, -1, -1]]
    assert found.scores.tolist() == [[-1.0, 0.0, 0.0]]


def test_ties_at_the_cut_off_keep_the_last_rows():
    found = search(np.ones((1, 1), np.float32), np.ones((90, 1), np.float32), 3)
    assert found.docs.tolist() == [[89, 88, 87]]


def test_queries_in_batches_give_the_same(monkeypatch):
    documents, queries = made(40, 12, 0.4, seed=0), made(23, 12, 0.4, seed=1)
    whole = search(queries, documents, 7)
    told: list[int] = []
    monkeypatch.setattr(sparse, "CELLS", 160)  # four queries at a time
    searcher = Exact().open(Sparse(csr_matrix(documents)))
    found = searcher.search(
        Sparse(csr_matrix(queries)), 7, lambda stage, done, total, unit: told.append(done)
    ).run
    np.testing.assert_array_equal(found.docs, whole.docs)
    np.testing.assert_array_equal(found.scores, whole.scores)
    assert told == [4, 8, 12, 16, 20, 23]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_no_number_is_refused(value):
    broken, whole = np.array([[1, value]], np.float32), np.ones((1, 2), np.float32)
    with pytest.raises(InputError, match="a document's sparse vector holds NaN or infinity"):
        search(whole, broken, 1)
    with pytest.raises(InputError, match="a query's sparse vector holds NaN or infinity"):
        search(broken, whole, 1)


def test_another_vocabulary_is_refused():
    with pytest.raises(InputError, match="queries have 3 terms and documents 2: expected one voc"):
        search(np.ones((1, 3), np.float32), np.ones((1, 2), np.float32), 1)
