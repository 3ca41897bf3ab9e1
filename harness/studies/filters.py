"""What filtered queries lose: the nearest documents among those whose metadata fit a predicate.

Three ways to answer a query with a predicate:
    pre-filter    the documents that match are searched, exactly: nothing is lost
    post-filter   all are searched, for `factor` times as many results, and what does not match is
                  dropped: of a predicate independent of the vectors about factor x selectivity of
                  the wanted results are left
    native        the index looks at the predicate while it searches (faiss's HNSW)

Truth is exact search restricted to what matches; where fewer than k match, they are the truth.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from harness import stats
from harness.analysis.nested import BLOCK, ranked
from harness.arrays import Int64
from harness.data import Corpus, Retrieval
from harness.errors import InputError
from harness.indexes import INDEXES, scoring
from harness.indexes.faiss_library import load_faiss
from harness.indexes.hnsw import Hnsw
from harness.indexes.saved import FileIndex
from harness.measures.neighbours import EPSILON, neighbour_recall
from harness.progress import Progress, silent
from harness.registry import unknown
from harness.represent import unit
from harness.store import Store
from harness.studies.subject import dense_index, embed
from harness.vectors import Dense, Run, ranking

Bools = NDArray[np.bool_]
Search = Callable[[Int64], Run]
"""Row numbers of queries -> their results [q, k]."""

SELECTIVITIES = (0.001, 0.01, 0.1, 0.5)
FACTORS = (1, 2, 5, 10)
PREDICATES = 8  # of a selectivity, at most; queries take turns
NEAR = 2.0  # a predicate is of a selectivity if its share is off by no more than this factor
QUERIES = 1000  # at most
SINGLES = 30  # queries asked one at a time
RANDOM = "random"  # the attribute of a corpus without metadata


@dataclass(frozen=True)
class Predicate:
    """A condition on metadata. matches: [n], the documents that meet it."""

    text: str
    matches: Bools


@dataclass(frozen=True)
class Bucket:
    """Predicates of about one selectivity. share: of the documents that match, mean; matches:
    median number of them.
    """

    selectivity: float
    share: float
    matches: float
    predicates: tuple[str, ...]


@dataclass(frozen=True)
class Answer:
    """How one way answers the queries of a bucket.

    factor: of post-filtering, results searched for as a multiple of k. recall: of the true k, mean
    with its 95 % interval; short: share of queries that got fewer results than there are, up to k.
    per_second: queries, all asked together; p50_ms, p95_ms: of queries asked one at a time. Both
    include looking at the predicate, and on a shared machine they vary.
    """

    selectivity: float
    way: Literal["pre-filter", "post-filter", "native"]
    index: str
    factor: int | None
    recall: float
    low: float
    high: float
    short: float
    per_second: float
    p50_ms: float
    p95_ms: float


@dataclass(frozen=True)
class Filters:
    """Filtered search of a task's documents. attribute: the metadata, or "random"."""

    encoder: str
    task: str
    index: str
    k: int
    documents: int
    queries: int
    attribute: str
    buckets: tuple[Bucket, ...]
    answers: tuple[Answer, ...]
    seed: int
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class _Vectors:
    """What is searched, with an exact and the given index over all documents.

    native: (queries, matches, k) -> document rows [q, k], where the index takes predicates.
    """

    queries: Dense
    documents: Dense
    k: int
    searchers: Mapping[str, Any]
    native: Callable[[Dense, Bools, int], Int64] | None = field(repr=False)


def study(
    encoder: str,
    task: str,
    index: str = "hnsw",
    *,
    k: int = 10,
    attribute: str | None = None,
    store: Store,
    seed: int = 0,
    progress: Progress = silent,
) -> Filters:
    """Recall of filtered search by selectivity: before, after and inside the search.

    encoder, task, index: specs. attribute: the column of metadata that predicates are about; None
    for any, "random" for a seeded random number of each document, which is also what a corpus
    without metadata gets. A predicate is a value, a member of a list, or a range of numbers. At
    most 1,000 queries are asked. Selectivities that no predicate comes near are left out with a
    warning.

    Raises InputError for an unknown attribute, k below 1, an index that takes no dense vectors, a
    corpus of which no predicate has any of the selectivities; else what `embed` and the index
    raise.
    """
    if k < 1:
        raise InputError(f"k={k}: expected at least 1")
    subject = embed(encoder, task, store=store, progress=progress)
    if not isinstance(subject.data, Retrieval):
        raise InputError(f"{task} is a task of {subject.data.kind}: expected retrieval")
    random, notes = np.random.default_rng(seed), list(subject.warnings)
    if subject.similarity == "cosine":
        for values in subject.arrays.values():
            unit(values)
    asked = subject.arrays["queries"]
    chosen = np.sort(random.permutation(len(asked))[:QUERIES])
    queries, documents = Dense(asked[chosen]), Dense(subject.arrays["documents"])
    vectors, more = _indexed(queries, documents, index, k, progress)
    notes += more
    name, columns = _columns(subject.data.corpus, attribute, random)
    buckets, answers = [], []
    for done, selectivity in enumerate(SELECTIVITIES):
        progress("filter", done, len(SELECTIVITIES), "selectivities")
        predicates = _predicates(columns, selectivity, len(documents), random)
        if not predicates:
            notes.append(f"no predicate on {name} is met by about {selectivity:.1%} of documents")
            continue
        counts = [np.count_nonzero(predicate.matches) for predicate in predicates]
        share, matches = np.mean(counts) / len(documents), np.median(counts)
        texts = tuple(predicate.text for predicate in predicates)
        buckets.append(Bucket(selectivity, float(share), float(matches), texts))
        answers += _answers(vectors, np.stack([p.matches for p in predicates]), selectivity, seed)
    if not buckets:
        raise InputError(f"{task}: {'; '.join(notes[-len(SELECTIVITIES) :])}: nothing to measure")
    return Filters(
        encoder,
        task,
        index,
        k,
        len(documents),
        len(queries),
        name,
        tuple(buckets),
        tuple(answers),
        seed,
        tuple(notes),
    )


def _indexed(
    queries: Dense, documents: Dense, spec: str, k: int, progress: Progress
) -> tuple[_Vectors, list[str]]:
    """The documents in an exact and in the given index, and what that warns of."""
    index = dense_index(spec)
    searchers = {"exact": INDEXES.create("exact").open(documents)}
    if not isinstance(index, FileIndex):
        searchers |= {} if spec == "exact" else {spec: index.open(documents)}
        return _Vectors(queries, documents, k, searchers, None), []
    built = index.make(documents, progress)
    searchers[spec] = index.searcher(built, documents)
    notes = dict.fromkeys(note for factor in FACTORS for note in index.notes(k * factor))
    return _Vectors(queries, documents, k, searchers, _native(index, built)), list(notes)


def _native(index: FileIndex, built: Any) -> Callable[[Dense, Bools, int], Int64] | None:
    """A search of documents that match, where the index is an HNSW graph of faiss."""
    if not isinstance(index, Hnsw):
        return None
    faiss, parameters = load_faiss(), index.parameters

    def search(queries: Dense, matches: Bools, k: int) -> Int64:
        chosen = faiss.IDSelectorBitmap(np.packbits(matches, bitorder="little"))
        asked = faiss.SearchParametersHNSW(sel=chosen, efSearch=max(parameters.ef(k), k))
        found: Int64 = built.search(queries.values, k, params=asked)[1]
        return found

    return search


def _columns(
    corpus: Corpus, attribute: str | None, random: np.random.Generator
) -> tuple[str, Mapping[str, Sequence[object]]]:
    """The columns that predicates are about, and what they are called."""
    if attribute == RANDOM or (attribute is None and not corpus.metadata):
        return RANDOM, {RANDOM: random.permutation(len(corpus)).tolist()}
    known = corpus.metadata or {}
    if attribute is None:
        return f"{len(known)} attributes" if len(known) > 1 else next(iter(known)), known
    if attribute not in known:
        raise unknown("attribute", attribute, [*known, RANDOM])
    return attribute, {attribute: known[attribute]}


def _predicates(
    columns: Mapping[str, Sequence[object]], selectivity: float, n: int, random: np.random.Generator
) -> list[Predicate]:
    """Predicates of about a selectivity, different ones, in random order."""
    found: dict[str, Int64] = {}
    for name, values in columns.items():
        found |= (_windows if _numeric(values) else _members)(name, values, selectivity, random)
    near = [
        (text, rows)
        for text, rows in found.items()
        if len(rows) and abs(math.log(len(rows) / n / selectivity)) <= math.log(NEAR)
    ]
    chosen = [near[i] for i in random.permutation(len(near))[:PREDICATES]]
    return [Predicate(text, np.isin(np.arange(n), rows)) for text, rows in chosen]


def _numeric(values: Sequence[object]) -> bool:
    """Whether all that is known are finite numbers."""
    known = [value for value in values if value is not None]
    return bool(known) and all(
        isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v) for v in known
    )


def _windows(
    name: str, values: Sequence[Any], selectivity: float, random: np.random.Generator
) -> dict[str, Int64]:
    """Ranges of numbers that hold so many documents, or more where numbers are equal."""
    known = np.array([row for row, value in enumerate(values) if value is not None])
    numbers = np.array([values[row] for row in known])
    ordered, wanted = np.sort(numbers), max(1, round(selectivity * len(values)))
    found = {}
    if wanted <= len(ordered):
        for start in random.integers(len(ordered) - wanted + 1, size=PREDICATES):
            low, high = ordered[start], ordered[start + wanted - 1]
            found[f"{name} {low} to {high}"] = known[(numbers >= low) & (numbers <= high)]
    return found


def _members(
    name: str, values: Sequence[object], selectivity: float, random: np.random.Generator
) -> dict[str, Int64]:
    """The documents that have each value, or have it in their list."""
    found: dict[str, list[int]] = {}
    for row, value in enumerate(values):
        for one in {_text(v) for v in (value if isinstance(value, list) else [value])} - {"null"}:
            found.setdefault(f"{name} = {one}", []).append(row)
    return {text: np.array(rows) for text, rows in found.items()}


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str, sort_keys=True)


def _answers(
    vectors: _Vectors, matches: NDArray[np.bool_], selectivity: float, seed: int
) -> list[Answer]:
    """Every way's answers to the queries, which take turns with predicates [p, n]."""
    everything = np.arange(len(vectors.queries))
    truth = _restricted(vectors, matches, everything, 2 * vectors.k)  # deeper: ties beyond k count
    wanted = np.count_nonzero(truth.docs[:, : vectors.k] >= 0, axis=1)
    found = []
    for (way, index, factor), search in _ways(vectors, matches).items():
        started = time.perf_counter()
        run = search(everything)
        seconds = time.perf_counter() - started
        alone = []
        for row in everything[:SINGLES]:
            started = time.perf_counter()
            search(np.array([row]))
            alone.append(1000 * (time.perf_counter() - started))
        recall = neighbour_recall(run, truth, vectors.k, EPSILON)
        (low,), (high,) = stats.bootstrap_means(recall[None], seed)
        p50, p95 = np.quantile(alone, [0.5, 0.95]).tolist()
        short = np.mean(np.count_nonzero(run.docs >= 0, axis=1) < wanted)
        found.append(
            Answer(
                selectivity, way, index, factor, float(recall.mean()), float(low), float(high),
                float(short), len(everything) / seconds, p50, p95,
            )
        )  # fmt: skip
    return found


Way = tuple[Literal["pre-filter", "post-filter", "native"], str, int | None]


def _ways(vectors: _Vectors, matches: Bools) -> dict[Way, Search]:
    """How queries can be answered, by way, index and factor."""
    k = vectors.k
    found: dict[Way, Search] = {
        ("pre-filter", "exact", None): lambda asked: _restricted(vectors, matches, asked, k)
    }
    for index, searcher in vectors.searchers.items():
        for factor in FACTORS:
            found["post-filter", index, factor] = _post(vectors, matches, searcher, factor)
    if vectors.native is not None:
        index = next(name for name in vectors.searchers if name != "exact")
        found["native", index, None] = lambda asked: _inside(vectors, matches, asked)
    return found


def _restricted(vectors: _Vectors, matches: Bools, asked: Int64, k: int) -> Run:
    """The k best of the documents that match [q, k], exactly."""
    keys = np.zeros((len(asked), k), np.uint64)
    for turn, which in enumerate(matches):
        mine = np.flatnonzero(asked % len(matches) == turn)
        rows = np.flatnonzero(which)
        for low in range(0, len(rows) if len(mine) else 0, BLOCK):
            block = rows[low : low + BLOCK]
            queries = Dense(vectors.queries.values[asked[mine]])
            best = ranked(queries, Dense(vectors.documents.values[block]), block, k)
            keys[mine] = ranking.best(np.concatenate([keys[mine], best], axis=1), k)
    return ranking.unpack(keys)


def _post(vectors: _Vectors, matches: Bools, searcher: Any, factor: int) -> Search:
    """Search for more, and keep what matches."""
    deeper = min(vectors.k * factor, len(vectors.documents))

    def search(asked: Int64) -> Run:
        run = searcher.search(Dense(vectors.queries.values[asked]), deeper, silent).run
        fits = matches[(asked % len(matches))[:, None], run.docs] & (run.docs >= 0)
        keys = ranking.pack(run.scores, np.where(fits, run.docs, -1))
        return ranking.unpack(ranking.best(keys, vectors.k))

    return search


def _inside(vectors: _Vectors, matches: Bools, asked: Int64) -> Run:
    """Let the index look at the predicate, and score what it found."""
    assert vectors.native is not None
    docs = np.full((len(asked), vectors.k), -1)
    queries = Dense(vectors.queries.values[asked])
    for turn, which in enumerate(matches):
        mine = np.flatnonzero(asked % len(matches) == turn)
        if len(mine):
            docs[mine] = vectors.native(Dense(queries.values[mine]), which, vectors.k)
    rows = np.repeat(np.arange(len(asked)), vectors.k)
    scores = scoring.dense(queries.values, rows, vectors.documents.values, docs.ravel())
    keys = ranking.pack(scores.reshape(docs.shape), docs)
    return ranking.unpack(ranking.best(keys, vectors.k))
