"""Retrieval: a ranking against the judgments. Reranking is retrieval among given candidates."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from harness.data import Retrieval
from harness.kinds import KINDS, SAMPLES, Description, RankingKind, Verdict
from harness.measures.asked import Measure
from harness.measures.graph import qrel_graph
from harness.measures.judged import Evidence, Names
from harness.progress import Progress, silent
from harness.stats import intervals
from harness.vectors import Run
from harness.wording import count

NOTED = (
    "queries_unjudged",
    "judgments_of_unknown_documents",
    "judgments_of_unknown_queries",
    "judgments_repeated",
    "queries_with_unknown_candidates",
)


@KINDS.register("retrieval")
class RetrievalKind(RankingKind[Retrieval]):
    """Documents are ranked for each query, among all or among its candidates (reranking)."""

    title = "Retrieval"
    measures = ("nDCG@10", "AP@1000", "RR@10", "P@10", "R@10", "R@100", "Judged@10")

    def judge(
        self,
        outcome: Run,
        data: Retrieval,
        measures: Sequence[Measure],
        seed: int = 0,
        progress: Progress = silent,
    ) -> Verdict:
        """Measures of a run [q, k] over the queries that have judgments.

        Measures of groups are means over groups, not over queries. Raises InputError where the
        collection has not what a measure needs.
        """
        scored = data.qrels.judged
        names = Names(data.queries.ids, data.corpus.ranked)
        evidence = Evidence(outcome, data.qrels, data.binary, data.groups, data.changes, names)
        values, grouped = {}, {}
        for measure in measures:
            if measure.definition("retrieval").grouped:
                grouped[str(measure)] = evidence.values(measure)
            else:
                values[str(measure)] = evidence.values(measure)[scored]
        means = intervals(values, seed)
        for name, value in grouped.items():
            means |= intervals({name: value}, seed)
        counts = _counts(outcome, data)
        ids = [id for id, kept in zip(data.queries.ids, scored, strict=True) if kept]
        scores = {str(measure): means[str(measure)] for measure in measures}
        notes = [*_notes(counts, data, measures)]
        return Verdict(scores, {"query_id": ids, **values}, counts, notes)

    def lacks(self, data: Retrieval) -> str:
        """Collections without judgments are searched, and nothing else."""
        return "" if data.qrels.judged.any() else "judgments: it can be searched, not evaluated"

    def describe(self, data: Retrieval) -> Description:
        """Documents, queries and how they are judged."""
        lengths = [len(text) for text in data.corpus.texts]
        judged = data.qrels.judged
        relevant = np.bincount(data.qrels.query_rows, data.qrels.gains > 0, len(data.queries))
        graph = qrel_graph(data.qrels)
        passages = (
            "" if data.corpus.parents is None else f" of {count(len(data.corpus), 'passage')}"
        )
        documents = f"{len(data.corpus.ranked):,}{passages}"
        density = f"{graph.density:.6f}, of documents {graph.document_density:.6f}"
        counts = {
            "documents": f"{documents}, {np.mean(lengths):,.0f} characters on average",
            "queries": f"{len(data.queries):,}, {int(judged.sum()):,} of them judged",
            "relevant": f"{relevant[judged].mean():.2f} documents a judged query",
            "average query strength": f"{graph.strength:.4f}",
            "query graph density": density,
        }
        if data.candidates is not None:
            each = len(data.candidates.docs) / len(data.queries)
            counts["candidates"] = f"{each:,.1f} documents a query may be ranked (reranking)"
        columns = ("query", "gain", "document", "text")
        return Description(counts, columns, [*_samples(data)], frozenset({1}))


def _counts(run: Run, data: Retrieval) -> dict[str, int]:
    """What was ranked and judged, and what is odd about it."""
    scored, qrels = data.qrels.judged, data.qrels
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
    return counts


def _notes(counts: dict[str, int], data: Retrieval, measures: Sequence[Measure]) -> Iterator[str]:
    examples = {
        "judgments_of_unknown_documents": data.qrels.unknown_document,
        "judgments_of_unknown_queries": data.qrels.unknown_query,
    }
    for name in NOTED:
        if counts.get(name):
            example = f", as {examples[name]}" if examples.get(name) else ""
            yield f"{counts[name]} {name.replace('_', ' ')}{example}"
    deepest = max(measure.cutoff or 0 for measure in measures)
    if deepest > len(data.corpus.ranked):
        yield f"a cut-off of {deepest:,} is beyond the {count(len(data.corpus.ranked), 'document')}"


def _samples(data: Retrieval) -> Iterator[tuple[str, ...]]:
    """Some judged queries, each with its highest gains."""
    parents = data.corpus.parents
    for query in np.flatnonzero(data.qrels.judged)[:SAMPLES]:
        own = slice(data.qrels.indptr[query], data.qrels.indptr[query + 1])
        judged = zip(data.qrels.docs[own], data.qrels.gains[own], strict=True)
        for doc, gain in sorted(judged, key=lambda pair: -pair[1])[:SAMPLES]:
            text, name = "(not in the corpus)", "?"
            if doc >= 0:
                first = doc if parents is None else int((parents == doc).argmax())
                text, name = data.corpus.texts[first], data.corpus.ranked[doc]
            yield data.queries.texts[query], f"{gain:g}", name, text
