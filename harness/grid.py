"""Systems x variants of a task: a grid of evaluations, whose cells are records and are kept."""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from harness import disk, environment, records
from harness.arrays import BROKEN, Float64
from harness.errors import InputError
from harness.kinds import KINDS
from harness.measures import MEASURES
from harness.measures.asked import Measure
from harness.records import Record
from harness.records.files import RUN
from harness.tasks import Task
from harness.threads import PARSING
from harness.vectors import Run
from harness.wording import count

NUMBER = re.compile(r"\d[\d,.]*")


@dataclass(frozen=True)
class Cell:
    """One system on one variant.

    Attributes:
        record: The evaluation, as any other.
        per_query: Columns [q] of what was judged (queries, or pairs, texts): ids, then the measure.
        ranking: Of all queries [q, k]; None of a task that ranks nothing.
    """

    record: Record
    per_query: Mapping[str, Any]
    ranking: Run | None

    @property
    def run(self) -> Run:
        """The ranking. Raises InputError where the task ranks nothing."""
        if self.ranking is None:
            raise InputError(f"{self.record.task.spec} ranks nothing: expected a task that does")
        return self.ranking

    @property
    def values(self) -> Float64:
        """The main measure of what was judged [q]."""
        return each_value(self.per_query, self.record.main_measure)

    @property
    def notes(self) -> Sequence[str]:
        """What was noticed and tolerated, a sentence each."""
        return self.record.warnings


@dataclass(frozen=True)
class Grid:
    """What systems score on the variants of a task, query by query.

    Attributes:
        systems: Their specs, one a row.
        variants: One a column; all have the same judged queries (pairs, texts) in the same order.
        measure: What the values are of.
        cells: [systems][variants].
    """

    systems: tuple[str, ...]
    variants: tuple[Task, ...]
    measure: Measure
    cells: tuple[tuple[Cell, ...], ...]

    @property
    def values(self) -> Float64:
        """The measure [systems, variants, queries]."""
        return np.stack([np.stack([cell.values for cell in row]) for row in self.cells])

    @property
    def notes(self) -> tuple[str, ...]:
        """What was noticed, each once, with the system and the variant that it is of.

        What differs in its numbers alone is said of the first variant, with how many have the like.
        """
        noticed = dict[tuple[str, str], dict[str, str]]()
        for system, row in zip(self.systems, self.cells, strict=True):
            for variant, cell in zip(self.variants, row, strict=True):
                for note in cell.notes:
                    alike = noticed.setdefault((system, NUMBER.sub("N", note)), {})
                    alike.setdefault(variant.label, note)
        return tuple(_tell(system, alike) for (system, _), alike in noticed.items())


def _tell(system: str, alike: Mapping[str, str]) -> str:
    """A note of a system, with the variant that it is of. alike: by variant."""
    (label, note), *others = alike.items()
    where = f"{system}, {label}" if label else system
    more = f" ({count(len(others), 'more variant')} likewise)"
    return f"{where}: {note}{more if others else ''}"


@dataclass(frozen=True)
class Cells:
    """Cells in a folder, each whole or absent, so that a killed study goes on where it was.

    FOLDER/KEY.npz        the run, empty for a task that ranks nothing: it marks a cell
          /KEY.parquet    the values of each query, as of any record
          /KEY.json       the record; written last

    since: a time in seconds since the epoch: what was kept before plays no part, and is replaced.
    """

    folder: Path
    since: float = 0.0

    def get(self, key: str) -> Cell | None:
        """The cell that is kept by a key; None where there is none, or none that can be read."""
        path = self.folder / f"{key}.json"
        with suppress(InputError, OSError, BadZipFile, zlib.error, RuntimeError, *BROKEN):
            if path.stat().st_mtime < self.since:
                return None
            record, table = records.load(path), records.per_query(path)
            with open(path.with_suffix(RUN), "rb") as file, PARSING:
                kept = dict(np.load(file, allow_pickle=False))
            run = Run(**kept) if kept else None
            columns = {name: table.column(name).to_numpy() for name in table.column_names}
            return Cell(record, columns, run)
        return None

    def put(self, key: str, cell: Cell) -> None:
        """Keep a cell. Raises HarnessError where the folder cannot be written."""
        path, buffer, run = self.folder / f"{key}.json", BytesIO(), cell.ranking
        with disk.writing(self.folder):
            disk.make_folder(self.folder)
            if run is None:
                np.savez(buffer)
            else:
                np.savez(buffer, docs=run.docs, scores=run.scores)
            disk.write_whole(path.with_suffix(RUN), buffer.getbuffer())
        records.write(cell.record, cell.per_query, path)


def each_value(per_query: Mapping[str, Any], measure: str) -> Float64:
    """The values of a measure [q].

    Args:
        per_query: Columns [q] of what was judged, the ids first.
        measure: Its name.

    Raises:
        InputError: It has a value for all, or for groups, and none for each.
    """
    if measure not in per_query:
        noun = next(iter(per_query)).removesuffix("_id")
        raise InputError(f"{measure} has no value for each {noun}: expected a measure that has")
    return np.asarray(per_query[measure], np.float64)


def key(system: Mapping[str, object], task: Task, depth: int, seed: int) -> str:
    """The name of a cell: equal for all that must give the same values.

    Args:
        system: All that decides its rankings, see `harness.systems.identity`.
        task: What it is measured on, by its main measure.
        depth: Results kept for each query, if more than the measures look at.
        seed: Of what is drawn.
    """
    kind, main = task.data.kind, task.main
    about = {
        "system": system,
        "task": [task.data.fingerprint(), task.exclude_self, asdict(task.purpose)],
        "measure": [str(main), max(depth, task.depth), seed],
        "code": [environment.code_sha256(), KINDS.code(kind), MEASURES.code(f"{kind}/{main.name}")],
        "libraries": environment.current().packages,
    }
    return disk.json_sha256(about, default=repr)[:24]  # repr: what JSON cannot hold
