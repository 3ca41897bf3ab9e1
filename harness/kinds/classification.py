"""Classification: what a linear probe on few labelled vectors gets right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from harness.arrays import Float32, Int64
from harness.data import Classification
from harness.errors import InputError
from harness.kinds import Parts, Verdict, intervals
from harness.measures import Measure
from harness.measures.probe import probe, undersample
from harness.progress import Progress


def parts(data: Classification) -> Parts:
    """The training texts that some experiment draws, and all test texts."""
    rows = _drawn(data)
    return {
        "training_texts": ("text", [data.train.texts[row] for row in rows]),
        "test_texts": ("text", data.test.texts),
    }


def judge(
    vectors: Mapping[str, Float32],
    data: Classification,
    measures: Sequence[Measure],
    *,
    seed: int,
    progress: Progress,
) -> Verdict:
    """Means over experiments. The interval of the accuracy is over test texts, those of other
    measures over experiments.

    Raises InputError where a measure does not fit the labels.
    """
    rows = _drawn(data)
    draws = [np.searchsorted(rows, draw) for draw in _draws(data)]
    labels = [data.train.labels[row] for row in rows]
    found = probe(
        vectors["training_texts"], labels, vectors["test_texts"], data.test.labels,
        draws=draws, progress=progress,
    )  # fmt: skip
    values = {name: found.correct if name == "accuracy" else v for name, v in found.scores.items()}
    wanted = [str(measure) for measure in measures]
    for name in wanted:
        if name not in values:
            raise InputError(f"{name} needs labels 0 and 1: choose {', '.join(values)}")
    scores = {name: intervals({name: values[name]}, seed)[name] for name in wanted}
    counts = {
        "training_texts": len(data.train),
        "training_texts_drawn": len(rows),
        "labels": len(set(data.test.labels)),
        "experiments_unconverged": found.unconverged,
    }
    notes = []
    if found.unconverged:
        of = f"{found.unconverged} of {data.experiments} experiments"
        notes.append(f"the probe did not converge in {of}")
    per_query = {"text": list(range(len(data.test))), "accuracy": found.correct}
    return Verdict(scores, per_query, counts, notes)


def _draws(data: Classification) -> list[Int64]:
    """Rows of the training split that each experiment fits."""
    return undersample(
        data.train.labels,
        experiments=data.experiments,
        samples_per_label=data.samples_per_label,
    )


def _drawn(data: Classification) -> list[int]:
    """Rows of the training split that any experiment fits, ascending."""
    return [int(row) for row in np.unique(np.concatenate(_draws(data)))]
