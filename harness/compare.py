"""Two systems on the same tasks: by how much they differ, and whether that is more than chance."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness import records, stats
from harness.arrays import Float64, Int64
from harness.errors import InputError
from harness.matching import match, tell_differences
from harness.progress import Progress, silent
from harness.records import Record, naming
from harness.records.item_values import IncomparableError, ItemValues, read_items
from harness.stats import PValues

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = 1  # of frames
FRAME = (
    "task", "measure", "a", "b", "difference", "low", "high", "holm", "benjamini_hochberg",
    "effect", "items", "wins", "ties", "losses", "paired", "gain",
)  # fmt: skip
SHOWN = 10  # items named for each task

Recorded = tuple[Path | Mapping[str, Any], Record]
"""A record with its values of each item: in the file beside a path, or columns in memory."""


@dataclass(frozen=True)
class Side:
    """One system's records by task; name: its model, rewriting and index."""

    name: str
    tasks: dict[str, tuple[Path, Record]]


@dataclass(frozen=True)
class InMemory:
    """One system's evaluations by task: columns of what was scored, the ids first, and records."""

    name: str
    tasks: Mapping[str, tuple[Mapping[str, Any], Record]]


@dataclass(frozen=True)
class Item:
    """A query, pair or text with what each system has of the measure there."""

    id: str
    a: float
    b: float


@dataclass(frozen=True)
class Other:
    """Another measure of the same task.

    against: items better for A by the main measure, for B by this one; reverse: the other way.
    sign: as of a `Difference`.
    """

    measure: str
    a: float
    b: float
    against: int
    reverse: int
    sign: int = 1

    @property
    def difference(self) -> float:
        """A's mean less B's."""
        return self.a - self.b


@dataclass(frozen=True)
class Difference:
    """A's score less B's on one task, by its main measure.

    low, high: 95% bootstrap interval. p: paired randomisation test; fall, rise: one-sided, of A
    having lost, or won, no more than a margin; holm, benjamini_hochberg: p two-sided, adjusted for
    the tasks that are compared; of one alone it is p itself. effect: paired Cohen's d. error:
    standard error, None where a single item or no interval tells it. best, worst: the items on
    which A is furthest ahead and behind. sign: -1 where low scores are good: what is less, lost or
    behind is then what is higher, and the difference, its interval and the effect stay those of the
    scores. noun: what an item is.

    paired: False where the measure has no value for each item (a group of queries, an average
    precision over pairs); the two intervals are then taken as independent, which finds less.
    """

    task: str
    family: str
    measure: str
    items: int
    a: float
    b: float
    low: float
    high: float
    p: PValues
    holm: float
    benjamini_hochberg: float
    fall: float
    rise: float
    effect: float | None
    error: float | None
    wins: int
    ties: int
    losses: int
    paired: bool
    notes: tuple[str, ...] = ()
    others: tuple[Other, ...] = ()
    best: tuple[Item, ...] = ()
    worst: tuple[Item, ...] = ()
    sign: int = 1
    noun: str = "item"

    @property
    def difference(self) -> float:
        """A's score less B's."""
        return self.a - self.b

    @property
    def gain(self) -> float:
        """By how much A is better than B."""
        return self.sign * self.difference

    @property
    def least_gain(self) -> float:
        """The lower end of the interval of the gain."""
        return self.low if self.sign > 0 else -self.high

    @property
    def detectable(self) -> float | None:
        """The least true difference found at 5% with power 0.8; None for a single item."""
        return None if self.error is None else stats.detectable(self.error)

    @property
    def disagreeing(self) -> tuple[Other, ...]:
        """Measures that prefer the other system than the main one does."""
        return tuple(o for o in self.others if o.sign * o.difference * self.gain < 0)


@dataclass(frozen=True, repr=False)
class PairComparison:
    """Everything about A against B. refused: tasks that both have, with why not compared."""

    a: str
    b: str
    differences: tuple[Difference, ...]
    refused: tuple[tuple[str, str], ...]
    only_a: tuple[str, ...]
    only_b: tuple[str, ...]

    def frame(self) -> pd.DataFrame:
        """One row a task: both scores, their difference with its interval, tests and counts.

        `attrs` has what stands in no row: schema, a, b, refused, only_a, only_b.
        """
        import pandas as pd

        rows = [
            {**{name: getattr(one, name) for name in FRAME}, "p": one.p.two_sided}
            for one in self.differences
        ]
        frame = pd.DataFrame(rows, columns=[*FRAME, "p"])
        names = {"schema": SCHEMA, "a": self.a, "b": self.b, "refused": dict(self.refused)}
        frame.attrs = {**names, "only_a": list(self.only_a), "only_b": list(self.only_b)}
        return frame

    def __repr__(self) -> str:
        found = [f"{one.task} {one.difference:+.3f}" for one in self.differences]
        refused = [f"{task} refused" for task, _ in self.refused]
        return f"PairComparison({self.a} less {self.b}: {', '.join([*found, *refused])})"

    def _repr_html_(self) -> str:
        lines = [f"{task}: not compared: {why}" for task, why in self.refused]
        refused = "".join(f"<li>{html.escape(line)}</li>" for line in lines)
        head = html.escape(f"{self.a} (a) less {self.b} (b)")
        return f"<p>{head}</p>{self.frame().to_html(index=False)}<ul>{refused}</ul>"


def side(paths: Sequence[str | Path]) -> Side:
    """Read the records of one system, of each task the newest.

    Raises:
        InputError: Where there is none, or more than one system.
    """
    found = sorted(records.load_all(paths), key=lambda pair: pair[1].created)
    newest = {(record.name, record.task.spec): record for _, record in found}
    names = sorted({*naming.name(newest.values())})
    if len(names) > 1:
        raise InputError(
            f"{', '.join(map(str, paths))}: records of {len(names)} systems ({', '.join(names[:5])}"
            f"{', ...' if len(names) > 5 else ''}): name the files or the folder of one"
        )
    return Side(names[0], {record.task.spec: (path, record) for path, record in found})


def compare(
    a: Side | InMemory, b: Side | InMemory, *, seed: int = 0, progress: Progress = silent
) -> PairComparison:
    """Compare two systems on the tasks that both have.

    Args:
        a: One system.
        b: The other.
        seed: Of tests and intervals.
        progress: Hears of each task.

    Raises:
        InputError: Where they share no task, or a file belongs to another record.
    """
    shared = match(a.tasks, b.tasks)
    if not shared:
        raise InputError(f"{a.name} and {b.name} share no task: nothing to compare")
    found, refused = list[Difference](), list[tuple[str, str]]()
    for done, (task, other) in enumerate(shared.items()):
        progress("compare", done, len(shared), "tasks")
        try:
            found.append(difference(a.tasks[task], b.tasks[other], seed=seed))
        except IncomparableError as error:
            refused.append((task, str(error)))
    p = [one.p.two_sided for one in found]
    adjusted = zip(found, stats.holm(p), stats.benjamini_hochberg(p), strict=True)
    same = a.name == b.name
    return PairComparison(
        f"{a.name} (A)" if same else a.name,
        f"{b.name} (B)" if same else b.name,
        tuple(replace(one, holm=h, benjamini_hochberg=bh) for one, h, bh in adjusted),
        tuple(refused),
        tuple(task for task in a.tasks if task not in shared),
        tuple(task for task in b.tasks if task not in shared.values()),
    )


def refuse_incomparable(a: Record, b: Record) -> None:
    """Refuse two records that do not ask the same question of the same data.

    Raises:
        IncomparableError: Saying what differs.
    """
    x, y = a.task, b.task
    parts = sorted({*x.fingerprint, *y.fingerprint})
    changed = [part for part in parts if x.fingerprint.get(part) != y.fingerprint.get(part)]
    if changed:
        raise IncomparableError(f"the data differ: {', '.join(changed)}")
    if x.kind != y.kind:
        raise IncomparableError(f"the kind of task differs: {x.kind} and {y.kind}")
    if a.main_measure != b.main_measure:
        raise IncomparableError(f"the measure differs: {a.main_measure} and {b.main_measure}")
    if a.sign() != b.sign():
        raise IncomparableError(f"low values of {a.main_measure} are good in one of them only")
    if x.exclude_self != y.exclude_self:
        raise IncomparableError(
            "one leaves a query's own document out of the results, one does not"
        )
    _mean(a, "the first")
    _mean(b, "the second")


def _mean(record: Record, which: str) -> float:
    """The mean of a record. Raises IncomparableError where it has none."""
    mean = record.main.mean
    if mean is None:
        raise IncomparableError(f"{record.main_measure} is not defined for {which}")
    return mean


def difference(a: Recorded, b: Recorded, *, margin: float = 0.0, seed: int = 0) -> Difference:
    """Compare A's record with B's of the same task.

    Args:
        a: A record with the path of its file.
        b: The other's.
        margin: What counts as no change.
        seed: Of tests and intervals.

    Raises:
        IncomparableError: Saying why they are not compared.
    """
    (held_a, one), (held_b, two) = a, b
    refuse_incomparable(one, two)
    values_a, values_b = read_items(held_a, one), read_items(held_b, two)
    main = one.main_measure
    if main not in values_a.columns or main not in values_b.columns:
        return _compare_means(one, two, margin, values_a.noun)
    if values_a.ids != values_b.ids:
        raise IncomparableError(
            f"what was scored differs: {len(values_a.ids)} and {len(values_b.ids)}"
        )
    found = _by_item(one, values_a, values_b, margin, seed)
    return replace(found, notes=tell_differences(one, two))


def _by_item(one: Record, a: ItemValues, b: ItemValues, margin: float, seed: int) -> Difference:
    """A difference of means, from what each item adds to them. one: A's record."""
    main, sign = one.main_measure, one.sign()
    x, y = a.columns[main], b.columns[main]
    delta = x - y
    gain = sign * delta
    low, high = stats.bootstrap_means(delta[None], seed)
    ahead, behind = int((gain > 0).sum()), int((gain < 0).sum())
    p = stats.randomisation(gain, seed)
    return Difference(
        task=one.task.spec,
        family=one.task.family,
        measure=main,
        items=len(gain),
        a=float(x.mean()),
        b=float(y.mean()),
        low=float(low[0]),
        high=float(high[0]),
        p=p,
        holm=p.two_sided,
        benjamini_hochberg=p.two_sided,
        fall=stats.randomisation(gain + margin, seed).less if margin else p.less,
        rise=stats.randomisation(gain - margin, seed).greater if margin else p.greater,
        effect=stats.effect_size(delta),
        error=stats.standard_error(delta),
        wins=ahead,
        ties=len(gain) - ahead - behind,
        losses=behind,
        paired=True,
        others=tuple(
            _other(name, gain, a.columns[name], b.columns[name], one.sign(name))
            for name in a.columns
            if name != main and name in b.columns
        ),
        best=_items(a, b, main, np.argsort(-gain, kind="stable")[: min(SHOWN, ahead)]),
        worst=_items(a, b, main, np.argsort(gain, kind="stable")[: min(SHOWN, behind)]),
        sign=sign,
        noun=a.noun,
    )


def _items(a: ItemValues, b: ItemValues, main: str, rows: Int64) -> tuple[Item, ...]:
    x, y = a.columns[main], b.columns[main]
    return tuple(Item(a.ids[row], float(x[row]), float(y[row])) for row in rows)


def _other(name: str, main: Float64, a: Float64, b: Float64, sign: int) -> Other:
    """Another measure beside the gains [n] by the main one."""
    gain = sign * (a - b)
    against, reverse = ((main > 0) & (gain < 0)).sum(), ((main < 0) & (gain > 0)).sum()
    return Other(name, float(a.mean()), float(b.mean()), int(against), int(reverse), sign)


def _compare_means(one: Record, two: Record, margin: float, noun: str) -> Difference:
    """From the means and their intervals alone."""
    a, b = one.main, two.main
    mean_a, mean_b = _mean(one, "the first"), _mean(two, "the second")
    if a.low is None or a.high is None or b.low is None or b.high is None:
        raise IncomparableError(
            f"{one.main_measure} has neither values of each {noun} nor an interval"
        )
    error = math.hypot(a.high - a.low, b.high - b.low) / (2 * stats.Z95)
    delta, sign = mean_a - mean_b, one.sign()
    unknown = PValues(1.0, 1.0, 1.0)
    p, fall, rise = (
        stats.normal_p((sign * delta + shift) / error) if error else unknown
        for shift in (0.0, margin, -margin)
    )
    return Difference(
        task=one.task.spec,
        family=one.task.family,
        measure=one.main_measure,
        items=0,
        a=mean_a,
        b=mean_b,
        low=delta - stats.Z95 * error,
        high=delta + stats.Z95 * error,
        p=p,
        holm=p.two_sided,
        benjamini_hochberg=p.two_sided,
        fall=fall.less,
        rise=rise.greater,
        effect=None,
        error=error or None,
        wins=0,
        ties=0,
        losses=0,
        paired=False,
        notes=tell_differences(one, two),
        sign=sign,
        noun=noun,
    )
