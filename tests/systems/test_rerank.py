"""A first stage's best read again: by a reader of pairs, by vectors; what follows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from harness.api import evaluate
from harness.encoders import ENCODERS
from harness.errors import InputError
from harness.parameters import Entry
from harness.progress import Progress
from harness.rerankers import RERANKERS, Reranker, Scored
from harness.store import Store
from tests.fakes import Counting, beir

DOCUMENTS = {"a": "apple", "b": "apple banana", "c": "apple cherry fig", "d": "apple date egg fig"}


@dataclass(frozen=True)
class Longest(Reranker):
    """Likes long documents; `read` holds every pair."""

    read: list[tuple[str, str]] = field(default_factory=list)

    def fingerprint(self) -> Mapping[str, object]:
        return {"likes": "length"}

    def score(
        self, pairs: Sequence[tuple[str, str]], progress: Progress, *, root: Path | None = None
    ) -> Scored:
        self.read.extend(pairs)
        return Scored(np.float32([len(document) for _, document in pairs]), tokens=7)


@pytest.fixture
def longest(monkeypatch) -> Longest:
    made = Longest()
    RERANKERS.names()
    monkeypatch.setitem(RERANKERS._entries, "longest", Entry("longest", lambda: made))
    return made


@pytest.fixture
def task(tmp_path) -> str:
    judgments = [("q", "d", 1), ("z", "a", 1)]
    return beir(tmp_path / "x", DOCUMENTS, {"q": "apple", "z": "zebra"}, judgments)


def test_bm25_then_a_reader_of_pairs(task, longest, tmp_path):
    """bm25 ranks a b c d, by length; the reader turns its first two around."""
    store = Store(tmp_path / "store")
    spec = "rerank:longest,first=bm25,depth=2"
    found = evaluate(spec, task, measures=["RR@10"], store=store, latency=1)
    assert found.run.docs.tolist() == [[1, 0, 2, 3], [-1] * 4]
    assert set(longest.read) == {("apple", "apple"), ("apple", "apple banana")}
    record = found.record
    assert record.counts["pairs"] == 2
    assert record.counts["pairs_tokens"] == 7
    assert [phase.items for phase in record.phases if phase.kind == "rerank"] == [2]
    assert record.latency.queries == 1
    assert record.system.fingerprint["parts"][1]["fingerprint"] == {"likes": "length"}


def test_only_documents_that_are_scored_are_encoded(task, tmp_path, monkeypatch):
    seen = Counting()
    monkeypatch.setitem(ENCODERS._entries, "hashing", Entry("hashing", lambda: seen))
    found = evaluate(
        "rerank:hashing,first=bm25,depth=2",
        task,
        measures=["RR@10"],
        store=Store(tmp_path / "store"),
    )
    assert sorted(seen.seen) == ["apple", "apple", "apple banana", "zebra"]
    assert sorted(found.run.docs[0, :2].tolist()) == [0, 1]
    assert found.run.docs[0, 2:].tolist() == [2, 3]


def test_reranking_everything_by_vectors_is_searching_them(task, tmp_path):
    store = Store(tmp_path / "store")
    deep = "rerank:hashing,first=[hashing,dim=3],depth=100"
    found = evaluate(deep, task, measures=["RR@10"], store=store)
    alone = evaluate("hashing", task, measures=["RR@10"], store=store)
    assert found.run.docs.tolist() == alone.run.docs.tolist()
    assert found.run.scores.tolist() == alone.run.scores.tolist()


def test_stages_stand_on_stages(task, longest, tmp_path):
    spec = "rerank:longest,first=[rrf:bm25+hashing,depth=3],depth=1"
    found = evaluate(spec, task, measures=["RR@10"], store=Store(tmp_path / "store"))
    first = "rrf:bm25+hashing,depth=3"
    parts = [first, f"{first}: bm25", f"{first}: hashing", "longest"]
    assert [part.system for part in found.record.parts] == parts


def test_what_cannot_be_read_again_is_refused(task, tmp_path):
    with pytest.raises(InputError, match="depth=0: expected at least 1"):
        evaluate("rerank:hashing,depth=0", task)
    with pytest.raises(InputError, match="unknown reranker or encoder 'nothing'"):
        evaluate("rerank:nothing", task, store=Store(tmp_path / "store"))
    assert "hashing" in ENCODERS
