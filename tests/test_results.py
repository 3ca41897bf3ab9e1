"""Systems by tasks in one call: order, failures, frames, comparisons, saved and loaded again."""

from __future__ import annotations

import json
import sys
import types
import warnings

import numpy as np
import pandas as pd
import pytest

import harness
from harness import board, compare, terminal
from harness.errors import EncodingError, InputError
from harness.frames import Column, Frame
from harness.report.findings import About, save
from harness.results import SCHEMA, Results
from harness.session import Session
from harness.store import Store
from harness.studies import Findings
from harness.tasks.collection import Collection

CORPUS = {"a": "apple", "b": "banana", "c": "cherry"}
QUERIES = {"q1": "apple pie", "q2": "banana split", "q3": "cake"}
MINE = Collection(
    CORPUS, QUERIES, {"q1": {"a": 1}, "q2": {"c": 1}}, name="fruit", measures=["RR@10", "R@1"]
)
OTHER = Collection(CORPUS, QUERIES, {"q1": {"a": 1}, "q3": {"b": 1}}, name="cake", measures=["R@1"])


def broken(texts):
    raise ValueError("no weights")


def reverse(texts, k):
    """Always the same: c before b before a."""
    return [["c", "b", "a"][:k]] * len(texts)


@pytest.fixture(scope="module")
def results():
    return harness.evaluate(["bm25", reverse, broken, "hashing@int8"], [MINE, OTHER])


def test_systems_are_outside_and_tasks_inside(results):
    pairs = [(each.record.name, each.record.task.spec) for each in results]
    assert pairs == [
        ("bm25", "own:fruit"), ("bm25", "own:cake"), ("own:reverse", "own:fruit"),
        ("own:reverse", "own:cake"), ("hashing @ int8", "own:fruit"),
        ("hashing @ int8", "own:cake"),
    ]  # fmt: skip
    assert (len(results), results[0], results[:2].tasks) == (
        6, results.evaluations[0], ("own:fruit", "own:cake"),
    )  # fmt: skip
    assert repr(results) == "Results(6 evaluations: 3 systems on 2 tasks, 2 failed)"


def test_a_pair_that_fails_stops_no_other_and_is_said(results):
    assert [(one.system, one.task) for one in results.failed] == [
        ("own:broken", "own:fruit"), ("own:broken", "own:cake"),
    ]  # fmt: skip
    assert isinstance(results.failed[0].error, EncodingError)
    assert str(results.failed[0]) == (
        "own:broken on own:fruit: broken fails on 3 texts: ValueError: no weights"
    )
    with pytest.raises(InputError, match=r"own:broken on own:fruit: .* \(failed\)"):
        results["broken", MINE]


def test_one_of_them_by_name(results):
    for name in ("hashing@int8", "hashing @ int8"):
        assert results[name, "own:fruit"] is results[4]
    assert results["bm25", MINE] is results[0]
    assert results["bm25", MINE.task] is results[0]
    with pytest.raises(InputError, match="no evaluation of bm25 on own:x: expected one of bm25, "):
        results["bm25", "own:x"]


def test_one_system_and_one_task_are_one_evaluation():
    found = harness.evaluate("bm25", MINE)
    assert found.record.main.mean == 0.5
    with pytest.raises(EncodingError, match="no weights"):
        harness.evaluate(broken, MINE)


@pytest.mark.parametrize(
    ("systems", "tasks"), [(["bm25"], MINE), ("bm25", [MINE]), (("bm25",), MINE)]
)
def test_a_list_of_one_is_a_list(systems, tasks):
    found = harness.evaluate(systems, tasks, measures=["R@1"])
    assert isinstance(found, Results)
    assert found.frame()["measure"].tolist() == ["R@1"]


def test_suites_are_their_tasks():
    found = harness.evaluate("bm25", ["core"], measures=["R@2"])
    assert "limit-small" in found.tasks
    assert len(found) + len(found.failed) == len(found.tasks) > 1


# frames


def test_the_frame_has_a_row_for_each_measure(results):
    frame = results.frame()
    assert list(frame.columns) == [
        "system", "task", "kind", "measure", "main", "mean", "low", "high", "queries", "seconds",
        "index", "rewriting", "notes", "created",
    ]  # fmt: skip
    assert frame.attrs == {"schema": SCHEMA}
    fruit = frame[(frame["task"] == "own:fruit") & (frame["system"] == "own:reverse")]
    assert fruit["measure"].tolist() == ["RR@10", "R@1"]
    assert fruit["mean"].tolist() == [pytest.approx(2 / 3), 0.5]
    assert fruit["main"].tolist() == [True, False]
    assert (fruit["low"] <= fruit["mean"]).all()
    assert fruit["queries"].tolist() == [2, 2]  # the third has no judgments
    assert (frame["seconds"] > 0).all()
    assert len(frame) == 9


def test_values_of_each_query_are_one_long_frame(results):
    frame = results.per_query()
    assert list(frame.columns) == ["system", "task", "query", "measure", "value"]
    one = frame[(frame["system"] == "own:reverse") & (frame["measure"] == "RR@10")]
    assert dict(zip(one["query"], one["value"], strict=True)) == {
        "q1": pytest.approx(1 / 3), "q2": 1.0,
    }  # fmt: skip
    means = frame.groupby(["system", "task", "measure"])["value"].mean()
    expected = results.frame().set_index(["system", "task", "measure"])["mean"]
    assert means.to_dict() == pytest.approx(expected.to_dict())
    assert frame.attrs == {"schema": SCHEMA}


def test_no_evaluations_are_empty_frames():
    none = Results(())
    assert (len(none.frame()), len(none.per_query())) == (0, 0)
    assert list(none.per_query().columns) == ["system", "task", "query", "measure", "value"]
    assert none._repr_html_()


def test_html_shows_scores_and_failures(results):
    html = results._repr_html_()
    assert "own:fruit, RR@10" in html
    assert "0.667 [0.333, 1.000]" in html
    assert "<li>failed: own:broken on own:fruit: broken fails on 3 texts" in html
    assert (
        "&lt;b&gt;"
        in Results((), (type(results.failed[0])("<b>", "t", ValueError()),))._repr_html_()
    )


# comparisons


def test_a_comparison_is_that_of_saved_records(results, tmp_path):
    found = results.compare("reverse", "bm25")
    results.save(tmp_path)
    saved = compare.compare(
        compare.side([tmp_path / "own_reverse"]), compare.side([tmp_path / "bm25"])
    )
    assert found == saved
    frame = found.frame()
    assert frame["task"].tolist() == ["own:fruit", "own:cake"]
    assert frame["difference"].tolist() == [pytest.approx(1 / 6), -0.5]
    assert frame["wins"].tolist() == [1, 0]
    assert frame.attrs["a"] == "own:reverse"
    assert "own:reverse (a) less bm25 (b)" in found._repr_html_()


def test_what_cannot_be_compared_is_said(results):
    with pytest.raises(
        InputError, match="no evaluation of nope: expected one of bm25, own:reverse"
    ):
        results.compare("nope", "bm25")
    changed = Collection(
        {**CORPUS, "d": "date"}, QUERIES, {"q1": {"a": 1}}, name="fruit", measures=["RR@10"]
    )
    mixed = Results((results[0], *harness.evaluate(["hashing"], [changed])))
    found = mixed.compare("bm25", "hashing")
    assert found.refused[0][0] == "own:fruit"
    assert found.refused[0][1].startswith("the data differ: corpus")
    assert "own:fruit: not compared: the data differ" in found._repr_html_()


# saved and loaded


def test_saved_results_are_loaded_as_they_were(results, tmp_path):
    paths = results.save(tmp_path / "out")
    assert [path.parent.name for path in paths[:3]] == ["bm25", "bm25", "own_reverse"]
    for asked in (tmp_path / "out", f"{tmp_path}/o*", [str(path) for path in paths]):
        again = harness.load(asked)
        pd.testing.assert_frame_equal(again.frame(), results.frame())
        pd.testing.assert_frame_equal(again.per_query(), results.per_query())
    assert again["bm25", "own:fruit"].data is None
    assert again.compare("reverse", "bm25") == results.compare("reverse", "bm25")


def test_the_newest_of_several_counts(tmp_path):
    first, second = (harness.evaluate(["bm25"], MINE) for _ in range(2))
    second.save(tmp_path)
    first.save(tmp_path)
    found = harness.load(tmp_path)
    assert len(found) == 2
    assert found["bm25", "own:fruit"].record == second[0].record


def test_other_json_in_a_folder_is_left_out_with_a_warning(results, tmp_path):
    results[:1].save(tmp_path)
    (tmp_path / "study.json").write_text(json.dumps({"study": "scale"}))
    (tmp_path / "page.html").write_text("")
    with pytest.warns(UserWarning, match="^1 file left out, as no records") as warned:
        assert len(harness.load(f"{tmp_path}/*")) == 1
    assert warned[0].filename == __file__
    with pytest.raises(InputError, match=r"study.json: schema_version is None"):
        harness.load(tmp_path / "study.json")
    with pytest.raises(InputError, match="no such record or folder"):
        harness.load(tmp_path / "none*")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no records: expected"):
        harness.load(tmp_path / "empty")


def test_the_folder_of_a_study_is_loaded_as_its_findings(results, tmp_path):
    frame = Frame("Scores", [Column("n", "count")], [(3,)], name="scores")
    found = Findings("three", [frame], [], ["odd"])
    about = About("mine,draws=3", ("bm25",), "t", 7, "2026-01-01T00:00:00Z", {"cpus": 2})
    paths = save(tmp_path / "studies" / "mine", found, about)
    for asked in (tmp_path / "studies" / "mine", str(paths[0].parent), paths[-1]):
        assert harness.load(asked) == found
    results[:1].save(tmp_path)
    assert isinstance(harness.load(tmp_path), Results)  # of a folder above: records
    paths[-1].write_text("{}")
    with pytest.raises(InputError, match=r"numbers.json: not a study's numbers"):
        harness.load(tmp_path / "studies" / "mine")
    paths[-1].unlink()
    with pytest.raises(InputError, match="no records: expected"):
        harness.load(tmp_path / "studies" / "mine")
    with pytest.raises(InputError, match=r"numbers\.json: no such record or folder"):
        harness.load(paths[-1])


def test_own_tasks_and_searches_stand_on_a_leaderboard(results, tmp_path):
    results.save(tmp_path)
    found = board.load([tmp_path])
    assert found.systems == ("bm25", "hashing @ int8", "own:reverse")
    assert found.tasks == ("own:cake", "own:fruit")


# what is refused before anything is computed


@pytest.mark.parametrize(
    ("systems", "tasks", "options", "error"),
    [
        (["bm25", "bm25"], MINE, {}, "two systems are called bm25: name each once"),
        (["bm25", "bm25@exact"], MINE, {}, "two systems are called bm25"),
        ([reverse, reverse], MINE, {}, "two systems are called own:reverse"),
        (
            ["bm25"],
            [MINE, Collection(CORPUS, QUERIES, name="fruit")],
            {},
            "two tasks are called own",
        ),
        (["bm25", "bm26"], MINE, {}, "unknown model 'bm26'"),
        (["bm25"], ["limit-smal"], {}, "unknown task 'limit-smal'"),
        ([], MINE, {}, "there is no system: expected at least one"),
        (["bm25"], [], {}, "there is no task: expected at least one"),
        (["bm25"], MINE, {"index": "hsnw"}, "unknown index 'hsnw'"),
        (["bm25"], MINE, {"rewrite": "rm4"}, "unknown rewriting 'rm4'"),
        (["bm25"], MINE, {"measures": ["nDCGG@10"]}, "nDCGG"),
        ([5], MINE, {}, "int is no model"),
    ],
)
def test_what_is_refused_first(systems, tasks, options, error, monkeypatch):
    monkeypatch.setattr(Session, "evaluate", lambda *_, **__: pytest.fail("computed"))
    with pytest.raises(InputError, match=error):
        harness.evaluate(systems, tasks, **options)


# search and embed


def test_search_is_a_frame():
    found = harness.search("bm25", MINE, k=2)
    assert found["query"].tolist() == ["q1", "q2"]  # cake finds nothing
    assert found["document"].tolist() == ["a", "b"]
    assert found["rank"].tolist() == [1, 1]
    unjudged = Collection(CORPUS, QUERIES)
    found = harness.search(reverse, unjudged, k=2)
    assert found["document"].tolist() == ["c", "b"] * 3
    assert found["rank"].tolist() == [1, 2] * 3
    assert harness.search("hashing@int8", unjudged, k=1)["document"].tolist()[:2] == ["a", "b"]
    with pytest.raises(InputError, match="k=0: expected a whole number from 1"):
        harness.search("bm25", unjudged, k=0)


def test_embed_is_an_array_through_the_store(tmp_path):
    store = Store(tmp_path)
    vectors = harness.embed("hashing,dim=8", ["one text", "another", "one text"], store=store)
    assert (vectors.shape, vectors.dtype) == ((3, 8), np.float32)
    assert (vectors[0] == vectors[2]).all()
    assert len(store.spaces()) == 1
    vectors[0] = 0  # a copy of its own
    again = harness.embed("hashing,dim=8", ["one text"], store=store)
    assert again.any()
    assert harness.embed(lambda texts: np.ones((len(texts), 2)), pd.Series(["x"])).tolist() == [
        [1, 1]
    ]


@pytest.mark.parametrize(
    ("model", "texts", "role", "error"),
    [
        ("bm25", ["x"], "query", "bm25 makes no dense vectors of single texts"),
        ("tfidf-svd", ["x"], "query", "tfidf-svd makes no dense vectors of single texts"),
        ("rrf:bm25+hashing", ["x"], "query", "expected a model that makes vectors, alone"),
        ("hashing@hnsw", ["x"], "query", "expected a model that makes vectors, alone"),
        ("hashing", "x", "query", "texts='x': expected a list of texts"),
        ("hashing", ["x", None], "query", r"texts\[1\]: None: expected text"),
        ("hashing", [], "query", "there are no texts"),
        ("hashing", ["x"], "passage", "role=passage: expected one of query, document, text"),
    ],
)
def test_what_is_not_embedded(model, texts, role, error):
    with pytest.raises(InputError, match=error):
        harness.embed(model, texts, role)


# how far it is


class Screen:
    """Standard error as a terminal or not."""

    def __init__(self, *, tty: bool) -> None:
        self.tty, self.text = tty, ""

    def isatty(self) -> bool:
        return self.tty

    def write(self, text: str) -> int:
        self.text += text
        return len(text)

    def flush(self) -> None: ...


@pytest.fixture
def notebook(monkeypatch):
    """IPython as a notebook has it: what its one line said."""
    said = []
    handle = types.SimpleNamespace(update=lambda what, *, raw: said.append(what["text/plain"]))

    def display(what, *, raw, display_id):
        said.append(what["text/plain"])
        return handle

    shell = types.SimpleNamespace(kernel="a kernel")
    ipython = types.ModuleType("IPython")
    ipython.get_ipython = lambda: shell
    ipython.display = types.ModuleType("IPython.display")
    ipython.display.display = display
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", ipython.display)
    monkeypatch.setattr(terminal, "OVERWRITTEN_S", 0.0)
    return types.SimpleNamespace(said=said, shell=shell)


def test_a_notebook_has_one_line_that_is_written_over(notebook):
    harness.evaluate(["bm25"], MINE)
    assert notebook.said[0] == "evaluate"
    assert any(line.startswith("evaluate: bm25 on own:fruit: ") for line in notebook.said)
    assert notebook.said[-1] == "evaluate: done"
    del notebook.said[:]
    harness.evaluate(["bm25"], MINE, progress=False)
    assert notebook.said == []


def test_ipython_without_a_notebook_is_a_terminal(notebook, monkeypatch):
    monkeypatch.delattr(notebook.shell, "kernel")
    harness.evaluate(["bm25"], MINE)
    assert notebook.said == []


@pytest.mark.parametrize(("tty", "progress", "shown"), [
    (True, True, True), (True, False, False), (False, True, False),
])  # fmt: skip
def test_a_terminal_has_a_bar(monkeypatch, tty, progress, shown):
    screen = Screen(tty=tty)
    monkeypatch.setattr(sys, "stderr", screen)
    harness.evaluate(["bm25", "hashing"], MINE, progress=progress)
    assert bool(screen.text) == shown


def test_a_function_is_told(results):
    told = []
    harness.evaluate("bm25", MINE, progress=lambda *words: told.append(words))
    harness.search("bm25", MINE, progress=lambda *words: told.append(words))
    assert {len(words) for words in told} == {4}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert results.frame().notna().all()[["mean", "seconds"]].all()
