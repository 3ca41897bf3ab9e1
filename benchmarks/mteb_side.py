"""MTEB's half of the side-by-side comparison, run as a process of its own.

    python benchmarks/mteb_side.py make-data --documents 50000 --queries 1000 --data /tmp/vectors
    python benchmarks/mteb_side.py vectors --data /tmp/vectors --k 1000
    python benchmarks/mteb_side.py model --model minilm --scifact scifact --stsb sts-b/test.jsonl

`make-data` writes random unit vectors and judgments; `vectors` gives them to the real
`mteb.evaluate` through an encoder that only looks them up; `model` evaluates a SentenceTransformer
from local files. Each prints one JSON object as the last line of stdout.

Seconds cover the `mteb.evaluate` calls alone: imports, a small warm-up evaluation, and putting the
data into `datasets.Dataset` come before. CPU seconds count all threads, user and system.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # read at import
os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")

import mteb
import numpy as np
import torch
from datasets import Dataset, disable_progress_bars
from mteb.abstasks import AbsTask
from mteb.abstasks.retrieval import AbsTaskRetrieval
from mteb.abstasks.sts import AbsTaskSTS
from mteb.abstasks.task_metadata import TaskMetadata
from mteb.models import ModelMeta
from mteb.similarity_functions import dot_score, pairwise_dot_score
from sentence_transformers import SentenceTransformer

CUTOFFS = (1, 3, 5, 10, 20, 100, 1000)  # MTEB's own
Judgments = dict[str, dict[str, int]]  # query id: document id: grade


def unit_rows(vectors: np.ndarray) -> np.ndarray:
    """Normalise the rows of [n, d] in place; np.linalg.norm would hold a second [n, d]."""
    vectors /= np.sqrt(np.einsum("nd,nd->n", vectors, vectors))[:, None]
    return vectors


def make_vectors(
    documents: int, queries: int, dim: int, strength: float, seed: int
) -> tuple[np.ndarray, np.ndarray, Judgments]:
    """Random documents [N, d]; queries [Q, d] = unit(strength * 1 to 3 relevant ones + noise)."""
    rng = np.random.default_rng(seed)
    corpus = unit_rows(rng.standard_normal((documents, dim), dtype=np.float32))
    noise = unit_rows(rng.standard_normal((queries, dim), dtype=np.float32))
    relevant = [
        np.sort(rng.choice(documents, size=count, replace=False, shuffle=False))
        for count in rng.integers(1, 4, size=queries)
    ]
    signal = np.stack([corpus[rows].sum(axis=0) for rows in relevant])  # [Q, d]
    judgments = {f"q{n:07}": {f"d{row:07}": 1 for row in rows} for n, rows in enumerate(relevant)}
    return corpus, unit_rows(strength * signal + noise), judgments


def read_judgments(path: Path) -> Judgments:
    """Tab separated query id, document id and grade below a header."""
    judgments: Judgments = {}
    for line in path.read_text(encoding="utf-8").splitlines()[1:]:
        query, document, grade = line.split("\t")
        judgments.setdefault(query, {})[document] = int(grade)
    return judgments


def read_rows(path: Path, **names: str) -> list[dict[str, Any]]:
    """A file of JSON lines with its fields renamed: new name=name in the file."""
    with path.open(encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines if line.strip()]
    return [{new: row[old] for new, old in names.items()} for row in rows]


def local_task(
    kind: type[AbsTask], data: dict[str, Any], name: str, main_score: str, **settings: Any
) -> AbsTask:
    """A task of one of MTEB's kinds over data in memory; settings are its class attributes."""
    metadata = TaskMetadata(  # the least MTEB takes; with data_loaded it downloads nothing
        name=name,
        description=name,
        dataset={"path": f"local/{name}", "revision": "local"},
        type="STS" if kind is AbsTaskSTS else "Retrieval",
        category="t2t",
        eval_splits=["test"],
        eval_langs=["eng-Latn"],
        main_score=main_score,
    )
    task = type(name, (kind,), {"metadata": metadata, **settings})()
    task.dataset, task.data_loaded = data, True
    return task


def retrieval_task(
    name: str, corpus: Dataset, queries: Dataset, judgments: Judgments, k: int = CUTOFFS[-1]
) -> AbsTask:
    """A task searched to depth k: MTEB takes its largest cut-off, so k replaces those above it."""
    data = {"corpus": corpus, "queries": queries, "relevant_docs": judgments, "top_ranked": None}
    splits, score = {"default": {"test": data}}, f"ndcg_at_{min(10, k)}"
    cutoffs = (*(cutoff for cutoff in CUTOFFS if cutoff < k), k)
    return local_task(AbsTaskRetrieval, splits, name, score, k_values=cutoffs)


def scifact_task(folder: Path) -> AbsTask:
    """The judged queries of a folder in the BEIR layout."""
    judgments = read_judgments(folder / "qrels" / "test.tsv")
    documents = read_rows(folder / "corpus.jsonl", id="_id", text="text", title="title")
    queries = read_rows(folder / "queries.jsonl", id="_id", text="text")
    judged = Dataset.from_list([query for query in queries if query["id"] in judgments])
    return retrieval_task("LocalSciFact", Dataset.from_list(documents), judged, judgments)


def stsb_task(path: Path) -> AbsTask:
    """STS-B from JSON lines of sentence1, sentence2 and a score from 0 to 5."""
    rows = read_rows(path, sentence1="sentence1", sentence2="sentence2", score="score")
    data = {"test": Dataset.from_list(rows)}
    name, score = "LocalSTSBenchmark", "cosine_spearman"
    return local_task(AbsTaskSTS, data, name, score, min_score=0, max_score=5)


class LookupEncoder:
    """An encoder that finds the vectors by the row number in the text.

    It costs MTEB as little as an encoder can: torch tensors (numpy arrays would be copied once
    more), MTEB's own dot product over unit rows (cosine would normalise each chunk again), and the
    texts read from the dataset in one go instead of by walking the DataLoader.
    """

    similarity = staticmethod(dot_score)  # [n, d], [m, d] -> [n, m]
    similarity_pairwise = staticmethod(pairwise_dot_score)  # [n, d], [n, d] -> [n]

    def __init__(self, documents: np.ndarray, queries: np.ndarray) -> None:
        self.vectors = {"document": documents, "query": queries}  # [N, d], [Q, d]
        name = {"name": "local/lookup", "revision": "local"}
        self.mteb_model_meta = ModelMeta.create_empty(overwrites=name)

    def encode(self, inputs: Any, *, prompt_type: Any = None, **_: Any) -> torch.Tensor:
        """The vectors [n, d] of a DataLoader's texts."""
        texts = inputs.dataset["text"][:]
        rows = np.fromiter((int(text[1:]) for text in texts), dtype=np.int64, count=len(texts))
        return torch.from_numpy(self.vectors[prompt_type.value][rows])


class TimedModel(SentenceTransformer):
    """A model that sums the CPU seconds of `encode`, in which all that MTEB calls ends."""

    encode_cpu_s = 0.0

    def encode(self, *args: Any, **kwargs: Any) -> Any:
        """As in the class above."""
        began = time.process_time()
        embeddings = super().encode(*args, **kwargs)
        self.encode_cpu_s += time.process_time() - began
        return embeddings


def evaluate(model: Any, task: AbsTask) -> dict[str, Any]:
    """Cost and scores of `mteb.evaluate` without cache, CO2 tracker and progress bars."""
    options = {"batch_size": 32, "show_progress_bar": False}  # MTEB's own batch size
    quiet = {"cache": None, "co2_tracker": False, "show_progress_bar": False}
    wall, cpu = time.perf_counter(), time.process_time()
    result = mteb.evaluate(model, task, encode_kwargs=options, **quiet)
    spent = {"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu}
    scores = result.task_results[0].scores["test"][0].items()
    kept = {n: v for n, v in scores if isinstance(v, int | float) and not n.startswith("nauc")}
    return {**spent, "scores": kept}


def evaluate_vectors(
    documents: np.ndarray, queries: np.ndarray, judgments: Judgments, k: int
) -> dict[str, Any]:
    """Cost and scores of documents [N, d] and queries [Q, d], whose texts are short ids."""
    ids = ([f"d{n:07}" for n in range(len(documents))], [f"q{n:07}" for n in range(len(queries))])
    corpus, asked = (Dataset.from_dict({"id": column, "text": column}) for column in ids)
    task = retrieval_task("VectorRetrieval", corpus, asked, judgments, k)
    return evaluate(LookupEncoder(documents, queries), task)


def warm_up() -> None:
    """Evaluate a handful of vectors once, for the imports MTEB makes while running."""
    disable_progress_bars()
    evaluate_vectors(*make_vectors(64, 8, dim=8, strength=1.0, seed=0), k=10)


def peak_rss_own_mb() -> float:
    """Peak memory in MiB; VmHWM, because ru_maxrss can be inherited from a larger parent."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) / 2**10 for line in lines if line.startswith("VmHWM:"))


def make_data(args: argparse.Namespace) -> dict[str, Any]:
    """Write documents.npy, queries.npy and qrels.tsv."""
    shape = (args.documents, args.queries, args.dim)
    documents, queries, judgments = make_vectors(*shape, args.strength, args.seed)
    args.data.mkdir(parents=True, exist_ok=True)
    np.save(args.data / "documents.npy", documents)
    np.save(args.data / "queries.npy", queries)
    lines = [f"{query}\t{document}\t1\n" for query, row in judgments.items() for document in row]
    (args.data / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(lines))
    return {"judgments": len(lines)}


def vectors(args: argparse.Namespace) -> dict[str, Any]:
    """Search and score given vectors."""
    warm_up()
    documents, queries = (np.load(args.data / f"{n}.npy") for n in ("documents", "queries"))
    judgments = read_judgments(args.data / "qrels.tsv")
    report = evaluate_vectors(documents, queries, judgments, args.k)
    return report | {"peak_rss_own_mb": peak_rss_own_mb()}


def model(args: argparse.Namespace) -> dict[str, Any]:
    """Evaluate a model on SciFact and STS-B."""
    warm_up()
    encoder = TimedModel(args.model, device="cpu")
    encoder.prompts, encoder.default_prompt_name = {}, None
    tasks = [scifact_task(args.scifact), stsb_task(args.stsb)]
    encoder.encode(["a sentence to warm up on"], show_progress_bar=False)
    reports: dict[str, Any] = {}
    for task in tasks:
        encoder.encode_cpu_s = 0.0
        report = evaluate(encoder, task)
        outside = report["cpu_s"] - encoder.encode_cpu_s
        reports[task.metadata.name] = {**report, "cpu_outside_encode_s": outside}
    return {"tasks": reports, "peak_rss_own_mb": peak_rss_own_mb()}


def main() -> None:
    """Run a subcommand and print its report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    runs = {"make-data": make_data, "vectors": vectors, "model": model}
    commands = parser.add_subparsers(dest="command", required=True)
    made, given, real = (commands.add_parser(name) for name in runs)
    made.add_argument("--documents", type=int, required=True)
    made.add_argument("--queries", type=int, required=True)
    made.add_argument("--dim", type=int, default=384)
    made.add_argument("--seed", type=int, default=0)
    # the default gives an nDCG@10 of 0.64 with 50,000 documents and of 0.54 with 200,000
    made.add_argument("--strength", type=float, default=0.22, help="relevant against unit noise")
    made.add_argument("--data", type=Path, required=True)
    given.add_argument("--data", type=Path, required=True)
    given.add_argument("--k", type=int, default=1000)
    real.add_argument("--model", required=True, help="folder of a SentenceTransformer")
    real.add_argument("--scifact", type=Path, required=True, help="folder in the BEIR layout")
    real.add_argument("--stsb", type=Path, required=True, help="JSON lines")
    args = parser.parse_args()
    print(json.dumps({"mteb": mteb.__version__, **runs[args.command](args)}, allow_nan=False))


if __name__ == "__main__":
    main()
