"""One question to an OpenAI-compatible chat endpoint, asked again where that may help.

Asked again: 408, 425, 429 and 5xx, time-outs, broken connections, and replies that hold no answer;
after a pause that doubles, or as long as Retry-After says. Any other refusal is final. A redirect
is never followed and no proxy of the environment is used, so a key reaches only the host it is for.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from threading import Event
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from harness.types import HarnessError, InputError

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse, PoolManager

PATIENCE_S = 120.0  # a server that asks to wait longer is not waited for
LARGEST = 1 << 22  # bytes of a reply
CHARACTERS = 64  # of one token, at most: a longer answer is none
AGAIN = {408, 425, 429}


class _UnansweredError(Exception):
    """One attempt that brought no answer; wait_s: what the server asks to wait before the next."""

    def __init__(self, what: str, wait_s: float = 0.0) -> None:
        super().__init__(what)
        self.wait_s = wait_s


@dataclass(frozen=True)
class Endpoint:
    """Where to ask, and how patiently.

    url: up to /v1; key_variable: the environment variable that holds the key, empty for none;
    timeout: seconds for connecting and for the reply; retries: attempts after the first;
    backoff: seconds before the first retry, doubled before each further one.
    """

    url: str
    key_variable: str = ""
    timeout: float = 60.0
    retries: int = 5
    backoff: float = 1.0

    def __post_init__(self) -> None:
        refuse_url(self.url)
        # neither message quotes what was given: people paste keys into the wrong place
        if not re.fullmatch(r"[A-Z_][A-Z0-9_]*|", self.key_variable):
            raise InputError(
                "chat: key_variable names the environment variable that holds the key, in capital "
                "letters: expected a name like OPENAI_API_KEY, never the key itself"
            )

    @property
    def host(self) -> str:
        """Host and port."""
        return urlsplit(self.url).netloc

    def connect(self, connections: int) -> PoolManager:
        """A pool of connections that sends the key. Raises InputError where there is none."""
        from urllib3 import PoolManager

        key = self._key()
        return PoolManager(
            maxsize=connections, headers={"Authorization": f"Bearer {key}"} if key else None
        )

    def ask(self, http: PoolManager, body: Mapping[str, Any], label: str, stop: Event) -> str:
        """The text of an answer. label: what people call the question; stop: ends the waiting.

        Raises InputError where the endpoint refuses the question, and HarnessError where it has
        not answered after all retries; both name host, status and label.
        """
        for attempt in range(self.retries + 1):
            try:
                return self._attempt(http, body, label)
            except _UnansweredError as error:
                failure = error
            wait_s = max(failure.wait_s, min(self.backoff * 2.0**attempt, PATIENCE_S))
            if attempt == self.retries or wait_s > PATIENCE_S or stop.wait(wait_s):
                break
        raise HarnessError(
            f"{self.host} {failure} for {label} (attempt {attempt + 1} of {self.retries + 1}); "
            "answers so far are kept: run it again to go on"
        )

    def _attempt(self, http: PoolManager, body: Mapping[str, Any], label: str) -> str:
        """Ask once. Raises _UnansweredError, and InputError where asking again is of no use."""
        from urllib3 import Timeout
        from urllib3.exceptions import HTTPError, NewConnectionError, TimeoutError

        try:
            response = http.request(
                "POST",
                f"{self.url.rstrip('/')}/chat/completions",
                json=body,
                timeout=Timeout(total=self.timeout),
                retries=False,
                redirect=False,
                preload_content=False,
            )
            data = self._read(response)
        except NewConnectionError:
            raise _UnansweredError("cannot be reached") from None
        except TimeoutError:
            raise _UnansweredError(f"gave no answer within {self.timeout:g} s") from None
        except (HTTPError, OSError) as error:
            raise _UnansweredError(f"broke off ({type(error).__name__})") from None
        if response.status < HTTPStatus.MULTIPLE_CHOICES:
            return _answer(data, body)
        said = f"answered {_named(response.status)}"
        if response.status in AGAIN or response.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            wait_s = _retry_after(response.headers.get("Retry-After", ""))
            asks = f", asking to wait {wait_s:.0f} s," if wait_s > PATIENCE_S else ""
            raise _UnansweredError(said + asks, wait_s)
        raise InputError(f"{self.host} {said} for {label}: {self._advice(response.status, data)}")

    def _read(self, response: BaseHTTPResponse) -> bytes:
        """The body of a reply, of bounded size, read in bounded time."""
        deadline, data = time.monotonic() + self.timeout, bytearray()
        while part := response.read1(1 << 16, decode_content=False):
            data += part
            if len(data) > LARGEST:
                response.close()
                raise _UnansweredError(f"sent a reply of more than {LARGEST >> 20} MiB")
            if time.monotonic() > deadline:
                response.close()
                raise _UnansweredError(f"gave no whole answer within {self.timeout:g} s")
        return bytes(data)

    def _advice(self, status: int, data: bytes) -> str:
        """What a refusal means and what to do; the server's own words where they cannot leak."""
        if status < HTTPStatus.BAD_REQUEST:
            return "redirects are not followed: give the url that answers itself"
        if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            given = f"the key in {self.key_variable} is refused"
            return given if self.key_variable else "name the variable of a key: key_variable=NAME"
        words, key = _complaint(data), self._key()
        words = words.replace(key, "[key]") if key else words
        return f"{words[:200]!r}" if words else "are url and model right?"

    def _key(self) -> str:
        key = os.environ.get(self.key_variable, "") if self.key_variable else ""
        if self.key_variable and not re.fullmatch("[!-~]+", key):
            what = "holds blanks or characters no key has" if key else "is not set"
            raise InputError(f"the environment variable {self.key_variable} {what}")
        return key


def refuse_url(url: str) -> None:
    """Raise InputError for anything but http(s)://host[:port]/path; what is wrong is not quoted."""
    try:
        parts = urlsplit(url)
        fits = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        fits = False
    if not fits or not re.fullmatch(r"[!-~]+", url) or set("@?#\\") & set(url):
        raise InputError(
            "chat: url: expected http://host:port/v1 or https://..., without user, password or "
            "query (a key goes into an environment variable, named by key_variable=NAME)"
        )


def _answer(data: bytes, body: Mapping[str, Any]) -> str:
    """The text of a reply. Raises _UnansweredError for nonsense."""
    try:
        choice = json.loads(data)["choices"][0]
        text = choice["message"]["content"]
        ended = choice.get("finish_reason")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise _UnansweredError(f"sent no chat completion ({type(error).__name__})") from None
    if not isinstance(text, str) or not text.strip():
        more = " (it ended for length: raise max_tokens)" if ended == "length" else ""
        raise _UnansweredError(f"sent an empty answer{more}")
    if len(text) > CHARACTERS * body["max_tokens"]:
        raise _UnansweredError(f"sent an answer of {len(text)} characters, more than asked for,")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise _UnansweredError("sent an answer that is not Unicode") from None
    return text.strip()


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


def _named(status: int) -> str:
    """A status with its standard phrase, never with the server's."""
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)
