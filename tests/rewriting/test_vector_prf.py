"""Vector-PRF: published toy values, results that are missing, and what always holds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import InputError
from harness.progress import silent
from harness.rewriting import REWRITERS, Feedback
from harness.rewriting.vector_prf import Average, Rocchio
from harness.vectors import Dense, Run

QUERY = [[1.0, 0.0]]
DOCUMENTS = [[0.0, 1.0], [1.0, 1.0], [0.0, 2.0], [50.0, 50.0]]


def moved(feedback: Feedback, docs: list[list[int]], queries=QUERY, documents=DOCUMENTS):
    docs = np.array(docs, np.int32)
    run = Run(docs, np.ones(docs.shape, np.float32))
    found = feedback.expand(
        Dense(np.array(queries, np.float32)), Dense(np.array(documents, np.float32)), run, silent
    )
    assert isinstance(found, Dense)
    assert found.values.dtype == np.float32
    return found.values


def test_toy_values_of_the_average():
    """(q + d1 + d2 + d3) / 4; a fourth result is not looked at."""
    assert moved(Average(), [[0, 1, 2, 3]]).tolist() == [[0.5, 1.0]]


def test_toy_values_of_rocchio():
    """0.4 q + 0.6 (d1 + d2 + d3) / 3, though it would look at five."""
    np.testing.assert_allclose(moved(Rocchio(), [[0, 1, 2, -1, -1]]), [[0.6, 0.8]], rtol=1e-6)


def test_what_is_missing_is_left_out():
    queries = [[1.0, 0.0]] * 3
    docs = [[0, -1, -1], [-1, 2, 1], [-1, -1, -1]]
    average = moved(Average(), docs, queries)
    np.testing.assert_allclose(average, [[0.5, 0.5], [2 / 3, 1], [1, 0]], rtol=1e-6)
    rocchio = moved(Rocchio(), docs, queries)
    np.testing.assert_allclose(rocchio, [[0.4, 0.6], [0.7, 0.9], [0.4, 0]], rtol=1e-6)


def test_what_was_searched_stays_as_it_was():
    queries, documents = np.array(QUERY, np.float32), np.array(DOCUMENTS, np.float32)
    moved(Average(), [[0, 1, 2]], queries, documents)
    assert queries.tolist() == QUERY
    assert documents.tolist() == DOCUMENTS


@settings(max_examples=50, deadline=None)
@given(
    q=st.integers(1, 6),
    n=st.integers(1, 8),
    k=st.integers(1, 7),
    depth=st.integers(1, 6),
    seed=st.integers(0, 999),
)
def test_they_are_the_formulas(q, n, k, depth, seed):
    random = np.random.default_rng(seed)
    queries = random.standard_normal((q, 3)).astype(np.float32)
    documents = random.standard_normal((n, 3)).astype(np.float32)
    docs = random.integers(-1, n, (q, k))
    average = moved(Average(depth), docs.tolist(), queries, documents)
    rocchio = moved(Rocchio(depth, 0.3, 0.9), docs.tolist(), queries, documents)
    for i in range(q):
        found = [documents[doc] for doc in docs[i, :depth] if doc >= 0]
        np.testing.assert_allclose(average[i], np.mean([queries[i], *found], axis=0), atol=1e-6)
        mean = np.mean(found, axis=0) if found else 0
        np.testing.assert_allclose(rocchio[i], 0.3 * queries[i] + 0.9 * mean, atol=1e-6)
    alone = moved(Rocchio(depth, 1.0, 0.0), docs.tolist(), queries, documents)
    np.testing.assert_array_equal(alone, queries)


def test_progress_is_told():
    told: list[tuple[str, int, int, str]] = []
    run = Run(np.zeros((1, 2), np.int32), np.ones((1, 2), np.float32))
    vectors = Dense(np.ones((1, 2), np.float32))
    Average().expand(vectors, vectors, run, lambda *args: told.append(args))
    assert told == [("feedback", 1, 2, "ranks"), ("feedback", 2, 2, "ranks")]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("average,depth=0", "average: depth=0: expected at least 1"),
        ("rocchio,depth=-1", "rocchio: depth=-1: expected at least 1"),
        ("rocchio,alpha=-0.1", "rocchio: alpha=-0.1: expected 0 or more"),
        ("rocchio,beta=inf", "rocchio: beta=inf: expected a finite number"),
        ("rocchio,beta=nan", "rocchio: beta=nan: expected a finite number"),
        ("rocchio,alpha=0,beta=0", "rocchio: alpha=0 and beta=0 leave no query: raise one of them"),
    ],
)
def test_parameters_out_of_range_are_refused(spec, message):
    with pytest.raises(InputError) as error:
        REWRITERS.create(spec)
    assert str(error.value) == message
