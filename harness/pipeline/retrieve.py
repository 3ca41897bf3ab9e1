"""From vectors to the run of a collection, with its candidates and passages, and feedback."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from harness.data import Retrieval
from harness.errors import InputError
from harness.indexes import Found, Searcher, scoring
from harness.progress import Progress
from harness.rewriting import Feedback
from harness.vectors import Embeddings, Run, ranking


@dataclass(frozen=True)
class Searchable:
    """What a query is searched in: documents, ready to be searched, of a task's data.

    counts: term counts of the documents, where feedback needs them.
    """

    data: Retrieval
    documents: Embeddings
    searcher: Searcher
    counts: Embeddings | None = None


def retrieve(
    queries: Embeddings,
    collection: Searchable,
    depth: int,
    *,
    exclude_self: bool = False,
    feedback: Feedback | None = None,
    first: Run | None = None,
    progress: Progress,
) -> Found:
    """The best `depth` documents of each query [q, k], by the one ranking rule.

    exclude_self: without the document that has the query's id. feedback: search first for the
    documents that queries are moved towards; first: these, where another search found them. Raises
    InputError where feedback needs term counts and the encoder has none.
    """
    data = collection.data
    deeper = depth + exclude_self  # one more, to leave `depth` without the query's own
    if feedback is not None:
        documents = collection.counts if feedback.counts else collection.documents
        if documents is None:
            raise InputError("this rewriting needs term counts, which bm25 gives: choose bm25")
        if first is None:
            first = _first(queries, collection, feedback.depth, progress, exclude_self=exclude_self)
        queries = feedback.expand(queries, documents, first, progress)
    if data.corpus.parents is None:
        found = _passages(queries, collection, deeper, progress)
    else:
        found = _by_parent(queries, collection, deeper, progress)
    return replace(found, run=drop_self(found.run, data, depth)) if exclude_self else found


def drop_self(run: Run, data: Retrieval, depth: int) -> Run:
    """A run [q, <=depth] of one [q, <=depth+1]: without the document that has the query's id."""
    if run.docs.shape[1] <= depth:  # all there is: what is not its own stays
        room = ((0, 0), (0, 1))
        run = Run(np.pad(run.docs, room, constant_values=-1), np.pad(run.scores, room))
    own = [data.corpus.row(id) for id in data.queries.ids]
    return ranking.without(run, np.asarray(own, np.int32))


def _first(
    queries: Embeddings, collection: Searchable, depth: int, progress: Progress, *,
    exclude_self: bool,
) -> Run:  # fmt: skip
    """What feedback looks at: the best texts that are not of the query's own document."""
    if not exclude_self:
        return _passages(queries, collection, depth, progress).run
    corpus = collection.data.corpus
    of = np.arange(len(corpus)) if corpus.parents is None else corpus.parents
    own = np.array([corpus.row(id) for id in collection.data.queries.ids])
    run = _passages(queries, collection, depth + int(np.bincount(of).max()), progress).run
    kept = np.where(of[run.docs] == own[:, None], -1, run.docs)
    return ranking.unpack(ranking.best(ranking.pack(run.scores, kept), depth))


def _passages(queries: Embeddings, collection: Searchable, depth: int, progress: Progress) -> Found:
    """The best texts of the corpus, or of the candidates."""
    candidates = collection.data.candidates
    if candidates is not None and collection.data.corpus.parents is not None:
        raise InputError("the collection has candidates and passages: expected one of them")
    if candidates is not None:
        documents = collection.documents
        return Found(scoring.rank(queries, documents, candidates, k=depth, progress=progress))
    depth = min(depth, len(collection.data.corpus))
    return collection.searcher.search(queries, depth, progress)


def _by_parent(
    queries: Embeddings, collection: Searchable, depth: int, progress: Progress
) -> Found:
    """The best documents by their best passage: searched deeper until none left out can matter."""
    corpus = collection.data.corpus
    assert corpus.parents is not None
    wanted, passages = min(depth, len(corpus.ranked)), 0
    while True:
        passages = min(max(4 * passages, 4 * wanted), len(corpus))
        found = _passages(queries, collection, passages, progress)
        run, sure = ranking.by_parent(found.run, corpus.parents, wanted)
        if sure.all() or passages == len(corpus):
            return replace(found, run=run)
