"""How the order of systems changes when part of the relevant documents is not judged.

Systems are searched once; then relevant documents are taken out of the judgments, and the same runs
are scored again (Rassin et al. 2024, "Evaluating D-MERIT of Partial-annotation on Information
Retrieval", arXiv 2406.16048). A document that is taken out counts as not relevant, as one that
nobody looked at does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness import stats, trec
from harness.arrays import Float64, Int64
from harness.data import Qrels, Retrieval
from harness.errors import InputError
from harness.measures import Measure
from harness.measures.judged import Judged, find, place
from harness.measures.retrieval import share_judged
from harness.phases import Clock
from harness.progress import Progress, silent
from harness.retrieve import drop_self
from harness.single import Request
from harness.store import Store
from harness.studies.subject import Interval, collection, interval
from harness.systems import rank, resolve
from harness.vectors import Run

Bool = NDArray[np.bool_]

SHARES = (0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9)
POOLS = (5, 10, 20, 50, 100)
BOUNDS = (0.01, 0.05)  # of p-values, between the groups of pairs
BUCKETS = ("p < .01", "p .01 to .05", "p >= .05")
ENOUGH = 0.8  # Kendall's tau from which two orders are taken for alike, as in D-MERIT
TINY = 1e-12  # what is left of equal means by rounding
CHUNK = 1 << 21  # judgments of all versions held at a time

SELECTIONS: Mapping[str, str] = {
    "random": "drawn at random",
    "longest": "the longest first",
    "shortest": "the shortest first",
    "popular": "those that most systems find first",
    "system": "those that one system ranks highest first, for each system in turn",
}
"""Which relevant documents of a query stay judged, by name."""


@dataclass(frozen=True)
class System:
    """A system by all judgments. judged, hole: share of its results above the cut-off that have a
    judgment, and that have none.
    """

    name: str
    score: Interval
    judged: float
    hole: float


@dataclass(frozen=True)
class Agreement:
    """How far pairs of systems keep their order: means over the versions of the judgments.

    tau: pairs in the same order less pairs in the other, of all (Kendall), a pair that gets equal
    adding nothing; low, high: what 95 % of versions lie between, None for a single version. error:
    percent of pairs in the other order, 100 (1 - tau) / 2, equal ones counted half.
    """

    pairs: int
    tau: float
    low: float | None
    high: float | None
    error: float


@dataclass(frozen=True)
class Reduced:
    """Part of the relevant documents judged.

    share: of each query's relevant documents, at least one; None for exactly one. kept: relevant
    documents that stay judged. versions: draws, or selecting systems. by_p: the agreement of pairs
    by the p-value of their difference with all judgments, as BUCKETS; None where there is no pair.
    best: share of versions in which the best system is still the best, alone.
    """

    selection: str
    share: float | None
    kept: int
    versions: int
    agreement: Agreement
    by_p: tuple[Agreement | None, ...]
    best: float


@dataclass(frozen=True)
class Enough:
    """The least share measured from which on tau is at least 0.8; None where all are needed.

    by_p: the same of the pairs of each bucket.
    """

    selection: str
    share: float | None
    by_p: tuple[float | None, ...]


@dataclass(frozen=True)
class Pool:
    """Judging the first `depth` results of every system. results: how many these are, each once;
    found: relevant documents among them; agreement: of the order by what was found.
    """

    depth: int
    results: int
    found: int
    agreement: Agreement


@dataclass(frozen=True)
class Judgments:
    """Systems on one task under part of its judgments, best system first."""

    task: str
    measure: str
    queries: int
    relevant: int
    draws: int
    systems: tuple[System, ...]
    reduced: tuple[Reduced, ...]
    enough: tuple[Enough, ...]
    pools: tuple[Pool, ...]
    seed: int
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class _Runs:
    """Runs [q, k] of systems, ready to be scored by part of the judgments.

    found: of each run, with the row of the judgment in place of its gain. positive: rows [p] of
    the judgments that say relevant. best: a system. pairs, order, bucket: two systems each, the
    sign of their difference by all judgments, the bucket of its p-value.
    """

    measure: Measure
    qrels: Qrels
    scored: Bool
    found: tuple[Judged, ...]
    positive: Int64
    best: int
    pairs: Int64
    order: Float64
    bucket: Int64

    @property
    def query(self) -> Int64:
        """[p]: the query of each relevant document."""
        return self.qrels.query_rows[self.positive]

    @property
    def ranks(self) -> Float64:
        """[s, p]: the rank of each relevant document in each run, from 0, infinite if not found."""
        ranks = np.full((len(self.found), len(self.qrels.docs)), np.inf)
        for row, found in zip(ranks, self.found, strict=True):
            row[found.gain.astype(np.int64)] = found.rank
        return ranks[:, self.positive]


def study(
    systems: Sequence[str],
    task: str,
    *,
    measure: str = "",
    shares: Sequence[float] = SHARES,
    draws: int = 200,
    pools: Sequence[int] = POOLS,
    store: Store,
    seed: int = 0,
    progress: Progress = silent,
) -> Judgments:
    """Order systems by all judgments and by part of them.

    systems: specs of systems of any kind, or paths of TREC run files, at least two. task: a spec.
    measure: in place of the task's main one. shares: of relevant documents that stay judged,
    besides exactly one of each query. draws: of what stays at random. pools: depths. seed: of the
    draws, of intervals and tests.

    Raises InputError for what is out of range, where no query has several relevant documents, or
    where all systems score the same; as `robustness.collection`; and what the systems raise.
    """
    names = list(dict.fromkeys(systems))
    _refuse(names, shares, draws, pools)
    clock = Clock(progress)
    with clock.phase("load", "data"):
        asked, data, main = collection(task, measure)
    request = Request(
        max(main.depth, *pools),
        store,
        clock,
        exclude_self=asked.excludes(data),
        instructions=asked.instructions(data),
    )
    runs, notes = list[Run](), [*data.warnings]
    for done, name in enumerate(names):
        progress("search", done, len(names), "systems")
        run, noticed = _run(name, data, request)
        runs.append(run)
        notes += [f"{name}: {warning}" for warning in noticed]
    made, values, equal = _runs(names, runs, data, main, seed)
    if equal:
        notes.append(f"{equal} pairs of systems score the same by all judgments: left out")
    reduced = list[Reduced]()
    for name in SELECTIONS:
        places = _places(name, made, data, draws, seed)
        for share in (None, *sorted(set(shares))):
            progress("score again", len(reduced), len(SELECTIONS) * (1 + len(shares)), "rankings")
            reduced.append(_reduced(name, share, places, made))
    order = sorted(range(len(names)), key=lambda i: -values[i].mean())
    covered = [share_judged(find(run, data.qrels), main.depth)[made.scored] for run in runs]
    return Judgments(
        task,
        str(main),
        int(made.scored.sum()),
        len(made.positive),
        draws,
        tuple(
            System(
                names[i],
                interval(values[i], seed),
                float(covered[i].mean()),
                float(1 - covered[i].mean()),
            )
            for i in order
        ),
        tuple(reduced),
        tuple(_enough(name, reduced) for name in SELECTIONS),
        tuple(_pool(depth, runs, made) for depth in sorted(set(pools))),
        seed,
        tuple(dict.fromkeys(notes)),
    )


def _refuse(
    names: Sequence[str], shares: Sequence[float], draws: int, pools: Sequence[int]
) -> None:
    if len(names) < 2:
        raise InputError(f"{len(names)} systems: expected at least two, to be put in order")
    for name in names:
        if not Path(name).is_file():
            resolve(name)  # a wrong one is said before any is searched with
    for share in shares:
        if not 0 < share < 1:
            raise InputError(f"a share of {share:g}: expected one between 0 and 1")
    for what, number in (("draws", draws), *(("results in a pool", depth) for depth in pools)):
        if number < 1:
            raise InputError(f"{number} {what}: expected at least 1")


def _run(name: str, data: Retrieval, request: Request) -> tuple[Run, Sequence[str]]:
    """A system's run, or one that was made elsewhere; and warnings."""
    path = Path(name)
    if not path.is_file():
        ranked = rank(name, data, request)
        return ranked.run, ranked.warnings
    own = request.exclude_self
    run, notes = trec.read_run(path, data.queries, data.corpus, request.depth + own)
    return drop_self(run, data) if own else run, notes


def _runs(
    names: Sequence[str], runs: Sequence[Run], data: Retrieval, measure: Measure, seed: int
) -> tuple[_Runs, list[Float64], int]:
    """Runs made ready, the values of each [q], and how many pairs have no order."""
    graded = data.binary is None or measure.definition("retrieval").graded
    qrels = data.qrels if graded or data.binary is None else data.binary
    positive = np.flatnonzero(qrels.gains > 0)
    if np.bincount(qrels.query_rows[positive], minlength=1).max() < 2:
        raise InputError("no query has two relevant documents: no judgment can be left out")
    scored = data.qrels.judged
    rows: Any = np.arange(len(qrels.gains))
    found = tuple(find(run, replace(qrels, gains=rows)) for run in runs)
    values = [measure.values(find(run, qrels))[scored] for run in runs]
    apart = {(i, j): values[i] - values[j] for i, j in combinations(range(len(names)), 2)}
    kept = {pair: one for pair, one in apart.items() if abs(one.mean()) > TINY}
    if not kept:
        raise InputError(f"all {len(names)} systems score the same: there is no order to keep")
    p = [stats.randomisation(one, seed).two_sided for one in kept.values()]
    made = _Runs(
        measure,
        qrels,
        scored,
        found,
        positive,
        int(np.argmax([one.mean() for one in values])),
        np.array(list(kept)),
        np.sign([one.mean() for one in kept.values()]),
        np.searchsorted(BOUNDS, p, side="right"),
    )
    return made, values, len(apart) - len(kept)


def _places(selection: str, runs: _Runs, data: Retrieval, draws: int, seed: int) -> Int64:
    """The place [v, p] of each relevant document within its query, from 0: low ones stay longest.

    Equal ones stand in the order of their rows.
    """
    p, docs = len(runs.positive), runs.qrels.docs[runs.positive]
    keys: Float64
    if selection == "random":
        keys = np.random.default_rng(seed).random((draws, p))
    elif selection in ("longest", "shortest"):
        corpus = data.corpus
        lengths = np.array([len(text) for text in corpus.texts])
        if corpus.parents is not None:
            lengths = np.bincount(corpus.parents, lengths, minlength=len(corpus.ranked))
        known = np.where(docs >= 0, lengths[docs], np.nan)  # not-a-number is sorted last
        keys = (-known if selection == "longest" else known)[None]
    else:
        keys = runs.ranks
        if selection == "popular":
            keys = -(keys < runs.measure.depth).sum(axis=0, dtype=np.float64)[None]
    places = np.empty(keys.shape, np.int64)
    for row, key in zip(places, keys, strict=True):
        row[np.lexsort((key, runs.query))] = place(runs.query)
    return places


def _reduced(selection: str, share: float | None, places: Int64, runs: _Runs) -> Reduced:
    """The first places of each query's relevant documents stay judged."""
    relevant = np.bincount(runs.query)
    wanted = np.maximum(1, np.floor((share or 0) * relevant + 0.5))
    stay = places < wanted[runs.query]  # [v, p]
    same = _same(_scores(stay, runs), runs)
    of_best = (runs.pairs == runs.best).any(axis=1)
    return Reduced(
        selection,
        share,
        int(stay[0].sum()),
        len(stay),
        _agreement(same),
        tuple(
            _agreement(same[runs.bucket == at]) if (runs.bucket == at).any() else None
            for at in range(len(BUCKETS))
        ),
        float((same[of_best] > 0).all(axis=0).mean()),
    )


def _scores(stay: Bool, runs: _Runs) -> Float64:
    """Mean of the measure [s, v] of each system by each version of the judgments.

    stay: [v, p], which relevant documents are judged. Versions are taken for further queries, so
    that one pass scores them all.
    """
    kept = np.ones((len(stay), len(runs.qrels.docs)), np.bool_)
    kept[:, runs.positive] = stay
    q, step = len(runs.scored), max(1, CHUNK // max(kept.shape[1], len(runs.scored)))
    blocks = [_block(kept[low : low + step], q, runs) for low in range(0, len(kept), step)]
    return np.concatenate(blocks, axis=1)


def _block(kept: Bool, q: int, runs: _Runs) -> Float64:
    """The same of a few versions. kept: [v, nnz]"""
    gains, rows = runs.qrels.gains.astype(np.float64), runs.qrels.query_rows
    version, judgment = np.nonzero(kept)
    judged = version * q + rows[judgment], gains[judgment]
    means = []
    for one in runs.found:
        at = one.gain.astype(np.int64)
        version, hit = np.nonzero(kept[:, at])
        found = Judged(
            len(kept) * q, version * q + one.query[hit], one.rank[hit], gains[at[hit]], *judged
        )
        values = runs.measure.values(found).reshape(len(kept), q)
        means.append(values[:, runs.scored].mean(axis=1))
    return np.stack(means)


def _same(scores: Float64, runs: _Runs) -> Float64:
    """[pairs, v]: 1 where a pair keeps its order, -1 where it turns, 0 where it gets equal.

    scores: [s, v]
    """
    apart = scores[runs.pairs[:, 0]] - scores[runs.pairs[:, 1]]
    apart[np.abs(apart) < TINY] = 0
    return np.asarray(np.sign(apart) * runs.order[:, None])


def _agreement(same: Float64) -> Agreement:
    """Of pairs in versions [pairs, v]."""
    taus = same.mean(axis=0)
    tau, several = float(taus.mean()), len(taus) > 1
    low, high = np.quantile(taus, [0.025, 0.975]).tolist() if several else (None, None)
    return Agreement(len(same), tau, low, high, 100 * (1 - tau) / 2)


def _enough(selection: str, reduced: Sequence[Reduced]) -> Enough:
    """From the largest share down, as long as the orders are alike."""
    own = [one for one in reduced if one.selection == selection and one.share is not None]

    def least(agreements: Sequence[Agreement | None]) -> float | None:
        found = None
        for one, agreement in zip(reversed(own), reversed(agreements), strict=True):
            if agreement is None or agreement.tau < ENOUGH:
                break
            found = one.share
        return found

    by_p = (least([one.by_p[at] for one in own]) for at in range(len(BUCKETS)))
    return Enough(selection, least([one.agreement for one in own]), tuple(by_p))


def _pool(depth: int, runs: Sequence[Run], made: _Runs) -> Pool:
    """What the systems find together, and the order by it."""
    stay: Bool = np.any(made.ranks < depth, axis=0)
    docs = np.concatenate([run.docs[made.scored, :depth] for run in runs], axis=1).astype(np.int64)
    cells = np.arange(len(docs))[:, None] * (docs.max() + 1) + docs
    return Pool(
        depth,
        len(np.unique(cells[docs >= 0])),
        int(stay.sum()),
        _agreement(_same(_scores(stay[None], made), made)),
    )
