"""Compressed vectors: what is searched, how it is scored again, beside independent computations."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import InputError
from harness.indexes import INDEXES
from harness.indexes.compressed import principal
from harness.indexes.exact import Exact
from harness.progress import silent
from harness.vectors import Dense, Run

ALL = ["truncate,dim=8", "pca,dim=8", "int8", "binary,oversample=0"]


def made(n: int, d: int = 24, seed: int = 0) -> Dense:
    values = np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32) + 0.3
    return Dense(values / np.linalg.norm(values, axis=1, keepdims=True))


def search(spec: str, documents: Dense, queries: Dense, k: int) -> Run:
    return INDEXES.create(spec).open(documents).search(queries, k, silent).run


def same(one: Run, other: Run) -> None:
    np.testing.assert_array_equal(one.docs, other.docs)
    np.testing.assert_array_equal(one.scores, other.scores)


def ranked(scores: np.ndarray, k: int) -> list[list[int]]:
    """The one rule, written out: score descending, ties by row descending."""
    return [sorted(range(len(row)), key=lambda doc: (-row[doc], -doc))[:k] for row in scores]


def by_doc(run: Run) -> np.ndarray:
    """Scores [q, n] of a run that holds every document."""
    found = np.empty(run.scores.shape, np.float32)
    np.put_along_axis(found, run.docs.astype(np.int64), run.scores, axis=1)
    return found


def test_truncated_vectors_are_compared_by_cosine():
    documents, queries = made(200), made(9, seed=1)
    cut, asked = documents.values[:, :8].astype(float), queries.values[:, :8].astype(float)
    cosines = (asked @ cut.T) / np.outer(np.linalg.norm(asked, axis=1), np.linalg.norm(cut, axis=1))
    found = search("truncate,dim=8", documents, queries, 200)
    np.testing.assert_allclose(by_doc(found), cosines, atol=1e-6)
    assert found.docs[:, :10].tolist() == ranked(cosines, 10)


def test_vectors_that_are_not_of_length_1_keep_their_length():
    documents = Dense(np.array([[3, 0, 4], [6, 0, 8], [0, 5, 12]], np.float32))
    queries = Dense(np.array([[2, 0, 0]], np.float32))
    found = search("truncate,dim=2", documents, queries, 3)
    assert found.docs.tolist() == [[1, 0, 2]]
    assert found.scores.tolist() == [[20, 10, 0]]  # (10, 0), (5, 0) and (0, 13)


def test_principal_axes_are_those_of_a_truncated_svd():
    from sklearn.decomposition import TruncatedSVD

    documents, queries = made(200), made(9, seed=1)
    fitted = TruncatedSVD(8, algorithm="arpack").fit(documents.values.astype(float))
    axes = principal(documents.values)[:, :8]
    np.testing.assert_allclose(np.abs(fitted.components_ @ axes), np.eye(8), atol=1e-6)
    cut = fitted.transform(documents.values.astype(float))
    cut /= np.linalg.norm(cut, axis=1, keepdims=True)
    asked = fitted.transform(queries.values.astype(float))
    asked /= np.linalg.norm(asked, axis=1, keepdims=True)
    found = search("pca,dim=8", documents, queries, 200)
    np.testing.assert_allclose(by_doc(found), asked @ cut.T, atol=1e-6)


def test_principal_axes_of_many_documents_are_fitted_on_some(monkeypatch):
    values = made(500).values
    whole = principal(values)
    assert np.array_equal(whole, principal(values))
    np.testing.assert_allclose(np.abs(whole.T @ principal(values, 1)), np.eye(24), atol=1e-6)
    monkeypatch.setattr("harness.indexes.compressed.TRAINING", 100)
    few = principal(values)
    assert np.array_equal(few, principal(values))
    assert np.abs(few.T @ principal(values, 1)).min(axis=0).max() < 0.9


def test_as_many_dimensions_as_there_are_change_nothing():
    documents, queries = made(300), made(9, seed=1)
    exact = Exact().open(documents).search(queries, 300, silent).run
    same(search("truncate,dim=24", documents, queries, 300), exact)
    turned = search("pca,dim=24", documents, queries, 300)
    np.testing.assert_allclose(by_doc(turned), by_doc(exact), atol=1e-6)


def test_fewer_documents_than_dimensions():
    documents, queries = made(5), made(9, seed=1)
    exact = Exact().open(documents).search(queries, 5, silent).run
    found = search("pca,dim=8", documents, queries, 5)
    assert found.docs.tolist() == exact.docs.tolist()  # five axes hold them all


def test_bytes_are_those_of_sentence_transformers():
    from sentence_transformers.util.quantization import quantize_embeddings

    documents, queries = made(300), made(9, seed=1)
    values, asked = documents.values, queries.values
    least, greatest = values.min(axis=0), values.max(axis=0)
    steps = (greatest - least) / 255
    exact = (values.astype(float) - least) / steps
    clear = (np.abs(exact - exact.round()) > 1e-4).all(axis=1)  # not between two steps
    assert clear.mean() > 0.8
    codes = quantize_embeddings(values, "uint8", ranges=np.vstack((least, greatest)))
    # faiss takes the middle of a step, sentence-transformers its beginning: a constant of the query
    products = asked.astype(float) @ (least + steps * (codes + 0.5)).T
    found = search("int8", documents, queries, 300)
    np.testing.assert_allclose(by_doc(found)[:, clear], products[:, clear], atol=1e-6)
    assert np.abs(products - asked @ values.T).max() > 1e-4


def test_bits_are_searched_and_scored_again_as_by_sentence_transformers():
    from sentence_transformers.util.quantization import quantize_embeddings, semantic_search_faiss

    documents, queries = made(300), made(9, seed=1)
    hits, *_ = semantic_search_faiss(
        queries.values,
        quantize_embeddings(documents.values, "ubinary"),
        corpus_precision="ubinary",
        top_k=10,
        rescore_multiplier=30,
    )
    found = search("binary,oversample=30", documents, queries, 10)
    assert found.docs.tolist() == [[hit["corpus_id"] for hit in row] for row in hits]
    # theirs are the bits 0 and 1, ours -1 and 1
    theirs = np.array([[hit["score"] for hit in row] for row in hits])
    total = queries.values.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found.scores, 2 * theirs - total, atol=1e-5)


def test_distances_of_bits_by_hand():
    documents = Dense(np.array([[1, -1, 1], [1, 1, -1], [-1, 0, 1]], np.float32))
    queries = Dense(np.array([[0.5, -0.1, 0.2]], np.float32))
    found = search("binary,oversample=0", documents, queries, 3)
    assert found.docs.tolist() == [[0, 2, 1]]  # zero is no positive number: 101, 001, 110
    assert found.scores.tolist() == [[0, -1, -2]]
    scored = search("binary,oversample=1", documents, queries, 3)
    assert scored.docs.tolist() == [[0, 1, 2]]
    np.testing.assert_allclose(scored.scores, [[0.8, 0.2, -0.2]], atol=1e-7)


@pytest.mark.parametrize("spec", ["truncate,dim=2", "pca,dim=2", "int8", "binary,kept=float32"])
def test_scoring_everything_again_is_exact_search(spec):
    documents, queries = made(300), made(9, seed=1)
    documents.values[200:] = documents.values[100:200]
    exact = Exact().open(documents).search(queries, 20, silent).run
    same(search(f"{spec},oversample=15", documents, queries, 20), exact)
    assert (search(f"{spec},oversample=2", documents, queries, 20).docs != exact.docs).any() or (
        spec == "int8"
    )


def test_what_is_kept_of_bits_scores_them():
    documents, queries = made(300), made(9, seed=1)
    kept = {
        name: by_doc(search(f"binary,oversample=1,kept={name}", documents, queries, 300))
        for name in ("float32", "int8", "bits")
    }
    np.testing.assert_array_equal(
        kept["float32"], by_doc(Exact().open(documents).search(queries, 300, silent).run)
    )
    int8 = by_doc(search("int8", documents, queries, 300))
    np.testing.assert_allclose(kept["int8"], int8, atol=1e-6)
    signs = np.where(documents.values > 0, 1, -1)
    np.testing.assert_allclose(kept["bits"], queries.values @ signs.T, atol=1e-5)


@settings(max_examples=40, deadline=None)
@given(
    n=st.integers(1, 120),
    k=st.integers(1, 40),
    oversample=st.integers(0, 3),
    seed=st.integers(0, 99),
)
def test_ties_of_bits_are_decided_by_the_one_rule_also_at_a_cut(n, k, oversample, seed):
    random = np.random.default_rng(seed)
    values = random.choice(np.array([-1, 1], np.float32), (n, 5))  # at most 32 different documents
    queries = random.integers(-3, 4, (4, 5)).astype(np.float32)
    differing = ((queries > 0)[:, None] != (values > 0)[None]).sum(axis=2)
    expected = ranked(-differing, min(max(oversample, 1) * k, n))
    if oversample:
        products = queries @ values.T
        expected = [
            sorted(row, key=lambda doc, of=of: (-of[doc], -doc))
            for row, of in zip(expected, products, strict=True)
        ]
    found = search(f"binary,oversample={oversample}", Dense(values), Dense(queries), k)
    wanted = min(k, n)
    assert found.docs[:, :wanted].tolist() == [row[:wanted] for row in expected]
    assert (found.docs[:, wanted:] == -1).all()


@settings(max_examples=25, deadline=None)
@given(
    spec=st.sampled_from(["int8", "truncate,dim=2"]),
    n=st.integers(1, 120),
    k=st.integers(1, 40),
    seed=st.integers(0, 99),
)
def test_equal_documents_are_ranked_by_row(spec, n, k, seed):
    random = np.random.default_rng(seed)
    values = made(4, seed=seed).values[random.integers(0, 4, n)]
    queries = made(3, seed=seed + 1)
    found = search(spec, Dense(values), queries, k)
    whole = by_doc(search(spec, Dense(values), queries, n))
    assert found.docs[:, : min(k, n)].tolist() == ranked(whole, k)


@pytest.mark.parametrize("spec", [*ALL, "binary"])
def test_a_search_repeats_and_one_query_alone_finds_the_same(spec):
    documents, queries = made(300), made(9, seed=1)
    searcher = INDEXES.create(spec).open(documents)
    together = searcher.search(queries, 12, silent).run
    same(together, searcher.search(queries, 12, silent).run)
    same(together, search(spec, documents, queries, 12))
    for row in range(9):
        alone = searcher.search(Dense(queries.values[row : row + 1]), 12, silent).run
        same(alone, Run(together.docs[row : row + 1], together.scores[row : row + 1]))


@pytest.mark.parametrize(
    ("spec", "bytes"),
    [
        ("truncate,dim=8", 100 * 8 * 4),
        ("truncate,dim=8,oversample=2", 100 * (8 + 24) * 4),
        ("pca,dim=8", (100 + 24) * 8 * 4),
        ("int8", 100 * 24),
        ("int8,oversample=2", 100 * 24 * 5),
        ("binary,oversample=0,kept=float32", 100 * 3),
        ("binary", 100 * 3),
        ("binary,kept=int8", 100 * (3 + 24)),
        ("binary,kept=float32", 100 * (3 + 24 * 4)),
    ],
)
def test_memory_is_that_of_codes_and_of_what_is_kept(spec, bytes):
    searcher = INDEXES.create(spec).open(made(100))
    assert searcher.info.bytes == bytes
    assert searcher.search(made(7, seed=1), 5, silent).distances >= 700
    assert searcher.info.notes == ()


def test_a_tie_that_is_wider_than_what_was_asked_for_is_searched_again():
    documents = Dense(np.ones((100, 8), np.float32))
    searcher = INDEXES.create("binary,oversample=0").open(documents)
    found = searcher.search(Dense(np.ones((1, 8), np.float32)), 3, silent)
    assert found.run.docs.tolist() == [[99, 98, 97]]
    assert found.distances == 300  # 19 asked for, then 76, then all


@pytest.mark.parametrize("spec", ALL)
def test_an_index_says_what_it_is(spec):
    index = INDEXES.create(spec)
    assert set(index.describe()) == {"kind", "faiss"}
    assert index.describe()["kind"] == spec.partition(",")[0]
    assert index.accepts == ("dense",)
    index.require("dense")


def test_a_spec_holds_every_parameter():
    assert [str(INDEXES.resolve(name)) for name in ("truncate", "pca", "int8", "binary")] == [
        "truncate,dim=128,oversample=0",
        "pca,dim=64,oversample=0,seed=0",
        "int8,oversample=0",
        "binary,kept=bits,oversample=4",
    ]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("truncate,dim=0", "truncate: dim=0: expected at least 1"),
        ("pca,dim=-2", "pca: dim=-2: expected at least 1"),
        ("pca,seed=-1", "pca: seed=-1: expected at least 0"),
        ("int8,oversample=-1", "int8: oversample=-1: expected at least 0"),
        ("binary,oversample=-1", "binary: oversample=-1: expected at least 0"),
        ("binary,kept=all", "binary: kept=all: expected one of float32, int8, bits"),
        ("truncate,dim=25", "truncate: dim=25: the vectors have only 24"),
        ("pca,dim=25", "pca: dim=25: the vectors have only 24"),
    ],
)
def test_parameters_out_of_range(spec, message):
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        INDEXES.create(spec).open(made(50))


@pytest.mark.parametrize("spec", ALL)
def test_vectors_that_cannot_be_searched(spec):
    searcher = INDEXES.create(spec).open(made(50))
    with pytest.raises(InputError, match="queries are 8-d and documents 24-d: expected one width"):
        searcher.search(made(2, 8), 3, silent)
    documents = made(50)
    documents.values[33, 2] = np.nan
    with pytest.raises(InputError, match="document row 33 holds NaN, infinity or a number"):
        INDEXES.create(spec).open(documents)


def test_int8_is_fitted_on_what_it_is_told_to():
    """256 steps from 0 to 255 and from 0 to 25.5: the middle of the step that a number is in."""
    compress = INDEXES.create("int8").compressor()
    fitted_on = Dense(np.float32([[0, 0], [255, 25.5]]))
    found = compress(Dense(np.float32([[10.25, 3.14], [300, -7]])), fitted_on)
    np.testing.assert_allclose(found.values, [[10.5, 3.15], [255.5, 0.05]], rtol=1e-5)


def test_pca_is_fitted_on_what_it_is_told_to():
    compress = INDEXES.create("pca,dim=1").compressor()
    found = compress(Dense(np.float32([[3, 4], [0, 2]])), Dense(np.float32([[0, 1], [0, 2]])))
    np.testing.assert_allclose(np.abs(found.values), [[5], [2]], rtol=1e-6)


@pytest.mark.parametrize("spec", ["int8", "binary", "pca,dim=1", "truncate,dim=1"])
def test_what_is_compressed_alone_is_checked(spec):
    broken = Dense(np.float32([[1, 2], [np.nan, 1]]))
    with pytest.raises(InputError, match="row 1 holds NaN"):
        INDEXES.create(spec).compressor()(Dense(np.ones((2, 2), np.float32)), broken)
