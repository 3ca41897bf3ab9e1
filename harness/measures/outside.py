"""Measures that the package ir-measures computes, with the judgments and the ranking from here."""

from __future__ import annotations

from typing import Any

import numpy as np

from harness.arrays import Float64
from harness.data import Qrels
from harness.errors import InputError, reason
from harness.measures import DEPTH, measure
from harness.measures.judged import Judged
from harness.vectors import Run


def _package() -> Any:
    try:
        import ir_measures
    except ImportError:
        raise InputError("ir:NAME needs the package ir-measures: pip install ir-measures") from None
    return ir_measures


def _parse(name: str) -> Any:
    """A measure as ir-measures parses it. Raises InputError where it does not."""
    package = _package()
    try:
        found = package.parse_measure(name)
    except Exception as error:  # noqa: BLE001 - whatever its parser raises
        raise InputError(f"ir:{name}: ir-measures does not know it: {reason(error)}") from None
    if found.params.get("cutoff", 0) > DEPTH:
        raise InputError(f"ir:{name}: expected a cut-off of at most {DEPTH}")
    return found


def canonical(name: str) -> str:
    """The name under which ir-measures prints a measure, for the record."""
    return str(_parse(name)).replace(" ", "")


@measure(
    "ir", graded=True, needs=("run", "qrels"), citation="MacAvaney, Macdonald and Ounis 2022",
    read=canonical,
)  # fmt: skip
def outside(judged: Judged, run: Run, qrels: Qrels, name: str) -> Float64:
    """Any other measure, handed to the package ir-measures where it is installed."""
    package = _package()
    k = run.docs.shape[1]
    query, rank = np.nonzero(run.docs >= 0)
    # scores that fall by 1 a rank, so that every provider ranks as the run does
    results = [
        package.ScoredDoc(str(q), str(d), float(k - r))
        for q, d, r in zip(query, run.docs[query, rank], rank, strict=True)
    ]
    # an unknown document can never be found, and stays in every denominator under its own name
    judgments = [
        package.Qrel(str(q), str(d) if d >= 0 else f"unknown-{row}", int(gain))
        for row, (q, d, gain) in enumerate(
            zip(qrels.query_rows, qrels.docs, qrels.gains, strict=True)
        )
    ]
    values = np.zeros(judged.size)
    try:
        for one in package.iter_calc([_parse(name)], judgments, results):
            values[int(one.query_id)] = one.value
    except Exception as error:  # a provider may lack a package or a program
        raise InputError(f"ir:{name}: ir-measures cannot compute it: {reason(error)}") from error
    return values
