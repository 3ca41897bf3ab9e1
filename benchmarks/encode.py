"""Encoding through an empty store beside the libraries' own, in paired turns.

python benchmarks/encode.py --documents path/to/scifact --queries path/to/xquad-en path/to/limit

The folders are collections in BEIR's layout. Of each work: CPU and wall seconds, how many times the
library's own speed that is, the largest 1 - cosine, and the FLOPs of real tokens as a share of the
rate of a float32 matrix product that was measured in the same run.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import orjson
import torch

from harness import zoo
from harness.encoders import ENCODERS
from harness.encoders.models import MODELS
from harness.progress import silent
from harness.rerankers import RERANKERS
from harness.store import Store

Texts = list[str]
MODELS.limit = 16


@dataclass(frozen=True)
class Way:
    """One way to do a work, what it gives, and the rate of the product that it is compared with."""

    name: str
    do: Callable[[], Any]
    spent: list[tuple[float, float]]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--documents", type=Path, required=True)
    parser.add_argument("--queries", type=Path, nargs="+", required=True)
    parser.add_argument("--most", type=int, default=800, help="documents, of those there are")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    documents = read(args.documents / "corpus.jsonl")[: args.most]
    queries = [text for folder in args.queries for text in read(folder / "queries.jsonl")]
    print(
        f"{args.threads} threads, torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}"
    )
    for name, texts in (("documents", documents), ("questions", queries)):
        dense(name, texts, args.turns)
    bfloat16 = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    for name, texts in (("documents", documents), ("questions", queries)) if bfloat16 else ():
        half(name, texts, args.turns)
    with tempfile.TemporaryDirectory() as folder:
        others(documents[: args.most // 4], queries[: args.most], Path(folder), args.turns)


def read(path: Path) -> Texts:
    """Titles and texts of a JSON-lines file."""
    lines = [orjson.loads(line) for line in path.read_bytes().splitlines()]
    return [f"{line.get('title') or ''} {line['text']}".strip() for line in lines]


def dense(name: str, texts: Texts, turns: int) -> None:
    """MiniLM, packed and padded."""
    model = peer("SentenceTransformer", zoo.find("minilm")[0])
    ways = [
        Way("SentenceTransformer.encode", lambda: model.encode(texts, batch_size=32), []),
        Way("packed", lambda: stored("st:minilm", texts), []),
        Way("packing=off", lambda: stored("st:minilm,packing=off", texts), []),
    ]
    tell(f"MiniLM, {len(texts)} {name}", ways, turns, flops(model, texts))


def half(name: str, texts: Texts, turns: int) -> None:
    """MiniLM in bfloat16 beside float32."""
    ways = [
        Way("packed", lambda: stored("st:minilm", texts), []),
        Way("packed, bfloat16", lambda: stored("st:minilm,dtype=bfloat16", texts), []),
    ]
    model = peer("SentenceTransformer", zoo.find("minilm")[0])
    tell(f"MiniLM, {len(texts)} {name}", ways, turns, flops(model, texts))


def others(documents: Texts, queries: Texts, folder: Path, turns: int) -> None:
    """MiniLM's shape as a late interaction, sparse and cross-encoder; a static model."""
    minilm, _ = zoo.find("minilm")
    late = peer("MultiVectorEncoder", minilm)
    ways = [
        Way("MultiVectorEncoder", lambda: late.encode_document(documents), []),
        Way("packed", lambda: stored("colbert:minilm", documents), []),
    ]
    tell(f"colbert:minilm, {len(documents)} documents", ways, turns)
    shaped(minilm, folder / "sparse", "ForMaskedLM")
    sparse = peer("SparseEncoder", folder / "sparse")
    ways = [
        Way("SparseEncoder", lambda: sparse.encode_document(documents, batch_size=8), []),
        Way("packed", lambda: stored(f"splade:{folder / 'sparse'}", documents), []),
    ]
    tell(f"splade of MiniLM's shape, {len(documents)} documents", ways, turns)
    shaped(minilm, folder / "cross", "ForSequenceClassification", num_labels=1)
    cross = peer("CrossEncoder", folder / "cross")
    pairs = [(queries[at % len(queries)], text) for at, text in enumerate(documents)]
    reranker = RERANKERS.create(f"cross:{folder / 'cross'}")
    ways = [
        Way(
            "CrossEncoder.predict",
            lambda: cross.predict(pairs, activation_fn=torch.nn.Identity()),
            [],
        ),
        Way("packed", lambda: reranker.score(pairs, silent).scores, []),
    ]
    tell(f"cross-encoder of MiniLM's shape, {len(pairs)} pairs", ways, turns)
    static = zoo.models().get("wordllama")
    if static is not None:
        model = peer("SentenceTransformer", zoo.find("wordllama")[0])
        many = queries * 10
        ways = [
            Way("StaticEmbedding", lambda: model.encode(many), []),
            Way("through the store", lambda: stored("st:wordllama", many), []),
        ]
        tell(f"wordllama, {len(many)} questions", ways, turns)


def stored(spec: str, texts: Texts) -> Any:
    """Vectors of texts through an empty store."""
    encoder: Any = ENCODERS.create(spec)
    folder = tempfile.mkdtemp()
    try:
        values = Store(Path(folder)).plan(encoder, texts, "document").fetch().encoded.values
        return np.array(values) if isinstance(values, np.ndarray) else values
    finally:
        shutil.rmtree(folder)


def peer(kind: str, folder: Path) -> Any:
    """The library's own model of a folder."""
    import sentence_transformers

    return getattr(sentence_transformers, kind)(str(folder), device="cpu", local_files_only=True)


def shaped(like: Path, folder: Path, head: str, **changes: Any) -> None:
    """Save MiniLM's body below a random head."""
    import transformers

    model = getattr(transformers, f"AutoModel{head}").from_pretrained(like, **changes)
    model.save_pretrained(folder)
    for path in like.glob("*token*"):
        shutil.copy(path, folder)
    shutil.copy(like / "vocab.txt", folder)


def flops(model: Any, texts: Texts) -> float:
    """FLOPs of a transformer for the tokens of texts: products of layers and of attention."""
    body, limit = model[0].model, model.max_seq_length
    rows = model.tokenizer(texts, truncation=True, max_length=limit)["input_ids"]
    lengths = np.array([len(row) for row in rows], float)
    weights = sum(layer.weight.numel() for layer in linears(body.encoder))
    deep, wide = body.config.num_hidden_layers, body.config.hidden_size
    return float(2 * weights * lengths.sum() + 4 * deep * wide * (lengths**2).sum())


def linears(body: Any) -> list[Any]:
    """Linear layers of a model."""
    return [part for part in body.modules() if isinstance(part, torch.nn.Linear)]


def rate() -> float:
    """FLOPs a CPU second of a float32 product of the shape that MiniLM's largest layers have."""
    x, w = torch.randn(2048, 384), torch.randn(1536, 384)
    spent = []
    for _ in range(5):
        begun = used()
        for _ in range(20):
            torch.nn.functional.linear(x, w)
        spent.append(used() - begun)
    return 20 * 2 * 2048 * 384 * 1536 / median(spent)


def used() -> float:
    """CPU seconds of this process, threads and all."""
    spent = resource.getrusage(resource.RUSAGE_SELF)
    return spent.ru_utime + spent.ru_stime


def tell(what: str, ways: list[Way], turns: int, work: float = 0) -> None:
    """Do each way in turn and print how they compare with the first."""
    made, rates = {way.name: way.do() for way in ways}, [rate()]
    for _ in range(turns):
        for way in ways:
            cpu, wall = used(), time.perf_counter()
            way.do()
            way.spent.append((used() - cpu, time.perf_counter() - wall))
        rates.append(rate())
    print(f"\n{what}; float32 product {median(rates) / 1e9:.0f} GFLOP/s")
    for way in ways:
        pairs = zip(ways[0].spent, way.spent, strict=True)
        ratios = [(one[0] / other[0], one[1] / other[1]) for one, other in pairs]
        cpu, wall = (median(one[at] for one in way.spent) for at in (0, 1))
        times = " ".join(f"{median(r[at] for r in ratios):.2f}x" for at in (0, 1))
        share = f"{work / cpu / median(rates):4.0%} of the product's rate" if work else ""
        far = differ(made[ways[0].name], made[way.name])
        print(
            f"  {way.name:28} CPU {cpu:6.2f} s, wall {wall:6.2f} s, {times}, {far} {share}",
            flush=True,
        )


def differ(one: Any, other: Any) -> str:
    """The largest 1 - cosine of dense rows; of scores, the largest difference."""
    if not isinstance(one, np.ndarray) or not isinstance(other, np.ndarray):
        return ""
    if one.ndim == 1:
        return f"differ by {abs(one - other).max():.0e}"
    rows = [each / np.linalg.norm(each, axis=1, keepdims=True) for each in (one, other)]
    return f"1 - cosine {((rows[0] - rows[1]) ** 2).sum(1).max() / 2:.0e}"


if __name__ == "__main__":
    main()
