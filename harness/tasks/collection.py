"""A collection of one's own as a task: documents, queries and judgments that are in memory.

    Collection({"d1": "an apple"}, {"q1": "apples"}, {"q1": {"d1": 1}}, name="fruit")

It is a task like any other, called own:fruit, known again by the content of its parts.
"""

from __future__ import annotations

import reprlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from harness import tasks
from harness.arguments import read_fields
from harness.data import Data, Qrels, Retrieval, rows
from harness.data.rows import Field, Judgment, Row
from harness.errors import InputError
from harness.sources import assembly, files
from harness.spec import Spec
from harness.tasks import Task
from harness.tasks.catalog import Definition, TaskEntry
from harness.wording import count

OWN = "own"


@dataclass(frozen=True, repr=False, eq=False)
class Collection:
    """Documents, queries and judgments of one's own, to be evaluated and searched.

    Args:
        corpus: Texts by id; or `{"title", "text"}` by id; or a DataFrame, an iterable of dicts,
            tuples or named tuples, a datasets.Dataset or a file of rows; or the folder of a whole
            collection in the BEIR layout, which then is all that is given.
        queries: As the corpus, without titles.
        qrels: Gains by document by query, or relevant documents by query; or rows of query,
            document and score. Without any the collection is searched, not evaluated.
        name: Of the task: own:NAME.
        measures: In place of those of the kind; the first is the main one.
        exclude_self: Whether a query's own document (with its id) is no result.
        license: Who may use it, for the record.

    Attributes:
        task: The task, own:NAME, with its data.

    Raises:
        InputError: A needed column, an id or a text is missing or wrong; the error names the row.
    """

    corpus: Any
    queries: Any = None
    qrels: Any = None
    name: str = "collection"
    measures: str | Sequence[str] = ()
    exclude_self: bool = False
    license: str = ""
    task: Task = field(init=False)

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name.strip():
            raise InputError(f"a collection is called {self.name!r}: expected a name, as text")
        read_fields(self)
        data = _read_data(self.corpus, self.queries, self.qrels, f"{OWN}:{self.name}")
        origin = replace(data.origin, exclude_self=self.exclude_self)
        object.__setattr__(self, "task", _make_task(self, replace(data, origin=origin)))

    @property
    def data(self) -> Retrieval:
        """Its documents, queries and judgments by row."""
        return self.task.collection

    def __repr__(self) -> str:
        data = self.data
        return (
            f"Collection({self.task.name}: {count(len(data.corpus.ranked), 'document')}, "
            f"{count(len(data.queries), 'query')}, {count(len(data.qrels.docs), 'judgment')})"
        )


Asked = str | Path | Task | Collection | Mapping[str, Any]
"""What may stand for a task."""


def read_task(given: object) -> str | Task | Collection:
    """A task in the forms that people have it: also a folder, and the parts of a collection.

    Args:
        given: A spec, a `Collection` or a task; the path of a folder in the BEIR layout; or a dict
            of corpus, queries and what else a `Collection` takes.

    Raises:
        InputError: It is anything else.
    """
    if isinstance(given, str | Task | Collection):
        return given
    if isinstance(given, Path):
        return str(Spec("folder", str(given)))
    takes = {each.name for each in fields(Collection) if each.init}
    if isinstance(given, Mapping) and "corpus" in given and set(given) <= takes:
        return Collection(**given)
    raise InputError(
        f"{reprlib.repr(given)} is no task: expected the name of one, a harness.Collection, a "
        "folder, or a dict of corpus, queries and qrels"
    )


def read_texts(given: object) -> list[str]:
    """Texts in their order: strings, or rows or texts by id as a collection's corpus is given.

    Raises:
        InputError: There is none, or something is no text; the error names its place.
    """
    if isinstance(given, str):
        raise InputError(f"texts={given[:40]!r}: expected a list of texts")
    found = _read_file(given, rows.TEXTS) if isinstance(given, Path) else None
    listed = list[str]()
    for where, row in found or rows.texts(given, rows.TEXTS, "texts"):
        title = "" if rows.absent(row.get("title")) else rows.content(row["title"], where, "title")
        row["text"] = rows.content(row["text"], where, "text")
        text = files.text(row, "text", where)
        listed.append(f"{title} {text}".strip() if title else text)
    if not listed:
        raise InputError("there are no texts: expected at least one")
    return listed


def _make_task(collection: Collection, data: Data) -> Task:
    """The task that a collection is."""
    spec, source = str(Spec(OWN, collection.name)), Spec(OWN)
    definition = Definition(
        spec,
        OWN,
        family=OWN,
        measures=tuple(collection.measures),
        exclude_self=collection.exclude_self,
        license=collection.license,
    )
    return tasks.of(TaskEntry(spec, source, definition, collection.exclude_self, source), data)


def _read_data(corpus: object, queries: object, qrels: object, name: str) -> Retrieval:
    """All parts, read and fitted together."""
    if queries is None and qrels is None and isinstance(corpus, str | Path):
        return tasks.load(str(Spec("folder", str(corpus)))).collection
    if queries is None:
        raise InputError(f"{name}: there are no queries: expected corpus and queries, or a folder")
    documents = assembly.corpus(_read_texts(corpus, rows.CORPUS, "corpus"), "corpus")
    asked = assembly.queries(_read_texts(queries, rows.QUERIES, "queries"), "queries")
    if qrels is None:
        return Retrieval(documents, asked, Qrels.of((), asked, documents))
    return assembly.retrieval(documents, asked, _read_judgments(qrels), "qrels", name)


def _read_texts(given: object, columns: Sequence[Field], noun: str) -> Iterator[tuple[str, Row]]:
    """Rows of documents or queries with their place, ids and texts checked."""
    what = "document" if columns is rows.CORPUS else "query"
    found = _read_file(given, columns) if isinstance(given, str | Path) else None
    for where, row in found or rows.texts(given, columns, noun):
        row["_id"] = rows.identifier(row["_id"], where, what)
        row["text"] = rows.content(row["text"], where, "text")
        yield where, {name: value for name, value in row.items() if not rows.absent(value)}


def _read_judgments(given: object) -> Iterator[Judgment]:
    """Query id, document id and gain of each judgment, and its place."""
    found = _read_file(given, rows.JUDGMENTS) if isinstance(given, str | Path) else None
    return rows.triples(found or rows.judgments(given), "score")


def _read_file(path: str | Path, columns: Sequence[Field]) -> Iterator[tuple[str, Row]]:
    """Rows of a file, each with its line."""
    for where, row in files.rows(Path(path).expanduser()):
        yield where, rows.row(row, columns, where)
