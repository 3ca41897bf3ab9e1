"""Files and folders that are whole or absent, whenever the process that writes them is killed."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path

import pytest

from harness import disk
from tests.killed import run


@pytest.mark.parametrize("exchange", [True, False])
def test_a_set_of_files_is_the_old_or_the_new_one_whenever_it_is_killed(tmp_path, exchange):
    program = """
        from harness import disk
        root, folder = Path(sys.argv[1]), Path(sys.argv[1]) / "set"
        disk.STALE_S = -1  # whatever lies there is left over
        if sys.argv[2] == "False":
            disk._exchange = lambda *_: False
        OLD, NEW = {"a": b"old", "gone": b"old", "b": b"old"}, {"a": b"new", "b": b"new"}
        states = set()

        def found():
            names = os.listdir(folder) if folder.exists() else ()
            return {name: (folder / name).read_bytes() for name in {*names} - {"own", "in"}}

        def write():
            disk.write_folder(folder, NEW, drop=["gone"])

        def check():
            state = found()
            assert state in (OLD, NEW) or (sys.argv[2] == "False" and state == {}), state
            states.add(len(state))
            write()
            assert found() == NEW, found()
            assert (folder / "own").read_text() == "mine"
            assert (folder / "in" / "deep").read_text() == "mine"
            disk.sweep(root, again=True)
            assert [p.name for p in root.iterdir()] == ["set"]
            disk.write_folder(folder, OLD)

        disk.write_folder(folder, OLD)
        (folder / "own").write_text("mine")
        (folder / "in").mkdir()
        (folder / "in" / "deep").write_text("mine")
        killed(write, check)
        assert states == ({3, 2} if sys.argv[2] == "True" else {3, 2, 0}), states
    """
    assert run(program, tmp_path, exchange) > 20


def test_a_file_is_the_old_or_the_new_one_whenever_it_is_killed(tmp_path):
    program = """
        from harness import disk
        path, disk.STALE_S = Path(sys.argv[1]) / "file", -1
        disk.write_whole(path, b"old")

        def check():
            assert path.read_bytes() in (b"old", b"new")
            disk.write_whole(path, b"old")
            assert list(path.parent.iterdir()) == [path]

        killed(lambda: disk.write_whole(path, b"new"), check)
    """
    assert run(program, tmp_path) > 3


def test_a_folder_is_there_or_not_whenever_its_removal_is_killed(tmp_path):
    program = """
        from harness import disk
        root, folder = Path(sys.argv[1]), Path(sys.argv[1]) / "folder"

        def fill():
            folder.mkdir(exist_ok=True)
            for name in "abc":
                (folder / name).write_text(name)

        def check():
            assert not folder.exists() or sorted(os.listdir(folder)) == ["a", "b", "c"]
            disk.sweep(root, again=True)
            assert {p.name for p in root.iterdir()} <= {"folder"}
            fill()

        fill()
        killed(lambda: disk.remove_folder(folder), check)
    """
    assert run(program, tmp_path) > 4


def test_leftovers_of_killed_writes_go_with_the_next_write_once_they_are_old(tmp_path):
    names = [
        ".harness-old.part",
        ".harness-young.part",
        ".download.part",
        ".harness-old.folder.part",
    ]
    for name in names[:3]:
        (tmp_path / name).write_text("half")
    (tmp_path / names[3]).mkdir()
    (tmp_path / names[3] / "file").write_text("half")
    for path in (tmp_path / names[3] / "file", *(tmp_path / name for name in names)):
        if "young" not in path.name:
            os.utime(path, (0, time.time() - 3700))
    disk.write_whole(tmp_path / "file", b"whole")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        ".download.part",  # another program's
        ".harness-young.part",  # perhaps of a process that runs
        "file",
    ]


def test_a_folder_that_is_being_filled_is_no_leftover(tmp_path):
    part = tmp_path / ".harness-x.part"
    part.mkdir()
    (part / "large").write_text("more and more")
    os.utime(part, (0, 0))
    disk.sweep(tmp_path, again=True)
    assert part.exists()


def test_a_folder_is_looked_through_once_an_hour(tmp_path, monkeypatch):
    looked, scandir = [], os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: (looked.append(path), scandir(path))[1])
    for name in "abc":
        disk.write_whole(tmp_path / name, b"")
    assert looked == [tmp_path]


def test_a_failed_write_of_a_set_leaves_what_was_there(tmp_path, monkeypatch):
    folder = tmp_path / "set"
    disk.write_folder(folder, {"a": b"old"})

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as changed:
        changed.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            disk.write_folder(folder, {"a": b"new", "b": b"new"})
    monkeypatch.setattr(disk, "_exchange", lambda *_: False)
    rename = os.rename
    monkeypatch.setattr(
        os, "rename", lambda a, b: full() if str(a).endswith(".part") else rename(a, b)
    )
    with pytest.raises(OSError, match="No space left"):
        disk.write_folder(folder, {"a": b"new"})
    assert [path.name for path in tmp_path.iterdir()] == ["set"]
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {"a": b"old"}


def test_a_set_keeps_links_and_rights_of_its_folder(tmp_path):
    folder = tmp_path / "set"
    folder.mkdir(mode=0o750)
    (tmp_path / "elsewhere").write_text("x")
    (folder / "link").symlink_to("../elsewhere")
    (tmp_path / "way").symlink_to("set")
    disk.write_folder(tmp_path / "way", {"a": b"new"})
    assert (tmp_path / "way").is_symlink()
    assert (folder / "link").readlink() == Path("../elsewhere")
    assert (folder / "a").read_bytes() == b"new"
    assert folder.stat().st_mode & 0o777 == 0o750


def test_where_there_are_no_hard_links_files_are_copied(tmp_path, monkeypatch):
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / "own").write_text("mine")

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    disk.write_folder(folder, {"a": b"new"})
    assert (folder / "own").read_text() == "mine"
