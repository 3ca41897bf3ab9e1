"""The store: found by content, whole or absent, the least recently used pruned first."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import resource
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from harness import disk
from harness.api import evaluate
from harness.data import Role
from harness.disk import cache_root, memory
from harness.encoders import Encoded
from harness.encoders.hashing import Hashing
from harness.errors import EncodingError, StoreError, UnkeptWarning
from harness.store import Embedded, Store, passing
from harness.store.shards import read_maker
from harness.vectors import MultiVector, Representation, Sparse
from tests.fakes import Counting, beir
from tests.killed import run

TEXTS = ["one", "two words", "three words here", "", "one"]


def fetch(
    store: Store, encoder: Counting, texts: Sequence[str], role: Role = "document"
) -> Embedded:
    return store.plan(encoder, texts, role).fetch()


def shards(store: Store) -> list[Path]:
    return sorted(store.root.glob("embeddings/*/*.npy"))


def direct(encoder: Counting, texts: Sequence[str], role: Role = "document") -> np.ndarray:
    return np.stack([encoder.vector(text, role) for text in texts])


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


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)


def truncate(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def empty(path: Path) -> None:
    path.write_bytes(b"")


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


@dataclass(frozen=True)
class Paid(Counting):
    """Counting, whose every text costs something."""

    @property
    def paid(self) -> bool:
        return True


def test_what_is_paid_for_is_refused_in_one_line_where_it_cannot_be_kept(tmp_path):
    file, encoder = tmp_path / "file", Paid()
    file.write_text("")
    with pytest.raises(StoreError) as error:
        fetch(Store(file / "store"), encoder, ["one"])
    line = str(error.value)
    assert line.startswith(f"{file}/store/embeddings/")
    assert "cannot be written: Not a directory; what was encoded before is kept" in line
    assert line.endswith("choose another place with --cache DIR or HARNESS_CACHE")
    assert "\n" not in line
    assert encoder.seen == []


def test_what_is_paid_for_is_not_asked_where_no_room_is_left(tmp_path, monkeypatch):
    store, encoder = Store(tmp_path), Paid()
    fetch(store, encoder, ["one"])

    def full(**_: object) -> io.FileIO:
        return open("/dev/full", "wb", buffering=0)

    monkeypatch.setattr("harness.store.plan.TemporaryFile", full)
    with pytest.raises(StoreError, match="cannot be written: No space left on device"):
        fetch(store, encoder, ["two"])
    assert encoder.seen == ["one"]


def test_what_is_paid_for_is_not_asked_where_too_little_room_is_left(tmp_path):
    """A real limit: the system writes what fits, and says nothing until it is asked for more."""
    store, encoder = Store(tmp_path), Paid()
    fetch(store, encoder, ["one"])
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        with pytest.raises(StoreError, match="cannot be written: File too large"):
            fetch(store, encoder, ["two"])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert encoder.seen == ["one"]


def refuse(*_: object, **__: object) -> None:
    raise PermissionError(errno.EACCES, "Permission denied")


def test_a_read_only_store_serves_what_it_holds(tmp_path, monkeypatch):
    store = Store(tmp_path, shard=2)
    whole = fetch(store, Counting(), TEXTS).encoded.values
    for name in ("utime", "mkdir", "replace", "rename", "unlink"):
        monkeypatch.setattr(os, name, refuse)
    monkeypatch.setattr(tempfile, "mkstemp", refuse)
    encoder = Counting()
    found = fetch(store, encoder, TEXTS)
    assert encoder.seen == []
    np.testing.assert_array_equal(found.encoded.values, whole)
    with pytest.raises(StoreError, match="cannot be written: Permission denied"):
        fetch(store, encoder, ["another text"])


def test_a_damaged_shard_of_a_read_only_store_is_left_out(tmp_path, monkeypatch):
    store = Store(tmp_path, shard=2)
    fetch(store, Counting(), TEXTS)
    flip(shards(store)[0])
    monkeypatch.setattr(os, "rename", refuse)
    plan = store.plan(Counting(), TEXTS, "document")
    assert len(plan.missing) == 2
    assert len(plan.held.keys) == 2
    assert store.verify() == (1, [shards(store)[0]])


def test_pruning_a_read_only_store_removes_nothing_and_says_so(tmp_path, monkeypatch):
    store = Store(tmp_path)
    fetch(store, Counting(), ["one"])
    leftover = shards(store)[0].with_name(".a.part")
    leftover.write_bytes(b"x")
    os.utime(leftover, (0, 0))
    for name in ("unlink", "rmdir", "rename", "mkdir"):
        monkeypatch.setattr(os, name, refuse)
    assert store.prune(0) == []
    assert fetch(store, Counting(), ["one"]).made == 0


@pytest.mark.parametrize(
    "number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO]
)
def test_a_full_disk_keeps_whole_shards_and_the_next_run_goes_on(tmp_path, monkeypatch, number):
    store, texts = Store(tmp_path, shard=2), [f"text {i}" for i in range(8)]
    write, written = disk.write_whole, []

    def full(path: Path, data: bytes) -> None:
        written.append(path)
        if len(written) >= 4 and tmp_path in path.parents:  # space.json, two shards, and then
            raise OSError(number, os.strerror(number))
        write(path, data)

    monkeypatch.setattr(passing, "_folders", {})
    monkeypatch.setattr(disk, "write_whole", full)
    encoder = Counting()
    with pytest.warns(UnkeptWarning, match=f"{tmp_path} cannot be written: vectors of the model"):
        found = fetch(store, encoder, texts)
    np.testing.assert_array_equal(found.encoded.values, direct(encoder, texts))
    with pytest.warns(UnkeptWarning):
        assert fetch(store, encoder, texts).made == 0  # as long as the process
    assert len(encoder.seen) == 8
    monkeypatch.undo()  # another process, once there is room
    assert len(shards(store)) == 2
    encoder = Counting()
    found = fetch(store, encoder, texts)
    assert len(encoder.seen) == found.made == 4
    np.testing.assert_array_equal(found.encoded.values, direct(encoder, texts))


def test_a_full_disk_leaves_no_space_without_a_description(tmp_path, monkeypatch):
    monkeypatch.setattr(passing, "_folders", {tmp_path / "none": tmp_path / "none"})

    def full(path: Path, data: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(disk, "write_whole", full)
    with pytest.raises(StoreError, match="cannot be written: No space left on device"):
        fetch(Store(tmp_path), Counting(), ["one"])
    assert list((tmp_path / "embeddings").iterdir()) == []


def test_what_is_encoded_anew_and_cannot_be_kept_replaces_nothing(tmp_path, monkeypatch):
    store, write = Store(tmp_path), disk.write_whole
    fetch(store, Made(), ["one", "two"])
    fresh, names, encoder = age(store), shards(store), Made(version="2.0")

    def full(path: Path, data: bytes) -> None:
        if tmp_path in path.parents:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(path, data)

    monkeypatch.setattr(passing, "_folders", {})
    monkeypatch.setattr(disk, "write_whole", full)
    for _ in range(2):  # once in a run
        with pytest.warns(UnkeptWarning):
            found = fetch(fresh, encoder, ["one", "two"])
        assert found.makers == ({"device": "cpu", "counting": "2.0"},)
    assert sorted(encoder.seen) == ["one", "two"]
    assert shards(store) == names


@pytest.mark.parametrize("cleared", [False, True])
def test_what_cannot_be_kept_goes_with_the_process(tmp_path, cleared):
    """In silence, also where a cleaner of temporary files was faster."""
    child = """
        import shutil, sys
        from pathlib import Path
        import numpy as np
        from harness.store import passing
        space = Path("space")
        assert passing.write(space, [np.zeros(2)], {})
        assert len(passing.paths(space)) == 1
        if sys.argv[1] == "True":
            shutil.rmtree(passing.places(space)[1])
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(child), str(cleared)],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    assert list(tmp_path.iterdir()) == []


def test_a_write_that_the_system_cuts_short_leaves_no_shard(tmp_path):
    """A real limit on the size of files: what ENOSPC looks like from inside write()."""
    child = """
        import resource, signal, sys
        from pathlib import Path
        from harness.encoders.hashing import Hashing
        from harness.store import Store
        from harness.errors import StoreError
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))
        store = Store(Path(sys.argv[1]), shard=8)
        small = [f"text {i}" for i in range(16)]
        store.plan(Hashing(dim=256), small, "document").fetch()
        try:
            Store(store.root, shard=64).plan(
                Hashing(dim=256), [*small, *map(str, range(64))], "document"
            ).fetch()
        except StoreError as error:
            sys.exit(str(error))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(child), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "cannot be written: File too large; what was encoded before is kept" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    store = Store(tmp_path)
    assert len(shards(store)) == 2
    assert list(tmp_path.rglob("*.part")) == []
    assert store.verify() == (2, [])
    plan = store.plan(Hashing(dim=256), [f"text {i}" for i in range(16)], "document")
    assert len(plan.missing) == 0


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


@dataclass(frozen=True)
class Ragged(Counting):
    """As many vectors as a text has letters, or as many terms; `broken` goes wrong in one way."""

    kind: Representation = "multi-vector"
    broken: str = ""

    @property
    def representation(self) -> Representation:
        return self.kind

    def rows(self, text: str) -> list[np.ndarray]:
        """What a text becomes: token vectors, or one row of weights."""
        if self.kind == "sparse":
            weights = np.zeros(self.dim, np.float32)
            weights[[ord(letter) % self.dim for letter in text]] = len(text)
            return [weights]
        return [self.vector(f"{text}{i}", "document") for i in range(len(text))]

    def encode(self, texts: Sequence[str], role: Role) -> Encoded:
        self.seen.extend(texts)
        dim = len(self.seen) if self.broken == "growing" else self.dim
        kept = texts[1:] if self.broken == "too few" else texts
        rows = [self.rows(text) for text in kept]
        values = np.array([v for text in rows for v in text], np.float32).reshape(-1, self.dim)
        if self.broken == "nan":
            values[-1, -1] = np.nan
        values = np.resize(values, (len(values), dim))
        tokens = np.array([len(text) for text in texts], np.int32)
        if self.kind == "sparse":
            return Encoded(Sparse(csr_matrix(values)), tokens, tokens > 5)
        offsets = np.cumsum([0, *map(len, rows)])
        return Encoded(MultiVector(values, offsets), tokens, tokens > 5)


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


FEW_FILES = """
    import os, resource, sys
    from pathlib import Path
    import numpy as np
    from harness import disk
    from harness.encoders.hashing import Hashing
    from harness.store import Store
    from tests.fakes import Counting
    from tests.store.test_store import Ragged
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


# what made vectors


@dataclass(frozen=True)
class Made(Counting):
    """Counting, made with a version of a library."""

    version: str = "1.0"

    def made_with(self) -> dict[str, str]:
        return {"device": "cpu", "counting": self.version}


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


def age(store: Store, seconds: float = 60) -> Store:
    """Let what is kept be old; returns the store in which it plays no part."""
    for path in shards(store):
        os.utime(path, (time.time() - seconds,) * 2)
    return Store(store.root, shard=store.shard, since=time.time() - seconds / 2)


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
        from tests.store.test_store import Made, age, fetch, shards

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
