"""Measures that the package ir-measures computes, with the judgments and the ranking from here."""

from __future__ import annotations

from typing import Any

import numpy as np

from harness.arrays import Float64
from harness.data import Qrels
from harness.errors import InputError, reason
from harness.measures import DEPTH, measure
from harness.measures.judged import Judged, Names
from harness.optional import load
from harness.vectors import Run

HIGHEST = 1_000_000  # its C library counts every gain up to the highest, in memory


def _parse(name: str) -> Any:
    """A measure as ir-measures parses it. Raises InputError where it cannot compute it."""
    package = load("ir_measures", "ir-measures")
    try:
        found = package.parse_measure(name)
        known = found.SUPPORTED_PARAMS
    except Exception as error:  # noqa: BLE001 - whatever its parser raises
        raise InputError(f"ir:{name}: ir-measures does not know it: {reason(error)}") from None
    lacking = [key for key, one in known.items() if one.required and key not in found.params]
    if lacking:
        raise InputError(f"ir:{name}: expected {', '.join(lacking)} in brackets, as {lacking[0]}=1")
    if not 1 <= found.params.get("cutoff", DEPTH) <= DEPTH:  # 0 ends the process in its C library
        raise InputError(f"ir:{name}: expected a cut-off from 1 to {DEPTH}")
    _require_provider(package, found, name)
    return found


def _require_provider(package: Any, measure: Any, name: str) -> None:
    """Raise InputError, with what to install, where nothing that is installed computes it."""
    try:
        if package.DefaultPipeline.supports(measure):
            return
        offers = [one for one in package.DefaultPipeline.providers if one.supports(measure)]
    except Exception as error:  # noqa: BLE001 - whatever a provider says of its parameters
        raise InputError(f"ir:{name}: ir-measures refuses it: {reason(error)}") from None
    how = "; ".join(f"{one.NAME} ({one.install_instructions() or '?'})" for one in offers)
    own = ", ".join(measure.SUPPORTED_PARAMS) or "none"
    raise InputError(
        f"ir:{name}: what computes it is not installed: {how}"
        if offers
        else f"ir:{name}: nothing computes it so: set more of its parameters ({own})"
    )


def canonical(name: str) -> str:
    """The name under which ir-measures prints a measure, for the record."""
    return str(_parse(name)).replace(" ", "")


@measure(
    "ir", graded=True, needs=("run", "qrels", "names"),
    citation="MacAvaney, Macdonald and Ounis 2022", read=canonical,
)  # fmt: skip
def outside(judged: Judged, run: Run, qrels: Qrels, names: Names, name: str) -> Float64:
    """Any other measure, handed to the package ir-measures where it is installed."""
    package = load("ir_measures", "ir-measures")
    query, rank = np.nonzero(run.docs >= 0)
    # scores that fall by 1 a rank, so that every provider ranks as the run does
    results = [
        package.ScoredDoc(str(q), str(d), float(DEPTH - r))
        for q, d, r in zip(query, run.docs[query, rank], rank, strict=True)
    ]
    gains = _read_gains(qrels, names, f"ir:{name}")
    # an unknown document can never be found, and stays in every denominator under its own name
    judgments = [
        package.Qrel(str(q), str(d) if d >= 0 else f"unknown-{row}", gain)
        for row, (q, d, gain) in enumerate(zip(qrels.query_rows, qrels.docs, gains, strict=True))
    ]
    values = np.zeros(judged.size)
    try:
        for one in package.iter_calc([_parse(name)], judgments, results):
            values[int(one.query_id)] = one.value
    except Exception as error:  # a provider may lack a program
        raise InputError(f"ir:{name}: ir-measures cannot compute it: {reason(error)}") from error
    return values


def _read_gains(qrels: Qrels, names: Names, measure: str) -> list[int]:
    """Gains as whole numbers, which is all that ir-measures takes.

    -1 stands for every gain below: none of its measures tells them apart, and its C library ends
    the process where a query has no others. Raises InputError that names the judgment.
    """
    wrong = (qrels.gains != np.rint(qrels.gains)) | (qrels.gains > HIGHEST)
    if wrong.any():
        row = int(wrong.argmax())
        query, doc = qrels.query_rows[row], qrels.docs[row]
        document = names.documents[doc] if doc >= 0 else "that the corpus does not hold"
        raise InputError(
            f"{measure}: the gain of document {document!r} for query {names.queries[query]!r} is "
            f"{qrels.gains[row]:g}: expected a whole number of at most {HIGHEST:,}"
        )
    return [int(gain) for gain in np.maximum(qrels.gains, -1)]
