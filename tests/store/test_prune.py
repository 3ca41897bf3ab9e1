"""What is removed: the least recently used, and what a killed prune left."""

from __future__ import annotations

import os
import time

import pytest

from harness.errors import StoreError
from harness.store import Store
from tests.fakes import Counting
from tests.killed import run
from tests.store.frame import (
    TEXTS,
    fetch,
    shards,
)


def test_spaces_are_pruned_by_last_use_until_the_limit_holds(tmp_path):
    store = Store(tmp_path)
    encoders = [Counting(name=name) for name in "abc"]
    for encoder in encoders:
        fetch(store, encoder, ["one", "two"])
    for age, space in enumerate(store.spaces()):
        os.utime(space.path / "space.json", (0, 1000 + age))
    order = [space.description["encoder"]["name"] for space in store.spaces()]
    oldest = next(encoder for encoder in encoders if encoder.name == order[0])
    fetch(store, oldest, ["one"])  # using it makes it the youngest
    spaces = store.spaces()
    assert [space.description["encoder"]["name"] for space in spaces] == [*order[1:], order[0]]
    assert [space.texts for space in spaces] == [2, 2, 2]

    total = sum(space.bytes for space in spaces)
    assert total == sum(f.stat().st_size for f in tmp_path.rglob("*") if f.is_file())
    assert store.prune(total) == []
    (gone,) = store.prune(total - 1)
    assert gone.path == spaces[0].path
    assert not gone.path.exists()
    assert store.prune(10**9, keep=0) == []
    assert store.prune(0, keep=500) == []
    assert [space.path for space in store.prune(0)] == [spaces[1].path, spaces[2].path]
    assert store.spaces() == []


def test_the_stores_own_limit_holds_and_keeps_what_the_run_used(tmp_path):
    store = Store(tmp_path, limit=10)
    fetch(store, Counting(name="old"), ["one"])
    (space,) = store.spaces()
    os.utime(space.path / "space.json", (0, 1000))
    fetch(store, Counting(name="new"), ["one"])
    removed = store.prune(keep=2000)
    assert [space.description["encoder"]["name"] for space in removed] == ["old"]
    assert [space.description["encoder"]["name"] for space in store.spaces()] == ["new"]


@pytest.mark.parametrize("text", ["{", "[]", '{"label": "a"}', "[" * 100_000])
def test_a_space_whose_description_is_broken_names_its_folder(tmp_path, text):
    store = Store(tmp_path)
    fetch(store, Counting(), ["one"])
    (space,) = store.spaces()
    (space.path / "space.json").write_text(text)
    with pytest.raises(StoreError, match=r"cannot be read: .*; delete that folder"):
        store.spaces()


def test_a_killed_prune_leaves_a_whole_space_or_what_the_next_one_removes(tmp_path):
    program = """
        from harness.encoders.hashing import Hashing
        from harness.store import Store
        store, texts = Store(Path(sys.argv[1]), shard=2), [f"text {i}" for i in range(6)]

        def fill():
            store.plan(Hashing(4), texts, "document").fetch()
            place = store.root / "indexes" / "key"
            place.mkdir(parents=True, exist_ok=True)
            (place / "structure").write_text("x")
            (place / "structure.json").write_text("{}")

        def check():
            for space in store.spaces():
                assert space.texts == (0 if space.description["role"] == "index" else 6), space
            store.prune(0)
            assert not [path for path in store.root.rglob("*") if path.is_file()]
            fill()

        fill()
        killed(lambda: store.prune(0), check)
    """
    assert run(program, tmp_path) > 15


def test_what_nothing_describes_is_removed_once_it_is_old(tmp_path):
    """As an older release left it, killed while it pruned or built."""
    store = Store(tmp_path, shard=2)
    fetch(store, Counting(), TEXTS)
    (space,) = store.spaces()
    for age, name in ((0, "young"), (3700, "old")):
        for folder in (tmp_path / "embeddings" / name, tmp_path / "indexes" / name):
            folder.mkdir(parents=True)
            (folder / "x.npy").write_bytes(shards(store)[0].read_bytes())
            for path in (folder / "x.npy", folder):
                os.utime(path, (0, time.time() - age))
    assert store.prune() == []
    kept = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.glob("*/*"))
    assert kept == [f"embeddings/{space.path.name}", "embeddings/young", "indexes/young"]
