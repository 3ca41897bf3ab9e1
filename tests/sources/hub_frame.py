"""What tests of the hub's source share: saved datasets, and how they are loaded."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from harness.data import Retrieval
from harness.sources.hub import hub
from tests.sources.writing import (
    CORPUS,
    QRELS,
    QUERIES,
    Rows,
)

datasets = pytest.importorskip("datasets")
ONE, OTHER = "a1" * 20, "b2" * 20  # commits
Tables = Mapping[str, Mapping[str, Rows]]
BEIR: dict[str, dict[str, Rows]] = {
    "corpus": {"corpus": CORPUS},
    "queries": {"queries": QUERIES},
    "default": {"test": QRELS},
}


def save(root: Path, tables: Tables = BEIR, **changed: Mapping[str, Rows]) -> Path:
    """A folder of saved datasets, one for each config; returns the folder."""
    for config, splits in {**tables, **changed}.items():
        parts = {name: datasets.Dataset.from_list(list(rows)) for name, rows in splits.items()}
        datasets.DatasetDict(parts).save_to_disk(str(root / config))
    return root


def load(root: Path, **parameters: str) -> Retrieval:
    data = hub(str(root), **parameters)
    assert isinstance(data, Retrieval)
    return data
