"""A study's files: whole, the same bytes for the same findings, read back, or one line."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from harness import disk
from harness.errors import HarnessError, InputError
from harness.frames import Column, Frame
from harness.frames.charts import Dots
from harness.frames.saved import read_parquet
from harness.report.findings import About, load_findings, plain, save, tables
from harness.stats import Estimate
from harness.studies import Findings

COLUMNS = [Column("system"), Column("score", "estimate", "high", "by “R@2”")]
FRAME = Frame("Scores|", COLUMNS, [("x|y", Estimate(1 / 3, 0.1, 0.5))], name="scores")
HIDDEN = Frame("Points", [Column("x", "number")], [(0.5,)], name="points", shown=False)
FOUND = Findings("x wins", [FRAME, HIDDEN], [Dots(FRAME, "score", "system")], ["odd", "odd"])
ABOUT = About("mine,draws=3", ("x|y", "z"), "t", 7, "2026-01-01T00:00:00Z", {"cpus": 2})
NAMES = [
    "page.md", "scores.parquet", "points.parquet", "figure.png", "figure.svg", "numbers.json",
]  # fmt: skip


def test_every_file_is_written_and_named(tmp_path):
    paths = save(tmp_path / "new" / "page", FOUND, ABOUT)
    assert [path.name for path in paths] == NAMES
    assert sorted(p.name for p in (tmp_path / "new" / "page").iterdir()) == sorted(NAMES)
    page, _, _, png, svg, numbers = (path.read_bytes() for path in paths)
    read = json.loads(numbers)
    assert (read["schema"], read["study"], read["task"]) == (1, "mine,draws=3", "t")
    assert (read["systems"], read["seed"], read["environment"]) == (["x|y", "z"], 7, {"cpus": 2})
    assert read["frames"][0]["rows"] == [["x|y", {"mean": 1 / 3, "low": 0.1, "high": 0.5}]]
    assert read["notes"] == ["odd"]
    assert read_parquet(paths[1]) == FRAME
    assert read_parquet(paths[2]) == HIDDEN
    said = page.decode()
    assert said.startswith("# x wins\n\n`harness study mine,draws=3` on `x|y`, `z`, `t`, seed 7;")
    assert "### Scores|\n\n| system" in said
    assert "x\\|y" in said
    assert "* **score**: by “R@2”; higher is better" in said
    assert "Points" not in said
    assert said.endswith("![figure](figure.png)\n\n### Notes\n\n* odd\n")
    assert png.startswith(b"\x89PNG\r\n")
    assert png.rstrip().endswith(b"IEND\xaeB`\x82")
    assert ElementTree.fromstring(svg).tag.endswith("svg")


def test_what_is_shown():
    scores, notes = tables(FOUND)
    assert scores.rows == [["x|y", "0.3333 [0.1000, 0.5000]"]]
    assert (notes.title, notes.rows) == ("Notes", [["odd"]])


def test_findings_are_read_back(tmp_path):
    save(tmp_path, FOUND, ABOUT)
    saved = load_findings(tmp_path)
    assert saved.about == ABOUT
    assert saved.findings == Findings("x wins", [FRAME, HIDDEN], (), ["odd"])
    assert saved.findings["points"] == HIDDEN
    with pytest.raises(KeyError, match="no frame 'point': scores, points"):
        saved.findings["point"]


def test_the_same_findings_have_the_same_bytes(tmp_path):
    one, two = (
        [path.read_bytes() for path in save(tmp_path / name, FOUND, ABOUT)]
        for name in ("one", "two")
    )
    assert one == two


def test_another_study_takes_the_files_of_one_away(tmp_path):
    save(tmp_path, FOUND, ABOUT)
    save(tmp_path, Findings("none", [HIDDEN]), replace(ABOUT, seed=1))
    names = ["numbers.json", "page.md", "points.parquet"]
    assert sorted(p.name for p in tmp_path.iterdir()) == names
    assert load_findings(tmp_path).about.seed == 1


def test_a_study_that_is_stopped_leaves_the_one_before(tmp_path, monkeypatch):
    save(tmp_path, FOUND, ABOUT)
    before, write = sorted(path.name for path in tmp_path.iterdir()), disk.write_whole

    def stopped(path: Path, data: bytes) -> None:
        if path.suffix == ".svg":
            raise KeyboardInterrupt
        write(path, data)

    monkeypatch.setattr(disk, "write_whole", stopped)
    with pytest.raises(KeyboardInterrupt):
        save(tmp_path, FOUND, ABOUT)
    assert load_findings(tmp_path).findings.headline == FOUND.headline
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_what_is_no_study(tmp_path):
    path = tmp_path / "numbers.json"
    for text, message in (
        ('{"schema": 2}', "of schema 2: this version reads 1"),
        ('{"schema": 1}', "not a study's numbers: study: Field required"),
        (
            json.dumps({**plain(FOUND, ABOUT), "systems": ""}),
            "systems: Input should be a valid list",
        ),
        ("[", "not a readable study"),
    ):
        path.write_text(text)
        with pytest.raises(InputError, match=message):
            load_findings(tmp_path)


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    for folder, why in (
        (tmp_path / "file", "File exists"),
        (tmp_path / "file" / "page", "Not a directory"),
    ):
        with pytest.raises(HarnessError) as error:
            save(folder, FOUND, ABOUT)
        assert str(error.value) == f"{folder}: cannot be written: {why}"


def test_two_frames_of_one_name_are_refused():
    with pytest.raises(ValueError, match="two frames have one name"):
        Findings("h", [FRAME, FRAME])
