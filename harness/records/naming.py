"""Names of systems that tell them apart: other weights, code or runs are another system."""

from __future__ import annotations

import json
import re
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.records import Record
from harness.records.fingerprints import digest, is_composite

HEXADECIMAL = re.compile("[0-9a-f]{16,}")
SHORT = 7  # characters of a digest that are shown
LONGEST = 40  # characters of any other value
BY_LANGUAGE = ("language", "terms", "stop_words", "stemmer")  # which may be the task's


@dataclass(frozen=True)
class Bearer:
    """One evaluation of what bears a name.

    Attributes:
        name: What people call it.
        traits: What decides its results on every task.
        by_task: What may be another on another task: prompts, what follows from its language,
            tuned weights, the run's file.
            Two systems are told apart by it only where they answered the same question.
        question: Data, measure and whatever else makes scores comparable.
        hint: What people tell it from others of its name by, where they know more than digests.
    """

    name: str
    traits: Mapping[str, str]
    by_task: Mapping[str, str] = field(default_factory=dict)
    question: Hashable = ""
    hint: str = ""


def bearer(record: Record) -> Bearer:
    """Return what decides the results of a record, as far as names have to tell it."""
    system, task, rewriting = record.system, record.task, record.rewriting
    run = system.source == "run"
    return Bearer(
        record.name,
        {
            **({} if run else _flatten(_apart_from_tasks(system.fingerprint))),
            "rewriting": rewriting.full if rewriting else "",
            "index": "" if record.exact or record.index is None else record.index.full,
        },
        {
            **(_flatten(system.fingerprint) if run or is_composite(system.fingerprint) else {}),
            "language": _text([system.fingerprint.get(key) for key in BY_LANGUAGE]),
            "prompts": _text(system.prompts),
            "rewriting": _text(rewriting.details) if rewriting else "",
        },
        digest(task.spec, task.fingerprint, task.exclude_self, record.main_measure),
        system.full.removeprefix("run:") if run else "",
    )


def _apart_from_tasks(fingerprint: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a composite is made of, without prompts and weights that its tasks may decide."""
    if not is_composite(fingerprint):
        return {key: value for key, value in fingerprint.items() if key not in BY_LANGUAGE}
    parts = [
        {**part, "fingerprint": _apart_from_tasks(part["fingerprint"]), "prompts": {}}
        for part in fingerprint["parts"]
    ]
    return {"retriever": fingerprint["retriever"], "parts": parts}


def name(records: Iterable[Record]) -> list[str]:
    """Return the name of each record's system, so that equal names are of equal systems."""
    return tell_apart([bearer(record) for record in records])[0]


def tell_apart(bearers: Sequence[Bearer]) -> tuple[list[str], list[str]]:
    """Name each bearer so that equal names are of equal systems.

    Returns:
        A name for each, and a sentence for each name that several systems bore.
    """
    named, notes = dict[str, list[int]](), list[str]()
    for row, one in enumerate(bearers):
        named.setdefault(one.name, []).append(row)
    names = [one.name for one in bearers]
    for shared, rows in named.items():
        found = _traits([bearers[row] for row in rows])
        keys = [_text(traits) for traits in found]
        systems = dict(zip(keys, found, strict=True))
        if len(systems) == 1:
            continue
        hints = {key: bearers[row].hint for row, key in zip(rows, keys, strict=True)}
        every = dict.fromkeys(key for one in found for key in one)
        apart = [key for key in every if len({one.get(key) for one in found}) > 1]
        each = _labels([*systems.values()], apart, [hints[key] for key in systems])
        labels = dict(zip(systems, each, strict=True))
        for row, key in zip(rows, keys, strict=True):
            names[row] = f"{shared} [{labels[key]}]"
        notes.append(
            f"{shared}: {len(systems)} systems of this name, which differ in {', '.join(apart)}"
        )
    return names, notes


def _traits(bearers: Sequence[Bearer]) -> list[Mapping[str, str]]:
    """What tells bearers of one name apart: also what their tasks decide, where that clashes."""
    answered = dict[Hashable, str]()
    clash = any(
        answered.setdefault((_text(one.traits), one.question), text) != text
        for one in bearers
        for text in [_text(one.by_task)]
    )
    return [{**one.traits, **one.by_task} if clash else one.traits for one in bearers]


def _labels(
    systems: Sequence[Mapping[str, str]], apart: Sequence[str], hints: Sequence[str]
) -> list[str]:
    """What systems of one name are told apart by: a hint, a single trait, else a digest."""
    if all(hints) and len({*hints}) == len(hints):
        return [*hints]
    if len(apart) == 1:
        labels = [f"{apart[0]} {_shorten(one.get(apart[0], 'none'))}" for one in systems]
        if len({*labels}) == len(labels):
            return labels
    return [digest(_text(one))[:SHORT] for one in systems]


def _shorten(value: str) -> str:
    return value[: SHORT if HEXADECIMAL.fullmatch(value) else LONGEST]


def _flatten(values: Mapping[str, Any]) -> dict[str, str]:
    return {key: value if isinstance(value, str) else _text(value) for key, value in values.items()}


def _text(value: object) -> str:
    return json.dumps(value, sort_keys=True)
