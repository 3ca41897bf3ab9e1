"""Settings of torch that decide how exactly GPUs multiply: set for a scan, and given back."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

Setting = tuple[str, str]  # a backend and what it computes, as torch names them

REDUCED = ("allow_fp16_reduced_precision_reduction", "allow_bf16_reduced_precision_reduction")
ACCUMULATED = "allow_fp16_accumulation"  # since torch 2.7
FULL = ("ieee", "none")
# how float32 is multiplied since torch 2.9, beside an older setting; each with what it inherits
CHAINS: list[list[Setting]] = [
    [("cuda", "matmul"), ("cuda", "all"), ("generic", "all")],
    [("mkldnn", "matmul"), ("mkldnn", "all"), ("generic", "all")],
]

_lock = threading.Lock()
_before: list[Callable[[], None]] = []  # what gives back, for each that multiplies now


@contextmanager
def full_sums() -> Iterator[None]:
    """Multiply without TF32 and without sums in 16 bits, as the bound of rounding supposes.

    The settings are the process's: the last of several threads gives back what the first found.
    """
    with _lock:
        _before.append(_set_full())
    try:
        yield
    finally:
        with _lock:
            give_back = _before.pop()
            if not _before:
                give_back()


def _set_full() -> Callable[[], None]:
    """Set what makes sums full; returns what gives the state before it back."""
    parts = (_set_float32(), _set_reductions())

    def give_back() -> None:
        for part in parts:
            part()

    return give_back


def _set_float32() -> Callable[[], None]:
    """Multiply float32 as such.

    torch has two settings of it and raises where they differ; the older one can be read once the
    newer ones say ieee. A setting that inherits from a wider one has to inherit from it again.
    """
    import torch

    chains = CHAINS if hasattr(torch._C, "_set_fp32_precision_setter") else []
    full = all(_get(chain[0]) in FULL for chain in chains)
    if full and torch.get_float32_matmul_precision() == "highest":
        return lambda: None
    own = [_own(chain) for chain in chains]
    for chain in chains:
        _set(chain[0], "ieee")
    older = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")

    def give_back() -> None:
        torch.set_float32_matmul_precision(older)  # sets the newer ones, too
        for chain, value in zip(chains, own, strict=True):
            _set(chain[0], value)

    return give_back


def _get(setting: Setting) -> str:
    import torch

    return str(torch._C._get_fp32_precision_getter(*setting))


def _set(setting: Setting, value: str) -> None:
    import torch  # torch.backends.mkldnn.fp32_precision of 2.13 sets what all backends inherit

    torch._C._set_fp32_precision_setter(*setting, value)


def _own(chain: list[Setting]) -> str:
    """What the first of these is set to itself: none where it inherits, as changing the next tells.

    No product is less exact meanwhile.
    """
    value = _get(chain[0])
    if len(chain) == 1 or value in FULL or value != _get(chain[1]):
        return value
    wider = _own(chain[1:])
    _set(chain[1], "ieee")
    inherits = _get(chain[0]) != value
    _set(chain[1], wider)
    return "none" if inherits else value


def _set_reductions() -> Callable[[], None]:
    """Sum products of 16 bits in 32."""
    from torch.backends.cuda import matmul

    before: dict[str, Any] = {}
    for name in filter(lambda name: hasattr(matmul, name), (*REDUCED, ACCUMULATED)):
        before[name] = getattr(matmul, name)
        if hasattr(matmul, split := f"{name}_split_k"):
            before[name] = before[name], getattr(matmul, split)
        setattr(matmul, name, False)

    def give_back() -> None:
        for name, value in before.items():
            setattr(matmul, name, value)

    return give_back
