"""How long searches take: one query at a time on one thread, and all at once on all threads.

Libraries take different paths through the two. A search is timed for as many results as it is
judged by: HNSW raises ef_search to k, so a deeper search would be a better one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from harness.arrays import Float64
from harness.indexes import Searcher
from harness.progress import silent
from harness.vectors import Embeddings, alone

T = TypeVar("T")
TIMED = 500  # queries whose latency is taken, at most
WARM = 20  # queries before those
ROUNDS = 3  # of the whole batch, of which the median counts


@dataclass(frozen=True)
class Rate:
    """Queries that a batch of all answers, and what it computes.

    Attributes:
        per_second: Of wall time.
        per_cpu_second: Of time on all threads together.
        distances: Computed for one query, where the library tells.
    """

    per_second: float
    per_cpu_second: float
    distances: float | None


def latencies(searcher: Searcher, queries: Embeddings, k: int) -> Float64:
    """Milliseconds of single queries [t] on one thread, at most TIMED, after WARM others."""
    q = len(queries)
    rows = np.linspace(0, q - 1, min(q, TIMED)).astype(int)
    asked = [alone(queries, row) for row in rows]
    return time_each(lambda query: searcher.search(query, k, silent), asked)


def time_each(answer: Callable[[T], object], asked: Sequence[T]) -> Float64:
    """Milliseconds of single calls [t] on one thread, after WARM others.

    Threads of several libraries that wait for each other would be all that is seen of a search
    that takes microseconds.
    """
    from threadpoolctl import threadpool_limits

    taken = []
    with threadpool_limits(1):
        for one in [*asked[:WARM], *asked]:
            begun = time.perf_counter()
            answer(one)
            taken.append(1000 * (time.perf_counter() - begun))
    return np.array(taken[-len(asked) :])


def rate(searcher: Searcher, queries: Embeddings, k: int) -> Rate:
    """Search for the k best of all queries at once, ROUNDS times; the median counts."""
    taken = []
    for _ in range(ROUNDS):
        wall, cpu = time.perf_counter(), time.process_time()
        found = searcher.search(queries, k, silent)
        taken.append((time.perf_counter() - wall, time.process_time() - cpu))
    wall, cpu = np.maximum(np.median(taken, axis=0), 1e-9).tolist()
    computed, q = found.distances, len(queries)
    return Rate(q / wall, q / cpu, None if computed is None else computed / q)


def threads() -> int:
    """Threads that a batch is searched with."""
    from harness.indexes.faiss_library import load_faiss

    return int(load_faiss().omp_get_max_threads())
