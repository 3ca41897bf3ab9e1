"""Any index of dense vectors by cosine: inner products of vectors scaled to length 1."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness.indexes import Found, Index, IndexInfo, Searcher
from harness.progress import Progress
from harness.vectors import Dense, Embeddings, of_kind
from harness.vectors.lengths import check_documents, unit


@dataclass(frozen=True)
class CosineSearcher:
    """The searcher of documents of length 1, which queries are scaled to, too."""

    searcher: Searcher

    @property
    def info(self) -> IndexInfo:
        """Of what is searched."""
        return self.searcher.info

    def search(self, queries: Embeddings, k: int, progress: Progress) -> Found:
        """Find the k best documents of each query [q, k] by cosine; that of a zero vector is 0."""
        return self.searcher.search(_scale(queries), k, progress)


def open_by_cosine(
    index: Index, documents: Embeddings, place: Path | None, progress: Progress
) -> CosineSearcher:
    """Open an index that compares by inner products, over documents of length 1.

    Raises:
        InputError: What the index raises.
    """
    check_documents(of_kind(documents, Dense).values)
    return CosineSearcher(index.open(_scale(documents), place, progress))


def _scale(vectors: Embeddings) -> Dense:
    return Dense(unit(np.array(of_kind(vectors, Dense).values, np.float32)))
