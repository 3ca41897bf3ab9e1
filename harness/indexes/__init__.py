"""Vectors to rankings: each module registers indexes that a spec can name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from harness.progress import Progress
from harness.spec import Registry
from harness.vectors import Embeddings, Representation, Run


class Searcher(Protocol):
    """Documents made ready to be searched.

    It may tell what a CountingSearcher tells: `warnings`, `distances` and `bytes`.
    """

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


@runtime_checkable
class Structured(Protocol):
    """An index with a structure that is costly to build: built once, kept, and searched with
    whatever parameters only matter then (ef_search, nprobe).

    documents: vectors of a kind that the index takes.
    """

    def structure(self) -> Mapping[str, object]:
        """What decides the structure besides the vectors, as JSON: parameters and library."""

    def grow(self, documents: Any, progress: Progress) -> Any:
        """Build the structure. Raises InputError for vectors it cannot take, or too many."""

    def searcher(self, built: Any, documents: Any) -> CountingSearcher:
        """The structure, to be searched with this index's parameters."""

    def write(self, built: Any, path: Path) -> None:
        """Write the structure to a file. Raises OSError."""

    def read(self, path: Path) -> Any:
        """Read what `write` wrote. Raises InputError."""

    def bytes(self, built: Any) -> int:
        """Memory that it takes to serve the structure, vectors included."""

    def warnings(self, k: int) -> tuple[str, ...]:
        """What a search for k will not do as its parameters say, a sentence each."""


class CountingSearcher(Searcher, Protocol):
    """A Searcher that tells what a search cost.

    warnings: what was noticed when it was made, a sentence each.
    """

    warnings: tuple[str, ...]

    @property
    def distances(self) -> int | None:
        """Distances computed by the last search, where the library tells."""

    @property
    def bytes(self) -> int:
        """Memory that it takes to serve the structure, vectors included."""


INDEXES: Registry[Index] = Registry("index", "harness.indexes")
