"""TF-IDF reduced by SVD: latent semantic analysis (Deerwester et al. 1990), a classical floor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np

from harness.arrays import Int32
from harness.encoders import ENCODERS, Collection, Similarity
from harness.encoders.hashing import words_of
from harness.errors import InputError
from harness.vectors import Dense, Representation


@ENCODERS.register("tfidf-svd")
@dataclass(frozen=True)
class TfidfSvd:
    """TF-IDF of the documents, reduced by truncated SVD (scikit-learn); queries are projected."""

    makes: ClassVar[Representation] = "dense"
    similarity: ClassVar[Similarity] = "cosine"
    symmetric: ClassVar[bool] = True

    dimensions: int = 256

    def __post_init__(self) -> None:
        if self.dimensions < 1:
            raise InputError(f"tfidf-svd: dimensions={self.dimensions}: expected at least 1")

    def fingerprint(self) -> Mapping[str, object]:
        """The dimensions, how terms are weighed, and the library."""
        from importlib.metadata import version

        weights = "lower-case words, 1 + log tf, smoothed idf, unit length"
        return {**asdict(self), "weights": weights, "scikit-learn": version("scikit-learn")}

    def encode_collection(
        self, documents: Sequence[str], queries: Sequence[str], *, counts: bool = False
    ) -> Collection:
        """Vectors [n, k] and [q, k] along the documents' k largest singular directions.

        A text without a word of the documents is the zero vector. Fewer dimensions than asked for
        are left, and a warning, where the documents span no more.
        """
        from sklearn.feature_extraction.text import TfidfVectorizer

        lengths, query_lengths = _lengths(documents), _lengths(queries)
        if not lengths.any():  # no vocabulary
            nothing = [Dense(np.zeros((len(t), 1), np.float32)) for t in (documents, queries)]
            return Collection(nothing[0], nothing[1], lengths, query_lengths)
        vectorizer = TfidfVectorizer(analyzer=words_of, sublinear_tf=True)
        weights = vectorizer.fit_transform(documents)
        axes = self._axes(weights)
        found = axes.shape[1]
        note = f"{found} dimensions in place of {self.dimensions}: the documents span no more"
        return Collection(
            Dense((weights @ axes).astype(np.float32)),
            Dense((vectorizer.transform(queries) @ axes).astype(np.float32)),
            lengths,
            query_lengths,
            warnings=(note,) if found < self.dimensions else (),
        )

    def _axes(self, weights: Any) -> Any:
        """Right singular vectors [v, k] of weights [n, v], the largest value first.

        By ARPACK, which is exact where the quicker method at random is not yet (and as fast here);
        only for all of them the latter, which then is exact too. On one thread: how many there are
        would decide the last bits. What is zero but for rounding has no direction.
        """
        from sklearn.decomposition import TruncatedSVD
        from threadpoolctl import threadpool_limits

        whole = min(weights.shape)
        k, algorithm = min(self.dimensions, whole), "arpack"
        if k == whole:
            algorithm = "randomized"
        with threadpool_limits(1):
            found = TruncatedSVD(k, algorithm=algorithm, random_state=0).fit(weights)
        values = found.singular_values_
        kept = values > values[0] * max(weights.shape) * np.finfo(values.dtype).eps
        return found.components_[kept].T


def _lengths(texts: Sequence[str]) -> Int32:
    return np.fromiter((len(words_of(text)) for text in texts), np.int32, len(texts))
