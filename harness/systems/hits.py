"""What somebody's search returned, read and checked: it is not trusted."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from numbers import Real
from typing import Any, TypeGuard

import numpy as np

from harness.arrays import TOO_LARGE, is_iterable
from harness.data import Corpus, rows
from harness.errors import HarnessError, InputError
from harness.vectors import Run, ranking
from harness.wording import count

Hits = list[tuple[str, float]]


@dataclass(frozen=True)
class Answered:
    """Results of several queries.

    Attributes:
        keys: Packed by the ranking rule, uint64 [q, k].
        unknown: Results that the corpus does not hold, left out.
        short: Queries with fewer results than were asked for.
    """

    keys: ranking.Keys
    unknown: int
    short: int

    @property
    def run(self) -> Run:
        """The results by the one ranking rule [q, k]."""
        return ranking.unpack(self.keys)


def concatenate(parts: Sequence[Answered]) -> Answered:
    """What was answered in several batches, as one."""
    keys = np.concatenate([part.keys for part in parts])
    return Answered(keys, sum(part.unknown for part in parts), sum(part.short for part in parts))


def rank(hits: Sequence[Hits], corpus: Corpus, k: int) -> Answered:
    """The k best of each query's results that the corpus holds."""
    keys, unknown = np.zeros((len(hits), k), np.uint64), 0
    for row, found in enumerate(hits):
        docs = np.array([corpus.row(id) for id, _ in found], np.int64)
        scores = np.array([score for _, score in found], np.float32)
        unknown += int(np.count_nonzero(docs < 0))
        if len(found):
            keys[row] = ranking.best(ranking.pack(scores, docs)[None, :], k)[0]
    return Answered(keys, unknown, sum(len(found) < k for found in hits))


def read(returned: object, texts: Sequence[str], name: str) -> list[Hits]:
    """Ids and scores for each query, from any of the forms that a search may return.

    Args:
        returned: A list with the results of each query, which are (id, score) pairs, ids alone,
            best first, `{"id", "score"}` dicts or one dict of scores by id; or a tuple of ids and
            of scores, [q, any] each.
        texts: The queries [q].
        name: The system, for errors.

    Raises:
        HarnessError: The results are not one list a query, a document is twice among them, an id
            is no text or a score no finite number; the error names the query.
    """
    if isinstance(returned, tuple) and len(returned) == 2 and _are_scores(returned[1]):
        ids, scores = (_list(part, name) for part in returned)
        if len(ids) != len(scores):
            raise HarnessError(
                f"{name} returned ids of {count(len(ids), 'query')} and scores of {len(scores)}"
            )
        lists: list[object] = [_zip(*each, name) for each in zip(ids, scores, strict=True)]
    else:
        lists = _list(returned, name)
    if len(lists) != len(texts):
        raise HarnessError(
            f"{name} returned results of {count(len(lists), 'query')} for "
            f"{len(texts)}: expected a list "
            "for each"
        )
    return [_read_hits(found, text, name) for found, text in zip(lists, texts, strict=True)]


def _list(value: object, name: str) -> list[object]:
    if isinstance(value, str | bytes | Mapping | Set) or not is_iterable(value):
        raise HarnessError(
            f"{name} returned {reprlib.repr(value)}: expected a list with the results of each query"
        )
    return list(value)


def _are_scores(value: object) -> bool:
    """Whether something is scores [q, any]: lists whose first value is a number."""
    if not isinstance(value, list | tuple | np.ndarray):
        return False
    if not len(value) or not all(isinstance(each, list | tuple | np.ndarray) for each in value):
        return False
    first = next((one for each in value for one in each), 0.0)
    return isinstance(first, Real)


def _zip(ids: object, scores: object, name: str) -> list[tuple[object, object]]:
    """Ids and scores of one query as pairs."""
    one, other = _list(ids, name), _list(scores, name)
    if len(one) != len(other):
        raise HarnessError(
            f"{name} returned {count(len(one), 'id')} with {count(len(other), 'score')} for a query"
        )
    return list(zip(one, other, strict=True))


def _read_hits(found: object, text: str, name: str) -> Hits:
    """Results of one query."""
    where = f"{name}, query {reprlib.repr(text)}"
    if isinstance(found, Mapping):
        found = list(found.items())
    listed = _list(found, where)
    if _are_pairs(listed):
        return listed
    if 0 < sum(isinstance(each, tuple | list | Mapping) for each in listed) < len(listed):
        raise HarnessError(f"{where}: some results have a score and some none: expected one form")
    hits = [_read_hit(each, len(listed) - at, where) for at, each in enumerate(listed)]
    seen = set[str]()
    for id, _ in hits:
        if id in seen:
            raise HarnessError(f"{where}: document {id!r} is returned twice: expected once")
        seen.add(id)
    return hits


def _are_pairs(hits: list[Any]) -> TypeGuard[Hits]:
    """Whether all is well with results, seen at once: ids that differ, scores that are finite."""
    if not all(type(hit) is tuple and len(hit) == 2 for hit in hits):
        return False
    ids, scores = [hit[0] for hit in hits], [hit[1] for hit in hits]
    if not set(map(type, ids)) <= {str} or not set(map(type, scores)) <= {float}:
        return False
    return len(set(ids)) == len(ids) and all(abs(score) < TOO_LARGE for score in scores)


def _read_hit(each: object, score: float, where: str) -> tuple[str, float]:
    """One result. score: of an id alone, by its rank."""
    id: object = each
    value: object = score
    if isinstance(each, Mapping):
        if "id" not in each or "score" not in each:
            raise HarnessError(f"{where}: {reprlib.repr(each)}: expected 'id' and 'score'")
        id, value = each["id"], each["score"]
    elif isinstance(each, tuple | list):
        if len(each) != 2:
            raise HarnessError(f"{where}: {reprlib.repr(each)}: expected an id and its score")
        id, value = each
    number = math.nan if isinstance(value, str) else rows.read_number(value)
    if not abs(number) < TOO_LARGE:
        raise HarnessError(f"{where}: the score of {id!r} is {value!r}: expected a finite float32")
    try:
        return rows.identifier(id, where, "document"), number
    except InputError as error:
        raise HarnessError(str(error)) from None
