from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from harness.errors import InputError
from harness.measures.binary import average_precision, pair_classification, resample, separation

SIMILARITY = np.array([0.9, 0.8, 0.7, 0.6, 0.4, 0.2])
GOLD = np.array([1, 1, 0, 1, 0, 0])


def test_separation_by_hand():
    found = separation(SIMILARITY, GOLD)
    # precision at each positive: 1, 1, 3/4
    assert found.ap == pytest.approx((1 + 1 + 3 / 4) / 3, abs=1e-15)
    # above 0.75: two of three positives and all negatives; above 0.5 as many, but further down
    assert (found.accuracy, found.accuracy_threshold) == (5 / 6, 0.75)
    # above 0.75: P 1, R 2/3, F1 4/5; above 0.5: P 3/4, R 1, F1 6/7
    assert found.f1 == pytest.approx(6 / 7, abs=1e-15)
    assert (found.f1_threshold, found.precision, found.recall) == (0.5, 0.75, 1)


def test_the_order_of_pairs_does_not_matter():
    order = [3, 0, 5, 1, 4, 2]
    assert separation(SIMILARITY[order], GOLD[order]) == separation(SIMILARITY, GOLD)


def test_no_threshold_parts_equal_similarities():
    # ranks: one positive, then three pairs that tie, two of them positive, then a negative
    similarity, gold = np.array([0.9, 0.5, 0.5, 0.5, 0.1]), np.array([1, 0, 1, 1, 0])
    for order in ([0, 1, 2, 3, 4], [0, 3, 2, 1, 4]):
        found = separation(similarity[order], gold[order])
        assert found.ap == pytest.approx(1 / 3 + 2 / 3 * 3 / 4, abs=1e-15)
        assert (found.accuracy, found.accuracy_threshold) == (4 / 5, 0.3)
        assert found.f1 == pytest.approx(6 / 7, abs=1e-15)


def test_all_positive_is_no_choice():
    # one threshold: above it a negative, below it a positive
    found = separation(np.array([0.9, 0.1]), np.array([0, 1]))
    assert (found.ap, found.accuracy, found.f1) == (0.5, 0, 0)
    assert (found.precision, found.recall) == (0, 0)
    assert np.isnan([found.accuracy_threshold, found.f1_threshold]).all()


@pytest.mark.parametrize("gold", [[1, 1, 0], [1, 1, 1]])
def test_where_all_similarities_are_equal_there_is_no_threshold(gold):
    found = separation(np.full(3, 0.5), np.array(gold))
    assert (found.ap, found.accuracy, found.f1) == (sum(gold) / 3, 0, 0)
    assert np.isnan([found.accuracy_threshold, found.f1_threshold]).all()


def test_each_maximum_is_taken_by_itself():
    # cosine: P 1, R 1/2 above 0.85; dot: P 1/3, R 1/2 above 0.5, below it no threshold
    gold = np.array([1.0, 0, 0, 1])
    cosine, dot = np.array([0.9, 0.8, 0.2, 0.1]), np.array([1.0, 2, 3, 0])
    found = pair_classification({"cosine": cosine, "dot": dot}, gold)
    assert found["cosine_ap"] == 0.75
    assert found["dot_ap"] == pytest.approx((1 / 3 + 2 / 4) / 2, abs=1e-15)
    assert (found["max_ap"], found["max_accuracy"]) == (0.75, 0.75)
    assert (found["cosine_precision"], found["cosine_recall"]) == (1, 0.5)
    assert (found["dot_precision"], found["dot_recall"]) == (1 / 3, 0.5)
    assert len(found) == 15


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.integers(0, 2**32), st.integers(2, 40), st.integers(1, 12))
def test_thresholds_found_are_the_best_of_all(seed, n, distinct):
    random = np.random.default_rng(seed)
    similarity, gold = random.integers(distinct, size=n) / 7, random.integers(2, size=n)
    gold[0] = 1
    found = separation(similarity, gold)
    assert found.ap == pytest.approx(average_precision_score(gold, similarity), abs=1e-12)
    best_accuracy = best_f1 = 0.0
    values = np.unique(similarity)
    for threshold in (values[:-1] + values[1:]) / 2:
        said = similarity > threshold
        best_accuracy = max(best_accuracy, float((said == gold).mean()))
        best_f1 = max(best_f1, 2 * float((said & gold).sum() / (said.sum() + gold.sum())))
    assert found.accuracy == pytest.approx(best_accuracy, abs=1e-12)
    assert found.f1 == pytest.approx(best_f1, abs=1e-12)
    if found.f1:
        said = similarity > found.f1_threshold
        assert found.precision == pytest.approx(float(gold[said].mean()), abs=1e-12)
        assert found.recall == pytest.approx(float(said[gold == 1].mean()), abs=1e-12)


@settings(max_examples=100)
@given(st.integers(0, 2**32), st.integers(1, 30), st.integers(1, 12))
def test_resamples_score_as_the_pairs_that_they_hold(seed, n, distinct):
    """The first resample holds each pair once; the last one a single positive pair."""
    random = np.random.default_rng(seed)
    similarity, gold = random.integers(distinct, size=n) / 7, random.integers(2, size=n)
    gold[0] = 1
    counts = np.vstack([np.ones(n, int), random.integers(3, size=(4, n)), np.eye(1, n, dtype=int)])
    counts[:, 0] += counts @ gold == 0
    found = resample(similarity, gold, counts)
    for row, count in enumerate(counts):
        whole = separation(np.repeat(similarity, count), np.repeat(gold, count))
        for name in ("ap", "accuracy", "f1"):
            assert found[name][row] == pytest.approx(getattr(whole, name), abs=1e-12), name


@pytest.mark.parametrize(("value", "said"), [(2, "2"), (-1, "-1"), (0.5, "0.5"), (np.nan, "nan")])
def test_gold_is_0_or_1(value, said):
    with pytest.raises(InputError, match=f"^a pair has the gold value {said}: expected 0 or 1$"):
        separation(SIMILARITY, np.where(np.arange(6) == 3, value, GOLD))


def test_something_is_positive():
    line = "no pair has the gold value 1: average precision needs at least one"
    with pytest.raises(InputError, match=f"^{line}$"):
        average_precision(SIMILARITY, np.zeros(6, np.bool_))
    with pytest.raises(InputError, match=f"^{line}$"):
        separation(SIMILARITY, np.zeros(6))
