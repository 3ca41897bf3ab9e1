from __future__ import annotations

from random import Random

import numpy as np
import pytest

from harness.data import Clustering
from harness.errors import InputError
from harness.kinds import Verdict
from harness.kinds.clustering import ClusteringKind
from harness.measures.asked import Measure
from harness.progress import silent

# four far corners, ten texts in each; a text says where it lies
CORNERS = [(0, 0), (0, 9), (50, 0), (50, 9)]
TEXTS = [f"{x} {y + i / 100}" for x, y in CORNERS for i in range(10)]
CORNER = [letter for letter in "abcd" for _ in range(10)]
SIDE = [side for side in ("left", "right") for _ in range(20)]


def judged(data: Clustering) -> Verdict:
    (_, texts) = ClusteringKind().parts(data)["texts"]
    vectors = {"texts": np.float32([text.split() for text in texts])}
    return ClusteringKind().judge(vectors, data, [Measure("v_measure")], seed=0, progress=silent)


def test_all_texts_are_encoded_or_those_that_are_drawn():
    assert ClusteringKind().parts(Clustering(TEXTS, (SIDE,))) == {"texts": ("text", TEXTS)}
    drawn = Random(42).sample(range(40), 5)
    assert ClusteringKind().parts(Clustering(TEXTS, (SIDE,), drawn=5)) == {
        "texts": ("text", [TEXTS[row] for row in drawn])
    }


def test_clusters_that_are_the_labels_of_each_level_score_1():
    found = judged(Clustering(TEXTS, (SIDE, CORNER), sample=200))
    assert found.scores["v_measure"].mean == pytest.approx(1)
    assert found.per_query["level"] == [0] * 10 + [1] * 10
    assert found.per_query["v_measure"] == pytest.approx(np.ones(20))
    assert found.counts == {"texts": 40, "texts_drawn": 40, "levels": 2}
    assert found.warnings == []


def test_a_mean_over_levels_lies_in_its_interval():
    """The second level's labels have nothing to do with where texts lie."""
    crossed = ["x", "y"] * 20
    found = judged(Clustering(TEXTS, (SIDE, crossed), sample=200))
    levels = found.per_query["v_measure"].reshape(2, 10)
    assert levels[0] == pytest.approx(np.ones(10))
    assert (levels[1] < 0.1).all()
    score = found.scores["v_measure"]
    assert score.mean == pytest.approx(levels.mean())
    assert score.low < score.mean < score.high


def test_a_text_that_a_level_leaves_out_is_left_out_there():
    """Half of each corner has no label on the second level, where it would be a fifth label."""
    part = [label if row % 2 else None for row, label in enumerate(CORNER)]
    found = judged(Clustering(TEXTS, (SIDE, part), sample=200))
    assert found.scores["v_measure"].mean == pytest.approx(1)


def test_a_level_of_which_nothing_is_drawn_is_left_out():
    drawn = Random(42).sample(range(40), 4)
    rare = [None if row in drawn else CORNER[row] for row in range(40)]
    found = judged(Clustering(TEXTS, (SIDE, rare), drawn=4, sample=50))
    assert found.per_query["level"] == [0] * 10
    assert found.counts == {"texts": 40, "texts_drawn": 4, "levels": 2}


def test_sets_are_clustered_apart():
    """Left and right apart, each of its two corners; then with labels that say nothing."""
    sets = np.repeat(np.int64([3, 8]), 20)
    found = judged(Clustering(TEXTS, (CORNER,), sets=sets))
    assert found.per_query["v_measure"] == pytest.approx([1, 1])
    assert found.per_query["level"] == [0, 0]
    crossed = judged(Clustering(TEXTS, ([*CORNER[:20], *["x", "y"] * 10],), sets=sets))
    assert crossed.per_query["v_measure"] == pytest.approx([1, 0])
    assert crossed.scores["v_measure"].mean == pytest.approx(0.5)


def test_more_labels_than_a_sample_has_rows_are_refused():
    with pytest.raises(InputError, match="has 4 labels and a sample 3 rows"):
        judged(Clustering(TEXTS, (CORNER,), sample=3))
