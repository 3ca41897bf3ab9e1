"""Candidates for MaxSim: counted by hand, against the index, and what is refused."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from harness.analysis.candidates import (
    NEVER,
    enough_for,
    enough_interval,
    first_ranks,
    found_within,
)
from harness.disk import cache_root
from harness.encoders import ENCODERS, Encoded
from harness.errors import InputError
from harness.frames import Frame
from harness.indexes import INDEXES
from harness.progress import silent
from harness.session import Session
from harness.store import Store
from harness.studies import Findings, proxy
from harness.studies.proxy import NEEDED, ONCE, REPEATS, Proxy, headline
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


def study(model: str, task: str, indexes=proxy.SETTINGS, *, seed: int = 0) -> Findings:
    return Proxy(tuple(indexes)).run(Session(Store(cache_root()), seed), [model], task)


def needed(found: Findings, name: str) -> tuple[int | None, ...]:
    """Candidates for 80, 85, 90 and 95% of the queries."""
    return found["needed"].where("candidates", name).rows[0][1:5]


def curve(found: Findings, name: str) -> tuple[float, ...]:
    return found["curves"].where("candidates", name)["first document among them"]


DOCUMENTS = [".8 0; 0 .8", ".9 0; .87 0", "-", "0 .9", ".85 0"]
QUERIES = ["1 0; 0 1", "1 0", "-"]


def test_token_search_by_hand(written):
    """The first query wants document 0, at 0.8 + 0.8: fourth to its first vector, after .9, .87 and
    .85, and second to the other. Two rounds bring 1 and 1, 3 and 0: four, three of them different.
    The second query wants 1, which is nearest.
    """
    found = study("written", written(DOCUMENTS, QUERIES), [SMALL])
    assert found["found"].title.endswith(
        "share of 2 queries whose first of 4 documents by MaxSim is among N candidates "
        "(6 vectors of 2 dimensions, 1.5 of a query)"
    )
    assert found["curves"].values("candidates looked at") == [1, 2]
    rows = {row["candidates"]: row for row in found["found"].records()}
    assert list(rows)[1:] == [REPEATS, ONCE]
    assert (curve(found, REPEATS), needed(found, REPEATS)) == ((0.5, 0.5), (4, 4, 4, 4))
    assert (curve(found, ONCE), needed(found, ONCE)) == ((0.5, 0.5), (3, 3, 3, 3))
    assert rows[REPEATS]["bytes"] == rows[ONCE]["bytes"] == 6 * 2 * 4 + 5 * 8
    assert rows[REPEATS]["of the vectors'"] == 1
    assert rows[REPEATS]["dim"] is rows[REPEATS]["recall"] is None
    assert rows[ONCE]["1Recall@1"] == 0.5


def test_encodings_are_ranked_as_the_index_ranks_them(written):
    random = np.random.default_rng(0)

    def text(n: int) -> str:
        return "; ".join(" ".join(f"{x:.3f}" for x in v) for v in random.standard_normal((n, 2)))

    documents, queries = [text(3) for _ in range(40)], [text(2) for _ in range(20)]
    task = written(documents, queries)
    settings = [SMALL, "muvera:[hnsw,ef_search=40],repetitions=1,bits=1"]
    found = study("written", task, settings)
    assert found["found"]["dim"] == (3 * 4 * 2, 2 * 16, None, None)
    several = [Written().encode(texts, "document").values for texts in (documents, queries)]
    truth = INDEXES.create("exact").open(several[0]).search(several[1], 1, silent).run
    for setting, way in zip(settings, found["found"].records(), strict=False):
        searcher = INDEXES.create(f"{setting},rerank_depth=0").open(several[0])
        run = searcher.search(several[1], 40, silent).run
        ranks = 1 + (run.docs == truth.docs).argmax(axis=1)
        expected = tuple((ranks <= depth).mean() for depth in (1, 2, 5, 10, 20))
        assert curve(found, setting) == expected
        assert (way["1Recall@1"], way["1Recall@10"]) == (expected[0], expected[3])
        assert needed(found, setting) == tuple(sorted(ranks)[at] for at in (15, 16, 17, 18))
        assert way["bytes"] == searcher.info.bytes
        assert 0 < way["recall"].low <= way["recall"].mean <= way["recall"].high <= 1


def test_ranks_count_ties_and_what_is_not_found():
    run = Run(np.array([[3, 1, 2], [0, -1, -1]], np.int32), np.zeros((2, 3), np.float32))
    truth = Run(np.array([[2, 1], [5, 4]], np.int32), np.array([[2, 2], [3, 2]], np.float32))
    assert first_ranks(run, truth).tolist() == [2, NEVER]
    ranks = np.array([1, 2, 2, NEVER])
    assert found_within(ranks, (1, 2, 5)) == [0.25, 0.75, 0.75]
    assert enough_for(ranks, proxy.SHARES) == [None, None, None, None]
    assert found_within(np.arange(1, 21), (1, 10)) == [0.05, 0.5]
    assert enough_for(np.arange(1, 21), proxy.SHARES) == [16, 17, 18, 19]


def test_the_interval_of_candidates_is_that_of_order_statistics():
    """Of 20 queries the number below the 95% point is binomial: at most 16 with 1.6%, at most 17
    with 7.5%, at most 19 with 64%. So it lies from the 17th on, and no query bounds it above.
    """
    assert enough_interval(np.arange(101, 121), 0.95) == (117, None)
    assert enough_interval(np.arange(1, 101), 0.5) == (40, 61)  # as in tables of the median
    assert enough_interval(np.array([3, 1, NEVER]), 0.5) == (1, None)


def test_many_queries_are_drawn(written, monkeypatch):
    monkeypatch.setattr(proxy, "QUERIES", 1)
    task = written(DOCUMENTS, QUERIES)
    found = [study("written", task, [SMALL], seed=seed) for seed in range(4)]
    titles = [one["found"].title for one in found]
    assert {title[-len("1.0 of a query)") :] for title in titles} == {
        "1.0 of a query)", "2.0 of a query)"
    }  # fmt: skip
    assert all("share of 1 query " in title for title in titles)
    assert all("queries: 1 of 2, drawn" in one.notes for one in found)


def test_bad_input(written, monkeypatch):
    task = written(DOCUMENTS, QUERIES)
    for setting, message in {
        "exact": "index exact makes no encodings: expected muvera,...",
        "muvera,bits=0": "muvera: bits=0: expected at least 1",
    }.items():
        with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
            study("written", task, [setting])
    monkeypatch.setattr(proxy, "LARGEST", 5)
    with pytest.raises(InputError, match=r"6 vectors of documents: expected at most 5$"):
        study("written", task, [SMALL])


def test_what_has_no_vectors(written):
    with pytest.raises(InputError, match="no document or no query has vectors: nothing to measure"):
        study("written", written(["1 0"], ["-"]), [SMALL])


def test_models_and_tasks_that_do_not_fit(monkeypatch, tmp_path):
    with pytest.raises(InputError, match="hashing makes dense vectors: expected multi-vec"):
        study("hashing", "limit-small")
    monkeypatch.setattr(ENCODERS, "create", lambda spec: Written(name="written"))
    path = tmp_path / "pairs.jsonl"
    rows = [{"sentence1": "1 0", "sentence2": "0 1", "score": score} for score in (1, 2, 3)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    with pytest.raises(InputError, match="is a task of pairs: expected retrieval"):
        study("written", f"pairs:{path}")


def test_the_headline_tells_the_encodings_that_need_fewest_and_token_search():
    columns = [NEEDED[0], *proxy.WAYS[:1]]
    ways = ["muvera,bits=3", "muvera,bits=5", REPEATS, ONCE]
    rows = list(zip(ways, (1280, 10_240, None, None), strict=True))
    dims = Frame("", columns, rows, name="found")
    numbers = [
        (90, 150, 200, None, 210, None), (2, 3, 5, 8, 6, 12),
        (320, 640, 1280, 2560, 1300, None), (30, 40, 60, 110, 90, None),
    ]  # fmt: skip
    rows = [(way, *each) for way, each in zip(ways, numbers, strict=True)]
    what, table = "colbert:some on some-task", Frame("", NEEDED, rows, name="needed")
    assert headline(what, dims, table, 250) == (
        "colbert:some on some-task, 95% of queries: 8 candidates (6 to 12) of 10,240-d encodings, "
        "110 candidates (90 to more than 250) of token search"
    )
    few = table.where("candidates", *ways[:1], *ways[2:])
    assert headline(what, dims, few, 250) == (
        "colbert:some on some-task, 95% of queries: no encoding has their first document among 250"
    )
