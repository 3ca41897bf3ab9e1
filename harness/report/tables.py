"""Tables of scores and records, and tables written as Markdown and LaTeX."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations, pairwise
from math import inf
from typing import Literal, get_args

import numpy as np

from harness.arrays import Float64
from harness.board import joint_sign
from harness.frames import Table
from harness.frames.formats import bounds, number, percent
from harness.kinds import title
from harness.records import PartRecord, Record, SystemRecord, naming
from harness.shown import clean, escape_markdown
from harness.stats import aggregate
from harness.wording import count

Format = Literal["terminal", "markdown", "csv", "latex", "json"]
Named = tuple[str, Record]
"""A record, and what its name needs to be told from those of other systems."""

FORMATS: tuple[str, ...] = get_args(Format)


def scores(records: Sequence[Record], most: int | None = None) -> list[Table]:
    """One table for each main measure: a row per task and model, the best first within a task.

    most: measures shown, at most; a terminal has no room for eight. The title names the others.
    """
    groups: dict[str, list[Named]] = {}
    for name, record in zip(naming.name(records), records, strict=True):
        groups.setdefault(record.main_measure, []).append((name.removeprefix(record.name), record))
    return [_scores(main, group, most) for main, group in groups.items()]


def _scores(main: str, named: Sequence[Named], most: int | None) -> Table:
    records = [record for _, record in named]
    tasks = list(dict.fromkeys(record.task.spec for record in records))
    ordered = sorted(named, key=lambda one: (tasks.index(one[1].task.spec), _place(one[1])))
    longest_first = sorted(records, key=lambda r: -len(r.scores))
    others = list(dict.fromkeys(name for r in longest_first for name in r.scores if name != main))
    others, more = others[: most and most - 1], others[most - 1 :] if most else []
    indexes = {record.index.spec for record in records if record.index}
    show_index = bool(indexes - {"exact"})
    header = ["task", "system", *(["index"] if show_index else [])]
    first_number = len(header)
    header += [main, "95% interval", *others, "seconds"]
    rows = [
        [
            record.task.spec,
            label(record) + apart,
            *([record.index.spec if record.index else ""] if show_index else []),
            number(record.main.mean),
            bounds(record.main.low, record.main.high),
            *(number(record.scores[n].mean) if n in record.scores else "" for n in others),
            f"{sum(phase.wall_s for phase in record.phases):.1f}",
        ]
        for apart, record in ordered
    ]
    numeric = frozenset(range(first_number, len(header)))
    left = f" (+{len(more)} more with --format markdown: {', '.join(more)})" if more else ""
    return Table(title(records[0].task.kind) + left, header, rows, numeric)


def _place(record: Record) -> float:
    """A key that sorts the best first, what is not defined last."""
    return inf if record.main.mean is None else -record.sign() * record.main.mean


def families(records: Sequence[Record]) -> list[Table]:
    """A joint table: each model's mean over the tasks of each family, and the mean over families.

    Also its rank in each, and how far two families agree about the models (Kendall's tau-b). A
    model that lacks a task of a family that others have has no mean there. Nothing to say, and no
    table, for a single family, or where no system has a mean in two of them.
    """
    tasks = dict.fromkeys(record.task.spec for record in records)
    family = {record.task.spec: record.task.family for record in records}
    sign = {record.task.spec: record.sign() for record in records}
    names = naming.name(records)
    named = zip(names, records, strict=True)
    held = {(name, record.task.spec): record.main.mean for name, record in named}
    models = list(dict.fromkeys(names))
    grid = [[held.get((model, task)) for task in tasks] for model in models]
    scores = np.array(grid, np.float64) * [*sign.values()]
    means = aggregate.family_means(scores, [family[task] for task in tasks])
    shared = sum((~np.isnan(own)).astype(int) for own in means.values())
    if len(means) < 2 or np.max(shared) < 2:
        return []
    signs = {name: joint_sign(sign[t] for t in tasks if family[t] == name) for name in means}
    joint = _joint(models, means, [*family.values()], signs)
    agreement = _agreement(means)
    return [joint, agreement] if agreement.rows else [joint]


def _joint(
    models: Sequence[str],
    means: Mapping[str, Float64],
    families: Sequence[str],
    signs: Mapping[str, int],
) -> Table:
    """A row a model, the best mean of families first.

    means: the larger the better. families: of each task. signs: of families, see `joint_sign`.
    """
    overall = np.mean(list(means.values()), axis=0)
    places = {family: aggregate.places(own) for family, own in means.items()}
    rows = [
        [
            models[i],
            *(
                cell
                for family, own in means.items()
                for cell in (number(signs[family] * own[i]), number(places[family][i], 0))
            ),
            number(joint_sign(signs.values()) * overall[i]),
        ]
        for i in np.argsort(-overall, kind="stable")  # NaN comes last
    ]
    header = ["system"]
    for family in means:
        header += [f"{family}, {count(families.count(family), 'task')}", "rank"]
    header.append("mean of families")
    return Table("Families", header, rows, frozenset(range(1, len(header))))


def _agreement(means: Mapping[str, Float64]) -> Table:
    """Kendall's tau-b of the models' means for every two families that share three models."""
    rows = []
    for (one, first), (other, second) in combinations(means.items(), 2):
        both = ~np.isnan(first) & ~np.isnan(second)
        if both.sum() > 2:
            tau = aggregate.kendall_tau(first[both], second[both])
            rows.append([one, other, str(int(both.sum())), number(tau, 2)])
    header = ["family", "and", "systems", "Kendall tau"]
    return Table("Do families agree about the systems?", header, rows, frozenset({2, 3}))


def label(record: Record) -> str:
    """A model's spec and, where its queries were rewritten, how."""
    how = record.rewriting
    return record.system.spec if how is None else f"{record.system.spec} + {how.spec}"


def details(record: Record) -> list[Table]:
    """All that a record holds, as tables."""
    tables = [
        Table("Evaluation", ["", ""], _about(record)),
        *([Table("Warnings", [""], [[w] for w in record.warnings])] if record.warnings else []),
        _estimates(record),
        _phases(record),
        Table("Counts", ["", ""], _list_counts(record.counts), frozenset({1})),
        Table("Index", ["", ""], _list_search(record)),
        _parts(record),
        Table("Used at endpoints", ["", ""], _list_usage(record.usage), frozenset({1})),
        Table("Provenance", ["", ""], _provenance(record)),
    ]
    optional = ("Index", "Parts", "Used at endpoints")
    return [table for table in tables if table.rows or table.title not in optional]


def _about(record: Record) -> list[list[str]]:
    """What was evaluated, when and how."""
    index, system = record.index, record.system
    return [
        ["task", record.task.spec],
        ["data", record.task.source],
        ["license", record.task.license],
        ["system", system.spec],
        ["in full", system.full],
        ["makes", _representation(system)],
        *([["similarity", system.similarity]] if system.similarity else []),
        *_prompts(system),
        *([["parameters", _count(system.parameters)]] if system.parameters else []),
        *([["index", index.full]] if index else []),
        *([["depth", str(record.depth)]] if record.depth else []),
        *([["rewriting", record.rewriting.full]] if record.rewriting else []),
        ["evaluated", record.created],
        ["record id", record.id],
        ["bootstrap", ", ".join(f"{key} {value:,g}" for key, value in record.bootstrap.items())],
    ]


def _prompts(system: SystemRecord) -> list[list[str]]:
    """What is put before texts in each role, and what that prompt is called."""
    return [
        [f"prompt ({role})", f"{text!r} ({name})" if (name := names.get(role)) else repr(text)]
        for names in [system.prompt_names]
        for role, text in system.prompts.items()
        if text
    ]


def _representation(system: SystemRecord) -> str:
    """What a system makes of texts, or of queries where it only ranks."""
    if system.representation is None:
        return "rankings"
    return f"{system.representation} vectors, {count(system.dim or 0, 'dimension')}"


def _estimates(record: Record) -> Table:
    rows = [
        [name, number(score.mean, 6), number(score.low, 6), number(score.high, 6)]
        for name, score in record.scores.items()
    ]
    return Table("Scores", ["measure", "mean", "low", "high"], rows, frozenset({1, 2, 3}))


def _phases(record: Record) -> Table:
    rows = [
        [
            phase.label,
            f"{phase.wall_s:.2f}",
            f"{phase.cpu_s:.2f}",
            f"{phase.peak_mb:,.0f}",
            f"{phase.items / phase.wall_s:,.0f} {phase.unit}/s"
            if phase.items and phase.wall_s > 0
            else "",
        ]
        for phase in record.phases
    ]
    header = ["phase", "wall s", "CPU s", "peak MB", "rate"]
    return Table("Phases", header, rows, frozenset({1, 2, 3, 4}))


def _list_counts(counts: Mapping[str, int | None]) -> list[list[str]]:
    return [[name.replace("_", " "), _count(value)] for name, value in counts.items()]


def _list_search(record: Record) -> list[list[str]]:
    """How documents were found."""
    index, latency = record.index, record.latency
    rows = [["exact", _flat(index.exact)]] if index else []
    if index and index.bytes is not None:
        rows.append(["bytes", _count(index.bytes)])
    if index and index.reused is not None:
        rows.append(["reused", _flat(index.reused)])
    if index and index.device:
        rows.append(["searched on", index.device])
    rows += [[key, _flat(value)] for key, value in index.library.items()] if index else []
    rows += [["candidates", "of the task"]] if record.candidates else []
    rows += [["weights", _flat(record.weights)]] if record.weights else []
    if record.ties:
        rows.append(["ties at the cut-off", f"{percent(record.ties)} of the queries"])
    if latency:
        asked = f"p50 {latency.p50_ms:,.6g}, p95 {latency.p95_ms:,.6g}"
        rows.append(["latency ms", f"{asked}, queries {latency.queries:,}"])
    return [[name.replace("_", " "), value] for name, value in rows]


def _parts(record: Record) -> Table:
    """Each part of a system alone, by the names that its phases have."""
    rows = [
        [
            part.system,
            part.index.full if part.index else "",
            _count(part.bytes or 0),
            ", ".join(f"{k.replace('_', ' ')} {v:,}" for k, v in part.counts.items() if v),
            _more(part),
        ]
        for part in record.parts
    ]
    return Table("Parts", ["part", "index", "bytes", "counted", "more"], rows, frozenset({2}))


def _more(part: PartRecord) -> str:
    """What a part tells that has no column."""
    index, found = part.index, dict[str, object]()
    if index:
        found = {"exact": index.exact, "reused": index.reused, **index.library}
    found |= {"weights": part.weights or None, "used": part.usage or None}
    return _flat(found)


def _list_usage(usage: Mapping[str, float]) -> list[list[str]]:
    return [[name.replace("_", " "), f"{value:,g}"] for name, value in usage.items()]


def _provenance(record: Record) -> list[list[str]]:
    """Machine and versions, and what identifies data and system."""
    makers = {f"maker {i}": maker for i, maker in enumerate(record.makers, 1)}
    known = {
        **record.environment.model_dump(),
        **makers,
        **record.task.fingerprint,
        **record.system.fingerprint,
    }
    return [
        [key.replace("_", " "), _flat(value)]
        for key, value in known.items()
        if value not in (None, [], {})
    ]


def spans(numbers: Sequence[int]) -> str:
    """Return ascending numbers as text, those in a row as a span: 1–3, 7."""
    if not numbers:
        return ""
    breaks = [0, *(i for i, (a, b) in enumerate(pairwise(numbers), 1) if b != a + 1), len(numbers)]
    parts = [numbers[start:end] for start, end in pairwise(breaks)]
    return ", ".join(str(part[0]) if len(part) == 1 else f"{part[0]}–{part[-1]}" for part in parts)


def _count(value: int | None) -> str:
    return "not known" if value is None else f"{value:,}"


def _flat(value: object) -> str:
    """A value of JSON as text; what is empty within it is left out."""
    if isinstance(value, dict):
        found = {key: _inner(item) for key, item in value.items()}
        return ", ".join(f"{key} {text}" for key, text in found.items() if text)
    if isinstance(value, list):
        return ", ".join(map(_inner, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.6g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _inner(value: object) -> str:
    text = "" if value is None else _flat(value)
    return f"({text})" if text and isinstance(value, dict | list) else text


def write(tables: Sequence[Table], style: str, mark: Callable[[str], str] = escape_markdown) -> str:
    """Tables as Markdown or LaTeX (booktabs); text from data is escaped.

    mark: what becomes of a text in Markdown.
    """
    if style == "latex":
        return "\n\n".join(_tabulate(table, "latex_booktabs", clean) for table in tables)
    return "\n\n".join(
        f"### {mark(table.title)}\n\n" + _tabulate(table, "pipe", lambda t: _escape_pipes(mark(t)))
        for table in tables
    )


def _tabulate(table: Table, kind: str, mark: Callable[[str], str]) -> str:
    from tabulate import tabulate

    align = ["right" if column in table.numeric else "left" for column in range(len(table.header))]
    header, *rows = [[mark(cell) for cell in row] for row in (table.header, *table.rows)]
    return str(tabulate(rows, header, tablefmt=kind, colalign=align, disable_numparse=True))


def _escape_pipes(text: str) -> str:
    return text.replace("|", "\\|")
