"""Candidates for MaxSim: counted by hand, against the index, and what is refused."""

from __future__ import annotations

import json
import re
from dataclasses import asdict

import numpy as np
import pytest

from harness.disk import cache_root
from harness.encoders import ENCODERS, Encoded
from harness.errors import InputError
from harness.indexes import INDEXES
from harness.progress import silent
from harness.store import Store
from harness.studies import proxy
from harness.studies.proxy import NEVER, ONCE, REPEATS, study
from harness.vectors import MultiVector, Run
from tests.fakes import Counting, beir

SMALL = "muvera,repetitions=3,bits=2,projection_dim=0"


class Written(Counting):
    """Texts that are vectors: "1 0; 0 1" has two, "-" none."""

    representation, similarity = "multi-vector", "maxsim"

    def encode(self, texts, role):
        rows = [[] if t == "-" else [v.split() for v in t.split(";")] for t in texts]
        values = np.array([vector for row in rows for vector in row], np.float32).reshape(-1, 2)
        offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])])
        tokens = np.array([len(row) for row in rows], np.int32)
        return Encoded(MultiVector(values, offsets), tokens, tokens < 0)


@pytest.fixture
def written(monkeypatch, tmp_path):
    """Make a task of documents and queries, given as vectors."""
    monkeypatch.setattr(ENCODERS, "create", lambda spec: Written(name="written"))

    def make(documents: list[str], queries: list[str]) -> str:
        named = {str(i): text for i, text in enumerate(documents)}
        asked = {f"q{i}": text for i, text in enumerate(queries)}
        return beir(tmp_path / "task", named, asked, [("q0", "0", 1)])

    return make


def store() -> Store:
    return Store(cache_root())


DOCUMENTS = [".8 0; 0 .8", ".9 0; .87 0", "-", "0 .9", ".85 0"]
QUERIES = ["1 0; 0 1", "1 0", "-"]


def test_token_search_by_hand(written):
    """The first query wants document 0, at 0.8 + 0.8: fourth to its first vector, after .9, .87 and
    .85, and second to the other. Two rounds bring 1 and 1, 3 and 0: four, three of them different.
    The second query wants 1, which is nearest.
    """
    found = study("written", written(DOCUMENTS, QUERIES), [SMALL], store=store())
    assert (found.documents, found.vectors, found.queries, found.asked) == (4, 6, 2, 1.5)
    assert (found.depths, found.deepest, found.width) == ((1, 2), 4, 2)
    again, once = found.ways[-2:]
    assert (again.name, again.found, again.needed) == (REPEATS, (0.5, 0.5), (4, 4, 4, 4))
    assert (once.name, once.found, once.needed) == (ONCE, (0.5, 0.5), (3, 3, 3, 3))
    assert again.bytes == once.bytes == found.bytes == 6 * 2 * 4 + 5 * 8
    assert again.dimension is again.recall is None


def test_encodings_are_ranked_as_the_index_ranks_them(written):
    random = np.random.default_rng(0)

    def text(n: int) -> str:
        return "; ".join(" ".join(f"{x:.3f}" for x in v) for v in random.standard_normal((n, 2)))

    documents, queries = [text(3) for _ in range(40)], [text(2) for _ in range(20)]
    task = written(documents, queries)
    settings = [SMALL, "muvera:[hnsw,ef_search=40],repetitions=1,bits=1"]
    found = study("written", task, settings, store=store())
    assert [way.dimension for way in found.ways] == [3 * 4 * 2, 2 * 16, None, None]
    several = [Written().encode(texts, "document").values for texts in (documents, queries)]
    truth = INDEXES.create("exact").open(several[0]).search(several[1], 1, silent).run
    for setting, way in zip(settings, found.ways, strict=False):
        searcher = INDEXES.create(f"{setting},rerank_depth=0").open(several[0])
        run = searcher.search(several[1], 40, silent).run
        ranks = 1 + (run.docs == truth.docs).argmax(axis=1)
        assert way.found == tuple((ranks <= depth).mean() for depth in (1, 2, 5, 10, 20))
        assert way.needed == tuple(sorted(ranks)[at] for at in (15, 16, 17, 18))
        assert way.bytes == searcher.info.bytes
        assert 0 < way.recall.low <= way.recall.mean <= way.recall.high <= 1
    assert json.loads(json.dumps(asdict(found), allow_nan=False))["queries"] == 20


def test_ranks_count_ties_and_what_is_not_found():
    run = Run(np.array([[3, 1, 2], [0, -1, -1]], np.int32), np.zeros((2, 3), np.float32))
    truth = Run(np.array([[2, 1], [5, 4]], np.int32), np.array([[2, 2], [3, 2]], np.float32))
    assert proxy._ranks(run, truth).tolist() == [2, NEVER]
    way = proxy._way("one", 9, np.array([1, 2, 2, NEVER]), (1, 2, 5))
    assert (way.found, way.needed) == ((0.25, 0.75, 0.75), (None, None, None, None))
    way = proxy._way("one", 9, np.arange(1, 21), (1, 10))
    assert (way.found, way.needed) == ((0.05, 0.5), (16, 17, 18, 19))


def test_many_queries_are_drawn(written, monkeypatch):
    monkeypatch.setattr(proxy, "QUERIES", 1)
    task = written(DOCUMENTS, QUERIES)
    found = [study("written", task, [SMALL], store=store(), seed=seed) for seed in range(4)]
    assert {one.asked for one in found} == {1.0, 2.0}
    assert all(one.queries == 1 and "queries: 1 of 2, drawn" in one.warnings for one in found)


def test_bad_input(written, monkeypatch):
    task = written(DOCUMENTS, QUERIES)
    for setting, message in {
        "exact": "index exact makes no encodings: expected muvera,...",
        "muvera,bits=0": "muvera: bits=0: expected at least 1",
    }.items():
        with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
            study("written", task, [setting], store=store())
    monkeypatch.setattr(proxy, "LARGEST", 5)
    with pytest.raises(InputError, match=r"6 vectors of documents: expected at most 5$"):
        study("written", task, [SMALL], store=store())


def test_what_has_no_vectors(written):
    with pytest.raises(InputError, match="no document or no query has vectors: nothing to measure"):
        study("written", written(["1 0"], ["-"]), [SMALL], store=store())


def test_models_and_tasks_that_do_not_fit(monkeypatch, tmp_path):
    with pytest.raises(InputError, match="hashing makes dense vectors: this study needs multi-vec"):
        study("hashing", "limit-small", store=store())
    monkeypatch.setattr(ENCODERS, "create", lambda spec: Written(name="written"))
    path = tmp_path / "pairs.jsonl"
    rows = [{"sentence1": "1 0", "sentence2": "0 1", "score": score} for score in (1, 2, 3)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    with pytest.raises(InputError, match="is a task of pairs: expected retrieval"):
        study("written", f"pairs:{path}", store=store())
