"""Collections in memory: whatever people hold them in is one task, and what is wrong is named."""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest

from harness.errors import InputError
from harness.grid import Grid
from harness.session import Session
from harness.store import Store
from harness.tasks.collection import Collection
from tests.fakes import beir

CORPUS = {"a": "apple", "b": "banana", "c": "cherry"}
QUERIES = {"q1": "apple pie", "q2": "banana split"}
QRELS = {"q1": {"a": 1}, "q2": {"b": 2, "c": 1}}
ROWS = [(query, doc, gain) for query, row in QRELS.items() for doc, gain in row.items()]


class GenericDoc(NamedTuple):
    """As ir_datasets has it."""

    doc_id: str
    text: str


class GenericQuery(NamedTuple):
    query_id: str
    text: str


class TrecQrel(NamedTuple):
    query_id: str
    doc_id: str
    relevance: int
    iteration: str


def frames(document: str, text: str, query: str, asked: str, judged: tuple[str, str, str]):
    corpus = pd.DataFrame({document: list(CORPUS), text: list(CORPUS.values()), "more": 1})
    queries = pd.DataFrame({query: list(QUERIES), asked: list(QUERIES.values())})
    return corpus, queries, pd.DataFrame(ROWS, columns=list(judged))


def dataset(rows):
    from datasets import Dataset

    return Dataset.from_list(rows)


GIVEN = {
    "mappings": (CORPUS, QUERIES, QRELS),
    "titles": ({id: {"title": text, "text": ""} for id, text in CORPUS.items()}, QUERIES, QRELS),
    "BEIR": frames("_id", "text", "_id", "text", ("query-id", "corpus-id", "score")),
    "TREC": frames("docno", "contents", "qid", "query", ("qid", "docno", "rel")),
    "irds": frames("doc_id", "text", "query_id", "text", ("query_id", "doc_id", "relevance")),
    "MTEB": frames("id", "text", "id", "text", ("query-id", "corpus-id", "score")),
    "document_id": frames("document_id", "text", "qid", "text", ("qid", "document_id", "gain")),
    "tuples": (list(CORPUS.items()), iter(QUERIES.items()), ROWS),
    "named tuples": (
        (GenericDoc(*row) for row in CORPUS.items()),
        [GenericQuery(*row) for row in QUERIES.items()],
        [TrecQrel(*row, "0") for row in ROWS],
    ),
    "datasets": (
        dataset([{"_id": id, "title": "", "text": text} for id, text in CORPUS.items()]),
        dataset([{"_id": id, "text": text} for id, text in QUERIES.items()]),
        dataset([{"query-id": q, "corpus-id": d, "score": gain} for q, d, gain in ROWS]),
    ),
}


@pytest.fixture(scope="module")
def expected():
    return Collection(*GIVEN["mappings"]).data.fingerprint()


@pytest.mark.parametrize("form", GIVEN)
def test_whatever_it_is_held_in_is_the_same_collection(form, expected):
    found = Collection(*GIVEN[form], name="fruit")
    assert found.data.fingerprint() == expected
    assert (found.task.name, str(found.task.main)) == ("own:fruit", "nDCG@10")


def test_files_and_folders(tmp_path, expected):
    beir(tmp_path / "fruit", CORPUS, QUERIES, ROWS)
    assert Collection(tmp_path / "fruit").data.fingerprint() == expected
    files = [tmp_path / "fruit" / name for name in ("corpus.jsonl", "queries.jsonl")]
    parts = Collection(*files, str(tmp_path / "fruit" / "qrels" / "test.tsv"))
    assert parts.data.fingerprint() == expected


def test_relevant_documents_by_query():
    found = Collection(CORPUS, QUERIES, {"q1": ["a"], "q2": {"b", "c"}}).data.qrels
    assert (found.docs.tolist(), found.gains.tolist()) == ([0, 1, 2], [1, 1, 1])


def test_whole_numbers_are_ids_and_missing_titles_are_none():
    corpus = pd.DataFrame({"id": [10, 9], "title": ["An", None], "text": ["apple", "banana"]})
    qrels = pd.DataFrame({"qid": np.array([1, 1]), "docid": [9, 10], "score": [1.0, 0.0]})
    found = Collection(corpus, {1: "banana"}, qrels).data
    assert found.corpus.ids == ["10", "9"]
    assert found.corpus.texts == ["An apple", "banana"]
    assert (found.queries.ids, found.qrels.docs.tolist()) == (["1"], [0, 1])


def test_it_is_shown_by_its_size():
    assert repr(Collection(CORPUS, QUERIES, QRELS, name="my fruit")) == (
        "Collection(own:my%20fruit: 3 documents, 2 queries, 3 judgments)"
    )


# as a task


@pytest.fixture
def session(tmp_path):
    return Session(Store(tmp_path / "store"), cells=tmp_path / "cells")


def test_its_record_says_whose_it_is(session):
    mine = Collection(
        CORPUS, QUERIES, QRELS, name="fruit", measures=["RR@2"], exclude_self=True, license="CC0"
    )
    record = session.evaluate("bm25", mine).record
    assert (record.task.spec, record.task.source, record.task.family) == ("own:fruit", "own", "own")
    assert (record.task.license, record.task.exclude_self) == ("CC0", True)
    assert (record.main_measure, record.main.mean) == ("RR@2", 1.0)
    assert record.task.fingerprint == mine.data.fingerprint()


def test_one_measure_needs_no_list_and_a_cut_off_beyond_everything_takes_no_room(session):
    mine = Collection(CORPUS, QUERIES, QRELS, measures="RR@2")
    assert str(mine.task.main) == "RR@2"
    record = session.evaluate("bm25", mine, measures="P@99999999999").record
    assert (record.main_measure, record.depth) == ("P@99999999999", 1000)
    assert record.main.mean == pytest.approx(1 / 99999999999)  # one of each query's is found


def test_studies_take_it(session):
    mine = Collection(CORPUS, QUERIES, QRELS, measures=["RR@10"])
    grid = session.grid(["bm25", "hashing"], [session.task(mine)])
    assert isinstance(grid, Grid)
    assert grid.values.tolist() == [[[1.0, 1.0]], [[1.0, 1.0]]]
    assert session.vectors("hashing", mine).task.name == "own:collection"
    assert session.collection(mine).name == "own:collection"


def test_judgments_of_what_is_not_there_are_counted_and_warned_of(session):
    mine = Collection(CORPUS, QUERIES, {**QRELS, "q1": {"a": 1, "z": 1}, "q9": {"a": 1}})
    record = session.evaluate("bm25", mine, measures=["R@10"]).record
    assert record.main.mean == 0.5  # a and not z; b, and not c, which shares no word
    assert record.counts["judgments_of_unknown_documents"] == 1
    assert "1 judgments of unknown documents, as 'z' (qrels['q1']['z'])" in record.warnings
    assert "1 judgments of unknown queries, as 'q9' (qrels['q9']['a'])" in record.warnings


def test_without_judgments_it_is_searched_and_not_evaluated(session):
    mine = Collection(CORPUS, QUERIES)
    assert session.rank("bm25", mine, depth=1).run.docs.tolist() == [[0], [1]]
    with pytest.raises(InputError, match=r"^own:collection has no judgments: it can be searched"):
        session.evaluate("bm25", mine)


def test_it_has_no_other_split(session):
    with pytest.raises(InputError, match="own:collection: own has no splits: no dev to read"):
        session.evaluate("convex:bm25+hashing,tune=dev", Collection(CORPUS, QUERIES, QRELS))


# what is wrong

FRAME = pd.DataFrame({"id": ["a", "b"], "text": ["apple", "banana"]})


@pytest.mark.parametrize(
    ("given", "error"),
    [
        (
            {"corpus": FRAME.rename(columns={"id": "key"})},
            "corpus: the DataFrame has no column '_id': expected one of _id, id, doc_id, .* "
            r"\(found: 'key', 'text'\)",
        ),
        ({"corpus": FRAME[["id"]]}, r"no column 'text': .* \(found: 'id'\)"),
        ({"corpus": FRAME.assign(id=[1.0, 2.0])}, r"corpus.iloc\[0\]: .* id is 1.0, float: expec"),
        ({"corpus": FRAME.assign(id=["a", None])}, r"corpus.iloc\[1\]: the document id is "),
        ({"corpus": FRAME.assign(id=[True, False])}, r"corpus.iloc\[0\]: .* id is True, bool"),
        (
            {"corpus": FRAME.assign(text=["apple", np.nan])},
            r"corpus.iloc\[1\]: the text is missing \(NaN\): expected text",
        ),
        ({"corpus": {"a": "apple", "b": None}}, r"corpus\['b'\]: the text is missing \(None\)"),
        ({"corpus": {"": "apple"}}, r"corpus\[''\]: the document id is empty: expected text or"),
        (
            {"corpus": FRAME.assign(id=[7, None])},
            r"corpus.iloc\[1\]: the document id is missing \(NaN\): expected text or a whole numb",
        ),
        ({"corpus": {"a": 5}}, r"corpus\['a'\]: the text is 5, int: expected text"),
        ({"corpus": {"a": {"title": "t"}}}, r"corpus\['a'\]: the row has no column 'text'"),
        ({"corpus": [("a", "apple", "x")]}, r"corpus\[0\]: 3 fields: expected 2, _id, text"),
        ({"corpus": ["apple"]}, r"corpus\[0\]: 'apple': expected a row with _id, text"),
        ({"corpus": [("a", "x"), ("a", "y")]}, r"corpus\[1\]: document id 'a' stands at corpus\[0"),
        ({"corpus": 5}, "corpus: int: expected a mapping, a DataFrame or rows"),
        ({"corpus": {}}, "corpus: holds no document: expected at least one"),
        ({"corpus": "no/such/file.jsonl"}, "no/such/file.jsonl: cannot be read"),
        ({"queries": None}, "own:collection: there are no queries"),
        ({"queries": {1.5: "x"}}, r"queries\[1.5\]: the query id is 1.5, float"),
        ({"qrels": {"q1": "a"}}, r"qrels\['q1'\]: 'a': expected scores by document"),
        ({"qrels": {"q1": {"a": np.nan}}}, r"qrels\['q1'\]\['a'\]: the score is nan: expected a f"),
        ({"qrels": {"q1": {"a": "high"}}}, "the score is 'high': expected a finite number"),
        ({"qrels": {"q9": {"a": 1}}}, "qrels: judges none of the 2 queries of own:collection"),
        ({"qrels": [("q1", "a")]}, r"qrels\[0\]: 2 fields: expected 3, query-id, corpus-id, score"),
        (
            {"qrels": pd.DataFrame(ROWS, columns=["query_id", "doc_id", "grade"])},
            r"no column 'score': .* \(found: 'query_id', 'doc_id', 'grade'\)",
        ),
        ({"name": " "}, "a collection is called ' ': expected a name, as text"),
        ({"measures": 5}, "measures=5: expected a list of names"),
        (
            {"qrels": [("q1", "a", 1, 0)]},
            r"qrels\[0\]: 4 fields: expected 3, query-id, corpus-id, ",
        ),
        ({"measures": ["accuracy"]}, "accuracy does not fit own:collection, a task of retrieval"),
    ],
)
def test_what_is_wrong_is_one_line(given, error):
    with pytest.raises(InputError, match=error) as raised:
        Collection(**{"corpus": CORPUS, "queries": QUERIES, "qrels": QRELS, **given})
    assert "\n" not in str(raised.value)


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match=re.escape(f"{tmp_path}/none: no such folder")):
        Collection(tmp_path / "none")
