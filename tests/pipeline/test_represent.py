"""The texts of a task as vectors: term counts where they are asked for, and what is odd."""

from __future__ import annotations

import numpy as np
import pytest

from harness.encoders.bm25 import BM25
from harness.encoders.hashing import Hashing
from harness.encoders.tfidf_svd import TfidfSvd
from harness.errors import InputError
from harness.pipeline.phases import Clock
from harness.pipeline.represent import Workplace, represent
from harness.store import Store
from harness.vectors.lengths import unit
from tests.fakes import Counting

PARTS = {
    "documents": ("document", ["red apple", "red red car", ""]),
    "queries": ("query", ["red", "car car"]),
}


def test_term_counts_of_documents_are_given_where_they_are_asked_for(tmp_path):
    """Stems in alphabetical order: appl, car, red."""
    store = Store(tmp_path)
    plain = represent("bm25", BM25(), PARTS, Workplace(store, Clock()))
    assert set(plain.parts) == {"documents", "queries"}
    made = represent("bm25", BM25(), PARTS, Workplace(store, Clock()), counts=True)
    assert made.parts["counts"].matrix.toarray().tolist() == [[1, 0, 1], [0, 1, 2], [0, 0, 0]]
    assert made.parts["queries"].matrix.toarray().tolist() == [[0, 0, 1], [0, 2, 0]]
    assert (
        made.counts
        == plain.counts
        == {
            "documents": 3,
            "documents_tokens": 5,
            "documents_zero_vectors": 1,
            "queries": 2,
            "queries_tokens": 3,
            "queries_zero_vectors": 0,
        }
    )
    assert plain.warnings == ["1 of the documents has the zero vector: similar to nothing"]


def test_an_encoder_of_texts_has_no_term_counts(tmp_path):
    made = represent("h", Hashing(8), PARTS, Workplace(Store(tmp_path), Clock()), counts=True)
    assert set(made.parts) == {"documents", "queries"}
    assert made.warnings == ["1 of the documents has the zero vector: similar to nothing"]
    assert made.counts["documents_zero_vectors"] == 1
    assert made.counts["queries_zero_vectors"] == 0


def test_vectors_that_were_kept_where_fewer_dimensions_were_made_than_asked_for(tmp_path):
    """As versions did that cut vectors to what they had, and kept them by what was asked for."""

    class Cut(Hashing):
        @property
        def asked_dim(self):
            return self.dim

    class Older(Cut):
        def encode(self, texts, role):
            return Hashing(4).encode(texts, role)

    store, texts = Store(tmp_path), ["red", "car"]
    store.plan(Older(8), texts, "text").fetch()
    assert not len(store.plan(Cut(8), texts, "text").missing)
    with pytest.raises(InputError, match=r"^st:m: dim=8: the model makes 4-d vectors$"):
        represent("st:m", Cut(8), {"sentences": ("text", texts)}, Workplace(store))


def test_what_was_encoded_before_is_counted_apart(tmp_path):
    store, parts = (
        Store(tmp_path),
        {"sentences": ("text", ["a", "b", "a", "one two three four five six"])},
    )
    first = represent("c", Counting(), parts, Workplace(store, Clock())).counts
    assert first == {
        "sentences": 4,
        "sentences_distinct": 3,
        "sentences_encoded_now": 3,
        "sentences_tokens": 9,
        "sentences_truncated": 1,
        "sentences_zero_vectors": 0,
    }
    again = represent("c", Counting(), parts, Workplace(store, Clock())).counts
    assert again == {**first, "sentences_encoded_now": 0}


def test_terms_are_weighed_by_a_corpus_or_not_at_all(tmp_path):
    parts = {"sentences": ("text", ["a", "b"])}
    with pytest.raises(InputError) as error:
        represent("bm25,k1=2", BM25(k1=2), parts, Workplace(Store(tmp_path), Clock()))
    assert str(error.value) == (
        "bm25,k1=2 weighs terms by a corpus, and the task has only pairs of sentences: "
        "choose a model that makes dense vectors"
    )


def test_without_a_corpus_an_encoder_is_fitted_on_the_texts_themselves(tmp_path):
    """ "red" is in 2 of the 3 distinct texts: the weights that a corpus of these would give."""
    texts = ["red apple", "red car", "red apple", "?", "red apple"]
    parts = {"train": ("text", texts[:2]), "test": ("text", texts[2:])}
    made = represent("tfidf-svd", TfidfSvd(), parts, Workplace(Store(tmp_path), Clock()))
    train, test = made.parts["train"].values, made.parts["test"].values
    expected = TfidfSvd().encode_collection(["red car", "?", "red apple"], texts).queries.values
    np.testing.assert_allclose(train @ train.T, expected[:2] @ expected[:2].T, atol=1e-6)
    np.testing.assert_array_equal(test, [train[0], [0, 0], train[0]])
    assert made.counts == {
        "train": 2,
        "train_tokens": 4,
        "train_zero_vectors": 0,
        "test": 3,
        "test_tokens": 4,
        "test_zero_vectors": 1,
    }
    assert made.warnings == [
        "tfidf-svd is fitted on the task's own texts, 3 distinct ones: transductive",
        "2 dimensions in place of 256: the documents span no more",
        "1 of the test has the zero vector: similar to nothing",
    ]


def test_unit_length_in_place_but_for_zeros():
    values = np.float32([[3, 4], [0, 0], [0, -2]])
    assert unit(values) is values
    assert values.tolist() == [[np.float32(0.6), np.float32(0.8)], [0, 0], [0, -1]]
