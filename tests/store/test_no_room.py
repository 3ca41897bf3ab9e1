"""A store that cannot be written: read-only, full, or cut short by the system."""

from __future__ import annotations

import errno
import io
import os
import resource
import subprocess
import sys
import tempfile
import textwrap
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from harness import disk
from harness.encoders.hashing import Hashing
from harness.errors import StoreError, UnkeptWarning
from harness.store import Store, passing
from tests.fakes import Counting
from tests.store.frame import (
    TEXTS,
    Made,
    age,
    direct,
    fetch,
    flip,
    refuse,
    shards,
)


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
