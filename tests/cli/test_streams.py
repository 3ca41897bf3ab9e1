"""Closed and full streams, encodings that lack characters, signals: one line, the right status."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest

from harness import records
from harness.__main__ import main

TASK = "limit,docs=9,queries=2,k=1"
EVAL = f"eval -m hashing -t {TASK}"
WORDS = [sys.executable, "-m", "harness"]
STOPS = """
import os, signal
import harness

@harness.encoder("stops")
def stops(texts):
    os.kill(os.getpid(), signal.{name})
    return [[1.0] for text in texts]
"""


def shell(command: str, folder: object, **env: str | None) -> subprocess.CompletedProcess[str]:
    """Give a command to a shell, where streams are closed; env: None for a variable not set."""
    known = {**os.environ, "H": f"{sys.executable} -m harness", **env}
    return subprocess.run(
        ["sh", "-c", command],
        cwd=str(folder),
        env={name: value for name, value in known.items() if value is not None},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def records_in(folder) -> int:
    return len(list(folder.glob("results/local/*/*.json")))


@pytest.mark.parametrize(
    ("end", "status", "out", "err"),
    [
        (">&-", 0, False, True),
        ("2>&-", 0, True, False),
        (">&- 2>&- <&-", 0, False, False),
        ("2>/dev/full", 0, True, False),
    ],
)
def test_a_stream_that_nobody_reads_stops_nothing(tmp_path, end, status, out, err):
    done = shell(f"$H {EVAL} {end}", tmp_path)
    assert (done.returncode, bool(done.stdout), bool(done.stderr)) == (status, out, err)
    assert "Traceback" not in done.stderr
    assert records_in(tmp_path) == 1
    (path,) = tmp_path.glob("results/local/*/*.json")
    assert records.load(path).system.spec == "hashing"


def test_results_that_cannot_be_written_are_one_line(tmp_path):
    done = shell("$H tasks >/dev/full", tmp_path)
    assert done.returncode == 1
    assert done.stderr == "error: standard output: No space left on device\n"
    done = shell("$H gate -b none >/dev/full", tmp_path)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_what_an_encoding_lacks_is_shown(tmp_path, encoding):
    (tmp_path / "t.toml").write_text(
        f'[odd]\nsource = "{TASK}"\ndescription = "é中🙂"\nlicense = "…"\n', "utf-8"
    )
    command = "$H tasks --plugin t.toml"
    done = shell(f"{command} --json > out; {command} > page", tmp_path, PYTHONIOENCODING=encoding)
    assert (done.returncode, done.stderr) == (0, "")
    tasks = json.loads((tmp_path / "out").read_text(encoding))["tasks"]
    assert "é中🙂" in tasks[-1].values()
    if encoding == "ascii":
        assert "\\u00e9\\u4e2d\\ud83d\\ude42" in (tmp_path / "page").read_text("ascii")


ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": None}


def test_a_locale_without_accents(tmp_path):
    folder = tmp_path / "é"
    folder.mkdir()
    done = shell(f"$H {EVAL} -q", folder, **ASCII)
    assert (done.returncode, done.stderr, records_in(folder)) == (0, "", 1)
    done = shell(f"$H {EVAL} -o é", tmp_path, **ASCII)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: '\\udcc3\\udca9': not UTF-8")
    assert "LC_ALL=C.UTF-8" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    "words",
    [
        ["eval", "-m", "x" * 300, "-t", TASK],
        ["eval", "-m", "hashing", "-t", "folder:" + "x" * 300],
        ["eval", "-m", "hashing", "-t", "folder:x\udcff"],
        ["eval", "-m", "hashing", "-t", TASK, "--measure", "R@" + "9" * 5000],
        ["eval", "-m", "hashing,dim=" + "9" * 5000, "-t", TASK],
        ["eval", "--run", "x" * 300, "-t", TASK],
        ["show", "x" * 300],
        ["leaderboard", "x" * 300],
        ["compare", "x" * 300, "y"],
        ["eval", "--plugin", "x" * 300 + ".toml"],
        ["store", "prune", "--limit", "9" * 5000],
    ],
    ids=lambda words: " ".join(words)[:30].encode("ascii", "backslashreplace").decode(),
)
def test_words_beyond_all_measure_are_wrong_usage(run, words):
    done = run(*words)
    assert (done.status, done.out, len(done.err.splitlines())) == (2, "", 1)
    assert "HARNESS_DEBUG" not in done.err


@pytest.mark.parametrize(
    ("name", "status", "word"), [("SIGINT", 130, "interrupted"), ("SIGTERM", 143, "terminated")]
)
def test_a_signal_ends_a_command_with_one_line(tmp_path, name, status, word):
    (tmp_path / "stops.py").write_text(STOPS.format(name=name), "utf-8")
    words = ["eval", "-m", "stops", "-t", TASK, "--plugin", "stops.py", "-q"]
    done = subprocess.run(
        [*WORDS, *words], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120
    )
    assert (done.returncode, done.stdout) == (status, "")
    kept = "whole shards and records are kept; run the same command to go on"
    assert done.stderr == f"{word}: {kept}\n"


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_signal_beside_a_command_ends_at_once(name, when):
    """While libraries are imported, and when all is done."""
    send = f"os.kill(os.getpid(), signal.{name})"
    code = f"""
import os, signal, sys
sys.argv = ["harness", "--version"]
class Finder:
    def find_spec(name, *more):
        if name == "harness.cli" and {when == "before"}:
            {send}
sys.meta_path.insert(0, Finder)
from harness.__main__ import main
try:
    main()
finally:
    {send}
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    word = {"SIGINT": "interrupted", "SIGTERM": "terminated"}[name]
    status = 128 + signal.Signals[name]
    assert (done.returncode, done.stderr.splitlines()[-1]) == (status, word)
    assert len(done.stderr.splitlines()) == 1


def test_little_is_imported_before_signals_are_heard():
    """What comes in the meantime ends in a traceback, or without a word."""
    code = """
import sys
before = {*sys.modules}
from harness.__main__ import main
print(*sorted({name.partition(".")[0] for name in {*sys.modules} - before}))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavier = {"typing", "re", "typer", "traceback", "subprocess", "pathlib", "logging"}
    assert "harness" in done.stdout.split()
    assert not heavier & {*done.stdout.split()}


def test_a_job_in_the_background_ignores_what_it_ignored(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["harness", "--version"])
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        with pytest.raises(SystemExit):
            main()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_memory_that_is_not_there_is_one_line(run, monkeypatch):
    def take(*_: object, **__: object) -> None:
        raise MemoryError("std::bad_alloc")

    monkeypatch.setattr("harness.session.Session.evaluate", take)
    done = run("eval", "-m", "hashing", "-t", TASK)
    assert (done.status, done.out) == (1, "")
    assert done.err == f"failed: hashing on {TASK}: not enough memory: std::bad_alloc\n"


def test_a_user_without_a_name_and_a_home(run, monkeypatch, tmp_path):
    def find(number: int) -> None:
        raise KeyError(f"getpwuid(): uid not found: {number}")

    monkeypatch.setattr("pwd.getpwuid", find)
    for name in ("HOME", "HARNESS_CACHE", "XDG_CACHE_HOME", "USER", "LOGNAME"):
        monkeypatch.delenv(name, raising=False)
    assert run("tasks", "limit-small").status == 0
    done = run(*EVAL.split())
    assert (done.status, done.out, len(done.err.splitlines())) == (2, "", 1)
    assert "set HARNESS_CACHE to a folder" in done.err
    assert run(*EVAL.split(), "--cache", tmp_path / "cache").status == 0
