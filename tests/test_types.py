from __future__ import annotations

import hashlib
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.types import (
    TOO_LARGE,
    Corpus,
    Dense,
    EncodingError,
    HarnessError,
    InputError,
    Pairs,
    Qrels,
    Queries,
    Retrieval,
    StoreError,
    reason,
    silent,
    text_digest,
)

QUICK = settings(max_examples=100, deadline=None, derandomize=True)


def small(
    documents: tuple[str, ...] = ("a", "b", "c"),
    judgments: tuple[tuple[str, str, float], ...] = (("q1", "b", 1), ("q2", "a", 2)),
    text: str = "text of {}",
) -> Retrieval:
    corpus = Corpus.of(documents, [text.format(id) for id in documents])
    queries = Queries(["q1", "q2"], ["one", "two"])
    return Retrieval(corpus, queries, Qrels.of(judgments, queries, corpus))


def test_a_corpus_is_sorted_by_id_and_its_texts_move_along():
    corpus = Corpus.of(["b", "a10", "a9"], ["of b", "of a10", "of a9"])
    assert list(corpus.ids) == ["a10", "a9", "b"]
    assert list(corpus.texts) == ["of a10", "of a9", "of b"]
    assert corpus.rows == {"a10": 0, "a9": 1, "b": 2}
    assert len(corpus) == 3


@QUICK
@given(st.lists(st.text(min_size=1, max_size=4), min_size=1, max_size=20, unique=True))
def test_ids_are_ordered_as_strcmp_orders_utf8(ids):
    assert list(Corpus.of(ids, ids).ids) == sorted(ids, key=str.encode)


def test_an_astral_id_ranks_above_the_private_use_area():
    # UTF-16 would put U+1F600 (surrogates D83D...) below U+E000
    assert list(Corpus.of(["\U0001f600", "\ue000"], ["", ""]).ids) == ["\ue000", "\U0001f600"]


def test_empty_collections_and_repeated_ids_are_refused():
    with pytest.raises(InputError, match="the corpus is empty"):
        Corpus.of([], [])
    with pytest.raises(InputError, match="there are no queries"):
        Queries([], [])
    with pytest.raises(InputError, match="document id 'x' occurs more than once"):
        Corpus.of(["x", "y", "x"], ["", "", ""])
    with pytest.raises(InputError, match="query id 'x' occurs more than once"):
        Queries(["x", "y", "x"], ["", "", ""])


def test_queries_keep_the_order_of_their_source():
    queries = Queries(["z", "a"], ["last", "first"])
    assert queries.rows == {"z": 0, "a": 1}
    assert len(queries) == 2


def test_qrels_are_compressed_rows_with_unknown_documents_first():
    corpus = Corpus.of(["a", "b", "c"], ["", "", ""])
    queries = Queries(["q1", "q2", "q3"], ["", "", ""])
    qrels = Qrels.of(
        [
            ("q3", "c", 2),
            ("q1", "b", 1),
            ("nobody", "a", 1),
            ("q3", "gone", 3),
            ("q3", "a", -1),
            ("q1", "b", 1.0),
        ],
        queries,
        corpus,
    )
    assert qrels.indptr.tolist() == [0, 1, 1, 4]
    assert qrels.docs.tolist() == [1, -1, 0, 2]
    assert qrels.gains.tolist() == [1, 3, -1, 2]
    assert qrels.query_rows.tolist() == [0, 2, 2, 2]
    assert qrels.judged.tolist() == [True, False, True]
    assert (qrels.unknown_documents, qrels.unknown_queries, qrels.repeated) == (1, 1, 1)
    assert (qrels.indptr.dtype, qrels.docs.dtype, qrels.gains.dtype) == ("i8", "i4", "f4")


def test_two_gains_for_one_document_are_refused():
    with pytest.raises(InputError, match=r"'b' is judged twice for query 'q1', as 1 and as 2"):
        small(judgments=(("q1", "b", 1), ("q1", "b", 2)))
    with pytest.raises(InputError, match="'gone' is judged twice"):
        small(judgments=(("q1", "gone", 1), ("q1", "gone", 2)))


@pytest.mark.parametrize("gain", [float("nan"), float("inf"), float("-inf"), 1e39, -1e39])
def test_a_gain_that_float32_cannot_hold_is_refused(gain):
    with pytest.raises(InputError, match=r"document 'a' for query 'q1' is .*finite"):
        small(judgments=(("q1", "a", gain),))


def test_the_largest_float32_is_a_gain_however_it_is_rounded():
    largest = float(np.finfo(np.float32).max)
    for gain in (largest, 3.40282347e38, math.nextafter(TOO_LARGE, 0)):
        assert small(judgments=(("q1", "a", gain),)).qrels.gains.tolist() == [largest]
    with pytest.raises(InputError, match="finite float32"):
        small(judgments=(("q1", "a", TOO_LARGE),))


def test_a_digest_is_sha256_of_length_prefixed_texts():
    assert text_digest(["a", ""], ["bc", "é"]) == hashlib.sha256(b"1:a2:bc0:2:\xc3\xa9").hexdigest()
    assert text_digest(["ab"], ["c"]) != text_digest(["a"], ["bc"])
    with pytest.raises(ValueError, match="shorter"):
        text_digest(["a", "b"], ["c"])


def test_a_fingerprint_is_of_the_content_and_not_of_its_order():
    shuffled = small(("c", "a", "b"), (("q2", "a", 2), ("q1", "b", 1)))
    assert shuffled.fingerprint() == small().fingerprint()


@pytest.mark.parametrize(
    ("other", "changed"),
    [
        (small(text="{}"), {"corpus"}),
        (small(judgments=(("q1", "b", 1), ("q2", "a", 3))), {"qrels"}),
        (small(judgments=(("q1", "b", 1), ("q2", "b", 2))), {"qrels"}),
        (small(judgments=(("q1", "b", 1), ("q1", "a", 2))), {"qrels"}),
        (small(documents=("a", "b", "d")), {"corpus"}),
    ],
)
def test_a_fingerprint_names_what_changed(other, changed):
    one, two = small().fingerprint(), other.fingerprint()
    assert {part for part in one if one[part] != two[part]} == changed


def test_metadata_is_sorted_along_and_has_a_digest_of_its_own():
    queries = Queries(["q1"], ["one"])
    found = []
    for columns in (None, {"x": [1, 2]}, {"x": [1, None]}, {"y": [1, 2]}):
        corpus = Corpus.of(["b", "a"], ["of b", "of a"], metadata=columns)
        data = Retrieval(corpus, queries, Qrels.of([("q1", "a", 1)], queries, corpus))
        found.append(data.fingerprint())
    assert corpus.metadata == {"y": [2, 1]}
    assert len({one.pop("metadata", None) for one in found}) == 4
    assert found[0] == found[1] == found[2] == found[3]
    passages = Corpus.of(["p2", "p1"], ["", ""], ["d", "d"], metadata={"x": [1, 2]})
    assert passages.metadata == {"x": [2, 1]}


def test_pairs_have_a_length_and_a_fingerprint():
    pairs = Pairs(["a", "b"], ["c", "d"], np.array([0.5, 1.0]))
    swapped = Pairs(["c", "d"], ["a", "b"], pairs.gold)
    regraded = Pairs(pairs.left, pairs.right, np.array([0.5, 2.0]))
    assert len(pairs) == 2
    assert pairs.fingerprint()["pairs"] != swapped.fingerprint()["pairs"]
    assert pairs.fingerprint()["pairs"] == regraded.fingerprint()["pairs"]
    assert pairs.fingerprint()["gold"] != regraded.fingerprint()["gold"]


def test_dense_vectors_count_as_texts():
    assert len(Dense(np.zeros((3, 2), np.float32))) == 3


def test_every_error_is_a_harness_error():
    assert all(issubclass(e, HarnessError) for e in (InputError, EncodingError, StoreError))


def test_a_reason_is_one_line():
    assert reason(ValueError("  first\nsecond")) == "first"
    assert reason(KeyError()) == "KeyError"


def test_silence(capsys):
    silent("encode", 1, 2, "texts")
    assert capsys.readouterr() == ("", "")
