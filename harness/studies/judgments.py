"""How the order of systems changes when part of the relevant documents is not judged.

Systems are searched once; then relevant documents are taken out of the judgments, and the same runs
are scored again (Rassin et al. 2024, "Evaluating D-MERIT of Partial-annotation on Information
Retrieval", arXiv 2406.16048). A document that is taken out counts as not relevant, as one that
nobody looked at does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np

from harness.analysis.partial import Bool, Ordered, keys, least_share, order_systems, relevant
from harness.errors import InputError
from harness.frames import Column, Frame, follow
from harness.frames.charts import Lines, Reference
from harness.frames.formats import percent
from harness.measures.asked import Measure
from harness.session import Session
from harness.stats import Estimate
from harness.studies import STUDIES, Findings, Study
from harness.tasks import Task
from harness.vectors import Run
from harness.wording import count

BOUNDS = (0.01, 0.05)  # of p-values, between the groups of pairs
BUCKETS = ("p < .01", "p .01 to .05", "p >= .05")
ENOUGH = 0.8  # Kendall's tau from which two orders are taken for alike, as in D-MERIT
ONE = "one a query"
SELECTIONS: Mapping[str, str] = {
    "random": "drawn at random",
    "longest": "the longest first",
    "shortest": "the shortest first",
    "popular": "those that most systems find first",
    "system": "those that one system ranks highest first, for each system in turn",
}
"""Which relevant documents of a query stay judged, by name."""
TAU = "of 95% of versions; 1: the order by all judgments, a pair that gets equal adds nothing"
TURNED = Column("turned", "share", "low", "pairs in the other order, equal ones counted half")
PAIRS = [
    Column("difference by all judgments", about="p of a paired randomisation test, two-sided"),
    Column("pairs of systems", "count"),
]
REDUCED = [
    Column("stay judged", about="; ".join(f"{name}: {what}" for name, what in SELECTIONS.items())),
    Column("of each query", about="relevant documents that stay judged, at least one"),
    Column("documents", "count", about="relevant ones that stay judged"),
    Column("share", "share", about="of all relevant documents", digits=0),
    Column("versions", "count", about="draws, or selecting systems; numbers are means over them"),
    Column("tau", "estimate", "high", f"Kendall's tau and what lies between {TAU}", digits=3),
    TURNED,
    *(Column(f"tau, {bucket}", "number", "high", digits=3) for bucket in BUCKETS),
    Column("best stays best", "share", "high", "versions with the same best system", digits=0),
]
SHARES = [
    Column("stay judged"),
    *(Column(name, "share", "low", digits=0) for name in ("all pairs", *BUCKETS)),
]
POOLS = [
    Column("depth", "count"),
    Column("to judge", "count", about="different results of all systems, up to this depth"),
    Column("relevant found", "count"),
    Column("of all", "share", "high", "relevant documents that are found"),
    Column("tau", "number", "high", "Kendall's tau of the order by what was found", digits=3),
    TURNED,
]
CURVES = [
    Column("stay judged"),
    Column("relevant documents that stay judged", "share"),
    Column("Kendall's tau", "estimate"),
]


@STUDIES.register("judgments")
@dataclass(frozen=True)
class Judgments(Study):
    """How the order of systems changes when part of the judgments is missing.

    A system is a spec, or the path of a TREC run file; at least two are put in order.
    """

    default_systems: ClassVar[tuple[str, ...]] = (
        "bm25", "bm25,k1=0.9,b=0.4", "minilm", "hashing"
    )  # fmt: skip
    default_task: ClassVar[str] = "complex-and"
    old_options: ClassVar[Mapping[str, str]] = {"--share": "shares", "--pool": "pools"}

    measure: Annotated[str, "measure that orders systems; empty: the task's main one"] = ""
    shares: Annotated[
        tuple[float, ...],
        "share of each query's relevant documents to keep judged, between 0 and 1",
    ] = (0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9)
    draws: Annotated[int, "random draws of the documents that stay judged, for each share"] = 200
    pools: Annotated[
        tuple[int, ...], "depth of pools: first results of each system that are judged"
    ] = (5, 10, 20, 50, 100)

    def __post_init__(self) -> None:
        for share in self.shares:
            if not 0 < share < 1:
                raise InputError(f"a share of {share:g}: expected one between 0 and 1")
        counts = [("draws", self.draws), *(("results in a pool", depth) for depth in self.pools)]
        for what, number in counts:
            if number < 1:
                raise InputError(f"{number} {what}: expected at least 1")

    def run(self, session: Session, systems: Sequence[str], task: str) -> Findings:
        """Order systems by all judgments and by part of them.

        Raises:
            InputError: for a single system, where no query has several relevant documents, or
                where all systems score the same; as `collection`; and what systems raise.
        """
        systems = list(dict.fromkeys(systems))
        if len(systems) < 2:
            raise InputError(f"{len(systems)} systems: expected at least two, to be put in order")
        if specs := [system for system in systems if not Path(system).is_file()]:
            session.check(specs)
        asked = session.collection(task, self.measure, low=True)
        if asked.data.kind != "retrieval":
            raise InputError(
                f"{asked.main} is of {asked.data.kind}: expected a measure of retrieval, whose "
                "judgments can be left out"
            )
        if np.bincount(relevant(asked.collection, asked.main).query, minlength=1).max() < 2:
            raise InputError("no query has two relevant documents: no judgment can be left out")
        runs, notes = _search(session, systems, specs, asked, max(asked.main.depth, *self.pools))
        order = order_systems(runs, asked.collection, asked.main, BOUNDS, session.seed)
        if equal := len(systems) * (len(systems) - 1) // 2 - len(order.pairs):
            notes.append(f"{count(equal, 'pair')} of systems left out: equal by all judgments")
        counts = [(order.bucket == at).sum() for at in range(len(BUCKETS))]
        title = "Order of systems by part of the relevant documents, beside that by all"
        reduced = Frame(title, REDUCED, self._reduce(session, order, asked), name="reduced")
        pools = [_pool(depth, runs, order) for depth in sorted(set(self.pools))]
        frames = [
            _systems(session, systems, runs, order, asked),
            Frame("Pairs", PAIRS, [*zip(BUCKETS, counts, strict=True)], name="pairs"),
            reduced,
            self._enough(reduced),
            Frame("Judging the first results of all systems (pooling)", POOLS, pools, name="pools"),
            _curves(reduced),
        ]
        alike = Reference(ENOUGH, f"{ENOUGH:g}: taken for alike", axis="y")
        _, x, y = (column.name for column in CURVES)
        chart = Lines(frames[-1], x, y, "stay judged", references=(alike,))
        return Findings(f"{task}: {headline(reduced, len(systems))}", frames, [chart], notes)

    def _reduce(self, session: Session, order: Ordered, task: Task) -> list[tuple[Any, ...]]:
        """Rows of REDUCED."""
        shares, rows = (None, *sorted(set(self.shares))), list[tuple[Any, ...]]()
        wanted = order.rankings.relevant
        for name in SELECTIONS:
            if name == "random":
                chosen = np.random.default_rng(session.seed).random((self.draws, len(wanted.rows)))
            else:
                chosen = keys(name, order.rankings, task.collection.corpus)
            places = wanted.places(chosen)
            for share in shares:
                total = len(SELECTIONS) * len(shares)
                session.progress("score again", len(rows), total, "rankings")
                cells = _row(order, wanted.first(places, share))
                rows.append((name, ONE if share is None else _share(share), *cells))
        return rows

    def _enough(self, reduced: Frame) -> Frame:
        """The least share from which on orders are alike; 1 where all judgments are needed."""
        shares, rows = sorted(set(self.shares)), list[tuple[Any, ...]]()
        for name in SELECTIONS:
            own = reduced.where("stay judged", name).where("of each query", *map(_share, shares))
            columns = ("tau", *(f"tau, {bucket}" for bucket in BUCKETS))
            rows.append(
                (name, *(least_share(shares, own.numbers(column), ENOUGH) for column in columns))
            )
        title = f"Share of relevant documents from which on tau is at least {ENOUGH}"
        return Frame(title, SHARES, rows, name="enough")


def _search(
    session: Session, systems: Sequence[str], specs: Sequence[str], task: Task, depth: int
) -> tuple[list[Run], list[str]]:
    """A run of each system, or the one that a file holds; and notes."""
    found: dict[str, tuple[Run, Sequence[str]]] = {}
    if specs:
        grid = session.grid(specs, [task], depth=depth)
        found = {
            name: (row[0].run, row[0].notes) for name, row in zip(specs, grid.cells, strict=True)
        }
    for name in systems:
        if name not in found:
            read = session.evaluate_run(Path(name), task, depth=depth)
            if read.run is not None:
                found[name] = read.run, read.record.warnings
    notes = [f"{name}: {note}" for name in systems for note in found[name][1]]
    return [found[name][0] for name in systems], notes


def _row(order: Ordered, stay: Bool) -> tuple[Any, ...]:
    """Cells of REDUCED from `documents` on. stay: which relevant documents are judged [v, p]."""
    same, kept = order.keep_order(stay), int(stay[0].sum())
    taus = same.mean(axis=0)
    ends = np.quantile(taus, [0.025, 0.975]).tolist() if len(taus) > 1 else (None, None)
    groups = (same[order.bucket == at] for at in range(len(BUCKETS)))
    of_best = (order.pairs == order.best[0]).any(axis=1)
    return (
        kept,
        kept / stay.shape[1],
        len(stay),
        Estimate(float(taus.mean()), *ends),
        (1 - taus.mean()) / 2,
        *(group.mean() if len(group) else None for group in groups),
        (same[of_best] > 0).all(axis=0).mean(),
    )


def _pool(depth: int, runs: Sequence[Run], order: Ordered) -> tuple[Any, ...]:
    """A row of POOLS: what the systems find together, and the order by it."""
    stay = np.any(order.rankings.ranks() < depth, axis=0)
    scored = order.rankings.scored
    docs = np.concatenate([run.docs[scored, :depth] for run in runs], axis=1).astype(np.int64)
    cells = np.arange(len(docs))[:, None] * (docs.max() + 1) + docs
    tau = float(order.keep_order(stay[None]).mean())
    results, found = len(np.unique(cells[docs >= 0])), int(stay.sum())
    return depth, results, found, found / len(stay), tau, (1 - tau) / 2


def _systems(
    session: Session, systems: Sequence[str], runs: Sequence[Run], order: Ordered, task: Task
) -> Frame:
    """Systems by all judgments, the best first."""
    depth, measure = task.main.depth, str(task.main)
    judged = Measure.parse(f"Judged@{depth}")
    shares = [float(session.values(run, task, judged).mean()) for run in runs]
    rows = [
        (systems[at], session.estimate(order.values[at]), shares[at], 1 - shares[at])
        for at in order.best
    ]
    columns = [
        Column("system"),
        Column(measure, "estimate", "high"),
        Column(f"judged@{depth}", "share", about="results above the cut-off with a judgment"),
        Column(f"hole@{depth}", "share", about="results above the cut-off without one"),
    ]
    queries, documents = order.values.shape[1], len(order.rankings.relevant.rows)
    title = (
        f"{measure} on {task.name}: {count(queries, 'query')}, "
        f"{count(documents, 'relevant document')}"
    )
    return Frame(title, follow(columns, task.sign), rows, name="systems")


def _curves(reduced: Frame) -> Frame:
    """Tau by what stays judged, up to all; what is random with its interval."""
    rows = list[tuple[Any, ...]]()
    for name in SELECTIONS:
        for row in reduced.where("stay judged", name).sorted_by("documents").records():
            tau = row["tau"] if name == "random" else Estimate(row["tau"].mean)
            rows.append((name, row["share"], tau))
        rows.append((name, 1.0, Estimate(1.0, 1.0, 1.0) if name == "random" else Estimate(1.0)))
    return Frame("Tau by what stays judged", CURVES, rows, name="curves", shown=False)


def _share(share: float) -> str:
    return f"{100 * share:g}%"


def headline(reduced: Frame, systems: int) -> str:
    """What one relevant document a query does, at random and by the choice that misleads most."""
    single = {row["stay judged"]: row for row in reduced.where("of each query", ONE).records()}
    worst = min(single, key=lambda name: single[name]["tau"].mean)
    turned = {name: percent(row["turned"], 0) for name, row in single.items()}
    said = (
        f"one relevant document a query turns {turned['random']} of pairs of {systems} systems if "
        "drawn at random"
    )
    if worst == "random":
        return f"{said}, more than by any other choice"
    names = {"popular": "one that most systems find", "system": "one that a system ranks highest"}
    return f"{said}, {turned[worst]} if {names.get(worst, f'the {worst} one')}"
