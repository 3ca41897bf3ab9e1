"""The devices that are checked, and what a search on them takes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from harness import accelerators
from harness.errors import InputError
from harness.indexes import Found, Index, Searcher, devices
from harness.indexes.exact import Exact
from harness.progress import silent
from harness.selftest.cases import Layout
from harness.vectors import Dense, Embeddings, MultiVector

WARMING = 64  # queries of a search before the one that is timed, at most


@dataclass(frozen=True)
class Machine:
    """Devices by the names of torch, and which libraries can use all of them."""

    names: tuple[str, ...]
    torch: bool
    faiss: bool

    def ask(self, layout: Layout) -> str:
        """The parameters of a spec that choose devices."""
        names = self.names[:1] if layout == "one" else self.names
        numbers = "+".join(name.removeprefix("cuda:") for name in names)
        return f"devices={numbers}" + (",sharded=true" if layout == "sharded" else "")


def find_machine(asked: str) -> Machine:
    """Find the devices to check.

    Args:
        asked: all, or numbers as in 0,2.

    Raises:
        InputError: No GPU answers, one is asked for that is not there, or its products are less
            exact than exact search allows for.
    """
    if asked == "cpu":
        raise InputError("--devices cpu: expected numbers of GPUs, as 0 or 0,1")
    if not devices.count("torch") and not devices.count("faiss"):
        raise InputError(f"no GPU to test: {accelerators.explain()}")
    names = devices.choose(asked.replace(",", "+"), "none")
    return Machine(names, devices.sees("torch", names), devices.sees("faiss", names))


def open_on_cpu(documents: Embeddings) -> Searcher:
    """Make documents searchable by the processor: what GPUs are held to."""
    return Exact(device="cpu").open(documents)


@dataclass(frozen=True)
class Taken:
    """A search on devices: what it found, what it said, and what it took."""

    found: Found
    notes: tuple[str, ...]
    seconds: float
    peak_bytes: int | None
    peak_by: str


def search_on_gpus(
    machine: Machine, index: Index, open_it: Callable[[], Searcher], queries: Embeddings, k: int
) -> Taken:
    """Open documents and search them, with what that takes.

    Args:
        machine: Where.
        index: The index, which may note what it will not do.
        open_it: Puts the documents there.
        queries: Of any number.
        k: Results of each.

    Returns:
        The results, and seconds of the search alone.
    """
    cuda = [name for name in machine.names if devices.ordinal(name) >= 0]
    before = {name: devices.free_memory(name) for name in cuda}
    _reset_peaks(machine)
    searcher = open_it()
    searcher.search(_take_few(queries), k, silent)
    _wait(machine)
    began = time.perf_counter()
    found = searcher.search(queries, k, silent)
    _wait(machine)
    seconds = time.perf_counter() - began
    by_torch = _read_peaks(machine)  # before the next line gives back what torch keeps
    gone = sum(_shrunk(free, devices.free_memory(name)) for name, free in before.items())
    notes = tuple(dict.fromkeys([*searcher.info.notes, *index.notes(k), *found.notes]))
    if not cuda or (not by_torch and None in before.values()):
        return Taken(found, notes, seconds, None, "")
    by = "torch" if by_torch >= gone else "driver"
    return Taken(found, notes, seconds, max(by_torch, gone), by)


def _shrunk(before: int | None, after: int | None) -> int:
    """Bytes that are free no more; 0 where they are not known."""
    return 0 if before is None or after is None else max(before - after, 0)


def time_on_cpu(searcher: Searcher, queries: Embeddings, k: int) -> tuple[Found, float]:
    """Search by the processor; returns the results and seconds."""
    began = time.perf_counter()
    found = searcher.search(queries, k, silent)
    return found, time.perf_counter() - began


def _take_few(queries: Embeddings) -> Embeddings:
    if isinstance(queries, MultiVector):
        end = min(WARMING, len(queries))
        return MultiVector(queries.values[: queries.offsets[end]], queries.offsets[: end + 1])
    return Dense(queries.values[:WARMING]) if isinstance(queries, Dense) else queries


def held_by_torch(machine: Machine) -> list[str]:
    """Devices whose memory torch manages: none where the processor stands in for them."""
    cuda = [name for name in machine.names if devices.place(name).type == "cuda"]
    return cuda if machine.torch else []


def _reset_peaks(machine: Machine) -> None:
    import torch

    for name in held_by_torch(machine):
        torch.cuda.reset_peak_memory_stats(devices.place(name))


def _read_peaks(machine: Machine) -> int:
    """The most bytes that torch held on all devices together since they were reset."""
    import torch

    names = held_by_torch(machine)
    return sum(torch.cuda.max_memory_allocated(devices.place(name)) for name in names)


def _wait(machine: Machine) -> None:
    """Wait until devices have done what they were given."""
    import torch

    for name in held_by_torch(machine):
        torch.cuda.synchronize(devices.place(name))
