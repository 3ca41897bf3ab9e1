"""What phases tell of the speed of a system, alone or made of others."""

from __future__ import annotations

import pytest

from harness.pipeline.phases import Clock, Phase, PhaseKind, Purpose, search_ms, texts_per_s


def phase(
    kind: PhaseKind,
    seconds: float,
    items: int = 0,
    unit: str = "texts",
    *,
    part: str = "",
    purpose: Purpose = "answer",
) -> Phase:
    return Phase(kind, part, "", seconds, 0, 0, items, unit, purpose)


def test_a_model_alone():
    """300 texts in 3 s; what was read from the store took time and encoded nothing."""
    stored = phase("encode", 9)
    phases = [phase("encode", 2, 200), phase("encode", 1, 100), stored]
    assert texts_per_s(phases) == pytest.approx(100)
    assert texts_per_s([stored]) is None
    assert texts_per_s([]) is None


def test_a_text_passes_through_every_part():
    """1/100 s in one part and 1/25 s in the other: 20 texts a second by both."""
    phases = [phase("encode", 1, 100, part="bm25"), phase("encode", 4, 100, part="rrf:a+b: c")]
    assert texts_per_s(phases) == pytest.approx(20)
    assert texts_per_s([*phases, phase("encode", 0.1, part="minilm")]) is None


def test_a_query_waits_for_every_search_but_for_none_that_chose_weights():
    """0.2 + 0.1 + 0.3 s for 50 queries."""
    asked = [
        phase("encode", 5, 7, part="bm25", purpose="tuning"),
        phase("search", 5, 90, "queries", part="bm25", purpose="tuning"),
        phase("search", 0.2, 50, "queries", part="bm25"),
        phase("search", 0.1, 50, "queries"),
        phase("rerank", 0.3, 5000, "pairs"),
        phase("search", 7, 60, "queries", purpose="latency"),
    ]
    assert search_ms(asked) == pytest.approx(12)
    assert search_ms([phase("encode", 1, 5)]) is None
    assert texts_per_s(asked) is None


def test_a_part_and_a_purpose_stand_before_a_phase():
    clock = Clock()
    inner = clock.nest("a").aside("tuning").nest("b")
    with inner.phase("search", items=2, unit="queries"), clock.phase("load", "model"):
        pass
    assert [(each.kind, each.part, each.of, each.items) for each in clock.phases] == [
        ("load", "", "model", 0),
        ("search", "a: b", "", 2),
    ]
    assert [each.label for each in clock.phases] == ["load model", "tuning: a: b: search"]
