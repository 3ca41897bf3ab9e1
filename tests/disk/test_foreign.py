"""Files of others: what is read, and what is one line of error."""

from __future__ import annotations

import os

import pytest

from harness.disk import foreign
from harness.errors import InputError


def test_content(tmp_path):
    (tmp_path / "a").write_bytes(b'{"a": [1, "\xc3\xa9"]}')
    (tmp_path / "link").symlink_to(tmp_path / "a")
    assert foreign.read_json(tmp_path / "link") == {"a": [1, "é"]}
    assert foreign.read_bytes(tmp_path / "a", 16) == b'{"a": [1, "\xc3\xa9"]}'
    (tmp_path / "b").write_text('a = "x"\r\n')
    assert foreign.read_toml(tmp_path / "b") == {"a": "x"}


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "not a readable JSON file: Expecting value"),
        (b"[" * 100_000, "not a readable JSON file: "),
        (b"9" * 5000, "not a readable JSON file: "),
        (b"\xff", "not a readable JSON file: "),
    ],
)
def test_what_is_no_json(data, said, tmp_path):
    (tmp_path / "a").write_bytes(data)
    with pytest.raises(InputError, match=rf"^{tmp_path}/a: {said}"):
        foreign.read_json(tmp_path / "a")


def test_what_is_no_toml(tmp_path):
    (tmp_path / "a").write_text("a = " + "[" * 2000 + "]" * 2000)
    with pytest.raises(InputError, match="a: not a readable TOML file: "):
        foreign.read_toml(tmp_path / "a")
    (tmp_path / "a").write_bytes(b"a = '\xff'")
    with pytest.raises(InputError, match="a: byte 5 is not UTF-8: convert the file"):
        foreign.read_toml(tmp_path / "a")


def test_what_never_ends_is_not_begun(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    (tmp_path / "folder").mkdir()
    for name, said in (
        ("pipe", "not a regular file: expected one"),
        ("zero", "not a regular file: expected one"),
        ("folder", "cannot be read: Is a directory"),
        ("nothing", "cannot be read: No such file or directory"),
        ("x" * 300, "cannot be read: File name too long"),
    ):
        with pytest.raises(InputError, match=f"{name}: {said}$"):
            foreign.read_bytes(tmp_path / name)
    with pytest.raises(InputError, match="no name of a file: embedded null byte"):
        foreign.read_bytes(tmp_path / "a\0b")


def test_a_file_has_a_largest_size(tmp_path):
    (tmp_path / "a").write_bytes(b"12345")
    assert foreign.read_bytes(tmp_path / "a", 5) == b"12345"
    with pytest.raises(InputError, match=r"a: 5 bytes: expected at most 4$"):
        foreign.read_bytes(tmp_path / "a", 4)
