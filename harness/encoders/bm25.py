"""BM25 as sparse vectors: a document's term weights, a query's term counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import inf
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from harness.data import Purpose
from harness.encoders import ENCODERS, CollectionEncoder, EncodedCollection, Similarity
from harness.encoders.terms import ENGLISH, Analysis, guess, shorten
from harness.parameters import check_range
from harness.vectors import Representation, Sparse

GUESSED = (
    "most letters are of a script without spaces: pairs of characters are counted, no words; "
    "bm25,language=en counts words"
)


@ENCODERS.register("bm25")
@dataclass(frozen=True)
class BM25(CollectionEncoder):
    """BM25 of the bm25s package, with stop words and Snowball stems: bm25,k1=0.9,b=0.4,language=de.

    Where no language is asked for, it is the task's; where that is not known, English, or, where
    most letters are of a script without spaces, one whose texts are cut into character pairs.
    """

    representation: ClassVar[Representation] = "sparse"
    similarity: ClassVar[Similarity] = "dot"

    k1: float = 1.5
    b: float = 0.75
    method: Literal["lucene", "robertson", "atire"] = "lucene"
    language: str | None = None

    def __post_init__(self) -> None:
        check_range("bm25", k1=(self.k1, 0, inf), b=(self.b, 0, 1))
        Analysis(self.language or ENGLISH)

    def for_task(self, purpose: Purpose) -> BM25:
        """Give the encoder for a task's language, if none was asked for."""
        told = shorten(purpose.language)
        return replace(self, language=told) if told and self.language is None else self

    def fingerprint(self) -> Mapping[str, object]:
        """Tell the parameters, the stop words and the stemmer."""
        from importlib.metadata import version

        analysis = Analysis(self.language or ENGLISH)
        found = {
            **asdict(self),
            "stop_words": analysis.stop_words,
            "stemmer": analysis.stemmer,
            "terms": analysis.terms,
            "bm25s": version("bm25s"),
        }
        if analysis.language == ENGLISH:  # as it was told before there were others
            del found["language"], found["terms"]
        return found

    def made_with(self) -> Mapping[str, str]:
        """Tell the versions of bm25s, its stemmer and scipy."""
        from importlib.metadata import version

        return {name: version(name) for name in ("bm25s", "PyStemmer", "scipy")}

    def encode_collection(
        self, documents: Sequence[str], queries: Sequence[str], *, counts: bool = False
    ) -> EncodedCollection:
        """Weigh terms of documents and count those of queries, over the corpus's vocabulary.

        Args:
            documents: Texts of the documents.
            queries: Texts of the queries.
            counts: Also give the term counts of documents.

        Returns:
            Sparse vectors [n, v] and [q, v].
        """
        import bm25s
        from scipy.sparse import csc_matrix, csr_matrix

        analysis = Analysis(self.language or guess(documents))
        ids, vocabulary = analysis.analyse(documents)
        lengths = np.fromiter(map(len, ids), np.int32, len(ids))
        width = max(len(vocabulary), 1)
        if lengths.any():
            model = bm25s.BM25(k1=self.k1, b=self.b, method=self.method, csc_backend="scipy")
            model.index((ids, vocabulary), create_empty_token=False, show_progress=False)
            scores: Any = model.scores
            parts = (scores["data"], scores["indices"], scores["indptr"])
            matrix = csc_matrix(parts, shape=(len(ids), width)).tocsr()
        else:
            matrix = csr_matrix((len(ids), width), dtype=np.float32)
        query_ids, query_words = analysis.analyse(queries)
        columns = np.full(max(len(query_words), 1), -1)
        for word, number in query_words.items():
            columns[number] = vocabulary.get(word, -1)
        return EncodedCollection(
            Sparse(matrix),
            _counts(query_ids, columns, width),
            lengths,
            np.fromiter(map(len, query_ids), np.int32, len(query_ids)),
            _counts(ids, np.arange(width), width) if counts else None,
            (GUESSED,) if not self.language and analysis.language != ENGLISH else (),
        )


def _counts(ids: list[list[int]], columns: NDArray[np.int64], width: int) -> Sparse:
    """Term counts [n, width] of texts; columns: [v], of each term, -1 for one to leave out."""
    from scipy.sparse import csr_matrix

    terms = columns[np.fromiter((term for text in ids for term in text), np.int64)]
    rows = np.repeat(np.arange(len(ids)), [len(text) for text in ids])
    known = terms >= 0
    ones = np.ones(known.sum(), np.float32)
    return Sparse(csr_matrix((ones, (rows[known], terms[known])), shape=(len(ids), width)))
