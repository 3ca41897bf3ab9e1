"""Measures of summaries: does likeness to a human summary follow the human ratings (SummEval)?

As MTEB's SummEvalSummarization.v2: a machine summary's score is its highest similarity to any human
summary of the text; scores and ratings are correlated text by text.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np

from harness.arrays import Float32, Float64
from harness.measures import measure
from harness.measures.pairs import correlation

KINDS = ("cosine", "dot")
SUMMARY_MEASURES = tuple("_".join(pair) for pair in product(KINDS, ("spearman", "pearson")))


@dataclass(frozen=True)
class Rated:
    """What measures of summaries are functions of, for each of t texts.

    machine [m, d], human [h, d], ratings [m]. Each measure returns float64 [t], NaN for a text that
    it is not defined for.
    """

    machine: Sequence[Float32]
    human: Sequence[Float32]
    ratings: Sequence[Sequence[float]]

    @cached_property
    def correlations(self) -> dict[str, Float64]:
        """Those of MTEB, by name."""
        return summary_correlations(self.machine, self.human, self.ratings)


def summary_correlations(
    machine: Sequence[Float32], human: Sequence[Float32], ratings: Sequence[Sequence[float]]
) -> dict[str, Float64]:
    """[t] by name as in SUMMARY_MEASURES: one correlation a text.

    For each of t texts: machine [m, d], human [h, d], ratings [m]. NaN, under every name, for a
    text whose ratings or similarities are all equal: MTEB leaves it out of the mean.
    """
    rows = [
        _correlations(*(np.asarray(x, np.float64) for x in text))
        for text in zip(machine, human, ratings, strict=True)
    ]
    return dict(zip(SUMMARY_MEASURES, np.array(rows).reshape(-1, len(KINDS) * 2).T, strict=True))


def _correlations(machine: Float64, human: Float64, ratings: Float64) -> list[float]:
    """Of one text, in the order of SUMMARY_MEASURES."""
    nearest = {
        "cosine": (_unit(machine) @ _unit(human).T).max(axis=1),
        "dot": (machine @ human.T).max(axis=1),
    }
    found = [
        float(correlation(kind, nearest[similarity], ratings))
        for similarity, kind in (name.split("_") for name in SUMMARY_MEASURES)
    ]
    return [float("nan")] * len(found) if np.isnan(found).any() else found


def _unit(vectors: Float64) -> Float64:
    """Rows of length 1; a row of zeros stays."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(np.divide(vectors, norms, out=np.zeros_like(vectors), where=norms > 0))


def _register() -> None:
    """Each correlation as a measure."""

    def make(name: str) -> Callable[[Rated], Float64]:
        def read(rated: Rated) -> Float64:
            return rated.correlations[name]

        return read

    for name in SUMMARY_MEASURES:
        similarity, _, kind = name.partition("_")
        about = f"{kind.title()} correlation of the ratings with the nearest {similarity}."
        measure(
            name, kind="summarization", depth=0, citation="Fabbri et al. 2021; MTEB", about=about
        )(make(name))


_register()
