"""Vectors cut to fewer dimensions: to their first ones, or to principal components."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

import numpy as np

from harness.arrays import Float32, Float64
from harness.errors import InputError
from harness.vectors.lengths import unit

How = Literal["truncate", "truncate-raw", "pca"]
BLOCK = 1 << 14  # rows widened to float64 at a time


def cuts(
    vectors: Mapping[str, Float32], dims: Sequence[int], how: How, *, scaled: bool
) -> Iterator[tuple[int, dict[str, Float32]]]:
    """Cut vectors to ever more dimensions.

        truncate      the first d dimensions, scaled to length 1 again
        truncate-raw  the first d dimensions of vectors of length 1, which become shorter
                      (the protocol of Tsukagoshi and Sasano 2025)
        pca           the first d principal components of the documents, or of the sentences,
                      centred at their mean; scaled to length 1 again. They are fitted on the very
                      texts that are searched; where there are fewer than d, all are kept

    Args:
        vectors: By part [n, d], as the model made them; they are not changed.
        dims: To keep, ascending.
        how: One of these ways.
        scaled: Whether vectors are compared at length 1; else nothing is scaled.

    Yields:
        How many dimensions are kept, and the vectors by part, new arrays.

    Raises:
        InputError: where vectors do not differ, so that they have no principal components.
    """
    if scaled and how != "truncate":
        vectors = {name: unit(values.copy()) for name, values in vectors.items()}
    if how == "pca":
        vectors = rotate(vectors)
    for dim in dims:
        cut = {name: values[:, :dim].copy() for name, values in vectors.items()}
        if scaled and how != "truncate-raw":
            cut = {name: unit(values) for name, values in cut.items()}
        yield dim, cut


def dimensions(asked: Sequence[int], whole: int) -> list[int]:
    """Dimensions to keep, ascending, each once; none asked for: 2, 4, 8 ... and all.

    Raises:
        InputError: for dimensions that vectors do not have.
    """
    if not asked:
        return [*(2**i for i in range(1, whole.bit_length()) if 2**i < whole), whole]
    for dim in asked:
        if not 1 <= dim <= whole:
            raise InputError(f"{dim} dimensions: expected 1 to {whole}, as many as the model has")
    return sorted(set(asked))


def rotate(vectors: Mapping[str, Float32]) -> dict[str, Float32]:
    """Vectors along the principal components of the documents or sentences, largest first.

    Raises:
        InputError: where these do not differ.
    """
    fitted = vectors["documents"] if "documents" in vectors else vectors["sentences"]
    mean = fitted.mean(axis=0, dtype=np.float64)
    covariance = sum(part.T @ part for part in _centre(fitted, mean))
    variances, axes = np.linalg.eigh(covariance)
    axes = axes[:, variances > variances[-1] * len(mean) * 2.0**-23][:, ::-1]
    if not axes.size:
        raise InputError("the vectors to fit principal components on are all equal")
    return {
        name: np.concatenate([(part @ axes).astype(np.float32) for part in _centre(values, mean)])
        for name, values in vectors.items()
    }


def _centre(values: Float32, mean: Float64) -> Iterator[Float64]:
    """Blocks of rows without a mean."""
    for low in range(0, len(values), BLOCK):
        yield values[low : low + BLOCK] - mean
