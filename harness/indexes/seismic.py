"""Seismic: approximate search over sparse vectors.

Bruch, Nardini, Rulli and Venturini, SIGIR 2024; with Venuta, ECIR 2025.

A term's list holds the documents in which it weighs most, in blocks of similar documents. A query
looks into the lists of its heaviest terms, and there only into the blocks whose summary promises a
score that the results found so far do not exceed. The library holds weights in half precision. Its
graph of neighbours (n_knn) is left out: to build one ends the process (a segmentation fault in
0.5.4) where a document has fewer neighbours than it asks for.
"""

from __future__ import annotations

import os
import re
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, ClassVar

import numpy as np

from harness.data import Candidates
from harness.errors import InputError, reason
from harness.indexes import INDEXES, Found, IndexInfo, Searcher, scoring
from harness.indexes.approximate import at_least
from harness.indexes.faiss_library import load_faiss
from harness.indexes.saved import FileIndex
from harness.indexes.sparse import check_sparse
from harness.optional import load
from harness.progress import Progress, silent
from harness.vectors import Embeddings, Representation, Run, Sparse, of_kind, ranking

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

TERMS = 1 << 16  # that a short index can number
HEAVIEST = 65504.0  # in half precision
QUERIES = 1024  # searched with at a time
SUFFIX = ".index.seismic"  # that the library puts behind a path


@INDEXES.register("seismic", renamed={"rescore": "exact_scores"})
@dataclass(frozen=True)
class Seismic(FileIndex):
    """Seismic: approximate search of sparse vectors (needs the package pyseismic-lsr).

    n_postings: documents a list keeps, on average, and max_fraction times as many at most;
    centroid_fraction: blocks of a list, as a share of its documents; min_cluster_size: documents of
    a block, at least; summary_energy: share of a summary's weight that is kept; large_vocabulary:
    for more than 65,536 terms. query_cut: terms of a query that are looked up; heap_factor: the
    higher, the more blocks are skipped. exact_scores: score what is found by its full vectors,
    which then take memory too; else by the rounded ones.
    """

    n_postings: int = 3500
    centroid_fraction: float = 0.1
    summary_energy: float = 0.4
    max_fraction: float = 1.5
    min_cluster_size: int = 2
    large_vocabulary: bool = False
    query_cut: int = 10
    heap_factor: float = 0.8
    exact_scores: bool = True

    kind: ClassVar[str] = "seismic"
    library: ClassVar[str] = "pyseismic-lsr"
    search_only: ClassVar[tuple[str, ...]] = ("query_cut", "heap_factor", "exact_scores")
    accepts: ClassVar[tuple[Representation, ...]] = ("sparse",)

    def __post_init__(self) -> None:
        at_least(
            "seismic",
            1,
            n_postings=self.n_postings,
            min_cluster_size=self.min_cluster_size,
            query_cut=self.query_cut,
        )
        shares = {
            "centroid_fraction": self.centroid_fraction,
            "summary_energy": self.summary_energy,
            "heap_factor": self.heap_factor,
        }
        for name, value in shares.items():
            if not 0 < value <= 1:
                raise InputError(f"seismic: {name}={value:g}: expected more than 0, at most 1")
        if not 1 <= self.max_fraction < float("inf"):
            raise InputError(f"seismic: max_fraction={self.max_fraction:g}: expected at least 1")

    def require(self, representation: Representation) -> None:
        """Check that Seismic and faiss, whose threads are counted, are installed."""
        load("seismic", "seismic")
        load_faiss()

    def _built_with(self) -> dict[str, float]:
        return {
            "n_postings": self.n_postings,
            "centroid_fraction": self.centroid_fraction,
            "min_cluster_size": self.min_cluster_size,
            "summary_energy": self.summary_energy,
            "max_fraction": self.max_fraction,
        }

    def _class(self, name: str) -> Any:
        found = load("seismic", "seismic")
        return getattr(found, f"{name}LV" if self.large_vocabulary else name)

    def make(self, documents: Embeddings, progress: Progress) -> Any:
        """Build the lists; the library draws from a fixed seed, so a build repeats.

        Raises InputError for NaN, weights below 0 or beyond half precision, and too many terms.
        """
        n, dim = len(documents), documents.dim
        if dim > TERMS and not self.large_vocabulary:
            raise InputError(
                f"seismic numbers {TERMS:,} terms and the vectors have {dim:,}: choose "
                "seismic,large_vocabulary=true"
            )
        matrix = _weights(documents, dim, "document")
        heaviest = matrix.data.max(initial=0)
        if heaviest > HEAVIEST:
            raise InputError(
                f"a document's term weighs {heaviest:g}, and seismic holds weights up to "
                f"{HEAVIEST:g}: scale the vectors, or choose exact"
            )
        progress("build", 0, n, "documents")
        dataset = self._class("SeismicDataset")(dim=dim)
        ids, terms = [str(row) for row in range(n)], matrix.indices.astype(np.int64)
        dataset.add_documents_by_id(ids, terms, matrix.data, matrix.indptr.astype(np.int64))
        with _captured_output():
            built = self._class("SeismicIndex").build_from_dataset(
                dataset, num_threads=load_faiss().omp_get_max_threads(), **self._built_with()
            )
        progress("build", n, n, "documents")
        return built

    def searcher(self, built: Any, documents: Embeddings) -> Searcher:
        """Wrap the lists, searched as query_cut and heap_factor say."""
        size = self.size(built) + self.exact_scores * documents.bytes
        return SeismicSearcher(self, built, of_kind(documents, Sparse), IndexInfo(size))

    def save(self, built: Any, path: Path) -> None:
        """Write a file of Seismic: plain numbers, of which nothing is run."""
        written = Path(f"{path}{SUFFIX}")
        try:
            with _captured_output():
                built.save(str(path))
            os.replace(written, path)
        finally:
            written.unlink(missing_ok=True)

    def load(self, path: Path) -> Any:
        """Read a file of Seismic."""
        try:
            with _captured_output():
                return self._class("SeismicIndex").load(str(path))
        except OSError as error:
            raise InputError(f"{path}: not an index of this seismic: {reason(error)}") from error

    def size(self, built: Any) -> int:
        """Count lists, summaries and the rounded vectors, as the library does."""
        with _captured_output() as output:
            built.print_space_usage_byte()
            output.seek(0)
            found = re.search(rb"Total: (\d+) Bytes", output.read())
        if found is None:
            raise InputError("seismic does not tell its size as 0.5.4 does: install that version")
        return int(found[1])


@dataclass(frozen=True)
class SeismicSearcher:
    """built: the lists; documents: [n, v], by which what is found is scored."""

    index: Seismic
    built: Any
    documents: Sparse
    info: IndexInfo

    def search(self, queries: Embeddings, k: int, progress: Progress) -> Found:
        """Find the k best documents found for each query [q, k]; padded where fewer are found."""
        matrix = _weights(queries, self.documents.dim, "query")
        q, keys = len(queries), np.zeros((len(queries), k), np.uint64)
        for low in range(0, q, QUERIES):
            part = matrix[low : low + QUERIES]
            run = self._search_lists(part, min(k, len(self.documents)))
            keys[low : low + QUERIES] = ranking.best(ranking.pack(run.scores, run.docs), k)
            progress("search", min(low + QUERIES, q), q, "queries")
        return Found(ranking.unpack(keys))

    def _search_lists(self, queries: csr_matrix, k: int) -> Run:
        """What the lists hold for each query, ranked."""
        q, text = queries.shape[0], load("seismic", "seismic").get_seismic_string()
        asked = {"k": k, "query_cut": self.index.query_cut, "heap_factor": self.index.heap_factor}
        terms = queries.indices.astype(text)
        if q == 1:  # threads would cost more than the search
            answers = [self.built.search("0", terms, queries.data, **asked)]
        else:
            bounds, threads = queries.indptr[1:-1], load_faiss().omp_get_max_threads()
            parts = np.split(terms, bounds), np.split(queries.data, bounds)
            names = np.arange(q).astype(text)
            answers = self.built.batch_search(names, *parts, num_threads=threads, **asked)
        # in no order that is told, and a query that finds nothing has no name
        found = sorted((hit for answer in answers for hit in answer), key=lambda hit: int(hit[0]))
        rows = np.array([int(name) for name, _, _ in found], np.int64)
        docs = np.array([int(doc) for _, _, doc in found], np.int32)
        if not self.index.exact_scores:
            scores = np.array([score for _, score, _ in found], np.float32)
            return ranking.of_cells(rows, docs, scores, q=q, k=k)
        indptr = np.searchsorted(rows, np.arange(q + 1))
        candidates = Candidates(indptr, docs)
        return scoring.rank(Sparse(queries), self.documents, candidates, k=k, progress=silent)


def _weights(vectors: Embeddings, dim: int, whose: str) -> csr_matrix:
    """Vectors with sorted terms and no zeros. Raises InputError for weights below 0, and more."""
    matrix = check_sparse(vectors, dim, whose).copy()
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    if (lightest := matrix.data.min(initial=0)) < 0:
        raise InputError(
            f"a {whose}'s term weighs {lightest:g}, and seismic takes weights from 0: choose exact"
        )
    return matrix


_output = threading.Lock()


@contextmanager
def _captured_output() -> Iterator[IO[bytes]]:
    """Take what the library writes to standard output meanwhile, where only results belong.

    The library prints by itself, to file descriptor 1 of the process: it is given back at the end,
    and only one thread at a time takes it.
    """
    with _output, tempfile.TemporaryFile() as output:
        before = os.dup(1)
        os.dup2(output.fileno(), 1)
        try:
            yield output
        finally:
            os.dup2(before, 1)
            os.close(before)
