"""A comparison of two systems as tables."""

from __future__ import annotations

from dataclasses import asdict

from harness.compare import Difference, Item, PairComparison
from harness.frames import Table
from harness.frames.formats import bounds, number, probability
from harness.report.data import SCHEMA
from harness.wording import plural


def page(found: PairComparison) -> list[Table]:
    """Tasks, what measures disagree about, the items that differ most, what was left out."""
    tables = [_tasks(found)]
    tables += _disagreements(found)
    for one in found.differences:
        for ahead, behind, items in ((found.a, found.b, one.best), (found.b, found.a, one.worst)):
            if items:
                title = f"{one.task}: where {ahead} beats {behind} most, {one.measure}"
                tables.append(_items(title, one.noun, found, items))
    notes = _all_notes(found)
    return [*tables, *([Table("Notes", ["task", "note"], notes)] if notes else [])]


def _all_notes(found: PairComparison) -> list[list[str]]:
    """Tasks with what is to be known of them."""
    notes = [[one.task, note] for one in found.differences for note in _notes(one)]
    notes += [[task, f"not compared: {why}"] for task, why in found.refused]
    notes += [[task, f"only {found.a} was measured"] for task in found.only_a]
    return notes + [[task, f"only {found.b} was measured"] for task in found.only_b]


def data(found: PairComparison) -> dict[str, object]:
    """The same as a document: tasks, other measures, the items that differ most, notes."""
    nested = ("p", "notes", "others", "best", "worst", "fall", "rise", "error", "sign", "noun")
    tasks, measures, items = list[object](), list[object](), list[object]()
    for one in found.differences:
        row = {key: value for key, value in asdict(one).items() if key not in nested}
        more = {"difference": one.difference, "detectable": one.detectable, "p": one.p.two_sided}
        tasks.append({**row, **more, "lower_is_better": one.sign < 0})
        measures += [
            {"task": one.task, **asdict(each), "difference": each.difference} for each in one.others
        ]
        items += [
            {
                "task": one.task,
                "measure": one.measure,
                **asdict(each),
                "difference": each.a - each.b,
            }
            for each in (*one.best, *one.worst)
        ]
    notes = [{"task": task, "note": note} for task, note in _all_notes(found)]
    named = {"schema": SCHEMA, "a": found.a, "b": found.b}
    return {**named, "tasks": tasks, "measures": measures, "items": items, "notes": notes}


def _tasks(found: PairComparison) -> Table:
    header = ["task", "measure", found.a, found.b, "difference", "95% interval", "p"]
    header += ["p Holm", "p B-H", "effect d", "detectable", "wins / ties / losses"]
    rows = [
        [
            one.task,
            one.measure,
            number(one.a),
            number(one.b),
            number(one.difference, signed=True),
            bounds(one.low, one.high, signed=True),
            probability(one.p.two_sided),
            probability(one.holm),
            probability(one.benjamini_hochberg),
            number(one.effect, 2),
            number(one.detectable),
            f"{one.wins:,} / {one.ties:,} / {one.losses:,}" if one.paired else "–",
        ]
        for one in found.differences
    ]
    title = f"{found.a} against {found.b}"
    return Table(title, header, rows, frozenset(range(2, len(header))))


def _disagreements(found: PairComparison) -> list[Table]:
    """Measures that prefer the other system, with the items that make them do so."""
    rows = []
    for one in found.differences:
        for other in one.disagreeing:
            rows.append(
                [
                    one.task,
                    f"{one.measure} {number(one.difference, signed=True)}",
                    f"{other.measure} {number(other.difference, signed=True)}",
                    str(other.against),
                    str(other.reverse),
                    str(one.items - other.against - other.reverse),
                ]
            )
    header = ["task", "main measure", "other measure", "main better, other worse"]
    header += ["main worse, other better", "no conflict"]
    nouns = dict.fromkeys(plural(one.noun) for one in found.differences if one.disagreeing)
    where = f"the {' and '.join(nouns)} where they do"
    title = f"Measures that disagree, and {where} ({found.a} less {found.b})"
    return [Table(title, header, rows, frozenset({3, 4, 5}))] if rows else []


def _items(title: str, noun: str, found: PairComparison, items: tuple[Item, ...]) -> Table:
    rows = [[i.id, number(i.a), number(i.b), number(i.a - i.b, signed=True)] for i in items]
    return Table(title, [noun, found.a, found.b, "difference"], rows, frozenset({1, 2, 3}))


def _notes(one: Difference) -> list[str]:
    low = [one.measure] if one.sign < 0 else []
    low += [other.measure for other in one.others if other.sign < 0]
    notes = {
        f"{', '.join(low)}: a low value is good": bool(low),
        f"{one.measure} has no value for each {one.noun}: the intervals were taken as "
        "independent": not one.paired,
    }
    return [*one.notes, *(note for note, holds in notes.items() if holds)]
