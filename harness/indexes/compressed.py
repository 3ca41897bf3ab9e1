"""Dense vectors made smaller, by fewer dimensions or fewer bits a number, and what that costs.

Whatever is searched, the oversample * k best may be scored again by vectors that are larger. Ties
at a cut are whole: what is found is decided by the codes and the one ranking rule.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from harness.arrays import Float32, Float64
from harness.errors import InputError
from harness.indexes import INDEXES, Index, IndexInfo, Searcher
from harness.indexes.approximate import Answer, Approximate, Nearest, at_least
from harness.indexes.cosine import open_by_cosine
from harness.indexes.exact import Exact
from harness.indexes.factory import TRAINING, Factory
from harness.indexes.faiss_library import load_faiss
from harness.progress import Progress, silent
from harness.vectors import Dense, Embeddings, Representation, of_kind, ranking
from harness.vectors.lengths import check_documents

Kept = Literal["float32", "int8", "bits"]
RENAMED = {"rescore": "oversample"}
PROJECTED = {**RENAMED, "dimensions": "dim"}
BLOCK = 1 << 14  # rows widened to float64 at a time
SPARE = 16  # results more than wanted, to see whether the last of them tie


@dataclass(frozen=True)
class Compressed(Index):
    """Search in smaller vectors, then scoring of what it found by those that are kept.

    oversample: candidates that are scored again, as a multiple of k; 0 for none. metric: cosine for
    vectors whose lengths are to play no part.
    """

    oversample: int = 0
    metric: Literal["cosine"] | None = field(default=None, kw_only=True)

    kind: ClassVar[str]
    row_by_row: ClassVar[bool]  # whether a small vector depends on no other document
    accepts: ClassVar[tuple[Representation, ...]] = ("dense",)
    compresses: ClassVar[bool] = True

    def __post_init__(self) -> None:
        at_least(self.kind, 0, oversample=self.oversample)

    @property
    def mergeable(self) -> bool:
        """Whether small vectors depend on no other document, and all are compared."""
        return self.row_by_row and not self.oversample

    def require(self, representation: Representation) -> None:
        """Check that faiss is installed."""
        load_faiss()

    def describe(self) -> Mapping[str, object]:
        """Tell what it is, and the library."""
        return {"kind": self.kind, "faiss": load_faiss().__version__}

    def check_alone(self) -> None:
        """Refuse parameters of what only a search does. Raises InputError."""
        if self.oversample != type(self).oversample:
            raise InputError(
                f"oversample={self.oversample} scores again what a search found, and this task "
                "searches nothing: leave it out"
            )

    @abstractmethod
    def keep(self, values: Float32, fitted_on: Float32) -> Float32:
        """Give vectors [n, d] as they are after the loss, fitted on others [m, d]."""

    def compressor(self) -> Callable[[Embeddings, Embeddings], Embeddings]:
        """Give what makes vectors as documents are kept.

        Raises:
            InputError: for parameters of what only a search does; the function, for NaN, infinity
                and too few dimensions.
        """
        self.check_alone()
        return lambda vectors, others: Dense(self.keep(_check(vectors), _check(others)))

    @abstractmethod
    def shrink(self, values: Float32) -> tuple[Nearest, int]:
        """Make documents [n, d] searchable; returns the search and the bytes that serve it."""

    def larger(self, values: Float32) -> tuple[Float32, int]:
        """Make the vectors [n, d] that candidates are scored by; returns also their bytes."""
        return values, values.nbytes

    def open(
        self, documents: Embeddings, place: Path | None = None, progress: Progress = silent
    ) -> Searcher:
        """Shrink the documents; nothing is kept.

        Raises:
            InputError: for NaN, infinity and too few dimensions.
        """
        if self.metric:
            return open_by_cosine(replace(self, metric=None), documents, place, progress)
        values = _check(documents)
        nearest, size = self.shrink(values)
        if not self.oversample:
            return Approximate(values, nearest, IndexInfo(size), rescore=False)
        larger, more = self.larger(values)
        return Approximate(larger, nearest, IndexInfo(size + more), oversample=self.oversample)


@INDEXES.register("truncate", renamed=PROJECTED)
@dataclass(frozen=True)
class Truncate(Compressed):
    """Keep the first dim dimensions, for Matryoshka models (Kusupati et al. 2022).

    A vector keeps its length, so that cosine stays cosine. oversample: score the oversample * k
    best by whole vectors; 0 for none.
    """

    dim: int = 128

    kind: ClassVar[str] = "truncate"
    row_by_row: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(self.kind, 1, dim=self.dim)

    def keep(self, values: Float32, fitted_on: Float32) -> Float32:
        """Cut the vectors."""
        _refuse_wider(self.kind, self.dim, values)
        return _project(values, lambda rows: rows[:, : self.dim])

    def shrink(self, values: Float32) -> tuple[Nearest, int]:
        """Cut the vectors."""
        _refuse_wider(self.kind, self.dim, values)
        return _search_projected(values, lambda rows: rows[:, : self.dim])


@INDEXES.register("pca", renamed=PROJECTED)
@dataclass(frozen=True)
class Pca(Compressed):
    """Keep dim principal components of the documents, not centred: pca,dim=64.

    No other projection to so few dimensions keeps the documents as well (Eckart and Young 1936). A
    vector keeps its length. oversample: as for truncate; seed: of the documents fitted on, if many.
    """

    dim: int = 64
    seed: int = 0

    kind: ClassVar[str] = "pca"
    row_by_row: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(self.kind, 1, dim=self.dim)
        at_least(self.kind, 0, seed=self.seed)

    def keep(self, values: Float32, fitted_on: Float32) -> Float32:
        """Project the vectors on the principal axes of others."""
        axes = self._axes(fitted_on)
        return _project(values, lambda rows: rows @ axes)

    def _axes(self, values: Float32) -> Float64:
        _refuse_wider(self.kind, self.dim, values)
        return principal(values, self.seed)[:, : self.dim]

    def shrink(self, values: Float32) -> tuple[Nearest, int]:
        """Project the vectors on their principal axes."""
        axes = self._axes(values)
        nearest, size = _search_projected(values, lambda rows: rows @ axes)
        return nearest, size + 4 * axes.size


@INDEXES.register("int8", renamed=RENAMED)
@dataclass(frozen=True)
class Int8(Compressed):
    """One byte a number: 256 steps between the smallest and the largest of each dimension.

    Each dimension has its own steps, seen on at most 131,072 documents; queries are not rounded.
    oversample: as for truncate. The same as faiss:SQ8, with ties by the one rule.
    """

    kind: ClassVar[str] = "int8"
    row_by_row: ClassVar[bool] = False

    def keep(self, values: Float32, fitted_on: Float32) -> Float32:
        """Round the vectors, between the smallest and the largest numbers of others."""
        codes = Factory("SQ8").make(Dense(fitted_on), silent)
        rounded: Float32 = codes.sa_decode(codes.sa_encode(values))
        return rounded

    def shrink(self, values: Float32) -> tuple[Nearest, int]:
        """Round the vectors."""
        return _search_codes(Factory("SQ8"), values)


@INDEXES.register("binary", renamed=RENAMED)
@dataclass(frozen=True)
class Binary(Compressed):
    """One bit a number, its sign: Hamming distance, then oversample * k rescored by whole vectors.

    oversample: score the oversample * k best by the inner product of the query, which is not
    rounded, with what is kept of documents: their bits as 1 and -1 (Yamada et al. 2021), int8 as
    the index of that name, or all. 0: scores are Hamming distances, negated.
    """

    oversample: int = 4
    kept: Kept = "bits"

    kind: ClassVar[str] = "binary"
    row_by_row: ClassVar[bool] = True

    def check_alone(self) -> None:
        """Also refuse what scores are made of again. Raises InputError."""
        super().check_alone()
        if self.kept != "bits":
            raise InputError(
                f"kept={self.kept} is what a search scores again by, and this task searches "
                "nothing: leave it out"
            )

    def keep(self, values: Float32, fitted_on: Float32) -> Float32:
        """Take the signs, as 1 and -1."""
        return np.where(values > 0, np.float32(1), np.float32(-1))

    def shrink(self, values: Float32) -> tuple[Nearest, int]:
        """Take the signs."""
        return _search_codes(Factory("BFlat"), values)

    def larger(self, values: Float32) -> tuple[Float32, int]:
        """Make what candidates are scored by, and count the bytes of what it is made from."""
        if self.kept == "float32":
            return values, values.nbytes
        if self.kept == "bits":  # which are what is searched
            return self.keep(values, values), 0
        codes = Factory("SQ8").make(Dense(values), silent)
        return codes.reconstruct_n(0, len(values)), codes.code_size * len(values)


def principal(values: Float32, seed: int = 0) -> Float64:
    """Find the principal axes of vectors, not centred.

    Args:
        values: [n, d].
        seed: of the rows looked at, if many.

    Returns:
        The axes [d, d], a column each, the one of most weight first.
    """
    n, d = values.shape
    chosen = np.random.default_rng(seed).choice(n, min(n, TRAINING), replace=False)
    products = np.zeros((d, d))
    for low in range(0, len(chosen), BLOCK):
        rows = values[np.sort(chosen[low : low + BLOCK])].astype(np.float64)
        products += rows.T @ rows
    return np.ascontiguousarray(np.linalg.eigh(products)[1][:, ::-1])


def _check(vectors: Embeddings) -> Float32:
    """Dense vectors in a row. Raises InputError for NaN and infinity."""
    values = np.ascontiguousarray(of_kind(vectors, Dense).values, np.float32)
    check_documents(values)
    return values


def _refuse_wider(name: str, dim: int, values: Float32) -> None:
    if dim > values.shape[1]:
        raise InputError(f"{name}: dim={dim}: the vectors have only {values.shape[1]}")


def _search_projected(
    values: Float32, project: Callable[[Float64], Float64]
) -> tuple[Nearest, int]:
    """Exact search in projected vectors, and their bytes."""
    small = _project(values, project)
    searcher = Exact(device="cpu").open(Dense(small))

    def nearest(queries: Float32, m: int) -> Answer:
        run = searcher.search(Dense(_project(queries, project)), m, silent).run
        return run.docs.astype(np.int64), run.scores, len(queries) * len(small)

    return nearest, small.nbytes


def _project(values: Float32, project: Callable[[Float64], Float64]) -> Float32:
    """Vectors projected in float64, so that a row depends on no other, each with its old length."""
    parts = []
    for low in range(0, len(values), BLOCK):
        rows = values[low : low + BLOCK].astype(np.float64)
        small = project(rows)
        before, after = (np.linalg.norm(part, axis=1, keepdims=True) for part in (rows, small))
        parts.append((small * (before / np.where(after == 0, 1, after))).astype(np.float32))
    return np.concatenate(parts)


def _search_codes(factory: Factory, values: Float32) -> tuple[Nearest, int]:
    """Search in the codes of a faiss index, and their bytes."""
    codes = factory.make(Dense(values), silent)
    return _with_ties(partial(factory.ask, codes), len(values)), factory.size(codes)


def _with_ties(nearest: Nearest, n: int) -> Nearest:
    """The same search, asked for more until what ties with the last result wanted is there too."""

    def search(queries: Float32, m: int) -> Answer:
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
