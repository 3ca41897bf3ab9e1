"""The commands as a user gives them: what they print, where, and the exit status."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import subprocess
import sys
import textwrap

import pytest

from harness import cli, records
from harness.encoders import ENCODERS
from harness.encoders.models import MODELS
from harness.encoders.word_vectors import WordVectors
from harness.studies import STUDIES
from harness.tasks import catalog
from tests.fakes import beir

TASK = "limit,docs=40,queries=9,k=2,attributes=5"
HEADER = ["task", "system", "R@2", "95% interval", "seconds"]


def systems(text: str) -> list[str]:
    """Systems of the main scores of a CSV file, in its order."""
    return [row["system"] for row in csv.DictReader(io.StringIO(text)) if row["main"] == "true"]


def child(*words: object, **options: object) -> subprocess.CompletedProcess[str]:
    """Give a command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "harness", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        **options,
    )


def test_an_evaluation_prints_a_table_and_says_where_the_record_is(run, tmp_path):
    done = run("eval", "-m", "hashing", "-t", TASK)
    assert done.status == 0
    assert "Retrieval" in done.out
    assert "nDCG@10" in done.out
    assert done.err.splitlines()[0].startswith("note: hashing on limit,docs=40")
    assert "1 record written under results/local" in done.err
    (path,) = tmp_path.glob("results/local/hashing/*.json")
    assert f"harness show {path.relative_to(tmp_path)}" in done.err
    assert records.load(path).system.spec == "hashing"


def test_a_process_of_its_own(tmp_path):
    done = child("eval", "-m", "hashing", "-t", TASK, "--json", "-q", cwd=tmp_path)
    assert done.returncode == 0
    assert done.stderr == ""
    (record,) = json.loads(done.stdout)
    assert record["system"]["spec"] == "hashing"

    wrong = child("eval", "-m", "hashin", "-t", TASK, cwd=tmp_path)
    assert wrong.returncode == 2
    assert wrong.stdout == ""
    assert wrong.stderr.startswith("error: unknown model 'hashin'. Did you mean 'hashing'?")
    assert len(wrong.stderr.splitlines()) == 1

    usage = child("eval", "--no-such-option", cwd=tmp_path)
    assert usage.returncode == 2
    assert "No such option" in usage.stderr
    assert "Traceback" not in usage.stderr


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_goes_away_is_no_traceback(unbuffered):
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "harness", "tasks", "--json"],
        stdout=write,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
    )
    os.close(write)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr


def test_quiet_says_nothing_but_the_result(run):
    done = run("eval", "-m", "hashing", "-t", TASK, "--quiet")
    assert (done.status, done.err) == (0, "")
    assert "hashing" in done.out


def test_json_holds_whole_records(run):
    done = run("eval", "-m", "hashing", "-m", "bm25", "-t", TASK, "--measure", "R@2", "--json")
    assert [r["system"]["spec"] for r in done.json] == ["hashing", "bm25"]
    for record in done.json:
        assert records.Record.model_validate(record).main_measure == "R@2"
    assert run("eval", "-m", "bm25", "-t", TASK, "-f", "json", "-q").json[0]["schema_version"] == 2


def test_formats(run):
    words = ("eval", "-m", "bm25", "-t", TASK, "--measure", "R@2", "-q", "--format")
    markdown = run(*words, "markdown").out.splitlines()
    assert markdown[0] == "### Retrieval"
    assert [cell.strip() for cell in markdown[2].strip("|").split("|")] == HEADER
    (row,) = csv.DictReader(io.StringIO(run(*words, "csv").out))
    assert [row[name] for name in ("table", "system", "task", "measure", "main", "mean")] == [
        "scores", "bm25", TASK, "R@2", "true", "1.0"
    ]  # fmt: skip
    assert run(*words, "latex").out.startswith("\\begin{tabular}{llrrr}")
    wrong = run(*words, "html")
    assert wrong.status == 2
    assert wrong.err == (
        "error: --format html: expected one of terminal, markdown, csv, latex, json\n"
    )


def test_a_model_that_fails_stops_no_other_and_is_named_at_the_end(run):
    done = run(
        "eval", "-m", "hashing", "-m", "st:/no/such/model", "-m", "bm25", "-t", TASK, "-f", "csv"
    )
    assert done.status == 1
    assert systems(done.out) == ["hashing", "bm25"]
    lines = done.err.splitlines()
    pair = f"st:/no/such/model on {TASK}"
    why = "/no/such/model: no such folder, and not a hub id (organisation/name)"
    assert lines[0] == f"failed: {pair}: {why}"
    assert f"1 of 3 evaluations failed: {pair}" in lines
    assert done.err.count(why) == 1
    assert "2 records written under results/local" in lines


def test_a_task_that_fails_stops_no_other(run, tmp_path):
    (tmp_path / "test.csv").write_text("sentence1,sentence2,score\na,b,1\na,c,4\nd,e,2\n")
    done = run("eval", "-m", "bm25", "-t", f"pairs:{tmp_path}", "-t", TASK, "--json")
    assert done.status == 1
    assert [r["task"]["spec"] for r in done.json] == [TASK]
    assert "bm25 weighs terms by a corpus, and the task has only pairs of sentences" in done.err


def test_every_one_failing_gives_no_table(run):
    done = run("eval", "-m", "st:/one", "-m", "st:/two", "-t", TASK, "-q")
    assert done.status == 1
    assert done.out == ""
    assert "2 of 2 evaluations failed:" in done.err


def test_one_evaluation_that_cannot_be_is_wrong_usage(run):
    done = run("eval", "-m", "st:/no/such/model", "-t", TASK)
    assert (done.status, done.out) == (2, "")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-m", "bm26"], "unknown model 'bm26'. Did you mean 'bm25'?"),
        (["-m", "bm25,methd=x"], "unknown parameter of bm25 'methd'. Did you mean 'method'?"),
        (["-m", "bm25,k1=much"], "bm25: k1=much: expected a number"),
        (["-t", "limit-smal"], "unknown task 'limit-smal'. Did you mean 'limit-small'?"),
        (["-t", "cor"], "unknown task 'cor'. Did you mean 'core'?"),
        (["-i", "exat"], "unknown index 'exat'. Did you mean 'exact'?"),
        (["-r", "averag"], "unknown rewriting 'averag'. Did you mean 'average'?"),
        (["--rewrite", "rm3,dept=1"], "unknown parameter of rm3 'dept'. Did you mean 'depth'?"),
        (["--rewrite", "rm3,depth=x"], "rm3: depth=x: expected a whole number"),
        (["--measure", "NDGC@10"], "unknown measure 'NDGC'. Did you mean 'nDCG@10'?"),
        (["--measure", "nDCG"], "measure 'nDCG': expected a cut-off of at least 1"),
        (["--plugin", "none.py"], "none.py: no such plugin file"),
        (["--plugin", "none.toml"], "none.toml: no such task file"),
    ],
)
def test_what_is_misspelt_is_said_before_anything_is_computed(run, words, message, monkeypatch):
    monkeypatch.setattr(cli.evaluate, "_measure_one", None)  # would fail
    done = run("eval", "-m", "hashing", *words)
    assert done.status == 2
    assert done.err.startswith(f"error: {message}")
    assert len(done.err.splitlines()) == 1


def test_a_bug_is_one_line_too_unless_it_is_debugged(run, monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("something\nelse")

    monkeypatch.setattr(cli.evaluate, "_measure_one", broken)
    done = run("eval", "-m", "hashing", "-t", TASK)
    assert done.status == 1
    assert done.err == (
        f"failed: hashing on {TASK}: RuntimeError: something (HARNESS_DEBUG=1 shows where)\n"
    )
    monkeypatch.setenv("HARNESS_DEBUG", "1")
    done = run("eval", "-m", "hashing", "-t", TASK)
    assert done.status == 1
    assert 'raise RuntimeError("something\\nelse")' in done.err


@pytest.mark.parametrize("debug", ["1", ""])
def test_what_libraries_warn_of_is_a_line_without_a_place_in_their_code(run, monkeypatch, debug):
    import warnings

    import numpy as np

    from harness.encoders.hashing import Hashing

    encode = Hashing.encode

    def warning(self, texts, role):
        np.float32([1e38]) * np.float32([1e38])
        warnings.warn("write it otherwise", DeprecationWarning, stacklevel=1)
        return encode(self, texts, role)

    monkeypatch.setenv("HARNESS_DEBUG", debug)
    monkeypatch.setattr(Hashing, "encode", warning)
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        done = run("eval", "-q", "-m", f"hashing,dim={9 + len(debug)}", "-t", TASK)
    assert done.status == 0
    line = "note: a library warns: overflow encountered in multiply\n"
    assert done.err == ("" if debug else line)  # which Python shows where it is debugged


def test_records_that_cannot_be_written(run, tmp_path):
    (tmp_path / "file").write_text("")
    done = run("eval", "-m", "hashing", "-t", TASK, "--out", "file")
    assert done.status == 1
    assert (
        "cannot be written: Not a directory; choose another folder (on the command line --out DIR)"
        in done.err
    )


def test_trec_files_score_the_same_through_run(run, tmp_path):
    words = ["--measure", "nDCG@10", "--measure", "RR@10", "--measure", "R@2", "--json", "-q"]
    task = "limit,docs=60,queries=20,k=2,attributes=5"
    first = run("eval", "-m", "hashing", "-t", task, "--trec", "trec", *words).json[0]
    (ranking,) = tmp_path.glob("trec/*.run")
    (judgments,) = tmp_path.glob("trec/*.qrels")
    assert len(judgments.read_text().splitlines()) == 40
    assert len(ranking.read_text().splitlines()) == 20 * 10
    again = run("eval", "--run", ranking, "-t", task, *words).json[0]
    assert again["scores"] == first["scores"]
    assert (again["system"]["source"], again["system"]["representation"]) == ("run", None)
    assert again["system"]["spec"] == f"run:{ranking.name}"
    assert again["warnings"] == []


def test_a_run_file_that_is_none(run, tmp_path):
    (tmp_path / "bad.run").write_text("query_0 Q0\n")
    done = run("eval", "--run", "bad.run", "-t", TASK)
    assert done.status == 2
    assert "bad.run:1: 2 columns: expected 'qid Q0 docid rank score tag'" in done.err
    missing = run("eval", "--run", "none.run", "-t", TASK)
    assert missing.status == 2
    assert "none.run: cannot be read: No such file or directory" in missing.err


@pytest.fixture
def restored():
    """Forget what plugins registered."""
    ENCODERS.names()  # all are there, whatever test is the first
    entries, extra = dict(ENCODERS._entries), list(catalog._extra)
    yield
    ENCODERS._entries.clear()
    ENCODERS._entries.update(entries)
    catalog._extra[:] = extra
    catalog.definitions.cache_clear()


@pytest.mark.usefixtures("restored")
def test_plugins_register_encoders_and_tasks(run, tmp_path):
    (tmp_path / "mine.py").write_text(
        textwrap.dedent("""
            from dataclasses import dataclass

            from harness.encoders import ENCODERS
            from harness.encoders.hashing import Hashing

            @ENCODERS.register("mine")
            @dataclass(frozen=True)
            class Mine(Hashing):
                '''My own encoder.'''

                salt: int = 7
        """)
    )
    (tmp_path / "mine.toml").write_text(
        f'[my-task]\nsource = "{TASK}"\nmeasures = ["P@1"]\nlicence = "mine"\n'
    )
    words = ["--plugin", "mine.py", "--plugin", "mine.toml"]
    done = run("eval", "-m", "mine,salt=9", "-t", "my-task", "--json", "-q", *words)
    (record,) = done.json
    assert record["system"]["full"] == "mine,dim=256,salt=9"
    assert record["main_measure"] == "P@1"
    assert record["task"]["license"] == "mine"
    assert done.err == ""


@pytest.mark.usefixtures("restored")
@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("bad.py", "1 / 0", "bad.py: the plugin fails: ZeroDivisionError: division by zero"),
        ("bad.toml", "[x]\n", "bad.toml: task 'x': expected a table with at least source"),
        ("bad.toml", "[[", "bad.toml: not a readable TOML file: "),
        (
            "twice.py",
            "from harness.encoders import ENCODERS\nENCODERS.entries()\n"
            "ENCODERS.register('bm25')(dict)",
            "encoder 'bm25' is registered already: choose another name",
        ),
    ],
)
def test_a_plugin_that_is_wrong_is_one_line(run, tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    done = run("tasks", "--plugin", name)
    assert done.status == 2
    assert done.err.startswith(f"error: {message}")
    assert len(done.err.splitlines()) == 1


def test_show(run, tmp_path):
    run("eval", "-m", "hashing", "-m", "bm25", "-t", TASK, "-q")
    table = run("show", "results/local", "-f", "csv")
    assert systems(table.out) == ["bm25", "hashing"]
    (path,) = tmp_path.glob("results/local/bm25/*.json")
    one = run("show", path)
    assert one.status == 0
    for title in ("Evaluation", "Scores", "Phases", "Counts", "Provenance"):
        assert title in one.out
    assert records.load(path).id in one.out
    assert run("show", path, "--json").json == [json.loads(path.read_text())]
    (other,) = tmp_path.glob("results/local/hashing/*.json")
    assert len(run("show", path, other, path, "-f", "json").json) == 2  # each file once


def test_show_refuses_what_is_no_record(run, tmp_path):
    (tmp_path / "other.json").write_text('{"ndcg": 1}')
    done = run("show", "other.json")
    assert done.status == 2
    assert done.err == "error: other.json: schema_version is None: expected 1 or 2\n"
    assert run("show", "nothing").err == "error: nothing: no such record or folder\n"


def test_tasks(run):
    done = run("tasks")
    assert done.status == 0
    for word in ("limit-small", "core", "folder:TARGET", "pairs:TARGET"):
        assert word in done.out
    found = run("tasks", "--json").json
    assert found["schema"] == 1
    small = next(row for row in found["tasks"] if row["task"] == "limit-small")
    assert (small["documents"], small["queries"], small["pairs"]) == (46, 1000, None)
    assert small["reference"] == "https://arxiv.org/abs/2508.21038"
    assert next(row for row in found["suites"] if row["suite"] == "core")["tasks"] == 2
    assert {row["name"] for row in found["sources"]} >= {"folder:TARGET", "limit", "pairs:TARGET"}


def test_one_task(run):
    card = run("tasks", TASK, "--json").json
    assert card["task"]["queries"] == "9, 9 of them judged"
    assert card["samples"][0]["gain"] == 1
    assert card["samples"][0]["query"].startswith("Who likes ")
    unknown = run("tasks", "limit-smal")
    assert unknown.status == 2
    assert "Did you mean 'limit-small'?" in unknown.err
    suite = run("tasks", "core")
    assert suite.status == 2
    assert suite.err.startswith("error: 'core' is a suite of tasks: name one of limit-small")


def test_a_suite_is_its_tasks_each_once(run, monkeypatch):
    suite = catalog.Suite("core", "", ["limit-small", TASK])
    monkeypatch.setattr(catalog, "suites", lambda: {"core": suite})
    done = run(
        "eval", "-m", "hashing", "-t", "core", "-t", TASK, "--measure", "R@2", "--json", "-q"
    )
    assert [record["task"]["spec"] for record in done.json] == ["limit-small", TASK]


def test_models_and_indexes(run):
    found = run("models", "--json").json
    assert {"rrf:TARGET", "rerank:TARGET"} <= {row["name"] for row in found["systems"]}
    assert "cross:TARGET" in {row["name"] for row in found["rerankers"]}
    assert "not stated" in [row["license"] for row in found["zoo"]]
    rows = {row["name"]: row for row in found["encoders"]}
    assert rows["glove-50d"]["what"] == "short for words:glove-50d"
    assert rows["bm25"]["parameters"] == "k1=1.5, b=0.75, method=lucene, language"
    assert rows["minilm"]["what"] == "short for st:minilm"
    assert "hashing" in run("models").out
    found = run("indexes", "-f", "json").json
    rows = {row["name"]: row for row in found["indexes"]}
    assert rows["exact"]["parameters"] == "block=262144, metric, device"
    assert {row["preset"]: row["M"] for row in found["presets"]}["hnsw,like=milvus"] == 18
    assert run("indexes", "-f", "nothing").status == 2


def test_measures(run):
    rows = {row["measure"]: row for row in run("measures", "--json").json["measures"]}
    assert rows["RR@K"]["also"] == "recip_rank (@1000), mrr"
    assert {row["kind"] for row in rows.values()} >= {"retrieval", "pairs", "clustering"}
    assert run("measures", "--markdown").out.startswith("# Measures\n")
    assert run("measures", "-f", "nothing").status == 2


def test_rewritings(run):
    rows = {row["name"]: row for row in run("rewritings", "--json").json["rewritings"]}
    assert rows["rm3"]["parameters"] == "depth=10, terms=10, weight=0.5"
    assert rows["average"]["what"].startswith("Mean of a query's vector")
    assert "rocchio" in run("rewritings").out
    assert run("rewritings", "-f", "nothing").status == 2


def test_a_rewriting_is_recorded_and_shown(run):
    words = ["eval", "-m", "hashing", "-t", TASK, "--measure", "R@2", "-q"]
    (plain,) = run(*words, "--json").json
    (record,) = run(*words, "--rewrite", "average", "--json").json
    assert plain["rewriting"] is None
    assert record["rewriting"] == {"spec": "average", "full": "average,depth=3", "details": {}}
    assert record["id"] != plain["id"]
    table = run("show", "results/local", "-f", "csv")
    assert sorted(systems(table.out)) == ["hashing", "hashing + average"]
    done = run(*words, "-r", "rm3")
    assert (done.status, done.out) == (2, "")
    assert done.err == (
        f"failed: hashing on {TASK}: hashing makes dense vectors and rm3 takes sparse: "
        "choose another rewriting\n"
    )


def test_families_are_compared_where_there_are_several(run, tmp_path):
    rows = "sentence1,sentence2,score\na b,a b,5\na b,a c,4\na b,c d,0\n"
    (tmp_path / "test.csv").write_text(rows)
    words = ["-t", TASK, "-t", f"pairs:{tmp_path}", "-f", "markdown"]
    done = run("eval", "-m", "hashing", "-m", "hashing,dim=8", *words)
    assert "### Families" in done.out
    assert "### Families" in run("show", "results/local", "-f", "markdown").out
    assert "Families" not in run("show", "results/local/hashing", "-m").out


def test_a_model_is_loaded_once_for_all_tasks(run, monkeypatch, tmp_path):
    rows, read = tmp_path / "words.txt", []
    rows.write_text("tennis 1 0\nlikes 0 2\n")
    whole = WordVectors.read_table
    monkeypatch.setattr(WordVectors, "read_table", lambda self: read.append(1) or whole(self))
    MODELS.clear()
    tasks = ["-t", TASK, "-t", f"{TASK},seed=1"]
    done = run("eval", "-m", f"words:{rows}", *tasks, "--json", "-q", "--cache", tmp_path / "new")
    assert len(done.json) == 2
    assert read == [1]


def test_an_old_name_of_a_parameter_is_read_and_the_new_one_said(run):
    done = run("eval", "-m", "tfidf-svd,dimensions=2", "-t", TASK, "--json", "-q")
    assert [found["system"]["full"] for found in done.json] == ["tfidf-svd,dim=2"]
    assert done.err.splitlines()[-1] == "tfidf-svd: dimensions is now called dim"


def test_text_that_looks_like_markup_is_printed_as_it_is(run, tmp_path):
    documents = {"[bold]d[/bold]": "[red]apple[/red] :smile:", "x": "car"}
    judged = [("q", "[bold]d[/bold]", 1)]
    task = beir(tmp_path / "data", documents, {"q": "[/nothing] apple"}, judged)
    out = run("tasks", task).out
    assert "[bold]d[/bold]" in out
    assert "[/nothing] apple" in out
    assert "[red]apple[/red] :smile:" in out


def name_commands() -> list[tuple[str, ...]]:
    """Every command and every study, as they are given."""
    groups = {(group.name,): group.typer_instance for group in cli.app.registered_groups}
    named = {
        (*group, command.name or command.callback.__name__)
        for group, app in {(): cli.app, **groups}.items()
        for command in app.registered_commands
    }
    return sorted(named | {("study", entry.name) for entry in STUDIES.entries()})


@pytest.mark.parametrize("command", [(), ("store",), ("study",), *name_commands()])
def test_the_help_of_each_command_has_an_example(run, command):
    done = run(*command, "--help")
    assert done.status == 0
    named = ("study", "ann") if command == ("ann",) else command  # which is short for it
    words = " ".join(done.out.split()).replace("study '", "study ")  # of a spec in quotes
    assert f"Example: harness {' '.join(named)}".rstrip() in words


@pytest.mark.parametrize(
    ("words", "option"),
    [
        (["eval", "-m", "bm25", "--rewrite", "rm3", "-r", "none"], "--rewrite"),
        (["eval", "-m", "bm25", "--index=exact", "-i", "hnsw"], "--index"),
        (["leaderboard", "--order", "mean", "--order", "borda"], "--order"),
        (["gate", "x", "-b", "one", "-b", "other"], "--baseline"),
        (["gate", "-m", "bm25", "-m", "hashing", "-b", "one"], "--model"),
        (["compare", "a", "b", "-f", "csv", "-f", "json"], "--format"),
        (["export", "mteb", "x", "--out", "a", "-o", "b"], "--out"),
        (["baseline", "freeze", "x", "--out", "a", "-o", "b"], "--out"),
        (["store", "prune", "--limit", "1GB", "--limit", "2GB"], "--limit"),
        (["models", "pull", "-q", "x", "-q"], ""),
        (["study", "geometry", "--seed", "1", "--seed", "2"], "--seed"),
        (["tasks", "-f", "csv", "--format", "json"], "--format"),
    ],
)
def test_an_option_of_one_value_is_given_once(run, words, option):
    done = run(*words)
    assert (done.status, done.out) == (2, "")
    given = f"error: {option} is given 2 times: expected once\n"
    assert done.err == given if option else "given" not in done.err  # a switch is on, or it is not


def test_the_version(run):
    assert run("--version").out == "retrieval-harness 0.2.0\n"


@pytest.mark.parametrize(
    "words", [["eval"], ["show"], ["gate"], ["compare"], ["leaderboard"], ["study", "ann"],
              ["models", "pull"], ["store", "prune"], ["export", "mlflow"], ["tasks"]],
)  # fmt: skip
def test_help_names_values_as_people_do(run, words):
    said = run(*words, "--help").out
    assert not re.search(r"<\w|list\[|\{\w+\}|see above", said.replace("<borda|mean>", ""))
    assert re.search(r"^  Example: harness .+$", said, re.M)


def test_tables_end_where_their_text_does(run):
    lines = run("study").out.splitlines()
    assert lines == [line.rstrip() for line in lines]
