"""Token pooling: by hand, and against sentence-transformers; the search over what is left."""

from __future__ import annotations

import numpy as np
import pytest

from harness.errors import InputError
from harness.indexes import INDEXES
from harness.indexes.exact import Exact
from harness.indexes.pooled import pool_tokens
from harness.progress import silent
from harness.vectors import MultiVector
from tests.indexes.test_maxsim import assert_same, made, multi, texts


def test_the_first_stays_and_near_ones_become_their_mean():
    """Two pairs, each 90 degrees wide with the same mean as its diagonal, and one of length 4."""
    text = [[0, 0, 1], [0, 1, 0], [4, 0, 0], [0, 0, 1], [4, 0, 0], [0, 1, 0], [0, 0, 1]]
    found = pool_tokens(multi(text, width=3), 2)
    assert found.values.tolist() == [[0, 0, 1], [0, 1, 0], [4, 0, 0], [0, 0, 1]]
    (few,) = texts(pool_tokens(multi([[0, 1], [3, 4], [4, 3]]), 2))
    half = 5 / 2**0.5  # both are of length 5; so is their mean, along the diagonal
    np.testing.assert_allclose(few, [[0, 1], [half, half]], rtol=1e-6)


def test_opposite_and_zero_vectors_have_a_mean():
    (few,) = texts(pool_tokens(multi([[0, 1], [1, 0], [-1, 0]]), 2))
    assert few == [[0, 1], [0, 0]]
    (few,) = texts(pool_tokens(multi([[0, 1], [0, 0], [0, 0]]), 2))
    assert few == [[0, 1], [0, 0]]


@pytest.mark.parametrize(
    ("tokens", "factor", "left"),
    [(0, 2, 0), (1, 2, 1), (2, 2, 2), (3, 2, 2), (9, 2, 5), (10, 3, 4), (5, 99, 2), (6, 1, 6)],
)
def test_how_many_are_left(tokens, factor, left):
    values = np.random.default_rng(0).standard_normal((tokens, 8)).astype(np.float32)
    assert len(pool_tokens(MultiVector(values, np.array([0, tokens])), factor).values) == left


def test_clusters_are_those_of_sentence_transformers():
    import torch
    from sentence_transformers.multi_vector_encoder.modules.token_pooling import (
        HierarchicalTokenPooling,
    )

    values = np.random.default_rng(1).standard_normal((200, 24)).astype(np.float32)
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    documents = MultiVector(values, np.array([0, 30, 31, 90, 90, 200]))
    for factor in (2, 3, 6):
        theirs = HierarchicalTokenPooling(factor, num_protected_tokens=1)
        for text, few in zip(texts(documents), texts(pool_tokens(documents, factor)), strict=True):
            if not text:
                continue
            expected = theirs.pool_one(torch.tensor(text)).numpy()
            apart = np.abs(np.array(few, np.float32)[:, None] - expected).max(axis=2)
            assert apart.shape[0] == apart.shape[1]
            assert apart.min(axis=0).max() < 1e-6
            assert sorted(apart.argmin(axis=0)) == list(range(len(few)))


def test_a_pooled_text_depends_on_nothing_else():
    documents = made(9, 20, 8, 0)
    together = texts(pool_tokens(documents, 3))
    for text, few in zip(texts(documents), together, strict=True):
        assert texts(pool_tokens(multi(text, width=8), 3)) == [few]


def test_the_index_searches_what_is_left():
    documents, queries = made(40, 12, 8, 2), made(5, 4, 8, 3)
    few = pool_tokens(documents, 3)
    searcher = INDEXES.create("pooled,factor=3").open(documents)
    expected = Exact().open(few).search(queries, 6, silent).run
    assert_same(searcher.search(queries, 6, silent).run, expected)
    texts_left = np.count_nonzero(documents.lengths) + 1
    assert searcher.info.bytes == few.values.nbytes + 8 * texts_left < documents.bytes
    one = INDEXES.create("pooled,factor=1").open(documents).search(queries, 6, silent).run
    assert_same(one, Exact().open(documents).search(queries, 6, silent).run)
    index = INDEXES.create("pooled")
    index.require("multi-vector")
    assert (index.factor, index.accepts, index.describe()) == (
        2,
        ("multi-vector",),
        {"exact": False},
    )


def test_bad_input():
    with pytest.raises(InputError, match=r"^pooled: factor=0: expected at least 1"):
        INDEXES.create("pooled,factor=0")
    with pytest.raises(InputError, match="document row 0 holds NaN, infinity"):
        INDEXES.create("pooled").open(multi([[1, 0], [np.inf, 0], [0, 1]]))
