"""Predicates on metadata: values, members of lists and ranges that so many documents meet."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.arrays import Int64, is_finite
from harness.data import Corpus
from harness.registry import unknown

Bools = NDArray[np.bool_]

PREDICATES = 8  # of a selectivity, at most
NEAR = 2.0  # a predicate is of a selectivity if its share is off by no more than this factor
RANDOM = "random"  # the attribute of a corpus without metadata


@dataclass(frozen=True)
class Predicate:
    """A condition on metadata. matches: [n], the documents that meet it."""

    text: str
    matches: Bools


def attributes(
    corpus: Corpus, attribute: str | None, random: np.random.Generator
) -> tuple[str, Mapping[str, Sequence[object]]]:
    """The columns of metadata that predicates are about, and what they are called.

    Args:
        corpus: n documents.
        attribute: A column; None for all of them; "random" for a number that is drawn for each
            document, which also stands in where there is no metadata.
        random: Draws these.

    Raises:
        InputError: for a column that is not there.
    """
    if attribute == RANDOM or (attribute is None and not corpus.metadata):
        return RANDOM, {RANDOM: random.permutation(len(corpus)).tolist()}
    known = corpus.metadata or {}
    if attribute is None:
        return f"{len(known)} attributes" if len(known) > 1 else next(iter(known)), known
    if attribute not in known:
        raise unknown("attribute", attribute, [*known, RANDOM])
    return attribute, {attribute: known[attribute]}


def predicates(
    columns: Mapping[str, Sequence[object]], selectivity: float, n: int, random: np.random.Generator
) -> list[Predicate]:
    """Predicates of about a selectivity, different ones, in random order.

    Args:
        columns: Metadata by name, a value for each document.
        selectivity: Share of the documents that are to match.
        n: Documents.
        random: Draws ranges of numbers, and the predicates of many.
    """
    found: dict[str, Int64] = {}
    for name, values in columns.items():
        found |= (_windows if _numeric(values) else _members)(name, values, selectivity, random)
    near = [
        (text, rows)
        for text, rows in found.items()
        if len(rows) and abs(math.log(len(rows) / n / selectivity)) <= math.log(NEAR)
    ]
    chosen = [near[i] for i in random.permutation(len(near))[:PREDICATES]]
    return [Predicate(text, np.isin(np.arange(n), rows)) for text, rows in chosen]


def _numeric(values: Sequence[object]) -> bool:
    """Whether all that is known are finite numbers."""
    known = [value for value in values if value is not None]
    return bool(known) and all(
        isinstance(v, int | float) and not isinstance(v, bool) and is_finite(v) for v in known
    )


def _windows(
    name: str, values: Sequence[Any], selectivity: float, random: np.random.Generator
) -> dict[str, Int64]:
    """Ranges of numbers that hold so many documents, or more where numbers are equal."""
    known = np.array([row for row, value in enumerate(values) if value is not None])
    numbers = np.array([values[row] for row in known])
    ordered, wanted = np.sort(numbers), max(1, round(selectivity * len(values)))
    found = {}
    if wanted <= len(ordered):
        for start in random.integers(len(ordered) - wanted + 1, size=PREDICATES):
            low, high = ordered[start], ordered[start + wanted - 1]
            found[f"{name} {low} to {high}"] = known[(numbers >= low) & (numbers <= high)]
    return found


def _members(
    name: str, values: Sequence[object], selectivity: float, random: np.random.Generator
) -> dict[str, Int64]:
    """The documents that have each value, or have it in their list."""
    found: dict[str, list[int]] = {}
    for row, value in enumerate(values):
        members = map(_text, value if isinstance(value, list) else [value])
        for one in dict.fromkeys(members):  # in their order: what is drawn later hangs on it
            found.setdefault(f"{name} = {one}", []).append(row)
    found.pop(f"{name} = null", None)
    return {text: np.array(rows) for text, rows in found.items()}


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str, sort_keys=True)
