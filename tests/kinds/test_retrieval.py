"""Judging a run: which judgments each measure reads, groups, counts, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from harness.data import Candidates, Changes, Corpus, Qrels, Queries, Retrieval
from harness.errors import InputError
from harness.kinds import Verdict
from harness.kinds.retrieval import RetrievalKind
from harness.measures.asked import Measure
from harness.vectors import Run

CORPUS = Corpus.of(["a", "b", "c", "d"], ["of a", "of b", "of c", "of d"])
QUERIES = Queries(["q1", "q2", "q3"], ["one", "two", "three"])
# q1: a, b, c; q2: d, a; q3 (nothing judged): b
RUN = Run(
    np.int32([[0, 1, 2], [3, 0, -1], [1, -1, -1]]), np.float32([[3, 2, 1], [2, 1, 0], [1, 0, 0]])
)


def qrels(*judgments: tuple[str, str, float]) -> Qrels:
    return Qrels.of(judgments, QUERIES, CORPUS)


DATA = Retrieval(CORPUS, QUERIES, qrels(("q1", "b", 2), ("q1", "c", 1), ("q2", "d", 1)))


def judged(data: Retrieval, *measures: str, run: Run = RUN) -> Verdict:
    return RetrievalKind().judge(run, data, [Measure.parse(text) for text in measures], seed=0)


def means(verdict: Verdict) -> dict[str, float | None]:
    return {name: score.mean for name, score in verdict.scores.items()}


def test_documents_and_queries_are_encoded_each_in_its_role():
    assert RetrievalKind().parts(DATA) == {
        "documents": ("document", CORPUS.texts),
        "queries": ("query", QUERIES.texts),
    }


def test_scores_by_hand():
    found = judged(DATA, "RR@10", "P@2", "R@2", "AP@10", "nDCG@2")
    half = 1 / np.log2(3)
    assert means(found) == {
        "RR@10": (1 / 2 + 1) / 2,
        "P@2": (1 / 2 + 1 / 2) / 2,
        "R@2": (1 / 2 + 1) / 2,
        "AP@10": pytest.approx(((1 / 2 + 2 / 3) / 2 + 1) / 2),
        "nDCG@2": pytest.approx((2 * half / (2 + half) + 1) / 2),
    }
    assert found.per_query["query_id"] == ["q1", "q2"]
    assert found.per_query["R@2"].tolist() == [0.5, 1.0]
    for score in found.scores.values():
        assert score.low <= score.mean <= score.high
    assert found.counts == {
        "documents": 4,
        "queries": 3,
        "queries_scored": 2,
        "queries_unjudged": 1,
        "queries_without_results": 0,
        "judgments": 3,
        "judgments_of_unknown_documents": 0,
        "judgments_of_unknown_queries": 0,
        "judgments_repeated": 0,
    }
    assert found.warnings == ["1 queries unjudged", "a cut-off of 10 is beyond the 4 documents"]


def test_graded_measures_read_the_grades_and_the_others_the_binary_judgments():
    """By its binary judgments q1 asks for a alone; its grades stay those of b and c."""
    data = replace(DATA, binary=qrels(("q1", "a", 1), ("q1", "b", 0), ("q2", "d", 1)))
    found = judged(data, "nDCG@2", "Judged@2", "P@2", "RR@2", "R@2", "AP@2", "RP@2", "Success@1")
    half = 1 / np.log2(3)
    assert means(found) == {
        "nDCG@2": pytest.approx((2 * half / (2 + half) + 1) / 2),
        "Judged@2": 0.5,
        "P@2": 0.5,
        "RR@2": 1.0,
        "R@2": 1.0,
        "AP@2": 1.0,
        "RP@2": 1.0,
        "Success@1": 1.0,
    }
    assert means(judged(DATA, "RR@2", "Success@1")) == {"RR@2": 0.75, "Success@1": 0.5}


def grouped() -> Retrieval:
    """Two questions under two instructions each; one query is not judged."""
    queries = Queries(["q1", "q2", "q3", "q4"], ["one", "one too", "two", "two too"])
    judgments = [("q1", "a", 1), ("q2", "a", 1), ("q3", "b", 1)]
    return Retrieval(
        CORPUS, queries, Qrels.of(judgments, queries, CORPUS), groups=np.int64([4, 4, 9, 9])
    )


GROUPED_RUN = Run(
    np.int32([[0, 1], [1, 0], [1, 0], [2, 3]]), np.float32([[2, 1], [4, 3], [2, 1], [2, 1]])
)


def test_robustness_is_a_mean_of_the_worst_of_each_group():
    """q1 has nDCG 1 and q2, with its document second, 1 / log2(3); q4 does not count."""
    found = judged(grouped(), "Robustness@10", "nDCG@10", run=GROUPED_RUN)
    worst = 1 / np.log2(3)
    assert means(found) == {
        "Robustness@10": pytest.approx((worst + 1) / 2),
        "nDCG@10": pytest.approx((1 + worst + 1) / 3),
    }
    assert list(found.per_query) == ["query_id", "nDCG@10"]  # no value a query
    assert found.scores["Robustness@10"].low <= found.scores["Robustness@10"].mean


def test_merged_queries_are_scored_as_one_question():
    """Together q1 and q2 rank b (4) above a (3); the other group is q3 alone."""
    found = judged(grouped(), "MergedAP@10", "AP@10", run=GROUPED_RUN)
    assert means(found) == {
        "MergedAP@10": (1 / 2 + 1) / 2,
        "AP@10": pytest.approx((1 + 1 / 2 + 1) / 3),
    }


def test_p_mrr_is_a_mean_over_changed_queries():
    """q1 to q2: a falls from 1 to 2, so 1 - 1/2; q3 to q4: b falls out of two results, 1 - 1/3."""
    changes = Changes(np.int64([0, 2]), np.int64([1, 3]), np.int32([0, 1]))
    found = judged(replace(grouped(), changes=changes), "p-MRR", run=GROUPED_RUN)
    assert means(found) == {"p-MRR": pytest.approx((1 / 2 + 2 / 3) / 2)}


def test_p_mrr_of_no_change_is_not_defined():
    nothing = Changes(*(np.empty(0, kind) for kind in (np.int64, np.int64, np.int32)))
    assert means(judged(replace(DATA, changes=nothing), "p-MRR")) == {"p-MRR": None}


@pytest.mark.parametrize(
    ("measure", "line"),
    [
        ("Robustness@10", "Robustness@10 needs groups of queries, and this collection has none"),
        ("MergedAP@5", "MergedAP@5 needs groups of queries, and this collection has none"),
        ("p-MRR", "p-MRR needs changed instructions, and this collection has none"),
    ],
)
def test_a_measure_that_the_collection_cannot_have_is_refused(measure, line):
    with pytest.raises(InputError) as error:
        judged(DATA, measure)
    assert str(error.value) == line


def test_what_is_odd_is_counted_and_told():
    judgments = [
        ("q1", "a", 1),
        ("q1", "a", 1),
        ("q1", "gone", 1),
        ("q2", "b", 0),
        ("nobody", "a", 1),
    ]
    named = {"q1": ["a", "b", "gone"], "q2": ["c"], "q3": ["gone", "lost"]}
    data = replace(DATA, qrels=qrels(*judgments), candidates=Candidates.of(named, QUERIES, CORPUS))
    empty = Run(np.int32([[0], [-1], [-1]]), np.float32([[1], [0], [0]]))
    found = judged(data, "R@4", run=empty)
    assert found.scores["R@4"].mean == 1 / 4  # 1 of 2, and a query without anything relevant
    assert found.warnings == [
        "1 queries unjudged",
        "1 judgments of unknown documents, as 'gone'",
        "1 judgments of unknown queries, as 'nobody'",
        "1 judgments repeated",
        "2 queries with unknown candidates",
    ]
    assert found.counts["queries_without_results"] == 1
    assert found.counts["candidates"] == 3
    assert "passages" not in found.counts


def test_documents_are_counted_apart_from_their_passages():
    corpus = Corpus.of(["p1", "p2", "p3"], ["x", "y", "z"], ["d2", "d1", "d2"])
    queries = Queries(["q"], ["q"])
    data = Retrieval(corpus, queries, Qrels.of([("q", "d2", 1)], queries, corpus))
    found = judged(data, "RR@3", run=Run(np.int32([[0, 1]]), np.float32([[2, 1]])))
    assert means(found) == {"RR@3": 0.5}
    assert (found.counts["documents"], found.counts["passages"]) == (2, 3)
    assert found.warnings == ["a cut-off of 3 is beyond the 2 documents"]
