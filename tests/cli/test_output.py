"""What programs read of each command is what docs/output.md says, and holds numbers."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections import defaultdict
from pathlib import Path

import pytest

from harness.frames import Column, Frame
from harness.report import data
from harness.report.findings import About, save
from harness.stats import Estimate
from harness.studies import Findings

PAGE = (Path(__file__).parents[2] / "docs/output.md").read_text("utf-8")
TASK = "limit,docs=46,queries=20"
COMMANDS = {
    "leaderboard": ["leaderboard", "records"],
    "compare": ["compare", "records/bm25", "records/hashing"],
    "compare of studies": ["compare", "one", "two"],
    "tasks": ["tasks"],
    "tasks TASK": ["tasks", TASK],
    "measures": ["measures"],
    "indexes": ["indexes"],
    "rewritings": ["rewritings"],
    "models": ["models"],
    "study": ["study"],
    "store list": ["store", "list"],
}


def schema() -> dict[str, dict[str, list[str]]]:
    """Columns by table by command, as the page has them."""
    found, command = defaultdict[str, dict[str, list[str]]](dict), ""
    for row in re.findall(r"^\| (.*) \|$", PAGE, re.M)[1:]:
        named, tables, columns = (" " + row if row[0] == "|" else row).split(" | ", 2)
        command = named.strip().replace("`", "") or command
        words = re.findall(r"`([^`]+)`|\b([A-Z]{2,})\b", re.sub(r"\([^)]*\)", "", columns))
        for table in re.findall(r"`(\w+)`", tables) or ["about"]:
            found[command][table] = [plain or many for plain, many in words]
    return found


SCHEMA = schema()


@pytest.fixture
def measured(run, tmp_path):
    """Records of two systems, and two runs of a study."""
    for model in ("hashing", "bm25"):
        words = ["-m", model, "-t", TASK, "-o", "records", "-q"]
        assert run("eval", *words, "--measure", "R@2", "--measure", "nDCG@10").status == 0
    (tmp_path / "records/other.json").write_text("{}")
    columns = [Column("system"), Column("score", "estimate", "high")]
    for name, mean in (("one", 0.5), ("two", 0.25)):
        frame = Frame("Scores", columns, [("a", Estimate(mean, 0.1, 0.6))], name="scores")
        about = About("mine", ("a",), "t", 0, "", {})
        save(tmp_path / name, Findings("found", [frame]), about)


@pytest.mark.usefixtures("measured")
@pytest.mark.parametrize("command", COMMANDS)
def test_json_and_csv_are_as_the_page_says(run, command):
    words, told = (
        [*COMMANDS[command], *(["-q"] if command == "leaderboard" else [])],
        SCHEMA[command],
    )
    done = run(*words, "--json")
    found = done.json
    assert (done.status, found.pop("schema")) == (0, 1)
    listed = {name for name, value in found.items() if isinstance(value, list | dict)}
    assert listed == told.keys() - {"about"}
    assert found.keys() - listed == set(told.get("about", ()))
    rows = list(csv.DictReader(io.StringIO(run(*words, "-f", "csv").out)))
    for name in listed:
        table = found[name] if isinstance(found[name], list) else [found[name]]
        assert [row["table"] for row in rows].count(name) == len(table)
        for row in table:
            if isinstance(row, dict):
                fixed = [
                    column for column in told[name] if not column.isupper() or len(column) == 1
                ]
                more = [column for column in told[name] if column not in fixed]
                assert set(fixed) <= row.keys() if more else set(fixed) == row.keys()
                texts = [each for each in row.values() if isinstance(each, str)]
                assert not any(re.fullmatch(r"[-+]?\d+\.\d+", each) for each in texts)


def test_scores_in_csv(run, measured):
    header, *rows = csv.reader(io.StringIO(run("show", "records/bm25", "-f", "csv").out))
    assert header == ["table", *SCHEMA["eval, show (CSV only)"]["scores"]]
    assert [row[:7] for row in rows] == [
        ["scores", "bm25", TASK, "retrieval", "R@2", "true", "1.0"],
        ["scores", "bm25", TASK, "retrieval", "nDCG@10", "false", "1.0"],
    ]


def test_a_study_as_data(run, tmp_path):
    words = [
        "robustness,draws=1,perturbations=upper-case,severities=1.0",
        "-m",
        "bm25",
        "-t",
        TASK,
        "-q",
    ]
    found = run("study", *words, "-o", tmp_path / "made", "--json").json
    (folder,) = (path for path in (tmp_path / "made").iterdir() if path.name != "cells")
    assert found == json.loads((folder / "numbers.json").read_text())
    rows = list(csv.DictReader(io.StringIO(run("study", *words, "-f", "csv").out)))
    shown = [frame["name"] for frame in found["frames"] if frame["shown"]]
    assert list(dict.fromkeys(row["table"] for row in rows))[: len(shown)] == shown
    assert rows[-1]["headline"] == found["headline"]


def test_what_is_not_defined_is_null():
    columns = [Column("a"), Column("x", "estimate"), Column("n", "count")]
    rows = [("one", Estimate(0.5, 0.25, 0.75), 1234), ("=two", None, None)]
    frame = Frame("", columns, rows, name="t")
    document = data.of_frames([frame], notes=["careful"], exact=True)
    document["t"][0]["y"] = math.nan
    assert json.loads(data.write(document, "json")) == {
        "schema": 1,
        "t": [
            {"a": "one", "x": {"mean": 0.5, "low": 0.25, "high": 0.75}, "n": 1234, "y": None},
            {"a": "=two", "x": None, "n": None},
        ],
        "notes": ["careful"],
        "exact": True,
    }
    assert data.write({**document, "of": {"p": {"q": [1, 2]}}}, "csv").splitlines() == [
        "table,a,x,x_low,x_high,n,y,value,name,q,exact",
        "t,one,0.5,0.25,0.75,1234,,,,,",
        "t,'=two,,,,,,,,,",  # no spreadsheet runs it
        "notes,,,,,,,careful,,,",
        'of,,,,,,,,p,"[1, 2]",',
        "about,,,,,,,,,,true",
    ]
