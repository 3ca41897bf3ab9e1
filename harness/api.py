"""What scripts use: evaluations by a call, from a spec or from a model of one's own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.disk import cache_root
from harness.evaluation import Evaluation
from harness.progress import Progress, silent
from harness.session import Session
from harness.store import Store


def evaluate(
    system: object,
    task: str,
    index: str = "exact",
    *,
    rewrite: str = "none",
    measures: Sequence[str] = (),
    store: Store | None = None,
    seed: int = 0,
    latency: int = 0,
    progress: Progress = silent,
) -> Evaluation:
    """Measure a system on a task: harness.evaluate("minilm", "limit-small").record.main.mean

    As `Session.evaluate`, in a session of its own.
    """
    session = Session(store or Store(cache_root()), seed, progress)
    return session.evaluate(
        system, task, index=index, rewrite=rewrite, measures=measures, latency=latency
    )


def evaluate_run(
    path: Path,
    task: str,
    *,
    measures: Sequence[str] = (),
    seed: int = 0,
    progress: Progress = silent,
) -> Evaluation:
    """Measure a ranking that another program wrote as a TREC run file.

    As `Session.evaluate_run`, in a session of its own.
    """
    session = Session(Store(cache_root()), seed, progress)
    return session.evaluate_run(path, task, measures=measures)
