"""A test of the GPUs of this machine that anybody can run: are results those of the processor?

Every check is made whatever became of the others; one that raises has an outcome of its own. What
a machine cannot show is listed with its reason, and counts as nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from harness.errors import ENDINGS, HarnessError, reason
from harness.indexes import INDEXES
from harness.indexes.gpu.certified import Precision
from harness.progress import Progress
from harness.selftest import bound, encoding, refusals, structures
from harness.selftest.cases import CaseGrid, Chosen, Layout, choose_cases, restrict
from harness.selftest.header import describe_machine
from harness.selftest.machine import Machine
from harness.selftest.outcomes import Outcome, Unchecked
from harness.selftest.report import Report
from harness.selftest.searching import check_search, name_section


@dataclass(frozen=True)
class Check:
    """One check: what it belongs to, its name, and how it is made."""

    section: str
    name: str
    make: Callable[[], Outcome]


@dataclass(frozen=True)
class CheckPlan:
    """Checks in order, what cannot be checked, and cases by what is searched."""

    checks: tuple[Check, ...]
    unchecked: tuple[Unchecked, ...]
    chosen: dict[str, Chosen]


def plan(grid: CaseGrid, machine: Machine) -> CheckPlan:
    """Choose the checks that a machine can show."""
    layouts: tuple[Layout, ...] = ("one", "replicated", "sharded")
    layouts = layouts if len(machine.names) > 1 else layouts[:1]
    by_torch: tuple[Precision, ...] = ("float32", "float16", "bfloat16") if machine.torch else ()
    by_any: tuple[Precision, ...] = by_torch or ("float32", "float16")
    chosen = {"exact search": choose_cases(restrict(grid, precisions=by_any, layouts=layouts))}
    if machine.torch:
        late = restrict(grid, precisions=by_torch, layouts=layouts)
        chosen["MaxSim"] = choose_cases(late, late=True)
    checks = [
        Check(name_section(case), case.name, partial(check_search, case, machine))
        for each in chosen.values()
        for case in sorted(each.cases, key=name_section)
    ]
    checks += [*_plan_bounds(grid, machine), *_plan_others(grid, machine)]
    return CheckPlan(tuple(checks), tuple(_list_unchecked(machine)), chosen)


def _plan_bounds(grid: CaseGrid, machine: Machine) -> Iterator[Check]:
    """Errors of each library, width and precision, with TF32 as it was found and switched on."""
    precisions: tuple[Precision, ...] = ("float32", "float16", "bfloat16")
    sees: dict[bound.Library, bool] = {"faiss": machine.faiss, "torch": machine.torch}
    libraries = [library for library, seen in sees.items() if seen]
    for setting in bound.list_settings():
        for precision in (each for each in precisions if each in grid.precisions):
            for library in libraries:
                if (library, precision) == ("faiss", "bfloat16"):
                    continue
                for d in grid.bound_dims:
                    shape = (*grid.bounds, d)
                    name = f"{library} {precision} d={d:,} {setting}".rstrip()
                    make = partial(bound.check_bound, library, precision, shape, setting, machine)
                    yield Check(bound.SECTION, name, make)
            if machine.torch:
                late = bound.shorten(grid.bounds, grid.bound_dims[0])
                name = f"torch {precision} d={late[2]:,} {setting}".rstrip()
                make = partial(bound.check_late_bound, precision, late, setting, machine)
                yield Check(bound.LATE, name, make)


def _plan_others(grid: CaseGrid, machine: Machine) -> Iterator[Check]:
    """Lists and codes, refusals, encoding."""
    targets = [*structures.TARGETS, *([] if explain_graph() else [structures.GRAPH])]
    for target in targets if machine.faiss else ():
        make = partial(structures.check_structure, target, grid.structure, machine)
        yield Check(structures.SECTION, f"gpu:{target}", make)
    for spec, k in (*refusals.BY_ANY, *(refusals.BY_FAISS if machine.faiss else ())):
        make = partial(refusals.check_refusal, spec, k, machine)
        yield Check(refusals.SECTION, f"{spec} k={k:,}", make)
    if machine.torch:
        make = partial(encoding.check_encoding, grid.texts, machine)
        yield Check(encoding.SECTION, "encoding", make)
    if encoding.can_keep(machine):
        make = partial(encoding.check_cached, grid.texts, machine)
        yield Check(encoding.SECTION, "torch keeps memory", make)


def _list_unchecked(machine: Machine) -> Iterator[Unchecked]:
    """What a machine cannot show, with the reason."""
    if len(machine.names) < 2:
        yield Unchecked("replicated and sharded documents", "one device is tested")
    if not machine.torch:
        why = f"torch does not use {' and '.join(machine.names)}"
        for what in ("bfloat16", "MaxSim", "encoding on the device", "the bound of torch's scan"):
            yield Unchecked(what, why)
    if not machine.faiss:
        why = f"faiss does not use {' and '.join(machine.names)}"
        for what in ("lists and codes", "the bound of faiss's scan", "refusals of gpu:TARGET"):
            yield Unchecked(what, why)
    elif why := explain_graph():
        yield Unchecked("gpu:CAGRA", why)
    if machine.torch and not encoding.can_keep(machine):
        yield Unchecked("search while torch keeps memory", "the processor stands in for a device")


def explain_graph() -> str:
    """Say why there is no CAGRA; empty where there is."""
    try:
        INDEXES.create(f"gpu:{structures.GRAPH}").require("dense")
    except HarnessError as error:
        return str(error)
    return ""


def run(grid: CaseGrid, machine: Machine, progress: Progress, *, quick: bool = False) -> Report:
    """Make all checks.

    Args:
        grid: What they are made on.
        machine: Where.
        progress: Told of each check.
        quick: Whether it is the small grid, for the report.
    """
    began, planned = time.monotonic(), plan(grid, machine)
    outcomes = make_all(planned.checks, progress)
    facts = describe_machine(machine)
    seconds = time.monotonic() - began
    return Report(facts, outcomes, planned.unchecked, planned.chosen, seconds, quick)


def make_all(checks: Sequence[Check], progress: Progress) -> tuple[Outcome, ...]:
    """Make checks, each whatever became of those before."""
    outcomes = list[Outcome]()
    for number, check in enumerate(checks):
        progress(check.section, number, len(checks), "checks")
        outcomes.append(_make(check))
    progress("done", len(checks), len(checks), "checks")
    return tuple(outcomes)


def _make(check: Check) -> Outcome:
    """The outcome of a check; of one that raises what it said, in a line."""
    try:
        return check.make()
    except HarnessError as error:
        return Outcome(check.section, check.name, "error", str(error))
    except ENDINGS as error:
        said = f"{type(error).__name__}: {reason(error)}"
        return Outcome(check.section, check.name, "error", said)
