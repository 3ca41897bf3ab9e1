"""How well cheap candidates stand in for MaxSim: encodings of one vector, and single tokens.

For each query the document that exact MaxSim ranks first is looked for among candidates, as in
tables 1 and 2 of MUVERA (Dhulipala et al. 2024, arXiv 2405.19504): 1Recall@N is the share of
queries that have it among the first N, and the candidates to reach a share are the least such N.

The ways to find candidates:
    muvera        the order of the encodings' products
    token search  what is usual without encodings: each vector of a query finds its nearest among
                  the vectors of all documents, in rounds; a round adds a candidate for each vector
                  of the query, and a document found again counts again, or once
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from harness.arrays import Int64, spans
from harness.data import Retrieval
from harness.errors import InputError
from harness.indexes import INDEXES, maxsim
from harness.indexes.muvera import Muvera
from harness.measures.neighbours import neighbour_recall
from harness.progress import Progress, silent
from harness.store import Store
from harness.studies.subject import Interval, embed, interval
from harness.vectors import MultiVector, Run

SETTINGS = tuple(
    f"muvera,repetitions=20,bits={bits},projection_dim={dim}"
    for bits, dim in ((3, 8), (4, 8), (5, 8), (5, 16))  # the paper's best for their size
)
REPEATS, ONCE = "token search, documents counted again", "token search, documents counted once"
DEPTHS = tuple(step * 10**power for power in range(5) for step in (1, 2, 5))
SHARES = (0.8, 0.85, 0.9, 0.95)  # of queries
NEAR = 10  # neighbours that recall is of
QUERIES = 1000  # at most
NEVER = np.iinfo(np.int64).max  # candidates that a query needs whose document is not found
LARGEST = 10_000_000  # vectors of documents: token search compares with all at once


@dataclass(frozen=True)
class Way:
    """Candidates of one kind.

    bytes: what is searched for candidates. found: 1Recall@N by `Proxy.depths`; needed: candidates
    that give 80, 85, 90, 95 % of queries their document, None where it is not among those looked
    at. Of encodings: their dimension, and the recall of the NEAR nearest among as many candidates;
    token search has none, nor does it rank documents.
    """

    name: str
    bytes: int
    found: tuple[float, ...]
    needed: tuple[int | None, ...]
    dimension: int | None = None
    recall: Interval | None = None


@dataclass(frozen=True)
class Proxy:
    """Candidates for MaxSim. vectors: of all documents; asked: vectors of a query, on average;
    bytes: of the documents' vectors; deepest: candidates of encodings looked at.
    """

    encoder: str
    task: str
    documents: int
    vectors: int
    width: int
    bytes: int
    queries: int
    asked: float
    depths: tuple[int, ...]
    deepest: int
    ways: tuple[Way, ...]
    seed: int
    warnings: tuple[str, ...]


def study(
    encoder: str,
    task: str,
    settings: Sequence[str] = SETTINGS,
    *,
    store: Store,
    seed: int = 0,
    progress: Progress = silent,
) -> Proxy:
    """Look for each query's first document by MaxSim among the candidates of each setting.

    encoder, task: specs; settings: specs of the index muvera; its `rerank_depth` plays no part. At
    most 1,000 queries are asked, drawn with the seed. A document that scores as the first counts
    as it.

    Raises InputError for a model without several vectors a text, a task that is not retrieval, an
    index that is not muvera, more than ten million vectors, and what has none; else what encoder,
    store and indexes raise.
    """
    indexes = {setting: _muvera(setting) for setting in settings}
    found = embed(encoder, task, store=store, progress=progress, makes=("multi-vector",))
    documents, queries = found.vectors.get("documents"), found.vectors.get("queries")
    if not isinstance(found.data, Retrieval):
        raise InputError(f"{task} is a task of {found.data.kind}: expected retrieval")
    assert isinstance(documents, MultiVector)
    assert isinstance(queries, MultiVector)
    (_, documents), (_, queries) = maxsim.present(documents), maxsim.present(queries)
    if not len(documents) or not len(queries):
        raise InputError(f"{task}: no document or no query has vectors: nothing to measure")
    if len(documents.values) > LARGEST:
        raise InputError(
            f"{task}: {len(documents.values):,} vectors of documents: expected at most {LARGEST:,}"
        )
    notes, of = list(found.warnings), len(queries)
    if of > QUERIES:
        queries = _drawn(queries, seed)
        notes.append(f"queries: {QUERIES:,} of {of:,}, drawn")
    n, deepest = len(documents), min(len(documents), DEPTHS[-1])
    depths = tuple(depth for depth in DEPTHS if depth <= deepest)
    exact = INDEXES.create("exact").open(documents)
    truth = exact.search(queries, min(2 * NEAR, n), progress).run
    ways = []
    for done, (setting, index) in enumerate(indexes.items()):
        progress("encode", done, len(indexes), "settings")
        searcher = replace(index, rerank_depth=0).open(documents)
        run = searcher.search(queries, deepest, silent).run
        way = _way(setting, searcher.info.bytes or 0, _ranks(run, truth), depths)
        recall = interval(neighbour_recall(run, truth, NEAR), seed)
        ways.append(replace(way, dimension=index.plan.dim(documents.dim), recall=recall))
        notes.extend(searcher.info.notes)
    repeats, once = _by_token(queries, documents, truth, progress)
    for name, counts in ((REPEATS, repeats), (ONCE, once)):
        ways.append(_way(name, documents.bytes, counts, depths))
    return Proxy(
        encoder=encoder,
        task=task,
        documents=n,
        vectors=len(documents.values),
        width=documents.dim,
        bytes=documents.bytes,
        queries=len(queries),
        asked=float(queries.lengths.mean()),
        depths=depths,
        deepest=deepest,
        ways=tuple(ways),
        seed=seed,
        warnings=tuple(dict.fromkeys(notes)),
    )


def _muvera(setting: str) -> Muvera:
    """The index that a spec names, its libraries there. Raises InputError."""
    index = INDEXES.create(setting)
    if not isinstance(index, Muvera):
        raise InputError(f"index {setting} makes no encodings: expected muvera,...")
    index.require("multi-vector")
    return index


def _drawn(queries: MultiVector, seed: int) -> MultiVector:
    """Some of the queries, in their order."""
    chosen = np.sort(np.random.default_rng(seed).permutation(len(queries))[:QUERIES])
    lengths = queries.lengths[chosen]
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return MultiVector(queries.values[spans(queries.offsets[chosen], lengths)], offsets)


def _way(name: str, size: int, ranks: Int64, depths: tuple[int, ...]) -> Way:
    """What the candidates that each query needs [q] come to."""
    ordered = np.sort(ranks)
    reached = [int(ordered[math.ceil(share * len(ranks)) - 1]) for share in SHARES]
    found = tuple(float((ranks <= depth).mean()) for depth in depths)
    return Way(name, size, found, tuple(rank if rank < NEVER else None for rank in reached))


def _first(truth: Run) -> NDArray[np.bool_]:
    """[q, k]: which documents score as the first does."""
    ties: NDArray[np.bool_] = (truth.docs >= 0) & (truth.scores == truth.scores[:, :1])
    return ties


def _ranks(run: Run, truth: Run) -> Int64:
    """The place [q] in a run of the first document by MaxSim, from 1; NEVER where it is not."""
    found = np.zeros(run.docs.shape, np.bool_)
    for docs, first in zip(truth.docs.T, _first(truth).T, strict=True):
        found |= (run.docs == docs[:, None]) & first[:, None]
    return np.where(found.any(axis=1), 1 + found.argmax(axis=1), NEVER)


def _by_token(
    queries: MultiVector, documents: MultiVector, truth: Run, progress: Progress
) -> tuple[Int64, Int64]:
    """Candidates [q] that token search finds until it has a query's first document by MaxSim: with
    a document counted each time, and once.
    """
    q, ties = len(queries), _first(truth)
    repeats, once = np.zeros(q, np.int64), np.zeros(q, np.int64)
    for row in range(q):
        own = queries.values[queries.offsets[row] : queries.offsets[row + 1]]
        products = own @ documents.values.T
        highest = np.maximum.reduceat(products, documents.offsets[:-1], axis=1)
        wanted = highest[:, truth.docs[row, ties[row]]].max(axis=1)
        nearer = np.count_nonzero(products > wanted[:, None], axis=1)
        rounds = int(nearer.min()) + 1
        last = np.partition(products, -rounds, axis=1)[:, -rounds]
        repeats[row] = rounds * len(own)
        once[row] = np.count_nonzero((highest >= last[:, None]).any(axis=0))
        progress("token search", row + 1, q, "queries")
    return repeats, once
