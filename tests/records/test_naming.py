"""Names of systems: other runs are others where they answered the same question."""

from __future__ import annotations

from harness.records import Record, SystemRecord, naming
from tests.comparable import record


def run_file(folder: str, digest: str, task: str = "t") -> Record:
    system = SystemRecord(
        spec="run:mine", full=f"run:{folder}/mine", source="run", fingerprint={"run_sha256": digest}
    )
    return record(task).model_copy(update={"system": system})


def test_runs_of_one_name_on_two_tasks_are_one_system():
    assert naming.name([run_file("a", "11"), run_file("b", "22", "u")]) == ["run:mine"] * 2


def test_runs_of_one_name_on_one_task_are_told_apart_by_their_folders():
    found = naming.name([run_file("a", "11"), run_file("b", "22"), run_file("a", "11")])
    assert found == ["run:mine [a/mine]", "run:mine [b/mine]", "run:mine [a/mine]"]
