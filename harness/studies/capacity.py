"""What vectors of a dimension could return, and what a model returns with them.

A model's R-precision on a task (of each query the share of its relevant documents among as many
results), with ever more of its dimensions, is set beside that of vectors that no text ties: free
ones, optimised on the task's judgments or for every subset of k documents (Weller et al. 2025,
arXiv 2508.21038), and exact ones on the moment curve, which return anything if numbers are fine
enough. So what a model misses is told apart from what its dimension forbids.
Optimisations are kept in the store's folder `capacity`: a stopped study goes on from them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Annotated, Any, ClassVar, Literal

from harness.analysis.critical_numbers import Critical, Trials, critical_n, optimise_ascending
from harness.analysis.dimension_bounds import TABLE_6, check_margin, fit, margin_bound
from harness.analysis.free_vectors import Trial
from harness.analysis.moment_curve import PRECISIONS, oracle
from harness.analysis.relevance import Relevance, take_judged
from harness.errors import InputError
from harness.frames import Column, Frame
from harness.frames.charts import Lines, Reference
from harness.frames.formats import Unit, percent
from harness.session import Session
from harness.spec import join
from harness.studies import STUDIES, Findings, Study
from harness.studies.truncation import curve
from harness.tasks import Task
from harness.wording import count

EXTRAPOLATED = (512, 768, 1024, 3072, 4096)
FREE, EXACT = "free vectors", "exact vectors, float32"
CUT = "Returned with the first dimensions of the model, and by free vectors of as many"
PUBLISHED, MEASURED = "Weller et al. 2025, Table 6", "free vectors, measured here"

DIMENSIONS = Column("dimensions", "count")
RETURNED = Column(
    "returned", "share", "high", "R-precision: of as many results as are relevant", digits=2
)
ASKED = [
    Column("task"),
    Column("k", "count", about="documents of each subset that free vectors return"),
    Column("documents", "count"),
    Column("queries", "count", about="to which some document is relevant"),
    Column("relevant", "count", about="documents that are relevant to some query"),
    Column("of a query", about="relevant documents, from the fewest to the most"),
]
STANDING = [
    Column("vectors"),
    replace(DIMENSIONS, about="of the bound: no fewer return every k documents; – for any"),
    RETURNED,
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
TRIALS: Mapping[str, Unit] = {
    "relevance": "text", "queries": "count", "documents": "count", "dim": "count", "seed": "count",
    "accuracy": "share", "margin": "number", "loss": "number", "iterations": "count",
    "seconds": "seconds", "device": "text", "torch": "text",
}  # fmt: skip
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
        "dimensions of free vectors: how many documents do they return every k of",
    ] = (4, 5, 6)
    k: Annotated[int, "documents of each subset, of the bound and of free vectors"] = 2
    gamma: Annotated[float, "margin of the bound, half a gap of cosines; 0 < gamma <= 1"] = 0.1
    device: Annotated[str, "optimises free vectors: cpu, cuda or auto, a GPU if any"] = "auto"

    def __post_init__(self) -> None:
        if self.k < 1 or min(self.dims, default=1) < 1:
            raise InputError(f"k={self.k}, dims={join(self.dims)}: expected 1 or more")
        check_margin(self.gamma)

    def run(self, session: Session, systems: Sequence[str], task: str) -> Findings:
        """Set a model's R-precision on a task beside what vectors of its dimension could reach.

        Raises:
            InputError: for a task of another kind or without judgments, a margin that is out of
                range, more results than documents; as `Session.vectors`.
            HarnessError: where the folder of optimisations cannot be used.
        """
        (model,), asked = systems, session.collection(task, "Rprec")
        n = len(asked.collection.corpus)
        bound, relevance = margin_bound(n, self.k, self.gamma), take_judged(asked.collection.qrels)
        recalls, notes = _recalls(session, model, asked, relevance.queries)
        folder, device = session.store.root / "capacity", self.device
        trials = Trials(folder, session.seed, device=device, progress=session.progress)
        critical = [critical_n(dim, self.k, trials) for dim in sorted(set(self.dims))]
        free = optimise_ascending(relevance, max(recalls), trials)
        exact = _exact(relevance)
        points = _points(model, recalls, free, exact)
        standing = _standing(points, exact, free[-1].margin)
        standing += [
            ("margin bound", bound, None, self.gamma),
            ("chance", None, float(relevance.sizes.mean()) / n, None),
        ]
        counts = (n, relevance.queries, relevance.documents, _tell_sizes(relevance))
        held = f"{count(counts[1], 'query')}, {count(counts[2], 'relevant document')}"
        frames = [
            Frame(f"{model} on {task}: {held}", STANDING, standing, name="standing"),
            Frame("Asked", ASKED, [(task, self.k, *counts)], name="asked", turned=True),
            points.where("vectors", model, FREE)
            .sorted_by("dimensions")
            .pivot("dimensions", "vectors", "returned", title=CUT, name="dimensions"),
            exact,
            _critical(critical, self.k),
            *_cubics(critical, self.k, max(recalls)),
            points,
            _curves(critical, self.k, max(recalls)),
            _trials([*(trial for found in critical for trial in found.trials), *free]),
        ]
        drawn, notes = charts(*frames[:2], *frames[-3:-1]), [*notes, *trials.notes]
        return Findings(headline(task, points), frames, drawn, notes)


def _recalls(
    session: Session, model: str, task: Task, queries: int
) -> tuple[dict[int, float], list[str]]:
    """R-precision by how many of a model's first dimensions are kept; and what was noticed.

    queries: those to which something is relevant; others are judged, too, and score 0.
    """
    notes = session.vectors(model, task, scaled=False).notes
    cuts = curve(session, model, task)
    judged = int(task.collection.qrels.judged.sum())
    return {cut.dim: cut.scores[str(task.main)] * judged / queries for cut in cuts}, list(notes)


def _tell_sizes(relevance: Relevance) -> str:
    least, most = int(relevance.sizes.min()), int(relevance.sizes.max())
    return f"{least:,}" if least == most else f"{least:,} to {most:,}"


def _points(model: str, recalls: Mapping[int, float], free: Sequence[Trial], exact: Frame) -> Frame:
    rows: list[tuple[Any, ...]] = [(model, dim, recall) for dim, recall in recalls.items()]
    rows += [(FREE, trial.dim, trial.accuracy) for trial in free]
    rows += [(EXACT, *row[2:4]) for row in exact.where("precision", "float32").rows[:1]]
    return Frame("Returned by dimensions", POINTS, rows, name="points", shown=False)


def _exact(relevance: Relevance) -> Frame:
    rows = [
        (one.precision, "cosine" if one.unit else "inner product", one.dim, one.recall, one.margin)
        for one in (oracle(relevance, p, unit=unit) for unit in (False, True) for p in PRECISIONS)
    ]
    return Frame("Exact vectors (moment curve)", PRECISE, rows, name="exact")


def _standing(points: Frame, exact: Frame, margin: float) -> list[tuple[Any, ...]]:
    """Rows of STANDING that were measured."""
    model, free = (points.where("vectors", name).rows[-1] for name in points.values("vectors")[:2])
    name, _, dim, recall, _ = exact.rows[0]
    return [(*model, None), (*free, margin), (f"exact vectors, {name}", dim, recall, None)]


def _critical(critical: Sequence[Critical], k: int) -> Frame:
    rows = []
    for found in critical:
        margins = [trial.margin for trial in found.trials if trial.documents == found.reached]
        published = TABLE_6.get(found.dim) if k == 2 else None
        held = (found.dim, found.reached, found.broken, margins[-1] if margins else None)
        rows.append((*held, published, found.seconds))
    title = f"Documents of which free vectors return every {k}"
    return Frame(title, CRITICAL, rows, name="critical")


def _cubics(critical: Sequence[Critical], k: int, most: int) -> list[Frame]:
    """Where cubics go; nothing where one turns down beyond what it was fitted to."""
    reached = {found.dim: found.reached for found in critical}
    fitted = {PUBLISHED: fit(TABLE_6)} if k == 2 else {}
    if len(reached) >= 8:  # twice the coefficients of a cubic
        fitted[MEASURED] = fit(reached)
    dims, least = sorted({*EXTRAPOLATED, most}), max(reached.values(), default=0)
    rows = [
        (name, *(n if n > least else None for n in map(c.at, dims)), c.r2, *c.coefficients)
        for name, c in fitted.items()
    ]
    at = [Column(count(dim, "dimension"), "number", about="documents", digits=0) for dim in dims]
    title = "The cubic through these numbers, extrapolated: no theory says that it goes on so"
    made = Frame(title, [Column("cubic"), *at, *FIT], rows, name="cubics", turned=True)
    return [made] if rows else []


def _curves(critical: Sequence[Critical], k: int, most: int) -> Frame:
    """Documents of which free vectors return every subset, as they are drawn."""
    rows = list[tuple[Any, ...]]()
    if k == 2:
        last, cubic = max(TABLE_6), fit(TABLE_6)
        rows += [(PUBLISHED, *point) for point in TABLE_6.items()]
        beyond = {round(last * (most / last) ** (i / 8)) for i in range(9) if most > last}
        rows += [("its cubic, extrapolated", dim, cubic.at(dim)) for dim in sorted(beyond)]
    rows += [(MEASURED, one.dim, one.reached) for one in critical]
    return Frame("Documents by dimensions", CURVES, rows, name="curves", shown=False)


def _trials(trials: Sequence[Trial]) -> Frame:
    columns = [Column(name, unit) for name, unit in TRIALS.items()]
    rows = list(map(attrgetter(*TRIALS), trials))
    return Frame("Every optimisation", columns, rows, name="trials", shown=False)


def charts(standing: Frame, asked: Frame, points: Frame, curves: Frame) -> list[Lines]:
    """What is returned by dimensions, and how many documents free vectors hold."""
    (task, k, _, _, relevant, _), chance = asked.rows[0], standing.numbers("returned")[-1]
    by_chance = Reference(chance, f"chance {percent(chance)}", "y")
    within = Reference(asked.numbers("relevant")[0], f"{relevant:,} relevant in {task}", "y")
    title = f"Documents of which free vectors return every {'pair' if k == 2 else f'{k} of them'}"
    drawn = [
        Lines(points, "dimensions", "returned", "vectors", log="x",
              title="Relevant documents among as many results", references=(by_chance,)),
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
