"""Distinct vectors among those of documents, and the documents that share each."""

from __future__ import annotations

import numpy as np

from harness.indexes import duplicates
from harness.indexes.duplicates import find_distinct, find_distinct_texts
from harness.vectors import MultiVector, ranking

A, B, C = [1, 2], [3, 4], [5, 6]


def test_each_vector_stands_where_its_last_document_is():
    found = find_distinct(np.float32([A, B, A, C, A, B]))
    assert found is not None
    assert found.last.tolist() == [3, 4, 5]  # C, A and B
    assert found.rows.tolist() == [3, 0, 2, 4, 1, 5]
    assert found.starts.tolist() == [0, 1, 4, 6]


def test_documents_that_share_a_vector_are_ranked_last_first():
    """B is best, A and C tie: of their documents 4, 3, 2 and 0 the last ones come first."""
    found = find_distinct(np.float32([A, B, A, C, A, B]))
    assert found is not None
    for k, docs in ((1, [5]), (2, [5, 1]), (3, [5, 1, 4]), (5, [5, 1, 4, 3, 2])):
        keys = ranking.pack(np.float32([[9, 7, 7]]), np.array([[2, 1, 0]]))
        run = ranking.unpack(found.expand(ranking.best(keys, k)))
        assert run.docs.tolist() == [docs]
        assert run.scores.tolist() == [[9, 9, 7, 7, 7][:k]]


def test_most_distinct_vectors_are_not_looked_at():
    values = np.random.default_rng(0).standard_normal((100, 3)).astype(np.float32)
    assert find_distinct(values) is None
    assert find_distinct(np.float32([A, B, C])) is None


def test_zeros_of_two_signs_are_two_vectors():
    found = find_distinct(np.float32([[0, 1], [-0.0, 1], [0, 1], [0, 1]]))
    assert found is not None
    assert len(found.last) == 2


def test_two_vectors_of_one_digest_are_never_taken_for_one(monkeypatch):
    monkeypatch.setattr(duplicates, "_digest", lambda rows: np.zeros(len(rows), np.uint64))
    assert find_distinct(np.float32([A, B, A, A])) is None


def texts(*each: list[list[float]]) -> MultiVector:
    """Texts of these vectors."""
    ends = np.cumsum([len(text) for text in each])
    return MultiVector(
        np.float32([vector for text in each for vector in text]), np.concatenate([[0], ends])
    )


def test_texts_are_equal_by_their_vectors_however_often_and_in_what_order():
    found = find_distinct_texts(texts([A, B], [A], [B, A, B], [A, A], [A, B, C], [B, A]))
    assert found is not None
    assert found.last.tolist() == [3, 4, 5]  # A; A, B and C; A and B
    assert found.rows.tolist() == [1, 3, 4, 0, 2, 5]
    assert found.starts.tolist() == [0, 2, 3, 6]
    assert find_distinct_texts(texts([A, B], [A], [B])) is None


def test_two_texts_of_one_digest_are_never_taken_for_one(monkeypatch):
    monkeypatch.setattr(
        duplicates, "_digest_texts", lambda starts, _: np.zeros(len(starts) - 1, np.uint64)
    )
    assert find_distinct_texts(texts([A, C], [B, C], [A, C], [A, C])) is None
    assert find_distinct_texts(texts([A, C], [B], [A, C], [A, C])) is None


def test_two_tokens_of_one_digest_are_never_taken_for_one(monkeypatch):
    monkeypatch.setattr(duplicates, "_digest", lambda rows: np.zeros(len(rows), np.uint64))
    assert find_distinct_texts(texts([A], [B], [A], [A])) is None
