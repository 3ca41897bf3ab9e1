"""Words that depend on how many there are."""

from __future__ import annotations

import pytest

from harness.wording import count, plural, tell_idle


def test_counts_are_written_with_their_noun():
    assert [count(n, "query") for n in (0, 1, 2000)] == ["0 queries", "1 query", "2,000 queries"]


@pytest.mark.parametrize(
    ("noun", "several"),
    [("pair", "pairs"), ("family", "families"), ("key", "keys"), ("more row", "more rows"),
     ("index", "indexes"), ("batch", "batches"), ("process", "processes")],
)  # fmt: skip
def test_nouns_for_several(noun, several):
    assert plural(noun) == several


def test_options_that_do_nothing():
    assert tell_idle(["--cache"]) == "--cache plays no part"
    assert tell_idle(["--cache", "--fresh"]) == "--cache, --fresh play no part"
