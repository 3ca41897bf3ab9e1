"""Questions about generated entities: constraints drawn, joined into expressions and worded.

What can be said stands in words/entities.toml; numbers and how they are bounded, here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from harness.arrays import Int64

T = TypeVar("T")
Below = Callable[[int], int]  # a random whole number from 0 to n - 1
Bools = NDArray[np.bool_]
Form = Literal["and", "or", "not", "count", "range", "mixed"]
NUMERALS = ("zero", "one", "two", "three", "four", "five")
BOUNDS = {  # in the order of the intervals in _bound
    "count": (
        "at least {}",
        "more than {}",
        "at most {}",
        "fewer than {}",
        "{} to {}",
        "exactly {}",
    ),
    "amount": ("at least {}", "more than {}", "at most {}", "less than {}", "{} to {}"),
    "year": ("in {} or later", "after {}", "in {} or earlier", "before {}", "between {} and {}"),
}
OPENINGS = (  # with what is repeated before each further condition
    ("Which {plural} {conditions}?", ""),
    ("{plural} {who} {conditions}", "{who} "),
    ("Find all {plural} {who} {conditions}.", "{who} "),
    ("I am looking for {plural} {who} {conditions}.", "{who} "),
)
EXCEPTIONS = ("except those", "leaving out any", "not counting those")


@dataclass(frozen=True)
class Attribute:
    """What is stated of every entity of a kind: see words/entities.toml for the fields.

    values: what there is to have; none where the attribute is a number.
    """

    name: str
    values: Sequence[str] = ()
    span: Sequence[int] = (1, 1)
    asked: Sequence[Sequence[str]] = ()
    bounded: Sequence[str] = ()
    wording: str = "count"
    step: int = 1
    empty: str = ""

    def suits(self, form: Form) -> bool:
        """Whether a query of that form can ask about it."""
        if form == "count":
            return bool(self.values and self.bounded)
        return form == "mixed" or bool(self.values) == (form != "range")


@dataclass(frozen=True)
class EntityKind:
    """A kind of entity: how it is named, described and asked for."""

    plural: str
    who: str
    title: str
    sentences: Sequence[Sequence[str]]
    attributes: Sequence[Attribute]


@dataclass(frozen=True)
class Holdings:
    """An attribute of all n entities of a kind.

    amounts: [n], the number, or how many values; holds: [values, n], whether an entity has each.
    """

    attribute: Attribute
    amounts: Int64
    holds: Bools


@dataclass(frozen=True)
class Atom:
    """One constraint, as a verb phrase; denied: its negation, "" where it has no short one.

    meaning: the attribute with a value, or with a lowest and a highest number; rows: [n], who
    meets it.
    """

    meaning: tuple[str | int, ...]
    text: str
    denied: str
    rows: Bools


@dataclass(frozen=True)
class Expression:
    """Some atom of each clause of `every`, and no atom of `none`."""

    every: Sequence[Sequence[Atom]]
    none: Sequence[Atom]

    def relevant(self, n: int) -> Bools:
        """[n]: which entities meet it."""
        found = np.ones(n, np.bool_)
        for clause in self.every:
            found &= np.logical_or.reduce([atom.rows for atom in clause])
        for atom in self.none:
            found &= ~atom.rows
        return found

    def lesser(self) -> Iterator[Expression]:
        """The expression without each of its atoms in turn."""
        for i, clause in enumerate(self.every):
            for rest in _less_one(clause):
                kept = [*self.every[:i], rest, *self.every[i + 1 :]]
                yield Expression([clause for clause in kept if clause], self.none)
        for rest in _less_one(self.none):
            yield Expression(self.every, rest)

    @property
    def meaning(self) -> tuple[frozenset[Any], frozenset[Any]]:
        """What it asks for, whatever the order and the wording."""
        clauses = (frozenset(atom.meaning for atom in clause) for clause in self.every)
        return frozenset(clauses), frozenset(atom.meaning for atom in self.none)


@dataclass(frozen=True)
class Wanted:
    """Which queries are asked for: the parameters of `entities`."""

    form: Form
    constraints: int
    negated: int | None
    least: int
    most: int


def choice(options: Sequence[T], below: Below) -> T:
    """One of the options, at random."""
    return options[below(len(options))]


def sample(options: Sequence[T], k: int, below: Below) -> list[T]:
    """The first k of a random permutation, by Fisher and Yates."""
    pool = list(options)
    for i in range(k):
        j = i + below(len(pool) - i)
        pool[i], pool[j] = pool[j], pool[i]
    return pool[:k]


def enumerate_parts(parts: Sequence[str], comma: str = ", ", last: str = " and ") -> str:
    """Parts as one enumeration, "" where there are none."""
    return last.join(part for part in (comma.join(parts[:-1]), *parts[-1:]) if part)


def draw_expression(columns: Sequence[Holdings], wanted: Wanted, below: Below) -> Expression:
    """Draw what is asked for: constraints on different attributes, and how they are joined."""
    form, k = wanted.form, wanted.constraints
    negated = wanted.negated
    if negated is None:
        negated = {"not": (k + 1) // 2, "mixed": below(2) if k > 1 else 0}.get(form, 0)
    able = [column for column in columns if column.attribute.suits(form)]
    atoms = [_atom(column, form, below) for column in sample(able, k, below)]
    none, rest = atoms[:negated], atoms[negated:]
    if form == "or":
        return Expression([rest] if rest else [], none)
    every = []
    while rest:
        size = 2 if form == "mixed" and below(3) == 0 else 1
        every.append(rest[:size])
        rest = rest[size:]
    return Expression(every, none)


def _atom(column: Holdings, form: Form, below: Below) -> Atom:
    attribute = column.attribute
    counts = form == "count" or (form == "mixed" and attribute.suits("count") and below(2) == 0)
    if counts or not attribute.values:
        return _bound(column, below)
    value = below(len(attribute.values))
    text, denied = (text.format(attribute.values[value]) for text in choice(attribute.asked, below))
    return Atom((attribute.name, value), text, denied, column.holds[value])


def _bound(column: Holdings, below: Below) -> Atom:
    """A constraint on a number, or on how many values there are."""
    attribute = column.attribute
    lowest, highest = attribute.span
    marks = [i for i in range(max(2, lowest), highest + 1) if i % attribute.step == 0]
    one, other = sample(marks, 2, below)
    wordings = BOUNDS[attribute.wording]
    way = below(len(wordings))
    two_sided = wordings[way].count("{}") == 2
    if two_sided:
        one, other = sorted((one, other))
    low, high = [
        (one, highest),
        (one + 1, highest),
        (lowest, one),
        (lowest, one - 1),
        (one, other),
        (one, one),
    ][way]
    said = [NUMERALS[mark] if attribute.values else str(mark) for mark in (one, other)]
    text = choice(attribute.bounded, below).format(wordings[way].format(*said))
    if two_sided:
        text += " (inclusive)"
    if low == 0:
        text += " (or none)"
    rows = (column.amounts >= low) & (column.amounts <= high)
    return Atom((attribute.name, low, high), text, "", rows)


def _less_one(atoms: Sequence[Atom]) -> Iterator[list[Atom]]:
    for i in range(len(atoms)):
        yield [*atoms[:i], *atoms[i + 1 :]]


def ask(kind: EntityKind, expression: Expression, below: Below) -> str:
    """A query's text.

    What may be misread is kept apart: single constraints stand before choices, a choice is opened
    by "either" and closed by "or both", and an exception to all that is before it comes last.
    """
    conditions = [clause[0].text for clause in expression.every if len(clause) == 1]
    exceptions = list(expression.none)
    if below(2) == 0:
        conditions += [atom.denied for atom in exceptions if atom.denied]
        exceptions = [atom for atom in exceptions if not atom.denied]
    for clause in expression.every:
        if len(clause) > 1:
            remark = "both" if len(clause) == 2 else "several of these"
            parts = [atom.text for atom in clause]
            conditions.append(f"either {enumerate_parts(parts, ', ', ' or ')}, or {remark}")
    opening, again = choice(OPENINGS, below)
    if not conditions:
        opening = "All {plural}{conditions}"
    again = again.format(who=kind.who)
    said = enumerate_parts(conditions, f", {again}", f" and {again}")
    if exceptions:
        atoms = f" or {kind.who} ".join(atom.text for atom in exceptions)
        said += f", {choice(EXCEPTIONS, below)} {kind.who} {atoms}"
    text = opening.format(plural=kind.plural, who=kind.who, conditions=said)
    return text[0].upper() + text[1:]
