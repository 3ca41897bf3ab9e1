"""What the page shows, as values that JSON can hold, within a number of bytes.

Scores of a task are whole multiples of its unit (1e-4, ten times that where they are large), as
little-endian int16 in base64, -32768 for none: four decimals, and 600 systems x 1,500 tasks in
2.4 MB.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import permutations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness import records
from harness.arrays import Float64
from harness.errors import InputError
from harness.progress import Progress
from harness.records.costs import RANKED, Cost
from harness.report import leaderboard, tables
from harness.report.tables import spans
from harness.wording import count

if TYPE_CHECKING:
    from harness.board import Board
    from harness.board.entries import BoardEntry
    from harness.board.standings import Standing, Standings

MISSING = -32768
QUERIES = 10  # shown of two systems, most apart first; as in script.js
COMPARED = 40  # systems of a task whose queries are kept, the best first
TEXT = 300  # characters of a query or note
REFUSED = 20  # files that are named
SPARE = 500  # bytes for what had no room

Head = tuple[str, int, bool, str]
Cell = float | str | list[float] | None
Texts = Callable[[str], Mapping[str, str]]


def content(
    board: Board,
    standings: Standings,
    *,
    room: int,
    folder: Path,
    texts: Texts | None,
    progress: Progress,
) -> dict[str, Any]:
    """All but the figures.

    room: bytes that single queries and records may fill together with the scores; folder: of the
    page, that links to records start from.
    """
    order = [row.system for row in standings.rows]
    families = dict(zip(board.tasks, board.families, strict=True))
    board = replace(board, tasks=tuple(sorted(board.tasks, key=lambda t: (families[t], t))))
    scores = _scores(board, order)
    costs = [c for c in RANKED if any(board.cost(system, c.key) for system in order)]
    whole = {
        "systems": _systems(board, standings, costs),
        "tasks": scores,
        "columns": _columns(standings),
        "ranked": _say_ranked(board, standings),
        "costs": [
            {"title": c.title[0].upper() + c.title[1:], "less": c.better == "less"} for c in costs
        ],
    }
    notes = _notes(board, standings)
    room -= _bytes([whole, notes]) + SPARE
    queries, told = _fit(_queries(board, order, texts, progress), room // 2)
    details, read = _fit(_records(board, order, folder, progress), room - _bytes(queries))
    if not told:
        here = count(len(queries), "task")
        notes.append(f"no room for all single queries: those of {here} are here")
    if not read:
        here = count(len(details), "record")
        notes.append(f"no room for all records: {here} are here, the files hold the rest")
    return {**whole, "queries": queries, "records": details, "notes": notes}


def _notes(board: Board, standings: Standings) -> list[str]:
    """How the standings were computed, and what became of the files."""
    notes = leaderboard.notes(board, standings)
    notes += [f"not used: {path}: {why}"[:TEXT] for path, why in board.refused[:REFUSED]]
    if len(board.refused) > REFUSED:
        notes.append(f"not used: {count(len(board.refused) - REFUSED, 'more file')}")
    return notes


def _say_ranked(board: Board, standings: Standings) -> str:
    """Which systems have no rank, and where they stand."""
    if len(standings.tasks) == len(board.tasks):
        return "One that lacks a task has no rank, and stands after those that have them all."
    by = f"{len(standings.tasks):,} of {count(len(board.tasks), 'task')}"
    return f"Ranks are by {by}: one that lacks any of these has none, and stands after the others."


def _systems(board: Board, standings: Standings, costs: Sequence[Cost]) -> list[dict[str, Any]]:
    """Systems in the order of the standings, with a value for each cost and each column."""
    return [
        {
            "name": row.system,
            "parameters": board.cost(row.system, "parameters"),
            "costs": [board.cost(row.system, cost.key) for cost in costs],
            "values": [value for _, value in _cells(row, standings)],
        }
        for row in standings.rows
    ]


def _columns(standings: Standings) -> list[dict[str, Any]]:
    """What each column of the standings is. down: sorted from the largest first."""
    return [
        {"title": title, "digits": digits, "down": down, "about": about}
        for (title, digits, down, about), _ in _cells(standings.rows[0], standings)
    ]


def _cells(row: Standing, standings: Standings) -> list[tuple[Head, Cell]]:
    """One row of the standings, each value with its column's title, digits, order and meaning."""
    families = list(dict.fromkeys(standings.families))
    high = standings.sign() > 0
    over = f"over {count(len(standings.tasks), 'task')}"
    best = "none agrees more" if standings.kemeny_exact else "the best that a search found"
    interval = None if row.low is None or row.high is None else [row.low, row.high]
    places = None if row.places is None else f"{row.places[0]}–{row.places[1]}"
    cells: list[tuple[Head, Cell]] = [
        (("Rank", 0, False, f"by {standings.order} {over}; none where one is missing"), row.rank),
        (
            ("Groups", 0, False, "systems of one group cannot be told apart"),
            spans(row.groups) or None,
        ),
        (("Mean", 4, high, f"mean {over}"), row.mean),
        (("95% interval", 4, high, "of the mean"), interval),
        (("Borda", 1, True, "points: on each task, one for each system passed"), row.borda),
        (("Kemeny", 0, False, f"place in an order that agrees with most; {best}"), row.kemeny),
        (("Keeps rank", 2, True, "share of resamples of tasks that give this rank"), row.kept),
        (("First", 2, True, "share of resamples of tasks in which it is first"), row.first),
        (("Ranks", 0, False, "in 95% of resamples of tasks"), places),
    ]
    if len(families) > 1:
        cells.insert(4, (("Mean of families", 4, high, "each counts once"), row.mean_of_families))
        for name in families:
            head = name, 4, standings.sign(name) > 0, f"mean of {name}"
            cells.append((head, row.families[name]))
    return cells


def _fit(parts: Iterator[dict[str, Any]], room: int) -> tuple[list[dict[str, Any]], bool]:
    """Parts in order as long as they fit, no more being made; and whether all did."""
    kept: list[dict[str, Any]] = []
    for part in parts:
        room -= _bytes(part) + 1
        if room < 0:
            return kept, False
        kept.append(part)
    return kept, True


def _bytes(value: object) -> int:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return len(text.replace("<", "\\u003c").encode("utf-8", "replace"))


def _scores(board: Board, order: Sequence[str]) -> list[dict[str, Any]]:
    """Each task with its scores in the order of the systems."""
    found = []
    for task in board.tasks:
        entries = [board.entries.get((system, task)) for system in order]
        example = next(entry for entry in entries if entry)
        values: dict[str, list[float | None]] = {
            "scores": [entry.score if entry else None for entry in entries],
            "low": [entry.low if entry else None for entry in entries],
            "high": [entry.high if entry else None for entry in entries],
        }
        known = {
            key: column for key, column in values.items() if any(v is not None for v in column)
        }
        unit, packed = pack(known)
        about = {
            "name": task,
            "family": example.family,
            "measure": example.measure,
            "conditions": example.conditions,
            "sign": example.sign,
        }
        found.append({**about, "unit": unit, **packed})
    return found


def pack(columns: Mapping[str, Sequence[float | None]]) -> tuple[float, dict[str, str]]:
    """A unit, and each column as multiples of it in base64."""
    arrays = {
        key: np.array([np.nan if v is None else v for v in column], np.float64)
        for key, column in columns.items()
    }
    most = max((np.nanmax(np.abs(a), initial=0) for a in arrays.values()), default=0)
    unit = 1e-4
    while most / unit > 32767:
        unit *= 10
    return unit, {key: _pack(array, unit) for key, array in arrays.items()}


def _pack(values: Float64, unit: float) -> str:
    whole = np.where(np.isnan(values), MISSING, np.rint(np.nan_to_num(values) / unit))
    return base64.b64encode(whole.astype("<i2").tobytes()).decode()


def _queries(
    board: Board, order: Sequence[str], texts: Texts | None, progress: Progress
) -> Iterator[dict[str, Any]]:
    """Ids and values for each task with scores of single queries of two systems or more.

    Also the texts of the queries on which two of them are most apart.
    """
    for column, task in enumerate(board.tasks):
        progress("queries", column, len(board.tasks), "tasks")
        found: dict[int, dict[str, float]] = {}
        for row, system in enumerate(order):
            own = _values(board.entries.get((system, task)))
            if own and len(found) < COMPARED:
                found[row] = own
        if len(found) < 2:
            continue
        ids = list(dict.fromkeys(id for own in found.values() for id in own))
        columns = {str(row): [own.get(id) for id in ids] for row, own in found.items()}
        unit, packed = pack(columns)
        known = texts(task) if texts else {}
        apart = _most_apart(columns) if known else []
        yield {
            "task": column,
            "unit": unit,
            "ids": ids,
            "values": [[int(row), text] for row, text in packed.items()],
            "texts": {i: known[ids[i]][:TEXT] for i in apart if ids[i] in known},
        }


def _values(entry: BoardEntry | None) -> dict[str, float]:
    """The main measure by query id; empty where a record keeps none."""
    if entry is None or entry.path is None or not entry.path.with_suffix(".parquet").is_file():
        return {}
    try:
        table = records.per_query(entry.path)
    except InputError:
        return {}
    if not {"query_id", entry.measure} <= set(table.column_names):
        return {}
    pairs = zip(*(table[name].to_pylist() for name in ("query_id", entry.measure)), strict=True)
    return {str(id): value for id, value in pairs if value is not None}


def _most_apart(columns: Mapping[str, Sequence[float | None]]) -> list[int]:
    """Rows that the page shows for some two columns, ascending."""
    arrays = [np.array([np.nan if v is None else v for v in c]) for c in columns.values()]
    shown: set[int] = set()
    for one, other in permutations(arrays, 2):
        by = np.rint((one - other) / 1e-4)
        first = np.argsort(-by, kind="stable")[:QUERIES]  # NaN comes last
        shown.update(int(row) for row in first if by[row] > 0)
    return sorted(shown)


def _records(
    board: Board, order: Sequence[str], folder: Path, progress: Progress
) -> Iterator[dict[str, Any]]:
    """What each record says, in the order of the systems."""
    for row, system in enumerate(order):
        progress("records", row, len(order), "systems")
        for column, task in enumerate(board.tasks):
            entry = board.entries.get((system, task))
            if entry is None or entry.path is None:
                continue
            try:
                parts = tables.details(records.load(entry.path))
            except InputError:
                parts = []  # an import: its scores are all that it says
            shown = [
                {
                    "title": part.title,
                    "header": list(part.header),
                    "rows": [list(cells) for cells in part.rows],
                    "numeric": sorted(part.numeric),
                }
                for part in parts
            ]
            path = Path(os.path.relpath(entry.path, folder)).as_posix()
            about = {"system": row, "task": column, "path": path}
            yield {**about, "tables": shown}
