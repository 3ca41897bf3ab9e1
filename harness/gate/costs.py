"""Costs of a candidate over those of a baseline: a ratio with its interval, held to a limit.

Both were measured in several processes, see `harness.records.measured_costs`. The time of a run is
divided by that of fixed work beside it, so that load is divided out, and another machine: a product
of matrices, a copy of memory or a loop of Python, whichever follows the system's own times best.
Where machines differ and the three do not agree on how much, the interval is wider.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from harness.arrays import Float64
from harness.gate.policy import CostPolicy
from harness.records import Record
from harness.records.costs import dim
from harness.records.measured_costs import CostRun

LEVEL = 0.95  # of intervals
CANNOT_TELL = (
    ": cannot be judged, as the interval holds the limit, and passes; more runs or less noise, "
    "under [cost], narrow it"
)
Status = Literal["within", "exceeded", "cannot tell", "not compared"]


@dataclass(frozen=True)
class CostVerdict:
    """One limit of cost.

    Attributes:
        name: Of the cost.
        limit: Of the policy.
        ratio: The candidate's over the baseline's; None where it is not known.
        status: exceeded where the whole interval is beyond the limit, within where none of it is.
        reason: Why, in words.
        low: The lower end of the interval of the ratio.
        high: Its upper end.
    """

    name: str
    limit: float
    ratio: float | None
    status: Status
    reason: str
    low: float | None = None
    high: float | None = None

    @property
    def unsure(self) -> bool:
        """Whether more runs may tell."""
        return self.status == "cannot tell"


@dataclass(frozen=True)
class LimitedCost:
    """A cost that a policy limits.

    Attributes:
        limit: Its key in the policy.
        name: In verdicts.
        of: What a run measured of it, the less the better; None where it was not.
        least: Whether the limit is one that the ratio must reach, of the inverse of what is
            measured.
        timed: Whether the machine's speed is divided out.
    """

    limit: str
    name: str
    of: Callable[[CostRun], float | None]
    least: bool = False
    timed: bool = True


MEASURED = (
    LimitedCost("throughput", "throughput", lambda run: run.encode_s, least=True),
    LimitedCost("start", "start", lambda run: run.start_s),
    LimitedCost("latency", "latency", lambda run: run.query_s),
    LimitedCost("memory", "memory, cold", lambda run: run.cold_mb, timed=False),
    LimitedCost("memory", "memory, warm", lambda run: run.warm_mb, timed=False),
)

Pair = tuple[Record, Record]  # the baseline's, the candidate's


def wants_measuring(policy: CostPolicy) -> bool:
    """Whether a policy limits a cost that has to be measured."""
    limits = policy.model_dump()
    return any(limits[cost.limit] is not None for cost in MEASURED)


def judge_costs(pairs: Sequence[Pair], policy: CostPolicy) -> tuple[CostVerdict, ...]:
    """Hold costs to the limits of a policy.

    Args:
        pairs: Records of each task that both were measured on.
        policy: Its limits.
    """
    limits = policy.model_dump()
    found = [
        _judge(cost, limits[cost.limit], pairs, policy)
        for cost in MEASURED
        if limits[cost.limit] is not None
    ]
    if policy.dimension is not None:
        found.append(_judge_dimension(policy.dimension, pairs))
    return tuple(found)


def _judge_dimension(limit: float, pairs: Sequence[Pair]) -> CostVerdict:
    """Dimensions do not vary: their largest ratio is that of any task."""
    known = [(dim(old), dim(new)) for old, new in pairs]
    ratios = [new / old for old, new in known if old and new]
    if not ratios:
        why = "not of dense vectors of one each, on both sides"
        return CostVerdict("dimension", limit, None, "not compared", why)
    return _decide("dimension", limit, (max(ratios),) * 3, least=False)


def _judge(
    cost: LimitedCost, limit: float, pairs: Sequence[Pair], policy: CostPolicy
) -> CostVerdict:
    each = [(old, new, _tell_lacking(cost, old, new, policy)) for old, new in pairs]
    found = [_take(cost, old, new) for old, new, lacking in each if not lacking]
    whys = [lacking for *_, lacking in each if lacking]
    if not found:
        why = whys[0] if whys else "no task was measured by both"
        return CostVerdict(cost.name, limit, None, "not compared", why)
    room = -math.log1p(-policy.noise) if cost.least else math.log1p(policy.noise)
    low, ratio, high = estimate_ratio(found, room)
    if cost.least:
        low, ratio, high = 1 / high, 1 / ratio, 1 / low
    verdict = _decide(cost.name, limit, (low, ratio, high), least=cost.least)
    if not whys:
        return verdict
    left_out = f"{len(whys)} of {len(each)} tasks left out: {whys[0]}"
    return replace(verdict, reason=f"{verdict.reason}; {left_out}")


def _decide(
    name: str, limit: float, found: tuple[float, float, float], *, least: bool
) -> CostVerdict:
    """The verdict on a ratio with its interval. least: it must be so much, and not at most."""
    low, ratio, high = found
    beyond, inside = (high < limit, low >= limit) if least else (low > limit, high <= limit)
    status: Status = "exceeded" if beyond else "within" if inside else "cannot tell"
    interval = "" if low == high else f" [{low:.2f}, {high:.2f}]"
    bound = "at least" if least else "at most"
    why = f"{ratio:.2f} x{interval} the baseline's, {bound} {limit:.2f}"
    why += CANNOT_TELL if status == "cannot tell" else ""
    return CostVerdict(name, limit, ratio, status, why, low, high)


def _tell_lacking(cost: LimitedCost, old: Record, new: Record, policy: CostPolicy) -> str:
    """Why a cost cannot be compared on a task; "" where it can."""
    lacking = _lacks(cost, old, "the baseline") or _lacks(cost, new, "the candidate")
    if not lacking and cost.timed and policy.machines == "same" and _differ(old, new):
        return 'measured on another machine (machines = "any" compares)'
    return lacking


def _lacks(cost: LimitedCost, record: Record, whose: str) -> str:
    """Why a record does not tell a cost; "" where it does."""
    measured = record.costs
    if measured is None:
        remedy = {
            "the baseline": "freeze it with --costs",
            "the candidate": "let the gate measure it, with --model",
        }
        return f"{whose} has no measured costs on {record.task.spec}: {remedy[whose]}"
    if not measured.runs:
        return f"costs of {whose} on {record.task.spec} could not be measured: {measured.why}"
    known = [run for run in measured.runs if cost.of(run) is not None]
    if not known:
        return f"{whose} has no {cost.name} on {record.task.spec}"
    if len(known) == 1:
        return f"{whose} was measured once on {record.task.spec}: one run shows no spread"
    return ""


def _differ(old: Record, new: Record) -> bool:
    """Whether two records are of different machines."""
    one, two = old.environment, new.environment
    return (one.processor, one.cpus, one.gpus) != (two.processor, two.cpus, two.gpus)


@dataclass(frozen=True)
class Sample:
    """Logarithms of a cost on one task.

    Attributes:
        old: [runs] of the baseline.
        new: [runs] of the candidate.
        work: By side [runs, 3], of the fixed work beside; zeros of a cost that takes no time.
        moved: Whether the two sides are of different machines.
    """

    old: Float64
    new: Float64
    work: tuple[Float64, Float64]
    moved: bool = False

    @property
    def sides(self) -> tuple[Float64, Float64]:
        """Both sides with the fixed work divided out that leaves runs of a side most alike."""
        each = [
            (self.old - self.work[0][:, i], self.new - self.work[1][:, i])
            for i in range(self.work[0].shape[1])
        ]
        return min(each, key=lambda pair: sum(((one - one.mean()) ** 2).sum() for one in pair))

    @property
    def disagreement(self) -> float:
        """Half of what kinds of fixed work differ by on how fast one machine is to the other."""
        if not self.moved:
            return 0.0
        faster = self.work[1].mean(axis=0) - self.work[0].mean(axis=0)
        return float(np.ptp(faster)) / 2


def _take(cost: LimitedCost, old: Record, new: Record) -> Sample:
    """The runs of a cost, of two records that have some."""
    values, work = list[Float64](), list[Float64]()
    for record in (old, new):
        runs = () if record.costs is None else record.costs.runs
        known = [(found, run) for run in runs if (found := cost.of(run)) is not None]
        values.append(np.log([found for found, _ in known]))
        kinds = [(run.product_s, run.copy_s, run.loop_s) for _, run in known]
        work.append(np.log(kinds) if cost.timed else np.zeros((len(known), 1)))
    return Sample(values[0], values[1], (work[0], work[1]), cost.timed and _differ(old, new))


def estimate_ratio(samples: Sequence[Sample], room: float = 0.0) -> tuple[float, float, float]:
    """The geometric mean over tasks of new over old, between the ends of its interval.

    The interval is Welch's, of the logarithms of runs, which are what varies independently. To its
    half width come in quadrature what is not known of another machine's speed, and `room`.

    Args:
        samples: Of each task; of each side two runs at least.
        room: Half width, as a logarithm, for what repeated runs of one hour do not show.

    Returns:
        The lower end, the ratio, the upper end.
    """
    from scipy.stats import t

    sides = [side for one in samples for side in one.sides]
    change = float(np.mean([new.mean() for new in sides[1::2]]))
    change -= float(np.mean([old.mean() for old in sides[::2]]))
    parts = np.array([side.var(ddof=1) / len(side) for side in sides]) / len(samples) ** 2
    spread = 0.0
    if parts.any():
        freedom = np.array([len(side) - 1 for side in sides])
        degrees = parts.sum() ** 2 / (parts**2 / freedom).sum()  # Welch and Satterthwaite
        spread = float(t.ppf((1 + LEVEL) / 2, degrees)) * math.sqrt(parts.sum())
    apart = float(np.mean([one.disagreement for one in samples]))
    half = math.hypot(spread, apart, room)
    return math.exp(change - half), math.exp(change), math.exp(change + half)
