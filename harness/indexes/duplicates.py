"""Documents whose vectors are equal, as those of a collapsed model are: one of them is compared.

Equal vectors have equal scores, so that a search over the distinct ones finds all that their
documents could be, and the ranking rule decides among these.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.arrays import Float32, Int64, spans
from harness.vectors import MultiVector, ranking

SAMPLE = 2048  # documents that tell whether many are equal
MANY = 0.75  # of these, and more distinct ones are not worth a look
BLOCK = 1 << 14  # rows worked on at a time


@dataclass(frozen=True)
class Distinct:
    """Documents by what they share: a vector, or all the vectors of their tokens.

    rows: of documents, those that are equal side by side and ascending [n]; starts: where those
    equal to each begin [u + 1], ordered by their last.
    """

    rows: Int64
    starts: Int64

    @property
    def last(self) -> Int64:
        """The highest row of those equal to each [u], ascending: what is compared for them."""
        return self.rows[self.starts[1:] - 1]

    def expand(self, keys: ranking.Keys) -> ranking.Keys:
        """Ranked keys [q, k] of documents, from ranked ones of what is distinct [q, k].

        Whatever is among the k best is equal to a document that is, and that stands for those
        among the k best of what is distinct.
        """
        k, run = keys.shape[1], ranking.unpack(keys)
        sizes = np.minimum(np.diff(self.starts), k)
        found = np.zeros_like(keys)
        for row, (vectors, scores) in enumerate(zip(run.docs, run.scores, strict=True)):
            held = vectors[: np.count_nonzero(vectors >= 0)]
            last = np.searchsorted(np.cumsum(sizes[held]), k)  # which has the k-th document
            if last < len(held):  # those that tie with it may have it instead
                held = held[: np.searchsorted(-scores[: len(held)], -scores[last], side="right")]
            docs = self.rows[spans(self.starts[held + 1] - sizes[held], sizes[held])]
            packed = ranking.pack(np.repeat(scores[: len(held)], sizes[held]), docs)
            found[row] = ranking.best(packed[None], k)[0]
        return found


def find_distinct(documents: Float32) -> Distinct | None:
    """Find which of the vectors of documents [n, d] are equal; None where most are distinct."""
    if _are_distinct(_digest(documents[:: max(1, len(documents) // SAMPLE)])):
        return None
    _, first, label = np.unique(_digest(documents), return_index=True, return_inverse=True)
    return _group(label) if _are_equal(documents, first[label]) else None


def find_distinct_texts(documents: MultiVector) -> Distinct | None:
    """Find which documents MaxSim cannot tell apart; None where it can most.

    It asks for the highest product with any vector of a document: those of the same vectors are
    equal, however often each has one. Each has a token.
    """
    sample = np.arange(0, len(documents), max(1, len(documents) // SAMPLE))
    if _are_distinct(_digest_texts(*_list_tokens(documents.take(sample)))):
        return None
    starts, tokens = _list_tokens(documents)
    _, first, label = np.unique(
        _digest_texts(starts, tokens), return_index=True, return_inverse=True
    )
    like, counts = first[label], np.diff(starts)
    if not np.array_equal(counts, counts[like]):
        return None  # two texts of one digest
    if not np.array_equal(tokens, tokens[spans(starts[like], counts)]):
        return None
    _, first, which = np.unique(_digest(documents.values), return_index=True, return_inverse=True)
    return _group(label) if _are_equal(documents.values, first[which]) else None


def _are_distinct(sample: NDArray[np.uint64]) -> bool:
    """Whether most documents are, by digests of some."""
    return len(np.unique(sample)) > MANY * len(sample)


def _are_equal(values: Float32, others: Int64) -> bool:
    """Whether each row [n] has the bits of another one: digests may be equal by chance."""
    for low in range(0, len(values), BLOCK):
        ours = np.ascontiguousarray(values[low : low + BLOCK]).view(np.uint32)
        theirs = np.ascontiguousarray(values[others[low : low + BLOCK]]).view(np.uint32)
        if (ours != theirs).any():
            return False
    return True


def _group(label: Int64) -> Distinct:
    """Documents of each label [n], which is a number from 0."""
    rows = np.argsort(label, kind="stable")
    counts = np.bincount(label)
    order = np.argsort(rows[np.cumsum(counts) - 1])  # by the last document of each
    starts = np.concatenate([[0], np.cumsum(counts[order])])
    return Distinct(rows[spans((np.cumsum(counts) - counts)[order], counts[order])], starts)


def _list_tokens(texts: MultiVector) -> tuple[Int64, NDArray[np.uint64]]:
    """Digests of the vectors of each text, each once, and where those of a text start [n + 1]."""
    tokens, rows = _digest(texts.values), np.repeat(np.arange(len(texts)), texts.lengths)
    order = np.lexsort((tokens, rows))
    tokens, rows = tokens[order], rows[order]
    kept = np.flatnonzero((np.diff(tokens, prepend=~tokens[:1]) != 0) | np.diff(rows, prepend=-1))
    return np.searchsorted(rows[kept], np.arange(len(texts) + 1)), tokens[kept]


def _digest_texts(starts: Int64, tokens: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """A number of the vectors of each text [n], by their digests."""
    mixed = tokens * np.uint64(0x9E3779B97F4A7C15)
    return np.add.reduceat(mixed ^ (mixed >> np.uint64(31)), starts[:-1])


def _digest(rows: Float32) -> NDArray[np.uint64]:
    """A number of each row's bits [n], equal for equal rows and hardly ever for others."""
    odd = np.random.default_rng(0).integers(0, 1 << 63, rows.shape[1], np.uint64) * 2 + 1
    found = np.empty(len(rows), np.uint64)
    for low in range(0, len(rows), BLOCK):
        bits = np.ascontiguousarray(rows[low : low + BLOCK]).view(np.uint32)
        mixed = bits.astype(np.uint64) * odd
        found[low : low + BLOCK] = (mixed ^ (mixed >> np.uint64(29))).sum(axis=1, dtype=np.uint64)
    return found
