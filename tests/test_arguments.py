"""What callers hand over: what people have is taken, the rest is one line before any work."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import harness
from harness.errors import InputError, UnkeptWarning
from harness.frames import Column, Frame
from harness.results import StoppedError
from harness.session import Session
from harness.studies import Findings
from harness.systems.own import adapt

PARTS: dict[str, Any] = {
    "corpus": {"a": "apple", "b": "banana", "c": "cherry"},
    "queries": {"q1": "apple pie", "q2": "banana split"},
    "qrels": {"q1": {"a": 1}, "q2": {"c": 1}},
    "name": "fruit",
    "measures": ["R@1"],
}
MINE = harness.Collection(**PARTS)


def untouched(texts):
    raise AssertionError("computed before what was asked for was read")


def letters(texts: Sequence[str]) -> np.ndarray:
    return np.array([[text.count(chr(97 + i)) for i in range(26)] for text in texts], np.float64)


@pytest.fixture(scope="module")
def results():
    return harness.evaluate(["bm25", letters], [MINE])


@pytest.mark.parametrize("many", [False, True])
@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("seed", None, "seed=None: expected a whole number from 0"),
        ("seed", -1, "seed=-1: expected a whole number from 0"),
        ("seed", 1.5, "seed=1.5: expected a whole number from 0"),
        ("seed", True, "seed=True: expected a whole number from 0"),
        ("latency", -1, "latency=-1: expected a whole number from 0"),
        ("store", 5, "store=5: expected a path"),
        ("fresh", "yes", "fresh='yes': expected True or False"),
        ("index", None, "index=None: expected text"),
        ("rewrite", 5, "rewrite=5: expected text"),
        ("progress", 5, "progress=5: expected True, False, or a function"),
        (
            "measures",
            {"R@1": 5}.items(),
            r"measures=.*: expected a list of names, and .* is no text",
        ),
        ("measures", [5], "measures=.*: expected a list of names, and 5 is no text"),
        ("measures", 5, "measures=5: expected a list of names"),
    ],
)
def test_a_wrong_option_is_refused_before_anything_is_computed(option, value, message, many):
    with pytest.raises(InputError, match=message):
        harness.evaluate([untouched] if many else untouched, MINE, **{option: value})


@pytest.mark.parametrize("task", [None, 5, {"a": "apple"}])
def test_what_is_no_task(task, tmp_path):
    (tmp_path / "a.run").write_text("q1 Q0 a 1 1.0 mine\n")
    for call in (
        lambda: harness.evaluate(untouched, task),
        lambda: harness.evaluate(untouched, [task]),
        lambda: harness.search(untouched, task),
        lambda: harness.evaluate_run(tmp_path / "a.run", task),
        lambda: Session(tmp_path).rank(untouched, task),
    ):
        with pytest.raises(InputError, match=r" is no task: expected the name of one, a harness.C"):
            call()


def test_forms_of_a_task(tmp_path):
    assert harness.evaluate("bm25", PARTS).record.task.spec == "own:fruit"
    assert harness.search("bm25", PARTS, k=np.int64(1))["document"].tolist() == ["a", "b"]
    with pytest.raises(InputError, match="no such folder: expected a collection in the BEIR"):
        harness.evaluate("bm25", tmp_path / "none")


@pytest.mark.parametrize("k", [2, 2.0, np.int32(2), np.float32(2)])
def test_whole_numbers(k):
    assert harness.search("hashing", MINE, k=k)["rank"].max() == 2


@pytest.mark.parametrize("k", [0, 2.5, "3", None, float("nan"), float("inf")])
def test_what_is_no_number_of_results(k):
    with pytest.raises(InputError, match=r"k=.*: expected a whole number from 1"):
        harness.search(untouched, MINE, k=k)


@pytest.mark.parametrize("path", [None, 5, pd.DataFrame({"query": ["q1"]}), ""])
def test_what_is_no_path(path, results):
    with pytest.raises(InputError, match=r"path=.*: expected a path"):
        harness.evaluate_run(path, MINE)
    with pytest.raises(InputError, match=r"paths=.*: expected a path"):
        harness.load([path])
    with pytest.raises(InputError, match=r"folder=.*: expected a path"):
        results.save(path)
    first = results.evaluations[0]
    with pytest.raises(InputError, match=r"folder=.*: expected a path"):
        harness.records.save(first.record, first.per_query, path)
    with pytest.raises(InputError, match=r"path=.*: expected a path"):
        harness.records.write(first.record, first.per_query, path)
    with pytest.raises(InputError, match=r"path=.*: expected a path"):
        harness.records.per_query(path)


def test_paths_are_text_or_paths(results, tmp_path):
    (saved, _) = results.save(str(tmp_path))
    assert harness.records.load(str(saved)) == harness.records.load(saved)
    assert harness.records.per_query(str(saved)).num_rows == 2
    assert harness.compare.side([str(saved)]).name == "bm25"
    assert Session(str(tmp_path)).store == harness.store.Store(str(tmp_path))
    found = harness.evaluate("hashing", MINE, store=str(tmp_path / "store"))
    assert (tmp_path / "store" / "embeddings").is_dir()
    assert found.record.main.mean == 0.5


@pytest.mark.parametrize(
    ("option", "value"),
    [("measures", [5]), ("measures", 5), ("license", 5), ("name", 5), ("exclude_self", 2)],
)
def test_what_a_collection_is_not_made_of(option, value):
    with pytest.raises(InputError, match=r"5|2: expected True or False"):
        harness.Collection(**{**PARTS, option: value})


def test_progress_of_a_run_is_as_of_an_evaluation(tmp_path):
    (tmp_path / "a.run").write_text("q1 Q0 a 1 1.0 mine\n")
    for progress in (True, False):
        found = harness.evaluate_run(str(tmp_path / "a.run"), MINE, progress=progress)
        assert found.record.main.mean == 0.5


# results by place and name


@pytest.mark.parametrize("at", ["bm25", ("bm25", MINE, 1), 1.5, None])
def test_what_is_no_place_of_results(results, at):
    with pytest.raises(InputError, match=r"expected results\[0\] or results\[system, task\]"):
        results[at]


def test_places_of_results(results):
    assert results[np.int64(1)] is results[-1] is results[letters, MINE]
    with pytest.raises(IndexError, match=r"results\[99\]: expected a place below 2"):
        results[99]
    with pytest.raises(InputError, match="None is no task"):
        results["bm25", None]
    with pytest.raises(InputError, match="int is no model"):
        results.compare(5, "bm25")
    assert repr(results.compare(letters, "bm25")) == (
        "PairComparison(own:letters less bm25: own:fruit +0.000)"
    )


def test_reprs_are_short(results):
    assert repr(results[0]) == "Evaluation(bm25 on own:fruit: R@1 0.500 [0.000, 1.000])"
    assert "<th>R@1</th><td>0.500 [0.000, 1.000]</td>" in results[0]._repr_html_()
    assert repr(results[:1]) == "Results(1 evaluation: 1 system on 1 task, 0 failed)"


def test_functions_are_called_by_their_name_alone():
    found = harness.evaluate([lambda texts: letters(texts) * 2, untouched], MINE)
    assert (found.systems, found.failed[0].system) == (("own:lambda",), "own:untouched")
    two = [lambda texts: letters(texts) * 2, lambda texts: letters(texts) * 3]
    with pytest.raises(InputError, match=r"are called own:lambda: .* or set its attribute `name`"):
        harness.evaluate(two, MINE)
    two[0].name = "first"
    assert harness.evaluate(two, MINE).systems == ("own:first", "own:lambda")


def test_reprs_of_what_a_study_found_are_short():
    frame = Frame("Scores & more", [Column("system")], [["bm25"], ["minilm"]], name="scores")
    found = Findings("one > two", [frame], notes=["a < b"])
    assert repr(frame) == "Frame(scores, 2 rows of system)"
    assert repr(found) == "Findings('one > two', frames scores)"
    page = found._repr_html_()
    assert "<h3>one &gt; two</h3><p>Scores &amp; more</p>" in page
    assert "<td>minilm</td>" in page
    assert "<li>a &lt; b</li>" in page


# texts


@pytest.mark.parametrize(
    "texts",
    [
        {"d2": "pear", "d1": {"title": "an", "text": "apple"}},
        pd.DataFrame({"title": [None, "an"], "contents": ["pear", "apple"]}),
        [{"text": "pear"}, {"text": "apple", "title": "an"}],
        pd.Series(["pear", "an apple"]),
        np.array(["pear", "an apple"]),
        (text for text in ("pear", "an apple")),
    ],
)
def test_texts_in_the_forms_of_a_corpus_keep_their_order(texts):
    plain = harness.embed("hashing", ["pear", "an apple"])
    np.testing.assert_array_equal(harness.embed("hashing", texts), plain)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["a", "\ud800"], r"texts\[1\]: 'text' holds a lone surrogate"),
        (None, "texts: NoneType: expected a mapping, a DataFrame or rows"),
        (pd.DataFrame({"words": ["a"]}), r"has no column 'text': .* \(found: 'words'\)"),
        ({"d1": None}, r"texts\['d1'\]: the text is missing"),
    ],
)
def test_what_is_no_text(texts, message):
    with pytest.raises(InputError, match=message):
        harness.embed("hashing", texts)


def test_ids_that_do_not_match():
    rows = [{"_id": 1, "text": "a"}, {"_id": 2, "text": "b"}]
    with pytest.raises(InputError, match=r"judges none of the 2 documents of own:collection: ex.*"):
        harness.Collection(rows, {"q": "x"}, {"q": {"d1": 1, "d2": 1}})
    with pytest.raises(InputError, match="the same ids on both sides, as '1', not 'd1'"):
        harness.Collection(rows, {"q": "x"}, {"q9": {"d9": 1}, "q": {"d1": 1}})
    found = harness.evaluate("bm25", harness.Collection(rows, {"q": "a"}, {"q": ["1", "d1"]}))
    assert found.record.counts["judgments_of_unknown_documents"] == 1


# what somebody's own function does


def far(texts: Sequence[str]) -> np.ndarray:
    return letters(texts) * 3e37


def turned(texts: Sequence[str]) -> np.ndarray:
    return letters(sorted(texts)) * 1e30


class Dot:
    similarity = "dot"

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        return letters(texts) * 1e30


def test_long_vectors_are_compared_by_their_direction():
    np.testing.assert_array_equal(
        harness.search(far, MINE)["document"], harness.search(letters, MINE)["document"]
    )
    np.testing.assert_allclose(
        harness.search(far, MINE)["score"], harness.search(letters, MINE)["score"], rtol=1e-6
    )


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (turned, "turned returns vectors in another order than texts"),
        (Dot(), "Dot returned vectors too long for dot products for 3 of 3 texts, the first '"),
        (lambda texts: letters(texts) * np.nan, "lambda returned NaN or infinity for 3 of 3 texts"),
        (
            lambda texts: np.ma.masked_less(letters(texts), 1),
            r"no numbers but masked values for 3 texts: expected an array of numbers \(3, d\)",
        ),
        (lambda texts: (text for text in texts), r"no numbers but object .*, got generator"),
        (lambda texts: exit("bye"), "lambda fails on 3 texts: SystemExit: bye"),
    ],
)
def test_what_a_model_does_wrong_is_one_line(model, message):
    with pytest.raises(harness.EncodingError, match=message):
        harness.evaluate(model, MINE)


def leave(texts, k):
    raise SystemExit(3)


def stop(texts):
    raise KeyboardInterrupt


def test_a_function_that_ends_the_program_ends_its_pair():
    found = harness.evaluate([leave, "bm25"], MINE)
    assert [one.system for one in found.failed] == ["own:leave"]
    assert "SystemExit" in str(found.failed[0])
    assert len(found) == 1


def test_ctrl_c_leaves_what_is_finished():
    with pytest.raises(KeyboardInterrupt) as stopped:
        harness.evaluate(["bm25", stop, letters], MINE)
    assert isinstance(stopped.value, StoppedError)
    assert [each.record.name for each in stopped.value.results] == ["bm25"]


def test_results_that_are_made_when_they_are_read_are_made_in_time():
    def lazy(texts, k):
        return (time.sleep(5) or ["a"] for _ in texts)

    def broken(texts, k):
        return (int(text) for text in texts)

    with pytest.raises(harness.HarnessError, match=r"gave no answer within 0.05 s"):
        harness.evaluate(adapt(lazy, timeout=0.05), MINE)
    with pytest.raises(harness.HarnessError, match=r"broken fails on 2 queries, .*: ValueError: "):
        harness.evaluate(broken, MINE)


def test_unknown_results_of_a_search_are_said():
    def search(texts, k):
        return [["zz", "a"]] * len(texts)

    with pytest.warns(UserWarning, match="2 results of search left out, of documents that"):
        found = harness.search(search, MINE)
    assert found["document"].tolist() == ["a", "a"]


# where there is no home, no terminal, no place to write


def test_a_store_that_cannot_be_written_is_said_and_vectors_are_used(tmp_path):
    (tmp_path / "file").write_text("")
    place = tmp_path / "file" / "store"
    said = f"{place} cannot be written: vectors of hashing are not kept; set HARNESS_CACHE"
    with pytest.warns(UnkeptWarning, match=said):
        assert harness.evaluate("hashing", MINE, store=place).record.main.mean == 0.5
    with pytest.warns(UnkeptWarning, match=said) as warned:
        assert harness.embed("hashing", ["apple"], store=place).shape == (1, 256)
    assert [one.filename for one in warned] == [__file__]  # the line that asked


def test_no_home_is_one_line(monkeypatch):
    def fail() -> Path:
        raise RuntimeError("Could not determine home directory.")

    for name in ("HARNESS_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", fail)
    with pytest.raises(InputError, match="no home folder to keep embeddings in: set HARNESS_CACHE"):
        harness.evaluate("bm25", MINE)


def test_without_standard_error_nothing_is_shown(monkeypatch):
    monkeypatch.setattr("sys.stderr", None)
    assert harness.evaluate("bm25", MINE).record.main.mean == 0.5


def test_fresh_encodes_anew(tmp_path):
    class Changing:
        """Another vector whenever it is asked, though it is said to be the same model."""

        fingerprint = "1"
        asked = 0

        def encode(self, texts):
            self.asked += len(texts) == 3
            return letters(texts) + 1e-6 * self.asked

    model = Changing()
    for fresh, made in ((False, 3), (False, 0), (True, 3)):
        found = harness.evaluate(model, MINE, store=tmp_path, fresh=fresh)
        assert found.record.counts["documents_encoded_now"] == made


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (
            lambda: harness.evaluate("bm25", MINE, seed=10**400),
            r"seed=1000.*: expected a whole num",
        ),
        (
            lambda: harness.evaluate("bm25", MINE, measures=np.array(1.0)),
            "measures=array.*: expect",
        ),
        (lambda: harness.evaluate("bm25", MINE, progress=len), "progress=.*: expected True, False"),
        (lambda: harness.evaluate("bm25", MINE, store="\0"), "store='.x00': expected a path"),
        (
            lambda: harness.embed("hashing", ["a"], role=np.array(["query"])),
            "role=array.*: expected",
        ),
        (lambda: harness.embed("hashing", np.array(1.0)), "texts: ndarray: expected a mapping"),
        (lambda: harness.Collection({"a": 10**400}, {"q": "a"}, {"q": {"a": 1}}), "expected text"),
        (lambda: harness.Results("bm25"), "Results are made of evaluations"),
    ],
)
def test_what_only_looks_right_is_one_line(call, error):
    with pytest.raises(InputError, match=error) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_an_array_of_measures_is_a_list_of_names():
    found = harness.evaluate("bm25", MINE, measures=np.array(["R@1", "nDCG@3"]), progress=False)
    assert list(found.record.scores) == ["R@1", "nDCG@3"]
