"""Exact MaxSim against plain torch, in paired turns: CPU seconds, wall seconds, memory.

python benchmarks/maxsim.py
python benchmarks/maxsim.py --model colbert:minilm --task folder:path/to/xquad-en --k 10 100
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from statistics import median

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from harness.disk import cache_root
from harness.encoders import ENCODERS
from harness.indexes import INDEXES
from harness.kinds.retrieval import RetrievalKind
from harness.pipeline.phases import Clock
from harness.pipeline.represent import Workplace, represent, unit
from harness.progress import silent
from harness.store import Store
from harness.tasks import catalog
from harness.vectors import MultiVector

Ways = dict[str, Callable[[], torch.Tensor]]


def main() -> None:
    """Print what each way takes, of random or of a model's vectors."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--documents", type=int, default=5_000)
    parser.add_argument("--tokens", type=int, default=120)
    parser.add_argument("--queries", type=int, default=50)
    parser.add_argument("--query-tokens", type=int, default=32)
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--model", help="in place of random vectors")
    parser.add_argument("--task", default="limit-small")
    parser.add_argument("--k", type=int, nargs="+", default=[10, 100])
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.model:
        documents, queries = encoded(args.model, args.task)
    else:
        random = np.random.default_rng(0)
        half = args.tokens // 2
        lengths = random.integers(half, args.tokens + half + 1, args.documents)
        documents = made(lengths, args.dim, random)
        queries = made(np.full(args.queries, args.query_tokens), args.dim, random)
    print(
        f"{len(documents):,} documents of {documents.lengths.mean():.0f} tokens, "
        f"{len(queries):,} queries of {queries.lengths.mean():.0f}, {documents.dim}-d"
    )
    with threadpool_limits(args.threads):
        for k in args.k:
            compare(ways(documents, queries, k), args.turns, f"k={k}")


def made(lengths: np.ndarray, dim: int, random: np.random.Generator) -> MultiVector:
    """Texts of random unit vectors."""
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return MultiVector(unit(random.standard_normal((offsets[-1], dim), np.float32)), offsets)


def encoded(model: str, task: str) -> tuple[MultiVector, MultiVector]:
    """A model's vectors of a task's documents and queries."""
    texts = RetrievalKind().parts(catalog.task(task).load())
    encoder, store = ENCODERS.create(model), Store(cache_root())
    found = represent(model, encoder, texts, Workplace(store, Clock(silent))).parts
    return found["documents"], found["queries"]


def ways(documents: MultiVector, queries: MultiVector, k: int) -> Ways:
    """Searches for the k best documents of each query; preparing the documents is not counted."""
    k = min(k, len(documents))
    ours = INDEXES.create("exact").open(documents)
    each = [torch.from_numpy(v) for v in np.split(documents.values, documents.offsets[1:-1])]
    asked = [torch.from_numpy(v) for v in np.split(queries.values, queries.offsets[1:-1])]
    padded = torch.nn.utils.rnn.pad_sequence(each, batch_first=True)
    gap = torch.arange(padded.shape[1]) >= torch.from_numpy(documents.lengths)[:, None]
    whole, step = torch.from_numpy(queries.values), 16

    def product() -> torch.Tensor:
        for low in range(0, len(queries.values), 256):
            for start in range(0, len(documents.values), 4096):
                queries.values[low : low + 256] @ documents.values[start : start + 4096].T
        return torch.empty(0)

    def loop() -> torch.Tensor:
        scores = [torch.stack([(q @ d.T).amax(1).sum() for d in each]) for q in asked]
        return torch.stack([torch.topk(row, k).indices for row in scores])

    def padded_loop() -> torch.Tensor:
        found = []
        for q in asked:
            scores = [
                (padded[low : low + step] @ q.T)
                .masked_fill(gap[low : low + step, :, None], -torch.inf)
                .amax(1)
                .sum(1)
                for low in range(0, len(padded), step)
            ]
            found.append(torch.topk(torch.cat(scores), k).indices)
        return torch.stack(found)

    def together() -> torch.Tensor:
        highest = torch.cat([(d @ whole.T).amax(0)[None] for d in each])
        scores = [part.sum(1) for part in highest.split(queries.lengths.tolist(), dim=1)]
        return torch.topk(torch.stack(scores), k).indices

    return {
        "product alone": product,
        "exact": lambda: torch.from_numpy(ours.search(queries, k, silent).run.docs),
        "torch, a query and a document at a time": loop,
        "torch, a query and 16 padded documents at a time": padded_loop,
        "torch, all queries and a document at a time": together,
    }


def compare(ways: Ways, turns: int, title: str) -> None:
    """Let each way search in turn, and print what it takes."""
    clock, found, extra = Clock(), dict[str, torch.Tensor](), dict.fromkeys(ways, 0.0)
    for _ in range(turns):
        for name, way in ways.items():
            with clock.phase("load", "nothing"):
                pass
            with clock.phase("search", name):
                found[name] = way()
            idle, own = clock.phases[-2:]
            extra[name] = max(extra[name], own.peak_mb - idle.peak_mb)
    floor = median(phase.cpu_s for phase in clock.phases if phase.of == "product alone")
    print(f"{title}: medians of {turns} turns, and the share of the product's rate (CPU)")
    for name in ways:
        mine = [phase for phase in clock.phases if phase.of == name]
        wall, cpu = median(p.wall_s for p in mine), median(p.cpu_s for p in mine)
        told = f"CPU {cpu:.2f} s ({floor / cpu:.0%}), wall {wall:.2f} s, {extra[name]:.0f} MB more"
        if len(found[name]):
            same = (found[name] == found["exact"]).double().mean()
            told += f", {same:.3%} of results in the same place as exact"
        print(f"  {name}: {told}", flush=True)


if __name__ == "__main__":
    main()
