"""Which GPUs search, how much room they have, and what they say when they have none."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal, get_args

from harness import accelerators
from harness.errors import InputError, reason

if TYPE_CHECKING:
    import torch

Library = Literal["torch", "faiss"]

QUERIES = 1024  # scanned with at a time, or so many of their tokens
WIDER = 8  # times more with each part that is streamed: it is copied for all of them
TILE = 1 << 16  # documents multiplied at a time, or so many of their tokens
BROKEN = ("cuda error", "cudaerror", "cublas", "cudnn")  # what CUDA's libraries call themselves


class DeviceFullError(Exception):
    """A device had no room for what it was to hold or to compute."""


def choose(
    devices: str,
    fallback: str,
    libraries: tuple[Library, ...] = ("torch", "faiss"),
    name: str = "gpu",
    instead: str = "choose the index exact, or fallback=cpu",
) -> tuple[str, ...]:
    """Name devices as torch does.

    Args:
        devices: all, or numbers as in 0+2; cpu runs the code of GPUs on the processor, for tests.
        fallback: none, or cpu to let the processor stand in.
        libraries: one of which has to see the devices.
        name: Of the index, as errors say it.
        instead: What to do where none does.

    Returns:
        Their names, none where the CPU is to stand in.

    Raises:
        InputError: where no device answers, or one that is not there is asked for.
    """
    if devices == "cpu":
        return ("cpu",)
    seen = max(map(count, libraries))
    if not seen and fallback == "cpu":
        return ()
    if not seen:
        raise InputError(f"{name}: {name_blind(libraries)}: {instead} ({explain(libraries)})")
    if value := accelerators.name_voiding():
        raise InputError(
            f"{name}: {value} lets GPUs multiply less exactly than exact search allows for: "
            "unset it"
        )
    known = {str(number): f"cuda:{number}" for number in range(seen)}
    wanted = list(known) if devices == "all" else devices.split("+")
    if not set(wanted) <= set(known):
        raise InputError(f"{name}: devices={devices}: expected all, or of {'+'.join(known)}")
    return tuple(known[number] for number in dict.fromkeys(wanted))


def count(library: Library) -> int:
    """CUDA devices that a library can use."""
    return accelerators.torch_count() if library == "torch" else accelerators.faiss_count()


def name_blind(libraries: tuple[Library, ...]) -> str:
    """Say that none of these libraries uses a GPU; by name where the other one does."""
    if any(map(count, get_args(Library))):
        return f"{libraries[0]}, which would search here, uses no CUDA device"
    return "no CUDA device answers"


def note_tight(names: Iterable[str]) -> tuple[str, ...]:
    """Say which devices were fuller than was planned for; nothing of none."""
    named = " and ".join(dict.fromkeys(names))
    said = f"{named} had less room than planned: smaller parts were multiplied at a time"
    return (said,) if named else ()


def explain(libraries: tuple[Library, ...]) -> str:
    """Say why none of these libraries uses a GPU, and what to do about it."""
    said = {"torch": accelerators.explain_torch, "faiss": accelerators.explain_faiss}
    return "; ".join(dict.fromkeys(filter(None, [said[library]() for library in libraries])))


def sees(library: Library, names: tuple[str, ...]) -> bool:
    """Tell whether a library can use all of these devices."""
    return all(0 <= ordinal(name) < count(library) for name in names)


def ordinal(name: str) -> int:
    """The number of a device; -1 for the processor."""
    return int(name.removeprefix("cuda:")) if name != "cpu" else -1


def place(name: str) -> torch.device:
    """What torch calls a device: the one place where tests put the processor in a GPU's place."""
    import torch

    return torch.device(name)


def free_memory(name: str) -> int | None:
    """Bytes that are free on a device, without what torch keeps; None where nobody can tell."""
    if accelerators.torch_count() > ordinal(name):
        import torch

        torch.cuda.empty_cache()
        return int(torch.cuda.mem_get_info(place(name))[0])
    return accelerators.free_memory(ordinal(name))


def has_room(name: str, needed: int) -> bool:
    """Tell whether a device has so many bytes; where nobody knows, it is tried."""
    free = free_memory(name)
    return free is None or needed <= free


@contextmanager
def room(what: str) -> Iterator[None]:
    """Say in one line what torch and faiss raise when a device is full, or fails otherwise.

    Args:
        what: What is computed, or where.

    Raises:
        DeviceFullError: where there is no room.
        InputError: for other errors of CUDA; those of other kinds pass.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if accelerators.is_full(error):
            if (torch := sys.modules.get("torch")) and torch.cuda.is_initialized():
                torch.cuda.empty_cache()
            raise DeviceFullError(f"{what}: {accelerators.tell_full(error)}") from error
        if any(sign in str(error).lower() for sign in BROKEN):
            raise InputError(
                f"{what} failed ({reason(error)}): a device that failed computes nothing more in "
                "this process: run it again, and harness selftest gpu where it fails again"
            ) from error
        raise
