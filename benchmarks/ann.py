"""Our HNSW against calling faiss with the same parameters: build, search, recall, in one run.

python benchmarks/ann.py --documents 20000 --queries 1000 --k 10 --ef 64
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.arrays import Float32
from harness.indexes.exact import Exact
from harness.indexes.faiss_library import load_faiss
from harness.indexes.hnsw import Hnsw
from harness.progress import silent
from harness.vectors import Dense


def main() -> None:
    """Print CPU and wall seconds of both, ours as a share of faiss's, and both recalls."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--vectors", type=Path, help="float32 .npy [n, d]; else synthetic ones")
    parser.add_argument("--documents", type=int, default=20_000)
    parser.add_argument("--queries", type=int, default=1_000)
    parser.add_argument("--dim", type=int, default=384)
    parser.add_argument("--rank", type=int, default=24, help="of the subspace of synthetic vectors")
    parser.add_argument("--k", type=int, default=10)
    parser.add_argument("--ef", type=int, default=64)
    parser.add_argument("--turns", type=int, default=5, help="of searches; of builds, two fewer")
    args = parser.parse_args()
    faiss = load_faiss()
    documents, queries = (np.load(args.vectors), None) if args.vectors else synthetic(args)
    if queries is None:
        documents, queries = documents[: -args.queries], documents[-args.queries :]
    documents, queries = (np.array(part, np.float32) for part in (documents, queries))
    faiss.normalize_L2(documents)
    faiss.normalize_L2(queries)
    index, dense = Hnsw(ef_search=args.ef), Dense(documents)

    def direct() -> Any:
        built = faiss.IndexHNSWFlat(documents.shape[1], 16, faiss.METRIC_INNER_PRODUCT)
        built.hnsw.efConstruction = 128
        built.add(documents)
        return built

    print(
        f"{len(documents):,} x {documents.shape[1]}, {len(queries):,} queries, k={args.k}, ef={args.ef}"
    )
    compare("build", lambda: index.make(dense, silent), direct, max(1, args.turns - 2))
    built = direct()  # one graph for both, as they are equal: where it lies in memory matters
    same = faiss.serialize_index(built) == faiss.serialize_index(index.make(dense, silent))
    print(f"the same graph: {same.all()}")
    searcher = index.searcher(built, dense)
    ef = faiss.SearchParametersHNSW(efSearch=args.ef)
    asked = Dense(queries)
    compare(
        "search",
        lambda: searcher.search(asked, args.k, silent),
        lambda: built.search(queries, args.k, params=ef),
        args.turns,
    )
    single = [queries[i : i + 1] for i in range(min(200, len(queries)))]
    compare(
        "one at a time",
        lambda: [searcher.search(Dense(query), args.k, silent) for query in single],
        lambda: [built.search(query, args.k, params=ef) for query in single],
        args.turns,
    )
    exact = Exact().open(dense).search(asked, args.k, silent).run.docs
    ours = searcher.search(asked, args.k, silent).run.docs
    theirs = built.search(queries, args.k, params=ef)[1]
    print(f"recall@{args.k}: ours {recall(ours, exact):.4f}, faiss {recall(theirs, exact):.4f}")


def synthetic(args: argparse.Namespace) -> tuple[Float32, Float32]:
    """Gaussian vectors in a subspace, rotated into all dimensions."""
    random = np.random.default_rng(0)
    basis = np.linalg.qr(random.standard_normal((args.dim, args.rank)))[0].astype(np.float32)
    drawn = random.standard_normal((args.documents + args.queries, args.rank), dtype=np.float32)
    values = drawn @ basis.T
    return values[: args.documents], values[args.documents :]


def compare(
    what: str, ours: Callable[[], object], theirs: Callable[[], object], turns: int
) -> None:
    """Time both in turns, which of them is first alternating, after one untimed turn."""
    ways = {"ours": ours, "faiss": theirs}
    spent: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for turn in range(turns + 1):
        for name in sorted(ways, reverse=bool(turn % 2)):
            cpu, wall = time.process_time(), time.perf_counter()
            ways[name]()
            spent[name].append((time.process_time() - cpu, time.perf_counter() - wall))
    (cpu, wall), (cpu_faiss, wall_faiss) = (
        [median(each) for each in zip(*times[1:], strict=True)] for times in spent.values()
    )
    print(
        f"{what}: CPU s {cpu:.3f} against {cpu_faiss:.3f} ({cpu / cpu_faiss:.3f}), "
        f"wall s {wall:.3f} against {wall_faiss:.3f} ({wall / wall_faiss:.3f})",
        flush=True,
    )


def recall(docs: NDArray[Any], exact: NDArray[Any]) -> float:
    """Share of the exact neighbours that were found."""
    return float(np.mean([len(set(a) & set(b)) / len(b) for a, b in zip(docs, exact, strict=True)]))


if __name__ == "__main__":
    main()
