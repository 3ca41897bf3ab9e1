"""Policies: read strictly, frozen, and every default shown in the manual."""

from __future__ import annotations

import re
import tomllib

import pytest
from pydantic import ValidationError

from harness.errors import InputError
from harness.gate.policy import CostPolicy, Policy, TaskPolicy, read_policy
from tests.gate.frame import BASE, examples, judged


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


def test_the_policy_of_the_manual_is_one_and_shows_every_default():
    [text] = examples("toml")
    shown = Policy.model_validate(tomllib.loads(text))
    assert shown.model_dump(exclude={"required", "cost", "tasks"}) == Policy().model_dump(
        exclude={"required", "cost", "tasks"}
    )
    named = set(re.findall(r"^(\w+) =", text, re.M))
    assert named == {*Policy.model_fields, *CostPolicy.model_fields} - {"cost", "tasks"}
