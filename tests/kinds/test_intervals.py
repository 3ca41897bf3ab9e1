from __future__ import annotations

import numpy as np

from harness.stats import Estimate, intervals

UNDEFINED = Estimate(None, None, None)


def test_a_mean_lies_in_its_interval_and_every_measure_sees_the_same_resamples():
    values = np.arange(20.0)
    found = intervals({"one": values, "two": values + 1}, seed=3)
    assert found["one"].mean == 9.5
    assert 6 < found["one"].low < 9.5 < found["one"].high < 13
    assert found["two"].low == found["one"].low + 1
    assert found == intervals({"one": values, "two": values + 1}, seed=3)
    assert found != intervals({"one": values, "two": values + 1}, seed=4)


def test_the_mean_of_nothing_is_not_defined():
    assert intervals({}, seed=0) == {}
    assert intervals({"one": np.empty(0), "two": np.empty(0)}, seed=0) == {
        "one": UNDEFINED,
        "two": UNDEFINED,
    }
