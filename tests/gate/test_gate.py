"""The gate: baselines that cannot be edited unnoticed, policies, and every verdict."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

from harness import gate, records
from harness.compare import compare, side
from harness.errors import EncodingError, InputError
from harness.gate import judge
from harness.gate.policy import Policy, TaskPolicy
from tests.comparable import costed, record, saved
from tests.gate.frame import BASE, examples, judged

NOISE = np.random.default_rng(0).normal(0, 0.05, 400)  # standard error 0.0025
NOISE -= NOISE.mean()


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


def test_the_workflow_and_the_hook_of_the_manual_parse():
    workflow, line, hook = map(yaml.safe_load, examples("yaml"))
    steps = workflow["jobs"]["gate"]["steps"]
    ours = next(step["run"] for step in steps if "name" in step and "Hold" in step["name"])
    assert ours.startswith("harness gate --model ./model --baseline baselines/minilm --policy")
    assert "\n" not in ours
    assert line[0]["run"].startswith("make gate MODEL=")
    assert hook["repos"][0]["hooks"][0]["entry"].startswith("harness gate --model ./model")
