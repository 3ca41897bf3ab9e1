"""Which splits and subsets of a task mteb averages: its result files do not say.

The table, mteb_tasks.json, has what stood in mteb's metadata: benchmarks/mteb_tasks.py makes it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import permutations
from typing import Any


@dataclass(frozen=True, slots=True)
class Averaged:
    """What a task's score is a mean of: every subset in every split."""

    splits: tuple[str, ...]
    subsets: frozenset[str]


def look_up(task: str) -> Averaged | None:
    """Return what mteb averages for a task; None for one that is not in the table."""
    splits, subsets = _tables()
    if task not in splits:
        return None
    return Averaged(splits[task], subsets.get(task, frozenset({"default"})))


@cache
def version() -> str:
    """Return the version of mteb that the table was made from."""
    return str(_table()["mteb"])


@cache
def _tables() -> tuple[Mapping[str, tuple[str, ...]], Mapping[str, frozenset[str]]]:
    """Splits by task, and subsets of the tasks that have any of their own."""
    table = _table()
    splits = {name: tuple(one["splits"]) for one in table["splits"] for name in one["tasks"]}
    subsets = dict[str, frozenset[str]]()
    for one in table["subsets"]:
        pairs = ("-".join(pair) for pair in permutations(one.get("pairs", ()), 2))
        subsets |= dict.fromkeys(one["tasks"], frozenset(one.get("names", pairs)))
    return splits, subsets


def _table() -> Any:
    return json.loads((files(__package__) / "mteb_tasks.json").read_text("utf-8"))
