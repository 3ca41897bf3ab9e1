"""Texts of several vectors as they are searched: checked, cut into ranges, without empty ones."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from harness.arrays import Float32, Int64
from harness.errors import InputError
from harness.vectors import Embeddings, MultiVector, Run, of_kind
from harness.vectors.lengths import Extent, find_broken, measure


def check_tokens(queries: Embeddings, dim: int, documents: Extent) -> tuple[MultiVector, Float32]:
    """Check queries that are to be compared by MaxSim.

    Args:
        queries: q of them.
        dim: that of the documents.
        documents: how long the vectors of their tokens are.

    Returns:
        The same queries and the norms of their tokens [t].

    Raises:
        InputError: for NaN, infinity, another dim than that of the documents, and tokens so short
            that float32 cannot hold products.
    """
    queries = of_kind(queries, MultiVector)
    if queries.dim != dim:
        raise InputError(f"queries are {queries.dim}-d and documents {dim}-d: expected one width")
    norms = measure(queries.values)
    rows = np.repeat(np.arange(len(queries)), queries.lengths)
    if (token := find_broken(norms)) is not None:
        raise InputError(
            "a query's vector holds NaN, infinity or a number too large for float32: that of row "
            f"{rows[token]}"
        )
    documents.check(norms, rows=rows)
    return queries, norms


def drop_empty(texts: MultiVector) -> tuple[Int64, MultiVector]:
    """Leave texts without tokens out; no token is copied.

    Returns:
        Rows of the texts that have tokens, and these texts.
    """
    return np.flatnonzero(texts.lengths), MultiVector(texts.values, np.unique(texts.offsets))


def restore_rows(run: Run, asked: Int64, rows: Int64, q: int) -> Run:
    """Bring a run over what is present back to all rows.

    Args:
        run: [asked, k], in rows of the documents that have tokens.
        asked: rows of the queries that have tokens.
        rows: rows of the documents that have tokens.
        q: all queries.

    Returns:
        The run [q, k], in rows of all documents.
    """
    docs = np.full((q, run.docs.shape[1]), -1, np.int32)
    scores = np.zeros(docs.shape, np.float32)
    docs[asked] = np.where(run.docs >= 0, rows[run.docs], -1) if len(rows) else -1
    scores[asked] = run.scores
    return Run(docs, scores)


def parts(offsets: Int64, tokens: int, texts: int) -> Iterator[tuple[int, int]]:
    """Cut texts into ranges of whole texts.

    Args:
        offsets: [n+1], as of MultiVector; each text has tokens.
        tokens: of a range, at most, if it is not one text.
        texts: of a range, at most.

    Yields:
        The first row of a range and that after its last.
    """
    low = 0
    while low < len(offsets) - 1:
        fit = int(np.searchsorted(offsets, offsets[low] + tokens, side="right")) - 1
        high = min(max(fit, low + 1), low + texts)
        yield low, high
        low = high


def take_texts(texts: MultiVector, low: int, high: int) -> MultiVector:
    """Take texts from a row up to another, in memory."""
    offsets = texts.offsets[low : high + 1]
    values = np.ascontiguousarray(texts.values[offsets[0] : offsets[-1]])
    return MultiVector(values, offsets - offsets[0])
