"""Exact search against a flat faiss index and against the matrix product alone, in one run.

python benchmarks/search.py --documents 200000 --queries 2000 --k 10 100 1000
python benchmarks/search.py --dim 32 --queries 500 --k 1000 --distinct 1    # a collapsed model
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from statistics import median

import numpy as np

from harness.indexes import INDEXES
from harness.indexes.faiss_library import load_faiss
from harness.progress import silent
from harness.vectors import Dense


def main() -> None:
    """Print CPU seconds of each way, and its share of the product's rate."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--documents", type=int, default=200_000)
    parser.add_argument("--queries", type=int, default=2_000)
    parser.add_argument("--dim", type=int, default=384)
    parser.add_argument("--k", type=int, nargs="+", default=[10, 100, 1000])
    parser.add_argument("--distinct", type=int, help="different vectors among the documents")
    parser.add_argument("--turns", type=int, default=3)
    args = parser.parse_args()
    faiss = load_faiss()
    random = np.random.default_rng(0)
    documents, queries = (
        random.standard_normal((rows, args.dim), dtype=np.float32)
        for rows in (args.documents, args.queries)
    )
    if args.distinct:
        documents = documents[random.integers(args.distinct, size=len(documents))]
    faiss.normalize_L2(documents)
    faiss.normalize_L2(queries)
    faiss.cvar.distance_compute_blas_threshold = 16 * args.dim
    ours = INDEXES.create("exact").open(Dense(documents))
    flat = faiss.IndexFlatIP(args.dim)
    flat.add(documents)

    def product() -> None:
        for low in range(0, args.queries, 512):
            for start in range(0, args.documents, 4096):
                queries[low : low + 512] @ documents[start : start + 4096].T

    for k in args.k:
        ways: dict[str, Callable[[], object]] = {
            "product": product,
            "exact": lambda k=k: ours.search(Dense(queries), k, silent),
            "faiss flat": lambda k=k: flat.search(queries, k),
        }
        spent = {name: [] for name in ways}
        for _ in range(args.turns):
            for name, way in ways.items():
                cpu = time.process_time()
                way()
                spent[name].append(time.process_time() - cpu)
        floor = median(spent["product"])
        told = ", ".join(f"{n} {median(s):.2f} ({floor / median(s):.0%})" for n, s in spent.items())
        print(f"k={k}: CPU s (share of the product's rate): {told}", flush=True)


if __name__ == "__main__":
    main()
