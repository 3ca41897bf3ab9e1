"""Queries made better before they are searched: each module registers rewriters for specs.

A TextRewriter changes the text of a query; Feedback changes its vector by what a first search
found (pseudo-relevance feedback).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.endpoints.usage import Usage
from harness.progress import Progress
from harness.registry import Registry
from harness.vectors import Embeddings, Representation, Run


@dataclass(frozen=True)
class Rewritten:
    """Texts to search with, and what became known while they were made.

    Attributes:
        texts: In the order of the queries [q].
        notes: What was noticed, as sentences for the record.
        usage: What was paid for, by name.
    """

    texts: list[str]
    notes: tuple[str, ...] = ()
    usage: Usage = field(default_factory=dict)


class TextRewriter(ABC):
    """Turns each query into another text, whatever else is rewritten with it."""

    def describe(self) -> Mapping[str, object]:
        """Tell what decides its results and its spec does not, as JSON; nothing secret."""
        return {}

    @abstractmethod
    def rewrite(
        self, texts: Sequence[str], progress: Progress, *, root: Path | None = None
    ) -> Rewritten:
        """Rewrite queries.

        Args:
            texts: The queries.
            progress: Told how far it is.
            root: The folder under which answers may be kept; None for the default store's.

        Returns:
            Texts to search with, in the order of the queries.
        """


class Feedback(ABC):
    """Moves each query's vector towards the documents that a first search ranks highest."""

    def describe(self) -> Mapping[str, object]:
        """Tell what decides its results and its spec does not, as JSON; nothing secret."""
        return {}

    @property
    @abstractmethod
    def accepts(self) -> tuple[Representation, ...]:
        """The representations it can work on."""

    @property
    @abstractmethod
    def depth(self) -> int:
        """Documents of the first search that it looks at, at most."""

    @property
    def counts(self) -> bool:
        """Whether its documents are term counts, not the vectors searched."""
        return False

    @abstractmethod
    def expand(
        self, queries: Embeddings, documents: Embeddings, run: Run, progress: Progress
    ) -> Embeddings:
        """Move queries.

        Args:
            queries: As the search takes them (unit length where similarity is cosine).
            documents: The same, or term counts.
            run: The first search; missing results (-1) are left out.
            progress: Told how far it is.

        Returns:
            Vectors to search with [q], in the space of `queries`.
        """


Rewriter = TextRewriter | Feedback

REWRITERS: Registry[Rewriter] = Registry("rewriting", "harness.rewriting")
