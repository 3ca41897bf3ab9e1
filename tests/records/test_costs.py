"""The one list of costs, by hand."""

from __future__ import annotations

from harness.records import IndexRecord, LatencyRecord, costs
from tests.comparable import record


def test_every_cost_of_a_record():
    """1000 texts in 2.5 s, 0.2 s for 100 queries; 100 documents of 384 numbers."""
    index = IndexRecord(spec="int8", full="int8", exact=False, bytes=38_400)
    latency = LatencyRecord(p50_ms=1.5, p95_ms=9, queries=10)
    made = record(counts={"documents": 100}, index=index, latency=latency)
    assert costs.of_record(made) == {
        "texts_per_s": 400.0,
        "dim": 384,
        "index_bytes": 38_400,
        "document_bytes": 384.0,
        "search_ms": 2.0,
        "latency_ms": 1.5,
        "parameters": None,
        "peak_mb": 500.0,
    }


def test_what_a_record_does_not_tell():
    """The bytes of an exact index of dense vectors follow from their number, those of no other."""
    sparse = record().system.model_copy(update={"representation": "sparse", "dim": 30_522})
    terms = record(counts={"documents": 100}).model_copy(update={"system": sparse})
    assert costs.index_bytes(record(counts={"documents": 100})) == 4 * 384 * 100
    assert costs.index_bytes(terms) is None
    assert costs.index_bytes(record(counts={"documents": 100}, index=None, depth=None)) is None
    nothing = costs.of_record(terms.model_copy(update={"phases": []}))
    assert set(nothing.values()) == {None}


def test_every_cost_has_a_key_of_its_own_and_a_title():
    assert len(costs.BY_KEY) == len(costs.COSTS)
    assert len({cost.title for cost in costs.COSTS}) == len(costs.COSTS)
    assert [cost.key for cost in costs.COSTS if cost.better == "more"] == ["texts_per_s"]
