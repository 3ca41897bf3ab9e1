"""Filtered search: recall by hand and by chance, what predicates hold, what is refused."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

from harness.analysis.predicates import _members, _numeric
from harness.disk import cache_root
from harness.encoders import ENCODERS
from harness.errors import InputError
from harness.indexes import INDEXES, Found, Index, IndexInfo
from harness.progress import silent
from harness.session import Session
from harness.stats import Estimate
from harness.store import Store
from harness.studies import STUDIES, Findings
from harness.studies.filters import FACTORS, SELECTIVITIES, Filters, _list_some
from harness.vectors import Run
from tests.fakes import Counting, beir

MODEL = "hashing,dim=32"
TASK = "entities,docs=600,queries=40"
GRAPH = "hnsw,ef_search=32"


def study(encoder, task, index="hnsw", *, store=None, seed=0, **options) -> Findings:
    session = Session(store or Store(cache_root()), seed)
    return Filters(index, **options).run(session, [encoder], task)


@dataclass(frozen=True)
class Nothing(Index):
    """An index that finds only the last document, whatever is asked."""

    accepts: ClassVar = ("dense",)
    info: ClassVar = IndexInfo(0)

    def open(self, documents, place=None, progress=silent):
        return self

    def search(self, queries, k, progress):
        docs = np.full((len(queries), k), -1, np.int32)
        docs[:, 0] = 9
        return Found(Run(docs, np.zeros((len(queries), k), np.float32)))


@pytest.fixture
def nothing(monkeypatch) -> str:
    """The spec of that index."""
    create = INDEXES.create
    monkeypatch.setattr(INDEXES, "create", lambda s: Nothing() if s == "nothing" else create(s))
    return "nothing"


@pytest.fixture
def line(monkeypatch, tmp_path) -> str:
    """Ten documents ever further from the only query; the even ones are of 2020, the others have
    no year; tags a and b for the nearest five, b for the others.
    """

    class Given(Counting):
        @property
        def similarity(self):
            return "dot"

        def vector(self, text, role):
            return np.array([1 if text == "q" else 10 - int(text), 0], np.float32)

    monkeypatch.setattr(ENCODERS, "create", lambda spec: Given())
    task = beir(tmp_path / "t", {str(i): str(i) for i in range(10)}, {"q": "q"}, [("q", "0", 1)])
    rows = [
        {"_id": str(i), "text": str(i), "metadata": {"tags": ["a", "b"] if i < 5 else ["b"]}}
        for i in range(10)
    ]
    for row in rows[::2]:
        row["metadata"]["year"] = 2020
    path = tmp_path / "t" / "corpus.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return task


@pytest.fixture(scope="module")
def random() -> Findings:
    return study(MODEL, TASK, GRAPH, attribute="random")


def answers(found, way, factor=None, index="exact") -> list[dict]:
    """One way's answers, a row a selectivity."""
    frame = found["answers"].where("way", way).where("index", index).where("factor", factor)
    return frame.records()


def recalls(found, *asked, **which) -> list[float]:
    return [row["recall"].mean for row in answers(found, *asked, **which)]


def texts(found, selectivity: float) -> set[str]:
    """Predicates of a selectivity."""
    return set(found["predicates"].where("selectivity", selectivity)["predicate"])


def test_recall_by_hand(line, tmp_path):
    found = study("given", line, "exact", k=3, attribute="year", store=Store(tmp_path / "s"))
    # half match: documents 0, 2, 4, 6, 8; the truth is 0, 2, 4
    [bucket] = found["selectivities"].records()
    assert (bucket["selectivity"], bucket["documents that match"], bucket["documents"]) == (
        0.5, 0.5, 5
    )  # fmt: skip
    assert found["predicates"]["predicate"] == ("year 2020 to 2020",)
    assert bucket["which"] == "year 2020 to 2020"
    assert [note for note in found.notes if "no predicate" in note] == [
        f"no predicate on year is met by about {s} of documents" for s in ("0.1%", "1.0%", "10.0%")
    ]
    [first] = answers(found, "pre-filter")
    assert (first["recall"], first["short"]) == (Estimate(1, 1, 1), 0)
    # the 3 nearest hold 0 and 2; the 6 nearest hold 0, 2 and 4
    rows = [row for factor in FACTORS for row in answers(found, "post-filter", factor)]
    assert [row["recall"].mean for row in rows] == [pytest.approx(2 / 3), 1, 1, 1]
    assert [row["short"] for row in rows] == [1, 0, 0, 0]
    assert all(row["per second"] > 0 and 0 < row["p50"] <= row["p95"] for row in rows)
    assert found["recall"]["answered"] == (
        "pre-filter, exact", *(f"post-filter x{factor}, exact" for factor in FACTORS)
    )  # fmt: skip
    assert found["short"]["50.0%"] == (0, 1, 0, 0, 0)
    assert found.headline == (
        f"given on {line}, where 50.0% of documents pass the filter: recall@3 is 100% by filtering "
        "before the search, 100.0% by filtering the 10 best of exact after it"
    )


def test_fewer_matches_than_k_are_all_there_is_to_find(line, tmp_path):
    found = study("given", line, "exact", k=8, attribute="tags", store=Store(tmp_path / "s"))
    # a: documents 0 to 4, the 5 nearest; b: all
    assert texts(found, 0.5) == {"tags = a", "tags = b"}
    assert set(found["answers"]["short"]) == {0}
    assert {estimate.mean for estimate in found["answers"]["recall"]} == {1}


def test_an_index_that_finds_nothing_of_it(line, nothing, tmp_path):
    found = study("given", line, nothing, k=3, attribute="year", store=Store(tmp_path / "s"))
    rows = [row for f in FACTORS for row in answers(found, "post-filter", f, "nothing")]
    assert [row["recall"].mean for row in rows] == [0] * 4
    assert [row["short"] for row in rows] == [1] * 4
    assert answers(found, "native", index="nothing") == []
    assert len(found.charts[0].frame) == 5  # post-filtering of exact search is not drawn
    assert found.headline.endswith(
        "100% by filtering before the search, 0.0% by filtering the 10 best of nothing after it"
    )


def test_a_random_attribute_leaves_what_chance_leaves(random):
    found = random
    frame = found["selectivities"]
    assert frame["selectivity"] == SELECTIVITIES
    assert frame["documents"] == (1, 6, 60, 300)
    assert set(frame["predicates"]) == {8}
    assert recalls(found, "pre-filter") == [1] * 4
    for factor in FACTORS:
        for answer in answers(found, "post-filter", factor):
            # of 600 documents the 10 x factor nearest are looked at: of the 10 results wanted, or
            # of all that match where they are fewer, so many are left on average
            expected = min(1, factor * max(answer["selectivity"], 10 / 600))
            assert answer["recall"].mean <= expected + 0.12
            if expected < 0.3:
                assert answer["recall"].mean >= expected - 0.12
    deeper = [a for factor in FACTORS for a in recalls(found, "post-filter", factor)[3:]]
    assert deeper == sorted(deeper)


def test_a_graph_that_looks_at_predicates_finds_more_than_filtering_what_it_found(random):
    native, post = answers(random, "native", index=GRAPH), answers(random, "post-filter", 1, GRAPH)
    assert [answer["selectivity"] for answer in native] == list(SELECTIVITIES)
    assert all(
        one["recall"].mean > other["recall"].mean for one, other in zip(native, post, strict=True)
    )
    assert native[-1]["recall"].mean > 0.8
    said = "hnsw has ef_search=32, less than the 100 results wanted: it searches with 100"
    assert said in random.notes
    assert re.search(
        rf"where 1\.0% .* recall@10 is 100% by filtering before the search, \d+\.\d% by filtering "
        rf"the 100 best of {GRAPH} after it, \d+\.\d% by filtering inside {GRAPH}$",
        random.headline,
    )


def test_metadata_of_a_source_gives_predicates_of_every_kind():
    found = study(MODEL, TASK, "exact")
    assert "predicates on 29 attributes over" in found["selectivities"].title
    said = " ".join(found["predicates"]["predicate"])
    assert " = " in said
    assert re.search(r"\w+ \d+ to \d+", said)
    assert set(recalls(found, "pre-filter")) == {1}
    for bucket in found["selectivities"].records():
        selectivity = bucket["selectivity"]
        assert selectivity / 2 <= bucket["documents that match"] <= 2 * selectivity
    kinds = study(MODEL, TASK, "exact", attribute="kind")
    assert set(kinds["predicates"]["predicate"]) == {
        "kind = films", "kind = novels", "kind = researchers"
    }  # fmt: skip
    assert len(kinds["selectivities"]) == 1


def test_a_corpus_without_metadata_gets_a_random_attribute():
    task = "limit,docs=200,queries=20,k=2,attributes=5"
    one, other = (study(MODEL, task, "exact") for _ in range(2))
    assert "predicates on random over" in one["selectivities"].title
    for name in ("selectivities", "predicates", "recall", "short"):
        assert one[name] == other[name]
    assert study(MODEL, task, "exact", seed=1)["predicates"] != one["predicates"]


def test_numbers_that_no_float_holds_are_taken_as_members():
    assert _numeric([1, None, 2.5])
    assert not _numeric([1, 10**400])


def test_members_of_lists_are_taken_in_their_order():
    """Whatever the hashes of texts are: what is drawn hangs on the order."""
    values = [["b", "a", "b"], None, ["null", "c", {"x": 1}], "a"]
    found = _members("tag", values, 0.5, np.random.default_rng(0))
    assert {text: rows.tolist() for text, rows in found.items()} == {
        "tag = b": [0], "tag = a": [0, 3], "tag = c": [2], 'tag = {"x": 1}': [2]
    }  # fmt: skip
    assert list(found) == ["tag = b", "tag = a", "tag = c", 'tag = {"x": 1}']


def test_the_old_name_is_an_alias():
    assert STUDIES.create("filter,k=3") == Filters(k=3)


@pytest.mark.parametrize(
    ("encoder", "task", "more", "message"),
    [
        (MODEL, TASK, {"k": 0}, "k=0: expected at least 1"),
        (MODEL, TASK, {"attribute": "yaer"}, "unknown attribute 'yaer'. Did you mean 'year'?"),
        (MODEL, TASK, {"index": "exacd"}, "unknown index 'exacd'. Did you mean 'exact'?"),
        ("bm25", TASK, {}, "bm25 makes sparse vectors: expected dense ones"),
    ],
)
def test_what_is_refused(encoder, task, more, message):
    with pytest.raises(InputError, match=re.escape(message)):
        study(encoder, task, **{"index": "exact", **more})


def test_pairs_and_metadata_that_nothing_can_be_made_of_are_refused(line, tmp_path):
    path = tmp_path / "t" / "corpus.jsonl"
    rows = [{"_id": str(i), "text": str(i), "metadata": {"url": f"u{i}"}} for i in range(10)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    found = study("given", line, "exact", k=1, store=Store(tmp_path / "s"))
    assert found["selectivities"]["selectivity"] == (0.1,)
    rows = [{"_id": str(i), "text": str(i), "metadata": {"ok": None, "x": {}}} for i in range(10)]
    path.write_text(
        "".join(json.dumps(row) + "\n" for row in rows[:1])
        + "".join(json.dumps({**row, "metadata": {}}) + "\n" for row in rows[1:]),
        "utf-8",
    )
    with pytest.raises(
        InputError, match=r"no predicate on ok is met by about 50.0% .*: nothing to"
    ):
        study("given", line, "exact", attribute="ok", store=Store(tmp_path / "s"))
    pairs = tmp_path / "pairs.csv"
    pairs.write_text("sentence1,sentence2,score\n1,2,1\n3,4,2\n")
    with pytest.raises(InputError, match="a task of pairs: expected retrieval"):
        study("given", f"pairs:{pairs}", "exact", store=Store(tmp_path / "s"))


def test_an_index_of_sparse_vectors_is_refused(monkeypatch):
    class Sparse(Nothing):
        accepts = ("sparse",)

    create = INDEXES.create
    monkeypatch.setattr(INDEXES, "create", lambda spec: Sparse() if spec == "s" else create(spec))
    with pytest.raises(InputError, match="index s takes sparse vectors: these are dense"):
        study(MODEL, TASK, "s")


def test_a_list_of_predicates_ends_with_how_many_more_there_are():
    texts = [f"year = {year}" for year in range(1990, 2013)]  # of 11 characters each
    assert _list_some(texts, 30) == "year = 1990; year = 1991; and 21 more"
    assert _list_some(texts[:2], 30) == "year = 1990; year = 1991"
    assert _list_some(["x" * 99, "y"], 30) == "x" * 99 + "; and 1 more"
