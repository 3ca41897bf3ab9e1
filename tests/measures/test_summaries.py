from __future__ import annotations

import numpy as np
import pytest

from harness.measures.summaries import SUMMARY_MEASURES, summary_correlations

# against (1, 0) and (0, 2), cosine: 1, 0.8, 1, -0.6; dot: 3, 0.8, 4, -3
HUMAN = np.float32([[1, 0], [0, 2]])
MACHINE = np.float32([[3, 0], [0.8, 0.6], [-2, 0], [-4, -3]])


def test_the_measures_are_those_of_mteb():
    assert SUMMARY_MEASURES == ("cosine_spearman", "cosine_pearson", "dot_spearman", "dot_pearson")


def test_the_nearest_human_summary_counts():
    # nearest by cosine: 1, 0.8, 0, -0.6; by dot product: 3, 1.2, 0, -4
    found = summary_correlations([MACHINE], [HUMAN], [[4, 1, 2, 3]])
    cosine, dot, ratings = [1, 0.8, 0, -0.6], [3, 1.2, 0, -4], [4, 1, 2, 3]
    # ranks 4 3 2 1 against 4 1 2 3: 1 - 6 * (0 + 4 + 0 + 4) / 60
    assert found["cosine_spearman"] == pytest.approx([0.2], abs=1e-12)
    assert found["dot_spearman"] == pytest.approx([0.2], abs=1e-12)
    assert found["cosine_pearson"] == pytest.approx(np.corrcoef(cosine, ratings)[0, 1], abs=1e-6)
    assert found["dot_pearson"] == pytest.approx(np.corrcoef(dot, ratings)[0, 1], abs=1e-6)


def test_texts_are_scored_apart_and_may_differ_in_size():
    found = summary_correlations(
        [MACHINE, MACHINE[:3]], [HUMAN, HUMAN[:1]], [[4, 1, 2, 3], [1, 2, 3]]
    )
    # the second: cosine 1, 0.8, -1 to ratings that rise
    assert found["cosine_spearman"] == pytest.approx([0.2, -1], abs=1e-12)
    assert [values.shape for values in found.values()] == [(2,)] * 4


@pytest.mark.parametrize(
    ("machine", "ratings"),
    [
        (MACHINE, [3, 3, 3, 3]),  # rated evenly
        (np.tile(MACHINE[1], (4, 1)), [1, 2, 3, 4]),  # all alike
        (np.float32([[1, 0], [2, 0], [3, 0], [4, 0]]), [1, 2, 3, 4]),  # alike but for length
    ],
)
def test_a_text_without_differences_is_left_out_of_every_measure(machine, ratings):
    found = summary_correlations([machine, MACHINE], [HUMAN, HUMAN], [ratings, [4, 1, 2, 3]])
    for values in found.values():
        assert np.isnan(values).tolist() == [True, False]


def test_a_vector_of_zeros_is_like_nothing():
    machine = np.float32([[0, 0], [1, 0], [-1, -1]])
    found = summary_correlations([machine], [HUMAN], [[2, 3, 1]])
    assert found["cosine_spearman"] == pytest.approx([1], abs=1e-12)
