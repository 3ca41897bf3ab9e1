"""Options that would do nothing are refused; of several tasks, the record says so."""

from __future__ import annotations

from dataclasses import replace

import pytest

import harness
from harness.board.standings import Ordering
from harness.data import Candidates
from harness.errors import InputError
from harness.session import Session
from harness.store import Store

TASK = "limit,docs=40,queries=9,k=2,attributes=5"
PAIRS = "pairs:test.csv"
IDLE = "a task of pairs is not searched: "


@pytest.fixture
def pairs(tmp_path):
    """Three sentence pairs."""
    path = tmp_path / "test.csv"
    path.write_text("sentence1,sentence2,score\na b,b c,1\na,c,4\nd,e,2\n")
    return path


@pytest.mark.usefixtures("pairs")
@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("eval --run f -i hnsw", "--index plays no part for --run without --model"),
        ("eval --run f -r rm3 --fresh", "--rewrite, --fresh play no part for --run without "),
        ("eval --run f --latency 0", "--latency plays no part for --run without --model"),
        (f"eval -m hashing@int8 -i hnsw -t {TASK}", "index hnsw plays no part: hashing@int8 names"),
        ("leaderboard --latency 50 -o x", "--latency, --out play no part without --model"),
        ("leaderboard -t core --cache x", "--task, --cache play no part without --model"),
        ("leaderboard --figure x.svg", "--figure plays no part without --html"),
        ("leaderboard --texts", "--texts plays no part without --html"),
        ("leaderboard --texts --figure x", "--texts, --figure play no part without --html"),
        ("leaderboard --alpha 7", "alpha=7.0: expected a number between 0 and 1"),
        ("leaderboard --alpha -3", "alpha=-3.0: expected a number between 0 and 1"),
        ("leaderboard --alpha nan", "alpha=nan: expected a number between 0 and 1"),
        ("gate x -b y --fresh", "--fresh plays no part without --model"),
        ("measures --markdown --json", "--json plays no part beside --markdown"),
        ("models --plugin x.py pull y", "--plugin before pull: expected after it, or not at all"),
        ("study --json ann", "--json before ann: expected after it, or not at all"),
        ("tasks --json -f csv", "--json and --format csv: expected one of them"),
        ("nonsense", "unknown command 'nonsense'. Choices: ann, baseline, compare, eval, "),
        ("evl", "unknown command 'evl'. Did you mean 'eval'? Choices: ann, baseline, "),
        ("store lst", "unknown command 'lst'. Did you mean 'list'? Choices: list, prune, verify"),
    ],
)
def test_an_option_that_does_nothing_is_one_line(run, words, message):
    done = run(*words.split(" "))
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith(f"error: {message}")
    assert len(done.err.splitlines()) == 1


@pytest.mark.usefixtures("pairs")
@pytest.mark.parametrize(
    ("words", "idle"),
    [
        (
            ["-i", "hnsw"],
            "index hnsw: it is a way to search, and this task searches nothing: leave the index "
            "out, or choose binary, int8, pca or truncate",
        ),
        (["-i", "int8", "--latency", "5"], f"{IDLE}latency plays no part"),
        (["-r", "average"], f"{IDLE}rewrite plays no part"),
        (["--trec", "tt"], f"{IDLE}trec plays no part"),
    ],
)
def test_a_task_that_ranks_nothing_takes_no_option_of_a_search(run, tmp_path, words, idle):
    done = run("eval", "-q", "-m", "hashing", "-t", PAIRS, *words)
    assert (done.status, done.out) == (2, "")
    assert done.err == f"failed: hashing on {PAIRS}: {idle}\n"
    assert not (tmp_path / "tt").exists()


@pytest.mark.usefixtures("pairs")
def test_of_several_tasks_one_that_ranks_nothing_says_so(run, tmp_path):
    words = ["-m", "hashing", "-t", PAIRS, "-t", TASK, "-i", "hnsw", "--latency", "2"]
    done = run("eval", *words, "--trec", "tt", "--json")
    assert done.status == 0
    assert done.json[0]["warnings"][0] == f"{IDLE}index, latency play no part"
    assert (done.json[0]["index"], done.json[1]["index"]["spec"]) == (None, "hnsw")
    assert f"note: {PAIRS}: {IDLE}trec plays no part\n" in done.err
    assert len(list((tmp_path / "tt").iterdir())) == 2  # of the task that is searched


def test_an_index_serves_the_systems_that_name_none(run):
    done = run("eval", "-q", "-m", "hashing", "-m", "hashing@int8", "-i", "pca,dim=8", "-t", TASK,
               "--json")  # fmt: skip
    assert [record["index"]["spec"] for record in done.json] == ["pca,dim=8", "int8"]


def test_what_is_measured_on_the_way_is_said_to_be_kept(run, tmp_path):
    done = run("leaderboard", "-m", "bm25", "-t", TASK, "-o", tmp_path / "kept")
    assert done.status == 0
    assert f"1 record written under {tmp_path / 'kept'}\n" in done.err


def test_from_python(pairs, tmp_path):
    task = f"pairs:{pairs}"
    with pytest.raises(
        InputError, match=r"^a task of pairs is not searched: latency plays no part"
    ):
        harness.evaluate("hashing", task, latency=3, progress=False)
    found = harness.evaluate(["hashing"], [task, TASK], latency=3, progress=False)
    assert found.failed == ()
    assert found[0].record.warnings[0] == "a task of pairs is not searched: latency plays no part"
    session = Session(Store(tmp_path / "store"))
    with pytest.raises(InputError, match=r"^a task of pairs is not searched: depth plays no p"):
        session.evaluate("hashing", task, depth=7)
    for call in (session.evaluate, session.rank):
        with pytest.raises(InputError, match=r"^index hnsw plays no part: hashing@int8 "):
            call("hashing@int8", TASK, index="hnsw")
    for alpha in (0, 1, 7, -3, float("nan"), True, "x"):
        with pytest.raises(InputError, match=r"^alpha=.*: expected a number between 0 and 1$"):
            Ordering(alpha=alpha)


def test_candidates_are_all_scored_whatever_the_index(tmp_path):
    session = Session(Store(tmp_path))
    task = session.task(TASK)
    data = task.collection
    named = dict.fromkeys(data.queries.ids, data.corpus.ids[:3])
    given = replace(data, candidates=Candidates.of(named, data.queries, data.corpus))
    rerank = task.changed("candidates", data=given)
    with pytest.raises(InputError, match=r"^all candidates of a query are scored: index "):
        session.evaluate("hashing@hnsw", rerank)
    assert session.evaluate("hashing", rerank, latency=1).record.candidates
    fused = session.evaluate("rrf:bm25+[hashing@hnsw]", rerank).record
    assert "index hnsw plays no part" in " ".join(fused.warnings)
