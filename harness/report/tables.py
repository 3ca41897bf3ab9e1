"""Tables of scores, as values, and written as Markdown, CSV, LaTeX, JSON or for a terminal."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from itertools import combinations
from math import inf, isnan
from typing import Any, Literal, get_args

from harness.frames import Table
from harness.kinds import title
from harness.records import Record, Score, System

Format = Literal["terminal", "markdown", "csv", "latex", "json"]
FORMATS: tuple[str, ...] = get_args(Format)
SAID = ("system", "index", "bytes", "counts", "parts")  # of a part, in columns or rows of its own


def scores(records: Sequence[Record], most: int | None = None) -> list[Table]:
    """One table for each main measure: a row per task and model, the best first within a task.

    most: measures shown, at most; a terminal has no room for eight.
    """
    groups: dict[str, list[Record]] = {}
    for record in records:
        groups.setdefault(record.main_measure, []).append(record)
    return [_scores(main, group, most) for main, group in groups.items()]


def _scores(main: str, records: Sequence[Record], most: int | None) -> Table:
    tasks = list(dict.fromkeys(record.task.spec for record in records))
    ordered = sorted(records, key=lambda r: (tasks.index(r.task.spec), _place(r.main.mean)))
    longest_first = sorted(records, key=lambda r: -len(r.scores))
    others = list(dict.fromkeys(name for r in longest_first for name in r.scores if name != main))
    others = others[: most and most - 1]
    indexes = {record.search.spec for record in records if record.search}
    show_index = bool(indexes - {"exact", "given"})
    header = ["task", "model", *(["index"] if show_index else [])]
    first_number = len(header)
    header += [main, "95 % interval", *others, "seconds"]
    rows = [
        [
            record.task.spec,
            label(record),
            *([record.search.spec if record.search else ""] if show_index else []),
            number(record.main.mean),
            interval(record.main),
            *(number(record.scores[n].mean) if n in record.scores else "" for n in others),
            f"{sum(phase.wall_s for phase in record.phases):.1f}",
        ]
        for record in ordered
    ]
    numeric = frozenset(range(first_number, len(header)))
    return Table(title(records[0].task.kind), header, rows, numeric)


def _place(value: float | None) -> float:
    """A key that sorts the highest first, None last."""
    return inf if value is None else -value


def families(records: Sequence[Record]) -> list[Table]:
    """A joint table: each model's mean over the tasks of each family, its rank there, and the mean
    over families; and how far two families agree about the models (Kendall's tau-b).

    A model that lacks a task of a family that others have has no mean there. Nothing to say, and
    no table, for a single family.
    """
    tasks: dict[str, dict[str, None]] = {}
    scores: dict[str, dict[str, float | None]] = {}
    for record in records:
        tasks.setdefault(record.task.family, {})[record.task.spec] = None
        scores.setdefault(record.name, {})[record.task.spec] = record.main.mean
    if len(tasks) < 2:
        return []
    means: dict[str, list[float | None]] = {
        model: [_mean([own.get(task) for task in names]) for names in tasks.values()]
        for model, own in scores.items()
    }
    ranks = [_ranks([row[column] for row in means.values()]) for column in range(len(tasks))]
    overall = {model: _mean(row) for model, row in means.items()}
    order = sorted(means, key=lambda model: _place(overall[model]))
    place = {model: row for row, model in enumerate(means)}
    rows = [
        [
            model,
            *(
                cell
                for column, mean in enumerate(means[model])
                for cell in (number(mean), ranks[column][place[model]])
            ),
            number(overall[model]),
        ]
        for model in order
    ]
    header = ["model"]
    for family, names in tasks.items():
        header += [f"{family}, {len(names)} task{'s' if len(names) > 1 else ''}", "rank"]
    header.append("mean of families")
    joint = Table("Families", header, rows, frozenset(range(1, len(header))))
    agreement = _agreement(list(tasks), list(means.values()))
    return [joint, agreement] if agreement.rows else [joint]


def _agreement(names: Sequence[str], means: Sequence[Sequence[float | None]]) -> Table:
    """Kendall's tau-b of the models' means for every two families that share three models."""
    rows = []
    for (i, one), (j, other) in combinations(enumerate(names), 2):
        both = [(row[i], row[j]) for row in means if row[i] is not None and row[j] is not None]
        if len(both) > 2:
            from scipy.stats import kendalltau

            tau = float(kendalltau(*zip(*both, strict=True)).statistic)
            rows.append([one, other, str(len(both)), number(None if isnan(tau) else tau, 2)])
    header = ["family", "and", "models", "Kendall tau"]
    return Table("Do families agree about the models?", header, rows, frozenset({2, 3}))


def _mean(values: Sequence[float | None]) -> float | None:
    """The mean, None where a value is missing."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if len(known) == len(values) else None


def _ranks(values: Sequence[float | None]) -> list[str]:
    """Places from 1, the highest first, equals sharing the best; a dash for None."""
    known = [value for value in values if value is not None]
    return ["–" if v is None else str(1 + sum(w > v for w in known)) for v in values]


def label(record: Record) -> str:
    """A model's spec and, where its queries were rewritten, how."""
    how = record.rewriting
    return record.system.spec if how is None else f"{record.system.spec} + {how.spec}"


def details(record: Record) -> list[Table]:
    """All that a record holds, as tables."""
    search = record.search
    about = [
        ["task", record.task.spec],
        ["data", record.task.source],
        ["licence", record.task.licence],
        ["model", record.system.spec],
        ["in full", record.system.full],
        ["makes", _makes(record.system)],
        ["similarity", record.system.similarity],
        *([f"prompt ({role})", repr(text)] for role, text in record.system.prompts.items() if text),
        *([["index", search.full], ["depth", str(search.depth)]] if search else []),
        *([["rewriting", record.rewriting.full]] if record.rewriting else []),
        ["evaluated", record.created],
        ["record id", record.id],
        ["bootstrap", ", ".join(f"{key} {value:g}" for key, value in record.bootstrap.items())],
    ]
    scored = [
        [name, number(score.mean, 6), number(score.low, 6), number(score.high, 6)]
        for name, score in record.scores.items()
    ]
    timed = [
        [
            phase.name,
            f"{phase.wall_s:.2f}",
            f"{phase.cpu_s:.2f}",
            f"{phase.peak_mb:,.0f}",
            f"{phase.items / phase.wall_s:,.0f} {phase.unit}/s" if phase.items else "",
        ]
        for phase in record.phases
    ]
    counted = [[name.replace("_", " "), _count(value)] for name, value in record.counts.items()]
    machine = [
        [key.replace("_", " "), _flat(value)]
        for key, value in record.environment.items()
        if value not in (None, [], {})
    ]
    hashes = {**record.task.fingerprint, **record.system.fingerprint}
    machine += [
        [name.replace("_", " "), _flat(value)]
        for name, value in hashes.items()
        if value not in (None, [], {})
    ]
    tables = [
        Table("Evaluation", ["", ""], about),
        Table("Scores", ["measure", "mean", "low", "high"], scored, frozenset({1, 2, 3})),
        Table(
            "Phases",
            ["phase", "wall s", "CPU s", "peak MB", "rate"],
            timed,
            frozenset({1, 2, 3, 4}),
        ),
        Table("Counts", ["", ""], counted, frozenset({1})),
        *_search(record),
        Table("Provenance", ["", ""], machine),
    ]
    if record.warnings:
        tables.insert(1, Table("Warnings", [""], [[warning] for warning in record.warnings]))
    return tables


def _makes(system: System) -> str:
    """What a system makes of texts, or of queries where it only ranks."""
    if system.makes == "run":
        return "rankings"
    return f"{system.makes} vectors, {system.dimension} dimensions"


def _search(record: Record) -> list[Table]:
    """How documents were found: by what, by each part of a system, and what endpoints were paid."""
    found = record.search.details if record.search else {}
    rows = [[name.replace("_", " "), _flat(found[name])] for name in found if name != "parts"]
    parts = [
        [
            name,
            part.get("index", ""),
            _count(part.get("bytes", 0)),
            ", ".join(
                f"{k.replace('_', ' ')} {v:,}" for k, v in part.get("counts", {}).items() if v
            ),
            _flat({key: value for key, value in part.items() if key not in SAID}),
        ]
        for name, part in _parts("", found)
    ]
    paid = [[name.replace("_", " "), f"{value:,g}"] for name, value in record.spent.items()]
    tables = [
        Table("Search", ["", ""], rows),
        Table("Parts", ["part", "index", "bytes", "counted", "more"], parts, frozenset({2})),
        Table("Spent at endpoints", ["", ""], paid, frozenset({1})),
    ]
    return [table for table in tables if table.rows]


def _parts(prefix: str, details: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """Parts of a system and theirs, by the names that its phases have."""
    return [
        each
        for part in details.get("parts", ())
        if isinstance(part, dict) and "system" in part  # a plugin's may be anything
        for name in [prefix + part["system"]]
        for each in [(name, part), *_parts(f"{name}: ", part)]
    ]


def number(value: float | None, digits: int = 4) -> str:
    """A score as text; a dash where it is not defined."""
    return "–" if value is None else f"{value:.{digits}f}"


def interval(score: Score) -> str:
    """An interval as text."""
    return f"[{number(score.low)}, {number(score.high)}]"


def _count(value: int | None) -> str:
    return "not known" if value is None else f"{value:,}"


def _flat(value: object) -> str:
    """A value of JSON as text; what is empty within it is left out."""
    if isinstance(value, dict):
        found = {key: _inner(item) for key, item in value.items()}
        return ", ".join(f"{key} {text}" for key, text in found.items() if text)
    if isinstance(value, list):
        return ", ".join(map(_inner, value))
    if isinstance(value, float):
        return f"{value:,.6g}"
    return f"{value:,}" if type(value) is int else str(value)


def _inner(value: object) -> str:
    text = "" if value is None else _flat(value)
    return f"({text})" if text and isinstance(value, dict | list) else text


def write(tables: Sequence[Table], style: str) -> str:
    """Tables as Markdown, CSV, LaTeX (booktabs) or JSON; text from data is escaped."""
    if style == "json":
        whole = [_plain(table) for table in tables]
        return json.dumps(whole[0] if len(whole) == 1 else whole, indent=2, ensure_ascii=False)
    if style == "csv":
        return "\n".join(map(_csv, tables)).rstrip("\n")
    return "\n\n".join(_tabulated(table, style) for table in tables)


def _plain(table: Table) -> object:
    """Rows as objects by column; without column names, two columns as one object."""
    if any(table.header):
        return [dict(zip(table.header, row, strict=True)) for row in table.rows]
    if len(table.header) == 2:
        return {row[0]: row[1] for row in table.rows}
    return [cell for row in table.rows for cell in row]


def _csv(table: Table) -> str:
    out = io.StringIO()
    header = [table.header] if any(table.header) else []
    csv.writer(out, lineterminator="\n").writerows([*header, *table.rows])
    return out.getvalue()


def _tabulated(table: Table, style: str) -> str:
    from tabulate import tabulate

    align = ["right" if column in table.numeric else "left" for column in range(len(table.header))]
    kind = {"markdown": "pipe", "latex": "latex_booktabs"}[style]
    escaped = {"|": "\\|", "<": "&lt;", "\n": " "} if style == "markdown" else {"\n": " "}
    rows = [[_replaced(cell, escaped) for cell in row] for row in table.rows]
    header = [_replaced(cell, escaped) for cell in table.header]
    text = tabulate(rows, header, tablefmt=kind, colalign=align, disable_numparse=True)
    return f"### {table.title}\n\n{text}" if style == "markdown" else text


def _replaced(text: str, marks: dict[str, str]) -> str:
    for mark, instead in marks.items():
        text = text.replace(mark, instead)
    return text
