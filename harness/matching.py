"""Records of two systems that ask the same, and what differs between them beside the model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.records import Record, SystemRecord
from harness.records.fingerprints import is_composite


def tell_differences(one: Record, two: Record) -> tuple[str, ...]:
    """What differs beside the model and may explain a difference."""
    names = [r.task.spec for r in (one, two)]
    indexes = [r.index.full if r.index else "given" if r.depth else "" for r in (one, two)]
    rewritings = [r.rewriting.full if r.rewriting else "none" for r in (one, two)]
    notes = [
        f"{what} differs: {x} and {y}"
        for what, (x, y) in (
            ("the name of the data", names),
            ("index", indexes),
            ("rewriting", rewritings),
        )
        if x != y
    ]
    builds = [_find_faiss(record) for record in (one, two)]
    if all(builds) and builds[0] != builds[1]:
        notes.append(f"faiss differs, and so may last bits of scores: {' and '.join(builds)}")
    changed = tell_prompts(one.system, two.system)
    return (*notes, *([f"prompts differ: {changed}"] if changed else []))


def _find_faiss(record: Record) -> str:
    """The build of faiss that scored vectors; "" where none did, or that is not known.

    faiss-cpu and faiss-gpu of one version add products in another order, on the processor too.
    """
    packages = record.environment.packages if record.index else {}
    return ", ".join(f"{name} {packages[name]}" for name in packages if name.startswith("faiss-"))


def tell_prompts(one: SystemRecord, two: SystemRecord) -> str:
    """Which prompts of two systems differ, those of parts under the part's number; "" for none."""
    x, y = (_list_prompts(system.prompts, system.fingerprint) for system in (one, two))
    return ", ".join(
        f"{role} {x.get(role, '')!r} and {y.get(role, '')!r}"
        for role in {**x, **y}
        if x.get(role, "") != y.get(role, "")
    )


def _list_prompts(
    prompts: Mapping[str, str], fingerprint: Mapping[str, Any], place: str = ""
) -> dict[str, str]:
    """Prompts by place and role, of a system and of what `composite_fingerprint` holds."""
    found = {f"{place}{role}": prompt for role, prompt in prompts.items()}
    parts = fingerprint["parts"] if is_composite(fingerprint) else []
    for number, part in enumerate(parts, 1):
        found |= _list_prompts(part["prompts"], part["fingerprint"], f"{place}part {number} ")
    return found


def match(
    ours: Mapping[str, tuple[object, Record]], others: Mapping[str, tuple[object, Record]]
) -> dict[str, str]:
    """Tasks that two systems were measured on, each with its name there.

    The content of the data decides, whatever they are called: of equal data those of an equal name
    belong together first. A name that stands for other data there is kept, to be refused.
    """
    asked = {name: _ask(record) for name, (_, record) in others.items()}
    found = {name: name for name, (_, record) in ours.items() if asked.get(name) == _ask(record)}
    for name, (_, record) in ours.items():
        free = [other for other in asked if other not in found.values()]
        same = [other for other in free if asked[other] == _ask(record)]
        if name not in found and same:
            found[name] = same[0]
    for name in ours:
        if name not in found and name in asked and name not in found.values():
            found[name] = name
    return {name: found[name] for name in ours if name in found}


def _ask(record: Record) -> tuple[object, ...]:
    """What is asked of which data."""
    return record.task.fingerprint, record.task.exclude_self
