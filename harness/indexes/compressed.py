"""Dense vectors made smaller, by fewer dimensions or fewer bits a number, and what that costs.

Whatever is searched, the rescore * k best may be scored again by vectors that are larger. Ties at a
cut are whole: what is found is decided by the codes and the one ranking rule.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from harness.arrays import Float32, Float64, Int64
from harness.errors import InputError
from harness.indexes import INDEXES, CountingSearcher
from harness.indexes.approximate import Approximate, Nearest, at_least
from harness.indexes.exact import Exact, load_faiss, longest
from harness.indexes.factory import TRAINING, Factory
from harness.progress import silent
from harness.vectors import Dense, Embeddings, Representation, ranking

Kept = Literal["float32", "int8", "bits"]
BLOCK = 1 << 14  # rows widened to float64 at a time
SPARE = 16  # results more than wanted, to see whether the last of them tie


@dataclass(frozen=True)
class Compressed:
    """Search in smaller vectors, then scoring of what it found by those that are kept.

    shrink: makes documents [n, d] searchable; returns the search and the memory that it takes to
    serve. rescore: candidates that are scored again, times k; 0 for none.
    """

    kind: str
    shrink: Callable[[Float32], tuple[Nearest, int]]
    rescore: int
    kept: Kept = "float32"

    takes: ClassVar[tuple[Representation, ...]] = ("dense",)

    def __post_init__(self) -> None:
        at_least(self.kind, 0, rescore=self.rescore)

    def require(self, makes: Representation) -> None:
        """Raises InputError where faiss is not installed."""
        load_faiss()

    def describe(self) -> Mapping[str, object]:
        """What it is, and the library."""
        return {"kind": self.kind, "faiss": load_faiss().__version__}

    def build(self, documents: Embeddings) -> CountingSearcher:
        """Shrink the documents. Raises InputError for NaN, infinity and too few dimensions."""
        assert isinstance(documents, Dense)
        values = np.ascontiguousarray(documents.values, np.float32)
        longest(values)
        nearest, size = self.shrink(values)
        if not self.rescore:
            return Approximate(values, nearest, size, rescore=False)
        kept, more = _kept(values, self.kept)
        return Approximate(kept, nearest, size + more, factor=self.rescore)


@INDEXES.register("truncate")
def truncate(dimensions: int = 128, rescore: int = 0) -> Compressed:
    """The first dimensions, as Matryoshka models are made for (Kusupati et al. 2022).

    A vector keeps its length, so that cosine stays cosine. rescore: score the rescore * k best by
    whole vectors; 0 for none.
    """
    at_least("truncate", 1, dimensions=dimensions)

    def shrink(values: Float32) -> tuple[Nearest, int]:
        _refuse_wider("truncate", dimensions, values)
        return _projected(values, lambda rows: rows[:, :dimensions])

    return Compressed("truncate", shrink, rescore)


@INDEXES.register("pca")
def pca(dimensions: int = 64, rescore: int = 0, seed: int = 0) -> Compressed:
    """The principal axes of the documents, not centred: as many as there are change no score.

    No other projection to so few dimensions keeps the documents as well (Eckart and Young 1936). A
    vector keeps its length. rescore: as for truncate; seed: of the documents fitted on, if many.
    """
    at_least("pca", 1, dimensions=dimensions)
    at_least("pca", 0, seed=seed)

    def shrink(values: Float32) -> tuple[Nearest, int]:
        _refuse_wider("pca", dimensions, values)
        axes = principal(values, seed)[:, :dimensions]
        nearest, size = _projected(values, lambda rows: rows @ axes)
        return nearest, size + 4 * axes.size

    return Compressed("pca", shrink, rescore)


@INDEXES.register("int8")
def int8(rescore: int = 0) -> Compressed:
    """A byte a number: 256 steps from the least to the greatest of the documents' numbers.

    Each dimension has its own steps, seen on at most 131,072 documents; queries are not rounded.
    rescore: as for truncate. The same as faiss:SQ8, with ties by the one rule.
    """
    return Compressed("int8", lambda values: _coded(Factory("SQ8"), values), rescore)


@INDEXES.register("binary")
def binary(rescore: int = 4, kept: Kept = "bits") -> Compressed:
    """A bit a number, its sign, compared by Hamming distance, then rescored.

    rescore: score the rescore * k best by the inner product of the query, which is not rounded,
    with what is kept of documents: their bits as 1 and -1 (Yamada et al. 2021), int8 as the index
    of that name, or all. 0: scores are Hamming distances, negated.
    """
    return Compressed("binary", lambda values: _coded(Factory("BFlat"), values), rescore, kept)


def principal(values: Float32, seed: int = 0) -> Float64:
    """The principal axes [d, d] of vectors [n, d], not centred, the one of most weight first."""
    n, d = values.shape
    chosen = np.random.default_rng(seed).choice(n, min(n, TRAINING), replace=False)
    products = np.zeros((d, d))
    for low in range(0, len(chosen), BLOCK):
        rows = values[np.sort(chosen[low : low + BLOCK])].astype(np.float64)
        products += rows.T @ rows
    return np.ascontiguousarray(np.linalg.eigh(products)[1][:, ::-1])


def _refuse_wider(name: str, dimensions: int, values: Float32) -> None:
    if dimensions > values.shape[1]:
        raise InputError(
            f"{name}: dimensions={dimensions}: the vectors have only {values.shape[1]}"
        )


def _projected(values: Float32, project: Callable[[Float64], Float64]) -> tuple[Nearest, int]:
    """Exact search in projected vectors, and their bytes."""
    small = _resized(values, project)
    searcher = Exact().build(Dense(small))

    def nearest(queries: Float32, m: int) -> tuple[Int64, Float32, int | None]:
        run = searcher.search(Dense(_resized(queries, project)), m, silent)
        return run.docs.astype(np.int64), run.scores, len(queries) * len(small)

    return nearest, small.nbytes


def _resized(values: Float32, project: Callable[[Float64], Float64]) -> Float32:
    """Vectors projected in float64, so that a row depends on no other, each with its old length."""
    parts = []
    for low in range(0, len(values), BLOCK):
        rows = values[low : low + BLOCK].astype(np.float64)
        small = project(rows)
        before, after = (np.linalg.norm(part, axis=1, keepdims=True) for part in (rows, small))
        parts.append((small * (before / np.where(after == 0, 1, after))).astype(np.float32))
    return np.concatenate(parts)


def _coded(factory: Factory, values: Float32) -> tuple[Nearest, int]:
    """Search in the codes of a faiss index, and their bytes."""
    documents = Dense(values)
    searcher = factory.searcher(factory.grow(documents, silent), documents)
    assert isinstance(searcher, Approximate)
    return _with_ties(searcher.nearest, len(values)), searcher.bytes


def _with_ties(nearest: Nearest, n: int) -> Nearest:
    """The same search, asked for more until what ties with the last result wanted is there too."""

    def search(queries: Float32, m: int) -> tuple[Int64, Float32, int | None]:
        docs = np.empty((len(queries), m), np.int64)
        scores, distances = np.empty(docs.shape, np.float32), 0
        left, wanted = np.arange(len(queries)), min(m + SPARE, n)
        while len(left):
            found, near, computed = nearest(queries[left], wanted)
            run = ranking.unpack(ranking.best(ranking.pack(near, found), m))
            docs[left], scores[left] = run.docs, run.scores
            distances += computed or 0
            tied = (near[:, m - 1] == near[:, -1]) & (wanted < n)
            left, wanted = left[tied], min(4 * wanted, n)
        return docs, scores, distances

    return search


def _kept(values: Float32, kept: Kept) -> tuple[Float32, int]:
    """Vectors [n, d] that candidates are scored by, and the bytes of what they are made from."""
    if kept == "float32":
        return values, values.nbytes
    if kept == "bits":  # which are what is searched
        return np.where(values > 0, np.float32(1), np.float32(-1)), 0
    codes = Factory("SQ8").grow(Dense(values), silent)
    return codes.reconstruct_n(0, len(values)), codes.code_size * len(values)
