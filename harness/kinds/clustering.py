"""Clustering: do clusters of the vectors agree with the labels?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random

from harness.arrays import Float32
from harness.data import Clustering
from harness.kinds import KINDS, SAMPLES, Description, Kind, Parts, Verdict
from harness.measures.asked import Measure
from harness.measures.clusters import Clustered, Resampling, cluster_levels, cluster_sets
from harness.progress import Progress, silent
from harness.stats import intervals

SEED = 42  # MTEB's


@KINDS.register("clustering")
class ClusteringKind(Kind[Clustering, Mapping[str, Float32]]):
    """Vectors are clustered, and the clusters are compared with labels."""

    title = "Clustering"
    measures = ("v_measure",)

    def parts(self, data: Clustering) -> Parts:
        """The texts that are clustered."""
        rows, _ = _draw(data)
        return {"texts": ("text", [data.texts[row] for row in rows])}

    def name_type(self, data: Clustering) -> str:
        """Say "Clustering"."""
        return "Clustering"

    def judge(
        self,
        outcome: Mapping[str, Float32],
        data: Clustering,
        measures: Sequence[Measure],
        seed: int = 0,
        progress: Progress = silent,
    ) -> Verdict:
        """The mean over levels and repetitions (or over sets), with an interval over the same."""
        levels, clusterings = _clusterings(outcome["texts"], data, progress)
        values = {
            str(m): m.values(clusterings, kind="clustering", size=len(clusterings))
            for m in measures
        }
        counts = {
            "texts": len(data.texts),
            "texts_drawn": len(_draw(data)[0]),
            "levels": len(data.levels),
        }
        return Verdict(intervals(values, seed), {"level": levels, **values}, counts, [])

    def describe(self, data: Clustering) -> Description:
        """Texts, and labels of the first level."""
        labels = [label or "" for label in data.levels[0]]
        counts = {
            "texts": f"{len(data.texts):,}",
            "levels": str(len(data.levels)),
            "labels": f"{len(set(labels)):,}",
        }
        rows = [(labels[i], data.texts[i]) for i in range(min(SAMPLES, len(labels)))]
        return Description(counts, ("label", "text"), rows)


def _clusterings(
    vectors: Float32, data: Clustering, progress: Progress
) -> tuple[list[int], list[Clustered]]:
    """All clusterings, and the level of each."""
    rows, random = _draw(data)
    if data.sets is not None:
        labels = [str(label) for label in data.levels[0]]
        of_sets = cluster_sets(vectors, labels, data.sets, progress=progress)
        return [0] * len(of_sets), of_sets
    levels: list[int] = []
    clusterings: list[Clustered] = []
    for number, level in enumerate(data.levels):
        kept = [i for i, row in enumerate(rows) if level[row] is not None]
        if not kept:
            continue  # nothing of this level was drawn
        labels = [str(level[rows[i]]) for i in kept]
        (repeated,) = cluster_levels(
            vectors[kept], [labels], random=random,
            resampling=Resampling(sample=data.sample), progress=progress,
        )  # fmt: skip
        clusterings += repeated
        levels += [number] * len(repeated)
    return levels, clusterings


def _draw(data: Clustering) -> tuple[list[int], Random]:
    """Rows of the texts that are clustered, and the state that MTEB draws its samples from."""
    random = Random(SEED)
    everything = range(len(data.texts))
    rows = list(everything) if data.drawn is None else random.sample(everything, data.drawn)
    return rows, random
