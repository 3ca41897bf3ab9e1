"""Search among documents that match a predicate: before, after and inside the search of an index.

Queries take turns: of p predicates the query of row r has the one of row r modulo p.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.analysis.nested import rank_rows
from harness.arrays import Int64
from harness.indexes import Searcher, scoring
from harness.indexes.faiss_library import load_faiss
from harness.indexes.hnsw import Preset
from harness.progress import silent
from harness.vectors import Dense, Run, ranking

Bools = NDArray[np.bool_]
Native = Callable[[Dense, Bools, int], Int64]
"""Queries, the documents that match [n], k -> rows of documents [q, k], -1 where there is none."""

BLOCK = 1 << 17  # documents of one comparison


@dataclass(frozen=True)
class Filtered:
    """Queries with predicates over documents.

    Attributes:
        queries: Their vectors.
        documents: Their vectors, n of them.
        matches: Which documents meet each predicate [p, n].
        k: Results of a query.
    """

    queries: Dense
    documents: Dense
    matches: Bools
    k: int

    def before(self, asked: Int64, k: int | None = None) -> Run:
        """Search what matches, exactly [q, k].

        Args:
            asked: Rows of queries.
            k: In place of the usual number of results.
        """
        k = k or self.k
        keys = np.zeros((len(asked), k), np.uint64)
        for mine, which in self._turns(asked):
            rows, queries = np.flatnonzero(which), Dense(self.queries.values[asked[mine]])
            for low in range(0, len(rows), BLOCK):
                block = rows[low : low + BLOCK]
                best = rank_rows(queries, Dense(self.documents.values[block]), block, k)
                keys[mine] = ranking.best(np.concatenate([keys[mine], best], axis=1), k)
        return ranking.unpack(keys)

    def after(self, asked: Int64, searcher: Searcher, factor: int) -> Run:
        """Search for `factor` times as many results, and keep what matches [q, k]."""
        deeper = min(self.k * factor, len(self.documents))
        run = searcher.search(Dense(self.queries.values[asked]), deeper, silent).run
        fits = self.matches[(asked % len(self.matches))[:, None], run.docs] & (run.docs >= 0)
        keys = ranking.pack(run.scores, np.where(fits, run.docs, -1))
        return ranking.unpack(ranking.best(keys, self.k))

    def inside(self, asked: Int64, native: Native) -> Run:
        """Let the index look at the predicate, and score what it found [q, k]."""
        docs = np.full((len(asked), self.k), -1)
        queries = self.queries.values[asked]
        for mine, which in self._turns(asked):
            docs[mine] = native(Dense(queries[mine]), which, self.k)
        rows = np.repeat(np.arange(len(asked)), self.k)
        scores = scoring.dense(queries, rows, self.documents.values, docs.ravel())
        keys = ranking.pack(scores.reshape(docs.shape), docs)
        return ranking.unpack(ranking.best(keys, self.k))

    def _turns(self, asked: Int64) -> list[tuple[Int64, Bools]]:
        """Places in `asked` whose queries have a predicate, and what meets it, where any are."""
        turns = asked % len(self.matches)
        each = ((np.flatnonzero(turns == turn), m) for turn, m in enumerate(self.matches))
        return [(mine, matches) for mine, matches in each if len(mine)]


def faiss_native(graph: Any, parameters: Preset) -> Native:
    """A search of a graph of faiss that looks at a predicate while it goes."""
    faiss = load_faiss()

    def search(queries: Dense, matches: Bools, k: int) -> Int64:
        chosen = faiss.IDSelectorBitmap(np.packbits(matches, bitorder="little"))
        asked = faiss.SearchParametersHNSW(sel=chosen, efSearch=max(parameters.ef(k), k))
        found: Int64 = graph.search(queries.values, k, params=asked)[1]
        return found

    return search
