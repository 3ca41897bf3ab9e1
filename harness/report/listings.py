"""What there is: tasks and suites, encoders, indexes, the store, samples of a task."""

from __future__ import annotations

import inspect
import textwrap
from datetime import datetime
from typing import Any

from harness.frames import Table
from harness.indexes import hnsw
from harness.kinds import KINDS
from harness.measures import definitions
from harness.registry import Registry
from harness.sources import SOURCES
from harness.store import Store
from harness.tasks import catalog
from harness.zoo import models

EXCERPT = 160  # characters


def tasks() -> list[Table]:
    """All tasks, all suites, and the sources that take data of one's own."""
    rows = [
        [d.name, d.family, _size(d), d.measures[0] if d.measures else "", d.license, d.description]
        for d in catalog.definitions().values()
    ]
    header = ["task", "family", "size", "measure", "license", "what"]
    suites = [
        [s.name, str(len(s.tasks)), _excerpt(", ".join(s.tasks)), s.description]
        for s in catalog.suites().values()
    ]
    return [
        Table("Tasks", header, rows),
        Table("Suites", ["suite", "tasks", "first ones", "what"], suites, frozenset({1})),
        registry("Sources (data of your own)", SOURCES),
    ]


def _size(definition: catalog.Definition) -> str:
    parts = {
        "documents": definition.documents,
        "queries": definition.queries,
        "pairs": definition.pairs,
    }
    return ", ".join(f"{count:,} {noun}" for noun, count in parts.items() if count is not None)


def task(asked: catalog.TaskEntry) -> list[Table]:
    """One task: what it is, counted from its data, and samples of it."""
    data = asked.load()
    definition = asked.definition
    about = [
        ["what", definition.description],
        ["family", definition.family or data.kind],
        ["license", definition.license or data.origin.license],
        ["reference", definition.reference or data.origin.reference],
        ["source", str(asked.source)],
        ["measures", ", ".join(map(str, asked.measures(data)))],
    ]
    described = KINDS.create(data.kind).describe(data)
    rows = [row for row in [*about, *map(list, described.counts.items())] if row[1]]
    samples = [[*map(_excerpt, row)] for row in described.samples]
    return [
        Table(asked.spec, ["", ""], rows),
        Table("Samples", list(described.columns), samples, described.numeric),
    ]


def measures() -> list[Table]:
    """All measures, by kind of task, with what else each is called."""
    rows = [
        [
            one.written,
            one.kind,
            one.better,
            ", ".join(name + (f" (@{k})" if k else "") for name, k in one.others.items()),
            one.citation,
            " ".join(one.summary.split()),
        ]
        for one in sorted(definitions(), key=lambda one: one.kind != "retrieval")
    ]
    header = ["measure", "kind", "better", "also", "defined by", "what"]
    return [Table("Measures", header, rows)]


def _excerpt(text: str) -> str:
    return textwrap.shorten(text, EXCERPT, placeholder=" …")


def registry(title: str, known: Registry[Any]) -> Table:
    """Names with parameters and defaults; short names with what they stand for."""
    rows = []
    for entry in known.entries():
        name = f"{entry.name}:{entry.target.name.upper()}" if entry.target else entry.name
        written = [
            key if parameter.default is inspect.Parameter.empty else f"{key}={parameter.default}"
            for key, parameter in entry.parameters.items()
            if parameter.default is not None
        ]
        optional = [key for key, p in entry.parameters.items() if p.default is None]
        rows.append([name, ", ".join([*written, *optional]), entry.summary])
    for name, spec in known.aliases().items():
        rows.append([name, "", f"short for {spec}"])
    return Table(title, ["name", "parameters", "what"], sorted(rows))


def zoo() -> Table:
    """Models that packages hold, and whether they are here."""
    rows = [
        [m.name, m.kind, f"{m.download_mb:g}", m.where, m.spec, m.license, m.note]
        for m in models().values()
    ]
    header = ["name", "kind", "MB", "where", "spec", "license", "what"]
    return Table("Zoo (harness models pull NAME)", header, rows, frozenset({2}))


def presets() -> Table:
    """What vector databases build and search with if nothing is said."""
    rows = [
        [
            f"hnsw,like={name}",
            str(p.M),
            str(p.ef_construction),
            str(p.ef(10)),
            str(p.ef(100)),
            p.source,
        ]
        for name, p in hnsw.presets().items()
    ]
    header = ["preset", "M", "ef_construction", "ef_search at k=10", "at k=100", "source"]
    return Table("Presets", header, rows, frozenset({1, 2, 3, 4}))


def spaces(store: Store) -> Table:
    """What a store holds, the least recently used first."""
    rows = []
    for space in store.spaces():
        about = space.description
        rows.append(
            [
                space.path.name[:8],
                about["label"],
                about["role"],
                about["prompt"],
                f"{space.texts:,}",
                f"{space.bytes / 1e6:,.1f}",
                f"{datetime.fromtimestamp(space.used):%Y-%m-%d %H:%M}",
            ]
        )
    header = ["space", "encoder", "role", "prompt", "texts", "MB", "used"]
    return Table(str(store.root), header, rows, frozenset({4, 5}))
