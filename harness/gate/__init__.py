"""May this system replace that one? A candidate's records against a frozen baseline, by a policy.

A baseline is a folder of one system's records, made to be committed: TASK.json, TASK.parquet, and
SHA256SUMS, which `sha256sum --check` reads too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Literal, get_args

from harness import compare, disk, records, stats
from harness.compare import Difference, Side
from harness.disk import foreign
from harness.errors import HarnessError, InputError, reason
from harness.frames.formats import plural, probability
from harness.gate.policy import CostPolicy, Policy, TaskPolicy
from harness.progress import Progress, silent
from harness.records import Record, costs
from harness.records.item_values import IncomparableError
from harness.registry import unknown

SUMS = "SHA256SUMS"
Status = Literal["regressed", "missing", "not comparable", "cannot tell", "same", "improved"]
FAILED: tuple[Status, ...] = ("regressed", "missing")


@dataclass(frozen=True)
class TaskVerdict:
    """What became of one task.

    p: corrected, in the direction of the change. blind: data could hide too large a drop to pass.
    """

    task: str
    status: Status
    reason: str
    tolerance: float
    difference: Difference | None = None
    p: float | None = None
    blind: bool = False


@dataclass(frozen=True)
class CostVerdict:
    """One limit of cost. status: within, exceeded, or cannot tell."""

    name: str
    limit: float
    ratio: float | None
    status: Literal["within", "exceeded", "cannot tell"]
    reason: str


@dataclass(frozen=True)
class Gate:
    """All verdicts, the worst first. extra: measured, but not in the baseline."""

    baseline: str
    candidate: str
    policy: Policy
    verdicts: tuple[TaskVerdict, ...]
    costs: tuple[CostVerdict, ...]
    extra: tuple[str, ...] = ()

    @property
    def exit_status(self) -> int:
        """0 pass, 1 regression (or something missing, or too dear), 2 cannot judge."""
        statuses = {verdict.status for verdict in self.verdicts}
        costs = {cost.status for cost in self.costs}
        if statuses & {*FAILED} or "exceeded" in costs:
            return 1
        blind = any(verdict.blind for verdict in self.verdicts)
        return 2 if blind or "not comparable" in statuses or "cannot tell" in costs else 0


def freeze(paths: Sequence[Path], folder: Path, *, replace: bool = False) -> list[Path]:
    """Copy one system's records, the newest of each task, as a baseline; returns the records.

    It is there as a whole or not at all.

    Args:
        paths: Files and folders of records.
        folder: Of the baseline.
        replace: Take the place of a baseline that is there.

    Raises:
        InputError: For records that no candidate could be held to: of several systems, without a
            score or without its values.
        HarnessError: Where the folder cannot be written.
    """
    chosen = compare.side(paths)
    files: dict[str, bytes] = {}
    for task, (path, record) in chosen.tasks.items():
        if record.main.mean is None:
            raise InputError(f"{path}: {record.main_measure} is not defined: nothing to hold to")
        records.per_query(path)  # readable
        for suffix in (".json", ".parquet"):
            name = disk.slug(task) + suffix
            if name in files:
                raise InputError(f"{path}: {task} and another task are both named {name}")
            files[name] = path.with_suffix(suffix).read_bytes()
    sums = [f"{hashlib.sha256(files[name]).hexdigest()}  {name}\n" for name in sorted(files)]
    try:
        disk.recover(folder)
        drop = _find_replaced(folder, replace)
        disk.write_folder(folder, {**files, SUMS: "".join(sums).encode()}, drop)
    except OSError as error:
        raise HarnessError(f"{folder}: cannot be written: {reason(error)}") from error
    return [folder / name for name in files if name.endswith(".json")]


def _find_replaced(folder: Path, replace: bool) -> Collection[str]:
    """Files of the baseline that a new one takes the place of.

    Raises InputError where that was not asked for, or where other files lie.
    """
    if not folder.exists():
        return ()
    held = {path.name for path in folder.iterdir()}
    if SUMS not in held:
        if held:
            raise InputError(f"{folder}: holds other files: name an empty folder for a baseline")
        return ()
    if not replace:
        raise InputError(
            f"{folder}: a baseline is there already: replace it (--replace) or name another"
        )
    return _sums(folder).keys()


def thaw(folder: Path) -> Side:
    """Read a baseline.

    Raises:
        InputError: Where a file was changed, lost or added since.
    """
    with suppress(OSError):  # a place that cannot be written was not written by a killed freeze
        disk.recover(folder)
    sums = _sums(folder)
    again = "restore it, or freeze the baseline anew"
    for name, digest in sums.items():
        try:
            found = disk.file_sha256(folder / name)
        except OSError:
            raise InputError(f"{folder / name}: is in {SUMS}, not on the disk: {again}") from None
        if found != digest:
            raise InputError(f"{folder / name}: was changed since it was frozen: {again}")
    extra = sorted({path.name for path in folder.glob("*.json")} - set(sums))
    if extra:
        raise InputError(f"{folder / extra[0]}: is not in {SUMS}: {again}")
    return compare.side([folder])


def _sums(folder: Path) -> dict[str, str]:
    path = folder / SUMS
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; make one with harness baseline freeze")
    try:
        lines = [line.split("  ", 1) for line in foreign.read_text(path).splitlines()]
        found = {name: digest for digest, name in lines}
    except (InputError, ValueError) as error:
        raise InputError(
            f"{path}: not a baseline's list of files: {reason(error)}; make one with "
            "harness baseline freeze"
        ) from None
    for name in found:
        if Path(name).name != name or "\0" in name:
            raise InputError(f"{path}: {name!r}: expected the name of a file in this folder")
    return found


def judge(
    baseline: Side,
    candidate: Side,
    policy: Policy,
    *,
    seed: int = 0,
    progress: Progress = silent,
) -> Gate:
    """Hold a candidate to a baseline.

    Args:
        baseline: What was frozen.
        candidate: What is to take its place.
        policy: What counts as a regression.
        seed: Of tests and intervals.
        progress: Hears of each task.

    Raises:
        InputError: Where the policy names unknown tasks, or nothing is left to judge.
    """
    required = _list_required(baseline, policy)
    outcomes = list[Difference | TaskVerdict]()
    for done, (task, held) in enumerate(baseline.tasks.items()):
        progress("judge", done, len(baseline.tasks), "tasks")
        given = candidate.tasks.get(task)
        if given is not None or task in required:
            outcomes.append(_measure(task, given, held, policy, seed))
    if not outcomes:
        nothing = f"{candidate.name} was measured on no task of the baseline {baseline.name}"
        raise InputError(nothing)
    verdicts = [one for one in outcomes if isinstance(one, TaskVerdict)]
    verdicts += decide_all([one for one in outcomes if isinstance(one, Difference)], policy)
    return Gate(
        baseline.name,
        candidate.name,
        policy,
        tuple(sorted(verdicts, key=_severity)),
        _costs(baseline, candidate, policy),
        tuple(task for task in candidate.tasks if task not in baseline.tasks),
    )


def _severity(verdict: TaskVerdict) -> tuple[int, bool]:
    """Where a verdict stands: the worst first."""
    return get_args(Status).index(verdict.status), not verdict.blind


def _list_required(baseline: Side, policy: Policy) -> list[str]:
    """The tasks that must be measured. Raises InputError where the policy names unknown ones."""
    for task in {**dict.fromkeys(policy.required or ()), **policy.tasks}:
        if task not in baseline.tasks:
            raise InputError(f"policy: {unknown('task', task, baseline.tasks)}")
    return [*baseline.tasks] if policy.required is None else policy.required


def _measure(
    task: str,
    given: tuple[Path, Record] | None,
    held: tuple[Path, Record],
    policy: Policy,
    seed: int,
) -> Difference | TaskVerdict:
    """A difference to decide on, or why there is none."""
    allowed = tolerance(task, held[1].main.mean or 0.0, policy)
    if given is None:
        return TaskVerdict(task, "missing", "required, and not measured", allowed)
    new, old = given[1], held[1]
    if new.main.mean is None:
        return TaskVerdict(task, "missing", f"{new.main_measure} is not defined", allowed)
    same_model = new.system.full == old.system.full
    if policy.prompts == "same" and same_model and new.system.prompts != old.system.prompts:
        return TaskVerdict(task, "not comparable", "the prompts of the same model differ", allowed)
    try:
        return compare.difference(given, held, margin=allowed, seed=seed)
    except IncomparableError as error:
        return TaskVerdict(task, "not comparable", str(error), allowed)


def tolerance(task: str, baseline: float, policy: Policy) -> float:
    """Return what the score of a task may lose. baseline: its score there."""
    own = policy.tasks.get(task, TaskPolicy())
    absolute = policy.absolute if own.absolute is None else own.absolute
    relative = policy.relative if own.relative is None else own.relative
    return max(absolute, relative * abs(baseline))


def decide_all(found: Sequence[Difference], policy: Policy) -> list[TaskVerdict]:
    """Decide on the differences of several tasks, their tests corrected together."""
    falls = _correct([one.fall for one in found], policy.correction)
    rises = _correct([one.rise for one in found], policy.correction)
    return [_decide(*one, policy) for one in zip(found, falls, rises, strict=True)]


def _decide(found: Difference, fall: float, rise: float, policy: Policy) -> TaskVerdict:
    """The verdict on a difference. fall, rise: corrected one-sided p-values.

    A score has changed if its test against a change of no more than the tolerance is below alpha,
    and is the same if its 95% interval lies within the tolerance; else the data cannot tell. That
    passes unless a drop beyond the policy's `detectable` could have been missed.
    """
    allowed = tolerance(found.task, found.b, policy)
    change = f"{found.b:.4f} -> {found.a:.4f} ({found.difference:+.4f})"
    change, worse = (change, "drop") if found.sign > 0 else (f"{change}, low is good", "rise")
    blind = False
    status: Status = "cannot tell"
    if fall <= policy.alpha:
        status, why = "regressed", f"{change}, p {probability(fall)}: more than {allowed:.4f} lost"
    elif rise <= policy.alpha:
        status, why = "improved", f"{change}, p {probability(rise)}"
    elif found.low >= -allowed and found.high <= allowed:
        status, why = "same", f"{change}: within {allowed:.4f}"
    else:
        own = policy.tasks.get(found.task, TaskPolicy()).detectable
        limit = policy.detectable if own is None else own
        shown, blind = "nothing", found.least_gain < -allowed
        if found.error is not None:
            least = allowed + stats.detectable(found.error, alpha=policy.alpha, two_sided=False)
            shown, blind = f"a {worse} of {least:.4f} or more", blind and least > limit
        why = f"{change}, interval [{found.low:+.4f}, {found.high:+.4f}]: shows {shown}"
        why += f", {limit:.4f} is asked for: measure more {plural(found.noun)}" if blind else ""
    p = fall if found.gain < 0 else rise
    return TaskVerdict(found.task, status, why, allowed, found, p, blind)


def _correct(p: Sequence[float], how: str) -> list[float]:
    if how == "none":
        return list(p)
    return stats.holm(p) if how == "holm" else stats.benjamini_hochberg(p)


LIMITED = {
    "throughput": "texts_per_s",
    "memory": "peak_mb",
    "latency": "search_ms",
    "dimension": "dim",
}
"""Keys of the costs that a policy limits, by the policy's names of them."""


def _costs(baseline: Side, candidate: Side, policy: Policy) -> tuple[CostVerdict, ...]:
    pairs = [
        (r, candidate.tasks[t][1]) for t, (_, r) in baseline.tasks.items() if t in candidate.tasks
    ]
    limits = policy.cost.model_dump(include=set(LIMITED))
    return tuple(
        _cost(name, limit, pairs, policy.cost)
        for name in LIMITED
        if (limit := limits[name]) is not None
    )


def _cost(
    name: str, limit: float, pairs: Iterable[tuple[Record, Record]], policy: CostPolicy
) -> CostVerdict:
    cost = costs.BY_KEY[LIMITED[name]]
    if cost.varies and policy.machines == "same":
        pairs = [pair for pair in pairs if _machine(pair[0]) == _machine(pair[1])]
        why = "not measured on the same machine"
    else:
        why = "not measured for both"
    known = [(cost.of(old), cost.of(new)) for old, new in pairs]
    ratios = [new / old for old, new in known if old and new]
    if not ratios:
        return CostVerdict(name, limit, None, "cannot tell", why)
    ratio, noise = median(ratios), policy.noise if cost.varies else 0.0
    least = cost.better == "more"
    exceeded = ratio < limit * (1 - noise) if least else ratio > limit * (1 + noise)
    word = "at least" if least else "at most"
    told = f"{ratio:.2f} x the baseline's, {word} {limit:.2f}"
    told += f" and {noise:.0%} for noise" if cost.varies else ""
    return CostVerdict(name, limit, ratio, "exceeded" if exceeded else "within", told)


def _machine(record: Record) -> tuple[object, ...]:
    machine = record.environment
    return machine.processor, machine.cpus, tuple(machine.gpus)
