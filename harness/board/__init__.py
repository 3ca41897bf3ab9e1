"""A board: every system's newest score on every task, from any set of records and MTEB results."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from harness import records
from harness.arrays import Float64, Int64
from harness.board.entries import (
    WHOLE,
    BoardEntry,
    ImportedEntry,
    MtebReading,
    note_imports,
    of_mteb,
    of_record,
)
from harness.disk import foreign
from harness.errors import InputError
from harness.exchange import mteb
from harness.progress import Progress, silent
from harness.records import costs, files, naming
from harness.records.naming import Bearer
from harness.wording import count


@dataclass(frozen=True)
class Board:
    """Systems and tasks, by name, and an entry for each (system, task) that is known.

    A task that was measured under several conditions has a column for each. refused: files that
    could not be used, with the reason; older: entries that a newer one of the same system, task
    and conditions replaced; notes: what a reader has to know, a sentence each.
    """

    systems: tuple[str, ...]
    tasks: tuple[str, ...]
    entries: Mapping[tuple[str, str], BoardEntry]
    refused: tuple[tuple[Path, str], ...] = ()
    older: int = 0
    notes: tuple[str, ...] = ()

    @cached_property
    def scores(self) -> Float64:
        """[systems, tasks], NaN for what is missing or not defined."""
        found = np.full((len(self.systems), len(self.tasks)), np.nan)
        row = {name: i for i, name in enumerate(self.systems)}
        column = {name: i for i, name in enumerate(self.tasks)}
        for (system, task), entry in self.entries.items():
            if entry.score is not None:
                found[row[system], column[task]] = entry.score
        return found

    @cached_property
    def families(self) -> tuple[str, ...]:
        """The family of each task."""
        known = {entry.task: entry.family for entry in self.entries.values()}
        return tuple(known[task] for task in self.tasks)

    @cached_property
    def signs(self) -> Int64:
        """1 or -1 for each task [t]: scores times these are larger the better, as orders need."""
        known = {entry.task: entry.sign for entry in self.entries.values()}
        return np.array([known[task] for task in self.tasks], np.int64)

    def cost(self, system: str, name: str) -> float | None:
        """The median of one cost over the system's tasks; an index's bytes are the largest."""
        entries = (self.entries.get((system, task)) for task in self.tasks)
        found = [value for e in entries if e and (value := e.cost.get(name)) is not None]
        if not found:
            return None
        return float(max(found) if costs.BY_KEY[name].over == "max" else np.median(found))

    def beside_exact(self, system: str) -> tuple[float, float | None] | None:
        """What an index other than the exact one does to the score and to the bytes.

        The mean change of the score over the tasks that the same system has with both, and its
        bytes as a multiple of the exact index's. None for a system that is searched exactly, or is
        not here so.
        """
        own = [e for task in self.tasks if (e := self.entries.get((system, task))) and not e.exact]
        pairs = [(e, exact) for e in own if (exact := self._exact.get((e.task, e.subject)))]
        joint = joint_sign([entry.sign for entry, _ in pairs])
        changes = [
            joint * entry.sign * (entry.score - exact.score)
            for entry, exact in pairs
            if entry.score is not None and exact.score is not None
        ]
        sizes = [
            after / before
            for entry, exact in pairs
            if (before := exact.cost.get("index_bytes"))
            and (after := entry.cost.get("index_bytes"))
        ]
        if not changes:
            return None
        return float(np.mean(changes)), float(np.median(sizes)) if sizes else None

    @cached_property
    def _exact(self) -> dict[tuple[str, str], BoardEntry]:
        """What was searched exactly, by task and subject; of equals the first by name."""
        entries = sorted(self.entries.values(), key=lambda entry: entry.system, reverse=True)
        return {(e.task, e.subject): e for e in entries if e.exact and e.subject}


def joint_sign(signs: Iterable[int]) -> int:
    """What gives a mean over tasks back its sign: -1 where low scores are good on all of them.

    On tasks of both kinds a mean is of scores times their signs, and a large one is good.
    """
    return -1 if {*signs} == {-1} else 1


def load(
    paths: Sequence[Path | str], reading: MtebReading = WHOLE, *, progress: Progress = silent
) -> Board:
    """Read records of ours and results of mteb from files, folders and glob patterns.

    A file that is broken, foreign or too large is refused and stops nothing.

    Args:
        paths: Files, folders, glob patterns.
        reading: How results of mteb are read.
        progress: Hears of each file.

    Raises:
        InputError: Where a path names nothing, or no file is of use.
    """
    listed, found, results = _list_files(paths), list[BoardEntry](), list[ImportedEntry]()
    refused = list[tuple[Path, str]]()
    for done, file in enumerate(listed):
        progress("read records", done, len(listed), "files")
        try:
            data = foreign.read_json(file)
            if isinstance(data, dict) and "schema_version" in data:
                found.append(of_record(records.read(data, str(file)), file))
            else:
                results.append(of_mteb(mteb.read(data), file, reading))
        except InputError as error:
            refused.append((file, str(error).removeprefix(f"{file}: ")))
    found += [one.entry for one in results]
    if not found:
        raise _no_records(paths, refused)
    return of_entries(found, refused=refused, notes=note_imports(results, reading))


def _no_records(paths: Sequence[Path | str], refused: Sequence[tuple[Path, str]]) -> InputError:
    first = f"; the first: {refused[0][0]}: {refused[0][1]}" if refused else ""
    return InputError(
        f"{', '.join(map(str, paths))}: no records: {count(len(refused), 'file')} refused{first}"
    )


def of_entries(
    entries: Iterable[BoardEntry],
    *,
    refused: Iterable[tuple[Path, str]] = (),
    notes: Iterable[str] = (),
) -> Board:
    """Make a board of entries; the newest of each system, task and conditions counts.

    Args:
        entries: In any order.
        refused: Files that were left out, with the reason.
        notes: What a reader has to know, a sentence each.
    """
    entries, apart = _tell_apart(list(entries))
    newest: dict[tuple[str, str, str], BoardEntry] = {}
    for entry in sorted(entries, key=lambda e: (e.measured, e.created, str(e.path or ""))):
        newest[entry.system, entry.task, entry.conditions] = entry
    columns, split = _columns(list(newest.values()))
    named = [
        e if e.task == (column := columns[e.task, e.conditions]) else replace(e, task=column)
        for e in newest.values()
    ]
    return Board(
        systems=tuple(sorted({entry.system for entry in named})),
        tasks=tuple(sorted({entry.task for entry in named})),
        entries={(entry.system, entry.task): entry for entry in named},
        refused=tuple(refused),
        older=len(entries) - len(newest),
        notes=(*notes, *apart, *split),
    )


def _tell_apart(entries: Sequence[BoardEntry]) -> tuple[list[BoardEntry], list[str]]:
    """The same, of different names where systems differ, and a note for each that several had."""
    names, notes = naming.tell_apart([
        Bearer(one.system, one.traits, one.by_task, (one.task, one.conditions), one.hint)
        for one in entries
    ])  # fmt: skip
    return [
        one if one.system == name else replace(one, system=name)
        for one, name in zip(entries, names, strict=True)
    ], notes


def _columns(entries: Sequence[BoardEntry]) -> tuple[dict[tuple[str, str], str], list[str]]:
    """The column of each (task, conditions), and a note for each task that has several."""
    several: dict[str, Counter[str]] = {}
    measures = {(entry.task, entry.conditions): entry.measure for entry in entries}
    for entry in entries:
        several.setdefault(entry.task, Counter())[entry.conditions] += 1
    names, notes = {}, []
    for task, conditions in several.items():
        for one in conditions:
            alone = len(conditions) == 1
            names[task, one] = task if alone else f"{task} [{measures[task, one]}, {one[:6]}]"
        if len(conditions) > 1:
            notes.append(
                f"{task}: measured under {len(conditions)} conditions (data, measure or task "
                "version): a column each, not compared"
            )
    return names, notes


def _list_files(paths: Sequence[Path | str]) -> list[Path]:
    """All files, each once. Raises InputError for a path that names nothing."""
    found = dict.fromkeys(file for path in paths for file in files.find(path))
    return [file for file in found if file.name != mteb.META]
