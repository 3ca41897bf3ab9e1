"""docs/python.md: every block runs, in order, and the JSON is what the harness sends and reads."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from harness.systems import RETRIEVERS, hits

PAGE = (Path(__file__).parents[1] / "docs" / "python.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.M | re.S)


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the page registers is gone after it."""
    RETRIEVERS.entries()
    monkeypatch.setattr(RETRIEVERS, "_entries", dict(RETRIEVERS._entries))


def test_every_block_runs(packaged, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    named: dict[str, object] = {"__name__": "page"}
    for number, block in enumerate(blocks("python"), 1):
        exec(compile(block, f"block {number} of docs/python.md", "exec"), named)
    assert PAGE.count("```") == 2 * len(blocks("python") + blocks("json"))
    results, served = named["results"], named["served"]
    assert (len(results), results.failed) == (6, ())
    assert (len(served), served.failed) == (2, ())
    assert served[0].record.main == served[1].record.main
    assert len(named["again"]) == 6
    assert named["found"]["document"].tolist()[0] == "d1"
    assert (named["vectors"].shape, named["vectors"].dtype) == ((2, 384), np.float32)


def test_the_json_is_what_is_sent_and_read():
    asked, reply = (json.loads(block) for block in blocks("json"))
    assert set(asked) == {"queries", "k"}  # tests/systems/test_search.py sees it sent
    found = hits.read(reply["results"], asked["queries"], "the page")
    assert found == [[("d1", 1.5), ("d3", 0.2)], [("d2", 0.9)]]


def test_parameters_on_the_page_are_those_of_the_entry():
    (entry,) = (entry for entry in RETRIEVERS.entries() if entry.name == "search")
    assert set(re.findall(r"^\| `(\w+)` \|", PAGE.rpartition("| parameter |")[2], re.M)) == set(
        entry.parameters
    )
