"""Aggregates against MTEB's published orders, toys with known answers, and their laws."""

from __future__ import annotations

import csv
import gzip
import json
from itertools import combinations, permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import kendalltau

from harness import stats
from harness.stats import aggregate
from tests.shared import shared

# Three winners: B by the mean, D by Borda, A by Kemeny (Colombo et al. 2022)
TOY = np.array([[9.0, 1, 2, 6, 9], [5, 8, 7, 9, 5], [7, 5, 8, 1, 7], [6, 7, 9, 2, 8]])


def published() -> tuple[list[str], list[str], np.ndarray, list[str]]:
    """Models, tasks, main scores [206, 41] and types of MTEB(eng, v2); NaN where there is none."""
    folder = shared("mteb-eng-v2")
    types = json.loads((folder / "tasks.json").read_text())
    with gzip.open(folder / "main_scores.csv.gz", "rt") as file:
        rows = list(csv.DictReader(file))
    models = sorted({row["model"] for row in rows})
    tasks = sorted(types)
    scores = np.full((len(models), len(tasks)), np.nan)
    for row in rows:
        scores[models.index(row["model"]), tasks.index(row["task"])] = float(row["main_score"])
    return models, tasks, scores, [types[task]["type"] for task in tasks]


def test_twelve_models_of_mteb():
    # Borda points and means (percent) of the 492 published scores, papers.md 4.3
    expected = {
        "intfloat__e5-mistral-7b-instruct": (408, 67.97),
        "GritLM__GritLM-7B": (382, 67.07),
        "intfloat__multilingual-e5-large-instruct": (357, 65.53),
        "intfloat__multilingual-e5-large": (248, 62.24),
        "sentence-transformers__all-mpnet-base-v2": (237, 59.16),
        "intfloat__multilingual-e5-base": (201, 61.00),
        "sentence-transformers__paraphrase-multilingual-mpnet-base-v2": (190, 58.27),
        "sentence-transformers__all-MiniLM-L6-v2": (182, 59.03),
        "sentence-transformers__all-MiniLM-L12-v2": (180, 58.10),
        "intfloat__multilingual-e5-small": (174, 59.69),
        "sentence-transformers__paraphrase-multilingual-MiniLM-L12-v2": (110, 56.42),
        "sentence-transformers__LaBSE": (37, 48.81),
    }
    models, _, scores, types = published()
    chosen = scores[[models.index(name) for name in expected]]
    mean = np.array([mean for _, mean in expected.values()])
    missing = np.isnan(chosen)
    whole = ~missing.any(axis=1)
    assert (whole.sum(), missing.sum()) == (9, 6)
    assert 100 * chosen[whole].mean(axis=1) == pytest.approx(mean[whole], abs=0.006)
    # the file lacks six of the scores: the published means say what they are on average
    implied = (41 * mean / 100 - np.nansum(chosen, axis=1)) / np.maximum(missing.sum(axis=1), 1)
    filled = np.where(missing, implied[:, None], chosen)
    points = aggregate.borda(filled).sum(axis=1)
    assert points.tolist() == [borda for borda, _ in expected.values()]
    assert points.sum() == 41 * 66
    by_type = np.mean(list(aggregate.family_means(chosen, types).values()), axis=0)
    assert 100 * by_type[0] == pytest.approx(64.00, abs=0.006)


def test_ranks_are_those_of_mteb_on_183_complete_models():
    models, tasks, scores, _ = published()
    complete = ~np.isnan(scores).any(axis=1)
    assert (len(models), len(tasks), complete.sum()) == (206, 41, 183)
    polars = pytest.importorskip("polars")
    table = pytest.importorskip("mteb.benchmarks._create_table")
    for rows in (np.flatnonzero(complete), np.arange(206)):  # and with missing scores
        chosen = scores[rows]
        long = polars.DataFrame(
            [
                {"model_name": str(i), "task_name": tasks[j], "score": float(value)}
                for (i, j), value in np.ndenumerate(chosen)
                if not np.isnan(value)
            ]
        )
        theirs = dict(table._borda_rank_from_long(long, n_models=len(rows)).iter_rows())
        ours = aggregate.places(aggregate.borda(chosen).sum(axis=1))
        assert {str(i): int(place) for i, place in enumerate(ours)} == theirs


def test_the_toy_with_three_winners():
    assert aggregate.borda(TOY).sum(axis=1).tolist() == [8, 7, 6, 9]
    found = aggregate.kemeny(aggregate.pairwise(TOY).margin)
    assert ["ABCD"[i] for i in found.order] == ["A", "D", "C", "B"]
    assert (found.agreement, found.exact) == (18 - 12, True)


def test_borda_shares_ranks_and_a_missing_score_has_no_points():
    scores = np.array([[0.5, np.nan], [0.5, 0.1], [0.2, 0.9]])
    assert aggregate.borda(scores).tolist() == [[1.5, 0], [1.5, 1], [0, 2]]
    assert aggregate.places(np.array([1.5, 2.5, 2.5, 0])).tolist() == [3, 1, 1, 4]


def agreement(margin: np.ndarray, order: tuple[int, ...]) -> int:
    return sum(int(margin[a, b]) for a, b in combinations(order, 2))


@given(arrays(np.float64, (5, 4), elements=st.sampled_from([0.0, 0.5, 1.0, np.nan])))
def test_kemeny_is_the_best_of_all_orders(scores):
    margin = aggregate.pairwise(scores).margin
    found = aggregate.kemeny(margin)
    best = max(agreement(margin, order) for order in permutations(range(5)))
    assert found.agreement == agreement(margin, tuple(found.order)) == best
    assert sorted(found.order) == [0, 1, 2, 3, 4]


@given(st.integers(0, 10_000))
def test_moves_never_lose_to_the_order_that_they_start_from(seed):
    margin = aggregate.pairwise(np.random.default_rng(seed).random((9, 5))).margin
    order = aggregate._moves(margin)
    assert sorted(order) == list(range(9))
    start = agreement(margin, tuple(range(9)))
    assert start <= agreement(margin, tuple(order)) <= agreement(
        margin, tuple(aggregate._subsets(margin))
    )  # fmt: skip


def test_a_large_circle_is_said_to_be_approximate(monkeypatch):
    monkeypatch.setattr(aggregate, "EXACT", 2)
    found = aggregate.kemeny(aggregate.pairwise(TOY).margin)
    assert (found.agreement, found.exact) == (6, False)


def test_pairs_by_hand():
    scores = np.array([[1.0, 2, 4, np.nan], [0, 1, 1, 5], [1, np.nan, np.nan, np.nan]])
    found = aggregate.pairwise(scores)
    assert found.wins[0].tolist() == [0.5, 1, 0.5]
    assert found.wins[2].tolist() == [0.5, 1, 0.5]
    assert found.margin.tolist() == [[0, 3, 0], [-3, 0, -1], [0, 1, 0]]
    # differences 1, 1, 3: mean 5/3, standard error 2/3, t = 2.5 on 2 degrees of freedom
    assert found.difference[0, 1] == pytest.approx(5 / 3)
    assert found.p[0, 1] == found.p[1, 0] == pytest.approx(0.129612, abs=1e-6)
    assert np.isnan(found.p[0, 2])
    assert found.p[0, 0] == 1


def test_p_is_that_of_scipy():
    from scipy.stats import ttest_rel

    scores = np.random.default_rng(0).random((4, 9))
    p = aggregate.pairwise(scores).p
    for i, j in combinations(range(4), 2):
        assert p[i, j] == pytest.approx(ttest_rel(scores[i], scores[j]).pvalue)


def test_equal_systems_and_constant_differences():
    row = np.array([0.1, 0.7, 0.3])
    p = aggregate.pairwise(np.stack([row, row, row + 0.1])).p
    assert p[0, 1] == 1
    assert p[0, 2] == 0
    drawn = np.stack([row, row, row + 0.1])
    assert aggregate.normal_p(drawn)[0].tolist() == [1, 1, 0]
    assert np.isnan(aggregate.normal_p(np.stack([row, row * np.nan]))[0, 1])


def test_p_of_resamples_by_hand():
    # variances 1 and 4, covariance -1: the difference 2 varies by 1 + 4 + 2 = 7, z = 2 / sqrt(7)
    drawn = np.array([[1.0, 2, 3], [0, 2, -2]])
    assert aggregate.normal_p(drawn)[0, 1] == pytest.approx(0.4496918)


def test_pairs_are_told_apart_by_holm():
    # of three known pairs .01 .02 .04, times 3 2 1 and made monotone: .03 .04 .04
    p = np.full((4, 4), np.nan)
    p[0, 1], p[0, 2], p[1, 2] = 0.02, 0.01, 0.04
    apart = aggregate.separable(p, alpha=0.035)
    assert np.argwhere(apart).tolist() == [[0, 2], [2, 0]]
    assert np.argwhere(aggregate.separable(p, alpha=0.05)).tolist() == [
        [0, 1], [0, 2], [1, 0], [1, 2], [2, 0], [2, 1],
    ]  # fmt: skip


def test_few_of_equal_systems_are_told_apart():
    # alpha 5% over all 28 pairs of 8 systems that are equal: 400 boards, standard error 1.1%
    random = np.random.default_rng(3)
    alarms = [
        aggregate.separable(aggregate.pairwise(random.normal(size=(8, 20))).p).any()
        for _ in range(400)
    ]
    assert 0.01 < np.mean(alarms) <= 0.075


@given(st.integers(1, 9), st.integers(0, 10_000), st.floats(0, 1))
def test_systems_share_a_group_exactly_where_they_are_not_told_apart(n, seed, share):
    apart = np.triu(np.random.default_rng(seed).random((n, n)) < share, 1)
    apart |= apart.T
    found = aggregate.groups(apart)
    for i in range(n):
        for j in range(n):
            assert any(i in g and j in g for g in found) == (not apart[i, j])


def test_groups_of_a_line():
    # neighbours are alike, those two apart are not
    apart = np.abs(np.subtract.outer(np.arange(4), np.arange(4))) > 1
    assert aggregate.groups(apart) == [[0, 1], [1, 2], [2, 3]]


def test_two_levels_add_their_variances():
    # 40 tasks from N(0, .1), measured on 50 queries of deviation .5: the variance of the mean is
    # (.1**2 + .5**2 / 50) / 40, to which drawing queries anew adds .5**2 / 50 / 40 again
    random = np.random.default_rng(0)
    queries = 0.1 * random.standard_normal((40, 1, 1)) + 0.5 * random.standard_normal((40, 1, 50))
    scores = queries.mean(axis=2).T
    moved = {
        t: aggregate.resample_means(queries[t], [0, t]) - scores[:, t : t + 1] for t in range(40)
    }
    drawn = aggregate.two_level(scores, aggregate.task_draws(40, 1), moved)
    inside = np.mean([each.var() for each in moved.values()])
    assert drawn.std() == pytest.approx(np.sqrt((scores.var() + inside) / 40), rel=0.08)
    fixed = aggregate.two_level(scores, np.ones((1000, 40), int), moved)
    assert fixed.std() == pytest.approx(np.sqrt(inside / 40), rel=0.08)
    low, high = stats.tails(drawn.T)
    assert low[0] < scores.mean() < high[0]


def test_resamples_are_bounded_in_memory_and_repeat(monkeypatch):
    values = np.random.default_rng(0).random((2, 30))
    whole = aggregate.resample_means(values, [7])
    monkeypatch.setattr(stats, "CHUNK", 30 * 7)
    assert aggregate.resample_means(values, [7]) == pytest.approx(whole)
    assert (aggregate.resample_means(values, [8]) != whole).any()
    assert aggregate.resample_means(np.ones((1, 5)), [0]).tolist() == [[1.0] * stats.RESAMPLES]


def test_stability_by_hand():
    totals = np.array([3.0, 2, 1])
    drawn = np.array([[3.0, 1, 3, 3], [2, 2, 2, 3], [1, 0, 4, 1]])
    found = aggregate.stability(totals, drawn)
    assert found.kept.tolist() == [0.5, 0.25, 0.75]
    assert found.first.tolist() == [0.5, 0.5, 0.25]
    assert found.low.tolist() == [1, 1, 1]
    assert found.high.tolist() == [2, 3, 3]


def test_a_pareto_front_by_hand():
    quality, cost = np.array([0.9, 0.8, 0.7, 0.8, np.nan]), np.array([10.0, 2, 4, 2, 1])
    found = aggregate.pareto(quality, cost)
    assert found.on.tolist() == [True, True, False, True, False]
    assert found.behind[:4] == pytest.approx([0, 0, 0.1, 0])
    assert found.dearer[:4] == pytest.approx([1, 1, 2, 1])
    assert np.isnan(found.behind[4])


def test_a_cost_is_set_against_the_least_unless_that_is_none():
    quality = np.array([0.9, 0.8])
    assert aggregate.pareto(quality, np.array([1.0, 3])).dearer.tolist() == [1, 3]
    found = aggregate.pareto(quality, np.array([0.0, 3])).dearer
    assert found == pytest.approx([1, np.nan], nan_ok=True)


def test_a_system_known_to_be_worse_is_set_against_no_cost():
    quality, cost = np.array([0.9, 0.8, 0.7]), np.array([2.0, 4, 8])
    worse = np.zeros((3, 3), bool)
    worse[2, 0] = worse[1, 0] = True
    found = aggregate.pareto(quality, cost, worse)
    assert found.on.tolist() == [True, False, False]
    assert found.dearer == pytest.approx([1, np.nan, 2], nan_ok=True)
    assert found.behind == pytest.approx([0, 0.1, 0.2])


@given(arrays(np.float64, (6, 2), elements=st.integers(1, 5).map(float)))
def test_on_the_front_is_what_nothing_dominates(points):
    quality, cost = points.T
    expected = [
        not any(a >= q and b <= c and (a > q or b < c) for a, b in zip(quality, cost, strict=True))
        for q, c in zip(quality, cost, strict=True)
    ]
    assert aggregate.pareto(quality, cost).on.tolist() == expected


def test_kendall_tau_by_hand():
    """Of six pairs five agree and one does not, or is a tie of the other order."""
    assert aggregate.kendall_tau([1, 2, 3, 4], [1, 2, 4, 3]) == pytest.approx(4 / 6)
    assert aggregate.kendall_tau([1, 2, 3, 4], [1, 2, 3, 3]) == pytest.approx(5 / (6 * 5) ** 0.5)
    assert aggregate.kendall_tau([1, 2, 3], [1, 1, 1]) is None


def test_kept_orders_by_hand():
    before = np.array([0.5, 0.3, 0.3 + 1e-15, 0.1])
    after = np.array([[0.9, 1.0], [0.5, 2.0], [0.5, 3.0], [0.5, 4.0]])
    pairs, same = aggregate.kept_order(before, after)
    assert pairs.tolist() == [[0, 1], [0, 2], [0, 3], [1, 3], [2, 3]]  # 1 and 2 are equal before
    assert same.T.tolist() == [[1, 1, 1, 0, 0], [-1, -1, -1, -1, -1]]


@given(st.permutations(range(6)))
def test_the_mean_of_kept_orders_is_kendall_s_tau(order):
    before, after = np.arange(6.0), np.array(order, np.float64)
    _, same = aggregate.kept_order(before, after[:, None])
    assert same.mean() == pytest.approx(kendalltau(before, after).statistic)
