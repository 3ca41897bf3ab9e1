"""Measures of clustering: do k-means clusters of the vectors agree with the labels?

V-measure is the harmonic mean of homogeneity and completeness (Rosenberg and Hirschberg 2007). Two
protocols, as in MTEB: `v_measures` clusters ten samples of all texts for each level of the labels;
`set_v_measures` clusters each of some sets of texts once (tasks older than the first protocol).
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.arrays import Float32, Float64, Int64
from harness.errors import InputError
from harness.progress import Progress, silent

Labels = Sequence[str] | Sequence[int] | NDArray[Any]


def v_measures(
    vectors: Float32,
    levels: Sequence[Labels],
    *,
    random: Random,
    repetitions: int = 10,
    sample: int = 16384,
    batch: int = 512,
    seed: int = 42,
    progress: Progress = silent,
) -> Float64:
    """[levels, repetitions]: V-measure of each clustering; MTEB's score is the mean of all.

    vectors: [n, d]; levels: labels [n] each. Each repetition draws `sample` rows with replacement
    from `random`. MTEB starts it as Random(42), first draws the texts to embed from it, by
    `random.sample(range(all), n)`, and lets it run on from one subset of a task to the next.
    Raises InputError where a level has more labels than a sample has rows.
    """
    found = np.empty((len(levels), repetitions))
    for level, labels in enumerate(levels):
        classes, codes = np.unique(np.asarray(labels), return_inverse=True)
        if len(classes) > sample:
            raise InputError(
                f"level {level} has {len(classes)} labels and a sample {sample} rows: "
                "expected at least one row a label"
            )
        for repetition in range(repetitions):
            rows = random.choices(range(len(codes)), k=sample)
            found[level, repetition] = _v_measure(
                vectors[rows], codes[rows], len(classes), batch=batch, seed=seed
            )
            progress("cluster", level * repetitions + repetition + 1, found.size, "clusterings")
    return found


def set_v_measures(
    vectors: Float32,
    labels: Labels,
    sets: Int64,
    *,
    batch: int = 500,
    seed: int = 42,
    progress: Progress = silent,
) -> Float64:
    """[s]: V-measure of each set, sets ascending; 1 for a set with a single label.

    vectors: [n, d]; labels, sets: [n].
    """
    known, names = np.asarray(labels), np.unique(sets)
    found = np.empty(len(names))
    for done, name in enumerate(names):
        rows = np.flatnonzero(sets == name)
        classes, codes = np.unique(known[rows], return_inverse=True)
        found[done] = _v_measure(vectors[rows], codes, len(classes), batch=batch, seed=seed)
        progress("cluster", done + 1, len(names), "sets")
    return found


def _v_measure(vectors: Float32, labels: Int64, clusters: int, *, batch: int, seed: int) -> float:
    from sklearn.cluster import MiniBatchKMeans
    from sklearn.metrics import v_measure_score
    from threadpoolctl import threadpool_limits

    model = MiniBatchKMeans(n_clusters=clusters, batch_size=batch, n_init=1, random_state=seed)
    with threadpool_limits(1):  # sums of more threads round otherwise
        return float(v_measure_score(labels, model.fit_predict(vectors)))
