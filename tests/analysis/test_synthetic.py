"""Synthetic vectors: their shape, their dimension, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from harness.analysis.geometry import lid, neighbours
from harness.analysis.synthetic import draw_clusters, subspace
from harness.errors import InputError


def mean_lid(values: np.ndarray) -> float:
    return float(lid(neighbours(values, 50).distances).mean())


@pytest.mark.parametrize("values", [subspace(90, 24, 5), draw_clusters(90, 24, 5, clusters=3)])
def test_vectors_are_float32_of_length_one(values):
    assert values.shape == (90, 24)
    assert values.dtype == np.float32
    assert np.linalg.norm(values, axis=1) == pytest.approx(1, abs=1e-6)


def test_a_subspace_has_its_rank_and_a_cluster_one_more_for_its_centre():
    assert np.linalg.matrix_rank(subspace(90, 24, 5), tol=1e-4) == 5
    assert np.linalg.matrix_rank(draw_clusters(90, 24, 5, clusters=1), tol=1e-4) == 6
    assert np.linalg.matrix_rank(draw_clusters(90, 24, 5, clusters=2), tol=1e-4) == 12


def test_local_dimension_follows_the_rank():
    # vectors of length 1 in r dimensions lie on a sphere of r - 1; estimates fall short as r grows
    assert mean_lid(subspace(2000, 64, 4)) == pytest.approx(3, rel=0.1)
    assert mean_lid(subspace(2000, 64, 8)) == pytest.approx(7, rel=0.1)
    assert mean_lid(subspace(2000, 64, 16)) == pytest.approx(15, rel=0.25)
    of_clusters = [mean_lid(draw_clusters(2000, 64, rank, clusters=4)) for rank in (4, 8, 16)]
    assert of_clusters[0] == pytest.approx(4, rel=0.1)  # around a centre nothing is lost
    assert of_clusters == sorted(of_clusters)


def test_local_dimension_does_not_depend_on_the_width():
    assert mean_lid(subspace(1500, 16, 6)) == pytest.approx(mean_lid(subspace(1500, 256, 6)), 0.05)


def test_without_spread_there_are_as_many_vectors_as_clusters():
    values = draw_clusters(200, 16, 3, clusters=7, spread=0)
    assert len(np.unique(values, axis=0)) == 7


def test_neighbours_stand_out_more_in_clusters():
    def nearest(values: np.ndarray) -> float:
        cosines = values @ values.T
        np.fill_diagonal(cosines, -1)
        return float(cosines.max(axis=1).mean())

    assert nearest(draw_clusters(500, 64, 32, clusters=10)) > nearest(subspace(500, 64, 32)) + 0.2


def test_a_seed_decides():
    assert subspace(20, 8, 3, seed=4).tobytes() == subspace(20, 8, 3, seed=4).tobytes()
    assert subspace(20, 8, 3, seed=4).tobytes() != subspace(20, 8, 3, seed=5).tobytes()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((10, 8, 1), "rank 1: expected 2 to 8, the width of the vectors"),
        ((10, 8, 9), "rank 9: expected 2 to 8"),
        ((0, 8, 2), "0 vectors in 1 cluster: expected at least one of each"),
    ],
)
def test_what_is_refused(given, message):
    with pytest.raises(InputError, match=message):
        subspace(*given)


def test_no_clusters_are_refused():
    with pytest.raises(InputError, match="10 vectors in 0 clusters"):
        draw_clusters(10, 8, 2, clusters=0)
