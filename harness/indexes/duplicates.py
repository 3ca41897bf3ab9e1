"""Documents whose vectors are equal, as those of a collapsed model are: each is compared once.

Equal vectors have equal scores, so that a search over the distinct ones finds all that their
documents could be, and the ranking rule decides among these.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.arrays import Float32, Int64, spans
from harness.vectors import ranking

SAMPLE = 2048  # documents that tell whether many are equal
MANY = 0.75  # of these, and more distinct ones are not worth a look
BLOCK = 1 << 14  # rows worked on at a time


@dataclass(frozen=True)
class Distinct:
    """Distinct vectors [u, d], each at the place of its highest row among these.

    rows: of documents, those of one vector side by side and ascending [n]; starts: where those of
    each vector begin [u + 1].
    """

    vectors: Float32
    rows: Int64
    starts: Int64

    def expand(self, keys: ranking.Keys) -> ranking.Keys:
        """Ranked keys [q, k] of documents, from ranked ones of vectors [q, k].

        Whatever is among the k best shares its vector with a document that is, and whose vector is
        among the k best vectors.
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
    """Find the distinct vectors among those of documents [n, d]; None where most are distinct."""
    sample = _digest(documents[:: max(1, len(documents) // SAMPLE)])
    if len(np.unique(sample)) > MANY * len(sample):
        return None
    _, first, label = np.unique(_digest(documents), return_index=True, return_inverse=True)
    for low in range(0, len(documents), BLOCK):
        ours = documents[low : low + BLOCK].view(np.uint32)
        if (ours != documents[first[label[low : low + BLOCK]]].view(np.uint32)).any():
            return None  # two vectors of one digest
    rows = np.argsort(label, kind="stable")
    counts = np.bincount(label)
    highest = rows[np.cumsum(counts) - 1]
    order = np.argsort(highest)
    starts = np.concatenate([[0], np.cumsum(counts[order])])
    rows = rows[spans((np.cumsum(counts) - counts)[order], counts[order])]
    return Distinct(documents[highest[order]], rows, starts)


def _digest(documents: Float32) -> NDArray[np.uint64]:
    """A number of each row's bits [n], equal for equal rows and hardly ever for others."""
    odd = np.random.default_rng(0).integers(0, 1 << 63, documents.shape[1], np.uint64) * 2 + 1
    found = np.empty(len(documents), np.uint64)
    for low in range(0, len(documents), BLOCK):
        bits = np.ascontiguousarray(documents[low : low + BLOCK]).view(np.uint32)
        mixed = bits.astype(np.uint64) * odd
        found[low : low + BLOCK] = (mixed ^ (mixed >> np.uint64(29))).sum(axis=1, dtype=np.uint64)
    return found
