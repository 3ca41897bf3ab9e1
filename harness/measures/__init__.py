"""From a run and its judgments to one number a query; from vector pairs to correlations."""

from __future__ import annotations

from harness.measures.measure import Measure
from harness.measures.pairs import PAIR_MEASURES
from harness.measures.retrieval import RETRIEVAL

__all__ = ["PAIR_MEASURES", "RETRIEVAL", "Measure"]
