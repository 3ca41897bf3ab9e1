"""Measures of geometry: closed forms, published and worked-out values."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.distance import cdist, pdist

from harness.analysis import geometry
from harness.analysis.geometry import (
    Hubness,
    alignment,
    chance_alignment,
    components,
    effective_rank,
    hubness,
    isoscore,
    lid,
    mean_cosine,
    mle,
    neighbours,
    spectrum,
    two_nn,
    two_nn_fit,
    uniform_uniformity,
    uniformity,
)
from harness.errors import InputError

MATRICES = st.tuples(st.integers(4, 30), st.integers(2, 6)).flatmap(
    lambda shape: arrays(np.float32, shape, elements=st.floats(-8, 8, width=16), unique=True)
)


def normal(n: int, d: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32)


# -- alignment and uniformity ----------------------------------------------------------------------


def test_alignment_by_hand():
    x = np.array([[0, 0], [1, 0]], np.float32)
    y = np.array([[3, 4], [1, 1]], np.float32)
    assert alignment(x, y) == (25 + 1) / 2
    assert alignment(x, y, a=1) == (5 + 1) / 2
    # |(0,0)-(3,4)|^2, |(0,0)-(1,1)|^2, |(1,0)-(3,4)|^2, |(1,0)-(1,1)|^2
    assert chance_alignment(x, y) == pytest.approx((25 + 2 + 20 + 1) / 4)


def test_alignment_does_not_depend_on_blocks(monkeypatch):
    x, y = normal(50, 3), normal(50, 3, seed=1)
    whole = alignment(x, y)
    monkeypatch.setattr(geometry, "CELLS", 21)  # 7 pairs at a time
    assert alignment(x, y) == pytest.approx(whole, rel=1e-12)
    assert whole == pytest.approx(((x - y) ** 2).sum(axis=1).mean(), rel=1e-6)


@pytest.mark.parametrize(
    ("d", "expected"),
    [
        (2, -1.57503),
        (3, -2.07978),
        (8, -3.08253),
        (32, -3.75181),
        (128, -3.93753),
        (384, -3.97917),
        (768, -3.98958),
    ],
)
def test_uniformity_of_the_uniform_distribution(d, expected):
    assert uniform_uniformity(d) == pytest.approx(expected, abs=6e-6)


@pytest.mark.parametrize("t", [0.01, 1.0, 2.0, 100.0, 5000.0])
def test_closed_forms_in_one_and_three_dimensions(t):
    # 0F1(; 1/2; t^2) = cosh 2t and 0F1(; 3/2; t^2) = sinh(2t) / 2t; both overflow at t = 5000
    assert uniform_uniformity(1, t) == pytest.approx(
        math.log1p(math.exp(-4 * t)) - math.log(2), abs=1e-9
    )
    assert uniform_uniformity(3, t) == pytest.approx(
        math.log(-math.expm1(-4 * t)) - math.log(4 * t), abs=1e-9
    )


def test_uniformity_of_normals_on_the_sphere():
    x = np.random.default_rng(0).standard_normal((2000, 32))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    assert uniformity(x.astype(np.float32)) == pytest.approx(-3.75155, abs=6e-6)


def test_uniformity_by_hand():
    x = np.array([[0, 0], [1, 0], [0, 1]], np.float32)  # squared distances 1, 1, 2
    expected = math.log((2 * math.exp(-2) + math.exp(-4)) / 3)
    assert uniformity(x) == pytest.approx(expected, abs=1e-12)
    assert uniformity(np.ones((5, 3), np.float32)) == 0


def test_uniformity_of_far_vectors_does_not_vanish():
    assert uniformity(np.array([[0.0], [100.0]], np.float32)) == pytest.approx(-20000)


@settings(max_examples=50, deadline=None)
@given(MATRICES, st.integers(1, 200))
def test_uniformity_is_that_of_all_pairs_whatever_the_block(x, cells):
    expected = np.logaddexp.reduce(-2 * pdist(x.astype(np.float64)) ** 2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(geometry, "CELLS", cells)
        found = uniformity(x)
    n = len(x)
    assert found == pytest.approx(expected - math.log(n * (n - 1) / 2), abs=1e-9)


# -- isotropy --------------------------------------------------------------------------------------


@settings(max_examples=50, deadline=None)
@given(MATRICES)
def test_mean_cosine_is_that_of_all_pairs(x):
    x = x[np.linalg.norm(x, axis=1) > 1e-3]
    if len(x) > 1:
        assert mean_cosine(x) == pytest.approx(
            1 - pdist(x.astype(float), "cosine").mean(), abs=1e-9
        )


def test_a_zero_vector_has_cosine_0():
    assert mean_cosine(np.array([[1, 0], [2, 0], [0, 0]], np.float32)) == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("variances", "expected"),
    [
        ([1, 1, 1, 1], 1),
        ([5, 0, 0], 0),
        ([1, 1, 0], 0.5),
        ([3, 1], 0.6),
        ([2, 2, 2, 0, 0, 0, 0], 2 / 6),
    ],
)
def test_isoscore_identities(variances, expected):
    assert isoscore(np.array(variances, np.float64)) == pytest.approx(expected, abs=1e-12)


@given(arrays(np.float64, st.integers(2, 20), elements=st.floats(0.01, 100)))
def test_isoscore_is_that_of_its_paper(variances):
    n = len(variances)
    scaled = math.sqrt(n) * variances / np.linalg.norm(variances)
    defect = np.linalg.norm(scaled - 1) / math.sqrt(2 * (n - math.sqrt(n)))
    share = (n - defect**2 * (n - math.sqrt(n))) ** 2 / n**2
    assert isoscore(variances) == pytest.approx((n * share - 1) / (n - 1), abs=1e-9)


@pytest.mark.parametrize(("n", "d"), [(40, 5), (5, 40)])
def test_a_spectrum_is_that_of_the_covariance(n, d):
    x = normal(n, d) * np.arange(1, d + 1, dtype=np.float32)
    expected = np.linalg.eigvalsh(np.cov(x.T.astype(np.float64), bias=True))[::-1]
    found = spectrum(x)
    assert found.shape == (d,)
    assert found == pytest.approx(expected, abs=1e-9 * expected[0])


def test_counts_of_components_and_effective_rank_by_hand():
    variances = np.array([50.0, 40.0, 6.0, 3.0, 1.0, 0.0])
    assert [components(variances, share) for share in (0.5, 0.9, 0.95, 0.99, 1)] == [1, 2, 3, 4, 5]
    assert effective_rank(np.array([7.0, 7.0, 7.0, 0.0])) == pytest.approx(3)
    # singular values 3 and 1: entropy of (3/4, 1/4)
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert effective_rank(np.array([9.0, 1.0])) == pytest.approx(math.exp(entropy))


# -- neighbours ------------------------------------------------------------------------------------


@settings(max_examples=50)
@given(MATRICES, st.integers(3, 8))
def test_neighbours_are_those_of_all_distances(x, k):
    x = np.concatenate([x, x[:2]])  # two copies
    found = neighbours(x, k)
    distinct = np.empty((len(found.rows), x.shape[1]), np.float32)
    distinct[found.which] = x
    assert (distinct[found.which] == x).all()
    assert len(x) - len(distinct) == 2
    apart = cdist(distinct.astype(float), distinct.astype(float))
    np.fill_diagonal(apart, np.inf)
    k = min(k, len(distinct) - 1)
    assert np.allclose(found.distances, np.sort(apart, axis=1)[:, :k], rtol=1e-5, atol=1e-4)
    named = np.take_along_axis(apart, found.rows, axis=1)
    assert np.allclose(found.distances, named, rtol=1e-14, atol=0)
    assert (found.distances > 0).all()


def test_copies_and_signed_zeros_are_one_vector():
    x = np.array([[0.0, 1], [-0.0, 1], [1, 1], [0, 1], [5, 5], [7, 1]], np.float32)
    found = neighbours(x, 3)
    assert len(found.rows) == 4
    assert found.which[0] == found.which[1] == found.which[3]
    assert found.distances[found.which[0]] == pytest.approx([1, math.hypot(5, 4), 7])
    assert np.isfinite(lid(found.distances)).all()


# -- intrinsic dimension ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cubes() -> dict[int, np.ndarray]:
    """Distances to neighbours in hypercubes of dimension m, padded to 64."""
    random, found = np.random.default_rng(0), {}
    for m in (2, 5, 10):
        x = np.zeros((2000, 64), np.float32)
        x[:, :m] = random.random((2000, m))
        found[m] = neighbours(x, 20).distances
    return found


@pytest.mark.parametrize(
    ("m", "by_two", "by_line", "mean", "unbiased", "harmonic"),
    [
        (2, 1.981, 1.988, 2.050, 1.942, 1.937),
        (5, 5.144, 5.191, 4.811, 4.558, 4.536),
        (10, 8.209, 7.997, 8.522, 8.073, 8.083),
    ],
)
def test_dimension_of_hypercubes(cubes, m, by_two, by_line, mean, unbiased, harmonic):
    distances = cubes[m]
    assert two_nn(distances) == pytest.approx(by_two, abs=1e-3)
    assert two_nn_fit(distances) == pytest.approx(by_line, abs=1e-3)
    several = mle(distances)
    assert several.k == 20
    assert several.mean == pytest.approx(mean, abs=1e-3)
    assert several.unbiased == pytest.approx(unbiased, abs=1e-3)
    assert several.mackay_ghahramani == pytest.approx(harmonic, abs=1e-3)


def test_dimension_by_hand():
    distances = np.array([[1.0, 2.0, 4.0], [1.0, 4.0, 4.0]])
    log2 = math.log(2)
    # r2 / r1: 2 and 4; -mean ln(r_i / r_k): (2 + 1 + 0) / 3 and (2 + 0 + 0) / 3 times ln 2
    assert two_nn(distances) == pytest.approx(2 / (3 * log2))
    assert lid(distances) == pytest.approx([1 / log2, 1.5 / log2])
    several = mle(distances)
    assert several.mean == pytest.approx(2 / 3 * 1.25 / log2)
    assert several.unbiased == pytest.approx(1 / 3 * 1.25 / log2)
    assert several.mackay_ghahramani == pytest.approx(2 / 3 * 1.2 / log2)
    # nothing left out: -ln(1 - F) is 0 and ln 2, over ln 2 and 2 ln 2
    assert two_nn_fit(distances, discard=0) == pytest.approx(2 / (1 + 4) / log2 * log2)


def test_a_point_of_equal_distances_has_no_dimension():
    distances = np.array([[2.0, 2.0, 2.0], [1.0, 1.0, 2.0]])
    assert lid(distances) == pytest.approx([math.inf, 1.5 / math.log(2)])
    assert (mle(distances).mean, mle(distances).unbiased) == (None, None)
    assert mle(distances).mackay_ghahramani == pytest.approx(2 / 3 * 2 * 1.5 / math.log(2))
    equal = np.ones((5, 4))
    assert (two_nn(equal), two_nn_fit(equal), mle(equal).mackay_ghahramani) == (None, None, None)


# -- hubs ------------------------------------------------------------------------------------------


def test_hubness_by_hand():
    rows = np.array([[1, 2], [2, 0], [2, 1], [2, -1]], np.int32)  # occurrences 1, 2, 4, 0
    # mean 7/4; deviations -3/4, 1/4, 9/4, -7/4: squares sum to 140/16, cubes to 360/64
    found = hubness(rows, 4)
    assert (found.k, found.largest, found.antihubs) == (2, 4, 0.25)
    assert found.skewness == pytest.approx((360 / 256) / (140 / 64) ** 1.5)


def test_vectors_that_occur_alike_have_no_hubs():
    assert hubness(np.array([[1], [2], [0]], np.int32), 3) == Hubness(1, 0.0, 1, 0.0)


def test_hubs_arise_in_high_dimension():
    few, many = (neighbours(normal(1000, d), 10).rows for d in (3, 100))
    assert abs(hubness(few, 1000).skewness) < 0.5 < 2 < hubness(many, 1000).skewness


# -- what is refused -------------------------------------------------------------------------------


@pytest.mark.parametrize("measure", [uniformity, mean_cosine, spectrum, neighbours])
@pytest.mark.parametrize(
    "x",
    [
        np.zeros(3, np.float32),
        np.zeros((0, 3), np.float32),
        np.zeros((4, 0), np.float32),
        np.array([[1, 2], [np.nan, 1], [0, 1], [3, 3]], np.float32),
    ],
)
def test_what_is_no_set_of_vectors_is_refused(measure, x):
    with pytest.raises(InputError, match=r"vectors of shape \(.*\): expected at least \d"):
        measure(x)


def test_other_input_that_is_refused():
    with pytest.raises(InputError, match=r"pairs of vectors \(2, 3\) and \(1, 3\): expected equal"):
        alignment(np.ones((2, 3), np.float32), np.ones((1, 3), np.float32))
    with pytest.raises(InputError, match="expected at least 1"):
        alignment(np.ones((0, 3), np.float32), np.ones((0, 3), np.float32))
    with pytest.raises(InputError, match="all 4 vectors are equal"):
        spectrum(np.ones((4, 2), np.float32))
    with pytest.raises(InputError, match="one dimension"):
        isoscore(np.ones(1))
    with pytest.raises(InputError, match="k=2: expected at least 3 neighbours"):
        neighbours(normal(9, 2), 2)
    with pytest.raises(InputError, match="9 vectors, 3 of them distinct: expected at least 4"):
        neighbours(np.repeat(np.eye(3, dtype=np.float32), 3, axis=0))
