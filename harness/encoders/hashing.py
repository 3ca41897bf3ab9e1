"""Feature hashing: a bag of words folded into few dimensions. A floor, and a fast test model."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np

from harness.data import Role
from harness.encoders import ENCODERS, Encoded, Similarity, TextEncoder
from harness.parameters import check_range
from harness.vectors import Representation

WORD = re.compile(r"\w+")


@ENCODERS.register("hashing")
@dataclass(frozen=True)
class Hashing(TextEncoder):
    """Signed feature hashing of lower-case words (Weinberger et al. 2009); needs no model."""

    representation: ClassVar[Representation] = "dense"
    similarity: ClassVar[Similarity] = "cosine"

    dim: int = 256

    def __post_init__(self) -> None:
        check_range("hashing", dim=(self.dim, 1, 65536))

    def fingerprint(self) -> Mapping[str, object]:
        """Tell the algorithm's name and its dimension."""
        return {"algorithm": "signed feature hashing, blake2b, words", "dim": self.dim}

    def made_with(self) -> Mapping[str, str]:
        """Tell the version of numpy."""
        return {"numpy": np.__version__}

    def encode(self, texts: Sequence[str], role: Role) -> Encoded:
        """Count words [n, dim]; a text without words is the zero vector."""
        values = np.zeros((len(texts), self.dim), np.float32)
        tokens = np.zeros(len(texts), np.int32)
        for i, text in enumerate(texts):
            found = words_of(text)
            tokens[i] = len(found)
            for word in found:
                bucket, sign = _slot(word, self.dim)
                values[i, bucket] += sign
        return Encoded(values, tokens, np.zeros(len(texts), np.bool_))


def words_of(text: str) -> list[str]:
    """Runs of letters and digits, in lower case."""
    return WORD.findall(text.lower())


@lru_cache(maxsize=1 << 18)
def _slot(word: str, dim: int) -> tuple[int, int]:
    number = int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "little")
    return (number >> 1) % dim, 1 if number & 1 else -1
