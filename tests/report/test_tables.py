"""Tables in every format; text from data is escaped."""

from __future__ import annotations

from functools import cache

import pytest

from harness.api import evaluate
from harness.frames.formats import bounds, number
from harness.records import IndexRecord, LatencyRecord, Record, RewritingRecord
from harness.report.tables import (
    Table,
    details,
    families,
    label,
    scores,
    spans,
    write,
)
from harness.stats import Estimate

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
            "index": real().index.model_copy(update={"spec": index}),
            "main_measure": next(iter(means)),
            "scores": {name: Estimate(mean=m, low=m, high=m) for name, m in means.items()},
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
    assert table.header == ["task", "system", "R@2", "95% interval", "R@5", "seconds"]
    assert [row[:5] for row in table.rows] == [
        ["t2", "high", "0.9000", "[0.9000, 0.9000]", "0.9500"],
        ["t2", "low", "0.1000", "[0.1000, 0.1000]", "0.2500"],
        ["t1", "some", "0.0000", "[0.0000, 0.0000]", "1.0000"],
        ["t1", "none", "–", "[–, –]", "0.0000"],
    ]
    assert table.numeric == {2, 3, 4, 5}


def test_an_index_is_named_where_it_is_not_exact():
    assert scores([record("a", "t", {"R@2": 0.1}, "int8")])[0].header[2] == "index"
    given = record("run:b", "t", {"R@2": 0.1}).model_copy(update={"index": None})
    mixed = [record("a", "t", {"R@2": 0.1}), given]
    assert scores(mixed)[0].header[:3] == ["task", "system", "R@2"]


def test_one_table_for_each_main_measure():
    tables = scores(
        [
            record("a", "t1", {"R@2": 0.1, "R@5": 0.2}),
            record("a", "t2", {"nDCG@10": 0.3}),
            record("a", "t3", {"R@2": 0.4, "P@1": 0.5}),
        ]
    )
    assert [table.header[2:-1] for table in tables] == [
        ["R@2", "95% interval", "R@5", "P@1"],
        ["nDCG@10", "95% interval"],
    ]
    assert [row[4:6] for row in tables[0].rows] == [["0.2000", ""], ["", "0.5000"]]


def test_the_index_is_shown_where_there_are_several():
    (table,) = scores([record("a", "t", {"R@2": 0.1}), record("a", "t", {"R@2": 0.2}, "other")])
    assert table.header[:3] == ["task", "system", "index"]
    assert [row[2] for row in table.rows] == ["other", "exact"]


def test_a_terminal_has_room_for_a_few_measures():
    many = {f"R@{k}": k / 10 for k in range(1, 9)}
    (table,) = scores([record("a", "t", many)], most=3)
    assert table.header == ["task", "system", "R@1", "95% interval", "R@2", "R@3", "seconds"]
    left = "R@4, R@5, R@6, R@7, R@8"
    assert table.title == f"Retrieval (+5 more with --format markdown: {left})"
    (whole,) = scores([record("a", "t", many)])
    assert len(whole.header) == 12


def rewritten(one: Record, spec: str) -> Record:
    how = RewritingRecord(spec=spec, full=f"{spec},depth=3", details={})
    return one.model_copy(update={"rewriting": how})


def test_what_is_not_defined_comes_last_also_behind_negative_scores():
    means = {"low": -0.5, "none": None, "zero": 0.0, "high": 0.25}
    (table,) = scores([record(model, "t", {"p-MRR": mean}) for model, mean in means.items()])
    assert [row[1] for row in table.rows] == ["high", "zero", "low", "none"]


def test_a_rewriting_is_part_of_the_name_of_what_was_measured():
    plain = record("a", "t", {"R@2": 0.1})
    assert label(plain) == "a"
    assert label(rewritten(plain, "average")) == "a + average"
    (table,) = scores([plain, rewritten(record("a", "t", {"R@2": 0.2}), "rm3,depth=5")])
    assert [row[1] for row in table.rows] == ["a + rm3,depth=5", "a"]
    by_title = {table.title: table for table in details(rewritten(real(), "average"))}
    assert dict(by_title["Evaluation"].rows)["rewriting"] == "average,depth=3"
    assert "rewriting" not in dict(details(real())[0].rows)


def of_family(model: str, family: str, task: str, mean: float | None, **more: str) -> Record:
    made = record(model, task, {"R@2": mean}, **more)
    return made.model_copy(update={"task": made.task.model_copy(update={"family": family})})


def rows_of(table: Table) -> dict[str, list[str]]:
    return {row[0]: list(row[1:]) for row in table.rows}


def joint(columns: dict[str, list[float | None]]) -> list[Table]:
    """The tables of models m0, m1 ... with one task a family."""
    return families(
        [
            of_family(f"m{i}", family, f"task of {family}", mean)
            for family, means in columns.items()
            for i, mean in enumerate(means)
        ]
    )


def test_families_have_means_and_ranks_and_agree_or_not():
    """x: means 0.4, 0.3 and 0.2, ranks 1 2 3; y: 0.5, 0.7, 0.1, ranks 2 1 3; two of three pairs
    of models are in the same order, so tau is (2 - 1) / 3.
    """
    both = {"a": (0.3, 0.5, 0.5), "b": (0.2, 0.4, 0.7), "c": (0.0, 0.4, 0.1)}
    made = [
        of_family(model, family, task, mean)
        for model, means in both.items()
        for family, task, mean in zip(["x", "x", "y"], ["x1", "x2", "y1"], means, strict=True)
    ]
    table, agreement = families(made)
    assert table.title == "Families"
    assert table.header == ["system", "x, 2 tasks", "rank", "y, 1 task", "rank", "mean of families"]
    assert table.rows == [
        ["b", "0.3000", "2", "0.7000", "1", "0.5000"],
        ["a", "0.4000", "1", "0.5000", "2", "0.4500"],
        ["c", "0.2000", "3", "0.1000", "3", "0.1500"],
    ]
    assert table.numeric == {1, 2, 3, 4, 5}
    assert agreement.header == ["family", "and", "systems", "Kendall tau"]
    assert agreement.rows == [["x", "y", "3", "0.33"]]


def test_equal_means_share_the_best_rank():
    table, _ = joint({"x": [0.5, 0.5, 0.7, 0.1], "y": [0.0, 0.0, 0.0, 0.0]})
    rows = rows_of(table)
    assert [rows[f"m{i}"][1] for i in range(4)] == ["2", "2", "1", "4"]
    assert {row[3] for row in rows.values()} == {"1"}


def test_a_model_that_lacks_a_task_has_no_mean_in_its_family_and_comes_last():
    made = [
        of_family("part", "x", "x1", 0.9),
        of_family("whole", "x", "x1", -0.5),
        of_family("whole", "x", "x2", -0.3),
        of_family("part", "y", "y1", 0.8),
        of_family("whole", "y", "y1", 0.4),
    ]
    (table,) = families(made)  # two models are too few to agree
    assert table.rows == [
        ["whole", "-0.4000", "1", "0.4000", "2", "0.0000"],
        ["part", "–", "–", "0.8000", "1", "–"],
    ]


def test_a_score_that_is_not_defined_is_a_missing_task():
    (table,) = joint({"x": [None, 0.5], "y": [0.5, 0.25]})
    assert rows_of(table)["m0"] == ["–", "–", "0.5000", "1", "–"]


def test_one_family_has_no_joint_table():
    assert families([of_family("a", "x", "x1", 0.1), of_family("b", "x", "x2", 0.2)]) == []
    assert families([]) == []


def test_agreement_is_between_the_models_that_both_families_have():
    """y has no value for m0; of the others x says 2 3 4 and z the reverse; y is constant."""
    found = joint({"x": [0.1, 0.2, 0.3, 0.4], "y": [None, 0.5, 0.5, 0.5], "z": [0.9, 0.8, 0.7, 0]})
    assert found[1].rows == [
        ["x", "y", "3", "–"],
        ["x", "z", "4", "-1.00"],
        ["y", "z", "3", "–"],
    ]


def test_models_differ_by_rewriting_and_by_index():
    made = [
        system
        for family in "xy"
        for system in (
            of_family("a", family, f"{family}1", 0.1),
            of_family("a", family, f"{family}1", 0.2, index="hnsw"),
            rewritten(of_family("a", family, f"{family}1", 0.3), "average"),
        )
    ]
    table, _ = families(made)
    assert [row[0] for row in table.rows] == ["a + average", "a @ hnsw", "a"]


def test_details_show_everything_a_record_holds():
    by_title = {table.title: table for table in details(real())}
    titles = ["Evaluation", "Scores", "Phases", "Counts", "Index", "Provenance"]
    assert list(by_title) == titles
    about = dict(by_title["Evaluation"].rows)
    assert about["in full"] == "hashing,dim=64"
    assert about["makes"] == "dense vectors, 64 dimensions"
    assert about["record id"] == real().id
    assert about["bootstrap"] == "seed 0, resamples 1,000, level 0.95"
    assert dict(by_title["Counts"].rows)["documents"] == "40"
    assert dict(by_title["Provenance"].rows)["corpus"] == real().task.fingerprint["corpus"]
    assert [row[0] for row in by_title["Scores"].rows] == ["R@2", "R@5"]
    assert [row[0] for row in by_title["Phases"].rows] == [phase.label for phase in real().phases]
    warned = real().model_copy(update={"warnings": ["careful"], "counts": {"tokens": None}})
    tables = details(warned)
    assert tables[1].title == "Warnings"
    assert tables[1].rows == [["careful"]]
    assert tables[4].rows == [["tokens", "not known"]]


def test_details_of_a_system_tell_of_each_part_alone():
    """BM25 alone has no dimension; a part of a part is named after both, as its phases are."""
    found = evaluate("rrf:[rrf:bm25+hashing]+[hashing@int8]", TASK, measures=["R@2"]).record
    paid = found.model_copy(update={"usage": {"endpoint tokens": 1234.0}})
    by_title = {table.title: table for table in details(paid)}
    about, rows = dict(by_title["Evaluation"].rows), by_title["Parts"].rows
    assert about["makes"] == "rankings"
    assert [row[:2] for row in rows] == [
        ["rrf:bm25+hashing", ""],
        ["rrf:bm25+hashing: bm25", "exact,block=262144"],
        ["rrf:bm25+hashing: hashing", "exact,block=262144"],
        ["hashing@int8", "int8,oversample=0"],
    ]
    assert [row[2] for row in rows[2:]] == ["40,960", "10,240"]  # 40 documents, 256 dimensions
    assert "documents 40" in rows[1][3]
    assert "0" not in rows[1][3].split()
    assert by_title["Used at endpoints"].rows == [["endpoint tokens", "1,234"]]
    assert "weights" not in dict(by_title["Provenance"].rows)
    assert "(k1 1.5, " in dict(by_title["Provenance"].rows)["parts"]


def test_details_tell_how_documents_were_found():
    index = IndexRecord(
        spec="hnsw", full="hnsw,M=16", exact=False, bytes=1234, reused=True, library={"faiss": "1"}
    )
    latency = LatencyRecord(p50_ms=1.5, p95_ms=20, queries=1000)
    changes = {"index": index, "latency": latency, "weights": [0.5], "candidates": True,
               "ties": 0.111}  # fmt: skip
    tables = details(real().model_copy(update=changes))
    assert [table.rows for table in tables if table.title == "Index"] == [
        [
            ["exact", "no"],
            ["bytes", "1,234"],
            ["reused", "yes"],
            ["faiss", "1"],
            ["candidates", "of the task"],
            ["weights", "0.5"],
            ["ties at the cut-off", "11.1% of the queries"],
            ["latency ms", "p50 1.5, p95 20, queries 1,000"],
        ]
    ]
    assert "Parts" not in [table.title for table in tables]


@pytest.mark.parametrize(
    ("numbers", "text"),
    [
        ((), ""),
        ((3,), "3"),
        ((1, 2, 3), "1–3"),
        ((1, 3, 4, 9), "1, 3–4, 9"),
        ((1, 2, 3, 5, 7, 8), "1–3, 5, 7–8"),
    ],
)
def test_spans(numbers, text):
    assert spans(numbers) == text


def test_numbers():
    assert number(0.12345678) == "0.1235"
    assert number(0.12345678, 6) == "0.123457"
    assert number(None) == "–"
    assert bounds(0.4, None) == "[0.4000, –]"
    assert bounds(-0.4, 0.00001, 3, signed=True) == "[-0.400, +0.000]"


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


def test_latex_escapes_what_latex_reads():
    text = write([NASTY], "latex")
    assert text.startswith("\\begin{tabular}{lr}\n\\toprule\n name")
    assert text.endswith("\\bottomrule\n\\end{tabular}")
    assert '"x" \\& \\_y\\%' in text
    assert "a|b \\ensuremath{<}c\\ensuremath{>} d" in text


def test_numbers_in_text_stay_as_they_are_written():
    table = Table("", ["id"], [["007"], ["1e3"], ["0.10"]])
    for style in ("markdown", "latex"):
        text = write([table], style)
        assert all(word in text for word in ("007", "1e3", "0.10"))


def test_no_joint_table_where_no_system_has_two_families():
    one, other = of_family("a", "x", "x1", 0.5), of_family("b", "y", "y1", 0.5)
    assert families([one, other]) == []
