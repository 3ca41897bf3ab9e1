from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.vectors import Run, ranking

QUICK = settings(max_examples=150, deadline=None, derandomize=True)
HUGE, TINY = 3.4028234663852886e38, 1.401298464324817e-45  # FLT_MAX and the smallest denormal
NASTY = (0.0, -0.0, TINY, -TINY, 1.1754943508222875e-38, HUGE, -HUGE, 1.0, -1.0, 1.0000001192092896)

scores = st.one_of(
    st.sampled_from(NASTY), st.floats(width=32, allow_nan=False, allow_infinity=False)
)


def keys_of(values: list[float]) -> ranking.Keys:
    """Keys [1, n] of one query's scores, in row order."""
    return ranking.pack(np.array([values], np.float32), np.arange(len(values))[None, :])


def rule(values: list[float]) -> list[int]:
    """Rows in the order of the rule, by comparison of Python floats."""
    return sorted(range(len(values)), key=lambda row: (-values[row], -row))


@QUICK
@given(st.lists(scores, min_size=1, max_size=30))
def test_a_key_gives_back_its_score_and_row(values):
    run = ranking.unpack(keys_of(values))
    assert run.docs.tolist() == [list(range(len(values)))]
    assert run.scores.tolist() == [values]  # -0.0 == 0.0
    assert (run.docs.dtype, run.scores.dtype) == (np.int32, np.float32)
    assert not np.signbit(run.scores[run.scores == 0]).any()


@QUICK
@given(st.lists(scores, min_size=1, max_size=30), st.integers(1, 40))
def test_best_follows_the_rule_also_at_the_cut(values, k):
    run = ranking.unpack(ranking.best(keys_of(values), k))
    expected = rule(values)[:k]
    padding = k - len(expected)
    assert run.docs.tolist() == [expected + [-1] * padding]
    assert run.scores.tolist() == [[values[row] for row in expected] + [0.0] * padding]


@QUICK
@given(st.lists(scores, min_size=2, max_size=30), st.integers(1, 8), st.data())
def test_merging_the_best_of_two_blocks_is_the_best_of_all(values, k, data):
    cut = data.draw(st.integers(1, len(values) - 1))
    keys = keys_of(values)
    parts = [ranking.best(keys[:, :cut], k), ranking.best(keys[:, cut:], k)]
    merged = ranking.best(np.concatenate(parts, axis=1), k)
    assert merged.tolist() == ranking.best(keys, k).tolist()


def test_ties_go_to_the_higher_row():
    # rows 0..9 tie; rows 10 and 11 rank above; a cut of 4 goes through the tie
    run = ranking.unpack(ranking.best(keys_of([0.5] * 10 + [0.75, 1.0]), 4))
    assert run.docs.tolist() == [[11, 10, 9, 8]]


def test_ties_across_the_cut_where_a_partition_precedes_the_sort():
    run = ranking.unpack(ranking.best(keys_of([0.0, -0.0] * 50), 3))
    assert run.docs.tolist() == [[99, 98, 97]]


def test_rows_are_ranked_apart():
    keys = ranking.pack(np.float32([[1, 2], [2, 1]]), np.array([[0, 1], [0, 1]]))
    assert ranking.unpack(ranking.best(keys, 2)).docs.tolist() == [[1, 0], [0, 1]]


@pytest.mark.parametrize("k", [2, 4, 20])
def test_padding_ranks_below_the_lowest_score(k):
    packed = ranking.pack(np.float32([[-HUGE, HUGE, 7]]), np.array([[0, -1, -1]]))
    run = ranking.unpack(ranking.best(packed, k))
    assert run.docs.tolist() == [[0] + [-1] * (k - 1)]
    assert run.scores.tolist() == [[-HUGE] + [0.0] * (k - 1)]


def test_the_largest_row_survives():
    run = ranking.unpack(ranking.pack(np.float32([[0.5]]), np.array([[2**31 - 2]])))
    assert (run.docs.tolist(), run.scores.tolist()) == ([[2**31 - 2]], [[0.5]])


def test_packing_leaves_its_input_alone():
    values = np.float32([[-0.0, 1.0]])
    ranking.pack(values, np.array([[0, -1]]))
    assert np.signbit(values[0, 0])
    assert values[0, 1] == 1.0


def test_without_drops_one_document_or_the_last():
    run = Run(
        np.int32([[3, 1, 2], [3, 1, 2], [3, 1, 2], [3, -1, -1]]),
        np.float32([[9, 8, 7], [9, 8, 7], [9, 8, 7], [9, 0, 0]]),
    )
    # found first; not among the results; nothing to drop (and padding is not "document -1")
    left = ranking.without(run, np.int32([3, 5, -1, -1]))
    assert left.docs.tolist() == [[1, 2], [3, 1], [3, 1], [3, -1]]
    assert left.scores.tolist() == [[8, 7], [9, 8], [9, 8], [9, 0]]


@QUICK
@given(st.lists(scores, min_size=2, max_size=12), st.integers(-1, 12))
def test_a_search_one_deeper_without_itself_is_a_search_of_the_others(values, own):
    k = len(values) - 1
    left = ranking.without(
        ranking.unpack(ranking.best(keys_of(values), k + 1)), np.array([own], np.int32)
    )
    assert left.docs.tolist() == [[row for row in rule(values) if row != own][:k]]


def test_documents_rank_by_their_best_passage():
    """Passages 0 and 1 belong to document 1, passages 2 and 3 to document 0, passage 4 to 2."""
    parents = np.int32([1, 1, 0, 0, 2])
    run = Run(
        np.int32([[4, 1, 0, 2, 3], [3, 1, 4, -1, -1]]),
        np.float32([[9, 8, 7, 6, 5], [4, 4, 4, 0, 0]]),
    )
    documents, sure = ranking.by_parent(run, parents, 3)
    assert documents.docs.tolist() == [[2, 1, 0], [2, 1, 0]]  # ties: the higher document row first
    assert documents.scores.tolist() == [[9, 8, 6], [4, 4, 4]]
    assert sure.tolist() == [True, True]  # 6 > 5; the second ranking ended
    cut, sure = ranking.by_parent(Run(run.docs[:, :2], run.scores[:, :2]), parents, 2)
    assert cut.docs.tolist() == [[2, 1], [1, 0]]
    assert sure.tolist() == [False, False]  # another passage may score as high as the last


@QUICK
@given(st.lists(st.tuples(scores, st.integers(0, 4)), min_size=1, max_size=12), st.integers(1, 6))
def test_the_rule_holds_for_documents_of_passages(passages, k):
    values, parents = zip(*passages, strict=True)
    every = ranking.unpack(ranking.best(keys_of(values), len(values)))
    found, sure = ranking.by_parent(every, np.array(parents, np.int32), k)
    best = {p: max(np.float32(v) for v, q in passages if q == p) for p in parents}
    expected = sorted(best, key=lambda p: (-best[p], -p))[:k]
    assert found.docs.tolist() == [expected + [-1] * (k - len(expected))]
    for m in range(1, len(values)):  # whenever it is sure, it is right
        part = Run(every.docs[:, :m], every.scores[:, :m])
        found, sure = ranking.by_parent(part, np.array(parents, np.int32), k)
        if sure[0] and len(expected) == k:
            assert found.docs[0].tolist() == expected


def test_cells_become_a_run():
    run = ranking.of_cells(
        np.array([0, 0, 2, 2, 2]),
        np.int32([4, 7, 1, 2, 3]),
        np.float32([1, 1, 3, 5, 4]),
        q=3,
        k=2,
    )
    assert run.docs.tolist() == [[7, 4], [-1, -1], [2, 3]]
    assert run.scores.tolist() == [[1, 1], [0, 0], [5, 4]]


def test_the_best_are_ordered_anew_and_the_others_follow():
    run = Run(np.int32([[3, 1, 0, 2], [2, 0, -1, -1]]), np.float32([[9, 8, 7, 6], [5, 4, 0, 0]]))
    cells = np.array([0, 0, 1, 1]), np.int32([3, 1, 2, 0])
    found = ranking.reorder(run, cells, np.float32([0.1, 0.4, -3, -2]), depth=2, k=4)
    assert found.docs.tolist() == [[1, 3, 0, 2], [0, 2, -1, -1]]
    assert found.scores[0] == pytest.approx([0.4, 0.1, -0.9, -1.9])
    assert found.scores[1].tolist() == [-2, -3, 0, 0]


def test_equal_scores_rank_by_document():
    run = Run(np.int32([[0, 1, 2]]), np.float32([[3, 2, 1]]))
    cells = np.zeros(3, np.int64), np.int32([0, 1, 2])
    assert ranking.reorder(run, cells, np.float32([1, 1, 1]), depth=3, k=2).docs.tolist() == [
        [2, 1]
    ]
