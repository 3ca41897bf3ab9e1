"""Vectors to rankings: each module registers indexes that a spec can name."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, Protocol

from harness.errors import InputError
from harness.progress import Progress, silent
from harness.registry import Registry
from harness.vectors import Embeddings, Representation, Run


@dataclass(frozen=True)
class IndexInfo:
    """What is known of documents that are ready to be searched.

    Attributes:
        bytes: memory that it takes to serve them, vectors included where a search looks at them;
            None where what serves them does not tell.
        exact: whether results are those of exact search.
        reused: whether a structure was read from where it was kept; None where none is kept.
        notes: what was noticed when they were made ready, a sentence each.
        streamed: part of them that is copied to devices for every batch of queries.
        library: what searches them, where that is not what the index says (`Index.describe`).
    """

    bytes: int | None
    exact: bool = False
    reused: bool | None = None
    notes: tuple[str, ...] = ()
    streamed: float = 0.0
    library: Mapping[str, object] | None = None


@dataclass(frozen=True)
class Instead:
    """What the processor did in place of GPUs.

    Attributes:
        part: queries or comparisons that it did.
        whole: of so many.
        of: which of the two they are.
        why: in a few words.
        full: whether it is that a device was full.
    """

    part: int
    whole: int
    of: Literal["queries", "comparisons"]
    why: str
    full: bool

    def __str__(self) -> str:
        """In a sentence."""
        done = "searched" if self.of == "queries" else "made"
        return f"{self.part:,} of {self.whole:,} {self.of} were {done} on the CPU: {self.why}"


@dataclass(frozen=True)
class Found:
    """What a search found, and what it took.

    Attributes:
        run: ranking of the documents [q, k].
        distances: distances that were computed for all queries; None where the library does not
            tell.
        notes: what was noticed meanwhile, a sentence each.
        devices: GPUs that searched, as in cuda:0; none where the processor did.
        instead: what of it the processor did in their place.
    """

    run: Run
    distances: int | None = None
    notes: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    instead: Instead | None = None


class Searcher(Protocol):
    """Documents ready to be searched."""

    @property
    def info(self) -> IndexInfo:
        """Size and origin of what is searched."""

    def search(self, queries: Embeddings, k: int, progress: Progress) -> Found:
        """Find the k best documents of each query, by the one ranking rule.

        Args:
            queries: q of them, of a representation that the index accepts.
            k: results of a query.
            progress: told of queries or comparisons done.

        Returns:
            A run [q, k], padded where fewer documents are found.

        Raises:
            InputError: for vectors that do not fit the documents, NaN and infinity.
        """


class Index(ABC):
    """A way to find the documents whose inner product with a query is highest.

    An index is a frozen value: its fields are the parameters of its spec, and it can be pickled.
    """

    accepts: ClassVar[tuple[Representation, ...]]
    compresses: ClassVar[bool] = False
    """Whether it keeps vectors otherwise than the model made them: a loss also where nothing is
    searched."""

    @property
    def exact(self) -> bool:
        """Whether results are those of exact search."""
        return False

    @property
    def mergeable(self) -> bool:
        """Whether results over ranges of documents, merged by the ranking rule, are those over all.

        It is so where a document's score depends on the query and that document alone, and every
        document is compared.
        """
        return False

    def require(self, representation: Representation) -> None:  # noqa: B027 - most need nothing
        """Check that what searches these vectors is installed.

        Raises:
            InputError: where a library is missing.
        """

    def describe(self) -> Mapping[str, object]:
        """Tell what decides results besides the spec: library and version."""
        return {"exact": self.exact}

    def notes(self, k: int) -> tuple[str, ...]:
        """Tell what a search for k results will not do as the parameters say, a sentence each."""
        return ()

    def compressor(self) -> Callable[[Embeddings, Embeddings], Embeddings]:
        """Give what makes vectors as the index keeps them, for tasks that search nothing.

        Returns:
            A function of vectors, and of those from which it learns what it has to learn.

        Raises:
            InputError: where the index is only a way to search.
        """
        raise InputError(
            "it is a way to search, and this task searches nothing: leave the index out, or choose "
            "binary, int8, pca or truncate"
        )

    @abstractmethod
    def open(
        self, documents: Embeddings, place: Path | None = None, progress: Progress = silent
    ) -> Searcher:
        """Make documents searchable.

        Args:
            documents: n of them, of a representation that the index accepts.
            place: folder where structures that are costly to build are kept, to be read the next
                time; None to keep nothing.
            progress: told of documents done.

        Raises:
            InputError: for vectors it cannot take, or too many.
            StoreError: where what was kept cannot be read.
        """


INDEXES: Registry[Index] = Registry("index", "harness.indexes")
