"""Which GPUs of a driver are cuda:0, cuda:1, ... of this process.

nvidia-smi lists all GPUs by their places on the PCI bus; CUDA shows a process those that
CUDA_VISIBLE_DEVICES names, in its order, and counts the fastest first unless CUDA_DEVICE_ORDER says
otherwise. Where unlike GPUs leave more than one possibility, all of them are told.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Gpu:
    """A GPU as its driver lists it; memory in bytes, None where not told, capability as in 9.0."""

    number: int
    name: str
    capability: str
    free: int | None
    total: int | None
    uuid: str = ""


Possible = tuple[Gpu, ...]
"""GPUs of which a device is one; none where nothing is known of it."""


def find_visible(gpus: Sequence[Gpu], variables: Mapping[str, str]) -> list[Possible]:
    """Tell which GPUs may be meant by each device of CUDA.

    Args:
        gpus: All of the driver, by their numbers.
        variables: Of the process.

    Returns:
        What cuda:0, cuda:1, ... may be.
    """
    numbered = _number(gpus, variables.get("CUDA_DEVICE_ORDER", ""))
    asked = variables.get("CUDA_VISIBLE_DEVICES")
    if asked is None:
        return numbered
    words = [word.strip() for word in asked.split(",")]
    if words[0].startswith("MIG-"):
        named = [word.startswith("MIG-") for word in words]
        return [()] * (named.index(False) if False in named else len(named))
    if words[0].startswith("GPU-"):
        return _choose_by_uuid(words, gpus)
    return _choose_by_number(words, numbered)


def _number(gpus: Sequence[Gpu], order: str) -> list[Possible]:
    """GPUs as CUDA counts them before some are chosen."""
    kinds = {(gpu.name, gpu.capability, gpu.total) for gpu in gpus}
    if order == "PCI_BUS_ID" or len(kinds) < 2:
        return [(gpu,) for gpu in gpus]
    return [tuple(gpus)] * len(gpus)


def _choose_by_uuid(words: Sequence[str], gpus: Sequence[Gpu]) -> list[Possible]:
    """GPUs whose UUIDs begin so; the first word that names none, or several, ends the list."""
    chosen = list[Possible]()
    for word in words:
        meant = tuple(gpu for gpu in gpus if gpu.uuid.lower().startswith(word.lower()))
        if not word.startswith("GPU-") or len(meant) != 1:
            break
        if meant in chosen:
            return []  # CUDA shows none where one is named twice
        chosen.append(meant)
    return chosen


def _choose_by_number(words: Sequence[str], numbered: Sequence[Possible]) -> list[Possible]:
    """GPUs by number, which may be followed by anything; the first that is none ends the list."""
    numbers = list[int]()
    for word in words:
        found = re.match(r"\+?(\d+)", word)
        if not found or int(found[1]) >= len(numbered):
            break
        if int(found[1]) in numbers:
            return []
        numbers.append(int(found[1]))
    return [numbered[number] for number in numbers]


def least_free(visible: Sequence[Possible], ordinal: int) -> int | None:
    """Bytes that are free on a device for sure; None where that is not known."""
    free = [gpu.free for gpu in visible[ordinal]] if 0 <= ordinal < len(visible) else []
    known = [size for size in free if size is not None]
    return min(known) if known and len(known) == len(free) else None


def name_all(visible: Sequence[Possible], devices: int) -> list[str]:
    """Names of so many devices, the first that are visible; unknown where nothing is known."""
    shown: list[Possible] = [*visible[:devices], *[()] * (devices - len(visible))]
    possible = list(dict.fromkeys(gpu for each in shown for gpu in each))
    if len(possible) == len(shown):  # whichever is which, these they are
        return [gpu.name for gpu in possible]
    return [" or ".join(dict.fromkeys(gpu.name for gpu in each)) or "unknown" for each in shown]
