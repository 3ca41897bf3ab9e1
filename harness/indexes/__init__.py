"""Vectors to rankings: each module registers indexes that a spec can name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from harness.spec import Registry
from harness.types import Embeddings, Progress, Representation, Run


class Searcher(Protocol):
    """Documents made ready to be searched."""

    def search(self, queries: Embeddings, k: int, progress: Progress) -> Run:
        """The k best documents of each query [q, k], by the one ranking rule."""


class Index(Protocol):
    """A way to find the documents whose inner product with a query is highest."""

    @property
    def takes(self) -> tuple[Representation, ...]:
        """The representations it can search."""

    def require(self, makes: Representation) -> None:
        """Raise InputError if a library that it needs for these vectors is not installed."""

    def build(self, documents: Embeddings) -> Searcher:
        """Make documents searchable. Raises InputError for vectors it cannot take."""

    def describe(self) -> Mapping[str, object]:
        """What decides its results besides its spec: library and version."""


INDEXES: Registry[Index] = Registry("index", "harness.indexes")
