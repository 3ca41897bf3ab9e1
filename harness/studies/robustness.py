"""What systems lose when queries or documents are not as clean as those of the collection.

Every change is searched by every system and judged by the collection's own judgments, query by
query beside the clean texts. Drop rate and the variance of normalised values are those of Wu et al.
2021, "Are Neural Ranking Models Robust?" (arXiv 2108.05018).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Annotated, Any, ClassVar

import numpy as np

from harness import stats
from harness.arrays import Float64
from harness.errors import InputError
from harness.frames import Column, Frame, follow
from harness.frames.charts import Dots, Reference
from harness.frames.formats import percent
from harness.grid import Grid
from harness.measures.neighbours import neighbour_overlap
from harness.registry import unknown
from harness.session import Session
from harness.studies import STUDIES, Findings, Study
from harness.studies.perturb import COPIES, KNOWN, Shift, shifts
from harness.tasks import Task
from harness.wording import count

NEAR = 10  # results whose overlap is told
ALPHA = 0.05
SPREAD = [
    Column("variance", "number", about="over queries", digits=4),
    Column("normalised variance", "number", "low", "of value / mean: VNAP of an AP", digits=3),
    Column("worst tenth", "score", "high", "mean of the worst tenth of queries", digits=3),
]
SYSTEMS = [Column("system"), Column("score", "estimate", "high", "clean texts"), *SPREAD]
EFFECTS = [
    Column("system"),
    Column("perturbation"),
    Column("versions", "count", about="draws or templates, over which all else is the mean"),
    Column("changed", "share", about="texts that are not as before; copies a document", digits=0),
    Column("score", "score", "high"),
    Column("between", "number", about="standard deviation of the score over versions", digits=4),
    Column("change", "change", "high", "from the clean texts, paired by query"),
    Column("drop rate", "relative", "high", "change of the clean score"),
    *SPREAD,
    Column("worse", "share", "low", "of queries and versions", digits=0),
    Column("better", "share", "high", "of queries and versions", digits=0),
    Column("overlap", "share", "high", f"of the {NEAR} first results that stay", digits=0),
]
CONTRASTS = [
    Column("perturbation"),
    Column("system"),
    Column("other"),
    Column("loses less by", "change", about="how much more the other loses, paired by query"),
    Column("p", "p", about="paired randomisation test, two-sided"),
    Column("p, Holm", "p", about="corrected for all contrasts"),
    Column("more robust"),
]


@STUDIES.register("robustness")
@dataclass(frozen=True)
class Robustness(Study):
    """What typing errors, case, word order, phrases, noise and copies cost."""

    default_systems: ClassVar[tuple[str, ...]] = ("bm25", "minilm")
    old_options: ClassVar[Mapping[str, str]] = {
        "--perturbation": "perturbations", "-p": "perturbations", "--severity": "severities"
    }  # fmt: skip

    perturbations: Annotated[tuple[str, ...], f"all, or some of {', '.join(KNOWN)}"] = ()
    severities: Annotated[
        tuple[float, ...],
        "shares of words with a typing error",
    ] = (0.3,)
    draws: Annotated[int, "random draws of each change to queries; documents are changed once"] = 3

    def __post_init__(self) -> None:
        for name in self.perturbations:
            if name not in KNOWN:
                raise unknown("perturbation", name, KNOWN)
        for share in self.severities:
            if not 0 < share <= 1:
                raise InputError(f"a severity of {share:g}: expected a share above 0 and up to 1")
        if self.draws < 1:
            raise InputError(f"{self.draws} draws: expected at least 1")

    def run(self, session: Session, systems: Sequence[str], task: str) -> Findings:
        """Score systems of any kind on clean and on perturbed texts.

        Raises:
            InputError: for copies of passages or candidates; as `Session.grid`.
        """
        clean = session.collection(task, low=True)
        clean = replace(clean, kept=max(clean.depth, NEAR))
        made, notes = self._shifts(clean, session)
        versions = [version for shift in made for version in shift.versions]
        grid = session.grid(systems, [clean, *versions])
        found = [_effects(session, grid, at, made) for at in range(len(grid.systems))]
        data, measure = clean.collection, str(grid.measure)
        title = (
            f"{measure} on {task}: {count(int(data.qrels.judged.sum()), 'query')}, "
            f"{count(len(data.corpus), 'document')}, {count(self.draws, 'random draw')} of each "
            "change to the queries"
        )
        rows = [(name, *row) for name, (row, _, _) in zip(grid.systems, found, strict=True)]
        effects = Frame(
            f"What is left of {measure}", follow(EFFECTS, clean.sign),
            [row for _, rows, _ in found for row in rows], name="effects",
        )  # fmt: skip
        changes = {name: each for name, (*_, each) in zip(grid.systems, found, strict=True)}
        apart = contrasts(changes, session.seed, clean.sign)
        systems_frame = Frame(title, follow(SYSTEMS, clean.sign), rows, name="systems")
        frames = [systems_frame, drops(effects, measure), effects]
        frames += [apart] if len(apart) else []
        about = Column(f"change of {measure}", "change")
        drawn = effects.with_column(about, effects["change"])
        chart = Dots(drawn, about.name, "perturbation", "system", references=(Reference(0),))
        notes += grid.notes
        return Findings(f"{task}: {headline(effects, measure, clean.sign)}", frames, [chart], notes)

    def _shifts(self, task: Task, session: Session) -> tuple[list[Shift], list[str]]:
        """The perturbations to search with, each once, and notes."""
        data = task.collection
        names, notes = list(dict.fromkeys(self.perturbations or KNOWN)), [*data.warnings]
        if COPIES in names and (data.corpus.parents is not None or data.candidates is not None):
            if COPIES in self.perturbations:
                raise InputError(f"{task.name} has passages or candidates: copies need neither")
            names.remove(COPIES)
            notes.append("no copies: the collection has passages or candidates")
        seeds = session.seeds(self.draws)
        made = [shifts(name, task, self.severities, seeds) for name in names]
        return [shift for each in made for shift in each], notes


def _effects(
    session: Session, grid: Grid, at: int, made: Sequence[Shift]
) -> tuple[list[Any], list[tuple[Any, ...]], dict[str, Float64]]:
    """One system: a row of SYSTEMS, rows of EFFECTS, the change of each query by perturbation."""
    clean, (before, *shifted) = grid.variants[0], grid.cells[at]
    rows, changes, left = list[tuple[Any, ...]](), dict[str, Float64](), iter(shifted)
    for shift in made:
        cells = [next(left) for _ in shift.versions]
        for name, read in shift.readings.items():
            runs = [read(cell.run) for cell in cells]
            after = np.stack([session.values(run, clean, grid.measure) for run in runs])
            changes[name] = (after - before.values).mean(axis=0)  # so that none is exactly 0
            judged = clean.collection.qrels.judged
            near = [neighbour_overlap(run, before.run, NEAR)[judged].mean() for run in runs]
            row = [
                len(runs),
                shift.changed,
                *_compare(before.values, after, session, clean.sign),
                np.mean(near),
            ]
            rows.append((grid.systems[at], name, *row))
    return [session.estimate(before.values), *spread(before.values, clean.sign)], rows, changes


def _compare(before: Float64, after: Float64, session: Session, sign: int) -> list[Any]:
    """What is left of the values of queries [q] in those of the versions [v, q]."""
    moved = after - before
    change = moved.mean(axis=0)
    spreads = list(zip(*(spread(values, sign) for values in after), strict=True))
    mean, lost = float(before.mean()), float(change.mean())
    row = [mean + lost, moved.mean(axis=1).std()]
    row += [session.estimate(change), lost / abs(mean) if mean else None]
    row += [None if None in values else np.mean(values) for values in spreads]
    return [*row, (sign * moved < 0).mean(), (sign * moved > 0).mean()]


def spread(values: Float64, sign: int = 1) -> tuple[float, float | None, float]:
    """How the values of queries [q] differ: variance, variance of value / mean, worst tenth.

    The second is, for average precision, VNAP (Wu et al. 2021): NAP(q) = AP(q) / mean AP, and VNAP
    its variance over queries; None where the mean is 0. sign: -1 where low values are good.
    """
    mean, variance = float(values.mean()), float(values.var())
    worst = np.sort(values)[::sign][: -(-len(values) // 10)]
    return variance, variance / mean**2 if mean else None, float(worst.mean())


def contrasts(changes: Mapping[str, Mapping[str, Float64]], seed: int, sign: int = 1) -> Frame:
    """Every two systems by every perturbation, corrected together (Holm 1979).

    Args:
        changes: Change of each query [q] by system, then perturbation.
        seed: Of bootstrap and tests.
        sign: -1 where a change to less is good.
    """
    pairs = [
        (name, one, other, sign * (changes[one][name] - changes[other][name]))
        for one, other in combinations(changes, 2)
        for name in changes[one]
    ]
    tests = [stats.randomisation(apart, seed).two_sided for *_, apart in pairs]
    rows = [
        (name, one, other, stats.estimate(apart, seed), p, holm,
         (one if apart.mean() > 0 else other) if holm < ALPHA else "–")
        for (name, one, other, apart), p, holm in zip(pairs, tests, stats.holm(tests), strict=True)
    ]  # fmt: skip
    return Frame("Which system loses less", CONTRASTS, rows, name="contrasts")


def drops(effects: Frame, measure: str) -> Frame:
    """Drop rates beside each other."""
    title = f"Drop rates of {measure}"
    found = effects.pivot("perturbation", "system", "drop rate", title=title, name="drops")
    what = [KNOWN[str(name).split(",")[0].split()[0]] for name in found["perturbation"]]
    return found.with_column(Column("what it is"), what)


def headline(effects: Frame, measure: str, sign: int = 1) -> str:
    """The perturbation that costs most, but for copies, whose cost lies in the judgments.

    sign: -1 where low values of the measure are good.
    """
    rows = effects.records()
    own = [row for row in rows if not row["perturbation"].startswith(COPIES)]
    least = min(own or rows, key=lambda row: sign * (row["drop rate"] or 0))
    if not sign * (least["drop rate"] or 0) < 0:
        return f"nothing that was tried {'lowers' if sign > 0 else 'raises'} {measure}"
    found = effects.where("perturbation", least["perturbation"]).records()
    lost = [f"{row['system']} {percent(row['drop rate'] or 0, signed=True)}" for row in found]
    unsure = ", which the queries do not show"
    shown = "" if any(row["change"].significant for row in found) else unsure
    what = "costs" if sign > 0 else "adds"
    most = " the most" if len(effects.values("perturbation")) > 1 else ""
    to = "" if sign > 0 else " to"
    return f"{least['perturbation']} {what}{most}{to} {measure}: {', '.join(lost)}{shown}"


STUDIES.alias("robust", "robustness", old=True)
