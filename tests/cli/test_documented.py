"""Commands that README, docs, `make help` and every --help show: they are read as they stand, and
those that cost little run. What a user has to put in is recognised: a path under path/to or my,
mine.py and the like, capitals, an address, or dots."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import typer

from harness import cli
from harness.cli import common
from harness.indexes import INDEXES
from harness.measures.asked import Measure
from harness.rewriting import REWRITERS
from harness.systems import resolve
from harness.tasks import catalog
from tests.test_plugins import REGISTRIES

ROOT = Path(__file__).parents[2]
PAGES = ["README.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]
SHOWN = re.compile(r"^(?: {4}|.*\bentry: |.*- run: )((?:harness|make) .*)$", re.M)
IN_TEXT = re.compile(r"`(harness(?: [a-z]\S*)+ -[^`]*|harness [a-z]+ [A-Z][^`]*)`")
FOLDED = re.compile(r"run: >-\n((?: {10}.*\n)+)")
EXAMPLE = re.compile(r"^\s*Example: (harness .*)$", re.M)
OURS = re.compile(r"\.\.\.|path/to/|\bmy/|\bmine\.|^[A-Z]+$|://|^\.{1,2}/")
"""What is the user's to put in."""
MADE = ("results/", "baselines/", "measured", "exported", "gate.toml")
"""What other commands of the pages write, or a page shows."""
CHEAP = {"show", "leaderboard", "compare", "tasks", "measures", "indexes", "rewritings", "list",
         "freeze", "mteb", "models", "store", "study"}  # fmt: skip


def group() -> Any:
    return typer.main.get_command(cli.app)


def commands(parent: Any, path: str = "harness") -> Iterator[tuple[str, Any]]:
    """Every command with what is typed for it, groups and studies among them."""
    yield path, parent
    if isinstance(parent, common.TyperGroup):
        for name in parent.list_commands(None):
            yield from commands(parent.get_command(None, name), f"{path} {name}")


def examples() -> list[str]:
    return [line for _, one in commands(group()) for line in EXAMPLE.findall(one.help or "")]


def shown() -> list[str]:
    """Commands of the pages and of every --help, each once."""
    found = list[str]()
    for name in PAGES:
        page = (ROOT / name).read_text("utf-8")
        found += [*SHOWN.findall(page), *IN_TEXT.findall(page)]
        found += [" ".join(block.split()) for block in FOLDED.findall(page)]
    commands = (line.partition(" | ")[0] for line in found)  # without what reads its output
    lines = (" ".join(shlex.split(line, comments=True, posix=False)) for line in commands)
    return list(dict.fromkeys([*lines, *examples()]))


def made_by(line: str) -> list[list[str]]:
    """The harness's own commands that make would give for a line, or the line's own."""
    words = shlex.split(line)
    if words[0] != "make":
        return [words]
    outer = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    outer.pop("ARGS", None)  # of the make that runs the tests
    done = subprocess.run(
        ["make", "--dry-run", *words[1:]],
        cwd=ROOT, env=outer, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    given = [each for each in done.stdout.splitlines() if each.startswith(".venv/bin/harness ")]
    return [shlex.split(each) for each in given]


LINES = shown()
GOALS = re.findall(r"^([a-z]+):.*## ", (ROOT / "Makefile").read_text("utf-8"), re.M)


@pytest.fixture
def read(run, tmp_path, monkeypatch):
    """Read a command's words in place of running it: its name and the values of its parameters."""
    page = (ROOT / "docs/studies.md").read_text("utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", page, re.M | re.S)
    (tmp_path / "mine.py").write_text(blocks[-1])
    seen = list[tuple[str, dict[str, Any]]]()
    kept = common.Once.invoke
    for registry in REGISTRIES:  # what the page registers is gone after it
        registry.entries()
        monkeypatch.setattr(registry, "_entries", dict(registry._entries))

    def invoke(self: Any, ctx: Any) -> Any:
        if self.name == "ann" and "model" not in ctx.params:
            return kept(self, ctx)  # which hands its words on
        seen.append((self.name, ctx.params))
        return None

    monkeypatch.setattr(common.Once, "invoke", invoke)

    def command(words: list[str]) -> tuple[str, dict[str, Any]]:
        done = run(*words[1:])
        assert (done.status, done.err) == (0, "") or not seen
        return seen.pop() if seen else (words[-1], {"status": done.status})

    return command


def check(name: str, values: dict[str, Any]) -> None:
    """Every spec names something, every path is there, is made on the way, or is the user's."""
    models = values.get("model") or []
    for system in [models] if isinstance(models, str) else models:
        if not OURS.search(system) and not values.get("plugin"):
            resolve(system)
    tasks = values.get("task") or []
    for task in catalog.expand([tasks] if isinstance(tasks, str) else tasks):
        catalog.task(task)
    INDEXES.resolve(values.get("index") or "exact")
    REWRITERS.resolve(values.get("rewrite") or "none")
    for measure in values.get("measure") or []:
        Measure.parse(measure)
    paths = [values.get(option) for option in ("a", "b", "baseline", "policy")]
    for option in ("paths", "run", "figure", "plugin"):
        paths += values.get(option) or []
    for path in [str(each) for each in paths if each]:
        assert (ROOT / path).exists() or OURS.search(path) or path.startswith(MADE), (name, path)


def test_there_are_such_commands():
    assert len(LINES) > 60
    assert {"eval", "ann", "leaderboard", "gate", "check"} < set(GOALS)


def test_every_help_has_an_example():
    lacking = [path for path, one in commands(group()) if not EXAMPLE.search(one.help or "")]
    assert lacking == ["harness ann"]  # short for a study, which has one


@pytest.mark.parametrize("line", sorted({*LINES, *(f"make {goal}" for goal in GOALS)}))
def test_a_command_is_read_as_it_stands(read, line):
    for words in made_by(line):
        check(*read(words))


def is_cheap(line: str) -> bool:
    """Whether a command reads what there is, or measures counts of words on generated tasks."""
    if line.startswith("make ") or any(OURS.search(word) for word in shlex.split(line)[1:]):
        return False
    words = shlex.split(line)
    if "--costs" in words:  # in processes of their own, run after run
        return False
    models = [b for a, b in pairwise(words) if a in ("-m", "--model")]
    if words[1] == "eval" or models:
        return words[1] in ("eval", "leaderboard") and {*models} == {"bm25"}
    return (words[1] in CHEAP and "pull" not in words) or words[1:3] in (
        ["baseline", "freeze"],
        ["export", "mteb"],
    )


@pytest.mark.parametrize(
    "line", [*filter(is_cheap, LINES), "harness store", "harness study --json"]
)
def test_a_cheap_command_runs(run, tmp_path, line):
    for folder in ("minilm", "bm25", "local/minilm", "local/bm25"):
        shutil.copytree(ROOT / "results" / Path(folder).name, tmp_path / "results" / folder)
    shutil.copytree(ROOT / "results/minilm", tmp_path / "measured")
    done = run(*shlex.split(line)[1:])
    assert (done.status, "error" in done.err) == (0, False)
    assert done.out


def test_alone_it_shows_its_help(run):
    for words, word in [((), "leaderboard"), (("baseline",), "freeze"), (("export",), "mteb")]:
        done = run(*words)
        assert (done.status, done.err) == (0, "")
        assert done.out.startswith("Usage: ")
        assert f"\n  {word} " in done.out


def test_a_variable_that_no_command_takes_is_refused():
    def make(*words: str) -> tuple[int, str]:
        done = subprocess.run(["make", "-n", *words], cwd=ROOT, capture_output=True, text=True,
                              check=False)  # fmt: skip
        return done.returncode, done.stderr.partition("*** ")[2]

    assert make("ann", "INDEX=hnsw") == (2, "INDEX: no part of make ann.  Stop.\n")
    assert make("gate", "TASKS=core") == (2, "TASKS: no part of make gate.  Stop.\n")
    assert make("eval", "MODELS=bm25") == (2, "MODELS: no part of make eval.  Stop.\n")
    assert make("eval", "leaderboard", "INDEX=hnsw") == (0, "")
