"""The store: found by content, in every representation, and never what is no vector."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import disk
from harness.api import evaluate
from harness.data import Role
from harness.disk import cache_root, memory
from harness.encoders import Encoded
from harness.errors import EncodingError, StoreError
from harness.store import Store
from tests.fakes import Counting, beir
from tests.store.frame import (
    TEXTS,
    Ragged,
    direct,
    empty,
    fetch,
    flip,
    refuse,
    shards,
    truncate,
)


def test_a_text_is_encoded_once_however_often_it_occurs(tmp_path):
    store, encoder = Store(tmp_path), Counting()
    found = fetch(store, encoder, TEXTS)
    assert sorted(encoder.seen) == ["", "one", "three words here", "two words"]
    assert (found.distinct, found.made, found.warnings) == (4, 4, ())
    np.testing.assert_array_equal(found.encoded.values, direct(encoder, TEXTS))
    assert found.encoded.tokens.tolist() == [1, 2, 3, 0, 1]
    assert found.encoded.truncated.tolist() == [False] * 5

    again = fetch(store, encoder, ["two words", "new", "one"])
    assert encoder.seen[4:] == ["new"]
    assert (again.distinct, again.made) == (3, 1)
    np.testing.assert_array_equal(
        again.encoded.values, direct(encoder, ["two words", "new", "one"])
    )


def test_counts_of_tokens_and_of_truncated_texts_are_kept_with_the_vectors(tmp_path):
    store, encoder = Store(tmp_path), Counting()
    texts = ["a b c d e f", "a"]
    fetch(store, encoder, texts)
    found = fetch(store, encoder, texts)
    assert found.made == 0
    assert found.encoded.tokens.tolist() == [6, 1]
    assert found.encoded.truncated.tolist() == [True, False]


def test_two_tasks_that_share_documents_encode_them_once(tmp_path):
    documents = {f"d{i}": f"document number {i}" for i in range(5)}
    one = beir(tmp_path / "one", documents, {"q": "number 1"}, [("q", "d1", 1)])
    more = {"e0": "another one", **documents}
    two = beir(tmp_path / "two", more, {"q": "number 2"}, [("q", "d2", 1)])
    store, encoder = Store(tmp_path / "store"), Counting()
    for task in (one, two):
        evaluate(encoder, task, store=store)
    assert sorted(encoder.seen) == sorted([*more.values(), "number 1", "number 2"])
    assert len(encoder.loads) == 2
    evaluate(encoder, two, store=store)
    assert len(encoder.loads) == 2  # nothing was missing: the weights stayed on the disk


@pytest.mark.parametrize(
    "other",
    [
        Counting(name="other"),
        Counting(settings=(("dtype", "float16"),)),
        Counting(settings=(("max_length", 128),)),
        Counting(settings=(("folder_sha256", "1234"),)),
        Counting(query_prompt="query: "),
    ],
)
def test_whatever_decides_a_vector_has_an_entry_of_its_own(tmp_path, other):
    store, encoder = Store(tmp_path), Counting()
    fetch(store, encoder, ["one", "two"], "query")
    found = fetch(store, other, ["one", "two"], "query")
    assert (found.made, len(store.spaces())) == (2, 2)
    np.testing.assert_array_equal(found.encoded.values, direct(other, ["one", "two"], "query"))


def test_roles_have_entries_of_their_own(tmp_path):
    store, encoder = Store(tmp_path), Counting()
    for role in ("query", "document", "text"):
        found = fetch(store, encoder, ["one"], role)
        assert found.made == 1
        np.testing.assert_array_equal(found.encoded.values, direct(encoder, ["one"], role))
    assert encoder.seen == ["one"] * 3
    assert sorted(space.description["role"] for space in store.spaces()) == [
        "document",
        "query",
        "text",
    ]


@dataclass(frozen=True)
class Broken(Counting):
    """An encoder that goes wrong in one way."""

    how: str = ""

    def encode(self, texts: Sequence[str], role: Role) -> Encoded:
        made = super().encode(texts, role)
        values = made.values
        if self.how in ("nan", "inf"):
            values[-1, 2:] = float(self.how)
        values = {
            "too few": values[:-1],
            "flat": values[0],
            "no columns": values[:, :0],
            "growing": np.zeros((len(texts), len(self.seen)), np.float32),
        }.get(self.how, values)
        return Encoded(values, made.tokens, made.truncated)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("nan", "returned NaN or infinity for 1 of 2 texts, the first 'b': try dtype=float32"),
        ("inf", "returned NaN or infinity for 1 of 2 texts, the first 'b': try dtype=float32"),
        ("too few", "an array of shape (1, 4) for 2 texts: expected (2, d)"),
        ("flat", "an array of shape (4,) for 2 texts: expected (2, d)"),
        ("no columns", "an array of shape (2, 0) for 2 texts: expected (2, d)"),
    ],
)
def test_what_is_no_embedding_is_refused_and_never_stored(tmp_path, how, message):
    store = Store(tmp_path)
    with pytest.raises(EncodingError) as error:
        fetch(store, Broken(how=how), ["long", "b"])
    assert message in str(error.value)
    assert shards(store) == []


def test_a_width_that_changes_is_refused_and_whole_shards_stay(tmp_path):
    store = Store(tmp_path, shard=2)
    with pytest.raises(EncodingError, match="4-d vectors after 2-d ones: expected one width"):
        fetch(store, Broken(how="growing"), ["aa", "bb", "cc", "dd"])
    assert [np.load(path)["vector"].shape for path in shards(store)] == [(2, 2)]


def test_a_space_of_two_widths_is_refused_with_its_folder(tmp_path):
    store = Store(tmp_path, shard=2)

    @dataclass(frozen=True)
    class Wider(Counting):
        def encode(self, texts: Sequence[str], role: Role) -> Encoded:
            made = super().encode(texts, role)
            return Encoded(np.repeat(made.values, 2, axis=1), made.tokens, made.truncated)

    one = store.plan(Counting(), ["one"], "document")
    late = store.plan(Wider(), ["two"], "document")  # as another process might
    one.fetch()
    with pytest.raises(EncodingError, match=f"8-d vectors after 4-d ones.* delete {one.space}"):
        fetch(store, Wider(), ["two"])
    assert len(shards(store)) == 1
    with pytest.raises(StoreError, match="several widths: delete that folder"):
        late.fetch()


def test_zero_vectors_are_legal_counted_and_told(tmp_path):
    documents = {"a": "apple pie", "b": "!!!", "c": "pear", "d": "..."}
    task = beir(tmp_path / "data", documents, {"q": "apple"}, [("q", "a", 1)])
    record = evaluate("hashing", task, store=Store(tmp_path / "store")).record
    assert record.counts["documents_zero_vectors"] == 2
    assert record.counts["queries_zero_vectors"] == 0
    assert "2 of the documents have the zero vector: similar to nothing" in record.warnings
    assert record.scores["RR@10"].mean == 1.0


def test_where_the_store_lies(monkeypatch):
    monkeypatch.setenv("HARNESS_CACHE", "~/elsewhere")
    monkeypatch.setenv("HOME", "/somebody")
    assert cache_root() == Path("/somebody/elsewhere")
    monkeypatch.delenv("HARNESS_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    assert cache_root() == Path("/caches/retrieval-harness")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_root() == Path("/somebody/.cache/retrieval-harness")


def test_vectors_larger_than_memory_are_read_into_a_file(tmp_path, monkeypatch):
    store, encoder = Store(tmp_path, shard=2), Counting()
    monkeypatch.setattr(memory, "available_memory", lambda: 64)
    found = fetch(store, encoder, TEXTS)
    assert isinstance(found.encoded.values, np.memmap)
    np.testing.assert_array_equal(found.encoded.values, direct(encoder, TEXTS))
    assert sorted(path.suffix for path in tmp_path.rglob("*.*")) == [".json", ".npy", ".npy"]
    small = fetch(store, encoder, ["one", "one"])
    assert not isinstance(small.encoded.values, np.memmap)


def test_a_file_is_whole_or_absent(tmp_path, monkeypatch):
    path = tmp_path / "file"
    disk.write_whole(path, b"before")
    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(PermissionError):
        disk.write_whole(path, b"after")
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]
    assert path.stat().st_mode & 0o777 == 0o644


WORDS = st.lists(st.text(max_size=6), min_size=1, max_size=12)


@settings(max_examples=40, deadline=None)
@given(lists=st.lists(WORDS, min_size=1, max_size=4), shard=st.integers(1, 5))
def test_any_sequence_of_texts_has_the_vectors_of_encoding_directly(lists, shard):
    with tempfile.TemporaryDirectory() as folder:
        store, encoder = Store(Path(folder), shard=shard), Counting()
        for texts in lists:
            found = fetch(store, encoder, texts)
            np.testing.assert_array_equal(found.encoded.values, direct(encoder, texts))
            assert found.distinct == len(set(texts))
        every = {text for texts in lists for text in texts}
        assert sorted(encoder.seen) == sorted(every)


@settings(max_examples=30, deadline=None)
@given(
    lists=st.lists(WORDS, min_size=1, max_size=3),
    shard=st.integers(1, 5),
    kind=st.sampled_from(["sparse", "multi-vector"]),
)
def test_vectors_without_a_fixed_size_are_kept_too(lists, shard, kind):
    with tempfile.TemporaryDirectory() as folder:
        store, encoder = Store(Path(folder), shard=shard), Ragged(kind=kind)
        for texts in lists:
            found = fetch(store, encoder, texts).encoded
            values = found.values
            assert (len(values), values.dim) == (len(texts), 4)
            assert found.tokens.tolist() == [len(text) for text in texts]
            rows = [values.matrix] if kind == "sparse" else np.split(values.values, values.offsets)
            kept = rows[0].toarray()[:, None] if kind == "sparse" else rows[1:-1]
            for text, row in zip(texts, kept, strict=True):
                np.testing.assert_array_equal(row, np.reshape(encoder.rows(text), (-1, 4)))
        every = {text for texts in lists for text in texts}
        assert sorted(encoder.seen) == sorted(every)


@pytest.mark.parametrize("damage", [flip, truncate, empty])
def test_damage_behind_the_rows_of_a_shard_is_seen(tmp_path, damage):
    store = Store(tmp_path, shard=2)
    whole = fetch(store, Ragged(), TEXTS).encoded.values
    damage(shards(store)[0])
    assert [len(store.verify()[1]), store.spaces()[0].texts] == [1, 2]
    found = fetch(store, Ragged(), TEXTS)
    assert found.made == 2
    np.testing.assert_array_equal(found.encoded.values.values, whole.values)


def test_token_vectors_larger_than_memory_are_read_into_a_file(tmp_path, monkeypatch):
    store = Store(tmp_path, shard=2)
    whole = fetch(store, Ragged(), TEXTS).encoded.values
    monkeypatch.setattr(memory, "available_memory", lambda: 64)
    found = fetch(store, Ragged(), TEXTS).encoded.values
    assert isinstance(found.values, np.memmap)
    np.testing.assert_array_equal(found.values, whole.values)


@pytest.mark.parametrize("kind", ["sparse", "multi-vector"])
@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ("nan", "returned NaN or infinity for 1 of 2 texts, the first 'b': try dtype=float32"),
        ("too few", "returned vectors of 1 for 2 texts"),
        ("growing", "4-d vectors after 2-d ones: expected one width"),
    ],
)
def test_what_is_no_embedding_is_refused_in_every_representation(tmp_path, kind, broken, message):
    store = Store(tmp_path, shard=2)
    with pytest.raises(EncodingError) as error:
        fetch(
            store,
            Ragged(kind=kind, broken=broken),
            ["long", "b", *["cc", "d"] * (broken == "growing")],
        )
    assert message in str(error.value)
