"""Sentence pairs with a gold similarity (STS), as JSON Lines, CSV, TSV or Parquet."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from harness.sources import SOURCES, files
from harness.types import InputError, Pairs

SUFFIXES = (".jsonl", ".jsonl.gz", ".csv", ".csv.gz", ".tsv", ".tsv.gz", ".parquet")


@SOURCES.register("pairs")
def pairs(
    target: str,
    *,
    split: str = "test",
    left: str = "sentence1",
    right: str = "sentence2",
    score: str = "score",
) -> Pairs:
    """A file of sentence pairs, or a folder that holds SPLIT.jsonl, .csv, .tsv or .parquet.

    left, right, score: names of the columns. Raises InputError with file and line.
    """
    path = Path(target).expanduser()
    if path.is_dir():
        path = files.find(path, split, SUFFIXES)
    elif not path.is_file():
        raise InputError(f"{path}: no such file or folder: expected sentence pairs")
    ones, others, gold = [], [], []
    for where, row in files.rows(path):
        ones.append(files.text(row, left, where))
        others.append(files.text(row, right, where))
        gold.append(files.number(row, score, where))
    if len(set(gold)) < 2:
        raise InputError(
            f"{path}: {len(gold)} pairs with {len(set(gold))} different gold scores: "
            "a correlation needs two"
        )
    return Pairs(ones, others, np.asarray(gold))
