"""How a model's score falls as its corpus grows, beside BM25's; and what chance explains of it.

The corpora are nested: the judged documents are in all of them, and a larger one holds the
distractors of every smaller one (Reimers and Gurevych 2021, "The Curse of Dense Low-Dimensional
Information Retrieval for Large Index Sizes"). BM25 weighs terms by the corpus, so it is built anew
for each size. By chance: queries that would have a document nearer than the nearest relevant one
if all others were random directions (spherical caps).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar

import numpy as np

from harness.analysis import nested
from harness.analysis.chance import wrong_by_chance
from harness.analysis.crossing import crossing
from harness.analysis.nested import Nested
from harness.arrays import Float64, Int64
from harness.encoders import CollectionEncoder
from harness.errors import InputError
from harness.frames import Column, Frame
from harness.frames.charts import Lines, Reference
from harness.frames.formats import percent
from harness.measures.asked import Measure
from harness.pipeline.retrieve import drop_self
from harness.session import Session
from harness.spec import bare
from harness.studies import STUDIES, Findings, Study
from harness.tasks import Task
from harness.vectors import Dense, Embeddings, Representation
from harness.wording import count

BASELINE = "bm25"
UNSURE = 0.05  # of resamples: from here on another draw of queries may say otherwise
KINDS: tuple[Representation, ...] = ("dense", "sparse", "multi-vector")
SUCCESS = Measure("Success", 1)
OTHERS = {"corpus": "of the task in a random order", "random": "random strings"}
POINTS = [
    Column("curve"),
    Column("model"),
    Column("dimensions", "count", about="compared; – for vectors over a vocabulary"),
    Column("documents", "count"),
    Column("score", "estimate", "high"),
    Column("wrong", "share", "low", "queries whose first result is not relevant"),
    Column("by chance", "number", about="share of queries, were all others random directions"),
]
CROSSINGS = [
    Column("curve"),
    Column("leads first", about="empty where the curves are equal"),
    Column("documents", "number", about="where they change places; – where they do not", digits=0),
    Column("from", "number", about="95% interval over queries; – beyond the sizes", digits=0),
    Column("to", "number", digits=0),
    Column("leads then"),
    Column("resamples cross", "share", about="of the queries, in which the leader changes"),
]
ERRORS = [*(POINTS[at] for at in (0, 3)), Column("what"), POINTS[5]]


@dataclass(frozen=True)
class Growth:
    """A model at every size.

    dim: dimensions that its vectors were cut to, None for all; width: dimensions compared, None for
    vectors over a vocabulary; values: the measure [sizes, q]; wrong: share of queries whose first
    result is not relevant [sizes]; chance: that share if all other documents were random
    directions [sizes], None where vectors are not compared by cosine.
    """

    model: str
    dim: int | None
    width: int | None
    values: Float64
    wrong: Float64
    chance: Float64 | None

    @property
    def name(self) -> str:
        """The model, and the dimensions where they were cut."""
        return self.model if self.dim is None else f"{self.model}, {self.dim}-d"


@STUDIES.register("scale")
@dataclass(frozen=True)
class Scale(Study):
    """How scores fall as the corpus grows, beside BM25, and where they cross."""

    default_task: ClassVar[str] = "limit-1k"
    old_options: ClassVar[Mapping[str, str]] = {"--size": "sizes", "--dim": "dims"}

    sizes: Annotated[
        tuple[int, ...], "documents of each corpus, as 1000+10000; empty: 1,000 doubling up to all"
    ] = ()
    dims: Annotated[tuple[int, ...], "dimensions to cut dense vectors to, besides whole ones"] = ()
    distractors: Annotated[
        str,
        "documents to add: corpus (the task's own), random (strings), or another task, as limit-1k",
    ] = "corpus"

    def run(self, session: Session, systems: Sequence[str], task: str) -> Findings:
        """Score models on nested corpora of a task by its main measure, by exact search.

        BM25 is added where no model weighs terms by the corpus; else the first that does is what
        the others are set beside.

        Raises:
            InputError: for a task of another kind, with candidates or passages, or with no document
                that is not judged; for a measure of groups; for sizes and dimensions out of range.
        """
        asked = session.collection(task)
        corpora, notes = self._corpora(session, asked)
        whole = replace(asked, data=corpora.data)
        weighing = (m for m in systems if _weighs(session, m, whole))
        baseline, curves = next(weighing, BASELINE), list[Growth]()
        for model in dict.fromkeys([*systems, baseline]):
            if _weighs(session, model, whole):
                curves.append(_grow_collections(session, model, asked, corpora, notes))
            else:
                curves += self._grow_vectors(session, model, whole, corpora, notes)
        points = _points(session, curves, corpora.sizes)
        crossings = _crossings(session, curves, baseline, corpora.sizes)
        errors = _errors(points.where("model", curves[0].model))
        shown = [self._scores(asked, points, corpora), crossings, _ends(points, corpora.sizes)]
        said = headline(str(asked.main), points, crossings)
        drawn = _charts(points, crossings, errors, str(asked.main))
        return Findings(said, [*shown, points, errors], drawn, notes)

    def _scores(self, task: Task, points: Frame, corpora: Nested) -> Frame:
        """Scores by size, a column a curve."""
        name = bare(self.distractors)
        others = OTHERS.get(name, f"of {name}")
        judged = len(nested.find_judged(corpora.data))
        title = f"{task.main} on {task.name} by documents: {judged:,} judged ones in every corpus, "
        title += f"the others {others}"
        return points.pivot("documents", "curve", "score", title=title, name="scores")

    def _corpora(self, session: Session, task: Task) -> tuple[Nested, list[str]]:
        """The corpora, and what was noticed on the way."""
        data = task.collection
        if data.corpus.parents is not None or data.candidates is not None:
            raise InputError(f"{task.name} has passages or candidates: this study needs neither")
        notes = [*data.warnings]
        others, known = self._others(session, task, notes), len(nested.find_judged(data))
        try:
            sizes = nested.choose_sizes(self.sizes, known, known + len(others))
        except InputError as error:
            raise InputError(f"{task.name}: {error}") from None
        return nested.nest(data, others, sizes), notes

    def _others(self, session: Session, task: Task, notes: list[str]) -> list[tuple[str, str]]:
        """Ids and texts of documents that are not judged, in the order in which they come in."""
        random, name = np.random.default_rng(session.seed), bare(self.distractors)
        corpus, kept = task.collection.corpus, nested.find_judged(task.collection)
        if name == "corpus":
            others = random.permutation(np.setdiff1d(np.arange(len(corpus)), kept))
            return [(corpus.ids[row], corpus.texts[row]) for row in others]
        if name == "random":
            texts = nested.strings(max(len(corpus), *self.sizes, 0) - len(kept), random)
        else:
            other = session.task(name)
            if not other.kind.ranks:
                raise InputError(f"{name} is a task of {other.data.kind}: it has no documents")
            added, known = other.collection.corpus, {corpus.texts[row] for row in kept}
            shuffled = [added.texts[row] for row in random.permutation(len(added))]
            texts = [text for text in shuffled if text not in known]
            if lost := len(shuffled) - len(texts):
                notes.append(f"{count(lost, 'document')} of {name} left out: judged ones here")
        return [(f"{name} {i}", text) for i, text in enumerate(texts)]

    def _grow_vectors(
        self, session: Session, model: str, task: Task, corpora: Nested, notes: list[str]
    ) -> Iterator[Growth]:
        """A model of texts at every size, with each number of dimensions; notes grow."""
        made = session.vectors(model, task, scaled=False, representations=KINDS)
        notes += made.notes
        queries, documents = made.queries, made.documents
        cosine, rows = made.similarity == "cosine", np.arange(len(queries))
        for dim in (None, *dict.fromkeys(self.dims)) if isinstance(documents, Dense) else [None]:
            if dim is not None and not 1 <= dim <= documents.dim:
                raise InputError(f"{model}: {dim} dimensions: expected 1 to {documents.dim:,}")

            def cut(rows: Int64, dim: int | None = dim) -> Embeddings:
                return nested.select(documents, rows, dim, scaled=cosine)

            compared = nested.select(queries, rows, dim, scaled=cosine)
            depth, own, values, firsts = task.main.depth, task.exclude_self, list[Float64](), []
            for found in nested.searches(compared, cut, corpora, depth + own, session.progress):
                run = drop_self(found, task.collection, depth) if own else found
                values.append(session.values(run, task))
                firsts.append(session.values(run, task, SUCCESS))
            width = (dim or documents.dim) if isinstance(documents, Dense) else None
            chance = _by_chance(compared, cut, corpora) if cosine else None
            yield Growth(model, dim, width, np.stack(values), 1 - np.mean(firsts, axis=1), chance)


def _weighs(session: Session, model: str, task: Task) -> bool:
    """Whether a model's vectors depend on the corpus."""
    return isinstance(session.encoder(model, task), CollectionEncoder)


def _grow_collections(
    session: Session, model: str, task: Task, corpora: Nested, notes: list[str]
) -> Growth:
    """A model whose weights depend on the corpus: each size is a collection by itself."""
    sizes = corpora.sizes
    variants = [replace(task, data=corpora.alone(n), label=f"{n:,} documents") for n in sizes]
    grid = session.grid([model], variants)
    known = tuple(task.data.warnings)
    notes += [note for note in grid.notes if not note.endswith(known)]
    firsts = [
        session.values(cell.run, variant, SUCCESS)
        for cell, variant in zip(grid.cells[0], variants, strict=True)
    ]
    return Growth(model, None, None, grid.values[0], 1 - np.mean(firsts, axis=1), None)


def _by_chance(
    queries: Embeddings, documents: Callable[[Int64], Embeddings], corpora: Nested
) -> Float64 | None:
    """[sizes]: share of queries to which some random direction is nearer than all relevant."""
    qrels = corpora.data.qrels if corpora.data.binary is None else corpora.data.binary
    kept = (qrels.docs >= 0) & (qrels.gains > 0)
    rows, relevant = qrels.query_rows[kept], documents(qrels.docs[kept].astype(np.int64))
    if not (isinstance(queries, Dense) and isinstance(relevant, Dense)) or queries.dim < 2:
        return None
    asked, scored = queries.values, corpora.data.qrels.judged
    return wrong_by_chance(asked, relevant.values, rows, scored, corpora.sizes)


def _points(session: Session, curves: Sequence[Growth], sizes: Sequence[int]) -> Frame:
    rows = [
        (one.name, one.model, one.width, size, session.estimate(one.values[at]), one.wrong[at],
         None if one.chance is None else one.chance[at])
        for one in curves
        for at, size in enumerate(sizes)
    ]  # fmt: skip
    return Frame("Every curve at every size", POINTS, rows, name="points", shown=False)


def _ends(points: Frame, sizes: Sequence[int]) -> Frame:
    """Errors in the smallest and the largest corpus: enough to see the difference."""
    ends = points.select("curve", "dimensions", "documents", "wrong", "by chance")
    title = "First results that are not relevant, in the smallest and the largest corpus"
    ends = ends.where("documents", sizes[0], sizes[-1])
    return replace(ends, title=title, name="ends", shown=True)


def _crossings(
    session: Session, curves: Sequence[Growth], baseline: str, sizes: Sequence[int]
) -> Frame:
    """Where curves and the baseline's change places."""
    beside, rows = next(one for one in curves if one.model == baseline), list[tuple[Any, ...]]()
    for one in curves:
        if one.model == baseline:
            continue
        found = crossing(one.values, beside.values, sizes, session.seed)
        names = ("", one.name, beside.name)
        first, then = names[found.ahead], names[found.ahead if found.size is None else -found.ahead]
        rows.append((one.name, first, found.size, found.low, found.high, then, found.crossed))
    title = f"Where curves and {baseline}, weighted anew for each corpus, change places"
    return Frame(title, CROSSINGS, rows, name="crossings")


def _errors(points: Frame) -> Frame:
    """Errors as they are drawn: measured and by chance."""
    rows = [
        (row["curve"], row["documents"], what, row[of])
        for what, of in (("measured", "wrong"), ("by chance", "by chance"))
        for row in points.records()
        if row[of] is not None
    ]
    return Frame("Errors, measured and by chance", ERRORS, rows, name="errors", shown=False)


def _charts(points: Frame, crossings: Frame, errors: Frame, measure: str) -> list[Lines]:
    """Scores, with crossings marked, and the errors of the first model."""
    marks = tuple(Reference(at, f"{at:,.0f}") for at in crossings.numbers("documents") if at > 0)
    few = len(points.values("curve")) <= 3  # bands of more would cover each other
    return [
        Lines(points, "documents", "score", "curve", band=few, log="x", title=measure,
              references=marks),
        Lines(errors, "documents", "wrong", "curve", "what", log="x",
              title=f"{points['model'][0]}: queries whose first result is not relevant"),
    ]  # fmt: skip


def headline(measure: str, points: Frame, crossings: Frame) -> str:
    """Where the first curve and the baseline change places, or who leads; and what is lost."""
    one = points.where("curve", points["curve"][0])
    ends, scores = one.numbers("documents"), one.numbers("score")
    said = f"{one['curve'][0]} from {ends[0]:,.0f} to {ends[-1]:,.0f} documents: {measure} "
    said += f"{scores[0]:.3f} → {scores[-1]:.3f}"
    found = crossings.records()[:1]
    if not found or not found[0]["leads first"]:
        return said
    at, then, share = (found[0][name] for name in ("documents", "leads then", "resamples cross"))
    if at is None:
        unsure = f", but crosses in {percent(share, 0)} of resamples" if share > UNSURE else ""
        return f"{said}; {then} leads at every size{unsure}"
    said += f"; {then} leads from about {float(f'{at:.2g}'):,.0f} on"
    if share >= 1 - UNSURE:
        return said
    return f"{said}, which is undecided: {percent(share, 0)} of resamples cross"
