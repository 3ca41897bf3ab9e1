"""Summaries: does likeness to a human summary follow the human ratings?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from harness.arrays import Float32
from harness.data import Summaries
from harness.kinds import Parts, Verdict, intervals
from harness.measures import Measure
from harness.measures.summaries import summary_correlations
from harness.progress import Progress


def parts(data: Summaries) -> Parts:
    """Human and machine summaries, in one part so that a text is encoded once."""
    human = [text for row in data.human for text in row]
    machine = [text for row in data.machine for text in row]
    return {"summaries": ("text", [*human, *machine])}


def judge(
    vectors: Mapping[str, Float32],
    data: Summaries,
    measures: Sequence[Measure],
    *,
    seed: int,
    progress: Progress,
) -> Verdict:
    """Mean correlation over the texts for which there is one."""
    ends = np.cumsum([*map(len, data.human), *map(len, data.machine)])
    rows = np.split(vectors["summaries"], ends[:-1])
    texts = len(data.human)
    found = summary_correlations(rows[texts:], rows[:texts], data.ratings)
    defined = ~np.isnan(next(iter(found.values())))
    values = {str(m): found[str(m)][defined] for m in measures}
    undefined = int((~defined).sum())
    notes = [f"{undefined} texts left out: all ratings or similarities equal"] if undefined else []
    counts = {"texts": texts, "texts_undefined": undefined}
    per_query = {"text": np.flatnonzero(defined).tolist(), **values}
    return Verdict(intervals(values, seed), per_query, counts, notes)
