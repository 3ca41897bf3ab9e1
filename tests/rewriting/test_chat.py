"""Rewriting by a chat endpoint, against a server on the loopback that behaves and misbehaves."""

from __future__ import annotations

import hashlib
import json
import re
import time
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import pytest

from harness.errors import HarnessError, InputError, StoreError
from harness.progress import silent
from harness.rewriting import REWRITERS, TextRewriter, chat
from tests.server import (
    ANSWER,
    CHUNKS,
    CLOSE,
    DRIBBLE,
    HALFWAY,
    HANG,
    completion,
    reply,
    serving,
    slow,
    where,
)

KEY = "sk-verySecret/0123"
GOOD = reply(completion("fine"))


@pytest.fixture
def asking(server, tmp_path):
    """Make a rewriter for the server, with no prompt around the query and next to no waiting."""
    (tmp_path / "bare.txt").write_text("{query}", "utf-8")

    def make(**params: object) -> TextRewriter:
        bare = {"prompt": tmp_path / "bare.txt", "backoff": 0.001, "timeout": 0.15, "retries": 2}
        given = {"url": server.url, **bare, **params}
        spec = ",".join(f"{key}={value}" for key, value in given.items() if value is not None)
        made = REWRITERS.create(f"chat:some/model,{spec}")
        assert isinstance(made, TextRewriter)
        return made

    return make


@pytest.fixture
def root(tmp_path):
    return tmp_path / "cache"


def kept(root: Path) -> list[str]:
    """Answers on disk; every file there is whole."""
    found = sorted((root / "rewritings").iterdir())
    assert all(re.fullmatch(r"[0-9a-f]{64}\.json", path.name) for path in found)
    return sorted(json.loads(path.read_text("utf-8"))["answer"] for path in found)


def test_the_query_comes_first_and_the_answer_after_it(asking, server, root):
    assert asking().rewrite(["one", "two"], silent, root=root).texts == ["one ONE", "two TWO"]
    assert asking(join="replace").rewrite(["two", "one"], silent, root=root).texts == ["TWO", "ONE"]
    assert len(server.seen) == 2


def test_what_is_sent(asking, server, root):
    asking(temperature=0.5, max_tokens=77).rewrite(["é"], silent, root=root)
    ((path, headers, body),) = server.seen
    assert path == "/v1/chat/completions"
    assert body == {
        "model": "some/model",
        "messages": [{"role": "user", "content": "é"}],
        "temperature": 0.5,
        "max_tokens": 77,
    }
    assert "Authorization" not in headers


def test_the_order_is_that_of_the_queries_and_equal_ones_are_asked_once(asking, server, root):
    texts = [f"query {i % 20}" for i in range(60)]
    told: list[tuple[str, int, int, str]] = []
    found = asking(join="replace", concurrency=8).rewrite(
        texts, lambda *args: told.append(args), root=root
    )
    assert found.texts == [text.upper() for text in texts]
    assert sorted(server.asked()) == sorted(set(texts))
    assert told == [("rewrite", done, 20, "queries") for done in range(21)]
    assert len(kept(root)) == 20


def test_no_queries(asking, server, root):
    assert asking().rewrite([], silent, root=root).texts == []
    assert server.seen == []


@pytest.mark.parametrize(
    ("style", "word"), [("answer", "Answer"), ("document", "passage"), ("reasoning", "reason")]
)
def test_each_style_has_its_prompt_and_its_answers(asking, server, root, style, word):
    rewriter = asking(prompt=None, style=style)
    rewriter.rewrite(["who {query} it"], silent, root=root)
    (prompt,) = server.asked()
    assert "<query>\nwho {query} it\n</query>" in prompt
    assert word in prompt
    template = (files("harness.rewriting") / "prompts" / f"{style}.txt").read_text("utf-8")
    assert rewriter.describe() == {
        "model": "some/model",
        "url": server.url,
        "style": style,
        "prompt_sha256": hashlib.sha256(template.encode()).hexdigest(),
        "join": "append",
        "temperature": 0.0,
        "max_tokens": 512,
    }


def test_styles_differ():
    made = [REWRITERS.create(f"chat:m,url=http://h,style={s}") for s in ("answer", "document")]
    one, other = (rewriter.describe()["prompt_sha256"] for rewriter in made)
    assert one != other


def test_whatever_decides_an_answer_is_asked_anew(asking, server, root, tmp_path):
    (tmp_path / "other.txt").write_text("Say: {query}", "utf-8")
    different = [{}, {"temperature": 1.0}, {"max_tokens": 9}, {"prompt": tmp_path / "other.txt"}]
    same = [{"timeout": 1.0}, {"retries": 0}, {"join": "replace"}, {"concurrency": 1}]
    for params in [*different, *same]:
        asking(**params).rewrite(["one"], silent, root=root)
    assert server.asked() == ["one", "one", "one", "Say: one"]


@pytest.mark.parametrize(
    "bad",
    [
        reply("slow down", 429),
        reply("", 500),
        reply("<html>", 502),
        reply("", 503, Retry_After="soon"),
        reply("", 503, Retry_After="-9"),
        reply("", 529),
        reply("", 408),
        HANG,
        DRIBBLE,
        CLOSE,
        HALFWAY,
        reply("", 204),
        reply("no JSON"),
        reply(b"\xff\xfe"),
        reply("[" * 100_000),
        reply("null"),
        reply("[]"),
        reply("{}"),
        reply('{"choices": []}'),
        reply('{"choices": {}}'),
        reply('{"choices": [null]}'),
        reply('{"choices": [{"message": null}]}'),
        reply(completion(None)),
        reply(completion(" \n")),
        reply(completion(7)),
        reply(completion(["text"])),
        reply(completion("x" * (64 * 512 + 1))),
        reply(b'{"choices": [{"message": {"content": "\\ud800"}}]}'),
    ],
)
def test_what_may_pass_is_asked_again(asking, server, root, bad):
    server.behave(bad, GOOD)
    assert asking(join="replace").rewrite(["one"], silent, root=root).texts == ["fine"]
    assert server.asked() == ["one", "one"]
    assert kept(root) == ["fine"]


def test_an_answer_in_chunks_is_whole(asking, server, root):
    server.behave(CHUNKS)
    assert asking(join="replace").rewrite(["one"], silent, root=root).texts == ["ONE"]


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (reply("", 429), "answered 429 Too Many Requests for query 2 of 2 (attempt 3 of 3)"),
        (reply("", 500), "answered 500 Internal Server Error for query 2 of 2 (attempt 3 of 3)"),
        (reply("", 599), "answered 599 for query 2 of 2 (attempt 3 of 3)"),
        (HANG, "gave no answer within 0.15 s for query 2 of 2 (attempt 3 of 3)"),
        (DRIBBLE, "gave no whole answer within 0.15 s for query 2 of 2 (attempt 3 of 3)"),
        (CLOSE, "broke off (ProtocolError) for query 2 of 2 (attempt 3 of 3)"),
        (reply("{}"), "sent no chat completion (KeyError) for query 2 of 2 (attempt 3 of 3)"),
        (reply(completion("")), "sent an empty answer for query 2 of 2 (attempt 3 of 3)"),
        (
            reply(completion("", "length")),
            "sent an empty answer (it ended for length: raise max_tokens) for query 2 of 2 "
            "(attempt 3 of 3)",
        ),
        (
            reply(completion("x" * 40_000)),
            "sent an answer of 40000 characters, more than asked for, for query 2 of 2 "
            "(attempt 3 of 3)",
        ),
        (
            reply("", 429, Retry_After="3600"),
            "answered 429 Too Many Requests, asking to wait 3600 s, for query 2 of 2 "
            "(attempt 1 of 3)",
        ),
    ],
)
def test_hope_is_lost_in_one_line_and_what_was_answered_is_kept(asking, server, root, bad, message):
    server.behave(GOOD, otherwise=bad)
    with pytest.raises(HarnessError) as error:
        asking(concurrency=1).rewrite(["one", "two"], silent, root=root)
    assert str(error.value) == (
        f"{server.host} {message}; answers so far are kept: run it again to go on"
    )
    assert kept(root) == ["fine"]
    server.behave()
    found = asking(join="replace").rewrite(["one", "two"], silent, root=root)
    assert found.texts == ["fine", "TWO"]
    assert server.asked() == ["two"]


def test_a_reply_without_end_is_cut_off(asking, server, root, monkeypatch):
    monkeypatch.setattr(chat, "COMPLETIONS", replace(chat.COMPLETIONS, largest=1 << 20))
    server.behave(reply(b" " * (1 << 20) + completion("x")), GOOD)
    assert asking(join="replace", timeout=5).rewrite(["one"], silent, root=root).texts == ["fine"]


def test_nobody_listens(asking, server, root):
    with serving() as gone:
        url = gone.url
    with pytest.raises(HarnessError, match=r"cannot be reached for query 1 of 1"):
        asking(url=url).rewrite(["one"], silent, root=root)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (reply('{"error": {"message": "no  such\\nmodel"}}', 404),
         "answered 404 Not Found for query 1 of 1: 'no such model'"),
        (reply('{"object": "error", "message": "too long"}', 400),
         "answered 400 Bad Request for query 1 of 1: 'too long'"),
        (reply('{"detail": "Not Found"}', 404),
         "answered 404 Not Found for query 1 of 1: 'Not Found'"),
        (reply('{"detail": [{"loc": 1}]}', 409),
         "answered 409 Conflict for query 1 of 1: are url and model right?"),
        (reply("<html>", 404), "answered 404 Not Found for query 1 of 1: are url and model right?"),
        (reply("", 401),
         "answered 401 Unauthorized for query 1 of 1: name the variable of a key: "
         "api_key_env=NAME"),
        (reply("", 307, Location="http://127.0.0.1:9/v1/chat/completions"),
         "answered 307 Temporary Redirect for query 1 of 1: redirects are not followed: give "
         "the url that answers itself"),
    ],
)  # fmt: skip
def test_a_refusal_is_final(asking, server, root, bad, message):
    server.behave(otherwise=bad)
    with pytest.raises(InputError) as error:
        asking().rewrite(["one"], silent, root=root)
    assert str(error.value) == f"{server.host} {message}"
    assert len(server.seen) == 1


def test_the_key_goes_to_its_host_and_nowhere_else(asking, server, root, monkeypatch):
    monkeypatch.setenv("MY_KEY", KEY)
    with serving() as elsewhere:
        server.behave(ANSWER, reply("", 308, Location=f"{elsewhere.url}/chat/completions"))
        rewriter = asking(api_key_env="MY_KEY", concurrency=1)
        with pytest.raises(InputError, match="308 Permanent Redirect for query 2"):
            rewriter.rewrite(["one", "two"], silent, root=root)
        assert elsewhere.seen == []
    assert [headers["Authorization"] for _, headers, _ in server.seen] == [f"Bearer {KEY}"] * 2
    said = [repr(rewriter), str(rewriter.describe())]
    said += [path.read_text("utf-8") for path in root.rglob("*") if path.is_file()]
    assert len(said) == 3
    assert not [text for text in said if KEY in text]


@pytest.mark.parametrize("status", [400, 401, 403, 429])
def test_the_key_is_in_no_error_even_if_the_server_says_it(
    asking, server, root, monkeypatch, status
):
    monkeypatch.setenv("MY_KEY", KEY)
    server.behave(otherwise=reply(json.dumps({"error": {"message": f"wrong key {KEY}"}}), status))
    with pytest.raises(HarnessError) as error:
        asking(api_key_env="MY_KEY").rewrite(["one"], silent, root=root)
    assert KEY not in "".join(map(str, [error.value, error.value.__cause__, error.getrepr()]))
    said = {400: "'wrong key [key]'", 401: "the key in MY_KEY is refused"}
    assert said.get(status, str(status)) in str(error.value)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "the environment variable MY_KEY is not set"),
        ("", "the environment variable MY_KEY is not set"),
        (f"{KEY}\nX: y", "the environment variable MY_KEY holds blanks or characters no key has"),
        ("schlüssel", "the environment variable MY_KEY holds blanks or characters no key has"),
    ],
)  # fmt: skip
def test_a_key_that_cannot_be_sent(asking, server, root, monkeypatch, value, message):
    monkeypatch.delenv("MY_KEY", raising=False)
    if value is not None:
        monkeypatch.setenv("MY_KEY", value)
    with pytest.raises(InputError) as error:
        asking(api_key_env="MY_KEY").rewrite(["one"], silent, root=root)
    assert str(error.value) == message
    assert server.seen == []


def test_offline_nothing_is_asked(asking, server, root, monkeypatch):
    monkeypatch.delenv("MY_KEY", raising=False)
    asking().rewrite(["one", "two"], silent, root=root)
    server.behave()
    offline = asking(offline=True, api_key_env="MY_KEY")
    assert offline.rewrite(["two", "one"], silent, root=root).texts == ["two TWO", "one ONE"]
    with pytest.raises(InputError) as error:
        offline.rewrite(["two", "one", "three", "three", "four"], silent, root=root)
    assert str(error.value) == (
        "chat: 2 of 4 different queries have no kept answer, the first is query 3 of 5: "
        "run it once without offline=true"
    )
    assert server.seen == []


@pytest.mark.parametrize(
    "damage", ["", "{", "[]", "{}", '{"asked": {}, "answer": "x"}', '{"answer": "x"}']
)
def test_a_damaged_answer_is_asked_for_again(asking, server, root, damage):
    for _ in range(2):
        assert asking().rewrite(["one"], silent, root=root).texts == ["one ONE"]
        (path,) = (root / "rewritings").iterdir()
        path.write_text(damage, "utf-8")
    assert server.asked() == ["one", "one"]


def test_interrupted_it_keeps_what_is_answered(asking, server, root):
    def impatient(stage: str, done: int, total: int, unit: str) -> None:
        if done == 3:
            raise KeyboardInterrupt

    server.behave(ANSWER, ANSWER, ANSWER, otherwise=slow(0.3))
    texts = [f"query {i}" for i in range(30)]
    rewriter = asking(join="replace", concurrency=2, timeout=9)
    with pytest.raises(KeyboardInterrupt):
        rewriter.rewrite(texts, impatient, root=root)
    before = len(kept(root))
    assert 3 <= before == len(server.seen) < 30
    asked = server.asked()
    server.behave()
    assert rewriter.rewrite(texts, silent, root=root).texts == [text.upper() for text in texts]
    assert sorted(asked + server.asked()) == sorted(texts)


def test_one_that_is_refused_ends_the_waiting_of_others(asking, server, root):
    server.behave(otherwise=where("two", reply("", 404), reply("", 503)))
    began = time.monotonic()
    with pytest.raises(InputError, match="404 Not Found for query 2 of 2"):
        asking(backoff=30, concurrency=2).rewrite(["one", "two"], silent, root=root)
    assert time.monotonic() - began < 5


def test_where_answers_cannot_be_kept(asking, server, root):
    root.mkdir()
    (root / "rewritings").write_text("in the way", "utf-8")
    with pytest.raises(StoreError, match=r"rewritings: cannot be written: .*HARNESS_CACHE"):
        asking().rewrite(["one"], silent, root=root)


def test_the_default_store_holds_the_answers(asking, server, root, monkeypatch):
    monkeypatch.setenv("HARNESS_CACHE", str(root))
    asking().rewrite(["one"], silent)
    assert kept(root) == ["ONE"]


@pytest.mark.parametrize(
    "url",
    ["", "localhost:8000", "ftp://host/v1", "http://", "http:///v1", "http://host:x/v1",
     f"http://user:{KEY}@host/v1", f"http://host/v1?key={KEY}", f"http://host/v1#{KEY}",
     f"http://host/v1 {KEY}", f"http://host\\{KEY}", "http://[::1/v1", "http://höst/v1"],
)  # fmt: skip
def test_a_url_that_is_none_or_holds_more_is_refused_and_not_repeated(asking, url):
    with pytest.raises(InputError) as error:
        asking(url=url)
    assert str(error.value) == (
        "chat: url: expected http://host:port/v1 or https://..., without user, password or query "
        "(a key goes into an environment variable, named by api_key_env=NAME)"
    )


@pytest.mark.parametrize("name", [KEY, "hf_secret", "1KEY", "A KEY"])
def test_a_key_in_place_of_its_variable_is_refused_and_not_repeated(asking, name):
    with pytest.raises(InputError, match="expected a name like OPENAI_API_KEY") as error:
        asking(api_key_env=name)
    assert name not in str(error.value)


@pytest.mark.parametrize(
    ("param", "message"),
    [
        ("temperature=2.1", "chat: temperature=2.1: expected 0 to 2"),
        ("temperature=nan", "chat: temperature=nan: expected a finite number"),
        ("max_tokens=0", "chat: max_tokens=0: expected 1 to 1000000"),
        ("concurrency=0", "chat: concurrency=0: expected 1 to 256"),
        ("timeout=0", "chat: timeout=0.0: expected 0.01 to 3600"),
        ("timeout=inf", "chat: timeout=inf: expected a finite number"),
        ("retries=-1", "chat: retries=-1: expected 0 to 100"),
        ("backoff=61", "chat: backoff=61.0: expected 0 to 60"),
        ("join=prepend", "chat: join=prepend: expected one of append, replace"),
        ("style=poem", "chat: style=poem: expected one of answer, document, reasoning"),
    ],
)
def test_parameters_out_of_range_are_refused(param, message):
    with pytest.raises(InputError) as error:
        REWRITERS.create(f"chat:m,url=http://localhost/v1,{param}")
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read: No such file"),
        (b"\xff{query}", "byte 0 is not UTF-8: convert the file"),
        (b"no place", r"the prompt holds no \{query\}: expected it where the query goes"),
    ],
)
def test_a_prompt_that_cannot_be_used(tmp_path, content, message):
    path = tmp_path / "mine.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=message) as error:
        REWRITERS.create(f"chat:m,url=http://localhost/v1,prompt={path}")
    assert str(error.value).startswith(str(path))


def test_what_was_asked_comes_with_the_texts(asking, server, root):
    server.behave(reply("", 500))
    first = asking(price=2).rewrite(["one", "two", "one"], silent, root=root)
    assert first.usage == {"requests": 3, "retries": 1, "tokens": None, "cost_usd": None}
    again = asking(price=2).rewrite(["one", "two"], silent, root=root)
    assert again.usage == {"requests": 0, "retries": 0, "tokens": 0, "cost_usd": 0}
    told = {"choices": [{"message": {"content": "THREE"}}], "usage": {"total_tokens": 7}}
    server.behave(reply(json.dumps(told)))
    third = asking(price=2).rewrite(["three"], silent, root=root)
    assert third.usage == {"requests": 1, "retries": 0, "tokens": 7, "cost_usd": 7 * 2 / 1e6}
