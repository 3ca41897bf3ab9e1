"""Dense vectors of a model that is served over HTTP, asked for in three dialects.

openai  POST url/embeddings   {model, input}              OpenAI, vLLM, Infinity, Voyage, Jina
tei     POST url/embed        {inputs, truncate}          Text Embeddings Inference
cohere  POST url/embed        {model, texts, input_type}  Cohere's v2
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np

from harness.arrays import Float32
from harness.data import Role
from harness.encoders import ENCODERS, Encoded
from harness.encoders.prompting import Prompts, filled, whole_prompt
from harness.endpoint import CUT, Endpoint, Line, RefusedError, Service, counted, named, within
from harness.errors import EncodingError, InputError
from harness.vectors import Representation

Style = Literal["openai", "tei", "cohere"]

PATHS: dict[Style, str] = {"openai": "/embeddings", "tei": "/embed", "cohere": "/embed"}
TEXTS: dict[Style, str] = {"openai": "input", "tei": "inputs", "cohere": "texts"}
OFFERED: dict[Style, set[str]] = {  # parameters that only some dialects have
    "openai": {"dimensions", "query_type", "document_type"},
    "tei": {"truncate"},
    "cohere": {"dimensions", "truncate", "query_type", "document_type"},
}
LARGEST = 1 << 28  # bytes of a reply


@ENCODERS.register("api")
def api(
    target: str,
    *,
    url: str = "",
    style: Style = "openai",
    similarity: Literal["cosine", "dot"] = "cosine",
    dimensions: int | None = None,
    truncate: bool = False,
    query_prompt: str = "",
    document_prompt: str = "",
    text_prompt: str = "",
    query_type: str | None = None,
    document_type: str | None = None,
    price: float | None = None,
    batch: int = 32,
    key_variable: str = "",
    concurrency: int = 4,
    timeout: float = 60.0,
    retries: int = 5,
    backoff: float = 1.0,
) -> Served:
    """Vectors of a model behind an endpoint, as api:MODEL,url=http://host:port/v1,style=openai.

    dimensions: asked of the model. truncate: long texts are cut there, not refused. query_type,
    document_type: sent as input_type. Prompts: put before texts here; {instruction} in one stands
    for what the task asks for. price: USD for a million tokens. batch: texts in a request.
    key_variable: the environment variable whose value is sent as the key.

    Raises InputError for a value out of range, a parameter that the dialect does not have, and a
    url or key_variable that may hold a secret.
    """
    within("api", batch=(batch, 1, 2048), price=(price or 0, 0, 1e6))
    within("api", dimensions=(1 if dimensions is None else dimensions, 1, 65536))
    given = {
        "dimensions": dimensions,
        "truncate": truncate,
        "query_type": query_type,
        "document_type": document_type,
    }
    for name, value in given.items():
        if value and name not in OFFERED[style]:
            having = " or ".join(key for key, names in OFFERED.items() if name in names)
            raise InputError(f"api: style={style} has no {name}: expected style={having}")
    query, document = query_type or "", document_type or ""
    if style == "cohere":
        query, document = query or "search_query", document or "search_document"
    service = Service("api", PATHS[style], "embeddings", LARGEST)
    point = Endpoint(service, url, key_variable, concurrency, timeout, retries, backoff)
    return Served(
        target,
        point,
        style,
        similarity,
        dimensions,
        truncate,
        {"query": query_prompt, "document": document_prompt, "text": text_prompt},
        {"query": query, "document": document, "text": document},
        price,
        batch,
    )


@dataclass(frozen=True)
class Served:
    """A model, where and how it is asked, and what is sent with a text; see `api`."""

    model: str
    endpoint: Endpoint
    style: Style
    similarity: Literal["cosine", "dot"]
    dimensions: int | None
    truncate: bool
    prompts: Prompts
    types: Mapping[Role, str]
    price: float | None
    batch: int

    makes: ClassVar[Representation] = "dense"

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
            "dimensions": self.dimensions,
            "truncate": self.truncate,
            "input_types": dict(self.types),
        }

    def prompt(self, role: Role) -> str:
        """The spec's; none otherwise."""
        return self.prompts[role]

    def instructed(self, instructions: Mapping[str, str]) -> Served:
        """The same with a task's instructions, by role, in its prompts."""
        return replace(self, prompts=filled(self.prompts, instructions))

    def load(self) -> None:
        """Raise InputError where the key's variable holds none; nothing is asked yet."""
        self.endpoint.key()

    def spent(self) -> Mapping[str, int | float]:
        """Requests, retries among them, tokens and cost in USD, as far as they are known."""
        return self.endpoint.spent(self.price)

    def encode(self, texts: Sequence[str], role: Role) -> Encoded:
        """Vectors [n, d] as float32. Raises what `stream` raises."""
        parts = sorted(self.stream(texts, role), key=lambda part: part[0].start)
        columns = [(part.values, part.tokens, part.truncated) for _, part in parts]
        return Encoded(*map(np.concatenate, zip(*columns, strict=True)))

    def stream(self, texts: Sequence[str], role: Role) -> Iterator[tuple[slice, Encoded]]:
        """Yield each reply: the texts that it is for, and their vectors.

        Raises InputError where the endpoint refuses a text or a prompt wants an instruction that
        the task does not have, EncodingError where anything but one finite vector for each is sent,
        HarnessError where it does not answer.
        """
        width = self.dimensions

        def ask(line: Line, start: int) -> Iterator[tuple[slice, Encoded]]:
            rows = slice(start, min(start + self.batch, len(texts)))
            return line.parts(rows, lambda part: (part, self._ask(line, texts[part], role)))

        for rows, encoded in self.endpoint.each(range(0, len(texts), self.batch), ask):
            assert isinstance(encoded.values, np.ndarray)
            found = encoded.values.shape[1]
            if width not in (None, found):
                raise EncodingError(
                    f"{self.endpoint.host} sent {found}-d vectors: expected {width}-d ones, as "
                    + ("asked for" if self.dimensions else "before")
                )
            width = found
            yield rows, encoded

    def _ask(self, line: Line, texts: Sequence[str], role: Role) -> Encoded:
        """Vectors of texts, of one request."""
        n = len(texts)

        def read(found: Any, headers: Mapping[str, str]) -> Encoded:
            tokens = self._tokens(found, headers)
            self.endpoint.spend(tokens=tokens)
            values = self._vectors(found, texts)
            known = tokens if n == 1 and tokens is not None else -1
            return Encoded(values, np.full(n, known, np.int32), np.zeros(n, np.bool_))

        try:
            return line.ask(self._body(texts, role), named(texts), read)
        except RefusedError as error:
            if n == 1 and "truncate" in OFFERED[self.style] and not self.truncate:
                hint = "; with truncate=true long texts are cut"
                raise RefusedError(f"{error}{hint}", error.status) from None
            raise

    def _body(self, texts: Sequence[str], role: Role) -> dict[str, Any]:
        """What is sent, and no more: some servers refuse fields that they do not know."""
        prompt = whole_prompt(self.prompts, role, self.model)
        body: dict[str, Any] = {TEXTS[self.style]: [prompt + text for text in texts]}
        if self.style == "tei":
            return {**body, "truncate": self.truncate}
        body["model"] = self.model
        if self.types[role]:
            body["input_type"] = self.types[role]
        asked: dict[str, Any]
        if self.style == "openai":
            asked = {"dimensions": self.dimensions}
        else:
            asked = {"embedding_types": ["float"], "output_dimension": self.dimensions}
            asked["truncate"] = "END" if self.truncate else "NONE"
        return body | {name: value for name, value in asked.items() if value is not None}

    def _tokens(self, found: Any, headers: Mapping[str, str]) -> int | None:
        """The tokens that a reply says were read."""
        if self.style == "tei":
            return counted(headers.get("x-compute-tokens"))
        if self.style == "cohere":
            units = (found.get("meta") or {}).get("billed_units") or {}
            return counted(units.get("input_tokens"))
        usage = found.get("usage") or {}
        return counted(usage.get("prompt_tokens", usage.get("total_tokens")))

    def _vectors(self, found: Any, texts: Sequence[str]) -> Float32:
        """The vectors of a reply [n, d], in the order of the texts. Raises EncodingError."""
        host, n = self.endpoint.host, len(texts)
        if self.style == "openai":
            items = self.endpoint.in_order(found["data"], n, "vectors")
            found = [item["embedding"] for item in items]
        elif self.style == "cohere":
            found = found["embeddings"]["float"]
        self.endpoint.one_each(len(found), n, "vectors")
        with np.errstate(over="ignore"):  # infinity, which is refused below
            rows = [np.array(row, np.float32) for row in found]  # null becomes NaN
        if any(row.ndim != 1 or not len(row) for row in rows):
            raise TypeError
        widths = {len(row) for row in rows}
        if len(widths) > 1:
            raise EncodingError(
                f"{host} sent vectors of {min(widths)} to {max(widths)} dimensions in one reply: "
                "expected one width"
            )
        values: Float32 = np.stack(rows)
        self.endpoint.all_finite(values, texts)
        return values
