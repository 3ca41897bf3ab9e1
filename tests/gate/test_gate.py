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

from harness import gate, records
from harness.compare import side
from harness.environment import Environment
from harness.errors import HarnessError, InputError
from harness.gate import judge
from harness.gate.policy import CostPolicy, Policy, TaskPolicy, read_policy
from harness.pipeline.phases import Phase
from harness.records import Record, costs
from harness.stats import Estimate
from tests.comparable import PHASES, record, saved
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
    assert found.verdicts[0].reason == "the prompts of the same model differ"
    assert found.exit_status == 2
    assert judge(old, new, Policy(prompts="any")).exit_status == 0
    another = prompted.model_copy(update={"full": "e5", "spec": "e5"})
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
    def limited(one: Record) -> dict[str, float | None]:
        return {name: costs.BY_KEY[key].of(one) for name, key in gate.LIMITED.items()}

    assert limited(record()) == {
        "throughput": 400.0, "memory": 500.0, "latency": 2.0, "dimension": 384,
    }  # fmt: skip
    stored = record(phases=[Phase("encode", "", "documents", 0.1, 0.1, 9.0, 0, "texts")])
    assert limited(stored) == {
        "throughput": None, "memory": 9.0, "latency": None, "dimension": 384,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("limits", "status", "exit_status"),
    [
        ({"throughput": 0.55}, "within", 0),  # half the rate: 0.5 >= 0.55 x 0.9
        ({"throughput": 0.56}, "exceeded", 1),
        ({"throughput": 0.55, "noise": 0.0}, "exceeded", 1),
        ({"latency": 1.82}, "within", 0),  # twice as long: 2 <= 1.82 x 1.1
        ({"latency": 1.81}, "exceeded", 1),
        ({"memory": 1.0}, "within", 0),
        ({"dimension": 1.0}, "within", 0),
        ({"dimension": 0.99}, "exceeded", 1),  # no noise in a dimension
    ],
)
def test_costs_are_ratios_with_room_for_noise(tmp_path, limits, status, exit_status):
    slower = [replace(phase, wall_s=2 * phase.wall_s) for phase in PHASES]
    found = judged(tmp_path, BASE, policy=Policy(cost=CostPolicy(**limits)), phases=slower)
    assert [cost.status for cost in found.costs] == [status]
    assert found.exit_status == exit_status


def test_times_of_another_machine_are_not_compared_unless_asked(tmp_path):
    other = Environment(processor="q", cpus=2)
    limits = CostPolicy(throughput=0.9, dimension=1.0)
    found = judged(tmp_path, BASE, policy=Policy(cost=limits), environment=other)
    assert [(c.name, c.status) for c in found.costs] == [
        ("throughput", "cannot tell"), ("dimension", "within"),
    ]  # fmt: skip
    assert found.costs[0].reason == "not measured on the same machine"
    assert found.exit_status == 2
    anywhere = judge(
        side([tmp_path / "old"]),
        side([tmp_path / "new"]),
        Policy(cost=CostPolicy(throughput=0.9, machines="any")),
    )
    assert anywhere.exit_status == 0


def test_a_cost_that_was_not_measured_is_no_pass(tmp_path):
    found = judged(tmp_path, BASE, policy=Policy(cost=CostPolicy(latency=2.0)), phases=[])
    assert found.costs[0].status == "cannot tell"
    assert found.exit_status == 2


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
