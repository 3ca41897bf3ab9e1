"""Lists and codes of faiss: recall on GPUs is that of the same structure on the processor."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness.errors import InputError
from harness.indexes import INDEXES, Index
from harness.indexes.saved import FileIndex
from harness.progress import silent
from harness.selftest.cases import make_vectors
from harness.selftest.machine import Machine, open_on_cpu, search_on_gpus, time_on_cpu
from harness.selftest.outcomes import Outcome, compare_runs
from harness.selftest.searching import judge_devices
from harness.vectors import Dense, Run

SECTION = "lists and codes"
TARGETS = (
    "Flat",
    "Flat,metric=l2",
    "IVF64_Flat,nprobe=8",
    "IVF64_Flat,nprobe=8,metric=l2",
    "IVF64_SQ8,nprobe=8",
    "IVF64_PQ8,nprobe=8",
    "IVF64_PQ8,nprobe=8,metric=cosine",
)
GRAPH = "CAGRA"
K = 10
NEARLY = 0.002  # of recall: rounding decides which of two lists is nearer, and ties of codes


@dataclass(frozen=True)
class StructureTrial:
    """Documents and queries, and what exact search finds."""

    documents: Dense
    queries: Dense
    exact: Run


def prepare(shape: tuple[int, int, int]) -> StructureTrial:
    """Make vectors of length 1 in groups. shape: documents, width, queries."""
    n, d, q = shape
    random = np.random.default_rng(7)
    centres = random.standard_normal((50, d), np.float32)

    def draw(rows: int, seed: int) -> Dense:
        noise = make_vectors("random", rows, d, seed).values
        values = centres[random.integers(0, len(centres), rows)] + np.float32(0.7) * noise
        return Dense(values / np.linalg.norm(values, axis=1, keepdims=True))

    documents, queries = draw(n, 8), draw(q, 9)
    return StructureTrial(documents, queries, open_on_cpu(documents).search(queries, K, silent).run)


def check_structure(target: str, shape: tuple[int, int, int], machine: Machine) -> Outcome:
    """Build on a GPU, save, read, and search there and on the processor."""
    trial, there = prepare(shape), _create(f"gpu:{target},{machine.ask('replicated')}")
    there.require("dense")
    if "metric=cosine" in target:
        product = there.by_product()
        there = product if product is not None else there
    cpu = None if target == GRAPH else _create(f"faiss:{target.replace('cosine', 'ip')}")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "structure"
        built = there.make(trial.documents, silent)
        there.save(built, path)
        return _search_both(target, trial, (there, cpu), (built, path), machine)


def _create(spec: str) -> FileIndex:
    index: Index = INDEXES.create(spec)
    if not isinstance(index, FileIndex):
        raise InputError(f"{spec} keeps no structure")
    return index


def _search_both(
    target: str, trial: StructureTrial, indexes: tuple[FileIndex, FileIndex | None],
    structure: tuple[Any, Path], machine: Machine,
) -> Outcome:  # fmt: skip
    """Search what was built, and what was read again on either side."""
    there, cpu = indexes
    built, path = structure
    documents, queries = trial.documents, trial.queries
    first = there.searcher(built, documents).search(queries, K, silent).run
    read = there.load(path)
    taken = search_on_gpus(machine, there, lambda: there.searcher(read, documents), queries, K)
    again, seconds = taken.found.run, None
    differing, where = compare_runs(again, first)
    recalls = [_measure_recall(run, trial.exact) for run in (first, again)]
    words = [f"recall@{K} {recalls[0]:.4f} as built, {recalls[1]:.4f} as read again"]
    if cpu is not None:
        searcher = cpu.searcher(cpu.load(path), documents)
        expected, seconds = time_on_cpu(searcher, queries, K)
        recalls.append(_measure_recall(expected.run, trial.exact))
        differs, _ = compare_runs(again, expected.run)
        words.append(f"{recalls[2]:.4f} on the CPU, where {differs:,} results are others")
    apart = max(recalls) - min(recalls) > NEARLY
    words += [f"expected within {NEARLY}"] if apart else []
    outcome = Outcome(
        SECTION,
        f"gpu:{target}",
        "differs" if apart else "equal",
        "; ".join(words),
        taken.seconds,
        seconds,
        taken.peak_bytes,
        taken.peak_by,
        compared=first.docs.size * (len(recalls) - 1),
        differing=differing if apart else 0,
        first=where if apart else None,
        notes=taken.notes,
        index=dict(there.describe()),
    )
    return judge_devices(outcome, taken.found)


def _measure_recall(run: Run, exact: Run) -> float:
    """The share of what exact search finds that a run holds, too."""
    hits = [len(np.intersect1d(*rows)) for rows in zip(run.docs, exact.docs, strict=True)]
    return float(np.mean(hits) / exact.docs.shape[1])
