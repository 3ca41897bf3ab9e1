"""What systems lose when queries or documents are not as clean as those of the collection.

Every change is searched by every system and judged by the collection's own judgments, query by
query beside the clean texts. Drop rate and the variance of normalised values are those of Wu et al.
2021, "Are Neural Ranking Models Robust?" (arXiv 2108.05018).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Annotated, Any, ClassVar

import numpy as np

from harness import stats
from harness.arrays import Float64
from harness.charts import Dots, Reference
from harness.data import Retrieval
from harness.encoders import Encoder
from harness.errors import InputError
from harness.formats import percent
from harness.frames import Column, Frame
from harness.measures import Measure
from harness.measures.neighbours import neighbour_overlap
from harness.phases import Clock
from harness.session import Session
from harness.single import Request
from harness.spec import unknown
from harness.studies import STUDIES, Findings, Study
from harness.studies.perturb import COPIES, KNOWN, Shift, shifts
from harness.studies.subject import collection, distinct, per_query
from harness.systems import rank
from harness.vectors import Run

NEAR = 10  # results whose overlap is told
ALPHA = 0.05
SPREAD = [
    Column("variance", "number", about="over queries", digits=4),
    Column("normalised variance", "number", "low", "of value / mean: VNAP of an AP", digits=3),
    Column("worst tenth", "score", "high", "mean of the lowest tenth of queries", digits=3),
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
    Column("loses less by", "change", about="change of the one less that of the other, paired"),
    Column("p", "p", about="paired randomisation test, two-sided"),
    Column("p, Holm", "p", about="corrected for all contrasts"),
    Column("more robust"),
]


@dataclass(frozen=True)
class _Search:
    """One system's searches of a collection, clean (`request`) and shifted; `notes` grow."""

    system: str
    data: Retrieval
    measure: Measure
    shifts: Sequence[Shift]
    request: Request
    seed: int
    notes: list[str]
    models: dict[str, Encoder] = field(default_factory=dict)

    def values(self, run: Run) -> Float64:
        """The measure of a run, one value a judged query."""
        return per_query(run, self.data, self.measure)

    def run(self, data: Retrieval, what: str, deeper: int = 1) -> Run:
        """Rank a version of the collection."""
        asked = replace(self.request, depth=deeper * self.request.depth, opened=self.models)
        ranked = rank(self.system, data, asked)
        self.notes.extend(f"{self.system}, {what}: {warning}" for warning in ranked.warnings)
        return ranked.run

    def effects(self) -> tuple[tuple[Any, ...], list[tuple[Any, ...]], dict[str, Float64]]:
        """A row of SYSTEMS, rows of EFFECTS, and the change of each query by perturbation [q]."""
        total, done = 1 + sum(len(shift.versions) for shift in self.shifts), 1
        clean = self.run(self.data, "clean")
        before = self.values(clean)
        rows, changes = list[tuple[Any, ...]](), dict[str, Float64]()
        for shift in self.shifts:
            self.request.clock.progress(f"search with {self.system}", done, total, "versions")
            what = next(iter(shift.readings))
            runs = [self.run(version, what, shift.deeper) for version in shift.versions]
            done += len(runs)
            for name, read in shift.readings.items():
                row, changes[name] = self._effect(shift, clean, [read(run) for run in runs])
                rows.append((self.system, name, *row))
        return (self.system, stats.estimate(before, self.seed), *spread(before)), rows, changes

    def _effect(self, shift: Shift, clean: Run, runs: Sequence[Run]) -> tuple[list[Any], Float64]:
        """What is left of a clean run in those of the versions; and the change of each query."""
        before, judged = self.values(clean), self.data.qrels.judged
        after = np.stack([self.values(run) for run in runs])
        moved = after - before
        change = moved.mean(axis=0)  # of differences, so that no difference is exactly 0
        spreads = list(zip(*map(spread, after), strict=True))
        mean, lost = float(before.mean()), float(change.mean())
        overlaps = [neighbour_overlap(run, clean, NEAR)[judged].mean() for run in runs]
        row = [len(runs), shift.changed, mean + lost, moved.mean(axis=1).std()]
        row += [stats.estimate(change, self.seed), lost / mean if mean else None]
        row += [None if None in values else np.mean(values) for values in spreads]
        return [*row, (moved < 0).mean(), (moved > 0).mean(), np.mean(overlaps)], change


@STUDIES.register("robustness")
@dataclass(frozen=True)
class Robustness(Study):
    """What typing errors, case, word order, phrases, noise and copies cost."""

    default_systems: ClassVar[tuple[str, ...]] = ("bm25", "minilm")
    old_options: ClassVar[Mapping[str, str]] = {
        "--perturbation": "perturbations", "-p": "perturbations", "--severity": "severities"
    }  # fmt: skip

    perturbations: Annotated[tuple[str, ...], f"all, or some of {', '.join(KNOWN)}"] = ()
    severities: Annotated[tuple[float, ...], "shares of words with a typing error"] = (0.3,)
    draws: Annotated[int, "of what is random in queries; documents are drawn once"] = 3

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
            InputError: for copies of passages or candidates; as `collection`; what systems raise.
        """
        systems = distinct(systems)
        clock = Clock(session.progress)
        with clock.phase("load data"):
            asked, data, measure = collection(task)
        request = Request(
            max(measure.depth, NEAR), session.store, clock, exclude_self=asked.excludes(data),
            instructions=asked.instructions(data),
        )  # fmt: skip
        made, notes = self._shifts(data, task, session.seed, request)
        searches = [
            _Search(system, data, measure, made, request, session.seed, notes).effects()
            for system in systems
        ]
        title = (
            f"{measure} on {task}: {int(data.qrels.judged.sum()):,} queries, "
            f"{len(data.corpus):,} documents, {self.draws} draws of what is random in queries"
        )
        clean = Frame(title, SYSTEMS, [row for row, _, _ in searches], name="systems")
        rows = [row for _, rows, _ in searches for row in rows]
        effects = Frame(f"What is left of {measure}", EFFECTS, rows, name="effects")
        apart = contrasts({row[0]: changes for row, _, changes in searches}, session.seed)
        frames = [clean, drops(effects, str(measure)), effects, *([apart] if len(apart) else [])]
        chart = Dots(effects, "change", "perturbation", "system", references=(Reference(0),))
        return Findings(f"{task}: {headline(effects, str(measure))}", frames, [chart], notes)

    def _shifts(
        self, data: Retrieval, task: str, seed: int, request: Request
    ) -> tuple[list[Shift], list[str]]:
        """The perturbations to search with, each once, and notes."""
        names, notes = list(dict.fromkeys(self.perturbations or KNOWN)), [*data.warnings]
        if COPIES in names and (data.corpus.parents is not None or data.candidates is not None):
            if COPIES in self.perturbations:
                raise InputError(f"{task} has passages or candidates: copies need neither")
            names.remove(COPIES)
            notes.append("no copies: the collection has passages or candidates")
        seeds = range(seed, seed + self.draws)
        made = [shifts(name, data, self.severities, seeds, request) for name in names]
        return [shift for each in made for shift in each], notes


def spread(values: Float64) -> tuple[float, float | None, float]:
    """How the values of queries [q] differ: variance, variance of value / mean, worst tenth.

    The second is, for average precision, VNAP (Wu et al. 2021): NAP(q) = AP(q) / mean AP, and VNAP
    its variance over queries; None where the mean is 0.
    """
    mean, variance = float(values.mean()), float(values.var())
    lowest = np.sort(values)[: -(-len(values) // 10)]
    return variance, variance / mean**2 if mean else None, float(lowest.mean())


def contrasts(changes: Mapping[str, Mapping[str, Float64]], seed: int) -> Frame:
    """Every two systems by every perturbation, corrected together (Holm 1979).

    Args:
        changes: Change of each query [q] by system, then perturbation.
        seed: Of bootstrap and tests.
    """
    pairs = [
        (name, one, other, changes[one][name] - changes[other][name])
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


def headline(effects: Frame, measure: str) -> str:
    """The perturbation that costs most, but for copies, whose cost lies in the judgments."""
    rows = effects.records()
    own = [row for row in rows if not row["perturbation"].startswith(COPIES)]
    least = min(own or rows, key=lambda row: row["drop rate"] or 0)
    if not (least["drop rate"] or 0) < 0:
        return f"nothing that was tried lowers {measure}"
    lost = [
        f"{row['system']} {percent(row['drop rate'] or 0, signed=True)}".replace("-", "−")
        for row in effects.where("perturbation", least["perturbation"]).records()
    ]
    return f"{least['perturbation']} costs most of {measure}: {', '.join(lost)}"


STUDIES.alias("robust", "robustness")
