"""What a board is made of: one system on one task, from a record or from a result of mteb."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from harness.exchange import mteb, mteb_tasks
from harness.measures.pairs import compared_as
from harness.records import Record, costs, naming
from harness.records.fingerprints import digest
from harness.wording import count

NAMED = 5  # of what a note tells, so many are named


@dataclass(frozen=True, slots=True)
class BoardEntry:
    """One system on one task: a record, or an import.

    score, low, high: of the main measure, None where it is not defined or has no interval. path:
    of the file. cost: by key, None where it is not known. conditions: equal where data, measure and
    task version are, so that only what can be compared shares a column. exact: whether nothing that
    was searched could be missed. subject: `Record.subject`, shared by what differs in its index
    alone; "" of an import. sign: -1 where low scores are good. traits, by_task, hint: what tells
    systems of one name apart, of a `Bearer`. measured: False where it is not known of which
    weights a score is; a measured one is then preferred.
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
    exact: bool = True
    subject: str = ""
    sign: int = 1
    traits: Mapping[str, str] = field(default_factory=dict)
    by_task: Mapping[str, str] = field(default_factory=dict)
    hint: str = ""
    measured: bool = True


def of_record(record: Record, path: Path | None = None) -> BoardEntry:
    """Return one of our records as an entry. path: of its file."""
    main, known, sign = record.main, naming.bearer(record), record.sign()
    compared = compared_as(record.main_measure)
    return BoardEntry(
        system=record.name,
        task=record.task.spec,
        family=record.task.family,
        kind=record.task.kind,
        measure=record.main_measure,
        score=main.mean,
        low=main.low,
        high=main.high,
        path=path,
        cost=costs.of_record(record),
        conditions=digest(record.task.fingerprint, record.task.exclude_self, compared, sign),
        created=record.created,
        exact=record.exact,
        subject=record.subject,
        sign=sign,
        traits=known.traits,
        by_task=known.by_task,
        hint=known.hint,
    )


@dataclass(frozen=True)
class MtebReading:
    """How results of mteb are read.

    Attributes:
        subsets: Of its tasks, those that count (en); all without any.
        splits: Of its tasks, those that count, where a task has one of them; all without any.
        families: By its task, in place of what scores tell.
        strict: Give each revision of the data its own column, and each of a model its own row;
            otherwise they share one, as on its leaderboard.
    """

    subsets: Collection[str] = ()
    splits: Collection[str] = ()
    families: Mapping[str, str] = field(default_factory=dict)
    strict: bool = True


WHOLE = MtebReading()


@dataclass(frozen=True)
class ImportedEntry:
    """A result of mteb, its revisions; lacks: of the parts that it averages, how many, of all."""

    entry: BoardEntry
    revision: str
    data: str
    lacks: tuple[int, int]


def note_imports(results: Sequence[ImportedEntry], reading: MtebReading) -> list[str]:
    """Tell what was joined, what is incomplete, and of which tasks mteb's mean is not known."""
    revisions, notes = dict[str, set[str]](), list[str]()
    for one in results:
        revisions.setdefault(one.entry.system, set()).add(one.revision)
    joined = [f"{name} ({', '.join(sorted(r))})" for name, r in revisions.items() if len(r) > 1]
    if joined and not reading.strict:
        notes.append(
            f"several revisions are joined of {count(len(joined), 'model')}: {_some(joined)}"
        )
    data = {(one.entry.task, one.data) for one in results}
    if reading.strict and (joined or len(data) > len({task for task, _ in data})):
        notes.append("--loose joins the revisions of a model of MTEB, and those of its data")
    lacking = [
        f"{one.entry.task} of {one.entry.system} ({one.lacks[0]} of {one.lacks[1]})"
        for one in results
        if one.lacks[0]
    ]
    if lacking:
        notes.append(
            f"splits or subsets that MTEB averages are lacking in {count(len(lacking), 'result')}: "
            "columns of their own; --split and --subset name what all have (MTEB(eng) is --split "
            f"test --subset en --subset default): {_some(lacking)}"
        )
    unknown = sorted({one.entry.task for one in results if not mteb_tasks.look_up(one.entry.task)})
    if unknown:
        notes.append(
            f"not known of MTEB {mteb_tasks.version()}: {count(len(unknown), 'task')}, scored by "
            f"means of all that files hold: {_some(unknown)}"
        )
    return notes


def _some(names: Sequence[str]) -> str:
    """Names, at most NAMED of them."""
    more = f", and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def of_mteb(result: mteb.Result, path: Path, reading: MtebReading) -> ImportedEntry:
    """Return a result of mteb as an entry. Raises InputError where none of its parts counts."""
    parts = result.select(reading.subsets, reading.splits)
    measure = mteb.measure(parts)
    kind, family = mteb.kind_and_family(measure)
    system, revision, meta = mteb.model(path)
    data = (result.revision or "not known") if reading.strict else ""
    entry = BoardEntry(
        system=system,
        task=result.task,
        family=reading.families.get(result.task, family),
        kind=kind,
        measure=measure,
        score=float(np.mean([part.main for part in parts])),
        low=None,
        high=None,
        path=path,
        cost={
            **dict.fromkeys(costs.BY_KEY),
            "dim": mteb.number(meta.get("embed_dim")),
            "parameters": mteb.number(meta.get("n_parameters")),
        },
        # the file does not name its measure, which therefore cannot tell columns apart
        conditions=digest("mteb", data, sorted((part.split, part.subset) for part in parts)),
        created=_moment(result.date),
        traits={"source": "mteb", **({"revision": revision} if reading.strict else {})},
        measured=revision not in mteb.UNMEASURED,
    )
    return ImportedEntry(
        entry, revision, data, result.count_lacking(reading.subsets, reading.splits)
    )


def _moment(seconds: float | None) -> str:
    """A time as our records write it; empty, so before all others, where it is not known."""
    try:
        moment = datetime.fromtimestamp(seconds or 0, UTC)
    except (OverflowError, OSError, ValueError):
        return ""
    return moment.isoformat(timespec="microseconds") if seconds else ""
