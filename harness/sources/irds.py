"""Collections of ir_datasets, which fetches what is free and says where the rest has to lie."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator
from contextlib import redirect_stderr
from dataclasses import replace
from io import StringIO
from typing import Any

from harness.data import Origin, Retrieval
from harness.data.rows import Row
from harness.errors import InputError
from harness.optional import load
from harness.registry import unknown
from harness.sources import SOURCES, assembly
from harness.sources.assembly import leaves_own_out

PARTS = ("docs", "queries", "qrels")
FIELDS = ("text", "body", "contents")


@SOURCES.register("irds")
def irds(target: str) -> Retrieval:
    """A collection of ir_datasets by its id: irds:beir/scifact/test.

    Raises InputError for an unknown id, one without documents, queries or judgments, and data that
    cannot be had.
    """
    ir_datasets = load("ir_datasets", "irds")
    known = ir_datasets.registry
    try:
        dataset = ir_datasets.load(target)
    except KeyError:
        near = difflib.get_close_matches(target, list(known), 8, 0.5)
        raise unknown("ir_datasets id", target, near) from None
    missing = [part for part in PARTS if not getattr(dataset, f"has_{part}")()]
    if missing:
        whole = [id for id in known if id.startswith(f"{target}/") and known[id].has_qrels()]
        within = f": choose one of {', '.join(whole[:8])}" if whole else ""
        raise InputError(f"irds:{target} has no {' and no '.join(missing)}{within}")
    page = f"https://ir-datasets.com/{target.partition('/')[0]}.html#{target}"
    try:
        with redirect_stderr(StringIO()):  # ir_datasets logs there and draws its progress bars
            origin = Origin(reference=page, exclude_self=leaves_own_out(target))
            return replace(_read(dataset, f"irds:{target}"), origin=origin)
    except InputError:
        raise
    except Exception as error:  # requests' errors, those of archives, and ir_datasets' own
        home, said = ir_datasets.util.home_path(), " ".join(str(error).split())[:200]
        raise InputError(
            f"irds:{target} cannot be fetched ({type(error).__name__}: {said}); check the network, "
            f"or bring a copy of {home} from a machine that has it (IR_DATASETS_HOME)"
        ) from error


def _read(dataset: Any, place: str) -> Retrieval:
    documents = _rows(dataset.docs_iter(), f"{place} document", "doc_id", _split_text)
    corpus = assembly.corpus(documents, place)
    asked = _rows(dataset.queries_iter(), f"{place} query", "query_id", _whole_text)
    queries = assembly.queries(asked, place)
    rows = (
        (f"{place} judgment {n}", one._asdict()) for n, one in enumerate(dataset.qrels_iter(), 1)
    )
    judged = assembly.judgments(rows, "query_id", "doc_id", "relevance")
    return assembly.retrieval(corpus, queries, judged, f"{place} qrels", place)


def _rows(
    entries: Iterable[Any], noun: str, id: str, read: Callable[[Any, str], Row]
) -> Iterator[tuple[str, Row]]:
    """Documents or queries with their place, under the names of BEIR's columns."""
    for number, entry in enumerate(entries, 1):
        where = f"{noun} {number}"
        yield where, {"_id": getattr(entry, id), **read(entry, where)}


def _split_text(entry: Any, where: str) -> Row:
    """Text and title of a document, apart where ir_datasets joins just these two."""
    title, text = getattr(entry, "title", None), getattr(entry, "text", None)
    whole = _whole_text(entry, where)
    if not hasattr(entry, "default_text"):
        return {"title": title, **whole}
    return {"title": title, "text": text} if whole["text"] == f"{title} {text}" else whole


def _whole_text(entry: Any, where: str) -> Row:
    """The text of a document or query, as ir_datasets has it."""
    if hasattr(entry, "default_text"):
        return {"text": entry.default_text()}
    there = [field for field in FIELDS if hasattr(entry, field)]
    if not there:
        named = ", ".join(entry._fields)
        raise InputError(f"{where} has no text among {named}: write the collection as a folder")
    return {"text": getattr(entry, there[0])}
