"""What measures of rankings are functions of: the judged results of a run, as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.arrays import Float64, Int64
from harness.data import Changes, Qrels
from harness.errors import InputError
from harness.measures import NEEDS
from harness.measures.asked import Measure
from harness.vectors import Run

Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Judged:
    """The judged documents among the results, by query and then by rank.

    size: number of queries q. query, rank (from 0), gain: [h], one row a judged result.
    judged_query, judged_gain: [nnz], the judgments themselves.
    """

    size: int
    query: Int64
    rank: Int64
    gain: Float64
    judged_query: Int64
    judged_gain: Float64

    def total(self, value: NDArray[Any], where: Bools) -> Float64:
        """[q]: the sum over each query's rows of `value` [h] where `where` [h] holds."""
        return sums(self.query[where], value[where], self.size)

    def find_relevant(self, cutoff: int | None) -> Bools:
        """[h]: relevant and ranked above the cut-off, if there is one."""
        relevant = self.gain > 0
        return relevant if cutoff is None else relevant & (self.rank < cutoff)

    def hits(self, cutoff: int) -> Float64:
        """[q]: relevant results above the cut-off."""
        return self.total(np.ones(len(self.query)), self.find_relevant(cutoff))

    @cached_property
    def relevant(self) -> Float64:
        """[q]: relevant documents, found or not."""
        return sums(self.judged_query, self.judged_gain > 0, self.size)

    @cached_property
    def irrelevant(self) -> Float64:
        """[q]: documents judged not relevant, found or not; a gain below 0 is no judgment."""
        return sums(self.judged_query, self.judged_gain == 0, self.size)

    @cached_property
    def scored(self) -> Bools:
        """[q]: whether the query has any judgment."""
        return np.bincount(self.judged_query, minlength=self.size) > 0

    @cached_property
    def ideal(self) -> tuple[Int64, Int64, Float64]:
        """Query, rank and gain [r] of the best possible ranking."""
        kept = self.judged_gain > 0
        query, gain = self.judged_query[kept], self.judged_gain[kept]
        order = np.lexsort((-gain, query))
        query, gain = query[order], gain[order]
        return query, place(query), gain


def sums(query: Int64, value: NDArray[Any], size: int) -> Float64:
    """[size]: the sum of values by query."""
    return np.bincount(query, value, minlength=size).astype(np.float64, copy=False)


def place(query: Int64) -> Int64:
    """[h]: how many rows of the same query come before; `query` is ascending."""
    return np.arange(len(query)) - np.searchsorted(query, query)


def ratio(part: Float64, whole: Float64) -> Float64:
    """Part / whole, 0 where the whole is 0."""
    return np.divide(part, whole, out=np.zeros(len(part)), where=whole > 0)


def find(run: Run, qrels: Qrels) -> Judged:
    """Look every result up in the judgments. run: [q, k], ranked."""
    q, k = run.docs.shape
    width = max(run.docs.max(initial=0), qrels.docs.max(initial=0)) + 1
    known = qrels.docs >= 0
    anywhere = np.zeros(width, np.bool_)  # judged for any query: few results are worth a search
    anywhere[qrels.docs[known]] = True
    flat = run.docs.ravel()
    candidates = np.flatnonzero(anywhere[flat] & (flat >= 0))
    judged = qrels.query_rows[known] * width + qrels.docs[known]  # ascending, as qrels are sorted
    wanted = (candidates // k) * width + flat[candidates]
    at = np.searchsorted(judged, wanted)
    at[at == len(judged)] = 0
    hit = judged[at] == wanted if len(judged) else np.zeros(len(wanted), np.bool_)
    query, rank = np.divmod(candidates[hit], k)
    gains = qrels.gains.astype(np.float64)
    return Judged(q, query, rank, gains[known][at[hit]], qrels.query_rows, gains)


@dataclass(frozen=True)
class Names:
    """Ids of queries [q] and documents by row, for errors; empty where they are not known."""

    queries: Sequence[str] = ()
    documents: Sequence[str] = ()


@dataclass(frozen=True)
class Evidence:
    """A run with all that measures of retrieval may ask of it.

    run: [q, k]. binary: judgments for the measures that read no grades, where there are such.
    groups: int64 [q]; changes: which documents a changed instruction made irrelevant.
    """

    run: Run
    qrels: Qrels
    binary: Qrels | None = None
    groups: Int64 | None = None
    changes: Changes | None = None
    names: Names = Names()

    @cached_property
    def graded_judged(self) -> Judged:
        """The results by the graded judgments."""
        return find(self.run, self.qrels)

    @cached_property
    def binary_judged(self) -> Judged:
        """The results by the binary judgments, else by the graded ones."""
        return self.graded_judged if self.binary is None else find(self.run, self.binary)

    def values(self, measure: Measure) -> Float64:
        """A measure's values: float64 [q], or one a group.

        Raises:
            InputError: Where the collection has not what the measure needs, and for a function
                that does not return what it should.
        """
        known = measure.definition("retrieval")
        there: dict[str, Any] = {
            "run": self.run, "qrels": self.qrels, "groups": self.groups, "changes": self.changes,
            "names": self.names,
        }  # fmt: skip
        for need in known.needs:
            if there[need] is None:
                raise InputError(f"{measure} needs {NEEDS[need]}, and this collection has none")
        judged = self.graded_judged if known.graded else self.binary_judged
        size = None if known.grouped else judged.size
        return measure.values(judged, size=size, queries=self.names.queries, **there)
