"""Evaluations of several systems on several tasks: as frames, compared, saved and loaded."""

from __future__ import annotations

import html
import reprlib
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from harness import compare, records
from harness.arguments import read_arguments
from harness.compare import InMemory, PairComparison
from harness.encoders import OWN
from harness.errors import InputError
from harness.evaluation import Evaluation, write_score
from harness.records import Record, naming
from harness.shown import clean
from harness.spec import parse
from harness.systems.own import adopt
from harness.tasks.collection import Collection, read_task
from harness.wording import count

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = 1
"""Of the frames: goes up when a column changes its name or meaning."""


@dataclass(frozen=True)
class Failure:
    """A pair that could not be evaluated.

    Attributes:
        system: Its name.
        task: Its name.
        error: What was raised.
    """

    system: str
    task: str
    error: BaseException

    def __str__(self) -> str:
        said = " ".join(str(self.error).split()) or type(self.error).__name__
        return clean(f"{self.system} on {self.task}: {said}")

    def __repr__(self) -> str:
        return f"Failure({self})"


class PlaceError(InputError, IndexError):
    """There is no evaluation at a place."""


class StoppedError(KeyboardInterrupt):
    """Ctrl-C between many evaluations: `results` has those that were finished, and what failed."""

    def __init__(self, results: Results, at: str, pairs: int) -> None:
        super().__init__(results, at, pairs)
        self.results = results

    def __str__(self) -> str:
        """Where it stopped, and where what is finished can be found."""
        results, at, pairs = self.args
        return (
            f"stopped at {at}, with {len(results)} of {count(pairs, 'evaluation')} finished: the "
            "`results` of this exception (sys.last_value.results where nothing caught it)"
        )


@dataclass(frozen=True, repr=False, eq=False)
class Results(Sequence[Evaluation]):
    """Evaluations, in the order in which they were made.

    `results["minilm", "limit-small"]` is the newest of a system on a task, `results[0]` the first.

    Attributes:
        evaluations: All of them.
        failed: Pairs that could not be evaluated, with the error of each.
        seed: Of the tests of comparisons.
    """

    evaluations: tuple[Evaluation, ...]
    failed: tuple[Failure, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        given: object = self.evaluations
        if not isinstance(given, tuple) or not all(isinstance(one, Evaluation) for one in given):
            raise InputError("Results are made of evaluations: call harness.evaluate or load")

    @property
    def systems(self) -> tuple[str, ...]:
        """Names of what was evaluated, each once."""
        return tuple(dict.fromkeys(self._names))

    @cached_property
    def _names(self) -> list[str]:
        """The system of each evaluation, so that equal names are of equal systems."""
        return naming.name(found.record for found in self.evaluations)

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the tasks, each once."""
        return tuple(dict.fromkeys(found.record.task.spec for found in self.evaluations))

    def __len__(self) -> int:
        return len(self.evaluations)

    def __iter__(self) -> Iterator[Evaluation]:
        return iter(self.evaluations)

    @overload
    def __getitem__(self, at: int) -> Evaluation: ...
    @overload
    def __getitem__(self, at: slice) -> Results: ...
    @overload
    def __getitem__(self, at: tuple[object, object]) -> Evaluation: ...
    def __getitem__(self, at: Any) -> Evaluation | Results:
        """An evaluation by its place, or the newest of a system on a task.

        System and task are named, or given as they were to `harness.evaluate`.

        Raises:
            InputError: There is none of that name; the error names those that are there.
        """
        if isinstance(at, slice):
            return Results(self.evaluations[at], (), self.seed)
        if isinstance(at, Integral):
            place = int(at)
            if not -len(self) <= place < len(self):
                raise PlaceError(f"results[{place}]: expected a place below {len(self)}")
            return self.evaluations[place]
        if not isinstance(at, tuple) or len(at) != 2:
            raise InputError(
                f"results[{reprlib.repr(at)}]: expected results[0] or results[system, task]"
            )
        system, task = _name_system(at[0]), _name_task(at[1])
        found = self._find(system).get(task)
        if found is not None:
            return found
        for failure in self.failed:
            name = _own_or(_normalise(system), {_normalise(failure.system)})
            if (_normalise(failure.system), failure.task) == (name, task):
                raise InputError(f"{failure} (failed)")
        raise InputError(
            f"no evaluation of {system} on {task}: expected one of {', '.join(self.systems)} on "
            f"{', '.join(self.tasks)}"
        )

    def frame(self) -> pd.DataFrame:
        """One row a system, task and measure: its mean with a 95% interval, and what it took.

        Returns:
            Columns system, task, kind, measure, main, mean, low, high, queries, seconds, index,
            rewriting, notes (how many), created. `attrs["schema"]` is the number of this layout.
        """
        import pandas as pd

        rows = make_rows([found.record for found in self.evaluations])
        frame = pd.DataFrame(rows, columns=list(COLUMNS))
        frame.attrs["schema"] = SCHEMA
        return frame

    def per_query(self) -> pd.DataFrame:
        """One row a system, task, query and measure.

        Returns:
            Columns system, task, query, measure, value; for other kinds than retrieval, query is
            the number of the text or pair. Measures without a value for each are left out.
        """
        import pandas as pd

        named = zip(self._names, self.evaluations, strict=True)
        parts = [part for name, found in named for part in _make_frames(name, found)]
        columns = ["system", "task", "query", "measure", "value"]
        frame = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)
        frame.attrs["schema"] = SCHEMA
        return frame

    def compare(self, a: object, b: object) -> PairComparison:
        """Two systems on the tasks that both have, query by query.

        Args:
            a: The one whose scores are looked at, by its name or as it was evaluated.
            b: The one that they are compared with.

        Returns:
            Differences (a less b) with intervals and tests; `.frame()` has them as a table.

        Raises:
            InputError: One of them was not evaluated, or they share no task.
        """
        sides = [self._side(_name_system(system)) for system in (a, b)]
        return compare.compare(*sides, seed=self.seed)

    @read_arguments
    def save(self, folder: str | Path) -> list[Path]:
        """Write each evaluation's record, with the values of its queries beside it.

        Args:
            folder: Made where it does not exist.

        Returns:
            The paths of the records, in the order of the evaluations.

        Raises:
            HarnessError: The folder cannot be written.
        """
        return [records.save(each.record, each.per_query, folder) for each in self]

    def _find(self, system: str) -> dict[str, Evaluation]:
        """The newest evaluation of a system on each task."""
        names = {_normalise(each.record.name) for each in self.evaluations}
        name = _own_or(_normalise(system), {*names, *map(_normalise, self._names)})
        named = list(zip(map(_normalise, self._names), self.evaluations, strict=True))
        found = [each for own, each in named if name in (own, _normalise(each.record.name))]
        several = {own for own, each in named if each in found}
        if len(several) > 1:
            raise InputError(
                f"{system}: {len(several)} systems of this name: name one of "
                f"{', '.join(sorted(several))}"
            )
        newest = sorted(found, key=lambda each: each.record.created)
        return {each.record.task.spec: each for each in newest}

    def _side(self, system: str) -> InMemory:
        """A system's evaluations, by the name that its records have."""
        found = self._find(system)
        if not found:
            raise InputError(
                f"no evaluation of {system}: expected one of {', '.join(self.systems) or 'none'}"
            )
        name = next(iter(found.values())).record.name
        return InMemory(name, {task: (one.per_query, one.record) for task, one in found.items()})

    def __repr__(self) -> str:
        return (
            f"Results({count(len(self), 'evaluation')}: {count(len(self.systems), 'system')} on "
            f"{count(len(self.tasks), 'task')}, {len(self.failed)} failed)"
        )

    def _repr_html_(self) -> str:
        """The main measure of each system on each task, and what failed."""
        import pandas as pd

        named = zip(self._names, self.evaluations, strict=True)
        cells = {
            (name, f"{each.record.task.spec}, {each.record.main_measure}"): write_score(
                each.record.main
            )
            for name, each in sorted(named, key=lambda pair: pair[1].record.created)
        }
        columns = dict.fromkeys(task for _, task in cells)
        table = [[cells.get((name, task), "") for task in columns] for name in self.systems]
        shown = pd.DataFrame(table, index=list(self.systems), columns=list(columns)).to_html()
        failed = "".join(f"<li>failed: {html.escape(str(one))}</li>" for one in self.failed)
        return f"{shown}<ul>{failed}</ul>" if failed else shown


COLUMNS = (
    "system", "task", "kind", "measure", "main", "mean", "low", "high", "queries", "seconds",
    "index", "rewriting", "notes", "created",
)  # fmt: skip


@read_arguments
def load(paths: str | Path | Sequence[str | Path]) -> Results:
    """Read saved records, as `harness.load` does.

    Args:
        paths: Record files, folders of them, and patterns; of folders and patterns what is no
            record is left out, with a warning that counts it.

    Returns:
        The evaluations in the order in which they were made, without data and rankings.

    Raises:
        InputError: There is no record, or one cannot be read.
    """
    asked = [paths] if isinstance(paths, str | Path) else list(paths)
    if not asked:
        raise InputError("no path is given: expected records or folders of them")
    read = [found for _, found in records.load_each(asked, _load_one)]
    return Results(tuple(sorted(read, key=lambda each: each.record.created)))


def _load_one(path: Path) -> Evaluation:
    record, table = records.load(path), records.per_query(path)
    columns = {name: table.column(name).to_numpy() for name in table.column_names}
    return Evaluation(record, columns, None, None)


def make_rows(found: Sequence[Record]) -> list[dict[str, object]]:
    """What a frame has of records, by COLUMNS: a row for each measure of each."""
    named = zip(naming.name(found), found, strict=True)
    return [row for name, record in named for row in _make_rows(name, record)]


def _make_rows(name: str, record: Record) -> Iterator[dict[str, object]]:
    about: dict[str, object] = {
        "system": name,
        "task": record.task.spec,
        "kind": record.task.kind,
        "queries": record.counts.get("queries_scored"),
        "seconds": sum(phase.wall_s for phase in record.phases),
        "index": record.index.spec if record.index else None,
        "rewriting": record.rewriting.spec if record.rewriting else None,
        "notes": len(record.warnings),
        "created": record.created,
    }
    for measure, score in record.scores.items():
        values = {"mean": score.mean, "low": score.low, "high": score.high}
        row = {**about, "measure": measure, "main": measure == record.main_measure, **values}
        yield {column: row[column] for column in COLUMNS}


def _make_frames(name: str, found: Evaluation) -> Iterator[pd.DataFrame]:
    """Values of each query, a frame for each measure that has them."""
    import pandas as pd

    record, columns = found.record, found.per_query
    ids = next(iter(columns.values()))
    for measure in record.scores:
        if measure in columns:
            about = {"system": name, "task": record.task.spec, "query": list(ids)}
            values = np.asarray(columns[measure], np.float64)
            yield pd.DataFrame({**about, "measure": measure, "value": values})


def _name_system(asked: object) -> str:
    """The name of a system, as it was given. Raises InputError for what is none."""
    return asked if isinstance(asked, str) else adopt(asked)[0]


def _normalise(name: str) -> str:
    """A system's name however it is written: "minilm @ hnsw" is minilm@hnsw."""
    return name.replace(" @ ", "@")


def _own_or(name: str, known: Container[str]) -> str:
    """A name, or that of what was handed over under it, where only that is known."""
    return f"{OWN}:{name}" if name not in known and f"{OWN}:{name}" in known else name


def _name_task(asked: object) -> str:
    """The name of a task, as records have it. Raises InputError for what is none."""
    task = read_task(asked)
    if isinstance(task, str):
        return task if " " in task else str(parse(task))
    return task.task.name if isinstance(task, Collection) else task.name
