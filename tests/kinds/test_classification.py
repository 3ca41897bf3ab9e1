from __future__ import annotations

import numpy as np
import pytest

from harness.data import Classification, Labelled
from harness.errors import InputError
from harness.kinds import Verdict
from harness.kinds.classification import ClassificationKind
from harness.measures import probe as probing
from harness.measures.asked import Measure
from harness.progress import silent

# a text is where it lies on a line; the third test text lies on the wrong side
TRAIN = Labelled(["-2", "-1", "1", "2"], ["0", "0", "1", "1"])
TEST = Labelled(["-3", "-2", "3", "2"], ["0", "0", "0", "1"])
DATA = Classification(TRAIN, TEST, samples_per_label=2, experiments=3)


def judged(data: Classification, *measures: str) -> Verdict:
    vectors = {
        name: np.float32([[float(text)] for text in texts])
        for name, (_, texts) in ClassificationKind().parts(data).items()
    }
    chosen = [Measure.parse(text) for text in measures]
    return ClassificationKind().judge(vectors, data, chosen, seed=0, progress=silent)


def test_only_training_texts_that_are_drawn_are_encoded():
    """The draws of RandomState(42): rows 0 1 5 2, then 0 1 3 5."""
    train = Labelled([f"{i}" for i in range(6)], list("abaabb"))
    data = Classification(train, TEST, samples_per_label=2, experiments=2)
    assert ClassificationKind().parts(data) == {
        "training_texts": ("text", ["0", "1", "2", "3", "5"]),
        "test_texts": ("text", TEST.texts),
    }


def test_scores_by_hand():
    """Label 0: P 1, R 2/3, F1 4/5; label 1: P 1/2, R 1, F1 2/3; AP by labels, 1/2."""
    found = judged(DATA, "accuracy", "f1", "f1_weighted", "ap")
    assert {name: score.mean for name, score in found.scores.items()} == {
        "accuracy": 0.75,
        "f1": pytest.approx((4 / 5 + 2 / 3) / 2),
        "f1_weighted": pytest.approx((3 * 4 / 5 + 2 / 3) / 4),
        "ap": pytest.approx(1 / 2),
    }
    assert found.per_query["text"] == [0, 1, 2, 3]
    assert found.per_query["accuracy"].tolist() == [1, 1, 0, 1]
    assert found.counts == {
        "training_texts": 4,
        "training_texts_drawn": 4,
        "labels": 2,
        "experiments_unconverged": 0,
    }
    assert found.warnings == []


def test_the_interval_of_accuracy_is_over_texts_and_of_f1_over_experiments():
    """Every experiment predicts the same, so the latter has no width."""
    found = judged(DATA, "accuracy", "f1").scores
    assert found["accuracy"].low < 0.75 < found["accuracy"].high
    assert found["f1"].low == pytest.approx(found["f1"].high)


def test_vectors_of_drawn_texts_meet_their_own_labels():
    """Only the ends of the training texts are far enough: a wrong row would mix the labels up."""
    texts = [str(number) for number in (5, -5, 6, -6, 7, -7)]
    train = Labelled(texts, list("pnpnpn"))
    data = Classification(train, Labelled(["-1", "1"], ["n", "p"]), 1, 4)
    assert len(ClassificationKind().parts(data)["training_texts"][1]) < 6
    assert judged(data, "accuracy").scores["accuracy"].mean == 1


def test_average_precision_needs_labels_0_and_1():
    named = Classification(Labelled(TRAIN.texts, list("aabb")), Labelled(TEST.texts, list("aaab")))
    with pytest.raises(InputError) as error:
        judged(named, "accuracy", "ap")
    assert str(error.value) == "ap needs labels 0 and 1: choose accuracy, f1, f1_weighted"


def test_a_probe_that_does_not_converge_is_told(monkeypatch):
    monkeypatch.setattr(probing, "ITERATIONS", 1)
    found = judged(DATA, "accuracy")
    assert found.counts["experiments_unconverged"] == 3
    assert found.warnings == ["the probe did not converge in 3 of 3 experiments"]
