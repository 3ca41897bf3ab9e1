"""Names of array types, and row numbers of spans."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]

TOO_LARGE = 2.0**128 - 2.0**103  # from here on a number is infinite as float32


def spans(starts: Int64, lengths: Int64) -> Int64:
    """Row numbers of spans of rows, one span after the other; starts, lengths: [n]."""
    ends = np.cumsum(lengths)
    shift: Int64 = np.repeat(starts - (ends - lengths), lengths)
    return shift + np.arange(len(shift))
