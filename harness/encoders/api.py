"""Dense vectors of a model that is served over HTTP, asked for in one of three dialects."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, ClassVar, Literal

import numpy as np

from harness.arrays import Float32
from harness.data import Role
from harness.encoders import ENCODERS, Encoded
from harness.encoders.dialects import PATHS, RequestOptions, read_vector
from harness.encoders.prompting import PromptedEncoder, Prompting
from harness.endpoints.options import OPTIONS, RENAMED, EndpointOptions
from harness.endpoints.service import CUT, Endpoint, Line, RefusedError, Service, name_texts
from harness.endpoints.usage import Usage, sum_usage
from harness.errors import EncodingError
from harness.parameters import check_range
from harness.vectors import Representation

LARGEST = 1 << 28  # bytes of a reply
PROBE = "a"  # asked for the width of vectors where every text is empty
REQUEST = RequestOptions()


@dataclass(frozen=True)
class RolePrompts:
    """What is put before texts, by their role.

    Attributes:
        query_prompt: Put before queries.
        document_prompt: Put before documents.
        text_prompt: Put before texts of neither role.
    """

    query_prompt: str = ""
    document_prompt: str = ""
    text_prompt: str = ""

    @property
    def given(self) -> dict[Role, str]:
        """Those that are not empty."""
        asked: dict[Role, str]
        asked = {"query": self.query_prompt, "document": self.document_prompt}
        asked["text"] = self.text_prompt
        return {role: prompt for role, prompt in asked.items() if prompt}


NO_PROMPTS = RolePrompts()


@ENCODERS.register(
    "api",
    renamed={"style": "dialect", "dimensions": "dim", "batch": "batch_size", **RENAMED},
)
def api(
    target: str,
    *,
    endpoint: EndpointOptions = OPTIONS,
    request: RequestOptions = REQUEST,
    similarity: Literal["cosine", "dot"] = "cosine",
    prompts: RolePrompts = NO_PROMPTS,
    batch_size: int = 32,
) -> EndpointEncoder:
    """Vectors of a model behind an endpoint, as api:MODEL,url=http://host:port/v1,dialect=openai.

    {instruction} in a prompt stands for what the task asks for.

    Args:
        target: What the endpoint calls the model.
        endpoint: Where it is asked, how patiently, and what it costs.
        request: How it is asked, and for what.
        similarity: How its vectors are compared.
        prompts: Put before texts.
        batch_size: Texts in a request.

    Returns:
        The encoder.

    Raises:
        InputError: A value is out of range, the dialect does not have a parameter, or a url or
            api_key_env may hold a secret.
    """
    check_range("api", batch_size=(batch_size, 1, 2048))
    request.check()
    return EndpointEncoder(
        model=target,
        endpoint=Endpoint(Service("api", PATHS[request.dialect], "embeddings", LARGEST), endpoint),
        request=request,
        similarity=similarity,
        prompting=Prompting(given=prompts.given),
        batch_size=batch_size,
    )


@dataclass(frozen=True, kw_only=True)
class EndpointEncoder(PromptedEncoder):
    """A model, where and how it is asked, and what is sent with a text; see `api`."""

    representation: ClassVar[Representation] = "dense"
    paid: ClassVar[bool] = True

    model: str
    endpoint: Endpoint
    request: RequestOptions
    similarity: Literal["cosine", "dot"] = "cosine"
    batch_size: int = 32

    @property
    def asked_dim(self) -> int | None:
        """Dimensions asked of the model."""
        return self.request.dim

    @property
    def notes(self) -> tuple[str, ...]:
        """That texts may have been cut, where that was allowed."""
        return (CUT,) if self.request.truncate else ()

    @property
    def no_usage(self) -> Usage:
        """The usage of a call that asks for nothing: its names, with zeros."""
        return self.endpoint.no_usage

    def fingerprint(self) -> Mapping[str, object]:
        """Tell model, url and what is asked of it: nobody tells if other weights are served."""
        return {
            "model": self.model,
            "url": self.endpoint.url,
            "style": self.request.dialect,
            "dimensions": self.asked_dim,
            "truncate": self.request.truncate,
            "input_types": self.request.types,
        }

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

    def stream(
        self, texts: Sequence[str], role: Role, most: int | None = None
    ) -> Iterator[tuple[slice, Encoded]]:
        """Encode texts, reply by reply; empty ones, which services refuse, are zero and not sent.

        Args:
            texts: Any number of texts.
            role: What the texts are.
            most: Not used: a part is what one reply is for.

        Yields:
            The texts that a reply is for, and their vectors.

        Raises:
            InputError: The endpoint refuses a text, or the task lacks a prompt's instruction.
            EncodingError: Anything but one finite vector for each is sent.
            HarnessError: The endpoint does not answer.
        """
        dim = self.asked_dim

        def ask(line: Line, rows: slice) -> Iterator[tuple[slice, Float32, int | None]]:
            return line.parts(rows, lambda part: (part, *self._ask(line, texts[part], role)))

        asked, empty = self._batches(texts, role)
        for (rows, values, tokens), usage in self.endpoint.each(asked, ask):
            if dim not in (None, values.shape[1]):
                raise EncodingError(
                    f"{self.endpoint.host} sent {values.shape[1]}-d vectors: expected {dim}-d "
                    "ones, as " + ("asked for" if self.asked_dim else "before")
                )
            n, dim = len(values), values.shape[1]
            each = tokens if n == 1 and tokens is not None else -1
            counts = np.full(n, each, np.int32), np.zeros(n, np.bool_)
            yield rows, Encoded(values, *counts, usage=usage)
        for rows in empty:
            usage = self.no_usage
            if dim is None:  # nothing has told yet how wide vectors are
                dim, usage = self._probe(role)
            counts = np.zeros(n := rows.stop - rows.start, np.int32), np.zeros(n, np.bool_)
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
            tokens = self.request.read_tokens(found, headers)
            line.tally.add(tokens=tokens)
            return self._vectors(found, texts), tokens

        prompt = self.prompting.require(role, self.model)
        body = self.request.write(self.model, [prompt + text for text in texts], role)
        try:
            return line.ask(body, name_texts(texts), read)
        except RefusedError as error:
            if len(texts) == 1 and self.request.may_truncate:
                hint = "; with truncate=true long texts are cut"
                raise RefusedError(f"{error}{hint}", error.status) from None
            raise

    def _vectors(self, found: Any, texts: Sequence[str]) -> Float32:
        """The vectors of a reply [n, d], in the order of the texts. Raises EncodingError."""
        host, n = self.endpoint.host, len(texts)
        if self.request.dialect == "openai":
            items = self.endpoint.in_order(found["data"], n, "vectors")
            found = [item["embedding"] for item in items]
        elif self.request.dialect == "cohere":
            found = found["embeddings"]["float"]
        self.endpoint.one_each(len(found), n, "vectors")
        rows = [read_vector(row, text) for row, text in zip(found, texts, strict=True)]
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
