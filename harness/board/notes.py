"""What a reader of standings has to know of them, in sentences."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from harness.arrays import Float64
from harness.board.queries import PairTests
from harness.wording import count

FEW = 10  # tasks below which resampling them is rough


def note_signs(signs: Sequence[int]) -> list[str]:
    """Tell what low scores that are good do to means."""
    low = signs.count(-1)
    if not low:
        return []
    if low == len(signs):
        return ["low scores are good, and so are low means"]
    return [f"low scores are good on {low} of {len(signs)} tasks: means count them as negative"]


def note_standings(
    scores: Float64, moved: int, tests: PairTests, *, fixed: bool, alpha: float
) -> list[str]:
    """Tell how standings were computed, a sentence each.

    Args:
        scores: [s, t], NaN for what is missing.
        moved: Tasks of whose queries something is known.
        tests: What groups rest on.
        fixed: Whether the tasks are taken as they are.
        alpha: Of groups.
    """
    return [
        *_note_intervals(scores.shape[1], moved, fixed=fixed),
        _note_groups(tests, fixed=fixed, alpha=alpha),
        *_note_lacking(scores),
    ]


def _note_intervals(tasks: int, moved: int, *, fixed: bool) -> list[str]:
    if fixed:
        known = "bootstrap over queries; the tasks are taken as they are"
        return [f"intervals: {known}" if moved else "no intervals: nothing is known of queries"]
    notes = ["intervals: bootstrap over tasks; nothing is known of their queries"]
    if moved:
        also = "" if moved == tasks else f" (known for {moved} of {tasks} tasks)"
        notes = [f"intervals: bootstrap over tasks and, in each, over queries{also}"]
    if tasks < FEW:
        notes.append(f"{tasks} tasks are few to draw from: intervals and stability are rough")
    return notes


def _note_groups(found: PairTests, *, fixed: bool, alpha: float) -> str:
    """What groups rest on."""
    pairs = np.triu_indices(len(found.by_query), 1)
    known = ~np.isnan(found.by_query[pairs])
    rest = ~known & ~np.isnan(found.otherwise[pairs])
    own = "the paired randomisation test over queries, as by compare, the tasks taken as they are"
    other = "a normal test of their intervals" if fixed else "Student's paired t-test over tasks"
    tests = {
        own: known,
        other: rest,
        "no test, as nothing is known of their queries": ~known & ~rest,
    }
    used = {name: int(of.sum()) for name, of in tests.items() if of.any()} or {other: 0}
    several = len(used) > 1
    said = "; ".join(name + several * f" ({count(n, 'pair')})" for name, n in used.items())
    return (
        f"groups: the means of one group's systems cannot be told apart: {said}; Holm's correction "
        f"over all pairs, alpha {alpha:g}"
    )


def _note_lacking(scores: Float64) -> list[str]:
    """What became of systems that lack tasks."""
    common, behind = (~np.isnan(scores)).all(axis=0).sum(), np.isnan(scores).any(axis=1).sum()
    if not behind:
        return []
    said = (
        f"tasks are lacking for {behind} of {count(len(scores), 'system')}: no rank, a place below "
        "the others, no Borda points for a missing score; common to all: "
        f"{common} of {count(scores.shape[1], 'task')}"
    )
    by_common = "; --common ranks by these, and the others are in the order of their means there"
    return [said + (by_common if common else "")]
