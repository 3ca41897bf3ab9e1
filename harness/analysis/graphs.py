"""Graphs of neighbours that are grown from documents in a given order.

An order is only seen where the library keeps it: hnswlib does, while faiss sorts and shuffles what
is added at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np

from harness.arrays import Float32, Float64, Int64
from harness.errors import InputError
from harness.indexes import INDEXES, Found, IndexInfo, Searcher
from harness.indexes.saved import FileIndex
from harness.measures.neighbours import EPSILON, neighbour_recall
from harness.progress import Progress, silent
from harness.spec import parse
from harness.vectors import Dense, Embeddings, Run, ranking

NEAR = 10  # neighbours that recall is of
FAR = 100  # neighbours that exact search is asked for: a dimension is estimated from them


@dataclass(frozen=True)
class GraphSettings:
    """How a graph is built, and searched in several ways.

    Attributes:
        index: Spec of an index with these parameters.
        M: Links of a node.
        ef_construction: Candidates of an insertion.
        ef_search: Candidates of a search, one for each way.
        seeds: Of a graph's levels, one for each graph.

    Raises:
        InputError: where the index does not take them or its library is not installed.
    """

    index: str = "hnswlib"
    M: int = 16
    ef_construction: int = 128
    ef_search: tuple[int, ...] = (10, 40)
    seeds: tuple[int, ...] = (1, 2, 3)

    def __post_init__(self) -> None:
        for name, given in (("ef_search", self.ef_search), ("seeds", self.seeds)):
            if not given or len(set(given)) < len(given):
                raise InputError(f"{name} {given}: expected one or more different numbers")
        for ef_search, seed in product(self.ef_search, self.seeds):
            self.at(ef_search, seed)

    def at(self, ef_search: int, seed: int) -> FileIndex:
        """Create the index with these parameters.

        Raises:
            InputError: where it does not take them or its library is not installed.
        """
        asked = {
            "M": self.M,
            "ef_construction": self.ef_construction,
            "ef_search": ef_search,
            "seed": seed,
        }
        spec = parse(self.index)
        if twice := asked.keys() & dict(spec.params).keys():
            raise InputError(
                f"index {self.index} gives {', '.join(sorted(twice))}, which the study sets: "
                "leave that out"
            )
        try:
            index = INDEXES.create(spec.with_parameters([(n, str(v)) for n, v in asked.items()]))
        except InputError as error:
            if not str(error).startswith(f"unknown parameter of {spec.name} "):
                raise
            raise InputError(
                f"{error} (the study sets {', '.join(asked)} of the index: expected a graph that "
                "has them, as hnswlib)"
            ) from None
        index.require("dense")
        if not isinstance(index, FileIndex):
            raise InputError(f"{self.index} builds no structure: expected a graph, as hnswlib")
        return index

    def notes(self, k: int) -> list[str]:
        """Tell what a search for k results will not do as the parameters say."""
        indexes = [self.at(ef, self.seeds[0]) for ef in self.ef_search]
        return [note for index in indexes for note in index.notes(k)]

    def grow(self, documents: Float32, order: Int64, seed: int) -> Iterator[tuple[int, Searcher]]:
        """Insert documents in an order, and open the graph with each ef_search in turn.

        Args:
            documents: Vectors [n, d].
            order: Their rows [n], the first to be inserted first.
            seed: Of the levels.

        Returns:
            Each ef_search with a searcher, whose results are rows of `documents`.
        """
        placed = Dense(np.ascontiguousarray(documents[order]))
        built = self.at(self.ef_search[0], seed).make(placed, silent)
        for ef in self.ef_search:
            yield ef, _Shuffled(self.at(ef, seed).searcher(built, placed), order)


@dataclass(frozen=True)
class _Shuffled:
    """A searcher of documents in another order; order: [n], the row of each as they were."""

    searcher: Searcher
    order: Int64

    @property
    def info(self) -> IndexInfo:
        """That of the documents in their other order."""
        return self.searcher.info

    def search(self, queries: Embeddings, k: int, progress: Progress) -> Found:
        """Search, with the run [q, k] in rows of the documents as they were."""
        run = self.searcher.search(queries, k, progress).run
        rows = np.where(run.docs < 0, -1, self.order[run.docs])
        return Found(ranking.unpack(ranking.best(ranking.pack(run.scores, rows), k)))


def nearest(documents: Float32, queries: Float32, progress: Progress = silent) -> Run:
    """The FAR nearest documents of each query by exact search, or all where there are fewer."""
    searcher = INDEXES.create("exact").open(Dense(documents))
    return searcher.search(Dense(queries), min(FAR, len(documents)), progress).run


def graph_recall(searcher: Searcher, queries: Float32, truth: Run) -> Float64:
    """Recall of the NEAR nearest of each query [q], of a search for no more.

    Graphs keep as many candidates as they are asked for, if that is more than ef_search.
    """
    k = min(NEAR, truth.docs.shape[1])
    return neighbour_recall(searcher.search(Dense(queries), k, silent).run, truth, k, EPSILON)
