from __future__ import annotations

import hashlib
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.arrays import TOO_LARGE
from harness.data import (
    Candidates,
    Changes,
    Classification,
    Clustering,
    Corpus,
    Labelled,
    Origin,
    Pairs,
    Qrels,
    Queries,
    Retrieval,
    Summaries,
    text_digest,
)
from harness.errors import EncodingError, HarnessError, InputError, StoreError, reason
from harness.progress import silent
from harness.vectors import Dense

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
    assert [corpus.row(id) for id in ("a10", "a9", "b", "c")] == [0, 1, 2, -1]
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


# -- passages, candidates, and the other kinds of task ---------------------------------------------


def test_passages_name_their_documents():
    corpus = Corpus.of(["p3", "p1", "p2"], ["three", "one", "two"], ["y", "x", "y"])
    assert (list(corpus.ids), list(corpus.texts)) == (["p1", "p2", "p3"], ["one", "two", "three"])
    assert corpus.parents.tolist() == [0, 1, 1]
    assert corpus.parents.dtype == np.int32
    assert list(corpus.ranked) == list(corpus.parent_ids) == ["x", "y"]
    assert [corpus.row(id) for id in ("x", "y", "p1")] == [0, 1, -1]
    assert len(corpus) == 3
    queries = Queries(["q"], ["?"])
    assert Qrels.of([("q", "y", 1), ("q", "p1", 1)], queries, corpus).docs.tolist() == [-1, 1]
    with pytest.raises(InputError, match="a parent document has an empty id: expected text"):
        Corpus.of(["a"], ["b"], [""])


def test_without_passages_documents_are_what_is_ranked():
    corpus = Corpus.of(["b", "a"], ["", ""])
    assert (corpus.parents, list(corpus.ranked)) == (None, ["a", "b"])


def test_candidates_are_rows_of_what_the_corpus_holds():
    corpus = Corpus.of(["a", "b", "c"], ["", "", ""])
    queries = Queries(["q1", "q2", "q3", "q4"], ["", "", "", ""])
    named = {"q1": ["c", "a", "c"], "q3": ["gone", "b"], "q4": ["gone", "lost"], "nobody": ["a"]}
    found = Candidates.of(named, queries, corpus)
    assert found.indptr.tolist() == [0, 2, 2, 3, 3]
    assert found.docs.tolist() == [0, 2, 1]
    assert found.unknown == 2  # queries that name a document that is not there
    assert (found.indptr.dtype, found.docs.dtype) == ("i8", "i4")


@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("binary", {"binary": small(judgments=(("q1", "a", 1),)).qrels}),
        ("candidates", {"candidates": Candidates(np.int64([0, 1, 1]), np.int32([0]))}),
        ("groups", {"groups": np.int64([0, 0])}),
        ("changes", {"changes": Changes(np.int64([0]), np.int64([1]), np.int32([2]))}),
    ],
)
def test_what_a_collection_has_besides_is_part_of_its_fingerprint(part, change):
    plain, more = small().fingerprint(), replace(small(), **change).fingerprint()
    assert set(more) - set(plain) == {part}
    assert {name: more[name] for name in plain} == plain


def test_the_documents_of_passages_are_part_of_a_fingerprint():
    queries = Queries(["q"], ["?"])

    def fingerprint(*parents: str) -> dict[str, str]:
        corpus = Corpus.of(["p1", "p2"], ["one", "two"], parents)
        return Retrieval(corpus, queries, Qrels.of([("q", "x", 1)], queries, corpus)).fingerprint()

    one, other = fingerprint("x", "y"), fingerprint("x", "x")
    assert {part for part in one if one[part] != other[part]} == {"parents"}


@pytest.mark.parametrize(
    ("labels", "many"),
    [
        ([], "0 texts with 0 different labels"),
        (["a"], "1 text with 1 different label"),
        (["a", "a"], "2 texts with 1 different label"),
    ],
)
def test_labels_must_differ(labels, many):
    with pytest.raises(InputError) as error:
        Labelled(["text"] * len(labels), labels)
    assert str(error.value) == (f"{many}: expected at least two labels")


LABELLED = Labelled(["a", "b"], ["x", "y"])
CLASSES = Classification(LABELLED, LABELLED)
CLUSTERS = Clustering(["a", "b"], (["x", "y"], ["x1", None]))
SUMMARIES = Summaries([["h"]], [["m1", "m2"]], [[1, 2]])


@pytest.mark.parametrize(
    ("one", "other", "changed"),
    [
        (CLASSES, replace(CLASSES, test=Labelled(["a", "b"], ["y", "x"])), {"test"}),
        (CLASSES, replace(CLASSES, train=Labelled(["a", "c"], ["x", "y"])), {"train"}),
        (CLASSES, replace(CLASSES, samples_per_label=9), {"protocol"}),
        (CLASSES, replace(CLASSES, experiments=9), {"protocol"}),
        (CLUSTERS, replace(CLUSTERS, texts=["a", "c"]), {"texts"}),
        (CLUSTERS, replace(CLUSTERS, levels=(["x", "y"], ["x1", "x2"])), {"labels"}),
        (CLUSTERS, replace(CLUSTERS, drawn=1), {"protocol"}),
        (CLUSTERS, replace(CLUSTERS, sample=1), {"protocol"}),
        (SUMMARIES, replace(SUMMARIES, human=[["H"]]), {"human"}),
        (SUMMARIES, replace(SUMMARIES, machine=[["m1", "m3"]]), {"machine"}),
        (SUMMARIES, replace(SUMMARIES, ratings=[[1, 3]]), {"ratings"}),
        (CLASSES, replace(CLASSES, warnings=("x",), origin=Origin("MIT")), set()),
    ],
)
def test_the_other_kinds_have_fingerprints_too(one, other, changed):
    first, second = one.fingerprint(), other.fingerprint()
    assert {part for part in first if first[part] != second[part]} == changed


def test_sets_are_part_of_the_fingerprint_of_clusters():
    one, other = (replace(CLUSTERS, sets=np.int64(sets)).fingerprint() for sets in ([0, 0], [0, 1]))
    assert set(one) - set(CLUSTERS.fingerprint()) == {"sets"}
    assert {part for part in one if one[part] != other[part]} == {"sets"}
