"""A measure is a value: it prints, parses, hashes and is stored as `nDCG@10`."""

from __future__ import annotations

from dataclasses import dataclass

from harness.measures.pairs import PAIR_MEASURES
from harness.measures.retrieval import RETRIEVAL
from harness.spec import unknown
from harness.types import InputError


@dataclass(frozen=True)
class Measure:
    """A name and, for a measure of rankings, a cut-off: parse(str(measure)) == measure."""

    name: str
    cutoff: int | None = None

    def __str__(self) -> str:
        return self.name if self.cutoff is None else f"{self.name}@{self.cutoff}"

    @property
    def kind(self) -> str:
        """What it measures: a "retrieval" task or one of "pairs"."""
        return "pairs" if self.name in PAIR_MEASURES else "retrieval"

    @classmethod
    def parse(cls, text: str) -> Measure:
        """Read a measure as ir_measures writes it. Raises InputError with the real choices."""
        name, at, cutoff = text.strip().partition("@")
        if name in PAIR_MEASURES and not at:
            return cls(name)
        if name not in RETRIEVAL:
            raise unknown(
                "measure", name, [f"{known}@K" for known in RETRIEVAL] + list(PAIR_MEASURES)
            )
        if not cutoff.isascii() or not cutoff.isdigit() or int(cutoff) < 1:
            raise InputError(f"measure {text!r}: expected a cut-off of at least 1, as in {name}@10")
        return cls(name, int(cutoff))
