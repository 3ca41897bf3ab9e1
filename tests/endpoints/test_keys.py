"""A key is in nothing that is printed or kept, whatever a server makes of it and wherever it is."""

from __future__ import annotations

import base64
import json

import pytest

from tests.fakes import beir
from tests.server import completion, reply

KEY = "aB3dE-fG7hIjK1lM-nO5pQrS9tU"
PARTS = {KEY[i : i + 8] for i in range(len(KEY) - 7)}
ENCODED = base64.b64encode(KEY.encode()).decode()
SYSTEMS = {
    "embeddings": ["-m", "api:m,url={url},api_key_env=MY_KEY"],
    "tei": ["-m", "api:m,url={root},dialect=tei,api_key_env=MY_KEY"],
    "cohere": ["-m", "api:m,url={root},dialect=cohere,api_key_env=MY_KEY"],
    "rerank": ["-m", "rerank:[api:m,url={url},api_key_env=MY_KEY],first=bm25"],
    "chat": ["-m", "bm25", "-r", "chat:m,url={url},api_key_env=MY_KEY"],
    "search": ["-m", "search:{url}/search,api_key_env=MY_KEY"],
}
ECHOES = {
    "index": {"data": [{"index": KEY, "embedding": [1.0], "relevance_score": 1.0}]},
    "pieces": {"data": [{"index": [KEY[:9], KEY[9:18], KEY[18:]], "embedding": [1.0]}]},
    "results": {"results": [{"index": KEY, "relevance_score": 1.0}]},
    "hits": {"results": [[{"id": KEY, "score": KEY}]]},
    "error": {"error": {"message": f"no {KEY}, {' '.join(KEY)}, {ENCODED}, {KEY[4:15]}"}},
    "answer": json.loads(completion(f"the key is {KEY}, or {' '.join(KEY)}")),
}


@pytest.fixture
def data(tmp_path):
    """A collection of two documents and one query."""
    beir(tmp_path / "data", {"d1": "one", "d2": "two"}, {"q1": "one"}, [("q1", "d1", 1)])
    return f"folder:{tmp_path / 'data'}"


def check(done, folder) -> None:
    """No part of the key was printed or is in a file."""
    kept = [p.read_text("utf-8", "replace") for p in folder.rglob("*") if p.is_file()]
    for text in (done.out, done.err, *kept, *map(str, folder.rglob("*"))):
        bare = "".join(filter(str.isalnum, text))
        assert not [part for part in PARTS if part in text or (part.isalnum() and part in bare)]
        assert ENCODED[4:20] not in text


@pytest.mark.parametrize("echo", ECHOES)
@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("status", [200, 400])
def test_what_a_server_repeats(run, server, data, tmp_path, monkeypatch, system, echo, status):
    monkeypatch.setenv("MY_KEY", KEY)
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    server.behave(otherwise=reply(json.dumps(ECHOES[echo]), status))
    words = [word.format(url=server.url, root=server.root) for word in SYSTEMS[system]]
    words = [word.replace(",api_key_env", ",retries=0,backoff=0,api_key_env") for word in words]
    if system == "search":
        words = [word.replace(",backoff=0", "") for word in words]
    done = run("eval", *words, "-t", data, "-o", "records")
    check(done, tmp_path)
    if done.status == 0:
        check(run("show", "records", "--json"), tmp_path)
        check(run("leaderboard", "records", "--html", "board.html"), tmp_path)
        assert (system, echo) == ("chat", "answer")


@pytest.mark.parametrize(
    "system",
    [
        f"api:m,url=http://user:{KEY}@127.0.0.1:9/v1",
        f"api:m,url=http://{KEY}@127.0.0.1:9/v1",
        f"api:m,url=http://127.0.0.1:9/v1?api_key={KEY}",
        f"api:m,url=http://127.0.0.1:9/v1,key_variable={KEY}",
        f"api:m,url=http://127.0.0.1:9/v1,api_key_env={KEY}",
        f"api:m,url=http://127.0.0.1:9/v1,api_key={KEY}",
        f"api:sk-{KEY},url=http://127.0.0.1:9/v1",
        f"api:m,url=sk-{KEY}",
        f"api:m,url=http://127.0.0.1:9/sk-{KEY}",
        f"search:http://user:{KEY}@127.0.0.1:9/search",
        f"rerank:[api:m,url=http://user:{KEY}@127.0.0.1:9],first=bm25",
    ],
)
def test_a_key_in_the_wrong_place(run, data, tmp_path, monkeypatch, system):
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    for words in (
        ["eval", "-m", system],
        ["eval", "-m", system, "-m", "bm25"],
        ["study", "funnel", "-m", system],
        ["leaderboard", "-m", system],
    ):
        done = run(*words, "-t", data, "-o", "kept")
        assert done.status in (1, 2)
        assert "key" in done.err
        check(done, tmp_path)
