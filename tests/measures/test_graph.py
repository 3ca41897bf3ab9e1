from __future__ import annotations

from itertools import combinations
from math import comb

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from harness.data import Qrels
from harness.measures import graph
from harness.measures.graph import QrelGraph, qrel_graph
from harness.sources.files import rows
from harness.sources.folder import folder
from harness.sources.limit import limit
from tests.shared import shared


def qrels(*queries: dict[int, float]) -> Qrels:
    """Judgments of each query: gain by document row."""
    judged = [sorted(query.items()) for query in queries]
    return Qrels(
        np.cumsum([0, *map(len, judged)]),
        np.array([doc for query in judged for doc, _ in query], np.int32),
        np.array([gain for query in judged for _, gain in query], np.float32),
    )


def relevant(*queries: set[int]) -> Qrels:
    return qrels(*(dict.fromkeys(query, 1.0) for query in queries))


def test_graph_worked_by_hand():
    # Jaccard: 0-1 and 1-2 share one of three documents, 0-2 all; 3 stands alone
    found = qrel_graph(relevant({0, 1}, {1, 2}, {0, 1}, {3}))
    assert found.strength == pytest.approx((4 / 3 + 2 / 3 + 4 / 3 + 0) / 4)
    assert found.density == 3 / 6
    # documents 0-1 and 1-2 of the six pairs
    assert found.document_density == pytest.approx(2 / 6)
    assert (found.queries, found.documents) == (4, 4)


def test_only_gains_above_0_are_relevant_and_only_queries_with_one_count():
    plain = relevant({0, 1}, {1, 2})
    mixed = qrels({0: 2, 1: 0.5, 9: 0}, {}, {1: 1, 2: 1, 7: -1}, {0: 0, 1: -1})
    assert qrel_graph(mixed) == qrel_graph(plain)
    assert qrel_graph(plain) == QrelGraph(2, 3, pytest.approx(1 / 3), 1, pytest.approx(2 / 3))


def test_unknown_documents_are_shared_by_nobody_and_stay_in_the_denominator():
    one, two = [-1, 0], [-1, -1, 0]
    found = qrel_graph(
        Qrels(np.array([0, 2, 5]), np.array([*one, *two], np.int32), np.ones(5, np.float32))
    )
    assert (found.queries, found.documents, found.density) == (2, 4, 1)
    assert found.strength == pytest.approx(1 / 4)  # 1 of 2 + 3 - 1
    assert found.document_density == pytest.approx(4 / 6)


@pytest.mark.parametrize(
    ("queries", "expected"),
    [
        ([], QrelGraph(0, 0, 0, 0, 0)),
        ([set(), set()], QrelGraph(0, 0, 0, 0, 0)),
        ([{5}], QrelGraph(1, 1, 0, 0, 0)),
        ([{5}, {5}], QrelGraph(2, 1, 1, 1, 0)),
        ([{1}, {2}], QrelGraph(2, 2, 0, 0, 0)),
    ],
)
def test_graphs_without_pairs(queries: list[set[int]], expected: QrelGraph):
    assert qrel_graph(relevant(*queries)) == expected


@pytest.mark.parametrize("n", [4, 12, 46])
def test_closed_form_of_all_pairs(n: int):
    """Every pair of n documents is a query, and so shares one document with 2(n - 2) others."""
    found = qrel_graph(relevant(*map(set, combinations(range(n), 2))))
    assert found.strength == pytest.approx(2 * (n - 2) / 3)
    assert found.density == pytest.approx(2 * (n - 2) / (comb(n, 2) - 1))
    assert found.document_density == 1


def test_limit_is_as_entangled_as_published():
    found = qrel_graph(limit(docs=1000).qrels)
    assert found.strength == pytest.approx(28.4653, abs=5e-5)  # arXiv 2508.21038, appendix F
    assert found.density == pytest.approx(0.085481, abs=5e-7)
    # the closed form for k = 2 over m = 1,000 queries of degrees 45, 38 and 37
    squares = 37 * 45**2 + 2 * 38**2 + 7 * 37**2
    assert squares == 87_396
    assert found.strength == pytest.approx((squares - 2 * 1000) / 3000)
    assert round(found.density * comb(1000, 2)) == 42_698
    assert found.document_density == pytest.approx(1000 / 1035)  # not 1000 / C(1000, 2)
    assert (found.queries, found.documents) == (1000, 46)


def test_released_qrels_are_as_entangled_as_published():
    found = qrel_graph(folder(str(shared("limit-small"))).qrels)
    assert (found.strength, found.density) == pytest.approx((28.46533, 0.0854815), abs=5e-6)
    assert found.document_density == pytest.approx(1000 / 1035)


def test_released_full_qrels_are_as_entangled_as_published():
    numbers: dict[str, int] = {}
    sets: dict[str, set[int]] = {}
    for _, row in rows(shared("limit-qrels/qrels.jsonl")):
        document = numbers.setdefault(row["corpus-id"], len(numbers))
        sets.setdefault(row["query-id"], set()).add(document)
    found = qrel_graph(relevant(*sets.values()))
    assert (found.strength, found.density) == pytest.approx((28.46533, 0.0854815), abs=5e-6)
    assert found.document_density == pytest.approx(1000 / 1035)


def test_sparse_patterns_are_hardly_entangled():
    cycle = qrel_graph(limit(docs=2000, pattern="cycle").qrels)
    assert (cycle.strength, cycle.density) == pytest.approx((2 / 3, 2 / 999))
    disjoint = qrel_graph(limit(docs=2000, pattern="disjoint").qrels)
    assert disjoint == QrelGraph(1000, 2000, 0, 0, pytest.approx(1000 / comb(2000, 2)))


judgments = st.lists(
    st.dictionaries(st.integers(0, 8), st.sampled_from([-1.0, 0.0, 0.5, 3.0]), max_size=6),
    max_size=12,
)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(judgments, st.integers(1, 40))
@example([{0: 0.0}, {0: 3.0}], 1)
def test_graph_is_that_of_every_pair_in_turn(queries: list[dict[int, float]], block: int):
    sets = [{doc for doc, gain in query.items() if gain > 0} for query in queries]
    sets = [found for found in sets if found]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(graph, "BLOCK", block)
        found = qrel_graph(qrels(*queries))
    pairs = [(len(a & b) / len(a | b)) for a, b in combinations(sets, 2)]
    docs = sorted(set().union(*sets))
    together = [any({a, b} <= found for found in sets) for a, b in combinations(docs, 2)]
    assert (found.queries, found.documents) == (len(sets), len(docs))
    assert found.strength == pytest.approx(2 * sum(pairs) / max(len(sets), 1))
    assert found.density == pytest.approx(np.mean([p > 0 for p in pairs]) if pairs else 0)
    assert found.document_density == pytest.approx(np.mean(together) if together else 0)


def test_progress_ends_at_the_number_of_rows(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(graph, "BLOCK", 5)
    seen: list[tuple[str, int, int, str]] = []
    qrel_graph(relevant({0, 1}, {1, 2}, {2, 3}), progress=lambda *step: seen.append(step))
    assert seen[-1] == ("document graph", 4, 4, "rows")
    done = [step[1] for step in seen if step[0] == "query graph"]
    assert done[-1] == 3
    assert len(done) > 1
