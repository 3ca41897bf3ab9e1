"""From vectors to a run: candidates, passages, a query's own document, feedback."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from harness.data import Candidates, Corpus, Qrels, Queries, Retrieval
from harness.errors import InputError
from harness.indexes import Found
from harness.indexes.exact import Exact
from harness.pipeline.retrieve import Searchable, retrieve
from harness.progress import silent
from harness.rewriting import Feedback
from harness.rewriting.rm3 import RM3
from harness.rewriting.vector_prf import Average
from harness.vectors import Dense, Embeddings, Representation, Run, Sparse


@dataclass
class Searching:
    """An exact search that notes how deep it is asked."""

    documents: Embeddings
    depths: list[int] = field(default_factory=list)

    def search(self, queries: Embeddings, k: int, progress: object) -> Found:
        self.depths.append(k)
        return Exact().open(self.documents).search(queries, k, silent)


@dataclass
class Watching(Feedback):
    """Feedback that changes nothing and keeps the first search."""

    accepts: ClassVar[tuple[Representation, ...]] = ("dense",)
    counts: ClassVar[bool] = False
    depth: int = 2
    seen: list[list[list[int]]] = field(default_factory=list)

    def expand(
        self, queries: Embeddings, documents: Embeddings, run: Run, progress: object
    ) -> Embeddings:
        self.seen.append(run.docs.tolist())
        return queries


def collection(
    values: Sequence[Sequence[float]],
    queries: Sequence[str] = ("q",),
    *,
    parents: Sequence[str] | None = None,
    candidates: Mapping[str, Sequence[str]] | None = None,
) -> Searchable:
    """Documents "0", "1", ... with these vectors [n, d] ("00", ... where more than ten)."""
    digits = len(str(len(values) - 1))
    ids = [f"{row:0{digits}}" for row in range(len(values))]
    corpus, asked = Corpus.of(ids, ids, parents), Queries(queries, queries)
    judged = Qrels.of([(queries[0], corpus.ranked[0], 1)], asked, corpus)
    data = Retrieval(corpus, asked, judged)
    if candidates is not None:
        data = replace(data, candidates=Candidates.of(candidates, asked, corpus))
    documents = Dense(np.float32(values))
    return Searchable(data, documents, Searching(documents))


def line(*scores: float) -> list[list[float]]:
    """Vectors whose inner product with (1,) is the score."""
    return [[score] for score in scores]


def ones(q: int = 1) -> Dense:
    return Dense(np.ones((q, 1), np.float32))


def found(run: Run) -> list[list[int]]:
    return run.docs.tolist()


def test_the_best_documents_by_the_ranking_rule():
    run = retrieve(ones(), collection(line(1, 3, 2, 3)), 3, progress=silent).run
    assert (found(run), run.scores.tolist()) == ([[3, 1, 2]], [[3, 3, 2]])


def test_a_depth_beyond_the_corpus_is_cut_to_it():
    assert found(retrieve(ones(), collection(line(1, 3, 2)), 9, progress=silent).run) == [[1, 2, 0]]


# -- candidates ------------------------------------------------------------------------------------


def test_only_candidates_are_ranked():
    named = {"a": ["0", "2"], "c": ["2", "1", "gone"]}
    asked = collection(line(1, 3, 2), ("a", "b", "c"), candidates=named)
    run = retrieve(ones(3), asked, 9, progress=silent).run
    assert found(run) == [[2, 0], [-1, -1], [1, 2]]
    assert run.scores.tolist() == [[2, 1], [0, 0], [3, 2]]
    assert asked.searcher.depths == []
    assert found(retrieve(ones(3), asked, 1, progress=silent).run) == [[2], [-1], [1]]


def test_candidates_of_passages_are_refused():
    asked = collection(line(1, 2), parents=["d", "d"], candidates={"q": ["d"]})
    with pytest.raises(InputError) as error:
        retrieve(ones(), asked, 1, progress=silent)
    assert str(error.value) == ("the collection has candidates and passages: expected one of them")


# -- passages --------------------------------------------------------------------------------------


def test_documents_rank_by_their_best_passage():
    """Passages 0 and 1 of x score 1 and 5, 2 of y 3, 3 and 4 of z 2 and 4."""
    asked = collection(line(1, 5, 3, 2, 4), parents=list("xxyzz"))
    run = retrieve(ones(), asked, 9, progress=silent).run
    assert (found(run), run.scores.tolist()) == ([[0, 2, 1]], [[5, 4, 3]])
    assert found(retrieve(ones(), asked, 2, progress=silent).run) == [[0, 2]]


def test_a_tie_across_the_depth_is_searched_deeper():
    """Twelve passages tie at 1. The first search of 4 finds the last four, all of document a,
    whose only equal, z with passage 0, has the higher row and must win.
    """
    asked = collection(line(*[1] * 12), parents=["z", *["a"] * 11])
    run = retrieve(ones(), asked, 1, progress=silent).run
    assert (found(run), run.scores.tolist()) == ([[1]], [[1]])
    assert asked.searcher.depths == [4, 12]


def test_one_document_with_many_passages_hides_no_other():
    """The ten best passages are of one document: the second is found by searching deeper."""
    asked = collection(line(*range(30)), parents=[*"bcdefghijklmnopqrstu", *["a"] * 10])
    run = retrieve(ones(), asked, 2, progress=silent).run
    assert (found(run), run.scores.tolist()) == ([[0, 20]], [[29, 19]])
    assert asked.searcher.depths == [8, 30]


def test_it_is_searched_no_deeper_than_needed():
    asked = collection(line(*range(30)), parents=[f"{row:02}" for row in range(30)])
    assert found(retrieve(ones(), asked, 2, progress=silent).run) == [[29, 28]]
    assert asked.searcher.depths == [8]


@given(
    st.lists(st.tuples(st.integers(0, 3), st.sampled_from("abcde")), min_size=1, max_size=40),
    st.integers(1, 6),
)
def test_passages_are_ranked_as_if_all_of_them_were_searched(passages, depth):
    scores, parents = zip(*passages, strict=True)
    asked = collection(line(*scores), parents=parents)
    best = {p: max(s for s, q in passages if q == p) for p in set(parents)}
    known = sorted(best)
    expected = sorted(best, key=lambda p: (best[p], p), reverse=True)[:depth]
    run = retrieve(ones(), asked, depth, progress=silent).run
    assert found(run) == [[known.index(p) for p in expected]]


# -- a query's own document ------------------------------------------------------------------------


def test_a_query_s_own_document_is_left_out_and_another_takes_its_place():
    asked = collection(line(1, 3, 2), ("1", "x"))
    run = retrieve(ones(2), asked, 2, exclude_self=True, progress=silent).run
    assert found(run) == [[2, 0], [1, 2]]


@pytest.mark.parametrize("depth", [3, 9])
def test_who_has_no_own_document_loses_none_where_all_are_found(depth):
    asked = collection(line(1, 3, 2), ("1", "x"))
    run = retrieve(ones(2), asked, depth, exclude_self=True, progress=silent).run
    assert found(run) == [[2, 0, -1], [1, 2, 0]]
    named = {"1": ["0", "1", "2"], "x": ["0", "1", "2"]}
    asked = collection(line(1, 3, 2), ("1", "x"), candidates=named)
    run = retrieve(ones(2), asked, depth, exclude_self=True, progress=silent).run
    assert found(run) == [[2, 0, -1], [1, 2, 0]]


def test_an_own_document_is_left_out_with_all_its_passages():
    asked = collection(line(1, 5, 3, 2, 4), ("x", "0"), parents=list("xxyzz"))
    run = retrieve(ones(2), asked, 9, exclude_self=True, progress=silent).run
    assert found(run) == [[2, 1, -1], [0, 2, 1]]  # "0" names a passage, not a document


# -- feedback --------------------------------------------------------------------------------------


def test_queries_move_towards_what_a_first_search_found():
    """q (1, 0) finds 0, which is at 45 degrees; their mean (1, 0.5) likes 1 better than 2."""
    asked = collection([[1, 1], [0, 1], [0.4, 0]])
    query = Dense(np.float32([[1, 0]]))
    assert found(retrieve(query, asked, 3, progress=silent).run) == [[0, 2, 1]]
    run = retrieve(query, asked, 3, feedback=Average(depth=1), progress=silent).run
    assert found(run) == [[0, 1, 2]]
    assert run.scores.tolist() == [[1.5, 0.5, np.float32(0.4)]]
    assert query.values.tolist() == [[1, 0]]


@pytest.mark.parametrize("exclude_self", [False, True])
def test_feedback_sees_no_own_document(exclude_self):
    feedback = Watching()
    asked = collection(line(1, 3, 2), ("1", "x"))
    retrieve(ones(2), asked, 1, exclude_self=exclude_self, feedback=feedback, progress=silent)
    own = [2, 0] if exclude_self else [1, 2]
    assert feedback.seen == [[own, [1, 2]]]


@pytest.mark.parametrize("exclude_self", [False, True])
def test_feedback_sees_passages_but_none_of_the_own_document(exclude_self):
    """Of x are the passages 1 and 0, which score 5 and 1, of y 2, of z 4 and 3."""
    feedback = Watching(depth=3)
    asked = collection(line(1, 5, 3, 2, 4), ("x", "z", "0"), parents=list("xxyzz"))
    run = retrieve(
        ones(3), asked, 2, exclude_self=exclude_self, feedback=feedback, progress=silent
    ).run
    if exclude_self:
        assert feedback.seen == [[[4, 2, 3], [1, 2, 0], [1, 4, 2]]]
        assert found(run) == [[2, 1], [0, 1], [0, 2]]
    else:
        assert feedback.seen == [[[1, 4, 2]] * 3]
        assert found(run) == [[0, 2]] * 3


def test_feedback_on_candidates_sees_candidates():
    feedback = Watching(depth=2)
    asked = collection(line(1, 3, 2), ("a", "1"), candidates={"a": ["0"], "1": ["0", "1"]})
    retrieve(ones(2), asked, 5, exclude_self=True, feedback=feedback, progress=silent)
    assert feedback.seen == [[[0, -1], [0, -1]]]


def test_term_counts_are_what_rm3_reads():
    """q asks for term 0; document 0, the only one with it, is mostly term 1, as document 1 is."""
    plain = collection(line(0, 0, 0))
    documents = Sparse(csr_matrix(np.float32([[1, 1, 0], [0, 1, 0], [0, 0, 1]])))
    counts = Sparse(csr_matrix(np.float32([[1, 3, 0], [0, 9, 0], [0, 0, 9]])))
    asked = Searchable(plain.data, documents, Searching(documents), counts)
    query = Sparse(csr_matrix(np.float32([[1, 0, 0]])))
    assert found(retrieve(query, asked, 3, progress=silent).run) == [[0, -1, -1]]
    run = retrieve(query, asked, 3, feedback=RM3(), progress=silent).run
    # half of the query's (1, 0, 0) and half of the document's (1/4, 3/4, 0)
    assert found(run) == [[0, 1, -1]]
    assert run.scores.tolist() == [[1, 0.375, 0]]
    with pytest.raises(InputError) as error:
        retrieve(query, replace(asked, counts=None), 3, feedback=RM3(), progress=silent)
    assert str(error.value) == ("this rewriting needs term counts, which bm25 gives: choose bm25")
