"""How many small faults the tests would notice: mutants of the modules that make the numbers.

    python benchmarks/mutants.py --count 600 --out mutants.jsonl

A mutant is one module with one operator, comparison, number, condition, loop or decorator changed
by cosmic-ray (https://cosmic-ray.readthedocs.io). Places are drawn by a seed, each as likely as any
other; what changes annotations only is none. A mutant is killed where a test of its group, or of
WIDER, fails or does not end. Those that call the changed function come first, the quickest of them
ahead; what survives them is shown to all tests of the group that are in a file with one of them.
Every mutant runs in a process forked from a warm one, with a copy of the tree of its own, so that
tests which start processes meet it, too.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from multiprocessing import get_context
from pathlib import Path
from types import FrameType

import pytest

ROOT = Path(__file__).parents[1]
GROUPS: dict[str, tuple[list[str], list[str]]] = {
    "measures": (["measures"], ["measures", "test_scoring.py", "test_directions.py"]),
    "ranking": (["vectors/ranking.py"], ["vectors", "measures/test_retrieval.py"]),
    "stats": (["stats/__init__.py"], ["stats/test_stats.py", "test_compare.py"]),
    "aggregate": (["stats/aggregate.py", "board"], ["stats/test_aggregate.py", "board"]),
    "compare": (["compare.py"], ["test_compare.py", "test_directions.py"]),
    "gate": (["gate"], ["gate"]),
    "records": (["records"], ["records", "test_results.py"]),
    "store": (["store"], ["store", "test_concurrency.py"]),
    "spec": (["spec.py", "parameters.py"], ["test_spec.py", "test_registry.py", "test_values.py"]),
    "trec": (["sources/trec.py"], ["sources/test_trec.py"]),
}
"""Sources below harness/ and their tests below tests/, in the order in which they run."""
WIDER = ["test_values.py", "test_evaluation.py", "test_evaluation_pairs.py", "test_results.py"]
HOUSE = "test_architecture.py"  # looks at sources, without calling them
CPU_S = 120  # of one run of tests: mutants may loop, and wait
WALL_S = 900
SAME = ("_Is", "_IsNot")  # of an equality: for small numbers and names no change
WARM = ("numpy", "scipy.sparse", "scipy.stats", "pyarrow.parquet", "pydantic", "typer", "rich",
        "hypothesis", "pytest", "faiss")  # fmt: skip


@dataclass(frozen=True)
class Mutant:
    """One change: where, and what the line becomes."""

    group: str
    path: str
    line: int
    operator: str
    occurrence: int
    before: str
    after: str


def find_files(group: str) -> list[Path]:
    """The sources of a group."""
    places = [ROOT / "harness" / name for name in GROUPS[group][0]]
    return [path for place in places
            for path in (sorted(place.rglob("*.py")) if place.is_dir() else [place])]  # fmt: skip


def list_places(group: str) -> Iterator[tuple[Path, int, int, list[tuple[str, int]]]]:
    """Every place where an operator applies: file, line, column, and (operator, occurrence)s."""
    from cosmic_ray.ast import ast_nodes, get_ast
    from cosmic_ray.plugins import get_operator, operator_names

    for path in find_files(group):
        tree = get_ast(path.read_text("utf-8"))
        at: dict[tuple[int, int], list[tuple[str, int]]] = defaultdict(list)
        for name in operator_names():
            if name.endswith(SAME) or name.startswith("core/Variable"):
                continue
            found, count = get_operator(name)(), 0
            for node in ast_nodes(tree):
                for start, _ in found.mutation_positions(node):
                    at[start].append((name, count))
                    count += 1
        for (line, column), ways in sorted(at.items()):
            yield path, line, column, ways


def strip(source: str) -> str:
    """What a module does, without what only types and readers see."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.AnnAssign | ast.arg):
            node.annotation = ast.Constant(None)
        elif isinstance(node, ast.FunctionDef):
            node.returns = None
    return ast.dump(tree)


def change(source: str, operator: str, occurrence: int) -> str | None:
    """A module's text with one change; None where nothing that runs is changed, or nothing runs."""
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.plugins import get_operator

    made = mutate_code(source, get_operator(operator)(), occurrence)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", SyntaxWarning)
            compile(str(made), "mutant", "exec")
            return None if made is None or strip(made) == strip(source) else str(made)
    except (SyntaxError, ValueError):
        return None


def draw(group: str, count: int, seed: int) -> list[Mutant]:
    """Mutants of a group, at most one at a place."""
    places, chance = list(list_places(group)), random.Random(f"{seed} {group}")
    chance.shuffle(places)
    found: list[Mutant] = []
    for path, line, _, ways in places:
        if len(found) == count:
            break
        source, (operator, occurrence) = path.read_text("utf-8"), chance.choice(ways)
        made = change(source, operator, occurrence)
        if made is not None:
            pairs = zip(source.split("\n"), made.split("\n"), strict=False)
            before, after = next(((a, b) for a, b in pairs if a != b), ("", ""))
            name = str(path.relative_to(ROOT))
            found.append(Mutant(group, name, line, operator, occurrence,
                                before.strip(), after.strip()))  # fmt: skip
    return found


def copy_tree() -> Path:
    """A copy of what tests need, of this process alone."""
    tree = Path(tempfile.mkdtemp(prefix="mutants-")) / "tree"
    names = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, check=True).stdout
    for name in names.decode().splitlines():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, tree / name)
    return tree


@dataclass(frozen=True)
class Calls:
    """Which tests call which functions: a plugin of pytest that notes it.

    Attributes:
        root: Of the tree that is tested.
        tests: By "path:line" of a function, ids of tests.
        seconds: By id of a test.
    """

    root: Path
    tests: dict[str, list[str]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        """Note the functions of harness/ that a test calls, in all its threads."""
        below, seen, begun = str(self.root / "harness"), set[str](), time.monotonic()

        def note(frame: FrameType, *_: object) -> None:
            code = frame.f_code
            if code.co_filename.startswith(below):
                seen.add(f"{code.co_filename}:{code.co_firstlineno}")

        sys.settrace(note)
        threading.settrace(note)
        try:
            return (yield)
        finally:
            sys.settrace(None)
            threading.settrace(None)
            self.seconds[item.nodeid] = time.monotonic() - begun
            for function in seen:
                name = function.removeprefix(f"{self.root}{os.sep}")
                self.tests.setdefault(name, []).append(item.nodeid)


@dataclass(frozen=True)
class Chosen:
    """A plugin of pytest that runs some tests, files that take least time first."""

    seconds: Mapping[str, float]

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Leave the others out."""
        items[:] = [item for item in items if item.nodeid in self.seconds]
        taken: dict[str, float] = defaultdict(float)
        for item in items:
            taken[item.nodeid.partition("::")[0]] += self.seconds[item.nodeid]
        items.sort(key=lambda item: taken[item.nodeid.partition("::")[0]])


def prepare() -> Path:
    """Load what tests load, and copy the tree; once a process."""
    for name in WARM:
        __import__(name)
    os.environ.update(PYTHONDONTWRITEBYTECODE="1", OMP_NUM_THREADS="1")
    os.environ.setdefault("HARNESS_SHARED_DATA", str(ROOT.parent / "shared" / "data"))
    sys.dont_write_bytecode = True
    return copy_tree()


def run_pytest(tree: Path, tests: Iterable[str], plugin: object) -> int:
    """Run tests, whose names are below the tree's tests/, in this process; returns its status."""
    os.chdir(tree)
    sys.path.insert(0, str(tree))
    devnull = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(devnull, descriptor)
    words = [str(tree / "tests" / name) for name in tests]
    options = ["-x", "-p", "no:cacheprovider", "-p", "no:xdist", "--rootdir", str(tree)]
    options += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # of what is warm already
    return int(pytest.main([*options, *words], plugins=[plugin]))


def note_calls(groups: Sequence[str]) -> Calls:
    """Run the tests of groups, none of which may fail, and note what they call."""
    tree = prepare()
    calls = Calls(tree)
    for tests in [*(GROUPS[group][1] for group in groups), WIDER, [HOUSE]]:
        if run_pytest(tree, tests, calls):
            raise RuntimeError(f"without any change a test of {', '.join(tests)} fails")
    return calls


def do_pass(tree: Path, tests: Iterable[str], plugin: object) -> bool:
    """Whether tests pass in a tree, in a process forked from this one."""
    child = os.fork()
    if not child:
        os.setsid()
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))
        status = 1
        try:
            status = run_pytest(tree, tests, plugin)
        finally:
            os._exit(status)
    until = time.monotonic() + WALL_S
    while time.monotonic() < until:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return status == 0
        time.sleep(0.02)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return False


def name_function(source: str, line: int) -> int:
    """The first line of the innermost function that a line is in; 0 for none."""
    found = 0
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef):
            first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
            if node.body[0].lineno <= line <= (node.end_lineno or line):
                found = max(found, first)
    return found


_state: tuple[Path, Calls] | None = None


def start(calls: Calls) -> None:
    """Prepare a process of the pool."""
    global _state  # noqa: PLW0603 - one tree for each process of the pool
    _state = prepare(), calls


def is_killed(mutant: Mutant) -> dict[str, object]:
    """Show one mutant to the tests, in this process's tree."""
    assert _state is not None
    (tree, calls), begun = _state, time.monotonic()
    place = tree / mutant.path
    source = place.read_text("utf-8")
    made = change(source, mutant.operator, mutant.occurrence)
    of_group = [f"tests/{name}" for name in GROUPS[mutant.group][1]]
    every = [one for one in calls.seconds if one.startswith(tuple(of_group))]
    function = name_function(source, mutant.line)
    house = [one for one in calls.seconds if one.startswith(f"tests/{HOUSE}")]
    callers = calls.tests.get(f"{mutant.path}:{function}") or every
    callers = callers if function else [*house, *every]
    try:
        place.write_text(made or "", "utf-8")
        files = {one.partition("::")[0] for one in callers}
        beside = [one for one in every if one.partition("::")[0] in files and one not in callers]
        killed = not all(_pass(tree, calls, chosen) for chosen in (callers, beside))
    finally:
        place.write_text(source, "utf-8")
    return {**asdict(mutant), "killed": killed, "seconds": round(time.monotonic() - begun, 1)}


def _pass(tree: Path, calls: Calls, chosen: Sequence[str]) -> bool:
    """Whether chosen tests pass."""
    files = {one.partition("::")[0].removeprefix("tests/") for one in chosen}
    seconds = {one: calls.seconds[one] for one in chosen}
    return not chosen or do_pass(tree, sorted(files), Chosen(seconds))


def main() -> None:
    """Draw, run, write one line a mutant, and print what a group has."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=600, help="mutants over all groups")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--group", choices=GROUPS, action="append", help="only these")
    parser.add_argument("--out", type=Path, default=Path("mutants.jsonl"))
    options = parser.parse_args()
    groups = options.group or list(GROUPS)
    places = {group: len(list(list_places(group))) for group in groups}
    drawn = [mutant for group in groups for mutant in draw(
        group, max(20, round(options.count * places[group] / sum(places.values()))), options.seed
    )]  # fmt: skip
    counts: dict[str, list[int]] = {group: [0, 0] for group in groups}
    context = get_context("spawn")
    with context.Pool(1) as pool:
        calls = pool.apply(note_calls, (groups,))
    with context.Pool(options.jobs, start, (calls,)) as pool, options.out.open("a") as out:
        for number, found in enumerate(pool.imap_unordered(is_killed, drawn), 1):
            out.write(json.dumps(found) + "\n")
            out.flush()
            counts[str(found["group"])][not found["killed"]] += 1
            print(f"\r{number} of {len(drawn)}", end="", file=sys.stderr)
    print("\n| group | mutants | killed | share |\n|:--|--:|--:|--:|")
    for group, (killed, lived) in counts.items():
        print(f"| {group} | {killed + lived} | {killed} | {killed / (killed + lived):.1%} |")


if __name__ == "__main__":
    main()
