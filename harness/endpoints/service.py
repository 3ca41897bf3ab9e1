"""JSON asked of a service over HTTP, again where that may help: chats, embeddings, rerankings.

Asked again: 408, 424, 425, 429 and 5xx, time-outs, broken connections, and replies that hold no
answer; after a pause that doubles, or as long as Retry-After says. Any other refusal is final. A
redirect is never followed and no proxy of the environment is used, so a key reaches only the host
it is for. What was spent comes with what is answered.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from itertools import islice
from threading import Event
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

import numpy as np

from harness.arrays import Float32
from harness.endpoints.options import EndpointOptions
from harness.endpoints.usage import Usage, sum_usage
from harness.errors import EncodingError, HarnessError, InputError
from harness.masking import MASK, mask, remember
from harness.wording import count

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse, PoolManager

T = TypeVar("T")
Item = TypeVar("Item")

PATIENCE_S = 120.0  # a server that asks to wait longer is not waited for
AGAIN = {408, 424, 425, 429}  # 424: what serves the model failed behind the server
TOO_MUCH = {400, 413, 422}  # what servers say to a text or a batch that is too long
CUT = "long texts are cut by the endpoint, which does not tell which: none is counted"
NONSENSE = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError)


class UnansweredError(Exception):
    """One attempt that brought no answer; wait_s: what the server asks to wait before the next."""

    def __init__(self, what: str, wait_s: float = 0.0) -> None:
        super().__init__(what)
        self.wait_s = wait_s


class RefusedError(InputError):
    """A request that it is of no use to repeat; status: the server's."""

    def __init__(self, what: str, status: int) -> None:
        super().__init__(what)
        self.status = status


@dataclass(frozen=True)
class Service:
    """What is asked for.

    noun: how errors call the asker; path: below the url; answer: what a reply holds, for people;
    largest: bytes of a reply; kept: whether answers outlive an error.
    """

    noun: str
    path: str
    answer: str
    largest: int = 1 << 22
    kept: bool = True


@dataclass(frozen=True)
class Endpoint:
    """A service that is asked.

    Attributes:
        service: What is asked for.
        options: Where, how patiently, and what it costs.

    Raises:
        InputError: A value is out of range, or a url or api_key_env may hold a secret.
    """

    service: Service
    options: EndpointOptions

    def __post_init__(self) -> None:
        self.options.check(self.service.noun)

    @property
    def url(self) -> str:
        """Up to the service's path."""
        return self.options.url

    @property
    def host(self) -> str:
        """Host and port."""
        return urlsplit(self.url).netloc

    @property
    def no_usage(self) -> Usage:
        """The usage of a call that asks for nothing: its names, with zeros."""
        return self.add_cost({"requests": 0, "retries": 0, "tokens": 0})

    def add_cost(self, usage: Usage) -> Usage:
        """Add cost_usd to a usage, where a price is known; not known where tokens are not."""
        price, tokens = self.options.price, usage.get("tokens", 0)
        if price is None:
            return usage
        return {**usage, "cost_usd": None if tokens is None else tokens * price / 1e6}

    def key(self) -> str:
        """Read the key, empty for none. Raises InputError where its variable holds none."""
        name = self.options.api_key_env
        key = os.environ.get(name, "") if name else ""
        remember(key)
        if name and not re.fullmatch("[!-~]+", key):
            what = "holds blanks or characters no key has" if key else "is not set"
            raise InputError(f"the environment variable {name} {what}")
        return key

    def each(
        self, items: Iterable[Item], ask: Callable[[Line, Item], Iterator[T]]
    ) -> Iterator[tuple[T, Usage]]:
        """Ask for items, `concurrency` at the same time.

        Where one fails, no other is begun, those under way end and are yielded, and its error is
        raised. Where the caller stops early, those under way end too.

        Args:
            items: What is asked about.
            ask: Asks for one item, over the line that it is given.

        Yields:
            What comes, in any order, and what was used for it: requests, retries, tokens (None
            where a reply does not tell), searches where they are billed, cost in USD.
        """
        from urllib3 import PoolManager

        key, limit = self.key(), self.options.concurrency
        headers = {"Authorization": f"Bearer {key}"} if key else None
        left = iter(items)
        running: dict[Future[None], list[tuple[T, Usage]]] = {}
        pools = PoolManager(maxsize=limit, headers=headers), ThreadPoolExecutor(limit)
        with pools[0] as http, pools[1] as pool:
            line = Line(self, http)
            try:
                while True:
                    if not line.failures:  # twice as many, so that none waits for the caller
                        for item in islice(left, 2 * limit - len(running)):
                            found: list[tuple[T, Usage]] = []
                            running[pool.submit(_collect, line, ask, item, found)] = found
                    if not running:
                        break
                    for future in wait(running, return_when=FIRST_COMPLETED).done:
                        yield from running.pop(future)
            finally:
                line.stop.set()
                pool.shutdown(cancel_futures=True)
        if line.failures:
            raise line.failures[0]

    def in_order(self, items: list[Any], n: int, noun: str) -> list[Any]:
        """Items of a reply in the order of what was asked for, by their `index`.

        Raises EncodingError where they are not one for each of n.
        """
        self.one_each(len(items), n, noun)
        index = [item.get("index") for item in items]
        if set(index) != set(range(n)):
            raise EncodingError(
                f"{self.host} sent {noun} with the indices {mask(str(index))[:60]}: expected each "
                f"of 0 to {n - 1} once"
            )
        return [item for _, item in sorted(zip(index, items, strict=True), key=lambda row: row[0])]

    def all_finite(self, values: Float32, texts: Sequence[str]) -> None:
        """Raise EncodingError where a reply's numbers for a text, [n] or [n, d], are not finite."""
        finite = np.isfinite(values).reshape(len(values), -1).all(axis=1)
        if not finite.all():
            text = texts[int(finite.argmin())]
            raise EncodingError(f"{self.host} sent NaN, infinity or null for {name_texts([text])}")

    def one_each(self, found: int, n: int, noun: str) -> None:
        """Raise EncodingError where a reply does not hold one item for each of n texts."""
        if found != n:
            raise EncodingError(
                f"{self.host} sent {found} {noun} for {count(n, 'text')}: expected one for each"
            )


class Tally:
    """What was used for one item so far, since it was last taken."""

    def __init__(self) -> None:
        self._amounts: dict[str, float | None] = {}

    def add(self, **amounts: int | None) -> None:
        """Count what was used, by name; tokens=None where a reply does not tell."""
        self._amounts = sum_usage([self._amounts, amounts])

    def take(self) -> Usage:
        """Give what was counted, and begin anew."""
        taken, self._amounts = {"requests": 0, "retries": 0, "tokens": 0, **self._amounts}, {}
        return taken


@dataclass(frozen=True)
class Line:
    """Connections to an endpoint, in use.

    Attributes:
        endpoint: What is asked.
        http: The connections.
        stop: Set when no more shall be asked.
        failures: What made it so comes first.
        tally: What was used for one item.
    """

    endpoint: Endpoint
    http: PoolManager
    stop: Event = field(default_factory=Event)
    failures: list[BaseException] = field(default_factory=list)
    tally: Tally = field(default_factory=Tally)

    def ask(
        self, body: Mapping[str, Any], label: str, read: Callable[[Any, Mapping[str, str]], T]
    ) -> T:
        """What `read` makes of a reply's JSON and headers. label: what people call the question.

        read: raises UnansweredError, or whatever nonsense makes it raise, where asking again may
        help. Raises InputError where the endpoint refuses the question, and HarnessError where it
        has not answered after all retries; both name host, status and label.
        """
        point, options = self.endpoint, self.endpoint.options
        for attempt in range(options.retries + 1):
            self.tally.add(requests=1, retries=min(attempt, 1))
            try:
                return self._attempt(body, label, read)
            except UnansweredError as error:
                failure = error
            wait_s = max(failure.wait_s, min(options.backoff * 2.0**attempt, PATIENCE_S))
            if attempt == options.retries or wait_s > PATIENCE_S or self.stop.wait(wait_s):
                break
        kept = "answers so far are kept: run it again to go on"
        again = kept if point.service.kept else "no answer is kept: run it again from the start"
        raise HarnessError(
            f"{point.host} {failure} for {label} (attempt {attempt + 1} of {options.retries + 1}); "
            f"{again}"
        )

    def parts(self, rows: slice, ask: Callable[[slice], T]) -> Iterator[T]:
        """What is answered to rows asked for together; of refused ones to each half, and so on.

        So a batch that is too large gets smaller, and an error names one row. Raises what ask does.
        """
        try:
            answer = ask(rows)
        except RefusedError as error:
            if rows.stop - rows.start == 1 or error.status not in TOO_MUCH:
                raise
        else:
            yield answer
            return
        middle = (rows.start + rows.stop) // 2
        for half in (slice(rows.start, middle), slice(middle, rows.stop)):
            if not self.stop.is_set():
                yield from self.parts(half, ask)

    def _attempt(
        self, body: Mapping[str, Any], label: str, read: Callable[[Any, Mapping[str, str]], T]
    ) -> T:
        """Ask once. Raises UnansweredError, and RefusedError where asking again is of no use."""
        from urllib3 import Timeout
        from urllib3.exceptions import HTTPError, NewConnectionError, TimeoutError

        point, patience = self.endpoint, self.endpoint.options.timeout
        try:
            response = self.http.request(
                "POST",
                point.url.rstrip("/") + point.service.path,
                json=body,
                timeout=Timeout(total=patience),
                retries=False,
                redirect=False,
                preload_content=False,
            )
            data = self._read(response)
        except NewConnectionError:
            raise UnansweredError("cannot be reached") from None
        except TimeoutError:
            raise UnansweredError(f"gave no answer within {patience:g} s") from None
        except (HTTPError, OSError) as error:
            raise UnansweredError(f"broke off ({type(error).__name__})") from None
        if response.status < HTTPStatus.MULTIPLE_CHOICES:
            try:
                return read(json.loads(data), response.headers)
            except NONSENSE as error:
                what = f"sent no {point.service.answer} ({type(error).__name__})"
                raise UnansweredError(what) from None
        said = f"answered {_name_status(response.status)}"
        if response.status in AGAIN or response.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            wait_s = _retry_after(response.headers.get("Retry-After", ""))
            asks = f", asking to wait {wait_s:.0f} s," if wait_s > PATIENCE_S else ""
            raise UnansweredError(said + asks, wait_s)
        advice = self._advice(response.status, data)
        raise RefusedError(f"{point.host} {said} for {label}: {advice}", response.status)

    def _read(self, response: BaseHTTPResponse) -> bytes:
        """The body of a reply, of bounded size, read in bounded time."""
        timeout, largest = self.endpoint.options.timeout, self.endpoint.service.largest
        deadline, data = time.monotonic() + timeout, bytearray()
        while part := response.read1(1 << 16, decode_content=False):
            data += part
            if len(data) > largest:
                response.close()
                raise UnansweredError(f"sent a reply of more than {largest >> 20} MiB")
            if time.monotonic() > deadline:
                response.close()
                raise UnansweredError(f"gave no whole answer within {timeout:g} s")
        return bytes(data)

    def _advice(self, status: int, data: bytes) -> str:
        """What a refusal means and what to do; the server's own words where they cannot leak."""
        variable = self.endpoint.options.api_key_env
        if status < HTTPStatus.BAD_REQUEST:
            return "redirects are not followed: give the url that answers itself"
        if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            given = f"the key in {variable} is refused"
            return given if variable else "name the variable of a key: api_key_env=NAME"
        words, key = _complaint(data), self.endpoint.key()
        words = mask(words.replace(key, MASK) if key else words)
        return f"{words[:200]!r}" if words else "are url and model right?"


def _collect(
    line: Line,
    ask: Callable[[Line, Item], Iterator[T]],
    item: Item,
    found: list[tuple[T, Usage]],
) -> None:
    """Add what is answered for an item, one by one, so that what precedes an error is kept."""
    try:
        if not line.stop.is_set():
            own = replace(line, tally=Tally())
            for part in ask(own, item):
                found.append((part, line.endpoint.add_cost(own.tally.take())))
    except BaseException as error:
        line.failures.append(error)  # before others are stopped and fail for it
        line.stop.set()
        raise


def name_texts(texts: Sequence[str]) -> str:
    """Texts as an error calls them: by the beginning of the first, and its length."""
    first = f"{texts[0][:40]!r} ({count(len(texts[0]), 'character')})"
    return f"the text {first}" if len(texts) == 1 else f"{len(texts)} texts, the first {first}"


def read_count(value: object) -> int | None:
    """A count that a server sent, None for anything else."""
    return int(str(value)) if re.fullmatch("[0-9]{1,18}", str(value)) else None


def _complaint(data: bytes) -> str:
    """What a refusal says in JSON, in the forms that servers use, as one line."""
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return ""
    for name in ("error", "message", "detail"):
        if isinstance(found, dict):
            found = found.get(name, found)
    return " ".join(found.split()) if isinstance(found, str) else ""


def _retry_after(value: str) -> float:
    """Seconds that a Retry-After header asks to wait; 0 for none or nonsense."""
    from urllib3.exceptions import InvalidHeader
    from urllib3.util import Retry

    try:
        return max(0.0, float(Retry().parse_retry_after(value)))
    except (InvalidHeader, ValueError, OverflowError):
        return 0.0


def _name_status(status: int) -> str:
    """A status with its standard phrase, never with the server's."""
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)
