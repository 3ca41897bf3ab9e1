from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from harness import stats
from harness.measures.binary import pair_classification
from harness.measures.pairs import BINARY_MEASURES, correlation
from harness.stats import Estimate


def test_two_values_by_hand():
    # A resample of {0, 1} has mean 0, 1/2, 1 with probability 1/4, 1/2, 1/4: the 2.5% and 97.5%
    # quantiles are 0 and 1, those of 30% and 70% are both 1/2.
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
    drawn = list(stats._draw_rows(10, stats.generator(0)))
    assert {len(rows) for rows in drawn} == {7, 1000 % 7}
    assert sum(map(len, drawn)) == stats.RESAMPLES
    assert set(np.concatenate(drawn).ravel().tolist()) == set(range(10))


def test_intervals_of_a_mean_cover_it_about_as_often_as_they_say():
    # 600 samples of 60 from a uniform distribution, whose mean is 1/2. The standard error of the
    # coverage is sqrt(.95 * .05 / 600) = 0.9%; the percentile interval is known to be a bit short.
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
        for rows in np.concatenate(list(stats._draw_rows(30, stats.generator(4))))[:1000]
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


def pairs_like(n: int, seed: int = 0) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Similarities of each kind in steps, so that some are equal, and gold values 0 and 1."""
    random = np.random.default_rng(seed)
    gold = (random.random(n) < 0.4).astype(float)
    kinds = ("cosine", "dot", "euclidean", "manhattan")
    return {k: np.round(gold + random.normal(size=n), 1) for k in kinds}, gold


@pytest.mark.parametrize("n", [3, 12, 40])
def test_intervals_of_pair_classification_are_those_of_a_loop_over_resamples(n):
    """With three pairs, many resamples have one similarity alone, or no positive pair."""
    values, gold = pairs_like(n, seed=n)
    gold[0] = 1
    drawn = [
        pair_classification({kind: x[rows] for kind, x in values.items()}, gold[rows])
        for rows in np.concatenate(list(stats._draw_rows(n, stats.generator(4))))
        if gold[rows].any()
    ]
    found = stats.bootstrap_separation(values, gold, BINARY_MEASURES, seed=4)
    assert list(found) == list(BINARY_MEASURES)
    for name in BINARY_MEASURES:
        expected = np.quantile([one[name] for one in drawn], [0.025, 0.975])
        assert found[name] == pytest.approx(expected, abs=1e-12), name


def test_intervals_of_pair_classification_repeat_whatever_the_chunks(monkeypatch):
    values, gold = pairs_like(60)
    first, other = (stats.bootstrap_separation(values, gold, ["max_ap"], seed) for seed in (1, 2))
    assert first != other
    told = []
    monkeypatch.setattr(stats, "CHUNK", 60 * 400)
    again = stats.bootstrap_separation(
        values, gold, ["max_ap"], 1, progress=lambda *said: told.append(said)
    )
    assert again == first
    assert told == [("intervals", done, 1000, "resamples") for done in (0, 400, 800)]


def test_perfect_separation_has_an_interval_of_no_width_for_ap():
    values = {"cosine": np.arange(20.0)}
    gold = (values["cosine"] > 9).astype(float)
    assert stats.bootstrap_separation(values, gold, ["cosine_ap"], 0) == {"cosine_ap": (1, 1)}


def test_signs_flipped_by_hand():
    # 1, 2, 3: of 8 sign patterns one has a sum of 6 or more, one of -6 or less
    assert stats.randomisation(np.r_[1.0, 2, 3], seed=0) == stats.PValues(2 / 8, 1.0, 1 / 8)
    # -1, 2, 2: a sum of 3 or more have 5 and 3; +1 is reached by -1 + 2 + 2 = 3 alone beside 5
    assert stats.randomisation(np.r_[-1.0, 2, 2], seed=0) == stats.PValues(4 / 8, 7 / 8, 2 / 8)
    # equal sums count as equal although 0.1 + 0.2 is not 0.3
    assert stats.randomisation(np.r_[0.1, 0.2, -0.3], seed=0).two_sided == 1.0


@pytest.mark.parametrize("differences", [np.zeros(5), np.zeros(1), np.array([])])
def test_without_a_difference_nothing_is_rare(differences):
    assert stats.randomisation(differences, seed=0) == stats.PValues(1.0, 1.0, 1.0)


def test_queries_without_a_difference_change_no_test():
    moved = np.random.default_rng(0).normal(0.3, 1, 12)
    padded = np.concatenate([np.zeros(500), moved])
    assert stats.randomisation(padded, seed=0) == stats.randomisation(moved, seed=1)


@pytest.mark.parametrize("n", [5, 11])
def test_an_exact_test_is_that_of_scipy(n):
    differences = np.random.default_rng(n).normal(0.3, 1, n)
    found = stats.randomisation(differences, seed=0)
    for name, alternative in (("two_sided", "two-sided"), ("less", "less"), ("greater", "greater")):
        expected = scipy.stats.permutation_test(
            (differences,), np.mean, permutation_type="samples", n_resamples=np.inf,
            alternative=alternative,
        )  # fmt: skip
        assert getattr(found, name) == pytest.approx(expected.pvalue, abs=1e-12)


def test_a_drawn_test_is_near_the_exact_one_and_repeats():
    differences = np.random.default_rng(3).normal(0.4, 1, 14)
    exact = stats.randomisation(differences, seed=0, permutations=2**14)
    first, again, other = (stats.randomisation(differences, seed) for seed in (1, 1, 2))
    assert first == again != other
    # standard error of a share p of 10,000: sqrt(p (1 - p) / 10,000) < 0.005
    assert first.two_sided == pytest.approx(exact.two_sided, abs=0.015)
    assert first.less == pytest.approx(exact.less, abs=0.015)


def test_what_was_observed_is_one_of_the_patterns():
    found = stats.randomisation(np.ones(100), seed=0)
    assert found.two_sided == found.greater == 1 / 10_001
    assert found.less == 1.0


def test_flips_come_in_chunks(monkeypatch):
    monkeypatch.setattr(stats, "CHUNK", 70)  # 3 patterns of 20 at a time: 1000 is no multiple
    flips = np.concatenate(list(stats._flips(20, 1000, seed=0)))
    assert flips.shape == (1000, 20)
    assert set(flips.ravel().tolist()) == {0.0, 1.0}
    assert flips.mean() == pytest.approx(0.5, abs=0.02)
    monkeypatch.setattr(stats, "CHUNK", 10)  # less than one pattern: one at a time
    assert stats.randomisation(np.ones(20), seed=0, permutations=9).less == 1.0


def test_every_query_may_be_flipped_however_many_there_are():
    """The last of 80 decides the sign of the sum; the others are too small to."""
    found = stats.randomisation(np.r_[np.full(79, 1e-12), 1.0], seed=0)
    assert found.greater == pytest.approx(0.5, abs=0.02)
    assert found.two_sided == found.less == 1.0


def test_the_signs_that_a_seed_draws_stay_the_same():
    # seed 0 draws the bytes 95 130, 194 217, 207 235, 15 163: of 8 times 1 and 6 times -1 the bits
    # 01011111 100000 flip 6 and 1: -4 - 4; 11000010 110110 flip 3 and 4: 2 + 2;
    # 11001111 111010 flip 6 and 4: -4 + 2; 00001111 101000 flip 4 and 2: 0 - 2. Observed is 2.
    differences = np.repeat([1.0, -1.0], [8, 6])
    found = stats.randomisation(differences, seed=0, permutations=4)
    assert found == stats.PValues(5 / 5, 4 / 5, 2 / 5)


def test_corrections_by_hand():
    # Holm: 0.005 x 4, 0.01 x 3, 0.03 x 2, then no less than the one before
    p = [0.01, 0.04, 0.03, 0.005]
    assert stats.holm(p) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    # Benjamini-Hochberg: 0.005 x 4/1, 0.01 x 4/2, 0.03 x 4/3, 0.04 x 4/4
    assert stats.benjamini_hochberg(p) == pytest.approx([0.02, 0.04, 0.04, 0.02])
    assert stats.holm([0.9, 0.8]) == [1.0, 1.0]
    assert stats.holm([]) == stats.benjamini_hochberg([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_corrections_keep_the_order_and_holm_is_the_stricter(p):
    strict, mild = stats.holm(p), stats.benjamini_hochberg(p)
    for one, h, bh in zip(p, strict, mild, strict=True):
        assert one - 1e-12 <= bh <= h + 1e-12 <= 1 + 2e-12
    assert [strict[i] for i in np.argsort(p)] == sorted(strict)
    assert mild == pytest.approx(scipy.stats.false_discovery_control(p).tolist())


def test_effect_and_error_by_hand():
    # 1, 2, 3: mean 2, standard deviation 1
    assert stats.effect_size(np.r_[1.0, 2, 3]) == pytest.approx(2)
    assert stats.standard_error(np.r_[1.0, 2, 3]) == pytest.approx(1 / np.sqrt(3))
    assert stats.standard_error(np.r_[1.0, 3]) == pytest.approx(1)  # deviation sqrt(2)
    assert stats.standard_error(np.full(7, 0.1)) == 0.0
    assert stats.effect_size(np.full(7, 0.1)) is None
    assert stats.standard_error(np.r_[0.3]) is None


def test_the_detectable_difference_is_cohen_s():
    # (1.959964 + 0.841621) x 0.1 and, one-sided, (1.644854 + 0.841621) x 0.1
    assert stats.detectable(0.1) == pytest.approx(0.2801585)
    assert stats.detectable(0.1, two_sided=False) == pytest.approx(0.2486475)


def test_p_of_a_normal_statistic():
    found = stats.normal_p(-1.959964)
    assert (found.two_sided, found.less, found.greater) == pytest.approx((0.05, 0.025, 0.975))


@pytest.mark.parametrize("kind", ["pearson", "spearman"])
def test_the_influence_of_a_pair_is_what_leaving_it_out_changes(kind):
    x, gold = sts_like(300)
    x = np.round(x, 1)  # ties on both sides
    found, whole = stats.influence(kind, x, gold), float(correlation(kind, x, gold))
    assert found.mean() == pytest.approx(whole, abs=1e-12)
    without = np.array(
        [float(correlation(kind, np.delete(x, i), np.delete(gold, i))) for i in range(300)]
    )
    jackknife = whole + 299 * (whole - without)
    assert np.corrcoef(found, jackknife)[0, 1] > 0.9999
    assert found.std() == pytest.approx(jackknife.std(), rel=0.01)


@pytest.mark.parametrize("kind", ["pearson", "spearman"])
def test_an_interval_from_influences_is_that_of_pairs_drawn_anew(kind):
    x, gold = sts_like(500)
    low, high = stats.bootstrap_means(stats.influence(kind, x, gold)[None], seed=0)
    expected = stats.bootstrap_correlation(kind, x, gold, seed=0)
    assert (low[0], high[0]) == pytest.approx(expected, abs=0.005)


@pytest.mark.parametrize(
    ("low", "high", "significant"),
    [
        (0.1, 0.3, True),
        (-0.3, -0.1, True),
        (-0.1, 0.3, False),
        (0.0, 0.3, False),
        (None, 0.3, False),
    ],
)
def test_an_estimate_is_significant_where_its_interval_leaves_out_zero(low, high, significant):
    assert Estimate(0.2, low, high).significant is significant


def test_a_ratio_of_means_is_paired():
    whole = np.array([0.2, 0.4, 1.0, 0.8])
    half = stats.estimate_ratio(whole / 2, whole)
    assert (half.mean, half.low, half.high) == pytest.approx((0.5, 0.5, 0.5))
    # of two queries: one kept, one lost; drawn together, both kept, or both lost
    one = stats.estimate_ratio(np.array([1.0, 0.0]), np.array([1.0, 1.0]))
    assert (one.mean, one.low, one.high) == (0.5, 0, 1)
    assert stats.estimate_ratio(np.zeros(3), np.zeros(3)) == stats.Estimate(None)


@pytest.mark.parametrize(
    ("q", "share", "ranks"), [(100, 0.5, (40, 61)), (20, 0.95, (17, 21)), (3, 0.5, (0, 4))]
)
def test_ranks_that_a_quantile_lies_between(q, share, ranks):
    assert stats.quantile_ranks(q, share) == ranks
