"""What a model still finds when its vectors are cut: to their first dimensions, or by PCA."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from harness import catalog, ranking
from harness.encoders import ENCODERS, CollectionEncoder, encoder_spec
from harness.indexes import INDEXES
from harness.kinds import pairs, retrieval
from harness.measures import Measure
from harness.phases import Clock
from harness.represent import represent, unit
from harness.store import Store
from harness.types import (
    Dense,
    Float32,
    Float64,
    InputError,
    Pairs,
    Progress,
    Retrieval,
    silent,
)

How = Literal["truncate", "truncate-raw", "pca"]
BLOCK = 1 << 14  # rows widened to float64 at a time


@dataclass(frozen=True)
class Point:
    """Scores by measure, the main one first, with `dim` dimensions kept.

    A correlation with similarities that are all equal is not defined and left out.
    """

    dim: int
    scores: dict[str, float]


@dataclass(frozen=True)
class Subject:
    """A task with the vectors of its texts, float32 [n, d] as the model returned them, by part."""

    task: catalog.Task
    data: Retrieval | Pairs
    similarity: str
    vectors: dict[str, Float32]
    warnings: tuple[str, ...]


def embed(encoder: str, task: str, *, store: Store, progress: Progress = silent) -> Subject:
    """Load a task and encode its texts, through the store. encoder, task: specs.

    Raises InputError for a model that does not make dense vectors and a task that is neither
    retrieval nor pairs; else what encoder and store raise.
    """
    asked, clock = catalog.task(task), Clock(progress)
    model = ENCODERS.create(encoder_spec(encoder))
    if isinstance(model, CollectionEncoder) or model.makes != "dense":
        raise InputError(f"{encoder} makes {model.makes} vectors: this study needs dense ones")
    with clock.phase("load data"):
        data = asked.load()
    if isinstance(data, Pairs):
        parts = pairs.parts(data)
    elif isinstance(data, Retrieval):
        parts = retrieval.parts(data)
        if data.corpus.parents is not None or data.candidates is not None:
            raise InputError(f"{task} has passages or candidates: this study needs neither")
    else:
        raise InputError(f"{task} is a task of {data.kind}: expected retrieval or pairs")
    made = represent(encoder, model, parts, store, clock)
    vectors = {name: part.values for name, part in made.parts.items() if isinstance(part, Dense)}
    return Subject(asked, data, model.similarity, vectors, (*data.warnings, *made.warnings))


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
    chosen = _measures(subject, measures)
    vectors, scaled = subject.vectors, subject.similarity == "cosine"
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


def _measures(subject: Subject, asked: Sequence[str]) -> tuple[Measure, ...]:
    chosen = tuple(map(Measure.parse, asked)) or subject.task.measures(subject.data)
    for measure in chosen:
        if subject.data.kind not in measure.kinds:
            what = f"{subject.task.spec}, a task of {subject.data.kind}"
            raise InputError(f"{measure} does not fit {what}")
    return chosen


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
        verdict = pairs.judge(vectors, data, measures, seed=0, progress=silent)
    else:
        asked = subject.task.exclude_self
        exclude = data.origin.exclude_self if asked is None else asked
        depth = max(measure.depth for measure in measures) + exclude
        searcher = INDEXES.create("exact").build(Dense(vectors["documents"]))
        run = searcher.search(Dense(vectors["queries"]), depth, silent)
        if exclude:
            own = [data.corpus.rows.get(id, -1) for id in data.queries.ids]
            run = ranking.without(run, np.asarray(own, np.int32))
        verdict = retrieval.judge(run, data, measures, seed=0)
    means = {name: score.mean for name, score in verdict.scores.items()}
    return {name: mean for name, mean in means.items() if mean is not None}
