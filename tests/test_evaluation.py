"""The whole pipeline: published values, what is counted, what is refused, what is repeated."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest

import harness
from harness import records
from harness.api import evaluate, evaluate_run
from harness.data import Role
from harness.encoders import ENCODERS, Encoded
from harness.encoders.hashing import Hashing
from harness.errors import EncodingError, InputError
from harness.indexes.exact import DenseSearcher
from harness.pipeline.phases import Clock, peak_mb
from harness.rewriting import REWRITERS, Rewritten, TextRewriter
from harness.store import Store
from harness.tasks import catalog
from tests.fakes import Counting, beir
from tests.shared import shared

DOCUMENTS = {"a": "red apple", "b": "green apple pie", "c": "blue car", "d": "red car"}


@pytest.fixture
def small(tmp_path) -> str:
    queries = {"q1": "red apple", "q2": "car", "q3": "nobody judged this"}
    judgments = [("q1", "a", 2), ("q1", "b", 1), ("q2", "c", 1), ("q2", "gone", 1), ("q9", "a", 1)]
    return beir(tmp_path / "small", DOCUMENTS, queries, judgments)


def means(record: records.Record) -> dict[str, float | None]:
    return {name: score.mean for name, score in record.scores.items()}


def test_minilm_on_limit_small_meets_the_published_values(packaged):
    task = f"folder:{shared('limit-small')}"
    record = evaluate("minilm", task, measures=["R@2", "R@10", "R@20"]).record
    assert means(record) == {
        "R@2": pytest.approx(0.1620, abs=2e-4),
        "R@10": pytest.approx(0.4805, abs=2e-4),
        "R@20": pytest.approx(0.6945, abs=2e-4),
    }
    assert (record.counts["documents"], record.counts["queries_scored"]) == (46, 1000)


def test_bm25_on_limit_small_meets_the_published_values_exactly():
    task = f"folder:{shared('limit-small')}"
    record = evaluate("bm25", task, measures=["R@2", "R@10", "R@20"]).record
    assert means(record) == {"R@2": 0.978, "R@10": 1.0, "R@20": 1.0}


def test_minilm_on_sts_b_meets_the_published_value(packaged):
    record = evaluate("minilm", f"pairs:{shared('sts-b')}").record
    assert record.main_measure == "cosine_spearman"
    assert record.main.mean == pytest.approx(0.820325, abs=2e-4)
    assert record.main.low < record.main.mean < record.main.high
    assert record.counts["pairs"] == 1379
    assert record.counts["sentences"] == 2758
    assert record.counts["sentences_distinct"] == 2552


def test_minilm_on_xquad_meets_the_published_value(packaged):
    record = evaluate("minilm", f"folder:{shared('xquad-en')}").record
    assert record.main_measure == "nDCG@10"
    assert record.main.mean == pytest.approx(0.94357, abs=2e-4)
    assert record.counts["documents_truncated"] == 20


def test_scores_worked_out_by_hand(small):
    """Bags of words: q1 finds a (cosine 1); q2 finds d before c, by 0.71 each and the later id."""
    found = evaluate("hashing,dim=65536", small, measures=["RR@10", "R@1", "R@2", "P@2", "nDCG@2"])
    assert found.run.docs[:2].tolist() == [[0, 3, 1, 2], [3, 2, 1, 0]]
    ideal, half = 2 + 1 / np.log2(3), 1 / np.log2(3)
    assert means(found.record) == {
        "RR@10": (1 + 0.5) / 2,
        "R@1": (0.5 + 0) / 2,
        "R@2": (0.5 + 0.5) / 2,
        "P@2": (0.5 + 0.5) / 2,
        "nDCG@2": pytest.approx((2 / ideal + half / (1 + half)) / 2),
    }
    assert found.per_query["query_id"] == ["q1", "q2"]
    assert found.per_query["R@1"].tolist() == [0.5, 0.0]


def test_what_is_left_out_is_counted_and_told(small):
    record = evaluate("hashing", small).record
    qrels = f"{small.removeprefix('folder:')}/qrels/test.tsv"
    expected = {
        "documents": 4,
        "queries": 3,
        "queries_scored": 2,
        "queries_unjudged": 1,
        "queries_without_results": 0,
        "judgments": 4,
        "judgments_of_unknown_documents": 1,
        "judgments_of_unknown_queries": 1,
        "judgments_repeated": 0,
        "documents_tokens": 9,
    }
    assert {name: record.counts[name] for name in expected} == expected
    assert {
        "1 queries unjudged",
        f"1 judgments of unknown documents, as 'gone' ({qrels}:5)",
        f"1 judgments of unknown queries, as 'q9' ({qrels}:6)",
    } <= set(record.warnings)


def test_a_query_without_results_scores_zero_and_is_counted(tmp_path):
    queries = {"q1": "apple", "q2": "zebra"}
    task = beir(tmp_path / "data", DOCUMENTS, queries, [("q1", "a", 1), ("q2", "b", 1)])
    record = evaluate("bm25", task, measures=["R@10", "RR@10"]).record
    assert record.counts["queries_without_results"] == 1
    assert record.scores["R@10"].mean == 0.5


def test_a_cut_off_beyond_the_corpus_is_told_and_harmless(small):
    record = evaluate("hashing", small, measures=["R@1000", "R@4"]).record
    assert record.scores["R@1000"].mean == record.scores["R@4"].mean == 0.75
    assert "a cut-off of 1,000 is beyond the 4 documents" in record.warnings
    assert record.depth == 1000
    assert not any(
        "cut-off" in w for w in evaluate("hashing", small, measures=["R@4"]).record.warnings
    )


@pytest.mark.parametrize(("words", "ties"), [([], 1), (["red", "blue"], 1 / 3)])
def test_ties_at_the_cut_off_are_told(small, words, ties):
    """A collapsed model; and one of which "red apple" finds two equal documents, "car" one."""

    def few(texts: list[str]) -> np.ndarray:
        split = [text.split() for text in texts]
        return np.float32([[1, *(word in text for word in words)] for text in split])

    record = evaluate(few, small, measures=["R@1", "R@2"]).record
    said = (
        "100% of the queries have a tie at the cut-off of 1: which of the documents count is "
        "decided by their ids"
    )
    assert record.ties == ties
    assert (said in record.warnings) is (ties == 1)


def test_a_query_that_is_a_document_is_not_its_own_answer(tmp_path):
    queries = {"a": DOCUMENTS["a"], "d": DOCUMENTS["d"], "x": "blue"}
    task = beir(
        tmp_path / "data", DOCUMENTS, queries, [("a", "b", 1), ("d", "c", 1), ("x", "c", 1)]
    )
    plain = evaluate("hashing,dim=65536", task, measures=["P@1", "R@3"])
    assert plain.run.docs[:, 0].tolist() == [0, 3, 2]
    assert plain.record.scores["P@1"].mean == pytest.approx(1 / 3)
    assert not plain.record.task.exclude_self

    without = evaluate("hashing,dim=65536", f"{task},exclude_self=true", measures=["P@1", "R@3"])
    assert without.run.docs.shape == (3, 3)
    assert without.run.docs.tolist() == [[3, 1, 2], [2, 0, 1], [2, 3, 1]]
    assert without.record.scores["R@3"].mean == 1.0
    assert without.record.task.exclude_self
    assert without.record.id != plain.record.id


def test_exclude_self_holds_for_run_files_too(tmp_path):
    queries = {"a": "red apple"}
    task = beir(tmp_path / "data", DOCUMENTS, queries, [("a", "b", 1)])
    path = tmp_path / "own.run"
    path.write_text("a Q0 a 1 9 x\na Q0 b 2 8 x\na Q0 c 3 7 x\n")
    scores = [
        means(evaluate_run(path, spec, measures=["P@1", "RR@2"]).record)
        for spec in (task, f"{task},exclude_self=true")
    ]
    assert scores == [{"P@1": 0.0, "RR@2": 0.5}, {"P@1": 1.0, "RR@2": 1.0}]


def test_labels_between_0_and_1_are_relevant(tmp_path):
    """LIMIT with grades of a half: nothing is rounded to not relevant."""
    limit = catalog.task("limit,docs=20,queries=20,k=2,pattern=cycle").load()
    judged = zip(limit.qrels.query_rows, limit.qrels.docs, strict=True)
    task = beir(
        tmp_path / "data",
        dict(zip(limit.corpus.ids, limit.corpus.texts, strict=True)),
        dict(zip(limit.queries.ids, limit.queries.texts, strict=True)),
        [
            (limit.queries.ids[query], limit.corpus.ids[doc], 0.5 if row % 2 else 0.01)
            for row, (query, doc) in enumerate(judged)
        ],
    )
    measures = ["R@2", "P@2", "RR@10", "AP@10"]
    found = evaluate("bm25", task, measures=measures)
    assert sorted(set(found.data.qrels.gains.tolist())) == [np.float32(0.01), 0.5]
    whole = evaluate("bm25", "limit,docs=20,queries=20,k=2,pattern=cycle", measures=measures)
    assert means(found.record) == means(whole.record)
    assert found.record.main.mean > 0.9


def test_a_rewriting_of_vectors_is_searched_with_and_recorded(small):
    """q2 "car" finds d "red car", and moves to half of both."""
    plain = evaluate("hashing,dim=65536", small, measures=["R@2"])
    found = evaluate("hashing,dim=65536", small, rewrite="average,depth=1", measures=["R@2"])
    assert found.record.rewriting == records.RewritingRecord(
        spec="average,depth=1", full="average,depth=1", details={}
    )
    assert plain.record.rewriting is None
    assert found.record.id != plain.record.id
    cos = 0.5**0.5  # of "car" with d and with c, "blue car"
    assert plain.run.docs[1].tolist() == found.run.docs[1].tolist() == [3, 2]
    assert plain.run.scores[1] == pytest.approx([cos, cos])
    assert found.run.scores[1] == pytest.approx([(cos + 1) / 2, (cos + 1 / 2) / 2])
    assert found.record.task.fingerprint == plain.record.task.fingerprint


@pytest.fixture
def shouting():
    """A rewriting of texts that is registered for one test."""

    @REWRITERS.register("shouting")
    @dataclass(frozen=True)
    class Shouting(TextRewriter):
        """Says everything with another word before it."""

        word: str = "loud"

        def rewrite(self, texts, progress, *, root=None):
            assert root is not None
            return Rewritten([f"{self.word} {text}" for text in texts])

        def describe(self):
            return {"by": "hand"}

    yield
    del REWRITERS._entries["shouting"]


@pytest.mark.usefixtures("shouting")
def test_a_rewriting_of_texts_is_encoded_and_recorded(small):
    encoder = Counting()
    found = evaluate(encoder, small, rewrite="shouting", measures=["R@2"])
    assert set(encoder.seen) - set(DOCUMENTS.values()) == {
        "loud car",
        "loud red apple",
        "loud nobody judged this",
    }
    assert found.record.rewriting.full == "shouting,word=loud"
    assert found.record.rewriting.details == {"by": "hand"}
    assert "rewrite" in [phase.label for phase in found.record.phases]
    assert found.data.queries.texts[0] == "red apple"  # the task stays what it is
    plain = evaluate(Counting(), small, measures=["R@2"]).record
    assert found.record.task.fingerprint == plain.task.fingerprint


def test_term_counts_are_made_for_a_rewriting_that_needs_them(small):
    found = evaluate("bm25", small, rewrite="rm3", measures=["R@2"]).record
    assert found.rewriting.full == "rm3,depth=10,terms=10,weight=0.5"


def test_a_rewriting_that_does_not_fit_is_refused(small, tmp_path):
    with pytest.raises(InputError) as error:
        evaluate("hashing", small, rewrite="rm3")
    assert str(error.value) == (
        "hashing makes dense vectors and rm3 takes sparse: choose another rewriting"
    )
    (tmp_path / "test.csv").write_text("sentence1,sentence2,score\na,b,5\nc,d,4\n")
    with pytest.raises(InputError) as error:
        evaluate("hashing", f"pairs:{tmp_path}", rewrite="average")
    assert str(error.value) == "a task of pairs is not searched: rewrite plays no part"
    with pytest.raises(InputError, match="unknown rewriting 'averag'"):
        evaluate("hashing", small, rewrite="averag")


LABELLED = [("cat cat cat purr", "c"), ("cat cat cat", "c"), ("dog dog dog", "d"), ("dog dog", "d")]


@pytest.mark.parametrize(
    ("kind", "main", "counts"),
    [
        (
            "classification",
            "accuracy",
            {"training_texts": 4, "training_texts_drawn": 4, "test_texts": 4, "labels": 2},
        ),
        ("clustering", "v_measure", {"texts": 4, "texts_drawn": 4, "levels": 1}),
    ],
)
def test_labelled_texts_are_judged_as_their_kind(tmp_path, kind, main, counts):
    """Texts of one label lie close together and far from the others: nothing is mistaken."""
    lines = "".join(f"{text},{label}\n" for text, label in LABELLED)
    for name in ("train", "test"):
        (tmp_path / f"{name}.csv").write_text(f"text,label\n{lines}")
    found = evaluate("hashing,dim=64", f"{kind}:{tmp_path}")
    record = found.record
    assert (record.task.kind, record.task.family, record.main_measure) == (kind, kind, main)
    assert record.main.mean == pytest.approx(1)
    assert {name: record.counts[name] for name in counts} == counts
    assert (record.depth, record.index, found.run) == (None, None, None)
    assert records.Record.model_validate_json(record.model_dump_json()) == record
    with pytest.raises(InputError) as error:
        evaluate("bm25", f"{kind}:{tmp_path}")
    assert str(error.value) == (
        f"bm25 makes sparse vectors and {kind}:{tmp_path} is a task of {kind}: "
        "choose a model that makes dense vectors"
    )
    with pytest.raises(InputError, match=f"nDCG@10 does not fit {kind}:.*, a task of {kind}"):
        evaluate("hashing", f"{kind}:{tmp_path}", measures=["nDCG@10"])


def test_a_run_as_wide_as_its_longest_ranking_loses_the_querys_own_document_only(tmp_path):
    judgments = [("a", "b", 1), ("c", "d", 1), ("b", "d", 1)]
    task = beir(tmp_path / "data", DOCUMENTS, DOCUMENTS, judgments)
    path = tmp_path / "own.run"
    path.write_text("a Q0 a 1 9 t\na Q0 b 2 8 t\nc Q0 d 1 7 t\nb Q0 c 1 6 t\nb Q0 d 2 5 t\n")
    for cut in (2, 10, 10**9):
        record = evaluate_run(path, f"{task},exclude_self=true", measures=[f"R@{cut}"]).record
        assert record.main.mean == 1


def test_a_run_that_lacks_judged_queries(tmp_path):
    judgments = [("q1", "a", 1), ("q2", "c", 1)]
    task = beir(tmp_path / "data", DOCUMENTS, {"q1": "red", "q2": "car"}, judgments)
    half, other, none = (tmp_path / f"{name}.run" for name in ("half", "other", "none"))
    half.write_text("q1 Q0 a 1 0.9 t\n")
    record = evaluate_run(half, task, measures=["nDCG@1"]).record
    assert record.main.mean == 0.5
    lacks = "half.run has no results for 1 of 2 judged queries, which score 0, as 'q2'"
    assert lacks in record.warnings
    other.write_text("q1.1 Q0 a 1 2 t\nq2.1 Q0 c 1 2 t\n")
    with pytest.raises(InputError) as caught:
        evaluate_run(other, task)
    assert str(caught.value) == (
        f"{other} has no results for the 2 judged queries, as 'q1': 2 lines of other.run with "
        f"unknown queries, as 'q1.1' ({other}:1)"
    )
    none.write_text("")
    with pytest.raises(InputError, match=r"none\.run has no results for the 2 judged queries"):
        evaluate_run(none, task)


def test_a_run_file_ranks_nothing_for_a_task_without_documents(tmp_path):
    (tmp_path / "test.csv").write_text("sentence1,sentence2,score\na,b,5\nc,d,4\n")
    (tmp_path / "some.run").write_text("q Q0 d 1 1 x\n")
    with pytest.raises(InputError) as error:
        evaluate_run(tmp_path / "some.run", f"pairs:{tmp_path}")
    assert str(error.value) == (f"pairs:{tmp_path} is a task of pairs: a run file ranks documents")


def test_an_encoder_and_a_task_that_do_not_fit_name_both(tmp_path):
    path = tmp_path / "test.jsonl"
    rows = [json.dumps({"sentence1": "a", "sentence2": "b", "score": i}) for i in range(3)]
    path.write_text("\n".join(rows))
    with pytest.raises(InputError) as error:
        evaluate("bm25,k1=2", f"pairs:{path}")
    assert str(error.value) == (
        "bm25,k1=2 weighs terms by a corpus, and the task has only pairs of sentences: "
        "choose a model that makes dense vectors"
    )
    with pytest.raises(InputError, match=r"nDCG@10 does not fit pairs:.*, a task of pairs"):
        evaluate("hashing", f"pairs:{path}", measures=["nDCG@10"])


def test_a_measure_of_pairs_does_not_fit_retrieval(small):
    with pytest.raises(InputError, match=r"cosine_spearman does not fit folder:.* of retrieval"):
        evaluate("hashing", small, measures=["cosine_spearman"])


def test_an_index_that_does_not_take_what_the_encoder_makes_names_both(small, monkeypatch):
    from harness.indexes.exact import Exact

    monkeypatch.setattr(Exact, "accepts", ("dense",))
    with pytest.raises(InputError) as error:
        evaluate("bm25", small, "exact,block=9")
    assert str(error.value) == (
        "bm25 makes sparse vectors and index exact,block=9 takes dense: choose another index"
    )


def test_a_number_of_queries_below_zero_is_refused():
    with pytest.raises(InputError, match="latency=-1: expected a whole number from 0"):
        evaluate("hashing", "limit-small", latency=-1)


def test_an_encoder_that_returns_nan_is_an_encoding_error(small, tmp_path):
    class Broken(Counting):
        def vector(self, text, role):
            return np.full(4, np.nan, np.float32)

    with pytest.raises(EncodingError, match="returned NaN or infinity for 4 of 4 texts"):
        evaluate(Broken(), small, store=Store(tmp_path / "store"))


@pytest.mark.parametrize("encoder", ["hashing,dim=64", "bm25,k1=0.9,b=0.4", "hashing"])
def test_a_record_recreates_its_run(encoder, tmp_path):
    task = "limit,docs=80,queries=30,k=2,attributes=6"
    first = evaluate(encoder, task, measures=["nDCG@10", "R@5"]).record
    again = evaluate(
        first.system.full,
        first.task.source,
        first.index.full,
        measures=list(first.scores),
        seed=int(first.bootstrap["seed"]),
        store=Store(tmp_path / "empty"),
    ).record
    assert again.id == first.id
    assert again.scores == first.scores
    assert again.task.fingerprint == first.task.fingerprint


def test_a_record_says_what_searched(monkeypatch):
    task, search = "limit,docs=40,queries=9,k=2,attributes=5", DenseSearcher.search
    first = evaluate("hashing", task).record
    assert (first.index.device, "it was sooner" in first.warnings) == ("cpu", False)

    def told(self, queries, k, progress):
        found = search(self, queries, k, progress)
        return replace(found, notes=("it was sooner",), devices=("cuda:0", "cuda:1"))

    monkeypatch.setattr(DenseSearcher, "search", told)
    second = evaluate("hashing", task).record
    assert second.index.device == "cuda:0+cuda:1"
    assert set(second.warnings) - set(first.warnings) == {"it was sooner"}
    assert (second.id, second.scores) == (first.id, first.scores)


def test_the_id_tells_apart_what_may_score_differently():
    task = "limit,docs=40,queries=9,k=2,attributes=5"
    ids = [
        evaluate(encoder, spec, index, measures=measures).record.id
        for encoder, spec, index, measures in [
            ("hashing", task, "exact", ["R@2"]),
            ("hashing,dim=128", task, "exact", ["R@2"]),
            ("hashing", f"{task},seed=1", "exact", ["R@2"]),
            ("hashing", task, "exact", ["R@3"]),
            ("bm25", task, "exact", ["R@2"]),
        ]
    ]
    assert len(set(ids)) == 5
    assert evaluate("hashing", task, "exact", measures=["R@2"], seed=4).record.id == ids[0]


def test_a_measure_asked_twice_is_one(small):
    assert list(evaluate("hashing", small, measures=["R@2", "R@2"]).record.scores) == ["R@2"]


def test_phases_are_timed_and_counted(small, tmp_path):
    record = evaluate("hashing", small, store=Store(tmp_path / "store")).record
    assert [(phase.label, phase.items, phase.unit) for phase in record.phases] == [
        ("load data", 0, ""),
        ("load store", 0, ""),
        ("load model", 0, ""),
        ("encode documents", 4, "texts"),
        ("encode queries", 3, "texts"),
        ("build", 4, "documents"),
        ("search", 3, "queries"),
        ("score", 3, "queries"),
    ]
    for phase in record.phases:
        assert 0 < phase.wall_s < 60
        assert 0 <= phase.cpu_s < 60
        assert 10 < phase.peak_mb < 100_000
    warm = evaluate("hashing", small, store=Store(tmp_path / "store")).record
    assert "load model" not in [phase.label for phase in warm.phases]
    assert warm.counts["documents_encoded_now"] == 0
    assert warm.scores == record.scores


def test_a_clock_tells_when_a_phase_begins_and_leaves_out_one_that_fails():
    told = []
    clock = Clock(lambda *report: told.append(report))
    with clock.phase("load", "one", items=5, unit="texts"):
        big = np.ones(30_000_000, np.uint8)
    with pytest.raises(ZeroDivisionError), clock.phase("score", "two"):
        _ = 1 // 0
    assert told == [("load one", 0, 0, ""), ("score two", 0, 0, "")]
    assert [phase.label for phase in clock.phases] == ["load one"]
    assert clock.phases[0].peak_mb > len(big) / 2**20
    assert 10 < peak_mb() < 100_000


def test_vectors_in_the_store_stay_raw(small, tmp_path):
    """Normalising for the search must not reach what another task reads."""
    store, encoder = Store(tmp_path / "store"), ENCODERS.create("hashing,dim=64")
    evaluate("hashing,dim=64", small, store=store)
    plan = store.plan(encoder, ["red apple", "green apple pie"], "document")
    assert len(plan.missing) == 0
    expected = encoder.encode(["red apple", "green apple pie"], "document").values
    np.testing.assert_array_equal(plan.fetch().encoded.values, expected)


def test_dot_product_models_are_not_normalised(tmp_path):
    """The long document wins by inner product and loses by cosine."""
    documents = {"a": "apple apple apple car", "b": "apple"}
    task = beir(tmp_path / "data", documents, {"q": "apple"}, [("q", "a", 1)])

    class Dot(Hashing):
        similarity = "dot"

        def fingerprint(self):
            return {"algorithm": "dot"}

    cosine = evaluate("hashing", task, measures=["P@1"])
    dot = evaluate(Dot(), task, measures=["P@1"])
    assert cosine.record.main.mean == 0.0
    assert dot.record.main.mean == 1.0
    assert dot.run.scores[0].tolist() == [3.0]
    assert (cosine.record.system.similarity, dot.record.system.similarity) == ("cosine", "dot")


def test_the_public_names_are_functions_however_they_are_reached():
    child = """
        import harness
        assert callable(harness.evaluate), harness.evaluate
        assert callable(harness.evaluate), "the second time it is the module"
        import harness.api
        assert callable(harness.evaluate), "after importing the module behind it"
        import harness.cli
        from harness import Evaluation, HarnessError, InputError, evaluate, evaluate_run
        assert callable(evaluate)
        assert callable(evaluate_run)
        assert issubclass(InputError, HarnessError)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(child)], check=True, env=os.environ)
    first = "from harness import evaluate; assert callable(evaluate), evaluate"
    subprocess.run([sys.executable, "-c", first], check=True, env=os.environ)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = harness.nothing


# --- models that are handed over, endpoints, latency --------------------------------------------


def letters(texts: list[str]) -> np.ndarray:
    return np.array([[text.count(chr(97 + i)) for i in range(26)] for text in texts], np.float32)


def test_a_function_of_texts_is_a_model(small, tmp_path):
    store = Store(tmp_path / "store")
    found = harness.evaluate(letters, small, measures=["RR@10"], store=store)
    record = found.record
    assert record.name == record.system.full == "own:letters"
    assert record.system.fingerprint["own"] == "letters"
    assert (record.system.source, record.system.full) == ("object", "own:letters")
    assert any("letters has no fingerprint" in warning for warning in record.warnings)
    assert found.run.docs[0, 0] == 0  # "red apple" has the letters of "red apple"
    assert store.spaces() == []  # its vectors cannot be known again


def test_a_model_with_a_fingerprint_is_kept(small, tmp_path):
    class Letters:
        fingerprint = "letters, all 26"

        def encode(self, texts: list[str]) -> np.ndarray:
            return letters(texts)

    store = Store(tmp_path / "store")
    first = harness.evaluate(Letters(), small, measures=["RR@10"], store=store).record
    again = harness.evaluate(Letters(), small, measures=["RR@10"], store=store).record
    assert first.counts["documents_encoded_now"] == 4
    assert again.counts["documents_encoded_now"] == 0
    assert again.id == first.id


def test_a_model_of_ones_own_is_a_part_like_any(small, tmp_path, monkeypatch):
    """As a plugin registers it: a name in a spec."""
    ENCODERS.names()  # all are there, so that this one alone goes again
    monkeypatch.setattr(ENCODERS, "_entries", dict(ENCODERS._entries))
    harness.model("letters-of-a-test")(letters)
    store = Store(tmp_path / "store")
    spec = "rrf:bm25+letters-of-a-test"
    found = harness.evaluate(spec, small, measures=["RR@10"], store=store)
    assert found.record.system.spec == spec


def test_queries_are_asked_one_by_one_where_that_is_wanted(small, tmp_path):
    store = Store(tmp_path / "store")
    found = evaluate("hashing", small, measures=["RR@10"], latency=5, store=store).record
    assert found.latency.queries == 3  # there are no more
    assert 0 < found.latency.p50_ms <= found.latency.p95_ms
    plain = evaluate("hashing", small, measures=["RR@10"], store=store).record
    assert plain.latency is None
    assert plain.id == found.id


def test_what_is_not_asked_one_by_one_is_told(small, tmp_path):
    found = evaluate(
        "hashing", small, rewrite="average", measures=["RR@10"], latency=5,
        store=Store(tmp_path / "store"),
    )  # fmt: skip
    assert any(warning.startswith("latency is not measured") for warning in found.record.warnings)


def test_what_an_endpoint_was_paid_is_in_the_record(small, tmp_path):
    @dataclass(frozen=True)
    class Paid(Counting):
        paid, no_usage = True, {"tokens": 0}

        def encode(self, texts: Sequence[str], role: Role) -> Encoded:
            return replace(super().encode(texts, role), usage={"tokens": 7 * len(texts)})

    store = Store(tmp_path / "store")
    first = evaluate(Paid(), small, measures=["RR@10"], store=store).record
    again = evaluate(Paid(), small, measures=["RR@10"], store=store).record
    assert first.usage == {"tokens": 49}  # of 4 documents and 3 queries
    assert again.usage == {"tokens": 0}
