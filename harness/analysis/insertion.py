"""Orders in which documents are inserted into a graph, and what each does to its recall."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np

from harness.analysis.graphs import GraphSettings, graph_recall, nearest
from harness.arrays import Float32, Float64, Int64
from harness.disk import foreign
from harness.errors import InputError
from harness.indexes import Searcher
from harness.progress import Progress, silent
from harness.stats import Estimate
from harness.vectors import Run

RANDOM = "random"


def groups(
    ids: Sequence[str], labels: str = "", separator: str = ""
) -> tuple[str, Sequence[str]] | None:
    """What documents are grouped by and the group of each; None where nothing says so.

    Args:
        ids: Of the documents.
        labels: A JSON file of a group by id.
        separator: What stands behind the group in an id.

    Raises:
        InputError: for a document without a label or a separator, and what is no such file.
    """
    if labels:
        known = _labels(Path(labels))
        missing = next((id for id in ids if id not in known), None)
        if missing is not None:
            raise InputError(f"document {missing!r} has no label: expected one for each document")
        return "by label", [known[id] for id in ids]
    if separator:
        missing = next((id for id in ids if separator not in id), None)
        if missing is not None:
            raise InputError(f"document id {missing!r} holds no {separator!r} to group it by")
        return "by id prefix", [id.partition(separator)[0] for id in ids]
    return None


def _labels(path: Path) -> dict[str, str]:
    read = foreign.read_json(path)
    if not isinstance(read, dict):
        raise InputError(f"{path}: expected a JSON object of groups by document id")
    return {id: str(group) for id, group in read.items()}


def insertion_orders(
    documents: Float32, lids: Float64, grouped: tuple[str, Sequence[str] | Sequence[int]]
) -> dict[str, Int64]:
    """Rows of the documents in every order that is not random [n].

    By local intrinsic dimension ascending and descending, along the first principal component, and
    by group, each as a whole.

    Args:
        documents: Vectors [n, d].
        lids: Their local intrinsic dimensions [n].
        grouped: What documents are grouped by, and the group of each.
    """
    keys = {
        "LID ascending": lids,
        "LID descending": -lids,
        grouped[0]: np.unique(np.asarray(grouped[1]), return_inverse=True)[1],
        "first component": _along_component(documents),
    }
    return {name: np.argsort(key, kind="stable") for name, key in keys.items()}


@dataclass(frozen=True)
class Swept:
    """What graphs find after each order, searched with each ef_search.

    Attributes:
        truth: The nearest documents of each query by exact search [q, k].
        recall: Of the nearest, by order and ef_search [seeds, q].
        values: Of a measure, likewise [seeds, judged]; empty where there is none.
    """

    truth: Run
    recall: Mapping[tuple[str, int], Float64]
    values: Mapping[tuple[str, int], Float64]


def sweep(
    documents: Float32,
    queries: Float32,
    graph: GraphSettings,
    orders: Mapping[str, Int64],
    *,
    score: Callable[[Searcher], Float64] | None = None,
    progress: Progress = silent,
) -> Swept:
    """Build a graph for each order and seed, and search it with each ef_search.

    Args:
        documents: Vectors [n, d], which are compared by inner product.
        queries: Vectors [q, d].
        graph: What is built; its seeds also draw the random orders.
        orders: Rows of the documents [n], beside random ones.
        score: A measure of what a searcher finds [judged].
        progress: Told of graphs done.
    """
    truth = nearest(documents, queries, progress)
    recall: dict[tuple[str, int], list[Float64]] = {}
    values: dict[tuple[str, int], list[Float64]] = {}
    names = [RANDOM, *orders]
    total = len(names) * len(graph.seeds)
    for done, (name, seed) in enumerate(product(names, graph.seeds)):
        progress("insert", done, total, "graphs")
        order = orders.get(name, np.random.default_rng(seed).permutation(len(documents)))
        for ef, searcher in graph.grow(documents, order, seed):
            recall.setdefault((name, ef), []).append(graph_recall(searcher, queries, truth))
            if score is not None:
                values.setdefault((name, ef), []).append(score(searcher))
    progress("insert", total, total, "graphs")
    stacked = ({key: np.array(rows) for key, rows in each.items()} for each in (recall, values))
    return Swept(truth, *stacked)


def stands_out(change: Estimate, seeds: Sequence[float], random: Sequence[float]) -> bool:
    """Whether an order differs from the random one by more than queries and seeds explain.

    The interval of the change leaves out 0, and no seed of one is within the range of the other's.

    Args:
        change: Of recall from that after the random order, paired by query.
        seeds: Recall of each seed after this order.
        random: After the random one.
    """
    return change.significant and (min(seeds) > max(random) or max(seeds) < min(random))


def _along_component(documents: Float32) -> Float64:
    """Places of documents [n] along their first principal component."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):  # sums of more threads round otherwise
        centred = documents - documents.mean(axis=0)
        axis = np.linalg.eigh(centred.T @ centred)[1][:, -1]
        along: Float64 = centred @ (axis * np.sign(axis[np.abs(axis).argmax()]))
    return along


def k_means(documents: Float32, n: int, seed: int) -> list[int]:
    """The k-means cluster of each document, of n."""
    from sklearn.cluster import MiniBatchKMeans
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        model = MiniBatchKMeans(n_clusters=n, n_init=1, random_state=seed)
        found: list[int] = model.fit_predict(documents).tolist()
    return found
