"""How services of embeddings are asked and how they answer, in three dialects.

openai  POST url/embeddings   {model, input}              OpenAI, vLLM, Infinity, Voyage, Jina
tei     POST url/embed        {inputs, truncate}          Text Embeddings Inference
cohere  POST url/embed        {model, texts, input_type}  Cohere's v2
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from harness.arrays import Float32
from harness.data import Role
from harness.endpoints.service import UnansweredError, name_texts, read_count
from harness.errors import InputError
from harness.parameters import check_range

Dialect = Literal["openai", "tei", "cohere"]

PATHS: dict[Dialect, str] = {"openai": "/embeddings", "tei": "/embed", "cohere": "/embed"}
TEXTS: dict[Dialect, str] = {"openai": "input", "tei": "inputs", "cohere": "texts"}
OFFERED: dict[Dialect, set[str]] = {  # parameters that only some dialects have
    "openai": {"dim", "query_type", "document_type"},
    "tei": {"truncate"},
    "cohere": {"dim", "truncate", "query_type", "document_type"},
}


@dataclass(frozen=True)
class RequestOptions:
    """What is asked of a service of embeddings beside texts, and how.

    Attributes:
        dialect: How it is asked.
        dim: Dimensions asked of the model; None for all.
        truncate: Whether long texts are cut there, not refused.
        query_type: Sent as input_type of queries.
        document_type: Sent as input_type of all others.
    """

    dialect: Dialect = "openai"
    dim: int | None = None
    truncate: bool = False
    query_type: str | None = None
    document_type: str | None = None

    def check(self) -> None:
        """Raise InputError for a value out of range, or one that the dialect does not have."""
        check_range("api", dim=(1 if self.dim is None else self.dim, 1, 65536))
        for name in ("dim", "truncate", "query_type", "document_type"):
            if getattr(self, name) and name not in OFFERED[self.dialect]:
                having = " or ".join(key for key, names in OFFERED.items() if name in names)
                raise InputError(
                    f"api: dialect={self.dialect} has no {name}: expected dialect={having}"
                )

    @property
    def types(self) -> dict[Role, str]:
        """What is sent as input_type in each role; "" where nothing is."""
        query, document = self.query_type or "", self.document_type or ""
        if self.dialect == "cohere":
            query, document = query or "search_query", document or "search_document"
        return {"query": query, "document": document, "text": document}

    @property
    def may_truncate(self) -> bool:
        """Whether long texts could be cut, and are refused."""
        return "truncate" in OFFERED[self.dialect] and not self.truncate

    def write(self, model: str, texts: Sequence[str], role: Role) -> dict[str, Any]:
        """What is sent, and no more: some servers refuse fields that they do not know."""
        body: dict[str, Any] = {TEXTS[self.dialect]: texts}
        if self.dialect == "tei":
            return {**body, "truncate": self.truncate}
        body["model"] = model
        if self.types[role]:
            body["input_type"] = self.types[role]
        asked: dict[str, Any]
        if self.dialect == "openai":
            asked = {"dimensions": self.dim}
        else:
            asked = {"embedding_types": ["float"], "output_dimension": self.dim}
            asked["truncate"] = "END" if self.truncate else "NONE"
        return body | {name: value for name, value in asked.items() if value is not None}

    def read_tokens(self, found: Any, headers: Mapping[str, str]) -> int | None:
        """The tokens that a reply says were read."""
        if self.dialect == "tei":
            return read_count(headers.get("x-compute-tokens"))
        if self.dialect == "cohere":
            units = (found.get("meta") or {}).get("billed_units") or {}
            return read_count(units.get("input_tokens"))
        usage = found.get("usage") or {}
        return read_count(usage.get("prompt_tokens", usage.get("total_tokens")))


def read_vector(row: Any, text: str) -> Float32:
    """The vector of a text, as numbers or as base64 of float32. Raises UnansweredError for none."""
    if isinstance(row, str):
        with suppress(ValueError):
            return np.frombuffer(base64.b64decode(row, validate=True), "<f4")
    if row is None or isinstance(row, str) or np.asarray(row).dtype.kind not in "iufO":
        what = "null" if row is None else "text that is no base64 of float32"
        raise UnansweredError(f"sent {what} in place of the vector of {name_texts([text])}")
    with np.errstate(over="ignore"):  # infinity, which is refused later, as null, which becomes NaN
        return np.array(row, np.float32)
