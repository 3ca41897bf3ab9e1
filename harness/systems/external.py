"""A search that the harness does not do itself: what all of them share."""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from harness.data import Corpus, Retrieval
from harness.errors import InputError
from harness.progress import Progress, silent
from harness.records import System
from harness.retrieve import without_own
from harness.single import Ranked, Request
from harness.systems import RETRIEVERS, hits
from harness.systems.hits import Answered, Hits
from harness.vectors import Run

UNKNOWN = "not known again"
PROCESS = secrets.token_hex(8)


@dataclass(frozen=True)
class External(ABC):
    """Somebody's search of a collection.

    Attributes:
        name: What errors and notes call it.
        fingerprint: What it is, as JSON, for the record.
        known: Whether the fingerprint changes whenever its results do.
    """

    name: str
    fingerprint: Mapping[str, object]
    known: bool

    @abstractmethod
    def answers(
        self, texts: Sequence[str], k: int, progress: Progress
    ) -> Iterator[tuple[slice, list[Hits]]]:
        """Yield which queries are answered, and their results; all of them, in any order."""

    @abstractmethod
    def prepare(self, data: Retrieval) -> None:
        """Take the documents, before they are searched, where the search wants them."""

    def usage(self) -> dict[str, float]:
        """What was asked of services so far, by name."""
        return {}

    @property
    def parts(self) -> tuple[()]:
        """None: it is made of nothing that the harness knows."""
        return ()

    @property
    def readers(self) -> list[Mapping[str, object]]:
        """Its fingerprint; what is not known again is the same only within this process."""
        return [self.fingerprint if self.known else {**self.fingerprint, "process": PROCESS}]

    def rank(self, spec: str, data: Retrieval, request: Request) -> Ranked:
        """Ask it for every query, leave out what the corpus does not hold, and rank.

        Raises:
            InputError: The task says what may be ranked for each query.
            HarnessError: The search fails, takes too long, or returns what is no ranking.
        """
        if data.candidates is not None:
            raise InputError(
                f"{self.name} searches the whole collection, and this task ranks candidates: "
                "choose another task"
            )
        clock, before = request.clock, self.usage()
        full = spec if spec in request.opened else str(RETRIEVERS.resolve(spec))
        with clock.phase("build", len(data.corpus), "documents"):
            self.prepare(data)
        documents = len(data.corpus.ranked)
        k = min(request.depth + request.exclude_self, documents)
        with clock.phase("search", len(data.queries), "queries"):
            found = self._ask(data.queries.texts, data.corpus, k, clock.progress)
            run = found.run
            if request.exclude_self:
                run = _drop_own(run, data, min(request.depth, documents))
        spent = {name: value - before[name] for name, value in self.usage().items()}

        def answer(row: int) -> Run:
            return self._ask([data.queries.texts[row]], data.corpus, k, silent).run

        return Ranked(
            run,
            self._describe(spec, full),
            "given",
            counts={"results_unknown": found.unknown, "queries_with_few_results": found.short},
            warnings=self._note(found, len(data.queries), k, request),
            spent=spent,
            answer=answer,
        )

    def _ask(self, texts: Sequence[str], corpus: Corpus, k: int, progress: Progress) -> Answered:
        """Results of all queries, in their order, whatever order they come in."""
        parts, done = dict[int, Answered](), 0
        for rows, found in self.answers(texts, k, progress):
            parts[rows.start] = hits.rank(found, corpus, k)
            done += len(found)
            progress("search", done, len(texts), "queries")
        return hits.concatenate([parts[start] for start in sorted(parts)])

    def _describe(self, spec: str, full: str) -> System:
        """What a record says of it."""
        return System(
            spec=spec,
            full=full,
            fingerprint=dict(self.fingerprint),
            makes="run",
            similarity="given",
            dimension=None,
            prompts={},
        )

    def _note(self, found: Answered, queries: int, k: int, request: Request) -> tuple[str, ...]:
        """What was noticed of its results, a sentence each."""
        own_index = request.index == "exact" or request.lenient
        notes = {
            f"{found.unknown} results of {self.name} name documents that the corpus does not hold: "
            "left out": found.unknown > 0,
            f"{found.short} of {queries} queries have fewer than the {k} results that {self.name} "
            "was asked for": found.short > 0,
            f"{self.name} searches by itself: index {request.index} plays no part": not own_index,
            f"{self.name} has no fingerprint: a later record cannot tell whether it has "
            "changed": not self.known,
        }
        return tuple(note for note, noticed in notes.items() if noticed)


def _drop_own(run: Run, data: Retrieval, depth: int) -> Run:
    """A run [q, depth] without the document that has the query's id."""
    if run.docs.shape[1] == depth:  # all there is: what is not its own stays
        room = ((0, 0), (0, 1))
        run = Run(np.pad(run.docs, room, constant_values=-1), np.pad(run.scores, room))
    return without_own(run, data, data.corpus.ranked)
