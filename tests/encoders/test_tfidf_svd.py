"""TF-IDF and SVD against scikit-learn's own pipeline and by hand; what a collection allows."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics.pairwise import cosine_similarity
from sklearn.pipeline import make_pipeline
from threadpoolctl import threadpool_limits

from harness.api import evaluate
from harness.encoders import ENCODERS, CollectionEncoder
from harness.encoders.tfidf_svd import TfidfSvd
from harness.errors import InputError
from harness.sources.folder import folder
from tests.shared import shared

DOCUMENTS = ["red apple", "red red car", "a car and a road", "apple pie"]


def cosines(made) -> np.ndarray:
    return cosine_similarity(made.queries.values, made.documents.values)


def test_similarities_are_those_of_a_pipeline_of_scikit_learn():
    data = folder(str(shared("med")))
    documents, queries = data.corpus.texts, data.queries.texts
    made = TfidfSvd(dim=64).encode_collection(documents, queries)
    pipeline = make_pipeline(
        TfidfVectorizer(token_pattern=r"(?u)\b\w+\b", sublinear_tf=True),
        TruncatedSVD(64, algorithm="arpack", random_state=7),
    )
    expected = pipeline.fit(documents).transform(documents)
    found = cosines(made)
    np.testing.assert_allclose(
        found, cosine_similarity(pipeline.transform(queries), expected), atol=2e-6
    )
    assert found.shape == (30, 1033)
    assert made.documents.values.dtype == np.float32
    assert made.notes == ()


def test_with_all_dimensions_products_are_those_of_tf_idf_by_hand():
    """ "car" is in 2 documents of 4: idf 1 + log(5/3); red twice: 1 + log 2."""
    made = TfidfSvd().encode_collection(DOCUMENTS, ["car", "zebra"])
    idf = 1 + np.log(5 / 3)  # of red, apple and car; the others are in one document
    rare = 1 + np.log(5 / 2)
    second = idf / np.hypot((1 + np.log(2)) * idf, idf)
    third = idf / np.sqrt(idf**2 + 2 * rare**2 + ((1 + np.log(2)) * rare) ** 2)
    products = made.queries.values @ made.documents.values.T
    np.testing.assert_allclose(products[0], [0, second, third, 0], atol=1e-6)
    assert not made.queries.values[1].any()
    assert made.document_tokens.tolist() == [2, 3, 5, 2]
    assert made.query_tokens.tolist() == [1, 1]
    assert made.notes == ("4 dimensions in place of 256: the documents span no more",)


def test_directions_that_only_rounding_makes_are_left_out():
    made = TfidfSvd().encode_collection(["one two", "two one", "one two three"], ["one"])
    assert made.documents.dim == 2
    assert made.documents.values[0].tolist() == made.documents.values[1].tolist()


def test_the_largest_direction_comes_first():
    values = TfidfSvd().encode_collection(DOCUMENTS, ["x"]).documents.values
    lengths = np.linalg.norm(values, axis=0)
    assert (np.diff(lengths) < 1e-6).all()


@pytest.mark.parametrize("documents", [["", " "], ["?!"]])
def test_documents_without_words_are_zero_vectors(documents):
    made = TfidfSvd().encode_collection(documents, ["cat"])
    assert made.documents.values.tolist() == [[0]] * len(documents)
    assert made.queries.values.tolist() == [[0]]


def test_vectors_are_the_same_to_the_bit_whatever_the_threads():
    draw = np.random.default_rng(0)
    texts = [" ".join(f"w{i}" for i in draw.zipf(1.3, 60) if i < 3000) for _ in range(600)]
    found = []
    for threads in (1, 2):
        with threadpool_limits(threads):
            made = TfidfSvd(dim=100).encode_collection(texts, texts[:50])
        found.append((made.documents.values.tobytes(), made.queries.values.tobytes()))
    assert found[0] == found[1]
    assert len(set(found[0])) == 2


def test_a_whole_evaluation():
    record = evaluate("tfidf-svd", f"folder:{shared('med')}", measures=["nDCG@10"]).record
    assert record.main.mean == pytest.approx(0.7529, abs=1e-4)
    assert (record.system.representation, record.system.similarity) == ("dense", "cosine")
    assert record.system.dim == 256


def test_what_identifies_it():
    encoder = ENCODERS.create("tfidf-svd,dim=32")
    assert isinstance(encoder, CollectionEncoder)
    assert encoder.symmetric
    found = dict(encoder.fingerprint())
    assert found.pop("scikit-learn")
    assert found == {
        "dimensions": 32,
        "weights": "lower-case words, 1 + log tf, smoothed idf, unit length",
    }


def test_no_dimensions_are_refused():
    with pytest.raises(InputError) as error:
        ENCODERS.create("tfidf-svd,dim=0")
    assert str(error.value) == "tfidf-svd: dim=0: expected at least 1"
