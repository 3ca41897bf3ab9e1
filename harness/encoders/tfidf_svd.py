"""TF-IDF reduced by SVD: latent semantic analysis (Deerwester et al. 1990), a classical floor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any, ClassVar

import numpy as np

from harness.arrays import Int32
from harness.encoders import ENCODERS, CollectionEncoder, EncodedCollection, Similarity
from harness.encoders.hashing import words_of
from harness.parameters import check_range
from harness.vectors import Dense, Representation
from harness.wording import count


@ENCODERS.register("tfidf-svd", renamed={"dimensions": "dim"})
@dataclass(frozen=True)
class TfidfSvd(CollectionEncoder):
    """TF-IDF of the documents, reduced by truncated SVD (scikit-learn); queries are projected."""

    representation: ClassVar[Representation] = "dense"
    similarity: ClassVar[Similarity] = "cosine"
    symmetric: ClassVar[bool] = True

    dim: int = 256

    def __post_init__(self) -> None:
        check_range("tfidf-svd", dim=(self.dim, 1, inf))

    def fingerprint(self) -> Mapping[str, object]:
        """Tell the dimensions, how terms are weighed, and the library."""
        from importlib.metadata import version

        weights = "lower-case words, 1 + log tf, smoothed idf, unit length"
        library = {"scikit-learn": version("scikit-learn")}
        return {"dimensions": self.dim, "weights": weights, **library}

    def made_with(self) -> Mapping[str, str]:
        """Tell the versions of scikit-learn, scipy and numpy."""
        from importlib.metadata import version

        return {name: version(name) for name in ("scikit-learn", "scipy", "numpy")}

    def encode_collection(
        self, documents: Sequence[str], queries: Sequence[str], *, counts: bool = False
    ) -> EncodedCollection:
        """Project texts on the documents' k largest singular directions.

        Args:
            documents: Texts of the documents.
            queries: Texts of the queries.
            counts: Not read: no term counts are given.

        Returns:
            Vectors [n, k] and [q, k]; a text without a word of the documents is the zero vector.
            Fewer dimensions than asked for, and a note, where the documents span no more.
        """
        from sklearn.feature_extraction.text import TfidfVectorizer

        lengths, query_lengths = _lengths(documents), _lengths(queries)
        if not lengths.any():  # no vocabulary
            nothing = [Dense(np.zeros((len(t), 1), np.float32)) for t in (documents, queries)]
            return EncodedCollection(nothing[0], nothing[1], lengths, query_lengths)
        vectorizer = TfidfVectorizer(analyzer=words_of, sublinear_tf=True)
        weights = vectorizer.fit_transform(documents)
        axes = self._axes(weights)
        found = axes.shape[1]
        note = f"{count(found, 'dimension')} in place of {self.dim}: the documents span no more"
        return EncodedCollection(
            Dense((weights @ axes).astype(np.float32)),
            Dense((vectorizer.transform(queries) @ axes).astype(np.float32)),
            lengths,
            query_lengths,
            notes=(note,) if found < self.dim else (),
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
        k, algorithm = min(self.dim, whole), "arpack"
        if k == whole:
            algorithm = "randomized"
        with threadpool_limits(1):
            found = TruncatedSVD(k, algorithm=algorithm, random_state=0).fit(weights)
        values = found.singular_values_
        kept = values > values[0] * max(weights.shape) * np.finfo(values.dtype).eps
        return found.components_[kept].T


def _lengths(texts: Sequence[str]) -> Int32:
    return np.fromiter((len(words_of(text)) for text in texts), np.int32, len(texts))
