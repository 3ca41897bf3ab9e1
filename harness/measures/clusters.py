"""Measures of clustering: do k-means clusters of the vectors agree with the labels?

V-measure is the harmonic mean of homogeneity and completeness (Rosenberg and Hirschberg 2007). Two
protocols, as in MTEB: `cluster_levels` clusters ten samples of all texts for each level of the
labels; `cluster_sets` clusters each of some sets of texts once (tasks older than the first).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from random import Random

import numpy as np

from harness.arrays import Float32, Float64, Int64, Labels
from harness.errors import InputError
from harness.measures import measure
from harness.progress import Progress, silent


@dataclass(frozen=True)
class Clustered:
    """One clustering: codes of labels and of clusters [n]. Measures take a sequence of these."""

    labels: Int64
    clusters: Int64


@dataclass(frozen=True, kw_only=True)
class Resampling:
    """How each level is clustered again and again: MTEB's numbers.

    Attributes:
        repetitions: Clusterings of a level.
        sample: Rows drawn with replacement for each.
        batch: Rows that k-means looks at in a step.
        seed: Of k-means.
    """

    repetitions: int = 10
    sample: int = 16384
    batch: int = 512
    seed: int = 42


MTEB = Resampling()


def cluster_levels(
    vectors: Float32,
    levels: Sequence[Labels],
    *,
    random: Random,
    resampling: Resampling = MTEB,
    progress: Progress = silent,
) -> list[list[Clustered]]:
    """Cluster every level several times; MTEB's score is the mean of all.

    Args:
        vectors: [n, d].
        levels: Labels [n] each.
        random: Rows are drawn from it. MTEB starts it as Random(42), first draws the texts to
            embed from it, by `random.sample(range(all), n)`, and lets it run on over subsets.
        resampling: How often, and from how many rows.
        progress: Called as work goes on.

    Returns:
        Clusterings by level and repetition.

    Raises:
        InputError: A level has more labels than a sample has rows.
    """
    repetitions, sample, batch, seed = astuple(resampling)
    found: list[list[Clustered]] = [[] for _ in levels]
    for level, labels in enumerate(levels):
        classes, codes = np.unique(np.asarray(labels), return_inverse=True)
        if len(classes) > sample:
            raise _too_few_rows(level, len(classes), sample)
        for repetition in range(repetitions):
            rows = random.choices(range(len(codes)), k=sample)
            found[level].append(
                _cluster(vectors[rows], codes[rows], len(classes), batch=batch, seed=seed)
            )
            done = level * repetitions + repetition + 1
            progress("cluster", done, len(levels) * repetitions, "clusterings")
    return found


def _too_few_rows(level: int, labels: int, sample: int) -> InputError:
    return InputError(
        f"level {level} has {labels} labels and a sample {sample} rows: "
        "expected at least one row a label"
    )


def cluster_sets(
    vectors: Float32,
    labels: Labels,
    sets: Int64,
    *,
    batch: int = 500,
    seed: int = 42,
    progress: Progress = silent,
) -> list[Clustered]:
    """The clustering of each set, sets ascending.

    vectors: [n, d]; labels, sets: [n].
    """
    known, names = np.asarray(labels), np.unique(sets)
    found = []
    for done, name in enumerate(names):
        rows = np.flatnonzero(sets == name)
        classes, codes = np.unique(known[rows], return_inverse=True)
        found.append(_cluster(vectors[rows], codes, len(classes), batch=batch, seed=seed))
        progress("cluster", done + 1, len(names), "sets")
    return found


def _cluster(vectors: Float32, labels: Int64, clusters: int, *, batch: int, seed: int) -> Clustered:
    from sklearn.cluster import MiniBatchKMeans
    from threadpoolctl import threadpool_limits

    model = MiniBatchKMeans(n_clusters=clusters, batch_size=batch, n_init=1, random_state=seed)
    with threadpool_limits(1):  # sums of more threads round otherwise
        return Clustered(labels, model.fit_predict(vectors))


@measure("v_measure", kind="clustering", depth=0, citation="Rosenberg and Hirschberg 2007; MTEB")
def v_measure(clusterings: Sequence[Clustered]) -> Float64:
    """Harmonic mean of homogeneity and completeness, one value a clustering; 1 for one label."""
    from sklearn.metrics import v_measure_score

    return np.array([v_measure_score(one.labels, one.clusters) for one in clusterings])
