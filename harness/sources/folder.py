"""A folder in the BEIR layout: corpus, queries and qrels of one collection.

corpus.jsonl     {"_id": ..., "title": ..., "text": ...}    also .jsonl.gz, .parquet; an object
                 "metadata" is kept as what documents can be filtered by
queries.jsonl    {"_id": ..., "text": ...}                  also .jsonl.gz, .parquet; a text
                 "instruction" follows its query after one space; a title is no part of it, unless
                 query_title names its column
qrels/test.tsv   query-id  corpus-id  score, with a header  also .gz, .jsonl, .parquet, or
                 TREC's four columns as test.qrels
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from harness.data import Retrieval
from harness.errors import InputError
from harness.sources import SOURCES, assembly, files, trec

TEXTS = (".jsonl", ".jsonl.gz", ".parquet")
QRELS = (".tsv", ".tsv.gz", ".jsonl", ".jsonl.gz", ".parquet", ".qrels", ".qrels.gz")


@SOURCES.register("folder")
def folder(target: str, *, split: str = "test", query_title: str = "") -> Retrieval:
    """A folder in the BEIR layout (corpus, queries, qrels/SPLIT).

    query_title: a column that goes before the text of queries.

    Raises InputError, with file and line, for whatever cannot be read as such a collection.
    """
    root = Path(target).expanduser()
    if not root.is_dir():
        raise InputError(f"{root}: no such folder: expected a collection in the BEIR layout")
    documents, asked = files.find(root, "corpus", TEXTS), files.find(root, "queries", TEXTS)
    corpus = assembly.corpus(files.rows(documents), str(documents))
    columns = replace(assembly.QUERIES, title=query_title)
    queries = assembly.queries(files.rows(asked), str(asked), columns)
    path = _qrels_file(root / "qrels", split)
    trecs = ".qrels" in path.suffixes
    judged = (
        trec.read_qrels(path, queries, corpus) if trecs else assembly.judgments(files.rows(path))
    )
    return assembly.retrieval(corpus, queries, judged, str(path), str(root))


def _qrels_file(folder: Path, split: str) -> Path:
    try:
        return files.find(folder, split, QRELS)
    except InputError as error:
        there = sorted({p.name.removesuffix(end) for end in QRELS for p in folder.glob(f"?*{end}")})
        choices = f"; splits there: {', '.join(there)} (ask with split=NAME)" if there else ""
        raise InputError(f"{error}{choices}") from None
