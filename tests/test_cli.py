"""The commands as a user gives them: what they print, where, and the exit status."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
import textwrap
from dataclasses import dataclass

import pytest

from harness import catalog, cli, records
from harness.encoders import ENCODERS
from harness.types import InputError
from tests.fakes import Counting, beir

TASK = "limit,docs=40,queries=9,k=2,attributes=5"
HEADER = ["task", "model", "R@2", "95 % interval", "seconds"]


@dataclass(frozen=True)
class Done:
    status: int
    out: str
    err: str

    @property
    def json(self) -> object:
        return json.loads(self.out)


@pytest.fixture
def run(capsys, monkeypatch, tmp_path):
    """Give a command in this process; records go to tmp_path."""
    monkeypatch.chdir(tmp_path)

    def command(*words: object) -> Done:
        monkeypatch.setattr(sys, "argv", ["harness", *map(str, words)])
        status = 0
        try:
            cli.main()
        except SystemExit as ended:
            status = int(ended.code or 0)
        out, err = capsys.readouterr()
        return Done(status, out, err)

    return command


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
    assert wrong.stderr.startswith("error: unknown encoder 'hashin'. Did you mean 'hashing'?")
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
    assert run("eval", "-m", "bm25", "-t", TASK, "-f", "json", "-q").json[0]["schema_version"] == 1


def test_formats(run):
    words = ("eval", "-m", "bm25", "-t", TASK, "--measure", "R@2", "-q", "--format")
    markdown = run(*words, "markdown").out.splitlines()
    assert markdown[0] == "### Retrieval"
    assert [cell.strip() for cell in markdown[2].strip("|").split("|")] == HEADER
    header, row = csv.reader(io.StringIO(run(*words, "csv").out))
    assert header == HEADER
    assert row[:3] == [TASK, "bm25", "1.0000"]
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
    _, *rows = csv.reader(io.StringIO(done.out))
    assert [row[1] for row in rows] == ["bm25", "hashing"]
    lines = done.err.splitlines()
    pair = f"st:/no/such/model on {TASK}"
    why = "/no/such/model: no such folder, and not a hub id (organisation/name)"
    assert lines[0] == f"failed: {pair}: {why}"
    at = lines.index("1 of 3 evaluations failed:")
    assert lines[at + 1] == f"  {pair}: {why}"
    assert "2 records written under results/local" in lines


def test_a_task_that_fails_stops_no_other(run, tmp_path):
    (tmp_path / "test.csv").write_text("sentence1,sentence2,score\na,b,1\na,c,4\nd,e,2\n")
    done = run("eval", "-m", "bm25", "-t", f"pairs:{tmp_path}", "-t", TASK, "--json")
    assert done.status == 1
    assert [r["task"]["spec"] for r in done.json] == [TASK]
    assert "bm25 weighs terms by a corpus" in done.err


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
        (["-m", "bm26"], "unknown encoder 'bm26'. Did you mean 'bm25'?"),
        (["-m", "bm25,methd=x"], "unknown parameter of bm25 'methd'. Did you mean 'method'?"),
        (["-m", "bm25,k1=much"], "bm25: k1=much: expected a number"),
        (["-t", "limit-smal"], "unknown task 'limit-smal'. Did you mean 'limit-small'?"),
        (["-t", "cor"], "unknown task 'cor'. Did you mean 'core'?"),
        (["-i", "exat"], "unknown index 'exat'. Did you mean 'exact'?"),
        (["--measure", "NDCG@10"], "unknown measure 'NDCG'. Did you mean 'nDCG@K'?"),
        (["--measure", "nDCG"], "measure 'nDCG': expected a cut-off of at least 1"),
        (["--plugin", "none.py"], "none.py: no such plugin file"),
        (["--plugin", "none.toml"], "none.toml: no such task file"),
    ],
)
def test_what_is_misspelt_is_said_before_anything_is_computed(run, words, message, monkeypatch):
    monkeypatch.setattr(cli, "_one", None)  # would fail
    done = run("eval", "-m", "hashing", *words)
    assert done.status == 2
    assert done.err.startswith(f"error: {message}")
    assert len(done.err.splitlines()) == 1


def test_a_bug_is_one_line_too_unless_it_is_debugged(run, monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("something\nelse")

    monkeypatch.setattr(cli, "_one", broken)
    done = run("eval", "-m", "hashing", "-t", TASK)
    assert done.status == 1
    assert done.err == (
        f"failed: hashing on {TASK}: RuntimeError: something (HARNESS_DEBUG=1 shows where)\n"
    )
    monkeypatch.setenv("HARNESS_DEBUG", "1")
    with pytest.raises(RuntimeError):
        run("eval", "-m", "hashing", "-t", TASK)


def test_records_that_cannot_be_written(run, tmp_path):
    (tmp_path / "file").write_text("")
    done = run("eval", "-m", "hashing", "-t", TASK, "--out", "file")
    assert done.status == 1
    assert "cannot be written: Not a directory; choose another folder with --out DIR" in done.err


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
    assert again["system"]["makes"] == "run"
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
    assert record["task"]["licence"] == "mine"
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
    assert [row[1] for row in csv.reader(io.StringIO(table.out))] == ["model", "bm25", "hashing"]
    (path,) = tmp_path.glob("results/local/bm25/*.json")
    one = run("show", path)
    assert one.status == 0
    for title in ("Evaluation", "Scores", "Phases", "Counts", "Provenance"):
        assert title in one.out
    assert records.load(path).id in one.out
    assert run("show", path, "--json").json == [json.loads(path.read_text())]
    assert len(run("show", path, path, "-f", "json").json) == 2


def test_show_refuses_what_is_no_record(run, tmp_path):
    (tmp_path / "other.json").write_text('{"ndcg": 1}')
    done = run("show", "other.json")
    assert done.status == 2
    assert done.err == "error: other.json: schema_version is None: expected 1\n"
    assert run("show", "nothing").err == "error: nothing: no such record or folder\n"


def test_tasks(run):
    done = run("tasks")
    assert done.status == 0
    for word in ("limit-small", "core", "folder:TARGET", "pairs:TARGET"):
        assert word in done.out
    found, suites, sources = run("tasks", "--json").json
    assert next(row for row in found if row["task"] == "limit-small")["size"] == (
        "46 documents, 1,000 queries"
    )
    assert next(row for row in suites if row["suite"] == "core")["tasks"]
    assert {row["name"] for row in sources} >= {"folder:TARGET", "limit", "pairs:TARGET"}


def test_one_task(run):
    about, samples = run("tasks", TASK, "--json").json
    assert about["queries"] == "9, 9 of them judged"
    assert samples[0]["query"].startswith("Who likes ")
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
    rows = {row["name"]: row for row in run("models", "--json").json}
    assert rows["bm25"]["parameters"] == "k1=1.5, b=0.75, method=lucene"
    assert rows["minilm"]["what"] == "short for st:minilm"
    assert "hashing" in run("models").out
    rows = {row["name"]: row for row in run("indexes", "-f", "json").json}
    assert rows["exact"]["parameters"] == "block=262144"
    assert run("indexes", "-f", "nothing").status == 2


def test_the_store(run, tmp_path):
    place = ["--cache", tmp_path / "store"]
    run("eval", "-m", "hashing", "-t", TASK, "-q", *place)
    rows = run("store", "list", "--json", *place).json
    assert sorted((row["encoder"], row["role"], row["texts"]) for row in rows) == [
        ("hashing", "document", "40"),
        ("hashing", "query", "9"),
    ]
    whole = run("store", "verify", "-q", *place)
    assert (whole.status, whole.out, whole.err) == (0, "2 whole, 0 damaged\n", "")
    shard = next((tmp_path / "store").rglob("*.npy"))
    shard.write_bytes(shard.read_bytes()[:-1])
    broken = run("store", "verify", "-q", *place)
    assert (broken.status, broken.out) == (1, "1 whole, 1 damaged\n")
    assert broken.err == f"damaged: {shard.with_suffix('.damaged')}\n"
    pruned = run("store", "prune", "--limit", "0", *place)
    assert pruned.out.startswith("removed 2 encoder spaces, ")
    assert list((tmp_path / "store" / "embeddings").iterdir()) == []
    assert run("store", "prune", "--limit", "1GB", *place).out == (
        "removed 0 encoder spaces, 0.0 MB\n"
    )


@pytest.mark.parametrize(
    ("text", "size"),
    [("0", 0), ("500MB", 5 * 10**8), ("10gb", 10**10), ("1.5 GB", 15 * 10**8), ("7B", 7), ("8", 8)],
)
def test_sizes_are_read_as_people_write_them(text, size):
    assert cli._bytes(text) == size


@pytest.mark.parametrize("text", ["", "GB", "ten", "1XB", "inf", "nan", "1e999", "-1GB"])
def test_a_size_that_is_none_is_refused(text):
    with pytest.raises(InputError, match="expected a number and KB, MB, GB or TB"):
        cli._bytes(text)


def test_the_stores_limit_comes_from_the_environment(run, tmp_path, monkeypatch):
    place = ["--cache", tmp_path / "store"]
    run("eval", "-m", "hashing", "-t", TASK, "-q", *place)
    for described in (tmp_path / "store").rglob("space.json"):
        os.utime(described, (0, 1000))
    monkeypatch.setenv("HARNESS_CACHE_LIMIT", "10KB")
    run("eval", "-m", "hashing,dim=8", "-t", TASK, "-q", *place)
    rows = run("store", "list", "--json", *place).json
    assert {row["encoder"] for row in rows} == {"hashing,dim=8"}
    monkeypatch.setenv("HARNESS_CACHE_LIMIT", "much")
    done = run("eval", "-m", "hashing", "-t", TASK)
    assert done.status == 2
    assert done.err == "error: size 'much': expected a number and KB, MB, GB or TB\n"


def test_a_store_that_breaks_at_the_end_costs_no_scores(run, tmp_path):
    """Pruning comes last: another model's broken entry must not hide what was measured."""
    place = ["--cache", tmp_path / "store"]
    run("eval", "-m", "hashing", "-t", TASK, "-q", *place)
    next((tmp_path / "store").rglob("space.json")).write_text("{")
    done = run("eval", "-m", "bm25", "-t", TASK, "-f", "csv", "-q", *place)
    assert "bm25" in done.out
    assert done.status == 1
    assert "delete that folder" in done.err


def test_a_model_is_opened_once_for_all_tasks(run, monkeypatch):
    opened = []

    def create(spec):
        opened.append(str(spec))
        return Counting()

    monkeypatch.setattr(ENCODERS, "create", create)
    done = run("eval", "-m", "hashing", "-t", TASK, "-t", f"{TASK},seed=1", "--json", "-q")
    assert len(done.json) == 2
    assert opened == ["hashing"]


def test_text_that_looks_like_markup_is_printed_as_it_is(run, tmp_path):
    documents = {"[bold]d[/bold]": "[red]apple[/red] :smile:", "x": "car"}
    judged = [("q", "[bold]d[/bold]", 1)]
    task = beir(tmp_path / "data", documents, {"q": "[/nothing] apple"}, judged)
    out = run("tasks", task).out
    assert "[bold]d[/bold]" in out
    assert "[/nothing] apple" in out
    assert "[red]apple[/red] :smile:" in out


COMMANDS = [
    ("eval",),
    ("tasks",),
    ("models",),
    ("indexes",),
    ("show",),
    ("store", "list"),
    ("store", "verify"),
    ("store", "prune"),
]


@pytest.mark.parametrize("command", [(), ("store",), *COMMANDS])
def test_the_help_of_each_command_has_an_example(run, command):
    done = run(*command, "--help")
    assert done.status == 0
    assert f"Example: harness {' '.join(command)}".rstrip() in " ".join(done.out.split())


def test_every_command_is_held_by_these_tests():
    names = {(c.name or c.callback.__name__,) for c in cli.app.registered_commands}
    stores = {("store", c.name or c.callback.__name__) for c in cli.store_app.registered_commands}
    assert names | stores == set(COMMANDS)
