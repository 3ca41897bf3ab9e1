"""MUVERA's encodings against their definition and guarantee; the index that serves them."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import InputError
from harness.indexes import INDEXES, muvera
from harness.indexes.exact import Exact
from harness.indexes.muvera import EncodingPlan, Muvera, document_encodings, query_encodings
from harness.progress import silent
from harness.vectors import Dense, MultiVector, Run
from tests.indexes.test_maxsim import assert_same, made, multi, texts


def drawn(plan: EncodingPlan, width: int, repetition: int):
    """Normals, signs, and the signs of the last projection, in the order that is documented."""
    random = np.random.Generator(np.random.PCG64([plan.seed, repetition]))
    normals = np.rint(random.standard_normal((plan.bits, width)) * 4096) / 4096
    signs = 2.0 * random.integers(0, 2, (plan.projection_dim, width), np.int8) - 1
    block = plan.projection_dim or width
    last = [
        2.0 * random.integers(0, 2, (block, plan.final_dim), np.int8) - 1
        for _ in range(2**plan.bits)
    ]
    return normals, signs, np.concatenate(last)


def defined(vectors: MultiVector, plan: EncodingPlan, *, documents: bool) -> list[list[float]]:
    """The definition as plain loops over texts, repetitions, buckets and tokens."""
    rows = []
    for text in texts(vectors):
        encoding = np.zeros(0)
        final = np.zeros(plan.final_dim)
        for repetition in range(plan.repetitions):
            normals, signs, last = drawn(plan, vectors.dim, repetition)
            buckets = []
            for token in text:
                sides = [float(np.dot(normal, token)) > 0 for normal in normals]
                buckets.append(sum(2**bit for bit, side in enumerate(sides) if side))
            blocks = []
            for bucket in range(2**plan.bits):
                inside = [t for t, at in zip(text, buckets, strict=True) if at == bucket]
                if documents and not inside and text:
                    apart = [(bucket ^ at).bit_count() for at in buckets]
                    inside = [text[apart.index(min(apart))]]
                value = np.sum(inside, axis=0) if inside else np.zeros(vectors.dim)
                value = value / len(inside) if documents and inside else value
                blocks.append(
                    signs @ value / plan.projection_dim**0.5 if plan.projection_dim else value
                )
            encoded = np.concatenate(blocks) / plan.repetitions**0.5
            encoding = np.concatenate([encoding, encoded])
            final = final + encoded @ last / max(plan.final_dim, 1) ** 0.5
        rows.append((final if plan.final_dim else encoding).tolist())
    return rows


plans = st.builds(
    EncodingPlan,
    repetitions=st.integers(1, 4),
    bits=st.integers(1, 4),
    projection_dim=st.sampled_from([0, 1, 3]),
    final_dim=st.sampled_from([0, 0, 5]),
    seed=st.integers(0, 9),
)


@settings(max_examples=40, deadline=None)
@given(plan=plans, n=st.integers(1, 7), width=st.integers(1, 5), seed=st.integers(0, 999))
def test_encodings_are_those_of_the_definition(plan, n, width, seed):
    vectors = made(n, 6, width, seed)
    for encode, documents in ((document_encodings, True), (query_encodings, False)):
        found = encode(vectors, plan)
        assert found.shape == (n, plan.dim(width))
        assert found.dtype == np.float32
        expected = defined(vectors, plan, documents=documents)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=2e-6)


def test_buckets_by_hand():
    """Two bits; the first text has tokens in 00, 00 and 11, the second one in 10."""
    tokens = np.array([[1, 0], [3, 0], [0, 5], [7, 7]], np.float64)
    cells = np.array([0, 0, 3, 4 + 2])
    sums = muvera._blocks(tokens, cells, 2, 2, mean=False)
    zero = [0, 0]
    assert sums.tolist() == [[4, 0], zero, zero, [0, 5], zero, zero, [7, 7], zero]
    means = muvera._blocks(tokens, cells, 2, 2, mean=True)
    # 01 and 10 are one bit from either bucket of the first text: its first token stands in
    assert means.tolist() == [[2, 0], [1, 0], [1, 0], [0, 5], *[[7, 7]] * 4]


def test_an_encoding_of_one_bit_by_hand():
    """One bucket for each side of a line; no projection."""
    plan = EncodingPlan(repetitions=1, bits=1, projection_dim=0)
    normal = drawn(plan, 2, 0)[0][0]
    left, right = np.where(normal > 0, -1.0, 1.0), np.where(normal > 0, 1.0, -1.0)
    text = multi([left, 3 * left, 2 * right], [right])
    assert document_encodings(text, plan).tolist() == [[*2 * left, *2 * right], [*right, *right]]
    assert query_encodings(text, plan).tolist() == [[*4 * left, *2 * right], [0, 0, *right]]


@settings(max_examples=15, deadline=None)
@given(tokens=st.integers(1, 60), cells=st.integers(1, 3000), plan=plans, seed=st.integers(0, 99))
def test_an_encoding_depends_on_its_text_alone(tokens, cells, plan, seed):
    vectors = made(9, 12, 7, seed)
    vectors.values[:] *= np.float32(10) ** (seed % 13 - 6)
    for encode in (document_encodings, query_encodings):
        whole = encode(vectors, plan)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(muvera, "TOKENS", tokens)
            patch.setattr(muvera, "CELLS", cells)
            np.testing.assert_array_equal(encode(vectors, plan), whole)
        for row, text in enumerate(texts(vectors)):
            np.testing.assert_array_equal(encode(multi(text, width=7), plan)[0], whole[row])


def test_fewer_repetitions_are_the_first_of_more():
    vectors = made(5, 9, 6, 0)
    many = document_encodings(vectors, EncodingPlan(5, 3, 4)) * 5**0.5
    few = document_encodings(vectors, EncodingPlan(2, 3, 4)) * 2**0.5
    np.testing.assert_allclose(few, many[:, : few.shape[1]], rtol=1e-6)


def unit_sets(n: int, tokens: int, width: int, seed: int) -> MultiVector:
    values = np.random.default_rng(seed).standard_normal((n * tokens, width))
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    return MultiVector(values.astype(np.float32), np.arange(n + 1) * tokens)


def estimates(queries: MultiVector, documents: MultiVector, plan: EncodingPlan) -> np.ndarray:
    """Normalised Chamfer similarity [q, n] by encodings, less the true one."""
    n, tokens = len(documents), queries.lengths[0]
    run = Exact().open(documents).search(queries, n, silent).run
    true = np.empty((len(queries), n))
    np.put_along_axis(true, run.docs.astype(np.int64), run.scores.astype(np.float64), axis=1)
    found = query_encodings(queries, plan) @ document_encodings(documents, plan).T
    return (found - true) / tokens


def test_the_estimate_is_within_epsilon_of_chamfer():
    """Theorem 2.1: one repetition of enough bits; and without projection never above."""
    queries, documents = unit_sets(20, 6, 5, 1), unit_sets(30, 8, 5, 2)
    off = [estimates(queries, documents, EncodingPlan(1, bits, 0)) for bits in (2, 4, 8, 16)]
    assert max(error.max() for error in off) < 1e-6  # a mean of products is at most the highest
    mean, worst = ([-f(error) for error in off] for f in (np.mean, np.min))
    assert mean == sorted(mean, reverse=True)
    assert worst[-1] < 0.5 < 1 < worst[0]
    assert mean[-1] < 0.13 < 0.4 < mean[0]


@pytest.mark.parametrize(("bits", "bound"), [(2, 1.435), (5, 0.241), (9, 0.04)])
def test_what_buckets_lose_is_what_falls_into_them_besides(bits, bound):
    """Queries of tokens that are in the document, whose Chamfer similarity is 1 a token.

    Vectors an angle t apart share a bucket with probability (1 - t / pi)^bits, and then cost at
    most 1 - cos t, which is the argument of the theorem.
    """
    documents = unit_sets(20, 8, 5, 9)
    values = documents.values.reshape(20, 8, 5)
    queries = MultiVector(values[:, :4].reshape(80, 5), np.arange(21) * 4)
    cosines = np.clip(np.einsum("nid,njd->nij", values[:, :4], values), -1, 1)
    cosines[:, np.arange(4), np.arange(4)] = 1
    shared = (1 - np.arccos(cosines) / np.pi) ** bits
    expected = (shared * (1 - cosines)).sum(axis=2).mean(axis=1)
    lost = -np.diag(estimates(queries, documents, EncodingPlan(200, bits, 0)))
    assert expected.mean() == pytest.approx(bound, rel=0.1)
    assert 0.25 * expected.mean() < lost.mean() < expected.mean()


def test_projection_keeps_products_within_epsilon():
    queries, documents = unit_sets(10, 6, 32, 1), unit_sets(10, 8, 32, 2)
    plain = estimates(queries, documents, EncodingPlan(1, 4, 0))
    spread = [
        np.abs(estimates(queries, documents, EncodingPlan(1, 4, projection)) - plain).mean()
        for projection in (8, 128, 2048)
    ]
    # the error falls with the square root of the dimensions: each time to a quarter
    assert spread[1] / spread[0] == pytest.approx(0.25, rel=0.3)
    assert spread[2] / spread[1] == pytest.approx(0.25, rel=0.3)


def test_more_repetitions_err_to_one_side():
    """What projection adds averages out, what buckets lose stays: estimates end below Chamfer."""
    queries, documents = unit_sets(12, 6, 16, 3), unit_sets(12, 8, 16, 4)
    off = [
        estimates(queries, documents, EncodingPlan(repetitions, 5, 4))
        for repetitions in (1, 10, 100)
    ]
    assert [bool((error > 0).any()) for error in off] == [True, False, False]
    spread = [error.std() for error in off]
    assert spread[0] > 2 * spread[1] > 2 * spread[2]


def test_a_last_projection_keeps_products():
    queries, documents = unit_sets(8, 6, 16, 5), unit_sets(8, 8, 16, 6)
    whole = estimates(queries, documents, EncodingPlan(3, 3, 8))
    assert EncodingPlan(3, 3, 8, 4096).dim(16) == 4096
    apart = estimates(queries, documents, EncodingPlan(3, 3, 8, 4096)) - whole
    assert 0 < np.abs(apart).max() < 0.1


def test_all_rescored_is_exact_search():
    documents, queries = made(40, 6, 16, 0), made(9, 4, 16, 1)
    exact = Exact().open(documents).search(queries, 7, silent).run
    searcher = INDEXES.create("muvera,repetitions=2,bits=2,projection_dim=4").open(documents)
    assert_same(searcher.search(queries, 7, silent).run, exact)
    structure = 4 * np.count_nonzero(documents.lengths) * 2 * 4 * 4
    tokens = documents.values.nbytes + 8 * (np.count_nonzero(documents.lengths) + 1)
    assert searcher.info.bytes == structure + tokens


def test_what_is_not_rescored_is_ranked_by_the_products_of_encodings(monkeypatch):
    monkeypatch.setattr(muvera, "QUERIES", 4)
    documents, queries = made(30, 6, 8, 2), made(9, 4, 8, 3)
    run = (
        INDEXES.create("muvera,repetitions=3,bits=2,projection_dim=0,rerank_depth=0,seed=5")
        .open(documents)
        .search(queries, 30, silent)
        .run
    )
    plan = EncodingPlan(3, 2, 0, seed=5)
    kept, asked = np.flatnonzero(documents.lengths), np.flatnonzero(queries.lengths)
    inner = Exact().open(Dense(document_encodings(documents, plan)[kept]))
    expected = inner.search(Dense(query_encodings(queries, plan)[asked]), len(kept), silent).run
    np.testing.assert_array_equal(run.docs[asked][:, : len(kept)], kept[expected.docs])
    np.testing.assert_array_equal(run.scores[asked][:, : len(kept)], expected.scores)
    assert (run.docs[asked][:, len(kept) :] == -1).all()
    assert (run.docs[np.setdiff1d(np.arange(9), asked)] == -1).all()


def test_candidates_are_rescored_and_no_others():
    documents, queries = unit_sets(300, 5, 16, 7), unit_sets(10, 4, 16, 8)
    spec = "muvera,repetitions=2,bits=3,projection_dim=8"
    exact = Exact().open(documents).search(queries, 300, silent).run

    def reranked(depth: int, k: int) -> Run:
        index = INDEXES.create(f"{spec},rerank_depth={depth}")
        return index.open(documents).search(queries, k, silent).run

    estimated, found, more = reranked(0, 20), reranked(20, 5), reranked(3, 20)
    for row in range(10):
        among = np.isin(exact.docs[row], estimated.docs[row])
        assert found.docs[row].tolist() == exact.docs[row][among][:5].tolist()
        assert found.scores[row].tolist() == exact.scores[row][among][:5].tolist()
        three = np.isin(exact.docs[row], estimated.docs[row, :3])
        then = estimated.docs[row, 3:].tolist()  # in the encodings' order
        assert more.docs[row].tolist() == [*exact.docs[row][three].tolist(), *then]
    assert (found.docs[:, 0] == exact.docs[:, 0]).any()
    assert (found.docs[:, 0] != exact.docs[:, 0]).any()


def test_any_dense_index_serves_the_encodings():
    documents, queries = unit_sets(200, 5, 16, 7), unit_sets(5, 4, 16, 8)
    index = INDEXES.create("muvera:hnsw,repetitions=2,bits=3,projection_dim=8,rerank_depth=50")
    index.require("multi-vector")
    assert index.accepts == ("multi-vector",)
    assert index.describe()["exact"] is False
    assert index.describe()["kind"] == "faiss HNSW"
    searcher = index.open(documents)
    found = searcher.search(queries, 3, silent)
    exact = Exact().open(documents).search(queries, 3, silent).run
    assert (found.run.scores <= exact.scores).all()
    assert found.distances > 0
    assert searcher.info.bytes > documents.bytes
    assert INDEXES.create("muvera:[hnsw,M=4],rerank_depth=0").inner.parameters.M == 4
    narrow = INDEXES.create("muvera:[hnsw,ef_search=16],bits=1").open(documents)
    assert narrow.info.notes == INDEXES.create("hnsw,ef_search=16").notes(100) != ()


def test_nothing_to_find_and_nothing_to_ask():
    none, some = multi([], []), multi([[1, 0]], [])
    for documents, queries in ((none, some), (some, none)):
        run = INDEXES.create("muvera").open(documents).search(queries, 2, silent).run
        assert run.docs.tolist() == [[-1, -1]] * 2
        assert run.scores.tolist() == [[0, 0]] * 2


def test_progress_counts_queries():
    told: list[tuple[str, int, int, str]] = []
    searcher = INDEXES.create("muvera,repetitions=1,bits=1").open(multi([[1, 0]]))
    searcher.search(multi([[1, 0]], [[0, 1]]), 1, lambda *step: told.append(step))
    assert told == [("search", 2, 2, "queries")]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("muvera,repetitions=0", "muvera: repetitions=0: expected at least 1"),
        ("muvera,bits=0", "muvera: bits=0: expected at least 1"),
        ("muvera,bits=17", "muvera: bits=17: expected at most 16"),
        ("muvera,projection_dim=-1", "muvera: projection_dim=-1: expected at least 0"),
        ("muvera,final_dim=-1", "muvera: final_dim=-1: expected at least 0"),
        ("muvera,seed=-1", "muvera: seed=-1: expected at least 0"),
        ("muvera,rerank_depth=-1", "muvera: rerank_depth=-1: expected at least 0"),
        ("muvera:muvera", "muvera:muvera: muvera takes multi-vector vectors: expected dense"),
        ("muvera:nothing", "unknown index 'nothing'"),
    ],
)
def test_bad_input(spec, message):
    with pytest.raises(InputError, match=f"^{re.escape(message)}"):
        INDEXES.create(spec)


def test_vectors_that_cannot_be_encoded(monkeypatch):
    index = INDEXES.create("muvera")
    assert isinstance(index, Muvera)
    with pytest.raises(InputError, match="document row 1 holds NaN, infinity or a number too"):
        index.open(multi([[1, 0]], [[np.nan, 0]]))
    searcher = index.open(multi([[1, 0]]))
    with pytest.raises(InputError, match="queries are 3-d and documents 2-d: expected one width"):
        searcher.search(multi([[1, 0, 0]], width=3), 1, silent)
    monkeypatch.setattr("harness.disk.memory.available_memory", lambda: 10_000)
    with pytest.raises(InputError, match=r"^muvera: 1 encodings of 10,240 dimensions needs about"):
        index.open(multi([[1, 0]]))
