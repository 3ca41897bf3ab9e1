"""What a model still finds when its vectors are cut: to their first dimensions, or by PCA."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from harness.arrays import Float32, Float64
from harness.data import Pairs
from harness.errors import InputError
from harness.indexes import INDEXES
from harness.kinds.pairs import PairsKind
from harness.kinds.retrieval import RetrievalKind
from harness.measures import Measure
from harness.progress import Progress, silent
from harness.represent import unit
from harness.retrieve import Searchable, retrieve
from harness.store import Store
from harness.studies.subject import Subject, embed
from harness.vectors import Dense

How = Literal["truncate", "truncate-raw", "pca"]
BLOCK = 1 << 14  # rows widened to float64 at a time


@dataclass(frozen=True)
class Point:
    """Scores by measure, the main one first, with `dim` dimensions kept.

    A correlation with similarities that are all equal is not defined and left out.
    """

    dim: int
    scores: dict[str, float]


def curve(
    encoder: str,
    task: str,
    dims: Sequence[int] | None = None,
    *,
    how: How = "truncate",
    measures: Sequence[str] = (),
    store: Store,
    progress: Progress = silent,
) -> list[Point]:
    """Score a model on a task with ever more of its dimensions, by exact search.

    encoder, task: specs. dims: None for 2, 4, 8 ... and all. measures: in place of the task's own.
    Where the model compares by cosine, vectors have length 1 before they are searched or compared:
        truncate      the first d dimensions, scaled to length 1 again
        truncate-raw  the first d dimensions of vectors of length 1, which become shorter
                      (the protocol of Tsukagoshi and Sasano 2025)
        pca           the first d principal components of the documents, or of the sentences,
                      centred at their mean; scaled to length 1 again. They are fitted on the very
                      texts that are searched; where there are fewer than d, all are kept

    Raises InputError for dimensions that the model does not have, and as `embed`.
    """
    subject = embed(encoder, task, store=store, progress=progress)
    chosen = subject.task.measures(subject.data, measures)
    vectors, scaled = subject.arrays, subject.similarity == "cosine"
    width = next(iter(vectors.values())).shape[1]
    if scaled and how != "truncate":
        vectors = {name: unit(values) for name, values in vectors.items()}
    if how == "pca":
        vectors = _rotated(vectors)
    kept, points = _dims(dims, width), []
    for done, dim in enumerate(kept):
        progress(f"score {how}", done, len(kept), "dimensions")
        cut = {name: values[:, :dim].copy() for name, values in vectors.items()}
        if scaled and how != "truncate-raw":
            cut = {name: unit(values) for name, values in cut.items()}
        points.append(Point(dim, _scores(cut, subject, chosen)))
    progress(f"score {how}", len(kept), len(kept), "dimensions")
    return points


def _dims(asked: Sequence[int] | None, width: int) -> list[int]:
    """Dimensions to keep, ascending, each once."""
    if asked is None:
        return [*(2**i for i in range(1, width.bit_length()) if 2**i < width), width]
    for dim in asked:
        if not 1 <= dim <= width:
            raise InputError(f"{dim} dimensions: expected 1 to {width}, as many as the model has")
    return sorted(set(asked))


def _rotated(vectors: Mapping[str, Float32]) -> dict[str, Float32]:
    """Vectors along the principal components of the documents or sentences, largest first."""
    fitted = vectors["documents"] if "documents" in vectors else vectors["sentences"]
    mean = fitted.mean(axis=0, dtype=np.float64)
    covariance = sum(part.T @ part for part in _centred(fitted, mean))
    variances, axes = np.linalg.eigh(covariance)
    axes = axes[:, variances > variances[-1] * len(mean) * 2.0**-23][:, ::-1]
    if not axes.size:
        raise InputError("the vectors to fit principal components on are all equal")
    return {
        name: np.concatenate([(part @ axes).astype(np.float32) for part in _centred(values, mean)])
        for name, values in vectors.items()
    }


def _centred(values: Float32, mean: Float64) -> Iterator[Float64]:
    """Blocks of rows without a mean."""
    for low in range(0, len(values), BLOCK):
        yield values[low : low + BLOCK] - mean


def _scores(
    vectors: Mapping[str, Float32], subject: Subject, measures: Sequence[Measure]
) -> dict[str, float]:
    """What the pipeline scores with these vectors."""
    data = subject.data
    if isinstance(data, Pairs):
        verdict = PairsKind().judge(vectors, data, measures)
    else:
        documents = Dense(vectors["documents"])
        run = retrieve(
            Dense(vectors["queries"]),
            Searchable(data, documents, INDEXES.create("exact").open(documents)),
            max(measure.depth for measure in measures),
            exclude_self=subject.task.excludes(data),
            progress=silent,
        )
        verdict = RetrievalKind().judge(run, data, measures)
    means = {name: score.mean for name, score in verdict.scores.items()}
    return {name: mean for name, mean in means.items() if mean is not None}
