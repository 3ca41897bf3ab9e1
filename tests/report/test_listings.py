"""What there is: the card of a task of each kind, encoders, indexes, the store."""

from __future__ import annotations

import numpy as np
import pytest

from harness.api import evaluate
from harness.data import (
    Classification,
    Clustering,
    Corpus,
    Data,
    Labelled,
    Origin,
    Pairs,
    Qrels,
    Queries,
    Retrieval,
    Summaries,
)
from harness.encoders import ENCODERS
from harness.frames import Table
from harness.report import listings
from harness.rewriting import REWRITERS
from harness.store import Store
from harness.tasks import catalog
from tests.fakes import with_data

TASK = "limit,docs=40,queries=9,k=2,attributes=5"


def card(data: Data, definition: catalog.Definition | None = None) -> tuple[dict[str, str], Table]:
    """The card of a task with these data: rows by name, and its samples."""
    given = definition or catalog.Definition("mine", "limit")
    asked = with_data("limit-small", data, spec="mine", definition=given)
    about, samples = listings.task(asked)
    assert about.title == "mine"
    assert samples.title == "Samples"
    return dict(about.rows), samples


def test_a_generated_task_is_shown_with_its_counts_and_samples():
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


def test_a_card_of_generated_data_follows_its_numbers():
    about, _ = listings.task(catalog.task("limit,docs=100,queries=10,k=3"))
    told = dict(about.rows)
    assert told["what"] == (
        "Which 3 of 100 people like X: 5 of them are relevant to some query, pattern dense"
    )
    assert told["measures"] == "R@3, R@10, R@100, R@1000, nDCG@10"
    assert catalog.task("limit").definition.description.endswith("46 relevant people among 50,000")


def test_a_card_of_retrieval():
    corpus = Corpus.of(["a", "b"], ["first text", "second text, which is longer " * 9])
    queries = Queries(["q1", "q2"], ["who?", "not judged"])
    qrels = Qrels.of([("q1", "a", 0.5), ("q1", "b", 2), ("q1", "gone", 1)], queries, corpus)
    rows, samples = card(Retrieval(corpus, queries, qrels))
    assert rows["documents"] == "2, 136 characters on average"  # 10 and 9 * 29
    assert rows["queries"] == "2, 1 of them judged"
    assert rows["relevant"] == "3.00 documents a judged query"
    assert rows["family"] == "retrieval"
    assert samples.header == ["query", "gain", "document", "text"]
    assert [row[:3] for row in samples.rows] == [
        ["who?", "2", "b"],
        ["who?", "1", "?"],
        ["who?", "0.5", "a"],
    ]
    assert samples.rows[0][3] == f"{'second text, which is longer ' * 5}second text, …"
    assert samples.rows[1][3] == "(not in the corpus)"
    assert samples.rows[2][3] == "first text"


def test_a_card_of_passages_shows_the_first_of_a_document():
    corpus = Corpus.of(["p1", "p2", "p3"], ["one", "two", "three"], ["y", "x", "y"])
    queries = Queries(["q"], ["who?"])
    data = Retrieval(corpus, queries, Qrels.of([("q", "y", 1), ("q", "x", 2)], queries, corpus))
    rows, samples = card(data)
    assert rows["documents"] == "2 of 3 passages, 4 characters on average"
    assert [row[1:] for row in samples.rows] == [["2", "x", "two"], ["1", "y", "one"]]


def test_a_card_of_pairs():
    gold = np.float64([1, 4.5, 2, 3])
    rows, samples = card(Pairs(list("abcd"), list("efgh"), gold))
    assert rows["pairs"] == "4, gold from 1 to 4.5"
    assert rows["measures"].startswith("cosine_spearman, cosine_pearson, ")
    assert samples.header == ["gold", "one", "other"]
    assert samples.rows == [["1", "a", "e"], ["4.5", "b", "f"], ["2", "c", "g"]]


def test_a_card_of_classification_shows_test_texts():
    train, test = Labelled(["a", "b", "c"], ["x", "y", "z"]), Labelled(["d", "e"], ["y", "x"])
    rows, samples = card(Classification(train, test))
    assert (rows["training texts"], rows["test texts"], rows["labels"]) == ("3", "2", "2")
    assert rows["family"] == "classification"
    assert rows["measures"] == "accuracy, f1, f1_weighted"
    assert samples.header == ["label", "text"]
    assert samples.rows == [["y", "d"], ["x", "e"]]


def test_a_card_of_clustering_shows_the_coarse_labels():
    texts = ["a", "b", "c", "d"]
    levels = (["x", "y", "x", "y"], ["x1", None, "x2", "y1"])
    rows, samples = card(Clustering(texts, levels))
    assert (rows["texts"], rows["levels"], rows["labels"]) == ("4", "2", "2")
    assert rows["measures"] == "v_measure"
    assert samples.rows == [["x", "a"], ["y", "b"], ["x", "c"]]


def test_a_card_of_summaries():
    data = Summaries([["h1", "h2"], ["h3"]], [["m1", "m2"], ["m3"]], [[4.5, 1], [2]])
    rows, samples = card(data)
    assert (rows["texts"], rows["machine summaries"]) == ("2", "3")
    assert rows["measures"].split(", ")[0] == "cosine_spearman"
    assert samples.header == ["rating", "machine", "human"]
    assert samples.rows == [["4.5", "m1", "h1"], ["2", "m3", "h3"]]


def test_a_definition_speaks_before_what_the_source_tells():
    origin = Origin(license="CC0", reference="https://a", measures=("dot_pearson",))
    data = Pairs(["a", "b"], ["c", "d"], np.float64([0, 1]), origin=origin)
    rows, _ = card(data)
    assert (rows["license"], rows["reference"]) == ("CC0", "https://a")
    assert rows["measures"] == "dot_pearson"
    own = catalog.Definition(
        "mine", "limit", "what it is", "mine too", ("max_ap",), license="MIT", reference="https://b"
    )
    rows, _ = card(data, own)
    assert (rows["what"], rows["family"]) == ("what it is", "mine too")
    assert (rows["license"], rows["reference"]) == ("MIT", "https://b")
    assert rows["measures"] == "max_ap"


def test_what_is_not_known_has_no_row():
    rows, _ = card(Pairs(["a", "b"], ["c", "d"], np.float64([0, 1])))
    assert not {"what", "license", "reference"} & set(rows)


def test_a_suite_is_no_task_and_names_its_own():
    with pytest.raises(catalog.InputError) as error:
        catalog.task("core")
    assert str(error.value) == (
        "'core' is a suite of tasks: name one of " + ", ".join(catalog.suites()["core"].tasks)
    )


def test_everything_that_is_defined_is_listed():
    tasks, suites, sources = listings.tasks()
    assert [row[0] for row in tasks.rows] == list(catalog.definitions())
    (small,) = (row for row in tasks.rows if row[0] == "limit-small")
    assert small[2:5] == (46, 1000, None)
    assert small[-1] == "https://arxiv.org/abs/2508.21038"
    assert {row[0]: row[1] for row in suites.rows} == {
        suite.name: len(suite.tasks) for suite in catalog.suites().values()
    }
    assert {row[2].count(", ") + 1 for row in suites.rows} == {*suites["tasks"]}
    assert {"folder:TARGET", "limit", "pairs:TARGET"} <= {row[0] for row in sources.rows}


def test_encoders_are_listed_with_parameters_and_short_names():
    rows = {row[0]: row for row in listings.registry("Encoders", ENCODERS, "encoders").rows}
    assert rows["bm25"][1] == "k1=1.5, b=0.75, method=lucene, language"
    assert rows["hashing"][1] == "dim=256"
    assert rows["minilm"][2] == "short for st:minilm"
    assert "dtype=float32" in rows["st:TARGET"][1]
    assert all(row[2] for row in rows.values())


def test_rewritings_are_listed():
    rows = {row[0]: row for row in listings.registry("Rewritings", REWRITERS, "rewritings").rows}
    assert rows["none"] == ("none", "", "Queries as they are.")
    assert rows["rm3"][1] == "depth=10, terms=10, weight=0.5"
    assert rows["average"][1] == "depth=3"


def test_the_store_is_listed(tmp_path):
    store = Store(tmp_path)
    evaluate("hashing,dim=64", TASK, store=store)
    table = listings.spaces(store)
    assert sorted(row[1:5] for row in table.rows) == [
        ("hashing,dim=64", "document", "", 40),
        ("hashing,dim=64", "query", "", 9),
    ]
