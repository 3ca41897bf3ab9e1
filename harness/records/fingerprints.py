"""Digests, and what decides the rankings of a system that is made of others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from harness import disk


class Fingerprinted(Protocol):
    """What a part's record has: what decides its results, and its prompts."""

    @property
    def fingerprint(self) -> dict[str, Any]:
        """What decides its results."""

    @property
    def prompts(self) -> dict[str, str]:
        """By role."""


def composite_fingerprint(
    full: str, parts: Sequence[tuple[Fingerprinted, str]], **decided: object
) -> dict[str, Any]:
    """Return what decides the rankings of a system made of others.

    Args:
        full: The retriever's full spec.
        parts: Each with the full spec of its index, "" where it has none of its own.
        decided: What else decides its rankings, as JSON.
    """
    made_of = [
        {"fingerprint": part.fingerprint, "prompts": part.prompts, "index": index}
        for part, index in parts
    ]
    return {"retriever": full, "parts": made_of, **decided}


def is_composite(fingerprint: Mapping[str, Any]) -> bool:
    """Whether a fingerprint is of a system made of others, as `composite_fingerprint` makes it."""
    parts = fingerprint.get("parts")
    return "retriever" in fingerprint and isinstance(parts, list) and all(map(_is_part, parts))


def _is_part(part: object) -> bool:
    return isinstance(part, dict) and all(
        isinstance(part.get(key), dict) for key in ("fingerprint", "prompts")
    )


def apart_from_indexes(fingerprint: Mapping[str, Any]) -> Mapping[str, Any]:
    """What `composite_fingerprint` made, without indexes and the weights tuned with them."""
    if not is_composite(fingerprint):
        return fingerprint
    parts = [
        {**part, "fingerprint": apart_from_indexes(part["fingerprint"]), "index": ""}
        for part in fingerprint["parts"]
    ]
    return {"retriever": fingerprint["retriever"], "parts": parts}


def digest(*parts: object) -> str:
    """Return twelve hexadecimal digits that tell JSON values apart."""
    return disk.json_sha256(parts)[:12]
