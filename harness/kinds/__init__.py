"""Kinds of tasks: one file and one registered class each, from what is encoded to the scores.

    @KINDS.register("naming")
    class NamingKind(Kind[Naming, Mapping[str, Float32]]):
        ...

A kind is named like the `kind` of its class of data. One that judges vectors is a `Kind`; one that
judges rankings is a `RankingKind`, and its data are a `Retrieval`, or a subclass with more in it:
whatever ranks documents, reranks or fuses then serves it, too. Reranking is no kind of its own: it
is retrieval with `candidates`, since it differs only in what may be ranked.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

from harness.data import Data, Retrieval, Role
from harness.measures.asked import Measure
from harness.progress import Progress, silent
from harness.registry import Registry
from harness.stats import Estimate
from harness.vectors import Representation, Run

SAMPLES = 3  # rows of a task's data that a listing shows

D = TypeVar("D", bound=Data)  # the class of data
R = TypeVar("R", bound=Retrieval)  # that of what is searched
O = TypeVar("O")  # noqa: E741 - what is judged: a run, or vectors by part

Parts = Mapping[str, tuple[Role, Sequence[str]]]
"""Texts to encode by the name of their part, with the role that they are encoded in."""


@dataclass(frozen=True)
class Verdict:
    """Scores by measure; columns of what was scored; counts; warnings, a sentence each."""

    scores: dict[str, Estimate]
    per_query: Mapping[str, Any]
    counts: dict[str, int]
    warnings: list[str]


@dataclass(frozen=True)
class Description:
    """What a listing shows of a task's data: counts by name, and some samples as rows of text."""

    counts: Mapping[str, str]
    columns: Sequence[str]
    samples: Sequence[Sequence[str]]
    numeric: frozenset[int] = frozenset()


class Kind(ABC, Generic[D, O]):
    """How tasks of one kind are encoded and judged.

    title: over its tables. measures: where nothing else is said, the main one first. accepts: the
    representations that it can judge. ranks: whether it judges a run, which a search made, and
    not the vectors themselves.
    """

    title: ClassVar[str]
    measures: ClassVar[tuple[str, ...]]
    accepts: ClassVar[frozenset[Representation]] = frozenset({"dense"})
    ranks: ClassVar[bool] = False

    @abstractmethod
    def parts(self, data: D) -> Parts:
        """Name what is encoded, and in which roles."""

    @abstractmethod
    def judge(
        self,
        outcome: O,
        data: D,
        measures: Sequence[Measure],
        seed: int = 0,
        progress: Progress = silent,
    ) -> Verdict:
        """Score what a system made of the data.

        Args:
            outcome: A run [q, k] where the kind ranks, else vectors by the names of the parts.
            data: The task's data.
            measures: Those of this kind that are wanted.
            seed: Of the bootstrap.
            progress: Told how far it is.

        Returns:
            Scores in the order of the measures.

        Raises:
            InputError: Where a measure does not fit the data.
        """

    @abstractmethod
    def describe(self, data: D) -> Description:
        """Count and sample the data."""

    def name_type(self, data: D) -> str:
        """Say what mteb calls tasks of this type, as models name their prompts; "" for none."""
        return ""

    def lacks(self, data: D) -> str:
        """Say what keeps data from being judged, before anything is encoded; "" where nothing."""
        return ""


class RankingKind(Kind[R, Run]):
    """How tasks of one kind are judged by the rankings that searches of their documents make."""

    accepts = frozenset({"dense", "sparse", "multi-vector"})
    ranks = True

    def parts(self, data: R) -> Parts:
        """Documents and queries, each in its role."""
        return texts_to_search(data)

    def name_type(self, data: R) -> str:
        """Say "Retrieval", or "Reranking" among candidates."""
        return "Retrieval" if data.candidates is None else "Reranking"


def texts_to_search(data: Retrieval) -> Parts:
    """Documents and queries, each in its role."""
    return {
        "documents": ("document", data.corpus.texts),
        "queries": ("query", data.queries.texts),
    }


KINDS: Registry[Kind[Any, Any]] = Registry("kind of task", "harness.kinds")


def title(kind: str) -> str:
    """What stands over the tables of a kind, also of one that is not registered here."""
    return KINDS.create(kind).title if kind in KINDS else kind.capitalize()
