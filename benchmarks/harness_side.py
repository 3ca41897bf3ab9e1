"""The harness's half of the side-by-side comparison, run as a process of its own.

    python benchmarks/harness_side.py vectors --data /tmp/vectors --k 1000
    python benchmarks/harness_side.py model --model minilm --scifact scifact --stsb sts-b

`vectors` covers what MTEB's evaluation covers once it has vectors: putting the collection together
from ids, search, measures at every cut-off, and the bootstrap intervals that MTEB does not have.
Each prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from harness import stats
from harness.api import evaluate
from harness.data import Corpus, Qrels, Queries
from harness.indexes import INDEXES
from harness.measures.asked import Measure
from harness.measures.judged import find
from harness.pipeline.phases import Clock, peak_mb
from harness.sources import files
from harness.store import Store
from harness.vectors import Dense

MEASURES = ("nDCG", "AP", "R", "P", "RR", "Success")  # at each of MTEB's cut-offs
CUTOFFS = (1, 3, 5, 10, 20, 100, 1000)


def vectors(args: argparse.Namespace) -> dict[str, Any]:
    """Search and score given vectors."""
    documents, queries = (np.load(args.data / f"{n}.npy") for n in ("documents", "queries"))
    document_ids = [f"d{row:07}" for row in range(len(documents))]
    query_ids = [f"q{row:07}" for row in range(len(queries))]
    judgments = [
        (row["query-id"], row["corpus-id"], float(row["score"]))
        for _, row in files.rows(args.data / "qrels.tsv")
    ]
    index, clock = INDEXES.create("exact"), Clock()
    index.open(Dense(documents[:64])).search(Dense(queries[:2]), 5, clock.progress)  # warm up
    given_mb = (documents.nbytes + queries.nbytes) / 2**20
    wall, cpu = time.perf_counter(), time.process_time()
    with clock.phase("load", "judgments"):
        corpus, asked = Corpus.of(document_ids, document_ids), Queries(query_ids, query_ids)
        qrels = Qrels.of(judgments, asked, corpus)
    with clock.phase("search"):
        run = index.open(Dense(documents)).search(Dense(queries), args.k, clock.progress).run
    with clock.phase("score"):
        found = find(run, qrels)
        scores = {f"{m}@{k}": Measure(m, k).values(found) for m in MEASURES for k in CUTOFFS}
    with clock.phase("score", "intervals"):
        stats.bootstrap_means(np.stack(list(scores.values())), seed=0)
    return {
        "wall_s": time.perf_counter() - wall,
        "cpu_s": time.process_time() - cpu,
        "phases": {phase.label: phase.cpu_s for phase in clock.phases},
        "peak_mb": max(peak_mb(), *(phase.peak_mb for phase in clock.phases)),
        "vectors_mb": given_mb,
        "scores": {name: float(value.mean()) for name, value in scores.items()},
    }


def model(args: argparse.Namespace) -> dict[str, Any]:
    """Evaluate a model on SciFact and STS-B, with an empty store and again with a full one."""
    tasks = {"SciFact": f"folder:{args.scifact}", "STSBenchmark": f"pairs:{args.stsb}"}
    report: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, task in tasks.items():
            for turn in ("first", "again"):
                began = time.perf_counter()
                record = evaluate(args.model, task, store=Store(Path(folder))).record
                outside = [
                    phase.cpu_s
                    for phase in record.phases
                    if phase.kind != "encode" and (phase.kind, phase.of) != ("load", "model")
                ]
                report[f"{name} {turn}"] = {
                    "wall_s": time.perf_counter() - began,
                    "cpu_outside_encode_s": sum(outside),
                    "scores": {n: score.mean for n, score in record.scores.items()},
                }
    return {"tasks": report}


def main() -> None:
    """Run one half and print its report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    commands = parser.add_subparsers(required=True)
    given = commands.add_parser("vectors")
    given.add_argument("--data", type=Path, required=True)
    given.add_argument("--k", type=int, default=1000)
    given.set_defaults(run=vectors)
    real = commands.add_parser("model")
    real.add_argument("--model", default="minilm")
    real.add_argument("--scifact", type=Path, required=True)
    real.add_argument("--stsb", type=Path, required=True)
    real.set_defaults(run=model)
    args = parser.parse_args()
    print(json.dumps(args.run(args)))


if __name__ == "__main__":
    main()
