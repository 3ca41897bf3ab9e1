"""Documents and queries by id, and the digest of their texts.

Everything after loading works on row numbers: documents are sorted by id, so that "document id
descending" (trec_eval's tie rule) is "row number descending" from here on.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from harness.arrays import Int32
from harness.errors import InputError

Role = Literal["query", "document", "text"]


@dataclass(frozen=True)
class Corpus:
    """Documents in ascending order of id (by code point, as strcmp orders UTF-8).

    ids: [n] unique; texts: [n], title and body joined by one space.

    Where texts are passages, `parents` names the document that each belongs to, as int32 [n] rows
    of `parent_ids`, ascending. Passages are searched; documents are ranked, each by its best
    passage (MaxP, Dai and Callan 2019), and judged.

    metadata: columns [n] by name, of text, numbers or lists, None where a document has no value;
    no part of the text.
    """

    ids: Sequence[str]
    texts: Sequence[str]
    parents: Int32 | None = None
    parent_ids: Sequence[str] = ()
    metadata: Mapping[str, Sequence[object]] | None = None

    @classmethod
    def of(
        cls,
        ids: Sequence[str],
        texts: Sequence[str],
        parents: Sequence[str] | None = None,
        *,
        metadata: Mapping[str, Sequence[object]] | None = None,
    ) -> Corpus:
        """Sort documents by id. parents: [n] ids of the documents that passages belong to.

        Raises InputError for an empty corpus and for an id that is empty or occurs twice.
        """
        if not ids:
            raise InputError("the corpus is empty: expected at least one document")
        order = sorted(range(len(ids)), key=ids.__getitem__)
        sorted_ids = [ids[i] for i in order]
        refuse_bad_ids(sorted_ids, "document")
        sorted_texts = [texts[i] for i in order]
        columns = metadata and {name: [col[i] for i in order] for name, col in metadata.items()}
        if parents is None:
            return cls(sorted_ids, sorted_texts, metadata=columns)
        known = sorted(set(parents))
        refuse_bad_ids(known, "parent document")
        row = {id: number for number, id in enumerate(known)}
        rows = np.array([row[parents[i]] for i in order], np.int32)
        return cls(sorted_ids, sorted_texts, rows, known, columns)

    @property
    def ranked(self) -> Sequence[str]:
        """Ids of what is ranked and judged: documents, or the parents of passages."""
        return self.ids if self.parents is None else self.parent_ids

    def row(self, id: str) -> int:
        """The row of what is ranked that has this id, found by bisection; -1 where none has."""
        at = bisect_left(self.ranked, id)
        return at if at < len(self.ranked) and self.ranked[at] == id else -1

    def __contains__(self, id: object) -> bool:
        """Whether an id is of what is ranked."""
        return isinstance(id, str) and self.row(id) >= 0

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Queries:
    """Queries in the order of their source. ids: [q] unique; texts: [q]."""

    ids: Sequence[str]
    texts: Sequence[str]

    def __post_init__(self) -> None:
        if not self.ids:
            raise InputError("there are no queries: expected at least one")
        refuse_bad_ids(sorted(self.ids), "query")

    @cached_property
    def rows(self) -> dict[str, int]:
        """Row number by query id."""
        return {id: row for row, id in enumerate(self.ids)}

    def __len__(self) -> int:
        return len(self.ids)


def refuse_bad_ids(sorted_ids: Sequence[str], noun: str) -> None:
    """Raise InputError for an empty id or two equal neighbours."""
    if not sorted_ids[0]:
        raise InputError(f"a {noun} has an empty id: expected text")
    for one, other in pairwise(sorted_ids):
        if one == other:
            raise InputError(f"{noun} id {one!r} occurs more than once: ids must be unique")


def array_digest(*arrays: NDArray[Any]) -> str:
    """SHA-256 of the bytes of arrays."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(array.tobytes())
    return digest.hexdigest()


def text_digest(*columns: Sequence[str]) -> str:
    """SHA-256 over columns of text, each text preceded by its length in bytes."""
    digest = hashlib.sha256()
    for row in zip(*columns, strict=True):
        for text in row:
            data = text.encode()
            digest.update(b"%d:" % len(data))
            digest.update(data)
    return digest.hexdigest()
