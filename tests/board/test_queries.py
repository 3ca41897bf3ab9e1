"""Groups rest on queries where they are known, and say what `harness compare` says."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness import board, records
from harness.api import evaluate
from harness.arrays import Float64
from harness.board import queries
from harness.board.standings import Ordering, Standings, standings
from harness.compare import compare, side
from harness.records import Record
from harness.stats import Estimate

SAID = "the paired randomisation test over queries, as by compare, the tasks taken as they are"


@cache
def real() -> Record:
    return evaluate("bm25", "limit,docs=40,queries=9,k=2,attributes=5", measures=["R@2"]).record


def write(folder: Path, system: str, task: str, values: Float64) -> Path:
    """A record whose queries score as they are told to."""
    known, mean = real(), float(values.mean())
    changed = known.model_copy(
        update={
            "system": known.system.model_copy(
                update={"spec": system, "fingerprint": {"x": system}}
            ),
            "task": known.task.model_copy(update={"spec": task, "fingerprint": {"corpus": task}}),
            "scores": {"R@2": Estimate(mean, mean - 0.1, mean + 0.1)},
        }
    )
    ids = [f"q{i}" for i in range(len(values))]
    return records.save(changed, {"query_id": ids, "R@2": values}, folder)


def stand(folder: Path, **asked: bool) -> Standings:
    return standings(board.load([folder]), Ordering(**asked))


def are_told_apart(found: Standings) -> bool:
    one, other = found.rows
    return one.groups != other.groups


def test_two_tasks_of_many_queries_tell_what_they_say(tmp_path):
    """Student's test over two tasks could tell no two systems apart."""
    random = np.random.default_rng(0)
    for task in ("t", "u"):
        write(tmp_path, "bm25", task, (random.random(1000) < 0.996).astype(float))
        write(tmp_path, "minilm", task, (random.random(1000) < 0.234).astype(float))
    found = stand(tmp_path)
    assert [row.groups for row in found.rows] == [(1,), (2,)]
    assert (
        f"groups: the means of one group's systems cannot be told apart: {SAID}; Holm's "
        "correction over all pairs, alpha 0.05" in found.notes
    )


def test_intervals_are_drawn_from_the_queries_of_each_task(tmp_path):
    """Every query scores alike: other queries change nothing, whatever a record's interval says."""
    write(tmp_path, "a", "t", np.full(20, 0.25))
    write(tmp_path, "a", "u", np.full(30, 0.75))
    (row,) = stand(tmp_path, fixed_tasks=True).rows
    assert (row.low, row.mean, row.high) == pytest.approx((0.5, 0.5, 0.5))


def test_what_is_known_of_single_queries_is_said_pair_by_pair(tmp_path):
    values = np.arange(20) / 20
    for task in ("t", "u"):
        for system in ("a", "b", "c"):
            path = write(tmp_path, system, task, values)
        path.with_suffix(".parquet").unlink()  # of c
    (said,) = (note for note in stand(tmp_path).notes if note.startswith("groups"))
    assert f"{SAID} (1 pair); Student's paired t-test over tasks (2 pairs); " in said
    (said,) = (
        note for note in stand(tmp_path, fixed_tasks=True).notes if note.startswith("groups")
    )
    assert f"{SAID} (1 pair); a normal test of their intervals (2 pairs); " in said


@settings(
    max_examples=25, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip
@given(
    tasks=st.integers(1, 3), n=st.integers(2, 160), shift=st.floats(0, 0.4), seed=st.integers(0, 99)
)
def test_groups_say_what_compare_says(tmp_path_factory, tasks, n, shift, seed):
    """On one task the two are one test; where compare finds the same on all tasks, so do groups."""
    random, folder = np.random.default_rng(seed), tmp_path_factory.mktemp("board")
    for task in map(str, range(tasks)):
        hard = random.random(n)
        write(folder / "a", "a", task, np.clip(hard + shift * random.random(n), 0, 1))
        write(folder / "b", "b", task, np.clip(hard + random.normal(0, 0.2, n), 0, 1))
    apart = are_told_apart(stand(folder))
    found = compare(side([folder / "a"]), side([folder / "b"])).differences
    if tasks == 1:
        assert apart == (found[0].p.two_sided <= 0.05)
    elif all(one.holm <= 0.05 for one in found) and len({one.a > one.b for one in found}) == 1:
        assert apart


@pytest.mark.parametrize("n", [40, 400])
def test_false_alarms_of_equal_systems(n):
    """Of 300 boards of four equal systems on two tasks, at most about alpha tell two apart."""
    random, alarms = np.random.default_rng(n), 0
    for _ in range(300):
        hard = random.random((2, n))
        held = {
            (row, task): queries.QueryValues("q", (random.random(n) < hard[task]).astype(float))
            for row in range(4)
            for task in range(2)
        }
        p = queries.compare_pairs(held, range(4), 2, alpha=0.05, seed=0)
        alarms += min(np.array(p[np.triu_indices(4, 1)])) * 6 <= 0.05  # Holm's first step
    assert alarms / 300 <= 0.05 + 2 * (0.05 * 0.95 / 300) ** 0.5
