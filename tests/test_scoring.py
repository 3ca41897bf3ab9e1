"""harness.score: runs and judgments from anywhere, by one ranking rule."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections import namedtuple

import numpy as np
import pandas as pd
import pytest

import harness
from harness.errors import InputError
from harness.stats import Estimate

QRELS = {"q1": {"a": 2, "b": 0, "gone": 1}, "q2": {"c": 1}, "q3": {"a": 1}}
RUN = {"q1": {"b": 3.0, "a": 2.0, "x": 1.0}, "q2": {"c": 0.5}, "nobody": {"a": 1.0}}
MEASURES = ["RR@10", "R@100", "nDCG@10"]
IDEAL = 2 + 1 / np.log2(3)
EACH = {
    "RR@10": [1 / 2, 1, 0],
    "R@100": [1 / 2, 1, 0],
    "nDCG@10": [(2 / np.log2(3)) / IDEAL, 1, 0],
}


def rows(scores: dict) -> list[tuple[str, str, float]]:
    return [(query, doc, value) for query, own in scores.items() for doc, value in own.items()]


def frame(scores: dict, names: tuple[str, str, str]) -> pd.DataFrame:
    return pd.DataFrame(rows(scores), columns=list(names))


def objects(scores: dict, names: str) -> list:
    return [namedtuple("row", names)(*row) for row in rows(scores)]


def test_scores_by_hand():
    """q3 has judgments and no results: it scores 0 and stays in the mean; nobody is left out."""
    found = harness.score(RUN, QRELS, MEASURES)
    assert list(found) == MEASURES
    assert len(found) == 3
    each = found.per_query()
    assert each.index.tolist() == ["q1", "q2", "q3"]
    assert each.index.name == "query_id"
    for name, values in EACH.items():
        assert each[name].tolist() == pytest.approx(values)
        assert isinstance(found[name], Estimate)
        assert found[name].mean == pytest.approx(np.mean(values))
        assert found[name].low <= found[name].mean <= found[name].high


def test_measures_go_by_any_name_and_are_kept_under_one():
    found = harness.score(RUN, QRELS, ["MRR@10", "mrr_at_10", "recall_100", "MAP"])
    assert list(found) == ["RR@10", "R@100", "AP@1000"]
    assert found["MRR@10"] == found["RR@10"]
    assert found["map"].mean == pytest.approx((1 / 2 / 2 + 1) / 3)
    assert "RR@10" in found
    assert "RR@11" not in found
    assert list(harness.score(RUN, QRELS, "P@1")) == ["P@1"]
    assert list(harness.score(RUN, QRELS)) == ["nDCG@10", "R@100"]


def test_equal_scores_fall_by_descending_id_and_beyond_float32_they_are_equal():
    found = harness.score({"q": {"a": 1.0, "b": 1 + 1e-9}}, {"q": {"b": 1}}, ["RR@5"])
    assert found["RR@5"].mean == 1
    found = harness.score({"q": {"b": 1.0, "a": 1 + 1e-9}}, {"q": {"a": 1}}, ["RR@5"])
    assert found["RR@5"].mean == 1 / 2


def test_the_interval_is_that_of_the_seed():
    one, same, other = (harness.score(RUN, QRELS, MEASURES, seed=seed) for seed in (1, 1, 2))
    assert one.means == same.means
    assert one["nDCG@10"].mean == other["nDCG@10"].mean


@pytest.mark.parametrize(
    "run",
    [
        frame(RUN, ("query_id", "doc_id", "score")),
        frame(RUN, ("qid", "docno", "score")).assign(rank=1, tag="x"),
        frame(RUN, ("query", "document", "score")),
        objects(RUN, "query_id doc_id score"),
    ],
    ids=["columns", "pyterrier", "words", "objects"],
)
@pytest.mark.parametrize(
    "qrels",
    [
        QRELS,
        frame(QRELS, ("query_id", "doc_id", "relevance")),
        frame(QRELS, ("qid", "docno", "rel")),
        frame(QRELS, ("query", "document", "gain")),
        objects(QRELS, "query_id doc_id relevance"),
    ],
    ids=["dict", "columns", "rel", "gain", "objects"],
)
def test_runs_and_judgments_come_in_many_forms(run, qrels):
    found = harness.score(run, qrels, MEASURES)
    assert found.means == harness.score(RUN, QRELS, MEASURES).means


def test_a_generator_is_read_once():
    run = (row for row in objects(RUN, "query_id doc_id score"))
    qrels = (row for row in objects(QRELS, "query_id doc_id relevance"))
    assert harness.score(run, qrels, ["R@100"])["R@100"].mean == pytest.approx(1 / 2)


def test_judgments_of_ir_datasets_are_taken_as_they_are():
    from ir_datasets.formats import TrecQrel
    from ir_datasets.formats.trec import TrecSubQrel  # a subclass has further fields

    qrels = [TrecQrel(query, doc, gain, "0") for query, doc, gain in rows(QRELS)]
    assert harness.score(RUN, qrels, MEASURES).means == harness.score(RUN, QRELS, MEASURES).means
    more = [TrecSubQrel(query, doc, gain, "0") for query, doc, gain in rows(QRELS)]
    assert harness.score(RUN, more, MEASURES).means == harness.score(RUN, QRELS, MEASURES).means


def test_files_of_trec_are_read(tmp_path):
    run, qrels = tmp_path / "a.run", tmp_path / "a.qrels"
    run.write_text("".join(f"{q} Q0 {d} 7 {s} tag\n" for q, d, s in rows(RUN)) + "\n")
    qrels.write_text("".join(f"{q} 0 {d} {g}\n" for q, d, g in rows(QRELS)))
    expected = harness.score(RUN, QRELS, MEASURES).means
    assert harness.score(run, qrels, MEASURES).means == expected
    assert harness.score(str(run), QRELS, MEASURES).means == expected
    run.write_text("q1 Q0 a\n")
    with pytest.raises(InputError, match=r"a\.run:1: 3 columns: expected 'qid Q0 docid rank score"):
        harness.score(run, QRELS)
    with pytest.raises(InputError, match=r"none\.run: cannot be read"):
        harness.score(tmp_path / "none.run", QRELS)


def test_ids_with_spaces_are_decoded_from_a_file_where_the_judgments_have_them(tmp_path):
    path = tmp_path / "a.run"
    path.write_text("q%201 Q0 Ann%20Lee 1 2 tag\nq%201 Q0 50%25 2 1 tag\n")
    assert harness.score(path, {"q 1": {"Ann Lee": 1}}, ["RR@5"])["RR@5"].mean == 1
    assert harness.score(path, {"q%201": {"50%25": 1}}, ["RR@5"])["RR@5"].mean == 1 / 2


def test_whole_numbers_are_ids_and_other_things_are_not():
    numbers = pd.DataFrame({"query_id": [1, 1], "doc_id": [7, 8], "score": [2.0, 1.0]})
    assert harness.score(numbers, {"1": {"8": 1}}, ["RR@5"])["RR@5"].mean == 1 / 2
    assert harness.score({1: {np.int64(7): 1}}, {1: {7: 1}}, ["RR@5"])["RR@5"].mean == 1
    with pytest.raises(InputError, match=r"^run: row 1: document id is 8\.5: expected text or a"):
        harness.score(numbers.assign(doc_id=pd.Series(["7", 8.5], dtype=object)), {"1": {"8": 1}})
    with pytest.raises(InputError, match=r"^qrels: query True: query id is True: expected text"):
        harness.score(RUN, {True: {"a": 1}})


@pytest.mark.parametrize(
    ("run", "qrels", "line"),
    [
        (
            pd.DataFrame({"qid": ["q1"], "doc": ["a"], "score": [1]}),
            QRELS,
            "run: no column doc_id or docno or document: there are qid, doc, score",
        ),
        (
            RUN,
            pd.DataFrame({"qid": ["q1"], "docno": ["a"], "label": [1]}),
            "qrels: no column relevance or rel or gain: there are qid, docno, label",
        ),
        (RUN, {}, "there is nothing in the qrels: expected at least one row"),
        ([], QRELS, "there is nothing in the run: expected at least one row"),
        ({}, QRELS, "there is nothing in the run: expected at least one row"),
        ({"q1": 5}, QRELS, "run: query 'q1' has 5: expected numbers by document"),
        (
            {"other": {"a": 1}},
            QRELS,
            "the run has results for none of the judged queries: compare their ids",
        ),
        (
            [*objects({"q1": {"a": 1}}, "query_id doc_id score")] * 2,
            QRELS,
            "run: document 'a' is ranked twice for query 'q1'",
        ),
        (
            {"q1": {"a": float("nan")}},
            QRELS,
            "run: query 'q1': score is nan: expected a finite float32",
        ),
        ({"q1": {"a": None}}, QRELS, "run: query 'q1': score is None: expected a finite float32"),
        ({"q1": {"a": "high"}}, QRELS, "run: query 'q1': score is 'high': expected a number"),
        ({"q1": {"": 1}}, QRELS, "run: query 'q1': document id is empty: expected text"),
        (
            5,
            QRELS,
            "run: int: expected a dict of dicts, a DataFrame, the path of a TREC file, or objects "
            "with query_id and doc_id",
        ),
        (
            [*objects({"q1": {"a": 1}}, "query_id doc_id value")],
            QRELS,
            "run: no column score: there are count, doc_id, index, query_id, value",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_scored_is_one_line(run, qrels, line):
    with pytest.raises(InputError) as caught:
        harness.score(run, qrels)
    assert str(caught.value) == line


def test_measures_that_cannot_be_are_refused():
    with pytest.raises(InputError, match=r"Did you mean 'R@10'\?"):
        harness.score(RUN, QRELS, ["recal@10"])
    with pytest.raises(InputError, match=r"^Robustness@5 needs groups of queries"):
        harness.score(RUN, QRELS, ["Robustness@5"])
    with pytest.raises(InputError, match=r"^no measures: expected at least one"):
        harness.score(RUN, QRELS, [])
    with pytest.raises(
        InputError, match=r"^accuracy does not fit a run: expected a measure of ret"
    ):
        harness.score(RUN, QRELS, ["accuracy"])


def test_scores_are_shown_as_a_frame_and_in_a_notebook():
    found = harness.score(RUN, QRELS, ["RR@10", "R@100"])
    shown = found.frame()
    assert shown.columns.tolist() == ["measure", "mean", "low", "high"]
    assert shown["measure"].tolist() == ["RR@10", "R@100"]
    assert shown["mean"].tolist() == pytest.approx([1 / 2, 1 / 2])
    assert found._repr_html_().startswith("<table><caption>3 queries</caption><tr><th>measure</th>")
    assert "<tr><td>RR@10</td><td>0.5000</td><td>[" in found._repr_html_()
    assert str(found).splitlines()[0].startswith("RR@10  0.5000  [")


def test_scoring_loads_no_heavy_library():
    child = """
        import sys
        import harness
        found = harness.score({"q": {"a": 1}}, {"q": {"a": 1}}, ["nDCG@10", "RBP", "bpref"])
        heavy = ["torch", "sklearn", "matplotlib", "transformers", "bm25s", "faiss", "pydantic",
                 "sentence_transformers", "datasets"]
        print([name for name in [*heavy, "pandas", "pyarrow"] if name in sys.modules])
        found.frame(), found.per_query()
        print("pandas" in sys.modules, [name for name in heavy if name in sys.modules])
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(child)], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == ["[]", "True []"]  # pandas 3 itself loads pyarrow


def test_public_names_are_seen_and_are_there():
    assert {"score", "measure", "evaluate", "Scores", "__version__"} <= set(dir(harness))
    assert all(getattr(harness, name) is not None for name in dir(harness))
    assert harness.__version__.count(".") == 2
    with pytest.raises(AttributeError, match="no attribute 'skore'"):
        harness.skore  # noqa: B018
