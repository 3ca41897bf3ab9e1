"""A chat endpoint on the loopback that answers as a script says, well or badly."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any


class Handler(BaseHTTPRequestHandler):
    """One connection; `server.chat` is the script."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        chat: Server = self.server.chat  # type: ignore[attr-defined]
        with chat.lock:
            chat.seen.append((self.path, dict(self.headers), body))
            act = chat.script.pop(0) if chat.script else chat.otherwise
        act(self, body)

    def send(self, status: int, data: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


Act = Callable[[Handler, dict[str, Any]], None]


def completion(content: object, finish_reason: str = "stop") -> bytes:
    message = {"role": "assistant", "content": content}
    return json.dumps({"choices": [{"message": message, "finish_reason": finish_reason}]}).encode()


def upper(handler: Handler, body: dict[str, Any]) -> None:
    """Answer with the prompt in capitals."""
    handler.send(200, completion(body["messages"][0]["content"].upper()))


def reply(data: bytes | str, status: int = 200, **headers: str) -> Act:
    """Answer with these bytes whatever is asked."""
    raw = data if isinstance(data, bytes) else data.encode()
    return lambda handler, body: handler.send(status, raw, **headers)


def hang(handler: Handler, body: dict[str, Any]) -> None:
    """Answer too late."""
    time.sleep(0.4)
    handler.close_connection = True


def dribble(handler: Handler, body: dict[str, Any]) -> None:
    """Send a byte from time to time, each well within the time-out."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    try:
        for _ in range(20):
            handler.wfile.write(b" ")
            time.sleep(0.05)
    except OSError:  # the client is gone, as it should be
        handler.close_connection = True


def close(handler: Handler, body: dict[str, Any]) -> None:
    """Hang up without a word."""
    handler.close_connection = True


def stop_halfway(handler: Handler, body: dict[str, Any]) -> None:
    """Hang up in the middle of an answer."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(completion("half"))
    handler.close_connection = True


def in_chunks(handler: Handler, body: dict[str, Any]) -> None:
    """A good answer in chunked transfer encoding."""
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    data = completion("in chunks")
    for part in (data[:10], data[10:], b""):
        handler.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))


@dataclass
class Server:
    """script: what is done with the first requests; otherwise: with all further ones."""

    url: str
    otherwise: Act = upper
    script: list[Act] = field(default_factory=list)
    seen: list[tuple[str, dict[str, str], dict[str, Any]]] = field(default_factory=list)
    lock: Lock = field(default_factory=Lock)

    def asked(self) -> list[str]:
        """Prompts, in the order of requests."""
        return [body["messages"][0]["content"] for _, _, body in self.seen]


@contextmanager
def serving() -> Iterator[Server]:
    """A server on a free port of the loopback."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        http.daemon_threads = True
        http.chat = Server(f"http://127.0.0.1:{http.server_port}/v1")  # type: ignore[attr-defined]
        thread = Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield http.chat  # type: ignore[attr-defined]
        finally:
            http.shutdown()
            thread.join()
