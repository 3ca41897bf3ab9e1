"""Scores of a service, against one in a process of its own that behaves and misbehaves."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from harness.endpoints.usage import known_usage
from harness.errors import EncodingError, HarnessError, InputError
from harness.progress import silent
from harness.rerankers import RERANKERS
from harness.rerankers.api import EndpointReranker
from harness.spec import Spec
from tests.server import ANSWER, CLOSE, HALFWAY, HANG, overlap, reply, slow, where

STYLES = ("cohere", "tei")
DOCUMENTS = ["red apple", "a green apple", "pear", "red and red"]
PAIRS = [(query, text) for query in ("red apple", "green pear") for text in DOCUMENTS]


@pytest.fixture
def serve(server):
    """Make a reranker for the server, with next to no waiting."""

    def make(**params: object) -> EndpointReranker:
        given = {"url": server.url, "backoff": 0.001, "timeout": 0.15, "retries": 2, **params}
        texts = tuple((key, str(value)) for key, value in given.items())
        made = RERANKERS.create(Spec("api", "some/model", texts))
        assert isinstance(made, EndpointReranker)
        return made

    return make


def expected(pairs: list[tuple[str, str]]) -> np.ndarray:
    return np.array([overlap(query, text) for query, text in pairs], np.float32)


# -- what is asked and answered --------------------------------------------------------------------


@pytest.mark.parametrize("dialect", STYLES)
@pytest.mark.parametrize(("batch", "requests"), [(1, 8), (3, 4), (100, 2)])
def test_scores_come_in_the_order_of_the_pairs(serve, server, tmp_path, dialect, batch, requests):
    found = serve(dialect=dialect, batch_size=batch).score(PAIRS, silent, root=tmp_path)
    np.testing.assert_array_equal(found.scores, expected(PAIRS))
    assert found.scores.dtype == np.float32
    assert len(server.seen) == requests
    assert {body["query"] for _, _, body in server.seen} == {"red apple", "green pear"}


@pytest.mark.parametrize(
    ("params", "body"),
    [
        ({}, {"model": "some/model", "query": "q", "documents": ["é"]}),
        ({"dialect": "tei"}, {"query": "q", "texts": ["é"], "truncate": False}),
        ({"dialect": "tei", "truncate": "true"}, {"query": "q", "texts": ["é"], "truncate": True}),
    ],
)
def test_what_is_sent(serve, server, tmp_path, params, body):
    serve(**params).score([("q", "é")], silent, root=tmp_path)
    ((path, _, sent),) = server.seen
    assert (path, sent) == ("/v1/rerank", body)


def test_a_pair_given_twice_is_asked_for_once(serve, server, tmp_path):
    pairs = [("red", "red pear"), ("red", "pear"), ("red", "red pear")]
    found = serve().score(pairs, silent, root=tmp_path)
    np.testing.assert_array_equal(found.scores, expected(pairs))
    assert server.asked() == ["red pear", "pear"]


def test_no_pairs(serve, server, tmp_path):
    assert serve().score([], silent, root=tmp_path).scores.tolist() == []
    assert server.seen == []


def test_voyage_calls_its_results_data(serve, server, tmp_path):
    items = [{"index": 1, "relevance_score": 0.5}, {"index": 0, "relevance_score": 0.25}]
    server.behave(reply(json.dumps({"data": items, "usage": {"total_tokens": 7}})))
    encoder = serve(price=2)
    found = encoder.score([("q", "one"), ("q", "two")], silent, root=tmp_path)
    assert found.scores.tolist() == [0.25, 0.5]
    cost = 7 * 2 / 1e6
    assert found.usage == {"requests": 1, "retries": 0, "tokens": 7, "cost_usd": cost}


def test_cohere_bills_searches(serve, server, tmp_path):
    items = [{"index": 0, "relevance_score": 0.5}]
    meta = {"billed_units": {"search_units": 1}}
    server.behave(otherwise=reply(json.dumps({"results": items, "meta": meta})))
    reranker = serve(price=2)
    found = reranker.score([("q", "one"), ("r", "one")], silent, root=tmp_path)
    assert known_usage(found.usage) == {"requests": 2, "retries": 0, "searches": 2}


@pytest.mark.parametrize("dialect", STYLES)
def test_tokens_are_counted(serve, server, tmp_path, dialect):
    reranker = serve(dialect=dialect)
    found = reranker.score([("q", "one two"), ("q", "three")], silent, root=tmp_path)
    assert found.usage == {"requests": 1, "retries": 0, "tokens": 3}


def test_progress_tells_pairs(serve, tmp_path):
    told: list[tuple[str, int, int, str]] = []
    serve(batch_size=2, concurrency=1).score(PAIRS, lambda *args: told.append(args), root=tmp_path)
    assert told == [("rerank", done, 8, "pairs") for done in (0, 2, 4, 6, 8)]


def test_the_key_is_needed_where_its_variable_is_named(serve, monkeypatch):
    monkeypatch.delenv("MY_KEY", raising=False)
    with pytest.raises(InputError, match="the environment variable MY_KEY is not set"):
        serve(api_key_env="MY_KEY").load()


# -- nothing is paid for twice ---------------------------------------------------------------------


def test_kept_scores_are_not_asked_for_again(serve, server, tmp_path):
    serve().score(PAIRS[:2], silent, root=tmp_path)
    server.behave()
    for _ in range(2):
        found = serve(batch_size=2).score(PAIRS[:4], silent, root=tmp_path)
        np.testing.assert_array_equal(found.scores, expected(PAIRS[:4]))
    assert server.asked() == ["pear", "red and red"]


def test_whatever_decides_a_score_is_asked_anew(serve, server, tmp_path):
    (pair,) = [("q", "one")]
    different = [{}, {"dialect": "tei"}, {"dialect": "tei", "truncate": "true"},
                 {"url": server.url + "/2"}]  # fmt: skip
    for params in [*different, {"batch_size": 1}, {"price": 3}, {"timeout": 1}]:
        serve(**params).score([pair], silent, root=tmp_path)
    assert len(server.seen) == 4


def test_the_default_store_holds_the_scores(serve, tmp_path, monkeypatch):
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path))
    serve().score([("q", "one")], silent)
    assert len(list((tmp_path / "rerankings").iterdir())) == 1


def test_the_scores_before_an_error_are_kept(serve, server, tmp_path):
    server.behave(otherwise=where("bad", reply("", 404)))
    pairs = [("q", "one"), ("q", "two"), ("q", "bad")]
    with pytest.raises(InputError) as error:
        serve(batch_size=1, concurrency=1).score(pairs, silent, root=tmp_path)
    assert str(error.value) == (
        f"{server.host} answered 404 Not Found for the text 'bad' (3 characters) and the query "
        "'q': are url and model right?"
    )
    server.behave()
    serve(batch_size=1).score(pairs, silent, root=tmp_path)
    assert server.asked() == ["bad"]


CLIENT = """
import sys
from pathlib import Path
from harness.rerankers import RERANKERS
from harness.progress import silent

reranker = RERANKERS.create(f"api:m,url={sys.argv[1]},batch_size=2,concurrency=2")
pairs = [(f"query {i // 6}", f"text {i}") for i in range(60)]
print(len(reranker.score(pairs, silent, root=Path(sys.argv[2])).scores))
"""


def test_after_kill_9_only_what_was_under_way_is_asked_again(server, tmp_path):
    def start() -> subprocess.Popen[str]:
        words = [sys.executable, "-c", CLIENT, server.url, str(tmp_path)]
        return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    server.behave(otherwise=slow(0.1))
    client, deadline = start(), time.monotonic() + 60
    while len(server.seen) < 8 and time.monotonic() < deadline:
        assert client.poll() is None, client.communicate()
        time.sleep(0.02)
    client.send_signal(signal.SIGKILL)
    client.communicate(timeout=60)
    assert client.returncode == -signal.SIGKILL
    before = server.asked()
    files = [path for path in (tmp_path / "rerankings").iterdir() if path.suffix == ".json"]
    kept = sum(len(json.loads(json.loads(path.read_text())["answer"])) for path in files)
    assert kept >= 8
    assert len(before) - kept <= 2 * (2 + 4)  # two requests under way, four answers to be written

    server.behave()
    client = start()
    out, err = client.communicate(timeout=60)
    assert (client.returncode, out.strip()) == (0, "60"), err
    after = server.asked()
    assert len(after) == len(set(after)) == 60 - kept
    assert set(before) | set(after) == {f"text {i}" for i in range(60)}


# -- a service that misbehaves ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "bad",
    [
        reply("slow down", 429, Retry_After="0"),
        reply("", 500),
        HANG,
        CLOSE,
        HALFWAY,
        reply("no JSON"),
        reply("[]"),
        reply("{}"),
        reply('{"results": [null]}'),
        reply('{"results": [{"index": 0}]}'),
        reply('{"results": [{"index": 0, "relevance_score": "high"}]}'),
    ],
)
def test_what_may_pass_is_asked_again(serve, server, tmp_path, bad):
    server.behave(bad)
    reranker = serve()
    found = reranker.score([("red", "red apple")], silent, root=tmp_path)
    np.testing.assert_array_equal(found.scores, expected([("red", "red apple")]))
    assert found.usage["retries"] == 1


@pytest.mark.parametrize(
    ("dialect", "data", "message"),
    [
        ("cohere", '{"results": [{"index": 0, "relevance_score": 1}]}',
         "sent 1 scores for 2 texts: expected one for each"),
        ("tei", '[{"index": 0, "score": 1}, {"index": 1, "score": 2}, {"index": 2, "score": 3}]',
         "sent 3 scores for 2 texts: expected one for each"),
        ("tei", '[{"index": 0, "score": 1}, {"index": 0, "score": 2}]',
         "sent scores with the indices [0, 0]: expected each of 0 to 1 once"),
        ("tei", '[{"score": 1}, {"score": 2}]',
         "sent scores with the indices [None, None]: expected each of 0 to 1 once"),
        ("tei", '[{"index": 1, "score": null}, {"index": 0, "score": 2}]',
         "sent NaN, infinity or null for the text 'two' (3 characters)"),
        ("tei", '[{"index": 1, "score": 1}, {"index": 0, "score": 1e39}]',
         "sent NaN, infinity or null for the text 'one' (3 characters)"),
    ],
)  # fmt: skip
def test_scores_that_are_none_are_refused_in_one_line(
    serve, server, tmp_path, dialect, data, message
):
    server.behave(otherwise=reply(data))
    with pytest.raises(EncodingError) as error:
        serve(dialect=dialect).score([("q", "one"), ("q", "two")], silent, root=tmp_path)
    assert str(error.value) == f"{server.host} {message}"
    assert len(server.seen) == 1


def test_hope_is_lost_in_one_line(serve, server, tmp_path):
    server.behave(otherwise=reply("", 503))
    with pytest.raises(HarnessError) as error:
        serve().score([("q", "one"), ("q", "two")], silent, root=tmp_path)
    assert str(error.value) == (
        f"{server.host} answered 503 Service Unavailable for 2 texts, the first 'one' "
        "(3 characters) and the query 'q' (attempt 3 of 3); answers so far are kept: run it again "
        "to go on"
    )


def test_a_batch_that_is_too_large_gets_smaller(serve, server, tmp_path):
    server.behave(reply('{"error": "batch size 3 > 2"}', 422), ANSWER)
    pairs = [("red", text) for text in DOCUMENTS[:3]]
    found = serve(dialect="tei").score(pairs, silent, root=tmp_path)
    np.testing.assert_array_equal(found.scores, expected(pairs))
    assert [len(body["texts"]) for _, _, body in server.seen] == [3, 1, 2]


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ("batch_size=0", "api: batch_size=0: expected 1 to 1000"),
        ("price=-1", "api: price=-1.0: expected 0 to 1000000"),
        ("retries=-1", "api: retries=-1: expected 0 to 100"),
        ("truncate=true", "api: dialect=cohere has no truncate: expected dialect=tei"),
        ("dialect=soap", "api: dialect=soap: expected one of cohere, tei"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(params, message):
    with pytest.raises(InputError) as error:
        RERANKERS.create(f"api:m,url=http://localhost/v1,{params}")
    assert str(error.value) == message
