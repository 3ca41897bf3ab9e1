from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, average_precision_score, f1_score
from threadpoolctl import threadpool_info

from harness.errors import InputError
from harness.measures import probe as module
from harness.measures.probe import probe, undersample


def test_draws_are_those_of_mteb():
    # RandomState(42) shuffles 0..5 into 0 1 5 2 4 3, and that, by the same moves, into 0 1 3 5 4 2
    drawn = undersample(list("abaabb"), experiments=2, samples_per_label=2)
    assert [rows.tolist() for rows in drawn] == [[0, 1, 5, 2], [0, 1, 3, 5]]


def test_a_label_gives_what_it_has():
    labels = ["rare"] + ["common"] * 50
    for rows in undersample(labels, samples_per_label=8):
        assert len(rows) == 9
        assert 0 in rows
        assert len(set(rows.tolist())) == 9


def test_draws_differ_and_repeat():
    labels = np.repeat([0, 1], 30)
    drawn = [rows.tolist() for rows in undersample(labels)]
    assert len(drawn) == 10
    assert len({tuple(rows) for rows in drawn}) == 10
    assert drawn == [rows.tolist() for rows in undersample(labels.astype(str))]
    assert drawn != [rows.tolist() for rows in undersample(labels, seed=1)]


# two groups on a line; the third test item lies on the wrong side
TRAIN, TRAIN_LABELS = np.float32([[-2], [-1], [1], [2]]), ["0", "0", "1", "1"]
TEST, TEST_LABELS = np.float32([[-3], [-2], [3], [2]]), ["0", "0", "0", "1"]


def test_scores_by_hand():
    found = probe(TRAIN, TRAIN_LABELS, TEST, TEST_LABELS, draws=[np.arange(4), np.array([1, 2])])
    assert found.correct.tolist() == [1, 1, 0, 1]
    # label 0: P 1, R 2/3, F1 4/5; label 1: P 1/2, R 1, F1 2/3
    assert found.scores["accuracy"].tolist() == [0.75, 0.75]
    assert found.scores["f1"] == pytest.approx([(4 / 5 + 2 / 3) / 2] * 2, abs=1e-15)
    assert found.scores["f1_weighted"] == pytest.approx([(3 * 4 / 5 + 2 / 3) / 4] * 2, abs=1e-15)
    assert found.scores["ap"] == pytest.approx([0.5, 0.5], abs=1e-15)
    assert found.unconverged == 0


def test_scores_are_those_of_scikit_learn():
    random = np.random.default_rng(0)
    train, test = random.normal(size=(60, 3)), random.normal(size=(40, 3))
    labels, gold = random.integers(3, size=60), random.integers(2, size=40)
    seen = []
    original = module._scores

    def watch(gold, predicted):
        seen.append(predicted)
        return original(gold, predicted)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_scores", watch)
        draws = undersample(labels, experiments=3)
        found = probe(train, labels, test, gold, draws=draws)
    assert {2} <= set(np.concatenate(seen))  # a label that no test item has
    for i, predicted in enumerate(seen):
        assert found.scores["accuracy"][i] == pytest.approx(accuracy_score(gold, predicted))
        macro, weighted = (f1_score(gold, predicted, average=a) for a in ("macro", "weighted"))
        assert found.scores["f1"][i] == pytest.approx(macro)
        assert found.scores["f1_weighted"][i] == pytest.approx(weighted)
        ap = average_precision_score(gold, predicted == 1)
        assert found.scores["ap"][i] == pytest.approx(ap)
    assert found.correct == pytest.approx(np.mean([p == gold for p in seen], axis=0))
    assert found.correct.mean() == pytest.approx(found.scores["accuracy"].mean())


@pytest.mark.parametrize("labels", [["a", "b"], ["1", "2", "3"], [2, 3]])
def test_average_precision_is_for_labels_0_and_1(labels):
    found = probe(
        np.float32([[0], [1], [2]]),
        [*labels, labels[0]][:3],
        TEST[:2],
        labels[:2],
        draws=[np.arange(3)],
    )
    assert ("ap" in found.scores) == (labels == ["1", "2", "3"])


def test_average_precision_is_of_the_label_1_whatever_the_other_is_called():
    """Both texts are taken for the other label: the one of label 1 comes last of two."""
    train, test = np.float32([[-9], [9]] * 4), np.float32([[-9], [9]])
    found = probe(train, ["2", "1"] * 4, test, ["1", "2"], draws=[np.arange(8)])
    assert found.scores["accuracy"].tolist() == [0]
    assert found.scores["ap"].tolist() == [0.5]


def test_a_label_unseen_in_training_is_never_right():
    found = probe(TRAIN, TRAIN_LABELS, TEST, ["0", "0", "new", "1"], draws=[np.arange(4)])
    assert found.correct.tolist() == [1, 1, 0, 1]


def test_a_solver_that_does_not_converge_is_counted(monkeypatch):
    monkeypatch.setattr(module, "ITERATIONS", 1)
    random = np.random.default_rng(0)
    vectors, labels = random.normal(size=(40, 5)).astype(np.float32), np.arange(40) % 2
    draws = undersample(labels, experiments=3)
    assert probe(vectors, labels, vectors, labels, draws=draws).unconverged == 3


def test_progress_counts_experiments():
    told = []
    probe(
        TRAIN,
        TRAIN_LABELS,
        TEST,
        TEST_LABELS,
        draws=[np.arange(4)] * 2,
        progress=lambda *said: told.append(said),
    )
    assert told == [("classify", 1, 2, "experiments"), ("classify", 2, 2, "experiments")]


def test_one_thread_computes_whatever_the_machine_has():
    """Sums of more threads round otherwise."""
    threads = set()

    def watch(*_):
        threads.update(pool["num_threads"] for pool in threadpool_info())

    probe(TRAIN, TRAIN_LABELS, TEST, TEST_LABELS, draws=[np.arange(4)], progress=watch)
    assert threads == {1}


def test_a_draw_with_one_label_is_refused():
    with pytest.raises(InputError, match="fewer than two labels: expected a training split with"):
        probe(TRAIN, TRAIN_LABELS, TEST, TEST_LABELS, draws=[np.array([0, 1])])
