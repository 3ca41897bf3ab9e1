"""From a run and its judgments to one number a query; from vectors and labels to scores."""

from __future__ import annotations

from harness.measures.measure import DEFAULTS, GROUPED, KINDS, Measure
from harness.measures.pairs import PAIR_MEASURES
from harness.measures.retrieval import RETRIEVAL

__all__ = ["DEFAULTS", "GROUPED", "KINDS", "PAIR_MEASURES", "RETRIEVAL", "Measure"]
