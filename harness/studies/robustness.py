"""What systems lose when queries or documents are not as clean as those of the collection.

Every change of the texts is searched by every system, whatever its kind, and judged by the
collection's own judgments, query by query beside the clean texts. Drop rate and the variance of
normalised values are those of Wu et al. 2021, "Are Neural Ranking Models Robust?"
(arXiv 2108.05018).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from harness import stats
from harness.arrays import Float64
from harness.data import Corpus, Retrieval
from harness.encoders.models import MODELS
from harness.errors import InputError
from harness.measures import Measure
from harness.measures.neighbours import neighbour_overlap
from harness.phases import Clock
from harness.progress import Progress, silent
from harness.retrieve import without_own
from harness.single import Request
from harness.spec import unknown
from harness.store import Store
from harness.studies import perturb
from harness.studies.subject import Interval, collection, interval, per_query
from harness.systems import rank, resolve
from harness.vectors import Run, ranking

NEAR = 10  # results whose overlap is told
COPY_TYPOS = 0.1  # share of a copy's words that are mistyped
DEEPER = 4  # times the depth is searched, so that results are left where copies are taken out

COPIES = "copies"
KNOWN = {name: one.about for name, one in perturb.PERTURBATIONS.items()} | {
    COPIES: "a copy of each relevant document beside it, with a typing error in "
    f"{COPY_TYPOS:.0%} of its words"
}
"""What may be done to a collection, by name."""


@dataclass(frozen=True)
class Spread:
    """How the queries of one run differ.

    variance: of the measure over queries. normalised: the variance of value / mean, which is VNAP
    where the measure is AP; None where the mean is 0. worst: the mean of the lowest tenth.
    """

    variance: float
    normalised: float | None
    worst: float


@dataclass(frozen=True)
class Effect:
    """What one perturbation does to one system.

    versions: draws or templates, over which all else is the mean. changed: the share of texts that
    are not as before; of copies, their number for each document. change: shifted less clean score,
    paired by query. drop_rate: change / clean score, None where that is 0. between: standard
    deviation of the score over versions. worse, better: share of queries. overlap: share of the 10
    first results that stay.
    """

    perturbation: str
    versions: int
    changed: float
    score: float
    change: Interval
    drop_rate: float | None
    between: float
    spread: Spread
    worse: float
    better: float
    overlap: float


@dataclass(frozen=True)
class System:
    """A system with the clean texts, and with each perturbation."""

    name: str
    score: Interval
    spread: Spread
    effects: tuple[Effect, ...]


@dataclass(frozen=True)
class Contrast:
    """Whether one system loses less than another by a perturbation.

    difference: change of one less change of the other, paired by query; above 0 where one is the
    more robust. p: of the paired randomisation test, two-sided; holm: corrected for all contrasts.
    """

    perturbation: str
    one: str
    other: str
    difference: Interval
    p: float
    holm: float


@dataclass(frozen=True)
class Robustness:
    """Systems on one task, clean and perturbed, by the task's main measure."""

    task: str
    measure: str
    documents: int
    queries: int
    draws: int
    systems: tuple[System, ...]
    contrasts: tuple[Contrast, ...]
    seed: int
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class _Shift:
    """A perturbation of a collection, in one version or more.

    readings: the names under which a run of a version is judged, with what makes of it a run of
    the clean collection's documents.
    """

    versions: tuple[Retrieval, ...]
    changed: float
    readings: Mapping[str, Callable[[Run], Run]]
    deeper: int = 1


@dataclass(frozen=True)
class _Setting:
    """What all systems share. request: for the depth of the clean run."""

    data: Retrieval
    measure: Measure
    shifts: tuple[_Shift, ...]
    request: Request
    seed: int

    def values(self, run: Run) -> Float64:
        """The measure of a run, one value a judged query."""
        return per_query(run, self.data, self.measure)


def study(
    models: Sequence[str],
    task: str,
    *,
    perturbations: Sequence[str] = (),
    severities: Sequence[float] = (0.3,),
    draws: int = 3,
    store: Store,
    seed: int = 0,
    progress: Progress = silent,
) -> Robustness:
    """Score systems on clean and on perturbed texts. models, task: specs; systems of any kind.

    perturbations: names of KNOWN, all where none is named. severities: shares of words with a
    typing error. draws: of what is random in queries; documents, being many, are drawn once. seed:
    of the first draw, of bootstrap and tests.

    Raises InputError for what is out of range and for copies of passages or candidates; as
    `collection`; and what the systems raise.
    """
    _refuse(models, perturbations, severities, draws)
    clock = Clock(progress)
    with clock.phase("load data"):
        asked, data, measure = collection(task)
    names, notes = list(dict.fromkeys(perturbations or KNOWN)), [*data.warnings]
    if COPIES in names and (data.corpus.parents is not None or data.candidates is not None):
        if COPIES in perturbations:
            raise InputError(f"{task} has passages or candidates: copies need neither")
        names.remove(COPIES)
        notes.append("no copies: the collection has passages or candidates")
    request = Request(
        max(measure.depth, NEAR),
        store,
        clock,
        exclude_self=asked.excludes(data),
        instructions=asked.instructions(data),
    )
    shifts = [
        shift
        for name in names
        for shift in _shifts(name, data, severities, range(seed, seed + draws), request)
    ]
    setting = _Setting(data, measure, tuple(shifts), request, seed)
    systems, changes = list[System](), list[dict[str, Float64]]()
    for model in dict.fromkeys(models):
        with MODELS.scope():
            system, change, noticed = _system(model, setting)
        systems.append(system)
        changes.append(change)
        notes += noticed
    return Robustness(
        task,
        str(measure),
        len(data.corpus),
        int(data.qrels.judged.sum()),
        draws,
        tuple(systems),
        _contrasts([system.name for system in systems], changes, seed),
        seed,
        tuple(dict.fromkeys(notes)),
    )


def _refuse(
    models: Sequence[str], perturbations: Sequence[str], severities: Sequence[float], draws: int
) -> None:
    if not models:
        raise InputError("no model is named: expected at least one")
    for model in models:
        resolve(model)  # a wrong name is said before any is searched with
    for name in perturbations:
        if name not in KNOWN:
            raise unknown("perturbation", name, KNOWN)
    for share in severities:
        if not 0 < share <= 1:
            raise InputError(f"a severity of {share:g}: expected a share above 0 and up to 1")
    if draws < 1:
        raise InputError(f"{draws} draws: expected at least 1")


def _shifts(
    name: str, data: Retrieval, severities: Sequence[float], seeds: range, request: Request
) -> list[_Shift]:
    """A perturbation, at each severity where that matters."""
    if name == COPIES:
        return [_copies(data, seeds[0], request)]
    asked = perturb.PERTURBATIONS[name]
    before = data.queries.texts if asked.of_queries else data.corpus.texts
    shifts = []
    for share in dict.fromkeys(severities) if asked.severe else (0.0,):
        texts = asked.versions(before, share, seeds)
        changed = np.mean([x != y for after in texts for x, y in zip(before, after, strict=True)])
        versions = [
            replace(data, queries=replace(data.queries, texts=after))
            if asked.of_queries
            else replace(data, corpus=replace(data.corpus, texts=after))
            for after in texts
        ]
        label = f"{name} {100 * share:g} %" if asked.severe else name
        shifts.append(_Shift(tuple(versions), float(changed), {label: lambda run: run}))
    return shifts


def _copies(data: Retrieval, seed: int, request: Request) -> _Shift:
    """Relevant documents with a copy each, which nobody has judged; and three ways to count them.

    Copies have ids, and so rows, behind all others, so that the judgments hold as they are.
    """
    corpus, n, depth, own = data.corpus, len(data.corpus), request.depth, request.exclude_self
    qrels = data.qrels if data.binary is None else data.binary
    originals = np.unique(qrels.docs[(qrels.docs >= 0) & (qrels.gains > 0)])
    texts = perturb.typos([corpus.texts[row] for row in originals], COPY_TYPOS, seed)
    ids = [f"{corpus.ids[-1]} {corpus.ids[row]}" for row in originals]
    more = Corpus([*corpus.ids, *ids], [*corpus.texts, *texts])
    source = np.concatenate([np.arange(n), originals]).astype(np.int32)

    def removed(run: Run) -> Run:
        kept = np.where(run.docs < n, run.docs, np.int32(-1))
        return ranking.unpack(ranking.best(ranking.pack(run.scores, kept), depth))

    def merged(run: Run) -> Run:
        found = ranking.by_parent(run, source, depth + own)[0]
        return without_own(found, data, corpus.ids) if own else found

    readings: dict[str, Callable[[Run], Run]] = {
        "copies, not relevant": lambda run: Run(run.docs[:, :depth], run.scores[:, :depth]),
        "copies, taken out": removed,
        "copies, as their original": merged,
    }
    return _Shift((replace(data, corpus=more),), len(originals) / n, readings, deeper=DEEPER)


def _system(model: str, setting: _Setting) -> tuple[System, dict[str, Float64], list[str]]:
    """A system's effects, the change of each query by perturbation [q], and warnings."""
    notes, request = list[str](), setting.request
    total = 1 + sum(len(shift.versions) for shift in setting.shifts)
    searched = 0

    def search(data: Retrieval, what: str, deeper: int = 1) -> Run:
        nonlocal searched
        request.clock.progress(f"search with {model}", searched, total, "versions")
        searched += 1
        asked = replace(request, depth=deeper * request.depth)
        found = rank(model, data, asked)
        notes.extend(f"{model}, {what}: {warning}" for warning in found.warnings)
        return found.run

    clean = search(setting.data, "clean")
    before, effects, changes = setting.values(clean), list[Effect](), dict[str, Float64]()
    for shift in setting.shifts:
        what = next(iter(shift.readings))
        found = [search(version, what, shift.deeper) for version in shift.versions]
        for name, read in shift.readings.items():
            runs = [read(run) for run in found]
            effect, changes[name] = _effect(name, shift.changed, clean, runs, setting)
            effects.append(effect)
    score = interval(before, setting.seed)
    return System(model, score, spread(before), tuple(effects)), changes, notes


def _effect(
    name: str, changed: float, clean: Run, runs: Sequence[Run], setting: _Setting
) -> tuple[Effect, Float64]:
    """What is left of a clean run in those of the versions; and the change of each query [q]."""
    before, judged = setting.values(clean), setting.data.qrels.judged
    after = np.stack([setting.values(run) for run in runs])
    moved = after - before
    change = moved.mean(axis=0)  # of differences, so that no difference is exactly 0
    spreads = [spread(values) for values in after]
    normalised = [one.normalised for one in spreads if one.normalised is not None]
    mean = float(before.mean())
    overlaps = [neighbour_overlap(run, clean, NEAR)[judged].mean() for run in runs]
    effect = Effect(
        perturbation=name,
        versions=len(runs),
        changed=changed,
        score=mean + float(change.mean()),
        change=interval(change, setting.seed),
        drop_rate=float(change.mean()) / mean if mean else None,
        between=float(moved.mean(axis=1).std()),
        spread=Spread(
            float(np.mean([one.variance for one in spreads])),
            float(np.mean(normalised)) if len(normalised) == len(spreads) else None,
            float(np.mean([one.worst for one in spreads])),
        ),
        worse=float((moved < 0).mean()),
        better=float((moved > 0).mean()),
        overlap=float(np.mean(overlaps)),
    )
    return effect, change


def spread(values: Float64) -> Spread:
    """How the values of queries [q] differ.

    The variance of value / mean is, for average precision, VNAP (Wu et al. 2021): NAP(q) = AP(q) /
    mean AP, and VNAP its variance over queries.
    """
    mean, variance = float(values.mean()), float(values.var())
    lowest = np.sort(values)[: math.ceil(len(values) / 10)]
    return Spread(variance, variance / mean**2 if mean else None, float(lowest.mean()))


def _contrasts(
    names: Sequence[str], changes: Sequence[dict[str, Float64]], seed: int
) -> tuple[Contrast, ...]:
    """Every two systems by every perturbation, corrected together (Holm 1979)."""
    found = [
        Contrast(
            perturbation,
            one,
            other,
            interval(apart, seed),
            stats.randomisation(apart, seed).two_sided,
            holm=1.0,
        )
        for (one, a), (other, b) in combinations(zip(names, changes, strict=True), 2)
        for perturbation in a
        for apart in [a[perturbation] - b[perturbation]]
    ]
    adjusted = stats.holm([contrast.p for contrast in found])
    return tuple(replace(one, holm=p) for one, p in zip(found, adjusted, strict=True))
