"""Where a service is asked, how patiently and at what price; what of it is refused."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from harness.errors import InputError
from harness.masking import mask, notice, remember
from harness.parameters import check_range


@dataclass(frozen=True)
class EndpointOptions:
    """Where to ask, how patiently, and what it costs.

    Attributes:
        url: Up to the service's path.
        api_key_env: The environment variable that holds the key; empty for none.
        concurrency: Requests at the same time.
        timeout: Seconds for connecting and for the reply.
        retries: Attempts after the first.
        backoff: Seconds before the first retry, doubled before each further one.
        price: USD for a million tokens; None where it is not known.
    """

    url: str = ""
    api_key_env: str = ""
    concurrency: int = 4
    timeout: float = 60.0
    retries: int = 5
    backoff: float = 1.0
    price: float | None = None

    def check(self, noun: str) -> None:
        """Refuse what cannot be used, and what may hold a secret.

        Args:
            noun: What errors call the asker.

        Raises:
            InputError: A value is out of range, or a url or api_key_env may hold a secret.
        """
        check_range(
            noun,
            concurrency=(self.concurrency, 1, 256),
            timeout=(self.timeout, 0.01, 3600),
            retries=(self.retries, 0, 100),
            backoff=(self.backoff, 0, 60),
            price=(self.price or 0, 0, 1e6),
        )
        _refuse_url(noun, self.url)
        # neither message quotes what was given: people paste keys into the wrong place
        if not re.fullmatch(r"[A-Z_][A-Z0-9_]*|", self.api_key_env):
            remember(self.api_key_env)
            raise InputError(
                f"{noun}: api_key_env names the environment variable that holds the "
                "key, in capital letters: expected a name like OPENAI_API_KEY, never the key itself"
            )


OPTIONS = EndpointOptions()
RENAMED = {"key_variable": "api_key_env"}  # of these options: what they were called


def _refuse_url(noun: str, url: str) -> None:
    """Raise InputError for anything but http(s)://host[:port]/path; what is wrong is not quoted."""
    try:
        parts = urlsplit(url)
        fits = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        fits = False
    plain = re.fullmatch(r"[!-~]+", url) and not set("@?#\\") & set(url)
    if not fits or not plain or mask(url) != url:
        notice(url)
        raise InputError(
            f"{noun}: url: expected http://host:port/v1 or https://..., without user, password or "
            "query (a key goes into an environment variable, named by api_key_env=NAME)"
        )
