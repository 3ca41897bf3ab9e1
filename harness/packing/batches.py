"""Which texts share a packed batch, and how their tokens lie in it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.arrays import Int32
from harness.data import Role

Group = tuple[int, int, int]
Features = dict[str, Any]  # what models of sentence-transformers read and write

ROWS = 16  # of a matrix product, at least: products of fewer are summed in another order
WORDS = (1, 2, 3, 4, 5, 7, 9, 12, 16, 24, 40, 70)  # the last longer than most windows
TEXTS = tuple(" ".join(f"word {at}" for at in range(words)) for words in WORDS)
"""A dozen texts of mixed length, for Examples."""


@dataclass(frozen=True)
class Examples:
    """Inputs that show whether a model makes the same of packed batches as of padded ones.

    Attributes:
        inputs: Texts, or pairs of them, of mixed length.
        role: What they are.
        prompt: What is put before each.
    """

    inputs: tuple[str | tuple[str, str], ...]
    role: Role
    prompt: str


def group(lengths: Iterable[int]) -> Iterator[Group]:
    """Texts of one length that lie side by side: their first token, how many, and the length."""
    begin = 0
    for length, alike in groupby(lengths):
        texts = sum(1 for _ in alike)
        yield begin, texts, length
        begin += texts * length


def fill(lengths: Int32, rows: NDArray[np.intp], budget: int) -> list[NDArray[np.intp]]:
    """Divide texts among batches of so many tokens, the longest first.

    Args:
        lengths: Tokens of each text [n].
        rows: Which of them.
        budget: Tokens of a batch, at most, where it is more than one text.

    Returns:
        The rows of each batch, those of one length side by side.
    """
    batches, held = list[list[int]](), 0
    for row in rows[np.argsort(-lengths[rows], kind="stable")].tolist():
        length = int(lengths[row])
        if not batches or held + length > budget:
            batches.append([])
            held = 0
        batches[-1].append(row)
        held += length
    return [np.array(batch, np.intp) for batch in batches]


def count_from(body: Any) -> int:
    """The position of a text's first token: behind the padding token's number in RoBERTa's kin."""
    for name, part in body.named_modules():
        if name.endswith("position_embeddings") and getattr(part, "padding_idx", None) is not None:
            return int(part.padding_idx) + 1
    return 0


def lay_out(tokens: Sequence[Mapping[str, Sequence[int]]], first: int, padding: int) -> Features:
    """A batch as sentence-transformers reads one of FlashAttention.

    Texts of one token are put behind where there are few, which `ROWS` asks for.

    Args:
        tokens: What the tokenizer gives for each text, by name; one token at least.
        first: The position of a text's first token.
        padding: The token that is put behind.

    Returns:
        What the tokenizer gave and position_ids [1, tokens], where texts begin and end [n + 1], the
        length of the longest one, and those of one length.
    """
    import torch

    lengths = [len(one["input_ids"]) for one in tokens] + [1] * max(0, ROWS - len(tokens))
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    laid = Features()
    for name in tokens[0]:
        values = np.zeros(int(starts[-1]), np.int64)
        values[: starts[len(tokens)]] = list(chain.from_iterable(one[name] for one in tokens))
        laid[name] = torch.from_numpy(values)[None]
    laid["input_ids"][0, int(starts[len(tokens)]) :] = padding
    at = np.arange(starts[-1]) - np.repeat(starts[:-1], lengths)
    laid["position_ids"] = torch.from_numpy(at + first)[None]
    laid["cu_seq_lens_q"] = laid["cu_seq_lens_k"] = torch.from_numpy(starts)
    laid["max_length_q"] = laid["max_length_k"] = max(lengths)
    laid["groups"] = tuple(group(lengths))
    return laid
