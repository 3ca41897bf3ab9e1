"""Measures of pair classification: how well a threshold on similarity tells pairs apart.

Average precision, and the best accuracy and F1 that any threshold reaches, as MTEB defines them: a
threshold lies between two different similarities, so pairs of equal similarity stay together, and
"all pairs are positive" is no choice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.arrays import Float64, Int64
from harness.errors import InputError

QUALITIES = ("ap", "accuracy", "f1", "precision", "recall")


@dataclass(frozen=True)
class Separation:
    """What thresholds on one similarity reach; precision and recall are those of the best F1.

    Where no threshold scores above 0, as where all similarities are equal, it is NaN.
    """

    ap: float
    accuracy: float
    accuracy_threshold: float
    f1: float
    f1_threshold: float
    precision: float
    recall: float


def pair_classification(
    similarities: Mapping[str, Float64], gold: NDArray[Any]
) -> dict[str, float]:
    """Scores by name, as cosine_ap and max_ap, which is MTEB's main one.

    similarities: [n] by kind, from `pairs.similarities`; gold: [n], 0 or 1. Each maximum is over
    the kinds of similarity, by itself: max_precision need not go with max_f1. Raises InputError
    for other gold values, and where none is 1.
    """
    found = {kind: separation(values, gold) for kind, values in similarities.items()}
    scores = {f"{kind}_{q}": getattr(one, q) for kind, one in found.items() for q in QUALITIES}
    return {f"max_{q}": max(getattr(one, q) for one in found.values()) for q in QUALITIES} | scores


def separation(similarity: Float64, gold: NDArray[Any]) -> Separation:
    """Every measure of one similarity. similarity: [n], high for alike; gold: [n], 0 or 1.

    Raises InputError for other gold values, and where none is 1.
    """
    strange = gold[(gold != 0) & (gold != 1)]
    if len(strange):
        raise InputError(f"a pair has the gold value {strange[0]:g}: expected 0 or 1")
    ap = average_precision(similarity, gold == 1)
    values, above, hits = _steps(similarity, gold == 1)
    between = (values[:-1] + values[1:]) / 2
    n, positives = above[-1], hits[-1]
    above, hits = above[:-1], hits[:-1]
    accuracy = (hits + (n - positives) - (above - hits)) / n
    precision, recall = hits / above, hits / positives
    # written as MTEB does: where two thresholds share the best F1, rounding chooses one
    f1 = np.zeros(len(hits))
    np.divide(2 * precision * recall, precision + recall, out=f1, where=hits > 0)
    accurate, exact = _best(accuracy), _best(f1)
    return Separation(
        ap,
        accuracy=_value(accuracy, accurate),
        accuracy_threshold=_value(between, accurate, nothing=np.nan),
        f1=_value(f1, exact),
        f1_threshold=_value(between, exact, nothing=np.nan),
        precision=_value(precision, exact),
        recall=_value(recall, exact),
    )


def average_precision(similarity: Float64, positive: NDArray[np.bool_]) -> float:
    """Precision at each distinct similarity, weighted by the gain in recall. Both: [n].

    Raises InputError where nothing is positive.
    """
    _, above, hits = _steps(similarity, positive)
    if not hits[-1]:
        raise InputError("no pair has the gold value 1: average precision needs at least one")
    return float((np.diff(hits, prepend=0) / hits[-1]) @ (hits / above))


def resample(
    similarity: Float64, gold: NDArray[Any], counts: NDArray[np.integer]
) -> dict[str, Float64]:
    """ap, accuracy and f1, [r] each, of r resamples of the pairs, as `separation` has them.

    similarity, gold: [n]; counts: [r, n], how often a resample holds each pair; each resample
    holds a positive one.
    """
    order, last = _rank(similarity)
    weights = counts[:, order]
    above = weights.cumsum(axis=1)[:, last]
    hits = (weights * (gold[order] == 1)).cumsum(axis=1)[:, last]
    n, positives = above[:, -1:], hits[:, -1:]
    precision, recall = hits / np.maximum(above, 1), hits / positives
    ap = (np.diff(recall, prepend=0) * precision).sum(axis=1)
    between = (above > 0) & (above < n)  # "none" and "all of them" are no choice
    accuracy = np.where(between, n - positives + 2 * hits - above, 0) / n
    f1 = np.where(between, 2 * hits, 0) / (above + positives)
    return {"ap": ap, "accuracy": accuracy.max(axis=1), "f1": f1.max(axis=1)}


def _rank(similarity: Float64) -> tuple[Int64, Int64]:
    """Pairs by similarity, descending [n], and where the last of equals stand [s]."""
    order = np.argsort(-similarity, kind="stable")
    ranked = similarity[order]
    return order, np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))


def _steps(similarity: Float64, positive: NDArray[np.bool_]) -> tuple[Float64, Int64, Int64]:
    """Distinct similarities [s], descending; how many pairs, and positive ones, reach each."""
    order, last = _rank(similarity)
    return similarity[order][last], last + 1, positive[order].cumsum(dtype=np.int64)[last]


def _best(scores: Float64) -> int | None:
    """Where the highest score above 0 stands, the first of equals."""
    return int(scores.argmax()) if scores.any() else None


def _value(column: Float64, at: int | None, nothing: float = 0.0) -> float:
    return nothing if at is None else float(column[at])
