from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.data import Changes, Qrels
from harness.errors import InputError
from harness.measures.asked import Measure
from harness.measures.groups import group_minimum, join_groups, p_mrr, rank_change, ranks
from harness.measures.judged import Evidence
from harness.vectors import Run

# two queries with both instructions; the last row has but two results
RUN = Run(
    np.int32([[4, 2, 0, 1], [2, 0, 1, 4], [3, 1, 0, 2], [0, 3, -1, -1]]),
    np.float32([[4, 3, 2, 1], [4, 3, 2, 1], [4, 3, 2, 1], [4, 3, 0, 0]]),
)


def test_rank_change_is_that_of_the_paper():
    # before: 1, 4, 1, 10, 5, 7; after: 3, 1, 10, 1, 6, 7
    found = rank_change(np.array([1, 4, 1, 10, 5, 7]), np.array([3, 1, 10, 1, 6, 7]))
    assert found == pytest.approx([2 / 3, -3 / 4, 0.9, -0.9, 1 / 6, 0], abs=1e-15)


@given(st.integers(1, 10**6), st.integers(1, 10**6))
def test_rank_change_turns_sign_with_direction(before, after):
    there = rank_change(np.array([before]), np.array([after]))
    back = rank_change(np.array([after]), np.array([before]))
    assert there == pytest.approx(-back, abs=1e-12)
    assert -1 < there < 1
    assert np.sign(there) == np.sign(after - before)


@pytest.mark.parametrize("ranks", [(0, 1), (1, 0), (1, -1)])
def test_ranks_count_from_1(ranks):
    before, after = np.array([[rank] for rank in ranks])
    with pytest.raises(InputError, match="a rank below 1: expected ranks that count from 1"):
        rank_change(before, after)


def test_ranks_of_documents():
    # first, third, not among four results, not among two, not in the corpus (padding is no hit)
    queries, documents = np.array([0, 0, 0, 3, 3]), np.int32([4, 0, 3, 2, -1])
    assert ranks(RUN, queries, documents).tolist() == [1, 3, 5, 3, 3]


def test_p_mrr_is_a_mean_over_the_documents_of_each_query():
    # query 0: document 4 from 1 to 4 (3/4), document 1 from 4 to 3 (-1/4): 1/4
    # query 2: document 2 from 4 to absent behind two, 3: 3/4 - 1
    changes = Changes(np.array([2, 0, 0]), np.array([3, 1, 1]), np.int32([2, 4, 1]))
    assert p_mrr(RUN, changes) == pytest.approx([1 / 4, -1 / 4], abs=1e-15)


def test_a_document_outside_the_corpus_stays_where_it_is():
    changes = Changes(np.array([0]), np.array([1]), np.int32([-1]))
    assert p_mrr(RUN, changes).tolist() == [0]


def test_the_lowest_value_of_each_group():
    values, groups = np.array([0.5, 0.25, 2, 0.75, 0]), np.array([7, 7, 3, 7, 9])
    assert group_minimum(values, groups).tolist() == [2, 0.25, 0]


def test_an_instruction_without_judgments_does_not_count_for_robustness():
    """Of group 7 the first is judged, found at rank 1; of 9 the third, at rank 2; of 5 none."""
    qrels = Qrels(np.int64([0, 1, 1, 2, 2]), np.int32([4, 1]), np.float32([1, 1]))
    evidence = Evidence(RUN, qrels, groups=np.int64([7, 7, 9, 5]))
    found = evidence.values(Measure.parse("Robustness@10"))
    assert found == pytest.approx([1, 1 / np.log2(3)])


def test_queries_together():
    qrels = Qrels(np.int64([0, 1, 2, 3, 3]), np.int32([0, 2, 1]), np.float32([1, 2, 3]))
    run, judged = join_groups(RUN, qrels, np.int64([7, 7, 9, 9]))  # the last query is not judged
    assert run.docs.tolist() == [[4, 2, 0, 1], [3, 1, 0, 2]]
    assert run.scores.tolist() == [[4, 4, 3, 2], [4, 3, 2, 1]]
    assert (judged.indptr.tolist(), judged.docs.tolist()) == ([0, 1, 2], [2, 1])
    assert judged.gains.tolist() == [2, 3]


def test_queries_together_without_results():
    nothing = Run(np.full((2, 3), -1, np.int32), np.zeros((2, 3), np.float32))
    qrels = Qrels(np.int64([0, 1, 2]), np.int32([0, 0]), np.float32([1, 1]))
    run, judged = join_groups(nothing, qrels, np.int64([0, 0]))
    assert run.docs.tolist() == [[-1, -1, -1]]
    assert judged.docs.tolist() == [0]


def test_a_document_of_two_queries_of_each_of_two_groups_is_one():
    """In the second group document 3 is at 9 and 8, document 1 at 7 and 6; each counts once."""
    run = Run(
        np.int32([[0, 1], [2, 0], [3, 1], [3, 1]]), np.float32([[5, 4], [3, 2], [9, 7], [8, 6]])
    )
    qrels = Qrels(np.int64([0, 1, 2, 3, 4]), np.int32([0, 2, 3, 3]), np.float32([1, 1, 1, 1]))
    joined, _ = join_groups(run, qrels, np.int64([0, 0, 1, 1]))
    assert joined.docs.tolist() == [[0, 1], [3, 1]]
    assert joined.scores.tolist() == [[5, 4], [9, 7]]
