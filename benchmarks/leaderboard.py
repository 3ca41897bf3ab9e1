"""Time and memory of a leaderboard: 200 models x 41 tasks from files, 600 x 1,500 in memory.

python benchmarks/leaderboard.py
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from harness import board
from harness.board.entries import BoardEntry
from harness.board.standings import standings as rank
from harness.records import costs
from harness.report import leaderboard
from harness.report.tables import write


def synthetic(systems: int, tasks: int) -> np.ndarray:
    """Scores with a strength of each system, a hardness of each task, and noise, [s, t]."""
    random = np.random.default_rng(0)
    strength, hardness = random.normal(0, 0.05, (systems, 1)), random.uniform(0.3, 0.8, tasks)
    return np.clip(strength + hardness + random.normal(0, 0.04, (systems, tasks)), 0, 1)


def written(scores: np.ndarray, folder: Path) -> None:
    """One result file of mteb for each score."""
    for s, row in enumerate(scores):
        parent = folder / f"org__model-{s}" / "1"
        parent.mkdir(parents=True)
        for t, score in enumerate(row):
            part = {"main_score": score, "ndcg_at_10": score, "hf_subset": "default"}
            data = {
                "task_name": f"task-{t}",
                "dataset_revision": "1",
                "mteb_version": "2.0.0",
                "scores": {"test": [{**part, "languages": ["eng-Latn"]}]},
            }
            (parent / f"task-{t}.json").write_text(json.dumps(data))


def in_memory(scores: np.ndarray) -> board.Board:
    nothing: dict[str, float | None] = dict.fromkeys(costs.BY_KEY)
    return board.of_entries(
        BoardEntry(
            f"model-{s}", f"task-{t}", f"family-{t % 9}", "retrieval", "nDCG@10",
            float(score), None, None, None, nothing, "1",
        )
        for (s, t), score in np.ndenumerate(scores)
    )  # fmt: skip


def measure(title: str, make: Callable[[], board.Board]) -> None:
    """Print seconds of each step, on the clock and of CPU, and the most memory until now."""
    print(title)
    marks = [(time.perf_counter(), time.process_time())]

    def done(step: str, since: int = -1) -> None:
        marks.append((time.perf_counter(), time.process_time()))
        wall, cpu = (now - then for now, then in zip(marks[-1], marks[since - 1], strict=True))
        print(f"  {step:10} {wall:6.2f} s, {cpu:6.2f} s of CPU")

    found = make()
    done("board")
    standing = rank(found)
    done("standings")
    text = write(leaderboard.page(found, standing), "csv")
    done("tables")
    done("all", -len(marks))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"  {len(text) / 1e6:.1f} MB of CSV, peak {peak:,.0f} MB")


def main() -> None:
    argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0]).parse_args()
    with tempfile.TemporaryDirectory() as folder:
        written(synthetic(200, 41), Path(folder))
        measure("200 systems x 41 tasks, files of mteb", lambda: board.load([folder]))
    large = synthetic(600, 1500)
    measure("600 systems x 1,500 tasks, in memory", lambda: in_memory(large))


if __name__ == "__main__":
    main()
