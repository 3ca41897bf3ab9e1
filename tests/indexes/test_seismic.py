"""Seismic beside exact sparse search: equal where nothing is pruned, and what it refuses."""

from __future__ import annotations

import os
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from harness.errors import InputError
from harness.indexes import INDEXES
from harness.indexes.faiss_library import load_faiss
from harness.measures.neighbours import neighbour_overlap
from harness.progress import silent
from harness.vectors import Run, Sparse

pytest.importorskip("seismic")

WHOLE = "seismic,query_cut=1000,heap_factor=1e-6"  # no term and no block is left out


def sparse(rows) -> Sparse:
    return Sparse(csr_matrix(np.asarray(rows, np.float32)))


def made(n: int, v: int, density: float, seed: int) -> Sparse:
    """Small whole numbers, which half precision holds, and many sums of which are equal."""
    random = np.random.default_rng(seed)
    return sparse(random.integers(0, 8, size=(n, v)) * (random.random((n, v)) < density))


def search(spec: str, documents: Sparse, queries: Sparse, k: int) -> Run:
    return INDEXES.create(spec).open(documents).search(queries, k, silent).run


def same(one: Run, other: Run) -> None:
    np.testing.assert_array_equal(one.docs, other.docs)
    np.testing.assert_array_equal(one.scores, other.scores)


DOCUMENTS = sparse([[2, 0, 1, 0], [0, 3, 0, 0], [0, 0, 0, 0], [1, 1, 1, 0]])


def test_three_queries_by_hand():
    queries = sparse([[1, 2, 0, 0], [0, 0, 0, 5], [0, 0, 4, 0]])
    found = search(WHOLE, DOCUMENTS, queries, 4)
    assert found.docs.tolist() == [[1, 3, 0, -1], [-1] * 4, [3, 0, -1, -1]]  # a tie: the last row
    assert found.scores.tolist() == [[6, 3, 2, 0], [0] * 4, [4, 4, 0, 0]]


@settings(max_examples=25, deadline=None)
@given(
    n=st.integers(1, 60),
    v=st.integers(1, 30),
    density=st.floats(0, 1),
    seed=st.integers(0, 1000),
)
def test_it_finds_what_exact_search_finds_where_nothing_is_left_out(n, v, density, seed):
    documents, queries = made(n, v, density, seed), made(6, v, density, seed + 1)
    whole = search("exact", documents, queries, n)
    same(search(WHOLE, documents, queries, n), whole)
    same(search(f"{WHOLE},exact_scores=false", documents, queries, n), whole)


def test_what_is_found_is_scored_by_full_vectors_or_by_rounded_ones():
    documents, query = sparse([[0.1], [0.3]]), sparse([[1]])
    assert search(WHOLE, documents, query, 2).scores[0].tolist() == [
        np.float32(x) for x in (0.3, 0.1)
    ]
    rounded = search(f"{WHOLE},exact_scores=false", documents, query, 2).scores[0]
    assert rounded.tolist() == [float(np.float16(x)) for x in (0.3, 0.1)]


def test_fewer_terms_or_blocks_find_less():
    random = np.random.default_rng(0)
    documents, queries = (
        sparse(random.random((n, 40)) * (random.random((n, 40)) < 0.5)) for n in (400, 30)
    )
    whole = search("exact", documents, queries, 10)
    few, strict, usual, every = (
        float(neighbour_overlap(search(spec, documents, queries, 10), whole, 10).mean())
        for spec in ("seismic,query_cut=1", "seismic,heap_factor=1", "seismic", WHOLE)
    )
    assert 0.1 < few < strict < usual <= every == 1


def test_terms_in_any_order_and_zeros_that_are_written_down():
    documents = Sparse(csr_matrix((np.float32([1, 0, 2]), [3, 1, 0], [0, 3, 3]), shape=(2, 4)))
    queries = Sparse(csr_matrix((np.float32([0, 5]), [3, 1], [0, 2]), shape=(1, 4)))
    assert search(WHOLE, documents, queries, 2).docs.tolist() == [[-1, -1]]
    assert search(WHOLE, documents, sparse([[1, 0, 0, 1]]), 2).scores.tolist() == [[3, 0]]


def test_builds_threads_and_batches_give_the_same():
    documents, queries = made(300, 50, 0.2, seed=0), made(40, 50, 0.2, seed=1)
    first = search("seismic", documents, queries, 10)
    searcher = INDEXES.create("seismic").open(documents)
    same(searcher.search(queries, 10, silent).run, first)
    for row in (0, 17, 39):
        one = searcher.search(Sparse(queries.matrix[row]), 10, silent).run
        same(one, Run(first.docs[row : row + 1], first.scores[row : row + 1]))
    faiss = load_faiss()
    threads = faiss.omp_get_max_threads()
    try:
        faiss.omp_set_num_threads(2)
        same(search("seismic", documents, queries, 10), first)
    finally:
        faiss.omp_set_num_threads(threads)


def test_more_queries_than_are_searched_at_a_time(monkeypatch):
    documents, queries = made(60, 20, 0.3, seed=0), made(11, 20, 0.3, seed=1)
    whole, told = search("seismic", documents, queries, 5), list[int]()
    monkeypatch.setattr("harness.indexes.seismic.QUERIES", 4)
    searcher = INDEXES.create("seismic").open(documents)
    found = searcher.search(queries, 5, lambda stage, done, total, unit: told.append(done))
    same(found.run, whole)
    assert told == [4, 8, 11]


def test_more_terms_than_a_short_index_numbers(tmp_path):
    width = (1 << 16) + 2
    columns = [3, 3, width - 1]
    documents = Sparse(csr_matrix((np.float32([1, 2, 3]), columns, [0, 1, 3]), shape=(2, width)))
    with pytest.raises(InputError, match="65,538: choose seismic,large_vocabulary=true"):
        search("seismic", documents, documents, 2)
    found = search(f"{WHOLE},large_vocabulary=true", documents, documents, 2)
    assert found.scores.tolist() == [[2, 1], [13, 2]]


def test_a_structure_is_kept_and_searched_with_other_parameters(tmp_path):
    documents, queries = made(200, 40, 0.3, seed=0), made(9, 40, 0.3, seed=1)
    with_others = f"{WHOLE},exact_scores=false"
    index = INDEXES.create("seismic")
    first = index.open(documents, tmp_path)
    assert first.info.reused is False
    again = index.open(documents, tmp_path)
    assert again.info.reused is True
    same(first.search(queries, 10, silent).run, again.search(queries, 10, silent).run)
    whole = INDEXES.create(with_others).open(documents, tmp_path)
    assert whole.info.reused is True
    same(whole.search(queries, 200, silent).run, search("exact", documents, queries, 200))
    for spec in ("seismic,n_postings=9", "seismic,summary_energy=0.5", "seismic,max_fraction=2",
                 "seismic,centroid_fraction=0.2", "seismic,min_cluster_size=3",
                 "seismic,large_vocabulary=true"):  # fmt: skip
        assert not INDEXES.create(spec).open(documents, tmp_path).info.reused
        assert INDEXES.create(spec).open(documents, tmp_path).info.reused
    assert {path.name for path in tmp_path.rglob("*.*")} == {"structure.json"}


def test_memory_is_of_the_lists_and_of_the_vectors_that_score():
    documents = made(200, 40, 0.3, seed=0)
    index = INDEXES.create("seismic")
    built = index.make(documents, silent)
    lists = index.size(built)
    assert lists > 4 * documents.matrix.nnz  # a term and a weight in two bytes each
    assert index.searcher(built, documents).info.bytes == lists + documents.bytes
    rounded = INDEXES.create("seismic,exact_scores=false")
    assert rounded.searcher(built, documents).info.bytes == lists


def test_the_library_writes_nothing_where_results_go(capfd, tmp_path):
    index = INDEXES.create("seismic")
    for _ in range(2):
        index.open(DOCUMENTS, tmp_path).search(DOCUMENTS, 2, silent)
    assert capfd.readouterr() == ("", "")
    os.write(1, b"after")
    assert capfd.readouterr().out == "after"


def test_a_file_that_is_no_index(tmp_path):
    path = tmp_path / "structure"
    path.write_bytes(b"no index at all")
    with pytest.raises(InputError, match="structure: not an index of this seismic"):
        INDEXES.create("seismic").load(path)


def test_a_file_that_cannot_be_written(tmp_path):
    index = INDEXES.create("seismic")
    with pytest.raises(OSError, match=r"."):
        index.save(index.make(DOCUMENTS, silent), tmp_path / "nowhere" / "structure")


@pytest.mark.parametrize(
    ("documents", "queries", "message"),
    [
        ([[1, -0.5]], [[1, 1]], "a document's term weighs -0.5, and seismic takes weights from 0"),
        ([[1, 1]], [[1, -2]], "a query's term weighs -2, and seismic takes weights from 0"),
        ([[1, 1e5]], [[1, 1]], "weighs 100000, and seismic holds weights up to 65504"),
        ([[1, np.nan]], [[1, 1]], "a document's sparse vector holds NaN or infinity"),
        ([[1, 1]], [[np.inf, 1]], "a query's sparse vector holds NaN or infinity"),
        ([[1, 1]], [[1, 1, 1]], "queries have 3 terms and documents 2: expected one vocabulary"),
    ],
)
def test_vectors_that_it_cannot_take(documents, queries, message):
    with pytest.raises(InputError, match=message):
        search("seismic", sparse(documents), sparse(queries), 1)


@pytest.mark.parametrize(
    ("parameter", "message"),
    [
        ("n_postings=0", "n_postings=0: expected at least 1"),
        ("min_cluster_size=0", "min_cluster_size=0: expected at least 1"),
        ("query_cut=0", "query_cut=0: expected at least 1"),
        ("centroid_fraction=0", "centroid_fraction=0: expected more than 0, at most 1"),
        ("summary_energy=1.5", "summary_energy=1.5: expected more than 0, at most 1"),
        ("heap_factor=nan", "heap_factor=nan: expected a finite number"),
        ("max_fraction=0.5", "max_fraction=0.5: expected at least 1"),
    ],
)
def test_parameters_that_it_cannot_take(parameter, message):
    with pytest.raises(InputError, match=message):
        INDEXES.create(f"seismic,{parameter}")


def test_it_says_how_to_install_what_is_not_there(monkeypatch):
    monkeypatch.setitem(sys.modules, "seismic", None)
    with pytest.raises(InputError, match=r"seismic cannot be imported \(.*\[seismic\]'$"):
        INDEXES.create("seismic").require("sparse")
