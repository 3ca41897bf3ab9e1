"""What the harness uses of faiss, read in its source."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

HARNESS = Path(__file__).parents[2] / "harness"
MODULES = ("faiss", "load_faiss()", "load('faiss', 'cpu')")  # how the module is written


@dataclass(frozen=True)
class Use:
    """name: of faiss, dotted; arguments: as it is called, None where it is not."""

    where: str
    name: str
    arguments: tuple[int, tuple[str, ...]] | None = None


@dataclass(frozen=True)
class Setting:
    """An attribute of what a class of faiss made."""

    where: str
    kind: str
    attribute: str


def find_uses() -> list[Use]:
    """All uses, each once a line."""
    return sorted({one for path in _sources() for one in _in(path)}, key=repr)


def find_settings() -> list[Setting]:
    """Attributes of variables that were made in the same function by a class of faiss."""
    return sorted({one for path in _sources() for one in _settings(path)}, key=repr)


def _sources() -> Iterator[Path]:
    return (path for path in sorted(HARNESS.rglob("*.py")) if "faiss" in path.read_text("utf-8"))


def _in(path: Path) -> Iterator[Use]:
    called = {}
    tree = ast.parse(path.read_text("utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called[id(node.func)] = node
        if isinstance(node, ast.Attribute) and (name := _of_faiss(node)):
            where = f"{path.relative_to(HARNESS.parent)}:{node.lineno}"
            yield Use(where, name, _arguments(called.get(id(node))))


def _of_faiss(node: ast.Attribute) -> str:
    """The name inside faiss; empty where it is another's."""
    written = ast.unparse(node)
    found = [written.removeprefix(f"{one}.") for one in MODULES if written.startswith(f"{one}.")]
    return found[0] if found and "(" not in found[0] and "[" not in found[0] else ""


def _arguments(call: ast.Call | None) -> tuple[int, tuple[str, ...]] | None:
    if call is None or any(isinstance(each, ast.Starred) for each in call.args):
        return None
    names = [each.arg for each in call.keywords]
    return None if None in names else (len(call.args), tuple(map(str, names)))


def _settings(path: Path) -> Iterator[Setting]:
    for function in ast.walk(ast.parse(path.read_text("utf-8"))):
        if not isinstance(function, ast.FunctionDef):
            continue
        made = {}
        for node in ast.walk(function):
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
                kind = node.value.func
                name = _of_faiss(kind) if isinstance(kind, ast.Attribute) else ""
                if name[:1].isupper():
                    made |= {ast.unparse(target): name for target in node.targets}
        for node in ast.walk(function):
            if isinstance(node, ast.Attribute) and (kind := made.get(ast.unparse(node.value))):
                where = f"{path.relative_to(HARNESS.parent)}:{node.lineno}"
                yield Setting(where, kind, node.attr)
