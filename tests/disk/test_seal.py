"""The user's own key: made once, whole, private; what it signs, and what others cannot."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from harness.disk import seal
from tests.killed import run


@pytest.fixture
def state(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "retrieval-harness"


def test_a_key_is_made_at_its_first_use_and_is_the_users_alone(state):
    key = seal.user_key()
    assert key is not None
    assert (state / "key").read_bytes() == key
    assert len(key) == 32
    assert (state / "key").stat().st_mode & 0o777 == 0o600
    assert state.stat().st_mode & 0o077 == 0
    assert seal.user_key() == key
    assert [path.name for path in state.iterdir()] == ["key"]


def test_it_lies_in_the_users_home_where_nothing_else_is_said(tmp_path, monkeypatch):
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert seal.key_path() == tmp_path / ".local" / "state" / "retrieval-harness" / "key"


def test_without_a_home_there_is_none(monkeypatch):
    def nowhere() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setattr(Path, "home", nowhere)
    assert seal.user_key() is None


def test_where_it_cannot_be_kept_there_is_none(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    assert seal.user_key() is None


@pytest.mark.parametrize("what", ["short", "long", "empty", "known to others", "a pipe"])
def test_a_key_that_proves_nothing_is_replaced(state, what):
    before, path = seal.user_key(), state / "key"
    assert before is not None
    if what == "known to others":
        path.chmod(0o640)
    elif what == "a pipe":
        path.unlink()
        os.mkfifo(path, 0o600)
    else:
        path.write_bytes({"short": before[:-1], "long": before + b"x", "empty": b""}[what])
    after = seal.user_key()
    assert after is not None
    assert after != before
    assert path.stat().st_mode & 0o777 == 0o600
    assert seal.user_key() == after


def test_of_several_processes_all_have_one_key(state):
    program = "from harness.disk import seal; print(seal.user_key().hex())"
    made = [
        subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    assert len({one.communicate()[0] for one in made}) == 1


def test_a_killed_run_leaves_a_whole_key_or_none(tmp_path):
    program = """
        import shutil
        from harness.disk import seal
        os.environ["XDG_STATE_HOME"] = sys.argv[1]
        path = seal.key_path()

        def check():
            assert not path.exists() or len(path.read_bytes()) == 32
            shutil.rmtree(sys.argv[1], ignore_errors=True)

        killed(seal.user_key, check)
    """
    assert run(textwrap.dedent(program), tmp_path / "state") >= 4


def test_what_is_signed_by_another_key_or_of_another_value_is_not_ours():
    """HMAC-SHA256 of the JSON of a value, its keys in order."""
    ours, theirs, value = b"a" * 32, b"b" * 32, {"a": 1, "b": [2.5]}
    signed = seal.sign(ours, value)
    assert signed == seal.sign(ours, {"b": [2.5], "a": 1})
    assert signed == "d2e8d4ffcb1855eac0e46a3a898ba607d7b10fcc80429b868c1810cc854367c1"
    assert seal.is_signed(ours, value, signed)
    assert not seal.is_signed(theirs, value, signed)
    assert not seal.is_signed(ours, {"a": 1, "b": [2]}, signed)
    for other in (None, 1, [], "", "ä", "\ud800", signed.upper()):
        assert not seal.is_signed(ours, value, other)
