"""A gate's verdicts: tables, Markdown, JUnit XML, GitHub annotations, JSON.

For people and for the programs that run it. Text from data is escaped for each.
"""

from __future__ import annotations

import re
from dataclasses import asdict, replace
from xml.etree import ElementTree

from harness.frames import Table
from harness.frames.formats import bounds, number, probability
from harness.gate import FAILED, Gate, TaskVerdict
from harness.gate.costs import CostVerdict
from harness.report.data import SCHEMA
from harness.report.tables import write
from harness.shown import clean, escape
from harness.wording import count, plural

SUMMARY_BYTES = 2**20  # what GitHub takes as the summary of a step
COMMENT_BYTES = 65_536  # and as a comment
ANNOTATIONS = 10  # of a kind that GitHub shows for a step
CELL = 300  # characters
LINES = "\r\n"  # which annotations may have
OUTCOMES = {0: "pass", 1: "regression", 2: "cannot judge"}


def page(gate: Gate) -> list[Table]:
    """The verdicts, the worst first, and the costs."""
    title = f"{gate.candidate} held to {gate.baseline}"
    header = ["task", "verdict", "measure", "baseline", "candidate", "difference", "p", "why"]
    rows = [_row(verdict) for verdict in gate.verdicts]
    tables = [Table(title, header, rows, frozenset({3, 4, 5, 6}))]
    if gate.costs:
        told = ["cost", "verdict", "x the baseline's", "95% interval", "limit", "why"]
        costs = [_cost_row(cost) for cost in gate.costs]
        tables.append(Table("Cost", told, costs, frozenset({2, 3, 4})))
    if gate.extra:
        extra = [[task] for task in gate.extra]
        tables.append(Table("Measured, but not in the baseline", ["task"], extra))
    return tables


def _row(verdict: TaskVerdict) -> list[str]:
    found = verdict.difference
    if found is None or verdict.p is None:
        return [verdict.task, verdict.status, "", "", "", "", "", verdict.reason]
    numbers = [number(found.b), number(found.a), number(found.difference, signed=True)]
    p = probability(verdict.p)
    return [verdict.task, verdict.status, found.measure, *numbers, p, verdict.reason]


def _cost_row(cost: CostVerdict) -> list[str]:
    """A row of a cost."""
    numbers = ["", ""]
    if cost.ratio is not None:
        numbers[0] = number(cost.ratio, 3)
    if cost.low is not None and cost.high is not None:
        numbers[1] = bounds(cost.low, cost.high, 3)
    return [cost.name, cost.status, *numbers, number(cost.limit, 3), cost.reason]


def summary(gate: Gate) -> str:
    """One line: the outcome, and how many tasks have each verdict."""
    statuses = [verdict.status for verdict in gate.verdicts]
    counts = [f"{statuses.count(status)} {status}" for status in dict.fromkeys(statuses)]
    counts += [f"{cost.name} {cost.status}" for cost in gate.costs if cost.status != "within"]
    return f"{OUTCOMES[gate.exit_status]} ({', '.join(counts)})"


def markdown(gate: Gate, most: int = COMMENT_BYTES) -> str:
    """For a pull request or the summary of a step: at most so many bytes, the worst kept."""
    first, *others = page(gate)
    first = replace(first, title=f"{first.title}: {summary(gate)}")
    tables = [first, *others]
    rows = max(len(table.rows) for table in tables)
    while True:
        cut = [replace(table, rows=table.rows[:rows]) for table in tables]
        left = sum(
            len(whole.rows) - len(part.rows) for whole, part in zip(tables, cut, strict=True)
        )
        text = write(cut, "markdown", _mark) + (
            f"\n\n{count(left, 'more row')} left out.\n" if left else "\n"
        )
        if len(text.encode()) <= most or not rows:
            return text
        rows //= 2


def _mark(text: str) -> str:
    """Without what Markdown or GitHub would take for markup, a link or a mention."""
    short = clean(text)
    short = short if len(short) <= CELL else short[: CELL - 3] + "..."
    marked = re.sub(r"([\\`*_\[\]~#!])", r"\\\1", short.replace("&", "&amp;")).replace("<", "&lt;")
    # a word joiner keeps names and addresses from becoming mentions and links
    return re.sub(r"(?<!\w)@", "@\u2060", marked).replace("://", ":\u2060//")


def _printable(text: str) -> str:
    """In one line, without the characters that XML 1.0 cannot hold."""
    return re.sub("[^\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "\ufffd", clean(text))


def junit(gate: Gate) -> bytes:
    """JUnit XML, a case a task and a cost: what regressed fails, what cannot be judged errs.

    A cost that passes though it cannot be told is skipped: in many views a case that passes has no
    words.
    """
    suite = ElementTree.Element("testsuite", name=_printable(f"gate: {gate.candidate}"))
    for verdict in gate.verdicts:
        family = verdict.difference.family if verdict.difference else "tasks"
        _case(suite, (family, verdict.task), verdict)
    for cost in gate.costs:
        _case(suite, ("cost", cost.name), cost)
    kinds = [child.tag for case in suite for child in case]
    suite.set("tests", str(len(suite)))
    for kind in ("failure", "error"):
        suite.set(plural(kind), str(kinds.count(kind)))
    suite.set("skipped", str(kinds.count("skipped")))
    return bytes(ElementTree.tostring(suite, "utf-8", xml_declaration=True))


def _case(
    suite: ElementTree.Element, name: tuple[str, str], one: TaskVerdict | CostVerdict
) -> None:
    case = ElementTree.SubElement(
        suite, "testcase", classname=_printable(name[0]), name=_printable(name[1])
    )
    kind, text = _kind(one), _printable(f"{one.status}: {one.reason}")
    if isinstance(one, CostVerdict) and one.status == "cannot tell":
        ElementTree.SubElement(case, "skipped", message=text)
    elif kind == "notice":
        ElementTree.SubElement(case, "system-out").text = text
    else:
        tag = "failure" if kind == "error" else "error"
        ElementTree.SubElement(case, tag, message=text, type=one.status)


def _kind(one: TaskVerdict | CostVerdict) -> str:
    """GitHub's level: error for a failure, warning for what cannot be judged, else notice."""
    if one.status in (*FAILED, "exceeded"):
        return "error"
    unjudged = (
        one.blind or one.status == "not comparable"
        if isinstance(one, TaskVerdict)
        else one.status == "not compared"
    )
    return "warning" if unjudged else "notice"


def workflow_commands(gate: Gate) -> list[str]:
    """GitHub annotations to print, at most ten: the last stands for those left out."""
    named: list[tuple[str, TaskVerdict | CostVerdict]] = [
        (verdict.task, verdict) for verdict in gate.verdicts
    ]
    named += [(cost.name, cost) for cost in gate.costs]
    lines = [
        (_kind(one), f"{name[:CELL]}: {one.status}", one.reason[:CELL])
        for name, one in named
        if _kind(one) != "notice"
    ]
    lines.sort(key=lambda line: line[0])  # errors before warnings
    if len(lines) > ANNOTATIONS:
        more = len(lines) - ANNOTATIONS + 1
        lines[ANNOTATIONS - 1 :] = [(lines[ANNOTATIONS - 1][0], f"{more} more", summary(gate))]
    return [
        f"::{level} title={_property(clean(title))}::{_data(escape(text, keep=LINES))}"
        for level, title, text in lines
    ]


def _data(text: str) -> str:
    for mark, code in (("%", "%25"), ("\r", "%0D"), ("\n", "%0A")):
        text = text.replace(mark, code)
    return text


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def data(gate: Gate) -> dict[str, object]:
    """Everything as a document, with the exit status."""
    return {
        "schema": SCHEMA,
        "exit_status": gate.exit_status,
        "outcome": OUTCOMES[gate.exit_status],
        **{key: asdict(gate)[key] for key in ("baseline", "candidate")},
        "policy": gate.policy.model_dump(),
        "verdicts": [_verdict(verdict) for verdict in gate.verdicts],
        "costs": [asdict(cost) for cost in gate.costs],
        "extra": gate.extra,
    }


def _verdict(verdict: TaskVerdict) -> dict[str, object]:
    """A verdict with the numbers that led to it, without the single queries."""
    found = verdict.difference
    told = ("measure", "items", "a", "b", "low", "high", "effect", "error", "notes")
    every = None if found is None else asdict(found)
    numbers = every and {name: every[name] for name in told}
    return {**asdict(replace(verdict, difference=None)), "difference": numbers}
