"""Relevance cut-off: curves by hand, against single thresholds, trec_eval and MTEB."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from harness.data import Corpus, Qrels, Queries, Retrieval
from harness.errors import InputError
from harness.measures.binary import average_precision
from harness.measures.thresholds import (
    WAYS,
    Pool,
    auroc,
    confidences,
    curve,
    halves,
    held_out,
    nauc,
    own_best,
    pool,
    return_above,
    unanswerable,
)
from harness.vectors import Run

DATA = Retrieval(
    corpus := Corpus.of(["d0", "d1", "d2"], ["", "", ""]),
    queries := Queries(["x", "y", "z", "unjudged"], [""] * 4),
    Qrels.of(
        zip("xxyyyz", ("d1", "d2", "d0", "d1", "d2", "d1"), (1, 2, 1, 0, 1, 1), strict=True),
        queries,
        corpus,
    ),
)
RUN = Run(
    np.array([[2, 0, 1], [1, 2, -1], [-1, -1, -1], [0, -1, -1]], np.int32),
    np.array([[0.75, 0.5, 0.25], [0.5, 0.375, 0], [0, 0, 0], [9, 0, 0]], np.float32),
)


def pairs(*queries: tuple[list[float], str, int]) -> Pool:
    """Scores of each query, which are relevant ("+-"), and how many are wanted."""
    scores = [score for each, _, _ in queries for score in each]
    relevant = [mark == "+" for _, marks, _ in queries for mark in marks]
    rows = np.repeat(np.arange(len(queries)), [len(each) for each, _, _ in queries])
    wanted = np.array([wanted for _, _, wanted in queries])
    return Pool(rows, np.array(scores, float), np.array(relevant, bool), wanted)


@st.composite
def pools(draw) -> Pool:
    """A few queries whose scores tie within and between them; some relevant ones are not listed."""
    queries = []
    for _ in range(draw(st.integers(1, 5))):
        scores = draw(st.lists(st.integers(0, 4), max_size=6))
        marks = "".join(draw(st.sampled_from("+-")) for _ in scores)
        missing = draw(st.integers(0, 2))
        queries.append((sorted(scores, reverse=True), marks, marks.count("+") + missing))
    return pairs(*queries)


def test_pairs_are_those_of_judged_queries():
    found = pool(RUN, DATA)
    assert found.query.tolist() == [0, 0, 0, 1, 1]
    assert found.score.tolist() == [0.75, 0.5, 0.25, 0.5, 0.375]
    assert found.relevant.tolist() == [True, False, True, False, True]
    assert found.wanted.tolist() == [2, 2, 1]


def test_a_curve_by_hand():
    found = curve(pool(RUN, DATA))
    assert found.threshold.tolist() == [0.75, 0.5, 0.375, 0.25]
    # 1, 3, 4 and 5 pairs are returned, of which 1, 1, 2 and 3 of the 5 relevant ones
    assert found.precision.tolist() == pytest.approx([1, 1 / 3, 1 / 2, 3 / 5])
    assert found.recall.tolist() == pytest.approx([0.2, 0.2, 0.4, 0.6])
    assert found.f1.tolist() == pytest.approx([2 / 6, 2 / 8, 4 / 9, 6 / 10])
    # F1 of x: 2/3, 1/2, 1/2, 4/5; of y: 0, 0, 1/2, 1/2; of z: 0
    assert found.mean_f1.tolist() == pytest.approx([2 / 9, 1 / 6, 1 / 3, 1.3 / 3])
    assert found.size.tolist() == pytest.approx([1 / 3, 1, 4 / 3, 5 / 3])
    assert found.empty.tolist() == pytest.approx([2 / 3, 1 / 3, 1 / 3, 1 / 3])
    assert found.wrong.tolist() == pytest.approx([0, 1 / 3, 0, 0])
    assert found.average_precision == pytest.approx(0.2 * 1 + 0.2 / 2 + 0.2 * 3 / 5)
    assert found.precision_at(0.2) == 1
    assert found.precision_at(0.4) == pytest.approx(0.6)
    assert found.precision_at(0.61) is None
    assert own_best(pool(RUN, DATA)).tolist() == pytest.approx([0.8, 0.5, 0])


def test_the_best_threshold_lies_halfway_to_the_next_score():
    found = curve(pairs(([4, 3, 1], "++-", 2), ([2], "-", 0)))
    assert found.best("f1") == 2.5
    assert found.best("mean_f1") == 2.5
    assert curve(pairs(([4], "+", 1))).best("f1") == 4
    nothing = curve(pairs(([], "", 1)))
    assert nothing.best("f1") == np.inf
    assert (len(nothing.threshold), nothing.average_precision) == (0, 0)


@given(pools())
def test_a_curve_is_what_each_of_its_thresholds_returns(some):
    found, q = curve(some), len(some.wanted)
    for at, threshold in enumerate(found.threshold):
        one = return_above(some, np.full(q, threshold))
        assert found.f1[at] == pytest.approx(one.f1)
        assert found.mean_f1[at] == pytest.approx(one.each_f1.mean())
        assert found.empty[at] == pytest.approx(one.empty)
        assert found.wrong[at] == pytest.approx(one.wrong)
        assert found.size[at] == pytest.approx(one.documents.mean())
        assert found.precision[at] == pytest.approx(one.hits.sum() / one.documents.sum())
    each = [return_above(some, np.full(q, threshold)).each_f1 for threshold in found.threshold]
    assert own_best(some).tolist() == pytest.approx(np.max([np.zeros(q), *each], axis=0).tolist())


@given(pools())
def test_the_area_is_average_precision_where_all_relevant_are_listed(some):
    if some.relevant.any():
        listed = replace(some, wanted=np.bincount(some.query[some.relevant], minlength=5))
        expected = average_precision(some.score, some.relevant)
        assert curve(listed).average_precision == pytest.approx(expected)


@pytest.mark.parametrize("threshold", [0.75, 0.5, 0.375, 0.25])
def test_f1_of_queries_is_trec_eval_s_set_f(threshold):
    pytrec_eval = pytest.importorskip("pytrec_eval")
    qrels = {"x": {"d1": 1, "d2": 2}, "y": {"d0": 1, "d2": 1, "d1": 0}, "z": {"d1": 1}}
    kept = {
        query: {f"d{doc}": float(s) for doc, s in zip(docs, scores, strict=True) if s >= threshold}
        for query, docs, scores in zip("xyz", RUN.docs, RUN.scores, strict=False)
    }
    found = pytrec_eval.RelevanceEvaluator(qrels, {"set_F"}).evaluate(kept)
    expected = [found.get(query, {"set_F": 0})["set_F"] for query in "xyz"]
    ours = return_above(pool(RUN, DATA), np.full(3, threshold)).each_f1
    assert ours.tolist() == pytest.approx(expected, abs=1e-9)


def test_ways_to_compare_scores():
    some = pairs(([5, 3], "+-", 1), ([2, 2], "--", 0), ([], "", 1), ([7], "+", 1))
    ways = {way: some.with_scores(way).score.tolist() for way in WAYS}
    assert ways == {
        "score": [5, 3, 2, 2, 7],
        "z-score": [1, -1, 0, 0, 0],
        "min-max": [1, 0, 0, 0, 0],
        "less the first": [0, -2, 0, 0, 0],
        "rank": [-1, -2, -1, -2, -1],
    }


def test_without_relevant_documents_the_others_move_up():
    left = unanswerable(RUN, DATA)
    assert left.docs.tolist() == [[0, -1, -1], [1, -1, -1], [-1] * 3, [0, -1, -1]]
    assert left.scores[:, 0].tolist() == [0.5, 0.5, 0, 9]


def test_binary_judgments_say_what_is_relevant():
    few = Qrels.of([("x", "d0", 1)], queries, corpus)
    data = Retrieval(corpus, queries, DATA.qrels, binary=few)
    assert pool(RUN, data).relevant.tolist() == [False, True, False, False, False]
    assert pool(RUN, data).wanted.tolist() == [1, 0, 0]
    assert unanswerable(RUN, data).docs[0].tolist() == [2, 1, -1]


def test_a_threshold_is_chosen_on_the_other_half():
    second = halves(6, seed=3)
    assert second.sum() == 3
    shifted = [([10.0, 9.0] if late else [1.0, 0.0], "+-", 1) for late in second]
    for found in held_out(pairs(*shifted), ("f1", "mean_f1"), seed=3):
        assert found.tolist() == [0.5 if late else 9.5 for late in second]


def test_a_threshold_needs_two_queries():
    with pytest.raises(InputError, match="one judged query: a threshold is chosen on half of them"):
        held_out(pairs(([1], "+", 1)), ("f1",), seed=0)
    with pytest.raises(InputError, match="1 answerable queries: AUROC compares two different"):
        auroc(np.ones(1), np.ones(1))


def test_confidences_by_hand():
    found = confidences(RUN)
    assert found["max"].tolist() == [0.75, 0.5, 0, 9]
    assert found["diff1"].tolist() == [0.25, 0.125, 0, 0]
    assert found["std"].tolist() == pytest.approx([0.25 * (2 / 3) ** 0.5, 0.0625, 0, 0])
    assert found["z"].tolist() == pytest.approx([1.5**0.5, 1, 0, 0])
    alone = confidences(Run(np.zeros((1, 1), np.int32), np.ones((1, 1), np.float32)))
    assert {name: value.tolist() for name, value in alone.items()} == {
        "max": [1], "std": [0], "diff1": [0], "z": [0],
    }  # fmt: skip


def test_abstention_by_hand():
    values = np.array([0.0, 1.0])
    assert nauc(np.array([1, 2]), values) == 1
    assert nauc(np.array([2, 1]), values) == -1
    assert nauc(np.array([1, 1]), values) == 0
    assert nauc(np.array([1, 2]), np.array([0.3, 0.3])) is None
    # of 10 queries one more is left out at each rate: the oracle's means are 45/10, 45/9, 44/8, ...
    ten = np.arange(10.0)
    swapped = np.array([1, 0, *range(2, 10)])
    # at the first rate 1 is left out in place of 0: a mean of 44/9; no other differs
    oracle = sum((4.5 + i / 2) * (0.5 if i in (0, 9) else 1) for i in range(10)) / 10 - 4.5 * 0.9
    assert nauc(swapped, ten) == pytest.approx((oracle - (5 - 44 / 9) / 10) / oracle)


@pytest.fixture(scope="module")
def abstention():
    """MTEB's module of measures of rankings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip("mteb")
        from mteb._evaluators import retrieval_metrics
    return retrieval_metrics


@pytest.mark.parametrize("seed", range(8))
def test_abstention_is_that_of_mteb(seed, abstention):
    random = np.random.default_rng(seed)
    q, k = int(random.integers(2, 60)), int(random.integers(1, 9))
    scores = -np.sort(-random.integers(0, 30, (q, k)).astype(np.float32) / 7, axis=1)
    docs = np.tile(np.arange(k, dtype=np.int32), (q, 1))
    docs[np.arange(k) >= random.integers(0, k + 1, q)[:, None]] = -1
    run = Run(docs, np.where(docs < 0, np.float32(0), scores))
    values = random.integers(0, 5, q) / 4
    results = {
        str(row): {str(doc): float(s) for doc, s in zip(*both, strict=True) if doc >= 0}
        for row, both in enumerate(zip(run.docs, run.scores, strict=True))
    }
    expected = abstention.evaluate_abstention(results, {"m": values.tolist()})
    for name, found in confidences(run).items():
        if name != "z":
            theirs = expected[f"nAUC_m_{name}"]
            assert nauc(found, values) == pytest.approx(theirs, abs=1e-9)


@given(st.integers(2, 7).flatmap(lambda q: arrays(np.float64, (2, q), elements=st.integers(0, 3))))
def test_auroc_is_the_share_of_pairs_in_order(both):
    (with_them, without), q = both, both.shape[1]
    order = [
        (with_them[i] > without[j]) + (with_them[i] == without[j]) / 2
        for i in range(q)
        for j in range(q)
        if i != j
    ]
    assert auroc(with_them, without).mean() == pytest.approx(np.mean(order))


def test_the_spread_of_an_auroc_is_its_sampling_error():
    random = np.random.default_rng(0)
    drawn = [random.normal([[0.8], [0.0]], 1, (2, 60)) for _ in range(400)]
    values = np.array([auroc(*one) for one in drawn])
    expected = values.mean(axis=1).std()
    errors = values.std(axis=1, ddof=1) / 60**0.5
    assert errors.mean() == pytest.approx(expected, rel=0.1)
