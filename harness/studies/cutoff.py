"""Relevance cut-off: what one threshold on a model's scores returns, and when it returns nothing.

A ranking always has a first document. Whoever shows only what is relevant, or nothing, needs a
threshold that holds for all queries, and so scores that mean the same for all of them. Thresholds
are chosen on one half of the queries and applied to the other. They are set beside those on scores
made comparable in several ways (a model that learns such a map: Cosine Adapter, arXiv 2408.04887),
one of which returns equally many documents for every query, and beside the best that a threshold
of each query's own could reach.

When to return nothing is asked of the queries as they are, whose rankings are better or worse
(MTEB's abstention), and of queries whose relevant documents have been taken away.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import numpy as np

from harness.arrays import Float64
from harness.data import Retrieval
from harness.errors import InputError
from harness.frames import Column, Frame
from harness.frames.charts import Dots, Lines, Reference
from harness.frames.formats import percent
from harness.measures import thresholds
from harness.measures.thresholds import Curve, Pool, confidences, pool, return_above, unanswerable
from harness.session import Session
from harness.stats import Estimate, estimate
from harness.studies import STUDIES, Findings, Study
from harness.vectors import Run
from harness.wording import count

WHOLE = 10_000  # documents of a corpus that are all scored, where the pairs are not too many
PAIRS = 5_000_000
DEPTH = 1000  # documents scored otherwise
RECALLS = (0.5, 0.8, 0.9, 0.95)
POINTS = 100  # of a curve, kept for its figure
CONFIDENCES = {
    "max": "highest score", "std": "deviation of scores", "diff1": "first less second",
    "z": "first's z-score",
}  # fmt: skip
WAY = [Column("system"), Column("compared by", about="how scores of queries are made alike")]
SYSTEMS = [
    Column("system"),
    Column("score", "estimate", "high", "mean of the measure"),
    Column("own best", "estimate", "high", "mean F1 if each query had its own best threshold"),
]
THRESHOLDS = [
    *WAY,
    Column("PR-AUC", "score", "high", "under precision and recall over all pairs"),
    Column("threshold", "number", about="of the highest F1 over all pairs"),
    Column("F1 of pairs", "score", "high", "chosen on the queries that it is measured on"),
    Column("held out", "score", "high", "the same, chosen on the other half of the queries"),
    Column("mean F1", "estimate", "high", "of queries, held out"),
    Column("gain", "change", "high", "mean F1 beside that on scores as they are, paired"),
]
RETURNED = [
    *WAY,
    Column("documents", "number", about="a query", digits=1),
    Column("nothing", "share", about="queries that get no document"),
    Column("nothing relevant", "share", "low", "queries that get documents, none of it relevant"),
    Column("refused", "share", "high", "queries that get none when nothing relevant is there"),
]
AT_RECALL = [*WAY, *(Column(f"recall {recall:g}", "score", "high") for recall in RECALLS)]
ABSTENTION = [
    Column("system"),
    Column("confidence"),
    Column("nAUC", "score", "high", "0 by chance, 1 for an oracle"),
    Column("nAUC, half", "score", "high", "the same, half of the queries unanswerable"),
    Column("AUROC", "estimate", "high", "answerable against unanswerable; 0.5 by chance"),
]
CURVES = [
    *WAY,
    Column("threshold", "number"),
    *(Column(name, "score") for name in ("recall", "precision")),
    Column("documents", "number"),
]
FRAMES = {
    "systems": ("", SYSTEMS),
    "thresholds": ("One threshold for all queries", THRESHOLDS),
    "returned": ("What queries get at the threshold of the best mean F1, held out", RETURNED),
    "recall": ("Precision over all pairs at a recall of at least", AT_RECALL),
    "abstention": ("When to return nothing: does the measure, or an answer, follow?", ABSTENTION),
    "curves": ("Precision and recall of every threshold", CURVES),
}


@STUDIES.register("cutoff")
@dataclass(frozen=True)
class Cutoff(Study):
    """What one threshold on scores returns, and whether a model knows when to return nothing."""

    depth: Annotated[
        int | None,
        "documents scored for each query; by default all, at most 1,000 of a large corpus",
    ] = None
    measure: Annotated[
        str, "measure, with a value for each query, that returning nothing should improve"
    ] = "nDCG@10"

    def __post_init__(self) -> None:
        if self.depth is not None and self.depth < 1:
            raise InputError(f"depth={self.depth}: expected at least 1")

    def run(self, session: Session, systems: Sequence[str], task: str) -> Findings:
        """Cut the rankings of systems off by thresholds.

        Raises:
            InputError: for a task of another kind or with fewer than two answerable queries, for a
                measure of groups, for a system that finds nothing relevant; as `Session.grid`.
        """
        asked = session.collection(task, self.measure)
        data, measure = asked.collection, asked.main
        depth, counts = self._depth(data)
        grid = session.grid(systems, [asked], depth=depth)
        cuts = _Cuts(data, session.seed)
        for system, (cell,) in zip(grid.systems, grid.cells, strict=True):
            session.progress(f"cut off {system}", 0, 0, "")
            run = Run(cell.run.docs[:, :depth], cell.run.scores[:, :depth])
            cuts.add(system, run, cell.values)
        titles = {"systems": f"{measure} on {task}: {counts}"}
        frames = [
            Frame(titles.get(n, said), columns, cuts.rows[n], name=n, shown=n != "curves")
            for n, (said, columns) in FRAMES.items()
        ]
        return Findings(headline(task, *frames[:3]), frames, charts(frames), grid.notes)

    def _depth(self, data: Retrieval) -> tuple[int, str]:
        """Documents of a query that are scored; and what is scored, in words."""
        documents, queries = len(data.corpus.ranked), int(data.qrels.judged.sum())
        whole = documents <= WHOLE and documents * queries <= PAIRS
        depth = min(self.depth or (documents if whole else DEPTH), documents)
        relevant = int(((data.qrels if data.binary is None else data.binary).gains > 0).sum())
        scored = "all" if depth == documents else f"the first {depth:,}"
        return depth, (
            f"{count(queries, 'query')}, {scored} of {count(documents, 'document')} scored, "
            f"{count(relevant, 'pair')} "
            f"relevant, {percent(relevant / (queries * documents), 2)}"
        )


@dataclass(frozen=True)
class _Cuts:
    """Rankings of a collection cut off; rows of FRAMES grow, system after system."""

    data: Retrieval
    seed: int
    rows: dict[str, list[tuple[Any, ...]]] = field(default_factory=lambda: {n: [] for n in FRAMES})

    def add(self, system: str, run: Run, values: Float64) -> None:
        """Cut off one system's ranking [q, k]. values: its measure, one a judged query."""
        pairs, without = pool(run, self.data), unanswerable(run, self.data)
        if not pairs.relevant.any():
            raise InputError(f"{system} finds no relevant document: there is nothing to cut off")
        lacking, plain = pool(without, self.data), None
        for name in thresholds.WAYS:
            cut = self._cut(
                (system, name), pairs.with_scores(name), lacking.with_scores(name), plain
            )
            plain = cut if plain is None else plain
        judged = np.flatnonzero(self.data.qrels.judged)
        sure, unsure = ({n: c[judged] for n, c in confidences(r).items()} for r in (run, without))
        told = abstention(sure, unsure, pairs.wanted > 0, values, self.seed)
        self.rows["abstention"] += [(system, *row) for row in told]
        own = estimate(thresholds.own_best(pairs), self.seed)
        self.rows["systems"].append((system, estimate(values, self.seed), own))

    def _cut(
        self,
        names: tuple[str, str],
        pairs: Pool,
        lacking: Pool,
        plain: Float64 | None,
    ) -> Float64:
        """Cut off by scores compared in one way; F1 of each query [q].

        plain: that of scores as they are. lacking: the pairs of the queries without their relevant
        documents.
        """
        whole = thresholds.curve(pairs)
        over_pairs, over_queries = thresholds.held_out(pairs, ("f1", "mean_f1"), self.seed)
        got, none = (
            return_above(pairs, over_queries),
            return_above(lacking, over_queries),
        )
        each = got.each_f1
        f1 = (whole.best("f1"), whole.f1.max(), return_above(pairs, over_pairs).f1)
        gain = None if plain is None else estimate(each - plain, self.seed)
        for name, row in {
            "thresholds": (whole.average_precision, *f1, estimate(each, self.seed), gain),
            "returned": (got.documents.mean(), got.empty, got.wrong, none.empty),
            "recall": tuple(whole.precision_at(recall) for recall in RECALLS),
        }.items():
            self.rows[name].append((*names, *row))
        self.rows["curves"] += [(*names, *point) for point in _points(whole)]
        return each


def _points(whole: Curve) -> list[tuple[float, ...]]:
    """About POINTS of a curve, evenly along its recall, with both ends."""
    wanted = np.linspace(whole.recall[0], whole.recall[-1], POINTS)
    rows = np.unique(np.searchsorted(whole.recall, wanted))
    columns = (whole.threshold, whole.recall, whole.precision, whole.size)
    return list(zip(*(column[rows] for column in columns), strict=True))


def abstention(
    sure: Mapping[str, Float64], unsure: Mapping[str, Float64], answerable: thresholds.Bools,
    values: Float64, seed: int,
) -> list[tuple[Any, ...]]:  # fmt: skip
    """What confidences [q] by name tell: with the relevant documents and without them."""
    drawn, rows = thresholds.halves(len(values), seed), list[tuple[Any, ...]]()
    for name, confidence in sure.items():
        without = unsure[name]
        half = thresholds.nauc(np.where(drawn, without, confidence), np.where(drawn, 0, values))
        apart = estimate(thresholds.auroc(confidence[answerable], without[answerable]), seed)
        auroc = Estimate(apart.mean, max(apart.low or 0, 0.0), min(apart.high or 0, 1.0))
        rows.append((CONFIDENCES[name], thresholds.nauc(confidence, values), half, auroc))
    return rows


def charts(frames: Sequence[Frame]) -> list[Lines | Dots]:
    """Precision and recall of every threshold; F1 of the held-out one by way to compare scores."""
    systems, found, curves = frames[0], frames[1], frames[-1]
    best = [one.mean for one in systems.estimates("own best") if one.mean is not None]
    own = [Reference(mean, "each query's own best") for mean in best]
    shown = curves.where("compared by", "score", "rank")
    return [
        Lines(shown, "recall", "precision", "system", "compared by", points=False),
        Dots(found, "mean F1", "compared by", "system", references=tuple(own[:1])),
    ]


def headline(task: str, systems: Frame, found: Frame, got: Frame) -> str:
    """What one threshold reaches for the first system, by the best way, and at best."""
    name = systems["system"][0]
    plain, *others = found.where("system", name).records()
    best = max(others, key=lambda row: row["mean F1"].mean)
    own, refused = systems.numbers("own best")[0], got.numbers("refused")[0]
    return (
        f"{name} on {task}: one threshold reaches mean F1 {plain['mean F1'].mean:.2f} on scores, "
        f"{best['mean F1'].mean:.2f} by {best['compared by']}, {own:.2f} if each query had its "
        f"own; {percent(refused, 0)} of unanswerable queries get nothing"
    )
