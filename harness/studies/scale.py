"""How a model's score falls as its corpus grows, beside BM25's; and what chance explains of it.

The corpora are nested: the judged documents are in all of them, and a larger one holds the
distractors of every smaller one (Reimers and Gurevych 2021, "The Curse of Dense Low-Dimensional
Information Retrieval for Large Index Sizes"). Vectors of a text do not depend on the corpus, so
each document is compared once, in the smallest corpus that holds it, and the rankings are merged.
BM25 weighs terms by the corpus, so it is built anew for each size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeAlias

import numpy as np

from harness import catalog, stats
from harness.arrays import Float64, Int64, spans
from harness.data import Corpus, Qrels, Retrieval
from harness.encoders import CollectionEncoder, TextEncoder
from harness.errors import InputError
from harness.indexes import INDEXES
from harness.kinds.retrieval import RetrievalKind
from harness.measures import Measure
from harness.phases import Clock
from harness.progress import Progress, silent
from harness.represent import represent, unit
from harness.retrieve import drop_self
from harness.single import units
from harness.store import Store
from harness.studies.subject import collection, created
from harness.vectors import Dense, Embeddings, MultiVector, Run, Sparse, ranking

BASELINE = "bm25"
SMALLEST = 1000
STEPS = 5  # at least so many from the smallest corpus to the largest
BLOCK = 1 << 17  # documents of one comparison
LETTERS = np.frombuffer(b"abcdefghijklmnopqrstuvwxyz ", np.uint8)
LENGTHS = (20, 150)  # characters of a random string


@dataclass(frozen=True)
class Point:
    """One corpus size: the score with its 95 % interval.

    wrong: share of queries whose first result is not relevant. by_chance: the share that would
    have a document nearer than the nearest relevant one if all others were random directions; None
    where vectors are not compared by cosine.
    """

    documents: int
    score: float
    low: float
    high: float
    wrong: float
    by_chance: float | None


@dataclass(frozen=True)
class Curve:
    """A model at every size. dim: dimensions that its vectors were cut to, None for all.

    width: dimensions compared; None for vectors over a vocabulary.
    """

    model: str
    dim: int | None
    width: int | None
    points: tuple[Point, ...]

    @property
    def name(self) -> str:
        """The model, and the dimensions where they were cut."""
        return self.model if self.dim is None else f"{self.model}, {self.dim}-d"


@dataclass(frozen=True)
class Crossing:
    """Where a curve and the baseline's change places: the first time from the smallest size on.

    first, then: who leads before and after, equal where nothing is crossed, "" where the curves are
    equal. documents: interpolated on the logarithm of the size, None where nothing is crossed.
    low, high: 95 % interval over queries, None where it goes beyond the sizes measured; crossed:
    share of resamples of the queries in which the leader changes from one size to another.
    """

    curve: str
    first: str
    then: str
    documents: float | None
    low: float | None
    high: float | None
    crossed: float


@dataclass(frozen=True)
class Scale:
    """A task at growing sizes. judged: documents that are in every corpus."""

    task: str
    measure: str
    distractors: str
    baseline: str
    queries: int
    judged: int
    sizes: tuple[int, ...]
    curves: tuple[Curve, ...]
    crossings: tuple[Crossing, ...]
    seed: int
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class _Nested:
    """The documents of the largest corpus. enters: [n], the place of each in the order in which
    they come in; so a corpus of m documents are those below m.
    """

    task: catalog.TaskEntry
    data: Retrieval
    measure: Measure
    exclude_self: bool
    sizes: tuple[int, ...]
    enters: Int64

    @property
    def depth(self) -> int:
        return self.measure.depth + self.exclude_self

    @cached_property
    def relevant(self) -> tuple[Int64, Int64]:
        """Query and document rows [p] of each relevant document of the corpora."""
        qrels = self.data.qrels if self.data.binary is None else self.data.binary
        kept = (qrels.docs >= 0) & (qrels.gains > 0)
        return qrels.query_rows[kept], qrels.docs[kept].astype(np.int64)

    def rows(self, size: int, above: int = 0) -> Int64:
        """Rows of a corpus, ascending, without those of a smaller one."""
        return np.flatnonzero((self.enters >= above) & (self.enters < size))


_Scored: TypeAlias = tuple[Curve, Float64]
"""A curve, and its values [sizes, queries]."""


def study(
    models: Sequence[str],
    task: str,
    *,
    sizes: Sequence[int] | None = None,
    dims: Sequence[int | None] = (None,),
    distractors: str = "corpus",
    store: Store,
    seed: int = 0,
    progress: Progress = silent,
) -> Scale:
    """Score models on nested corpora of a task by its main measure, by exact search.

    models, task: specs; bm25 is added where no model weighs terms by the corpus, and the first that
    does is the baseline. sizes: documents of each corpus, judged ones included; None for 1,000 up
    to all by about doubling. dims: first dimensions that dense vectors are cut to, None for all.
    distractors: "corpus", the task's own documents in a random order; "random", strings of a-z and
    space of 20 to 150 characters; or the spec of a task whose documents they are. seed: of the
    order, the strings and the bootstrap.

    Raises InputError for a task of another kind, with candidates or passages, or with no document
    that is not judged; for a measure of groups; for sizes and dimensions out of range; else what
    encoders and the store raise.
    """
    clock = Clock(progress)
    nested, notes = _nested(task, sizes, distractors, seed, clock)
    weighing = (m for m in models if isinstance(created(m), CollectionEncoder))
    baseline = next(weighing, BASELINE)
    scored: list[_Scored] = []
    for model in dict.fromkeys([*models, baseline]):
        encoder = created(model)
        if isinstance(encoder, CollectionEncoder):
            scored.append(_weighed(model, encoder, nested, seed, progress))
        else:
            found, more = _encoded(
                model, encoder, nested, dims, store=store, seed=seed, clock=clock
            )
            scored += found
            notes += more
    [beside] = [one for one in scored if one[0].model == baseline]
    crossings = [
        _crossing(one, beside, nested.sizes, seed) for one in scored if one[0].model != baseline
    ]
    return Scale(
        task,
        str(nested.measure),
        distractors,
        baseline,
        int(nested.data.qrels.judged.sum()),
        len(np.unique(nested.data.qrels.docs[nested.data.qrels.docs >= 0])),
        nested.sizes,
        tuple(curve for curve, _ in scored),
        tuple(crossings),
        seed,
        tuple(dict.fromkeys(notes)),
    )


def _nested(
    task: str, sizes: Sequence[int] | None, distractors: str, seed: int, clock: Clock
) -> tuple[_Nested, list[str]]:
    """The corpora, and what was noticed on the way."""
    with clock.phase("load", "data"):
        asked, data, measure = collection(task)
    if data.corpus.parents is not None or data.candidates is not None:
        raise InputError(f"{task} has passages or candidates: this study needs neither")
    ids, texts = data.corpus.ids, data.corpus.texts
    judged = np.unique(data.qrels.docs[data.qrels.docs >= 0]).astype(np.int64)
    pool, notes = _pool(distractors, data, judged, sizes, seed)
    chosen = _sizes(sizes, len(judged), len(judged) + len(pool), task)
    added = pool[: chosen[-1] - len(judged)]
    kept = [(ids[row], texts[row]) for row in judged]
    order = {id: place for place, (id, _) in enumerate([*kept, *added])}
    whole = Corpus.of(list(order), [text for _, text in [*kept, *added]])
    enters = np.array([order[id] for id in whole.ids])
    enters[enters < len(judged)] = 0  # all at once
    row = {at: whole.row(ids[at]) for at in judged.tolist()}
    moved = replace(
        data,
        corpus=whole,
        qrels=_moved(data.qrels, row),
        binary=data.binary and _moved(data.binary, row),
    )
    exclude = asked.excludes(data)
    return _Nested(asked, moved, measure, exclude, chosen, enters), notes


def _pool(
    distractors: str, data: Retrieval, judged: Int64, sizes: Sequence[int] | None, seed: int
) -> tuple[list[tuple[str, str]], list[str]]:
    """Ids and texts of documents that are not judged, in the order in which they come in; notes."""
    random, corpus, notes = np.random.default_rng(seed), data.corpus, [*data.warnings]
    if distractors == "corpus":
        others = random.permutation(np.setdiff1d(np.arange(len(corpus)), judged))
        return [(corpus.ids[row], corpus.texts[row]) for row in others], notes
    if distractors == "random":
        texts = _strings(max(len(corpus), *(sizes or [0])) - len(judged), random)
    else:
        other = catalog.task(distractors).load()
        if not isinstance(other, Retrieval):
            raise InputError(f"{distractors} is a task of {other.kind}: it has no documents")
        known = {corpus.texts[row] for row in judged}
        shuffled = [other.corpus.texts[row] for row in random.permutation(len(other.corpus))]
        texts = [text for text in shuffled if text not in known]
        if lost := len(shuffled) - len(texts):
            notes.append(f"{lost} documents of {distractors} are judged ones here: left out")
    return [(f"{distractors} {i}", text) for i, text in enumerate(texts)], notes


def _moved(qrels: Qrels, row: dict[int, int]) -> Qrels:
    """Judgments of documents that have got other rows, in the same order."""
    docs = np.array([row.get(doc, -1) for doc in qrels.docs.tolist()], np.int32)
    return replace(qrels, docs=docs)


def _sizes(asked: Sequence[int] | None, judged: int, most: int, task: str) -> tuple[int, ...]:
    """Sizes of corpora, ascending; those asked for, or about doubling."""
    if judged == most:
        raise InputError(
            f"{task}: all {most:,} documents are judged, so that no corpus can be smaller: choose "
            "other distractors, random with sizes or a task"
        )
    if asked is not None:
        for size in asked:
            if not judged <= size <= most:
                raise InputError(
                    f"{task}: a corpus of {size:,} documents: expected {judged:,}, which are "
                    f"judged, to {most:,}"
                )
        return tuple(sorted(set(asked)))
    first = max(judged, SMALLEST if most > SMALLEST else most // 10)
    steps = max(STEPS, round(math.log2(most / first)))
    return tuple(np.unique(np.geomspace(first, most, steps + 1).round().astype(int)).tolist())


def _strings(count: int, random: np.random.Generator) -> list[str]:
    """Random strings; more of them begin with the same."""
    lengths = (random.integers(LENGTHS[0], LENGTHS[1] + 1) for _ in range(count))
    return [LETTERS[random.integers(len(LETTERS), size=n)].tobytes().decode() for n in lengths]


def _weighed(
    model: str, encoder: CollectionEncoder, nested: _Nested, seed: int, progress: Progress
) -> _Scored:
    """A model whose weights depend on the corpus, at every size."""
    data, runs = nested.data, []
    for done, size in enumerate(nested.sizes):
        progress(f"weigh {model}", done, len(nested.sizes), "corpora")
        rows = nested.rows(size)
        texts = [data.corpus.texts[row] for row in rows]
        made = encoder.encode_collection(texts, data.queries.texts)
        if encoder.similarity == "cosine":
            units(made.documents, made.queries)
        runs.append(ranking.unpack(ranked(made.queries, made.documents, rows, nested.depth)))
    points, values = _judged(runs, nested, None, seed)
    return Curve(model, None, None, points), values


def _encoded(
    model: str,
    encoder: TextEncoder,
    nested: _Nested,
    dims: Sequence[int | None],
    *,
    store: Store,
    seed: int,
    clock: Clock,
) -> tuple[list[_Scored], list[str]]:
    """A model of texts at every size, with each number of dimensions; and its warnings."""
    ready = encoder.with_instructions(nested.task.instructions(nested.data))
    made = represent(model, ready, RetrievalKind().parts(nested.data), store, clock)
    queries, documents = made.parts["queries"], made.parts["documents"]
    dense, cosine = isinstance(documents, Dense), encoder.similarity == "cosine"
    found = []
    for dim in dict.fromkeys(dims if dense else [None]):
        if dim is not None and not 1 <= dim <= documents.dim:
            raise InputError(f"{model}: {dim} dimensions: expected 1 to {documents.dim:,}")
        width = (dim or documents.dim) if dense else None

        def cut(part: Embeddings, rows: Int64, width: int | None = width) -> Embeddings:
            return _cut(part, rows, width, scaled=cosine)

        asked, compared, above, runs = cut(queries, np.arange(len(queries))), 0, 0, []
        keys = np.zeros((len(queries), nested.depth), np.uint64)
        for size in nested.sizes:
            entering = nested.rows(size, above)
            for low in range(0, len(entering), BLOCK):
                rows = entering[low : low + BLOCK]
                block = ranked(asked, cut(documents, rows), rows, nested.depth)
                keys = ranking.best(np.concatenate([keys, block], axis=1), nested.depth)
                compared += len(rows)
                clock.progress(f"search {model}", compared, nested.sizes[-1], "documents")
            above = size
            runs.append(ranking.unpack(keys))
        relevant = cut(documents, nested.relevant[1])
        chance = _by_chance(asked, relevant, nested) if cosine else None
        points, values = _judged(runs, nested, chance, seed)
        found.append((Curve(model, dim, width, points), values))
    return found, made.warnings


def _cut(part: Embeddings, rows: Int64, width: int | None, *, scaled: bool) -> Embeddings:
    """Some rows, copied; dense vectors cut to `width`, and to length 1 where that is asked."""
    if isinstance(part, Dense):
        values = np.ascontiguousarray(part.values[rows, :width])
        return Dense(unit(values) if scaled else values)
    if isinstance(part, Sparse):
        return Sparse(part.matrix[rows])
    lengths = part.lengths[rows]
    values = part.values[spans(part.offsets[rows], lengths)]
    return MultiVector(values, np.concatenate([[0], np.cumsum(lengths)]))


def ranked(queries: Embeddings, documents: Embeddings, rows: Int64, k: int) -> ranking.Keys:
    """The k best documents of each query as keys [q, k]. rows: of the documents, ascending."""
    run = INDEXES.create("exact").open(documents).search(queries, k, silent).run
    return ranking.pack(run.scores, np.where(run.docs >= 0, rows[run.docs], -1))


def _judged(
    runs: Sequence[Run], nested: _Nested, chance: Float64 | None, seed: int
) -> tuple[tuple[Point, ...], Float64]:
    """A point for each size, and what they are means of [sizes, queries]. chance: [sizes]."""
    data, measures = nested.data, (nested.measure, Measure("Success", 1))
    main, first = map(str, measures)
    points, values = [], []
    for at, (size, found) in enumerate(zip(nested.sizes, runs, strict=True)):
        run = drop_self(found, data) if nested.exclude_self else found
        verdict = RetrievalKind().judge(run, data, measures, seed)
        values.append(np.asarray(verdict.per_query[main]))
        low, high = verdict.scores[main].low, verdict.scores[main].high
        assert low is not None
        assert high is not None
        wrong = 1 - float(np.mean(verdict.per_query[first]))
        by_chance = None if chance is None else float(chance[at])
        points.append(Point(size, float(values[-1].mean()), low, high, wrong, by_chance))
    return tuple(points), np.stack(values)


def _by_chance(queries: Embeddings, relevant: Embeddings, nested: _Nested) -> Float64 | None:
    """[sizes]: share of queries to which some random direction is nearer than all relevant."""
    if not (isinstance(queries, Dense) and isinstance(relevant, Dense)) or queries.dim < 2:
        return None
    q, (rows, _) = len(queries), nested.relevant
    cosines = np.einsum("pd,pd->p", queries.values[rows], relevant.values, dtype=np.float64)
    nearest = np.full(q, -1.0)  # of a query without relevant documents: anything is nearer
    np.maximum.at(nearest, rows, cosines)
    scored = nested.data.qrels.judged
    p, known = cap(nearest[scored], queries.dim), np.bincount(rows, minlength=q)[scored]
    return np.array([any_of(p, size - known).mean() for size in nested.sizes])


def cap(cosine: Float64, d: int) -> Float64:
    """Probability that a random direction of d dimensions has at least this cosine with another.

    The share of the sphere in a spherical cap: P(cos >= c) = 1/2 I_{1-c^2}((d-1)/2, 1/2) for
    c >= 0, by the regularised incomplete beta function (Li 2011, "Concise Formulas for the Area and
    Volume of a Hyperspherical Cap"). Raises InputError for fewer than two dimensions.
    """
    from scipy.special import betainc

    if d < 2:
        raise InputError(f"{d} dimensions: a spherical cap needs at least 2")
    half = betainc((d - 1) / 2, 0.5, np.clip(1 - np.square(cosine), 0, 1)) / 2
    p: Float64 = np.where(np.asarray(cosine) < 0, 1 - half, half)
    return p


def any_of(p: Float64, n: Int64 | int) -> Float64:
    """Probability that at least one of n independent events of probability p happens: 1-(1-p)^n."""
    return np.asarray(-np.expm1(n * np.log1p(-np.minimum(p, 1 - 2.0**-53))))


def _crossing(one: _Scored, beside: _Scored, sizes: Sequence[int], seed: int) -> Crossing:
    """Where a curve and the baseline's change places."""
    (curve, values), (baseline, others) = one, beside
    apart = values - others
    means = apart.mean(axis=1)
    sign = next((np.sign(mean) for mean in means if mean), 0.0)
    [found] = places(sign * means[None], sizes).tolist()
    random, q = np.random.default_rng(seed), apart.shape[1]
    counts = (random.multinomial(q, np.full(q, 1 / q)) for _ in range(stats.RESAMPLES))
    leads = sign * np.stack([apart @ drawn / q for drawn in counts])
    order = [curve.name, baseline.name][:: 1 if sign > 0 else -1] if sign else ["", ""]
    crossed = float(((leads < 0).any(axis=1) & (leads > 0).any(axis=1)).mean())
    if not math.isfinite(found):
        return Crossing(curve.name, order[0], order[0], None, None, None, crossed)
    tails = np.quantile(places(leads, sizes), [0.025, 0.975], method="inverted_cdf").tolist()
    low, high = (tail if sizes[0] < tail < math.inf else None for tail in tails)
    return Crossing(curve.name, order[0], order[1], found, low, high, crossed)


def places(ahead: Float64, sizes: Sequence[int]) -> Float64:
    """[r]: the size at which each lead [r, sizes] first turns negative, infinite where none does.

    Interpolated on the logarithm of the size; the smallest size where it is negative from there on.
    """
    rows, logs = np.arange(len(ahead)), np.log(sizes)
    behind = ahead < 0
    at = behind.argmax(axis=1)
    before = np.maximum(at - 1, 0)
    last, now = ahead[rows, before], ahead[rows, at]
    share = np.divide(last, last - now, out=np.zeros(len(ahead)), where=at > 0)
    found: Float64 = np.exp(logs[before] + share * (logs[at] - logs[before]))
    found[~behind.any(axis=1)] = np.inf
    return found
