"""A study's files on disk: whole, the same bytes for the same study, or one line."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import pytest

from harness import disk
from harness.errors import HarnessError
from harness.frames import Table
from harness.report.pages import save

NAMES = ["numbers.json", "page.md", "figure.png", "figure.svg"]


@dataclass(frozen=True)
class Study:
    name: str
    values: tuple[float, ...]


STUDY = Study("“x”", (1 / 3, 2.0))
TABLES = [Table("One", ["a", "b"], [["1", "x|y"]]), Table("Two", ["c"], [["2"]])]


def figure() -> object:
    from matplotlib.figure import Figure

    made = Figure(figsize=(2, 1))
    axes = made.subplots()
    axes.plot([0, 1], [1, 2], marker="o", label="line")
    axes.legend()
    return made


def saved(folder: Path, study: Study = STUDY) -> list[Path]:
    return save(folder, study, {"seed": 7}, TABLES, figure())


def test_every_file_is_written_and_named(tmp_path):
    paths = saved(tmp_path / "new" / "page")
    assert [path.name for path in paths] == NAMES
    assert sorted(p.name for p in (tmp_path / "new" / "page").iterdir()) == sorted(NAMES)
    numbers, page, png, svg = (path.read_bytes() for path in paths)
    assert json.loads(numbers) == {"name": "“x”", "values": [1 / 3, 2.0], "seed": 7}
    assert page.decode().startswith("### One\n\n| a   | b    |")
    assert "x\\|y" in page.decode()
    assert "### Two" in page.decode()
    assert page.endswith(b"|\n")
    assert png.startswith(b"\x89PNG\r\n")
    assert png.rstrip().endswith(b"IEND\xaeB`\x82")
    assert ElementTree.fromstring(svg).tag.endswith("svg")


def test_the_same_figure_has_the_same_bytes(tmp_path):
    one, two = ([path.read_bytes() for path in saved(tmp_path / name)] for name in ("one", "two"))
    assert one == two


def test_a_page_is_written_over(tmp_path):
    saved(tmp_path)
    saved(tmp_path, Study("other", (1.0,)))
    assert json.loads((tmp_path / "numbers.json").read_text())["name"] == "other"
    assert len(list(tmp_path.iterdir())) == 4


def test_a_number_that_json_has_not_leaves_no_file(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        saved(tmp_path / "page", Study("x", (float("nan"),)))
    assert list(tmp_path.iterdir()) == []


def test_a_page_is_the_old_or_the_new_one(tmp_path, monkeypatch):
    before = {path.name: path.read_bytes() for path in saved(tmp_path / "page")}
    write = disk.write_whole

    def stopped(path: Path, data: bytes) -> None:
        if path.suffix == ".svg":
            raise KeyboardInterrupt
        write(path, data)

    monkeypatch.setattr(disk, "write_whole", stopped)
    with pytest.raises(KeyboardInterrupt):
        saved(tmp_path / "page", Study("other", (1.0,)))
    assert {p.name: p.read_bytes() for p in (tmp_path / "page").iterdir()} == before
    with pytest.raises(KeyboardInterrupt):
        saved(tmp_path / "none")
    assert list((tmp_path / "none").iterdir()) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["none", "page"]


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    for folder, why in (
        (tmp_path / "file", "File exists"),
        (tmp_path / "file" / "page", "Not a directory"),
    ):
        with pytest.raises(HarnessError) as error:
            saved(folder)
        assert str(error.value) == f"{folder}: cannot be written: {why}"
