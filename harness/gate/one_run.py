"""One process's measurement of what a system costs, beside fixed work of the machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from harness.encoders import ENCODERS, CollectionEncoder, Encoder, TextEncoder, encoder_spec
from harness.encoders.models import MODELS
from harness.errors import InputError
from harness.kinds import Parts
from harness.pipeline.phases import peak_mb, reset_peak, waited_s
from harness.records.measured_costs import CostRun
from harness.session import Session
from harness.systems import list_encoders
from harness.tasks import Task

TEXTS = 16  # of each part of a task, encoded together
QUERIES = 8  # asked one by one, together a round
ROUNDS = 7  # at least
SECONDS = 1.0  # of rounds, where these are short, without waiting for a processor
PRODUCT, COPIED = 384, 1 << 20  # rows of square matrices; float32 numbers that are copied
STEPS = 40_000  # of a loop


@dataclass(frozen=True)
class CostRequest:
    """What is measured: a system on a task, with its index and how queries are rewritten."""

    model: str
    task: str
    index: str = "exact"
    rewrite: str = "none"


def measure_run(session: Session, asked: CostRequest) -> tuple[CostRun, Mapping[str, Any]]:
    """Measure a system on a task, in a process that has done nothing else.

    Its vectors are in the store already, so that what is searched was not encoded here.

    Returns:
        What was measured, and the system's fingerprint.

    Raises:
        InputError: Texts are paid for; and what encoders, indexes and the store raise.
    """
    task = session.task(asked.task)
    with MODELS.scope():
        works, ask = list[Callable[[], object]](), None

        def start() -> None:
            for encoder in _create_encoders(asked.model, task):
                works.append(_encoding(encoder, _sample(task)))
                works[-1]()

        reset_peak()
        start_s, cold_mb = _time(start), peak_mb()
        reset_peak()
        if task.kind.ranks:
            ranked = session.rank(asked.model, task, index=asked.index, rewrite=asked.rewrite)
            fingerprint, ask = ranked.system.fingerprint, _asking(ranked.answer, task)
        else:
            fingerprint = dict(_create_encoders(asked.model, task)[0].fingerprint())
        if ask:
            ask()
        warm_mb = peak_mb()
        least = _repeat([_multiply(), _copy(), _loop, *works, *([ask] if ask else [])])
    run = CostRun(*least[:3])
    if works:
        texts = sum(len(part) for _, part in _sample(task).values())
        encode_s = sum(least[3 : 3 + len(works)]) / texts
        run = replace(run, start_s=start_s, encode_s=encode_s, cold_mb=cold_mb)
    if task.kind.ranks:
        run = replace(run, warm_mb=warm_mb, query_s=least[-1] / QUERIES if ask else None)
    return run, fingerprint


def _create_encoders(model: str, task: Task) -> list[Encoder]:
    """The encoders of a system. Raises InputError where what they return is paid for."""
    found = list[Encoder]()
    for spec in list_encoders(model):
        encoder = ENCODERS.create(encoder_spec(spec)).for_task(task.purpose)
        if isinstance(encoder, TextEncoder) and encoder.paid:
            raise InputError(f"{spec} is paid for each text: its costs are not measured again")
        found.append(encoder)
    return found


def _sample(task: Task) -> Parts:
    """Texts of each part, far apart and the same for all systems."""
    chosen = {}
    for name, (role, texts) in task.kind.parts(task.data).items():
        rows = np.linspace(0, len(texts) - 1, min(TEXTS, len(texts))).astype(int)
        chosen[name] = role, [texts[row] for row in rows.tolist()]
    return chosen


def _encoding(encoder: Encoder, parts: Parts) -> Callable[[], object]:
    """A function that encodes all parts."""
    if isinstance(encoder, CollectionEncoder):
        (_, first), *_ = parts.values()
        last = parts["queries"][1] if "queries" in parts else first
        return lambda: encoder.encode_collection(first, last)
    return lambda: [encoder.encode(texts, role) for role, texts in parts.values()]


def _asking(answer: Callable[[int], object] | None, task: Task) -> Callable[[], object] | None:
    """A function that asks QUERIES queries one by one; None where none can be asked alone."""
    if answer is None:
        return None
    rows = np.linspace(0, len(task.collection.queries) - 1, QUERIES).astype(int).tolist()
    return lambda: [answer(row) for row in rows]


def _multiply() -> Callable[[], object]:
    a = np.random.default_rng(0).standard_normal((PRODUCT, PRODUCT), dtype=np.float32)
    made = np.empty_like(a)
    return lambda: np.matmul(a, a, out=made)


def _copy() -> Callable[[], object]:
    a = np.ones(COPIED, np.float32)
    made = np.empty_like(a)
    return lambda: np.copyto(made, a)


def _loop() -> None:
    total = 0
    for step in range(STEPS):
        total += step * step


def _time(work: Callable[[], object]) -> float:
    """Seconds of work, without those that this thread had to wait for a processor."""
    begun, before = time.perf_counter(), waited_s()
    work()
    waited = waited_s() - before
    return time.perf_counter() - begun - waited


def _repeat(works: Sequence[Callable[[], object]]) -> list[float]:
    """The least seconds of each piece of work, done in turn again and again."""
    taken = list[list[float]]()
    while len(taken) < ROUNDS or sum(map(sum, taken)) < SECONDS:
        taken.append([_time(work) for work in works])
    return [float(least) for least in np.min(taken, axis=0)]
