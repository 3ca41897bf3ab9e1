"""Dense vectors of a model that is served over HTTP, asked for in three dialects.

openai  POST url/embeddings   {model, input}              OpenAI, vLLM, Infinity, Voyage, Jina
tei     POST url/embed        {inputs, truncate}          Text Embeddings Inference
cohere  POST url/embed        {model, texts, input_type}  Cohere's v2
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, ClassVar, Literal

import numpy as np

from harness.arrays import Float32
from harness.data import Purpose, Role
from harness.encoders import ENCODERS, Encoded, TextEncoder
from harness.encoders.prompting import Prompting, PromptOptions
from harness.endpoints.options import OPTIONS, RENAMED, EndpointOptions, check_range
from harness.endpoints.service import (
    CUT,
    Endpoint,
    Line,
    RefusedError,
    Service,
    UnansweredError,
    name_texts,
    read_count,
)
from harness.endpoints.usage import Usage, sum_usage
from harness.errors import EncodingError, InputError
from harness.vectors import Representation

Dialect = Literal["openai", "tei", "cohere"]

PATHS: dict[Dialect, str] = {"openai": "/embeddings", "tei": "/embed", "cohere": "/embed"}
TEXTS: dict[Dialect, str] = {"openai": "input", "tei": "inputs", "cohere": "texts"}
OFFERED: dict[Dialect, set[str]] = {  # parameters that only some dialects have
    "openai": {"dim", "query_type", "document_type"},
    "tei": {"truncate"},
    "cohere": {"dim", "truncate", "query_type", "document_type"},
}
LARGEST = 1 << 28  # bytes of a reply
PROBE = "a"  # asked for the width of vectors where every text is empty


@ENCODERS.register(
    "api",
    renamed={"style": "dialect", "dimensions": "dim", "batch": "batch_size", **RENAMED},
)
def api(
    target: str,
    *,
    endpoint: EndpointOptions = OPTIONS,
    dialect: Dialect = "openai",
    similarity: Literal["cosine", "dot"] = "cosine",
    dim: int | None = None,
    truncate: bool = False,
    query_prompt: str = "",
    document_prompt: str = "",
    text_prompt: str = "",
    query_type: str | None = None,
    document_type: str | None = None,
    batch_size: int = 32,
) -> EndpointEncoder:
    """Vectors of a model behind an endpoint, as api:MODEL,url=http://host:port/v1,dialect=openai.

    {instruction} in a prompt stands for what the task asks for.

    Args:
        target: What the endpoint calls the model.
        endpoint: Where it is asked, how patiently, and what it costs.
        dialect: How it is asked.
        similarity: How its vectors are compared.
        dim: Dimensions asked of the model; None for all.
        truncate: Whether long texts are cut there, not refused.
        query_prompt: Put before queries.
        document_prompt: Put before documents.
        text_prompt: Put before texts of neither role.
        query_type: Sent as input_type of queries.
        document_type: Sent as input_type of all others.
        batch_size: Texts in a request.

    Returns:
        The encoder.

    Raises:
        InputError: A value is out of range, the dialect does not have a parameter, or a url or
            api_key_env may hold a secret.
    """
    check_range("api", batch_size=(batch_size, 1, 2048), dim=(1 if dim is None else dim, 1, 65536))
    _check_dialect(
        dialect, dim=dim, truncate=truncate, query_type=query_type, document_type=document_type
    )
    query, document = query_type or "", document_type or ""
    if dialect == "cohere":
        query, document = query or "search_query", document or "search_document"
    prompts = PromptOptions(query_prompt or None, document_prompt or None)
    service = Service("api", PATHS[dialect], "embeddings", LARGEST)
    return EndpointEncoder(
        model=target,
        endpoint=Endpoint(service, endpoint),
        dialect=dialect,
        similarity=similarity,
        dim=dim,
        truncate=truncate,
        prompting=prompts.replace_own({}, text=text_prompt or None),
        types={"query": query, "document": document, "text": document},
        batch_size=batch_size,
    )


def _check_dialect(dialect: Dialect, **given: object) -> None:
    """Raise InputError for a parameter that is given and that a dialect does not have."""
    for name, value in given.items():
        if value and name not in OFFERED[dialect]:
            having = " or ".join(key for key, names in OFFERED.items() if name in names)
            raise InputError(f"api: dialect={dialect} has no {name}: expected dialect={having}")


@dataclass(frozen=True, kw_only=True)
class EndpointEncoder(TextEncoder):
    """A model, where and how it is asked, and what is sent with a text; see `api`."""

    representation: ClassVar[Representation] = "dense"
    paid: ClassVar[bool] = True

    model: str
    endpoint: Endpoint
    dialect: Dialect
    similarity: Literal["cosine", "dot"] = "cosine"
    dim: int | None = None
    truncate: bool
    prompting: Prompting
    types: Mapping[Role, str]
    batch_size: int = 32

    @property
    def notes(self) -> tuple[str, ...]:
        """That texts may have been cut, where that was allowed."""
        return (CUT,) if self.truncate else ()

    @property
    def no_usage(self) -> Usage:
        """The usage of a call that asks for nothing: its names, with zeros."""
        return self.endpoint.no_usage

    def fingerprint(self) -> Mapping[str, object]:
        """Tell model, url and what is asked of it: nobody tells if other weights are served."""
        return {
            "model": self.model,
            "url": self.endpoint.url,
            "style": self.dialect,
            "dimensions": self.dim,
            "truncate": self.truncate,
            "input_types": dict(self.types),
        }

    def prompt(self, role: Role) -> str:
        """The spec's; none otherwise."""
        return self.prompting.text(role)

    def name_prompt(self, role: Role) -> str:
        """The parameter that gives it."""
        return self.prompting.name(role)

    def for_task(self, purpose: Purpose) -> EndpointEncoder:
        """Give the same with a task's instructions in its prompts."""
        return replace(self, prompting=replace(self.prompting, purpose=purpose))

    def load(self) -> None:
        """Raise InputError where the key's variable holds none; nothing is asked yet."""
        self.endpoint.key()

    def encode(self, texts: Sequence[str], role: Role) -> Encoded:
        """Encode texts as float32 [n, d]. Raises what `stream` raises."""
        parts = sorted(self.stream(texts, role), key=lambda part: part[0].start)
        columns = [(part.values, part.tokens, part.truncated) for _, part in parts]
        values, tokens, truncated = map(np.concatenate, zip(*columns, strict=True))
        usage = sum_usage([self.no_usage, *(part.usage for _, part in parts)])
        return Encoded(values, tokens, truncated, usage=usage)

    def stream(self, texts: Sequence[str], role: Role) -> Iterator[tuple[slice, Encoded]]:
        """Encode texts, reply by reply; empty ones, which services refuse, are zero and not sent.

        Args:
            texts: Any number of texts.
            role: What the texts are.

        Yields:
            The texts that a reply is for, and their vectors.

        Raises:
            InputError: The endpoint refuses a text, or a prompt wants an instruction that the task
                does not have.
            EncodingError: Anything but one finite vector for each is sent.
            HarnessError: The endpoint does not answer.
        """
        dim = self.dim

        def ask(line: Line, rows: slice) -> Iterator[tuple[slice, Float32, int | None]]:
            return line.parts(rows, lambda part: (part, *self._ask(line, texts[part], role)))

        asked, empty = self._batches(texts, role)
        for (rows, values, tokens), usage in self.endpoint.each(asked, ask):
            if dim not in (None, values.shape[1]):
                raise EncodingError(
                    f"{self.endpoint.host} sent {values.shape[1]}-d vectors: expected {dim}-d "
                    "ones, as " + ("asked for" if self.dim else "before")
                )
            n, dim = len(values), values.shape[1]
            each = tokens if n == 1 and tokens is not None else -1
            counts = np.full(n, each, np.int32), np.zeros(n, np.bool_)
            yield rows, Encoded(values, *counts, usage=usage)
        for rows in empty:
            usage = self.no_usage
            if dim is None:  # nothing has told yet how wide vectors are
                dim, usage = self._probe(role)
            n = rows.stop - rows.start
            counts = np.zeros(n, np.int32), np.zeros(n, np.bool_)
            yield rows, Encoded(np.zeros((n, dim), np.float32), *counts, usage=usage)

    def _probe(self, role: Role) -> tuple[int, Usage]:
        """How wide vectors are, and what it takes to know."""

        def ask(line: Line, texts: list[str]) -> Iterator[Float32]:
            yield self._ask(line, texts, role)[0]

        [(values, usage)] = self.endpoint.each([[PROBE]], ask)
        return values.shape[1], usage

    def _batches(self, texts: Sequence[str], role: Role) -> tuple[list[slice], list[slice]]:
        """Rows of the texts of each request, and rows of those that are nothing but blanks."""
        prompt, asked, empty, low = self.prompting.require(role, self.model), [], [], 0
        for full, run in groupby(bool((prompt + text).strip()) for text in texts):
            high = low + len(list(run))
            if full:
                starts = range(low, high, self.batch_size)
                asked += [slice(at, min(at + self.batch_size, high)) for at in starts]
            else:
                empty.append(slice(low, high))
            low = high
        return asked, empty

    def _ask(self, line: Line, texts: Sequence[str], role: Role) -> tuple[Float32, int | None]:
        """Vectors of texts, of one request, and the tokens that were read."""

        def read(found: Any, headers: Mapping[str, str]) -> tuple[Float32, int | None]:
            tokens = self._tokens(found, headers)
            line.tally.add(tokens=tokens)
            return self._vectors(found, texts), tokens

        try:
            return line.ask(self._body(texts, role), name_texts(texts), read)
        except RefusedError as error:
            if len(texts) == 1 and "truncate" in OFFERED[self.dialect] and not self.truncate:
                hint = "; with truncate=true long texts are cut"
                raise RefusedError(f"{error}{hint}", error.status) from None
            raise

    def _body(self, texts: Sequence[str], role: Role) -> dict[str, Any]:
        """What is sent, and no more: some servers refuse fields that they do not know."""
        prompt = self.prompting.require(role, self.model)
        body: dict[str, Any] = {TEXTS[self.dialect]: [prompt + text for text in texts]}
        if self.dialect == "tei":
            return {**body, "truncate": self.truncate}
        body["model"] = self.model
        if self.types[role]:
            body["input_type"] = self.types[role]
        asked: dict[str, Any]
        if self.dialect == "openai":
            asked = {"dimensions": self.dim}
        else:
            asked = {"embedding_types": ["float"], "output_dimension": self.dim}
            asked["truncate"] = "END" if self.truncate else "NONE"
        return body | {name: value for name, value in asked.items() if value is not None}

    def _tokens(self, found: Any, headers: Mapping[str, str]) -> int | None:
        """The tokens that a reply says were read."""
        if self.dialect == "tei":
            return read_count(headers.get("x-compute-tokens"))
        if self.dialect == "cohere":
            units = (found.get("meta") or {}).get("billed_units") or {}
            return read_count(units.get("input_tokens"))
        usage = found.get("usage") or {}
        return read_count(usage.get("prompt_tokens", usage.get("total_tokens")))

    def _vectors(self, found: Any, texts: Sequence[str]) -> Float32:
        """The vectors of a reply [n, d], in the order of the texts. Raises EncodingError."""
        host, n = self.endpoint.host, len(texts)
        if self.dialect == "openai":
            items = self.endpoint.in_order(found["data"], n, "vectors")
            found = [item["embedding"] for item in items]
        elif self.dialect == "cohere":
            found = found["embeddings"]["float"]
        self.endpoint.one_each(len(found), n, "vectors")
        rows = [_read_vector(row, text) for row, text in zip(found, texts, strict=True)]
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


def _read_vector(row: Any, text: str) -> Float32:
    """The vector of a text, as numbers or as base64 of float32. Raises UnansweredError for none."""
    if isinstance(row, str):
        with suppress(ValueError):
            return np.frombuffer(base64.b64decode(row, validate=True), "<f4")
    if row is None or isinstance(row, str) or np.asarray(row).dtype.kind not in "iufO":
        what = "null" if row is None else "text that is no base64 of float32"
        raise UnansweredError(f"sent {what} in place of the vector of {name_texts([text])}")
    with np.errstate(over="ignore"):  # infinity, which is refused later, as null, which becomes NaN
        return np.array(row, np.float32)
