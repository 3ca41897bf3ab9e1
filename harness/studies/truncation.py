"""What a model still finds when its vectors are cut to fewer dimensions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from harness.analysis.truncation import How, cuts, dimensions
from harness.errors import InputError
from harness.frames import Column, Frame
from harness.frames.charts import Lines, Reference
from harness.frames.formats import percent
from harness.session import Session
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

    A correlation with similarities that are all equal is not defined and left out.
    """

    dim: int
    scores: dict[str, float]


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
        points.append(Cut(dim, scores(session, replace(vectors, parts=parts))))
    session.progress(f"score {how}", len(kept), len(kept), "dimensions")
    return points


def scores(session: Session, vectors: TaskVectors) -> dict[str, float]:
    """What dense vectors score on their task by exact search, compared as they are.

    Returns:
        Means by measure, the main one first; a correlation that is not defined is left out.
    """
    task, run = vectors.task, None
    if task.kind.ranks:
        searcher = session.index("exact", vectors.documents)
        run = session.retrieve(vectors, searcher, task.depth)
    verdict = task.kind.judge(run or vectors.arrays, task.data, task.measures)
    means = {name: score.mean for name, score in verdict.scores.items()}
    return {name: mean for name, mean in means.items() if mean is not None}


def score_frame(curves: Curves) -> Frame:
    """The main score by dimensions that are kept, beside that of whole vectors.

    Raises:
        InputError: where no score is defined.
    """
    found = [cut for points in curves.values() for cut in points if cut.scores]
    if not found:
        raise InputError("no score is defined for any number of dimensions: nothing to show")
    main = next(iter(max(found, key=lambda cut: cut.dim).scores))
    whole = [points[-1].scores.get(main) for how, points in curves.items() if how != "pca"]
    full = whole[0] if whole else None
    rows = []
    for how, points in curves.items():
        for cut in points:
            score = cut.scores.get(main)
            share = None if score is None or not full else score / full
            rows.append((NAMES[how], cut.dim, score, share))
    columns = [
        Column("cut", about="components are those of the texts that are searched"),
        Column(KEPT, "count"),
        Column(main, "score", "high"),
        Column("of the whole", "share", "high", "score of whole vectors", digits=0),
    ]
    return Frame(f"{main} with fewer dimensions", columns, rows, name="cuts")


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
    rows = {row["cut"]: row["of the whole"] for row in kept.where(KEPT, dim).records()}
    shares = {cut: percent(share, 0) for cut, share in rows.items() if share is not None}
    first, also = shares.get(NAMES["truncate"]), shares.get(NAMES["pca"])
    if first is None:
        return ""
    more = f"; {dim} principal components, {also}" if also else ""
    return f": {dim} of {whole} dimensions keep {first} of {main}{more}"
