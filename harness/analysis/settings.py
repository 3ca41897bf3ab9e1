"""Settings of an index that differ in one parameter: made from one, and found again among many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.errors import InputError
from harness.spec import bare, parse


def sweep(index: str, parameter: str, values: Sequence[object]) -> list[str]:
    """Settings that differ in one parameter.

    sweep("hnsw", "ef_search", (16, 32)) -> ["hnsw,ef_search=16", "hnsw,ef_search=32"]
    """
    return [str(parse(index).with_parameters([(parameter, str(value))])) for value in values]


def read_sweep(text: str) -> tuple[str, list[str]]:
    """Read a parameter and its values: [ef_search=16+64], with commas or plus signs.

    Raises:
        InputError: There is no value.
    """
    name, _, values = bare(text).partition("=")
    if not name or not values:
        raise InputError(f"sweep={text}: expected [PARAMETER=VALUE+VALUE...], as [ef_search=16+64]")
    return name, values.replace("+", ",").split(",")


def families(settings: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Put settings that differ in one parameter together, as many as there are.

    Args:
        settings: Specs as they were asked for, by the same with all defaults.

    Returns:
        By full spec, family after family: the family's name and the value that sets the setting
        apart in it; "" where it is alone.
    """
    rest, found = list(settings), dict[str, tuple[str, str]]()
    while rest:
        groups = {"": rest[:1]}
        for key, _ in parse(rest[0]).params:
            groups[key] = [full for full in rest if _without(full, key) == _without(rest[0], key)]
        key, group = max(groups.items(), key=lambda item: len(item[1]))
        values = [dict(parse(full).params).get(key, "") for full in group]
        name = settings[rest[0]] + (f" and {key}={', '.join(values[1:])}" if key else "")
        found |= {full: (name, value) for full, value in zip(group, values, strict=True)}
        rest = [full for full in rest if full not in group]
    return found


def _without(full: str, key: str) -> tuple[object, ...]:
    """A setting without one parameter."""
    spec = parse(full)
    return spec.name, spec.target, tuple(pair for pair in spec.params if pair[0] != key)
