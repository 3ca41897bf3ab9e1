"""BM25 as sparse vectors: a document's term weights, a query's term counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from harness.encoders import ENCODERS, CollectionEncoder, EncodedCollection, Similarity
from harness.errors import InputError
from harness.vectors import Representation, Sparse


@ENCODERS.register("bm25")
@dataclass(frozen=True)
class BM25(CollectionEncoder):
    """BM25 of the bm25s package, with English stop words and Snowball stems: bm25,k1=0.9,b=0.4."""

    representation: ClassVar[Representation] = "sparse"
    similarity: ClassVar[Similarity] = "dot"

    k1: float = 1.5
    b: float = 0.75
    method: Literal["lucene", "robertson", "atire"] = "lucene"

    def __post_init__(self) -> None:
        if not 0 <= self.k1 < float("inf"):
            raise InputError(f"bm25: k1={self.k1}: expected 0 or more")
        if not 0 <= self.b <= 1:
            raise InputError(f"bm25: b={self.b}: expected 0 to 1")

    def fingerprint(self) -> Mapping[str, object]:
        """Tell the parameters, the stop words and the stemmer."""
        from importlib.metadata import version

        return {
            **asdict(self),
            "stop_words": "bm25s en",
            "stemmer": "snowball english",
            "bm25s": version("bm25s"),
        }

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

        ids, vocabulary = _tokens(documents)
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
        query_ids, query_words = _tokens(queries)
        columns = np.full(max(len(query_words), 1), -1)
        for word, number in query_words.items():
            columns[number] = vocabulary.get(word, -1)
        query_lengths = np.fromiter(map(len, query_ids), np.int32, len(query_ids))
        return EncodedCollection(
            Sparse(matrix),
            _counts(query_ids, columns, width),
            lengths,
            query_lengths,
            _counts(ids, np.arange(width), width) if counts else None,
        )


def _counts(ids: list[list[int]], columns: NDArray[np.int64], width: int) -> Sparse:
    """Term counts [n, width] of texts; columns: [v], of each term, -1 for one to leave out."""
    from scipy.sparse import csr_matrix

    terms = columns[np.fromiter((term for text in ids for term in text), np.int64)]
    rows = np.repeat(np.arange(len(ids)), [len(text) for text in ids])
    known = terms >= 0
    ones = np.ones(known.sum(), np.float32)
    return Sparse(csr_matrix((ones, (rows[known], terms[known])), shape=(len(ids), width)))


def _tokens(texts: Sequence[str]) -> tuple[list[list[int]], dict[str, int]]:
    """Numbers of the stems of each text, and the vocabulary.

    Stems are numbered in alphabetical order: bm25s takes that of a set, which differs between
    processes, and with it the order of sums and their last bit.
    """
    import bm25s
    import Stemmer

    found = bm25s.tokenize(
        list(texts),
        stopwords="en",
        stemmer=Stemmer.Stemmer("english"),
        allow_empty=True,  # no words, no stems; False would put in the empty word
        show_progress=False,
    )
    vocabulary = {word: number for number, word in enumerate(sorted(found.vocab))}
    number = {old: vocabulary[word] for word, old in found.vocab.items()}
    return [[number[stem] for stem in row] for row in found.ids], vocabulary
