"""Lengths of vectors, whatever their numbers; what float32 can compare; scaling to length 1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from harness.arrays import Float32, Float64, Int64
from harness.errors import InputError
from harness.vectors import Dense, Embeddings, of_kind

Metric = Literal["ip", "l2", "cosine"]
BLOCK = 1 << 16  # rows worked on at a time
SMALLEST = 2.0**-126  # of what is smaller, float32 holds fewer digits, and at last none
LARGEST = float(np.finfo(np.float32).max)
SHORT = 2.0**-100  # a sum of squares below it may have lost some of them
NEAR, FAR = 2.0**-62, 2.0**62  # lengths whose squared distances float32 holds
SHIFT = 2.0**64  # takes lengths that float32 does not hold to where it does, and rounds nothing


@dataclass(frozen=True)
class Extent:
    """The shortest vector that is not zero, and the longest one; infinity and 0 of none."""

    least: float = np.inf
    most: float = 0.0

    @classmethod
    def of(cls, norms: Float32) -> Extent:
        """Of lengths [n]."""
        some = norms[norms > 0]
        return cls(float(some.min()), float(some.max())) if len(some) else cls()

    def join(self, other: Extent) -> Extent:
        """Of both sets of vectors."""
        return Extent(min(self.least, other.least), max(self.most, other.most))

    def check(self, norms: Float32, metric: Metric = "ip", rows: Int64 | None = None) -> None:
        """Check that queries can be compared with these documents, so that float32 holds scores.

        Args:
            norms: Of the queries [q].
            metric: How they are compared.
            rows: The query of each, where it is not that of its place.

        Raises:
            InputError: Scores would be lost to zero, and tie, or be infinite; it names the row.
        """
        advice = "scale the model's vectors, or compare by cosine"
        low = SMALLEST / self.least if metric == "ip" else NEAR
        high = FAR if metric == "l2" else np.inf
        odd = np.flatnonzero(((norms > 0) & (norms < low)) | (norms > high))
        if len(odd):
            row, size = odd[0] if rows is None else rows[odd[0]], norms[odd[0]]
            raise InputError(
                f"numbers of query row {row} are of size {size:.3g} and those of documents from "
                f"{self.least:.3g}: float32 cannot hold how they compare; {advice}"
            )
        if metric == "l2" and (self.least < NEAR or self.most > FAR):
            raise InputError(
                f"vectors of documents are from {self.least:.3g} to {self.most:.3g} long: float32 "
                f"cannot hold their squared distances; {advice}"
            )


def measure(values: Float32) -> Float32:
    """Lengths of rows [n, d], also where float32 cannot hold their squares: [n].

    Infinity where it cannot hold the length itself, NaN or infinity where a number is that.
    """
    squares = np.einsum("nd,nd->n", values, values)
    found: Float32 = np.sqrt(squares)
    odd = np.flatnonzero(~((squares >= SHORT) & (squares <= LARGEST)))
    for low in range(0, len(odd), BLOCK):
        rows = odd[low : low + BLOCK]
        wide = values[rows].astype(np.float64)
        exact = np.sqrt(np.einsum("nd,nd->n", wide, wide))
        found[rows] = np.where(exact > LARGEST, np.inf, exact)
    return found


def find_broken(norms: Float32) -> int | None:
    """Find the first of lengths [n] that is NaN, or of which float32 does not hold the square."""
    broken = np.flatnonzero(~(norms < LARGEST**0.5))
    return int(broken[0]) if len(broken) else None


def check_documents(documents: Float32, block: int = 1 << 18) -> Extent:
    """Find how long documents are.

    Args:
        documents: [n, d].
        block: Rows looked at at a time.

    Raises:
        InputError: NaN, infinity or too long a vector, with its row.
    """
    found = Extent()
    for start in range(0, len(documents), block):
        rows = documents[start : start + block]
        norms = measure(rows)
        if (row := find_broken(norms)) is not None:
            raise InputError(
                f"the vector of document row {start + row} holds NaN, infinity or a number too "
                "large for float32"
            )
        found = found.join(Extent.of(norms))
    return found


def check_queries(
    queries: Embeddings, dim: int, documents: Extent, metric: Metric = "ip"
) -> tuple[Float32, Float32]:
    """Check queries that are to be compared with dense documents.

    Args:
        queries: Any number of them [q].
        dim: That of the documents.
        documents: How long these are.
        metric: How they are compared.

    Returns:
        A contiguous array [q, d] and its norms [q].

    Raises:
        InputError: NaN, infinity, another dim than that of the documents, and lengths whose scores
            float32 cannot hold.
    """
    values = np.ascontiguousarray(of_kind(queries, Dense).values, np.float32)
    if values.shape[1] != dim:
        raise InputError(
            f"queries are {values.shape[1]}-d and documents {dim}-d: expected one width"
        )
    norms = measure(values)
    if (row := find_broken(norms)) is not None:
        raise InputError(
            "a query's vector holds NaN, infinity or a number too large for float32: that of row "
            f"{row}"
        )
    documents.check(norms, metric)
    return values, norms


def unit(values: Float32) -> Float32:
    """Scale rows [n, d] to length 1 in place, so that inner product is cosine; zero rows stay.

    A row's norm is summed in float64, in an order that does not depend on other rows; a row whose
    norm float32 cannot hold is made shorter or longer first, by a power of two.
    """
    for low in range(0, len(values), BLOCK):
        block = values[low : low + BLOCK]
        norms: Float64 = np.sqrt(np.einsum("nd,nd->n", block, block, dtype=np.float64))
        norms[norms == 0] = 1
        for odd, power in ((norms > LARGEST, 1 / SHIFT), (norms < SMALLEST, SHIFT)):
            if odd.any():
                block[odd] *= np.float32(power)
                norms[odd] *= power
        block /= norms[:, None].astype(np.float32)
    return values
