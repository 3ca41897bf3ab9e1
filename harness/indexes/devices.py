"""Which GPUs there are, and what fits into their memory."""

from __future__ import annotations

from harness.errors import InputError
from harness.indexes.faiss_library import load_faiss

QUERIES = 1024  # scanned with at a time, or so many of their tokens
TILE = 1 << 16  # documents multiplied at a time, or so many of their tokens


def choose(devices: str, fallback: str) -> tuple[str, ...]:
    """Name devices as torch does.

    Args:
        devices: all, or numbers as in 0+2; cpu runs the code of GPUs on the processor, for tests.
        fallback: none, or cpu to let the processor stand in.

    Returns:
        Their names, none where the CPU is to stand in.

    Raises:
        InputError: where no device answers, or one that is not there is asked for.
    """
    if devices == "cpu":
        return ("cpu",)
    import torch

    count = max(torch.cuda.device_count(), load_faiss().get_num_gpus())
    if not count and fallback == "cpu":
        return ()
    if not count:
        raise InputError("gpu: no CUDA device answers: choose the index exact, or fallback=cpu")
    known = {str(number): f"cuda:{number}" for number in range(count)}
    wanted = list(known) if devices == "all" else devices.split("+")
    if not set(wanted) <= set(known):
        raise InputError(f"gpu: devices={devices}: expected all, or of {'+'.join(known)}")
    return tuple(known[number] for number in dict.fromkeys(wanted))


def require_torch() -> None:
    """Check that torch has a GPU, whatever faiss has. Raises InputError."""
    import torch

    if not torch.cuda.is_available():
        raise InputError(
            "gpu: torch searches late interaction and sees no CUDA device: install torch for CUDA"
        )


def note_fallback(names: tuple[str, ...]) -> tuple[str, ...]:
    """Note that the CPU stands in for a GPU."""
    return () if names else ("no CUDA device answers: the CPU searched in its place",)


def refuse_too_large(device: str, documents: int) -> None:
    """Check that documents of so many bytes and a tile fit on a device. Raises InputError."""
    import torch

    if device == "cpu":
        return
    needed, free = documents + 8 * QUERIES * TILE, torch.cuda.mem_get_info(device)[0]
    if needed > free:
        raise InputError(
            f"gpu: the documents need about {needed / 1e9:,.1f} GB on {device} and "
            f"{free / 1e9:,.1f} GB are free: use more devices or precision=float16"
        )
