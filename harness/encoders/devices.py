"""Which devices torch has for a model, and what the processor is slow at."""

from __future__ import annotations

from platform import machine

from harness import accelerators
from harness.errors import InputError, reason


def check_device(target: str, device: str) -> None:
    """Refuse a device.

    Args:
        target: The model that is to compute there.
        device: What torch calls it, or auto.

    Raises:
        InputError: torch does not know it, or it does not answer.
    """
    if device in ("auto", "cpu"):
        return
    import torch

    try:
        asked = torch.device(device)
    except RuntimeError as error:
        raise InputError(f"{target}: device={device}: {reason(error)}") from None
    devices = accelerators.torch_count() if asked.type == "cuda" else 0
    if asked.type == "cuda" and not devices:
        raise InputError(
            f"{target}: device={device}, but no CUDA device answers: use device=cpu "
            f"({accelerators.explain_torch()})"
        )
    if asked.type == "cuda" and (asked.index or 0) >= devices:
        there = "there is 1 CUDA device" if devices == 1 else f"there are {devices} CUDA devices"
        expected = accelerators.name_ordinals(devices)
        raise InputError(f"{target}: device={device}: {there}: expected {expected}")
    if asked.type == "mps" and not torch.backends.mps.is_available():
        raise InputError(f"{target}: device=mps, but no Apple GPU answers: use device=cpu")


def warn_slow(target: str, dtype: str) -> tuple[str, ...]:
    """Say where the processor computes in a dtype many times slower than in float32.

    Args:
        target: The model that computes.
        dtype: Of its weights.

    Returns:
        A sentence for the record, or none.
    """
    import torch

    if dtype == "float32" or machine() not in ("x86_64", "AMD64"):
        return ()
    fast = torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
    if dtype == "bfloat16" and fast:
        return ()
    lacks = "AVX512-BF16 and AMX" if dtype == "bfloat16" else "products in float16"
    return (f"{target}: dtype={dtype} is slow on this processor, for want of {lacks}",)
