"""Token pooling: fewer vectors a document, searched exactly by MaxSim.

Clavié et al. 2024 (Reducing the footprint of multi-vector retrieval): a document's vectors are
clustered by Ward's method on their cosine distances, and each cluster is replaced by its mean. The
first vector stays as it is: models begin a text with a token of the whole text ([CLS]), which
would be mixed with a word. Queries are not pooled.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from harness.arrays import Float32
from harness.indexes import INDEXES, Index
from harness.indexes.approximate import at_least
from harness.indexes.maxsim import MaxSimSearcher
from harness.progress import Progress, silent
from harness.vectors import Embeddings, MultiVector, Representation, of_kind


@INDEXES.register("pooled")
@dataclass(frozen=True)
class Pooled(Index):
    """MaxSim over fewer token vectors: those of a document are clustered to 1/factor and averaged.

    Raises InputError for a factor below 1.
    """

    factor: int = 2

    accepts: ClassVar[tuple[Representation, ...]] = ("multi-vector",)
    mergeable: ClassVar[bool] = True

    def __post_init__(self) -> None:
        at_least("pooled", 1, factor=self.factor)

    def open(
        self, documents: Embeddings, place: Path | None = None, progress: Progress = silent
    ) -> MaxSimSearcher:
        """Pool the documents; the search is exact, what is searched is not all there was.

        Raises:
            InputError: for NaN or infinity.
        """
        documents = of_kind(documents, MultiVector)
        MaxSimSearcher.of(documents)  # refuses what cannot be clustered
        return MaxSimSearcher.of(pool_tokens(documents, self.factor), exact=False)


def pool_tokens(documents: MultiVector, factor: int) -> MultiVector:
    """Pool documents.

    Returns:
        Documents of n vectors with 1 + max(1, (n - 1) // factor) of them, or fewer where distances
        are equal; in the order of the first of each cluster.
    """
    texts = np.split(documents.values, documents.offsets[1:-1])
    few = [_pool(text, factor) for text in texts]
    offsets = np.concatenate([[0], np.cumsum([len(text) for text in few])])
    return MultiVector(np.concatenate(few), offsets)


def _pool(vectors: Float32, factor: int) -> Float32:
    """Means of clusters of vectors [n, d] after the first, each as long as its members on average.

    A function of these vectors alone.
    """
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import pdist

    rest = vectors[1:].astype(np.float64)
    wanted = max(1, len(rest) // factor)
    if wanted >= len(rest):
        return vectors
    norms = np.sqrt(np.einsum("nd,nd->n", rest, rest))
    directions = rest / np.where(norms > 0, norms, 1)[:, None]
    distances = pdist(directions, "sqeuclidean") / 2  # of unit vectors the cosine distance
    labels = fcluster(linkage(distances, "ward"), wanted, "maxclust")
    _, first, which = np.unique(labels, return_index=True, return_inverse=True)
    sums = np.zeros((len(first), rest.shape[1]))
    np.add.at(sums, which, directions)
    size = np.sqrt(np.einsum("nd,nd->n", sums, sums))
    mean = np.bincount(which, norms) / np.bincount(which)  # of the members' lengths
    means = (sums * (mean / np.where(size > 0, size, 1))[:, None])[np.argsort(first)]
    return np.concatenate([vectors[:1], means.astype(np.float32)])
