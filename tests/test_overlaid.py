"""Whose files lie in a folder that several distributions were installed into."""

from __future__ import annotations

import base64
import hashlib
from importlib import metadata
from pathlib import Path

import pytest

from harness import accelerators, evaluate, overlaid


def record(folder: Path, name: str, **files: str | None) -> None:
    """Write what a distribution's RECORD says of files of the package x, with this content."""
    lines = [f"x/__pycache__/a.cpython-311.pyc,,\n{name}.libs/b.so,sha256=0,1"]
    for file, content in files.items():
        path = f"x/{file.replace('_', '.')}"
        if content is None:
            lines.append(f"{path},,")
            continue
        digest = base64.urlsafe_b64encode(hashlib.sha256(content.encode()).digest())
        lines.append(f"{path},sha256={digest.rstrip(b'=').decode()},{len(content)}")
    place = folder / f"{name}-1.dist-info"
    place.mkdir()
    (place / "METADATA").write_text(f"Name: {name}\nVersion: 1\n")
    (place / "RECORD").write_text("\n".join(lines))


def owner(folder: Path, *names: str, **files: str) -> str | None:
    """Who owns what lies there."""
    (folder / "x").mkdir()
    for file, content in files.items():
        (folder / "x" / file.replace("_", ".")).write_text(content)
    found = [
        dist
        for name in names
        for dist in metadata.Distribution.discover(name=name, path=[str(folder)])
    ]
    assert len(found) == len(names)
    won = overlaid.find_owner(found, "x")
    return won.name if won else None


@pytest.mark.parametrize(
    ("lies", "found"),
    [
        ({"a_so": "one", "b_py": "same"}, "one"),
        ({"a_so": "second", "b_py": "same"}, "two"),
        ({"a_so": "2nd", "b_py": "same"}, None),  # of the first one's size alone
        ({"a_so": "third.", "b_py": "same"}, None),
        ({"a_so": "one", "b_py": "other"}, None),
        ({}, None),
    ],
)
def test_all_files_are_of_one(tmp_path, lies, found):
    record(tmp_path, "one", a_so="one", b_py="same")
    record(tmp_path, "two", a_so="second", b_py="same")
    record(tmp_path, "three", a_so="2ND", b_py="same")
    record(tmp_path, "four", a_so="THIRD.", b_py="same")
    assert owner(tmp_path, "one", "two", "three", "four", **lies) == found


def test_hashes_are_read_only_where_sizes_are_equal(tmp_path, monkeypatch):
    monkeypatch.setattr(overlaid, "_hash", lambda *given: pytest.fail("read"))
    record(tmp_path, "one", a_so="one")
    record(tmp_path, "two", a_so="second")
    assert owner(tmp_path, "one", "two", a_so="second") == "two"


def test_without_a_record_nobody_knows(tmp_path):
    record(tmp_path, "one", a_so=None)
    record(tmp_path, "two", a_so=None)
    record(tmp_path, "three")
    assert owner(tmp_path, "one", "two", "three", a_so="x") is None


SYSTEMS = [("hashing,dim=8", True), ("rrf:[hashing,dim=8]+bm25", True), ("bm25", False)]


@pytest.mark.parametrize(("system", "noted"), SYSTEMS)
def test_a_record_warns_of_builds_over_each_other(system, noted, monkeypatch):
    said = "faiss-cpu and faiss-gpu are installed over each other: the files are whose"
    monkeypatch.setattr(accelerators, "tell_overwritten", lambda: said)
    record = evaluate(system, "limit,attributes=5,docs=20,queries=5", measures=["R@2"]).record
    assert (said in record.warnings) == noted
