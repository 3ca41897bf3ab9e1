"""Corpora within each other: the judged documents are in all, larger ones hold the smaller.

Vectors of a text do not depend on the corpus, so each document is compared once, in the smallest
corpus that holds it, and the rankings are merged.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from harness.arrays import Int64
from harness.data import Corpus, Qrels, Retrieval
from harness.errors import InputError
from harness.indexes import INDEXES
from harness.progress import Progress, silent
from harness.vectors import Dense, Embeddings, Run, Sparse, ranking
from harness.vectors.lengths import unit
from harness.wording import count

SMALLEST = 1000
STEPS = 5  # at least so many from the smallest corpus to the largest
BLOCK = 1 << 17  # documents of one comparison
LETTERS = np.frombuffer(b"abcdefghijklmnopqrstuvwxyz ", np.uint8)
LENGTHS = (20, 150)  # characters of a random string


@dataclass(frozen=True)
class Nested:
    """A collection with the documents of the largest corpus.

    Attributes:
        data: Queries and judgments are those of all corpora.
        sizes: Documents of each corpus, ascending.
        enters: [n], the place of each document in the order in which they come in; so a corpus of
            m documents are those below m.
    """

    data: Retrieval
    sizes: tuple[int, ...]
    enters: Int64

    def rows(self, size: int, above: int = 0) -> Int64:
        """Rows of a corpus, ascending, without those of a smaller one."""
        return np.flatnonzero((self.enters >= above) & (self.enters < size))

    def alone(self, size: int) -> Retrieval:
        """The collection with a corpus of that size and nothing else."""
        rows, corpus, kept = self.rows(size), self.data.corpus, find_judged(self.data)
        ids, texts = [corpus.ids[row] for row in rows], [corpus.texts[row] for row in rows]
        at = dict(zip(kept.tolist(), np.searchsorted(rows, kept).tolist(), strict=True))
        return _with(self.data, Corpus.of(ids, texts), at)


def find_judged(data: Retrieval) -> Int64:
    """Rows of the documents that have a judgment, ascending."""
    return np.unique(data.qrels.docs[data.qrels.docs >= 0]).astype(np.int64)


def nest(data: Retrieval, others: Sequence[tuple[str, str]], sizes: Sequence[int]) -> Nested:
    """Put documents beside the judged ones of a collection.

    Args:
        data: Without passages and candidates; what is not judged is left out.
        others: Ids and texts of further documents, in the order in which they come in.
        sizes: Documents of each corpus, ascending, judged ones included.
    """
    kept = find_judged(data)
    documents = [(data.corpus.ids[row], data.corpus.texts[row]) for row in kept]
    documents += others[: sizes[-1] - len(kept)]
    order = {id: place for place, (id, _) in enumerate(documents)}
    whole = Corpus.of(list(order), [text for _, text in documents])
    enters = np.array([order[id] for id in whole.ids])
    enters[enters < len(kept)] = 0  # all at once
    move = _with(data, whole, {row: whole.row(data.corpus.ids[row]) for row in kept.tolist()})
    return Nested(move, tuple(sizes), enters)


def _with(data: Retrieval, corpus: Corpus, row: dict[int, int]) -> Retrieval:
    """A collection with another corpus. row: of documents there, by that which they had."""

    def move(qrels: Qrels) -> Qrels:
        docs = np.array([row.get(doc, -1) for doc in qrels.docs.tolist()], np.int32)
        return replace(qrels, docs=docs)

    binary = data.binary and move(data.binary)
    return replace(data, corpus=corpus, qrels=move(data.qrels), binary=binary)


def choose_sizes(asked: Sequence[int], least: int, most: int) -> list[int]:
    """Sizes of corpora, ascending: those asked for, or about doubling up to the most.

    These begin at SMALLEST, or at a tenth of few documents.

    Raises:
        InputError: One is smaller than the judged documents or larger than all, or all are judged.
    """
    if least == most:
        raise InputError(
            f"all {most:,} documents are judged, so that no corpus can be smaller: choose other "
            "distractors, random with sizes or a task"
        )
    for size in asked:
        if not least <= size <= most:
            raise InputError(
                f"a corpus of {count(size, 'document')}: expected {least:,}, "
                f"which are judged, to {most:,}"
            )
    if asked:
        return sorted(set(asked))
    first = max(least, SMALLEST if most > SMALLEST else most // 10)
    steps = max(STEPS, round(math.log2(most / first)))
    return [int(size) for size in np.unique(np.geomspace(first, most, steps + 1).round())]


def strings(count: int, random: np.random.Generator) -> list[str]:
    """Random strings of a-z and space; more of them begin with the same."""
    lengths = (random.integers(LENGTHS[0], LENGTHS[1] + 1) for _ in range(count))
    return [LETTERS[random.integers(len(LETTERS), size=n)].tobytes().decode() for n in lengths]


def select(part: Embeddings, rows: Int64, dim: int | None = None, *, scaled: bool) -> Embeddings:
    """Some rows, copied; dense vectors cut to `dim`, and to length 1 where they are scaled."""
    if isinstance(part, Dense):
        values = np.ascontiguousarray(part.values[rows, :dim])
        return Dense(unit(values) if scaled else values)
    if isinstance(part, Sparse):
        return Sparse(part.matrix[rows])
    return part.take(rows)


def searches(
    queries: Embeddings,
    documents: Callable[[Int64], Embeddings],
    corpora: Nested,
    k: int,
    progress: Progress,
) -> Iterator[Run]:
    """The k best documents of each query [q, k] in each corpus, from the smallest on.

    Args:
        queries: Vectors.
        documents: Vectors of the documents of these rows.
        corpora: What is searched.
        k: Results of a query.
        progress: Told of the documents compared.
    """
    compared, above, keys = 0, 0, np.zeros((len(queries), k), np.uint64)
    for size in corpora.sizes:
        entering = corpora.rows(size, above)
        for low in range(0, len(entering), BLOCK):
            rows = entering[low : low + BLOCK]
            block = rank_rows(queries, documents(rows), rows, k)
            keys = ranking.best(np.concatenate([keys, block], axis=1), k)
            compared += len(rows)
            progress("search", compared, corpora.sizes[-1], "documents")
        above = size
        yield ranking.unpack(keys)


def rank_rows(queries: Embeddings, documents: Embeddings, rows: Int64, k: int) -> ranking.Keys:
    """The k best documents of each query as keys [q, k]. rows: of the documents, ascending."""
    run = INDEXES.create("exact").open(documents).search(queries, k, silent).run
    return ranking.pack(run.scores, np.where(run.docs >= 0, rows[run.docs], -1))
