"""RM3 by hand, against its formulas in plain Python, and at the ends of its weight."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from harness.encoders.bm25 import BM25
from harness.errors import InputError
from harness.indexes.exact import Exact
from harness.progress import silent
from harness.rewriting import REWRITERS, rm3
from harness.rewriting.rm3 import RM3
from harness.vectors import Run, Sparse


def expanded(model: RM3, queries, documents, docs, scores) -> np.ndarray:
    found = model.expand(
        Sparse(csr_matrix(np.array(queries, np.float32))),
        Sparse(csr_matrix(np.array(documents, np.float32))),
        Run(np.array(docs, np.int32), np.array(scores, np.float32)),
        silent,
    )
    assert found.matrix.dtype == np.float32
    assert found.matrix.nnz == np.count_nonzero(found.matrix.toarray())
    return found.matrix.toarray()


def test_worked_out_by_hand():
    """Terms a b c d; documents aab and accc score 3 and 1; the query is a d.

    P(D|Q) = 3/4, 1/4. P(a|R) = 3/4 2/3 + 1/4 1/4 = 9/16; P(b|R) = 3/4 1/3 = 4/16; P(c|R) = 3/16.
    Two terms of it: a 9/13, b 4/13. Half of that and half of a 1/2, d 1/2.
    """
    documents = [[2, 1, 0, 0], [1, 0, 3, 0], [0, 0, 0, 9]]
    found = expanded(RM3(terms=2), [[1, 0, 0, 1]], documents, [[0, 1, -1]], [[3, 1, 0]])
    np.testing.assert_allclose(found, [[1 / 4 + 9 / 26, 2 / 13, 0, 1 / 4]], rtol=1e-6)
    found = expanded(RM3(), [[1, 0, 0, 1]], documents, [[0, 1, -1]], [[3, 1, 0]])
    np.testing.assert_allclose(found, [[1 / 4 + 9 / 32, 4 / 32, 3 / 32, 1 / 4]], rtol=1e-6)


def test_of_equal_terms_the_first_columns_stay():
    found = expanded(RM3(terms=2, weight=0), [[1, 0, 0]], [[0.1, 0.1, 0.1]], [[0]], [[1]])
    np.testing.assert_allclose(found, [[0.5, 0.5, 0]])


def test_documents_beyond_the_depth_and_without_a_positive_score_say_nothing():
    documents = np.eye(4)
    docs, scores = [[3, 2, 1, 0]], [[2.0, 0.0, -1.0, -2.0]]
    found = expanded(RM3(weight=0), [[1, 0, 0, 0]], documents, docs, scores)
    assert found.tolist() == [[0, 0, 0, 1]]
    found = expanded(RM3(depth=1, weight=0), [[1, 0, 0, 0]], documents, docs, [[1, 1, 1, 1]])
    assert found.tolist() == [[0, 0, 0, 1]]


def test_a_query_without_results_keeps_its_own_terms():
    found = expanded(RM3(), [[1, 3], [0, 0]], [[1, 1]], [[-1], [-1]], [[0], [0]])
    assert found.tolist() == [[0.25, 0.75], [0, 0]]


def reference(model: RM3, query, documents, docs, scores) -> dict[int, float]:
    """Term weights by the formulas, one at a time."""
    first = [(d, float(s)) for d, s in zip(docs, scores, strict=True) if d >= 0 and s > 0]
    relevance: dict[int, float] = {}
    for doc, score in first:
        for term, count in enumerate(documents[doc]):
            if count:
                share = count / sum(documents[doc]) * score / sum(s for _, s in first)
                relevance[term] = relevance.get(term, 0) + share
    best = sorted(relevance, key=lambda term: (-np.float32(relevance[term]), term))[: model.terms]
    whole, length = sum(relevance[term] for term in best), sum(query)
    weight = model.weight if best else 1
    mixed = {t: weight * c / length for t, c in enumerate(query) if c}
    for term in best:
        mixed[term] = mixed.get(term, 0) + (1 - weight) * relevance[term] / whole
    return {term: value for term, value in mixed.items() if value}


@settings(max_examples=60, deadline=None)
@given(
    q=st.integers(1, 5),
    n=st.integers(1, 8),
    v=st.integers(1, 9),
    depth=st.integers(1, 6),
    terms=st.integers(1, 6),
    weight=st.sampled_from([0.0, 0.3, 0.5, 1.0]),
    seed=st.integers(0, 999),
)
def test_it_is_its_formulas(q, n, v, depth, terms, weight, seed):
    random = np.random.default_rng(seed)
    queries, documents = random.integers(0, 3, (q, v)), random.integers(0, 4, (n, v))
    documents[:, 0] += 1
    k = min(n, depth)
    docs = np.array([random.permutation(n)[:k] for _ in range(q)])
    docs[random.random((q, k)) < 0.2] = -1
    scores = np.round(random.random((q, k)) * 3, 1)
    model = RM3(depth, terms, weight)
    found = expanded(model, queries, documents, docs, scores)
    for i in range(q):
        expected = np.zeros(v)
        for term, value in reference(
            model, queries[i], documents, docs[i], scores[i].astype(np.float32)
        ).items():
            expected[term] = value
        np.testing.assert_allclose(found[i], expected, atol=1e-6)


def test_in_batches_it_gives_the_same(monkeypatch):
    random = np.random.default_rng(0)
    queries, documents = random.integers(0, 3, (7, 5)), random.integers(1, 4, (6, 5))
    docs, scores = random.integers(-1, 6, (7, 1)), np.ones((7, 1))
    whole = expanded(RM3(), queries, documents, docs, scores)
    monkeypatch.setattr(rm3, "QUERIES", 3)
    np.testing.assert_array_equal(expanded(RM3(), queries, documents, docs, scores), whole)


TEXTS = ["apple pie recipe with apples", "apple orchard harvest", "harvest moon festival", "trains"]


@pytest.mark.parametrize("weight", [1.0, 0.5])
def test_over_bm25_it_finds_what_shares_terms_with_the_first_results(weight):
    """Weight 1 ranks as the query alone; else apples lead to the pie, harvest to the moon."""
    made = BM25().encode_collection(TEXTS, ["orchards", "trains"], counts=True)
    assert made.counts is not None
    searcher = Exact().open(made.documents)
    first = searcher.search(made.queries, 4, silent).run
    assert first.docs.tolist() == [[1, -1, -1, -1], [3, -1, -1, -1]]
    again = searcher.search(
        RM3(weight=weight).expand(made.queries, made.counts, first, silent), 4, silent
    ).run
    if weight == 1:
        np.testing.assert_array_equal(again.docs, first.docs)
        np.testing.assert_array_equal(again.scores, first.scores)
    else:
        assert again.docs.tolist() == [[1, 0, 2, -1], [3, -1, -1, -1]]


def test_counts_are_made_only_when_asked_for():
    asked = BM25().encode_collection(TEXTS, ["apple"], counts=True)
    plain = BM25().encode_collection(TEXTS, ["apple"])
    assert plain.counts is None
    assert asked.counts is not None
    np.testing.assert_array_equal(plain.documents.matrix.data, asked.documents.matrix.data)
    counts, weights = asked.counts.matrix.toarray(), asked.documents.matrix.toarray()
    np.testing.assert_array_equal(counts > 0, weights > 0)
    assert counts.sum(axis=1).tolist() == asked.document_tokens.tolist() == [4, 3, 3, 1]
    assert counts.max() == 2  # apple, apples


def test_a_corpus_without_words():
    made = BM25().encode_collection(["", "the"], ["apple"], counts=True)
    assert made.counts is not None
    assert made.counts.matrix.shape == made.documents.matrix.shape
    run = Exact().open(made.documents).search(made.queries, 2, silent).run
    assert RM3().expand(made.queries, made.counts, run, silent).matrix.nnz == 0


def test_progress_is_told():
    told: list[tuple[str, int, int, str]] = []
    ones = Sparse(csr_matrix(np.ones((2, 1), np.float32)))
    run = Run(np.zeros((2, 1), np.int32), np.ones((2, 1), np.float32))
    RM3().expand(ones, ones, run, lambda *args: told.append(args))
    assert told == [("feedback", 2, 2, "queries")]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("rm3,depth=0", "rm3: depth=0: expected at least 1"),
        ("rm3,terms=0", "rm3: terms=0: expected at least 1"),
        ("rm3,weight=1.1", "rm3: weight=1.1: expected 0 to 1"),
        ("rm3,weight=nan", "rm3: weight=nan: expected a finite number"),
        ("rm3,fb=3", "unknown parameter of rm3 'fb'. Choices: depth, terms, weight"),
    ],
)
def test_parameters_out_of_range_are_refused(spec, message):
    with pytest.raises(InputError) as error:
        REWRITERS.create(spec)
    assert str(error.value) == message
