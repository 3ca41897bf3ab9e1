"""How often the gate and its test are wrong: simulated systems whose true difference is known.

python benchmarks/gate.py --trials 2000
"""

from __future__ import annotations

import argparse

import numpy as np

from harness import gate, stats
from harness.arrays import Float64
from harness.compare import Difference
from harness.gate.policy import Policy

SIZES = (10, 30, 100, 300, 1000)
DROPS = (0.0, 0.01, 0.02, 0.03, 0.05, 0.08)
PERMUTATIONS = 2000


def scores(queries: int, drop: float, random: np.random.Generator) -> tuple[Float64, Float64]:
    """Scores in [0, 1] of candidate and baseline, many at the floor and the ceiling, as nDCG has.

    Each is a shared difficulty of its query and a part of the system's own; `drop` is before these.
    """
    shared = 0.5 + 0.35 * random.standard_normal(queries)
    own = 0.2 * random.standard_normal((2, queries))
    candidate, baseline = np.clip(shared + own - [[drop], [0.0]], 0, 1)
    return candidate, baseline


def compared(
    queries: int, drop: float, random: np.random.Generator, margin: float = 0.0
) -> Difference:
    """The comparison of two simulated systems on one task."""
    candidate, baseline = scores(queries, drop, random)
    return of_values(candidate, baseline, random, margin)


def of_values(
    candidate: Float64, baseline: Float64, random: np.random.Generator, margin: float
) -> Difference:
    """The comparison of what two systems scored."""
    queries = len(candidate)
    delta = candidate - baseline
    low, high = stats.bootstrap_means(delta[None], seed=0)
    seed = int(random.integers(2**31))
    p, fall, rise = (
        stats.randomisation(delta + shift, seed, permutations=PERMUTATIONS)
        for shift in (0.0, margin, -margin)
    )
    return Difference(
        task="simulated",
        family="simulated",
        measure="nDCG@10",
        items=queries,
        a=float(candidate.mean()),
        b=float(baseline.mean()),
        low=float(low[0]),
        high=float(high[0]),
        p=p,
        fall=fall.less,
        rise=rise.greater,
        effect=stats.effect_size(delta),
        error=stats.standard_error(delta),
        wins=0,
        ties=0,
        losses=0,
        paired=True,
        notes=(),
    )


def test_and_interval(trials: int) -> None:
    """False alarms and coverage without a difference; power where the drop is that claimed."""
    print("| queries | false alarms at 5% | 95% interval covers | power at `detectable` |")
    print("|--:|--:|--:|--:|")
    for queries in SIZES:
        random = np.random.default_rng(queries)
        equal = [compared(queries, 0.0, random) for _ in range(trials)]
        alarms = np.mean([one.p.two_sided <= 0.05 for one in equal])
        covered = np.mean([one.low <= 0 <= one.high for one in equal])
        least = np.median([one.error or 0.0 for one in equal]) * stats.detectable(1.0)
        found = []
        for _ in range(trials):
            candidate, baseline = scores(queries, 0.0, random)
            # shifted after the floor and the ceiling: the drop is exact
            p = stats.randomisation(candidate - least - baseline, 0, permutations=PERMUTATIONS)
            found.append(p.two_sided <= 0.05)
        print(f"| {queries} | {alarms:.1%} | {covered:.1%} | {np.mean(found):.1%} |", flush=True)


def families(trials: int, tasks: int, queries: int) -> None:
    """Gates that say regression where every task has lost exactly what is allowed."""
    print(
        f"\n{tasks} tasks of {queries} queries that lost the tolerance: gates that say regression"
    )
    print("\n| correction | tolerance 0 | tolerance 0.01 | tolerance 0.05 |")
    print("|:--|--:|--:|--:|")
    shares: dict[str, list[str]] = {"none": [], "benjamini-hochberg": [], "holm": []}
    for absolute in (0.0, 0.01, 0.05):
        random = np.random.default_rng(1)
        alarms = dict.fromkeys(shares, 0)
        for _ in range(trials):
            found = []
            for _ in range(tasks):
                candidate, baseline = scores(queries, 0.0, random)
                found.append(of_values(candidate - absolute, baseline, random, absolute))
            for correction in shares:
                policy = Policy(absolute=absolute, correction=correction)
                said = {verdict.status for verdict in gate.decide_all(found, policy)}
                alarms[correction] += "regressed" in said
        for correction, count in alarms.items():
            shares[correction].append(f"{count / trials:.1%}")
    for correction, cells in shares.items():
        print(f"| {correction} | {' | '.join(cells)} |", flush=True)


def power(trials: int) -> None:
    """Verdicts of the default policy on one task, by true drop and number of queries."""
    policy = Policy()
    print("\nregressed / same / cannot tell / of these blind, one task, default policy")
    print("\n| true drop | " + " | ".join(f"{queries} queries" for queries in SIZES) + " |")
    print("|--:|" + "--:|" * len(SIZES))
    for drop in DROPS:
        random = np.random.default_rng(int(1000 * drop))
        candidate, baseline = scores(2_000_000, drop, random)
        cells = []
        for queries in SIZES:
            found = [compared(queries, drop, random, policy.absolute) for _ in range(trials)]
            verdicts = [gate.decide_all([one], policy)[0] for one in found]
            share = [
                np.mean([verdict.status == status for verdict in verdicts])
                for status in ("regressed", "same", "cannot tell")
            ]
            share.append(np.mean([verdict.blind for verdict in verdicts]))
            cells.append(" / ".join(f"{value:.0%}" for value in share))
        true = float((baseline - candidate).mean())
        print(f"| {true:.3f} | " + " | ".join(cells) + " |", flush=True)


def main() -> None:
    """Print the three tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--tasks", type=int, default=10)
    parser.add_argument("--queries", type=int, default=100)
    args = parser.parse_args()
    test_and_interval(args.trials)
    families(args.trials // 4, args.tasks, args.queries)
    power(args.trials // 4)


if __name__ == "__main__":
    main()
