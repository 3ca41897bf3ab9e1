"""What a model still finds when its vectors are cut to fewer dimensions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from harness import stats
from harness.analysis.truncation import How, cuts, dimensions
from harness.arrays import Float64
from harness.errors import InputError
from harness.frames import Column, Frame
from harness.frames.charts import Lines, Reference
from harness.frames.formats import percent
from harness.records.item_values import read_values
from harness.session import Session
from harness.stats import Estimate
from harness.tasks import Task
from harness.tasks.vectors import TaskVectors
from harness.vectors import Dense

NAMES: Mapping[How, str] = {
    "truncate": "first dimensions",
    "truncate-raw": "first dimensions, not rescaled",
    "pca": "principal components",
}
KEPT = "dimensions kept"

Curves = Mapping[How, Sequence["Cut"]]
"""By how vectors were cut, dimensions ascending."""


@dataclass(frozen=True)
class Cut:
    """Scores by measure, the main one first, with `dim` dimensions kept.

    A correlation with similarities that are all equal is not defined and left out. values: what
    each query or pair adds to the main score, where that is told.
    """

    dim: int
    scores: dict[str, float]
    values: Float64 | None = field(default=None, compare=False, repr=False)


def curve(
    session: Session, model: str, task: Task, dims: Sequence[int] = (), *, how: How = "truncate"
) -> list[Cut]:
    """Score a model on a task with ever more of its dimensions, by exact search.

    Args:
        session: Where vectors are from.
        model: Spec of an encoder.
        task: Of retrieval or of sentence pairs, with the measures to score.
        dims: To keep; none for 2, 4, 8 ... and all.
        how: As in `harness.analysis.truncation.cuts`.

    Raises:
        InputError: for dimensions that the model does not have; as `Session.vectors`.
    """
    vectors = session.vectors(model, task, scaled=False)
    arrays, scaled = vectors.arrays, vectors.similarity == "cosine"
    kept, points = dimensions(dims, next(iter(arrays.values())).shape[1]), list[Cut]()
    for dim, cut in cuts(arrays, kept, how, scaled=scaled):
        session.progress(f"score {how}", len(points), len(kept), "dimensions")
        parts = {name: Dense(values) for name, values in cut.items()}
        points.append(_score(session, replace(vectors, parts=parts), dim))
    session.progress(f"score {how}", len(kept), len(kept), "dimensions")
    return points


def _score(session: Session, vectors: TaskVectors, dim: int) -> Cut:
    """What dense vectors score on their task by exact search, compared as they are."""
    task, run = vectors.task, None
    if task.kind.ranks:
        searcher = session.index("exact", vectors.documents)
        run = session.retrieve(vectors, searcher, task.depth)
    verdict, main = task.kind.judge(run or vectors.arrays, task.data, task.measures), str(task.main)
    means = {name: score.mean for name, score in verdict.scores.items()}
    known = {name: mean for name, mean in means.items() if mean is not None}
    if main not in known:
        return Cut(dim, known)
    return Cut(dim, known, read_values(verdict.per_query, main, known[main], task.name))


def score_frame(curves: Curves, seed: int = 0) -> Frame:
    """The main score by dimensions that are kept, beside that of whole vectors.

    Args:
        curves: The cuts of each way.
        seed: Of the intervals.

    Raises:
        InputError: where no score is defined.
    """
    found = [cut for points in curves.values() for cut in points if cut.scores]
    if not found:
        raise InputError("no score is defined for any number of dimensions: nothing to show")
    main = next(iter(max(found, key=lambda cut: cut.dim).scores))
    whole = next((points[-1] for how, points in curves.items() if how != "pca"), None)
    rows = [
        (NAMES[how], cut.dim, cut.scores.get(main), share.mean, share.low, share.high)
        for how, points in curves.items()
        for cut in points
        for share in (_share(cut, whole, main, seed),)
    ]
    columns = [
        Column("cut", about="components are those of the texts that are searched"),
        Column(KEPT, "count"),
        Column(main, "score", "high"),
        Column("of the whole", "share", "high", "score of whole vectors", digits=0),
        Column("from", "share", about="where its 95% interval begins, paired by item", digits=0),
        Column("to", "share", about="where it ends", digits=0),
    ]
    return Frame(f"{main} with fewer dimensions", columns, rows, name="cuts")


def _share(cut: Cut, whole: Cut | None, main: str, seed: int) -> Estimate:
    """How much of the main score of whole vectors is left; not defined where they have none."""
    if whole is None or main not in cut.scores or not whole.scores.get(main):
        return Estimate(None)
    if cut.values is None or whole.values is None:
        return Estimate(cut.scores[main] / whole.scores[main])
    return stats.estimate_ratio(cut.values, whole.values, seed)


def every_score(curves: Curves) -> Frame:
    """All measures by dimensions that are kept, a row each."""
    columns = [Column("cut"), Column(KEPT, "count"), Column("measure"), Column("score", "number")]
    rows = [
        (NAMES[how], cut.dim, measure, score)
        for how, points in curves.items()
        for cut in points
        for measure, score in cut.scores.items()
    ]
    return Frame("Scores with fewer dimensions", columns, rows, name="scores", shown=False)


def chart(kept: Frame, whole: int) -> Lines:
    """The main score against dimensions kept. whole: how many there are."""
    main = kept.columns[2].name
    full = [
        Reference(row[main], f"whole vectors: {row[main]:.3f}", axis="y")
        for row in kept.records()
        if row[KEPT] == whole and row["cut"] != NAMES["pca"] and row[main] is not None
    ]
    references = tuple(full[:1])
    title = f"{main} with fewer of {whole} dimensions"
    return Lines(kept, KEPT, main, "cut", log="x", title=title, references=references)


def headline(kept: Frame, whole: int) -> str:
    """What is left with a quarter of the dimensions, or the next fewer that were tried."""
    dims, main = kept.numbers(KEPT), kept.columns[2].name
    dim = int(max((dim for dim in dims if dim <= whole / 4), default=min(dims)))
    shares = {row["cut"]: _tell(row) for row in kept.where(KEPT, dim).records()
              if row["of the whole"] is not None}  # fmt: skip
    first, also = shares.get(NAMES["truncate"]), shares.get(NAMES["pca"])
    if first is None:
        return ""
    more = f"; {dim} principal components, {also}" if also else ""
    return f": {dim} of {whole} dimensions keep {first} of {main}{more}"


def _tell(row: Mapping[str, Any]) -> str:
    """A share, with its interval where there is one."""
    share = percent(row["of the whole"], 0)
    if row["from"] is None:
        return share
    return f"{share} ({percent(row['from'], 0)} to {percent(row['to'], 0)})"
