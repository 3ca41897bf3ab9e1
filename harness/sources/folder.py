"""A folder in the BEIR layout: corpus, queries and qrels of one collection.

corpus.jsonl     {"_id": ..., "title": ..., "text": ...}    also .jsonl.gz, .parquet
queries.jsonl    {"_id": ..., "text": ...}                  also .jsonl.gz, .parquet
qrels/test.tsv   query-id  corpus-id  score, with a header  also .gz, .jsonl, .parquet, or
                 TREC's four columns as test.qrels
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from harness import trec
from harness.sources import SOURCES, files
from harness.types import Corpus, InputError, Qrels, Queries, Retrieval

TEXTS = (".jsonl", ".jsonl.gz", ".parquet")
QRELS = (".tsv", ".tsv.gz", ".jsonl", ".jsonl.gz", ".parquet", ".qrels", ".qrels.gz")


@SOURCES.register("folder")
def folder(target: str, *, split: str = "test") -> Retrieval:
    """A folder in the BEIR layout (corpus, queries, qrels/SPLIT).

    Raises InputError, with file and line, for whatever cannot be read as such a collection.
    """
    root = Path(target).expanduser()
    if not root.is_dir():
        raise InputError(f"{root}: no such folder: expected a collection in the BEIR layout")
    corpus = Corpus.of(*_texts(files.find(root, "corpus", TEXTS), "document"))
    queries = Queries(*_texts(files.find(root, "queries", TEXTS), "query"))
    path = _qrels_file(root / "qrels", split)
    qrels = Qrels.of(_judgments(path, queries, corpus), queries, corpus)
    if not qrels.judged.any():
        raise InputError(f"{path}: judges none of the {len(queries)} queries of {root}")
    return Retrieval(corpus, queries, qrels)


def _texts(path: Path, noun: str) -> tuple[list[str], list[str]]:
    """Ids and texts; title and text are joined by a space, as BEIR and MTEB do."""
    seen: dict[str, str] = {}
    texts = []
    for where, row in files.rows(path):
        id = files.text(row, "_id", where)
        if id in seen:
            raise InputError(f"{where}: {noun} id {id!r} stands at {seen[id]} already")
        seen[id] = where
        title = files.text(row, "title", where, default="")
        body = files.text(row, "text", where)
        texts.append(f"{title} {body}".strip() if title else body)
    if not seen:
        raise InputError(f"{path}: holds no {noun}: expected at least one")
    return list(seen), texts


def _qrels_file(folder: Path, split: str) -> Path:
    try:
        return files.find(folder, split, QRELS)
    except InputError as error:
        there = sorted({p.name.removesuffix(end) for end in QRELS for p in folder.glob(f"?*{end}")})
        choices = f"; splits there: {', '.join(there)} (ask with split=NAME)" if there else ""
        raise InputError(f"{error}{choices}") from None


def _judgments(path: Path, queries: Queries, corpus: Corpus) -> Iterator[tuple[str, str, float]]:
    if ".qrels" in path.suffixes:
        yield from trec.read_qrels(path, queries, corpus)
        return
    for where, row in files.rows(path):
        yield (
            files.text(row, "query-id", where),
            files.text(row, "corpus-id", where),
            files.number(row, "score", where),
        )
