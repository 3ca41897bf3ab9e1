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
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field, TypeAdapter, ValidationError

from harness.arrays import TOO_LARGE
from harness.disk import cache_root
from harness.endpoints.answers import ResponseCache
from harness.endpoints.options import OPTIONS, RENAMED, EndpointOptions
from harness.endpoints.service import (
    CUT,
    Endpoint,
    Line,
    Service,
    name_texts,
    read_count,
)
from harness.endpoints.usage import sum_usage
from harness.errors import InputError
from harness.parameters import check_range
from harness.progress import Progress
from harness.rerankers import RERANKERS, Reranker, Scored

Dialect = Literal["cohere", "tei"]

SERVICE = Service("api", "/rerank", "scores", largest=1 << 26)
KEPT = TypeAdapter(dict[str, Annotated[float, Field(strict=True, gt=-TOO_LARGE, lt=TOO_LARGE)]])
BATCH: dict[Dialect, int] = {"cohere": 100, "tei": 32}  # documents of one search unit; TEI's limit


@RERANKERS.register("api", renamed={"style": "dialect", "batch": "batch_size", **RENAMED})
def api(
    target: str,
    *,
    endpoint: EndpointOptions = OPTIONS,
    dialect: Dialect = "cohere",
    truncate: bool = False,
    batch_size: int | None = None,
) -> EndpointReranker:
    """Scores of a reranker behind an endpoint, as api:MODEL,url=http://host:port/v1,dialect=cohere.

    Args:
        target: What the endpoint calls the model.
        endpoint: Where it is asked, how patiently, and what it costs.
        dialect: How it is asked.
        truncate: Whether long texts are cut there, not refused (tei).
        batch_size: Documents in a request; 100 or, for tei, 32 where it is None.

    Returns:
        The reranker.

    Raises:
        InputError: A value is out of range, or a url or api_key_env may hold a secret.
    """
    size = BATCH[dialect] if batch_size is None else batch_size
    check_range("api", batch_size=(size, 1, 1000))
    if truncate and dialect != "tei":
        raise InputError(f"api: dialect={dialect} has no truncate: expected dialect=tei")
    return EndpointReranker(target, Endpoint(SERVICE, endpoint), dialect, truncate, size)


@dataclass(frozen=True)
class EndpointReranker(Reranker):
    """A reranker, where and how it is asked; see `api`."""

    paid: ClassVar[bool] = True

    model: str
    endpoint: Endpoint
    dialect: Dialect
    truncate: bool
    batch_size: int

    @property
    def notes(self) -> tuple[str, ...]:
        """That texts may have been cut, where that was allowed."""
        return (CUT,) if self.truncate else ()

    def fingerprint(self) -> Mapping[str, object]:
        """Tell model, url and what is asked of it: nobody tells if other weights are served."""
        return {
            "model": self.model,
            "url": self.endpoint.url,
            "style": self.dialect,
            "truncate": self.truncate,
        }

    def load(self) -> None:
        """Raise InputError where the key's variable holds none; nothing is asked yet."""
        self.endpoint.key()

    def score(
        self, pairs: Sequence[tuple[str, str]], progress: Progress, *, root: Path | None = None
    ) -> Scored:
        """Score pairs; those whose scores are kept under root/rerankings are not asked for.

        Args:
            pairs: Query and document, those of a query side by side.
            progress: Told how far it is.
            root: The folder under which scores are kept; the default store's where it is None.

        Returns:
            The scores, in the order of the pairs.

        Raises:
            InputError: The endpoint refuses a document.
            EncodingError: It sends anything but one finite score for each.
            HarnessError: It does not answer.
            StoreError: Scores cannot be kept.
        """
        answers = ResponseCache((root or cache_root()) / "rerankings")
        asked = dict.fromkeys(query for query, _ in pairs)
        scores = {query: self._read_kept(answers, query) for query in asked}
        todo, usages = self._missing(pairs, scores), [self.endpoint.no_usage]

        def ask(line: Line, item: tuple[str, list[str]]) -> Iterator[tuple[str, dict[str, float]]]:
            query, texts = item
            rows = slice(0, len(texts))
            return line.parts(rows, lambda part: (query, self._ask(line, query, texts[part])))

        done, total = 0, sum(len(texts) for _, texts in todo)
        if todo:
            progress("rerank", done, total, "pairs")
        for (query, found), usage in self.endpoint.each(todo, ask):
            usages.append(usage)
            scores[query] |= found
            answers.keep(self._describe_request(query), json.dumps(scores[query]))
            done += len(found)
            progress("rerank", done, total, "pairs")
        values = [scores[query][_digest(document)] for query, document in pairs]
        return Scored(np.array(values, np.float32), usage=sum_usage(usages))

    def _missing(
        self, pairs: Sequence[tuple[str, str]], scores: Mapping[str, Mapping[str, float]]
    ) -> list[tuple[str, list[str]]]:
        """What is to be asked for: queries, each with as many documents as a request takes."""
        documents: dict[str, dict[str, None]] = {}
        for query, document in pairs:
            if _digest(document) not in scores[query]:
                documents.setdefault(query, {})[document] = None
        return [
            (query, list(texts)[low : low + self.batch_size])
            for query, texts in documents.items()
            for low in range(0, len(texts), self.batch_size)
        ]

    def _describe_request(self, query: str) -> dict[str, object]:
        """All that decides the scores of a query's documents."""
        return {**self.fingerprint(), "query": query}

    def _read_kept(self, answers: ResponseCache, query: str) -> dict[str, float]:
        """Scores that are kept for a query, by the digest of the document."""
        with suppress(ValidationError):  # what is damaged is asked for again
            return KEPT.validate_json(answers.find(self._describe_request(query)) or "{}")
        return {}

    def _ask(self, line: Line, query: str, texts: list[str]) -> dict[str, float]:
        """Scores of documents by their digest, of one request."""
        body: dict[str, Any] = {"query": query}
        if self.dialect == "tei":
            body |= {"texts": texts, "truncate": self.truncate}
        else:  # no more: Cohere refuses Voyage's top_k, Voyage its top_n; by default all come back
            body |= {"model": self.model, "documents": texts}

        def read(found: Any, headers: Mapping[str, str]) -> dict[str, float]:
            if self.dialect == "tei":
                line.tally.add(tokens=read_count(headers.get("x-compute-tokens")))
                items, name = found, "score"
            else:
                _count(line, found)
                items, name = found.get("results", found.get("data")), "relevance_score"
            ordered = self.endpoint.in_order(items, len(texts), "scores")
            with np.errstate(over="ignore"):  # infinity, which is refused; null becomes NaN
                scores = np.array([item[name] for item in ordered], np.float32)
            self.endpoint.all_finite(scores, texts)
            return dict(zip(map(_digest, texts), scores.tolist(), strict=True))

        return line.ask(body, f"{name_texts(texts)} and the query {query[:40]!r}", read)


def _count(line: Line, found: Any) -> None:
    """Count what a reply of Cohere's kind says was used: tokens, or searches in their place."""
    billed = (found.get("meta") or {}).get("billed_units") or {}
    usage = found.get("usage") or {}
    line.tally.add(tokens=read_count(usage.get("total_tokens", billed.get("total_tokens"))))
    if searches := read_count(billed.get("search_units")):
        line.tally.add(searches=searches)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]
