"""An encoder that counts what it is asked, and a small collection of documents."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from harness.data import Data, Role
from harness.encoders import Encoded, Similarity, TextEncoder
from harness.tasks import catalog
from harness.tasks.catalog import TaskEntry
from harness.vectors import Representation


@dataclass(frozen=True)
class Counting(TextEncoder):
    """Vectors that are a function of prompt, role and text; `seen` holds every text in order."""

    name: str = "counting"
    dim: int = 4
    query_prompt: str = ""
    settings: tuple[tuple[str, object], ...] = ()
    seen: list[str] = field(default_factory=list, compare=False)
    loads: list[int] = field(default_factory=list, compare=False)

    @property
    def representation(self) -> Representation:
        return "dense"

    @property
    def similarity(self) -> Similarity:
        return "cosine"

    def fingerprint(self) -> Mapping[str, object]:
        return {"name": self.name, "dim": self.dim, **dict(self.settings)}

    def prompt(self, role: Role) -> str:
        return self.query_prompt if role == "query" else ""

    def load(self) -> None:
        self.loads.append(1)

    def vector(self, text: str, role: Role) -> np.ndarray:
        """What a text becomes: float32 [dim]."""
        whole = f"{dict(self.fingerprint())}|{role}|{self.prompt(role)}|{text}"
        number = int.from_bytes(hashlib.sha256(whole.encode()).digest()[:8], "little")
        return np.random.default_rng(number).standard_normal(self.dim).astype(np.float32)

    def encode(self, texts: Sequence[str], role: Role) -> Encoded:
        self.seen.extend(texts)
        values = np.stack([self.vector(text, role) for text in texts])
        tokens = np.array([len(text.split()) for text in texts], np.int32)
        return Encoded(values, tokens, tokens > 5)


@dataclass(frozen=True)
class GivenEntry(TaskEntry):
    """A task of the catalog with other data than its source's."""

    data: Data | None = None

    def load(self) -> Data:
        assert self.data is not None
        return self.data


def with_data(name: str, data: Data, **changed: object) -> TaskEntry:
    """A task of the catalog with these data."""
    return GivenEntry(**{**vars(catalog.task(name)), **changed}, data=data)


def beir(
    folder: Path,
    documents: Mapping[str, str],
    queries: Mapping[str, str],
    judgments: Sequence[tuple[str, str, float]],
) -> str:
    """Write a collection in the BEIR layout; returns its task spec."""
    (folder / "qrels").mkdir(parents=True)
    for name, texts in (("corpus", documents), ("queries", queries)):
        rows = [json.dumps({"_id": id, "text": text}) for id, text in texts.items()]
        (folder / f"{name}.jsonl").write_text("\n".join(rows) + "\n", "utf-8")
    lines = ["query-id\tcorpus-id\tscore", *("\t".join(map(str, row)) for row in judgments)]
    (folder / "qrels" / "test.tsv").write_text("\n".join(lines) + "\n", "utf-8")
    return f"folder:{folder}"
