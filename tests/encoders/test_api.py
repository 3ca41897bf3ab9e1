"""Embeddings of a service, against one in a process of its own that behaves and misbehaves."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from harness.api import evaluate
from harness.data import Purpose
from harness.encoders import ENCODERS
from harness.encoders.api import EndpointEncoder
from harness.endpoints.usage import known_usage
from harness.errors import EncodingError, HarnessError, InputError
from harness.spec import Spec
from harness.store import Store
from tests.server import (
    ANSWER,
    CHUNKS,
    CLOSE,
    DRIBBLE,
    HALFWAY,
    HANG,
    embeddings,
    reply,
    slow,
    vector,
    where,
)

KEY = "sk-verySecret/0123"
STYLES = ("openai", "tei", "cohere")


@pytest.fixture
def serve(server):
    """Make an encoder for the server, with next to no waiting."""

    def make(**params: object) -> EndpointEncoder:
        given = {"url": server.url, "backoff": 0.001, "timeout": 0.15, "retries": 2, **params}
        texts = tuple((key, str(value)) for key, value in given.items())
        made = ENCODERS.create(Spec("api", "some/model", texts))
        assert isinstance(made, EndpointEncoder)
        return made

    return make


def expected(*texts: str) -> np.ndarray:
    return np.array([vector(text) for text in texts], np.float32)


# -- what is asked and answered --------------------------------------------------------------------


@pytest.mark.parametrize("dialect", STYLES)
@pytest.mark.parametrize(("batch", "concurrency"), [(1, 1), (3, 1), (4, 3), (32, 4)])
def test_vectors_come_in_the_order_of_the_texts(serve, server, dialect, batch, concurrency):
    texts = [f"text {'x' * (i * 7 % 11)} {i}" for i in range(11)]
    made = serve(dialect=dialect, batch_size=batch, concurrency=concurrency).encode(
        texts, "document"
    )
    np.testing.assert_array_equal(made.values, expected(*texts))
    assert made.values.dtype == np.float32
    assert sorted(server.asked()) == sorted(texts)
    assert len(server.seen) == -(-11 // batch)
    assert not made.truncated.any()


@pytest.mark.parametrize(
    ("params", "path", "body"),
    [
        ({}, "/v1/embeddings", {"model": "some/model", "input": ["q: é"]}),
        ({"dim": 3, "query_type": "query"}, "/v1/embeddings",
         {"model": "some/model", "input": ["q: é"], "dimensions": 3, "input_type": "query"}),
        ({"dialect": "tei"}, "/v1/embed", {"inputs": ["q: é"], "truncate": False}),
        ({"dialect": "tei", "truncate": "true"}, "/v1/embed", {"inputs": ["q: é"],
                                                             "truncate": True}),
        ({"dialect": "cohere"}, "/v1/embed",
         {"model": "some/model", "texts": ["q: é"], "input_type": "search_query",
          "embedding_types": ["float"], "truncate": "NONE"}),
        ({"dialect": "cohere", "dim": 3, "truncate": "true", "query_type": "clustering"},
         "/v1/embed",
         {"model": "some/model", "texts": ["q: é"], "input_type": "clustering",
          "embedding_types": ["float"], "truncate": "END", "output_dimension": 3}),
    ],
)  # fmt: skip
def test_what_is_sent(serve, server, params, path, body):
    serve(query_prompt="q: ", **params).encode(["é"], "query")
    ((asked, headers, sent),) = server.seen
    assert (asked, sent) == (path, body)
    assert "Authorization" not in headers


@pytest.mark.parametrize(
    ("dialect", "types"),
    [("openai", [None, None, None]),
     ("cohere", ["search_query", "search_document", "search_document"])],
)  # fmt: skip
def test_a_role_has_its_prompt_and_its_type(serve, server, dialect, types):
    encoder = serve(dialect=dialect, query_prompt="Q ", document_prompt="D ", text_prompt="T ")
    for role in ("query", "document", "text"):
        encoder.encode(["x"], role)
    assert server.asked() == ["Q x", "D x", "T x"]
    assert [body.get("input_type") for _, _, body in server.seen] == types
    assert encoder.prompt("document") == "D "


def test_an_instruction_of_the_task_is_filled_in(serve, server):
    encoder = serve(query_prompt="Instruct: {instruction} Query: ")
    told = encoder.for_task(Purpose(instructions={"query": "find it"}))
    made = told.encode(["x"], "query")
    assert server.asked() == ["Instruct: find it Query: x"]
    assert made.usage["requests"] == 1
    with pytest.raises(InputError, match="wants an instruction, and the task has none"):
        encoder.for_task(Purpose(instructions={})).encode(["x"], "query")


def test_the_key_goes_along(serve, server, monkeypatch):
    monkeypatch.setenv("MY_KEY", KEY)
    encoder = serve(api_key_env="MY_KEY")
    encoder.load()
    encoder.encode(["one"], "query")
    assert server.seen[0][1]["Authorization"] == f"Bearer {KEY}"
    assert KEY not in repr(encoder) + json.dumps(encoder.fingerprint())
    monkeypatch.delenv("MY_KEY")
    with pytest.raises(InputError, match="the environment variable MY_KEY is not set"):
        encoder.load()


def test_what_decides_vectors_is_its_fingerprint(serve):
    same = [{}, {"timeout": 9}, {"batch_size": 2}, {"price": 1},
            {"similarity": "dot"}, {"query_prompt": "x"}]  # fmt: skip
    other = [{"url": "http://other/v1"}, {"dialect": "tei"}, {"dim": 2},
             {"document_type": "passage"}, {"dialect": "tei", "truncate": "true"}]  # fmt: skip
    prints = [json.dumps(serve(**params).fingerprint()) for params in same + other]
    assert prints[: len(same)] == [prints[0]] * len(same)
    assert len(set(prints)) == 1 + len(other)


def test_similarity_may_be_chosen(serve):
    assert serve().similarity == "cosine"
    assert serve(similarity="dot").similarity == "dot"


# -- what it costs ---------------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", STYLES)
def test_tokens_are_counted_and_cost(serve, server, dialect):
    encoder = serve(dialect=dialect, batch_size=2, concurrency=1, price=0.5)
    server.behave(reply("", 500))
    made = encoder.encode(["one", "two words", "and three words"], "document")
    assert made.tokens.tolist() == [-1, -1, 3]  # of a text on its own it is known
    assert made.usage == {
        "requests": 3, "retries": 1, "tokens": 6, "cost_usd": 6 * 0.5 / 1e6,
    }  # fmt: skip


def test_where_a_service_tells_no_tokens_none_are_made_up(serve, server):
    server.behave(ANSWER, reply(json.dumps({"data": [{"index": 0, "embedding": [1, 2, 3]}]})))
    encoder = serve(batch_size=1, price=0.5)
    made = encoder.encode(["one", "two"], "document")
    assert -1 in made.tokens
    assert known_usage(made.usage) == {"requests": 2, "retries": 0}


def test_what_may_have_been_cut_is_said(serve):
    assert serve(dialect="tei").notes == ()
    assert serve(dialect="tei", truncate="true").notes == (
        "long texts are cut by the endpoint, which does not tell which: none is counted",
    )


# -- a service that misbehaves ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "bad",
    [
        reply("slow down", 429, Retry_After="0"),
        reply("", 500),
        reply("", 424),
        HANG,
        DRIBBLE,
        CLOSE,
        HALFWAY,
        reply('{"data": [{"index": 0, "embed'),
        reply("<html>"),
        reply("null"),
        reply("{}"),
        reply('{"data": null}'),
        reply('{"data": [null]}'),
        reply('{"data": [{"index": 0}]}'),
        reply('{"data": [{"index": 0, "embedding": null}]}'),
        reply('{"data": [{"index": 0, "embedding": []}]}'),
        reply('{"data": [{"index": 0, "embedding": 7}]}'),
        reply('{"data": [{"index": 0, "embedding": [[1, 2]]}]}'),
        reply('{"data": [{"index": 0, "embedding": ["x"]}]}'),
        reply('{"data": [{"index": 0, "embedding": "AACAPw="}]}'),
        reply('{"data": [{"index": 0, "embedding": "AACAPwA="}]}'),
        reply('{"data": [{"index": 0, "embedding": ["1", "2"]}]}'),
        reply(f'{{"data": [{{"index": 0, "embedding": [{10**400}]}}]}}'),
    ],
)
def test_what_may_pass_is_asked_again(serve, server, bad):
    server.behave(bad)
    encoder = serve()
    made = encoder.encode(["one"], "query")
    np.testing.assert_array_equal(made.values, expected("one"))
    assert server.asked() == ["one", "one"]
    assert made.usage["retries"] == 1


def test_a_reply_in_chunks_is_whole(serve, server):
    server.behave(CHUNKS)
    np.testing.assert_array_equal(serve().encode(["one"], "query").values, expected("one"))


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (reply("", 503), "answered 503 Service Unavailable for 2 texts, the first 'one' "
                         "(3 characters) (attempt 3 of 3)"),
        (HANG, "gave no answer within 0.15 s for 2 texts, the first 'one' (3 characters) "
               "(attempt 3 of 3)"),
        (reply("[]"), "sent no embeddings (AttributeError) for 2 texts, the first 'one' "
                      "(3 characters) (attempt 3 of 3)"),
    ],
)  # fmt: skip
def test_hope_is_lost_in_one_line(serve, server, bad, message):
    server.behave(otherwise=bad)
    with pytest.raises(HarnessError) as error:
        serve().encode(["one", "two"], "query")
    assert str(error.value) == (
        f"{server.host} {message}; answers so far are kept: run it again to go on"
    )


@pytest.mark.parametrize(
    ("sent", "what"),
    [(None, "null"), ("words", "text that is no base64 of float32"),
     (["1", "2"], "text that is no base64 of float32")],
)  # fmt: skip
def test_what_came_in_place_of_a_vector_is_said_with_its_text(serve, server, sent, what):
    server.behave(otherwise=reply(embeddings([[1.0, 2.0], sent])))
    with pytest.raises(HarnessError) as error:
        serve(retries=1).encode(["one", "two"], "query")
    assert str(error.value).startswith(
        f"{server.host} sent {what} in place of the vector of the text 'two' (3 characters) for "
        "2 texts, the first 'one'"
    )


def test_vectors_may_come_as_base64(serve, server):
    server.behave(reply('{"data": [{"index": 0, "embedding": "AACAPwAAIMA="}]}'))
    assert serve().encode(["one"], "query").values.tolist() == [[1.0, -2.5]]


def test_an_empty_text_is_zero_and_not_sent(serve, server):
    texts = ["one", "", "two", " \n\t", "three"]
    made = serve(batch_size=2).encode(texts, "document")
    assert sorted(server.asked()) == ["one", "three", "two"]
    np.testing.assert_array_equal(made.values[[0, 2, 4]], expected("one", "two", "three"))
    assert not made.values[[1, 3]].any()
    assert made.tokens[[1, 3]].tolist() == [0, 0]
    server.behave()
    asked = serve(query_prompt="query: ").encode([""], "query")  # the prompt is a text
    assert (server.asked(), asked.values.any()) == (["query: "], True)


def test_texts_that_are_all_empty_are_as_wide_as_others(serve, server):
    made = serve().encode(["", ""], "query")
    assert (made.values.tolist(), server.asked()) == ([[0.0] * 3] * 2, ["a"])
    assert made.usage["requests"] == 1
    server.behave()
    assert serve(dim=7).encode([""], "query").values.shape == (1, 7)
    assert server.asked() == []


ROWS = [[1.0, 2.0], [3.0, 4.0]]


@pytest.mark.parametrize(
    ("params", "data", "message"),
    [
        ({}, embeddings(ROWS[:1]), "sent 1 vectors for 2 texts: expected one for each"),
        ({}, embeddings([*ROWS, ROWS[0]]), "sent 3 vectors for 2 texts: expected one for each"),
        ({"dialect": "tei"}, b"[[1, 2]]", "sent 1 vectors for 2 texts: expected one for each"),
        ({"dialect": "cohere"}, b'{"embeddings": {"float": []}}',
         "sent 0 vectors for 2 texts: expected one for each"),
        ({}, b'{"data": [{"index": 1, "embedding": [1]}, {"index": 1, "embedding": [2]}]}',
         "sent vectors with the indices [1, 1]: expected each of 0 to 1 once"),
        ({}, b'{"data": [{"embedding": [1]}, {"embedding": [2]}]}',
         "sent vectors with the indices [None, None]: expected each of 0 to 1 once"),
        ({}, embeddings([[1.0, 2.0], [3.0]]),
         "sent vectors of 1 to 2 dimensions in one reply: expected one width"),
        ({"dim": 3}, embeddings(ROWS), "sent 2-d vectors: expected 3-d ones, as asked for"),
        ({}, embeddings([[1.0, 2.0], [None, 1.0]]),
         "sent NaN, infinity or null for the text 'two' (3 characters)"),
        ({}, embeddings([[1.0, 2.0], [float("nan"), 1.0]]),
         "sent NaN, infinity or null for the text 'two' (3 characters)"),
        ({}, embeddings([[1e39, 2.0], [1.0, 1.0]]),
         "sent NaN, infinity or null for the text 'one' (3 characters)"),
    ],
)  # fmt: skip
def test_vectors_that_are_none_are_refused_in_one_line_and_not_paid_twice(
    serve, server, params, data, message
):
    server.behave(otherwise=reply(data))
    with pytest.raises(EncodingError) as error:
        serve(**params).encode(["one", "two"], "query")
    assert str(error.value) == f"{server.host} {message}"
    assert len(server.seen) == 1


def test_another_width_in_mid_run(serve, server):
    server.behave(ANSWER, reply(embeddings([[1.0, 2.0]])))
    with pytest.raises(EncodingError) as error:
        serve(batch_size=1, concurrency=1).encode(["one", "two", "three"], "query")
    assert str(error.value) == f"{server.host} sent 2-d vectors: expected 3-d ones, as before"


def test_what_is_refused_is_the_one_text(serve, server):
    complaint = '{"error": {"message": "longer than 512 tokens"}}'
    server.behave(otherwise=where("long", reply(complaint, 400)))
    texts = ["a", "b", "a long text", "c", "d"]
    stream = serve().stream(texts, "document")
    assert next(stream)[0] == slice(0, 2)
    with pytest.raises(InputError) as error:
        next(stream)
    assert str(error.value) == (
        f"{server.host} answered 400 Bad Request for the text 'a long text' (11 characters): "
        "'longer than 512 tokens'"
    )


def test_a_batch_that_is_too_large_gets_smaller(serve, server):
    server.behave(reply('{"error": "batch size 5 > 4"}', 413))
    texts = ["a", "bb", "ccc", "dddd", "eeeee"]
    made = serve(dialect="tei").encode(texts, "document")
    np.testing.assert_array_equal(made.values, expected(*texts))
    assert [len(body["inputs"]) for _, _, body in server.seen] == [5, 2, 3]


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ("batch_size=0", "api: batch_size=0: expected 1 to 2048"),
        ("dim=0", "api: dim=0: expected 1 to 65536"),
        ("price=-1", "api: price=-1.0: expected 0 to 1000000"),
        ("concurrency=0", "api: concurrency=0: expected 1 to 256"),
        ("dialect=tei,dim=3", "api: dialect=tei has no dim: expected dialect=openai or "
                                   "cohere"),
        ("truncate=true", "api: dialect=openai has no truncate: expected dialect=tei or cohere"),
        ("dialect=tei,query_type=x", "api: dialect=tei has no query_type: expected dialect=openai "
                                     "or cohere"),
        ("dialect=soap", "api: dialect=soap: expected one of openai, tei, cohere"),
    ],
)  # fmt: skip
def test_parameters_that_make_no_sense_are_refused(params, message):
    with pytest.raises(InputError) as error:
        ENCODERS.create(f"api:m,url=http://localhost/v1,{params}")
    assert str(error.value) == message


def test_a_url_is_needed():
    with pytest.raises(InputError, match=r"^api: url: expected http://host:port/v1"):
        ENCODERS.create("api:m")


# -- nothing is paid for twice ---------------------------------------------------------------------

TASK = "limit,docs=40,queries=9,k=2,attributes=5"


def test_an_evaluation_asks_for_each_text_once_and_then_for_none(server, tmp_path):
    model = f"api:m,url={server.url},batch_size=8"
    first = evaluate(model, TASK, store=Store(tmp_path)).record
    assert len(server.asked()) == len(set(server.asked())) == 49
    again = evaluate(model, TASK, store=Store(tmp_path)).record
    assert len(server.asked()) == 49
    assert again.main == first.main


def test_the_replies_before_an_error_are_kept(server, tmp_path, serve):
    texts = [f"{'x' * (30 - i)} {i}" for i in range(30)]
    server.behave(otherwise=where(" 25", reply("", 404)))
    encoder = serve(batch_size=4, concurrency=2)
    with pytest.raises(InputError, match="404 Not Found"):
        Store(tmp_path).plan(encoder, texts, "document").fetch()
    asked = {text for text in server.asked() if text != texts[25]}
    server.behave()
    made = Store(tmp_path).plan(encoder, texts, "document").fetch()
    assert len(server.asked()) == made.made <= 30 - 24
    assert asked.isdisjoint(set(server.asked()) - set(texts[24:28]))
    np.testing.assert_array_equal(made.encoded.values, expected(*texts))


def test_vectors_of_another_width_than_the_stored_ones_are_not_stored(server, tmp_path, serve):
    Store(tmp_path).plan(serve(), ["one"], "document").fetch()
    server.behave(otherwise=reply(embeddings([[1.0, 2.0]])))
    with pytest.raises(EncodingError, match="returned 2-d vectors after 3-d ones"):
        Store(tmp_path).plan(serve(), ["one", "two"], "document").fetch()
    server.behave()
    made = Store(tmp_path).plan(serve(), ["one", "two"], "document").fetch()
    np.testing.assert_array_equal(made.encoded.values, expected("one", "two"))


def test_documents_and_queries_of_different_widths(server, tmp_path):
    model = f"api:m,url={server.url},batch_size=64,concurrency=1"
    server.behave(ANSWER, reply(embeddings([[1.0, 2.0]] * 9)))
    with pytest.raises(InputError, match="queries are 2-d and documents 3-d: expected one width"):
        evaluate(model, TASK, store=Store(tmp_path))


CLIENT = """
import sys
from pathlib import Path
from harness.encoders import ENCODERS
from harness.store import Store

encoder = ENCODERS.create(f"api:m,url={sys.argv[1]},batch_size=2,concurrency=2")
made = Store(Path(sys.argv[2])).plan(encoder, [f"text {i}" for i in range(60)], "document").fetch()
print(made.made, made.encoded.usage["tokens"])
"""


def test_after_kill_9_only_what_was_under_way_is_asked_again(server, tmp_path):
    def start() -> subprocess.Popen[str]:
        words = [sys.executable, "-c", CLIENT, server.url, str(tmp_path)]
        return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def kept() -> int:
        return len(list(tmp_path.glob("embeddings/*/*.npy")))

    server.behave(otherwise=slow(0.1))
    client, deadline = start(), time.monotonic() + 60
    while kept() < 4 and time.monotonic() < deadline:
        assert client.poll() is None, client.communicate()
        time.sleep(0.005)
    client.send_signal(signal.SIGKILL)
    client.communicate(timeout=60)
    assert client.returncode == -signal.SIGKILL
    before, whole = server.asked(), 2 * kept()
    assert 8 <= whole < 50
    assert len(before) - whole <= 2 * (2 + 4)  # two requests under way, four answers to be written

    server.behave()
    client = start()
    out, err = client.communicate(timeout=60)
    assert client.returncode == 0, err
    after = server.asked()
    assert len(after) == len(set(after)) == 60 - whole
    assert len(before) == len(set(before))
    assert set(before) | set(after) == {f"text {i}" for i in range(60)}
    assert out.split() == [str(60 - whole), str(2 * (60 - whole))]
