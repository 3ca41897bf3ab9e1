"""Recall of neighbours: counted by hand, with ties, short lists and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import InputError
from harness.measures.neighbours import EPSILON, neighbour_overlap, neighbour_recall
from harness.vectors import Run, ranking


def run(*rows: list[tuple[int, float]]) -> Run:
    """A run of (document, score) lists, padded to one length."""
    width = max(map(len, rows))
    padded = [row + [(-1, 0.0)] * (width - len(row)) for row in rows]
    docs = np.array([[doc for doc, _ in row] for row in padded], np.int32)
    return Run(docs, np.array([[score for _, score in row] for row in padded], np.float32))


def found(*docs: int) -> Run:
    """What an approximate search of one query returned; no scores, as none are looked at."""
    return Run(np.array([docs], np.int32), np.full((1, len(docs)), np.nan, np.float32))


EXACT = run([(5, 0.9), (3, 0.8), (9, 0.7), (7, 0.7), (1, 0.6)])


@pytest.mark.parametrize(
    ("docs", "k", "recall", "overlap"),
    [
        ((5, 3, 9), 3, 1, 1),
        ((9, 5, 3), 3, 1, 1),  # order does not matter
        ((5, 3, 7), 3, 1, 2 / 3),  # 7 ties with the third
        ((5, 9, 7), 3, 1, 2 / 3),
        ((5, 3, 1), 3, 2 / 3, 2 / 3),
        ((5, 9, 3), 2, 1 / 2, 1 / 2),  # what is ranked after the second is not looked at
        ((9, 7), 1, 0, 0),
        ((5, 5, 3), 3, 2 / 3, 2 / 3),  # one document counts once
        ((5, -1, -1), 3, 1 / 3, 1 / 3),
        ((8, 8, 8), 5, 0, 0),
        ((5,), 5, 1 / 5, 1 / 5),
    ],
)
def test_recall_counted_by_hand(docs, k, recall, overlap):
    assert neighbour_recall(found(*docs), EXACT, k).tolist() == pytest.approx([recall])
    assert neighbour_overlap(found(*docs), EXACT, k).tolist() == pytest.approx([overlap])


def test_scores_within_epsilon_of_the_last_are_ties():
    exact = run([(0, 0.5), (1, 0.4), (2, 0.39999995), (3, 0.3995)])
    assert neighbour_recall(found(0, 2), exact, 2).tolist() == [0.5]
    assert neighbour_recall(found(0, 2), exact, 2, EPSILON).tolist() == [1]
    assert neighbour_recall(found(0, 3), exact, 2, EPSILON).tolist() == [0.5]
    assert neighbour_recall(found(0, 3), exact, 2, 1e-3).tolist() == [1]  # as ann-benchmarks


def test_columns_beyond_the_k_th_may_have_any_order_and_repeat():
    exact = run([(5, 0.9), (3, 0.7), (1, 0.2), (4, 0.7), (3, 0.7)])
    assert neighbour_recall(found(4, 3), exact, 2).tolist() == [1]
    assert neighbour_recall(found(1, 3), exact, 2).tolist() == [0.5]


def test_where_there_are_fewer_than_k_all_of_them_are_wanted():
    exact = run([(4, -0.5), (2, -0.6)], [(0, 0.1)], [])
    approximate = Run(np.array([[4, 1], [0, -1], [-1, -1]], np.int32), np.zeros((3, 2), np.float32))
    assert neighbour_recall(approximate, exact, 10).tolist() == [0.5, 1, 1]


def test_padding_is_no_document_of_the_query_before():
    exact = run([(9, 1.0)], [(9, 1.0)])
    approximate = Run(np.array([[8], [-1]], np.int32), np.zeros((2, 1), np.float32))
    assert neighbour_recall(approximate, exact, 1).tolist() == [0, 0]


@settings(max_examples=60, deadline=None)
@given(
    scores=st.lists(st.integers(0, 4), min_size=1, max_size=12),
    order=st.randoms(use_true_random=False),
    k=st.integers(1, 14),
)
def test_any_choice_among_ties_is_right_and_each_document_missed_costs_its_share(scores, order, k):
    n, most = len(scores), min(k, len(scores))
    values = np.array([scores], np.float32)
    exact = ranking.unpack(ranking.best(ranking.pack(values, np.arange(n)[None, :]), n))
    docs = list(range(n))
    order.shuffle(docs)
    docs.sort(key=lambda doc: -scores[doc])  # stable: ties stay as they were shuffled
    assert neighbour_recall(found(*docs), exact, k).tolist() == [1]
    worse = [doc for doc in docs if scores[doc] < scores[docs[most - 1]]][:most]
    missed = [*worse, *docs[: most - len(worse)]]
    share = (most - len(worse)) / most
    assert neighbour_recall(found(*missed), exact, k).tolist() == pytest.approx([share])


def test_what_is_refused():
    with pytest.raises(InputError, match="recall of k=0 neighbours: expected at least 1"):
        neighbour_recall(found(1), EXACT, 0)
    with pytest.raises(InputError, match="of 1 and of 2 queries: expected the same"):
        neighbour_recall(found(1), run([(1, 1.0)], [(1, 1.0)]), 1)
