"""May this system replace that one? A candidate's records against a frozen baseline, by a policy.

A baseline is a folder of one system's records, made to be committed: TASK.json, TASK.parquet, and
SHA256SUMS, which `sha256sum --check` reads too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, get_args

from harness import compare, disk, records, stats
from harness.compare import Difference, Side
from harness.disk import foreign
from harness.errors import HarnessError, InputError, reason
from harness.frames.formats import probability
from harness.gate.costs import CostVerdict, judge_costs
from harness.gate.policy import Policy, TaskPolicy
from harness.matching import match, tell_prompts
from harness.progress import Progress, silent
from harness.records import Record
from harness.records.item_values import IncomparableError
from harness.records.measured_costs import MeasuredCosts
from harness.registry import unknown
from harness.wording import plural

SUMS = "SHA256SUMS"
Status = Literal[
    "regressed", "failed", "missing", "not comparable", "cannot tell", "same", "improved"
]
FAILED: tuple[Status, ...] = ("regressed", "failed", "missing")


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
        """0 pass, 1 worse (or failed, missing, too dear), 2 cannot judge."""
        statuses = {verdict.status for verdict in self.verdicts}
        costs = {cost.status for cost in self.costs}
        if statuses & {*FAILED} or "exceeded" in costs:
            return 1
        blind = any(verdict.blind for verdict in self.verdicts)
        return 2 if blind or "not comparable" in statuses or "not compared" in costs else 0


def freeze(
    paths: Sequence[Path],
    folder: Path,
    *,
    replace: bool = False,
    measured: Mapping[str, MeasuredCosts] | None = None,
) -> list[Path]:
    """Copy one system's records, the newest of each task, as a baseline; returns the records.

    It is there as a whole or not at all.

    Args:
        paths: Files and folders of records.
        folder: Of the baseline.
        replace: Take the place of a baseline that is there.
        measured: Costs by task, in place of those of the records.

    Raises:
        InputError: For records that no candidate could be held to: of several systems, without a
            score or without its values.
        HarnessError: Where the folder cannot be written.
    """
    files = _copy(compare.side(paths), measured or {})
    sums = [f"{hashlib.sha256(files[name]).hexdigest()}  {name}\n" for name in sorted(files)]
    with disk.writing(folder):
        drop = check_folder(folder, replace=replace)
        disk.write_folder(folder, {**files, SUMS: "".join(sums).encode()}, drop)
    return [folder / name for name in files if name.endswith(".json")]


def _copy(chosen: Side, measured: Mapping[str, MeasuredCosts]) -> dict[str, bytes]:
    """The files of a baseline by name."""
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
        if task in measured:
            costed = record.model_copy(update={"costs": measured[task]})
            files[disk.slug(task) + ".json"] = records.to_bytes(costed)
    return files


def check_folder(folder: Path, *, replace: bool) -> Collection[str]:
    """Files of the baseline that a new one takes the place of.

    Raises:
        InputError: That was not asked for, or other files lie there.
    """
    disk.recover(folder)
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
    return compare.side(sorted(folder.glob("*.json")))


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


@dataclass(frozen=True)
class CandidateSide:
    """What is held to a baseline.

    Attributes:
        name: Of the system.
        tasks: Its records by task.
        failed: Why it has none, by task of the baseline on which it was measured in vain.
    """

    name: str
    tasks: Mapping[str, tuple[Path, Record]]
    failed: Mapping[str, Exception] = field(default_factory=dict)


def judge(
    baseline: Side,
    candidate: Side | CandidateSide,
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
    given = match(baseline.tasks, candidate.tasks)
    outcomes = list[Difference | TaskVerdict]()
    for done, (task, held) in enumerate(_list_judged(baseline, candidate, given, policy)):
        progress("judge", done, len(baseline.tasks), "tasks")
        outcomes.append(_measure(candidate, given.get(task), held, policy, seed))
    if not outcomes:
        nothing = f"{candidate.name} was measured on no task of the baseline {baseline.name}"
        raise InputError(nothing)
    verdicts = [one for one in outcomes if isinstance(one, TaskVerdict)]
    verdicts += decide_all([one for one in outcomes if isinstance(one, Difference)], policy)
    pairs = [(baseline.tasks[a][1], candidate.tasks[b][1]) for a, b in given.items()]
    return Gate(
        baseline.name,
        candidate.name,
        policy,
        tuple(sorted(verdicts, key=_severity)),
        judge_costs(pairs, policy.cost),
        tuple(task for task in candidate.tasks if task not in given.values()),
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


def _list_judged(
    baseline: Side, candidate: Side | CandidateSide, given: Mapping[str, str], policy: Policy
) -> list[tuple[str, tuple[Path, Record]]]:
    """Tasks of the baseline that have a verdict: those required, and whatever else was tried."""
    required, tried = _list_required(baseline, policy), {*given, *_list_failed(candidate)}
    return [(task, held) for task, held in baseline.tasks.items() if task in {*required, *tried}]


def _list_failed(candidate: Side | CandidateSide) -> Mapping[str, Exception]:
    return candidate.failed if isinstance(candidate, CandidateSide) else {}


def _tell_failed(error: Exception) -> tuple[Status, str]:
    """Of a candidate that was measured in vain: it failed, or its input cannot be read here."""
    why = " ".join(str(error).split()) or type(error).__name__
    if not isinstance(error, HarnessError):
        why = f"{type(error).__name__}: {why}"
    return ("not comparable" if isinstance(error, InputError) else "failed"), why


def _measure(
    candidate: Side | CandidateSide,
    name: str | None,
    held: tuple[Path, Record],
    policy: Policy,
    seed: int,
) -> Difference | TaskVerdict:
    """A difference to decide on, or why there is none. name: of the task there."""
    old = held[1]
    task, failed = old.task.spec, _list_failed(candidate)
    allowed = tolerance(task, old.main.mean or 0.0, policy)
    if task in failed:
        return TaskVerdict(task, *_tell_failed(failed[task]), allowed)
    if name is None:
        return TaskVerdict(task, "missing", "required, and not measured", allowed)
    given = candidate.tasks[name]
    new = given[1]
    if new.main.mean is None:
        return TaskVerdict(task, "missing", f"{new.main_measure} is not defined", allowed)
    x, y = new.system, old.system
    changed = tell_prompts(x, y)
    same_model = x.full == y.full or x.fingerprint == y.fingerprint  # which holds no prompts
    if policy.prompts == "same" and changed and same_model:
        why = f"the prompts of the same model differ: {changed}"
        return TaskVerdict(task, "not comparable", why, allowed)
    try:
        found = compare.difference(given, held, margin=allowed, seed=seed)
    except IncomparableError as error:
        return TaskVerdict(task, "not comparable", str(error), allowed)
    return replace(found, task=task)


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
    why += "".join(f"; {note}" for note in found.notes)
    p = fall if found.gain < 0 else rise
    return TaskVerdict(found.task, status, why, allowed, found, p, blind)


def _correct(p: Sequence[float], how: str) -> list[float]:
    if how == "none":
        return list(p)
    return stats.holm(p) if how == "holm" else stats.benjamini_hochberg(p)
