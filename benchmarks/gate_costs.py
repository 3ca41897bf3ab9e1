"""False alarms and power of the gate's limits of cost, in real runs of `harness gate`.

A baseline is frozen once. Then the same model is held to it again and again, each time in processes
of its own, and as often a model that is slower by twice what the policy tolerates: limits are 0.8
of the throughput and 1.25 of the latency, the slow model has 0.6 and 1.5 of them.

    python benchmarks/gate_costs.py --gates 40
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

POLICY = "[cost]\nthroughput = 0.8\nlatency = 1.25\nmemory = 1.25\nruns = {runs}\n"
TASK = "limit,docs=100,queries=100"
SAME, SLOW = "slowed", "slowed,encode=1.6667,ask=1.5"
PLUGIN = Path(__file__).with_name("slowed.py")


def harness(folder: Path, *words: str) -> str:
    """Run a command in a folder; returns what it printed."""
    path = os.pathsep.join([str(PLUGIN.parents[1]), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-m", "harness", *words, "--plugin", str(PLUGIN), "-q"],
        cwd=folder,
        env={**os.environ, "HARNESS_CACHE": str(folder / "cache"), "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode not in (0, 1):
        raise SystemExit(f"harness {' '.join(words)}: {done.stderr}")
    return done.stdout


def hold(folder: Path, model: str) -> list[Mapping[str, Any]]:
    """The costs of one gate."""
    words = ["--model", model, "--baseline", "base", "--policy", "gate.toml", "--out", "again"]
    costs: list[Mapping[str, Any]] = json.loads(harness(folder, "gate", *words, "--json"))["costs"]
    return costs


def tell(label: str, gates: list[list[Mapping[str, Any]]]) -> None:
    """Print a row for each cost."""
    for cost in map(list, zip(*gates, strict=True)):
        ratios = sorted(one["ratio"] for one in cost)
        widths = sorted(one["high"] / one["ratio"] - 1 for one in cost)
        alarms = sum(one["status"] == "exceeded" for one in cost)
        middle = len(cost) // 2
        told = f"{ratios[0]:.2f} {ratios[middle]:.2f} {ratios[-1]:.2f}"
        name, limit = cost[0]["name"], cost[0]["limit"]
        print(
            f"| {label} | {name} | {limit} | {alarms} of {len(cost)} | {told} | "
            f"{widths[middle]:.0%} |",
            flush=True,
        )


def main() -> None:
    """Print a table: alarms of the unchanged and of the slow model."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--gates", type=int, default=40)
    parser.add_argument("--runs", type=int, default=5)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "gate.toml").write_text(POLICY.format(runs=args.runs))
        harness(folder, "eval", "--model", SAME, "--task", TASK, "--out", "records")
        harness(folder, "baseline", "freeze", "records", "--out", "base", "--policy", "gate.toml")
        found: dict[str, list[list[Mapping[str, Any]]]] = {SAME: [], SLOW: []}
        for _ in range(args.gates):
            for model, gates in found.items():
                gates.append(hold(folder, model))
                told = [f"{one['name']} {one['status']} {one['ratio']:.3f}" for one in gates[-1]]
                print(model, *told, sep="; ", file=sys.stderr, flush=True)
    print("| model | cost | limit | alarms | ratio: least, median, most | half interval |")
    print("|:--|:--|--:|--:|--:|--:|")
    tell("unchanged", found[SAME])
    tell("slower", found[SLOW])


if __name__ == "__main__":
    main()
