"""Searches of one's own as systems: what is taken, what is checked, what the record says."""

from __future__ import annotations

import pickle
import re
import threading
import time

import numpy as np
import pytest

import harness
from harness.errors import HarnessError, InputError
from harness.pipeline.single import Request
from harness.session import Session
from harness.store import Store
from harness.systems import RETRIEVERS, identity
from harness.systems.own import adapt, register
from harness.tasks.collection import Collection
from tests.server import HANG, reply, slow, where

CORPUS = {"a": "apple", "b": "banana", "c": "cherry"}
QUERIES = {"q1": "apple pie", "q2": "banana split"}
MINE = Collection(CORPUS, QUERIES, {"q1": {"a": 1}, "q2": {"b": 1}}, measures=["RR@10"])
WORDS = Collection(  # documents are called as the words that the test server returns
    {"apple": "1", "pie": "2", "banana": "3"}, QUERIES, {"q1": {"pie": 1}, "q2": {"banana": 1}},
    measures=["RR@10"],
)  # fmt: skip
SEEN = {"a": 1.0, "b": 0.5}


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test registers is gone after it."""
    RETRIEVERS.entries()
    monkeypatch.setattr(RETRIEVERS, "_entries", dict(RETRIEVERS._entries))


@pytest.fixture
def session(tmp_path):
    return Session(Store(tmp_path / "store"), cells=tmp_path / "cells")


class Returning:
    """A search that returns whatever it was made with."""

    name = "mine"

    def __init__(self, *returned: object) -> None:
        self.returned = returned

    def search(self, texts, k):
        return list(self.returned)


def run_of(session, search, task=MINE, depth=3):
    return session.rank(search, task, depth=depth).run


@pytest.mark.parametrize(
    "returned",
    [
        [[("a", 1.0), ("b", 0.5)]] * 2,
        [[("b", 0.5), ("a", 1.0)]] * 2,  # by the one ranking rule, whatever their order
        [[["a", 1], ["b", 0.5]]] * 2,
        [[{"id": "a", "score": 1.0}, {"id": "b", "score": 0.5, "title": "more"}]] * 2,
        [SEEN] * 2,
        ([["a", "b"]] * 2, [[1.0, 0.5]] * 2),
        (np.array([["a", "b"]] * 2), np.array([[1.0, 0.5]] * 2, np.float32)),
        iter([SEEN] * 2),
    ],
)
def test_forms_of_results_with_scores(session, returned):
    run = run_of(session, lambda texts, k: returned)
    assert run.docs.tolist() == [[0, 1, -1], [0, 1, -1]]
    assert run.scores.tolist() == [[1.0, 0.5, 0.0]] * 2


def test_ids_alone_are_in_the_order_of_their_ranks(session):
    run = run_of(session, lambda texts, k: [["c", "a"], ["b"]])
    assert run.docs.tolist() == [[2, 0, -1], [1, -1, -1]]
    assert (np.diff(run.scores[0, :2]) < 0).all()


def test_two_queries_are_no_ids_and_scores(session):
    """A list of two is one for each of two queries; a tuple is ids and scores."""
    run = run_of(session, lambda texts, k: ([("a", 1.0)], [("b", 1.0)]))
    assert run.docs[:, 0].tolist() == [0, 1]


def test_whole_numbers_are_ids(session):
    mine = Collection({1: "x", 2: "y"}, {"q": "x"}, {"q": {1: 1}})
    run = run_of(session, lambda texts, k: (np.array([[2, 1]]), np.array([[0.1, 0.2]])), mine)
    assert run.docs.tolist() == [[0, 1]]


def test_equal_scores_and_more_than_k_go_by_the_one_ranking_rule(session):
    run = run_of(session, lambda texts, k: [dict.fromkeys("abc", 1.0)] * 2, depth=2)
    assert run.docs.tolist() == [[2, 1], [2, 1]]


def test_texts_come_in_batches(session):
    asked = []

    @register("counting")
    def counting(texts, k):
        asked.append((list(texts), k))
        return [SEEN] * len(texts)

    session.rank("counting,batch_size=1", MINE, depth=2)
    assert asked == [(["apple pie"], 2), (["banana split"], 2)]


# registered, and handed over


def test_a_registered_function_is_a_system_like_any_other(session):
    @harness.system
    def mine(texts, k, *, boost: float = 1.0):
        """Fixed results."""
        return [{"a": boost, "b": 0.5}] * len(texts)

    assert mine(["x"], 1) == [{"a": 1.0, "b": 0.5}]
    assert RETRIEVERS.resolve("mine,boost=2").params == (
        ("batch_size", "32"), ("boost", "2.0"), ("timeout", "60.0"),
    )  # fmt: skip
    record = session.evaluate("mine,boost=2", MINE).record
    assert (record.system.spec, record.name, record.main.mean) == (
        "mine,boost=2",
        "mine,boost=2",
        0.75,
    )
    assert (record.system.representation, record.index) == (None, None)
    fused = session.evaluate("rrf:bm25+mine", MINE).record
    assert fused.main.mean == 1.0
    assert [part.system for part in fused.parts] == ["bm25", "mine"]
    with pytest.raises(InputError, match="retriever 'mine' is registered already"):
        register("mine")(lambda texts, k: [])
    with pytest.raises(
        InputError, match=r"unknown parameter of mine 'bost'\. Did you mean 'boost'"
    ):
        session.evaluate("mine,bost=2", MINE)


def test_a_class_is_made_once_and_given_the_documents(session):
    made, given = [], []

    @harness.system("shared-words")
    class Words:
        """Documents that share a word."""

        def __init__(self, least: int = 1, timeout: float = 9.0) -> None:
            made.append((least, timeout))

        def index(self, ids, texts):
            given.append((ids, texts))
            self.documents = dict(zip(ids, texts, strict=True))

        def search(self, texts, k):
            return [[id for id, held in self.documents.items() if held in text] for text in texts]

    assert session.evaluate("shared-words,least=2,timeout=5", MINE).record.main.mean == 1.0
    assert session.evaluate("shared-words,least=2,timeout=5", MINE).record.main.mean == 1.0
    assert made == [(2, 5.0)]
    assert given == [(["a", "b", "c"], ["apple", "banana", "cherry"])] * 2


class Both:
    """An encoder that has a search of another kind, as models of mteb do."""

    def encode(self, texts):
        return np.array([[text.count(letter) for letter in "abc"] for text in texts])

    def search(self, queries, top_k):
        raise AssertionError


def test_what_is_handed_over_is_told_apart(session):
    def vectors(texts):
        return Both().encode(texts)

    def hits(texts, k):
        return [SEEN] * len(texts)

    makes = {
        each: session.evaluate(each, MINE).record.system.representation
        for each in (vectors, hits, Both(), Returning(SEEN, SEEN))
    }
    assert list(makes.values()) == ["dense", None, "dense", None]


def test_its_fingerprint_says_what_it_is(session):
    @register("one")
    class One:
        fingerprint = "build 7"

        def __init__(self, k1: float = 0.9) -> None: ...

        def search(self, texts, k):
            return [SEEN] * len(texts)

    known = session.evaluate("one,k1=0.5", MINE).record
    assert known.system.fingerprint == {
        "system": "one", "parameters": {"k1": "0.5"}, "fingerprint": "build 7",
    }  # fmt: skip
    assert not [note for note in known.warnings if "fingerprint" in note]
    other = session.evaluate(Returning(SEEN, SEEN), MINE).record
    assert other.system.fingerprint["fingerprint"] == "not known again"
    assert re.fullmatch("[0-9a-f]{64}", other.system.fingerprint["source_sha256"])
    assert "mine has no fingerprint: a later record cannot tell whether it has changed" in (
        other.warnings
    )
    (reader,) = identity("one")["readers"]
    assert "process" not in reader


def test_what_is_not_known_again_is_asked_again_by_another_process(session, monkeypatch):
    asked = []

    @register("mine")
    def mine(texts, k):
        asked.append(len(texts))
        return [SEEN] * len(texts)

    task = session.task(MINE)
    session.grid(["mine"], [task])
    session.grid(["mine"], [task])
    assert asked == [2]
    monkeypatch.setattr("harness.systems.external.PROCESS", "another")
    session.grid(["mine"], [task])
    assert asked == [2, 2]


def test_a_query_s_own_document_is_left_out(session):
    mine = Collection(
        CORPUS, {"a": "apple", "q": "x"}, {"a": {"b": 1}, "q": {"c": 1}}, exclude_self=True
    )
    for returned in ({"a": 3.0, "b": 2.0, "c": 1.0}, {"a": 3.0, "b": 2.0}):
        run = run_of(session, Returning(returned, returned), mine, depth=2)
        assert run.docs.tolist()[0][0] == 1
        assert run.docs.tolist()[1] == [0, 1]
        assert run.docs.shape == (2, 2)
    assert run_of(session, Returning(["c", "a"], ["a"]), mine, depth=3).docs.tolist() == [
        [2, -1, -1], [0, -1, -1],
    ]  # fmt: skip


def test_queries_are_timed_one_by_one(session):
    record = session.evaluate(lambda texts, k: [SEEN] * len(texts), MINE, latency=2).record
    assert record.latency.queries == 2


def test_it_only_ranks(session):
    search = Returning(SEEN)
    with pytest.raises(InputError, match="mine only ranks: expected a model that makes vectors"):
        harness.embed(search, ["x"])
    with pytest.raises(InputError, match="has no part that rm3 fits"):
        session.evaluate(Returning(SEEN, SEEN), MINE, rewrite="rm3")
    note = "mine searches by itself: index hnsw plays no part"
    assert note in session.evaluate(Returning(SEEN, SEEN), MINE, index="hnsw").record.warnings


def test_sentence_pairs_are_not_ranked(session, tmp_path):
    path = tmp_path / "pairs.csv"
    path.write_text("sentence1,sentence2,score\na,b,1\nc,d,2\n")
    with pytest.raises(InputError, match=r"mine only ranks, and pairs:.* is a task of pairs"):
        session.evaluate(Returning(SEEN), f"pairs:{path}")


# what is wrong


def test_what_the_corpus_does_not_hold_is_left_out_and_warned_of(session):
    record = session.evaluate(Returning({"z": 9.0, "a": 1.0}, ["y", "x", "b"]), MINE).record
    assert record.main.mean == 1.0
    assert record.counts["results_unknown"] == 3
    assert (
        "3 results of mine left out, of documents that the corpus does not hold" in record.warnings
    )


def test_fewer_than_k_are_counted(session):
    record = session.evaluate(Returning(["a", "b", "c"], []), MINE).record
    assert record.counts["queries_with_few_results"] == 1
    assert record.counts["queries_without_results"] == 1
    assert "1 of 2 queries has fewer than the 3 results that mine was asked for" in record.warnings


@pytest.mark.parametrize(
    ("returned", "error"),
    [
        ([SEEN, ["b", "a", "b"]], "mine, query 'banana split': document 'b' is returned twice"),
        ([SEEN, ["z", "z"]], "document 'z' is returned twice: expected once"),
        ([SEEN, ["b", ("a", 5.0)]], "some results have a score and some none: expected one form"),
        ([SEEN, {"a", "b"}], "expected a list with the results of each query"),
        ([SEEN, [("a", 10**400)]], "the score of 'a' is 1000"),
        ([SEEN], "mine returned results of 1 query for 2: expected a list for each"),
        ([SEEN, "ab"], "query 'banana split' returned 'ab': expected a list"),
        ([SEEN, None], "query 'banana split' returned None: expected a list"),
        ([SEEN, [("a", 1, 2)]], r"\('a', 1, 2\): expected an id and its score"),
        ([SEEN, [{"id": "a"}]], r"\{'id': 'a'\}: expected 'id' and 'score'"),
        ([SEEN, {"a": float("nan")}], "the score of 'a' is nan: expected a finite float32"),
        ([SEEN, {"a": 1e39}], "the score of 'a' is 1e.39: expected a finite float32"),
        ([SEEN, {"a": "1"}], "the score of 'a' is '1': expected a finite float32"),
        ([SEEN, [1.5]], "the document id is 1.5, float: expected text or a whole number"),
    ],
)
def test_results_that_are_refused_in_one_line(session, returned, error):
    with pytest.raises(HarnessError, match=error) as raised:
        session.evaluate(Returning(*returned), MINE)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("returned", "error"),
    [
        ("nonsense", "mine returned 'nonsense': expected a list with the results of each query"),
        (([["a"]] * 2, [[1.0]]), "mine returned ids of 2 queries and scores of 1"),
        (([["a"]] * 2, [[1.0, 2.0]] * 2), "mine returned 1 id with 2 scores for a query"),
    ],
)
def test_returned_as_a_whole(session, returned, error):
    def mine(texts, k):
        return returned

    mine.__qualname__ = "mine"
    with pytest.raises(HarnessError, match=error):
        session.evaluate(mine, MINE)


def test_a_search_that_raises(session):
    def mine(texts, k):
        raise ValueError("no\nindex")

    with pytest.raises(
        HarnessError, match=r"mine fails on 2 queries, .*'apple pie': ValueError: no$"
    ):
        session.evaluate(mine, MINE)


def test_a_search_that_raises_a_time_out_of_its_own(session):
    def mine(texts, k):
        raise TimeoutError("the database")

    with pytest.raises(HarnessError, match="TimeoutError: the database"):
        session.evaluate(mine, MINE)


def test_a_search_that_hangs_is_not_waited_for(session):
    release = threading.Event()

    @register("slow")
    def slow(texts, k):
        release.wait(30)
        return [SEEN] * len(texts)

    began = time.monotonic()
    with pytest.raises(HarnessError, match=r"slow gave no answer within 0.1 s for 2 queries"):
        session.evaluate("slow,timeout=0.1", MINE)
    assert time.monotonic() - began < 10
    release.set()


def test_no_time_limit_asks_in_the_same_thread(session):
    threads = []

    @register("mine")
    def mine(texts, k):
        threads.append(threading.current_thread())
        return [SEEN] * len(texts)

    session.rank("mine,timeout=0", MINE)
    session.rank("mine", MINE)
    assert threads[0] is threading.current_thread()
    assert threads[1] is not threads[0]


@pytest.mark.parametrize(
    ("options", "error"),
    [({"timeout": -1}, "timeout=-1: expected 0 to"), ({"batch_size": 0}, "batch_size=0: expected")],
)
def test_values_out_of_range(options, error):
    with pytest.raises(InputError, match=error):
        adapt(Returning(), **options)


def test_a_fingerprint_that_is_no_json():
    search = Returning()
    search.fingerprint = {1, 2}
    with pytest.raises(InputError, match="mine: its fingerprint cannot be written as JSON"):
        adapt(search)


def test_a_fingerprint_that_cannot_be_read():
    search = Returning()
    search.fingerprint = lambda: {}["version"]
    said = "mine: what identifies it cannot be read: KeyError: 'version'"
    with pytest.raises(InputError, match=said):
        adapt(search)


def test_candidates_are_not_searched(session):
    from dataclasses import replace

    from harness.data import Candidates

    task = session.task(MINE)
    data = task.collection
    chosen = Candidates.of({"q1": ["a"]}, data.queries, data.corpus)
    with pytest.raises(InputError, match="this task ranks candidates: choose another task"):
        session.evaluate(Returning(SEEN), replace(task, data=replace(data, candidates=chosen)))


# behind a URL


def test_a_service_is_asked_by_one_json_body(session, server):
    spec = f"search:{server.url}/search,version=2.1,batch_size=1,concurrency=1"
    record = session.evaluate(spec, WORDS).record
    assert record.main.mean == 0.75  # pie is second to apple, banana is the longest
    assert [body for _, _, body in server.seen] == [
        {"queries": ["apple pie"], "k": 3}, {"queries": ["banana split"], "k": 3},
    ]  # fmt: skip
    assert record.system.fingerprint == {"search": f"{server.url}/search", "fingerprint": "2.1"}
    assert record.usage == {"requests": 2, "retries": 0}
    assert f"1 result of {server.url}/search left out" in " ".join(record.warnings)


def test_a_pickled_service_ranks_the_same(session, server):
    spec = f"search:{server.url}/search,version=2.1"
    made = RETRIEVERS.create(spec)
    data, request = WORDS.data, Request(3, session.store)
    first, again = (
        each.rank(spec, data, request) for each in (made, pickle.loads(pickle.dumps(made)))
    )
    assert first.run.docs.tolist() == again.run.docs.tolist()
    assert first.run.scores.tobytes() == again.run.scores.tobytes()


def test_a_service_without_a_version_is_not_known_again(session, server):
    record = session.evaluate(f"search:{server.url}/search", WORDS).record
    assert record.system.fingerprint["fingerprint"] == "not known again"
    assert "process" in identity(f"search:{server.url}/search")["readers"][0]


def test_answers_come_in_any_order(session, server):
    server.behave(slow(0.3))  # the first request is answered last
    spec = f"search:{server.url}/search,batch_size=1,concurrency=2,timeout=5"
    found = session.rank(spec, WORDS, depth=1)
    assert [WORDS.data.corpus.ids[doc] for doc in found.run.docs[:, 0]] == ["apple", "banana"]
    assert found.usage == {"requests": 2, "retries": 0}


def test_the_key_is_sent_and_not_recorded(session, server, monkeypatch):
    monkeypatch.setenv("SEARCH_KEY", "secret-9")
    record = session.evaluate(f"search:{server.url}/search,api_key_env=SEARCH_KEY", WORDS).record
    assert server.seen[0][1]["Authorization"] == "Bearer secret-9"
    assert "secret-9" not in record.model_dump_json()


@pytest.mark.parametrize(
    ("act", "error"),
    [
        (reply('{"results": [[]]}'), "returned results of 1 query for 2: expected a list for e"),
        (reply('{"results": [["a", "a"], []]}'), "query 'apple pie': document 'a' is returned twi"),
        (reply('{"hits": []}'), "sent no results .* for 2 queries, the first 'apple pie'"),
        (reply("<html>"), "sent no results"),
        (reply('{"error": "no such index"}', 404), "404 Not Found .*'no such index'"),
        (reply("", 503), "answered 503 Service Unavailable for 2 queries"),
        (HANG, "gave no answer within 0.1 s for 2 queries|broke off"),
        (where("pie", reply("", 500)), "answered 500"),
    ],
)
def test_a_service_that_answers_badly(session, server, act, error):
    server.behave(otherwise=act)
    spec = f"search:{server.url}/search,retries=0,timeout={0.1 if act is HANG else 5}"
    with pytest.raises(HarnessError, match=error) as raised:
        session.evaluate(spec, WORDS)
    assert "\n" not in str(raised.value)


def test_a_service_that_is_not_there(session):
    with pytest.raises(HarnessError, match=r"127.0.0.1:9 cannot be reached for 2 queries"):
        session.evaluate("search:http://127.0.0.1:9/search,retries=0", WORDS)


def test_urls_that_are_refused(session):
    with pytest.raises(InputError, match="expected http://host"):
        session.evaluate("search:nowhere", WORDS)
    with pytest.raises(InputError, match="batch_size=0: expected 1 to"):
        session.evaluate("search:http://x/y,batch_size=0", WORDS)


# from the command line

PLUGIN = """
import harness

@harness.system("product")
class Product:
    fingerprint = "build {build}"

    def index(self, ids, texts):
        self.texts = dict(zip(ids, texts))

    def search(self, texts, k):
        liked = [text.removeprefix("Who likes ").rstrip("?") for text in texts]
        return [{{id: float(({good} and one in held)) for id, held in self.texts.items()}}
                for one in liked]
"""


def test_a_product_s_search_is_gated(run, tmp_path, monkeypatch):
    task = "limit,docs=46,queries=60"
    for build, good in ((1, True), (2, False)):
        monkeypatch.setattr(
            RETRIEVERS, "_entries", {k: v for k, v in RETRIEVERS._entries.items() if k != "product"}
        )
        plugin = tmp_path / f"product{build}.py"
        plugin.write_text(PLUGIN.format(build=build, good=good))
        words = ("--plugin", plugin, "-m", "product", "-t", task, "--measure", "nDCG@46", "-q")
        done = run("eval", *words, "-o", tmp_path / f"build{build}", "-f", "json")
        assert done.status == 0
        assert done.json[0]["system"]["fingerprint"]["fingerprint"] == f"build {build}"
    base = tmp_path / "baseline"
    assert run("baseline", "freeze", tmp_path / "build1" / "product", "--out", base).status == 0
    same = run("gate", tmp_path / "build1" / "product", "-b", base, "-q")
    assert (same.status, same.out.splitlines()[-1]) == (0, "pass (1 same)")
    worse = run("gate", tmp_path / "build2" / "product", "-b", base, "-q")
    assert worse.status == 1
    compared = run("compare", tmp_path / "build1", tmp_path / "build2", "-q")
    assert compared.status == 0
