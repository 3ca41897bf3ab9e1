"""Exact search by a rough scan: the best of the scan are scored exactly, and certified."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from threading import Lock
from typing import Any, Literal, Protocol

import numpy as np

from harness.arrays import Float32, Int64
from harness.errors import reason
from harness.indexes import Found, IndexInfo, Instead, devices, scoring
from harness.indexes.exact import UNDERFLOW, DenseSearcher, rounding
from harness.progress import Progress, silent
from harness.vectors import Dense, Embeddings, ranking
from harness.vectors.lengths import Extent, check_queries, measure

Precision = Literal["float32", "float16", "bfloat16"]
TRUNCATED = 4  # tensor cores cut the sums that IEEE arithmetic rounds
UNIT = {"float32": 0.0, "float16": 2.0**-11, "bfloat16": 2.0**-8}  # roundoff of a product


EQUAL = "too many scores are equal, or closer than rounding can tell apart"


class Scan(Protocol):
    """Documents on devices, divided by a power of 2 so that no norm is above 1."""

    @property
    def most(self) -> int:
        """Results of one query, at most."""

    def batch(self, m: int) -> int:
        """Queries that it is given at a time, where m results of each are asked for."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What was noticed when documents were made ready."""

    @property
    def streamed(self) -> float:
        """Part of the documents that is copied to devices for every batch."""

    def nearest(self, queries: Float32, m: int) -> Nearest:
        """Find the documents of the highest products with queries [q, d], m of each.

        Raises:
            DeviceFullError: where a device has no room for it.
        """


@dataclass(frozen=True)
class Nearest:
    """Documents [q, m] of the highest products, highest first, and the products.

    devices: that multiplied; notes: what was noticed meanwhile.
    """

    docs: Int64
    products: Float32
    devices: tuple[str, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class CertifiedSearcher:
    """A scan whose results are scored exactly and certified.

    extent: how long documents are; deep: makes a scan for more results than this one gives, when
    it is first needed.
    """

    documents: Float32
    extent: Extent
    scan: Scan
    precision: Precision
    deep: Callable[[], Scan] | None = None
    _lock: Lock = field(default_factory=Lock, repr=False, compare=False)

    @property
    def info(self) -> IndexInfo:
        """The vectors themselves."""
        size, scan = int(self.documents.nbytes), self.scan
        return IndexInfo(size, exact=True, notes=scan.notes, streamed=scan.streamed)

    @property
    def _deeper(self) -> Scan:
        with self._lock:  # which cached_property has none of, from Python 3.12 on
            return self._made

    @cached_property
    def _made(self) -> Scan:
        return self.deep() if self.deep else self.scan

    def search(self, queries: Embeddings, k: int, progress: Progress) -> Found:
        """Find the k best documents of each query [q, k]; padded where k > n."""
        n, d = self.documents.shape
        values, norms = check_queries(queries, d, self.extent)
        error = rounding_error(norms, d, self.extent.most, self.precision)
        asked = _Wanted(values, error, np.zeros((len(values), k), np.uint64), {}, {})
        left, why = self._search(asked, progress) if n else (np.empty(0, np.int64), EQUAL)
        instead = None
        if len(left):
            on_cpu = DenseSearcher(self.documents, self.extent, devices.TILE)
            run = on_cpu.search(Dense(values[left]), k, silent).run
            asked.keys[left] = ranking.pack(run.scores, run.docs)
            full = isinstance(why, devices.DeviceFullError)
            said = reason(why) if isinstance(why, devices.DeviceFullError) else why
            instead = Instead(len(left), len(values), "queries", said, full)
            asked.notes[str(instead)] = None
        there = tuple(asked.devices) if len(left) < len(values) else ()
        run = ranking.unpack(asked.keys)
        return Found(run, notes=tuple(asked.notes), devices=there, instead=instead)

    def _search(
        self, asked: _Wanted, progress: Progress
    ) -> tuple[Int64, str | devices.DeviceFullError]:
        """Fill the keys of the queries that scans decide; returns the other rows, and why."""
        q, k = asked.keys.shape
        try:
            scan = self._scan_for(k)
        except devices.DeviceFullError as error:
            return np.arange(q), error
        asked.notes.update(dict.fromkeys(scan.notes if scan is not self.scan else ()))
        rounds = [min(m, len(self.documents), scan.most) for m in (k + k // 4 + 32, 8 * k + 256)]
        if rounds[0] < min(k + 1, len(self.documents)):
            return np.arange(q), f"on a GPU faiss finds {scan.most:,} results of a query, at most"
        left, done, step = [np.empty(0, np.int64)], 0, scan.batch(rounds[0])
        try:
            for done in range(0, q, step):
                rows = np.arange(done, min(done + step, q))
                for m in dict.fromkeys(rounds):
                    rows = self._certify(scan, asked, rows, m)
                left.append(rows)
                progress("search", min(done + step, q), q, "queries")
        except devices.DeviceFullError as error:
            return np.concatenate([*left, np.arange(done, q)]), error
        return np.concatenate(left), EQUAL

    def _scan_for(self, k: int) -> Scan:
        wanted = min(k + k // 4 + 32, len(self.documents))
        return self.scan if wanted <= self.scan.most else self._deeper

    def _certify(self, scan: Scan, asked: _Wanted, rows: Int64, m: int) -> Int64:
        """Fill the keys of queries that the m best of a scan decide; returns the other rows."""
        n, k, left = len(self.documents), asked.keys.shape[1], [np.empty(0, np.int64)]
        step = scan.batch(m)
        for part in (rows[low : low + step] for low in range(0, len(rows), step)):
            scaled, exponents = scale(asked.values[part])
            found = scan.nearest(scaled, m)
            asked.devices.update(dict.fromkeys(found.devices))
            asked.notes.update(dict.fromkeys(found.notes))
            docs = found.docs
            power = exponents + np.frexp(np.float32(self.extent.most))[1]
            # the error of sums so small that float32 cannot hold them is that of the divided ones
            tiny = np.ldexp(np.float32(TRUNCATED * self.documents.shape[1] * UNDERFLOW), power)
            left_out = np.ldexp(found.products[:, -1], power) + tiny
            each = np.repeat(np.arange(len(part)), m)
            flat = scoring.dense(asked.values[part], each, self.documents, docs.ravel())
            best = ranking.best(ranking.pack(flat.reshape(docs.shape), docs), k)
            kth = ranking.unpack(best[:, min(k, n) - 1, None]).scores[:, 0]
            sure = (kth > left_out + asked.error[part]) | (m == n)
            asked.keys[part[sure]] = best[sure]
            left.append(part[~sure])
        return np.concatenate(left)


@dataclass(frozen=True)
class _Wanted:
    """Queries [q, d], how far products of theirs may be from scores [q], and their keys [q, k].

    devices, notes: of the scans, each once.
    """

    values: Float32
    error: Float32
    keys: ranking.Keys
    devices: dict[str, None]
    notes: dict[str, None]


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
