"""A search behind a URL: a product's own, asked as one JSON body says.

POST url  {"queries": ["text", ...], "k": 10}
          {"results": [[{"id": "d1", "score": 1.5}, ...], ...]}     a list for each query
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.data import Retrieval
from harness.endpoints.options import EndpointOptions
from harness.endpoints.service import Endpoint, Line, Service
from harness.endpoints.usage import Usage
from harness.parameters import check_range
from harness.progress import Progress
from harness.systems import RETRIEVERS, hits
from harness.systems.external import UNKNOWN, External
from harness.systems.hits import Hits

FORM = 'results as {"results": [[{"id": "d1", "score": 1.5}, ...], ...]}'
SERVICE = Service("search", "", FORM, largest=1 << 28, kept=False)


@RETRIEVERS.register("search")
def search(
    target: str,
    *,
    timeout: float = 60.0,
    batch_size: int = 16,
    concurrency: int = 4,
    api_key_env: str = "",
    retries: int = 5,
    version: str = "",
) -> SearchService:
    """A search behind a URL, as search:http://localhost:8000/search,version=2.1,timeout=5.

    Args:
        target: The URL that is asked; docs/python.md has the JSON body.
        timeout: Seconds that a reply may take.
        batch_size: Queries of one request.
        concurrency: Requests at the same time.
        api_key_env: The environment variable whose value is sent as the key.
        retries: Attempts after the first.
        version: Of what is served, as its makers call it: tells one from another in records.

    Raises:
        InputError: A value is out of range, or the URL may hold a secret.
    """
    check_range("search", batch_size=(batch_size, 1, 10_000))
    options = EndpointOptions(target, api_key_env, concurrency, timeout, retries)
    about = {"search": target, "fingerprint": version or UNKNOWN}
    return SearchService(target, about, bool(version), Endpoint(SERVICE, options), batch_size)


@dataclass(frozen=True)
class SearchService(External):
    """Where a search is asked, and how many queries at a time; see `search`."""

    endpoint: Endpoint
    batch_size: int

    def prepare(self, data: Retrieval) -> None:
        """Nothing: the service holds its documents."""

    def answers(
        self, texts: Sequence[str], k: int, progress: Progress
    ) -> Iterator[tuple[slice, list[Hits], Usage]]:
        """Ask for batches, several at the same time."""

        def ask(line: Line, rows: slice) -> Iterator[tuple[slice, list[Hits]]]:
            return iter([(rows, self._answer(line, texts[rows], k))])

        ends = range(0, len(texts), self.batch_size)
        batches = (slice(low, min(low + self.batch_size, len(texts))) for low in ends)
        for (rows, found), usage in self.endpoint.each(batches, ask):
            yield rows, found, {name: usage.get(name) for name in ("requests", "retries")}

    def _answer(self, line: Line, texts: Sequence[str], k: int) -> list[Hits]:
        """Results of one request."""

        def read(reply: Any, headers: Mapping[str, str]) -> list[Hits]:
            return hits.read(list(reply["results"]), texts, self.endpoint.host)

        label = "the query" if len(texts) == 1 else f"{len(texts)} queries, the first"
        return line.ask({"queries": list(texts), "k": k}, f"{label} {texts[0][:40]!r}", read)
