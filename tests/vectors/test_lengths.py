"""Lengths of vectors of any numbers that float32 holds, and what is refused with its row."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from harness.errors import InputError
from harness.indexes import INDEXES
from harness.progress import silent
from harness.vectors import Dense, MultiVector, Run, Sparse
from harness.vectors.lengths import Extent, check_documents, measure, unit

TINY = 2.0**-149  # the smallest number of float32


def test_vectors_of_any_length_have_length_1_afterwards():
    """The diagonal is 0.7071 on either side, from the largest numbers to the smallest."""
    rows = [[3e38, 3e38], [1e20, 1e20], [1, 1], [1e-25, 1e-25], [TINY, TINY], [3 * TINY, 4 * TINY]]
    found = unit(np.float32([*rows, [0, 0]]))
    np.testing.assert_allclose(found[:5], 0.5**0.5, rtol=1e-6)
    np.testing.assert_allclose(found[5:], [[0.6, 0.8], [0, 0]], rtol=1e-6)


def test_lengths_whose_squares_float32_does_not_hold():
    rows = np.float32([[3e38, 3e38], [3e20, 4e20], [3, 4], [3e-25, 4e-25], [3 * TINY, 4 * TINY]])
    expected = [np.inf, 5e20, 5, 5e-25, 5 * TINY]
    np.testing.assert_allclose(measure(rows), np.float32(expected), rtol=1e-6)
    assert measure(np.zeros((2, 3), np.float32)).tolist() == [0, 0]


def test_extents_leave_zeros_out():
    values = np.float32([[0, 0], [3e-25, 4e-25], [3, 4]])
    found = check_documents(values, block=1)
    assert (found.least, found.most) == (pytest.approx(5e-25), 5)
    assert check_documents(values[:1]) == Extent()


def search(spec: str, documents: object, queries: object) -> Run:
    made = [each if isinstance(each, Sparse | MultiVector) else Dense(np.float32(each))
            for each in (documents, queries)]  # fmt: skip
    return INDEXES.create(spec).open(made[0]).search(made[1], 2, silent).run


def several(*texts: list[list[float]]) -> MultiVector:
    offsets = np.cumsum([0, *map(len, texts)])
    return MultiVector(np.float32([token for text in texts for token in text]), offsets)


SHORT = [[1e-25, 0], [2e-25, 0], [0, 3e-25]]


@pytest.mark.parametrize("spec", ["exact", "hnsw", "faiss:Flat", "gpu,devices=cpu"])
def test_short_documents_are_told_apart_by_queries_of_usual_length(spec):
    run = search(spec, SHORT, [[1, 0]] * 5)
    assert run.docs[0].tolist() == [1, 0]
    np.testing.assert_allclose(run.scores[0], [2e-25, 1e-25], rtol=1e-6)


@pytest.mark.parametrize("spec", ["exact", "hnsw", "faiss:Flat", "int8", "gpu,devices=cpu"])
@pytest.mark.parametrize("documents", [SHORT, [[1, 0], [0, 1], [1e-25, 0]]])
def test_products_that_float32_loses_are_refused_with_the_row(spec, documents):
    with pytest.raises(InputError, match=r"query row 1 are of size 1e-25 .* from 1e-25"):
        search(spec, documents, [[1, 0], [1e-25, 0]])


@pytest.mark.parametrize("queries", [[[1e-25, 0]], [[1e19, 0]]])
def test_distances_that_float32_loses_are_refused(queries):
    with pytest.raises(InputError, match="query row 0"):
        search("faiss:Flat,metric=l2", [[1, 0], [0, 1]], queries)


def test_distances_of_short_documents_are_refused():
    with pytest.raises(InputError, match="vectors of documents are from 1e-25 to 3e-25 long"):
        search("faiss:Flat,metric=l2", SHORT, [[1, 0]])


def test_tokens_of_any_length():
    documents = several([[1e-25, 0]], [[2e-25, 0], [0, 1e-25]])
    run = search("exact", documents, several([[1, 0]]))
    assert run.docs.tolist() == [[1, 0]]
    np.testing.assert_allclose(run.scores, [[2e-25, 1e-25]], rtol=1e-6)
    for spec in ("exact", "muvera", "pooled"):
        with pytest.raises(InputError, match="query row 1"):
            search(spec, documents, several([[1, 0]], [[1, 0], [1e-25, 0]]))


def test_weights_of_any_size():
    documents = Sparse(csr_matrix(np.float32([[1e-25, 0], [2e-25, 1e30]])))
    run = search("exact", documents, Sparse(csr_matrix(np.float32([[1, 0]]))))
    assert run.docs.tolist() == [[1, 0]]
    for weights in ([0, 1e30], [1e-25, 0]):
        with pytest.raises(InputError, match="query row 1"):
            search("exact", documents, Sparse(csr_matrix(np.float32([[1, 0], weights]))))


@pytest.mark.parametrize("kind", [Dense, lambda rows: MultiVector(rows, np.array([0, 2]))])
def test_what_is_masked_is_no_number(kind):
    rows = np.ma.masked_array(np.ones((2, 2), np.float32), [[0, 0], [0, 1]])
    with pytest.raises(InputError, match="vector of row 1 has masked numbers"):
        kind(rows)
