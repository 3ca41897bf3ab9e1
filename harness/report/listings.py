"""What there is: tasks and suites, encoders, indexes, the store, samples of a task."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from harness.frames import Column, Frame, Table
from harness.indexes import hnsw
from harness.kinds import KINDS
from harness.measures import definitions
from harness.registry import Registry
from harness.report.data import SCHEMA
from harness.sources import SOURCES
from harness.store import Store
from harness.tasks import catalog
from harness.zoo import models

NUMBER = re.compile(r"-?\d[\d,]*(\.\d+)?")
EXCERPT = 160  # characters


def tasks() -> list[Frame]:
    """All tasks, all suites, and the sources that take data of one's own."""
    listed = [
        (
            d.name, d.family, d.documents, d.queries, d.pairs,
            d.measures[0] if d.measures else "", d.license, d.description, d.reference,
        )
        for d in catalog.definitions().values()
    ]  # fmt: skip
    columns = [
        Column("task"), Column("family"), Column("documents", "count"), Column("queries", "count"),
        Column("pairs", "count"), Column("measure"), Column("license"), Column("what"),
        Column("reference", "link"),
    ]  # fmt: skip
    suites = [
        (s.name, len(s.tasks), ", ".join(s.tasks), s.description) for s in catalog.suites().values()
    ]
    held = [Column("suite"), Column("tasks", "count"), Column("holds"), Column("what")]
    return [
        Frame("Tasks", columns, listed, name="tasks"),
        Frame("Suites", held, suites, name="suites"),
        registry("Sources (data of your own)", SOURCES, "sources"),
    ]


def task(asked: catalog.TaskEntry) -> list[Table]:
    """One task: what it is, counted from its data, and samples of it."""
    data = asked.load()
    definition = asked.definition
    about = [
        ["what", asked.describe(data)],
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


def card(tables: Sequence[Table]) -> dict[str, object]:
    """What `task` says, as a document."""
    about, samples = tables
    rows = [
        {
            name: _read(cell) if column in samples.numeric else cell
            for column, (name, cell) in enumerate(zip(samples.header, row, strict=True))
        }
        for row in samples.rows
    ]
    named = {"task": about.title, **{name: _read(cell) for name, cell in about.rows}}
    return {"schema": SCHEMA, "task": named, "samples": rows}


def _read(text: str) -> str | float:
    """A number where a text is one and nothing else, as 1,000."""
    plain = text.replace(",", "") if NUMBER.fullmatch(text) else ""
    return (float(plain) if "." in plain else int(plain)) if plain else text


def measures() -> list[Frame]:
    """All measures, by kind of task, with what else each is called."""
    rows = [
        (
            one.written,
            one.kind,
            one.better,
            ", ".join(name + (f" (@{k})" if k else "") for name, k in one.others.items()),
            one.citation,
            " ".join(one.summary.split()),
        )
        for one in sorted(definitions(), key=lambda one: one.kind != "retrieval")
    ]
    header = ["measure", "kind", "better", "also", "defined by", "what"]
    return [Frame("Measures", [Column(name) for name in header], rows, name="measures")]


def _excerpt(text: str) -> str:
    return textwrap.shorten(text, EXCERPT, placeholder=" …")


def registry(title: str, known: Registry[Any], name: str) -> Frame:
    """Names with parameters and defaults; short names with what they stand for."""
    rows = []
    for entry in known.entries():
        spelled = f"{entry.name}:{entry.target.name.upper()}" if entry.target else entry.name
        written = [
            key if parameter.default is inspect.Parameter.empty else f"{key}={parameter.default}"
            for key, parameter in entry.parameters.items()
            if parameter.default is not None
        ]
        optional = [key for key, p in entry.parameters.items() if p.default is None]
        rows.append((spelled, ", ".join([*written, *optional]), entry.summary))
    rows += [(short, "", f"short for {spec}") for short, spec in known.aliases().items()]
    columns = [Column("name"), Column("parameters"), Column("what")]
    return Frame(title, columns, sorted(rows), name=name)


def zoo() -> Frame:
    """Models that packages hold, and whether they are here."""
    rows = [
        (m.name, m.kind, m.download_mb, m.where, m.spec, m.license, m.note)
        for m in models().values()
    ]
    columns = [
        Column("name"), Column("kind"), Column("MB", "number"), Column("where"), Column("spec"),
        Column("license"), Column("what"),
    ]  # fmt: skip
    return Frame("Zoo (harness models pull NAME)", columns, rows, name="zoo")


def presets() -> Frame:
    """What vector databases build and search with if nothing is said."""
    rows = [
        (f"hnsw,like={name}", p.M, p.ef_construction, p.ef(10), p.ef(100), p.source)
        for name, p in hnsw.presets().items()
    ]
    counts = ["M", "ef_construction", "ef_search at k=10", "ef_search at k=100"]
    columns = [Column("preset"), *(Column(name, "count") for name in counts)]
    columns.append(Column("source", "link"))
    return Frame("Presets", columns, rows, name="presets")


def spaces(store: Store) -> Frame:
    """What a store holds, the least recently used first."""
    rows = []
    for space in store.spaces():
        about = space.description
        used = f"{datetime.fromtimestamp(space.used):%Y-%m-%d %H:%M}"
        which = about["label"], about["role"], about["prompt"]
        rows.append((space.path.name[:8], *which, space.texts, space.bytes, used))
    columns = [
        Column("space"), Column("encoder"), Column("role"), Column("prompt"),
        Column("texts", "count"), Column("bytes", "bytes"), Column("used"),
    ]  # fmt: skip
    return Frame(str(store.root), columns, rows, name="spaces")
