"""Complex queries over generated entities: set operations, counts and ranges, judged exactly.

In the manner of set-operation entity retrieval (Killingback and Zamani 2025, arXiv 2509.07253):
films, novels and researchers have attributes, a document states all of them, and a query asks for
the entities of one kind that meet an expression over attributes. Relevance is that expression's
value for every entity, so judgments are complete. What can be said stands in words/entities.toml.
All randomness is integers of PCG64, whose stream NumPy keeps fixed (NEP 19), so a seed gives the
same bytes everywhere.
"""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from harness.data import Corpus, Qrels, Queries, Retrieval
from harness.errors import InputError
from harness.sources import SOURCES, words
from harness.sources.entity_questions import (
    Attribute,
    Below,
    Bools,
    EntityKind,
    Expression,
    Form,
    Holdings,
    Wanted,
    ask,
    choice,
    draw_expression,
    enumerate_parts,
    sample,
)

MOST_DOCS = 300_000  # names are drawn until one is new: 100,000 of 444,270 for researchers
TRIES = 2_000  # expressions drawn for one query
UNBOUNDED = 2**31
HINTS = {
    "too few relevant documents": "raise docs or lower least",
    "too many relevant documents": "raise most",
    "a query asked already": "lower queries",
    "a constraint that changes nothing": "raise docs or lower constraints",
}


@dataclass(frozen=True)
class Population:
    """The entities of a kind: docs holds their n document numbers."""

    kind: EntityKind
    docs: range
    columns: Sequence[Holdings]


@SOURCES.register("entities")
def entities(
    *,
    docs: int = 2_000,
    queries: int = 300,
    form: Form = "mixed",
    constraints: int = 2,
    negated: int | None = None,
    least: int = 2,
    most: int = 250,
    seed: int = 0,
) -> Retrieval:
    """Generated complex retrieval: which films, novels or researchers meet several constraints?

    form: what is asked about. `and`, `or`, `not` are values of attributes: all of them, any of
    them, some but not the others. `count` is how many values an entity has, `range` its numbers.
    `mixed` is all of these, in a conjunction of single constraints and of choices between two.

    constraints: how many a query has, each on another attribute, each deciding about some document.
    negated: how many of them a relevant document must not meet; left out, half of them for `not`,
    none or one for `mixed`, none for the others. least, most: how many documents may be relevant
    to a query. `docs` and `seed` fix the corpus whatever the queries, and a larger corpus begins
    with the documents of a smaller one.

    Raises InputError where a number is out of bounds or no such query can be found.
    """
    wanted = Wanted(form, constraints, negated, least, most)
    _require_bounds(wanted, docs, queries, seed)
    draws = np.random.PCG64(seed)
    aside = draws.jumped()  # queries have a stream of their own, so that they leave the corpus be
    kinds = _kinds()
    populations = [_population(kind, range(i, docs, len(kinds))) for i, kind in enumerate(kinds)]
    ids = [f"entity_{i}" for i in range(docs)]
    texts = _documents(docs, populations, _make_below(draws))
    corpus = Corpus.of(ids, texts, metadata=_metadata(docs, populations))
    found = _find(populations, wanted, queries, _make_below(aside))
    asked = Queries([f"query_{i}" for i in range(queries)], [text for text, _ in found])
    judgments = (
        (f"query_{i}", ids[doc], 1.0) for i, (_, relevant) in enumerate(found) for doc in relevant
    )
    return Retrieval(corpus, asked, Qrels.of(judgments, asked, corpus))


def _require_bounds(wanted: Wanted, docs: int, queries: int, seed: int) -> None:
    """Refuse the parameters of `entities` that are out of bounds."""
    form, constraints, negated = wanted.form, wanted.constraints, wanted.negated
    for name, value, low, high in [
        ("docs", docs, 1, MOST_DOCS),
        ("queries", queries, 1, UNBOUNDED),
        ("constraints", constraints, 1, _most_constraints(form)),
        ("negated", constraints if negated is None else negated, int(form == "not"), constraints),
        ("least", wanted.least, 1, UNBOUNDED),
        ("most", wanted.most, wanted.least, UNBOUNDED),
        ("seed", seed, 0, 2**63 - 1),
    ]:
        if not low <= value <= high:
            bound = f"at least {low}" if value < low else f"at most {high}"
            given = f" with form={form}" if name in ("constraints", "negated") else ""
            raise InputError(f"entities: {name}={value}: expected {bound}{given}")


@cache
def _kinds() -> tuple[EntityKind, ...]:
    tables = tomllib.loads(words.read("entities.toml"))
    vocabulary = tables.pop("vocabulary")
    return tuple(
        EntityKind(
            **{key: value for key, value in table.items() if key != "attributes"},
            attributes=[
                Attribute(name, **{**fields, "values": vocabulary.get(fields.get("values"), ())})
                for name, fields in table["attributes"].items()
            ],
        )
        for table in tables.values()
    )


@cache
def _name_words() -> dict[str, list[str]]:
    vocabulary = tomllib.loads(words.read("entities.toml"))["vocabulary"]
    return {
        "first": words.read("first_names.txt").splitlines(),
        "last": words.read("last_names.txt").splitlines(),
        "adjective": vocabulary["adjectives"],
        "noun": vocabulary["nouns"],
    }


def _most_constraints(form: Form) -> int:
    return min(sum(a.suits(form) for a in kind.attributes) for kind in _kinds())


def _make_below(draws: np.random.PCG64) -> Below:
    """Whole numbers of a stream; the bias of a 64-bit draw is below n / 2^64."""

    def stream() -> Iterator[int]:
        while True:
            yield from np.atleast_1d(draws.random_raw(4096)).tolist()

    numbers = stream()
    return lambda n: next(numbers) % n


def _population(kind: EntityKind, docs: range) -> Population:
    """Entities of whom nothing is known yet."""
    n = len(docs)
    columns = [
        Holdings(a, np.zeros(n, np.int64), np.zeros((len(a.values), n), np.bool_))
        for a in kind.attributes
    ]
    return Population(kind, docs, columns)


def _documents(docs: int, populations: Sequence[Population], below: Below) -> list[str]:
    """Invent the entities: fill the columns and return the texts, kinds taking turns."""
    names: set[str] = set()
    texts = []
    for doc in range(docs):
        row, which = divmod(doc, len(populations))
        population = populations[which]
        while True:
            drawn = {part: choice(options, below) for part, options in _name_words().items()}
            name = population.kind.title.format(**drawn)
            if name not in names:
                break
        names.add(name)
        facts = {c.attribute.name: _fact(c, row, below) for c in population.columns}
        first, *others = population.kind.sentences
        sentences = [first, *sample(others, len(others), below)]
        text = " ".join(choice(templates, below) for templates in sentences)
        texts.append(text.format(name=name, last=drawn["last"], **facts))
    return texts


def _fact(column: Holdings, row: int, below: Below) -> str:
    """Draw what one entity has, and say it."""
    attribute = column.attribute
    low, high = attribute.span
    amount = low + below(high - low + 1)
    column.amounts[row] = amount
    if not attribute.values:
        return str(amount)
    chosen = sample(range(len(attribute.values)), amount, below)
    column.holds[chosen, row] = True
    return enumerate_parts([attribute.values[i] for i in chosen]) or attribute.empty


def _metadata(docs: int, populations: Sequence[Population]) -> dict[str, list[object]]:
    """Columns [docs]: the kind of each entity, its numbers, and its value or values."""
    found: dict[str, list[object]] = {"kind": [None] * docs}
    for population in populations:
        found["kind"][population.docs.start :: population.docs.step] = [
            population.kind.plural
        ] * len(population.docs)
        for column in population.columns:
            attribute = column.attribute
            cells: list[object] = list(column.amounts.tolist())
            if attribute.values:
                held = [np.flatnonzero(which).tolist() for which in column.holds.T]
                named = [[attribute.values[i] for i in each] for each in held]
                cells = [each[0] for each in named] if max(attribute.span) == 1 else list(named)
            values = found.setdefault(attribute.name, [None] * docs)
            values[population.docs.start :: population.docs.step] = cells
    return found


def _find(
    populations: Sequence[Population], wanted: Wanted, queries: int, below: Below
) -> list[tuple[str, list[int]]]:
    """Texts of different queries with the documents that are relevant to each.

    Raises InputError where a query is not found in TRIES expressions.
    """
    asked: set[Any] = set()
    found: list[tuple[str, list[int]]] = []
    while len(found) < queries:
        failures: Counter[str] = Counter()
        while failures.total() < TRIES:
            population = choice(populations, below)
            expression = draw_expression(population.columns, wanted, below)
            rows = expression.relevant(len(population.docs))
            key = (population.kind.plural, expression.meaning)
            failure = (
                "a query asked already" if key in asked else _failure(expression, rows, wanted)
            )
            if not failure:
                break
            failures[failure] += 1
        else:
            [(failure, _)] = failures.most_common(1)
            raise InputError(
                f"entities: found {len(found)} of queries={queries}: {TRIES} more draws with "
                f"form={wanted.form}, constraints={wanted.constraints}, least={wanted.least}, "
                f"most={wanted.most} gave none, most often for {failure}: {HINTS[failure]}"
            )
        asked.add(key)
        relevant = [population.docs[row] for row in np.flatnonzero(rows).tolist()]
        found.append((ask(population.kind, expression, below), relevant))
    return found


def _failure(expression: Expression, rows: Bools, wanted: Wanted) -> str:
    """Why a query is not taken, "" where it is."""
    count = int(rows.sum())
    if count < wanted.least:
        return "too few relevant documents"
    if count > wanted.most:
        return "too many relevant documents"
    idle = any((one.relevant(len(rows)) == rows).all() for one in expression.lesser())
    return "a constraint that changes nothing" if idle else ""
