"""Shards: ended by size or time, whole or set aside, read with few files open."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from harness import disk
from harness.api import evaluate
from harness.data import Role
from harness.encoders import Encoded
from harness.store import Store
from tests.fakes import Counting
from tests.store.frame import (
    TEXTS,
    direct,
    empty,
    fetch,
    flip,
    shards,
    truncate,
)


def test_missing_texts_are_encoded_longest_first_in_shards_of_a_fixed_number(tmp_path):
    store, encoder = Store(tmp_path, shard=3), Counting()
    texts = ["x" * n for n in range(8)]
    fetch(store, encoder, texts)
    assert encoder.seen == texts[::-1]
    assert sorted(len(np.load(path)) for path in shards(store)) == [2, 3, 3]


@dataclass(frozen=True)
class Batched(Counting):
    """Vectors that depend on the texts beside them, as the last bits of a real model's do."""

    batch_size: int = 100

    def encode(self, texts: Sequence[str], role: Role) -> Encoded:
        found = super().encode(texts, role)
        return replace(found, values=found.values + len(texts) * np.float32(len(texts[0])))


@dataclass
class SlowTime:
    """A clock on which so many seconds pass whenever somebody looks."""

    step: float
    now: float = 0.0

    def __call__(self) -> float:
        self.now += self.step
        return self.now


@pytest.mark.parametrize(
    ("step", "sizes"),
    [
        (1, [100, 200, 200]),  # as many whole parts as a shard may hold
        (5, [100, 200, 200]),
        (10, [100, 100, 100, 100, 100]),
    ],
)
def test_a_shard_ends_by_size_or_by_time(tmp_path, step, sizes):
    store = Store(tmp_path, shard=299)
    plan = store.plan(Batched(), [f"text {i:03}" for i in range(500)], "document")
    replace(plan, clock=SlowTime(step)).fetch()
    assert sorted(len(np.load(path)) for path in shards(store)) == sizes


@pytest.mark.parametrize(("part", "shard", "kept"), [(100, 299, 100), (100, 64, 64), (7, 299, 64)])
def test_a_run_killed_anywhere_has_the_batches_that_it_would_have_had(tmp_path, part, shard, kept):
    """Also where other times ended its shards; kept: texts of the first shard of a slow model."""
    texts = [f"text {i}{'x' * (i % 9)}" for i in range(500)]
    encoder = Batched(batch_size=part)
    whole = fetch(Store(tmp_path / "whole", shard=shard), encoder, texts).encoded.values

    @dataclass(frozen=True)
    class Killed(Batched):
        def encode(self, texts: Sequence[str], role: Role) -> Encoded:
            if self.loads:
                raise KeyboardInterrupt
            self.loads.append(1)
            return super().encode(texts, role)

    store = Store(tmp_path / "killed", shard=shard)
    for done in (1, 2, 3):
        plan = store.plan(Killed(batch_size=part), texts, "document")
        with pytest.raises(KeyboardInterrupt):
            replace(plan, clock=SlowTime(10)).fetch()
        assert len(store.plan(encoder, texts, "document").missing) == 500 - done * kept
    np.testing.assert_array_equal(fetch(store, encoder, texts).encoded.values, whole)


def test_nothing_but_whole_shards_lies_in_a_space(tmp_path):
    store = Store(tmp_path, shard=2)
    fetch(store, Counting(), TEXTS)
    (space,) = store.spaces()
    names = sorted(path.suffix for path in space.path.iterdir())
    assert names == [".json", ".npy", ".npy"]
    described = json.loads((space.path / "space.json").read_text())
    assert described == {
        "label": "",
        "encoder": {"name": "counting", "dim": 4},
        "role": "document",
        "prompt": "",
    }


@pytest.mark.parametrize("damage", [flip, truncate, empty])
def test_a_damaged_shard_is_set_aside_and_made_anew(tmp_path, damage):
    store = Store(tmp_path, shard=2)
    whole = fetch(store, Counting(), TEXTS).encoded.values
    victim = shards(store)[0]
    before = victim.read_bytes()
    damage(victim)
    encoder = Counting()
    found = fetch(store, encoder, TEXTS)
    assert found.warnings == (
        "1 damaged shard(s) of the store were set aside and their texts encoded anew",
    )
    assert found.made == len(encoder.seen) == 2
    np.testing.assert_array_equal(found.encoded.values, whole)
    assert victim.with_suffix(".damaged").exists()
    assert victim.read_bytes() == before
    assert fetch(store, Counting(), TEXTS).warnings == ()


ROW = np.dtype([("key", "S16"), ("tokens", "<i4"), ("truncated", "?"), ("vector", "<f4", (4,))])


@pytest.mark.parametrize(
    "array",
    [
        np.zeros(3, np.float32),
        np.zeros(0, ROW),
        np.zeros((2, 1), ROW),
        np.zeros(2, [*ROW.descr[:3], ("vector", "<f8", (4,))]),
        np.zeros(2, [*ROW.descr[:3], ("vector", "<f4", (0,))]),
    ],
    ids=["numbers", "no rows", "two dimensions", "other numbers", "no width"],
)
def test_a_whole_file_that_is_no_shard_is_set_aside(tmp_path, array):
    store, encoder = Store(tmp_path), Counting()
    fetch(store, encoder, ["one"])
    file = io.BytesIO()
    np.save(file, array)
    name = hashlib.sha256(file.getvalue()).hexdigest()[:32]
    path = shards(store)[0].with_name(f"{name}.npy")
    path.write_bytes(file.getvalue())
    found = fetch(store, encoder, ["one"])
    assert (found.made, len(found.warnings)) == (0, 1)
    np.testing.assert_array_equal(found.encoded.values, direct(encoder, ["one"]))


def test_a_damaged_shard_changes_no_score_and_is_told_in_the_record(tmp_path):
    task = "limit,docs=60,queries=20,k=1"
    store = Store(tmp_path, shard=16)
    first = evaluate("hashing", task, store=store).record
    for path in shards(store):
        flip(path)
    second = evaluate("hashing", task, store=store).record
    assert second.scores == first.scores
    assert second.id == first.id
    assert len([w for w in second.warnings if "damaged shard(s)" in w]) == 2


@pytest.mark.parametrize("damage", [flip, truncate, empty])
def test_verify_counts_and_sets_aside(tmp_path, damage):
    store = Store(tmp_path, shard=2)
    fetch(store, Counting(), TEXTS)
    assert store.verify() == (2, [])
    victim = shards(store)[1]
    damage(victim)
    assert store.verify() == (1, [victim.with_suffix(".damaged")])
    assert store.verify() == (1, [])


@pytest.mark.parametrize("damage", [truncate, empty])
def test_a_damaged_shard_of_another_model_stops_neither_listing_nor_pruning(tmp_path, damage):
    store = Store(tmp_path, shard=2)
    fetch(store, Counting(), TEXTS)
    damage(shards(store)[0])
    assert [space.texts for space in store.spaces()] == [2]
    assert len(store.prune(0)) == 1
    assert store.spaces() == []


def test_leftovers_of_killed_runs_are_no_shards_and_go_when_they_are_old(tmp_path):
    store = Store(tmp_path)
    fetch(store, Counting(), ["one"])
    folder = shards(store)[0].parent
    young, old, damaged = folder / ".a.part", folder / ".b.part", folder / "c.damaged"
    for path in (young, old, damaged):
        path.write_bytes(b"half of a shard")
    for path in (old, damaged):
        os.utime(path, (0, time.time() - 3700))
    encoder = Counting()
    assert fetch(store, encoder, ["one"]).warnings == ()
    assert encoder.seen == []
    assert store.prune() == []
    assert young.exists()
    assert not old.exists()
    assert not damaged.exists()
    assert len(shards(store)) == 1


FEW_FILES = """
    import os, resource, sys
    from pathlib import Path
    import numpy as np
    from harness import disk
    from harness.encoders.hashing import Hashing
    from harness.store import Store
    from tests.fakes import Counting
    from tests.store.frame import Ragged
    disk.os.fsync = lambda descriptor: None
    store, texts = Store(Path(sys.argv[1]), shard=2), [f"w{i}" for i in range(400)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
    for encoder in (Counting(), Ragged("sparse", kind="sparse"), Ragged("multi")):
        before = len(os.listdir("/proc/self/fd"))
        store.plan(encoder, texts, "document").fetch()
        plan = store.plan(encoder, texts, "document")
        maps = Path("/proc/self/maps").read_text().count(".npy")
        print(len(plan.missing), maps, len(os.listdir("/proc/self/fd")) - before)
        made = plan.fetch().encoded
        assert len(os.listdir("/proc/self/fd")) == before
        direct = encoder.encode(texts, "document").values
        if isinstance(direct, np.ndarray):
            print((made.values == direct).all())
    print(len(list(store.root.glob("embeddings/*/*.npy"))), len(store.spaces()))
    store.verify()
"""


def test_any_number_of_shards_is_read_with_few_open_files(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(FEW_FILES), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    assert done.stdout.split("\n") == ["0 0 1", "True", "0 0 1", "0 0 1", "600 3", ""]


def test_keys_of_a_shard_are_read_once(tmp_path, monkeypatch):
    store, texts = Store(tmp_path, shard=2), [f"text {i}" for i in range(8)]
    fetch(store, Counting(), texts)
    read, whole = list[Path](), disk.file_sha256
    monkeypatch.setattr(disk, "file_sha256", lambda path: (read.append(path), whole(path))[1])
    fetch(store, Counting(), [*texts, "one", "two", "three"])
    assert sorted(read) == shards(store)
    assert len(read) == 6


def test_a_text_of_two_shards_is_read_from_the_first_by_name(tmp_path):
    """What is found depends on what is there, not on which of two processes was faster."""
    store = Store(tmp_path, shard=2)

    @dataclass(frozen=True)
    class Numbered(Counting):
        number: int = 0

        def vector(self, text: str, role: Role) -> np.ndarray:
            return np.full(self.dim, self.number, np.float32)

    plans = [store.plan(Numbered(number=i), ["one"], "document") for i in range(5)]
    found = [plan.fetch().encoded.values for plan in plans]
    by_name = [np.load(path)["vector"][0, 0] for path in shards(store)]
    assert len(by_name) == 5
    assert found[-1][0, 0] == by_name[0]
    assert fetch(store, Numbered(number=9), ["one"]).encoded.values[0, 0] == by_name[0]
