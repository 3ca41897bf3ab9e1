"""Devices of the fake of faiss's GPU module: what is allocated there; see faiss_gpu."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np


def fail(where: str, condition: str, what: str) -> RuntimeError:
    """An error as FAISS_THROW_IF_NOT_MSG raises it, which SWIG makes a RuntimeError of."""
    return RuntimeError(
        f"Error in {where} at /project/faiss/gpu/x.cu:1: Error: {condition!r} failed: {what}"
    )


def thrown(where: str, what: str) -> RuntimeError:
    """An error as FAISS_THROW_MSG raises it."""
    return RuntimeError(f"Error in {where} at /project/faiss/gpu/x.cu:1: {what}")


@dataclass
class Machine:
    """Devices, what is allocated on them, and what was done.

    Attributes:
        number: of devices.
        memory: bytes of each that are free at first.
        temporary: bytes of each that a StandardGpuResources takes there.
        share: of the bound of rounding that products are off by, at most.
        seed: of what is random.
        used: bytes of each now.
        peak: the most bytes of each there were.
        resources: how many StandardGpuResources were made.
        started: (resources, device) that took temporary memory.
        moves: (type, device) of what is on a GPU, in the order of its coming.
        clones: types that came back from several GPUs as indexes of the CPU.
        searches: (type, device, queries, k) of each search on a GPU.
    """

    number: int
    memory: int
    temporary: int
    share: float
    seed: int
    used: dict[int, int] = field(default_factory=dict)
    peak: dict[int, int] = field(default_factory=dict)
    resources: int = 0
    started: set[tuple[int, int]] = field(default_factory=set)
    moves: list[tuple[str, int]] = field(default_factory=list)
    clones: list[str] = field(default_factory=list)
    searches: list[tuple[str, int, int, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = np.random.default_rng(self.seed)

    def free(self, device: int) -> int:
        """Bytes that are free on a device."""
        return self.memory - self.used.get(device, 0)

    def allocate(self, device: int, size: int, kind: str = "FlatData") -> None:
        """Take memory. Raises RuntimeError in the words of StandardGpuResources.cpp."""
        if size > self.free(device):
            raise fail(
                "virtual void* faiss::gpu::StandardGpuResourcesImpl::allocMemory(const "
                "faiss::gpu::AllocRequest&)",
                "err == cudaSuccess",
                f"StandardGpuResources: alloc fail type {kind} dev {device} space Device stream "
                f"0x1 size {size} bytes (cudaMalloc error out of memory [2])\n",
            )
        self.used[device] = self.used.get(device, 0) + size
        self.peak[device] = max(self.peak.get(device, 0), self.used[device])

    def release(self, device: int, size: int) -> None:
        """Give memory back."""
        self.used[device] -= size


class Resources:
    """StandardGpuResources: memory that faiss keeps on each device that it is used for."""

    def __init__(self, machine: Machine) -> None:
        self.machine, self._number = machine, machine.resources
        self._temporary: dict[int, int] = {}
        self._kept = machine.temporary
        self._users: dict[int, int] = {}
        machine.resources += 1

    def start(self, device: int) -> None:
        """Take temporary memory where none is taken yet."""
        if device in self._temporary:
            return
        if not 0 <= device < self.machine.number:
            where = "faiss::gpu::GpuIndex::GpuIndex(...)"
            condition = "config_.device < getNumDevices()"
            raise fail(where, condition, f"Invalid GPU device {device}")
        self.machine.allocate(device, self._kept, "TemporaryMemoryBuffer")
        self._temporary[device] = self._kept
        self.machine.started.add((self._number, device))
        weakref.finalize(self, self.machine.release, device, self._kept)

    def setTempMemory(self, size: int) -> None:
        """Take so much, or less, on each device that is not used yet."""
        assert not self._temporary, "it would be taken anew on all devices"
        self._kept = min(size, self.machine.temporary)

    @contextmanager
    def taken(self, device: int, size: int) -> Iterator[None]:
        """Take scratch meanwhile: of the temporary memory or, where it is too much, beside it.

        Nothing in faiss keeps two threads from one stack of temporary memory: here it is seen.
        """
        here = threading.get_ident()
        assert self._users.setdefault(device, here) == here, "two threads use one device"
        beside = size if size > self._temporary[device] else 0
        try:
            self.machine.allocate(device, beside, "TemporaryMemoryOverflow")
            try:
                yield
            finally:
                self.machine.release(device, beside)
        finally:
            del self._users[device]
