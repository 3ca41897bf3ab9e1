"""Texts with labels, for classification and clustering, as JSON Lines, CSV, TSV or Parquet."""

from __future__ import annotations

from pathlib import Path

from harness.data import Classification, Clustering, Labelled
from harness.errors import InputError
from harness.sources import SOURCES, assembly, files


@SOURCES.register("classification")
def classification(
    target: str,
    *,
    train: str = "train",
    test: str = "test",
    text: str = "text",
    label: str = "label",
) -> Classification:
    """A folder with labelled texts: TRAIN and TEST as .jsonl, .csv, .tsv or .parquet.

    train, test: names of the files. text, label: names of the columns; a label is text or a whole
    number. Raises InputError with file and line.
    """
    folder = Path(target).expanduser()
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder: expected {train} and {test} files")

    def part(name: str) -> Labelled:
        path = files.find(folder, name, files.TABLES)
        return assembly.read_labels(files.rows(path), str(path), text, label)

    return assembly.classification(part(train), part(test))


@SOURCES.register("clustering")
def clustering(
    target: str, *, split: str = "test", text: str = "text", label: str = "label"
) -> Clustering:
    """A file of labelled texts, or a folder that holds SPLIT.jsonl, .csv, .tsv or .parquet.

    text, label: names of the columns; a list of labels goes from coarse to fine. Raises InputError
    with file and line.
    """
    path = files.table(target, split, "labelled texts")
    return assembly.clustering(files.rows(path), str(path), text, label)
