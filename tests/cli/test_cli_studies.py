"""Studies from the command line: a page, files and one headline, or one clear line."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from harness.analysis import critical_numbers
from harness.analysis.critical_numbers import Trials
from harness.analysis.free_vectors import PAPER
from harness.report.findings import load_findings
from harness.studies import capacity

FEW = "limit,docs=20,queries=20,k=2,pattern=cycle"
MORE = "limit,docs=60,queries=20,k=2,pattern=cycle"  # forty are not judged
FILES = ["figure.png", "figure.svg", "numbers.json", "page.md"]


def pages(folder: Path) -> dict[str, object]:
    """What numbers.json of the only page in a folder holds."""
    (page,) = folder.iterdir()
    assert sorted(path.name for path in page.iterdir()) == FILES
    return json.loads((page / "numbers.json").read_text())


def test_a_study_of_geometry(run, tmp_path):
    words = ["-m", "hashing,dim=16", "-t", FEW, "--sample", 15]
    done = run("study", "geometry", *words, "-f", "markdown", "-o", "pages")
    assert done.status == 0
    assert done.out.startswith(f"# hashing,dim=16 on {FEW}: 4 of 16 dimensions keep ")
    assert f"### Vectors of hashing,dim=16 on {FEW}, scaled to length 1" in done.out
    said, *_, written = done.err.splitlines()
    assert said == f"say: harness study geometry,sample=15 -m hashing,dim=16 -t {FEW}"
    assert written.startswith("written: pages/geometry_sample=15-hashing_dim=16-limit")
    saved = load_findings(next((tmp_path / "pages").iterdir()))
    assert (saved.about.systems, saved.about.task) == (("hashing,dim=16",), FEW)
    assert saved.findings["cuts"]["dimensions kept"] == (2, 4, 8, 16) * 2
    assert saved.about.created.endswith("Z")
    assert saved.about.environment["cpus"] >= 1


def test_a_study_of_capacity(run, tmp_path, monkeypatch):
    short = replace(PAPER, iterations=400, patience=100, every=20)
    monkeypatch.setattr(capacity, "Trials", partial(Trials, attempts=1, protocol=short))
    words = ["-m", "hashing,dim=16", "-t", FEW, "--dim", 2, "-o", "pages", "-q"]
    done = run("study", "capacity", *words, "-f", "markdown")
    assert done.status == 0
    assert done.out.startswith("# hashing,dim=16 returns ")
    title = f"### hashing,dim=16 on {FEW}: 20 queries, 20 relevant documents\n"
    assert title in done.out
    assert "say: harness study capacity,dims=2" in done.err
    (page,) = (tmp_path / "pages").iterdir()
    saved = load_findings(page)
    found = saved.findings
    assert found["points"].where("vectors", "hashing,dim=16")["dimensions"] == (2, 4, 8, 16)
    assert found["critical"]["dimensions"] == (2,)
    assert found["points"].where("vectors", "free vectors")["returned"][-1] == 1
    bound = found["standing"].where("vectors", "margin bound")["dimensions"]
    assert bound == (3,)  # ln 190 / ln 11 = 2.19
    assert (found["asked"]["k"], saved.about.seed) == ((2,), 42)
    monkeypatch.setattr(critical_numbers, "optimise", None)  # trials are kept: none is made again
    again = run("study", "capacity", *words, "-f", "markdown")
    assert again.out == done.out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["geometry", "-m", "hashin"], "unknown encoder 'hashin'. Did you mean 'hashing'?"),
        (["geometry", "-t", "limit-smal"], "unknown task 'limit-smal'. Did you mean"),
        (["geometry", "-m", "bm25"], "bm25 makes sparse vectors: expected dense ones"),
        (["geometry", "-f", "html"], "--format html: expected one of terminal, markdown, csv"),
        (["capacity", "-m", "bm25"], "bm25 makes sparse vectors: expected dense ones"),
        (["capacity,k=21"], "margin bound: k=21 of n=20 documents: expected 1 <= k <= n"),
        (["capacity,gamma=2"], "margin bound: gamma=2: expected a margin above 0"),
        (["capacity", "--plugin", "none.py"], "none.py: no such plugin file"),
    ],
)
def test_a_study_that_is_asked_wrongly_is_one_line(run, tmp_path, words, message):
    usual = {"-m": "hashing", "-t": FEW}
    more = [word for pair in usual.items() if pair[0] not in words for word in pair]
    done = run("study", *words, *more, "-q")
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith(f"error: {message}")
    assert len(done.err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_study_that_cannot_be_written_is_one_line(run, tmp_path):
    (tmp_path / "file").write_text("")
    done = run("study", "geometry", "-m", "hashing,dim=16", "-t", FEW, "-q", "-o", "file")
    assert (done.status, done.out) == (1, "")
    assert done.err.startswith("error: file/geometry-hashing_dim=16-limit")
    assert done.err.endswith(": cannot be written: Not a directory\n")
