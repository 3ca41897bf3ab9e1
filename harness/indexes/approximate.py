"""What the indexes with a structure share: the search itself, and what is checked beforehand."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness import disk
from harness.arrays import Float32, Int64
from harness.errors import InputError
from harness.indexes import pairwise
from harness.indexes.exact import checked
from harness.indexes.pairwise import Metric
from harness.progress import Progress
from harness.vectors import Embeddings, Run, ranking

QUERIES = 1024  # searched with at a time

Nearest = Callable[[Float32, int], tuple[Int64, Float32, int | None]]
"""For queries [q, d] and m: documents int64 [q, m], -1 where there is none; scores [q, m], the
higher the nearer; and the distances computed, where the library tells."""


@dataclass
class Approximate:
    """A structure and how it is asked, with the one ranking rule on top.

    documents: float32 [n, d], C-contiguous; rescore: score what is found by its full vectors, as
    exact search does, else scores are the structure's; factor: results asked for, times k.
    """

    documents: Float32
    nearest: Nearest
    bytes: int
    metric: Metric = "ip"
    rescore: bool = True
    factor: int = 1
    warnings: tuple[str, ...] = ()
    distances: int | None = None

    def search(self, queries: Embeddings, k: int, progress: Progress) -> Run:
        """The k best documents found for each query [q, k]; padded where fewer are found."""
        n, d = self.documents.shape
        values, _ = checked(queries, d)
        q, counted = len(values), list[int | None]()
        keys = np.zeros((q, k), np.uint64)
        for low in range(0, q, QUERIES):
            part = values[low : low + QUERIES]
            docs, scores, distances = self.nearest(part, min(k * self.factor, n))
            if self.rescore:
                rows = np.repeat(np.arange(len(part)), docs.shape[1])
                flat = pairwise.dense(part, rows, self.documents, docs.ravel(), self.metric)
                scores = flat.reshape(docs.shape)
            keys[low : low + QUERIES] = ranking.best(ranking.pack(scores, docs), k)
            counted.append(distances)
            progress("search", min(low + QUERIES, q), q, "queries")
        known = [count for count in counted if count is not None]
        self.distances = sum(known) if len(known) == len(counted) else None
        return ranking.unpack(keys)


def at_least(spec: str, least: int, **values: int | None) -> None:
    """Raise InputError for a parameter of an index that is smaller; None is not given."""
    for name, value in values.items():
        if value is not None and value < least:
            raise InputError(f"{spec}: {name}={value}: expected at least {least}")


def too_narrow(name: str, ef: int, k: int, then: str = "as many are kept") -> tuple[str, ...]:
    """The warning that a graph is searched for more results than its list of candidates holds."""
    said = f"{name} keeps ef_search={ef} candidates, fewer than the {k} results wanted: {then}"
    return (said,) if ef < k else ()


def refuse_too_large(what: str, needed: float) -> None:
    """Raise InputError for a structure that will not fit into the memory that is free."""
    free = disk.available_memory()
    if needed > free:
        raise InputError(
            f"{what} needs about {needed / 1e9:,.1f} GB of memory and {free / 1e9:,.1f} GB are "
            "free: choose a compressed index (faiss:IVF1024_SQ8), fewer dimensions or documents"
        )


def load(module: str, package: str) -> Any:
    """An optional library. Raises InputError where it is not installed."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise InputError(f"{package} is not installed: pip install {package}") from error
