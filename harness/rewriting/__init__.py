"""Queries made better before they are searched: each module registers rewriters for specs.

A TextRewriter changes the text of a query; Feedback changes its vector by what a first search
found (pseudo-relevance feedback).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

from harness.progress import Progress
from harness.spec import Registry
from harness.vectors import Embeddings, Representation, Run


@runtime_checkable
class TextRewriter(Protocol):
    """Turns each query into another text, whatever else is rewritten with it."""

    def rewrite(
        self, texts: Sequence[str], progress: Progress, *, root: Path | None = None
    ) -> list[str]:
        """Texts to search with, in the order of the queries [q].

        root: the folder under which answers may be kept, None for the default store's.
        """

    def describe(self) -> Mapping[str, object]:
        """What decides its results, as JSON; nothing secret."""


@runtime_checkable
class Feedback(Protocol):
    """Moves each query's vector towards the documents that a first search ranks highest."""

    @property
    def takes(self) -> tuple[Representation, ...]:
        """The representations it can work on."""

    @property
    def depth(self) -> int:
        """Documents of the first search that it looks at, at most."""

    @property
    def counts(self) -> bool:
        """Whether its documents are term counts (Collection.counts), not the vectors searched."""

    def expand(
        self, queries: Embeddings, documents: Embeddings, run: Run, progress: Progress
    ) -> Embeddings:
        """Vectors to search with [q], in the space of `queries`.

        queries, documents: as the search takes them (unit length where similarity is cosine), or
        term counts in place of documents. run: the first search; missing results (-1) are left out.
        """


Rewriter = TextRewriter | Feedback

REWRITERS: Registry[Rewriter] = Registry("rewriting", "harness.rewriting")
