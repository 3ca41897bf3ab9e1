"""Tables in every format; text from data is escaped."""

from __future__ import annotations

import csv
import io
import json
from functools import cache

import pytest

from harness import catalog
from harness.encoders import ENCODERS
from harness.pipeline import evaluate
from harness.records import Record, Score
from harness.report import listings
from harness.report.tables import Table, details, interval, number, scores, write
from harness.store import Store

TASK = "limit,docs=40,queries=9,k=2,attributes=5"
NASTY = Table("A|B", ["name", "value"], [["a|b <c>\nd", "1,5"], ['"x" & _y%', "2"]], frozenset({1}))


@cache
def real() -> Record:
    """The record of a real evaluation."""
    return evaluate("hashing,dim=64", TASK, measures=["R@2", "R@5"]).record


def record(system: str, task: str, means: dict[str, float | None], index: str = "exact") -> Record:
    """The same with other names and scores."""
    return real().model_copy(
        update={
            "system": real().system.model_copy(update={"spec": system}),
            "task": real().task.model_copy(update={"spec": task}),
            "search": real().search.model_copy(update={"spec": index}),
            "main_measure": next(iter(means)),
            "scores": {name: Score(mean=m, low=m, high=m) for name, m in means.items()},
        }
    )


def test_the_best_model_of_a_task_comes_first_and_tasks_keep_their_order():
    (table,) = scores(
        [
            record("low", "t2", {"R@2": 0.1, "R@5": 0.25}),
            record("high", "t2", {"R@2": 0.9, "R@5": 0.95}),
            record("none", "t1", {"R@2": None, "R@5": 0.0}),
            record("some", "t1", {"R@2": 0.00004, "R@5": 1.0}),
        ]
    )
    assert table.title == "Retrieval"
    assert table.header == ["task", "model", "R@2", "95 % interval", "R@5", "seconds"]
    assert [row[:5] for row in table.rows] == [
        ["t2", "high", "0.9000", "[0.9000, 0.9000]", "0.9500"],
        ["t2", "low", "0.1000", "[0.1000, 0.1000]", "0.2500"],
        ["t1", "some", "0.0000", "[0.0000, 0.0000]", "1.0000"],
        ["t1", "none", "–", "[–, –]", "0.0000"],
    ]
    assert table.numeric == {2, 3, 4, 5}


def test_one_table_for_each_main_measure():
    tables = scores(
        [
            record("a", "t1", {"R@2": 0.1, "R@5": 0.2}),
            record("a", "t2", {"nDCG@10": 0.3}),
            record("a", "t3", {"R@2": 0.4, "P@1": 0.5}),
        ]
    )
    assert [table.header[2:-1] for table in tables] == [
        ["R@2", "95 % interval", "R@5", "P@1"],
        ["nDCG@10", "95 % interval"],
    ]
    assert [row[4:6] for row in tables[0].rows] == [["0.2000", ""], ["", "0.5000"]]


def test_the_index_is_shown_where_there_are_several():
    (table,) = scores([record("a", "t", {"R@2": 0.1}), record("a", "t", {"R@2": 0.2}, "other")])
    assert table.header[:3] == ["task", "model", "index"]
    assert [row[2] for row in table.rows] == ["other", "exact"]


def test_a_terminal_has_room_for_a_few_measures():
    many = {f"R@{k}": k / 10 for k in range(1, 9)}
    (table,) = scores([record("a", "t", many)], most=3)
    assert table.header == ["task", "model", "R@1", "95 % interval", "R@2", "R@3", "seconds"]
    (whole,) = scores([record("a", "t", many)])
    assert len(whole.header) == 12


def test_details_show_everything_a_record_holds():
    by_title = {table.title: table for table in details(real())}
    assert list(by_title) == ["Evaluation", "Scores", "Phases", "Counts", "Provenance"]
    about = dict(by_title["Evaluation"].rows)
    assert about["in full"] == "hashing,dim=64"
    assert about["makes"] == "dense vectors, 64 dimensions"
    assert about["record id"] == real().id
    assert about["bootstrap"] == "seed 0, resamples 1000, level 0.95"
    assert dict(by_title["Counts"].rows)["documents"] == "40"
    assert dict(by_title["Provenance"].rows)["corpus"] == real().task.fingerprint["corpus"]
    assert [row[0] for row in by_title["Scores"].rows] == ["R@2", "R@5"]
    assert [row[0] for row in by_title["Phases"].rows] == [phase.name for phase in real().phases]
    warned = real().model_copy(update={"warnings": ["careful"], "counts": {"tokens": None}})
    tables = details(warned)
    assert tables[1].title == "Warnings"
    assert tables[1].rows == [["careful"]]
    assert tables[4].rows == [["tokens", "not known"]]


def test_numbers():
    assert number(0.12345678) == "0.1235"
    assert number(0.12345678, 6) == "0.123457"
    assert number(None) == "–"
    assert interval(Score(mean=0.5, low=0.4, high=None)) == "[0.4000, –]"


def test_markdown():
    assert write([NASTY], "markdown") == (
        "### A|B\n\n"
        "| name          |   value |\n"
        "|:--------------|--------:|\n"
        "| a\\|b &lt;c> d |     1,5 |\n"
        '| "x" & _y%     |       2 |'
    )


def test_markdown_rows_have_as_many_cells_as_the_header():
    lines = write([NASTY], "markdown").splitlines()[2:]
    assert [line.replace("\\|", "").count("|") for line in lines] == [3, 3, 3, 3]
    assert "<c>" not in "".join(lines)


def test_csv_reads_back():
    rows = list(csv.reader(io.StringIO(write([NASTY], "csv"))))
    assert rows == [["name", "value"], *NASTY.rows]


def test_latex_escapes_what_latex_reads():
    text = write([NASTY], "latex")
    assert text.startswith("\\begin{tabular}{lr}\n\\toprule\n name")
    assert text.endswith("\\bottomrule\n\\end{tabular}")
    assert '"x" \\& \\_y\\%' in text
    assert "a|b \\ensuremath{<}c\\ensuremath{>} d" in text


def test_json_is_a_list_of_objects():
    assert json.loads(write([NASTY], "json")) == [
        {"name": "a|b <c>\nd", "value": "1,5"},
        {"name": '"x" & _y%', "value": "2"},
    ]
    assert json.loads(write([NASTY, NASTY], "json"))[1][1] == {"name": '"x" & _y%', "value": "2"}


def test_tables_without_column_names_keep_their_pairs():
    pairs = Table("About", ["", ""], [["licence", "MIT"], ["size", "3"]])
    lines = Table("Warnings", [""], [["careful"]])
    assert json.loads(write([pairs, lines], "json")) == [
        {"licence": "MIT", "size": "3"},
        ["careful"],
    ]
    assert write([pairs], "csv") == "licence,MIT\nsize,3"


def test_numbers_in_text_stay_as_they_are_written():
    table = Table("", ["id"], [["007"], ["1e3"], ["0.10"]])
    for style in ("markdown", "latex"):
        text = write([table], style)
        assert all(word in text for word in ("007", "1e3", "0.10"))


def test_a_task_is_shown_with_its_counts_and_samples():
    about, samples = listings.task(catalog.task("limit-small"))
    rows = dict(about.rows)
    assert rows["documents"].startswith("46, ")
    assert rows["queries"] == "1,000, 1,000 of them judged"
    assert rows["relevant"] == "2.00 documents a judged query"
    assert rows["measures"] == "R@2, R@10, R@20, nDCG@10"
    assert len(samples.rows) == 6
    assert {row[1] for row in samples.rows} == {"1"}
    thing = samples.rows[0][0].removeprefix("Who likes ").removesuffix("?")
    assert thing
    assert all(len(row[3]) <= 160 for row in samples.rows)


def test_a_task_of_pairs_is_shown_too(tmp_path):
    (tmp_path / "test.csv").write_text("sentence1,sentence2,score\na,b,1\nc,d,4.5\n")
    about, samples = listings.task(catalog.task(f"pairs:{tmp_path}"))
    assert dict(about.rows)["pairs"] == "2, gold from 1 to 4.5"
    assert samples.rows == [["1", "a", "b"], ["4.5", "c", "d"]]


def test_a_suite_is_no_task_and_names_its_own():
    with pytest.raises(catalog.InputError) as error:
        catalog.task("core")
    assert str(error.value) == (
        "'core' is a suite of tasks: name one of " + ", ".join(catalog.suites()["core"].tasks)
    )


def test_encoders_are_listed_with_parameters_and_short_names():
    rows = {row[0]: row for row in listings.registry("Encoders", ENCODERS).rows}
    assert rows["bm25"][1] == "k1=1.5, b=0.75, method=lucene"
    assert rows["hashing"][1] == "dim=256"
    assert rows["minilm"][2] == "short for st:minilm"
    assert "dtype=float32" in rows["st:TARGET"][1]
    assert all(row[2] for row in rows.values())


def test_the_store_is_listed(tmp_path):
    store = Store(tmp_path)
    evaluate("hashing,dim=64", TASK, store=store)
    table = listings.spaces(store)
    assert sorted(row[1:5] for row in table.rows) == [
        ["hashing,dim=64", "document", "", "40"],
        ["hashing,dim=64", "query", "", "9"],
    ]
    assert len(table.rows[0]) == len(table.header)
