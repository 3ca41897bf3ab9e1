"""Task definitions: TOML tables that name a source, and suites of them.

A task spec is a table's name, with parameters for its source (limit-small,pattern=cycle), or a
source itself (folder:my/collection,split=dev). `exclude_self=true` works on any retrieval task.
Where a suite has the name of a task, suite:NAME stands for the suite.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Any

from harness.data import Data
from harness.disk import foreign
from harness.errors import InputError
from harness.kinds import KINDS
from harness.measures.asked import Measure, choose
from harness.parameters import write_value
from harness.registry import load_entry_points, load_group, unknown
from harness.sources import SOURCES
from harness.spec import Spec, parse

GROUP = "harness.tasks"
TYPES = {
    "measures": list,
    "documents": int,
    "queries": int,
    "pairs": int,
    "exclude_self": bool,
    "parameters": dict,
}


@dataclass(frozen=True)
class Definition:
    """One TOML table, as written.

    parameters: of the source, beside those in its spec. instruction: what the task asks for, for
    models whose prompt has a place for it. language: of the texts, for models that look at words.
    """

    name: str
    source: str
    description: str = ""
    family: str = ""
    measures: Sequence[str] = ()
    documents: int | None = None
    queries: int | None = None
    pairs: int | None = None
    exclude_self: bool | None = None
    license: str = ""
    reference: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    instruction: str = ""
    language: str = ""


@dataclass(frozen=True)
class TaskEntry:
    """What is asked, without its data.

    Attributes:
        spec: As given.
        source: The full spec of its data, defaults filled in.
        definition: Its table in a TOML file, or one made up for a source.
        exclude_self: As asked; None for what the data's makers do.
        reads: What its data are read by: the source as it was asked for.
        varied: Whether parameters take the place of those of the definition.
    """

    spec: str
    source: Spec
    definition: Definition
    exclude_self: bool | None
    reads: Spec
    varied: bool = False

    def load(self) -> Data:
        """Read the data. Raises InputError for data that are absent or wrong."""
        return SOURCES.create(self.reads)

    def instructions(self, data: Data) -> Mapping[str, str]:
        """What the task asks for, by role: the definition's, or its source's."""
        own = self.definition.instruction
        return {"query": own, "text": own} if own else data.origin.instructions

    def measures(self, data: Data, asked: Sequence[str] = ()) -> tuple[Measure, ...]:
        """The measures asked for, else the task's own, its source's, or those of its kind.

        The first is the main one. Raises InputError for one of another kind.
        """
        own, source = self.definition.measures, data.origin.measures
        if self.varied and own and source and own[0] not in source:
            own = [source[0], *own[1:]]  # the main one went with the parameters of the definition
        own = own or source or KINDS.create(data.kind).measures
        return choose(asked or own, data.kind, f"{self.spec}, a task of {data.kind}")

    def describe(self, data: Data) -> str:
        """What the task is, in words that hold for its parameters."""
        return (self.varied and data.origin.description) or self.definition.description

    def excludes(self, data: Data) -> bool:
        """Whether a query's own document is no result: as asked, else as the data's makers do."""
        return data.origin.exclude_self if self.exclude_self is None else self.exclude_self

    def split(self, name: str) -> Data:
        """The data of another split. Raises InputError where the source has no such one."""
        found = (each for each in SOURCES.entries() if each.name == self.source.name)
        entry = next(found, None)  # none for data of one's own
        if entry is None or "split" not in entry.parameters:
            raise InputError(f"{self.spec}: {self.source.name} has no splits: no {name} to read")
        return SOURCES.create(self.source.with_parameters([("split", name)]))


@dataclass(frozen=True)
class Suite:
    """Tasks under one name."""

    name: str
    description: str
    tasks: Sequence[str]


_extra: list[Path] = []


def add(path: Path) -> None:
    """Take the tasks of one more TOML file. Raises InputError, the others staying as they are."""
    if not path.is_file():
        raise InputError(f"{path}: no such task file")
    definitions.cache_clear()
    before = list(_extra)
    _extra[:] = dict.fromkeys([*_extra, path])  # one that is given again is read again
    try:
        definitions()
    except InputError:
        _extra[:] = before
        raise


def _folder() -> Path:
    """Our own definitions: beside the package in a checkout, inside it when installed."""
    here = Path(__file__).parents[1]
    places = here / "_tasks", here.parent / "tasks"
    found = next((path for path in places if path.is_dir()), None)
    if found is None:
        raise InputError(f"{places[1]}: no such folder of tasks: install the package whole")
    return found


@cache
def definitions() -> dict[str, Definition]:
    """Every task, by name: ours, those of entry points (a path to a TOML file), plugins'."""
    load_entry_points()  # here, so that what fails there is no fault of a table
    paths = sorted(path for path in _folder().glob("*.toml") if path.name != "suites.toml")
    paths += [Path(str(path)) for path in load_group(GROUP)] + _extra
    found: dict[str, Definition] = {}
    for path in paths:
        for name, table in foreign.read_toml(path).items():
            if name in found:
                raise InputError(f"{path}: task {name!r} is defined already: rename it")
            found[name] = _definition(path, name, table)
    return found


def suites() -> dict[str, Suite]:
    """Every suite, by name."""
    tables = foreign.read_toml(_folder() / "suites.toml")
    return {name: Suite(name, **table) for name, table in tables.items()}


def _definition(path: Path, name: str, table: Any) -> Definition:
    where = f"{path}: task {name!r}"
    if not isinstance(table, dict) or "source" not in table:
        raise InputError(f"{where}: expected a table with at least source = '...'")
    table = {"license" if key == "licence" else key: value for key, value in table.items()}
    known = {field.name for field in fields(Definition)} - {"name"}
    for key, value in table.items():
        if key not in known:
            raise InputError(f"{where}: {unknown('key', key, known)}")
        kind = TYPES.get(key, str)
        if type(value) is not kind:
            raise InputError(f"{where}: {key} = {value!r}: expected {kind.__name__}")
    try:
        SOURCES.resolve(_source(table["source"], table.get("parameters", {})))
        choose(table.get("measures", ()))
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    return Definition(name, **table)


def _source(spec: str, parameters: Mapping[str, Any]) -> Spec:
    """A source's spec with the parameters of a table, written as a spec writes them."""
    written = (
        (k, write_value(tuple(v) if isinstance(v, list) else v)) for k, v in parameters.items()
    )
    return parse(spec).with_parameters(written)


def expand(names: Iterable[str]) -> list[str]:
    """Task specs in order, suites replaced by their tasks, each spec once. Raises InputError."""
    known, found = suites(), list[str]()
    for name in names:
        suite = name.removeprefix("suite:")
        if suite != name and suite not in known:
            raise unknown("suite", suite, known)
        task_first = name in definitions()
        found += known[suite].tasks if suite in known and not task_first else [name]
    return list(dict.fromkeys(found))


def task(text: str) -> TaskEntry:
    """Look a task spec up, without loading its data.

    Raises InputError for an unknown name, with the choices and the nearest one.
    """
    spec = parse(text)
    params = dict(spec.params)
    exclude = params.pop("exclude_self", None)
    if exclude not in (None, "true", "false"):
        raise InputError(f"{text}: exclude_self={exclude}: expected true or false")
    known, varied = definitions(), False
    full_name = f"{spec.name}:{spec.target}" if spec.target is not None else spec.name
    if full_name in known:
        definition, varied = known[full_name], bool(params)
        asked = _source(definition.source, definition.parameters).with_parameters(params.items())
    elif spec.name in SOURCES:
        asked = Spec(spec.name, spec.target, tuple(params.items()))
        definition = Definition(full_name, str(asked))
    elif full_name in suites():
        tasks = ", ".join(suites()[full_name].tasks)
        raise InputError(f"{full_name!r} is a suite of tasks: name one of {tasks}")
    else:
        sources = [f"{entry.name}:..." for entry in SOURCES.entries() if entry.target is not None]
        error = unknown("task", full_name, {*known, *suites(), *sources})
        raise InputError(f"{error} (harness tasks lists them)")
    source = SOURCES.resolve(asked)
    return TaskEntry(
        str(spec),
        source,
        definition,
        definition.exclude_self if exclude is None else exclude == "true",
        asked,
        varied,
    )
