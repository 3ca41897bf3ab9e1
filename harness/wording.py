"""Words that depend on how many there are: 1 query, 2,000 queries; one option plays, two play."""

from __future__ import annotations

import re
from collections.abc import Sequence


def plural(noun: str) -> str:
    """Write a noun for several: queries, pairs, indexes."""
    if re.search("[^aeiou]y$", noun):
        return f"{noun[:-1]}ies"
    return f"{noun}es" if re.search("(s|x|ch|sh)$", noun) else f"{noun}s"


def count(number: int, noun: str) -> str:
    """Write how many there are: 1 query, 2,000 queries."""
    return f"{number:,} {noun if number == 1 else plural(noun)}"


def tell_idle(options: Sequence[str]) -> str:
    """Say that options do nothing: --cache plays no part; --cache, --fresh play no part."""
    return f"{', '.join(options)} {'plays' if len(options) == 1 else 'play'} no part"
