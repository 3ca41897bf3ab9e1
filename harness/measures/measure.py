"""A measure is a value: it prints, parses, hashes and is stored as `nDCG@10`."""

from __future__ import annotations

from dataclasses import dataclass

from harness.errors import InputError
from harness.measures.pairs import BINARY_MEASURES, PAIR_MEASURES, TOKEN_MEASURES
from harness.measures.retrieval import RETRIEVAL
from harness.spec import unknown

GROUPED = ("Robustness", "MergedAP", "p-MRR")  # one value a group of queries
RANKED = (*RETRIEVAL, "Robustness", "MergedAP")  # with a cut-off
RANKS_COMPARED = 1000  # results that p-MRR looks at, as MTEB

KINDS: dict[str, tuple[str, ...]] = {
    "retrieval": (*RANKED, "p-MRR"),
    "pairs": (*PAIR_MEASURES, *BINARY_MEASURES, *TOKEN_MEASURES),
    "classification": ("accuracy", "f1", "f1_weighted", "ap"),
    "clustering": ("v_measure",),
    "summarization": ("cosine_spearman", "cosine_pearson", "dot_spearman", "dot_pearson"),
}
"""Names of measures by the kind of task that they fit."""

DEFAULTS: dict[str, tuple[str, ...]] = {
    **KINDS,
    "retrieval": ("nDCG@10", "AP@1000", "RR@10", "P@10", "R@10", "R@100", "Judged@10"),
    "pairs": PAIR_MEASURES,
    "classification": ("accuracy", "f1", "f1_weighted"),
}
"""What a task of each kind is measured by where nothing else is said, the main one first."""


@dataclass(frozen=True)
class Measure:
    """A name and, for most measures of rankings, a cut-off: parse(str(measure)) == measure."""

    name: str
    cutoff: int | None = None

    def __str__(self) -> str:
        return self.name if self.cutoff is None else f"{self.name}@{self.cutoff}"

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of task that it can measure."""
        return tuple(kind for kind, names in KINDS.items() if self.name in names)

    @property
    def depth(self) -> int:
        """Results of a ranking that it looks at."""
        return RANKS_COMPARED if self.name == "p-MRR" else self.cutoff or 0

    @classmethod
    def parse(cls, text: str) -> Measure:
        """Read a measure as ir_measures writes it. Raises InputError with the real choices."""
        name, at, cutoff = text.strip().partition("@")
        plain = {known for names in KINDS.values() for known in names} - set(RANKED)
        if name in plain and not at:
            return cls(name)
        if name not in RANKED:
            raise unknown("measure", name, [f"{known}@K" for known in RANKED] + [*plain])
        if not cutoff.isascii() or not cutoff.isdigit() or int(cutoff) < 1:
            raise InputError(f"measure {text!r}: expected a cut-off of at least 1, as in {name}@10")
        return cls(name, int(cutoff))
