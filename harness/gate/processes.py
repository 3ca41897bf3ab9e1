"""Costs measured by processes of their own, several times and in turn, for records of a gate."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

import harness
from harness.errors import HarnessError
from harness.gate.one_run import CostRequest
from harness.progress import Progress, silent
from harness.records import Record
from harness.records.measured_costs import CostRun, MeasuredCosts
from harness.systems import choose_index

# libraries whose threads the environment limits
LIBRARIES = ("OMP", "OPENBLAS", "MKL", "NUMBA", "RAYON", "NUMEXPR")
COMMAND = "measure-costs"
RUN = TypeAdapter(CostRun)


@dataclass(frozen=True)
class Processes:
    """How processes that measure are started.

    Attributes:
        store: Folder of embeddings.
        plugins: Files that they load first.
        runs: Of each task, after one that does not count.
    """

    store: Path
    plugins: Sequence[Path]
    runs: int

    def measure(
        self, asked: Sequence[CostRequest], progress: Progress = silent
    ) -> list[tuple[MeasuredCosts, Mapping[str, Any]]]:
        """Measure each in turn, and again, so that no task has all of a quiet hour.

        A first run of each does not count: it brings to the store and to memory what the others
        find there.

        Returns:
            For each the runs, or why there are none; and the fingerprint of the system.
        """
        found = [list[CostRun]() for _ in asked]
        prints, whys = [dict[str, Any]() for _ in asked], ["" for _ in asked]
        total = (self.runs + 1) * len(asked)
        for done in range(total):
            i = done % len(asked)
            progress(f"costs of {asked[i].model} on {asked[i].task}", done, total, "runs")
            if whys[i]:
                continue
            try:
                run, prints[i] = self._run(asked[i])
            except HarnessError as error:
                whys[i], found[i] = str(error), []
                continue
            if done >= len(asked):
                found[i].append(run)
        each = zip(found, whys, prints, strict=True)
        return [(MeasuredCosts(tuple(runs), why), fingerprint) for runs, why, fingerprint in each]

    def _run(self, asked: CostRequest) -> tuple[CostRun, dict[str, Any]]:
        """One process. Raises HarnessError for one that fails, by its last words."""
        words = ["--model", asked.model, "--task", asked.task, "--index", asked.index]
        words += ["--rewrite", asked.rewrite, "--cache", str(self.store)]
        for plugin in self.plugins:
            words += ["--plugin", str(plugin)]
        root = str(Path(harness.__file__).parents[1])
        path = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
        limits = {f"{name}_NUM_THREADS": "1" for name in LIBRARIES}
        done = subprocess.run(
            [sys.executable, "-P", "-m", "harness", COMMAND, *words],
            env={**os.environ, **limits, "TOKENIZERS_PARALLELISM": "false", "PYTHONPATH": path},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            errors="replace",  # and text instead of bytes
            check=False,
        )
        try:
            said = json.loads(done.stdout.splitlines()[-1]) if not done.returncode else {}
            return RUN.validate_python(said["run"]), said["fingerprint"]
        except (ValueError, KeyError, IndexError, TypeError, ValidationError):
            last = (done.stderr.strip().splitlines() or [f"it ended with {done.returncode}"])[-1]
            raise HarnessError(last.removeprefix("error: ")) from None


def of_record(record: Record) -> CostRequest:
    """What has to be measured for the costs of a record."""
    return CostRequest(
        record.system.spec,
        record.task.spec,
        choose_index(record.system.spec, record.index.spec if record.index else "exact"),
        record.rewriting.spec if record.rewriting else "none",
    )
