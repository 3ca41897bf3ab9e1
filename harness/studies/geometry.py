"""How a model's vectors lie in their space, and what it still finds when they are cut.

The measures, with their sources, are those of harness/analysis/geometry.py. Vectors are looked at
as the model compares them: at length 1 where that is by cosine.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import numpy as np

from harness.analysis import geometry
from harness.analysis.truncation import How, dimensions
from harness.arrays import Float32, Float64, Int64
from harness.data import Pairs, Retrieval
from harness.errors import InputError
from harness.frames import Column, Frame
from harness.frames.charts import Chart, Lines
from harness.progress import Progress
from harness.session import Session
from harness.studies import STUDIES, Findings, Study, truncation
from harness.tasks.vectors import TaskVectors
from harness.vectors.lengths import unit

SAMPLE = 10_000  # vectors of a set that are looked at, as many as Tsukagoshi and Sasano 2025 took
HUB_NEAR = 10  # neighbours that count as an occurrence
GOLD = 0.8  # of the range of gold scores: from here on the sentences of a pair mean the same
SHARES = (0.9, 0.95, 0.99)
REFERENCE, EVEN = "reference", "the same in all directions"
_ID = "intrinsic dimension, at most the reference,"
SETS = [
    Column("set"),
    Column("vectors", "count", about="looked at"),
    Column("of", "count", about="in all"),
    Column("duplicates", "count", about="equal to another; no neighbours of any"),
    Column("norm, mean", "number", about="as the model returns them", digits=4),
    Column("norm, deviation", "number", about="0: all equally long", digits=4),
    Column("norm, least", "number", digits=4),
    Column("norm, largest", "number", digits=4),
    Column("mean cosine", "number", about="of all pairs; 1: all in one direction", digits=4),
    Column("uniformity, t=2", "number", about="log mean exp(-2 distance²)", digits=4),
    Column("IsoScore", "number", about="1: vary alike in all directions; 0: in one", digits=4),
    Column("effective rank", "number", about="directions that they vary in", digits=1),
    Column("first component", "share", about="of the variance"),
    *(Column(f"components for {share:.0%}", "count", about="of the variance") for share in SHARES),
    Column("TwoNN", "number", about=f"{_ID} by 2 neighbours; near-equal texts lower it", digits=1),
    Column("TwoNN, line", "number", about="the same without the tenth of largest ratios", digits=1),
    Column("neighbours", "count", about="k of the next three"),
    Column("Levina-Bickel", "number", about=f"{_ID} by k neighbours, mean", digits=1),
    Column("Levina-Bickel, unbiased", "number", about="the same, unbiased mean", digits=1),
    Column("Levina-Bickel, MacKay", "number", about="MacKay and Ghahramani's mean", digits=1),
    Column("hub neighbours", "count", about="k of the next three"),
    Column("hubs", "number", about="skewness of how often one is near to others", digits=2),
    Column("hubs, largest", "count", about="how often the most frequent one is"),
    Column("hubs, none", "share", about="of vectors that are near to no other"),
]
ACROSS = [
    Column(""),
    Column("positive pairs", "count"),
    Column(
        "alignment, a=2", "number", about="their squared distance; reference: all pairs", digits=4
    ),
    Column("found, k", "count", about="first documents of a query"),
    Column("found", "number", about="skewness of how often queries find a document", digits=2),
    Column("found, largest", "count", about="how often they find the most frequent one"),
    Column("found, none", "share", about="of documents that no query finds"),
]
VARIANCE = [
    Column("set"),
    Column("components", "count"),
    Column("variance", "share"),
    Column("share of the variance", "share", about="of this component and those before"),
]


@STUDIES.register("geometry")
@dataclass(frozen=True)
class Geometry(Study):
    """How a model's vectors lie in space, and what is left when they are cut.

    Cuts: truncate keeps the first dimensions and scales them to length 1 again, truncate-raw does
    not scale them, pca keeps the first principal components of the documents or sentences.
    """

    takes: ClassVar[Literal["one", "many"]] = "one"

    sample: Annotated[
        int, "vectors of each set, and pairs of query and relevant document, to look at, at most"
    ] = SAMPLE
    cuts: Annotated[tuple[How, ...], "ways to cut vectors; empty: do not cut"] = (
        "truncate", "pca",
    )  # fmt: skip
    dims: Annotated[tuple[int, ...], "dimensions to keep; empty: 2, 4, 8, ... and all"] = ()

    def __post_init__(self) -> None:
        if self.sample < 4:
            raise InputError(f"a sample of {self.sample}: expected at least 4")

    def run(self, session: Session, systems: Sequence[str], task: str) -> Findings:
        """Measure how the vectors of documents, queries, and both lie; or those of sentences.

        Raises:
            InputError: for sets with fewer than four distinct vectors, for dimensions that the
                model does not have, where no score is defined; as `Session.vectors`.
        """
        (model,) = systems
        asked = session.task(task).require_high()
        if not isinstance(asked.data, Pairs | Retrieval):
            raise InputError(f"{task} is a task of {asked.data.kind}: expected retrieval or pairs")
        vectors, raw = session.vectors(model, asked), session.vectors(model, asked, scaled=False)
        whole = next(iter(raw.arrays.values())).shape[1]
        dimensions(self.dims, whole)  # a wrong one is said before anything is computed
        random = np.random.default_rng(session.seed)
        sets, variance, drawn = _sets(raw, self.sample, random, session.progress)
        across, more = _across(session, vectors, self.sample, random)
        curves = {
            how: truncation.curve(session, model, asked, self.dims, how=how) for how in self.cuts
        }
        title = f"Vectors of {model} on {task}" + (
            ", scaled to length 1" if vectors.similarity == "cosine" else ""
        )
        frames = [
            Frame(title, SETS, sets, name="sets", turned=True),
            across,
            Frame("Variance by component", VARIANCE, variance, name="variance", shown=False),
        ]
        charts: list[Chart] = []
        said = f"{model} on {task}"
        if curves:
            kept = truncation.score_frame(curves, session.seed)
            frames += [kept, truncation.every_score(curves)]
            charts.append(truncation.chart(kept, whole))
            said += truncation.headline(kept, whole)
        charts.append(_chart(frames[2]))
        return Findings(said, frames, charts, [*raw.notes, *drawn, *more])


def _chart(variance: Frame) -> Lines:
    return Lines(
        variance.where("set", "documents", "queries", "sentences", EVEN),
        "components", "share of the variance", "set", points=False, log="x",
        title="Share of the variance that principal components hold",
    )  # fmt: skip


def _sets(
    vectors: TaskVectors, sample: int, random: np.random.Generator, progress: Progress
) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]], list[str]]:
    """Rows of SETS and of VARIANCE, and what was drawn. vectors: as the model made them."""
    scaled, arrays = vectors.similarity == "cosine", vectors.arrays
    of = {name: len(values) for name, values in arrays.items()}
    raw = {name: values[_draw(len(values), sample, random)] for name, values in arrays.items()}
    if len(raw) > 1:
        of["both"], raw["both"] = sum(of.values()), np.concatenate(list(raw.values()))
    rows, variance, notes = list[tuple[Any, ...]](), list[tuple[Any, ...]](), list[str]()
    for name, values in raw.items():
        lengths = np.sqrt(np.einsum("nd,nd->n", values, values, dtype=np.float64))
        norms = [lengths.mean(), lengths.std(), lengths.min(), lengths.max()]
        row, shares = _space(name, unit(values.copy()) if scaled else values, progress)
        rows.append((name, len(values), of[name], row[0], *norms, *row[1:]))
        variance += _list_variance(name, shares)
        notes += [f"{name}: {len(values):,} of {of[name]:,}, drawn"] * (len(values) < of[name])
    d = next(iter(raw.values())).shape[1]
    rows.append(_reference(d, max(row[-4] for row in rows), scaled=scaled))
    return rows, [*variance, *_list_variance(EVEN, np.full(d, 1 / d))], notes


def _list_variance(name: str, shares: Float64) -> list[tuple[Any, ...]]:
    """Rows of VARIANCE."""
    held = np.cumsum(shares)
    return [(name, at + 1, share, held[at]) for at, share in enumerate(shares)]


def _space(name: str, values: Float32, progress: Progress) -> tuple[list[Any], Float64]:
    """Cells of SETS: duplicates, and what follows the norms; shares of the variance [d]."""

    def tell(stage: str, done: int, total: int, unit: str) -> None:
        progress(f"{name}: {stage}", done, total, unit)

    try:
        near = geometry.neighbours(values, progress=tell)
        variances = geometry.spectrum(values)
        isotropy = geometry.isoscore(variances)
    except InputError as error:
        raise InputError(f"the geometry of {name}: {error}") from None
    several = geometry.mle(near.distances)
    shares = variances / variances.sum()
    return [
        len(near.which) - len(near.rows),
        geometry.mean_cosine(values),
        geometry.uniformity(values, progress=tell),
        isotropy,
        geometry.effective_rank(variances),
        shares[0],
        *(geometry.components(variances, share) for share in SHARES),
        geometry.two_nn(near.distances),
        geometry.two_nn_fit(near.distances),
        several.k,
        several.mean,
        several.unbiased,
        several.mackay_ghahramani,
        *_hubs(geometry.hubness(near.rows[:, :HUB_NEAR], len(near.rows))),
    ], shares


def _hubs(found: geometry.Hubness) -> tuple[int, float, int, float]:
    return found.k, found.skewness, found.largest, found.antihubs


def _reference(d: int, often: int, *, scaled: bool) -> tuple[Any, ...]:
    """What to hold sets against: an even spread over all directions, and no hubs."""
    sphere = geometry.uniform_uniformity(d) if scaled else None
    norms = (None, 0, None, None)
    held = (math.ceil(share * d) for share in SHARES)
    return (
        REFERENCE, None, None, None, *norms, 0, sphere, 1, d, 1 / d, *held, d, d, None, d, d, d,
        None, 0, often, 0,
    )  # fmt: skip


def _across(
    session: Session, vectors: TaskVectors, sample: int, random: np.random.Generator
) -> tuple[Frame, list[str]]:
    """What lies between two sets, positive pairs and what queries find; and what was drawn."""
    positive, (x, left), (y, right) = _positives(vectors)
    drawn = _draw(len(left), sample, random)
    near = geometry.alignment(x[left[drawn]], y[right[drawn]]) if len(drawn) else None
    found: tuple[Any, ...] = (None, None, None, None)
    if "documents" in vectors.arrays:
        documents = len(vectors.documents)
        run = session.search(vectors, min(HUB_NEAR, documents))
        found = _hubs(geometry.hubness(run.docs, documents))
    none = (None, 0, None, 0) if found[0] else found
    rows = [
        ("value", len(drawn), near, *found),
        (REFERENCE, None, geometry.chance_alignment(x, y), *none),
    ]
    notes = [f"alignment, {positive}: {len(drawn):,} of {len(left):,}, drawn"]
    title = f"Between sets; positive are {positive}"
    frame = Frame(title, ACROSS, rows, name="across", turned=True)
    return frame, notes if len(drawn) < len(left) else []


def _positives(vectors: TaskVectors) -> tuple[str, tuple[Float32, Int64], tuple[Float32, Int64]]:
    """What is a positive pair, and the vectors and rows [p] of either side."""
    data, arrays = vectors.task.data, vectors.arrays
    if isinstance(data, Pairs):
        least = data.gold.min() + GOLD * np.ptp(data.gold)
        rows, sentences = np.flatnonzero(data.gold >= least), arrays["sentences"]
        name = f"pairs with a gold score of at least {least:g}"
        return name, (sentences, rows), (sentences, rows + len(data))
    qrels = vectors.task.collection.qrels
    kept = (qrels.gains > 0) & (qrels.docs >= 0)
    queries, documents = qrels.query_rows[kept], qrels.docs[kept].astype(np.int64)
    name = "pairs of a query and a relevant document"
    return name, (arrays["queries"], queries), (arrays["documents"], documents)


def _draw(n: int, sample: int, random: np.random.Generator) -> Int64:
    """Rows to look at, ascending: all, or a sample without replacement."""
    return np.arange(n) if n <= sample else np.sort(random.choice(n, sample, replace=False))
