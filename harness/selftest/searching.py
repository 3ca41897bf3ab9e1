"""Exact search on GPUs is held to that of the processor, to the bit."""

from __future__ import annotations

from harness.indexes import INDEXES, Found
from harness.selftest.cases import Case, make_texts
from harness.selftest.machine import Machine, open_on_cpu, search_on_gpus, time_on_cpu
from harness.selftest.outcomes import Outcome, Status, compare_runs
from harness.vectors import Embeddings


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
    status, by_devices, said = judge_devices(taken.found, documents)
    return Outcome(
        section,
        name,
        "differs" if differing else status,
        "; ".join(filter(None, [details, said])),
        taken.seconds,
        seconds,
        taken.peak_bytes,
        taken.peak_by,
        compared=expected.run.docs.size,
        differing=differing,
        first=first,
        by_devices=by_devices,
        notes=taken.notes,
        index={"spec": spec, **index.describe()},
    )


def judge_devices(found: Found, documents: Embeddings) -> tuple[Status, float, str]:
    """Tell whether devices decided a search whose results are equal.

    Returns:
        not shown where they decided nothing, error where one was full; which part of it they
        decided; and what is to be said of the rest.
    """
    if (rest := found.instead) is None:
        shown = bool(found.devices) or not len(documents)
        return ("equal", 1.0, "") if shown else ("not shown", 0.0, "no device searched")
    if rest.full:
        return "error", 1 - rest.part / rest.whole, str(rest)
    status: Status = "not shown" if rest.part == rest.whole else "equal"
    return status, 1 - rest.part / rest.whole, str(rest)
