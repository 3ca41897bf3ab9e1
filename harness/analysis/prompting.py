"""Prompts to try: those that models were trained with, those of a file, and how they are shown."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.disk import foreign
from harness.encoders.prompting import PLACE
from harness.errors import InputError
from harness.registry import unknown

PROMPTS = (
    "",
    "Find documents about: ",
    "Which text answers this? ",
    "query: ",  # E5 (arXiv 2212.03533)
    "search_query: ",  # nomic-embed (arXiv 2402.01613)
    "Represent this sentence for searching relevant passages: ",  # BGE (arXiv 2309.07597)
    f"Instruct: {PLACE}\nQuery: ",  # E5-mistral (arXiv 2401.00368)
)
"""Asked where nothing else is said; the last one of tasks that have an instruction."""
WIDTH = 60  # characters of a prompt that are shown
OWN = "its own"

Texts = tuple[str, str]  # what stands before queries and before documents


@dataclass(frozen=True)
class Prompt:
    """Text put before queries and before documents; None for the system's own."""

    query: str | None = None
    document: str | None = None

    def texts(self, own: Texts) -> Texts:
        """What is put there for a system that else puts its own."""
        query = own[0] if self.query is None else self.query
        return query, own[1] if self.document is None else self.document


def read(path: Path) -> tuple[list[str], list[str] | None]:
    """Read prompts of queries and, where the file has them, of documents.

    Args:
        path: A TOML file with lists `prompts` and perhaps `document_prompts`; of another file each
            line is a prompt as it stands, an empty one no prompt.

    Raises:
        InputError: for a file that cannot be read or holds anything else.
    """
    if path.suffix != ".toml":
        lines = foreign.read_text(path).removesuffix("\n").split("\n")
        return [line.removesuffix("\r") for line in lines], None
    toml = foreign.read_toml(path)
    for name, value in toml.items():
        if name not in ("prompts", "document_prompts"):
            raise unknown(f"key of {path}", name, ("prompts", "document_prompts"))
        if not (isinstance(value, list) and value and all(isinstance(one, str) for one in value)):
            raise InputError(f"{path}: {name} = {value!r}: expected a list of texts")
    if "prompts" not in toml:
        raise InputError(f'{path} has no prompts: expected prompts = ["", "query: "]')
    return toml["prompts"], toml.get("document_prompts")


def labels(prompts: Sequence[Prompt]) -> list[str]:
    """Prompts as they are shown, a number behind those that look alike when shortened."""
    short = [name_prompt(prompt) for prompt in prompts]
    return [
        f"{text} ({short[: at + 1].count(text)})" if short.count(text) > 1 else text
        for at, text in enumerate(short)
    ]


def name_prompt(prompt: Prompt) -> str:
    """What stands before queries, then before documents if that is set."""
    said = [quote(text) for text in (prompt.query, prompt.document) if text is not None]
    return ", documents ".join(said) or OWN


def quote(text: str) -> str:
    """A text in quotes, with its spaces and line ends to be seen."""
    short = text if len(text) <= WIDTH else f"{text[:WIDTH]}..."
    return json.dumps(short, ensure_ascii=False) if text else "none"
