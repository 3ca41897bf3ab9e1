"""What holds the house together: one direction of imports, one place that prints, a true tree."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from fnmatch import fnmatch
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HEAVY = ["torch", "transformers", "sentence_transformers", "mteb", "faiss", "datasets", "scipy"]
HEAVY += ["pyarrow", "pandas", "bm25s"]

# A module imports from layers above its own line, and within it from those it is allowed here.
LAYERS: list[list[str]] = [
    ["harness"],
    ["errors", "progress", "arrays", "usage"],
    ["spec", "endpoint_options", "rows"],
    ["parameters"],
    ["registry"],
    ["data", "data.*", "vectors", "vectors.*"],
    ["phases", "disk", "endpoint", "schema1", "environment"],
    ["response_cache", "lease"],
    ["zoo", "zoo.*"],
    ["measures", "measures.*"],
    ["sources", "sources.*", "encoders", "encoders.*", "rerankers", "rerankers.*", "store",
     "store.*", "indexes", "indexes.*", "stats", "trec"],
    ["formats", "records", "represent", "rewriting", "rewriting.*"],
    ["item_values"],
    ["frames", "retrieve", "kinds", "kinds.*", "aggregate", "costs", "compare", "policy",
     "exchange", "exchange.*", "scoring"],
    ["single", "charts", "catalog", "analysis", "analysis.*"],
    ["systems", "systems.*"],
    ["tasks"],
    ["evaluation", "grid", "board", "gate", "collection"],
    ["standings"],
    ["session", "results"],
    ["studies", "studies.*", "report", "report.*", "engine", "engine.*"],
    ["terminal"],
    ["api"],
    ["cli", "cli.*"],
    ["__main__"],
]  # fmt: skip
# which packages of the widest layer may know of each other
NEIGHBOURS = {
    ("store", "encoders"),
    ("rerankers", "encoders"),  # how weights are found and what is refused
    ("trec", "sources"),
    ("report", "studies"),  # what is shown
    ("sources", "trec"),  # a folder's qrels may be TREC's; the cycle test keeps files apart
}


def modules() -> dict[str, Path]:
    """Modules by dotted name inside harness; the package itself is 'harness'."""
    found = {}
    for path in sorted((ROOT / "harness").rglob("*.py")):
        parts = path.relative_to(ROOT / "harness").with_suffix("").parts
        name = ".".join(part for part in parts if part != "__init__")
        found[name or "harness"] = path
    return found


MODULES = modules()


def imports(path: Path, *, at_import: bool = False) -> Iterator[str]:
    """Modules of ours that a module imports; at_import: only those that its import runs."""
    tree = ast.parse(path.read_text("utf-8"))
    for node in _statements(tree) if at_import else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield whole if whole.removeprefix("harness.") in MODULES else str(node.module)


def _statements(node: ast.AST) -> Iterator[ast.AST]:
    """Nodes outside of functions and of `if TYPE_CHECKING`."""
    for inner in ast.iter_child_nodes(node):
        if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(inner, ast.If) and ast.unparse(inner.test) == "TYPE_CHECKING":
            continue
        yield inner
        yield from _statements(inner)


def ours(name: str, **options: bool) -> set[str]:
    """Modules inside harness that one of them imports."""
    found = {n for n in imports(MODULES[name], **options) if n.split(".")[0] == "harness"}
    return {n.removeprefix("harness.") for n in found}


def layer(name: str) -> int:
    at = [i for i, row in enumerate(LAYERS) if any(fnmatch(name, pattern) for pattern in row)]
    assert at, f"harness/{name}: no layer holds it: put it into LAYERS"
    return at[0]


@pytest.mark.parametrize("name", MODULES)
def test_imports_point_one_way(name):
    if name == "harness":  # its public names come from above, when they are first used
        assert ours(name, at_import=True) == set()
        return
    package = name.split(".")[0]
    for other in ours(name):
        there = other.split(".")[0]
        assert layer(other) < layer(name) or there == package or (package, there) in NEIGHBOURS, (
            f"harness/{name} imports {other}: imports point the other way"
        )


def test_there_is_no_cycle():
    graph = {name: ours(name) - {name} for name in MODULES if name != "harness"}
    order = list(TopologicalSorter(graph).static_order())
    assert order.index("errors") < order.index("session") < order.index("cli")


def test_every_layer_that_is_there_is_used():
    """So that a misspelt line of LAYERS cannot hide."""
    planned = {"engine", "engine.*"}
    for row in LAYERS:
        for pattern in set(row) - planned:
            assert any(fnmatch(name, pattern) for name in MODULES), pattern


def test_a_package_does_not_know_what_is_registered_in_it():
    for package in (
        "sources", "encoders", "rerankers", "indexes", "rewriting", "systems", "measures", "kinds",
    ):  # fmt: skip
        assert not [name for name in ours(package) if name.startswith(f"{package}.")]


@pytest.mark.parametrize("name", MODULES)
def test_only_the_command_line_prints(name):
    tree = ast.parse(MODULES[name].read_text("utf-8"))
    said = [
        ast.unparse(node)
        for node in ast.walk(tree)
        if (isinstance(node, ast.Name) and node.id in ("print", "input"))
        or (isinstance(node, ast.Attribute) and ast.unparse(node) in ("sys.stdout", "sys.stderr"))
        or (
            isinstance(node, ast.Import | ast.ImportFrom) and "rich" in ast.unparse(node).split(".")
        )
    ]
    assert not said or name.split(".")[0] in ("cli", "terminal"), f"harness/{name}: {said}"


@pytest.mark.parametrize("name", MODULES)
def test_every_module_says_what_it_is_for(name):
    assert ast.get_docstring(ast.parse(MODULES[name].read_text("utf-8")))


def loaded(*words: str) -> list[str]:
    """Heavy libraries that a Python program has loaded when it ends."""
    child = f"""
        import sys
        sys.argv = {["harness", *words]!r}
        try:
            import harness
            if sys.argv[1:]:
                from harness.cli import main
                main()
        except SystemExit as ended:
            assert not ended.code, ended.code
        print("LOADED", *[name for name in {HEAVY!r} if name in sys.modules])
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(child)], capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()[-1].split()[1:]


@pytest.mark.parametrize(
    "words", [[], ["--help"], ["eval", "--help"], ["models", "-f", "json"], ["tasks", "-f", "json"]]
)
def test_light_commands_load_no_heavy_library(words):
    assert loaded(*words) == []


def test_what_is_heavy_is_seen_where_it_is_loaded(tmp_path):
    words = ["-m", "bm25", "-t", "limit,docs=9,queries=2,k=1", "-q", "-o", str(tmp_path)]
    assert "bm25s" in loaded("eval", *words)


def tree(text: str) -> dict[str, str] | None:
    """Paths of the fenced tree under a heading that says "tree", with what is said of each.

    A line is a path and, after two spaces, what it is; it lies in the nearest folder above that is
    indented less.
    """
    found = re.search(
        r"^#+ [^\n]*\btree\b[^\n]*\n.*?^```[^\n]*\n(.*?)^```", text, re.M | re.S | re.I
    )
    if found is None:
        return None
    paths: dict[str, str] = {}
    above: list[tuple[int, str]] = []
    for line in found[1].splitlines():
        if not line.strip():
            continue
        indent = len(line) - len(line.lstrip())
        name, _, what = line.strip().partition("  ")
        while above and above[-1][0] >= indent:
            above.pop()
        path = (above[-1][1] if above else "") + name
        paths[path] = what.strip()
        if name.endswith("/"):
            above.append((indent, path))
    return paths


def on_disk() -> set[str]:
    """Files of the project, without what tools leave and what is hidden."""
    found = set()
    for path in ROOT.rglob("*"):
        name = path.relative_to(ROOT)
        hidden = any(part.startswith(".") or part == "__pycache__" for part in name.parts)
        left = fnmatch(name.parts[0], "*.egg-info") or name.parts[:2] in [
            ("results", "local"), ("results", "studies"), ("results", "leaderboard.html"),
            ("dist", *name.parts[1:2]),
        ]  # fmt: skip
        if path.is_file() and not hidden and not left:
            found.add(name.as_posix())
    return found


def unlisted(files: set[str], listed: dict[str, str]) -> set[str]:
    """Files that are neither listed nor in a listed folder whose content is not.

    A package's __init__.py goes without saying where the package is listed.
    """
    closed = {p for p in listed if p.endswith("/")}
    closed = {p for p in closed if not any(q != p and q.startswith(p) for q in listed)}
    return {
        file
        for file in files - set(listed)
        if not any(file.startswith(folder) for folder in closed)
        and not (file.endswith("/__init__.py") and file.removesuffix("__init__.py") in listed)
    }


def test_the_tree_is_that_on_the_disk():
    listed = tree((ROOT / "CONTRIBUTING.md").read_text("utf-8"))
    assert listed is not None, "CONTRIBUTING.md has no tree"
    files = on_disk()
    folders = {f"{parent.as_posix()}/" for file in files for parent in Path(file).parents}
    assert set(listed) - files - folders == set(), "in the tree, not on the disk"
    assert unlisted(files, listed) == set(), "on the disk, not in the tree"
    assert all(listed.values()), "every line says what it is"


def test_how_a_tree_is_read():
    text = textwrap.dedent("""
        ## The tree

        ```
        Makefile        help
        a/              a package
          one.py        the first
          b/            a folder whose content is not listed
        c/              another
          d/
            two.py      the second
        ```
    """)
    listed = tree(text)
    assert listed == {
        "Makefile": "help",
        "a/": "a package",
        "a/one.py": "the first",
        "a/b/": "a folder whose content is not listed",
        "c/": "another",
        "c/d/": "",
        "c/d/two.py": "the second",
    }
    files = {"Makefile", "a/__init__.py", "a/one.py", "a/b/x/y.txt", "c/d/two.py"}
    assert unlisted(files, listed) == set()
    assert unlisted({*files, "a/three.py", "README.md"}, listed) == {"a/three.py", "README.md"}
    assert tree("# Nothing\n") is None


def test_tasks_are_data_and_every_definition_loads():
    from harness import catalog

    known = catalog.definitions()
    assert "limit-small" in known
    for suite in catalog.suites().values():
        for name in suite.tasks:
            catalog.task(name)
    for definition in known.values():
        assert definition.description, definition.name
        assert definition.licence != "not stated", definition.name
        assert definition.reference.startswith("https://"), definition.name
