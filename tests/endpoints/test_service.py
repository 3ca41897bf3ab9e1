"""Asking a service over HTTP: how long, how often, how much at once, and what it cost.

How single replies are judged is tested where they are used: tests/rewriting/test_chat.py,
tests/encoders/test_api.py, tests/rerankers/test_api.py.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from email.utils import formatdate
from threading import Event

import pytest
from urllib3 import PoolManager

from harness.endpoints import service as endpoint
from harness.endpoints.options import EndpointOptions
from harness.endpoints.service import (
    Endpoint,
    Line,
    RefusedError,
    Service,
    Tally,
    name_texts,
    read_count,
)
from harness.endpoints.usage import known_usage, sum_usage
from harness.errors import EncodingError, HarnessError, InputError
from harness.parameters import check_range
from tests.server import reply, slow, where

TEST = Service("test", "/embed", "vectors")


def point(url: str, **options: object) -> Endpoint:
    return Endpoint(TEST, EndpointOptions(url=url, **options))


def ask(line: Line, text: str) -> Iterator[list[float]]:
    yield line.ask({"inputs": [text]}, name_texts([text]), lambda found, _: found[0])


class Recorded(Event):
    """An event that is never set and notes for how long it was waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[float | None] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.waits.append(timeout)
        return False


# -- one question ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("1", 1.0), (" 7 ", 7.0), ("", 0.0), ("soon", 0.0), ("-1", 0.0), ("9" * 5000, 0.0),
     (formatdate(0, usegmt=True), 0.0)],
)  # fmt: skip
def test_how_retry_after_is_read(value, seconds):
    assert endpoint._retry_after(value) == seconds


def test_retry_after_may_be_a_date():
    wait_s = endpoint._retry_after(formatdate(time.time() + 90, usegmt=True))
    assert 85 < wait_s <= 90


def test_pauses_double_and_retry_after_lengthens_them(server):
    server.behave(
        reply("", 500),
        reply("", 429, Retry_After="7"),
        reply("", 500),
        reply("", 424),
        reply("", 500, Retry_After="1"),
    )
    asked, waits = point(server.url, backoff=0.5), Recorded()
    with PoolManager() as http:
        line = Line(asked, http, waits)
        assert next(ask(line, "ab"))[0] == 2
    assert waits.waits == [0.5, 7.0, 2.0, 4.0, 8.0]
    assert line.tally.take() == {"requests": 6, "retries": 5, "tokens": 0}


def test_a_pause_really_is_one(server):
    server.behave(reply("", 429, Retry_After="1"))
    began = time.monotonic()
    [(found, _)] = point(server.url, backoff=0).each(["a"], ask)
    assert found == [1.0, 97.0, 0.1]
    assert 1 <= time.monotonic() - began < 3


def test_who_asks_is_named():
    for wrong in ({"url": "nowhere"}, {"timeout": 0}, {"api_key_env": "sk-secret"}):
        with pytest.raises(InputError, match=r"^test: "):
            point(**{"url": "http://localhost", **wrong})


# -- many ------------------------------------------------------------------------------------------


def test_each_item_is_asked_for_once_and_all_come_back(server):
    texts = [f"text {i}" for i in range(40)]
    found = list(point(server.url, concurrency=3).each(texts, ask))
    assert sorted(server.asked()) == sorted(texts)
    assert sorted(row[0] for row, _ in found) == sorted(float(len(text)) for text in texts)


def test_no_item():
    assert list(point("http://127.0.0.1:9").each([], ask)) == []


def test_requests_run_at_the_same_time(server):
    server.behave(otherwise=slow(0.2))
    began = time.monotonic()
    assert len(list(point(server.url, concurrency=8).each("abcdefgh", ask))) == 8
    assert time.monotonic() - began < 0.8  # one after the other: 1.6


def test_where_one_fails_those_under_way_are_yielded_first(server):
    server.behave(otherwise=where("bad", reply("", 404), slow(0.2)))
    running = point(server.url, concurrency=2).each(["good", "bad", *"abcdefgh"], ask)
    assert next(running)[0][0] == 4
    with pytest.raises(RefusedError, match="404 Not Found for the text 'bad'"):
        next(running)
    assert sorted(server.asked()) == ["bad", "good"]


def test_the_error_that_stops_the_others_is_told_and_not_theirs():
    def cause(line: Line, text: str) -> Iterator[str]:
        if text == "waiting":
            line.stop.wait()
        raise HarnessError(text)
        yield

    for _ in range(20):
        with pytest.raises(HarnessError, match="cause"):
            list(point("http://h", concurrency=2).each(["waiting", "cause"], cause))


def test_a_caller_who_leaves_ends_the_asking(server):
    server.behave(otherwise=slow(0.05))
    threads = threading.active_count()
    running = point(server.url, concurrency=2).each(map(str, range(1000)), ask)
    next(running)
    running.close()
    before = len(server.seen)
    assert before <= 6
    time.sleep(0.1)
    assert len(server.seen) == before
    assert threading.active_count() == threads


def test_what_precedes_an_error_within_an_item_is_yielded(server):
    def two(line: Line, text: str) -> Iterator[str]:
        yield text
        raise HarnessError("and no more")

    running = point(server.url).each(["first"], two)
    assert next(running)[0] == "first"
    with pytest.raises(HarnessError, match="and no more"):
        next(running)


# -- halves ----------------------------------------------------------------------------------------


def halving(server, limit: int, n: int = 10, status: int = 413):
    """Ask for n rows of an endpoint that takes `limit` at a time."""
    service, asked = point(server.url), []

    def rows(part: slice) -> slice:
        asked.append(part.stop - part.start)
        if asked[-1] > limit:
            raise RefusedError("too much", status)
        return part

    with PoolManager() as http:
        return list(Line(service, http).parts(slice(0, n), rows)), asked


def test_a_batch_that_is_too_large_is_halved(server):
    found, asked = halving(server, limit=3)
    assert [row for part in found for row in range(part.start, part.stop)] == list(range(10))
    assert asked == [10, 5, 2, 3, 5, 2, 3]


@pytest.mark.parametrize("status", [401, 404])
def test_another_refusal_concerns_all(server, status):
    with pytest.raises(RefusedError, match="too much"):
        halving(server, limit=3, status=status)


def test_what_is_refused_in_the_end_is_one_row(server):
    with pytest.raises(RefusedError, match="too much"):
        halving(server, limit=0, n=4)


# -- what was spent --------------------------------------------------------------------------------


def test_tokens_have_a_price():
    dear, tally = point("http://localhost", price=0.5), Tally()
    assert dear.no_usage == {"requests": 0, "retries": 0, "tokens": 0, "cost_usd": 0.0}
    tally.add(requests=2, tokens=3_000_000)
    first = dear.add_cost(tally.take())
    assert first == {"requests": 2, "retries": 0, "tokens": 3_000_000, "cost_usd": 1.5}
    tally.add(tokens=None, searches=7)
    second = dear.add_cost(tally.take())
    assert second == {
        "requests": 0, "retries": 0, "tokens": None, "cost_usd": None, "searches": 7,
    }  # fmt: skip
    both = sum_usage([dear.no_usage, first, second])
    assert known_usage(both) == {"requests": 2, "retries": 0, "searches": 7}


@pytest.mark.parametrize(
    ("value", "count"),
    [(7, 7), ("12", 12), (0, 0), (None, None), (-1, None), (1.5, None), (True, None), ("x", None),
     ("9" * 19, None)],
)  # fmt: skip
def test_what_counts_as_a_count(value, count):
    assert read_count(value) == count


# -- replies ---------------------------------------------------------------------------------------


def test_items_are_put_into_the_order_of_their_index():
    host = point("http://host:8")
    items = [{"index": 2, "v": "c"}, {"index": 0, "v": "a"}, {"index": 1, "v": "b"}]
    assert [item["v"] for item in host.in_order(items, 3, "vectors")] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("indices", "message"),
    [
        ([0, 1], "host:8 sent 2 vectors for 3 texts: expected one for each"),
        ([0, 1, 2, 3], "host:8 sent 4 vectors for 3 texts: expected one for each"),
        ([0, 1, 1], "host:8 sent vectors with the indices [0, 1, 1]: expected each of 0 to 2 once"),
        ([0, 1, 3], "host:8 sent vectors with the indices [0, 1, 3]: expected each of 0 to 2 once"),
        ([0, None, 2],
         "host:8 sent vectors with the indices [0, None, 2]: expected each of 0 to 2 once"),
    ],
)  # fmt: skip
def test_indices_that_are_not_one_for_each(indices, message):
    with pytest.raises(EncodingError) as error:
        point("http://host:8").in_order([{"index": i} for i in indices], 3, "vectors")
    assert str(error.value) == message


def test_texts_are_named_by_their_beginning():
    assert name_texts(["a" * 1234]) == f"the text '{'a' * 40}' (1,234 characters)"
    assert name_texts(["one", "two"]) == "2 texts, the first 'one' (3 characters)"


def test_a_range_is_named():
    check_range("test", x=(1, 1, 2))
    with pytest.raises(InputError) as error:
        check_range("test", x=(float("nan"), 1, 2))
    assert str(error.value) == "test: x=nan: expected 1 to 2"
