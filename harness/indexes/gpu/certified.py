"""Exact search by a rough scan: the best of the scan are scored exactly, and certified."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np

from harness.arrays import Float32, Int64
from harness.indexes import Found, IndexInfo, devices, scoring
from harness.indexes.exact import DenseSearcher, rounding
from harness.progress import Progress, silent
from harness.vectors import Dense, Embeddings, ranking
from harness.vectors.lengths import Extent, check_queries, measure

Precision = Literal["float32", "float16", "bfloat16"]
TRUNCATED = 4  # tensor cores cut the sums that IEEE arithmetic rounds
UNIT = {"float32": 0.0, "float16": 2.0**-11, "bfloat16": 2.0**-8}  # roundoff of a product


class Scan(Protocol):
    """Documents on devices, divided by a power of 2 so that no norm is above 1."""

    @property
    def most(self) -> int:
        """Results of one query, at most."""

    def nearest(self, queries: Float32, m: int) -> tuple[Int64, Float32]:
        """Find the documents [q, m] of the highest products, highest first, and the products."""


@dataclass(frozen=True)
class CertifiedSearcher:
    """A scan whose results are scored exactly and certified. extent: how long documents are."""

    documents: Float32
    extent: Extent
    scan: Scan
    precision: Precision

    @property
    def info(self) -> IndexInfo:
        """The vectors themselves."""
        return IndexInfo(int(self.documents.nbytes), exact=True)

    def search(self, queries: Embeddings, k: int, progress: Progress) -> Found:
        """Find the k best documents of each query [q, k]; padded where k > n."""
        n, d = self.documents.shape
        values, norms = check_queries(queries, d, self.extent)
        q, error = len(values), rounding_error(norms, d, self.extent.most, self.precision)
        keys = np.zeros((q, k), np.uint64)
        for low in range(0, q, devices.QUERIES):
            rows = np.arange(low, min(low + devices.QUERIES, q))
            for m in (k + k // 4 + 32, 8 * k + 256):
                rows = self._certify(values, rows, min(m, n), error, keys)
            if len(rows):
                on_cpu = DenseSearcher(self.documents, self.extent, devices.TILE)
                run = on_cpu.search(Dense(values[rows]), k, silent).run
                keys[rows] = ranking.pack(run.scores, run.docs)
            progress("search", min(low + devices.QUERIES, q), q, "queries")
        return Found(ranking.unpack(keys))

    def _certify(
        self, values: Float32, rows: Int64, m: int, error: Float32, keys: ranking.Keys
    ) -> Int64:
        """Fill the keys of queries that the m best of a scan decide; returns the other rows."""
        n, k = len(self.documents), keys.shape[1]
        if not len(rows) or m > self.scan.most:
            return rows
        part = values[rows]
        scaled, exponents = scale(part)
        docs, products = self.scan.nearest(scaled, m)
        left_out = np.ldexp(products[:, -1], exponents + np.frexp(np.float32(self.extent.most))[1])
        each = np.repeat(np.arange(len(rows)), m)
        scores = scoring.dense(part, each, self.documents, docs.ravel()).reshape(docs.shape)
        found = ranking.best(ranking.pack(scores, docs), k)
        kth = ranking.unpack(found[:, min(k, n) - 1, None]).scores[:, 0]
        sure = (kth > left_out + error[rows]) | (m == n)
        keys[rows[sure]] = found[sure]
        left: Int64 = rows[~sure]
        return left


def rounding_error(norms: Float32, d: int, longest: float, precision: Precision) -> Float32:
    """Bound how far a scan's product may be from the exact score, for queries of these norms [q].

    Query, document and product are rounded once each (Higham 2002, sec. 3.1): three times u,
    and one more for products of errors; float16 is off by 2^-25 besides where it is subnormal,
    and norms are at least 1/2.
    """
    u = UNIT[precision]
    rounded = 4 * (u + 2.0**-24 * d**0.5) * longest * norms if u else np.float32(0)
    bound: Float32 = rounded + TRUNCATED * rounding(d, longest, norms)
    return bound


def scale(values: Float32, norm: float | None = None) -> tuple[Float32, Any]:
    """Divide rows by powers of 2, which is exact.

    Args:
        values: [n, d].
        norm: divide all rows by what takes a row of this norm to a norm from 1/2 to 1; None does
            it for each row.

    Returns:
        The rows and the exponents.
    """
    norms = measure(values) if norm is None else np.float32(norm)
    exponents = np.frexp(norms)[1]
    return np.ldexp(values, -exponents[:, None] if norm is None else -exponents), exponents
