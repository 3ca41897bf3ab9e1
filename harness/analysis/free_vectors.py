"""Free embeddings: vectors that no model ties to a text, optimised to return a relevance.

The experiment of Weller et al. 2025 (arXiv 2508.21038, section 4 and its code): whether d
dimensions can hold a relevance at all, when queries and documents may lie wherever they like.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

import numpy as np

from harness import accelerators
from harness.analysis.relevance import Relevance, require_room
from harness.disk.memory import available_memory
from harness.errors import InputError
from harness.indexes.devices import DeviceFullError, free_memory, room
from harness.progress import Progress, silent
from harness.wording import count

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Protocol:
    """How vectors are optimised; the paper's settings.

    It ends when every relevant document is returned, or the loss has not come down by more than
    `tolerance` within `patience` iterations; both are looked at after every `every` iterations.

    Attributes:
        temperature: Divides the cosines.
        rate: Adam's.
        iterations: At most.
    """

    temperature: float = 0.1
    rate: float = 0.01
    iterations: int = 100_000
    patience: int = 1_000
    tolerance: float = 1e-5
    every: int = 50


PAPER = Protocol()


@dataclass(frozen=True)
class Trial:
    """One optimisation and what it reached.

    Attributes:
        relevance: The label of the matrix.
        accuracy: The best R-precision, the mean over queries: of each, the share of its relevant
            documents among as many results.
        margin: At the end: half the least gap between the cosines of a relevant and another
            document (gamma of the margin bound), negative where some pair is not returned.
        loss: At the end.
    """

    relevance: str
    queries: int
    documents: int
    dim: int
    seed: int
    protocol: Protocol
    accuracy: float
    margin: float
    loss: float
    iterations: int
    seconds: float
    device: str
    torch: str


def optimise(
    relevance: Relevance,
    dim: int,
    *,
    seed: int = 42,
    device: str = "auto",
    protocol: Protocol = PAPER,
    progress: Progress = silent,
) -> Trial:
    """Optimise free unit vectors [queries, dim] and [documents, dim] for a relevance.

    They start as Gaussian draws. Each iteration takes one step of Adam on the mean over relevant
    pairs of -log softmax(cosines / temperature) over all documents, and scales all vectors to
    length 1. On a CPU one thread works, so that sums, and with them the path, do not depend on how
    many there are.

    Args:
        relevance: What is to be returned.
        dim: Dimensions of the vectors.
        seed: Of the draw.
        device: Of torch; "auto" takes a GPU where there is one.
        protocol: How it is done.
        progress: Called as work goes on.

    Raises:
        InputError: for a dimension below 1, a negative seed, a device that is not there, and where
            the matrix does not fit into its memory.
    """
    import torch

    if dim < 1 or seed < 0:
        raise InputError(f"dim={dim}, seed={seed}: expected a dimension of 1 or more, a seed of 0")
    place = _device(device)
    _require_room(relevance, dim, place)
    began, stage = time.perf_counter(), f"free vectors, {relevance.label}, d={dim}, seed {seed}"
    with _one_thread(), torch.no_grad(), _within_memory(device):
        free = _Free.draw(relevance, dim, seed, place)
        accuracy, loss, step = _descend(free, protocol, stage, progress)
        return Trial(
            relevance=relevance.label,
            queries=relevance.queries,
            documents=relevance.documents,
            dim=dim,
            seed=seed,
            protocol=protocol,
            accuracy=accuracy,
            margin=free.margin(),
            loss=loss,
            iterations=step,
            seconds=time.perf_counter() - began,
            device=str(place),
            torch=torch.__version__,
        )


def _descend(
    free: _Free, protocol: Protocol, stage: str, progress: Progress
) -> tuple[float, float, int]:
    """Move vectors until all is found or nothing improves: best accuracy, last loss, iterations."""
    import torch

    adam = torch.optim.Adam([free.vectors], lr=protocol.rate, fused=True)
    accuracy, loss, lowest, since, step = 0.0, inf, inf, 0, 0
    for step in range(1, protocol.iterations + 1):
        loss = free.descend(adam, protocol.temperature)
        if loss < lowest - protocol.tolerance:
            lowest, since = loss, step
        if step % protocol.every == 0:
            accuracy = max(accuracy, free.accuracy())
            progress(stage, step, protocol.iterations, "iterations")
            if accuracy == 1 or step - since >= protocol.patience:
                break
    return accuracy, loss, step


@dataclass(frozen=True)
class _Free:
    """Tensors of one optimisation. vectors: [m + n, d], the queries first; logits: [m, n]."""

    vectors: torch.Tensor
    queries: torch.Tensor
    documents: torch.Tensor
    logits: torch.Tensor
    relevant: torch.Tensor  # bool [m, n]
    sizes: torch.Tensor  # float [m, 1], relevant documents of each query
    at: torch.Tensor  # [p], where `relevant` is true, counted over rows

    @classmethod
    def draw(cls, relevance: Relevance, dim: int, seed: int, place: torch.device) -> _Free:
        import torch

        m, n = relevance.queries, relevance.documents
        drawn = np.random.default_rng(seed).standard_normal((m + n, dim), np.float32)
        vectors = torch.from_numpy(drawn).to(place)
        vectors /= vectors.norm(dim=1, keepdim=True)
        vectors.grad = torch.empty_like(vectors)
        at = torch.from_numpy(relevance.query * n + relevance.doc).to(place)
        relevant = torch.zeros(m, n, dtype=torch.bool, device=place)
        relevant.view(-1)[at] = True
        sizes = torch.from_numpy(relevance.sizes).float().to(place)[:, None]
        logits = torch.empty(m, n, device=place)
        return cls(vectors, vectors[:m], vectors[m:], logits, relevant, sizes, at)

    def descend(self, adam: torch.optim.Optimizer, temperature: float) -> float:
        """One step; returns the loss before it.

        The gradient is written out: it takes a third of the time of recording and replaying it.
        """
        import torch

        flat, pairs, gradient = self.logits.view(-1), len(self.at), self.vectors.grad
        assert gradient is not None
        torch.mm(self.queries, self.documents.T, out=self.logits).div_(temperature)
        total = self.logits.logsumexp(1, keepdim=True)
        loss = ((total * self.sizes).sum() - flat[self.at].sum()) / pairs
        self.logits.sub_(total).exp_().mul_(self.sizes)  # of each pair's softmax, summed by query
        flat[self.at] -= 1
        self.logits.div_(pairs * temperature)
        torch.mm(self.logits, self.documents, out=gradient[: len(self.queries)])
        torch.mm(self.logits.T, self.queries, out=gradient[len(self.queries) :])
        adam.step()
        self.vectors.div_(self.vectors.norm(dim=1, keepdim=True))
        return float(loss)

    def accuracy(self) -> float:
        """R-precision: of each query the share of its relevant documents among as many results.

        Among equal cosines the irrelevant one is counted as better.
        """
        import torch

        torch.mm(self.queries, self.documents.T, out=self.logits)
        flat = self.logits.view(-1)
        flat[self.at] = torch.nextafter(flat[self.at], flat.new_tensor(-inf))
        most = int(self.sizes.max())
        best = self.relevant.gather(1, self.logits.topk(most).indices)
        own = torch.arange(most, device=best.device) < self.sizes
        return float(((best & own).sum(1).double() / self.sizes[:, 0]).mean())

    def margin(self) -> float:
        """Half the least gap of cosines; a query without irrelevant documents has one at -1."""
        cosines = self.queries @ self.documents.T
        lowest = cosines.masked_fill(~self.relevant, 1).amin(1)
        return float((lowest - cosines.masked_fill(self.relevant, -1).amax(1)).min() / 2)


def _device(name: str) -> torch.device:
    import torch

    if name == "auto":
        return torch.device("cuda:0" if accelerators.torch_count() else "cpu")
    with suppress(RuntimeError, AssertionError):  # torch asserts where it was built without CUDA
        place = torch.empty(1, device=name).device
        if place.type in ("cpu", "cuda"):
            return place
    devices = accelerators.torch_count()
    also = f", or {accelerators.name_ordinals(devices)}" if devices else ""
    raise InputError(f"device {name!r} is not there: choose auto or cpu{also}")


def _require_room(relevance: Relevance, dim: int, place: torch.device) -> None:
    """Refuse what does not fit: four matrices of cosines, and the vectors with Adam's moments."""
    m, n = relevance.queries, relevance.documents
    needed = 18 * m * n + 16 * (m + n) * dim + 24 * len(relevance.query)
    free = free_memory(str(place)) if place.type == "cuda" else available_memory()
    what = (
        f"free vectors of {count(m, 'query')} and {count(n, 'document')} in "
        f"{count(dim, 'dimension')}"
    )
    if free is not None:
        require_room(needed, free, what)


@contextmanager
def _within_memory(device: str) -> Iterator[None]:
    """Say in one line that a device is full, whatever was predicted. Raises InputError."""
    try:
        with room(f"free vectors, device={device}"):
            yield
    except DeviceFullError as error:
        raise InputError(f"{error}: choose fewer documents, or device=cpu") from error


@contextmanager
def _one_thread() -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
