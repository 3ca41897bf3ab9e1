"""What a task asks about: texts, judgments, pairs, labels."""

from harness.data.collections import (
    NO_TASK,
    Classification,
    Clustering,
    Data,
    Labelled,
    Origin,
    Pairs,
    Purpose,
    Retrieval,
    Summaries,
)
from harness.data.judgments import Candidates, Changes, Qrels
from harness.data.texts import Corpus, Queries, Role, array_digest, refuse_bad_ids, text_digest

__all__ = [
    "NO_TASK",
    "Candidates",
    "Changes",
    "Classification",
    "Clustering",
    "Corpus",
    "Data",
    "Labelled",
    "Origin",
    "Pairs",
    "Purpose",
    "Qrels",
    "Queries",
    "Retrieval",
    "Role",
    "Summaries",
    "array_digest",
    "refuse_bad_ids",
    "text_digest",
]
