"""Sentence pairs with a gold score, as JSON Lines, CSV, TSV or Parquet.

The score is a similarity (STS), or 1 and 0 for pairs that belong together or not.
"""

from __future__ import annotations

from harness.data import Pairs
from harness.sources import SOURCES, assembly, files


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
    path = files.table(target, split, "sentence pairs")
    return assembly.pairs(files.rows(path), str(path), left, right, score)
