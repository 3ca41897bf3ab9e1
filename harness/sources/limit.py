"""LIMIT-style top-k collections, generated: which k documents hold an attribute, for every query.

After Weller et al. 2025 (arXiv 2508.21038): people like things, a query asks who likes one thing,
and k documents are relevant to it. The words are our own. All randomness is integers of PCG64,
whose stream NumPy keeps fixed (NEP 19), so a seed gives the same bytes everywhere.

words/synonyms.txt says each line of words/likes.txt in other words, none of which shares a stem
with any like or name: to what counts words they are chance. A line is empty where other words would
fit another like as well (courgettes, zucchinis).
"""

from __future__ import annotations

from itertools import combinations, islice
from math import comb, inf
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from harness.data import Corpus, Origin, Qrels, Queries, Retrieval
from harness.errors import InputError
from harness.parameters import check_range
from harness.sources import SOURCES, words

Pattern = Literal["dense", "random", "cycle", "disjoint"]
BLOCK = 4096  # documents filled at a time: bounds memory to BLOCK x vocabulary


@SOURCES.register("limit")
def limit(
    *,
    docs: int = 50_000,
    queries: int = 1_000,
    k: int = 2,
    relevant: int = 0,
    attributes: int = 45,
    pattern: Pattern = "dense",
    seed: int = 0,
    synonyms: bool = False,
) -> Retrieval:
    """Generated LIMIT: who likes X? k of `relevant` documents do, by one of four patterns.

    relevant: how many documents are relevant to any query (n in the paper); 0 takes the pattern's
    own: dense the smallest n with C(n, k) >= queries, random all documents, cycle as many as there
    are queries, disjoint k for each query. attributes: things a person likes, at the least.
    synonyms: queries ask in other words than documents use. The documents of the same seed differ
    only in the few asked things that have no other words, which change places with fillers.

    Raises InputError where the numbers cannot be met, saying which and how.
    """
    likes = _words("likes")
    _require(len(likes), seed=seed, docs=docs, queries=queries, k=k, attributes=attributes)
    n = relevant or _pattern_size(pattern, docs, queries, k)
    _require_size(n, pattern, docs, queries, k)
    draws = np.random.PCG64(seed)
    order = _shuffle(len(likes), draws)
    asked_as = _words("synonyms") if synonyms else likes
    _ask_only(asked_as, order, queries)
    things = [likes[i] for i in order]
    judged = _pattern(pattern, n, queries, k, draws)  # [queries, k] document numbers
    names = _names(docs, draws)
    people = _people(judged, docs, attributes, len(things), draws)
    told = zip(names, people, strict=True)
    corpus = Corpus.of(names, [f"{name} likes {_list(liked, things)}." for name, liked in told])
    ids = [f"query_{i}" for i in range(queries)]
    asked = Queries(ids, [f"Who likes {asked_as[i]}?" for i in order[:queries]])
    judgments = ((ids[i], names[doc], 1.0) for i, row in enumerate(judged) for doc in row)
    origin = _tell(docs, k, n, pattern, synonyms=synonyms)
    return Retrieval(corpus, asked, Qrels.of(judgments, asked, corpus), origin=origin)


def _require(likes: int, *, seed: int, **least_one: int) -> None:
    """Refuse numbers out of bounds, and more things to like than there are."""
    check_range("limit", **{name: (value, 1, inf) for name, value in least_one.items()})
    if not 0 <= seed < 2**63:
        raise InputError(f"limit: seed={seed}: expected 0 or more")
    queries, attributes = least_one["queries"], least_one["attributes"]
    if queries + attributes > likes:
        raise InputError(
            f"limit: queries={queries} with attributes={attributes} need {queries + attributes} "
            f"different things to like; there are {likes}: lower one of them"
        )


def _require_size(n: int, pattern: Pattern, docs: int, queries: int, k: int) -> None:
    """Refuse fewer relevant documents than a query has, and more than there are."""
    if not k <= n <= docs:
        given = f"pattern={pattern} with queries={queries}, k={k} has n={n} relevant documents"
        expected = f"expected k <= n <= docs={docs}; raise docs or lower queries"
        raise InputError(f"limit: {given}: {expected}")


def _tell(docs: int, k: int, n: int, pattern: Pattern, *, synonyms: bool) -> Origin:
    """What the collection is, and how it is measured."""
    what = f"Which {k:,} of {docs:,} people like X: {n:,} of them are relevant to some query"
    how = f"pattern {pattern}{', asked in other words' if synonyms else ''}"
    measures = (f"R@{k}", "R@10", "R@100", "nDCG@10")
    return Origin(measures=measures, description=f"{what}, {how}")


def _words(name: str) -> list[str]:
    return words.read(f"{name}.txt").split("\n")[:-1]


def _ask_only(asked_as: list[str], order: list[int], queries: int) -> None:
    """Swap the first `queries` things of `order` that have no other words for later ones."""
    there = len(asked_as) - asked_as.count("")
    if queries > there:
        raise InputError(
            f"limit: queries={queries} with synonyms=true: {there} things have a synonym: "
            "lower queries"
        )
    spare = (j for j in range(queries, len(order)) if asked_as[order[j]])
    for i in range(queries):
        if not asked_as[order[i]]:
            j = next(spare)
            order[i], order[j] = order[j], order[i]


def _pattern_size(pattern: Pattern, docs: int, queries: int, k: int) -> int:
    if pattern == "dense":
        n = k
        while comb(n, k) < queries:
            n += 1
        return n
    return {"random": docs, "cycle": min(docs, queries), "disjoint": queries * k}[pattern]


def _pattern(
    pattern: Pattern, n: int, queries: int, k: int, draws: np.random.PCG64
) -> NDArray[np.int64]:
    """[queries, k]: the relevant documents of each query, numbers below n, distinct in a row."""
    steps = np.arange(queries)[:, None]
    if pattern == "dense":
        if comb(n, k) < queries:
            raise InputError(
                f"limit: relevant={n} documents have C({n},{k}) = {comb(n, k)} subsets of {k}, "
                f"fewer than queries={queries}: raise relevant"
            )
        return np.array(list(islice(combinations(range(n), k), queries)), np.int64)
    if pattern == "cycle":
        return (steps + np.arange(k)) % n
    if pattern == "disjoint":
        if n < queries * k:
            raise InputError(f"limit: relevant={n}: pattern=disjoint needs {queries * k}")
        return steps * k + np.arange(k)
    return np.array([_shuffle(n, draws, k) for _ in range(queries)])


def _shuffle(n: int, draws: np.random.PCG64, k: int | None = None) -> list[int]:
    """The first k of a random permutation of range(n), by Fisher and Yates, kept sparse."""
    k = n if k is None else k
    moved: dict[int, int] = {}
    chosen = []
    for i, draw in enumerate(np.atleast_1d(draws.random_raw(k)).tolist()):
        j = i + draw % (n - i)  # the bias of a 64-bit draw is below n / 2^64
        chosen.append(moved.get(j, j))
        moved[j] = moved.get(i, i)
    return chosen


def _names(docs: int, draws: np.random.PCG64) -> list[str]:
    first, last = _words("first_names"), _words("last_names")
    if docs > len(first) * len(last):
        raise InputError(
            f"limit: docs={docs}: there are {len(first) * len(last)} names: lower docs"
        )
    return [
        f"{first[i // len(last)]} {last[i % len(last)]}"
        for i in _shuffle(len(first) * len(last), draws, docs)
    ]


def _people(
    judged: NDArray[np.int64], docs: int, attributes: int, things: int, draws: np.random.PCG64
) -> list[list[int]]:
    """What each document's person likes, as numbers of things, in the order of its text.

    Query i asks for thing i. A document holds the things of its queries and is filled up to
    `attributes` from the things that no query asks for, so that no filler makes it relevant.
    """
    queries = len(judged)
    fillers = things - queries
    asked: dict[int, list[int]] = {}
    for query, row in enumerate(judged.tolist()):
        for doc in row:
            asked.setdefault(doc, []).append(query)
    people = []
    for start in range(0, docs, BLOCK):
        count = min(BLOCK, docs - start)
        filled = queries + _samples(count, fillers, attributes, draws)
        for doc, row in enumerate(filled.tolist(), start):
            wanted = asked.get(doc, [])
            liked = wanted + row[: max(0, attributes - len(wanted))]
            people.append([liked[i] for i in _shuffle(len(liked), draws)] if wanted else liked)
    return people


def _samples(rows: int, n: int, k: int, draws: np.random.PCG64) -> NDArray[np.int64]:
    """[rows, k]: each row the first k of its own random permutation of range(n)."""
    order = np.tile(np.arange(n), (rows, 1))
    each = np.arange(rows)
    for i in range(k):
        j = i + (draws.random_raw(rows) % np.uint64(n - i)).astype(np.int64)
        order[each, i], order[each, j] = order[each, j], order[each, i].copy()
    return order[:, :k]


def _list(numbers: list[int], things: list[str]) -> str:
    *most, last = [things[i] for i in numbers]
    return f"{', '.join(most)} and {last}" if most else last
