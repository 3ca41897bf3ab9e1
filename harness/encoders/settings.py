"""What a model's folder says of itself: its JSON files, held to the types that are read of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from harness.disk import foreign
from harness.errors import InputError

T = TypeVar("T")


class _Settings(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, protected_namespaces=())


class ModelConfig(_Settings):
    """What sentence-transformers wrote of a model, or PyLate: config_sentence_transformers.json."""

    model_type: str | None = None
    prompts: dict[str, str | None] | None = None
    default_prompt_name: str | None = None
    similarity_fn_name: str | None = None
    query_prefix: str | None = None
    document_prefix: str | None = None


class Config(_Settings):
    """What transformers, or model2vec, wrote of it: config.json."""

    architectures: list[str] | None = None
    normalize: bool | None = None


class Code(_Settings):
    """Code of its own that any part of it may name: all that ends in config.json."""

    auto_map: dict[str, Any] | None = None


class Module(_Settings):
    """One of modules.json."""

    type: str


class Router(_Settings):
    """Which modules serve which texts: router_config.json."""

    types: dict[str, str] | None = None


class Artifact(_Settings):
    """What Stanford's ColBERT wrote: artifact.metadata."""

    query_token_id: str | None = None
    doc_token_id: str | None = None


MODULES = TypeAdapter(list[Module])
NAMED_CODE = TypeAdapter(Code | list[Any])  # a list names none


def read_settings(path: Path, kind: type[T] | TypeAdapter[T], absent: T) -> T:
    """Read one of a model's JSON files.

    Args:
        path: The file.
        kind: What it holds.
        absent: What stands for it where there is none.

    Raises:
        InputError: It cannot be read, or holds something else.
    """
    if not path.exists():
        return absent
    shape = kind if isinstance(kind, TypeAdapter) else TypeAdapter(kind)
    try:
        return shape.validate_python(foreign.read_json(path))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        held = f"{place} = {first['input']!r:.60}" if place else f"{first['input']!r:.60}"
        raise InputError(f"{path}: {held}: {first['msg']}: expected a model's folder") from None
