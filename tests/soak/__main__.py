"""Kill each command at each of its file operations, and print what came of it."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import cli, disk, records
from harness.disk import seal
from harness.report import findings
from tests.soak import trees
from tests.soak.commands import COMMANDS, Command
from tests.soak.faults import Fault

Tree = dict[str, Any]
SETS = ("numbers.json", "SHA256SUMS")  # files that lie in folders that are old or new as a whole


@dataclass(frozen=True)
class Trial:
    """A command in a folder that is the same each time.

    work: where it runs; prepared: what is there before; before, after: as values, unkilled.
    """

    command: Command
    work: Path
    prepared: Path
    before: Tree
    after: Tree

    def kill(self, at: int) -> list[str]:
        """What is wrong after a kill at an operation, and after the command was run again."""
        _restore(self.prepared, self.work)
        status = _fork(lambda: self._run(Fault(self.work, at)))
        if status != signal.SIGKILL:
            return [f"it ended by itself: {status}"]
        wrong = [f"killed: {one}" for one in self._compare_killed()]
        whole = _read(self.work) == self.after
        status = _fork(lambda: self._run(Fault(self.work)))
        if status and not whole:
            return [*wrong, f"again: status {status >> 8}"]
        found = _read(self.work)
        names = sorted(found.keys() | self.after.keys())
        wrong += [
            f"again: {name}: {_differ(self.after.get(name), found.get(name))}"
            for name in names
            if found.get(name) != self.after.get(name)
        ]
        return wrong + [f"left: {name}" for name in trees.leftovers(self.work)]

    def _compare_killed(self) -> list[str]:
        """What is neither as before nor as after."""
        try:
            found = trees.read(self.work)
        except (AssertionError, ValueError) as error:
            return [f"{type(error).__name__}: {error}"]
        wrong = [name for name, value in found.items() if not self._is_known(name, value)]
        wrong += [
            f"{name} is lost" for name in self.before.keys() & self.after.keys() - found.keys()
        ]
        for folder in {str(Path(name).parent) for name in self.after if Path(name).name in SETS}:
            within = [{n: v for n, v in tree.items() if n.startswith(f"{folder}/")}
                      for tree in (found, self.before, self.after)]  # fmt: skip
            if within[0] not in within[1:]:
                wrong.append(f"{folder} is neither old nor new")
        return wrong

    def _is_known(self, name: str, value: Any) -> bool:
        if isinstance(value, set):
            return value <= self.before.get(name, set()) | self.after.get(name, set())
        return value in [tree[name] for tree in (self.before, self.after) if name in tree]

    def _run(self, fault: Fault) -> int:
        return _run(self.command, self.command.words, self.work, fault)


def _run(command: Command, words: Any, work: Path, fault: Fault) -> int:
    """Run a command in this process, which ends with it; returns how many operations it took."""
    os.environ["HARNESS_CACHE"] = str(work / "cache")
    os.environ["XDG_STATE_HOME"] = str(work / "state")
    os.chdir(work)
    command.prepare(work)
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    sys.argv = ["harness", *words]
    records.stamp = lambda: "2026-01-02T03:04:05.678901Z"
    disk.STALE_S = 0  # what is left is old enough to go
    findings.draw = lambda *_: None  # type: ignore[assignment]
    findings.image = lambda _, kind: kind.encode()  # which takes longer than all else
    ticks = iter(range(10**9))
    time.perf_counter = time.process_time = lambda: next(ticks) / 1000
    fault.install()
    try:
        cli.main()
    except SystemExit as ended:
        if ended.code:
            raise
    return fault.seen


def _fork(work: Callable[[], int]) -> int:
    """Do it in a child; returns the status of the child as the system tells it."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            status = 0
        except SystemExit as ended:
            status = int(ended.code or 0)
        except BaseException:  # noqa: BLE001 - whatever it is, the child ends here
            traceback.print_exc()
        finally:
            os._exit(status)
    return os.waitpid(child, 0)[1]


def _count(command: Command, work: Path) -> int:
    """How many operations a command takes, which is run."""
    told = work.parent / "told.json"

    def tell() -> int:
        seen = _run(command, command.words, work, Fault(work))
        return told.write_text(json.dumps([seen, list(sys.modules)]))

    if status := _fork(tell):
        raise SystemExit(f"{command.name}: status {status >> 8} without any kill")
    seen, modules = json.loads(told.read_text())
    for name in modules:  # here, so that those that are forked need not
        with suppress(Exception):
            importlib.import_module(name)
    return int(seen)


def _restore(prepared: Path, work: Path) -> None:
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(prepared, work)


def _read(work: Path) -> Tree | None:
    try:
        return trees.read(work)
    except (AssertionError, ValueError):
        return None


def _differ(expected: Any, found: Any) -> str:
    """The first place where two values of JSON differ."""
    if isinstance(expected, dict) and isinstance(found, dict):
        for key in sorted(expected.keys() | found.keys()):
            if expected.get(key) != found.get(key):
                return f"{key}: {_differ(expected.get(key), found.get(key))}"
    if isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        for one, other in zip(expected, found, strict=True):
            if one != other:
                return _differ(one, other)
    return f"{expected!r:.100} became {found!r:.100}"


def soak(command: Command, root: Path, most: int) -> tuple[int, list[str]]:
    """Kill a command; returns how often, and what was wrong.

    Args:
        command: What is killed.
        root: A folder to work in.
        most: Kills at most, spread over its operations; 0 for one at each.
    """
    work, prepared = root / "work", root / "prepared"
    work.mkdir(parents=True)
    os.environ["XDG_STATE_HOME"] = str(work / "state")
    seal.user_key()  # one for all runs: structures are named by it
    for words in command.before:
        if status := _fork(lambda words=words: _run(command, words, work, Fault(work))):
            raise SystemExit(f"{command.name}: status {status >> 8} of {words}")
    shutil.copytree(work, prepared)
    before = trees.read(work)
    total = _count(command, work)
    trial = Trial(command, work, prepared, before, trees.read(work))
    step = -(-total // most) if most else 1
    points = range(0, total, step)
    wrong = [f"{at}: {one}" for at in points for one in trial.kill(at)]
    return len(points), wrong


def main() -> None:
    """Soak the commands that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("commands", nargs="*", choices=[*(one.name for one in COMMANDS), []])
    parser.add_argument("--most", type=int, default=0, help="kills of a command at most")
    asked = parser.parse_args()
    failed = 0
    print("| command | kills | failures | seconds |\n|:--|--:|--:|--:|", flush=True)
    for command in COMMANDS:
        if asked.commands and command.name not in asked.commands:
            continue
        with tempfile.TemporaryDirectory() as root:
            began = time.monotonic()
            kills, wrong = soak(command, Path(root), asked.most)
            took = time.monotonic() - began
        print(f"| {command.name} | {kills} | {len(wrong)} | {took:.0f} |", flush=True)
        for one in wrong:
            print(f"{command.name}: {one}", file=sys.stderr)
        failed += len(wrong)
    raise SystemExit(bool(failed))


if __name__ == "__main__":
    main()
