"""Exact search and lists on GPUs against faiss called directly and against what the hardware allows.

python benchmarks/on_gpus.py --documents 1000000 10000000 --queries 1000 --k 10 100

Prints a table for docs/gpu.md. The floor of a search is the longer of two times that are measured in
the same run: that of its products, by a multiplication of square matrices, and that of reading the
documents once from the device's memory.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np

from harness import accelerators
from harness.arrays import Float32
from harness.indexes import INDEXES, devices
from harness.indexes.exact import Exact
from harness.indexes.faiss_library import load_faiss
from harness.indexes.gpu.arithmetic import full_sums
from harness.progress import silent
from harness.vectors import Dense

SQUARE = 8192  # rows of the matrices whose product is timed
SURE = 64  # queries that are also searched on the processor


@dataclass(frozen=True)
class Row:
    """Medians of one way to search. equal: shares of results that are those of exact search."""

    what: str
    n: int
    k: int
    ready: float
    wall: float
    cpu: float
    floor: float
    equal: float


def main() -> None:
    """Measure every size, depth and way; print a row for each as it is done."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--documents", type=int, nargs="+", default=[1_000_000])
    parser.add_argument("--dim", type=int, default=768)
    parser.add_argument("--queries", type=int, default=1_000)
    parser.add_argument("--k", type=int, nargs="+", default=[10, 100])
    parser.add_argument("--lists", type=int, default=4096, help="of IVF; 0 leaves it out")
    parser.add_argument("--nprobe", type=int, default=32)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--device", default="0", help="number of a GPU; cpu tries this program")
    args = parser.parse_args()
    if args.device != "cpu" and not accelerators.torch_count():
        raise SystemExit(f"no GPU to measure: {accelerators.explain()}")
    print(accelerators.describe())
    print("| what | documents | k | ready s | search s | CPU s | floor s | x floor | as exact |")
    print("|:--|--:|--:|--:|--:|--:|--:|--:|--:|")
    for n in args.documents:
        for row in measure(args, n):
            share = row.wall / row.floor
            print(
                f"| {row.what} | {row.n:,} | {row.k:,} | {row.ready:.2f} | {row.wall:.4f} "
                f"| {row.cpu:.4f} | {row.floor:.4f} | {share:.1f} | {row.equal:.4f} |",
                flush=True,
            )


def measure(args: argparse.Namespace, n: int) -> Iterator[Row]:
    """Every way to search n documents."""
    documents, queries = draw(n, args.dim, 1), draw(args.queries, args.dim, 2)
    asked, few = Dense(queries), Dense(queries[:SURE])
    expected = {k: Exact(device="cpu").open(Dense(documents)).search(few, k, silent).run.docs
                for k in args.k}  # fmt: skip
    ways: dict[str, tuple[str, Callable[[], Callable[[int], Any]]]] = {}
    for precision in ("float32", "bfloat16"):
        spec = f"gpu,precision={precision},devices={args.device}"
        ways[f"exact, {precision}"] = precision, lambda spec=spec: ours(spec, documents, asked)
    if accelerators.faiss_count():
        ways["faiss, GpuIndexFlat"] = "float32", lambda: flat(args, documents, queries)
        if args.lists:
            spec = f"gpu:IVF{args.lists}_Flat,nprobe={args.nprobe},devices={args.device}"
            ways[f"IVF{args.lists}"] = "float32", lambda: ours(spec, documents, asked)
            ways[f"faiss, IVF{args.lists}"] = "float32", lambda: lists(args, documents, queries)
    for what, (precision, make) in ways.items():
        begun = time.perf_counter()
        search = make()
        ready = time.perf_counter() - begun
        for k in args.k:
            found, wall, cpu = timed(lambda k=k, search=search: search(k), args.turns)
            equal = float((np.asarray(found)[:SURE] == expected[k]).mean())
            least = floor(args, n, precision)
            yield Row(what, n, k, ready, wall, cpu, least, equal)
        del search


def draw(n: int, d: int, seed: int) -> Float32:
    """Draw unit vectors [n, d]."""
    values = np.random.default_rng(seed).standard_normal((n, d), np.float32)
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    return values


def ours(spec: str, documents: Float32, queries: Dense) -> Callable[[int], Any]:
    """Search by an index of the harness."""
    searcher = INDEXES.create(spec).open(Dense(documents))
    return lambda k: searcher.search(queries, k, silent).run.docs


def flat(args: argparse.Namespace, documents: Float32, queries: Float32) -> Callable[[int], Any]:
    """Search by faiss's own flat index, whose results nobody certifies."""
    faiss = load_faiss()
    config = faiss.GpuIndexFlatConfig()
    config.device = int(args.device)
    made = faiss.StandardGpuResources(), args.dim, faiss.METRIC_INNER_PRODUCT, config
    index = faiss.GpuIndexFlat(*made)
    index.add(documents)
    return lambda k: index.search(queries, k)[1]


def lists(args: argparse.Namespace, documents: Float32, queries: Float32) -> Callable[[int], Any]:
    """Search by faiss's own lists."""
    faiss = load_faiss()
    empty = faiss.index_factory(args.dim, f"IVF{args.lists},Flat", faiss.METRIC_INNER_PRODUCT)
    resources = faiss.StandardGpuResources()
    index = faiss.index_cpu_to_gpu(resources, int(args.device), empty)
    index.train(documents)
    index.add(documents)
    index.nprobe = args.nprobe
    return lambda k: index.search(queries, k)[1]


def timed(work: Callable[[], Any], turns: int) -> tuple[Any, float, float]:
    """What it gives, and median seconds of wall and processor, after one untimed turn."""
    found, spent = work(), []
    for _ in range(turns):
        wall, cpu = time.perf_counter(), time.process_time()
        found = work()
        spent.append((time.perf_counter() - wall, time.process_time() - cpu))
    wall, cpu = np.median(spent, axis=0).tolist()
    return found, wall, cpu


def floor(args: argparse.Namespace, n: int, precision: str) -> float:
    """The least seconds of a search, by what this device multiplies and reads in a second."""
    import torch

    name = args.device if args.device == "cpu" else f"cuda:{args.device}"
    place, kind = devices.place(name), getattr(torch, precision)
    size = 512 if name == "cpu" else SQUARE
    left, right = (torch.ones(size, size, dtype=kind, device=place) for _ in range(2))
    with full_sums():
        product = seconds(lambda: left @ right, place)
    copied = seconds(left.sum, place)
    products = args.queries * n * args.dim / size**3 * product
    read = n * args.dim / size**2 * copied
    return max(products, read)


def seconds(work: Callable[[], Any], place: Any) -> float:
    """Median seconds of work on a device."""
    import torch

    spent = []
    for _ in range(6):
        begun = time.perf_counter()
        work()
        if place.type == "cuda":
            torch.cuda.synchronize(place)
        spent.append(time.perf_counter() - begun)
    return median(spent[1:])


if __name__ == "__main__":
    main()
