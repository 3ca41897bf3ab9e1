from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from harness import stats
from harness.measures.pairs import correlation


def test_two_values_by_hand():
    # A resample of {0, 1} has mean 0, 1/2, 1 with probability 1/4, 1/2, 1/4: the 2.5 % and 97.5 %
    # quantiles are 0 and 1, those of 30 % and 70 % are both 1/2.
    values = np.array([[0.0, 1.0]])
    low, high = stats.bootstrap_means(values, seed=0)
    assert (low.tolist(), high.tolist()) == ([0.0], [1.0])
    low, high = stats.bootstrap_means(values, seed=0, level=0.4)
    assert (low.tolist(), high.tolist()) == ([0.5], [0.5])


@pytest.mark.parametrize("constant", [0.0, 1.0, 1 / 3])
def test_the_interval_of_a_constant_is_that_constant(constant):
    low, high = stats.bootstrap_means(np.full((1, 50), constant), seed=1)
    assert low == pytest.approx(constant, abs=1e-15)
    assert high == pytest.approx(constant, abs=1e-15)


def test_one_query_has_an_interval_of_no_width():
    low, high = stats.bootstrap_means(np.array([[0.25]]), seed=0)
    assert (low[0], high[0]) == (0.25, 0.25)


def test_a_seed_repeats_and_another_differs():
    values = np.random.default_rng(0).random((2, 30))
    first, again, other = (np.array(stats.bootstrap_means(values, seed)) for seed in (7, 7, 8))
    assert (first == again).all()
    assert (first != other).any()


def test_every_row_sees_the_same_resamples():
    row = np.random.default_rng(0).random(40)
    low, high = stats.bootstrap_means(np.stack([row, row, row + 1]), seed=3)
    assert low[0] == low[1]
    assert low[2] - low[0] == pytest.approx(1, abs=1e-12)
    assert high[2] - high[0] == pytest.approx(1, abs=1e-12)
    alone = stats.bootstrap_means(row[None], seed=3)
    assert (alone[0][0], alone[1][0]) == pytest.approx((low[0], high[0]), abs=1e-12)


def test_chunks_bound_memory_and_every_resample_is_drawn(monkeypatch):
    monkeypatch.setattr(stats, "CHUNK", 70)  # 7 resamples of 10 at a time: 1000 is no multiple
    drawn = list(stats._resamples(10, seed=0))
    assert {len(rows) for rows in drawn} == {7, 1000 % 7}
    assert sum(map(len, drawn)) == stats.RESAMPLES
    assert set(np.concatenate(drawn).ravel().tolist()) == set(range(10))


def test_intervals_of_a_mean_cover_it_about_as_often_as_they_say():
    # 600 samples of 60 from a uniform distribution, whose mean is 1/2. The standard error of the
    # coverage is sqrt(.95 * .05 / 600) = 0.9 %; the percentile interval is known to be a bit short.
    samples = np.random.default_rng(5).random((600, 60))
    low, high = stats.bootstrap_means(samples, seed=2)
    assert 0.915 < np.mean((low <= 0.5) & (high >= 0.5)) < 0.975
    low, high = stats.bootstrap_means(samples, seed=2, level=0.5)
    assert 0.43 < np.mean((low <= 0.5) & (high >= 0.5)) < 0.56


def test_the_width_of_an_interval_is_that_of_the_normal_approximation():
    values = np.random.default_rng(1).random((1, 2000))
    low, high = stats.bootstrap_means(values, seed=0)
    error = values.std() / np.sqrt(2000)
    assert high[0] - low[0] == pytest.approx(2 * 1.959964 * error, rel=0.06)


def sts_like(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Similarities and gold scores from 0 to 5 in steps of 0.2, with many ties."""
    random = np.random.default_rng(seed)
    truth = random.random(n)
    gold = np.round((truth * 5) / 0.2) * 0.2
    return truth + random.normal(scale=0.15, size=n), gold


@pytest.mark.parametrize("kind", ["pearson", "spearman"])
def test_an_interval_of_a_correlation_follows_fisher(kind):
    x, gold = sts_like(400)
    estimate = float(correlation(kind, x, gold))
    low, high = stats.bootstrap_correlation(kind, x, gold, seed=0)
    assert low < estimate < high
    # Fisher's z: tanh(atanh(r) -+ 1.96 / sqrt(n - 3)), for normal data, so only roughly
    half = 1.959964 / np.sqrt(397)
    assert low == pytest.approx(np.tanh(np.arctanh(estimate) - half), abs=0.015)
    assert high == pytest.approx(np.tanh(np.arctanh(estimate) + half), abs=0.015)


def test_a_correlation_s_interval_is_that_of_scipy_on_the_same_resamples():
    x, gold = sts_like(30)
    drawn = [
        scipy.stats.spearmanr(x[rows], gold[rows]).statistic
        for rows in np.concatenate(list(stats._resamples(30, seed=4)))[:1000]
    ]
    expected = np.quantile(drawn, [0.025, 0.975])
    assert stats.bootstrap_correlation("spearman", x, gold, seed=4) == pytest.approx(expected)


def test_a_correlation_repeats_for_a_seed():
    x, gold = sts_like(50)
    first, again, other = (
        stats.bootstrap_correlation("pearson", x, gold, seed) for seed in (1, 1, 2)
    )
    assert first == again != other


def test_constant_resamples_are_left_out():
    # a resample of three pairs is constant with probability 1/9; the others correlate perfectly
    low, high = stats.bootstrap_correlation("pearson", np.r_[1.0, 2, 3], np.r_[2.0, 4, 6], seed=0)
    assert (low, high) == pytest.approx((1, 1))


@pytest.mark.parametrize("kind", ["pearson", "spearman"])
def test_a_correlation_with_a_constant_has_no_interval(kind):
    low, high = stats.bootstrap_correlation(kind, np.full(9, 0.1), np.arange(9.0), seed=0)
    assert np.isnan(low)
    assert np.isnan(high)
