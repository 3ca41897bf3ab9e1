"""Vectors that are made anew: what made the old ones, and what replaces them."""

from __future__ import annotations

import hashlib
import io
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest

from harness.api import evaluate
from harness.store import Store
from harness.store.shards import read_maker
from tests.fakes import Counting, beir
from tests.killed import run
from tests.store.frame import (
    TEXTS,
    Made,
    Ragged,
    age,
    direct,
    fetch,
    shards,
)


def test_a_shard_says_what_made_it(tmp_path):
    store = Store(tmp_path)
    first = fetch(store, Made(), ["one", "two"])
    assert first.makers == ({"device": "cpu", "counting": "1.0"},)
    both = fetch(
        store, Made(version="2.0"), ["one", "three"]
    )  # the version is no part of what it is
    assert both.made == 1
    assert sorted(maker["counting"] for maker in both.makers) == ["1.0", "2.0"]
    again = fetch(store, Made(version="3.0"), ["two"])
    assert again.makers == ({"device": "cpu", "counting": "1.0"},)


@pytest.mark.parametrize("kind", ["dense", "sparse", "multi-vector"])
def test_a_shard_of_an_older_version_is_read_and_its_maker_not_known(tmp_path, kind):
    encoder, store = Counting() if kind == "dense" else Ragged(kind=kind), Store(tmp_path)
    wanted = fetch(store, encoder, ["one two", "three"])
    [path] = shards(store)
    file, arrays = io.BytesIO(path.read_bytes()), 1 if kind == "dense" else 2
    old = io.BytesIO()
    for _ in range(arrays):
        np.save(old, np.load(file))
    path.unlink()
    digest = hashlib.sha256(old.getvalue()).hexdigest()[:32]
    (path.parent / f"{digest}.npy").write_bytes(old.getvalue())
    found = fetch(store, encoder, ["one two", "three"])
    assert (found.made, found.makers) == (0, ({},))
    assert found.encoded.tokens.tolist() == wanted.encoded.tokens.tolist()


def test_vectors_of_two_kinds_of_device_are_kept_apart(tmp_path, monkeypatch):
    store, counting = Store(tmp_path), Counting()
    fetch(store, counting, TEXTS)
    monkeypatch.setattr(Counting, "device_kind", "cuda")
    fetch(store, counting, TEXTS)
    fetch(store, counting, TEXTS)
    assert sorted(counting.seen) == sorted(2 * TEXTS[:4])  # once by each kind


def test_a_fresh_store_encodes_once_more_and_replaces_what_was_there(tmp_path):
    before = Made()
    fetch(Store(tmp_path), before, ["one", "two", "three"])
    fresh, encoder = Store(tmp_path, since=time.time() + 1), Made(version="2.0")
    old = shards(fresh)
    for path in old:
        os.utime(path, (time.time() - 60,) * 2)
    fresh = Store(tmp_path, since=time.time() - 30)
    assert fetch(fresh, encoder, ["one", "two"]).makers == ({"device": "cpu", "counting": "2.0"},)
    assert sorted(encoder.seen) == ["one", "two"]
    assert not set(old) & set(shards(fresh))
    assert fetch(fresh, encoder, ["two", "one"]).made == 0  # once in a run
    assert fetch(Store(tmp_path), Counting(), ["one", "three"]).made == 1  # what shared its shard


def test_what_is_encoded_anew_to_the_same_bytes_stays(tmp_path):
    """Shards are named by their bytes: the same vectors by the same maker have the same name."""
    store, texts = Store(tmp_path, shard=2), ["one", "two words", "three"]
    before = fetch(store, Made(), texts)
    names = shards(store)
    for _ in range(2):  # and once more
        encoder = Made()
        found = fetch(age(store), encoder, texts)
        assert sorted(encoder.seen) == sorted(texts)
        np.testing.assert_array_equal(found.encoded.values, before.encoded.values)
        assert shards(store) == names
        assert fetch(store, Made(), texts).made == 0


def test_a_fresh_store_replaces_vectors_of_all_makers_and_texts_that_are_there_twice(tmp_path):
    store = Store(tmp_path)
    for version, texts in [("1.0", ["one", "two"]), ("2.0", ["two", "three"])]:
        with tempfile.TemporaryDirectory() as folder:  # as a program that saw none of the others
            alone = Store(Path(folder))
            fetch(alone, Made(version=version), texts)
            (made,) = shards(alone)
            to = tmp_path / made.relative_to(alone.root).parent
            to.mkdir(parents=True, exist_ok=True)
            (to / made.name).write_bytes(made.read_bytes())
            (to / "space.json").write_bytes((made.parent / "space.json").read_bytes())
    encoder = Made(version="2.0")
    found = fetch(age(store), encoder, ["one", "two", "three"])
    assert sorted(encoder.seen) == ["one", "three", "two"]
    assert found.makers == ({"device": "cpu", "counting": "2.0"},)
    assert len(shards(store)) == 1
    again = fetch(store, Made(version="2.0"), ["one", "two", "three"])
    assert (again.made, again.makers) == (0, found.makers)


@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_two_fresh_runs_at_once_leave_all_vectors(tmp_path, version):
    store, texts = Store(tmp_path, shard=2), ["one", "two words", "three"]
    before = fetch(store, Made(), texts)
    fresh = age(store)
    plans = [fresh.plan(Made(version=version), texts, "document") for _ in range(2)]
    for plan in plans:
        found = plan.fetch()
        assert found.made == 3
        np.testing.assert_array_equal(found.encoded.values, before.encoded.values)
    after = fetch(store, Made(), texts)
    assert (after.made, after.makers) == (0, ({"device": "cpu", "counting": version},))


def test_a_shard_that_is_replaced_while_it_is_read_is_encoded_again(tmp_path, monkeypatch):
    store, read, gone = Store(tmp_path), read_maker, []

    def replaced(path: Path) -> str:  # another process encodes anew
        if not gone:
            gone.append(path)
            path.unlink()
        return read(path)

    fetch(store, Counting(), ["one", "two"])
    monkeypatch.setattr("harness.store.shards.read_maker", replaced)
    encoder = Counting()
    found = fetch(store, encoder, ["one", "two", "three"])
    assert found.made == 3
    np.testing.assert_array_equal(found.encoded.values, direct(encoder, ["one", "two", "three"]))


def test_a_fresh_run_that_is_killed_loses_no_vectors(tmp_path):
    program = """
        import os, time
        from harness.store import Store
        from tests.store.frame import Made, age, fetch, shards

        root, texts = Path(sys.argv[1]), ["one", "two words", "three"]
        store = Store(root, shard=2)
        fetch(store, Made(), texts)

        def work():
            fetch(age(store), Made(version=sys.argv[2]), texts)

        def check():
            assert fetch(Store(root), Made(), texts).made == 0

        killed(work, check)
    """
    for version in ("1.0", "2.0"):
        assert run(program, tmp_path / version, version) > 5


def test_a_record_says_what_made_its_vectors_and_warns_of_several(tmp_path):
    documents = {"a": "one", "b": "two"}
    task = beir(tmp_path / "t", documents, {"q": "one"}, [("q", "a", 1)])
    store = Store(tmp_path / "store")
    record = evaluate(Made(), task, store=store, measures=["RR@10"]).record
    assert record.makers == [{"device": "cpu", "counting": "1.0"}]
    assert not [note for note in record.warnings if "--fresh" in note]
    again = evaluate(Made(version="2.0"), task, store=store, measures=["RR@10"]).record
    assert again.makers == record.makers
    assert any(
        "made with counting 1.0 (this is 2.0): --fresh, or fresh=True, encodes anew" in n
        for n in again.warnings
    )
    more = beir(tmp_path / "u", {**documents, "c": "three"}, {"q": "one"}, [("q", "a", 1)])
    mixed = evaluate(Made(version="2.0"), more, store=store, measures=["RR@10"]).record
    assert len(mixed.makers) == 2
    assert any("were made in 2 ways (counting" in note for note in mixed.warnings)
