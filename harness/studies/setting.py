"""A setting of an index beside exact search: what it finds of a task, how fast, in what memory."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from harness.analysis import approximation, timing
from harness.arrays import Float64
from harness.errors import InputError
from harness.frames import Frame
from harness.indexes import INDEXES, Searcher
from harness.measures.neighbours import neighbour_overlap
from harness.session import Session
from harness.stats import Estimate
from harness.tasks import Task
from harness.tasks.vectors import TaskVectors
from harness.vectors import Representation, Run, Sparse

ACCURACIES = (0.90, 0.95, 0.97, 0.99)  # that the fastest setting is told for
BUDGETS = (None, 2.0, 1.5)  # times the bytes of exact search, as in Bruch et al. (ECIR 2025)

KeptVerdict = Literal["kept", "lost", "undecided"]
"""Whether a setting keeps what exact search has: the whole interval says so, or says not."""


@dataclass(frozen=True)
class ExactReference:
    """What settings are set beside: exact search of a task by a model's vectors.

    Attributes:
        vectors: Of the task, at length 1 where the model compares by cosine.
        near: Nearest neighbours that recall is of.
        truth: Exact search [q, k], as deep as neighbours and measure need.
        values: The task's measure, one value for each judged query.
    """

    vectors: TaskVectors
    near: int
    truth: Run
    values: Float64

    @property
    def cutoff(self) -> int:
        """Results that the measure looks at."""
        return self.vectors.task.main.depth


@dataclass(frozen=True)
class NeighbourSearch:
    """A search for the k best of each query: what it finds of the exact ones, and its time.

    Attributes:
        k: Results asked for, at most all documents.
        recall: Of the k nearest, tied ones counting.
        overlap: The same by id alone.
        milliseconds: Of single queries on one thread.
        rate: Of all queries at once.
    """

    k: int
    recall: Estimate
    overlap: Estimate
    milliseconds: Float64
    rate: timing.Rate

    @property
    def p50(self) -> float:
        """The median latency in milliseconds."""
        return float(np.median(self.milliseconds))

    @property
    def numbers(self) -> tuple[Any, ...]:
        """A row: k, recall, overlap, distances, p50, p95, p99, queries timed, and the rates."""
        times = np.percentile(self.milliseconds, (50, 95, 99)).tolist()
        found = (self.k, self.recall, self.overlap.mean, self.rate.distances, *times)
        rates = self.rate.per_second, self.rate.per_cpu_second
        return (*found, len(self.milliseconds), *rates)


@dataclass(frozen=True)
class TriedSetting:
    """A setting that was tried.

    Attributes:
        index: As it was asked for.
        values: The task's measure, one value for each judged query.
        near: A search for the nearest neighbours.
        asked: One for as many results as the measure looks at.
        lost_shares: Of each judged query, the share of the relevant documents that exact search
            finds and the setting does not.
        lost: Ids of query and relevant document that only exact search finds, and whether the
            query is left without any.
        build_s: Wall seconds until it could be searched.
        reused: It was read, not built.
        bytes: To serve it; None where the index does not tell.
        notes: What was noticed, a sentence each.
    """

    index: str
    values: Float64
    near: NeighbourSearch
    asked: NeighbourSearch
    lost_shares: Float64
    lost: tuple[tuple[str, str, bool], ...]
    build_s: float
    reused: bool
    bytes: int | None
    notes: tuple[str, ...]


def search_exactly(session: Session, model: str, task: Task, near: int) -> ExactReference:
    """Encode a task and search it exactly, for the measure and so many neighbours."""
    kinds = INDEXES.create("exact").accepts
    vectors = session.vectors(model, task, representations=kinds)
    exact = session.index("exact", vectors.documents)
    truth = session.retrieve(vectors, exact, max(near, task.main.depth))
    return ExactReference(vectors, near, truth, session.values(truth, task))


def attempt(session: Session, exact: ExactReference, index: str) -> TriedSetting:
    """Search by one setting, and time it."""
    vectors, begun = exact.vectors, time.perf_counter()
    # beside graphs of the processor, not whichever is sooner on this machine
    timed = "exact,device=cpu" if index == "exact" else index
    made = session.index(timed, vectors.documents)
    build_s, data = time.perf_counter() - begun, vectors.task.collection
    runs, searches = dict[int, Run](), dict[int, NeighbourSearch]()
    for k in dict.fromkeys((exact.near, exact.cutoff)):
        runs[k] = session.retrieve(vectors, made, k)
        searches[k] = _search(session, exact, made, runs[k], k)
    run = runs[exact.cutoff]
    truth = exact.truth.docs[:, : exact.cutoff]
    gone = approximation.find_lost(data.qrels, len(data.corpus), truth, run.docs)
    lost = tuple(
        (data.queries.ids[query], data.corpus.ids[document], bool(alone))
        for query, document, alone in zip(*gone, strict=True)
    )
    deepest = max(exact.near, exact.cutoff) + vectors.task.exclude_self
    return TriedSetting(
        index=index,
        values=session.values(run, vectors.task),
        near=searches[exact.near],
        asked=searches[exact.cutoff],
        lost_shares=approximation.share_lost(data.qrels, len(data.corpus), truth, run.docs),
        lost=lost,
        build_s=build_s,
        reused=bool(made.info.reused),
        bytes=made.info.bytes,
        notes=(*made.info.notes, *find_notes(index, min(deepest, len(vectors.documents)))),
    )


def _search(
    session: Session, exact: ExactReference, made: Searcher, run: Run, k: int
) -> NeighbourSearch:
    """A run's k best beside exact search; time and distances of a search for as many."""
    queries, documents = exact.vectors.queries, exact.vectors.documents
    k, n = min(k, exact.truth.docs.shape[1]), len(documents)
    recall = approximation.recall(run, exact.truth, k, queries, documents)
    asked = min(k + exact.vectors.task.exclude_self, n)
    rate = timing.rate(made, queries, asked)
    if made.info.exact and not isinstance(documents, Sparse):  # whose lists leave most out
        rate = timing.Rate(rate.per_second, rate.per_cpu_second, n)
    return NeighbourSearch(
        k,
        session.estimate(recall),
        session.estimate(neighbour_overlap(run, exact.truth, k)),
        timing.latencies(made, queries, asked),
        rate,
    )


def find_notes(spec: str, k: int) -> tuple[str, ...]:
    """What a search for k will not do as the parameters of an index say."""
    return INDEXES.create(spec).notes(k)


def judge_margin(
    session: Session, tried: TriedSetting, exact: ExactReference, margin: float
) -> KeptVerdict:
    """Whether a setting keeps the measure of exact search, but for a share of it.

    A test of non-inferiority, paired by query: the 95% interval of the score less that share of the
    exact one must lie at or above 0. And so must that of the relevant documents that exact search
    finds and the setting does not, below the same share: what is found instead makes up for none.
    """
    kept = session.estimate(tried.values - (1 - margin) * exact.values)
    lost = session.estimate(tried.lost_shares)
    each = _place(kept, 0.0), _place(Estimate(None, -(lost.high or 0), -(lost.low or 0)), -margin)
    return "lost" if "lost" in each else "undecided" if "undecided" in each else "kept"


def _place(found: Estimate, least: float) -> KeptVerdict:
    """Where the whole interval of an estimate lies. Equal sums differ by their rounding."""
    if found.low is None or found.high is None:
        return "undecided"
    if found.low >= least - 1e-12:
        return "kept"
    return "lost" if found.high < least - 1e-12 else "undecided"


def cheapest(
    tried: Sequence[TriedSetting],
    measured: Sequence[KeptVerdict],
    measure: str,
    *,
    near: int,
    recall: float,
    margin: float,
) -> list[tuple[Any, ...]]:
    """The cheapest setting that is shown to keep recall, and the one that keeps the measure.

    Args:
        tried: Exact search first.
        measured: What `judge_margin` says of each.
        measure: What its values are of.
        near: Neighbours that recall is of.
        recall: Share of them that is enough.
        margin: Share of the measure that may be lost.

    Returns:
        What is kept, the setting or None, of how many settings the queries cannot tell, by what it
        is cheap, its distances and its latency.
    """
    _, *others = tried
    told = all(None not in (t.near.rate.distances, t.asked.rate.distances) for t in others)
    by = "distances" if told else "p50"
    each = [(t, _place(t.near.recall, recall)) for t in others]
    near_best = _find_cheapest([(t.index, t.near, kept) for t, kept in each], by)
    each = list(zip(others, measured[1:], strict=True))
    asked_best = _find_cheapest([(t.index, t.asked, kept) for t, kept in each], by)
    return [
        (f"recall@{near} of at least {recall:g}", *near_best),
        (f"{measure} within {margin:.1%} of exact search", *asked_best),
    ]


def _find_cheapest(
    judged: Sequence[tuple[str, NeighbourSearch, KeptVerdict]], by: str
) -> tuple[Any, ...]:
    """The cheapest that is kept, or None, and what `cheapest` tells of it."""
    costs = [
        (s.rate.distances if by == "distances" else s.p50, index, s.rate.distances, s.p50)
        for index, s, kept in judged
        if kept == "kept"
    ]
    _, *found = min(costs, key=lambda cost: cost[:2], default=(None,) * 4)
    return found[0], sum(kept == "undecided" for *_, kept in judged), by, *found[1:]


def fastest(tried: Sequence[TriedSetting], near: int) -> list[tuple[Any, ...]]:
    """The fastest setting at each accuracy, and within less memory where it is another one.

    A setting has an accuracy where the whole 95% interval of its own reaches it.

    Returns:
        What is kept, memory in times of exact search, the setting or None, its latency.
    """
    exact, *others = tried
    answers = list[tuple[Any, ...]]()
    for accuracy in ACCURACIES:
        for budget in BUDGETS:
            most = np.inf if budget is None else budget * (exact.bytes or 0)
            costs = [
                (t.near.p50, t.index)
                for t in others
                if _place(t.near.overlap, accuracy) == "kept"
                and (budget is None or (t.bytes or np.inf) <= most)
            ]
            cost, index = min(costs, default=(None, None))
            row = (f"accuracy@{near} of at least {accuracy:.0%}", budget, index, cost)
            if budget is None or row[2:] != answers[-1][2:]:
                answers.append(row)
    return answers


def tell_kept(answers: Frame, notes: Sequence[str]) -> str:
    """Say what the cheapest setting of each row keeps, and where notes say that it is not as named.

    notes: those of a setting begin with its task, model and index.
    """
    said = list[str]()
    for task, model, kept, index, unknown, *_ in answers.rows:
        noted = any(note.startswith(f"{task}, {model}, {index}: ") for note in notes)
        if index is None and unknown:
            said.append(f"nothing tried is shown to keep {kept}, {unknown} undecided")
        else:
            said.append(f"{index or 'nothing tried'}{' (see the notes)' * noted} keeps {kept}")
    return "; ".join(said)


def note_slower(tried: Sequence[TriedSetting]) -> tuple[str, ...]:
    """Say so where no setting is faster than exact search, which is tried first."""
    exact, *others = (one.near.p50 for one in tried)
    return () if min(others) < exact else (f"none is faster than exact search: {exact:.2g} ms",)


def fitting_indexes(
    session: Session, models: Sequence[str], task: Task, indexes: Sequence[str]
) -> dict[str, list[str]]:
    """The indexes that take each model's vectors, exact search first.

    Raises:
        InputError: for an index or a model that is left with none, and for missing libraries.
    """
    makes = {model: session.encoder(model, task).representation for model in models}
    made = " and ".join(f"{model} makes {kind}" for model, kind in makes.items())
    takes = dict[str, tuple[str, ...]]()
    for spec in indexes:
        index = INDEXES.create(spec)
        takes[spec] = index.accepts
        kinds = set(makes.values()).intersection(index.accepts)
        if not kinds:
            said = " or ".join(index.accepts)
            raise InputError(f"index {spec} takes {said} vectors and {made}: choose another index")
        for kind in sorted(kinds):
            index.require(kind)
    fitting = {m: [spec for spec in indexes if kind in takes[spec]] for m, kind in makes.items()}
    for model, own in fitting.items():
        if len(own) == 1:
            raise InputError(
                f"{model} makes {makes[model]} vectors, which none of these indexes takes: "
                f"{', '.join(list(indexes)[1:])}; name one that does, or leave the model out"
            )
    return fitting


def check_index(spec: str, makes: Representation) -> None:
    """Refuse an index that does not take such vectors, or whose libraries are missing.

    Raises:
        InputError: It does not, or they are.
    """
    index = INDEXES.create(spec)
    if makes not in index.accepts:
        takes = " or ".join(index.accepts)
        raise InputError(f"index {spec} takes {takes} vectors: expected {makes}")
    index.require(makes)
