"""Data of the tasks of the mteb package, by its classes of tasks.

Facts about mteb's data were read in mteb 2.26 (abstasks/, _evaluators/, _create_dataloaders.py).
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import UnionType
from typing import Any

import numpy as np

from harness.arrays import Int64
from harness.data import (
    Candidates,
    Changes,
    Classification,
    Clustering,
    Corpus,
    Data,
    Labelled,
    Pairs,
    Queries,
    Retrieval,
    Summaries,
)
from harness.errors import InputError, reason
from harness.registry import unknown
from harness.sources import assembly
from harness.wording import count

NOUNS: Mapping[Any, str] = {
    str: "text",
    str | list: "text",
    list: "a list",
    int | float: "a number",
}


@dataclass(frozen=True)
class Subset:
    """One split of one subset of a task. splits: rows by split of the subset."""

    task: Any
    subset: str
    split: str
    splits: Mapping[str, Any]

    @property
    def name(self) -> str:
        """What errors call the task."""
        return f"mteb:{self.task.metadata.name}"

    @property
    def rows(self) -> Any:
        """Those of the split."""
        return self.splits[self.split]


@contextmanager
def quiet() -> Iterator[None]:
    """Without the notes and warnings that mteb and its libraries write to the terminal."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


@contextmanager
def _fetching(task: Any) -> Iterator[None]:
    """Quiet, without progress bars, and whatever is raised becomes one line."""
    from datasets import utils as of_datasets
    from huggingface_hub import utils as of_hub

    shown = [bars for bars in (of_datasets, of_hub) if not bars.are_progress_bars_disabled()]
    try:
        with quiet():
            for bars in shown:
                bars.disable_progress_bars()
            yield
    except Exception as error:  # the hub's client, datasets and a task's own code raise anything
        raise InputError(_missing(task, error)) from error
    finally:
        for bars in shown:
            bars.enable_progress_bars()


def _missing(task: Any, error: Exception) -> str:
    """What could not be loaded, why, and where it belongs."""
    from datasets import config

    about, where = task.metadata, task.metadata.dataset
    text = (
        f"mteb:{about.name}: {where.get('path')} at revision {where.get('revision')} cannot be "
        f"loaded ({type(error).__name__}: {reason(error)})"
    )
    if not isinstance(error, OSError):
        return text
    return (
        f"{text}: unset HF_HUB_OFFLINE where there is a network, or run "
        f"mteb.get_task({about.name!r}).load_data() on another machine and copy its "
        f"HF_DATASETS_CACHE to {config.HF_DATASETS_CACHE}"
    )


def load(task: Any, subset: str, split: str) -> Subset:
    """Bring one split of one subset to memory, from the hub or its cache."""
    task.hf_subsets = [subset]
    task.filter_eval_splits([split])
    with _fetching(task):
        task.load_data()
        if hasattr(task, "convert_v1_dataset_format_to_v2"):
            task.convert_v1_dataset_format_to_v2(num_proc=None)
    splits = task.dataset.get(subset, task.dataset)
    if split not in splits:
        raise unknown(f"split of {task.metadata.name}", split, splits)
    return Subset(task, subset, split, splits)


def _column(part: Subset, rows: Any, name: str, kind: type | UnionType = str) -> list[Any]:
    """A column's values. Raises InputError where it is missing or holds something else."""
    if name not in rows.column_names:
        raise unknown(f"column of {part.name}", name, rows.column_names)
    found = list(rows[name])
    for row, value in enumerate(found):
        if not isinstance(value, kind):
            noun = NOUNS.get(kind, "a label")
            raise InputError(f"{part.name}: {name!r} of row {row} is {value!r}: expected {noun}")
    return found


def _retrieval(part: Subset) -> Retrieval:
    rows, main = part.rows, part.task.metadata.main_score
    documents = rows["corpus"]
    texts = _column(part, documents, "text")
    if "title" in documents.column_names:
        titles = list(documents["title"])
        texts = [f"{t} {text}" if t else text for t, text in zip(titles, texts, strict=True)]
    corpus = Corpus.of(_column(part, documents, "id"), [text.strip() for text in texts])
    judged = {id: docs for id, docs in rows["relevant_docs"].items() if docs}
    asked = rows["queries"]
    asked = asked.select([i for i, id in enumerate(asked["id"]) if id in judged])
    queries = Queries(_column(part, asked, "id"), _questions(part, asked))
    triples = ((q, d, float(gain)) for q, docs in judged.items() for d, gain in docs.items())
    named = rows.get("top_ranked")
    if named is None and _has_candidates(part):
        raise InputError(f"{part.name} has lost its candidates: {OFFLINE}")
    return replace(
        assembly.retrieval(corpus, queries, triples, f"{part.name} {part.split}", part.name),
        candidates=None if named is None else Candidates.of(named, queries, corpus),
        groups=_groups(queries, main),
        changes=_changes(part, queries, corpus) if main == "p-MRR" else None,
    )


OFFLINE = "mteb finds them only where it reaches the hub; unset HF_HUB_OFFLINE"


def _has_candidates(part: Subset) -> bool:
    """Whether mteb's own statistics of the split, where there are any, tell of candidates."""
    found = (part.task.metadata.descriptive_stats or {}).get(part.split, {})
    found = found.get("hf_subset_descriptive_stats", {}).get(part.subset, found)
    return found.get("top_ranked_statistics") is not None


def _questions(part: Subset, rows: Any) -> list[str]:
    """Queries as mteb gives them to a plain model."""
    texts = _column(part, rows, "text", str | list)
    if "instruction" in rows.column_names:
        return [_question(*both) for both in zip(texts, rows["instruction"], strict=True)]
    if part.task.metadata.main_score in ("p-MRR", "robustness_at_10"):
        raise InputError(f"{part.name} has lost its instructions: {OFFLINE}")
    return [_question(text, None) for text in texts]


def _question(text: str | list[Any], instruction: str | None) -> str:
    """The text and then the instruction; behind the instruction where it is a conversation."""
    turns = [text] if isinstance(text, str) else text
    asked = "; ".join(t if isinstance(t, str) else f"{t['role']}: {t['content']}" for t in turns)
    if instruction is None:
        return asked
    return f"{asked} {instruction}" if isinstance(text, str) else f"{instruction} {asked}"


def _groups(queries: Queries, main: str) -> Int64 | None:
    """Equal for queries whose ids are equal up to an underscore; None where tasks do not use it.

    Up to the first one (InstructIR), or the last (MIND).
    """
    if main.startswith("robustness"):
        prefixes = [id.partition("_")[0] for id in queries.ids]
    elif main.startswith("max_over_subqueries"):
        prefixes = [id.rpartition("_")[0] for id in queries.ids]
    else:
        return None
    return np.unique(prefixes, return_inverse=True)[1].astype(np.int64)


def _changes(part: Subset, queries: Queries, corpus: Corpus) -> Changes:
    """FollowIR: pairs of queries ID-og and ID-changed, and the documents that lost relevance."""
    rows = []
    for id, documents in _find_lost(part).items():
        before, after = queries.rows.get(f"{id}-og"), queries.rows.get(f"{id}-changed")
        if before is not None and after is not None:
            rows += [(before, after, corpus.row(doc)) for doc in documents]
    if not rows:
        raise InputError(f"{part.name}: no queries ID-og and ID-changed for a changed judgment")
    before, after, docs = np.array(rows, np.int64).T
    return Changes(before, after, docs.astype(np.int32))


def _find_lost(part: Subset) -> Mapping[str, Iterable[str]]:
    """Ids of documents that lost relevance, by query id without its ending."""
    own: Any = getattr(part.task, "qrels_diff", None)
    if own is not None:
        return dict(own[part.subset][part.split])
    import datasets

    where = part.task.metadata.dataset
    with _fetching(part.task):
        found: Any = datasets.load_dataset(
            where["path"], "qrel_diff", split="qrel_diff", revision=where["revision"]
        )
    return dict(zip(found["query-id"], found["corpus-ids"], strict=True))


def _sts(part: Subset) -> Pairs:
    return _pairs(part, part.rows, (*part.task.column_names, "score"))


def _pair_classification(part: Subset) -> Pairs:
    task, rows = part.task, part.rows
    names = (task.input1_column_name, task.input2_column_name, task.label_column_name)
    if len(rows) == 1 and isinstance(rows[0].get(names[0]), list):  # mteb's first format
        rows = type(rows).from_dict({name: rows[0][name] for name in names})
    return _pairs(part, rows, names)


def _pairs(part: Subset, rows: Any, names: tuple[str, str, str]) -> Pairs:
    left, right, gold = names
    values = np.asarray(_column(part, rows, gold, int | float), np.float64)
    if not np.isfinite(values).all():
        raise InputError(f"{part.name}: a value of {gold!r} is not finite")
    return Pairs(_column(part, rows, left), _column(part, rows, right), values)


def _classification(part: Subset) -> Classification:
    task = part.task
    if task.is_cross_validation:
        raise InputError(f"{part.name} is measured by cross-validation: the harness has none")
    if task.train_split not in part.splits:
        raise unknown(f"training split of {part.name}", task.train_split, part.splits)

    def take(split: str) -> Labelled:
        rows = part.splits[split]
        labels = _column(part, rows, task.label_column_name, int | str)
        return Labelled(_column(part, rows, task.input_column_name), [str(x) for x in labels])

    return Classification(
        take(task.train_split),
        take(part.split),
        samples_per_label=task.samples_per_label,
        experiments=task.n_experiments,
    )


def _clustering(part: Subset) -> Clustering:
    task, rows = part.task, part.rows
    texts = _column(part, rows, task.input_column_name)
    labels = _column(part, rows, task.label_column_name, int | str | list)
    each = [x if isinstance(x, list) else [x] for x in labels]
    depth = max(map(len, each))
    levels = tuple(
        _level([row[i] if i < len(row) else None for row in each])
        for i in range(min(depth, task.max_depth or depth))
    )
    drawn, share = task.max_document_to_embed, task.max_fraction_of_documents_to_embed
    if share is not None:
        drawn = int(share * len(texts))
    if drawn == 0:
        raise InputError(
            f"{part.name} draws {share:g} of its {count(len(texts), 'text')}, which is none"
        )
    kept = drawn and min(drawn, len(texts))
    return Clustering(texts, levels, drawn=kept, sample=task.max_documents_per_cluster)


def _level(labels: list[Any]) -> list[str | None]:
    """Labels of one level as mteb reads them.

    Missing beside text is a label of its own, "-1"; beside numbers, missing and -1 are left out.
    """
    if any(isinstance(label, str) for label in labels):
        return ["-1" if label is None else str(label) for label in labels]
    return [None if label in (None, -1) else str(label) for label in labels]


def _clustering_sets(part: Subset) -> Clustering:
    task = part.task
    texts = _column(part, part.rows, task.input_column_name, list)
    labels = _column(part, part.rows, task.label_column_name, list)
    sets = np.repeat(np.arange(len(texts)), [len(row) for row in texts])
    level = [str(label) for row in labels for label in row]
    return Clustering([text for row in texts for text in row], (level,), sets=sets)


def _summaries(part: Subset) -> Summaries:
    task, rows = part.task, part.rows
    return Summaries(
        _column(part, rows, task.human_summaries_column_name, list),
        _column(part, rows, task.machine_summaries_column_name, list),
        _column(part, rows, task.relevancy_column_name, list),
    )


_RETRIEVAL = (_retrieval, ("nDCG@10", "AP@1000", "RR@10", "R@10", "R@100"))
READERS: dict[str, tuple[Callable[[Subset], Data], tuple[str, ...]]] = {
    "AbsTaskRetrieval": _RETRIEVAL,
    "AbsTaskReranking": _RETRIEVAL,
    "AbsTaskSTS": (_sts, ("cosine_spearman", "cosine_pearson")),
    "AbsTaskPairClassification": (
        _pair_classification,
        ("max_ap", "max_f1", "max_accuracy", "cosine_ap"),
    ),
    "AbsTaskClassification": (_classification, ("accuracy", "f1", "f1_weighted")),
    "AbsTaskClustering": (_clustering, ("v_measure",)),
    "AbsTaskClusteringLegacy": (_clustering_sets, ("v_measure",)),
    "AbsTaskSummarization": (_summaries, ("cosine_spearman", "cosine_pearson")),
}
"""By mteb's class of task: how its data are read, and the usual measures, the main one first."""

MEASURED = "retrieval, reranking, STS, (pair) classification, clustering and summarization of text"
