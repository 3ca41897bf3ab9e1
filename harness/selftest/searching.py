"""Exact search on GPUs is held to that of the processor, to the bit."""

from __future__ import annotations

from dataclasses import replace

from harness.indexes import INDEXES, Found, Instead
from harness.selftest.cases import Case, make_texts
from harness.selftest.machine import Machine, open_on_cpu, search_on_gpus, time_on_cpu
from harness.selftest.outcomes import Outcome, compare_runs
from harness.vectors import Embeddings

NOBODY = "no device searched"


def name_section(case: Case) -> str:
    """What cases are counted together in the report."""
    return f"{'MaxSim' if case.late else 'exact'} {case.precision} {case.layout}"


def check_search(case: Case, machine: Machine) -> Outcome:
    """Search one case on GPUs and on the processor."""
    documents, queries = make_texts(case)
    spec = f"gpu,precision={case.precision},{machine.ask(case.layout)}"
    return hold_to_cpu(name_section(case), case.name, spec, (documents, queries, case.k), machine)


def hold_to_cpu(
    section: str,
    name: str,
    spec: str,
    asked: tuple[Embeddings, Embeddings, int],
    machine: Machine,
    *,
    details: str = "",
) -> Outcome:
    """Search by an index that is exact, and by the processor.

    Args:
        section: Of the report.
        name: Of the check.
        spec: Of the index.
        asked: Documents, queries and results of each.
        machine: Where.
        details: What else is to be said of it.
    """
    documents, queries, k = asked
    index = INDEXES.create(spec)
    index.require(documents.representation)
    taken = search_on_gpus(machine, index, lambda: index.open(documents), queries, k)
    expected, seconds = time_on_cpu(open_on_cpu(documents), queries, k)
    differing, first = compare_runs(taken.found.run, expected.run)
    outcome = Outcome(
        section, name, "differs" if differing else "equal", details,
        taken.seconds, seconds, taken.peak_bytes, taken.peak_by,
        compared=expected.run.docs.size,
        differing=differing,
        first=first,
        notes=taken.notes,
        index={"spec": spec, **index.describe()},
    )  # fmt: skip
    return judge_devices(outcome, taken.found)


def judge_devices(outcome: Outcome, found: Found) -> Outcome:
    """Tell how much of a search devices decided, and why not the rest.

    Results that are equal show nothing where that is none of them, and fail where a device was
    full: whatever it was to show, it did not.
    """
    queries = len(found.run.docs)
    rest = found.instead or Instead(0 if found.devices else queries, queries, "queries", "", False)
    judged = judge_rest(outcome, rest, str(rest) if found.instead else NOBODY)
    # a query of which the processor made some comparisons is decided by no device alone
    others = rest.part if rest.of == "queries" else queries * bool(rest.part)
    return replace(judged, queries=queries, decided=queries - others)


def judge_rest(outcome: Outcome, rest: Instead, said: str) -> Outcome:
    """Tell what the processor did in place of devices, as said, and judge what that shows."""
    if not rest.part:
        return outcome
    status = outcome.status
    if status == "equal" and (rest.full or rest.part == rest.whole):
        status = "error" if rest.full else "not shown"
    details = "; ".join(filter(None, [outcome.details, said]))
    return replace(outcome, status=status, details=details, by_devices=1 - rest.part / rest.whole)
