"""Score a run against judgments, wherever they come from: harness.score(run, qrels, measures).

It loads numpy alone, and pandas where frames come or go. The ranking rule and the denominators are those of every
evaluation: score descending as float32, ties by document id descending; a query counts if it has
judgments, and scores 0 where the run has nothing for it.
"""

from __future__ import annotations

import html
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
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

Cell = tuple[str, str, float]  # query id, document id, score or gain

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
    chosen = _chosen(measures)
    judgments = list(_cells(qrels, "qrels", GAIN, {}))
    queries = Queries(list(dict.fromkeys(query for query, _, _ in judgments)), ())
    known = {document for _, document, _ in judgments}
    results = list(_cells(run, "run", SCORE, {**queries.rows, **dict.fromkeys(known, 0)}))
    ids = sorted(known.union(document for _, document, _ in results))
    corpus = Corpus(ids, ids)
    evidence = Evidence(
        _run(results, queries, corpus, max(measure.depth for measure in chosen)),
        Qrels.of(judgments, queries, corpus),
    )
    values = {str(measure): evidence.values(measure) for measure in chosen}
    low, high = stats.bootstrap_means(np.stack(list(values.values())), seed)
    means = {
        name: Estimate(float(value.mean()), float(low[i]), float(high[i]))
        for i, (name, value) in enumerate(values.items())
    }
    return Scores(queries.ids, values, means)


def _chosen(measures: Sequence[str]) -> list[Measure]:
    """The measures, each once. Raises InputError for none, and for one of another kind of task."""
    given = [measures] if isinstance(measures, str) else measures
    chosen = list(dict.fromkeys(Measure.parse(text, "retrieval") for text in given))
    if not chosen:
        raise InputError("no measures: expected at least one, as nDCG@10")
    for measure in chosen:
        if "retrieval" not in measure.kinds:
            raise InputError(f"{measure} does not fit a run: expected a measure of retrieval")
    return chosen


def _run(results: Sequence[Cell], queries: Queries, corpus: Corpus, k: int) -> Run:
    """The ranking [q, k] of judged queries; results of other queries are left out."""
    seen: dict[tuple[int, int], float] = {}
    for query, document, value in results:
        row = queries.rows.get(query)
        if row is None:
            continue
        cell = row, corpus.rows[document]
        if cell in seen:
            raise InputError(f"run: document {document!r} is ranked twice for query {query!r}")
        seen[cell] = value
    if not seen:
        raise InputError("the run has results for none of the judged queries: compare their ids")
    order = sorted(seen)
    rows = np.array([row for row, _ in order], np.int64)
    documents = np.array([document for _, document in order], np.int32)
    scores = np.array([seen[cell] for cell in order], np.float32)
    return ranking.of_cells(rows, documents, scores, q=len(queries.ids), k=k)


def _cells(
    given: Any, noun: str, value: Sequence[str], known: Mapping[str, object]
) -> Iterator[Cell]:
    """Rows of whatever holds them, checked: ids of text, finite numbers."""
    empty = True
    for where, query, document, number in _rows(given, noun, value, known):
        empty = False
        yield (
            _id(query, f"{where}: query id"),
            _id(document, f"{where}: document id"),
            _number(number, f"{where}: {value[0]}"),
        )
    if empty:
        raise InputError(f"the {noun} are empty: expected at least one row")


def _rows(
    given: Any, noun: str, value: Sequence[str], known: Mapping[str, object]
) -> Iterator[tuple[str, Any, Any, Any]]:
    """(place, query id, document id, number) of a mapping, a file, a frame or objects."""
    if isinstance(given, Mapping):
        for query, row in given.items():
            if not isinstance(row, Mapping):
                raise InputError(
                    f"{noun}: query {query!r} has {row!r}: expected numbers by document"
                )
            yield from ((f"{noun}: query {query!r}", query, doc, x) for doc, x in row.items())
    elif isinstance(given, str | PathLike):
        yield from _lines(Path(given), noun, known)
    elif _is_frame(given):
        names = [_named(given.columns, choices, noun) for choices in (QUERY, DOCUMENT, value)]
        columns = [given[name].tolist() for name in names]
        for number, row in enumerate(zip(*columns, strict=True)):
            yield f"{noun}: row {number}", *row
    elif isinstance(given, Iterable):
        yield from _objects(given, noun, value)
    else:
        raise InputError(
            f"{noun}: a {type(given).__name__}: expected a dict of dicts, a DataFrame, the path of "
            "a TREC file, or objects with query_id and doc_id"
        )


def _is_frame(given: object) -> bool:
    """Whether it is a DataFrame: without pandas loaded nothing is, and pandas loads pyarrow."""
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(given, pandas.DataFrame)


def _lines(
    path: Path, noun: str, known: Mapping[str, object]
) -> Iterator[tuple[str, str, str, str]]:
    """Rows of a TREC file. Ids with white space stand there percent-encoded: one is decoded where
    that makes it a known one.
    """
    for where, line in files.lines(path):
        columns = line.split()
        if not columns:
            continue
        if len(columns) < COLUMNS[noun]:
            form = "qid Q0 docid rank score tag" if noun == "run" else "qid 0 docid gain"
            raise InputError(f"{where}: {len(columns)} columns: expected '{form}'")
        query, document = (
            unquote(id) if id not in known and unquote(id) in known else id
            for id in (columns[0], columns[2])
        )
        yield where, query, document, columns[COLUMNS[noun] - 1]


def _objects(
    given: Iterable[Any], noun: str, value: Sequence[str]
) -> Iterator[tuple[str, Any, Any, Any]]:
    """Rows of objects with named fields, as those of ir_datasets and ir-measures."""
    for number, one in enumerate(given):
        fields = [name for name in dir(one) if not name.startswith("_")]
        names = [_named(fields, choices, noun) for choices in (QUERY, DOCUMENT, value)]
        query, document, found = (getattr(one, name) for name in names)
        yield f"{noun}: row {number}", query, document, found


def _named(there: Iterable[Any], choices: Sequence[str], noun: str) -> str:
    """The first of the names that is there."""
    names = [str(name) for name in there]
    for choice in choices:
        if choice in names:
            return choice
    raise InputError(
        f"{noun}: no column {' or '.join(choices)}: there are {', '.join(names) or 'none'}"
    )


def _id(value: Any, where: str) -> str:
    """An id as text: a whole number is one exactly, anything else is not."""
    if isinstance(value, str):
        if not value:
            raise InputError(f"{where} is empty: expected text")
        return value
    if isinstance(value, int | np.integer) and not isinstance(value, bool):
        return str(value)
    raise InputError(f"{where} is {value!r}: expected text or a whole number")


def _number(value: Any, where: str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise InputError(f"{where} is {value!r}: expected a number") from None
    if not abs(number) < TOO_LARGE:
        raise InputError(f"{where} is {value!r}: expected a finite float32")
    return number
