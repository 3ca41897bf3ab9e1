"""What vectors of a dimension could return, and what a model returns with them.

A model's recall at k on a task, with ever more of its dimensions, is set beside vectors that no
text ties: free ones, optimised on the task's judgments or for every subset of k documents (Weller
et al. 2025, arXiv 2508.21038), and exact ones on the moment curve, which return anything if numbers
are fine enough. So what a model misses is told apart from what its dimension forbids.

Optimisations are kept in the store's folder `capacity`: a study that was stopped goes on from them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, Literal

from harness.analysis.critical_numbers import Critical, Trials, critical_n, optimise_ascending
from harness.analysis.dimension_bounds import TABLE_6, fit, margin_bound
from harness.analysis.free_vectors import Trial
from harness.analysis.moment_curve import PRECISIONS, oracle
from harness.analysis.relevance import Relevance, judged
from harness.analysis.truncation import cuts, dimensions
from harness.charts import Lines, Reference
from harness.errors import InputError
from harness.formats import percent
from harness.frames import Column, Frame
from harness.session import Session
from harness.studies import STUDIES, Findings, Study
from harness.tasks import Task
from harness.vectors import Dense

ENOUGH = 8  # critical numbers for a cubic: twice its coefficients
EXTRAPOLATED = (512, 768, 1024, 3072, 4096)
FREE, EXACT = "free vectors", "exact vectors, float32"
PUBLISHED = "Weller et al. 2025, Table 6"

DIMENSIONS = Column("dimensions", "count")
RETURNED = Column("returned", "share", "high", "of the relevant documents", digits=2)
ASKED = [
    Column("task"),
    Column("k", "count", about="documents to return for a query"),
    Column("documents", "count"),
    Column("queries", "count", about="to which some document is relevant"),
    Column("relevant", "count", about="documents that are relevant to some query"),
]
STANDING = [
    Column("vectors"),
    replace(DIMENSIONS, about="of the bound: no fewer return every k documents; – for any"),
    replace(RETURNED, about="of the model: recall at k; of others: of all relevant pairs"),
    Column("margin", "number", about="half the least gap of cosines; below 0: not all returned"),
]
POINTS = [Column("vectors"), DIMENSIONS, RETURNED]
PRECISE = [
    Column("precision", about="of vectors and scores"),
    Column("similarity"),
    DIMENSIONS,
    RETURNED,
    Column("least gap", "number", "high", "between a relevant and another document; – overflow"),
]
CRITICAL = [
    DIMENSIONS,
    Column("all returned", "count", "high", "the largest number of documents that was reached"),
    Column("not", "count", about="the smallest larger one that was not; – where none was tried"),
    Column("margin", "number", about="of the optimisation that reached it"),
    Column("published", "count", about=f"of pairs: {PUBLISHED}"),
    Column("seconds", "seconds", about="that all attempts took when they were made"),
]
TRIALS = [
    Column("relevance", about="every subset of k of n documents, or a task's judgments"),
    *(Column(name, "count") for name in ("queries", "documents", "dimensions", "seed")),
    RETURNED,
    *(Column(name, "number") for name in ("margin", "loss")),
    Column("iterations", "count"),
    Column("seconds", "seconds"),
    *(Column(name) for name in ("device", "torch")),
]
CURVES = [Column("curve"), DIMENSIONS, Column("documents", "number", digits=0)]
FIT = [
    Column("r²", "number", about="share of the variance that the cubic explains", digits=6),
    *(Column(f"c{power}", "number", about=f"of dimensions^{power}") for power in range(4)),
]


@STUDIES.register("capacity")
@dataclass(frozen=True)
class Capacity(Study):
    """What vectors of a model's dimension could return, beside what the model returns."""

    takes: ClassVar[Literal["one", "many"]] = "one"
    default_seed: ClassVar[int] = 42
    old_options: ClassVar[Mapping[str, str]] = {"--dim": "dims"}

    dims: Annotated[
        tuple[int, ...],
        "dimensions for which the most documents are sought whose every subset of k free vectors "
        "return",
    ] = (4, 5, 6)
    k: Annotated[int, "documents to return for a query: recall at k, subsets of k"] = 2
    gamma: Annotated[
        float, "margin of the bound: half the gap of cosines, above 0 and at most 1"
    ] = 0.1
    device: Annotated[str, "optimises free vectors: cpu, cuda, or auto, a GPU where one is"] = (
        "auto"
    )

    def __post_init__(self) -> None:
        if self.k < 1 or min(self.dims, default=1) < 1:
            raise InputError(f"k={self.k}, dims={self.dims}: expected 1 or more")

    def run(self, session: Session, systems: Sequence[str], task: str) -> Findings:
        """Set a model's recall at k on a task beside what vectors of its dimension could reach.

        Raises:
            InputError: for a task of another kind or without judgments, a margin that is out of
                range, more results than documents; as `Session.vectors`.
            HarnessError: where the folder of optimisations cannot be used.
        """
        (model,), asked = systems, session.collection(task, f"R@{self.k}")
        n = len(asked.collection.corpus)
        bound, relevance = margin_bound(n, self.k, self.gamma), judged(asked.collection.qrels)
        recalls, notes = recall_by_dimension(session, model, asked)
        folder = session.store.root / "capacity"
        trials = Trials(folder, session.seed, device=self.device, progress=session.progress)
        critical = [critical_n(dim, self.k, trials) for dim in sorted(set(self.dims))]
        free = optimise_ascending(relevance, max(recalls), trials)
        exact = _exact(relevance)
        points = _points(model, recalls, free, exact)
        standing = _standing(points, exact, free[-1].margin)
        standing += [("margin bound", bound, None, self.gamma), ("chance", None, self.k / n, None)]
        counts = (n, relevance.queries, relevance.documents)
        title = f"{model} on {task}: {counts[1]:,} queries, {counts[2]:,} relevant documents"
        frames = [
            Frame(title, STANDING, standing, name="standing"),
            Frame("Asked", ASKED, [(task, self.k, *counts)], name="asked", turned=True),
            _by_dimension(points.where("vectors", model, FREE)),
            exact,
            _critical(critical, self.k),
            *_cubics(critical, self.k, max(recalls)),
            points,
            _curves(critical, self.k, max(recalls)),
            _trials([*(trial for found in critical for trial in found.trials), *free]),
        ]
        notes += trials.notes
        return Findings(headline(task, points), frames, charts(*frames[:2], *frames[-3:-1]), notes)


def recall_by_dimension(
    session: Session, model: str, task: Task
) -> tuple[dict[int, float], list[str]]:
    """Score a model with its first 2, 4, 8 ... and all dimensions, by exact search.

    Args:
        session: Where vectors are from.
        model: Spec of an encoder.
        task: Its main measure is scored.

    Returns:
        Means by dimensions kept, ascending; and what was noticed.
    """
    made = session.vectors(model, task, scaled=False)
    kept, recalls = dimensions((), made.arrays["documents"].shape[1]), dict[int, float]()
    for dim, cut in cuts(made.arrays, kept, "truncate", scaled=made.similarity == "cosine"):
        session.progress("score truncate", len(recalls), len(kept), "dimensions")
        vectors = replace(made, parts={name: Dense(values) for name, values in cut.items()})
        searcher = session.index("exact", vectors.documents)
        run = session.retrieve(vectors, searcher, task.main.depth)
        recalls[dim] = float(session.values(run, task).mean())
    session.progress("score truncate", len(kept), len(kept), "dimensions")
    return recalls, list(made.notes)


def _points(model: str, recalls: Mapping[int, float], free: Sequence[Trial], exact: Frame) -> Frame:
    rows = [(model, dim, recall) for dim, recall in recalls.items()]
    rows += [(FREE, trial.dim, trial.accuracy) for trial in free]
    drawn = exact.where("precision", "float32").records()[0]
    rows.append((EXACT, drawn["dimensions"], drawn["returned"]))
    return Frame("Returned by dimensions", POINTS, rows, name="points", shown=False)


def _by_dimension(points: Frame) -> Frame:
    """Points as a page shows them, a column each for the model and free vectors."""
    title, by = "Returned with the first dimensions", points.sorted_by("dimensions")
    return by.pivot("dimensions", "vectors", "returned", title=title, name="dimensions")


def _exact(relevance: Relevance) -> Frame:
    rows = [
        (one.precision, "cosine" if unit else "inner product", one.dim, one.recall, one.margin)
        for unit in (False, True)
        for one in (oracle(relevance, precision, unit=unit) for precision in PRECISIONS)
    ]
    return Frame("Exact vectors (moment curve)", PRECISE, rows, name="exact")


def _standing(points: Frame, exact: Frame, margin: float) -> list[tuple[Any, ...]]:
    """Rows of STANDING that were measured."""
    model, free = (points.where("vectors", name).rows[-1] for name in points.values("vectors")[:2])
    best = exact.records()[0]
    name = f"exact vectors, {best['precision']}"
    return [(*model, None), (*free, margin), (name, best["dimensions"], best["returned"], None)]


def _critical(critical: Sequence[Critical], k: int) -> Frame:
    rows = []
    for found in critical:
        margins = [trial.margin for trial in found.trials if trial.documents == found.reached]
        published = TABLE_6.get(found.dim) if k == 2 else None
        numbers = (found.dim, found.reached, found.broken)
        rows.append((*numbers, margins[-1] if margins else None, published, found.seconds))
    title = f"Documents of which free vectors return every {k}"
    return Frame(title, CRITICAL, rows, name="critical")


def _cubics(critical: Sequence[Critical], k: int, most: int) -> list[Frame]:
    """Where cubics go; nothing where one turns down beyond what it was fitted to."""
    reached = {found.dim: found.reached for found in critical}
    fitted = {PUBLISHED: fit(TABLE_6)} if k == 2 else {}
    if len(reached) >= ENOUGH:
        fitted["measured here"] = fit(reached)
    dims, least = sorted({*EXTRAPOLATED, most}), max(reached.values(), default=0)
    rows = [
        (name, *(n if n > least else None for n in map(cubic.at, dims)), cubic.r2,
         *cubic.coefficients)
        for name, cubic in fitted.items()
    ]  # fmt: skip
    at = [Column(f"{dim:,} dimensions", "number", about="documents", digits=0) for dim in dims]
    title = "The cubic through these numbers, extrapolated: no theory says that it goes on so"
    made = Frame(title, [Column("cubic"), *at, *FIT], rows, name="cubics", turned=True)
    return [made] if rows else []


def _curves(critical: Sequence[Critical], k: int, most: int) -> Frame:
    """Documents of which free vectors return every subset, as they are drawn."""
    rows: list[tuple[Any, ...]] = [("measured here", one.dim, one.reached) for one in critical]
    if k == 2:
        last, cubic = max(TABLE_6), fit(TABLE_6)
        rows += [(PUBLISHED, *point) for point in TABLE_6.items()]
        beyond = [last * (most / last) ** (i / 8) for i in range(9)] if most > last else []
        rows += [("its cubic", round(dim), cubic.at(round(dim))) for dim in beyond]
    return Frame("Documents by dimensions", CURVES, rows, name="curves", shown=False)


def _trials(trials: Sequence[Trial]) -> Frame:
    rows = [
        (t.relevance, t.queries, t.documents, t.dim, t.seed, t.accuracy, t.margin, t.loss,
         t.iterations, t.seconds, t.device, t.torch)
        for t in trials
    ]  # fmt: skip
    return Frame("Every optimisation", TRIALS, rows, name="trials", shown=False)


def charts(standing: Frame, asked: Frame, points: Frame, curves: Frame) -> list[Lines]:
    """What is returned by dimensions, and how many documents free vectors hold."""
    (task, k, _, _, relevant), chance = asked.rows[0], standing.numbers("returned")[-1]
    by_chance = Reference(chance, f"chance {percent(chance)}", "y")
    within = Reference(asked.numbers("relevant")[0], f"{relevant:,} relevant in {task}", "y")
    title = f"Documents of which free vectors return every {'pair' if k == 2 else f'{k} of them'}"
    drawn = [
        Lines(points, "dimensions", "returned", "vectors", log="x",
              title=f"Relevant documents among the {k} best", references=(by_chance,)),
        Lines(curves, "dimensions", "documents", "curve", log="xy", title=title,
              references=(within,)),
    ]  # fmt: skip
    return drawn if len(curves) else drawn[:1]


def headline(task: str, points: Frame) -> str:
    """What the model returns with all its dimensions, and free vectors with how many."""
    model, free = (points.where("vectors", name) for name in points.values("vectors")[:2])
    recall, share = model.numbers("returned")[-1], free.numbers("returned")[-1]
    return (
        f"{model['vectors'][0]} returns {percent(recall)} of what {task} asks for with "
        f"{model['dimensions'][-1]:,} dimensions; free vectors return "
        f"{percent(share, int(share < 1))} with {free['dimensions'][-1]:,}"
    )
