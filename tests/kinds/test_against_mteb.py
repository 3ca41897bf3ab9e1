"""Every kind of task from end to end, beside mteb.evaluate with the same vectors."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from harness.api import evaluate
from harness.evaluation import Evaluation
from tests.mteb_tasks import Words, declare, package, scores, searched, table

EXACT = 1e-9
ROUNDED = 0.51e-5  # mteb rounds the measures of retrieval to 5 digits
WORDS = [f"w{i}" for i in range(40)]
PLAIN, TIES = Words(), Words("dot", 0)


@pytest.fixture(autouse=True, scope="module")
def _mteb() -> None:
    package()


def phrases(n: int, seed: int, topics: int = 1, words: int = 6) -> list[str]:
    """n texts of words that are mostly those of topic i % topics."""
    random = np.random.default_rng(seed)
    own = np.array_split(WORDS, topics)
    return [
        " ".join([*random.choice(own[i % topics], words), *random.choice(WORDS, 2)])
        for i in range(n)
    ]


def both(task: Any, model: Words = PLAIN, options: str = "") -> tuple[Evaluation, dict[str, Any]]:
    """Our evaluation of a task that is found by its name, and mteb's scores by subset."""
    name = task.metadata.name
    return evaluate(model, f"mteb:{name}{options}"), scores(task(), model)


def means(ours: Evaluation) -> dict[str, float | None]:
    return {name: score.mean for name, score in ours.record.scores.items()}


def collection(seed: int, *, queries: int = 12) -> dict[str, Any]:
    """60 documents, some with a title, and queries of four words of one, with graded judgments."""
    texts, titles = phrases(60, seed), phrases(60, seed + 1, words=1)
    return {
        "documents": {f"d{i}": ("" if i % 3 else titles[i], f" {texts[i]} ") for i in range(60)},
        "queries": {f"q{i}": " ".join(texts[i].split()[:4]) for i in range(queries)},
        "judged": {
            f"q{i}": {f"d{i}": 3, f"d{i + 12}": 2, f"d{i + 24}": 1, f"d{i + 36}": 0}
            for i in range(queries)
        },
    }


RETRIEVAL = {
    "nDCG@10": "ndcg_at_10",
    "AP@1000": "map_at_1000",
    "RR@10": "mrr_at_10",
    "R@10": "recall_at_10",
    "R@100": "recall_at_100",
}


def agree_on_rankings(ours: Evaluation, theirs: dict[str, Any]) -> None:
    found = means(ours)
    for name, other in RETRIEVAL.items():
        assert found[name] == pytest.approx(theirs[other], abs=ROUNDED), name
    assert 0.2 < found["nDCG@10"] < 0.9  # neither hopeless nor trivial


@pytest.mark.parametrize("model", [PLAIN, TIES], ids=["cosine", "dot and ties"])
@pytest.mark.parametrize("exclude", [False, True])
def test_retrieval(model, exclude):
    made = collection(1)
    made["judged"]["q3"] = {}  # not judged: left out
    made["judged"]["q4"] = dict.fromkeys(made["judged"]["q4"], 0)  # nothing relevant: counts as 0
    made["judged"]["q5"]["absent"] = 2
    made["documents"]["q6"] = ("", made["queries"]["q6"])
    made["judged"]["q6"]["q6"] = 1
    task = declare(
        "LocalSearch",
        "Retrieval",
        "ndcg_at_10",
        lambda: {"default": {"test": searched(**made)}},
        own={"ignore_identical_ids": exclude},
    )
    ours, theirs = both(task, model)
    agree_on_rankings(ours, theirs["default"])
    assert ours.record.main_measure == "nDCG@10"
    assert means(ours)["nDCG@10"] == pytest.approx(theirs["default"]["main_score"], abs=ROUNDED)
    assert ours.record.counts["queries_scored"] == 11
    assert ours.record.counts["judgments_of_unknown_documents"] == 1
    assert ours.record.task.exclude_self == exclude


@pytest.mark.parametrize("model", [PLAIN, TIES], ids=["cosine", "dot and ties"])
def test_reranking(model):
    made, random = collection(2), np.random.default_rng(2)
    ranked = {
        id: [f"d{doc}" for doc in random.permutation(60) if doc < 30 or doc == i + 36]
        for i, id in enumerate(made["queries"])
    }
    del ranked["q3"]
    ranked["q4"] = []
    task = declare(
        "LocalReranking",
        "Retrieval",
        "map_at_1000",
        lambda: {"default": {"test": searched(**made, top_ranked=ranked)}},
        type="Reranking",
    )
    ours, theirs = both(task, model)
    agree_on_rankings(ours, theirs["default"])
    assert ours.record.main_measure == "AP@1000"
    assert ours.record.counts["queries_without_results"] == 2
    assert means(ours)["AP@1000"] == pytest.approx(theirs["default"]["main_score"], abs=ROUNDED)


def instructed(ending: dict[str, str]) -> dict[str, Any]:
    """Ten questions, each once for every ending of its id, with an instruction; all candidates."""
    made = collection(3, queries=10)
    texts, judged = made["queries"], made["judged"]
    made["queries"] = {id + end: text for id, text in texts.items() for end in ending}
    made["judged"] = {id + end: docs for id, docs in judged.items() for end in ending}
    extra = phrases(len(made["queries"]), 4, words=2)
    made["instructions"] = ["", *extra[1:]]
    return made


@pytest.mark.parametrize("model", [PLAIN, TIES], ids=["cosine", "dot and ties"])
def test_reranking_by_instructions(model):
    from mteb._evaluators.retrieval_metrics import evaluate_p_mrr_change

    made = instructed({"-og": "", "-changed": ""})
    ranked = {id: [f"d{i}" for i in range(50)] for id in made["queries"]}
    changed = {f"q{i}": [f"d{i}", f"d{i + 20}", "d55"] for i in range(10)}  # d55: no candidate

    def specific(self: Any, each: Any, qrels: Any, results: Any, *_: Any, **__: Any) -> Any:
        return evaluate_p_mrr_change(qrels, results, changed, self.k_values)

    task = declare(
        "LocalFollowing",
        "Retrieval",
        "p-MRR",
        lambda: {"default": {"test": searched(**made, top_ranked=ranked)}},
        own={
            "task_specific_scores": specific,
            "qrels_diff": {"default": {"test": changed}},
        },
        type="InstructionReranking",
    )
    ours, theirs = both(task, model)
    assert ours.record.main_measure == "p-MRR"
    assert means(ours)["p-MRR"] == pytest.approx(theirs["default"]["main_score"], abs=EXACT)
    assert abs(means(ours)["p-MRR"]) > 0.001
    agree_on_rankings(ours, theirs["default"])


def test_retrieval_by_instructions():
    from mteb._evaluators.retrieval_metrics import robustness_at_10

    def specific(self: Any, each: Any, qrels: Any, results: Any, *_: Any, **__: Any) -> Any:
        return {"robustness_at_10": robustness_at_10(qrels, results, each)}

    made = instructed({"_a": "", "_b": "", "_c": ""})
    task = declare(
        "LocalRobust",
        "Retrieval",
        "robustness_at_10",
        lambda: {"default": {"test": searched(**made)}},
        own={"task_specific_scores": specific},
        type="InstructionRetrieval",
    )
    ours, theirs = both(task)
    assert ours.record.main_measure == "Robustness@10"
    assert means(ours)["Robustness@10"] == pytest.approx(theirs["default"]["main_score"], abs=EXACT)
    assert 0.05 < means(ours)["Robustness@10"] < means(ours)["nDCG@10"]


@pytest.mark.parametrize("model", [PLAIN, TIES], ids=["cosine", "dot and ties"])
def test_reranking_by_parts_of_a_question(model):
    from mteb._evaluators.retrieval_metrics import max_over_subqueries

    def specific(self: Any, each: Any, qrels: Any, results: Any, *_: Any, **__: Any) -> Any:
        return max_over_subqueries(qrels, results, self.k_values)

    made = collection(17, queries=24)
    texts, judged = list(made["queries"].values()), list(made["judged"].values())
    ids = [f"u_{i % 8}_{i}" for i in range(24)]  # eight questions of three parts
    made["queries"] = dict(zip(ids, texts, strict=True))
    made["judged"] = {id: judged[i % 8] for i, id in enumerate(ids)}
    ranked = {id: [f"d{i % 8 + n}" for n in range(0, 40, 2)] for i, id in enumerate(ids)}
    del ranked[ids[3]]
    task = declare(
        "LocalParts",
        "Retrieval",
        "max_over_subqueries_map_at_1000",
        lambda: {"default": {"test": searched(**made, top_ranked=ranked)}},
        own={"task_specific_scores": specific},
        type="Reranking",
    )
    ours, theirs = both(task, model)
    assert ours.record.main_measure == "MergedAP@1000"
    found = means(ours)
    assert found["MergedAP@1000"] == pytest.approx(theirs["default"]["main_score"], abs=ROUNDED)
    assert 0.1 < found["MergedAP@1000"] != pytest.approx(found["AP@1000"], abs=1e-4)


def test_sts():
    left, right = phrases(50, 5, topics=4), phrases(50, 6, topics=4)
    gold = np.random.default_rng(5).normal(size=50) + [
        len({*a.split()} & {*b.split()}) for a, b in zip(left, right, strict=True)
    ]
    rows = table(sentence1=left, sentence2=right, score=gold.tolist())
    task = declare("LocalSTS", "STS", "cosine_spearman", lambda: {"test": rows})
    task.min_score, task.max_score = -5, 20
    ours, theirs = both(task)
    assert set(means(ours)) == {"cosine_spearman", "cosine_pearson"}
    assert means(ours)["cosine_spearman"] == pytest.approx(
        theirs["default"]["main_score"], abs=EXACT
    )
    assert means(ours)["cosine_pearson"] == pytest.approx(
        theirs["default"]["cosine_pearson"], abs=1e-6
    )


@pytest.mark.parametrize("first_format", [False, True])
def test_pair_classification(first_format):
    left, gold = phrases(80, 7, words=4), (np.arange(80) % 3 > 0).astype(int).tolist()
    other = phrases(80, 8)
    right = [f"{a} {b}" if same else b for a, b, same in zip(left, other, gold, strict=True)]
    columns = {"sentence1": left, "sentence2": right, "labels": gold}
    rows = table(**{k: [v] for k, v in columns.items()} if first_format else columns)
    task = declare("LocalPairs", "PairClassification", "max_ap", lambda: {"test": rows})
    ours, theirs = both(task)
    assert ours.record.main_measure == "max_ap"
    for name, value in means(ours).items():
        assert value == pytest.approx(theirs["default"][name], abs=EXACT), name
    assert 0.5 < means(ours)["max_ap"] < 1


@pytest.mark.parametrize("labels", [["0", "1"], list("abcde")], ids=["numbers", "texts"])
def test_classification(labels):
    train, test = phrases(200, 9, len(labels), 3), phrases(100, 10, len(labels), 3)
    known = [labels[i % len(labels)] for i in range(200)]
    gold: list[Any] = [int(x) if x.isdigit() else x for x in known]
    task = declare(
        "LocalClasses",
        "Classification",
        "f1" if len(labels) == 2 else "accuracy",
        lambda: {
            "train": table(text=train, label=gold),
            "test": table(text=test, label=gold[:100]),
        },
        own={"samples_per_label": 5, "n_experiments": 4},
    )
    ours, theirs = both(task)
    assert ours.record.main_measure == task.metadata.main_score
    for name, value in means(ours).items():
        assert value == pytest.approx(theirs["default"][name], abs=EXACT), name
    assert set(means(ours)) == {"accuracy", "f1", "f1_weighted"}
    assert 1.2 / len(labels) < means(ours)["accuracy"] < 1


CLUSTERED = {
    "a share of them": (lambda i: i % 6, 0.04),
    "all": (lambda i: f"l{i % 6}", None),
    "two levels of numbers, one missing": (lambda i: [i % 3, i % 6][: 2 - (i % 5 == 0)], 0.5),
    "two levels of texts, one missing": (
        lambda i: [f"l{i % 3}", f"l{i % 6}"][: 2 - (i % 5 == 0)],
        0.5,
    ),
}


@pytest.mark.parametrize("case", CLUSTERED)
def test_clustering(case):
    label, share = CLUSTERED[case]
    rows = table(sentences=phrases(300, 11, 6, 3), labels=[label(i) for i in range(300)])
    own = {"max_fraction_of_documents_to_embed": share}
    task = declare("LocalClusters", "Clustering", "v_measure", lambda: {"test": rows}, own=own)
    ours, theirs = both(task)
    assert means(ours)["v_measure"] == pytest.approx(theirs["default"]["main_score"], abs=EXACT)
    levels = theirs["default"]["v_measures"]
    each = [value for level in levels.values() for value in level]
    assert ours.per_query["v_measure"].tolist() == pytest.approx(each, abs=EXACT)
    assert 0.05 < means(ours)["v_measure"] < 0.99


def test_clustering_of_sets():
    texts = phrases(120, 12, 4, 3)
    labels = [i % 4 for i in range(120)]
    ends = [0, 50, 70, 120]
    cuts = [slice(a, b) for a, b in pairwise(ends)]
    labels[50:70] = [3] * 20  # a set with one label
    rows = table(sentences=[texts[cut] for cut in cuts], labels=[labels[cut] for cut in cuts])
    task = declare("LocalSets", "ClusteringLegacy", "v_measure", lambda: {"test": rows})
    ours, theirs = both(task)
    assert means(ours)["v_measure"] == pytest.approx(theirs["default"]["main_score"], abs=EXACT)
    assert ours.per_query["v_measure"].tolist() == pytest.approx(
        theirs["default"]["v_measures"], abs=EXACT
    )
    assert 0.4 < means(ours)["v_measure"] < 0.99


def test_summarization():
    human, machine = phrases(24, 13), phrases(48, 14)
    ratings = np.random.default_rng(13).integers(1, 6, size=(8, 6)).astype(float)
    ratings[2] = 3  # left out
    rows = table(
        text=["text"] * 8,
        human_summaries=[human[3 * i : 3 * i + 3] for i in range(8)],
        machine_summaries=[machine[6 * i : 6 * i + 6] for i in range(8)],
        relevance=ratings.tolist(),
    )
    task = declare(
        "LocalSummaries",
        "Summarization",
        "cosine_spearman",
        lambda: {"test": rows},
        own={"min_score": 0, "max_score": 5},
    )
    ours, theirs = both(task)
    assert ours.record.counts["texts_undefined"] == 1
    assert means(ours)["cosine_spearman"] == pytest.approx(
        theirs["default"]["main_score"], abs=EXACT
    )
    assert means(ours)["cosine_pearson"] == pytest.approx(
        theirs["default"]["cosine_pearson"], abs=1e-6
    )
    assert abs(means(ours)["cosine_spearman"]) > 0.01


def test_one_subset_of_several():
    made = [collection(seed) for seed in (15, 16)]
    task = declare(
        "LocalLanguages",
        "Retrieval",
        "ndcg_at_10",
        lambda: {
            subset: {"test": searched(**one)}
            for subset, one in zip(("en", "de"), made, strict=True)
        },
        eval_langs={"en": ["eng-Latn"], "de": ["deu-Latn"]},
    )
    ours, theirs = both(task, options=",subset=de")
    agree_on_rankings(ours, theirs["de"])
    assert means(ours)["nDCG@10"] != pytest.approx(theirs["en"]["ndcg_at_10"], abs=1e-3)
