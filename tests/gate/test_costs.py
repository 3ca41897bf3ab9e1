"""Costs: ratios with room for noise, intervals by hand, another machine divided out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harness import gate
from harness.compare import side
from harness.environment import Environment
from harness.gate import judge
from harness.gate.costs import Sample, estimate_ratio
from harness.gate.policy import CostPolicy, Policy
from harness.pipeline.phases import Phase
from harness.records import Record, costs
from harness.records.measured_costs import CostRun, MeasuredCosts
from tests.comparable import costed, record, saved
from tests.gate.frame import BASE


def test_costs_of_a_record():
    # 1000 texts in 2.5 s; 0.2 s for 100 queries
    def limited(one: Record) -> list[float | None]:
        return [costs.BY_KEY[key].of(one) for key in ("texts_per_s", "peak_mb", "search_ms", "dim")]

    assert limited(record()) == [400.0, 500.0, 2.0, 384]
    stored = record(phases=[Phase("encode", "", "documents", 0.1, 0.1, 9.0, 0, "texts")])
    assert limited(stored) == [None, 9.0, None, 384]


def costly(tmp_path: Path, old, new, limits: CostPolicy, **changes) -> gate.Gate:
    """A gate over one task, of equal values. old, new: measured costs."""
    saved(tmp_path / "old", {"nDCG@10": BASE}, costs=old)
    saved(tmp_path / "new", {"nDCG@10": BASE}, costs=new, **changes)
    return judge(side([tmp_path / "old"]), side([tmp_path / "new"]), Policy(cost=limits))


@pytest.mark.parametrize(
    ("limits", "status", "exit_status"),
    [
        ({"throughput": 0.55}, "cannot tell", 0),  # half the rate: 0.5 >= 0.55 x 0.9
        ({"throughput": 0.56}, "exceeded", 1),
        ({"throughput": 0.55, "noise": 0.0}, "exceeded", 1),
        ({"throughput": 0.44}, "within", 0),  # 0.5 x 0.9 >= 0.44
        ({"latency": 1.82}, "cannot tell", 0),  # twice as long: 2 <= 1.82 x 1.1
        ({"latency": 1.81}, "exceeded", 1),
        ({"latency": 2.21}, "within", 0),
        ({"start": 1.0}, "cannot tell", 0),
        ({"start": 1.11}, "within", 0),
        ({"dimension": 1.0}, "within", 0),
        ({"dimension": 0.99}, "exceeded", 1),  # no noise in a dimension
    ],
)
def test_costs_are_ratios_with_room_for_noise(tmp_path, limits, status, exit_status):
    old, slow = costed(0.001), costed(0.002, 0.004)
    found = costly(tmp_path, old, slow, CostPolicy(**limits))
    assert [cost.status for cost in found.costs] == [status]
    assert found.exit_status == exit_status


def test_memory_of_encoding_and_of_searching_are_apart(tmp_path):
    old, new = costed(1.0, mb=100.0), costed(1.0, mb=150.0)
    found = costly(tmp_path, old, new, CostPolicy(memory=1.25, noise=0.0))
    assert [(c.name, c.status, c.reason) for c in found.costs] == [
        ("memory, cold", "exceeded", "1.50 x the baseline's, at most 1.25"),
        ("memory, warm", "exceeded", "1.50 x the baseline's, at most 1.25"),
    ]


def test_the_interval_of_a_ratio_is_that_of_welch():
    # logarithms 0, 1, 2 and 1, ..., 5: means 1 and 3, squared errors 1/3 and 1/2;
    # degrees of freedom (5/6)^2 / (1/18 + 1/16) = 5.88; t at 97.5% 2.4589
    zeros = np.zeros((3, 1)), np.zeros((5, 1))
    one = Sample(np.arange(3.0), np.arange(1.0, 6.0), zeros)
    low, ratio, high = estimate_ratio([one])
    assert np.log([low, ratio, high]) == pytest.approx([2 - 2.2446, 2, 2 + 2.2446], abs=2e-4)
    low, ratio, high = estimate_ratio([one, one])  # half the variance, twice the freedom
    assert np.log(ratio) == pytest.approx(2)
    assert np.log(high / ratio) == pytest.approx(2.2446 / 2.4589 * 2.1839 / 2**0.5, abs=2e-3)


def test_the_fixed_work_that_follows_the_runs_is_divided_out():
    # the machine takes 1, 2 and 4 times as long, and so does the loop; others stay as they are
    slow = np.log([1.0, 2.0, 4.0])
    work = np.column_stack([np.zeros(3), np.array([0.1, 0.0, 0.0]), slow])
    found = estimate_ratio([Sample(slow, slow + np.log(1.5), (work, work))])
    assert found == pytest.approx((1.5, 1.5, 1.5))


def test_what_kinds_of_work_disagree_on_by_hand():
    # means of the runs 0, 0, 1 and 1, 2, 4: the new machine takes e, e^2 and e^3 times as long
    old, new = np.array([[0.0, 0, 1], [0, 0, 1]]), np.array([[0.0, 1, 2], [2, 3, 6]])
    runs = np.zeros(2)
    assert Sample(runs, runs, (old, new), moved=True).disagreement == 1
    assert Sample(runs, runs, (old, new)).disagreement == 0


def test_another_machine_is_divided_out_and_what_is_not_known_of_it_said(tmp_path):
    other = Environment(processor="q", cpus=2)
    limits = CostPolicy(throughput=0.9, noise=0.0, dimension=1.0)
    old, new = costed(0.001), costed(0.001, machine=2.0)
    found = costly(tmp_path, old, new, limits, environment=other)
    assert [(c.name, c.status) for c in found.costs] == [
        ("throughput", "not compared"), ("dimension", "within"),
    ]  # fmt: skip
    assert found.costs[0].reason.startswith("measured on another machine")
    assert found.exit_status == 2
    anywhere = limits.model_copy(update={"machines": "any"})
    found = costly(tmp_path, old, new, anywhere, environment=other)
    assert found.costs[0].ratio == pytest.approx(1.0)
    assert found.exit_status == 0
    # a machine that computes 4 times as slowly and is as fast else: it is not known which counts
    odd = MeasuredCosts(tuple(replace(run, product_s=4 * run.product_s) for run in old.runs))
    found = costly(tmp_path, old, odd, anywhere, environment=other)
    assert found.costs[0].high / found.costs[0].low == pytest.approx(4)
    assert found.costs[0].status == "cannot tell"


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (None, costed(1.0), "the baseline has no measured costs on t: freeze it with --costs"),
        (costed(1.0), None, "the candidate has no measured costs on t: let the gate measure it, "),
        (costed(1.0), MeasuredCosts(why="no wheel"), "costs of the candidate on t could not be "),
        (costed(1.0, runs=1), costed(1.0), "the baseline was measured once on t: one run shows "),
        (MeasuredCosts((CostRun(1, 1, 1),)), costed(1.0), "the baseline has no latency on t"),
    ],
)
def test_a_cost_that_was_not_measured_is_not_compared_and_no_pass(tmp_path, old, new, reason):
    found = costly(tmp_path, old, new, CostPolicy(latency=2.0))
    assert found.costs[0].status == "not compared"
    assert found.costs[0].reason.startswith(reason)
    assert found.exit_status == 2


def test_tasks_without_a_cost_are_counted_beside_those_that_have_it(tmp_path):
    for task, held in (("one", costed(1.0)), ("two", None)):
        saved(tmp_path / "old", {"R@2": BASE}, task, costs=held)
        saved(tmp_path / "new", {"R@2": BASE}, task, costs=costed(1.0))
    sides = side([tmp_path / "old"]), side([tmp_path / "new"])
    found = judge(*sides, Policy(cost=CostPolicy(latency=2.0)))
    assert [(c.status, c.reason) for c in found.costs] == [(
        "within",
        "1.00 x [0.91, 1.10] the baseline's, at most 2.00; 1 of 2 tasks left out: the baseline has "
        "no measured costs on two: freeze it with --costs",
    )]  # fmt: skip
