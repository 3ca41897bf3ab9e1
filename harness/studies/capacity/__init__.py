"""The capacity study: what a dimension could return, and what a model returns with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness import catalog
from harness.data import Retrieval
from harness.errors import InputError
from harness.progress import Progress, silent
from harness.session import Session
from harness.store import Store
from harness.studies import truncation
from harness.studies.capacity.critical import Critical, Trials, critical_n
from harness.studies.capacity.exact import PRECISIONS, Exact, oracle
from harness.studies.capacity.free import Trial
from harness.studies.capacity.relevance import Relevance, judged
from harness.studies.capacity.theory import TABLE_6, Curve, fit, margin_bound

ENOUGH = 8  # critical numbers for a cubic: twice its coefficients
FREE_DIMS = (2, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)


@dataclass(frozen=True)
class Capacity:
    """Everything that the study found; dataclasses.asdict makes it JSON.

    documents, queries: of the task; relevant: documents that are relevant to some query.
    model: the model's recall at k, as (dimensions kept, recall), all dimensions last.
    chance: recall at k of a random ranking. bound: margin_bound(documents, k, gamma).
    free: free vectors for the task's own judgments by dimension, one draw each, to the first
    dimension that returns everything; of each query they count as many results as are relevant
    to it, which is recall at k where k are, as in LIMIT. exact: exact vectors for them by
    precision, as inner products and as cosines. critical: free vectors for every subset of k.
    curve: the cubic through their critical numbers, where there are enough. paper_curve: the one
    through the paper's. notes: what was odd, a sentence each.
    """

    encoder: str
    task: str
    k: int
    gamma: float
    seed: int
    documents: int
    queries: int
    relevant: int
    model: tuple[tuple[int, float], ...]
    chance: float
    bound: int | None
    free: tuple[Trial, ...]
    exact: tuple[Exact, ...]
    critical: tuple[Critical, ...]
    curve: Curve | None
    paper_curve: Curve
    notes: tuple[str, ...]


def study(
    encoder: str,
    task: str,
    *,
    dims: Sequence[int] = (4, 5, 6),
    k: int = 2,
    gamma: float = 0.1,
    seed: int = 42,
    device: str = "auto",
    folder: Path,
    store: Store,
    progress: Progress = silent,
) -> Capacity:
    """Set a model's recall at k on a task beside what vectors of its dimension could reach.

    encoder, task: specs. dims: for which the critical number of documents is searched. folder:
    keeps each optimisation; a study that was stopped goes on from there.

    Raises InputError for what is asked wrongly and a task without judgments, HarnessError where
    the folder cannot be used, else what encoder and store raise.
    """
    data = catalog.task(task).load()
    if not isinstance(data, Retrieval):
        raise InputError(f"{task} is a task of {data.kind}: the capacity study needs retrieval")
    bound = margin_bound(len(data.corpus), k, gamma)
    relevance, measure = judged(data.qrels), f"R@{k}"
    session = Session(store, seed, progress)
    points = truncation.curve(session, encoder, session.task(task, [measure]))
    trials = Trials(folder, seed=seed, device=device, progress=progress)
    critical = tuple(critical_n(dim, k, trials) for dim in sorted(set(dims)))
    numbers = {found.dim: found.reached for found in critical}
    return Capacity(
        encoder=encoder,
        task=task,
        k=k,
        gamma=gamma,
        seed=seed,
        documents=len(data.corpus),
        queries=relevance.queries,
        relevant=relevance.documents,
        model=tuple((point.dim, point.scores[measure]) for point in points),
        chance=k / len(data.corpus),
        bound=bound,
        free=_free(relevance, points[-1].dim, trials),
        exact=tuple(oracle(relevance, p, unit=unit) for unit in (False, True) for p in PRECISIONS),
        critical=critical,
        curve=fit(numbers) if len(numbers) >= ENOUGH else None,
        paper_curve=fit(TABLE_6),
        notes=tuple(trials.notes),
    )


def _free(relevance: Relevance, most: int, trials: Trials) -> tuple[Trial, ...]:
    """One draw of free vectors in each of ever more dimensions, at most as many as the model."""
    made: list[Trial] = []
    for dim in FREE_DIMS:
        if made and (dim > most or made[-1].accuracy == 1):
            break
        made.append(trials.trial(relevance, dim, trials.seed))
    return tuple(made)
