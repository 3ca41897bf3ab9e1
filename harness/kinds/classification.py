"""Classification: what a linear probe on few labelled vectors gets right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from harness.arrays import Float32, Int64
from harness.data import Classification
from harness.errors import InputError
from harness.kinds import (
    KINDS,
    SAMPLES,
    Description,
    Kind,
    Parts,
    Verdict,
)
from harness.measures.asked import Measure
from harness.measures.probe import probe, undersample
from harness.progress import Progress, silent
from harness.stats import Estimate, intervals
from harness.wording import count


@KINDS.register("classification")
class ClassificationKind(Kind[Classification, Mapping[str, Float32]]):
    """A linear probe, fitted to few vectors of each label, is asked for the labels of others."""

    title = "Classification"
    measures = ("accuracy", "f1", "f1_weighted")

    def parts(self, data: Classification) -> Parts:
        """The training texts that some experiment draws, and all test texts."""
        rows = _draw(data)
        return {
            "training_texts": ("text", [data.train.texts[row] for row in rows]),
            "test_texts": ("text", data.test.texts),
        }

    def name_type(self, data: Classification) -> str:
        """Say "Classification"."""
        return "Classification"

    def judge(
        self,
        outcome: Mapping[str, Float32],
        data: Classification,
        measures: Sequence[Measure],
        seed: int = 0,
        progress: Progress = silent,
    ) -> Verdict:
        """Means over experiments.

        The interval of the accuracy is over test texts, those of other measures over experiments.
        Raises InputError where a measure does not fit the labels.
        """
        rows = _draw(data)
        probed = probe(
            outcome["training_texts"], [data.train.labels[row] for row in rows],
            outcome["test_texts"], data.test.labels,
            draws=[np.searchsorted(rows, draw) for draw in _draws(data)], progress=progress,
        )  # fmt: skip
        scores: dict[str, Estimate] = {}
        columns = {"accuracy": probed.correct}
        for measure in measures:
            name, values = str(measure), measure.values(probed, kind="classification")
            if np.isnan(values).any():
                raise InputError(f"measure {measure} returns NaN: expected a number")
            scores |= intervals({name: values}, seed)
            if len(values) == len(data.test):
                columns[name] = values
        counts = {
            "training_texts": len(data.train),
            "training_texts_drawn": len(rows),
            "labels": len(set(data.test.labels)),
            "experiments_unconverged": probed.unconverged,
        }
        notes = []
        if probed.unconverged:
            of = f"{probed.unconverged} of {count(data.experiments, 'experiment')}"
            notes.append(f"the probe did not converge in {of}")
        return Verdict(scores, {"text": list(range(len(data.test))), **columns}, counts, notes)

    def describe(self, data: Classification) -> Description:
        """Texts of both parts, and labels."""
        texts, labels = data.test.texts, data.test.labels
        counts = {
            "training texts": f"{len(data.train):,}",
            "test texts": f"{len(data.test):,}",
            "labels": f"{len(set(labels)):,}",
        }
        rows = [(labels[i], texts[i]) for i in range(min(SAMPLES, len(texts)))]
        return Description(counts, ("label", "text"), rows)


def _draws(data: Classification) -> list[Int64]:
    """Rows of the training split that each experiment fits."""
    return undersample(
        data.train.labels,
        experiments=data.experiments,
        samples_per_label=data.samples_per_label,
    )


def _draw(data: Classification) -> list[int]:
    """Rows of the training split that any experiment fits, ascending."""
    return [int(row) for row in np.unique(np.concatenate(_draws(data)))]
