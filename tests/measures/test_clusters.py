from __future__ import annotations

from random import Random

import numpy as np
import pytest

from harness.errors import InputError
from harness.measures.clusters import Resampling, cluster_levels, cluster_sets, v_measure
from harness.progress import silent


def v_measures(*given, random, progress=silent, **resampling) -> np.ndarray:
    """[levels, repetitions]"""
    found = cluster_levels(
        *given, random=random, resampling=Resampling(**resampling), progress=progress
    )
    return np.array([v_measure(level) for level in found])


def set_v_measures(*given, **options) -> np.ndarray:
    """[sets]"""
    return v_measure(cluster_sets(*given, **options))


# four far corners, ten points in each
CORNERS = np.float32([[0, 0], [0, 9], [50, 0], [50, 9]])
VECTORS = np.repeat(CORNERS, 10, axis=0) + np.tile(np.float32([[0, 0.1], [0.1, 0]]), (20, 1))
CORNER = np.repeat(list("abcd"), 10)
SIDE = np.repeat(["left", "right"], 20)


def test_clusters_that_are_the_labels_score_1():
    found = v_measures(VECTORS, [SIDE, CORNER], random=Random(42), repetitions=2, sample=100)
    assert found == pytest.approx(np.ones((2, 2)), abs=1e-12)


def test_v_measure_by_hand():
    # k-means finds left and right; labels x y x y, each on both sides: nothing is shared
    crossed = np.tile(np.repeat(["x", "y"], 10), 2)
    assert set_v_measures(VECTORS, crossed, np.zeros(40, int)) == pytest.approx([0], abs=1e-12)
    # labels 30 to 10, clusters 20 and 20, the second of them 10 to 10:
    # H(label) 0.811278 bits, H(cluster) 1, H(label | cluster) 0.5, so V = 2 * 0.311278 / 1.811278
    odd = np.where(CORNER == "d", "y", "x")
    assert set_v_measures(VECTORS, odd, np.zeros(40, int)) == pytest.approx([0.343711], abs=1e-6)


def test_sets_are_clustered_apart():
    # corners a and d, then b alone, then c with labels that are not to be seen
    sets = np.repeat([5, 3, 7, 5], 10)
    labels = np.concatenate([CORNER[:20], np.tile(["c", "C"], 5), CORNER[30:]])
    found = set_v_measures(VECTORS, labels, sets)
    assert found[0] == 1  # one label
    assert found[1] == pytest.approx(1, abs=1e-12)
    assert found[2] == pytest.approx(1, abs=1e-12)  # the two points that are repeated there
    assert found.shape == (3,)


def test_each_sample_goes_on_where_the_last_one_ended():
    random = np.random.default_rng(0)
    vectors = random.normal(size=(60, 3)).astype(np.float32)
    labels = random.integers(4, size=60)
    options = {"sample": 80, "batch": 32}
    whole = v_measures(vectors, [labels, labels], random=Random(42), repetitions=2, **options)
    assert len(set(whole.ravel().tolist())) == 4
    going = Random(42)
    parts = [v_measures(vectors, [labels], random=going, repetitions=1, **options) for _ in "1234"]
    assert whole.ravel().tolist() == [float(part[0, 0]) for part in parts]


def test_names_of_labels_do_not_matter():
    random = np.random.default_rng(1)
    vectors = random.normal(size=(60, 3)).astype(np.float32)
    labels = random.integers(12, size=60)
    numbers, texts = (
        v_measures(vectors, [named], random=Random(0), repetitions=2, sample=90)
        for named in (labels, labels.astype(str))
    )
    assert numbers == pytest.approx(texts, abs=1e-12)


def test_fewer_points_than_clusters_are_no_trouble():
    same = np.zeros((8, 2), np.float32)
    assert set_v_measures(same, list("aabbccdd"), np.zeros(8, int)) == pytest.approx([0], abs=1e-12)


def test_progress_counts_clusterings():
    told = []

    def progress(*said):
        told.append(said)

    v_measures(
        VECTORS, [SIDE, CORNER], random=Random(0), repetitions=1, sample=40, progress=progress
    )
    set_v_measures(VECTORS, SIDE, np.zeros(40, int), progress=progress)
    assert told == [
        ("cluster", 1, 2, "clusterings"),
        ("cluster", 2, 2, "clusterings"),
        ("cluster", 1, 1, "sets"),
    ]


def test_more_labels_than_rows_in_a_sample_are_refused():
    line = "level 1 has 4 labels and a sample 3 rows: expected at least one row a label"
    with pytest.raises(InputError, match=f"^{line}$"):
        v_measures(VECTORS, [SIDE, CORNER], random=Random(0), sample=3)
