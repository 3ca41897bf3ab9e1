"""A search that the harness does not do itself: what all of them share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from harness.data import Corpus, Retrieval
from harness.endpoints.usage import Usage, known_usage, sum_usage
from harness.errors import InputError
from harness.pipeline.retrieve import drop_self
from harness.pipeline.single import Ranked, Request
from harness.progress import Progress, silent
from harness.records import SystemRecord
from harness.systems import PROCESS, RETRIEVERS, Retriever, hits
from harness.systems.hits import Answered, Hits
from harness.vectors import Run
from harness.wording import count

UNKNOWN = "not known again"
LEFT_OUT = "left out, of documents that the corpus does not hold"


@dataclass(frozen=True)
class External(Retriever):
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
    ) -> Iterator[tuple[slice, list[Hits], Usage]]:
        """Yield which queries are answered, their results, and what was used; in any order."""

    @abstractmethod
    def prepare(self, data: Retrieval) -> None:
        """Take the documents, before they are searched, where the search wants them."""

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
        clock = request.clock
        full = spec if spec in request.own else str(RETRIEVERS.resolve(spec))
        with clock.phase("build", items=len(data.corpus), unit="documents"):
            self.prepare(data)
        documents = len(data.corpus.ranked)
        k = min(request.depth + request.exclude_self, documents)
        with clock.phase("search", items=len(data.queries), unit="queries"):
            found, usage = self._ask(data.queries.texts, data.corpus, k, clock.progress)
            run = found.run
            if request.exclude_self:
                run = drop_self(run, data, request.depth)

        def answer(row: int) -> Run:
            return self._ask([data.queries.texts[row]], data.corpus, k, silent)[0].run

        return Ranked(
            run,
            SystemRecord(
                spec=spec,
                full=full,
                source="object" if spec in request.own else "registry",
                fingerprint=dict(self.fingerprint),
            ),
            counts={"results_unknown": found.unknown, "queries_with_few_results": found.short},
            warnings=self._note(found, len(data.queries), k, request),
            usage=known_usage(usage),
            answer=answer,
        )

    def _ask(
        self, texts: Sequence[str], corpus: Corpus, k: int, progress: Progress
    ) -> tuple[Answered, Usage]:
        """Results of all queries, in their order, whatever order they come in; what was used."""
        parts, done, used = dict[int, Answered](), 0, list[Usage]()
        for rows, found, usage in self.answers(texts, k, progress):
            parts[rows.start] = hits.rank(found, corpus, k)
            used.append(usage)
            done += len(found)
            progress("search", done, len(texts), "queries")
        return hits.concatenate([parts[start] for start in sorted(parts)]), sum_usage(used)

    def _note(self, found: Answered, queries: int, k: int, request: Request) -> tuple[str, ...]:
        """What was noticed of its results, a sentence each."""
        own_index = request.index == "exact" or request.lenient
        have = "has" if found.short == 1 else "have"
        notes = {
            f"{count(found.unknown, 'result')} of {self.name} {LEFT_OUT}": found.unknown > 0,
            f"{found.short:,} of {count(queries, 'query')} {have} fewer than the "
            f"{count(k, 'result')} that "
            f"{self.name} was asked for": found.short > 0,
            f"{self.name} searches by itself: index {request.index} plays no part": not own_index,
            f"{self.name} has no fingerprint: a later record cannot tell whether it has "
            "changed": not self.known,
        }
        return tuple(note for note, noticed in notes.items() if noticed)
