"""Summaries: does likeness to a human summary follow the human ratings?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from harness.arrays import Float32
from harness.data import Summaries
from harness.kinds import KINDS, SAMPLES, Description, Kind, Parts, Verdict
from harness.measures.asked import Measure
from harness.measures.summaries import Rated
from harness.progress import Progress, silent
from harness.stats import intervals
from harness.wording import count


@KINDS.register("summarization")
class SummarizationKind(Kind[Summaries, Mapping[str, Float32]]):
    """Machine summaries are compared with human ones, and the likeness with human ratings."""

    title = "Summaries"
    measures = ("cosine_spearman", "cosine_pearson", "dot_spearman", "dot_pearson")

    def parts(self, data: Summaries) -> Parts:
        """Human and machine summaries, in one part so that a text is encoded once."""
        human = [text for row in data.human for text in row]
        machine = [text for row in data.machine for text in row]
        return {"summaries": ("text", [*human, *machine])}

    def name_type(self, data: Summaries) -> str:
        """Say "Summarization"."""
        return "Summarization"

    def judge(
        self,
        outcome: Mapping[str, Float32],
        data: Summaries,
        measures: Sequence[Measure],
        seed: int = 0,
        progress: Progress = silent,
    ) -> Verdict:
        """Mean over the texts that every measure is defined for."""
        ends = np.cumsum([*map(len, data.human), *map(len, data.machine)])
        rows = np.split(outcome["summaries"], ends[:-1])
        texts = len(data.human)
        rated = Rated(rows[texts:], rows[:texts], data.ratings)
        every = {str(m): m.values(rated, kind="summarization") for m in measures}
        defined = ~np.isnan(np.stack(list(every.values()))).any(axis=0)
        values = {name: each[defined] for name, each in every.items()}
        undefined = int((~defined).sum())
        notes = (
            [f"{count(undefined, 'text')} left out: all ratings or similarities equal"]
            if undefined
            else []
        )
        counts = {"texts": texts, "texts_undefined": undefined}
        per_query = {"text": np.flatnonzero(defined).tolist(), **values}
        return Verdict(intervals(values, seed), per_query, counts, notes)

    def describe(self, data: Summaries) -> Description:
        """Texts and their machine summaries."""
        machine = sum(map(len, data.machine))
        counts = {"texts": f"{len(data.human):,}", "machine summaries": f"{machine:,}"}
        rows = [
            (f"{data.ratings[i][0]:g}", data.machine[i][0], data.human[i][0])
            for i in range(min(SAMPLES, len(data.human)))
        ]
        return Description(counts, ("rating", "machine", "human"), rows, frozenset({0}))
