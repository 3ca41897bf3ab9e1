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
    with pytest.raises(InputError, match=r"^run\.iloc\[1\]: the document id is 8\.5, float: exp"):
        harness.score(numbers.assign(doc_id=pd.Series(["7", 8.5], dtype=object)), {"1": {"8": 1}})
    with pytest.raises(InputError, match=r"^qrels\[True\]\['a'\]: the query id is True, bool: exp"):
        harness.score(RUN, {True: {"a": 1}})


@pytest.mark.parametrize(
    ("run", "qrels", "line"),
    [
        (
            pd.DataFrame({"qid": ["q1"], "doc": ["a"], "points": [1]}),
            QRELS,
            "run: the DataFrame has no column 'score': expected one of score "
            "(found: 'qid', 'doc', 'points')",
        ),
        (
            RUN,
            pd.DataFrame({"qid": ["q1"], "docno": ["a"], "grade": [1]}),
            "qrels: the DataFrame has no column 'score': expected one of relevance, rel, gain, "
            "score, label (found: 'qid', 'docno', 'grade')",
        ),
        (RUN, {}, "there is nothing in the qrels: expected at least one row"),
        ([], QRELS, "there is nothing in the run: expected at least one row"),
        ({}, QRELS, "there is nothing in the run: expected at least one row"),
        ({"q1": 5}, QRELS, "run['q1']: 5: expected scores by document"),
        (
            {"other": {"a": 1}},
            QRELS,
            "the run has results for none of the judged queries: it has 'other', the judgments "
            "have 'q1': compare their ids",
        ),
        (
            [*objects({"q1": {"a": 1}}, "query_id doc_id score")] * 2,
            QRELS,
            "run: document 'a' is ranked twice for query 'q1'",
        ),
        (
            {"q1": {"a": float("nan")}},
            QRELS,
            "run['q1']['a']: the score is nan: expected a finite number",
        ),
        ({"q1": {"a": None}}, QRELS, "run['q1']['a']: the score is None: expected a finite number"),
        (
            {"q1": {"a": "high"}},
            QRELS,
            "run['q1']['a']: the score is 'high': expected a finite number",
        ),
        (
            {"q1": {"": 1}},
            QRELS,
            "run['q1']['']: the document id is empty: expected text or a whole number",
        ),
        (
            5,
            QRELS,
            "run: int: expected a mapping, a DataFrame or rows",
        ),
        (
            [*objects({"q1": {"a": 1}}, "query_id doc_id value")],
            QRELS,
            "run[0]: the row has no column 'score': expected one of score "
            "(found: 'query_id', 'doc_id', 'value')",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_scored_is_one_line(run, qrels, line):
    with pytest.raises(InputError) as caught:
        harness.score(run, qrels)
    assert str(caught.value) == line


class _Columns:
    """As frames of polars hand over their columns."""

    def __init__(self, table):
        self.table = table

    def __arrow_c_stream__(self, requested_schema=None):
        return self.table.__arrow_c_stream__(requested_schema)


def test_frames_of_other_libraries_are_taken():
    import pyarrow as pa

    def table(scores, names):
        columns = zip(*rows(scores), strict=True)
        return _Columns(pa.table(dict(zip(names, map(list, columns), strict=True))))

    run = table(RUN, ("query_id", "doc_id", "score"))
    qrels = table(QRELS, ("query-id", "corpus-id", "label"))
    assert harness.score(run, qrels, MEASURES).means == harness.score(RUN, QRELS, MEASURES).means
    missing = _Columns(pa.table({"qid": ["q1"], "docno": [None], "score": [1.0]}))
    with pytest.raises(InputError, match=r"^run\.row\[0\]: the document id is missing \(None\)"):
        harness.score(missing, QRELS)
    with pytest.raises(InputError, match=r"^run: _Columns: no table: "):
        harness.score(_Columns(pa.chunked_array([[1]])), QRELS)


def test_gains_are_known_by_the_names_that_a_collection_takes(tmp_path):
    """A frame of results joined with judgments holds a score, too, which is no gain."""
    joined = pd.DataFrame(
        {"qid": "q", "docno": ["a", "b"], "score": [1.0, 9.0], "relevance": [1, 0]}
    )
    assert harness.score(joined, joined, ["RR@5"])["RR@5"].mean == 1 / 2
    beir = frame(QRELS, ("query-id", "corpus-id", "score"))
    expected = harness.score(RUN, QRELS, MEASURES).means
    assert harness.score(RUN, beir, MEASURES).means == expected
    assert harness.score(RUN, rows(QRELS), MEASURES).means == expected
    assert harness.score(RUN, beir.to_dict("records"), MEASURES).means == expected
    beir.to_csv(tmp_path / "test.tsv", sep="\t", index=False)
    assert harness.score(RUN, tmp_path / "test.tsv", MEASURES).means == expected
    trec = tmp_path / "qrels.dev.tsv"
    trec.write_text("".join(f"{q}\t0\t{d}\t{g}\n" for q, d, g in rows(QRELS)))
    assert harness.score(RUN, trec, MEASURES).means == expected


def test_a_file_of_the_other_form_is_refused(tmp_path):
    run, qrels = tmp_path / "a.run", tmp_path / "a.qrels"
    run.write_text("q1 Q0 a 1 0.5 tag\n")
    qrels.write_text("q1 0 a 1\n")
    with pytest.raises(InputError, match=r"a\.run:1: 6 columns: expected 'qid 0 docid gain'"):
        harness.score(RUN, run)
    with pytest.raises(InputError, match=r"a\.qrels:1: 4 columns: expected 'qid Q0 docid rank sc"):
        harness.score(qrels, QRELS)


@pytest.mark.parametrize(
    "value",
    [
        True, np.bool_(True), b"1", "1_0", [1.0], np.array([1.0]), 10**400, 1 + 0j, None,
        np.datetime64("2020-01-01"), np.timedelta64(5, "D"), pd.NA, pd.Timestamp(0),
    ],
    ids=str,
)  # fmt: skip
def test_only_real_numbers_are_numbers(value):
    with pytest.raises(
        InputError, match=r"^run\['q1'\]\['a'\]: the score is .*: expected a finite"
    ):
        harness.score({"q1": {"a": value}}, QRELS)
    with pytest.raises(InputError, match=r"^qrels\['q1'\]\['a'\]: the gain is .*: expected a fin"):
        harness.score(RUN, {"q1": {"a": value}})


@pytest.mark.parametrize(
    ("qrels", "line"),
    [
        ([("q1", "0", "a", 1)], r"qrels\[0\]: 4 fields: expected 3, query-id, corpus-id, sc"),
        (frame(QRELS, ("qid", "docno", "rel")).iloc[:, [0, 1, 2, 2]], "has 2 columns 'rel': ex"),
        ([*objects(QRELS, "qid docno rel"), "q1 a 1"], r"qrels\[5\]: 'q1 a 1': expected a row wi"),
        ([np.timedelta64(1, "D")], "expected a row with query-id, corpus-id, score"),
        (
            pd.DataFrame({"qid": ["q1", "q1"], "docno": [3, None], "rel": 1}),
            r"qrels\.iloc\[1\]: the document id is missing \(NaN\)",
        ),
        ({"q1": {np.timedelta64(1, "D"): 1}}, "the document id is .*, timedelta64: expected text"),
    ],
)  # fmt: skip
def test_judgments_that_could_mean_something_else_are_refused(qrels, line):
    with pytest.raises(InputError, match=line):
        harness.score(RUN, qrels)


def test_ids_that_do_not_meet_are_told():
    with pytest.warns(
        UserWarning, match=r"^none of the documents of the run is judged: it has '1'"
    ):
        found = harness.score({"q1": {1: 2.0}}, {"q1": {"d1": 1}})
    line = "none of the documents of the run is judged: it has '1', the judgments have 'd1': "
    assert found.warnings == (f"{line}compare their ids",)
    found = harness.score(RUN, QRELS)
    line = "1 of 3 judged queries have no results and score 0, 'q3' first"
    assert found.warnings == (line,)
    assert str(found).endswith(f"\n{line}")
    assert found._repr_html_().endswith(
        "<p>1 of 3 judged queries have no results and score 0, &#x27;q3&#x27; first</p>"
    )


def test_a_cut_off_beyond_everything_takes_no_room():
    found = harness.score(RUN, QRELS, ["nDCG@10", f"nDCG@{10**15}", "P@99999999999"])
    assert found["nDCG@1000000000000000"] == found["nDCG@10"]
    assert found["P@99999999999"].mean == pytest.approx(2 / 3 / 99999999999)
    with pytest.raises(InputError, match=r"^measure 'P@10+': expected a cut-off of at most 1,000"):
        harness.score(RUN, QRELS, [f"P@{10**16}"])


def test_scores_are_found_under_any_spelling_and_what_is_not_there_is_told():
    found = harness.score(RUN, QRELS, ["nDCG@10"])
    assert found.get("ndcg_at_10") == found["NDCG_AT_10"] == found["nDCG@10"]
    assert "ndcg_at_10" in found
    assert found.get("foo") is None
    assert "foo" not in found
    assert 0 not in found
    for name in ("P@5", "foo", 0):
        with pytest.raises(InputError, match=f"^there is no score {name!r}: .* one of nDCG@10$"):
            found[name]


@pytest.mark.parametrize("seed", [-1, 1.5, True, None, "1"])
def test_a_seed_is_a_whole_number(seed):
    with pytest.raises(InputError, match=rf"^seed={seed!r}: expected a whole number of at least 0"):
        harness.score(RUN, QRELS, seed=seed)


@pytest.mark.parametrize(
    ("measures", "line"),
    [
        ([10], "measures=[10]: expected a list of names, and 10 is no text"),
        ([None], "measures=[None]: expected a list of names, and None is no text"),
        ([b"P@5"], "measures=[b'P@5']: expected a list of names, and b'P@5' is no text"),
        (b"P@5", "measures=b'P@5': expected a list of names"),
        (None, "no measures: expected at least one, as nDCG@10"),
    ],
)
def test_what_is_no_name_of_a_measure_is_one_line(measures, line):
    with pytest.raises(InputError) as caught:
        harness.score(RUN, QRELS, measures)
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
