"""What phases tell of the speed of a system, alone or made of others."""

from __future__ import annotations

import pytest

from harness.phases import Clock, Phase, search_ms, texts_per_s


def phase(name: str, seconds: float, items: int = 0, unit: str = "texts") -> Phase:
    return Phase(name, seconds, 0, 0, items, unit)


def test_a_model_alone():
    """300 texts in 3 s; what was read from the store took time and encoded nothing."""
    stored = phase("encode queries", 9)
    phases = [phase("encode documents", 2, 200), phase("encode", 1, 100), stored]
    assert texts_per_s(phases) == pytest.approx(100)
    assert texts_per_s([stored]) is None
    assert texts_per_s([]) is None


def test_a_text_passes_through_every_part():
    """1/100 s in one part and 1/25 s in the other: 20 texts a second by both."""
    phases = [phase("bm25: encode", 1, 100), phase("rrf:a+b: c: encode queries", 4, 100)]
    assert texts_per_s(phases) == pytest.approx(20)
    assert texts_per_s([*phases, phase("minilm: encode documents", 0.1)]) is None


def test_a_query_waits_for_every_search_but_for_none_that_chose_weights():
    """0.2 + 0.1 + 0.3 s for 50 queries."""
    asked = [
        phase("tune on dev: bm25: encode", 5, 7),
        phase("tune on dev: bm25: search", 5, 90, "queries"),
        phase("bm25: search", 0.2, 50, "queries"),
        phase("fuse", 0.1, 50, "queries"),
        phase("rerank", 0.3, 5000, "pairs"),
    ]
    assert search_ms(asked) == pytest.approx(12)
    assert search_ms([phase("encode", 1, 5)]) is None
    assert texts_per_s(asked) is None


def test_a_part_has_its_name_before_its_phases():
    clock = Clock()
    with clock.within("a").within("b").phase("search", 2, "queries"):
        pass
    assert [(each.name, each.items) for each in clock.phases] == [("a: b: search", 2)]
