"""The report of a self-test: tables that people read, and the same as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from harness.frames import Table
from harness.optional import leave_out_folders
from harness.selftest.cases import Chosen
from harness.selftest.header import write_rows
from harness.selftest.outcomes import Outcome, Unchecked
from harness.wording import count

SCHEMA = 1
ALIKE = 3  # checks of one section that are told in lines, of those that fail


@dataclass(frozen=True)
class Report:
    """All that a self-test tells.

    Attributes:
        facts: Of the machine, as JSON.
        outcomes: Of each check, in order.
        unchecked: What was not checked.
        chosen: Cases of exact search, and those left out, by what is searched.
        seconds: That all of it took.
        quick: Whether the small grid was asked for.
    """

    facts: Mapping[str, Any]
    outcomes: tuple[Outcome, ...]
    unchecked: tuple[Unchecked, ...]
    chosen: Mapping[str, Chosen]
    seconds: float = 0.0
    quick: bool = False

    @property
    def failed(self) -> list[Outcome]:
        """Checks that did not come out as they should."""
        return [one for one in self.outcomes if one.failed]

    @property
    def exit_status(self) -> int:
        """0 where all is equal, else 1; also where devices decided nothing."""
        return int(bool(self.failed) or not any(one.passed for one in self.outcomes))


def head(facts: Mapping[str, Any]) -> Table:
    """The machine and its libraries."""
    return Table("Self-test of GPUs", ("", ""), write_rows(facts))


def tables(report: Report) -> list[Table]:
    """Sections in numbers, and what was not checked."""
    sections = dict[str, list[Outcome]]()
    for one in report.outcomes:
        sections.setdefault(one.section, []).append(one)
    header = (
        "section", "checks", "passed", "compared", "by devices", "queries decided", "GPU s",
        "CPU s", "peak MB", "told by", "error / bound",
    )  # fmt: skip
    rows = [(name, *_sum_up(found)) for name, found in sections.items()]
    numeric = frozenset({1, 2, 3, 4, 5, 6, 7, 8, 10})
    shown = [Table("Checks", header, rows, numeric)]
    if report.unchecked:
        lines = [(one.what, one.why) for one in report.unchecked]
        shown.append(Table("Not checked", ("what", "why"), lines))
    return shown


def _sum_up(found: Sequence[Outcome]) -> tuple[str, ...]:
    """The cells of a section, after its name."""
    largest = max(found, key=lambda one: one.peak_bytes or 0)
    ratios = [one.ratio for one in found if one.ratio is not None]
    return (
        f"{len(found):,}",
        f"{sum(one.passed for one in found):,}",
        f"{sum(one.compared for one in found):,}",
        _share(found),
        _count_decided(found),
        _add_seconds([one.gpu_seconds for one in found]),
        _add_seconds([one.cpu_seconds for one in found]),
        f"{largest.peak_bytes / 1e6:,.0f}" if largest.peak_bytes is not None else "",
        largest.peak_by,
        f"{max(ratios):.3f}" if ratios else "",
    )


def _share(found: Sequence[Outcome]) -> str:
    """The part of what was compared that devices decided; the processor did the rest."""
    compared = sum(one.compared for one in found)
    decided = sum(one.compared * one.by_devices for one in found)
    return f"{100 * decided / compared:.4g} %" if compared else ""


def _count_decided(found: Sequence[Outcome]) -> str:
    """Queries that devices alone decided, of all; empty where no search was checked."""
    queries = sum(one.queries for one in found)
    return f"{sum(one.decided for one in found):,} of {queries:,}" if queries else ""


def _add_seconds(seconds: Sequence[float | None]) -> str:
    known = [each for each in seconds if each is not None]
    return f"{sum(known):,.2f}" if known else ""


def lines(report: Report) -> list[str]:
    """What stands below the tables: failures, cases that were left out, notes, the verdict."""
    return [
        *_list_failures(report),
        *_list_unshown(report.outcomes),
        *(line for what, each in report.chosen.items() for line in _tell_chosen(what, each)),
        *_list_notes(report.outcomes),
        _judge(report),
    ]


def _list_failures(report: Report) -> list[str]:
    told, by_section = list[str](), dict[str, int]()
    for one in report.failed:
        by_section[one.section] = by_section.get(one.section, 0) + 1
        if by_section[one.section] > ALIKE:
            continue
        told.append(
            f"{one.status}: {one.section}: {one.name}" + (f": {one.details}" * bool(one.details))
        )
        if one.differing:
            told.append(f"  {one.differing:,} of {one.compared:,} results differ")
        if one.first:
            told.append(f"  first at {one.first}")
    more = {name: number - ALIKE for name, number in by_section.items() if number > ALIKE}
    return told + [f"{name}: {number:,} more fail: see --json" for name, number in more.items()]


def _list_unshown(outcomes: Sequence[Outcome]) -> list[str]:
    """Checks that show nothing of devices, since the processor decided all results."""
    unshown = [one for one in outcomes if one.status == "not shown"]
    told = [f"not shown: {one.section}: {one.name}: {one.details}" for one in unshown[:ALIKE]]
    more = len(unshown) - len(told)
    return told + ([f"{more:,} more are not shown: see --json"] if more else [])


def _tell_chosen(what: str, chosen: Chosen) -> list[str]:
    """How many cases stand for all, and what they leave out."""
    told = [f"{what}: {len(chosen.cases):,} of {count(chosen.whole, 'combination')}, each pair of "
            "values at least once"]  # fmt: skip
    told += [
        f"  {number:,} combinations could not be chosen: {limit}"
        for limit, number in chosen.excluded.items()
    ]
    return told + [f"  in none of those chosen: {pair}" for pair in chosen.lacking]


def _list_notes(outcomes: Sequence[Outcome]) -> list[str]:
    """What searches said of themselves, each once: its numbers differ from case to case."""
    notes = dict[str, list[str]]()
    for one in outcomes:
        for note in one.notes:
            kind = "".join("N" if letter.isdigit() else letter for letter in note)
            notes.setdefault(kind, []).append(note)
    return [f"noted {count(len(all_), 'time')}: {all_[0]}" for all_ in notes.values()]


def _judge(report: Report) -> str:
    """The verdict in a line."""
    passed = [one for one in report.outcomes if one.passed]
    checks, failed = count(len(report.outcomes), "check"), len(report.failed)
    errors = sum(one.status == "error" for one in report.failed)
    shown = [one for one in report.outcomes if one.status != "not shown"]
    verdict = f"all {checks} passed" if shown else "nothing could be checked"
    if unshown := len(report.outcomes) - len(shown):
        verdict = f"{len(shown):,} of {checks} passed, {unshown:,} show nothing of devices"
    if failed:
        verdict = f"{failed:,} of {checks} failed, {errors:,} of them with an error"
    compared = sum(one.compared for one in passed)
    refused = sum(one.status == "refused" for one in passed)
    decided = _count_decided(report.outcomes)
    by_devices = f"devices decided {decided} queries, " if decided else ""
    return (
        f"selftest gpu{' --quick' if report.quick else ''}: {verdict}; {compared:,} comparisons "
        f"equal, {by_devices}{count(refused, 'request')} refused as expected, "
        f"{len(report.unchecked):,} not checked; {report.seconds:,.0f} s"
    )


def write_json(report: Report) -> bytes:
    """All of it for programs."""
    left_out = {
        what: {
            "chosen": len(each.cases),
            "combinations": each.whole,
            "excluded": each.excluded,
            "pairs_in_none": each.lacking,
        }
        for what, each in report.chosen.items()
    }
    document = {
        "schema": SCHEMA,
        "what": "selftest gpu",
        "quick": report.quick,
        "exit_status": report.exit_status,
        "seconds": report.seconds,
        "verdict": _judge(report),
        "machine": report.facts,
        "checks": [{**asdict(one), "passed": one.passed} for one in report.outcomes],
        "not_checked": [asdict(one) for one in report.unchecked],
        "cases": left_out,
    }
    return (json.dumps(_define(document), indent=1, allow_nan=False) + "\n").encode()


def _define(value: Any) -> Any:
    """A value as JSON knows it: what is no finite number as text; no folder of this machine."""
    if isinstance(value, Mapping):
        return {key: _define(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_define(each) for each in value]
    if isinstance(value, str):
        return leave_out_folders(value)
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
