"""Kinds of tasks: a module each, which says what is encoded and how it becomes scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness import stats
from harness.arrays import Float64
from harness.data import Role
from harness.stats import Estimate

Parts = Mapping[str, tuple[Role, Sequence[str]]]
"""Texts to encode by the name of their part, with the role that they are encoded in."""


@dataclass(frozen=True)
class Verdict:
    """Scores by measure; columns of what was scored; counts; warnings, a sentence each."""

    scores: dict[str, Estimate]
    per_query: Mapping[str, Any]
    counts: dict[str, int]
    warnings: list[str]


def intervals(values: Mapping[str, Float64], seed: int) -> dict[str, Estimate]:
    """The mean of each measure's values [q] with its bootstrap interval; of none, not defined."""
    if not any(map(len, values.values())):
        return dict.fromkeys(values, Estimate(None, None, None))
    low, high = stats.bootstrap_means(np.stack(list(values.values())), seed)
    return {
        name: stats.estimate(value.mean(), low[i], high[i])
        for i, (name, value) in enumerate(values.items())
    }
