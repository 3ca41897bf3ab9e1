"""Score a run against judgments, wherever they come from: harness.score(run, qrels, measures).

It loads numpy alone, and pandas where frames come or go. The ranking rule and the denominators are
those of every evaluation: score descending as float32, ties by document id descending; a query
counts if it has judgments, and scores 0 where the run has nothing for it.
"""

from __future__ import annotations

import html
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import numpy as np

from harness import stats
from harness.arrays import TOO_LARGE, Float64
from harness.data import Corpus, Qrels, Queries
from harness.errors import InputError
from harness.measures import Measure
from harness.measures.judged import Evidence
from harness.sources import files
from harness.stats import Estimate
from harness.vectors import Run, ranking

if TYPE_CHECKING:
    import pandas as pd

QUERY = ("query_id", "qid", "query")
DOCUMENT = ("doc_id", "docno", "document")
SCORE = ("score",)
GAIN = ("relevance", "rel", "gain")
COLUMNS = {"run": 5, "qrels": 4}  # of a line in TREC's formats, at least


@dataclass(frozen=True)
class Scores(Mapping[str, Estimate]):
    """Means by canonical name of the measure, with 95 % bootstrap intervals over queries.

    queries: ids [q] of the judged queries, as the judgments have them; values: [q] by measure.
    """

    queries: Sequence[str]
    values_by_query: Mapping[str, Float64]
    means: Mapping[str, Estimate]

    def __getitem__(self, name: str) -> Estimate:
        return self.means[name if name in self.means else str(Measure.parse(name, "retrieval"))]

    def __iter__(self) -> Iterator[str]:
        return iter(self.means)

    def __len__(self) -> int:
        return len(self.means)

    def __contains__(self, name: object) -> bool:
        return name in self.means

    def per_query(self) -> pd.DataFrame:
        """A row for each judged query, a column for each measure; the query id is the index."""
        import pandas as pd

        return pd.DataFrame(
            dict(self.values_by_query), index=pd.Index(list(self.queries), name="query_id")
        )

    def frame(self) -> pd.DataFrame:
        """A row for each measure: its mean, and the low and high end of its interval."""
        import pandas as pd

        rows = [(name, one.mean, one.low, one.high) for name, one in self.means.items()]
        return pd.DataFrame(rows, columns=["measure", "mean", "low", "high"])

    def __str__(self) -> str:
        width = max(map(len, self.means), default=0)
        return "\n".join(
            f"{name:{width}}  {one.mean:.4f}  [{one.low:.4f}, {one.high:.4f}]"
            for name, one in self.means.items()
        )

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{html.escape(name)}</td><td>{one.mean:.4f}</td>"
            f"<td>[{one.low:.4f}, {one.high:.4f}]</td></tr>"
            for name, one in self.means.items()
        )
        head = "<tr><th>measure</th><th>mean</th><th>95 % interval</th></tr>"
        return f"<table><caption>{len(self.queries):,} queries</caption>{head}{rows}</table>"


def score(
    run: object, qrels: object, measures: Sequence[str] = ("nDCG@10", "R@100"), *, seed: int = 0
) -> Scores:
    """Score a run against judgments.

    Args:
        run: What was found: {query id: {document id: score}}; a DataFrame with columns query_id (or
            qid, query), doc_id (or docno, document) and score; the path of a TREC run file; or
            objects with query_id, doc_id and score.
        qrels: What is relevant, likewise, with relevance (or rel, gain) in place of score; or the
            path of a TREC qrels file.
        measures: Under any usual spelling, as nDCG@10, MRR@10, MAP, recall@100.
        seed: Of the bootstrap.

    Returns:
        Means with intervals, by canonical name; values of each query.

    Raises:
        InputError: For what cannot be read, with its place; for an unknown measure, with the
            nearest; for a measure of groups of queries.
    """
    chosen = _choose(measures)
    judgments = _cells(qrels, "qrels", GAIN, frozenset())
    queries = Queries(list(dict.fromkeys(judgments.queries)), ())
    known = {*judgments.queries, *judgments.documents}
    results = _cells(run, "run", SCORE, known)
    ids = sorted({*judgments.documents, *results.documents})
    corpus = Corpus(ids, ids)
    triples = zip(judgments.queries, judgments.documents, judgments.numbers.tolist(), strict=True)
    evidence = Evidence(
        _rank(results, queries, corpus, max(measure.depth for measure in chosen)),
        Qrels.of(triples, queries, corpus),
    )
    values = {str(measure): evidence.values(measure) for measure in chosen}
    low, high = stats.bootstrap_means(np.stack(list(values.values())), seed)
    means = {
        name: Estimate(float(value.mean()), float(low[i]), float(high[i]))
        for i, (name, value) in enumerate(values.items())
    }
    return Scores(queries.ids, values, means)


def _choose(measures: Sequence[str]) -> list[Measure]:
    """The measures, each once. Raises InputError for none, and for one of another kind of task."""
    given = [measures] if isinstance(measures, str) else measures
    chosen = list(dict.fromkeys(Measure.parse(text, "retrieval") for text in given))
    if not chosen:
        raise InputError("no measures: expected at least one, as nDCG@10")
    for measure in chosen:
        if "retrieval" not in measure.kinds:
            raise InputError(f"{measure} does not fit a run: expected a measure of retrieval")
    return chosen


def _rank(results: _Cells, queries: Queries, corpus: Corpus, k: int) -> Run:
    """The ranking [q, k] of judged queries; results of other queries are left out."""
    rows = np.array([queries.rows.get(query, -1) for query in results.queries], np.int64)
    documents = np.array([corpus.row(id) for id in results.documents], np.int32)
    kept = np.flatnonzero(rows >= 0)
    if not len(kept):
        raise InputError("the run has results for none of the judged queries: compare their ids")
    kept = kept[np.lexsort((documents[kept], rows[kept]))]
    rows, documents = rows[kept], documents[kept]
    twice = np.flatnonzero((rows[1:] == rows[:-1]) & (documents[1:] == documents[:-1]))
    if len(twice):
        query, document = queries.ids[rows[twice[0]]], corpus.ids[documents[twice[0]]]
        raise InputError(f"run: document {document!r} is ranked twice for query {query!r}")
    scores = results.numbers[kept].astype(np.float32)
    return ranking.of_cells(rows, documents, scores, q=len(queries.ids), k=k)


@dataclass(frozen=True)
class _Cells:
    """Ids as text [n], and scores or gains, float64 [n]."""

    queries: Sequence[str]
    documents: Sequence[str]
    numbers: Float64


@dataclass(frozen=True)
class _Columns:
    """The same before it is checked. place: where a row stands, for an error."""

    queries: Sequence[Any]
    documents: Sequence[Any]
    numbers: Sequence[Any]
    place: Callable[[int], str]


def _cells(given: Any, noun: str, value: Sequence[str], known: Collection[str]) -> _Cells:
    """The rows of whatever holds them, checked: ids of text, finite numbers."""
    found = _columns(given, noun, value, known)
    if not found.queries:
        raise InputError(f"there is nothing in the {noun}: expected at least one row")
    return _Cells(
        _ids(found.queries, "query id", found.place),
        _ids(found.documents, "document id", found.place),
        _numbers(found.numbers, value[0], found.place),
    )


def _columns(given: Any, noun: str, value: Sequence[str], known: Collection[str]) -> _Columns:
    """The columns of a mapping, a file, a frame or objects."""
    if isinstance(given, Mapping):
        return _of_mapping(given, noun)
    if isinstance(given, str | PathLike):
        return _of_file(Path(given), noun, known)
    if _is_frame(given):
        names = [_find_name(given.columns, choices, noun) for choices in (QUERY, DOCUMENT, value)]
        queries, documents, numbers = (given[name].tolist() for name in names)
        return _Columns(queries, documents, numbers, lambda row: f"{noun}: row {row}")
    if isinstance(given, Iterable):
        return _of_objects(list(given), noun, value)
    raise InputError(
        f"{noun}: {type(given).__name__}: expected a dict of dicts, a DataFrame, the path of a "
        "TREC file, or objects with query_id and doc_id"
    )


def _of_mapping(given: Mapping[Any, Any], noun: str) -> _Columns:
    queries, documents, numbers = list[Any](), list[Any](), list[Any]()
    for query, row in given.items():
        if not isinstance(row, Mapping):
            raise InputError(f"{noun}: query {query!r} has {row!r}: expected numbers by document")
        queries += [query] * len(row)
        documents += row.keys()
        numbers += row.values()
    return _Columns(queries, documents, numbers, lambda row: f"{noun}: query {queries[row]!r}")


def _of_file(path: Path, noun: str, known: Collection[str]) -> _Columns:
    """Columns of a TREC file.

    Ids with white space are percent-encoded there: one is decoded where that makes it a known one.
    """
    rows, places = list[list[str]](), list[str]()
    for where, line in files.lines(path):
        columns = line.split()
        if not columns:
            continue
        if len(columns) < COLUMNS[noun]:
            form = "qid Q0 docid rank score tag" if noun == "run" else "qid 0 docid gain"
            raise InputError(f"{where}: {len(columns)} columns: expected '{form}'")
        rows.append(columns)
        places.append(where)
    queries, documents = (
        [
            unquote(id) if "%" in id and id not in known and unquote(id) in known else id
            for id in (row[at] for row in rows)
        ]
        for at in (0, 2)
    )
    return _Columns(
        queries, documents, [row[COLUMNS[noun] - 1] for row in rows], places.__getitem__
    )


def _of_objects(given: Sequence[Any], noun: str, value: Sequence[str]) -> _Columns:
    """Columns of objects with named fields, as those of ir_datasets and ir-measures."""
    fields = [name for name in dir(given[0]) if not name.startswith("_")] if given else []
    queries, documents, numbers = (
        list(map(attrgetter(_find_name(fields, choices, noun)), given)) if given else []
        for choices in (QUERY, DOCUMENT, value)
    )
    return _Columns(queries, documents, numbers, lambda row: f"{noun}: row {row}")


def _is_frame(given: object) -> bool:
    """Whether it is a DataFrame: without pandas loaded nothing is, and pandas loads pyarrow."""
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(given, pandas.DataFrame)


def _find_name(there: Iterable[Any], choices: Sequence[str], noun: str) -> str:
    """The first of the names that is there."""
    names = [str(name) for name in there]
    for choice in choices:
        if choice in names:
            return choice
    raise InputError(
        f"{noun}: no column {' or '.join(choices)}: there are {', '.join(names) or 'none'}"
    )


def _ids(values: Sequence[Any], what: str, place: Callable[[int], str]) -> Sequence[str]:
    """Ids as text: a whole number is one exactly, anything else is not."""
    for kind in set(map(type, values)):
        if not issubclass(kind, str | int | np.integer) or issubclass(kind, bool):
            row = next(i for i, value in enumerate(values) if type(value) is kind)
            raise InputError(
                f"{place(row)}: {what} is {values[row]!r}: expected text or a whole number"
            )
    found = list(map(str, values))
    if "" in found:
        raise InputError(f"{place(found.index(''))}: {what} is empty: expected text")
    return found


def _numbers(values: Sequence[Any], what: str, place: Callable[[int], str]) -> Float64:
    """Scores or gains as finite numbers of float32's range."""
    try:
        found = np.array(values, np.float64)
    except (TypeError, ValueError):
        found = np.array([_number(value) for value in values])
    wrong = np.flatnonzero(~(np.abs(found) < TOO_LARGE))
    if len(wrong):
        row = int(wrong[0])
        expected = "a number" if isinstance(values[row], str) else "a finite float32"
        raise InputError(f"{place(row)}: {what} is {values[row]!r}: expected {expected}")
    return found


def _number(value: Any) -> float:
    """A number, NaN for what is none."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return float("nan")
