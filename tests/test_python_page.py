"""The pages of docs: every block runs, the JSON is what is sent and read."""

from __future__ import annotations

import json
import re
import sys
import tomllib
from dataclasses import fields
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from harness import evaluate
from harness.disk import cache_root
from harness.report.findings import About, save
from harness.session import Session
from harness.store import Store
from harness.studies import STUDIES
from harness.systems import RETRIEVERS, hits
from harness.tasks import catalog
from tests.test_plugins import REGISTRIES

DOCS = Path(__file__).parents[1] / "docs"
PAGE = (DOCS / "python.md").read_text("utf-8")
EXTENDING = (DOCS / "extending.md").read_text("utf-8")
STUDIES_PAGE = (DOCS / "studies.md").read_text("utf-8")


def blocks(language: str, page: str = PAGE) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page, re.M | re.S)


def executed(page: str, name: str) -> dict[str, object]:
    """What the Python blocks of a page leave behind."""
    named: dict[str, object] = {"__name__": "page"}
    for number, block in enumerate(blocks("python", page), 1):
        code = compile(block, f"block {number} of docs/{name}", "exec", dont_inherit=True)
        exec(code, named)
    return named


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the page registers is gone after it."""
    for registry in REGISTRIES:
        registry.entries()
        monkeypatch.setattr(registry, "_entries", dict(registry._entries))


def test_every_block_runs(packaged, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    named = executed(PAGE, "python.md")
    assert PAGE.count("```") == 2 * len(blocks("python") + blocks("json"))
    results, served = named["results"], named["served"]
    assert (len(results), results.failed) == (6, ())
    assert (len(served), served.failed) == (2, ())
    assert served[0].record.main == served[1].record.main
    assert len(named["again"]) == 6
    assert named["found"]["document"].tolist()[0] == "d1"
    assert (named["vectors"].shape, named["vectors"].dtype) == ((2, 384), np.float32)
    assert named["grid"].values.shape == (2, 2, 50)
    assert named["ranked"].run.docs.shape == (50, 10)


def test_what_extends_the_harness_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "page", ModuleType("page"))  # dataclasses look it up
    executed(EXTENDING, "extending.md")
    assert evaluate("bm25", "faq:faq.txt").record.scores.keys() == {"RR@10", "R@1"}
    wide = evaluate("trigrams@[pivots,probe=8]", "faq:faq.txt", measures=["R@1", "Misses@1"])
    assert wide.record.main == evaluate("trigrams", "faq:faq.txt", measures=["R@1"]).record.main
    assert wide.record.scores["Misses@1"].mean == 1 - wide.record.main.mean
    table, packages = map(tomllib.loads, blocks("toml", EXTENDING))
    (tmp_path / "mine.toml").write_text(blocks("toml", EXTENDING)[0])
    monkeypatch.setattr(catalog, "_extra", [])
    catalog.add(tmp_path / "mine.toml")
    assert str(catalog.task("my-faq").source) == "faq:data/faq.txt,keep=100"
    catalog.definitions.cache_clear()
    assert set(table["my-faq"]) == {field.name for field in fields(catalog.Definition)} - {
        "name", "queries", "pairs"
    }  # fmt: skip
    groups = set(packages["project"]["entry-points"]) | set(
        re.findall(r"`(harness\.\w+)`", EXTENDING.rpartition("```")[2])
    )
    assert groups == {registry.package for registry in REGISTRIES} | {catalog.GROUP}


def test_the_study_of_the_page_runs_and_is_read_back(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "page", ModuleType("page"))  # dataclasses look it up
    named = executed(STUDIES_PAGE, "studies.md")
    session = Session(Store(cache_root()))
    findings = named["FirstWords"]((1, 3)).run(session, ["bm25", "hashing"], "limit-small")
    save(tmp_path, findings, About("first-words", ("bm25", "hashing"), "limit-small", 0, "", {}))
    kept = named["scores"](tmp_path)
    assert list(kept["words"]) == [1, 3, 1, 3]
    assert findings["scores"].where("words", 1)["system"] == ("bm25", "hashing")


def test_the_page_lists_every_study():
    listed = re.findall(r"^\| `(\w+)` \|", STUDIES_PAGE.partition("## What is written")[0], re.M)
    assert listed == [entry.name for entry in STUDIES.entries()]


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
