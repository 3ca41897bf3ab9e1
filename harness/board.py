"""A board: every system's newest score on every task, from any set of records and MTEB results,
and how the systems stand.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from harness import aggregate, phases, records
from harness.arrays import Float64, Int64
from harness.errors import InputError, reason
from harness.exchange import mteb
from harness.measures.pairs import compared_as
from harness.progress import Progress, silent
from harness.records import Record

LARGEST = 64 * 2**20  # bytes of a file that is read
COSTS = (
    "texts_per_s",
    "dimension",
    "index_bytes",
    "document_bytes",
    "search_ms",
    "latency_ms",
    "parameters",
)
FEW = 10  # tasks below which resampling them is rough
Order = Literal["borda", "mean"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One system on one task: a record, or an import.

    score, low, high: of the main measure, None where it is not defined or has no interval. path:
    of the file. cost: by the names of COSTS, None where it is not known. conditions: equal where
    data, measure and task version are, so that only what can be compared shares a column.
    """

    system: str
    task: str
    family: str
    kind: str
    measure: str
    score: float | None
    low: float | None
    high: float | None
    path: Path | None
    cost: Mapping[str, float | None]
    conditions: str
    created: str = ""


@dataclass(frozen=True)
class Board:
    """Systems and tasks, by name, and an entry for each (system, task) that is known.

    A task that was measured under several conditions has a column for each. refused: files that
    could not be used, with the reason; older: entries that a newer one of the same system, task
    and conditions replaced; notes: what a reader has to know, a sentence each.
    """

    systems: tuple[str, ...]
    tasks: tuple[str, ...]
    entries: Mapping[tuple[str, str], Entry]
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

    def cost(self, system: str, name: str) -> float | None:
        """The median of one cost over the system's tasks; an index's bytes are the largest."""
        entries = (self.entries.get((system, task)) for task in self.tasks)
        found = [value for e in entries if e and (value := e.cost.get(name)) is not None]
        if not found:
            return None
        return float(max(found) if name == "index_bytes" else np.median(found))

    def beside_exact(self, system: str) -> tuple[float, float | None] | None:
        """What an index other than the exact one does: the mean change of the score over the tasks
        that the same system has with both, and its bytes as a multiple of the exact index's.

        None for a system that is searched exactly, or is not here so.
        """
        exact, index, _ = system.rpartition(" @ ")
        both = [t for t in self.tasks if index and {(exact, t), (system, t)} <= set(self.entries)]
        pairs = [(self.entries[exact, t], self.entries[system, t]) for t in both]
        changes = [
            b.score - a.score for a, b in pairs if a.score is not None and b.score is not None
        ]
        sizes = [
            after / before
            for a, b in pairs
            if (before := a.cost.get("index_bytes")) and (after := b.cost.get("index_bytes"))
        ]
        if not changes:
            return None
        return float(np.mean(changes)), float(np.median(sizes)) if sizes else None


def load(
    paths: Sequence[Path | str],
    *,
    subsets: Collection[str] = (),
    families: Mapping[str, str] | None = None,
    strict: bool = True,
    progress: Progress = silent,
) -> Board:
    """Read records of ours and results of mteb from files, folders and glob patterns.

    subsets: of mteb's tasks, that count (en); all without any. families: by mteb's task, in place
    of what its scores tell. strict: data of another revision has its own column; otherwise mteb's
    revisions share one, as on its leaderboard. A file that is broken, foreign or too large is
    refused and stops nothing. Raises InputError where a path names nothing or no file is of use.
    """
    files = _files(paths)
    found: list[Entry] = []
    refused = []
    revisions: dict[str, set[str]] = {}
    for done, file in enumerate(files):
        progress("read records", done, len(files), "files")
        try:
            data = _json(file)
            if isinstance(data, dict) and "schema_version" in data:
                found.append(of_record(records.load(file), file))
            else:
                entry = _of_mteb(mteb.read(data), file, subsets, families or {}, strict=strict)
                revisions.setdefault(entry.system, set()).add(file.parent.name)
                found.append(entry)
        except InputError as error:
            refused.append((file, str(error).removeprefix(f"{file}: ")))
    if not found:
        first = f"; the first: {refused[0][0]}: {refused[0][1]}" if refused else ""
        raise InputError(
            f"{', '.join(map(str, paths))}: no records: {len(refused)} files refused{first}"
        )
    joined = sorted(name for name, known in revisions.items() if len(known) > 1)
    notes = [f"{len(joined)} models join several revisions: {', '.join(joined)}"] if joined else []
    return of_entries(found, refused=refused, notes=notes)


def of_entries(
    entries: Iterable[Entry],
    *,
    refused: Iterable[tuple[Path, str]] = (),
    notes: Iterable[str] = (),
) -> Board:
    """A board of entries: the newest of each system, task and conditions counts."""
    entries = list(entries)
    newest: dict[tuple[str, str, str], Entry] = {}
    for entry in sorted(entries, key=lambda e: (e.created, str(e.path or ""))):
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
        notes=(*notes, *split),
    )


def _columns(entries: Sequence[Entry]) -> tuple[dict[tuple[str, str], str], list[str]]:
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


def _files(paths: Sequence[Path | str]) -> list[Path]:
    """All files, each once. Raises InputError for a path that names nothing."""
    found: dict[Path, None] = {}
    for path in map(str, paths):
        if os.path.isdir(path):
            files = sorted(Path(path).rglob("*.json"))
        elif os.path.exists(path):
            files = [Path(path)]
        else:
            matched = sorted(glob.glob(path, recursive=True))
            if not matched:
                raise InputError(f"{path}: no such file, folder or pattern")
            found.update(dict.fromkeys(_files(matched)))
            continue
        found.update(dict.fromkeys(file for file in files if file.name != mteb.META))
    return list(found)


def _json(file: Path) -> Any:
    try:
        if not file.is_file():
            raise InputError("not a file")
        if file.stat().st_size > LARGEST:
            raise InputError(f"larger than {LARGEST // 2**20} MiB: no record is")
        return json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"not readable: {reason(error)}") from None


def of_record(record: Record, path: Path | None = None) -> Entry:
    """One of our records as an entry."""
    main = record.main
    return Entry(
        system=record.name,
        task=record.task.spec,
        family=record.task.family,
        kind=record.task.kind,
        measure=record.main_measure,
        score=main.mean,
        low=main.low,
        high=main.high,
        path=path,
        cost=_cost(record),
        conditions=_digest(
            record.task.fingerprint, record.task.exclude_self, compared_as(record.main_measure)
        ),
        created=record.created,
    )


def _cost(record: Record) -> dict[str, float | None]:
    """By the names of COSTS. A dimension is one of dense vectors, one a text; the bytes of their
    exact index follow from it where the record does not tell.
    """
    details = record.search.details if record.search else {}
    size, documents = details.get("bytes"), record.counts.get("documents")
    dimension = record.system.dimension if record.system.makes == "dense" else None
    if size is None and record.search and documents and dimension:
        size = 4 * documents * dimension
    return {
        "texts_per_s": phases.texts_per_s(record.phases),
        "dimension": dimension,
        "index_bytes": size,
        "document_bytes": size / documents if size and documents else None,
        "search_ms": phases.search_ms(record.phases),
        "latency_ms": details.get("latency_ms", {}).get("p50"),
        "parameters": None,
    }


def _of_mteb(
    result: mteb.Result,
    path: Path,
    subsets: Collection[str],
    families: Mapping[str, str],
    *,
    strict: bool,
) -> Entry:
    parts = result.chosen(subsets)
    measure = mteb.measure(parts)
    kind, family = mteb.kind_and_family(measure)
    system, _, meta = mteb.model(path)
    data = (result.revision or "not known") if strict else ""
    return Entry(
        system=system,
        task=result.task,
        family=families.get(result.task, family),
        kind=kind,
        measure=measure,
        score=float(np.mean([part.main for part in parts])),
        low=None,
        high=None,
        path=path,
        cost={
            **dict.fromkeys(COSTS),
            "dimension": mteb.number(meta.get("embed_dim")),
            "parameters": mteb.number(meta.get("n_parameters")),
        },
        # the file does not name its measure, which therefore cannot tell columns apart
        conditions=_digest("mteb", data, sorted((part.split, part.subset) for part in parts)),
        created=_moment(result.date),
    )


def _moment(seconds: float | None) -> str:
    """A time as our records write it; empty, so before all others, where it is not known."""
    try:
        moment = datetime.fromtimestamp(seconds or 0, UTC)
    except (OverflowError, OSError, ValueError):
        return ""
    return moment.isoformat(timespec="microseconds") if seconds else ""


def _digest(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Standing:
    """How one system stands.

    rank: by the order asked for, among systems with all tasks; None for one that lacks some, which
    stands below them. mean, low, high: over all tasks, None where one is missing; part: over those
    it has. families: means by family; borda: points; kemeny: its place in that order; groups: the
    numbers of those it belongs to. kept, first: shares of resamples of the tasks in which it has
    its own rank and the first; places: 95 % of resamples lie between.
    """

    system: str
    rank: int | None
    tasks: int
    mean: float | None
    low: float | None
    high: float | None
    part: float | None
    families: Mapping[str, float | None]
    mean_of_families: float | None
    borda: float
    kemeny: int | None
    groups: tuple[int, ...]
    kept: float | None
    first: float | None
    places: tuple[int, int] | None


@dataclass(frozen=True)
class Standings:
    """All systems, the best first, those that lack a task last.

    tasks, families: [t]. wins: [s, s] of `aggregate.pairwise`, in the order of rows. kemeny_exact:
    whether no order agrees more with the tasks. notes: how it was computed, a sentence each.
    """

    rows: tuple[Standing, ...]
    order: Order
    tasks: tuple[str, ...]
    families: tuple[str, ...]
    wins: Float64
    kemeny_exact: bool
    notes: tuple[str, ...]


def standings(
    board: Board,
    *,
    order: Order = "borda",
    common: bool = False,
    fixed_tasks: bool = False,
    alpha: float = 0.05,
    seed: int = 0,
    progress: Progress = silent,
) -> Standings:
    """Rank the systems of a board.

    order: by Borda points or by the mean. common: only over the tasks that every system has.
    fixed_tasks: these tasks are all that matter, not a sample of tasks, so that intervals and
    groups come from queries alone; so it is with a single task. alpha: of the groups, over all
    pairs. Raises InputError where no task is left.
    """
    tasks = _common(board) if common else board.tasks
    columns = [board.tasks.index(task) for task in tasks]
    scores = board.scores[:, columns]
    families = tuple(board.families[column] for column in columns)
    fixed = fixed_tasks or len(tasks) == 1
    points, pairs = aggregate.borda(scores), aggregate.pairwise(scores, progress)
    counts = aggregate.task_draws(len(tasks), seed)
    moved = {
        column: each
        for column, task in enumerate(tasks)
        if (each := _deviations(board, task, [seed, column])) is not None
    }
    drawn = _drawn(scores, counts, moved, fixed=fixed)
    low, high = aggregate.tails(drawn)
    mean = scores.mean(axis=1)
    full = np.flatnonzero(~np.isnan(mean))
    each = points if order == "borda" else scores
    full = full[np.lexsort((-mean[full], -points[full].sum(axis=1), -each[full].sum(axis=1)))]
    had = (~np.isnan(scores)).sum(axis=1)
    rest = sorted(set(range(len(scores))) - set(full.tolist()), key=lambda i: -int(had[i]))
    consensus = aggregate.kemeny(pairs.margin[np.ix_(full, full)])
    p = (aggregate.normal_p(drawn) if fixed else pairs.p)[np.ix_(full, full)]
    member: list[list[int]] = [[] for _ in full]
    for number, members in enumerate(aggregate.groups(aggregate.told_apart(p, alpha)), 1):
        for at in members:
            member[at].append(number)
    ranks = aggregate.places(each[full].sum(axis=1))
    held = aggregate.stability(each[full].sum(axis=1), each[full] @ counts.T)
    by_family = aggregate.family_means(scores, families)
    over_families = np.mean(list(by_family.values()), axis=0)
    lines = [*full.tolist(), *rest]
    rows = []
    for at, i in enumerate(lines):
        whole, steady = at < len(full), at < len(full) and not fixed
        rows.append(
            Standing(
                system=board.systems[i],
                rank=int(ranks[at]) if whole else None,
                tasks=int(had[i]),
                mean=_known(mean[i]),
                low=_known(low[i]),
                high=_known(high[i]),
                part=_known(np.nanmean(scores[i])) if had[i] else None,
                families={name: _known(values[i]) for name, values in by_family.items()},
                mean_of_families=_known(over_families[i]),
                borda=float(points[i].sum()),
                kemeny=1 + consensus.order.index(at) if whole else None,
                groups=tuple(member[at]) if whole else (),
                kept=float(held.kept[at]) if steady else None,
                first=float(held.first[at]) if steady else None,
                places=(int(held.low[at]), int(held.high[at])) if steady else None,
            )
        )
    return Standings(
        rows=tuple(rows),
        order=order,
        tasks=tasks,
        families=families,
        wins=pairs.wins[np.ix_(lines, lines)],
        kemeny_exact=consensus.exact,
        notes=tuple(_notes(scores, len(rest), len(moved), fixed=fixed, alpha=alpha)),
    )


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _common(board: Board) -> tuple[str, ...]:
    """The tasks that every system has a score on."""
    kept = np.flatnonzero(~np.isnan(board.scores).any(axis=0))
    if not len(kept):
        raise InputError("no task is common to all systems: compare fewer systems")
    return tuple(board.tasks[column] for column in kept)


def _drawn(scores: Float64, counts: Int64, moved: Mapping[int, Float64], *, fixed: bool) -> Float64:
    """Means in resamples [s, b]: of tasks and queries, or, with fixed tasks, of queries alone.

    With fixed tasks, NaN where it is not known how a score moves with its queries.
    """
    if not fixed:
        known = {column: np.nan_to_num(each) for column, each in moved.items()}
        return aggregate.two_level(scores, counts, known)
    nothing = np.full((len(scores), len(counts)), np.nan)
    each = {column: moved.get(column, nothing) for column in range(scores.shape[1])}
    return aggregate.two_level(scores, np.ones_like(counts), each)


def _deviations(board: Board, task: str, seed: Sequence[int]) -> Float64 | None:
    """How far each system's score moves with other queries, [s, resamples]; None: not known.

    From per-query values, the same queries for all systems that share them; else, where an entry
    has an interval, from the normal distribution of that width; else NaN.
    """
    each = [(row, board.entries.get((name, task))) for row, name in enumerate(board.systems)]
    known = [(row, entry) for row, entry in each if entry and entry.low is not None]
    if not known:
        return None
    moved = np.full((len(board.systems), aggregate.RESAMPLES), np.nan)
    shared: dict[str, list[tuple[int, Float64]]] = {}
    random = np.random.default_rng([*seed, 1])
    for row, entry in known:
        found = _per_query(entry)
        if found is not None:
            shared.setdefault(found[0], []).append((row, found[1]))
        elif entry.low is not None and entry.high is not None:
            deviation = (entry.high - entry.low) / (2 * aggregate.NORMAL)
            moved[row] = deviation * random.standard_normal(aggregate.RESAMPLES)
    for group in shared.values():
        values = np.stack([own for _, own in group])
        drawn = aggregate.resampled(values, seed)
        moved[[row for row, _ in group]] = drawn - values.mean(axis=1, keepdims=True)
    return moved


def _per_query(entry: Entry) -> tuple[str, Float64] | None:
    """A digest of the query ids and the main measure's values [q], where their mean is the score.

    None where the record has none: an import, a correlation, or a file that is gone.
    """
    if entry.path is None or entry.score is None:
        return None
    try:
        table = records.per_query(entry.path)
    except InputError:
        return None
    names = table.column_names
    if entry.measure not in names[1:]:
        return None
    try:
        values = table.column(entry.measure).to_numpy().astype(np.float64)
    except (ValueError, TypeError):
        return None
    if not len(values) or not np.isclose(values.mean(), entry.score, rtol=0, atol=1e-9):
        return None  # a mean over groups of queries, or a file of another record
    ids = hashlib.sha256(json.dumps(table.column(0).to_pylist(), default=str).encode())
    return ids.hexdigest(), values


def _notes(scores: Float64, behind: int, moved: int, *, fixed: bool, alpha: float) -> list[str]:
    """How standings were computed."""
    tasks, common = scores.shape[1], int((~np.isnan(scores)).all(axis=0).sum())
    test = "Student's paired t-test over tasks"
    notes = []
    if fixed:
        test = "the normal test of paired differences over queries"
        notes.append("intervals: bootstrap over queries; the tasks are taken as they are")
    elif moved:
        also = "" if moved == tasks else f" (known for {moved} of {tasks} tasks)"
        notes.append(f"intervals: bootstrap over tasks and, in each, over queries{also}")
    else:
        notes.append("intervals: bootstrap over tasks; nothing is known of their queries")
    if not fixed and tasks < FEW:
        notes.append(f"{tasks} tasks are few to draw from: intervals and stability are rough")
    notes.append(
        f"groups: systems of one group cannot be told apart: {test}, Holm's correction over all "
        f"pairs, alpha {alpha:g}"
    )
    if behind:
        notes.append(
            f"{behind} of {len(scores)} systems lack tasks: they stand below the others without "
            f"a rank, a missing score has no Borda points; {common} of {tasks} tasks are common to "
            "all"
        )
    return notes
