"""A model's vectors of a task's texts: what studies look at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from harness.arrays import Float32
from harness.errors import InputError
from harness.kinds import Parts
from harness.tasks import Task
from harness.vectors import Dense, Embeddings, MultiVector, Representation, Sparse


@dataclass(frozen=True)
class TaskVectors:
    """A model's vectors of a task's texts. They are never changed in place.

    Attributes:
        task: Whose texts they are.
        model: The spec of the encoder.
        similarity: How the model compares two of them: cosine, dot or maxsim.
        parts: By the names of the kind: "documents" and "queries", "sentences" of pairs.
        notes: What was noticed on the way, a sentence each.
    """

    task: Task
    model: str
    similarity: str
    parts: Mapping[str, Embeddings]
    notes: tuple[str, ...]

    @property
    def documents(self) -> Embeddings:
        """Of the corpus, in its order."""
        return self.parts["documents"]

    @property
    def queries(self) -> Embeddings:
        """Of the queries, in their order."""
        return self.parts["queries"]

    @property
    def arrays(self) -> dict[str, Float32]:
        """Dense vectors as read-only arrays [n, d], by part."""
        return {name: part.values for name, part in self.parts.items() if isinstance(part, Dense)}

    @property
    def several(self) -> dict[str, MultiVector]:
        """Vectors of the tokens of each text, by part."""
        return {name: part for name, part in self.parts.items() if isinstance(part, MultiVector)}


def texts_of(task: Task) -> Parts:
    """The texts of a task. Raises InputError where what is ranked is not each document."""
    if task.kind.ranks:
        data = task.collection
        if data.corpus.parents is not None or data.candidates is not None:
            raise InputError(f"{task.name} has passages or candidates: expected neither")
    return task.kind.parts(task.data)


def representation_of(vectors: Embeddings) -> Representation:
    """What kind of vectors these are, as indexes name it."""
    if isinstance(vectors, Dense):
        return "dense"
    return "sparse" if isinstance(vectors, Sparse) else "multi-vector"
