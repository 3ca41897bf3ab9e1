from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from harness.measures import pairs
from harness.measures.pairs import (
    PAIR_MEASURES,
    compared_as,
    correlation,
    similarities,
    token_similarities,
)
from harness.vectors import Sparse

KINDS = ("pearson", "spearman")


def test_similarities_of_vectors_in_the_plane():
    left = np.float32([[3, 4], [1, 0], [1, 0], [2, 1]])
    right = np.float32([[4, 3], [0, 2], [-5, 0], [2, 1]])
    found = similarities(left, right)
    # 3-4-5: (12 + 12) / 25; orthogonal; opposite; the same
    assert found["cosine"] == pytest.approx([0.96, 0, -1, 1], abs=1e-15)
    assert found["dot"].tolist() == [24, 0, -5, 5]
    # (-1, 1), (1, -2), (6, 0), (0, 0)
    assert found["euclidean"] == pytest.approx([-(2**0.5), -(5**0.5), -6, 0], abs=1e-15)
    assert found["manhattan"].tolist() == [-2, -3, -6, 0]
    assert {values.dtype for values in found.values()} == {np.dtype(np.float64)}


def test_a_zero_vector_has_cosine_0():
    found = similarities(np.float32([[0, 0], [0, 0]]), np.float32([[1, 1], [0, 0]]))
    assert found["cosine"].tolist() == [0, 0]


def test_sums_are_float64():
    # float32 would lose the 1: 2^24 + 1 has no float32
    found = similarities(np.float32([[2**12, 1]]), np.float32([[2**12, 1]]))
    assert found["dot"].tolist() == [2**24 + 1]


def test_blocks_leave_no_seam(monkeypatch):
    random = np.random.default_rng(0)
    left, right = random.normal(size=(2, 10, 3)).astype(np.float32)
    whole = similarities(left, right)
    monkeypatch.setattr(pairs, "CELLS", 12)
    for name, values in similarities(left, right).items():
        assert values == pytest.approx(whole[name], abs=1e-15)
        assert len(values) == 10


def test_sparse_vectors_have_the_similarities_of_dense_ones(monkeypatch):
    random = np.random.default_rng(0)
    left, right = np.maximum(random.normal(size=(2, 9, 20)), 0).astype(np.float32)
    left[3] = 0
    monkeypatch.setattr(pairs, "CELLS", 80)
    sparse = similarities(Sparse(csr_matrix(left)), Sparse(csr_matrix(right)))
    for name, values in similarities(left, right).items():
        assert sparse[name].tolist() == values.tolist()


def test_similarities_of_texts_with_several_vectors_by_hand():
    """Of 2 and 4 vectors: (1.5 / 2 + 2 / 4) / 2; one without any is similar to nothing."""
    found = token_similarities(
        np.float32([1.5, 0]), np.float32([2, 0]), np.array([2, 0]), np.array([4, 3])
    )
    assert {name: values.tolist() for name, values in found.items()} == {
        "meanmaxsim": [0.625, 0],
        "maxsim": [1.5, 0],
    }


def test_what_a_score_stands_beside():
    asked = ["meanmaxsim_spearman", "maxsim_ap", "cosine_spearman", "max_ap", "nDCG@10"]
    stands = ["cosine_spearman", "dot_ap", "cosine_spearman", "max_ap", "nDCG@10"]
    assert list(map(compared_as, asked)) == stands


def test_the_measures_are_those_of_mteb():
    assert PAIR_MEASURES == (
        "cosine_spearman",
        "cosine_pearson",
        "dot_spearman",
        "dot_pearson",
        "euclidean_spearman",
        "euclidean_pearson",
        "manhattan_spearman",
        "manhattan_pearson",
    )


def test_correlations_by_hand():
    # deviations (-1.5, -.5, .5, 1.5) and (-1, 0, -1, 2): r = 4 / sqrt(5 * 6);
    # ranks of y: 1.5, 3, 1.5, 4: deviations (-1, .5, -1, 1.5): rho = 3 / sqrt(5 * 4.5)
    x, y = np.array([1.0, 2, 3, 4]), np.array([1.0, 2, 1, 4])
    assert correlation("pearson", x, y) == pytest.approx(4 / 30**0.5, abs=1e-15)
    assert correlation("spearman", x, y) == pytest.approx(3 / 22.5**0.5, abs=1e-15)
    assert correlation("spearman", x, -(x**3)) == -1


REFERENCE = {"pearson": scipy.stats.pearsonr, "spearman": scipy.stats.spearmanr}


@settings(max_examples=80, deadline=None, derandomize=True)
@given(st.integers(0, 2**32), st.integers(3, 40), st.integers(2, 30), st.sampled_from(KINDS))
def test_correlations_are_those_of_scipy_also_with_ties(seed, n, levels, kind):
    random = np.random.default_rng(seed)
    x = random.integers(levels, size=n) / 7
    y = np.round(x + random.normal(size=n), 1)
    x[0], x[1], y[0], y[1] = 0, 1, 0, 1  # not constant
    expected = REFERENCE[kind](x, y).statistic
    assert correlation(kind, x, y) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_rows_are_correlated_apart(kind):
    x, y = np.random.default_rng(0).normal(size=(2, 4, 9))
    found = correlation(kind, x, y)
    assert found.shape == (4,)
    assert found == pytest.approx(
        [float(correlation(kind, *row)) for row in zip(x, y, strict=True)]
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("constant", [0.0, 0.1, -1 / 3, 1e300])
def test_a_constant_has_no_correlation(kind, constant):
    # 0.1 + 0.1 + 0.1 is not 0.3: the mean of three is not 0.1, and deviations are not 0
    flat, rising = np.full(3, constant), np.array([1.0, 2, 3])
    assert np.isnan(correlation(kind, flat, rising))
    assert np.isnan(correlation(kind, rising, flat))
    mixed = correlation(kind, np.stack([flat, rising]), np.stack([rising, rising]))
    assert np.isnan(mixed[0])
    assert mixed[1] == pytest.approx(1)


def test_rounding_takes_no_correlation_beyond_1():
    x = np.random.default_rng(0).normal(size=(500, 7))
    found = correlation("pearson", x, 3 * x + 1)
    assert found.max() <= 1
    assert found == pytest.approx(1)
    assert correlation("pearson", x, -x).min() >= -1
