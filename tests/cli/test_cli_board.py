"""From records to a decision, by the command line: leaderboard, compare, baseline, gate, export."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

import harness
from harness.encoders import ENCODERS
from harness.encoders.hashing import Hashing
from harness.errors import HarnessError
from harness.records.measured_costs import CostRun

TASK = "limit,docs=46,queries=200"


@pytest.fixture
def measured(run, tmp_path):
    """Folders with the records of two systems."""
    for model in ("hashing", "bm25"):
        assert run("eval", "-m", model, "-t", TASK, "-o", tmp_path / "records", "-q").status == 0
    return tmp_path / "records"


def test_a_leaderboard_and_its_page(run, measured, tmp_path):
    done = run("leaderboard", measured, "--html", tmp_path / "board.html", "-f", "csv")
    assert "Who likes" not in (tmp_path / "board.html").read_text("utf-8")
    done = run("leaderboard", measured, "--html", tmp_path / "board.html", "-f", "csv", "--texts")
    assert done.status == 0
    ranking = [row.split(",")[:3] for row in done.out.splitlines()[1:3]]
    assert ranking == [["ranking", "bm25", "1"], ["ranking", "hashing", "2"]]
    assert done.err.endswith("board.html (0.1 MB)\n")
    first = run("leaderboard", measured, "--json", "-q").json["ranking"][0]
    assert (first["system"], first["rank"], type(first["mean"])) == ("bm25", 1, float)
    page = (tmp_path / "board.html").read_text("utf-8")
    assert "Who likes" in page  # the queries' own texts
    assert run("leaderboard", tmp_path / "none").status == 2
    (tmp_path / "families.json").write_text("[1]")
    done = run("leaderboard", measured, "--families", tmp_path / "families.json")
    assert (done.status, done.out) == (2, "")
    assert done.err.endswith("families.json: expected an object of families by task\n")
    done = run("leaderboard", measured, "--subset", "en", "--loose")
    assert (done.status, done.out) == (2, "")
    why = "--subset, --loose play no part: none of these is a result of MTEB"
    assert done.err == f"error: {why}\n"


def test_two_systems_are_compared(run, measured):
    done = run("compare", measured / "bm25", measured / "hashing", "--json", "-q")
    assert done.status == 0
    (row,) = done.json["tasks"]
    assert row["task"] == TASK
    assert row["difference"] == row["a"] - row["b"] > 0
    assert run("compare", measured / "bm25", measured / "gone").status == 2


def test_a_folder_holds_one_system_whatever_serves_it(run, measured):
    """So that a system is compared by its folder after others of its model were measured."""
    words = ["-m", "bm25", "-r", "rm3", "-m", "hashing@int8", "-m", "hashing@hnsw,like=qdrant"]
    assert run("eval", *words[:4], "-t", TASK, "-o", measured, "-q").status == 0
    assert run("eval", *words[4:], "-t", TASK, "-o", measured, "-q").status == 0
    assert sorted(path.name for path in measured.iterdir()) == [
        "bm25", "bm25_rm3", "hashing", "hashing_hnsw_like=qdrant", "hashing_int8"
    ]  # fmt: skip
    assert run("compare", measured / "hashing", measured / "bm25", "-q").status == 0


def test_what_studies_keep_is_left_out_of_every_folder(run, measured, tmp_path):
    """A study's cells are records of variants of tasks: they count where they are named alone."""
    base = tmp_path / "base"
    assert run("baseline", "freeze", measured / "bm25", "--out", base).status == 0
    readers = [
        ["show", measured, "-f", "csv"],
        ["leaderboard", measured, "-f", "csv", "-q", "--refused"],
        ["compare", measured / "bm25", measured / "hashing", "-f", "csv", "-q"],
        ["gate", measured / "bm25", "-b", base, "-f", "csv", "-q"],
        ["export", "mteb", measured, "--out", tmp_path / "mteb"],
    ]
    before = [run(*words) for words in readers]
    assert [done.status for done in before] == [0] * len(readers)
    study = ["robustness,draws=1,perturbations=typos,severities=0.3", "-m", "bm25", "-t", TASK]
    done = run("study", *study, "-q", "-o", measured / "bm25" / "studies")
    assert (done.status, done.err) == (0, "")
    assert [run(*words) for words in readers] == before
    assert len(harness.load(f"{measured}/*")) == 2
    cells = measured / "bm25" / "studies" / "cells"
    assert run("show", cells, "-f", "csv").out.count("bm25") == 2
    assert run("show", next(cells.glob("*.json"))).status == 0


def test_a_gate_passes_fails_and_cannot_judge(run, measured, tmp_path, monkeypatch):
    base = tmp_path / "baselines/bm25"
    done = run("baseline", "freeze", measured / "bm25", "--out", base)
    assert (done.status, done.out) == (0, f"1 record frozen in {base}\n")
    assert run("baseline", "freeze", measured / "bm25", "--out", base).status == 2  # not replaced

    rows = run("gate", measured / "bm25", "-b", base, "-q", "-f", "csv")
    assert rows.err == "pass (1 same)\n"
    assert rows.out.startswith("table,")
    same = run("gate", "--model", "bm25", "--baseline", base, "-o", tmp_path / "again", "-q")
    assert (same.status, same.out.splitlines()[-1]) == (0, "pass (1 same)")

    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    files = {"junit": tmp_path / "out/gate.xml", "markdown": tmp_path / "out/gate.md"}
    options = [word for name, path in files.items() for word in (f"--{name}", path)]
    worse = run("gate", measured / "hashing", "-b", base, "--github", "-q", *options)
    assert worse.status == 1
    assert "::error " in worse.out
    suite = ElementTree.fromstring(files["junit"].read_bytes())
    assert [len(list(suite.iter(kind))) for kind in ("testcase", "failure")] == [1, 1]
    for path in (files["markdown"], tmp_path / "summary.md"):
        assert "regressed" in path.read_text("utf-8")

    other = run("eval", "-m", "bm25", "-t", f"{TASK},seed=1", "-o", tmp_path / "other", "-q")
    assert other.status == 0
    judged = run("gate", tmp_path / "other", "-b", base, "--json", "-q")
    assert judged.status == 1  # the baseline's task was not measured
    assert judged.json["exit_status"] == 1

    (base / next(iter(base.glob("*.json")))).write_text("{}")
    assert run("gate", measured / "bm25", "-b", base).status == 2  # an edited baseline


@pytest.mark.parametrize("place", ["no/such/folder/summary.md", "."])
def test_a_summary_that_cannot_be_written_leaves_the_verdict(
    run, measured, tmp_path, monkeypatch, place
):
    base = tmp_path / "base"
    assert run("baseline", "freeze", measured / "bm25", "-o", base).status == 0
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", place)
    why = "Is a directory" if place == "." else "No such file or directory"
    for name, status in (("bm25", 0), ("hashing", 1)):
        done = run("gate", measured / name, "-b", base, "--github", "-q")
        note = f"note: GITHUB_STEP_SUMMARY: {place}: cannot be written: {why}\n"
        assert (done.status, done.err) == (status, note)


PARTLY = """
import harness
import numpy as np

@harness.encoder("partly")
def partly(texts):
    if len(texts) > 30 or any("never" in text for text in texts):
        raise RuntimeError("no more than 30")
    return np.ones((len(texts), 3), np.float32)
"""


def test_a_candidate_that_fails_on_a_task_has_every_report(run, tmp_path, monkeypatch):
    monkeypatch.setattr(ENCODERS, "_entries", dict(ENCODERS._entries))
    (tmp_path / "partly.py").write_text(PARTLY)
    tasks = ["limit,docs=9,queries=5,attributes=3", "limit,docs=40,queries=5,attributes=3"]
    words = [word for task in tasks for word in ("-t", task)]
    assert run("eval", "-m", "hashing", *words, "-o", tmp_path / "records", "-q").status == 0
    base = tmp_path / "base"
    assert run("baseline", "freeze", tmp_path / "records", "--out", base).status == 0

    files = ["--junit", tmp_path / "gate.xml", "--markdown", tmp_path / "gate.md"]
    options = ["--plugin", tmp_path / "partly.py", "-o", tmp_path / "new", "--json", *files]
    done = run("gate", "-m", "partly", "-b", base, *options, "-q")
    assert done.status == 1
    found = {one["task"]: one for one in done.json["verdicts"]}
    assert found[tasks[1]]["status"] == "failed"
    assert "no more than 30" in found[tasks[1]]["reason"]
    assert found[tasks[0]]["difference"]["items"] == 5  # measured all the same
    suite = ElementTree.fromstring((tmp_path / "gate.xml").read_bytes())
    assert suite.find(f"testcase[@name='{tasks[1]}']/failure").get("type") == "failed"
    assert "no more than 30" in (tmp_path / "gate.md").read_text("utf-8")

    for file in ("gate.xml", "gate.md"):
        (tmp_path / file).unlink()
    unknown = run("gate", "-m", "partli", "-b", base, *options)
    assert (unknown.status, unknown.out) == (2, "")
    assert "Did you mean 'partly'?" in unknown.err
    assert not (tmp_path / "gate.xml").exists()


def test_costs_are_measured_again_where_an_interval_holds_its_limit(run, tmp_path, monkeypatch):
    """1.08 and 1.24 in turn have a mean of 1.17, and an interval of 5 runs that ends at 1.29.

    That of 10 ends at 1.23, below the limit of 1.25, so that there is no third turn.
    """
    turns = list[str]()

    def play(self, asked):
        turns.append(asked.model)
        seconds = 0.001 * (1 if len(turns) <= 6 else 1.08 if len(turns) % 2 else 1.24)
        times = dict.fromkeys(("product_s", "copy_s", "loop_s"), 0.001)
        return CostRun(**times, query_s=seconds), dict(Hashing().fingerprint())

    monkeypatch.setattr("harness.gate.processes.Processes._run", play)
    task = "limit,docs=9,queries=5,attributes=3"
    assert run("eval", "-m", "hashing", "-t", task, "-o", tmp_path / "old", "-q").status == 0
    base, policy = tmp_path / "base", tmp_path / "gate.toml"
    policy.write_text("[cost]\nlatency = 1.25\nruns = 5\nnoise = 0.0\n")
    words = ["baseline", "freeze", tmp_path / "old", "--out", base, "--policy", policy, "-q"]
    assert run(*words).status == 0
    words = ["gate", "-m", "hashing", "-b", base, "--policy", policy, "--json", "-q"]
    done = run(*words, "-o", tmp_path / "new")
    (path,) = (tmp_path / "new").rglob("*.json")
    runs = json.loads(path.read_text("utf-8"))["costs"]["runs"]
    assert len(turns) == 6 + 2 * 6  # in each turn a first run that does not count
    assert [one["query_s"] for one in runs] == [0.00124, 0.00108, 0.00124, 0.00108, 0.00124] * 2
    assert done.json["costs"][0]["high"] == pytest.approx(1.2348, abs=1e-4)
    assert (done.status, done.json["costs"][0]["status"]) == (0, "within")


def test_costs_are_frozen_measured_and_held_to_limits(run, tmp_path, monkeypatch):
    """The processes that measure are played here: each calls the command that they call."""
    monkeypatch.setattr("harness.gate.one_run.SECONDS", 0.0)
    monkeypatch.setattr("harness.gate.one_run.ROUNDS", 1)

    def play(self, asked):
        words = ["-m", asked.model, "-t", asked.task, "-i", asked.index, "--cache", self.store]
        done = run("measure-costs", *words)
        assert done.status == 0, done.err
        times = {name: 0.001 for name in done.json["run"] if name.endswith("_s")}
        return CostRun(**{**done.json["run"], **times}), done.json["fingerprint"]

    monkeypatch.setattr("harness.gate.processes.Processes._run", play)
    tasks = ["-t", "limit,docs=9,queries=5,attributes=3", "-t", "limit,docs=12,queries=5,k=1"]
    assert run("eval", "-m", "hashing", *tasks, "-o", tmp_path / "records", "-q").status == 0
    base, policy = tmp_path / "base", tmp_path / "gate.toml"
    policy.write_text("[cost]\nthroughput = 0.8\nlatency = 1.25\nmemory = 9.0\nruns = 2\n")
    done = run("baseline", "freeze", tmp_path / "records", "--out", base, "--costs", "-q")
    assert done.out == f"2 records frozen in {base} with costs\n"
    held = [json.loads(path.read_text("utf-8"))["costs"]["runs"] for path in base.glob("*.json")]
    assert [len(runs) for runs in held] == [5, 5]

    words = ["gate", "-b", base, "--policy", policy, "--json", "-q"]
    done = run(*words, "-m", "hashing", "-o", tmp_path / "new")
    assert done.status == 0
    assert [(c["name"], c["status"], c["limit"]) for c in done.json["costs"]] == [
        ("throughput", "within", 0.8), ("latency", "within", 1.25),
        ("memory, cold", "within", 9.0), ("memory, warm", "within", 9.0),
    ]  # fmt: skip
    assert done.json["costs"][0]["ratio"] == pytest.approx(1.0)
    assert run(*words, tmp_path / "new").status == 0  # they are in its records
    without = run(*words, tmp_path / "records")
    assert (without.status, without.json["costs"][0]["status"]) == (2, "not compared")
    assert run("baseline", "freeze", tmp_path / "records", "--out", tmp_path / "free").status == 0
    held_to = [*words[:2], tmp_path / "free", *words[3:]]
    with monkeypatch.context() as patched:
        patched.setattr("harness.gate.processes.Processes._run", None)  # none in vain
        done = run(*held_to, "-m", "hashing", "-o", tmp_path / "new")
    assert (done.status, {c["status"] for c in done.json["costs"]}) == (2, {"not compared"})
    assert done.err.splitlines()[0] == (
        f"note: {tmp_path}/free was frozen without costs: those that the policy limits are not "
        "measured and not compared; freeze it anew with harness baseline freeze --costs"
    )
    for given, message in (
        (["-q"], "--quiet plays no part without --costs or --policy"),
        (["--policy", tmp_path / "free.toml"], "free.toml: no cost is limited: name one under "),
    ):
        (tmp_path / "free.toml").write_text("alpha = 0.01\n")
        idle = run("baseline", "freeze", tmp_path / "records", "--out", tmp_path / "b", *given)
        assert (idle.status, message in idle.err) == (2, True), idle.err
    monkeypatch.setattr(Hashing, "fingerprint", lambda self: {"algorithm": "another"})
    changed = run("baseline", "freeze", tmp_path / "records", "--out", tmp_path / "b", "--costs")
    assert changed.status == 2
    assert "hashing is no longer the system that was measured" in changed.err
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["gate", "x"], "error: the gate needs --baseline FOLDER, of `harness baseline freeze`\n"),
        (["gate", "-b", "x"], "error: name the candidate: its records, or --model SYSTEM "),
        (["gate", "x", "-b", "none"], "error: none"),
        (["gate", "x", "-b", ""], "error: the gate needs --baseline FOLDER, of `harness baseline "),
        (
            ["gate", "-m", "", "-b", "x"],
            "error: name the candidate: its records, or --model SYSTEM ",
        ),
        (["gate", "x", "-b", "."], "error: SHA256SUMS: not a baseline's list of files: "),
        (["export", "wandb", "x", "--project", ""], "error: --project: expected a name\n"),
    ],
)
def test_what_is_asked_wrongly_is_one_line(run, words, message):
    done = run(*words)
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith(message)
    assert len(done.err.splitlines()) == 1


def test_the_gate_never_says_regressed_for_an_error(run, measured, tmp_path, monkeypatch):
    base = tmp_path / "base"
    assert run("baseline", "freeze", measured / "bm25", "--out", base).status == 0

    for error in (RuntimeError, HarnessError, MemoryError):

        def broken(*_, why=error, **__):
            raise why("something")

        monkeypatch.setattr("harness.gate.judge", broken)
        for debug in ("", "1"):
            monkeypatch.setenv("HARNESS_DEBUG", debug)
            assert run("gate", measured / "bm25", "-b", base).status == 2


@pytest.mark.parametrize("command", ["gate", "leaderboard"])
def test_what_is_measured_on_the_way_is_noted_and_made_anew(
    run, measured, tmp_path, monkeypatch, command
):
    """As by eval: vectors of another maker are noted, and --fresh replaces them."""
    base = tmp_path / "base"
    assert run("baseline", "freeze", measured / "hashing", "--out", base).status == 0
    words = ["gate", "-b", base] if command == "gate" else ["leaderboard", "-t", TASK]
    words += ["-m", "hashing", "--cache", tmp_path / "store", "-o", tmp_path / "new"]
    note = (
        f"note: hashing on {TASK}: vectors of hashing were made with numpy 1 (this is 2): --fresh"
    )
    for version, more, noted in [
        ("1", [], 0),
        ("2", [], 1),
        ("2", ["-q"], 0),
        ("2", ["--fresh"], 0),
    ]:
        monkeypatch.setattr(Hashing, "made_with", lambda _, version=version: {"numpy": version})
        done = run(*words, *more)
        assert (done.status, done.err.count(note)) == (0, noted)


def test_records_become_mtebs_files(run, measured, tmp_path):
    done = run("export", "mteb", measured, "--out", tmp_path / "mteb")
    assert (done.status, done.out) == (0, f"2 results written under {tmp_path / 'mteb'}\n")
    results = [p for p in Path(tmp_path / "mteb").rglob("*.json") if p.name != "model_meta.json"]
    assert len(results) == 2
    assert all("scores" in json.loads(path.read_text()) for path in results)
