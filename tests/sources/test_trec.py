from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from harness.data import Corpus, Qrels, Queries
from harness.errors import InputError
from harness.sources import trec
from harness.vectors import Run, ranking

QUICK = settings(max_examples=100, deadline=None, derandomize=True)
ODD = (
    "Geneva Durben",  # LIMIT's documents are people
    "100%",
    "%20",
    "a%20b c",
    "é",
    "\u00a0",
    "tab\there",
    "line\nbreak\r",
    "\ufeffbom",
    "\u2028",
    "\x1f",
    "\U0001f600",
    "'\"\\#",
    " lead",
)
texts = st.lists(
    st.sampled_from(ODD) | st.text(min_size=1, max_size=6), min_size=1, max_size=6, unique=True
)
float32s = st.floats(width=32, allow_nan=False, allow_infinity=False)


def unambiguous(ids: Sequence[str]) -> bool:
    """No id is another one percent-encoded: a column that is an id as it stands is that id."""
    return not any(unquote(id) != id and unquote(id) in ids for id in ids)


def collection(documents: Sequence[str], queries: Sequence[str]) -> tuple[Queries, Corpus]:
    return Queries(queries, queries), Corpus.of(documents, documents)


QUERIES, CORPUS = collection(["a", "b", "c"], ["q1", "q2"])


def written(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def rows(run: Run) -> list[list[tuple[int, float]]]:
    return [
        [(int(d), float(s)) for d, s in zip(docs, scores, strict=True) if d >= 0]
        for docs, scores in zip(run.docs, run.scores, strict=True)
    ]


# --- runs ---------------------------------------------------------------------------------------


def test_a_run_file_as_written(tmp_path):
    queries, corpus = collection(["Ann Lee", "b%", "c"], ["q 1", "q2"])
    run = Run(np.int32([[2, 0, -1], [1, -1, -1]]), np.float32([[1.5, 0.1, 0], [-2, 0, 0]]))
    trec.write_run(tmp_path / "run", run, queries, corpus, "my tag")
    assert (tmp_path / "run").read_text("utf-8") == (
        "q%201 Q0 c 1 1.5 my%20tag\nq%201 Q0 Ann%20Lee 2 0.100000001 my%20tag\n"
        "q2 Q0 b%25 1 -2 my%20tag\n"
    )


@QUICK
@given(texts, texts, st.data())
@example(list(ODD), list(ODD), None)
def test_a_run_reads_back_as_it_was_written(tmp_path_factory, documents, asked, data):
    assume(unambiguous(documents) and unambiguous(asked))
    queries, corpus = collection(documents, asked)
    shape = (len(asked), len(documents))
    size = shape[0] * shape[1]
    if data is None:
        values = list(np.linspace(-1, 1, size))
    else:
        values = data.draw(st.lists(float32s, min_size=size, max_size=size))
    scores = np.array(values, np.float32).reshape(shape)
    keys = ranking.pack(scores, np.broadcast_to(np.arange(shape[1]), shape))
    keys[0] = 0  # a query without results leaves no line
    run = ranking.unpack(ranking.best(keys, shape[1] + 1))
    path = tmp_path_factory.mktemp("run") / "run.txt"
    trec.write_run(path, run, queries, corpus, "tag")
    back, notes = trec.read_run(path, queries, corpus, shape[1] + 1)
    assert notes == []
    assert rows(back)[0] == []
    assert rows(back) == rows(run)


def test_an_id_is_taken_as_it_stands_where_it_is_one(tmp_path):
    queries, corpus = collection(["50%25", "a b"], ["q"])
    path = written(tmp_path / "run", "q Q0 50%25 1 2 t\nq Q0 a%20b 2 1 t\n")
    run, notes = trec.read_run(path, queries, corpus, 2)
    assert [corpus.ids[doc] for doc in run.docs[0]] == ["50%25", "a b"]
    assert notes == []


def test_ranks_and_the_order_of_lines_are_ignored(tmp_path):
    path = written(
        tmp_path / "run",
        "q2 Q0 a 1 0.5 tag\nq1 Q0 a 1 0.1 tag\nq1 Q0 c 2 0.3 tag\nq1 Q0 b 3 0.3 tag\n",
    )
    run, _ = trec.read_run(path, QUERIES, CORPUS, 3)
    assert run.docs.tolist() == [[2, 1, 0], [0, -1, -1]]  # b and c tie: the higher id first
    assert run.scores == pytest.approx(np.array([[0.3, 0.3, 0.1], [0.5, 0, 0]]), abs=1e-7)


def test_scores_are_equal_if_their_float32_is(tmp_path):
    path = written(tmp_path / "run", "q1 Q0 a 1 1.00000001 t\nq1 Q0 b 2 1 t\nq1 Q0 c 3 0.5 t\n")
    run, _ = trec.read_run(path, QUERIES, CORPUS, 2)  # the cut comes after the tie is broken
    assert run.docs.tolist() == [[1, 0], [-1, -1]]


def test_columns_may_be_parted_by_tabs_and_followed_by_more(tmp_path):
    path = written(tmp_path / "run", "\nq1\tQ0\ta\t1\t  2.5\ttag and more\r\n\n  \nq1 Q0 b 2 1 t\n")
    run, notes = trec.read_run(path, QUERIES, CORPUS, 2)
    assert rows(run) == [[(0, 2.5), (1, 1.0)], []]
    assert notes == []


def test_lines_of_unknown_queries_and_documents_are_counted(tmp_path):
    path = written(
        tmp_path / "my.run", "q1 Q0 a 1 2 t\nq1 Q0 z 1 2 t\nq9 Q0 a 1 2 t\nq9 Q0 z 1 2 t\n"
    )
    run, notes = trec.read_run(path, QUERIES, CORPUS, 2)
    assert rows(run) == [[(0, 2.0)], []]
    assert notes == [
        f"2 lines of my.run with unknown queries, as 'q9' ({path}:3)",
        f"2 lines of my.run with unknown documents, as 'z' ({path}:2)",
    ]


def test_a_run_without_lines_is_all_padding(tmp_path):
    run, _ = trec.read_run(written(tmp_path / "run", ""), QUERIES, CORPUS, 2)
    assert run.docs.tolist() == [[-1], [-1]]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("q1 Q0 b 1", "4 columns: expected 'qid Q0 docid rank score tag'"),
        ("q1", "1 column:"),
        ("q1 Q0 b 1 0.5", "5 columns: expected 'qid Q0 docid rank score tag'"),
        ("q1 Q0 b 1 high t", "the score is 'high': expected a finite number"),
        ("q1 Q0 b 1 nan t", "the score is 'nan': expected a finite number"),
        ("q1 Q0 b 1 -inf t", "the score is '-inf': expected a finite number"),
        ("q1 Q0 b 1 1e39 t", "the score is '1e39': expected a number that float32 holds"),
        ("q1 Q0 b 1 -1e39 t", "expected a number that float32 holds"),
        ("q9 Q0 b 1 high t", "the score is 'high'"),
        ("q1 Q0 a 2 0.5 t", "document 'a' is ranked twice for 'q1'"),
        (b"q1 Q0 \xff 2 0.5 t", "byte 6 is not UTF-8"),
        ("q1 Q0 b 1 0.5 a tag", "7 columns: expected 'qid Q0 docid rank score tag'"),
        ("q1 Q0 b c 1 0.5 t", "7 columns"),
        ("q1\tQ0\t\t1\t0.5\tt", "5 columns"),
        ("q1\tb\t1", "3 columns: expected 'qid Q0 docid rank score tag'"),
        ("q1 Q0 b 1 1_0 t", "the score is '1_0'"),
        ("q1 Q0 b 1 0.5 t\rq1 Q0 c 1 0.5 t", "12 columns"),
    ],
)
def test_a_malformed_line_of_a_run_is_named(tmp_path, line, message):
    data = line if isinstance(line, bytes) else line.encode()
    path = written(tmp_path / "run", b"q1 Q0 a 1 0.5 t\n" + data + b"\n")
    with pytest.raises(InputError) as caught:
        trec.read_run(path, QUERIES, CORPUS, 2)
    assert str(caught.value).startswith(f"{path}:2: ")
    assert message in str(caught.value)


def test_an_id_between_tabs_may_hold_blanks(tmp_path):
    queries, corpus = collection(["Section 1", "Section 2", "Section"], ["q1"])
    path = written(tmp_path / "run", "q1\tQ0\tSection 1\t1\t0.9\tm\n")
    run, notes = trec.read_run(path, queries, corpus, 2)
    assert (rows(run), notes) == ([[(corpus.row("Section 1"), pytest.approx(0.9))]], [])
    (judged,) = trec.read_qrels(
        written(tmp_path / "qrels", "q1\t0\tSection 1\t1\n"), queries, corpus
    )
    assert judged[:3] == ("q1", "Section 1", 1)


def test_white_space_of_unicode_parts_no_columns(tmp_path):
    queries, corpus = collection(["a\u00a0b", "c\u2028"], ["q1"])
    path = written(tmp_path / "run", "q1 Q0 a\u00a0b 1 2 t\nq1 Q0 c\u2028 2 1 t\n")
    run, notes = trec.read_run(path, queries, corpus, 2)
    assert (rows(run), notes) == ([[(0, 2.0), (1, 1.0)]], [])


def test_carriage_returns_alone_end_no_line(tmp_path):
    path = written(tmp_path / "run", "q1 Q0 b 1 2 r\rq1 Q0 a 2 1 r\r")
    with pytest.raises(InputError, match="run:1: lines end with carriage returns alone"):
        trec.read_run(path, QUERIES, CORPUS, 2)


def test_ms_marcos_three_columns(tmp_path):
    path = written(tmp_path / "run", "q1\tb\t2\n\nq2\tc\t1\nq1\ta\t1\r\nq1\tz\t3\n")
    run, notes = trec.read_run(path, QUERIES, CORPUS, 3)
    assert rows(run) == [[(0, -1.0), (1, -2.0)], [(2, -1.0)]]
    assert notes == [f"1 line of run with unknown documents, as 'z' ({path}:5)"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("q1\ta\t0.9\n", "run:1: '0.9' is no rank of 'q1': expected each of 1, 2, ... once"),
        ("q1\ta\t0\n", "run:1: '0' is no rank"),
        ("q1\ta\t1\nq1\tb\t1\n", "run:2: '1' is no rank of 'q1'"),
        ("q1\ta\t12\nq1\tb\t7\n", "run:2: 2 ranks up to 12 of 'q1': expected 'qid docid rank'"),
        ("q1\ta\t1\nq1 Q0 b 2 0.5 t\n", "run:2: 6 columns: expected 'qid docid rank'"),
        ("q1\ta\t1\nq1\tb\n", "run:2: 2 columns: expected 'qid docid rank'"),
        ("q1 a 1\n", "run:1: 3 columns: expected 'qid Q0 docid rank score tag'"),
        ("q1\ta\t" + "9" * 5000 + "\n", "' is no rank"),
    ],
)
def test_three_columns_that_are_no_ranks(tmp_path, text, message):
    with pytest.raises(InputError) as caught:
        trec.read_run(written(tmp_path / "run", text), QUERIES, CORPUS, 3)
    assert message in str(caught.value)


def test_a_run_takes_memory_by_what_it_holds(tmp_path, monkeypatch):
    path = written(tmp_path / "run", "q1 Q0 a 1 2 t\nq1 Q0 b 2 1 t\nq2 Q0 c 1 1 t\n")
    run, _ = trec.read_run(path, QUERIES, CORPUS, 10**12)
    assert run.docs.tolist() == [[0, 1], [2, -1]]
    monkeypatch.setattr(trec, "available_memory", lambda: 100)
    with pytest.raises(InputError, match="2 rankings of which one has 2 results are too large"):
        trec.read_run(path, QUERIES, CORPUS, 10)


LINES = st.lists(st.sampled_from(["q1", "a b", "7", "0.5", "", "x", "1"]), max_size=7)


@QUICK
@given(LINES, st.sampled_from([" ", "\t", "  ", " \t"]))
def test_lines_are_read_as_trec_eval_reads_them_or_refused(tmp_path_factory, cells, between):
    """Beside splitting at white space; what stands between tabs may hold blanks."""
    line = between.join(cells)
    path = written(tmp_path_factory.getbasetemp() / "lines", line + "\n")
    tabbed = line.split("\t")
    expected = line.split()
    if len(tabbed) == 4 and all(cell.strip() for cell in tabbed):
        expected = [cell.strip() for cell in tabbed]
    try:
        found = [columns for _, columns in trec.read_columns(path, trec.QRELS)]
    except InputError:
        assert len(expected) not in (0, 4)
    else:
        assert found == ([expected] if expected else [])


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match="none: cannot be read: No such file"):
        trec.read_run(tmp_path / "none", QUERIES, CORPUS, 2)


def test_the_largest_float32_is_a_score(tmp_path):
    path = written(tmp_path / "run", "q1 Q0 a 1 3.40282347e+38 t\nq1 Q0 b 1 -3.40282347e+38 t\n")
    run, _ = trec.read_run(path, QUERIES, CORPUS, 2)
    largest = float(np.finfo(np.float32).max)
    assert rows(run)[0] == [(0, largest), (1, -largest)]


# --- qrels --------------------------------------------------------------------------------------


def test_a_qrels_file_as_written(tmp_path):
    queries, corpus = collection(["Ann Lee", "b"], ["q1", "q2"])
    qrels = Qrels.of([("q1", "b", 1), ("q2", "gone", 2), ("q2", "Ann Lee", -0.5)], queries, corpus)
    trec.write_qrels(tmp_path / "qrels", qrels, queries, corpus)
    assert (tmp_path / "qrels").read_text("utf-8") == (
        "q1 0 b 1\nq2 0 unknown-1 2\nq2 0 Ann%20Lee -0.5\n"
    )


@QUICK
@given(texts, texts, st.data())
@example(list(ODD), list(ODD), None)
def test_qrels_read_back_as_they_were_written(tmp_path_factory, documents, asked, data):
    assume(unambiguous(documents) and unambiguous(asked))
    queries, corpus = collection(documents, asked)
    places = [(query, document) for query in asked for document in [*documents, "not there"]]
    if data is None:
        gains = [1 / (i + 1) for i in range(len(places))]
    else:
        gains = data.draw(st.lists(float32s, min_size=len(places), max_size=len(places)))
    triples = [(*place, gain) for place, gain in zip(places, gains, strict=True)]
    qrels = Qrels.of(triples, queries, corpus)
    path = tmp_path_factory.mktemp("qrels") / "qrels.txt"
    trec.write_qrels(path, qrels, queries, corpus)
    back = Qrels.of(trec.read_qrels(path, queries, corpus), queries, corpus)
    assert back.indptr.tolist() == qrels.indptr.tolist()
    assert back.docs.tolist() == qrels.docs.tolist()
    assert back.gains.tolist() == qrels.gains.tolist()


@pytest.mark.parametrize("gain", [16777215.0, 0.123456789, 1e-30])
def test_a_gain_keeps_every_bit(tmp_path, gain):
    qrels = Qrels.of([("q1", "a", gain)], QUERIES, CORPUS)
    trec.write_qrels(tmp_path / "qrels", qrels, QUERIES, CORPUS)
    (back,) = trec.read_qrels(tmp_path / "qrels", QUERIES, CORPUS)
    assert np.float32(back.gain) == np.float32(gain)


def test_qrels_columns(tmp_path):
    path = written(tmp_path / "qrels", "q1 0 a 1\n\nq1\t0\tz\t-1\nq2 Q0 b 2.5\n")
    assert list(trec.read_qrels(path, QUERIES, CORPUS)) == [
        ("q1", "a", 1.0, f"{path}:1"),
        ("q1", "z", -1.0, f"{path}:3"),
        ("q2", "b", 2.5, f"{path}:4"),
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("q1 0 b", "3 columns: expected 'qid 0 docid gain'"),
        ("# a comment", "3 columns"),
        ("q1 Q0 b 1 0.5 tag", "6 columns: expected 'qid 0 docid gain'"),
        ("q1 0 b good", "the gain is 'good': expected a finite number"),
        ("q1 0 b nan", "the gain is 'nan': expected a finite number"),
        ("q1 0 b inf", "the gain is 'inf': expected a finite number"),
    ],
)
def test_a_malformed_line_of_qrels_is_named(tmp_path, line, message):
    path = written(tmp_path / "qrels", f"q1 0 a 1\n{line}\n")
    with pytest.raises(InputError) as caught:
        list(trec.read_qrels(path, QUERIES, CORPUS))
    assert str(caught.value).startswith(f"{path}:2: ")
    assert message in str(caught.value)


@pytest.mark.parametrize("what", ["run", "qrels"])
def test_a_killed_write_leaves_no_file_that_passes_for_a_whole_one(tmp_path, what):
    program = """
        import itertools, os, signal, sys
        from pathlib import Path
        import numpy as np
        from harness.sources import trec
        from harness.data import Corpus, Qrels, Queries
        from harness.vectors import Run
        corpus = Corpus.of([f"d{i}" for i in range(100)], ["x"] * 100)
        queries = Queries([f"q{i}" for i in range(500)], ["x"] * 500)
        calls, word = itertools.count(), trec._word

        def killing(id):
            if next(calls) == 60_000:
                os.kill(os.getpid(), signal.SIGKILL)
            return word(id)

        trec._word = killing
        docs = np.tile(np.arange(100, dtype=np.int32), (500, 1))
        if sys.argv[2] == "run":
            run = Run(docs, -docs.astype(np.float32))
            trec.write_run(Path(sys.argv[1]) / "file", run, queries, corpus, "tag")
        qrels = Qrels(np.arange(0, 50_001, 100), docs.ravel(), np.ones(50_000, np.float32))
        trec.write_qrels(Path(sys.argv[1]) / "file", qrels, queries, corpus)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), str(tmp_path), what],
        stderr=subprocess.PIPE, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert not (tmp_path / "file").exists()
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".harness-")
    assert left.stat().st_size > 100_000  # it was killed in the middle


def test_an_id_that_looks_encoded_is_the_first_document_s_own():
    _, corpus = collection(["50%25", "a b"], ["q"])
    assert trec._document("50%25", corpus) == "50%25"
    assert trec._document("a%20b", corpus) == "a b"
    assert trec._document("c%20d", corpus) == "c d"  # of no document


def test_only_what_would_not_be_one_column_is_encoded():
    assert [trec._word(id) for id in ("é", "Straße-1", "a b", "5%", "x\u00a0y")] == [
        "é", "Straße-1", "a%20b", "5%25", "x%C2%A0y",
    ]  # fmt: skip
