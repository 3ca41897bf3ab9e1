"""MTEB's half of the side-by-side comparison, run as a process of its own.

Three subcommands, each printing one JSON object as the last line of stdout (everything else
goes to stderr):

* ``make-data`` writes random unit vectors and relevance judgements;
* ``vectors`` evaluates those vectors with the real ``mteb.evaluate``, through an encoder that
  only looks them up, so that what is measured is MTEB's own work: data preparation, search
  and scoring;
* ``model`` evaluates a SentenceTransformer on SciFact and STS-B from local files, and separates
  the CPU seconds spent inside ``SentenceTransformer.encode`` from the rest.

Example::

    python benchmarks/mteb_side.py make-data --documents 50000 --queries 1000 --data /tmp/vectors
    python benchmarks/mteb_side.py vectors --data /tmp/vectors --k 1000 --threads 1
    python benchmarks/mteb_side.py model --model all-MiniLM-L6-v2/ --scifact scifact/ \
        --stsb sts-b/test.jsonl --threads 2

How the numbers are taken:

* ``wall_s`` and ``cpu_s`` cover the ``mteb.evaluate`` calls alone. CPU seconds are
  ``time.process_time``: all threads of the process, user and system.
* Imports and a small warm-up evaluation come before, so no first-call cost is counted.
* Building the in-memory ``datasets.Dataset`` is not counted either (``prepare``).
* The encoder's time is reported apart, not subtracted: ``encoder`` for ``vectors``, ``encode``
  for ``model``.
* Memory is in MiB. ``peak_rss_mb`` is ``ru_maxrss``, which on Linux can be inherited from a
  larger parent process; ``peak_rss_own_mb`` (``VmHWM``) cannot.

The thread count has to be in the environment before numpy and torch are imported, hence the
imports inside functions.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import torch
    from mteb.abstasks import AbsTask
    from sentence_transformers import SentenceTransformer

    Qrels = dict[str, dict[str, int]]

K_VALUES = (1, 3, 5, 10, 20, 100, 1000)  # MTEB's own
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "RAYON_NUM_THREADS",  # the tokenizer's threads
)
QUERY_ID = "q{:07d}"
DOCUMENT_ID = "d{:07d}"


# ---------------------------------------------------------------------------------------------
# Measuring
# ---------------------------------------------------------------------------------------------


@dataclass
class Meter:
    """Wall and CPU seconds, summed over the blocks it is used around."""

    wall_s: float = 0.0
    cpu_s: float = 0.0
    calls: int = 0
    texts: int = 0

    @contextmanager
    def measure(self) -> Iterator[None]:
        """Add the wall and CPU seconds of the block."""
        wall, cpu = time.perf_counter(), time.process_time()
        try:
            yield
        finally:
            self.wall_s += time.perf_counter() - wall
            self.cpu_s += time.process_time() - cpu
            self.calls += 1

    def take(self) -> Meter:
        """A copy of the sums so far; the meter itself starts again from zero."""
        taken = replace(self)
        vars(self).update(vars(Meter()))
        return taken

    def add(self, other: Meter) -> None:
        """Add another meter's sums."""
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)

    def seconds(self) -> dict[str, float]:
        """The two sums, rounded to milliseconds."""
        return {"wall_s": round(self.wall_s, 3), "cpu_s": round(self.cpu_s, 3)}

    def report(self) -> dict[str, float]:
        """The two sums and the two counts."""
        return {**self.seconds(), "calls": self.calls, "texts": self.texts}


def status_mb(field: str) -> float | None:
    """``VmRSS`` (now) or ``VmHWM`` (peak) of this process in MiB; None where there is no /proc."""
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    for line in status.read_text().splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return round(int(value.split()[0]) / 1024, 1)
    return None


def peak_rss_mb() -> float:
    """``ru_maxrss`` in MiB."""
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit, 1)


def memory_report(before_mb: float | None) -> dict[str, float | None]:
    """Memory before and at the peak, in MiB."""
    return {
        "rss_before_mb": before_mb,
        "peak_rss_mb": peak_rss_mb(),
        "peak_rss_own_mb": status_mb("VmHWM"),
    }


def set_threads(threads: int | None) -> None:
    """Set the thread count, in the environment and in torch; None leaves both as they are."""
    if threads is not None:
        if "numpy" in sys.modules or "torch" in sys.modules:
            raise RuntimeError("the thread count has to be set before numpy and torch are imported")
        os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(threads)))
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true" if threads != 1 else "false")

    import torch

    if threads is not None:
        torch.set_num_threads(threads)


def import_mteb() -> float:
    """Import everything ``mteb.evaluate`` needs, silence progress bars; return the wall seconds."""
    started = time.perf_counter()
    import datasets
    import mteb  # noqa: F401
    import sentence_transformers  # noqa: F401  mteb.evaluate imports it, whatever the model

    datasets.disable_progress_bars()
    return round(time.perf_counter() - started, 3)


def environment() -> dict[str, Any]:
    """Versions, threads and device."""
    import torch

    names = ("mteb", "torch", "numpy", "datasets", "sentence-transformers", "transformers")
    return {
        "versions": {
            "python": ".".join(map(str, sys.version_info[:3])),
            **{name: version(name) for name in names},
        },
        "threads": torch.get_num_threads(),
        "cpus": os.cpu_count(),
        "cuda": torch.cuda.is_available(),
    }


# ---------------------------------------------------------------------------------------------
# Data
# ---------------------------------------------------------------------------------------------


def unit_rows(vectors: np.ndarray) -> np.ndarray:
    """Normalise the rows of a float32 array in place.

    vectors: [n, d]
    """
    import numpy as np

    # einsum, because np.linalg.norm would hold a second [n, d] array
    vectors /= np.sqrt(np.einsum("nd,nd->n", vectors, vectors))[:, None]
    return vectors


def make_queries(
    documents: np.ndarray, queries: int, strength: float, rng: np.random.Generator
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Queries with 1 to 3 relevant documents: unit(strength * sum of them + unit noise).

    documents: [N, d]

    Returns the queries [Q, d] and, per query, the row numbers of its relevant documents.
    """
    import numpy as np

    noise = unit_rows(rng.standard_normal((queries, documents.shape[1]), dtype=np.float32))
    relevant = [
        np.sort(rng.choice(len(documents), size=count, replace=False, shuffle=False))
        for count in rng.integers(1, 4, size=queries)
    ]
    signal = np.stack([documents[rows].sum(axis=0) for rows in relevant])  # [Q, d]
    return unit_rows(strength * signal + noise), relevant


def write_qrels(path: Path, relevant: list[np.ndarray]) -> int:
    """Write binary judgements as tab separated lines; return how many."""
    lines = [
        f"{QUERY_ID.format(query)}\t{DOCUMENT_ID.format(row)}\t1\n"
        for query, rows in enumerate(relevant)
        for row in rows
    ]
    path.write_text("query-id\tcorpus-id\tscore\n" + "".join(lines))
    return len(lines)


def read_qrels(path: Path) -> Qrels:
    """Read tab separated judgements with a header: {query id: {document id: score}}."""
    qrels: Qrels = {}
    with path.open(encoding="utf-8") as lines:
        next(lines)
        for line in lines:
            query, document, score = line.rstrip("\n").split("\t")
            qrels.setdefault(query, {})[document] = int(score)
    return qrels


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """Read one JSON object a line."""
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines if line.strip()]


def column_dict(rows: list[dict[str, Any]], names: dict[str, str]) -> dict[str, list[Any]]:
    """Turn rows into columns, renamed: names is {new name: name in the rows}."""
    return {new: [row[old] for row in rows] for new, old in names.items()}


# ---------------------------------------------------------------------------------------------
# MTEB tasks over local data
# ---------------------------------------------------------------------------------------------


def task_metadata(name: str, kind: str, main_score: str) -> Any:
    """The least metadata MTEB takes. It is never used to download: the data are given."""
    from mteb.abstasks.task_metadata import TaskMetadata

    return TaskMetadata(
        name=name,
        description=f"{name}, from local data",
        dataset={"path": f"local/{name}", "revision": "local"},
        type=kind,
        category="t2t",
        eval_splits=["test"],
        eval_langs=["eng-Latn"],
        main_score=main_score,
    )


def retrieval_task(
    name: str,
    documents: dict[str, list[str]],
    queries: dict[str, list[str]],
    qrels: Qrels,
    k: int = max(K_VALUES),
    seed: int = 42,
) -> AbsTask:
    """A retrieval task over columns: id, text and, for documents, an optional title.

    MTEB takes its cut-off from the largest of the metrics' ks, so k replaces those above it.
    """
    from datasets import Dataset
    from mteb.abstasks.retrieval import AbsTaskRetrieval

    class LocalRetrieval(AbsTaskRetrieval):
        metadata = task_metadata(name, "Retrieval", f"ndcg_at_{min(10, k)}")
        k_values = tuple(sorted({value for value in K_VALUES if value < k} | {k}))

        def load_data(self, **kwargs: Any) -> None:
            """Nothing to load: the dataset is set below."""

    task = LocalRetrieval(seed=seed)
    task.dataset = {
        "default": {
            "test": {
                "corpus": Dataset.from_dict(documents),
                "queries": Dataset.from_dict(queries),
                "relevant_docs": qrels,
                "top_ranked": None,
            }
        }
    }
    task.data_loaded = True
    return task


def sts_task(name: str, columns: dict[str, list[Any]], low: int = 0, high: int = 5) -> AbsTask:
    """A semantic similarity task over columns: sentence1, sentence2, score."""
    from datasets import Dataset
    from mteb.abstasks.sts import AbsTaskSTS

    class LocalSTS(AbsTaskSTS):
        metadata = task_metadata(name, "STS", "cosine_spearman")
        min_score = low
        max_score = high

        def load_data(self, **kwargs: Any) -> None:
            """Nothing to load: the dataset is set below."""

    task = LocalSTS()
    task.dataset = {"test": Dataset.from_dict(columns)}
    task.data_loaded = True
    return task


def vector_task(documents: int, queries: int, qrels: Qrels, k: int, seed: int) -> AbsTask:
    """A retrieval task whose texts are the ids, so that it holds no more than short strings."""
    document_ids = [DOCUMENT_ID.format(row) for row in range(documents)]
    query_ids = [QUERY_ID.format(row) for row in range(queries)]
    return retrieval_task(
        "VectorRetrieval",
        {"id": document_ids, "text": document_ids},
        {"id": query_ids, "text": query_ids},
        qrels,
        k=k,
        seed=seed,
    )


def scifact_task(directory: Path) -> AbsTask:
    """SciFact's test split from a folder in the BEIR layout."""
    qrels = read_qrels(directory / "qrels" / "test.tsv")
    documents = read_jsonl(directory / "corpus.jsonl")
    queries = [row for row in read_jsonl(directory / "queries.jsonl") if row["_id"] in qrels]
    return retrieval_task(
        "LocalSciFact",
        column_dict(documents, {"id": "_id", "text": "text", "title": "title"}),
        column_dict(queries, {"id": "_id", "text": "text"}),
        qrels,
    )


def stsb_task(path: Path) -> AbsTask:
    """STS-B from JSON lines of sentence1, sentence2 and a score from 0 to 5."""
    names = ("sentence1", "sentence2", "score")
    columns = column_dict(read_jsonl(path), {name: name for name in names})
    return sts_task("LocalSTSBenchmark", columns)


def evaluate(model: Any, task: AbsTask, batch_size: int) -> dict[str, Any]:
    """``mteb.evaluate`` without cache, CO2 tracker and progress bars; returns its score dict."""
    import mteb

    result = mteb.evaluate(
        model,
        task,
        cache=None,
        co2_tracker=False,
        show_progress_bar=False,
        encode_kwargs={"batch_size": batch_size, "show_progress_bar": False},
    )
    return result.task_results[0].scores["test"][0]


def plain_scores(scores: dict[str, Any]) -> dict[str, float]:
    """MTEB's numbers as it returns them, without the nAUC (105 of 152 keys) and the labels."""
    return {
        name: value
        for name, value in scores.items()
        if isinstance(value, (int, float)) and not name.startswith("nauc")
    }


# ---------------------------------------------------------------------------------------------
# Encoders
# ---------------------------------------------------------------------------------------------


class LookupEncoder:
    """An ``EncoderProtocol`` encoder that finds the vectors by the row number in the text.

    It costs MTEB as little as an encoder can: torch tensors (numpy arrays would be copied once
    more), a plain dot product over unit rows (cosine would normalise each chunk again) and, by
    default, the texts read from the dataset in one go. ``batches=True`` walks the DataLoader as
    MTEB's own SentenceTransformer wrapper does. What reading costs is in ``reading``, which is
    a part of ``meter``.
    """

    def __init__(self, documents: np.ndarray, queries: np.ndarray, batches: bool = False) -> None:
        """documents: [N, d]; queries: [Q, d]."""
        from mteb.models import ModelMeta

        self.vectors = {"document": documents, "query": queries}
        self.batches = batches
        self.meter = Meter()
        self.reading = Meter()
        self.mteb_model_meta = ModelMeta.create_empty(
            overwrites={"name": "local/lookup", "revision": "local"}
        )

    def encode(self, inputs: Any, *, prompt_type: Any = None, **kwargs: Any) -> torch.Tensor:
        """The vectors of the texts: [len(texts), d]."""
        import numpy as np
        import torch

        with self.meter.measure():
            with self.reading.measure():
                texts = self.read(inputs)
            rows = np.fromiter((int(text[1:]) for text in texts), dtype=np.int64, count=len(texts))
            vectors = torch.from_numpy(self.vectors[prompt_type.value][rows])
        self.meter.texts += len(texts)
        self.reading.texts += len(texts)
        return vectors

    def read(self, inputs: Any) -> list[str]:
        """The texts of a DataLoader."""
        if self.batches:
            return [text for batch in inputs for text in batch["text"]]
        return inputs.dataset["text"][:]

    def similarity(self, embeddings1: torch.Tensor, embeddings2: torch.Tensor) -> torch.Tensor:
        """[n1, d], [n2, d] -> [n1, n2], by MTEB's own function."""
        from mteb.similarity_functions import dot_score

        return dot_score(embeddings1, embeddings2)

    def similarity_pairwise(
        self, embeddings1: torch.Tensor, embeddings2: torch.Tensor
    ) -> torch.Tensor:
        """[n, d], [n, d] -> [n]."""
        from mteb.similarity_functions import pairwise_dot_score

        return pairwise_dot_score(embeddings1, embeddings2)


def load_model(path: str, device: str) -> tuple[SentenceTransformer, Meter]:
    """A SentenceTransformer without prompts and a meter around its ``encode``.

    ``encode_query`` and ``encode_document``, which MTEB calls, end in ``encode``.
    """
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(path, device=device)
    model.prompts = {}
    model.default_prompt_name = None
    meter = Meter()
    model.encode = metered(model.encode, meter)
    return model, meter


def metered(encode: Callable[..., Any], meter: Meter) -> Callable[..., Any]:
    """``encode`` with its calls measured."""

    def measured(inputs: Any, *args: Any, **kwargs: Any) -> Any:
        with meter.measure():
            embeddings = encode(inputs, *args, **kwargs)
        meter.texts += 1 if isinstance(inputs, str) else len(inputs)
        return embeddings

    return measured


def warm_up(batch_size: int) -> float:
    """Evaluate a handful of random vectors once, for the imports MTEB makes while running."""
    import numpy as np

    started = time.perf_counter()
    rng = np.random.default_rng(0)
    documents = unit_rows(rng.standard_normal((64, 8), dtype=np.float32))
    vectors, relevant = make_queries(documents, 8, 1.0, rng)
    qrels = {
        QUERY_ID.format(query): {DOCUMENT_ID.format(row): 1 for row in rows}
        for query, rows in enumerate(relevant)
    }
    evaluate(LookupEncoder(documents, vectors), vector_task(64, 8, qrels, k=10, seed=0), batch_size)
    return round(time.perf_counter() - started, 3)


# ---------------------------------------------------------------------------------------------
# Subcommands
# ---------------------------------------------------------------------------------------------


def run_make_data(args: argparse.Namespace) -> dict[str, Any]:
    """Write documents.npy, queries.npy and qrels.tsv."""
    import numpy as np

    rng = np.random.default_rng(args.seed)
    documents = unit_rows(rng.standard_normal((args.documents, args.dim), dtype=np.float32))
    queries, relevant = make_queries(documents, args.queries, args.strength, rng)
    args.data.mkdir(parents=True, exist_ok=True)
    np.save(args.data / "documents.npy", documents)
    np.save(args.data / "queries.npy", queries)
    judgements = write_qrels(args.data / "qrels.tsv", relevant)
    return {
        "documents": args.documents,
        "queries": args.queries,
        "dim": args.dim,
        "seed": args.seed,
        "strength": args.strength,
        "judgements": judgements,
    }


def load_vectors(args: argparse.Namespace) -> tuple[np.ndarray, np.ndarray]:
    """Read documents [N, d] and queries [Q, d]; they must be of the sizes asked for, if any."""
    import numpy as np

    documents = np.load(args.data / "documents.npy")
    queries = np.load(args.data / "queries.npy")
    found = (len(documents), len(queries), documents.shape[1])
    asked = (args.documents, args.queries, args.dim)
    if any(want is not None and want != have for want, have in zip(asked, found, strict=True)):
        raise SystemExit(f"{args.data} holds (documents, queries, dim) {found}, asked for {asked}")
    if documents.dtype != np.float32 or queries.dtype != np.float32:
        raise SystemExit(f"{args.data}: the vectors have to be float32")
    return documents, queries


def run_vectors(args: argparse.Namespace) -> dict[str, Any]:
    """Evaluate precomputed vectors."""
    set_threads(args.threads)
    import_s = import_mteb()
    warm_up_s = warm_up(args.batch_size)

    prepare = Meter()
    with prepare.measure():
        documents, queries = load_vectors(args)
        qrels = read_qrels(args.data / "qrels.tsv")
        task = vector_task(len(documents), len(queries), qrels, args.k, args.seed)
        encoder = LookupEncoder(documents, queries, batches=args.read == "batches")

    before_mb, total = status_mb("VmRSS"), Meter()
    with total.measure():
        scores = evaluate(encoder, task, args.batch_size)
    return {
        "documents": len(documents),
        "queries": len(queries),
        "dim": documents.shape[1],
        "k": args.k,
        "read": args.read,
        "batch_size": args.batch_size,
        **total.seconds(),
        "encoder": {**encoder.meter.report(), "reading_cpu_s": round(encoder.reading.cpu_s, 3)},
        "cpu_outside_encoder_s": round(total.cpu_s - encoder.meter.cpu_s, 3),
        **memory_report(before_mb),
        "prepare": prepare.seconds(),
        "import_s": import_s,
        "warm_up_s": warm_up_s,
        "scores": plain_scores(scores),
        **environment(),
    }


def run_model(args: argparse.Namespace) -> dict[str, Any]:
    """Evaluate a SentenceTransformer on SciFact and STS-B."""
    set_threads(args.threads)
    import_s = import_mteb()
    warm_up_s = warm_up(args.batch_size)
    model, meter = load_model(args.model, args.device)
    tasks = [scifact_task(args.scifact), stsb_task(args.stsb)]
    model.encode(["a sentence to warm up on"], show_progress_bar=False)

    meter.take()

    before_mb, reports, total, encode = status_mb("VmRSS"), {}, Meter(), Meter()
    for task in tasks:
        spent = Meter()
        with spent.measure():
            scores = evaluate(model, task, args.batch_size)
        encoding = meter.take()
        reports[task.metadata.name] = {
            **cost_report(spent, encoding),
            "scores": plain_scores(scores),
        }
        total.add(spent)
        encode.add(encoding)
    return {
        "model": "/".join(Path(args.model).parts[-2:]),
        "max_seq_length": model.max_seq_length,
        "batch_size": args.batch_size,
        "device": args.device,
        **cost_report(total, encode),
        "tasks": reports,
        **memory_report(before_mb),
        "import_s": import_s,
        "warm_up_s": warm_up_s,
        **environment(),
    }


def cost_report(total: Meter, encode: Meter) -> dict[str, Any]:
    """Seconds of an evaluation, of the encoding in it, and the CPU seconds of the rest."""
    return {
        **total.seconds(),
        "encode": encode.report(),
        "cpu_outside_encode_s": round(total.cpu_s - encode.cpu_s, 3),
    }


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)

    make = commands.add_parser("make-data", help="write random vectors and judgements")
    make.add_argument("--documents", type=int, required=True)
    make.add_argument("--queries", type=int, required=True)
    make.add_argument("--dim", type=int, default=384)
    make.add_argument("--seed", type=int, default=0)
    make.add_argument(
        "--strength",
        type=float,
        default=0.22,
        help="weight of each relevant document against unit noise in a query; "
        "at 384 dimensions the default gives an nDCG@10 of 0.64 (50,000) to 0.54 (200,000 documents)",
    )
    make.add_argument("--data", type=Path, required=True, help="folder to write to")
    make.set_defaults(run=run_make_data)

    vectors = commands.add_parser("vectors", help="evaluate precomputed vectors")
    vectors.add_argument("--documents", type=int, help="checked against the data")
    vectors.add_argument("--queries", type=int, help="checked against the data")
    vectors.add_argument("--dim", type=int, help="checked against the data")
    vectors.add_argument("--k", type=int, default=1000, help="documents kept a query")
    vectors.add_argument("--seed", type=int, default=0, help="MTEB's seed; search uses none")
    vectors.add_argument("--data", type=Path, required=True, help="folder that make-data wrote")
    vectors.add_argument(
        "--read",
        choices=("column", "batches"),
        default="column",
        help="how the encoder gets its texts: at once (cheapest) or by walking the DataLoader",
    )
    vectors.set_defaults(run=run_vectors)

    model = commands.add_parser("model", help="evaluate a SentenceTransformer")
    model.add_argument("--model", required=True, help="folder of a SentenceTransformer")
    model.add_argument("--scifact", type=Path, required=True, help="folder in the BEIR layout")
    model.add_argument("--stsb", type=Path, required=True, help="JSON lines")
    model.add_argument("--device", default="cpu")
    model.set_defaults(run=run_model)

    for command in (vectors, model):
        command.add_argument("--threads", type=int, help="default: what the environment says")
        command.add_argument("--batch-size", type=int, default=32, help="default: MTEB's, 32")
    return parser.parse_args(arguments)


def finite(value: Any) -> Any:
    """Replace what JSON has no word for (NaN, infinity) by None."""
    if isinstance(value, dict):
        return {name: finite(item) for name, item in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def main() -> None:
    """Run a subcommand and print its report."""
    args = parse_arguments()
    report = {"harness": "mteb", "command": args.command, **args.run(args)}
    print(json.dumps(finite(report), allow_nan=False), flush=True)


if __name__ == "__main__":
    main()
