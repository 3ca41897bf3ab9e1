"""MUVERA: one vector a text whose inner products estimate MaxSim, for any index of dense vectors.

Fixed-dimensional encodings (Dhulipala et al. 2024, arXiv 2405.19504). A repetition cuts space into
2^bits buckets by the signs of products with Gaussian vectors. A query's block for a bucket is the
sum of the query's tokens there, a document's their mean; a document without a token there takes the
one whose bucket differs in the fewest bits, the first of several. Each block is projected by a
random matrix of +1 and -1; blocks of all buckets and repetitions, side by side, are the encoding,
and may be projected once more. Here encodings are also divided by the square root of the number of
repetitions, so that a product estimates MaxSim itself.

Drawn from PCG64 with the seed (seed, repetition), in this order: normals [bits, d], rounded to
2^-12; signs [projection_dim, d]; for each bucket the signs [block, final_dim]. A text's numbers are
rounded to 2^-26 of its largest, which float32 hardly tells, so that sums are exact in float64: an
encoding depends on its text alone, whatever order, threads and blocks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from harness.arrays import Float32, Float64, Int64
from harness.errors import InputError
from harness.indexes import INDEXES, Found, Index, IndexInfo, Searcher, maxsim, ragged
from harness.indexes.approximate import at_least, refuse_too_large, total
from harness.progress import Progress, silent
from harness.vectors import Dense, Embeddings, MultiVector, Representation, Run, of_kind, ranking
from harness.vectors.lengths import Extent

MOST_BITS = 16
TOKENS = 1 << 14  # encoded at a time, if it is not one text
CELLS = 1 << 24  # numbers of encodings that are made at a time
QUERIES = 1024  # searched with at a time
GRID, COARSE = 26, 12  # bits kept of vectors and of normals: their products fit 53, up to 4096-d


@dataclass(frozen=True)
class EncodingPlan:
    """What decides an encoding.

    bits: of a bucket's number (k_sim); projection_dim: of a block (d_proj), 0 for a token's own;
    final_dim: in the end, 0 for all.
    """

    repetitions: int = 20
    bits: int = 5
    projection_dim: int = 16
    final_dim: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        at_least("muvera", 1, repetitions=self.repetitions, bits=self.bits)
        at_least(
            "muvera",
            0,
            projection_dim=self.projection_dim,
            final_dim=self.final_dim,
            seed=self.seed,
        )
        if self.bits > MOST_BITS:
            raise InputError(f"muvera: bits={self.bits}: expected at most {MOST_BITS}")

    def block(self, dim: int) -> int:
        """Count the dimensions of a block, for tokens of so many."""
        return self.projection_dim or dim

    def dim(self, dim: int) -> int:
        """Count the dimensions of an encoding, for tokens of so many."""
        return self.final_dim or self.repetitions * self.block(dim) << self.bits


def document_encodings(
    documents: MultiVector, plan: EncodingPlan, progress: Progress = silent
) -> Float32:
    """Encode documents [n, plan.dim(d)]; zeros for one without tokens.

    Raises:
        InputError: where they do not fit into memory.
    """
    return _encodings(documents, plan, progress, documents=True)


def query_encodings(
    queries: MultiVector, plan: EncodingPlan, progress: Progress = silent
) -> Float32:
    """Encode queries [q, plan.dim(d)]; zeros for one without tokens.

    Raises:
        InputError: where they do not fit into memory.
    """
    return _encodings(queries, plan, progress, documents=False)


def _encodings(
    texts: MultiVector, plan: EncodingPlan, progress: Progress, *, documents: bool
) -> Float32:
    n, dim = len(texts), plan.dim(texts.dim)
    refuse_too_large(f"muvera: {n:,} encodings of {dim:,} dimensions", 4.0 * n * dim)
    encodings = np.zeros((n, dim), np.float32)
    rows, kept = ragged.drop_empty(texts)
    for low, high in ragged.parts(kept.offsets, TOKENS, max(1, CELLS // dim)):
        block = ragged.take_texts(kept, low, high)
        encodings[rows[low:high]] = _encode(block, plan, documents=documents)
        progress("encode", high, len(kept), "texts")
    return encodings


def _encode(texts: MultiVector, plan: EncodingPlan, *, documents: bool) -> Float64:
    """Encodings [n, dim] of texts that all have tokens."""
    whole, exponents = _whole(texts.values, texts.offsets[:-1])
    text = np.repeat(np.arange(len(texts)), texts.lengths)
    n, block = len(texts), plan.block(texts.dim)
    found = np.zeros((n, plan.dim(texts.dim)))
    for repetition in range(plan.repetitions):
        random = np.random.Generator(np.random.PCG64([plan.seed, repetition]))
        normals = np.rint(random.standard_normal((plan.bits, texts.dim)) * 2**COARSE)
        signs = _signs(random, plan.projection_dim, texts.dim)
        cells = (text << plan.bits) + (whole @ normals.T > 0) @ (1 << np.arange(plan.bits))
        tokens = whole @ signs.T if plan.projection_dim else whole
        values = _blocks(tokens, cells, n, plan.bits, mean=documents).reshape(n, -1)
        values = (
            np.ldexp(values, exponents[:, None])
            / (plan.repetitions * (plan.projection_dim or 1)) ** 0.5
        )
        if plan.final_dim:
            found += _project(values, plan.final_dim, block, random)
        else:
            found[:, repetition * values.shape[1] :][:, : values.shape[1]] = values
    return found


def _whole(values: Any, starts: Int64) -> tuple[Float64, Int64]:
    """Rows [t, d] as whole numbers below 2^GRID.

    Also the exponent of 2 that takes them back, for each run of rows, beginning at `starts`.
    """
    largest = np.maximum.reduceat(np.abs(values).max(axis=1), starts)
    exponents = np.frexp(largest)[1].astype(np.int64) - GRID
    each = np.repeat(exponents, np.diff(starts, append=len(values)))
    return np.rint(np.ldexp(values.astype(np.float64), -each[:, None])), exponents


def _signs(random: np.random.Generator, rows: int, columns: int) -> Float64:
    """A matrix of +1 and -1."""
    signs: Float64 = random.integers(0, 2, (rows, columns), np.int8) * 2.0 - 1
    return signs


def _blocks(tokens: Float64, cells: Int64, n: int, bits: int, *, mean: bool) -> Float64:
    """Sums, or means, of the tokens [t, b] of every text's bucket [n << bits, b].

    Of means, an empty bucket takes the token with the fewest other bits. cells: [t], text << bits
    plus bucket.
    """
    from scipy.sparse import csc_matrix

    t, size = len(tokens), n << bits
    member = csc_matrix((np.ones(t), cells, np.arange(t + 1)), shape=(size, t))
    sums: Float64 = member @ tokens
    if not mean:
        return sums
    first = np.full(size, (bits + 1) * t)
    first[cells[::-1]] = np.arange(t)[::-1]  # what is assigned last stays
    near = first.reshape(n, *[2] * bits)
    for axis in range(1, bits + 1):  # another bit costs more than any place in the text
        near = np.minimum(near, np.flip(near, axis) + t)
    counts = np.bincount(cells, minlength=size)
    empty = counts == 0
    sums[empty] = tokens[near.ravel()[empty] % t]
    sums /= np.maximum(counts, 1)[:, None]
    return sums


def _project(values: Float64, final: int, block: int, random: np.random.Generator) -> Float64:
    """Rows [n, blocks x block] times random signs, to `final` dimensions."""
    whole, exponents = _whole(values, np.arange(len(values)))
    found = np.zeros((len(values), final))
    for low in range(0, values.shape[1], block):
        found += whole[:, low : low + block] @ _signs(random, block, final)
    scaled: Float64 = np.ldexp(found, exponents[:, None]) / final**0.5
    return scaled


@INDEXES.register(
    "muvera",
    renamed={"rescore": "rerank_depth", "projection": "projection_dim", "final": "final_dim"},
)
def muvera(
    target: str = "exact",
    *,
    repetitions: int = 20,
    bits: int = 5,
    projection_dim: int = 16,
    final_dim: int = 0,
    rerank_depth: int = 100,
    seed: int = 0,
) -> Muvera:
    """MUVERA: MaxSim by one vector a text, served by a dense index, as muvera:hnsw, and reranked.

    repetitions, bits, projection_dim, final_dim, seed: of the encodings (R_reps, k_sim, d_proj,
    d_final), 2^bits x projection_dim x repetitions dimensions or `final_dim`. rerank_depth: the
    first so many are ranked by exact MaxSim, whatever is wanted follows them in the encodings'
    order; 0 for none.

    Raises InputError for numbers out of range and an index that takes no dense vectors.
    """
    at_least("muvera", 0, rerank_depth=rerank_depth)
    inner = INDEXES.create(target)
    if "dense" not in inner.accepts:
        raise InputError(
            f"muvera:{target}: {target} takes {' or '.join(inner.accepts)} vectors: expected dense"
        )
    return Muvera(
        inner, EncodingPlan(repetitions, bits, projection_dim, final_dim, seed), rerank_depth
    )


@dataclass(frozen=True)
class Muvera(Index):
    """Encodings in another index; rerank_depth: its first results that MaxSim ranks."""

    inner: Index
    plan: EncodingPlan
    rerank_depth: int

    accepts: ClassVar[tuple[Representation, ...]] = ("multi-vector",)

    @property
    def mergeable(self) -> bool:
        """Whether encodings are compared exactly and nothing is reranked."""
        return self.inner.mergeable and not self.rerank_depth

    def require(self, representation: Representation) -> None:
        """Check what the index of the encodings needs."""
        self.inner.require("dense")

    def describe(self) -> Mapping[str, object]:
        """Describe the index of the encodings, which is not exact for what they encode."""
        return {**self.inner.describe(), "exact": False}

    def open(
        self, documents: Embeddings, place: Path | None = None, progress: Progress = silent
    ) -> MuveraSearcher:
        """Encode and index the documents; place: of the structure of their encodings.

        Raises:
            InputError: for NaN and what does not fit.
        """
        ready = maxsim.MaxSimSearcher.of(of_kind(documents, MultiVector))
        encodings = Dense(document_encodings(ready.documents, self.plan))
        searcher = self.inner.open(encodings, place, progress)
        info = searcher.info
        more = self.inner.notes(self.rerank_depth) if self.rerank_depth else ()
        size = encodings.bytes if info.bytes is None else info.bytes
        tokens = ready.documents.bytes if self.rerank_depth else 0
        notes = (*info.notes, *more)
        own = replace(info, bytes=size + tokens, exact=False, notes=notes)
        return MuveraSearcher(
            ready.documents, ready.rows, ready.extent, searcher, self.plan, self.rerank_depth, own
        )


@dataclass(frozen=True)
class MuveraSearcher:
    """documents: those that have tokens, which `rows` of all are; searcher: of their encodings.

    extent: how long the vectors of their tokens are; info: of what serves a search, tokens included
    where candidates are reranked.
    """

    documents: MultiVector
    rows: Int64
    extent: Extent
    searcher: Searcher
    plan: EncodingPlan
    rerank_depth: int
    info: IndexInfo

    def search(self, queries: Embeddings, k: int, progress: Progress) -> Found:
        """Find the k best documents of each query [q, k]: by MaxSim, then by its estimate.

        The estimate is scored below it; all are by their estimates where nothing is reranked.
        """
        q = len(queries)
        queries, _ = ragged.check_tokens(queries, self.documents.dim, self.extent)
        asked, queries = ragged.drop_empty(queries)
        docs, scores = np.full((len(asked), k), -1, np.int32), np.zeros((len(asked), k), np.float32)
        counted = list[int | None]()
        for low in range(0, len(asked), QUERIES):
            part = ragged.take_texts(queries, low, min(low + QUERIES, len(asked)))
            encodings = Dense(query_encodings(part, self.plan))
            found = self.searcher.search(encodings, max(k, self.rerank_depth), silent)
            counted.append(found.distances)
            run = self._rerank(part, found.run, k)
            docs[low : low + QUERIES], scores[low : low + QUERIES] = run.docs, run.scores
            progress("search", low + len(part), len(asked), "queries")
        run = ragged.restore_rows(Run(docs, scores), asked, self.rows, q)
        return Found(run, total(counted))

    def _rerank(self, queries: MultiVector, run: Run, k: int) -> Run:
        """The k best of candidates [q, m]."""
        depth = self.rerank_depth
        if not depth:
            return Run(run.docs[:, :k], run.scores[:, :k])
        rows, ranks = np.nonzero(run.docs[:, :depth] >= 0)
        cells = rows, run.docs[rows, ranks]
        exact = maxsim.scores(queries, self.documents, *cells)
        return ranking.reorder(run, cells, exact, depth=depth, k=k)
