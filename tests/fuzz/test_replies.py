"""Replies of endpoints: vectors, scores, answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.encoders.api import api as encoder
from harness.encoders.dialects import RequestOptions
from harness.endpoints.options import EndpointOptions
from harness.endpoints.service import Line
from harness.rerankers.api import api as reranker
from harness.rewriting import REWRITERS
from harness.spec import parse
from tests.fuzz.frame import Reader, fuzz
from tests.fuzz.mutations import DEEP

HERE = EndpointOptions(url="http://127.0.0.1:9/v1", retries=0)
TEXTS = ["a", "b"]


@dataclass
class Server:
    """What answers every question alike. status: of the answer."""

    data: bytes
    status: int = HTTPStatus.OK
    headers: dict[str, str] = field(default_factory=dict)

    def request(self, *_: object, **__: object) -> Server:
        self.body = BytesIO(self.data)
        return self

    def read1(self, size: int, **_: object) -> bytes:
        return self.body.read1(size)

    def close(self) -> None:
        """Close nothing."""


def _read_vectors(dialect: Any, _: Path, data: bytes) -> object:
    model = encoder("m", endpoint=HERE, request=RequestOptions(dialect))
    values, tokens = model._ask(Line(model.endpoint, Server(data)), TEXTS, "query")
    return values.tolist(), tokens


def _read_scores(dialect: Any, _: Path, data: bytes) -> object:
    model = reranker("m", endpoint=HERE, dialect=dialect)
    return list(model._ask(Line(model.endpoint, Server(data)), "q", TEXTS).values())


def _read_refusal(_: Path, data: bytes) -> object:
    model = encoder("m", endpoint=HERE)
    line = Line(model.endpoint, Server(data, HTTPStatus.BAD_REQUEST))
    return model._ask(line, TEXTS, "query")


def _read_answer(_: Path, data: bytes) -> object:
    chat = REWRITERS.create(parse("chat:m,url=http://127.0.0.1:9/v1,retries=0"))
    line = Line(chat.endpoint, Server(data))
    return line.ask({}, "query 1", lambda found, _: chat._answer(found))


def _numbers(rows: Any) -> object:
    return np.array(rows, np.float32).tolist()


def _by_index(items: list[Any], name: str) -> object:
    assert sorted(item["index"] for item in items) == [0, 1]
    return _numbers([item[name] for item in sorted(items, key=lambda item: item["index"])])


def _tokens(count: Any) -> int | None:
    return int(count) if str(count).isdecimal() and len(str(count)) <= 18 else None


def _expect_openai(found: Any) -> object:
    usage = found.get("usage") or {}
    tokens = usage.get("prompt_tokens", usage.get("total_tokens"))
    return _by_index(found["data"], "embedding"), _tokens(tokens)


def _expect_cohere(found: Any) -> object:
    tokens = ((found.get("meta") or {}).get("billed_units") or {}).get("input_tokens")
    return _numbers(found["embeddings"]["float"]), _tokens(tokens)


OPENAI = {
    "data": [{"index": 1, "embedding": [1, 2.5]}, {"index": 0, "embedding": [0.5, -3]}],
    "usage": {"prompt_tokens": 7},
}
COHERE = {
    "embeddings": {"float": [[1, 2.5], [0.5, -3]]},
    "meta": {"billed_units": {"input_tokens": 7}},
}
RANKED = {"results": [{"index": 1, "relevance_score": 0.5}, {"index": 0, "relevance_score": 2}]}
CHAT = {"choices": [{"message": {"content": "pears"}, "finish_reason": "stop"}]}
NO_REPLY = (b"", b"[" * DEEP, b"null", b"\xff")


def _reader(name: str, read: Any, expect: Callable[[Any], object], seed: Any) -> Reader:
    return Reader(
        name, read, lambda data: expect(json.loads(data)), (json.dumps(seed).encode(),), NO_REPLY
    )


READERS = [
    _reader("openai", partial(_read_vectors, "openai"), _expect_openai, OPENAI),
    _reader("cohere", partial(_read_vectors, "cohere"), _expect_cohere, COHERE),
    _reader("tei", partial(_read_vectors, "tei"), lambda found: (_numbers(found), None),
            [[1, 2.5], [0.5, -3]]),
    _reader("rerank", partial(_read_scores, "cohere"),
            lambda found: _by_index(found.get("results", found.get("data")), "relevance_score"),
            RANKED),
    _reader("rerank tei", partial(_read_scores, "tei"), lambda found: _by_index(found, "score"),
            [{"index": 1, "score": 0.5}, {"index": 0, "score": 2}]),
    _reader("chat", _read_answer, lambda found: found["choices"][0]["message"]["content"].strip(),
            CHAT),
    Reader("refusal", _read_refusal, lambda _: None, (),
           (b'{"error": {"message": "no"}}', *NO_REPLY)),
]  # fmt: skip


@pytest.mark.parametrize("reader", READERS, ids=str)
def test_replies(reader, tmp_path):
    fuzz(reader, tmp_path)
