"""How many parameters a model has, by the headers of its weights: nothing is loaded."""

from __future__ import annotations

import json
from math import prod
from pathlib import Path

from harness.disk import foreign
from harness.errors import InputError

MOST = 100 * 2**20  # bytes of a header, as safetensors itself has it
NO_WEIGHTS = ("I64", "I32", "BOOL")  # of positions and masks, which no training moves


def count_parameters(folder: Path) -> int | None:
    """Return the numbers in the weights of all of a model's modules; None where it is not known."""
    files = sorted(folder.rglob("*.safetensors"))
    try:
        return sum(map(_count, files)) if files else None
    except (OSError, InputError, ValueError, TypeError, KeyError, AttributeError):
        return None  # loading the model says what is wrong with it


def _count(path: Path) -> int:
    with foreign.open_regular(path) as file:
        size = int.from_bytes(file.read(8), "little")
        if size > MOST:
            raise ValueError(f"a header of {size} bytes")
        header = json.loads(file.read(size))
    tensors = (one for name, one in header.items() if name != "__metadata__")
    return sum(prod(one["shape"]) for one in tensors if one["dtype"] not in NO_WEIGHTS)
