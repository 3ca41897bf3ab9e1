"""Rankings of several as one: ranks, scores, weights, feedback."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.api import evaluate
from harness.errors import InputError
from harness.pipeline.single import Ranked
from harness.records import SystemRecord
from harness.store import Store
from harness.systems import RETRIEVERS, resolve, split_index
from harness.systems.fusion import by_rank, by_score, normalise
from harness.vectors import Run
from tests.fakes import beir
from tests.shared import shared

DOCUMENTS = {"a": "red apple", "b": "green apple pie", "c": "blue car", "d": "red car", "e": "sea"}
QUERIES = {"q1": "red apple", "q2": "a blue car on the sea"}
JUDGMENTS = [("q1", "a", 1), ("q2", "c", 1), ("q2", "e", 1)]


@pytest.fixture
def small(tmp_path) -> str:
    return beir(tmp_path / "small", DOCUMENTS, QUERIES, JUDGMENTS)


def run(*rows: dict[int, float]) -> Run:
    """A run of documents with their scores, best first, padded."""
    k = max(map(len, rows))
    docs = np.full((len(rows), k), -1, np.int32)
    scores = np.zeros((len(rows), k), np.float32)
    for i, row in enumerate(rows):
        docs[i, : len(row)], scores[i, : len(row)] = list(row), list(row.values())
    return Run(docs, scores)


def ranked(found: Run, least: float | None = None) -> Ranked:
    return Ranked(found, SystemRecord(spec="x", full="x", fingerprint={}), least=least)


def test_reciprocal_ranks_by_hand():
    """Document 2 is 2nd and 1st: 1/62 + 1/61; 7 is 1st once, 3 is 2nd once; 7 and 3 tie below."""
    found = by_rank([run({7: 9.0, 2: 5.0}, {7: 1.0}), run({2: 0.3, 3: 0.1}, {3: 4.0})], 60, 3)
    assert found.docs.tolist() == [[2, 7, 3], [7, 3, -1]]
    assert found.scores[0] == pytest.approx([1 / 62 + 1 / 61, 1 / 61, 1 / 62])
    assert found.scores[1].tolist() == [np.float32(1 / 61), np.float32(1 / 61), 0]


def test_scores_between_the_lowest_and_the_highest():
    values, floor = normalise(ranked(run({4: 8.0, 1: 6.0, 0: 4.0}, {2: 3.0}, {})), "min-max")
    assert values[0].tolist() == [1.0, 0.5, 0.0]
    assert values[1, 0] == 1.0
    assert floor.tolist() == [0, 0, 0]


def test_z_scores_are_of_the_results_of_a_query():
    """8, 6, 4: mean 6, deviation sqrt(8/3); what is not found is as bad as the worst."""
    values, floor = normalise(ranked(run({4: 8.0, 1: 6.0, 0: 4.0}, {2: 3.0})), "z-score")
    assert values[0] == pytest.approx([1.5**0.5, 0, -(1.5**0.5)])
    assert floor == pytest.approx([-(1.5**0.5), 0])


def test_theoretical_bounds_start_at_the_lowest_possible_score():
    values, floor = normalise(ranked(run({4: 0.6, 1: 0.2}), least=-1.0), "theoretical")
    assert values[0] == pytest.approx([1, 0.75])
    assert floor.tolist() == [0]
    with pytest.raises(InputError, match="the scores of x have no lowest one"):
        normalise(ranked(run({4: 0.6})), "theoretical")


def test_a_weighted_sum_by_hand():
    first, second = run({1: 2.0, 0: 1.0}), run({2: 10.0, 0: 8.0})
    scores = [each.scores.astype(np.float64) for each in (first, second)]
    found = by_score([first, second], scores, [np.zeros(1), np.full(1, 6.0)], (0.75, 0.25), 4)
    assert found.docs.tolist() == [[1, 0, 2, -1]]  # 1.5 + 1.5, 0.75 + 2, 0 + 2.5
    assert found.scores.tolist() == [[3.0, 2.75, 2.5, 0.0]]


rows = st.dictionaries(st.integers(0, 8), st.integers(-5, 5).map(float), max_size=6)


@given(st.lists(st.tuples(rows, rows), min_size=1, max_size=3), st.integers(1, 12))
def test_ranks_of_any_two_runs(pairs, k):
    """Beside the definition, with one dictionary a query."""

    def sorted_run(each: list[dict[int, float]]) -> Run:
        best = [sorted(row.items(), key=lambda item: (-item[1], -item[0])) for row in each]
        return (
            run(*map(dict, best))
            if any(each)
            else Run(np.full((len(each), 1), -1, np.int32), np.zeros((len(each), 1), np.float32))
        )

    runs = [sorted_run([pair[i] for pair in pairs]) for i in (0, 1)]
    found = by_rank(runs, 60, k)
    for row in range(len(pairs)):
        sums: dict[int, float] = {}
        for one in runs:
            for rank, doc in enumerate(one.docs[row], 1):
                if doc >= 0:
                    sums[int(doc)] = sums.get(int(doc), 0) + 1 / (60 + rank)
        exact = {doc: np.float32(value) for doc, value in sums.items()}
        expected = sorted(exact, key=lambda doc: (-exact[doc], -doc))[:k]
        assert found.docs[row][found.docs[row] >= 0].tolist() == expected


def test_a_hybrid_is_recorded_with_its_parts(small, tmp_path):
    store = Store(tmp_path / "store")
    found = evaluate("rrf:bm25+hashing", small, measures=["R@1"], store=store, latency=2)
    record, phases = found.record, [phase.label for phase in found.record.phases]
    assert record.name == "rrf:bm25+hashing"
    assert record.system.full == "rrf:bm25+hashing,depth=1000,interpolate=after,k=60"
    assert [part["fingerprint"].get("k1") for part in record.system.fingerprint["parts"]] == [
        1.5,
        None,
    ]
    assert {"bm25: encode", "hashing: encode documents", "bm25: search", "search fusion"} <= set(
        phases
    )
    assert [part.system for part in record.parts] == ["bm25", "hashing"]
    assert [part.counts["documents"] for part in record.parts] == [5, 5]
    assert record.index.bytes == sum(part.bytes for part in record.parts)
    assert record.latency.queries == 2
    alone = evaluate("bm25", small, measures=["R@1"], store=store)
    assert found.run.docs[0, 0] == alone.run.docs[0, 0]


def test_all_weight_on_one_is_that_one(small, tmp_path):
    store = Store(tmp_path / "store")
    found = evaluate("convex:hashing+bm25,weights=1+0", small, measures=["nDCG@10"], store=store)
    alone = evaluate("hashing", small, measures=["nDCG@10"], store=store)
    assert found.run.docs.tolist() == alone.run.docs.tolist()
    assert found.record.weights == [1, 0]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("rrf:bm25", r"expected retrievers with \+ between, as bm25\+minilm"),
        ("rrf:bm25+bm25", "bm25 occurs twice"),
        ("rrf:bm25+minilm,k=-1", "k=-1: expected 0 or more"),
        ("rrf:bm25+minilm,depth=0", "depth=0: expected at least 1"),
        ("convex:bm25+minilm,weights=1", "weights=1: expected 2 numbers"),
        ("convex:bm25+minilm,weights=1+x", "expected 2 numbers"),
        ("convex:bm25+minilm,weights=0+0", "not all 0"),
        ("convex:bm25+minilm,weights=-1+2", "none below 0"),
        ("convex:bm25+minilm,weights=1+1,tune=dev", "expected one of them"),
        ("convex:a+b+c+d,tune=dev", "weights of 4 are not tuned"),
        ("convex:bm25+minilm,norm=softmax", "expected one of min-max"),
    ],
)
def test_a_wrong_combination_is_refused(spec, message):
    with pytest.raises(InputError, match=message):
        RETRIEVERS.create(spec)


def test_an_unknown_part_is_named(small):
    with pytest.raises(InputError, match=r"unknown encoder 'bm52'. Did you mean 'bm25'"):
        evaluate("rrf:bm25+bm52", small)


def test_parts_with_an_index_or_parameters_stand_in_brackets(small, tmp_path):
    store = Store(tmp_path / "store")
    record = evaluate("rrf:[hashing@int8]+[bm25,k1=0.9]+hashing", small, store=store).record
    parts = [(part.system, part.index.full) for part in record.parts]
    exact = "exact,block=262144"
    expected = [("hashing@int8", "int8,oversample=0"), ("bm25,k1=0.9", exact), ("hashing", exact)]
    assert parts == expected
    assert "bm25,k1=0.9: search" in [phase.label for phase in record.phases]


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("rff:bm25+minilm", r"unknown model 'rff'. Did you mean 'rrf'\?"),
        ("rrf:bm25+nothing", "unknown model 'nothing'"),
        ("rrf:bm25+[minilm@int9]", r"unknown index 'int9'. Did you mean 'int8'\?"),
        ("minilm@int8,step=2", "unknown parameter of int8 'step'"),
        ("rrf:bm25,k1=0.9+minilm", r"'k1'.*a part with commas stands in brackets, as rrf:\[bm25"),
        ("rrf:bm25+bm25", "bm25 occurs twice"),
        ("rrf:bm25+[bm25]", "bm25 occurs twice"),
        ("rerank:minilm,first=nothing", "unknown model 'nothing'"),
        ("rerank:cross:x,first=[rrf:bm25]", r"expected retrievers with \+ between"),
        ("rerank:[cross:x,length=3]", "unknown parameter of cross 'length'"),
        ("cross:x,max_length=9", r"expected rerank:\[cross:x,max_length=9\],first=bm25"),
    ],
)
def test_what_is_wrong_in_any_part_is_said_at_once(model, message):
    with pytest.raises(InputError, match=message):
        resolve(model)


def test_both_registries_are_one_to_the_user():
    assert (
        str(resolve("rrf:bm25+minilm,k=10")) == "rrf:bm25+minilm,depth=1000,interpolate=after,k=10"
    )
    assert resolve("minilm").name == "st"


@pytest.fixture
def split(tmp_path) -> str:
    """A collection with queries of its own for tuning; hashing is right there, bm25 is not."""
    folder = tmp_path / "split"
    task = beir(folder, DOCUMENTS, {**QUERIES, "d1": "apples and pies"}, JUDGMENTS)
    (folder / "qrels" / "dev.tsv").write_text("query-id\tcorpus-id\tscore\nd1\tb\t1\n")
    return task


def test_weights_are_chosen_on_another_split(split, tmp_path):
    store = Store(tmp_path / "store")
    found = evaluate("convex:hashing+bm25,tune=dev", split, measures=["RR@10"], store=store)
    weights = found.record.weights
    assert sum(weights) == pytest.approx(1)
    assert found.record.system.fingerprint["weights"] == weights
    assert "tuning: bm25: search" in [phase.label for phase in found.record.phases]


@pytest.mark.parametrize("name", ["test", "copy"])
def test_the_measured_queries_choose_no_weights(split, tmp_path, name):
    folder = tmp_path / "split" / "qrels"
    (folder / "copy.tsv").write_bytes((folder / "test.tsv").read_bytes())
    with pytest.raises(InputError, match=f"tune={name}: these queries are measured with, or are"):
        evaluate(f"convex:hashing+bm25,tune={name}", split, store=Store(tmp_path / "store"))


def test_a_task_without_splits_tunes_nothing(tmp_path):
    with pytest.raises(InputError, match="limit has no splits: no dev to read"):
        evaluate("convex:hashing+bm25,tune=dev", "limit,docs=9,queries=2,k=1")


@pytest.mark.parametrize("interpolate", ["after", "before", "both"])
def test_feedback_around_a_combination(small, tmp_path, interpolate):
    """Only the part whose vectors a rewriting takes is moved."""
    store = Store(tmp_path / "store")
    spec = f"convex:bm25+hashing,interpolate={interpolate}"
    found = evaluate(spec, small, rewrite="average", measures=["nDCG@10"], store=store)
    weights = found.record.weights
    assert weights == ([1.0] if interpolate == "before" else [0.5, 0.5])
    assert found.record.rewriting.spec == "average"


def test_feedback_looks_at_what_was_combined_before(tmp_path):
    """hashing alone finds "the" thrice and is moved there; bm25 leaves it out and finds the zebra:
    q = (the .949, zebra .316), moved by a to (.474, .512, stripes .354), nearer to a than to b.
    """
    documents = {"a": "zebra stripes", "b": "the the the", "c": "grass", "d": "blue"}
    task = beir(tmp_path / "x", documents, {"q": "the the the zebra"}, [("q", "a", 1)])
    spec = "convex:bm25+hashing,weights=0.9+0.1,interpolate="
    first = {}
    for model in ("hashing", f"{spec}before", f"{spec}both", f"{spec}after"):
        found = evaluate(
            model, task, rewrite="average,depth=1", measures=["RR@10"],
            store=Store(tmp_path / "store"),
        )  # fmt: skip
        first[model] = found.run.docs[0, 0]
    assert list(first.values()) == [1, 0, 0, 0]
    scores = found.run.scores[0]
    assert scores[0] == pytest.approx(0.9 + 0.1 * 0.158 * 0.707 / 0.974, abs=0.02)


def test_rewriting_that_fits_no_part_is_refused(small, tmp_path):
    with pytest.raises(InputError, match="has no part that rm3 fits"):
        evaluate("rrf:hashing+[hashing,dim=32]", small, rewrite="rm3", store=Store(tmp_path))


def test_a_combination_gives_no_vectors(tmp_path):
    with pytest.raises(InputError, match=r"only ranks, and .* is a task of pairs"):
        evaluate("rrf:bm25+minilm", f"pairs:{shared('sts-b')}")


def test_a_model_may_name_its_index(small, tmp_path):
    store = Store(tmp_path / "store")
    found = evaluate("hashing,dim=32@faiss:Flat", small, measures=["R@1"], store=store).record
    assert found.name == "hashing,dim=32 @ faiss:Flat"
    asked = evaluate("hashing,dim=32", small, "faiss:Flat", measures=["R@1"], store=store).record
    assert asked.id == found.id


def test_each_part_may_be_served_by_its_own_index(small, tmp_path):
    store, options = Store(tmp_path / "store"), {"measures": ["R@1"]}
    spec = "rrf:bm25+[hashing,dim=32]@[faiss:Flat]"
    found = evaluate(spec, small, **options, store=store).record
    indexes = [part["index"] for part in found.system.fingerprint["parts"]]
    assert indexes[0].startswith("exact")
    assert indexes[1].startswith("faiss:Flat")
    plain = evaluate("rrf:bm25+[hashing,dim=32]", small, **options, store=store).record
    assert plain.id != found.id


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("minilm@int8", ("minilm", "int8")),
        (
            "[st:a,dtype=float16]@[binary,rescore=4]",
            ("st:a,dtype=float16", "[binary,rescore=4]"),
        ),
        ("[minilm@int8]", ("minilm", "int8")),
        ("st:me@home/model", ("st:me@home/model", None)),
        ("st:me@home/model@exact", ("st:me@home/model", "exact")),
        ("rrf:bm25+[minilm@hnsw]", ("rrf:bm25+[minilm@hnsw]", None)),
    ],
)
def test_where_the_index_of_a_model_stands(text, expected):
    assert split_index(text) == expected
