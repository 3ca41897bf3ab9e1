"""The gate: baselines that cannot be edited unnoticed, policies, and every verdict."""

from __future__ import annotations

import re
import subprocess
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from pydantic import ValidationError

from harness import gate, records
from harness.compare import compare, side
from harness.environment import Environment
from harness.errors import EncodingError, HarnessError, InputError
from harness.gate import judge
from harness.gate.costs import Sample, estimate_ratio
from harness.gate.policy import CostPolicy, Policy, TaskPolicy, read_policy
from harness.pipeline.phases import Phase
from harness.records import Record, costs
from harness.records.measured_costs import CostRun, MeasuredCosts
from harness.stats import Estimate
from tests.comparable import costed, record, saved
from tests.killed import run

BASE = np.linspace(0.2, 0.8, 400)
NOISE = np.random.default_rng(0).normal(0, 0.05, 400)  # standard error 0.0025
NOISE -= NOISE.mean()


def judged(tmp_path: Path, new, old=BASE, policy: Policy | None = None, **changes) -> gate.Gate:
    """A gate over one task."""
    saved(tmp_path / "old", {"nDCG@10": old})
    saved(tmp_path / "new", {"nDCG@10": new}, **changes)
    return judge(side([tmp_path / "old"]), side([tmp_path / "new"]), policy or Policy())


@pytest.mark.parametrize(
    ("change", "status", "exit_status"),
    [
        (-0.03, "regressed", 1),
        (0.03, "improved", 0),
        (0.0, "same", 0),
        (-0.004, "same", 0),
        (-0.009, "cannot tell", 0),  # the interval reaches beyond the tolerance
        (-0.0101, "cannot tell", 0),  # beyond it, as chance may have it
        (-0.02, "regressed", 1),
    ],
)
def test_a_verdict_by_the_size_of_the_change(tmp_path, change, status, exit_status):
    found = judged(tmp_path, BASE + NOISE + change)
    assert [verdict.status for verdict in found.verdicts] == [status]
    assert found.exit_status == exit_status


def test_identical_values_are_the_same_without_any_tolerance(tmp_path):
    found = judged(tmp_path, BASE, policy=Policy(absolute=0.0))
    assert (found.verdicts[0].status, found.exit_status) == ("same", 0)


def test_a_drop_that_few_queries_cannot_show_is_not_let_through(tmp_path):
    few = [0.9, 0.1, 0.5, 0.8]
    found = judged(tmp_path, [0.1, 0.1, 0.5, 0.8], few)
    verdict = found.verdicts[0]
    assert (verdict.status, verdict.blind, found.exit_status) == ("cannot tell", True, 2)
    # differences -0.8, 0, 0, 0: error 0.2, and 0.01 + 2.486475 x 0.2 = 0.5073
    assert "shows a drop of 0.5073 or more, 0.1000 is asked for" in verdict.reason
    for policy in (Policy(detectable=0.51), Policy(tasks={"t": TaskPolicy(detectable=0.51)})):
        assert judged(tmp_path, [0.1, 0.1, 0.5, 0.8], few, policy).exit_status == 0


def test_a_single_query_shows_nothing(tmp_path):
    found = judged(tmp_path, [0.1], [0.9])
    assert found.exit_status == 2
    assert found.verdicts[0].reason.startswith("0.9000 -> 0.1000 (-0.8000)")
    assert "shows nothing" in found.verdicts[0].reason


def test_tolerances_the_larger_counts_and_a_task_has_its_own():
    assert gate.tolerance("t", 0.5, Policy(absolute=0.01, relative=0.1)) == 0.05
    assert gate.tolerance("t", -0.5, Policy(absolute=0.01, relative=0.1)) == 0.05
    assert gate.tolerance("t", 0.05, Policy(absolute=0.01, relative=0.1)) == 0.01
    own = Policy(relative=0.1, tasks={"t": TaskPolicy(absolute=0.2)})
    assert gate.tolerance("t", 0.5, own) == 0.2
    assert gate.tolerance("u", 0.5, own) == 0.05
    none = Policy(tasks={"t": TaskPolicy(absolute=0.0)})
    assert gate.tolerance("t", 0.5, none) == 0.0


def many(tmp_path: Path, correction: str) -> list[str]:
    """Statuses over ten tasks of which one falls, with an uncorrected p of about 0.02."""
    rows = np.random.default_rng(1).normal(0, 0.1, (10, 50))
    rows -= rows.mean(axis=1, keepdims=True)
    rows[0] -= 0.03
    for i, row in enumerate(rows):
        saved(tmp_path / "old", {"R@2": np.full(50, 0.5)}, f"t{i}")
        saved(tmp_path / "new", {"R@2": 0.5 + row}, f"t{i}")
    policy = Policy(correction=correction, absolute=0.0)
    found = judge(side([tmp_path / "old"]), side([tmp_path / "new"]), policy)
    return [verdict.status for verdict in found.verdicts]


def test_tests_of_many_tasks_are_corrected(tmp_path):
    assert many(tmp_path, "none").count("regressed") == 1
    assert many(tmp_path, "holm").count("regressed") == 0
    assert many(tmp_path, "benjamini-hochberg").count("regressed") == 0


def test_missing_and_undefined_fail(tmp_path):
    saved(tmp_path / "old", {"R@2": BASE}, "there")
    saved(tmp_path / "old", {"R@2": BASE}, "missing")
    saved(tmp_path / "old", {"R@2": BASE}, "nan")
    saved(tmp_path / "new", {"R@2": BASE}, "there")
    saved(tmp_path / "new", {"R@2": BASE}, "more")
    undefined = record("nan", {"R@2": None})
    records.save(undefined, {"query_id": ["q0"]}, tmp_path / "new")
    old, new = side([tmp_path / "old"]), side([tmp_path / "new"])
    found = judge(old, new, Policy())
    assert [(v.task, v.status, v.reason) for v in found.verdicts] == [
        ("missing", "missing", "required, and not measured"),
        ("nan", "missing", "R@2 is not defined"),
        ("there", "same", "0.5000 -> 0.5000 (+0.0000): within 0.0100"),
    ]
    assert [verdict.blind for verdict in found.verdicts] == [False, False, False]
    assert found.exit_status == 1
    assert found.extra == ("more",)
    some = judge(old, new, Policy(required=["there", "nan"]))
    assert [verdict.task for verdict in some.verdicts] == ["nan", "there"]
    assert some.exit_status == 1


def test_nothing_measured_is_no_pass(tmp_path):
    saved(tmp_path / "old", {"R@2": BASE}, "one")
    saved(tmp_path / "new", {"R@2": BASE}, "other", system="n")
    with pytest.raises(InputError, match="n was measured on no task of the baseline m"):
        judge(side([tmp_path / "old"]), side([tmp_path / "new"]), Policy(required=[]))


def test_what_cannot_be_compared_is_said(tmp_path):
    changed = record().task.model_copy(update={"fingerprint": {"corpus": "bb"}})
    found = judged(tmp_path, BASE, task=changed)
    assert [(v.status, v.reason) for v in found.verdicts] == [
        ("not comparable", "the data differ: corpus")
    ]
    assert found.exit_status == 2


def test_other_prompts_of_the_same_model_are_said_unless_allowed(tmp_path):
    prompted = record().system.model_copy(update={"prompts": {"query": "query: "}})
    saved(tmp_path / "old", {"R@2": BASE})
    made = record(scores={"R@2": float(BASE.mean())}).model_copy(update={"system": prompted})
    ids = [f"q{i}" for i in range(400)]
    records.save(made, {"query_id": ids, "R@2": BASE}, tmp_path / "new")
    old, new = side([tmp_path / "old"]), side([tmp_path / "new"])
    found = judge(old, new, Policy())
    told = "the prompts of the same model differ: query 'query: ' and ''"
    assert found.verdicts[0].reason == told
    assert found.exit_status == 2
    allowed = judge(old, new, Policy(prompts="any"))
    assert allowed.exit_status == 0
    assert allowed.verdicts[0].reason.endswith("; prompts differ: query 'query: ' and ''")
    renamed = prompted.model_copy(update={"full": "m,query_prompt=query: ", "fingerprint": {}})
    records.save(made.model_copy(update={"system": renamed}), {"query_id": ids, "R@2": BASE},
                 tmp_path / "renamed")  # fmt: skip
    assert judge(old, side([tmp_path / "renamed"]), Policy()).exit_status == 2
    retrained = prompted.model_copy(update={"fingerprint": {"weights": "new"}})
    records.save(made.model_copy(update={"system": retrained}), {"query_id": ids, "R@2": BASE},
                 tmp_path / "retrained")  # fmt: skip
    assert judge(old, side([tmp_path / "retrained"]), Policy()).exit_status == 2
    another = prompted.model_copy(
        update={"full": "e5", "spec": "e5", "fingerprint": {"weights": "e5"}}
    )
    other = made.model_copy(update={"system": another})
    records.save(other, {"query_id": ids, "R@2": BASE}, tmp_path / "other")
    assert judge(old, side([tmp_path / "other"]), Policy()).exit_status == 0


def test_the_worst_comes_first(tmp_path):
    for i, change in enumerate((0.0, 0.03, -0.03)):
        saved(tmp_path / "old", {"R@2": BASE}, f"t{i}")
        saved(tmp_path / "new", {"R@2": BASE + change}, f"t{i}")
    found = judge(side([tmp_path / "old"]), side([tmp_path / "new"]), Policy())
    assert [v.status for v in found.verdicts] == ["regressed", "same", "improved"]


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


def test_a_candidate_that_fails_on_one_task_is_judged_on_the_others(tmp_path):
    for task in ("one", "two", "three"):
        saved(tmp_path / "old", {"R@2": BASE}, task)
    saved(tmp_path / "new", {"R@2": BASE}, "one")
    errors = {"two": EncodingError("vector 3 is\nNaN"), "three": ValueError("boom")}
    new = gate.CandidateSide("n", side([tmp_path / "new"]).tasks, errors)
    found = judge(side([tmp_path / "old"]), new, Policy())
    assert [(v.task, v.status, v.reason) for v in found.verdicts] == [
        ("three", "failed", "ValueError: boom"),
        ("two", "failed", "vector 3 is NaN"),
        ("one", "same", "0.5000 -> 0.5000 (+0.0000): within 0.0100"),
    ]
    assert found.exit_status == 1
    unreadable = gate.CandidateSide("n", {}, {"two": InputError("no such folder")})
    found = judge(side([tmp_path / "old"]), unreadable, Policy(required=["two"]))
    assert [(v.status, v.reason) for v in found.verdicts] == [("not comparable", "no such folder")]
    assert found.exit_status == 2


def test_the_same_data_under_another_name_are_the_same_task(tmp_path):
    saved(tmp_path / "old", {"R@2": BASE}, "folder:here")
    there = record("folder:here").task.model_copy(update={"spec": "folder:/there"})
    saved(tmp_path / "new", {"R@2": BASE}, "folder:/there", task=there)
    old, new = side([tmp_path / "old"]), side([tmp_path / "new"])
    found = judge(old, new, Policy())
    assert [(v.task, v.status) for v in found.verdicts] == [("folder:here", "same")]
    assert found.verdicts[0].reason.endswith(
        "; the name of the data differs: folder:/there and folder:here"
    )
    assert (found.extra, found.exit_status) == ((), 0)
    compared = compare(old, new)
    assert [one.task for one in compared.differences] == ["folder:here"]
    assert (compared.only_a, compared.only_b) == ((), ())


def test_a_frozen_baseline_holds_measured_costs(tmp_path):
    saved(tmp_path / "records", {"R@2": BASE}, "one")
    saved(tmp_path / "records", {"R@2": BASE}, "two")
    gate.freeze([tmp_path / "records"], tmp_path / "base", measured={"one": costed(1.0)})
    held = gate.thaw(tmp_path / "base").tasks
    assert {task: one.costs for task, (_, one) in held.items()} == {
        "one": costed(1.0), "two": None,
    }  # fmt: skip


def test_a_policy_is_read(tmp_path):
    path = tmp_path / "gate.toml"
    path.write_text(
        'absolute = 0\nrequired = ["t"]\n[cost]\nthroughput = 0.8\n[tasks."t"]\nrelative = 0.1\n'
    )
    assert read_policy(path) == Policy(
        absolute=0.0,
        required=["t"],
        cost=CostPolicy(throughput=0.8),
        tasks={"t": TaskPolicy(relative=0.1)},
    )
    path.write_text("")
    assert read_policy(path) == Policy()


def test_a_policy_is_not_changed_once_it_is_made():
    with pytest.raises(ValidationError, match="frozen"):
        Policy().alpha = 0.5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("absolut = 0.1", "unknown key 'absolut'. Did you mean 'absolute'?"),
        ("[cost]\nspeed = 0.1", "unknown key 'speed'"),
        ("[tasks.x]\nalpha = 0.1", "unknown key 'alpha'"),
        ("alpha = 1.5", "alpha = 1.5: Input should be less than 1"),
        ("alpha = '0.1'", "alpha = '0.1': Input should be a valid number"),
        ("absolute = -1", "absolute = -1: Input should be greater than or equal to 0"),
        ("absolute = nan", "absolute = nan: Input should be"),
        ("correction = 'bonferroni'", "correction = 'bonferroni': Input should be 'holm'"),
        ("required = 't'", "required = 't': Input should be a valid list"),
        ("[cost]\nthroughput = 0", "cost.throughput = 0: Input should be greater than 0"),
        ("cost = 3", "cost = 3: "),
        ("alpha = ", "not a readable TOML file: "),
    ],
)
def test_a_wrong_policy_is_one_line(tmp_path, text, message):
    path = tmp_path / "gate.toml"
    path.write_text(text)
    with pytest.raises(InputError) as error:
        read_policy(path)
    assert str(error.value).startswith(f"{path}: {message}")
    assert "\n" not in str(error.value)


def test_a_policy_that_is_not_there_or_no_text(tmp_path):
    with pytest.raises(InputError, match="cannot be read: No such file"):
        read_policy(tmp_path / "gate.toml")
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="byte 0 is not UTF-8"):
        read_policy(tmp_path / "bytes.toml")


@pytest.mark.parametrize(
    "policy", [Policy(required=["tt"]), Policy(tasks={"tt": TaskPolicy(absolute=0.1)})]
)
def test_tasks_that_the_baseline_lacks_are_named(tmp_path, policy):
    with pytest.raises(InputError, match="policy: unknown task 'tt'"):
        judged(tmp_path, BASE, policy=policy)


def frozen(tmp_path: Path) -> Path:
    """A baseline of two tasks."""
    for task in ("one", "two,k=3"):
        saved(tmp_path / "records", {"R@2": BASE}, task)
    gate.freeze([tmp_path / "records"], tmp_path / "base")
    return tmp_path / "base"


def test_a_baseline_holds_the_same_records_and_checks_itself(tmp_path):
    base = frozen(tmp_path)
    assert sorted(path.name for path in base.iterdir()) == [
        "SHA256SUMS", "one.json", "one.parquet", "two_k=3.json", "two_k=3.parquet",
    ]  # fmt: skip
    held, given = gate.thaw(base), side([tmp_path / "records"])
    assert {t: r for t, (_, r) in held.tasks.items()} == {t: r for t, (_, r) in given.tasks.items()}
    assert judge(held, given, Policy()).exit_status == 0
    told = subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=base, check=False)
    assert told.returncode == 0


def test_a_baseline_that_was_changed_is_refused(tmp_path):
    base = frozen(tmp_path)
    text = (base / "one.json").read_text()
    (base / "one.json").write_text(text.replace("0.5", "0.6"))
    with pytest.raises(InputError, match=r"one\.json: was changed since it was frozen: restore it"):
        gate.thaw(base)
    (base / "one.json").unlink()
    with pytest.raises(InputError, match=r"one\.json: is in SHA256SUMS, not on the disk"):
        gate.thaw(base)
    (base / "one.json").write_text(text)
    (base / "three.json").write_text(text)
    with pytest.raises(InputError, match=r"three\.json: is not in SHA256SUMS"):
        gate.thaw(base)


@pytest.mark.parametrize(
    ("sums", "message"),
    [
        (None, "not a baseline's list of files: .*harness baseline freeze"),
        ("nonsense\n", "not a baseline's list of files"),
        ("aa  ../../etc/passwd\n", "expected the name of a file in this folder"),
        ("aa  /etc/passwd\n", "expected the name of a file in this folder"),
    ],
)
def test_a_folder_that_is_no_baseline(tmp_path, sums, message):
    if sums:
        (tmp_path / "SHA256SUMS").write_text(sums)
    with pytest.raises(InputError, match=message):
        gate.thaw(tmp_path)


def test_a_baseline_is_replaced_only_when_asked(tmp_path):
    base = frozen(tmp_path)
    with pytest.raises(InputError, match="a baseline is there already"):
        gate.freeze([tmp_path / "records"], base)
    saved(tmp_path / "other", {"R@2": BASE}, "three")
    assert gate.freeze([tmp_path / "other"], base, replace=True) == [base / "three.json"]
    assert list(gate.thaw(base).tasks) == ["three"]
    assert gate.freeze([base], base, replace=True) == [base / "three.json"]  # onto itself
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="holds other files"):
        gate.freeze([tmp_path / "other"], tmp_path / "home", replace=True)
    assert (tmp_path / "home" / "thesis.txt").read_text() == "mine"


@pytest.mark.parametrize("exchange", [True, False])
def test_a_freeze_that_is_killed_can_be_repeated_and_loses_nothing(tmp_path, exchange):
    base = frozen(tmp_path)
    saved(tmp_path / "other", {"R@2": BASE}, "three")
    program = """
        from harness import disk, gate
        other, base = map(Path, sys.argv[1:3])
        if sys.argv[3] == "False":
            disk._exchange = lambda *_: False
        disk.STALE_S = -1
        data = {path.name: path.read_bytes() for path in base.iterdir()}
        gate.thaw(base), gate.compare.side([other])  # what they import is none of its operations
        seen = set()

        def freeze():
            gate.freeze([other], base, replace=True)

        def check():
            held = tuple(gate.thaw(base).tasks)
            assert held in (("one", "two,k=3"), ("three",)), held
            seen.add(held)
            freeze()
            assert list(gate.thaw(base).tasks) == ["three"]
            assert not [p.name for p in base.parent.iterdir() if p.name.startswith(".")]
            disk.write_folder(base, data, ["three.json", "three.parquet"])

        killed(freeze, check)
        assert len(seen) == 2
    """
    assert run(program, tmp_path / "other", base, exchange) > 20


def test_a_first_freeze_that_is_killed_can_be_repeated(tmp_path):
    saved(tmp_path / "records", {"R@2": BASE}, "one")
    program = """
        import shutil
        from harness import disk, gate
        records, base = map(Path, sys.argv[1:3])
        disk.STALE_S = -1
        gate.compare.side([records])

        def freeze():
            gate.freeze([records], base)

        def check():
            if not base.exists() or not any(base.iterdir()):
                freeze()
            assert list(gate.thaw(base).tasks) == ["one"]
            shutil.rmtree(base)

        killed(freeze, check)
    """
    assert run(program, tmp_path / "records", tmp_path / "base") > 20


def test_only_what_a_candidate_can_be_held_to_is_frozen(tmp_path):
    undefined = record(scores={"R@2": None})
    records.save(undefined, {"query_id": ["q0"]}, tmp_path / "undefined")
    with pytest.raises(InputError, match="R@2 is not defined: nothing to hold to"):
        gate.freeze([tmp_path / "undefined"], tmp_path / "base")
    path = saved(tmp_path / "lost", {"R@2": BASE})
    path.with_suffix(".parquet").unlink()
    with pytest.raises(InputError, match="not readable"):
        gate.freeze([tmp_path / "lost"], tmp_path / "base")
    for task in ("a:b", "a_b"):
        saved(tmp_path / "same" / task, {"R@2": BASE}, task)
    with pytest.raises(InputError, match=r"are both named a_b\.json"):
        gate.freeze([tmp_path / "same"], tmp_path / "base")
    assert not (tmp_path / "base").exists()
    (tmp_path / "file").write_text("")
    saved(tmp_path / "fine", {"R@2": BASE})
    with pytest.raises(HarnessError, match="cannot be written"):
        gate.freeze([tmp_path / "fine"], tmp_path / "file" / "base")


def test_a_score_without_interval_is_not_comparable(tmp_path):
    saved(tmp_path / "old", {"R@2": BASE})
    made = record(scores={"R@2": 0.5}).model_copy(
        update={"scores": {"R@2": Estimate(mean=0.5, low=None, high=None)}}
    )
    records.save(made, {"query_id": ["q0"]}, tmp_path / "new")
    found = judge(side([tmp_path / "old"]), side([tmp_path / "new"]), Policy())
    assert (found.verdicts[0].status, found.exit_status) == ("not comparable", 2)


def examples(language: str) -> list[str]:
    page = Path(__file__).parents[2] / "docs" / "ci.md"
    return re.findall(rf"```{language}\n(.*?)```", page.read_text("utf-8"), re.S)


def test_the_policy_of_the_manual_is_one_and_shows_every_default():
    [text] = examples("toml")
    shown = Policy.model_validate(tomllib.loads(text))
    assert shown.model_dump(exclude={"required", "cost", "tasks"}) == Policy().model_dump(
        exclude={"required", "cost", "tasks"}
    )
    named = set(re.findall(r"^(\w+) =", text, re.M))
    assert named == {*Policy.model_fields, *CostPolicy.model_fields} - {"cost", "tasks"}


def test_the_workflow_and_the_hook_of_the_manual_parse():
    workflow, line, hook = map(yaml.safe_load, examples("yaml"))
    steps = workflow["jobs"]["gate"]["steps"]
    ours = next(step["run"] for step in steps if "name" in step and "Hold" in step["name"])
    assert ours.startswith("harness gate --model ./model --baseline baselines/minilm --policy")
    assert "\n" not in ours
    assert line[0]["run"].startswith("make gate MODEL=")
    assert hook["repos"][0]["hooks"][0]["entry"].startswith("harness gate --model ./model")
