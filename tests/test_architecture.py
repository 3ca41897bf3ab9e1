"""What holds the house together: one direction of imports, one place that prints, a true tree."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HEAVY = ["torch", "transformers", "sentence_transformers", "mteb", "faiss", "datasets", "scipy"]
HEAVY += ["pyarrow", "pandas", "bm25s"]

# A module imports from layers above its own line, and within it from those it is allowed here.
LAYERS: list[list[str]] = [
    ["harness"],
    ["masking", "progress", "arrays", "threads", "signals", "wording", "builds",
     "visibility", "overlaid"],
    ["shown"],
    ["errors"],
    ["optional"],
    ["accelerators"],
    ["spec", "data.rows", "endpoints.usage", "disk.foreign", "disk.footer"],
    ["parameters", "promises"],
    ["registry", "arguments"],
    ["data", "data.*", "vectors", "vectors.*", "endpoints",
     "endpoints.options"],
    ["pipeline", "pipeline.phases", "disk", "disk.memory", "disk.lines", "disk.parquet",
     "endpoints.service",
     "records.schema1", "records.files", "records.checks", "records.columns",
     "records.measured_costs", "environment"],
    ["endpoints.answers", "disk.lease", "disk.seal", "records.fingerprints"],
    ["zoo", "zoo.*"],
    ["measures", "measures.*", "packing", "packing.*"],
    ["sources", "sources.*", "encoders", "encoders.*", "rerankers", "rerankers.*", "store",
     "store.*", "indexes", "indexes.*", "stats", "stats.*"],
    ["frames.formats", "records", "records.schema2", "pipeline.represent", "rewriting",
     "rewriting.*"],
    ["records.item_values", "records.costs", "records.naming", "matching"],
    ["frames", "pipeline.retrieve", "kinds", "kinds.*", "compare", "gate.policy", "gate.costs",
     "exchange", "exchange.*", "scoring"],
    ["pipeline.single", "frames.charts", "frames.saved", "tasks.catalog", "analysis", "analysis.*"],
    ["systems", "systems.*"],
    ["tasks"],
    ["tasks.vectors", "tasks.collection", "tasks.idle"],
    ["board.entries"],
    ["evaluation", "grid", "board", "gate"],
    ["board.standings", "board.resampling", "board.queries", "board.notes"],
    ["session", "results"],
    ["gate.one_run", "gate.processes"],
    ["studies", "studies.*", "report", "report.*", "engine", "engine.*", "selftest", "selftest.*"],
    ["outlet"],
    ["terminal"],
    ["api"],
    ["cli", "cli.*"],
    ["__main__"],
]  # fmt: skip
# which packages of the widest layer may know of each other
NEIGHBOURS = {
    ("store", "encoders"),
    ("rerankers", "encoders"),  # how weights are found and what is refused
    ("report", "studies"),  # what is shown
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


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


LONGEST, WIDEST, LARGEST = 40, 6, 400  # lines of a function, its parameters, lines of a module
LONG = {  # longer functions, none above 60 lines, and why they stay whole
    "analysis.free_vectors.optimise": "a formula with the thirteen facts that it returns",
    "api.evaluate": "the first page that people read: half of it is documentation",
    "cli.gate.gate": "a command: 14 options",
    "cli.board.leaderboard": "a command: 22 options, a line each",
    "measures.measure": "a decorator: 13 facts of a measure, each documented",
    "session.Session.evaluate": "documents what an evaluation may raise",
}
WIDE = {  # functions of more parameters, beside commands and factories that are registered
    "api.evaluate": "what one evaluation may be told, as keywords",
    "cli.study._run": "the command of every study",
    "measures.measure": "what may be known of a measure, as keywords",
    "pipeline.retrieve.retrieve": "one search with all that changes it",
    "session.Session.evaluate": "what one evaluation may be told, as keywords",
}
LARGE: dict[str, str] = {}  # larger modules
CHANGING = {  # dataclasses that are no values, and what changes in them
    "encoders.callable.Checks": "what was looked at so far",
    "indexes.adaptive._There": "documents that are copied to GPUs once they are asked for",
    "pipeline.phases.Clock": "phases that have ended",
    "pipeline.represent.VectorCache": "vectors that were just used",
    "session.Session": "what was loaded",
    "terminal._Bar": "a line that is drawn over",
    "terminal._Cell": "likewise",
    "terminal._Lines": "likewise",
    "terminal._Stage": "likewise",
}
PROBES = {  # modules that look at objects of others, and whose
    "encoders.callable": "arrays and tensors that a function returns",
    "encoders.checkpoint": "models of sentence-transformers",
    "encoders.late_interaction": "models of pylate and sentence-transformers",
    "encoders.pretrained": "models of sentence-transformers",
    "encoders.prompting": "tokenizers",
    "encoders.user_model": "models of users",
    "environment": "os, which differs by platform",
    "indexes.factory": "indexes of faiss",
    "indexes.faiss_library": "indexes of faiss",
    "indexes.gpu.arithmetic": "builds of torch",
    "indexes.gpu.faiss_devices": "indexes of faiss",
    "indexes.gpu.faiss_factory": "builds of faiss",
    "packing.attention": "layers of transformers",
    "packing.batches": "layers of transformers",
    "packing.check": "models of sentence-transformers",
    "packing.linear": "layers of transformers",
    "packing.model": "models of sentence-transformers",
    "sources.irds": "documents of ir_datasets",
    "sources.mteb": "tasks of mteb",
    "sources.mteb_data": "tasks of mteb",
    "systems.own": "searches of users",
    "terminal": "IPython",
}


@dataclass(frozen=True)
class Function:
    """A function: its dotted name inside harness, its lines, how many parameters it has, whether a
    decorator registers it, and whether it is read as a value.
    """

    name: str
    lines: int
    parameters: int
    registered: bool
    property: bool


@cache
def functions() -> list[Function]:
    return [one for name, path in MODULES.items() for one in _functions(name, path)]


def _functions(module: str, path: Path) -> Iterator[Function]:
    above = [(module, parsed(path))]
    while above:
        prefix, node = above.pop()
        for inner in ast.iter_child_nodes(node):
            if not isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                above.append((prefix, inner))
                continue
            name = f"{prefix}.{inner.name}"
            above.append((name, inner))
            if not isinstance(inner, ast.ClassDef):
                lines = (inner.end_lineno or 0) - inner.lineno + 1
                read = any(ast.unparse(d).endswith("property") for d in inner.decorator_list)
                yield Function(name, lines, _parameters(inner), _is_registered(inner), read)


def _parameters(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    given = [*node.args.posonlyargs, *node.args.args]
    bound = bool(given) and given[0].arg in ("self", "cls")
    return len(given) + len(node.args.kwonlyargs) - bound


def _is_registered(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return any(
        isinstance(one, ast.Call)
        and isinstance(one.func, ast.Attribute)
        and one.func.attr in ("register", "command", "callback")
        for one in node.decorator_list
    )


def test_functions_are_short():
    found = {one.name: one.lines for one in functions() if one.lines > LONGEST}
    assert set(found) == set(LONG), "shorten what is new here, take off what is short now"
    assert max(found.values()) <= 60


def test_functions_take_few_parameters():
    found = {one.name for one in functions() if one.parameters > WIDEST and not one.registered}
    assert found == set(WIDE), "gather parameters that go together, take off what is narrow now"


def test_modules_are_small():
    sizes = {name: len(path.read_text("utf-8").splitlines()) for name, path in MODULES.items()}
    assert {name for name, lines in sizes.items() if lines > LARGEST} == set(LARGE)
    assert max(sizes.values()) < 480


def test_an_index_over_a_library_of_graphs_is_small():
    for name in ("indexes.hnswlib_graph", "indexes.usearch_graph"):
        assert len(MODULES[name].read_text("utf-8").splitlines()) <= 80, name


def test_no_two_classes_have_one_name():
    found = Counter(
        node.name
        for path in MODULES.values()
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.ClassDef)
    )
    assert [name for name, times in found.items() if times > 1] == []


# told, found, beside: what a name says of values, never of a function; Task.changed makes a variant
BARE = re.compile(
    r"_*(\w+ed|told|found|kept|held|made|given|taken|shown|drawn|known|chosen|written|left|lost|built|"
    r"sent|beside|together|within|above|below|apart)"
)
VERBS = {"embed", "_embed", "need", "_need", "feed", "changed"}


def test_functions_are_verbs():
    found = {
        f"{one.name} ({one.lines} lines)"
        for one in functions()
        if BARE.fullmatch(last := one.name.rsplit(".", 1)[1])
        and "_" not in last.strip("_")
        and last not in VERBS
        and not (one.registered or one.property)
    }
    assert found == set(), "name what it does"


def calls(node: ast.AST, *names: str) -> Iterator[ast.Call]:
    for inner in ast.walk(node):
        if isinstance(inner, ast.Call) and ast.unparse(inner.func) in names:
            yield inner


def test_nothing_is_narrowed_by_an_assertion():
    """`python -O` takes assertions away."""
    for name, path in MODULES.items():
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.Assert):
                assert not list(calls(node.test, "isinstance")), f"harness/{name}:{node.lineno}"


def test_only_objects_of_others_are_probed():
    """What is ours says what it has: a protocol, a base class, a field with a default."""
    found = {
        name
        for name, path in MODULES.items()
        for call in calls(parsed(path), "getattr", "hasattr")
        if len(call.args) > 1 and isinstance(call.args[1], ast.Constant)
    }
    assert found == set(PROBES)


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
    assert not said or name.split(".")[0] in ("cli", "outlet", "terminal", "builds"), (
        f"harness/{name}: {said}"
    )


@pytest.mark.parametrize("name", MODULES)
def test_every_module_says_what_it_is_for(name):
    assert ast.get_docstring(ast.parse(MODULES[name].read_text("utf-8")))


def loaded(*words: str, heavy: Sequence[str] = HEAVY) -> list[str]:
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
        print("LOADED", *[name for name in {tuple(heavy)!r} if name in sys.modules])
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


@pytest.mark.parametrize("words", [[], ["--help"], ["eval", "--help"], ["gate", "--help"]])
def test_help_does_not_wait_for_numpy(words):
    assert loaded(*words, heavy=["numpy"]) == []


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
    """Files of the project that git knows, without hidden ones: a user's lie beside them."""
    tracked = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    names = {Path(name) for name in tracked.stdout.split("\0") if name}
    shown = {name for name in names if not any(part.startswith(".") for part in name.parts)}
    return {name.as_posix() for name in shown if (ROOT / name).is_file()}


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
    from harness.tasks import catalog

    known = catalog.definitions()
    assert "limit-small" in known
    for suite in catalog.suites().values():
        for name in suite.tasks:
            catalog.task(name)
    for definition in known.values():
        assert definition.description, definition.name
        assert definition.license != "not stated", definition.name
        assert definition.reference.startswith("https://"), definition.name


def test_values_are_frozen():
    changing = {
        f"{name}.{node.name}"
        for name, path in MODULES.items()
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.ClassDef)
        for decorator in map(ast.unparse, node.decorator_list)
        if decorator.startswith("dataclass") and "frozen=True" not in decorator
    }
    assert changing == CHANGING.keys()
