"""Score a run against judgments, wherever they come from: harness.score(run, qrels, measures).

It loads numpy alone, and pandas where frames come or go. The ranking rule and the denominators are
those of every evaluation: score descending as float32, ties by document id descending; a query
counts if it has judgments, and scores 0 where the run has nothing for it.
"""

from __future__ import annotations

import html
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import numpy as np

from harness.arrays import Float64
from harness.data import Corpus, Qrels, Queries, rows
from harness.data.rows import Field, Judgment, Row
from harness.errors import InputError, warn_caller
from harness.measures.asked import Measure, choose
from harness.measures.judged import Evidence, Names
from harness.sources import files, trec
from harness.stats import Estimate, intervals
from harness.vectors import Run, ranking
from harness.wording import count

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class _Side:
    """How a run or judgments are read.

    what: its number is. form: of TREC's lines, with the number in column `at`.
    """

    noun: str
    what: str
    columns: tuple[Field, ...]
    form: str
    at: int


RESULTS = _Side("run", "score", rows.RESULTS, trec.RUN, 4)
JUDGMENTS = _Side("qrels", "gain", rows.JUDGMENTS, trec.QRELS, 3)


@dataclass(frozen=True)
class Scores(Mapping[str, Estimate]):
    """Means by canonical name of the measure, with 95% bootstrap intervals over queries.

    Any usual spelling of a measure finds it. queries: ids [q] of the judged queries, as the
    judgments have them; values_by_query: [q] by measure. warnings: what was noticed and
    tolerated, a sentence each.
    """

    queries: Sequence[str]
    values_by_query: Mapping[str, Float64]
    means: Mapping[str, Estimate]
    warnings: Sequence[str] = ()

    def __getitem__(self, name: str) -> Estimate:
        known = self._resolve(name)
        if known is None:
            raise InputError(f"there is no score {name!r}: expected one of {', '.join(self.means)}")
        return self.means[known]

    def get(self, name: str, default: Any = None) -> Any:
        """The estimate of a measure, or the default where it was not asked for."""
        known = self._resolve(name)
        return default if known is None else self.means[known]

    def __contains__(self, name: object) -> bool:
        return self._resolve(name) is not None

    def _resolve(self, name: object) -> str | None:
        """The canonical name of a measure that was asked for; None for anything else."""
        if not isinstance(name, str):
            return None
        if name in self.means:
            return name
        try:
            known = str(Measure.parse(name, "retrieval"))
        except InputError:
            return None
        return known if known in self.means else None

    def __iter__(self) -> Iterator[str]:
        return iter(self.means)

    def __len__(self) -> int:
        return len(self.means)

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
        lines = [
            f"{name:{width}}  {one.mean:.4f}  [{one.low:.4f}, {one.high:.4f}]"
            for name, one in self.means.items()
        ]
        return "\n".join([*lines, *self.warnings])

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{html.escape(name)}</td><td>{one.mean:.4f}</td>"
            f"<td>[{one.low:.4f}, {one.high:.4f}]</td></tr>"
            for name, one in self.means.items()
        )
        head = "<tr><th>measure</th><th>mean</th><th>95% interval</th></tr>"
        notes = "".join(f"<p>{html.escape(line)}</p>" for line in self.warnings)
        caption = count(len(self.queries), "query")
        return f"<table><caption>{caption}</caption>{head}{rows}</table>{notes}"


def score(
    run: object,
    qrels: object,
    measures: str | Sequence[str] = ("nDCG@10", "R@100"),
    *,
    seed: int = 0,
) -> Scores:
    """Score a run against judgments.

    Args:
        run: What was found: {query id: {document id: score}}; a DataFrame, dicts or objects with
            query_id, doc_id and score, or tuples of the three; or the path of a TREC run file, or
            of a .jsonl, .csv, .tsv or .parquet file with such columns. Columns may be called as
            those of a Collection.
        qrels: What is relevant, likewise, with relevance in place of score.
        measures: Under any usual spelling, as nDCG@10, MRR@10, MAP, recall@100.
        seed: Of the bootstrap.

    Returns:
        Means with intervals, by canonical name; values of each query.

    Raises:
        InputError: For what cannot be read, with its place; for an unknown measure, with the
            nearest; for a measure of groups of queries; for a run without any judged query. It
            warns of one without any judged document.
    """
    chosen = choose(measures, "retrieval", "a run: expected a measure of retrieval")
    if not chosen:
        raise InputError("no measures: expected at least one, as nDCG@10")
    judgments = _read(qrels, JUDGMENTS)
    queries = Queries(list(dict.fromkeys(one.query for one in judgments)), ())
    judged = {one.document for one in judgments}
    results = _read(run, RESULTS, {*queries.ids, *judged})
    notes = _compare_ids(results, queries, judged)
    ids = sorted(judged | {one.document for one in results})
    corpus, depth = Corpus(ids, ids), max(measure.depth for measure in chosen)
    ranked, gains = _rank(results, queries, corpus, depth), Qrels.of(judgments, queries, corpus)
    evidence = Evidence(ranked, gains, names=Names(queries.ids, ids))
    values = {str(measure): evidence.values(measure) for measure in chosen}
    return Scores(queries.ids, values, intervals(values, seed), notes)


def _compare_ids(
    results: Sequence[Judgment], queries: Queries, judged: Collection[str]
) -> tuple[str, ...]:
    """What is odd about a run beside the judgments; warns where none of its documents is judged.

    Raises InputError for a run that has nothing for any judged query.
    """
    answered = {one.query for one in results}
    unanswered = [id for id in queries.ids if id not in answered]
    if len(unanswered) == len(queries.ids):
        raise InputError(
            "the run has results for none of the judged queries: it has "
            f"{results[0].query!r}, the judgments have {queries.ids[0]!r}: compare their ids"
        )
    notes = list[str]()
    if unanswered:
        notes.append(
            f"{len(unanswered):,} of {count(len(queries.ids), 'judged query')} have no results and "
            f"score 0, {unanswered[0]!r} first"
        )
    if not any(one.document in judged for one in results):
        notes.append(
            f"none of the documents of the run is judged: it has {results[0].document!r}, the "
            f"judgments have {min(judged)!r}: compare their ids"
        )
        warn_caller(notes[-1])
    return tuple(notes)


def _rank(results: Sequence[Judgment], queries: Queries, corpus: Corpus, depth: int) -> Run:
    """The ranking [q, k] of judged queries; results of other queries are left out.

    depth: results that a measure looks at; what is longer than the longest ranking takes no room.
    """
    place = {id: row for row, id in enumerate(corpus.ids)}  # a search for each would be slow
    rows = np.array([queries.rows.get(one.query, -1) for one in results], np.int64)
    documents = np.array([place[one.document] for one in results], np.int32)
    kept = np.flatnonzero(rows >= 0)
    kept = kept[np.lexsort((documents[kept], rows[kept]))]
    scores = np.array([one.gain for one in results], np.float32)[kept]
    rows, documents = rows[kept], documents[kept]
    twice = np.flatnonzero((rows[1:] == rows[:-1]) & (documents[1:] == documents[:-1]))
    if len(twice):
        query, document = queries.ids[rows[twice[0]]], corpus.ids[documents[twice[0]]]
        raise InputError(f"run: document {document!r} is ranked twice for query {query!r}")
    k = min(depth, int(np.bincount(rows).max()))
    return ranking.of_cells(rows, documents, scores, q=len(queries.ids), k=k)


def _read(given: object, part: _Side, known: Collection[str] = frozenset()) -> list[Judgment]:
    """Query id, document id and number of everything given. known: ids that a file may encode."""
    found = (
        _read_file(Path(given), part, known)
        if isinstance(given, str | PathLike)
        else rows.judgments(given, part.noun, part.columns)
    )
    triples = list(rows.triples(found, part.what))
    if not triples:
        raise InputError(f"there is nothing in the {part.noun}: expected at least one row")
    return triples


def _read_file(path: Path, part: _Side, known: Collection[str]) -> Iterator[tuple[str, Row]]:
    """Rows of a file: of TREC's columns, or with names of columns.

    Ids with white space are percent-encoded by TREC's: one is decoded where that makes it a known
    one.
    """
    if _has_names(path):
        for where, row in files.rows(path):
            yield where, rows.row(row, part.columns, where)
        return
    for where, line in trec.read_columns(path, part.form):
        query, document = (
            unquote(id) if "%" in id and id not in known and unquote(id) in known else id
            for id in (line[0], line[2])
        )
        yield where, {"query-id": query, "corpus-id": document, "score": line[part.at]}


def _has_names(path: Path) -> bool:
    """Whether a file names its columns, as all of its suffix do but TSV, which TREC's may be."""
    if not path.name.endswith((".tsv", ".tsv.gz")):
        return path.name.endswith(files.TABLES)
    header = {cell.strip('"') for cell in files.split_header(path)}
    return not header.isdisjoint(rows.RESULTS[0].spellings)
