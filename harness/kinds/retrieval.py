"""A ranking, or the vectors of sentence pairs, against the judgments: scores and what was odd."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness import records, stats
from harness.measures import RETRIEVAL, Measure
from harness.measures.pairs import correlation, similarities
from harness.measures.retrieval import find
from harness.records import Score
from harness.types import Float32, Pairs, Retrieval, Run

NOTED = (
    "queries_unjudged",
    "judgments_of_unknown_documents",
    "judgments_of_unknown_queries",
    "judgments_repeated",
)


@dataclass(frozen=True)
class Verdict:
    """Scores by measure; columns [q] of what was scored; counts; warnings, a sentence each."""

    scores: dict[str, Score]
    per_query: Mapping[str, Any]
    counts: dict[str, int]
    warnings: list[str]


def judge_run(run: Run, data: Retrieval, measures: Sequence[Measure], seed: int) -> Verdict:
    """Measures of a run [q, k] over the queries that have judgments."""
    scored, qrels = data.qrels.judged, data.qrels
    found = find(run, qrels)
    values = {
        str(measure): RETRIEVAL[measure.name](found, measure.cutoff or 0)[scored]
        for measure in measures
    }
    low, high = stats.bootstrap_means(np.stack(list(values.values())), seed)
    scores = {
        name: records.score(value.mean(), low[i], high[i])
        for i, (name, value) in enumerate(values.items())
    }
    counts = {
        "documents": len(data.corpus),
        "queries": len(data.queries),
        "queries_scored": int(scored.sum()),
        "queries_unjudged": int((~scored).sum()),
        "queries_without_results": int((run.docs[scored] < 0).all(axis=1).sum()),
        "judgments": len(qrels.docs),
        "judgments_of_unknown_documents": qrels.unknown_documents,
        "judgments_of_unknown_queries": qrels.unknown_queries,
        "judgments_repeated": qrels.repeated,
    }
    notes = [f"{counts[name]} {name.replace('_', ' ')}" for name in NOTED if counts[name]]
    deepest = max(measure.cutoff or 0 for measure in measures)
    if deepest > len(data.corpus):
        notes.append(f"a cut-off of {deepest} is beyond the {len(data.corpus)} documents")
    ids = [id for id, kept in zip(data.queries.ids, scored, strict=True) if kept]
    return Verdict(scores, {"query_id": ids, **values}, counts, notes)


def judge_pairs(
    left: Float32, right: Float32, data: Pairs, measures: Sequence[Measure], seed: int
) -> Verdict:
    """Correlations of the similarity of vectors with the gold score. left, right: [n, d]."""
    values = similarities(left, right)
    scores = {}
    for measure in measures:
        similarity, kind = measure.name.split("_")
        x = values[similarity]
        interval = stats.bootstrap_correlation(kind, x, data.gold, seed)
        scores[str(measure)] = records.score(float(correlation(kind, x, data.gold)), *interval)
    notes = [f"{name} is not defined: constant" for name, s in scores.items() if s.mean is None]
    per_query = {"pair": list(range(len(data))), "gold": data.gold, **values}
    return Verdict(scores, per_query, {"pairs": len(data)}, notes)
