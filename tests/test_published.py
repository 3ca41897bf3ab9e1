"""Published values of MiniLM and BM25 are met, by real models on real collections."""

from __future__ import annotations

import pytest

from harness.api import evaluate
from tests.shared import shared
from tests.test_evaluation import means


def test_minilm_on_limit_small_meets_the_published_values(packaged):
    task = f"folder:{shared('limit-small')}"
    record = evaluate("minilm", task, measures=["R@2", "R@10", "R@20"]).record
    assert means(record) == {
        "R@2": pytest.approx(0.1620, abs=2e-4),
        "R@10": pytest.approx(0.4805, abs=2e-4),
        "R@20": pytest.approx(0.6945, abs=2e-4),
    }
    assert (record.counts["documents"], record.counts["queries_scored"]) == (46, 1000)


def test_bm25_on_limit_small_meets_the_published_values_exactly():
    task = f"folder:{shared('limit-small')}"
    record = evaluate("bm25", task, measures=["R@2", "R@10", "R@20"]).record
    assert means(record) == {"R@2": 0.978, "R@10": 1.0, "R@20": 1.0}


def test_minilm_on_sts_b_meets_the_published_value(packaged):
    record = evaluate("minilm", f"pairs:{shared('sts-b')}").record
    assert record.main_measure == "cosine_spearman"
    assert record.main.mean == pytest.approx(0.820325, abs=2e-4)
    assert record.main.low < record.main.mean < record.main.high
    assert record.counts["pairs"] == 1379
    assert record.counts["sentences"] == 2758
    assert record.counts["sentences_distinct"] == 2552


def test_minilm_on_xquad_meets_the_published_value(packaged):
    record = evaluate("minilm", f"folder:{shared('xquad-en')}").record
    assert record.main_measure == "nDCG@10"
    assert record.main.mean == pytest.approx(0.94357, abs=2e-4)
    assert record.counts["documents_truncated"] == 20
