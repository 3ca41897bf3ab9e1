"""A service on the loopback, in a process of its own, that answers as a script says: well or badly.

It knows chats, embeddings and rerankings in the dialects of harness.encoders.api and
harness.rerankers.api. Whoever asks is noted; `Server` writes the script and reads the notes.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock
from typing import Any
from urllib.request import Request, urlopen

Act = dict[str, Any]
ANSWER: Act = {"act": "answer"}
HANG: Act = {"act": "hang"}
DRIBBLE: Act = {"act": "dribble"}
CLOSE: Act = {"act": "close"}
HALFWAY: Act = {"act": "halfway"}
CHUNKS: Act = {"act": "chunks"}


def reply(data: bytes | str, status: int = 200, **headers: str) -> Act:
    """Answer with these bytes whatever is asked."""
    raw = data if isinstance(data, bytes) else data.encode()
    return {"act": "reply", "data": raw.decode("latin-1"), "status": status, "headers": headers}


def slow(seconds: float) -> Act:
    """A good answer after a while."""
    return {"act": "answer", "pause": seconds}


def where(word: str, then: Act, otherwise: Act = ANSWER) -> Act:
    """One act for requests with a word in them, another for all others."""
    return {"act": "where", "word": word, "then": then, "otherwise": otherwise}


def completion(content: object, finish_reason: str = "stop") -> bytes:
    message = {"role": "assistant", "content": content}
    return json.dumps({"choices": [{"message": message, "finish_reason": finish_reason}]}).encode()


def vector(text: str) -> list[float]:
    """What a text becomes."""
    return [float(len(text)), float(sum(map(ord, text)) % 101), 0.1]


def tokens(texts: list[str]) -> int:
    """Words."""
    return sum(len(text.split()) for text in texts)


def overlap(query: str, text: str) -> float:
    """The score of a document: words that it shares with the query, and a bit for its length."""
    return len(set(query.split()) & set(text.split())) + len(text) / 1024


def embeddings(vectors: list[object], **usage: int) -> bytes:
    """OpenAI's reply, the last vector first."""
    data = [{"index": i, "embedding": value} for i, value in enumerate(vectors)]
    return json.dumps({"data": data[::-1], "usage": usage}).encode()


def good(path: str, body: dict[str, Any]) -> tuple[bytes, dict[str, str]]:
    """The answer of a well-behaved service, and its headers."""
    if path.endswith("/chat/completions"):
        return completion(body["messages"][0]["content"].upper()), {}
    if path.endswith("/embeddings"):
        texts, n = body["input"], tokens(body["input"])
        return embeddings([vector(text) for text in texts], prompt_tokens=n, total_tokens=n), {}
    if path.endswith("/embed") and "inputs" in body:
        counted = {"x-compute-tokens": str(tokens(body["inputs"]))}
        return json.dumps([vector(text) for text in body["inputs"]]).encode(), counted
    if path.endswith("/embed"):
        floats = {"float": [vector(text) for text in body["texts"]]}
        billed = {"billed_units": {"input_tokens": tokens(body["texts"])}}
        return json.dumps({"embeddings": floats, "meta": billed}).encode(), {}
    if path.endswith("/search"):  # documents are called as the words of the query, the longest best
        words = [dict.fromkeys(query.split()) for query in body["queries"]]
        lists = [[{"id": word, "score": len(word)} for word in each] for each in words]
        return json.dumps({"results": lists}).encode(), {}
    assert path.endswith("/rerank")
    texts = body["texts"] if "texts" in body else body["documents"]
    name = "score" if "texts" in body else "relevance_score"
    items = [{"index": i, name: overlap(body["query"], text)} for i, text in enumerate(texts)]
    items.sort(key=lambda item: -item[name])
    if "texts" in body:
        return json.dumps(items).encode(), {"x-compute-tokens": str(tokens(texts))}
    return json.dumps({"results": items, "usage": {"total_tokens": tokens(texts)}}).encode(), {}


class Handler(BaseHTTPRequestHandler):
    """One connection; the server's `script` says what is done with the first requests."""

    protocol_version = "HTTP/1.1"
    lock = Lock()
    script: list[Act]
    otherwise: Act
    seen: list[tuple[str, dict[str, str], dict[str, Any]]]

    def do_GET(self) -> None:
        self.send(200, json.dumps(Handler.seen).encode())

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/script":
            with self.lock:
                Handler.script, Handler.otherwise, Handler.seen = *body, []
            self.send(200, b"")
            return
        with self.lock:
            Handler.seen.append((self.path, dict(self.headers), body))
            act = Handler.script.pop(0) if Handler.script else Handler.otherwise
        self.do(act, body)

    def do(self, act: Act, body: dict[str, Any]) -> None:
        what = act["act"]
        if what == "where":
            self.do(act["then" if act["word"] in json.dumps(body) else "otherwise"], body)
        elif what == "reply":
            self.send(act["status"], act["data"].encode("latin-1"), act["headers"])
        elif what == "answer":
            time.sleep(act.get("pause", 0))
            self.send(200, *good(self.path, body))
        elif what == "hang":  # answers too late
            time.sleep(0.4)
            self.close_connection = True
        elif what == "close":  # without a word
            self.close_connection = True
        elif what == "halfway":  # hangs up in the middle of an answer
            self.begin("Content-Length", "1000")
            self.wfile.write(good(self.path, body)[0][:20])
            self.close_connection = True
        elif what == "dribble":  # a byte from time to time, each well within the time-out
            self.begin("Content-Length", "1000")
            for _ in range(20):
                self.wfile.write(b" ")
                time.sleep(0.05)
        else:
            self.begin("Transfer-Encoding", "chunked")
            data = good(self.path, body)[0]
            for part in (data[:10], data[10:], b""):
                self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))

    def begin(self, name: str, value: str) -> None:
        self.send_response(200)
        self.send_header(name, value)
        self.end_headers()

    def send(self, status: int, data: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def handle(self) -> None:
        try:
            super().handle()
        except OSError:  # the client is gone, as it may
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Server:
    """The process as a test sees it. url: up to /v1."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.url = f"{root}/v1"
        self.host = root.removeprefix("http://")
        self.behave()

    def behave(self, *script: Act, otherwise: Act = ANSWER) -> None:
        """Script: what is done with the next requests; otherwise: with those after. Notes go."""
        body = json.dumps([script, otherwise]).encode()
        urlopen(Request(f"{self.root}/script", body)).close()

    @property
    def seen(self) -> list[tuple[str, dict[str, str], dict[str, Any]]]:
        """Path, headers and body of each request."""
        with urlopen(self.root) as found:
            notes: list[tuple[str, dict[str, str], dict[str, Any]]] = json.load(found)
        return notes

    def asked(self) -> list[str]:
        """Prompts of chats, or texts, in the order of requests."""
        names = ("input", "inputs", "texts", "documents")
        bodies = [body for _, _, body in self.seen]
        return [
            text
            for body in bodies
            for text in next(
                (body[name] for name in names if name in body),
                [message["content"] for message in body.get("messages", [])],
            )
        ]


@contextmanager
def serving() -> Iterator[Server]:
    """A server on a free port of the loopback."""
    process = subprocess.Popen([sys.executable, __file__], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield Server(process.stdout.readline().strip())
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


if __name__ == "__main__":
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        http.daemon_threads = True
        sys.stdout.write(f"http://127.0.0.1:{http.server_port}\n")
        sys.stdout.flush()
        http.serve_forever()
