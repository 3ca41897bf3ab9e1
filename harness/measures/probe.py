"""Measures of classification: a linear classifier on few labelled vectors (MTEB's protocol).

Ten times over, some vectors of each label are drawn from the training split, a logistic regression
is fitted to them and predicts the whole test split; scores are means over the ten.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.arrays import Float32, Float64, Int64, Labels
from harness.errors import InputError
from harness.measures import measure
from harness.measures.binary import average_precision
from harness.progress import Progress, silent

ITERATIONS = 100  # of the solver, as in MTEB
SEED = 42  # of the solver, MTEB's


@dataclass(frozen=True)
class Probe:
    """What measures of classification are functions of.

    scores: [e] by name: accuracy, f1 (macro), f1_weighted and, for labels 0 and 1, ap. correct:
    [m], in what share of the e experiments a test item was classified correctly; its mean is the
    mean accuracy. unconverged: experiments whose solver stopped before it converged. gold: labels
    [m]; predicted: labels [m] of each experiment.
    """

    scores: dict[str, Float64]
    correct: Float64
    unconverged: int
    gold: NDArray[Any]
    predicted: tuple[NDArray[Any], ...]

    def score(self, name: str) -> Float64:
        """[e]: one of the scores. Raises InputError for one that these labels do not have."""
        if name not in self.scores:
            raise InputError(f"{name} needs labels 0 and 1: choose {', '.join(self.scores)}")
        return self.scores[name]


def undersample(
    labels: Labels, *, experiments: int = 10, samples_per_label: int = 8, seed: int = 42
) -> list[Int64]:
    """Rows of the training split that each experiment fits, in the order it sees them.

    Every label gives `samples_per_label` rows, or all it has. As in MTEB each experiment shuffles
    the order that the one before left, by the same permutation.
    """
    codes = np.unique(np.asarray(labels), return_inverse=True)[1]
    rows = np.arange(len(codes))
    drawn = []
    for _ in range(experiments):
        np.random.RandomState(seed).shuffle(rows)
        by_label = np.argsort(codes[rows], kind="stable")
        ordered = codes[rows][by_label]
        place = np.arange(len(rows)) - np.searchsorted(ordered, ordered)
        drawn.append(rows[np.sort(by_label[place < samples_per_label])])
    return drawn


def probe(
    train: Float32,
    train_labels: Labels,
    test: Float32,
    test_labels: Labels,
    *,
    draws: Iterable[Int64],
    progress: Progress = silent,
) -> Probe:
    """Classify the test vectors once for each draw of training rows.

    train: [n, d], test: [m, d], draws: rows of train from `undersample`. Raises InputError where a
    draw holds a single label.
    """
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    known, gold, draws = np.asarray(train_labels), np.asarray(test_labels), list(draws)
    model = LogisticRegression(max_iter=ITERATIONS, random_state=SEED)
    predicted, unconverged = [], 0
    with threadpool_limits(1):  # sums of more threads round otherwise
        for rows in draws:
            if len(np.unique(known[rows])) < 2:
                raise InputError(
                    "the training examples drawn hold fewer than two labels: "
                    "expected a training split with two or more"
                )
            unconverged += _fit(model, train[rows], known[rows])
            predicted.append(model.predict(test))
            progress("classify", len(predicted), len(draws), "experiments")
    right = np.mean([labels == gold for labels in predicted], axis=0)
    rows_of_scores = [_scores(gold, labels) for labels in predicted]
    scores = {name: np.array([row[name] for row in rows_of_scores]) for name in rows_of_scores[0]}
    return Probe(scores, right, unconverged, gold, tuple(predicted))


def _fit(model: Any, vectors: Float32, labels: NDArray[Any]) -> bool:
    """Fit the model; whether its solver stopped early, which it would warn of each time."""
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        model.fit(vectors, labels)
    return any(issubclass(warning.category, ConvergenceWarning) for warning in caught)


def _scores(gold: NDArray[Any], predicted: NDArray[Any]) -> dict[str, float]:
    """Of one experiment. A label counts for macro F1 if it is a gold or a predicted one."""
    _, codes = np.unique(np.concatenate([gold, predicted]), return_inverse=True)
    size = int(codes.max()) + 1
    was, said = codes[: len(gold)], codes[len(gold) :]
    support, claims = np.bincount(was, minlength=size), np.bincount(said, minlength=size)
    f1 = 2 * np.bincount(was[was == said], minlength=size) / (support + claims)
    scores = {
        "accuracy": float((was == said).mean()),
        "f1": float(f1.mean()),
        "f1_weighted": float(f1 @ support / len(gold)),
    }
    names = {str(label) for label in np.unique(gold)}
    if len(names) == 2 and "1" in names:  # of predictions, as MTEB does, not of probabilities
        positive = gold.astype(str) == "1"
        scores["ap"] = average_precision((predicted.astype(str) == "1").astype(float), positive)
    return scores


@measure("accuracy", kind="classification", depth=0, citation="MTEB")
def accuracy(probe: Probe) -> Float64:
    """Share of test texts classified correctly, one value a text: its mean over experiments."""
    return probe.correct


@measure("f1", kind="classification", depth=0, citation="MTEB")
def macro_f1(probe: Probe) -> Float64:
    """F1 averaged over labels, one value an experiment."""
    return probe.score("f1")


@measure("f1_weighted", kind="classification", depth=0, citation="MTEB")
def weighted_f1(probe: Probe) -> Float64:
    """F1 averaged over labels by how often each is the right one, one value an experiment."""
    return probe.score("f1_weighted")


@measure("ap", kind="classification", depth=0, citation="MTEB")
def label_precision(probe: Probe) -> Float64:
    """Average precision of predicted labels 0 and 1, one value an experiment."""
    return probe.score("ap")
