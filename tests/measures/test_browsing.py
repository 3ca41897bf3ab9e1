"""ERR and RBP by hand, and by loops over one query as their papers write them."""

from __future__ import annotations

import numpy as np
import pytest

from harness import score
from harness.errors import InputError

QRELS = {"q": {"a": 3, "b": 0, "c": 1, "d": 2}}
RUN = {"q": {"b": 5, "a": 4, "c": 3, "x": 2, "d": 1}}  # gains 0 3 1 - 2


def value(measure: str, run=RUN, qrels=QRELS) -> float:
    return score(run, qrels, [measure])[measure].mean


def test_err_by_hand():
    """2^3 = 8: satisfied with 7/8 at rank 2, then with 1/8 at 3, with 3/8 at 5."""
    assert value("ERR@2") == pytest.approx(7 / 8 / 2)
    assert value("ERR@3") == pytest.approx(7 / 16 + 1 / 8 * 1 / 8 / 3)
    assert value("ERR@5") == pytest.approx(7 / 16 + 1 / 8 * 1 / 8 / 3 + 1 / 8 * 7 / 8 * 3 / 8 / 5)
    assert value("ERR(top=4)@2") == pytest.approx(7 / 16 / 2)  # as gdeval, whose scale ends at 4


def test_err_of_the_highest_gains_there_are():
    """2^3000 is no number: (2^3000 - 1) / 2^3000 and (2^2999 - 1) / 2^3000 are 1 and 1/2."""
    qrels = {"q": {"a": 2999, "b": 3000}}
    assert value("ERR@2", {"q": {"a": 2, "b": 1}}, qrels) == pytest.approx(1 / 2 + 1 / 2 / 2)


def test_rbp_by_hand():
    relevant = 0.8 + 0.8**2 + 0.8**4
    assert value("RBP") == pytest.approx(0.2 * relevant)
    assert value("RBP(p=0.8)@3") == pytest.approx(0.2 * (0.8 + 0.8**2))
    assert value("RBP(p=0.5)") == pytest.approx(0.5 * (0.5 + 0.25 + 0.0625))


def test_many_queries_are_those_of_a_loop():
    random = np.random.default_rng(5)
    documents = [f"d{i:02}" for i in range(40)]
    run = {
        f"q{q}": dict(zip(documents, random.permutation(40).tolist(), strict=True))
        for q in range(30)
    }
    qrels = {
        f"q{q}": {d: int(random.integers(-1, 4)) for d in random.choice(documents, 15, False)}
        for q in range(30)
    }
    found = score(run, qrels, ["ERR@20", "RBP(p=0.9)"]).per_query()
    for query, results in run.items():
        staying, err, rbp = 1.0, 0.0, 0.0
        ranked = sorted(results, key=lambda d: -results[d])
        for rank, document in enumerate(ranked, 1):
            gain = max(0, qrels[query].get(document, 0))
            satisfied = (2**gain - 1) / 2**3
            err += staying * satisfied / rank if rank <= 20 else 0
            staying *= 1 - satisfied
            rbp += 0.1 * 0.9 ** (rank - 1) * (gain > 0)
        assert found.loc[query].tolist() == pytest.approx([err, rbp], abs=1e-12)


@pytest.mark.parametrize(
    ("measure", "line"),
    [
        ("ERR(top=2)@5", "ERR(top=2): the judgments hold a gain of 3, which is more"),
        ("RBP(p=1)", "RBP(p=1): expected a probability between 0 and 1"),
        ("RBP(p=0)", "RBP(p=0): expected a probability between 0 and 1"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(measure, line):
    with pytest.raises(InputError) as caught:
        value(measure)
    assert str(caught.value) == line


def test_nothing_relevant_scores_0():
    assert value("ERR@5", qrels={"q": {"a": 0}}) == 0
    assert value("RBP", qrels={"q": {"a": -1}}) == 0
