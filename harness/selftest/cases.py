"""Cases of exact search: every pair of values of their parameters, and the vectors of each case."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import partial
from typing import Literal

import numpy as np

from harness.arrays import Float32, Int64
from harness.indexes.gpu.certified import Precision
from harness.vectors import Dense, MultiVector

Layout = Literal["one", "replicated", "sharded"]
Kind = Literal[
    "random", "unit", "equal", "duplicates", "integers", "near", "zeros", "lengths"
]  # fmt: skip

ALL = 0  # a depth: as many results as there are documents
TYING: tuple[Kind, ...] = ("equal", "integers", "near")  # what rounding cannot tell apart
PLAIN: tuple[Kind, ...] = ("equal", "near", "duplicates")  # whose queries are random
TOKENS = 8  # of a text, at most; 4 on average, and 0 of some
TRIES = 40  # completions of a pair, of which the best is taken


@dataclass(frozen=True)
class CaseGrid:
    """Values that the parameters of cases take, and sizes of the other checks.

    Attributes:
        kinds: Of vectors.
        dims: Their widths.
        documents: How many of them.
        depths: Results of a query; ALL for each document.
        precisions: Of the first pass.
        layouts: Of documents on devices.
        queries: How many of them.
        results: Of a case, at most.
        products: Of numbers in a case, at most.
        tied: The same for kinds of TYING, whose documents are all scored again.
        bounds: Pairs whose rounding error is measured, as (documents, queries).
        bound_dims: Widths for these.
        structure: Documents, width and queries for lists and codes.
        texts: Documents and queries that a model encodes.
    """

    kinds: tuple[Kind, ...] = (
        "random", "unit", "equal", "duplicates", "integers", "near", "zeros", "lengths",
    )  # fmt: skip
    dims: tuple[int, ...] = (1, 31, 384, 1024)
    documents: tuple[int, ...] = (1, 100, 70_000)
    depths: tuple[int, ...] = (1, 10, 1000, 1613, 2000, ALL)
    precisions: tuple[Precision, ...] = ("float32", "float16", "bfloat16")
    layouts: tuple[Layout, ...] = ("one", "replicated", "sharded")
    queries: tuple[int, ...] = (1, 7, 1025)
    results: int = 3_000_000
    products: int = 100_000_000_000
    tied: int = 1_000_000_000
    bounds: tuple[int, int] = (1000, 1000)
    bound_dims: tuple[int, ...] = (31, 384, 1024)
    structure: tuple[int, int, int] = (30_000, 64, 500)
    texts: tuple[int, int] = (2000, 100)


FULL = CaseGrid()
QUICK = CaseGrid(
    dims=(1, 31, 384),
    documents=(1, 100, 5000),
    queries=(1, 7, 65),
    results=400_000,
    products=500_000_000,
    tied=100_000_000,
    bound_dims=(384,),
    structure=(10_000, 32, 100),
    texts=(300, 20),
)


@dataclass(frozen=True)
class Case:
    """Documents and queries, and how they are searched; late: several vectors a text."""

    kind: Kind
    d: int
    n: int
    depth: int
    precision: Precision
    layout: Layout
    q: int
    late: bool = False

    @property
    def k(self) -> int:
        """Results of a query."""
        return self.depth or self.n

    @property
    def products(self) -> int:
        """Products of numbers, about."""
        return self.q * self.n * self.d * ((TOKENS // 2) ** 2 if self.late else 1)

    @property
    def name(self) -> str:
        """What it is, in a line."""
        depth = f"k={self.k:,}" + ("=n" if self.depth == ALL else "")
        return (
            f"{self.kind} n={self.n:,} d={self.d:,} {depth} {self.precision} {self.layout} "
            f"q={self.q:,}"
        )


@dataclass(frozen=True)
class Chosen:
    """Cases that hold every pair of values. lacking: pairs that only excluded cases hold."""

    cases: tuple[Case, ...]
    lacking: tuple[str, ...]
    excluded: Mapping[str, int] = field(default_factory=dict)
    whole: int = 0


def find_limit(case: Case, grid: CaseGrid) -> str:
    """Say why a case is left out; empty where it is not."""
    if case.q * case.k > grid.results:
        return f"more than {grid.results:,} results"
    if case.products > grid.products:
        return f"more than {grid.products:,} products"
    if case.kind in TYING and case.products > grid.tied:
        return f"more than {grid.tied:,} products of vectors that rounding cannot tell apart"
    return ""


def choose_cases(grid: CaseGrid, *, late: bool = False) -> Chosen:
    """Choose few cases that hold every pair of values, the same ones each time."""
    every = itertools.product(
        grid.kinds, grid.dims, grid.documents, grid.depths, grid.precisions, grid.layouts,
        grid.queries,
    )  # fmt: skip
    whole = [Case(*each, late=late) for each in every]
    limits = [find_limit(case, grid) for case in whole]
    allowed = [case for case, limit in zip(whole, limits, strict=True) if not limit]
    excluded = {limit: limits.count(limit) for limit in dict.fromkeys(limits) if limit}
    left = {pair: None for case in whole for pair in pairs(case)}  # in order, as a set is not
    cases, lacking, random = list[Case](), list[str](), np.random.default_rng(0)
    holding: dict[Pair, list[Case]] = {pair: [] for pair in left}
    for case in allowed:
        for pair in pairs(case):
            holding[pair].append(case)
    while left:
        pair = next(iter(left))
        if not holding[pair]:
            lacking.append(" and ".join(f"{name}={value or 'n'}" for name, value in pair))
            del left[pair]
            continue
        drawn = random.integers(0, len(holding[pair]), TRIES)
        tried = [holding[pair][at] for at in drawn]
        best = max(tried, key=lambda case: sum(each in left for each in pairs(case)))
        cases.append(best)
        for each in pairs(best):
            left.pop(each, None)
    return Chosen(tuple(cases), tuple(lacking), excluded, len(whole))


Pair = tuple[tuple[str, object], tuple[str, object]]


def pairs(case: Case) -> Iterator[Pair]:
    """Pairs of values that a case holds."""
    values = [(one.name, vars(case)[one.name]) for one in fields(case) if one.name != "late"]
    return itertools.combinations(values, 2)


def make_texts(case: Case) -> tuple[Dense | MultiVector, Dense | MultiVector]:
    """Make the documents and queries of a case, the same ones each time."""
    asked: Kind = "random" if case.kind in PLAIN else case.kind
    make = partial(make_tokens, d=case.d) if case.late else partial(make_vectors, d=case.d)
    return make(case.kind, case.n, seed=1), make(asked, case.q, seed=2)


def make_vectors(kind: Kind, n: int, d: int, seed: int) -> Dense:
    """Make vectors [n, d] of a kind."""
    random = np.random.default_rng(seed)
    values = _draw(kind, n, d, random)
    return Dense(values[_copy_rows(n, random)] if kind == "duplicates" else values)


def make_tokens(kind: Kind, n: int, d: int, seed: int) -> MultiVector:
    """Make texts [n] of up to TOKENS vectors of a kind; the first has at least one."""
    random = np.random.default_rng(seed)
    lengths = random.integers(0, TOKENS + 1, n)
    lengths[0] = max(lengths[0], 1)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    texts = MultiVector(_draw(kind, int(offsets[-1]), d, random), offsets)
    return texts.take(_copy_rows(n, random)) if kind == "duplicates" else texts


def _draw(kind: Kind, n: int, d: int, random: np.random.Generator) -> Float32:
    """Draw rows [n, d]."""
    if kind == "integers":
        return random.integers(-3, 4, (n, d)).astype(np.float32)
    values = random.standard_normal((n, d), np.float32)
    if kind == "unit":
        values /= np.linalg.norm(values, axis=1, keepdims=True)
    elif kind == "equal":
        values[:] = values[0]
    elif kind == "near":
        values *= np.float32(1e-5)
        values += random.standard_normal((1, d), np.float32)
    elif kind == "zeros":
        values[::2] = 0
    elif kind == "lengths":
        powers = random.uniform(-9, 9, (n, 1)).astype(np.float32)
        values *= np.float32(10) ** powers / np.linalg.norm(values, axis=1, keepdims=True)
    return values


def _copy_rows(n: int, random: np.random.Generator) -> Int64:
    """Rows [n] of which a fifth are others' again."""
    rows, mixed = np.arange(n), random.permutation(n)
    rows[mixed[: n // 5]] = random.choice(mixed[n // 5 :], n // 5)
    return rows


def restrict(
    grid: CaseGrid, *, precisions: tuple[Precision, ...], layouts: tuple[Layout, ...]
) -> CaseGrid:
    """Leave out of a grid what a machine cannot show."""
    return replace(
        grid,
        precisions=tuple(each for each in grid.precisions if each in precisions),
        layouts=tuple(each for each in grid.layouts if each in layouts),
    )
