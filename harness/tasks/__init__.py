"""A task with its data: what is asked, what counts, and how a variant of it is made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from harness.data import Corpus, Data, Purpose, Qrels, Queries, Retrieval
from harness.errors import InputError
from harness.kinds import KINDS, Kind
from harness.measures import DEPTH
from harness.measures.asked import Measure
from harness.tasks import catalog
from harness.tasks.catalog import TaskEntry


@dataclass(frozen=True)
class Task:
    """Data and how they are judged: all that a system is measured on.

    Attributes:
        entry: What the catalog says of it: spec, source, family, license.
        data: The collection, pairs or labelled texts.
        measures: What is computed, the main one first.
        exclude_self: Whether a query's own document is no result.
        instructions: What the task asks for by role, for models that read it.
        label: What sets a variant apart from the task that it was made of; empty for the task.
        kept: Results of each query that are kept, if more than the measures look at.
    """

    entry: TaskEntry
    data: Data = field(repr=False)
    measures: tuple[Measure, ...]
    exclude_self: bool
    instructions: Mapping[str, str]
    label: str = ""
    kept: int = 0

    @property
    def name(self) -> str:
        """The task's spec, with the variant's label behind it."""
        return f"{self.entry.spec} ({self.label})" if self.label else self.entry.spec

    @property
    def purpose(self) -> Purpose:
        """What its texts are encoded for, by mteb's own names where the task is mteb's."""
        origin, definition = self.data.origin, self.entry.definition
        data = self.collection if self.kind.ranks else self.data
        return Purpose(
            origin.name or definition.name,
            origin.type or self.kind.name_type(data),
            self.instructions,
            definition.language or origin.language,
        )

    @property
    def main(self) -> Measure:
        """The measure that systems are ranked by."""
        return self.measures[0]

    @property
    def sign(self) -> int:
        """1 where high scores are good, -1 where low ones are."""
        return -1 if self.main.definition(self.data.kind).better == "low" else 1

    def require_values(self) -> Task:
        """Return the task itself, for what looks at the value of each query (pair, text).

        Raises:
            InputError: Its main measure is one of groups of queries.
        """
        if self.main.definition(self.data.kind).grouped:
            raise InputError(
                f"{self.name} is measured by {self.main}, of groups: expected one of queries"
            )
        return self

    def require_high(self) -> Task:
        """Return the task itself, for what speaks of shares and losses of a score.

        Raises:
            InputError: Low scores are good.
        """
        if self.sign < 0:
            raise InputError(
                f"{self.name} is measured by {self.main}, which is good where it is low: expected "
                "a measure that is good where it is high"
            )
        return self

    @property
    def depth(self) -> int:
        """Results of each query: what the deepest measure looks at, or more.

        A cut-off beyond both the documents and what is usual asks for no more than these.
        """
        asked = max(self.kept, *(measure.depth for measure in self.measures))
        there = len(self.data.corpus.ranked) if isinstance(self.data, Retrieval) else 0
        return min(asked, max(there, DEPTH))

    @property
    def kind(self) -> Kind[Any, Any]:
        """How it is encoded and judged. Raises InputError for a kind that nobody registered."""
        return KINDS.create(self.data.kind)

    @property
    def collection(self) -> Retrieval:
        """The data of a task that is searched. Raises InputError for another kind."""
        if not self.kind.ranks:
            raise InputError(f"{self.name} is a task of {self.data.kind}: expected retrieval")
        if not isinstance(self.data, Retrieval):
            raise InputError(
                f"{self.name} is a task of {self.data.kind}, which ranks: its data are of class "
                f"{type(self.data).__name__}: expected a subclass of harness.data.Retrieval"
            )
        return self.data

    def measured_by(self, measures: Sequence[str]) -> Task:
        """The task with other measures; with its own where none is named.

        Raises:
            InputError: A measure is unknown or fits another kind of task.
        """
        if not measures:
            return self
        return replace(self, measures=self.entry.measures(self.data, measures))

    def changed(
        self,
        label: str,
        *,
        data: Data | None = None,
        queries: Queries | None = None,
        corpus: Corpus | None = None,
        qrels: Qrels | None = None,
        kept: int = 0,
    ) -> Task:
        """A variant: the same task with other data, or other queries, documents or judgments.

        Args:
            label: What was changed, for people: "typos 30%".
            data: In place of the task's, of the same kind, whatever the kind.
            queries: In place of the task's, in the same order.
            corpus: In place of the task's; its rows must fit the judgments.
            qrels: In place of the task's.
            kept: Results of each query, if more than the task's.

        Raises:
            InputError: The data are of another kind; or queries, documents or judgments are given
                for a task that is not searched.
        """
        data = self.data if data is None else data
        if data.kind != self.data.kind:
            raise InputError(f"{self.name} is a task of {self.data.kind}: these data: {data.kind}")
        if queries or corpus or qrels:
            now = replace(self, data=data).collection
            data = replace(
                now,
                queries=queries or now.queries,
                corpus=corpus or now.corpus,
                qrels=qrels or now.qrels,
            )
        label = f"{self.label}, {label}" if self.label else label
        return replace(self, data=data, label=label, kept=max(kept, self.kept))

    def split(self, name: str) -> Data:
        """The data of another split. Raises InputError where the source has no such one."""
        return self.entry.split(name)


def load(spec: str, measures: Sequence[str] = ()) -> Task:
    """Load the task that a spec names.

    Args:
        spec: A name of the catalog or a source: "limit-small", "folder:my/collection".
        measures: In place of the task's own.

    Raises:
        InputError: The task or a measure is unknown, or the data cannot be read.
    """
    return of(catalog.task(spec)).measured_by(measures)


def of(entry: TaskEntry, data: Data | None = None) -> Task:
    """The task of a catalog entry, with its data or with those that are given."""
    data = entry.load() if data is None else data
    return Task(entry, data, entry.measures(data), entry.excludes(data), entry.instructions(data))
