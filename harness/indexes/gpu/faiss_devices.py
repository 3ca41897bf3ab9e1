"""faiss on devices: what it keeps there, one thread at a time, and what of an index can be there.

faiss keeps temporary memory on each device for every StandardGpuResources, and pinned memory on the
host: the process has one a device. It is not for several threads at once.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from harness.errors import InputError
from harness.indexes import devices
from harness.indexes.faiss_library import complaint, load_faiss

MOST = 2048  # results of a query, and lists searched for it, at most
TEMPORARY = 3 << 29  # bytes that faiss takes of a device when it first uses it: 1.5 GiB, or less
BESIDE = 1 << 28  # bytes of cuBLAS, and of a search that needs more than is kept

_resources: dict[int, Any] = {}
_busy = threading.RLock()


class NoFormError(Exception):
    """Faiss cannot have an index on GPUs, or cannot search it there as it is asked to."""


@contextmanager
def using(what: str) -> Iterator[Any]:
    """Let one thread use faiss on devices. what: that an error names.

    Yields:
        The module.

    Raises:
        DeviceFullError: where a device has no room.
        InputError: for what faiss refuses.
    """
    with _busy:
        try:
            with devices.room(what), quoting():
                yield load_faiss()
        except RuntimeError as error:
            raise InputError(f"{what}: {error}") from error


@contextmanager
def quoting() -> Iterator[None]:
    """Raise what faiss raises without where its code says it."""
    try:
        yield
    except RuntimeError as error:
        raise RuntimeError(complaint(error)) from error


def share_resources(name: str) -> Any:
    """What faiss keeps for a device, the same for all that this process has there."""
    with _busy:
        number = devices.ordinal(name)
        if number not in _resources:
            _resources[number] = load_faiss().StandardGpuResources()
        return _resources[number]


def leave_room(what: str, needed: int, names: tuple[str, ...]) -> None:
    """Let faiss keep nothing on devices where so many bytes would not fit beside what it keeps.

    It then allocates what it needs at each search, which is slower.

    Raises:
        DeviceFullError: where they do not fit even so.
    """
    for name in names:
        try:
            refuse_too_large(what, needed, (name,))
        except devices.DeviceFullError:
            with _busy:
                if devices.ordinal(name) in _resources:
                    raise
                share_resources(name).setTempMemory(0)
            refuse_too_large(what, needed, (name,))


def take_part(names: tuple[str, ...], queries: int, *, sharded: bool) -> tuple[str, ...]:
    """Devices that search: all shards, or those replicas that queries are divided among.

    Each replica but the last is given as many.
    """
    each = -(-queries // len(names))
    return names if sharded or not queries else names[: -(-queries // each)]


def count_scratch(name: str) -> int:
    """Bytes that faiss needs on a device beside documents, less what it keeps there already."""
    return BESIDE + (0 if devices.ordinal(name) in _resources else TEMPORARY)


def refuse_too_large(what: str, needed: int, names: tuple[str, ...]) -> None:
    """Check that so many bytes, and what faiss needs beside them, are free on each device.

    Raises:
        DeviceFullError: where they are not.
    """
    for name in names:
        whole, free = needed + count_scratch(name), devices.free_memory(name)
        if free is not None and whole > free:
            raise devices.DeviceFullError(
                f"{what} needs about {whole / 1e9:,.1f} GB on {name} and {free / 1e9:,.1f} GB "
                "are free"
            )


def make_flat(name: str, d: int, *, half: bool) -> Any:
    """A flat index by inner product on a device, without documents; in 16 bits where half."""
    faiss = load_faiss()
    config = faiss.GpuIndexFlatConfig()
    config.device, config.useFloat16 = devices.ordinal(name), half
    config.use_cuvs = False  # whose sums no bound is known of
    return faiss.GpuIndexFlat(share_resources(name), d, faiss.METRIC_INNER_PRODUCT, config)


def to_gpus(index: Any, names: tuple[str, ...], *, half: bool, sharded: bool, what: str) -> Any:
    """Put an index of the processor on devices. what: that an error names.

    Raises:
        NoFormError: where faiss cannot, or would leave a part of it on the processor.
        DeviceFullError: where a device has no room.
    """
    try:
        with using(what) as faiss:
            options = faiss.GpuMultipleClonerOptions()
            options.useFloat16, options.shard = half, sharded
            options.use_cuvs = False  # which has other limits
            numbers = [devices.ordinal(name) for name in names]
            resources = [share_resources(name) for name in names]
            there = faiss.index_cpu_to_gpu_multiple_py(resources, index, options, numbers)
    except InputError as error:
        why = str(error).removeprefix(f"{what}: ")
        more = "" if "not implemented on GPU" in why else f" ({why})"
        raise NoFormError(f"{what} has no form on GPUs in faiss{more}") from error
    if not is_there(there):
        several = "several " if len(names) > 1 else ""
        raise NoFormError(f"{what} has no form on {several}GPUs in faiss")
    return there


def is_there(index: Any) -> bool:
    """Tell whether all of an index is on GPUs, but transforms of what comes before it.

    On several devices faiss clones types that it does not know on the processor, without a word.
    """
    faiss = load_faiss()
    if isinstance(index, faiss.IndexReplicas | faiss.IndexShards):
        inner = [faiss.downcast_index(index.at(place)) for place in range(index.count())]
        return bool(inner) and all(map(is_there, inner))
    if hasattr(index, "chain"):
        return is_there(faiss.downcast_index(index.index))
    return bool(faiss.isGpuIndex(index))
