"""MaxSim against its definition; neither tiles nor blocks nor other documents change a score."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.arrays import Float32, spans
from harness.errors import InputError
from harness.indexes import maxsim, ragged
from harness.indexes.exact import Exact
from harness.progress import silent
from harness.vectors import MultiVector, Run, ranking


def multi(*texts: Sequence[Sequence[float]], width: int = 2) -> MultiVector:
    """Texts as lists of vectors."""
    offsets = np.cumsum([0, *map(len, texts)])
    values = np.array([vector for text in texts for vector in text], np.float32)
    return MultiVector(values.reshape(-1, width), offsets)


def made(n: int, longest: int, width: int, seed: int, *, whole: bool = False) -> MultiVector:
    """Random texts of 0 to `longest` tokens; whole: small whole numbers, so that many are equal."""
    random = np.random.default_rng(seed)
    offsets = np.concatenate([[0], np.cumsum(random.integers(0, longest + 1, n))])
    shape = (offsets[-1], width)
    values = random.integers(-2, 3, shape) if whole else random.standard_normal(shape)
    return MultiVector(values.astype(np.float32), offsets)


def search(queries: MultiVector, documents: MultiVector, k: int, block: int = 1 << 18) -> Run:
    return Exact(block).open(documents).search(queries, k, silent).run


def texts(vectors: MultiVector) -> list[list[list[float]]]:
    return [
        vectors.values[low:high].tolist()
        for low, high in zip(vectors.offsets[:-1], vectors.offsets[1:], strict=True)
    ]


def reference(queries: MultiVector, documents: MultiVector, k: int) -> Run:
    """The definition as a plain loop: score descending, row descending, empty texts left out."""
    docs = np.full((len(queries), k), -1, np.int32)
    scores = np.zeros((len(queries), k), np.float32)
    for i, query in enumerate(texts(queries)):
        found = []
        for row, document in enumerate(texts(documents)):
            if query and document:
                best = [max(math.fsum(map(float.__mul__, q, d)) for d in document) for q in query]
                found.append((np.float32(math.fsum(best)), row))
        for rank, (score, row) in enumerate(sorted(found, reverse=True)[:k]):
            docs[i, rank], scores[i, rank] = row, score
    return Run(docs, scores)


def assert_same(found: Run, expected: Run) -> None:
    np.testing.assert_array_equal(found.docs, expected.docs)
    np.testing.assert_array_equal(found.scores, expected.scores)


def test_every_vector_of_a_query_finds_its_best():
    documents = multi([[1, 0], [0, 1]], [[2, 0]], [[0, -1], [-1, 0]])
    found = search(multi([[1, 0], [0, 1]], [[1, 1]]), documents, 3)
    # 1 + 1, 2 + 0, 0 + 0 and 1, 2, -1
    assert found.docs.tolist() == [[1, 0, 2], [1, 0, 2]]
    assert found.scores.tolist() == [[2.0, 2.0, 0.0], [2.0, 1.0, -1.0]]


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(1, 30),
    longest=st.integers(0, 6),
    width=st.integers(1, 5),
    k=st.integers(1, 35),
    seed=st.integers(0, 1000),
    whole=st.booleans(),
)
def test_it_finds_what_the_definition_finds(n, longest, width, k, seed, whole):
    documents = made(n, longest, width, seed, whole=whole)
    queries = made(4, 3, width, seed + 1, whole=whole)
    found, expected = search(queries, documents, k), reference(queries, documents, k)
    np.testing.assert_array_equal(found.docs, expected.docs)
    np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-6, atol=1e-6)
    assert found.docs.shape == (4, k)
    assert found.docs.dtype == np.int32
    assert found.scores.dtype == np.float32


@settings(max_examples=40, deadline=None)
@given(
    block=st.integers(1, 40),
    sizes=st.fixed_dictionaries(
        {
            "TOKENS": st.integers(1, 300),
            "ROWS": st.integers(1, 30),
            "HELD": st.integers(0, 60),
            "CHUNK": st.integers(1, 50),
        }
    ),
    k=st.integers(1, 12),
    seed=st.integers(0, 1000),
)
def test_results_depend_on_neither_tiles_nor_blocks(block, sizes, k, seed):
    documents, queries = made(40, 12, 48, seed), made(5, 6, 48, seed + 1)
    whole = search(queries, documents, k)
    with pytest.MonkeyPatch.context() as patch:
        for name, size in sizes.items():
            patch.setattr(maxsim, name, size)
        assert_same(search(queries, documents, k, block), whole)


def test_a_score_depends_on_query_and_document_alone():
    documents, queries = made(60, 40, 67, seed=3), made(4, 8, 67, seed=4)
    run = search(queries, documents, 60)
    rows, ranks = np.nonzero(run.docs >= 0)
    docs = run.docs[rows, ranks]
    np.testing.assert_array_equal(
        maxsim.scores(queries, documents, rows, docs), run.scores[rows, ranks]
    )
    for row, text in enumerate(texts(documents)):
        alone = search(queries, multi(text, width=67), 1)
        np.testing.assert_array_equal(
            alone.scores[:, 0], np.where(run.docs == row, run.scores, 0).sum(1)
        )


def test_scores_are_of_pairs_in_any_order(monkeypatch):
    documents, queries = made(30, 9, 16, seed=3), made(4, 5, 16, seed=4)
    random = np.random.default_rng(0)
    rows, docs = random.integers(0, 4, 50), random.integers(0, 30, 50)
    order = np.argsort(rows, kind="stable")
    expected = maxsim.scores(queries, documents, rows[order], docs[order])
    np.testing.assert_array_equal(maxsim.scores(queries, documents, rows, docs)[order], expected)
    monkeypatch.setattr(maxsim, "TOKENS", 7)
    np.testing.assert_array_equal(maxsim.scores(queries, documents, rows, docs)[order], expected)


def test_few_documents_are_scored_anew(monkeypatch):
    """Of 400 documents those that a rough score leaves possible: hardly more than are wanted."""
    counted = []
    scores = maxsim.scores

    def watched(queries, documents, rows, docs):
        counted.append(len(rows))
        return scores(queries, documents, rows, docs)

    monkeypatch.setattr(maxsim, "scores", watched)
    search(made(8, 6, 32, seed=5), made(400, 9, 32, seed=6), 10)
    assert len(counted) == 1
    assert 70 <= counted[0] <= 90


def test_equal_documents_score_the_same_wherever_they_lie():
    part = made(9, 25, 96, seed=5)
    twice = texts(part) * 7
    run = search(made(3, 9, 96, seed=6), multi(*twice, width=96), len(twice))
    for docs, scores in zip(run.docs, run.scores, strict=True):
        kept = docs >= 0
        assert kept.sum() == 7 * np.count_nonzero(part.lengths)
        for low in range(0, kept.sum(), 7):
            assert len(set(scores[low : low + 7])) == 1
            assert len(set(docs[low : low + 7] % 9)) == 1
            assert (np.diff(docs[low : low + 7]) < 0).all()


def test_products_that_float32_rounds_the_wrong_way_are_ranked_by_their_exact_sums():
    """2^24 + 1 is no float32: added one by one, seven ones are lost, and the less seems more."""
    more, less = [2.0**24, *[1] * 7], [2.0**24, 2, *[0] * 6]
    query = multi([[1] * 8, [0] * 8, [0] * 8], width=8)
    exact = 2.0**24 + 8  # 2^24 + 7, rounded to even
    found = search(query, multi(*[[less]] * 9, [more], *[[less]] * 9, width=8), 1)
    assert (found.docs.tolist(), found.scores.tolist()) == ([[9]], [[exact]])
    found = search(query, multi([*[less] * 9, more, *[less] * 9], width=8), 1)
    assert found.scores.tolist() == [[exact]]


def test_a_text_without_tokens_is_no_result_and_finds_none():
    documents = multi([], [[1, 0]], [], [[-1, 0]], [])
    found = search(multi([[1, 0]], []), documents, 3)
    assert found.docs.tolist() == [[1, 3, -1], [-1, -1, -1]]
    assert found.scores.tolist() == [[1.0, -1.0, 0.0], [0.0, 0.0, 0.0]]
    pairs = np.array([0, 0, 1]), np.array([0, 1, 1])
    assert maxsim.scores(multi([[1, 0]], []), documents, *pairs).tolist() == [0.0, 1.0, 0.0]
    assert search(multi([[1, 0]]), multi([], []), 2).docs.tolist() == [[-1, -1]]
    assert search(multi([], []), documents, 1).docs.tolist() == [[-1], [-1]]


def test_ties_at_the_cut_off_keep_the_last_rows(monkeypatch):
    monkeypatch.setattr(maxsim, "TOKENS", 8)
    found = search(multi([[1, 0]]), multi(*[[[1, 0], [0, 1]]] * 90), 3)
    assert found.docs.tolist() == [[89, 88, 87]]


def test_a_document_longer_than_a_tile_is_searched_whole(monkeypatch):
    monkeypatch.setattr(maxsim, "TOKENS", 4)
    documents, queries = made(12, 20, 8, seed=7, whole=True), made(3, 5, 8, seed=8, whole=True)
    assert_same(search(queries, documents, 5), reference(queries, documents, 5))


def test_vectors_may_lie_in_a_file(tmp_path):
    documents, queries = made(20, 9, 8, seed=9), made(3, 5, 8, seed=10)
    np.save(tmp_path / "values.npy", documents.values)
    mapped = MultiVector(np.load(tmp_path / "values.npy", mmap_mode="r"), documents.offsets)
    assert_same(search(queries, mapped, 5), search(queries, documents, 5))


def test_progress_counts_comparisons(monkeypatch):
    monkeypatch.setattr(maxsim, "TOKENS", 2)
    told: list[tuple[str, int, int, str]] = []
    searcher = Exact().open(multi([[1, 0]], [[0, 1]], [[1, 1]]))
    searcher.search(multi([[1, 0]], [[0, 1]]), 1, lambda *step: told.append(step))
    assert told == [("search", 4, 6, "comparisons"), ("search", 6, 6, "comparisons")]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30])
def test_what_is_no_number_is_refused(value):
    with pytest.raises(InputError) as error:
        search(multi([[1, 0]]), multi([[1, 0]], [], [[1, 0], [1, value]]), 1)
    assert str(error.value) == (
        "a token's vector of document row 2 holds NaN, infinity or a number too large for float32"
    )
    with pytest.raises(InputError) as error:
        search(multi([[1, value]]), multi([[1, 0]]), 1)
    assert str(error.value) == (
        "a query's vector holds NaN, infinity or a number too large for float32: that of row 0"
    )


def test_widths_must_agree():
    with pytest.raises(InputError, match="queries are 3-d and documents 2-d: expected one width"):
        search(multi([[1, 0, 0]], width=3), multi([[1, 0]]), 1)


def test_a_multi_vector_tells_its_texts_and_its_width():
    vectors = multi([[1, 0], [0, 1]], [], [[1, 1]])
    assert (len(vectors), vectors.dim, vectors.lengths.tolist()) == (3, 2, [2, 0, 1])


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 6)), max_size=8))
def test_spans_are_ranges_in_a_row(ranges):
    starts, lengths = (np.array([pair[i] for pair in ranges], np.int64) for i in (0, 1))
    expected = [row for start, length in ranges for row in range(start, start + length)]
    assert spans(starts, lengths).tolist() == expected


def test_documents_of_equal_vectors_are_compared_once_and_all_found():
    """As those of a collapsed model: every document has some of three vectors, in some order."""
    random = np.random.default_rng(1)
    vectors = random.standard_normal((3, 4)).astype(np.float32)
    texts = [vectors[random.integers(3, size=random.integers(1, 5))] for _ in range(200)]
    ends = np.cumsum([0, *map(len, texts)])
    documents = MultiVector(np.concatenate(texts), ends)
    queries = MultiVector(vectors, np.arange(4))
    searcher = maxsim.MaxSimSearcher.of(documents)
    assert len(searcher.compared) <= 7  # one, two or all of three
    assert searcher.info.bytes == documents.bytes
    found = searcher.search(queries, 20, silent).run
    rows, docs = np.repeat(np.arange(3), 200), np.tile(np.arange(200), 3)
    every = maxsim.scores(queries, documents, rows, docs).reshape(3, 200)
    expected = ranking.unpack(ranking.best(ranking.pack(every, docs.reshape(3, 200)), 20))
    assert np.array_equal(found.docs, expected.docs)
    assert np.array_equal(found.scores, expected.scores)


def in_order(query: Float32, document: Float32) -> np.float32:
    """The sums of a score as they are defined, one after the other in float64."""
    products = np.array([np.multiply(each, document, dtype=np.float64).sum(1) for each in query])
    return np.float32(np.cumsum(products.max(1))[-1])


@settings(max_examples=40, deadline=None)
@given(
    kind=st.sampled_from(["random", "whole", "near", "tiny", "opposite", "cancelling", "zero"]),
    pairs=st.sampled_from(["all", "some"]),
    seed=st.integers(0, 1000),
)
def test_scores_are_those_of_one_order_to_the_bit(kind, pairs, seed):
    random = np.random.default_rng(seed)
    documents, queries = (made(n, 5, 33, seed + n, whole=kind == "whole") for n in (40, 7))
    if kind == "near":
        documents.values[:] = random.standard_normal(33) + 1e-6 * documents.values
    if kind == "tiny":
        documents.values[:] *= 1e-22
    if kind == "opposite":  # sums near 0, where a float32 is a small thing
        queries.values[1::2] = -queries.values[: -1 if len(queries.values) % 2 else None : 2]
    if kind == "zero":
        documents.values[:] = -0.0
    if kind == "cancelling":  # what is left of a sum depends on its order
        documents.values[:, :11] *= 1e12
        documents.values[:, 11:22] = -documents.values[:, :11]
        queries.values[:, 11:22] = queries.values[:, :11]
    rows, docs = np.repeat(np.arange(7), 40), np.tile(np.arange(40), 7)
    if pairs == "some":  # each query has documents of its own
        rows, docs = (of[rows == docs % 7] for of in (rows, docs))
    found = maxsim.scores(queries, documents, rows, docs)
    for score, row, doc in zip(found, rows, docs, strict=True):
        query, document = (
            ragged.take_texts(of, at, at + 1).values
            for of, at in ((queries, row), (documents, doc))
        )
        expected = in_order(query, document) if len(query) and len(document) else np.float32(0)
        assert score.tobytes() == expected.tobytes()


def test_near_documents_are_hardly_ever_scored_pair_by_pair(monkeypatch):
    """As those of a collapsed model, of which every token is close to the highest."""
    random, seen = np.random.default_rng(0), []
    values = random.standard_normal(32) + 1e-6 * random.standard_normal((4000, 32))
    documents = MultiVector(values.astype(np.float32), np.arange(0, 4001, 10))
    score = maxsim._score_in_order
    monkeypatch.setattr(
        maxsim,
        "_score_in_order",
        lambda query, few: seen.extend(range(len(few))) or score(query, few),
    )
    found = search(documents.take(np.arange(20)), documents, 10)
    assert len(seen) < 8  # of 20 x 400
    assert found.scores.shape == (20, 10)
