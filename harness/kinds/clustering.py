"""Clustering: do clusters of the vectors agree with the labels?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random

import numpy as np

from harness.arrays import Float32
from harness.data import Clustering
from harness.kinds import Parts, Verdict, intervals
from harness.measures import Measure
from harness.measures.clusters import set_v_measures, v_measures
from harness.progress import Progress

SEED = 42  # MTEB's


def parts(data: Clustering) -> Parts:
    """The texts that are clustered."""
    rows, _ = _drawn(data)
    return {"texts": ("text", [data.texts[row] for row in rows])}


def judge(
    vectors: Mapping[str, Float32],
    data: Clustering,
    measures: Sequence[Measure],
    *,
    seed: int,
    progress: Progress,
) -> Verdict:
    """The mean over levels and repetitions (or over sets), with an interval over the same."""
    rows, random = _drawn(data)
    values, levels = vectors["texts"], []
    if data.sets is not None:
        labels = [str(label) for label in data.levels[0]]
        found = set_v_measures(values, labels, data.sets, progress=progress)
        levels = [0] * len(found)
    else:
        each = []
        for number, level in enumerate(data.levels):
            kept = [i for i, row in enumerate(rows) if level[row] is not None]
            if not kept:
                continue  # nothing of this level was drawn
            labels = [str(level[rows[i]]) for i in kept]
            each.append(
                v_measures(
                    values[kept], [labels], random=random, sample=data.sample, progress=progress
                )[0]
            )
            levels += [number] * len(each[-1])
        found = np.concatenate(each)
    counts = {"texts": len(data.texts), "texts_drawn": len(rows), "levels": len(data.levels)}
    scores = {str(m): intervals({str(m): found}, seed)[str(m)] for m in measures}
    return Verdict(scores, {"level": levels, "v_measure": found}, counts, [])


def _drawn(data: Clustering) -> tuple[list[int], Random]:
    """Rows of the texts that are clustered, and the state that MTEB draws its samples from."""
    random = Random(SEED)
    everything = range(len(data.texts))
    rows = list(everything) if data.drawn is None else random.sample(everything, data.drawn)
    return rows, random
