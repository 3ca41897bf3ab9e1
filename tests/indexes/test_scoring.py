"""Scores of candidates: those that exact search gives, ranked by the one rule."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from harness.data import Candidates
from harness.indexes import scoring
from harness.indexes.exact import Exact
from harness.progress import silent
from harness.vectors import Dense, Embeddings, MultiVector, Run, Sparse

QUERIES, KINDS = 4, ("dense", "sparse", "multi-vector")


def made(kind: str, n: int, width: int, random: np.random.Generator, *, ties: bool) -> Embeddings:
    """Random vectors; ties: of small whole numbers, so that many scores are equal."""

    def numbers(*shape: int) -> np.ndarray:
        values = random.integers(-2, 3, shape) if ties else random.standard_normal(shape)
        return values.astype(np.float32)

    if kind == "dense":
        return Dense(numbers(n, width))
    if kind == "sparse":
        return Sparse(csr_matrix(numbers(n, width) * (random.random((n, width)) < 0.6)))
    offsets = np.append(0, random.integers(0, 4, n).cumsum())
    return MultiVector(numbers(int(offsets[-1]), width), offsets)


def candidates(random: np.random.Generator, n: int) -> Candidates:
    """About half of n documents for each query, for some none."""
    chosen = random.random((QUERIES, n)) < random.choice([0, 0.2, 0.6, 1], (QUERIES, 1))
    return Candidates(
        np.append(0, chosen.sum(axis=1).cumsum()), np.nonzero(chosen)[1].astype(np.int32)
    )


def restricted(whole: Run, named: Candidates, k: int) -> list[list[tuple[int, float]]]:
    """What exact search over all documents says of the candidates, best first.

    One that it does not find at all, as where no term is shared, scores 0.
    """
    rows = []
    for query, (docs, scores) in enumerate(zip(whole.docs, whole.scores, strict=True)):
        known = dict(zip(docs.tolist(), scores.tolist(), strict=True))
        own = named.docs[named.indptr[query] : named.indptr[query + 1]].tolist()
        row = sorted(((known.get(doc, 0.0), doc) for doc in own), reverse=True)[:k]
        rows.append([(doc, score) for score, doc in row])
    return rows


@settings(max_examples=60)
@pytest.mark.parametrize("kind", KINDS)
@given(
    n=st.integers(1, 25),
    width=st.integers(1, 9),
    k=st.integers(1, 30),
    seed=st.integers(0, 999),
    ties=st.booleans(),
)
def test_candidates_rank_as_in_exact_search(kind, n, width, k, seed, ties):
    random = np.random.default_rng(seed)
    documents = made(kind, n, width, random, ties=ties)
    queries, named = made(kind, QUERIES, width, random, ties=ties), candidates(random, n)
    whole = Exact().open(documents).search(queries, n, silent).run
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scoring, "CELLS", int(random.integers(1, 40)))
        run = scoring.rank(queries, documents, named, k=k, progress=silent)
    found = [
        [(doc, score) for doc, score in zip(docs, scores, strict=True) if doc >= 0]
        for docs, scores in zip(run.docs.tolist(), run.scores.tolist(), strict=True)
    ]
    assert found == restricted(whole, named, k)
    most = int(np.diff(named.indptr).max())
    assert run.docs.shape == (QUERIES, min(k, max(most, 1)))
    assert (run.docs.dtype, run.scores.dtype) == (np.int32, np.float32)


def test_by_hand():
    """Document 2 shares nothing with the query and stays a candidate; 1 is none."""
    documents = Dense(np.float32([[1, 0], [9, 9], [0, 1], [2, 0]]))
    named = Candidates(np.int64([0, 3, 3]), np.int32([0, 2, 3]))
    queries = Dense(np.float32([[1, 0], [1, 1]]))
    run = scoring.rank(queries, documents, named, k=5, progress=silent)
    assert run.docs.tolist() == [[3, 0, 2], [-1, -1, -1]]
    assert run.scores.tolist() == [[2, 1, 0], [0, 0, 0]]


def test_queries_without_any_candidate():
    vectors = Dense(np.ones((2, 1), np.float32))
    nothing = Candidates(np.zeros(3, np.int64), np.empty(0, np.int32))
    run = scoring.rank(vectors, vectors, nothing, k=5, progress=silent)
    assert run.docs.tolist() == [[-1], [-1]]


def test_progress_counts_candidates(monkeypatch):
    monkeypatch.setattr(scoring, "CELLS", 2)
    told: list[tuple[str, int, int, str]] = []
    vectors = Dense(np.ones((3, 1), np.float32))
    named = Candidates(np.int64([0, 3, 3, 3]), np.int32([0, 1, 2]))
    scoring.rank(vectors, vectors, named, k=1, progress=lambda *step: told.append(step))
    assert told == [("search", 2, 3, "candidates"), ("search", 3, 3, "candidates")]
