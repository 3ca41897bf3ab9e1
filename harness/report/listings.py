"""What there is: tasks and suites, encoders, indexes, the store, samples of a task."""

from __future__ import annotations

import inspect
import textwrap
from datetime import datetime
from typing import Any

import numpy as np

from harness import catalog
from harness.data import Classification, Clustering, Data, Pairs, Retrieval, Summaries
from harness.indexes import hnsw
from harness.measures.graph import qrel_graph
from harness.report.tables import Table
from harness.sources import SOURCES
from harness.spec import Registry
from harness.store import Store
from harness.zoo import models

SAMPLES = 3
EXCERPT = 160  # characters


def tasks() -> list[Table]:
    """All tasks, all suites, and the sources that take data of one's own."""
    rows = [
        [d.name, d.family, _size(d), d.measures[0] if d.measures else "", d.licence, d.description]
        for d in catalog.definitions().values()
    ]
    header = ["task", "family", "size", "measure", "licence", "what"]
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


def task(asked: catalog.Task) -> list[Table]:
    """One task: what it is, counted from its data, and samples of it."""
    data = asked.load()
    definition = asked.definition
    about = [
        ["what", definition.description],
        ["family", definition.family or data.kind],
        ["licence", definition.licence or data.origin.licence],
        ["reference", definition.reference or data.origin.reference],
        ["source", str(asked.source)],
        ["measures", ", ".join(map(str, asked.measures(data)))],
    ]
    counted, samples = _described(data)
    rows = [row for row in [*about, *counted] if row[1]]
    return [Table(asked.spec, ["", ""], rows), samples]


def _described(data: Data) -> tuple[list[list[str]], Table]:
    """Counts and samples of a task's data."""
    if isinstance(data, Retrieval):
        return _retrieval(data)
    if isinstance(data, Pairs):
        return _pairs(data)
    if isinstance(data, Summaries):
        return _summaries(data)
    return _labelled(data)


def _labelled(data: Classification | Clustering) -> tuple[list[list[str]], Table]:
    if isinstance(data, Classification):
        texts, labels = data.test.texts, data.test.labels
        counted = [
            ["training texts", f"{len(data.train):,}"],
            ["test texts", f"{len(data.test):,}"],
        ]
    else:
        texts, labels = data.texts, [label or "" for label in data.levels[0]]
        counted = [["texts", f"{len(texts):,}"], ["levels", str(len(data.levels))]]
    counted.append(["labels", f"{len(set(labels)):,}"])
    rows = [[labels[i], _excerpt(texts[i])] for i in range(min(SAMPLES, len(texts)))]
    return counted, Table("Samples", ["label", "text"], rows)


def _summaries(data: Summaries) -> tuple[list[list[str]], Table]:
    machine = sum(map(len, data.machine))
    counted = [["texts", f"{len(data.human):,}"], ["machine summaries", f"{machine:,}"]]
    rows = [
        [f"{data.ratings[i][0]:g}", _excerpt(data.machine[i][0]), _excerpt(data.human[i][0])]
        for i in range(min(SAMPLES, len(data.human)))
    ]
    return counted, Table("Samples", ["rating", "machine", "human"], rows, frozenset({0}))


def _retrieval(data: Retrieval) -> tuple[list[list[str]], Table]:
    lengths = [len(text) for text in data.corpus.texts]
    relevant = np.bincount(data.qrels.query_rows, data.qrels.gains > 0, minlength=len(data.queries))
    graph = qrel_graph(data.qrels)
    passages = "" if data.corpus.parents is None else f" of {len(data.corpus):,} passages"
    size = f"{len(data.corpus.ranked):,}{passages}, {np.mean(lengths):,.0f} characters on average"
    counted = [
        ["documents", size],
        ["queries", f"{len(data.queries):,}, {int(data.qrels.judged.sum()):,} of them judged"],
        ["relevant", f"{relevant[data.qrels.judged].mean():.2f} documents a judged query"],
        ["average query strength", f"{graph.strength:.4f}"],
        ["query graph density", f"{graph.density:.6f}, of documents {graph.document_density:.6f}"],
    ]
    rows, parents = [], data.corpus.parents
    for query in np.flatnonzero(data.qrels.judged)[:SAMPLES]:
        own = slice(data.qrels.indptr[query], data.qrels.indptr[query + 1])
        judged = zip(data.qrels.docs[own], data.qrels.gains[own], strict=True)
        for doc, gain in sorted(judged, key=lambda pair: -pair[1])[:SAMPLES]:
            found, name = "(not in the corpus)", "?"
            if doc >= 0:
                first = doc if parents is None else int((parents == doc).argmax())
                found, name = data.corpus.texts[first], data.corpus.ranked[doc]
            rows.append([_excerpt(data.queries.texts[query]), f"{gain:g}", name, _excerpt(found)])
    return counted, Table("Samples", ["query", "gain", "document", "text"], rows, frozenset({1}))


def _pairs(data: Pairs) -> tuple[list[list[str]], Table]:
    counted = [["pairs", f"{len(data):,}, gold from {data.gold.min():g} to {data.gold.max():g}"]]
    rows = [
        [f"{data.gold[i]:g}", _excerpt(data.left[i]), _excerpt(data.right[i])]
        for i in range(min(SAMPLES, len(data)))
    ]
    return counted, Table("Samples", ["gold", "one", "other"], rows, frozenset({0}))


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
        [m.name, m.kind, f"{m.download_mb:g}", m.where, m.spec, m.licence, m.note]
        for m in models().values()
    ]
    header = ["name", "kind", "MB", "where", "spec", "licence", "what"]
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
