"""How well cheap candidates stand in for MaxSim: encodings of one vector, and single tokens.

For each query the document that exact MaxSim ranks first is looked for among candidates, as in
tables 1 and 2 of MUVERA (Dhulipala et al. 2024, arXiv 2405.19504): 1Recall@N is the share of
queries that have it among the first N, and the candidates to reach a share are the least such N.
Candidates come in the order of the encodings' products, or from what is usual without encodings:
each vector of a query finds its nearest among the vectors of all documents, round by round.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar

from harness.analysis.candidates import (
    draw,
    enough_for,
    enough_interval,
    first_ranks,
    found_within,
    token_search,
)
from harness.arrays import Int64
from harness.errors import InputError
from harness.frames import Column, Frame
from harness.frames.charts import Lines
from harness.indexes import INDEXES, ragged
from harness.indexes.muvera import Muvera
from harness.measures.neighbours import neighbour_recall
from harness.progress import silent
from harness.session import Session
from harness.stats import Estimate
from harness.studies import STUDIES, Findings, Study
from harness.tasks.vectors import TaskVectors
from harness.vectors import MultiVector, Run
from harness.wording import count

SETTINGS = tuple(
    f"muvera,repetitions=20,bits={bits},projection_dim={dim}"
    for bits, dim in ((3, 8), (4, 8), (5, 8), (5, 16))  # the paper's best for their size
)
REPEATS, ONCE = "token search, documents counted again", "token search, documents counted once"
DEPTHS = tuple(step * 10**power for power in range(5) for step in (1, 2, 5))
SHARES = (0.8, 0.85, 0.9, 0.95)  # of queries
NEAR = 10  # neighbours that recall is of
QUERIES = 1000  # at most
LARGEST = 10_000_000  # vectors of documents: token search compares with all at once

NAME = Column("candidates", about="where they come from: an index of encodings, or token search")
WAYS = [
    Column("dim", "count", about="dimensions of an encoding"),
    Column("bytes", "bytes", "low", "what is searched for candidates"),
    Column("of the vectors'", "number", "low", "these bytes over those of all vectors", digits=2),
    Column("recall", "estimate", "high", f"of the {NEAR} nearest by MaxSim in {NEAR} candidates"),
]
NEEDED = [
    NAME,
    *(Column(f"{share:.0%}", "count", "low") for share in SHARES),
    Column("from", "count", about=f"where the 95% interval of those for {SHARES[-1]:.0%} begins"),
    Column("to", "count", about="where it ends; – for more than were looked at"),
]
LAST = NEEDED[len(SHARES)].name
CURVES = [
    NAME,
    Column("kind"),
    Column("candidates looked at", "count"),
    Column("first document among them", "share", "high"),
]


@dataclass(frozen=True)
class _Way:
    """Candidates of one kind: what they take, and how many each query needs [q]."""

    name: str
    bytes: int
    needed: Int64
    dim: int | None = None
    recall: Estimate | None = None


@STUDIES.register("proxy")
@dataclass(frozen=True)
class Proxy(Study):
    """How many candidates MaxSim needs: of MUVERA's encodings, and of single tokens.

    The model makes a vector a token (colbert:...). Up to 1,000 queries are asked, drawn with the
    seed.
    """

    takes = "one"
    default_systems: ClassVar[tuple[str, ...]] = ("colbert:minilm",)
    old_options: ClassVar[Mapping[str, str]] = {"--index": "indexes", "-i": "indexes"}

    indexes: Annotated[
        tuple[str, ...],
        "settings of MUVERA to try, each as [muvera,bits=4]; their rerank_depth is ignored",
    ] = SETTINGS

    def run(self, session: Session, systems: Sequence[str], task: str) -> Findings:
        """Look for each query's first document by MaxSim among the candidates of each index.

        Raises:
            InputError: for a model without several vectors a text, a task that is not retrieval,
                an index that is not muvera, more than ten million vectors, and what has none; else
                what encoder, store and indexes raise.
        """
        indexes = {spec: _muvera(spec) for spec in self.indexes}
        made, notes = _vectors(session, systems[0], task)
        parts = made.several
        documents, n = parts["documents"], len(parts["documents"])
        deepest = min(n, DEPTHS[-1])
        truth = session.search(made, min(2 * NEAR, n))
        ways = []
        for done, (spec, index) in enumerate(indexes.items()):
            session.progress("encode", done, len(indexes), "indexes")
            run, size, more = _search(index, parts, deepest)
            notes += more
            recall = session.estimate(neighbour_recall(run, truth, NEAR))
            dim = index.plan.dim(documents.dim)
            ways.append(_Way(spec, size, first_ranks(run, truth), dim, recall))
        counted = token_search(parts["queries"], documents, truth, session.progress)
        for name, counts in zip((REPEATS, ONCE), counted, strict=True):
            ways.append(_Way(name, documents.bytes, counts))
        frames = _frames(ways, made, deepest)
        said = headline(f"{made.model} on {task}", frames[0], frames[1], deepest)
        return Findings(said, frames, [_chart(frames[2])], notes)


def _muvera(spec: str) -> Muvera:
    """The index that a spec names, its libraries there. Raises InputError."""
    index = INDEXES.create(spec)
    if not isinstance(index, Muvera):
        raise InputError(f"index {spec} makes no encodings: expected muvera,...")
    index.require("multi-vector")
    return index


def _vectors(session: Session, model: str, task: str) -> tuple[TaskVectors, list[str]]:
    """Vectors of the documents and queries that have some, of so many queries; and notes."""
    made = session.vectors(model, task, representations=("multi-vector",))
    if "documents" not in made.parts:
        raise InputError(f"{task} is a task of {made.task.data.kind}: expected retrieval")
    parts = {name: ragged.drop_empty(part)[1] for name, part in made.several.items()}
    tokens, of = len(parts["documents"].values), len(parts["queries"])
    if not len(parts["documents"]) or not of:
        raise InputError(f"{task}: no document or no query has vectors: nothing to measure")
    if tokens > LARGEST:
        raise InputError(f"{task}: {tokens:,} vectors of documents: expected at most {LARGEST:,}")
    notes = list(made.notes)
    if of > QUERIES:
        parts["queries"] = draw(parts["queries"], QUERIES, session.seed)
        notes.append(f"queries: {QUERIES:,} of {of:,}, drawn")
    return replace(made, parts=parts), notes


def _search(
    index: Muvera, parts: Mapping[str, MultiVector], k: int
) -> tuple[Run, int, Sequence[str]]:
    """The order of encodings [q, k]; bytes that are searched; what was noticed."""
    searcher = replace(index, rerank_depth=0).open(parts["documents"])
    run, info = searcher.search(parts["queries"], k, silent).run, searcher.info
    return run, info.bytes or 0, info.notes


def _frames(ways: Sequence[_Way], made: TaskVectors, deepest: int) -> list[Frame]:
    """What candidates find, how many are needed, and all that is drawn."""
    documents, queries = made.several["documents"], made.several["queries"]
    depths = [depth for depth in DEPTHS if depth <= deepest]
    shown = [depth for depth in depths if str(depth).strip("0") == "1"]
    title = (
        f"{made.model} on {made.task.name}: share of {count(len(queries), 'query')} whose first of "
        f"{count(len(documents), 'document')} by MaxSim is among N candidates "
        f"({count(len(documents.values), 'vector')} of {count(documents.dim, 'dimension')}, "
        f"{queries.lengths.mean():.1f} of a query)"
    )
    columns = [NAME, *WAYS, *(Column(f"1Recall@{depth:,}", "share", "high") for depth in shown)]
    found = [
        (way.name, way.dim, way.bytes, way.bytes / documents.bytes, way.recall,
         *found_within(way.needed, shown))
        for way in ways
    ]  # fmt: skip
    needed = [
        (way.name, *enough_for(way.needed, SHARES), *enough_interval(way.needed, SHARES[-1]))
        for way in ways
    ]
    curves: list[tuple[Any, ...]] = [
        (way.name, "token search" if way.dim is None else "encodings", depth, share)
        for way in ways
        for depth, share in zip(depths, found_within(way.needed, depths), strict=True)
    ]
    about = f"Candidates for a share of queries to have their first; –: more than {deepest:,}"
    return [
        Frame(title, columns, found, name="found"),
        Frame(about, NEEDED, needed, name="needed"),
        Frame("1Recall by candidates", CURVES, curves, name="curves", shown=False),
    ]


def _chart(curves: Frame) -> Lines:
    return Lines(
        curves, "candidates looked at", "first document among them", "candidates", "kind",
        log="x", title="share of queries whose first document by MaxSim is among the candidates",
    )  # fmt: skip


def headline(what: str, found: Frame, needed: Frame, deepest: int) -> str:
    """Candidates for 95% of queries: of the encodings that need fewest, and of token search."""
    dims = dict(zip(found["candidates"], found["dim"], strict=True))
    rows = needed.records()
    known = [row for row in rows if row[LAST] is not None and dims[row["candidates"]] is not None]
    [once] = needed.where("candidates", ONCE).records()
    said = f"{what}, {LAST} of queries"
    if not known:
        return f"{said}: no encoding has their first document among {deepest:,}"
    least = min(known, key=lambda row: (row[LAST], dims[row["candidates"]]))
    return (
        f"{said}: {_tell(least, deepest)} of {dims[least['candidates']]:,}-d encodings, "
        f"{_tell(once, deepest)} of token search"
    )


def _tell(row: Mapping[str, Any], deepest: int) -> str:
    """Candidates for the last share, with their interval."""
    most = f"more than {deepest:,}" if row["to"] is None else f"{row['to']:,}"
    return f"{count(row[LAST], 'candidate')} ({row['from']:,} to {most})"
