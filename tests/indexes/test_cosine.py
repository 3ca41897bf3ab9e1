"""Every index of dense vectors by cosine: lengths of documents and queries play no part."""

from __future__ import annotations

import numpy as np
import pytest

from harness.errors import InputError
from harness.indexes import INDEXES
from harness.progress import silent
from harness.vectors import Dense, Sparse
from harness.vectors.lengths import unit

SPECS = [
    "exact,metric=cosine", "hnsw,metric=cosine", "faiss:Flat,metric=cosine",
    "gpu,devices=cpu,metric=cosine", "truncate,dim=2,metric=cosine", "pca,dim=2,metric=cosine",
]  # fmt: skip
MORE = [("hnswlib", "hnswlib,metric=cosine"), ("usearch", "usearch,metric=cosine")]


def check(spec: str) -> None:
    """Cosines 1, 0.8 and 0 with documents of lengths 1, 500 and 3e18."""
    documents = np.float32([[1, 0], [400, 300], [0, 3e18]])
    queries = Dense(np.float32([[1e-30, 0], [7, 0]]))
    run = INDEXES.create(spec).open(Dense(documents)).search(queries, 3, silent).run
    assert run.docs.tolist() == [[0, 1, 2]] * 2
    np.testing.assert_allclose(run.scores, [[1, 0.8, 0]] * 2, atol=1e-6)


@pytest.mark.parametrize("spec", SPECS)
def test_lengths_play_no_part(spec):
    check(spec)


@pytest.mark.parametrize(("library", "spec"), MORE)
def test_lengths_play_no_part_in_graphs_of_libraries(library, spec):
    pytest.importorskip(library)
    check(spec)


def test_vectors_that_were_given_stay_as_they_are():
    values = np.float32([[3, 4], [0, 2]])
    before = values.copy()
    searcher = INDEXES.create("exact,metric=cosine").open(Dense(values))
    searcher.search(Dense(values), 1, silent)
    np.testing.assert_array_equal(values, before)


@pytest.mark.parametrize("spec", ["hnsw", "int8", "faiss:IVF4_Flat", "binary"])
def test_it_is_the_index_over_vectors_of_length_1(spec):
    random = np.random.default_rng(0)
    documents, queries = (random.standard_normal((n, 8)).astype(np.float32) for n in (300, 5))
    found = INDEXES.create(f"{spec},metric=cosine").open(Dense(documents))
    scaled = INDEXES.create(spec).open(Dense(unit(documents.copy())))
    run = found.search(Dense(queries), 5, silent).run
    expected = scaled.search(Dense(unit(queries.copy())), 5, silent).run
    np.testing.assert_array_equal(run.docs, expected.docs)
    np.testing.assert_array_equal(run.scores, expected.scores)


def test_what_has_no_cosine_is_refused():
    from scipy.sparse import csr_matrix

    with pytest.raises(InputError, match="got sparse vectors where only dense ones"):
        INDEXES.create("exact,metric=cosine").open(Sparse(csr_matrix(np.eye(2, dtype=np.float32))))
    assert str(INDEXES.resolve("exact")) == "exact,block=262144"
