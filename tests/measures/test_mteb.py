"""The measures of labels beside MTEB's own evaluation of the same vectors; texts are row numbers.

The literal numbers were computed by MTEB 2.26.24 with scikit-learn 1.9.1.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any

import numpy as np
import pytest

from harness.data import Changes
from harness.measures.binary import pair_classification
from harness.measures.clusters import Resampling, cluster_levels, cluster_sets, v_measure
from harness.measures.groups import group_minimum, p_mrr
from harness.measures.pairs import similarities
from harness.measures.probe import probe, undersample
from harness.measures.summaries import summary_correlations
from harness.vectors import Run

Evaluate = Callable[..., dict[str, Any]]
SUBSETS = ("one", "two")
NEAR = 2e-3  # another BLAS may sum in another order and turn a close decision


def blobs(n: int, labels: int, spread: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Vectors [n, 6] around a centre for each label, and the labels [n]."""
    random = np.random.default_rng(seed)
    gold = random.integers(labels, size=n)
    centres = random.normal(size=(labels, 6))
    return (centres[gold] + spread * random.normal(size=(n, 6))).astype(np.float32), gold


def names(rows: Sequence[int] | np.ndarray) -> list[str]:
    return [str(row) for row in rows]


@pytest.fixture(scope="module")
def evaluate() -> Evaluate:
    """Scores of mteb.evaluate by subset: evaluate(class, type, main score, data, vectors, ...)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mteb = pytest.importorskip("mteb")
        import torch
        from mteb import abstasks
        from mteb.abstasks.task_metadata import TaskMetadata
        from mteb.abstasks.text.summarization import AbsTaskSummarization
        from mteb.models import ModelMeta

    classes = {**vars(abstasks), "AbsTaskSummarization": AbsTaskSummarization}

    class Lookup:
        """An encoder whose similarity is the dot product."""

        similarity = staticmethod(lambda a, b: torch.atleast_2d(a) @ torch.atleast_2d(b).T)
        similarity_pairwise = staticmethod(lambda a, b: (a * b).sum(dim=-1))
        mteb_model_meta = ModelMeta.create_empty(
            overwrites={"name": "local/lookup", "revision": "local"}
        )

        def __init__(self, vectors: np.ndarray) -> None:
            self.vectors = vectors

        def encode(self, inputs: Any, **_: Any) -> Any:
            rows = [int(text) for batch in inputs for text in batch["text"]]
            return torch.from_numpy(self.vectors[rows])

    def run(
        kind: str, type_: str, main: str, data: Mapping[str, Any], vectors: np.ndarray, **own: Any
    ) -> dict[str, Any]:
        metadata = TaskMetadata(
            name=f"Local{kind}",
            description="local",
            dataset={"path": "local/local", "revision": "local"},
            type=type_,
            category="t2t",
            eval_splits=["test"],
            eval_langs={subset: ["eng-Latn"] for subset in data},
            main_score=main,
        )
        task = type(metadata.name, (classes[kind],), {"metadata": metadata, **own})()
        task.dataset, task.data_loaded = data, True
        quiet = {"cache": None, "co2_tracker": False, "show_progress_bar": False}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result = mteb.evaluate(Lookup(vectors), task, **quiet)
        return {row["hf_subset"]: row for row in result.task_results[0].scores["test"]}

    return run


def table(**columns: Any) -> Any:
    from datasets import Dataset

    return Dataset.from_dict(columns)


def classified(labels: int, spread: float) -> tuple[Any, Any, Any]:
    """Vectors and labels of 200 training and 150 test items, and our probe of them."""
    vectors, gold = blobs(350, labels, spread)
    train, test = names(gold[:200]), names(gold[200:])
    draws = undersample(train, experiments=4, samples_per_label=4)
    return vectors, gold, probe(vectors[:200], train, vectors[200:], test, draws=draws)


CLASSIFIED = {
    (2, 1.5): {"accuracy": 0.808333, "f1": 0.806005, "f1_weighted": 0.806255, "ap": 0.763858},
    (12, 0.7): {"accuracy": 0.805, "f1": 0.797996, "f1_weighted": 0.801352},
}


@pytest.mark.parametrize("case", CLASSIFIED)
def test_classification_in_numbers(case):
    scores = classified(*case)[2].scores
    assert {name: value.mean() for name, value in scores.items()} == pytest.approx(
        CLASSIFIED[case], abs=NEAR
    )


@pytest.mark.parametrize("case", CLASSIFIED)
def test_classification_is_that_of_mteb(case, evaluate):
    vectors, gold, found = classified(*case)
    data = {
        "one": {
            "train": table(text=names(range(200)), label=gold[:200].tolist()),
            "test": table(text=names(range(200, 350)), label=gold[200:].tolist()),
        }
    }
    settings = {"n_experiments": 4, "samples_per_label": 4}
    scores = evaluate(
        "AbsTaskClassification", "Classification", "accuracy", data, vectors, **settings
    )["one"]
    each = scores["scores_per_experiment"]
    for name, values in found.scores.items():
        assert values.tolist() == pytest.approx([one[name] for one in each], abs=1e-12)
    assert found.correct.mean() == pytest.approx(scores["main_score"], abs=1e-12)
    assert ("ap" in found.scores) == (each[0]["ap"] is not None)


def clustered() -> tuple[Any, Any, dict[str, np.ndarray]]:
    """Two subsets of 120 texts with labels on two levels, half of each clustered by us."""
    vectors, fine = blobs(240, 6, 0.8)
    random, found = Random(42), {}
    for start, subset in zip((0, 120), SUBSETS, strict=True):
        rows = np.array(random.sample(range(120), k=60)) + start
        levels = [fine[rows] // 2, names(fine[rows])]
        clusterings = cluster_levels(
            vectors[rows],
            levels,
            random=random,
            resampling=Resampling(repetitions=3, sample=200, batch=64),
        )
        found[subset] = np.array([v_measure(level) for level in clusterings])
    return vectors, fine, found


def test_clustering_in_numbers():
    means = {subset: found.mean() for subset, found in clustered()[2].items()}
    assert means == pytest.approx({"one": 0.448778, "two": 0.401088}, abs=NEAR)


def test_clustering_is_that_of_mteb(evaluate):
    vectors, fine, found = clustered()
    data = {
        subset: {
            "test": table(
                sentences=names(range(start, start + 120)),
                labels=[[gold // 2, gold] for gold in fine[start : start + 120].tolist()],
            )
        }
        for start, subset in zip((0, 120), SUBSETS, strict=True)
    }
    settings = {"max_fraction_of_documents_to_embed": 0.5, "max_documents_per_cluster": 200}
    settings |= {"n_clusters": 3, "k_mean_batch_size": 64}
    scores = evaluate("AbsTaskClustering", "Clustering", "v_measure", data, vectors, **settings)
    for subset in SUBSETS:
        levels = scores[subset]["v_measures"]
        expected = [levels["Level 0"], levels["Level 1"]]
        assert found[subset] == pytest.approx(np.array(expected), abs=1e-12)
        assert found[subset].mean() == pytest.approx(scores[subset]["main_score"], abs=1e-12)


def sets() -> tuple[Any, Any, Any, np.ndarray]:
    """Three sets of 40 texts, the second with a single label, and our clustering of them."""
    vectors, gold = blobs(120, 5, 0.9, seed=1)
    gold[40:80] = 0
    groups = np.repeat([0, 1, 2], 40)
    return vectors, gold, groups, v_measure(cluster_sets(vectors, names(gold), groups))


def test_clustering_of_sets_in_numbers():
    assert sets()[3].tolist() == pytest.approx([0.498203, 1.0, 0.483355], abs=NEAR)


def test_clustering_of_sets_is_that_of_mteb(evaluate):
    vectors, gold, groups, found = sets()
    rows = [np.flatnonzero(groups == one) for one in range(3)]
    data = table(
        sentences=[names(own) for own in rows], labels=[gold[own].tolist() for own in rows]
    )
    scores = evaluate(
        "AbsTaskClusteringLegacy", "Clustering", "v_measure", {"one": {"test": data}}, vectors
    )["one"]
    assert found.tolist() == pytest.approx(scores["v_measures"], abs=1e-12)


def paired() -> tuple[Any, Any, dict[str, float]]:
    """80 pairs, of which the last 20 repeat others with labels of their own, and our scores."""
    random = np.random.default_rng(2)
    left = random.normal(size=(60, 5)).astype(np.float32)
    gold = random.integers(2, size=80)
    right = left + random.normal(size=(60, 5)).astype(np.float32) * (1.5 - gold[:60, None])
    again = np.r_[np.arange(60), np.arange(20)]
    vectors = np.concatenate([left[again], right[again]]).astype(np.float32)
    return vectors, gold, pair_classification(similarities(vectors[:80], vectors[80:]), gold)


def test_pair_classification_in_numbers():
    found = paired()[2]
    expected = {"max_ap": 0.858172, "max_accuracy": 0.8375, "max_f1": 6 / 7}
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-6)


def test_pair_classification_is_that_of_mteb(evaluate):
    vectors, gold, found = paired()
    data = table(sentence1=names(range(80)), sentence2=names(range(80, 160)), labels=gold.tolist())
    scores = evaluate(
        "AbsTaskPairClassification",
        "PairClassification",
        "max_ap",
        {"one": {"test": data}},
        vectors,
    )["one"]
    assert found == pytest.approx({name: scores[name] for name in found}, abs=1e-12)
    assert set(found) >= {name for name in scores if name.startswith(("max", "cosine", "dot"))}


def summarised() -> tuple[Any, Any, Any, Any, dict[str, np.ndarray]]:
    """Five texts with three human and four machine summaries; the second is rated evenly."""
    random = np.random.default_rng(3)
    vectors = random.normal(size=(35, 4)).astype(np.float32)
    human = np.arange(15).reshape(5, 3)
    machine = np.arange(15, 35).reshape(5, 4)
    ratings = random.integers(1, 6, size=(5, 4)).astype(float)
    ratings[1] = 3
    found = summary_correlations(vectors[machine], vectors[human], ratings)
    return vectors, human, machine, ratings, found


def test_summaries_in_numbers():
    found = summarised()[4]
    assert np.isnan(found["cosine_spearman"]).tolist() == [False, True, False, False, False]
    means = {name: np.nanmean(values) for name, values in found.items()}
    expected = dict(zip(found, [0.310777, 0.164433, 0.234382, 0.290484], strict=True))
    assert means == pytest.approx(expected, abs=1e-6)


def test_summaries_are_those_of_mteb(evaluate):
    vectors, human, machine, ratings, found = summarised()
    data = table(
        text=["text"] * 5,
        human_summaries=[names(row) for row in human],
        machine_summaries=[names(row) for row in machine],
        relevance=ratings.tolist(),
    )
    scores = evaluate(
        "AbsTaskSummarization",
        "Summarization",
        "cosine_spearman",
        {"one": {"test": data}},
        vectors,
        min_score=0,
        max_score=5,
    )["one"]
    for name, values in found.items():
        assert np.nanmean(values) == pytest.approx(scores[name], abs=1e-6)


# two questions with an original and a changed instruction: rows 0 to 3 of the queries
ASKED = ("7-og", "7-changed", "8-og", "8-changed")
CHANGED = {"7": ["d1", "d5"], "8": ["d0", "d3", "d9"]}  # d9 is no candidate


def instructed() -> tuple[Any, Run, Changes]:
    """Small whole numbers, so that dot products tie; ten documents of which nine are candidates."""
    vectors = np.random.default_rng(4).integers(-2, 3, size=(14, 3)).astype(np.float32)
    scores = vectors[:4] @ vectors[4:13].T
    rows = np.array([np.lexsort((-np.arange(9), -row)) for row in scores])
    docs, ranked = rows.astype(np.int32), np.take_along_axis(scores, rows, axis=1)
    wanted = [(2 * int(q == "8"), int(doc[1:])) for q, own in CHANGED.items() for doc in own]
    before = np.array([row for row, _ in wanted])
    return (
        vectors,
        Run(docs, ranked),
        Changes(before, before + 1, np.array([doc for _, doc in wanted], np.int32)),
    )


def test_p_mrr_in_numbers():
    _, run, changes = instructed()
    assert p_mrr(run, changes).tolist() == pytest.approx([-0.25, 0.125], abs=1e-12)


def test_groups_of_queries_are_scored_as_by_mteb(evaluate):
    vectors, run, changes = instructed()
    judged = {"7-og": ["d1", "d5"], "7-changed": ["d2"], "8-og": ["d0", "d3"], "8-changed": ["d4"]}

    def own_scores(self: Any, scores: Any, qrels: Any, results: Any, **_: Any) -> Any:
        from mteb._evaluators.retrieval_metrics import evaluate_p_mrr_change, robustness_at_10

        named = {query.replace("-", "_"): docs for query, docs in qrels.items()}
        grouped = {query.replace("-", "_"): values for query, values in scores.items()}
        return {
            **evaluate_p_mrr_change(qrels, results, CHANGED, self.k_values),
            "robustness_at_10": robustness_at_10(named, results, grouped),
            "each": [scores[query]["ndcg_cut_10"] for query in ASKED],
        }

    data = {
        "corpus": table(id=[f"d{row}" for row in range(10)], text=names(range(4, 14))),
        "queries": table(id=list(ASKED), text=names(range(4))),
        "relevant_docs": {query: dict.fromkeys(docs, 1) for query, docs in judged.items()},
        "top_ranked": {query: [f"d{row}" for row in range(9)] for query in ASKED},
    }
    scores = evaluate(
        "AbsTaskRetrieval",
        "InstructionReranking",
        "p-MRR",
        {"one": {"test": data}},
        vectors,
        task_specific_scores=own_scores,
    )["one"]
    assert p_mrr(run, changes).mean() == pytest.approx(scores["p-MRR"], abs=1e-12)
    lowest = group_minimum(np.array(scores["each"]), np.array([7, 7, 8, 8]))
    assert lowest.mean() == pytest.approx(scores["robustness_at_10"], abs=1e-12)
