"""Scores of a reranker that is served over HTTP; what was paid for is kept and not asked again.

cohere  POST url/rerank  {model, query, documents}  Cohere, Jina, Voyage, vLLM, Infinity
tei     POST url/rerank  {query, texts, truncate}   Text Embeddings Inference

A kept score belongs to a query and a document: the others in its request are taken to make no
difference.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from harness.response_cache import Answers
from harness.disk import cache_root
from harness.endpoint import CUT, Endpoint, Line, Service, counted, named, within
from harness.errors import InputError
from harness.progress import Progress
from harness.rerankers import RERANKERS, Scored

Style = Literal["cohere", "tei"]

SERVICE = Service("api", "/rerank", "scores", largest=1 << 26)
BATCH: dict[Style, int] = {"cohere": 100, "tei": 32}  # documents of one search unit; TEI's limit


@RERANKERS.register("api")
def api(
    target: str,
    *,
    url: str = "",
    style: Style = "cohere",
    truncate: bool = False,
    price: float | None = None,
    batch: int | None = None,
    key_variable: str = "",
    concurrency: int = 4,
    timeout: float = 60.0,
    retries: int = 5,
    backoff: float = 1.0,
) -> Served:
    """Scores of a reranker behind an endpoint, as api:MODEL,url=http://host:port/v1,style=cohere.

    truncate: long texts are cut there, not refused (tei). price: USD for a million tokens. batch:
    documents in a request, 100 or, for tei, 32. key_variable: the environment variable whose value
    is sent as the key.

    Raises InputError for a value out of range, and a url or key_variable that may hold a secret.
    """
    size = BATCH[style] if batch is None else batch
    within("api", batch=(size, 1, 1000), price=(price or 0, 0, 1e6))
    if truncate and style != "tei":
        raise InputError(f"api: style={style} has no truncate: expected style=tei")
    point = Endpoint(SERVICE, url, key_variable, concurrency, timeout, retries, backoff)
    return Served(target, point, style, truncate, price, size)


@dataclass(frozen=True)
class Served:
    """A reranker, where and how it is asked; see `api`."""

    model: str
    endpoint: Endpoint
    style: Style
    truncate: bool
    price: float | None
    batch: int

    @property
    def warnings(self) -> tuple[str, ...]:
        """That texts may have been cut, where that was allowed."""
        return (CUT,) if self.truncate else ()

    def fingerprint(self) -> Mapping[str, object]:
        """Model, url and what is asked of it: nobody tells if other weights are served there."""
        return {
            "model": self.model,
            "url": self.endpoint.url,
            "style": self.style,
            "truncate": self.truncate,
        }

    def load(self) -> None:
        """Raise InputError where the key's variable holds none; nothing is asked yet."""
        self.endpoint.key()

    def spent(self) -> Mapping[str, int | float]:
        """Requests, retries among them, tokens, searches and cost in USD, as far as known."""
        return self.endpoint.spent(self.price)

    def score(
        self, pairs: Sequence[tuple[str, str]], progress: Progress, *, root: Path | None = None
    ) -> Scored:
        """Scores of (query, document) pairs; those kept under root/rerankings are not asked for.

        root: the default store's where it is None. Raises InputError where the endpoint refuses a
        document, EncodingError where it sends anything but one finite score for each, HarnessError
        where it does not answer, StoreError where scores cannot be kept.
        """
        answers = Answers((root or cache_root()) / "rerankings")
        documents: dict[str, dict[str, None]] = {}
        for query, document in pairs:
            documents.setdefault(query, {})[document] = None
        scores = {query: self._kept(answers, query) for query in documents}
        missing = {
            query: [document for document in texts if _digest(document) not in scores[query]]
            for query, texts in documents.items()
        }
        todo = [
            (query, texts[low : low + self.batch])
            for query, texts in missing.items()
            for low in range(0, len(texts), self.batch)
        ]

        def ask(line: Line, item: tuple[str, list[str]]) -> Iterator[tuple[str, dict[str, float]]]:
            query, texts = item
            rows = slice(0, len(texts))
            return line.parts(rows, lambda part: (query, self._ask(line, query, texts[part])))

        done, total = 0, sum(map(len, missing.values()))
        if todo:
            progress("rerank", done, total, "pairs")
        for query, found in self.endpoint.each(todo, ask):
            scores[query] |= found
            answers.keep(self._asked(query), json.dumps(scores[query]))
            done += len(found)
            progress("rerank", done, total, "pairs")
        values = [scores[query][_digest(document)] for query, document in pairs]
        return Scored(np.array(values, np.float32))

    def _asked(self, query: str) -> dict[str, object]:
        """All that decides the scores of a query's documents."""
        return {**self.fingerprint(), "query": query}

    def _kept(self, answers: Answers, query: str) -> dict[str, float]:
        """Scores that are kept for a query, by the digest of the document."""
        kept: dict[str, float] = json.loads(answers.find(self._asked(query)) or "{}")
        return kept

    def _ask(self, line: Line, query: str, texts: list[str]) -> dict[str, float]:
        """Scores of documents by their digest, of one request."""
        body: dict[str, Any] = {"query": query}
        if self.style == "tei":
            body |= {"texts": texts, "truncate": self.truncate}
        else:  # no more: Cohere refuses Voyage's top_k, Voyage its top_n; by default all come back
            body |= {"model": self.model, "documents": texts}

        def read(found: Any, headers: Mapping[str, str]) -> dict[str, float]:
            if self.style == "tei":
                self.endpoint.spend(tokens=counted(headers.get("x-compute-tokens")))
                items, name = found, "score"
            else:
                self._spend(found)
                items, name = found.get("results", found.get("data")), "relevance_score"
            ordered = self.endpoint.in_order(items, len(texts), "scores")
            with np.errstate(over="ignore"):  # infinity, which is refused; null becomes NaN
                scores = np.array([item[name] for item in ordered], np.float32)
            self.endpoint.all_finite(scores, texts)
            return dict(zip(map(_digest, texts), scores.tolist(), strict=True))

        return line.ask(body, f"{named(texts)} and the query {query[:40]!r}", read)

    def _spend(self, found: Any) -> None:
        """Count what a reply of Cohere's kind says was spent: tokens, or searches in its place."""
        billed = (found.get("meta") or {}).get("billed_units") or {}
        usage = found.get("usage") or {}
        self.endpoint.spend(
            tokens=counted(usage.get("total_tokens", billed.get("total_tokens"))),
            searches=counted(billed.get("search_units")) or 0,
        )


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]
