from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from math import log2
from pathlib import Path

import numpy as np
import pytest
import pytrec_eval
from hypothesis import example, given, settings
from hypothesis import strategies as st

from harness.data import Corpus, Qrels, Queries
from harness.measures.asked import Measure
from harness.measures.judged import find
from harness.sources import trec
from harness.vectors import Run, ranking
from tests.shared import shared

Scores = Mapping[str, Mapping[str, float]]  # by query, by document
RETRIEVAL = ("nDCG", "AP", "RR", "R", "P", "RP", "Success", "Judged")  # at a cut-off


@dataclass(frozen=True)
class Case:
    """A run and its judgments, packed."""

    queries: Queries
    qrels: Qrels
    run: Run

    def values(self, measure: str) -> np.ndarray:
        parsed = Measure.parse(measure)
        found = parsed.values(find(self.run, self.qrels))
        assert found.dtype == np.float64
        assert found.shape == (len(self.queries),)
        return found

    def value(self, measure: str) -> float:
        """Of the first query."""
        return float(self.values(measure)[0])


def case(results: Scores, judgments: Scores, documents: Iterable[str], k: int = 100) -> Case:
    corpus = Corpus.of(sorted(documents), sorted(documents))
    queries = Queries(list(results), list(results))
    scores = np.zeros((len(queries), len(corpus)), np.float32)
    rows = np.full(scores.shape, -1)
    for query, found in enumerate(results.values()):
        for document, score in found.items():
            row = corpus.row(document)
            scores[query, row], rows[query, row] = score, row
    run = ranking.unpack(ranking.best(ranking.pack(scores, rows), k))
    triples = [(q, d, gain) for q, row in judgments.items() for d, gain in row.items()]
    return Case(queries, Qrels.of(triples, queries, corpus), run)


def ordered(ranked: str, judgments: Mapping[str, float], documents: str = "abcdefgh") -> Case:
    """One query whose results are the letters of `ranked`, best first."""
    return case(
        {"q": {letter: -place for place, letter in enumerate(ranked)}},
        {"q": judgments},
        documents,
    )


# --- by hand ------------------------------------------------------------------------------------

# Results b a d c; a is worth 3, e (not found) 2, c 1; d is judged 0, b is not judged.
BY_HAND = ordered("badc", {"a": 3, "c": 1, "d": 0, "e": 2})
IDEAL = 3 + 2 / log2(3) + 1 / log2(4)


@pytest.mark.parametrize(
    ("measure", "expected"),
    [
        ("nDCG@1", 0),
        ("nDCG@2", (3 / log2(3)) / (3 + 2 / log2(3))),  # the ideal is cut off as well
        ("nDCG@3", (3 / log2(3)) / IDEAL),
        ("nDCG@4", (3 / log2(3) + 1 / log2(5)) / IDEAL),
        ("nDCG@100", (3 / log2(3) + 1 / log2(5)) / IDEAL),
        ("AP@1", 0),
        ("AP@3", (1 / 2) / 3),
        ("AP@4", (1 / 2 + 2 / 4) / 3),
        ("R@1", 0),
        ("R@3", 1 / 3),
        ("R@100", 2 / 3),
        ("P@1", 0),
        ("P@2", 1 / 2),
        ("P@4", 2 / 4),
        ("P@10", 2 / 10),
        ("RR@1", 0),
        ("RR@2", 1 / 2),
        ("RR@100", 1 / 2),
        ("Success@1", 0),
        ("Success@2", 1),
        ("RP@2", 1 / 2),
        ("RP@3", 1 / 3),
        ("RP@10", 2 / 3),
        ("Judged@1", 0),
        ("Judged@3", 2 / 3),
        ("Judged@4", 3 / 4),
        ("Judged@10", 3 / 10),
        ("Rprec", 1 / 3),  # a, among the first three
        ("bpref", (1 + 0) / 3),  # d, the only wrong one, stands between a and c
        ("RBP(p=0.5)", 0.5 * (0.5 + 0.125)),  # a second, c fourth
        ("RBP(p=0.5)@3", 0.5 * 0.5),
        # satisfied by a with 7/8 at rank 2, by c with 1/8 at rank 4
        ("ERR@3", 7 / 8 / 2),
        ("ERR@10", 7 / 8 / 2 + 1 / 8 * 1 / 8 / 4),
        ("ERR(top=4)@10", 7 / 16 / 2 + 9 / 16 * 1 / 16 / 4),
    ],
)
def test_by_hand(measure, expected):
    assert BY_HAND.value(measure) == pytest.approx(expected, abs=1e-15)


def test_ndcg_as_a_decimal():
    # 3 * 0.6309298 = 1.8927893; ideal 3 + 1.2618595 + 0.5 = 4.7618595
    assert BY_HAND.value("nDCG@3") == pytest.approx(1.8927893 / 4.7618595, abs=1e-7)


ORDERED_MEASURES = ("nDCG@6", "AP@6", "RR@6", "nDCG@2", "P@2", "R@2", "RP@2", "Success@1")


@pytest.mark.parametrize("measure", ORDERED_MEASURES)
def test_a_reversed_ranking_scores_less(measure):
    judgments = {"a": 2, "b": 1}
    straight, turned = ordered("abcdef", judgments), ordered("fedcba", judgments)
    assert straight.value(measure) == 1
    assert turned.value(measure) < 0.6


@pytest.mark.parametrize("name", [name for name in RETRIEVAL if name != "Judged"])
def test_the_ideal_ranking_scores_1_at_the_number_of_relevant_documents(name):
    assert ordered("cab", {"c": 3, "a": 2, "b": 1}).value(f"{name}@3") == pytest.approx(1)


@pytest.mark.parametrize("name", list(RETRIEVAL))
def test_padding_matches_no_unknown_document(name):
    empty = case({"q": {}}, {"q": {"unknown": 1, "unknown too": 2}}, "ab", k=5)
    assert (empty.run.docs == -1).all()
    assert empty.qrels.docs.tolist() == [-1, -1]
    assert empty.value(f"{name}@5") == 0
    short = case({"q": {"a": 1}}, {"q": {"unknown": 1, "a": 1}}, "ab", k=5)
    assert short.value("R@5") == 0.5
    assert short.value("Judged@5") == 0.2


@pytest.mark.parametrize("name", list(RETRIEVAL))
def test_nothing_relevant_scores_0(name):
    unjudged = ordered("abc", {})
    assert unjudged.value(f"{name}@3") == 0
    assert not unjudged.qrels.judged.any()
    bad = ordered("abc", {"a": 0, "b": -2})
    assert bad.value(f"{name}@3") == (pytest.approx(2 / 3) if name == "Judged" else 0)


def test_a_judgment_counts_for_its_own_query_only():
    two = case({"p": {"a": 1}, "q": {"a": 1, "b": 0}}, {"p": {"b": 1}, "q": {"a": 1}}, "ab")
    assert two.values("RR@10").tolist() == [0, 1]
    assert two.values("Judged@1").tolist() == [0, 1]


def test_fractional_gains_are_linear():
    # (0.25 / log2(3)) / 0.25 where the one relevant document comes second
    assert ordered("ba", {"a": 0.25}).value("nDCG@5") == pytest.approx(1 / log2(3), abs=1e-15)


# --- trec_eval's own expected outputs -----------------------------------------------------------

TREC_NAMES = {"ndcg_cut": "nDCG", "map_cut": "AP", "recall": "R", "P": "P", "success": "Success"}
WHOLE = {"map": "AP", "recip_rank": "RR", "ndcg": "nDCG"}  # without a cut-off: no run is longer


Printed = dict[tuple[str, str], tuple[Measure, str]]


def expected_outputs(path: Path) -> Printed:
    """Measure and printed value, by trec_eval's name of the measure and query id or "all"."""
    found = {}
    for line in path.read_text("utf-8").splitlines():
        name, query, value = line.split("\t")
        name = name.strip()
        cut = re.fullmatch(r"(ndcg_cut|map_cut|recall|P|success)_(\d+)", name)
        if cut:
            found[name, query] = Measure(TREC_NAMES[cut[1]], int(cut[2])), value
        elif name in WHOLE:
            found[name, query] = Measure(WHOLE[name], 1000), value
    return found


def trec_case(qrels_file: str, run_file: str, k: int, *, whole_corpus: bool = True) -> Case:
    """trec_eval's test data; the corpus is what the run found, and what is judged if `whole`."""
    qrels_path, run_path = shared(f"trec_eval/{qrels_file}"), shared(f"trec_eval/{run_file}")
    judgments = [line.split()[:4] for line in qrels_path.read_text("utf-8").splitlines()]
    documents = {line.split()[2] for line in run_path.read_text("utf-8").splitlines()}
    if whole_corpus:
        documents |= {document for _, _, document, _ in judgments}
    corpus = Corpus.of(sorted(documents), sorted(documents))
    ids = sorted({query for query, *_ in judgments})
    queries = Queries(ids, ids)
    qrels = Qrels.of(trec.read_qrels(qrels_path, queries, corpus), queries, corpus)
    run, notes = trec.read_run(run_path, queries, corpus, k)
    assert notes == []
    return Case(queries, qrels, run)


def assert_printed(found: Case, expected: Printed) -> None:
    wrong = {}
    for (name, query), (measure, printed) in expected.items():
        values = found.values(str(measure))
        value = values.mean() if query == "all" else values[found.queries.rows[query]]
        if f"{value:.4f}" != printed:
            wrong[name, query] = (float(value), printed)
    assert wrong == {}


@pytest.mark.parametrize("whole_corpus", [True, False])
@pytest.mark.parametrize(
    ("output", "run_file", "k"),
    [
        ("out.test.aq", "results.test", 1000),
        ("out.test.aqc", "results.trunc", 1000),
        ("out.test.aqcM", "results.trunc", 100),
    ],
)
def test_trec_eval_prints_the_same_rprec_and_bpref(output, run_file, k, whole_corpus):
    lines = shared(f"trec_eval/{output}").read_text("utf-8").splitlines()
    rows = [[cell.strip() for cell in line.split("\t")] for line in lines]
    expected = {
        (name, query): (Measure(name), value)
        for name, query, value in rows
        if name in ("Rprec", "bpref")
    }
    assert len(expected) == 4 * 2
    assert_printed(trec_case("qrels.test", run_file, k, whole_corpus=whole_corpus), expected)


# per query and mean: 9 cut-offs each of P, recall, ndcg_cut and map_cut, 3 of success, 3 without
PER_QUERY = 4 * (4 * 9 + 3 + 3)


@pytest.mark.parametrize("whole_corpus", [True, False])
@pytest.mark.parametrize(
    ("output", "run_file", "k", "checked"),
    [
        ("out.test.aq", "results.test", 1000, PER_QUERY),
        ("out.test.a", "results.test", 1000, PER_QUERY // 4),
        ("out.test.meas_params", "results.test", 2000, 4 * (3 + 2 + 3 + 3)),
        # -c: query 302 is missing from the run, scores 0 and stays in the mean
        ("out.test.aqc", "results.trunc", 1000, PER_QUERY),
        # -M 100: no more than 100 results a query
        ("out.test.aqcM", "results.trunc", 100, PER_QUERY),
    ],
)
def test_trec_eval_prints_the_same(output, run_file, k, checked, whole_corpus):
    expected = expected_outputs(shared(f"trec_eval/{output}"))
    assert len(expected) == checked
    assert_printed(trec_case("qrels.test", run_file, k, whole_corpus=whole_corpus), expected)


def test_trec_eval_prints_the_same_for_graded_judgments():
    # -l 2: binary measures take gains of at least 2 as relevant; nDCG takes the gains as they are
    expected = expected_outputs(shared("trec_eval/out.test.aql"))
    assert len(expected) == PER_QUERY
    graded = trec_case("qrels.rel_level", "results.test", 1000)
    assert set(graded.qrels.gains.tolist()) == {-1, 0, 1, 2, 3, 4}
    gains = np.where(graded.qrels.gains >= 2, graded.qrels.gains, 0).astype(np.float32)
    binary = replace(graded, qrels=replace(graded.qrels, gains=gains))
    for found, of_gains in ((graded, True), (binary, False)):
        kept = {key: it for key, it in expected.items() if (it[0].name == "nDCG") == of_gains}
        assert len(kept) == (4 * 10 if of_gains else PER_QUERY - 4 * 10)
        assert_printed(found, kept)


# --- against pytrec_eval ------------------------------------------------------------------------

# ids whose order differs by length, by case, by UTF-16 and by locale
IDS = ("10", "9", "a", "Z", "zz", "é", "\ue000", "\U0001f600", "doc-1", "doc_1", "-", "%20")
UNKNOWN = ("unknown-1", "00", "~")
CUTOFFS = (1, 2, 3, 5, 10, 100)
# equal, equal as float32 only, one float32 apart, extreme
SCORES = (0.0, -0.0, 0.1, 0.1 + 1e-10, 1.0, 1 + 1e-9, 1.0000001192092896, -1.0, 1e-45, 3e38, -3e38)

scores = st.one_of(st.sampled_from(SCORES), st.floats(-(2.0**126), 2.0**126, width=32))
results = st.lists(st.dictionaries(st.sampled_from(IDS), scores), min_size=1, max_size=5)
gains = st.integers(-1, 4)  # below -1 trec_eval writes beyond its arrays, and crashes
judged = st.lists(
    st.dictionaries(st.sampled_from(IDS + UNKNOWN), gains, max_size=12), min_size=5, max_size=5
)
REFERENCE = {
    "nDCG": "ndcg_cut",
    "AP": "map_cut",
    "R": "recall",
    "P": "P",
    "Success": "success",
}


def reference(results: Scores, judgments: Scores) -> dict[str, dict[str, float]]:
    """pytrec_eval's values by query and measure; 0 for a query without results."""
    cuts = ",".join(map(str, CUTOFFS))
    names = {f"{name}.{cuts}" for name in REFERENCE.values()} | {"recip_rank", "Rprec", "bpref"}
    kept = {query: dict(row) for query, row in judgments.items() if row}
    evaluator = pytrec_eval.RelevanceEvaluator(kept, names)
    found = evaluator.evaluate({q: dict(row) for q, row in results.items() if row and q in kept})
    expected = {}
    for query, row in kept.items():
        raw = found.get(query, {})
        values = {
            f"{ours}@{k}": raw.get(f"{theirs}_{k}", 0.0)
            for ours, theirs in REFERENCE.items()
            for k in CUTOFFS
        }
        first = raw.get("recip_rank", 0.0)
        relevant = sum(gain > 0 for gain in row.values())
        for k in CUTOFFS:
            values[f"RR@{k}"] = first if first * k >= 1 - 1e-9 else 0.0
            hits = values[f"P@{k}"] * k
            values[f"RP@{k}"] = hits / min(k, relevant) if relevant else 0.0
        values |= {name: raw.get(name, 0.0) for name in ("Rprec", "bpref")}
        expected[query] = values
    return expected


TIED = dict.fromkeys(IDS, 1.0)


@settings(max_examples=250, deadline=None, derandomize=True)
@given(results, judged, st.sampled_from([100, 5, 12]))
@example([TIED, {}, TIED], [{"10": 1, "é": 1}, {"a": 1}, {"unknown-1": 1}, {}, {}], 100)
@example([TIED, TIED], [{"a": -1, "Z": 0}, {"a": 4, "Z": 2, "00": 3}, {}, {}, {}], 5)
def test_pytrec_eval_agrees(found, judgments, k):
    run = {f"q{i}": row for i, row in enumerate(found)}
    qrels = dict(zip(run, judgments, strict=False))
    ours = case(run, qrels, IDS, k)
    expected = reference(run, qrels)
    assert ours.qrels.judged.tolist() == [query in expected for query in run]
    for i, query in enumerate(run):
        for measure, value in expected.get(query, {}).items():
            cutoff = Measure.parse(measure).cutoff or len(IDS)
            if cutoff <= k:  # a run cut at k knows nothing beyond
                got = ours.values(measure)[i]
                assert got == pytest.approx(value, abs=1e-9), (query, measure)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(results, judged)
def test_how_bad_a_document_is_makes_no_difference(found, judgments):
    run = {f"q{i}": row for i, row in enumerate(found)}
    qrels = dict(zip(run, judgments, strict=False))
    worse = {
        q: {d: -7 if gain < 0 else gain for d, gain in row.items()} for q, row in qrels.items()
    }
    for name in RETRIEVAL:
        one, other = (case(run, which, IDS).values(f"{name}@5") for which in (qrels, worse))
        assert one.tolist() == other.tolist()


@settings(max_examples=60, deadline=None, derandomize=True)
@given(results, judged)
def test_judged_counts_results_that_have_a_judgment(found, judgments):
    run = {f"q{i}": row for i, row in enumerate(found)}
    qrels = dict(zip(run, judgments, strict=False))
    ours = case(run, qrels, IDS)
    expected = [len(run[query].keys() & qrels[query].keys()) / 20 for query in run]
    assert ours.values("Judged@20").tolist() == expected


def test_pytrec_eval_agrees_on_many_queries_at_once():
    random = np.random.default_rng(11)
    documents = [str(i) for i in range(300)]
    run = {
        f"q{q}": {
            d: float(np.round(random.normal(), 1)) for d in random.choice(documents, 80, False)
        }
        for q in range(200)
    }
    qrels = {
        f"q{q}": {d: int(random.integers(-1, 4)) for d in random.choice(documents, 40, False)}
        for q in range(200)
        if q % 7
    }
    ours, expected = case(run, qrels, documents), reference(run, qrels)
    for measure in ("nDCG@10", "nDCG@100", "AP@100", "R@100", "P@5", "RR@10", "RP@10", "Success@1"):
        values = dict(zip(run, ours.values(measure), strict=True))
        wanted = {query: row[measure] for query, row in expected.items()}
        assert {query: values[query] for query in wanted} == pytest.approx(wanted, abs=1e-9)
    assert len(expected) == 171  # 200 less the 29 multiples of 7 below 200
