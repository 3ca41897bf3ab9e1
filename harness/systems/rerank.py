"""A first stage's best documents read again, by a model that is dearer and better."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf

import numpy as np

from harness.arrays import Float32, Int32, Int64
from harness.data import Retrieval
from harness.encoders import ENCODERS, CollectionEncoder
from harness.endpoints.usage import known_usage
from harness.errors import InputError
from harness.indexes import scoring
from harness.kinds import Parts
from harness.parameters import check_range
from harness.pipeline import single
from harness.pipeline.represent import Counts, Maker, Workplace, represent
from harness.pipeline.single import Ranked, Request
from harness.progress import silent
from harness.records import SystemRecord
from harness.registry import unknown
from harness.rerankers import RERANKERS, Reranker, reranker_spec
from harness.spec import bare
from harness.systems import RETRIEVERS, Retriever, identify_encoder
from harness.systems.composite import deepen, join, rank_parts
from harness.vectors import Run, ranking


@RETRIEVERS.register("rerank")
@dataclass(frozen=True)
class Rerank(Retriever):
    """Rerank the first depth results of another system (first) by a cross-encoder or an encoder.

    target: a reranker (cross:MODEL, or a bare hub id or folder) or an encoder (colbert:MODEL).
    first: any retriever; depth: how many of its results are scored again, the others follow in
    their order. As rerank:colbert:minilm,first=bm25,depth=100
    """

    target: str
    first: str = "bm25"
    depth: int = 100

    def __post_init__(self) -> None:
        check_range("rerank", depth=(self.depth, 1, inf))
        second, known = reranker_spec(self.target), {*RERANKERS.names(), *ENCODERS.names()}
        if second.name not in known:
            raise unknown("reranker or encoder", second.name, known)
        (RERANKERS if second.name in RERANKERS else ENCODERS).resolve(second)

    @property
    def parts(self) -> tuple[str]:
        """The first stage; what reads again finds nothing alone."""
        return (bare(self.first),)

    @property
    def readers(self) -> tuple[Mapping[str, object]]:
        """What reads again: its fingerprint and code."""
        second = reranker_spec(self.target)
        if second.name not in RERANKERS:
            return (identify_encoder(second),)
        fingerprint = dict(RERANKERS.create(second).fingerprint())
        return ({"fingerprint": fingerprint, "code": RERANKERS.code(second)},)

    def rank(self, spec: str, data: Retrieval, request: Request) -> Ranked:
        """Rank by the first stage, score its best again, and put these first."""
        if data.corpus.parents is not None:
            raise InputError(f"{spec}: documents are ranked by their passages here: not reranked")
        encodes = reranker_spec(self.target).name not in RERANKERS
        # one that cannot be had fails before all else
        reranker = None if encodes else _reranker(self.target, request)
        reads = bare(self.target)
        [(part, first)] = rank_parts(self.parts, data, deepen(request, self.depth))
        rows, columns = np.nonzero(first.run.docs[:, : self.depth] >= 0)
        cells = rows, first.run.docs[rows, columns]
        if reranker is None:
            second = _by_vectors(reads, data, cells, request)
        else:
            second = _by_reading(reads, reranker, data, cells, request)
        alone = second.alone

        def answer(row: int) -> Run:
            assert first.answer
            assert alone
            found = first.answer(row)
            docs = found.docs[0, : self.depth]
            docs = docs[docs >= 0]
            own = np.zeros(len(docs), np.int64), docs
            return self._reorder(found, own, alone(row, docs), request.depth)

        run = self._reorder(first.run, cells, second.scores, request.depth)
        found = [(part, first), (reads, second.as_part(run))]
        return join(spec, found, run, request, answer=answer if first.answer and alone else None)

    def _reorder(self, run: Run, cells: ranking.Cells, scores: Float32, k: int) -> Run:
        return ranking.reorder(run, cells, scores, depth=self.depth, k=k)


@dataclass(frozen=True)
class _Second:
    """What a second stage made of pairs: scores [p].

    alone: those of one query's documents, asked anew; None where they would be paid for or were
    kept. bytes: of the vectors of all documents.
    """

    scores: Float32
    system: SystemRecord
    counts: Counts
    warnings: tuple[str, ...]
    usage: Mapping[str, float]
    alone: Callable[[int, Int32], Float32] | None
    bytes: int = 0
    makers: tuple[Maker, ...] = ()

    def as_part(self, run: Run) -> Ranked:
        """All that is known of it, with the ranking that came of its scores."""
        return Ranked(
            run,
            self.system,
            bytes=self.bytes,
            counts=self.counts,
            warnings=self.warnings,
            usage=self.usage,
            makers=self.makers,
        )


def _reranker(spec: str, request: Request) -> Reranker:
    """The reranker that a spec names, loaded."""
    with request.clock.phase("load", "reranker"):
        found = RERANKERS.create(reranker_spec(spec))
        found.load()
    return found


def _by_reading(
    spec: str, reranker: Reranker, data: Retrieval, cells: ranking.Cells, request: Request
) -> _Second:
    """Scores of a reranker, which reads query and document together."""
    queries, texts = data.queries.texts, data.corpus.texts
    with request.clock.phase("rerank", items=len(cells[0]), unit="pairs"):
        pairs = [(queries[row], texts[doc]) for row, doc in zip(*cells, strict=True)]
        scored = reranker.score(pairs, request.clock.progress, root=request.store.root)
    system = SystemRecord(
        spec=spec,
        full=str(RERANKERS.resolve(reranker_spec(spec))),
        fingerprint=dict(reranker.fingerprint()),
    )

    def alone(row: int, docs: Int32) -> Float32:
        pairs = [(queries[row], texts[doc]) for doc in docs]
        return reranker.score(pairs, silent).scores

    return _Second(
        scored.scores,
        system,
        {
            "pairs": len(pairs),
            "pairs_tokens": scored.tokens if scored.tokens >= 0 else None,
            "pairs_truncated": scored.truncated,
        },
        (*reranker.notes, *scored.notes),
        known_usage(scored.usage),
        None if reranker.paid else alone,
    )


def _by_vectors(spec: str, data: Retrieval, cells: ranking.Cells, request: Request) -> _Second:
    """Scores of an encoder's vectors.

    Only documents that are scored are encoded, unless terms are weighed by the whole corpus.
    """
    encoder = single.encoder_of(spec, request)
    rows, docs = cells
    kept: Int64 = np.arange(len(data.corpus))
    if not isinstance(encoder, CollectionEncoder):
        kept = np.unique(docs).astype(np.int64)
    texts = [data.corpus.texts[row] for row in kept]
    parts: Parts = {"documents": ("document", texts), "queries": ("query", data.queries.texts)}
    clock = request.clock.nest(spec)
    cosine = encoder.similarity == "cosine"
    place = Workplace(request.store, clock)
    vectors = represent(spec, encoder, parts, place, scaled=cosine)
    documents, queries = vectors.parts["documents"], vectors.parts["queries"]
    system = single.describe(spec, encoder, documents)
    with request.clock.phase("rerank", items=len(rows), unit="pairs"):
        places = np.searchsorted(kept, docs)
        scores = scoring.scores(queries, documents, rows, places, progress=clock.progress)

    def alone(row: int, found: Int32) -> Float32:
        one = single.one_query(encoder, queries, data.queries.texts, row)
        places = np.searchsorted(kept, found)
        return scoring.scores(one, documents, np.zeros(len(found), np.int64), places)

    warnings = tuple(vectors.warnings)
    paid = known_usage(vectors.usage)
    size = round(documents.bytes / max(len(kept), 1) * len(data.corpus))
    counts = {**vectors.counts, "pairs": len(rows)}
    makers = tuple(vectors.makers)
    return _Second(scores, system, counts, warnings, paid, alone, size, makers)
