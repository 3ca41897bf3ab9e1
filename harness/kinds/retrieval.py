"""Retrieval: a ranking against the judgments."""

from __future__ import annotations

from collections.abc import Sequence

from harness.arrays import Float64
from harness.data import Retrieval
from harness.errors import InputError
from harness.kinds import Parts, Verdict, intervals
from harness.measures import GROUPED, RETRIEVAL, Measure
from harness.measures.groups import group_minimum, p_mrr, together
from harness.measures.retrieval import GRADED, Found, find
from harness.vectors import Run

NOTED = (
    "queries_unjudged",
    "judgments_of_unknown_documents",
    "judgments_of_unknown_queries",
    "judgments_repeated",
    "queries_with_unknown_candidates",
)


def parts(data: Retrieval) -> Parts:
    """Documents and queries, each in its role."""
    return {
        "documents": ("document", data.corpus.texts),
        "queries": ("query", data.queries.texts),
    }


def judge(run: Run, data: Retrieval, measures: Sequence[Measure], seed: int) -> Verdict:
    """Measures of a run [q, k] over the queries that have judgments.

    Measures of groups are means over groups, not over queries. Raises InputError where the
    collection has not what a measure needs.
    """
    scored, qrels = data.qrels.judged, data.qrels
    graded = find(run, qrels)
    binary = graded if data.binary is None else find(run, data.binary)
    values, grouped = {}, {}
    for measure in measures:
        if measure.name in GROUPED:
            grouped[str(measure)] = _grouped(measure, graded, run, data)
        else:
            found = graded if measure.name in GRADED else binary
            values[str(measure)] = RETRIEVAL[measure.name](found, measure.cutoff or 0)[scored]
    found_scores = intervals(values, seed)
    for name, value in grouped.items():
        found_scores |= intervals({name: value}, seed)
    counts = {
        "documents": len(data.corpus.ranked),
        "queries": len(data.queries),
        "queries_scored": int(scored.sum()),
        "queries_unjudged": int((~scored).sum()),
        "queries_without_results": int((run.docs[scored] < 0).all(axis=1).sum()),
        "judgments": len(qrels.docs),
        "judgments_of_unknown_documents": qrels.unknown_documents,
        "judgments_of_unknown_queries": qrels.unknown_queries,
        "judgments_repeated": qrels.repeated,
    }
    if data.corpus.parents is not None:
        counts["passages"] = len(data.corpus)
    if data.candidates is not None:
        counts["candidates"] = len(data.candidates.docs)
        counts["queries_with_unknown_candidates"] = data.candidates.unknown
    notes = [f"{counts[name]} {name.replace('_', ' ')}" for name in NOTED if counts.get(name)]
    deepest = max(measure.cutoff or 0 for measure in measures)
    if deepest > len(data.corpus.ranked):
        size = len(data.corpus.ranked)
        notes.append(f"a cut-off of {deepest} is beyond the {size} documents")
    ids = [id for id, kept in zip(data.queries.ids, scored, strict=True) if kept]
    scores = {str(measure): found_scores[str(measure)] for measure in measures}
    return Verdict(scores, {"query_id": ids, **values}, counts, notes)


def _grouped(measure: Measure, found: Found, run: Run, data: Retrieval) -> Float64:
    """One value a group of queries: Robustness@k, MergedAP@k, or p-MRR."""
    if measure.name == "p-MRR":
        if data.changes is None:
            raise InputError(f"{measure} needs changed instructions, and this collection has none")
        return p_mrr(run, data.changes)
    if data.groups is None:
        raise InputError(f"{measure} needs groups of queries, and this collection has none")
    cutoff = measure.cutoff or 0
    if measure.name == "MergedAP":
        return RETRIEVAL["AP"](find(*together(run, data.qrels, data.groups)), cutoff)
    scored = data.qrels.judged
    return group_minimum(RETRIEVAL["nDCG"](found, cutoff)[scored], data.groups[scored])
