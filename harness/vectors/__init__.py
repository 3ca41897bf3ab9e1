"""What texts become: one vector each, sparse or dense, or one a token; and a run, a ranking."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from harness.arrays import Float32, Int32, Int64, spans
from harness.errors import InputError

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

Representation = Literal["dense", "sparse", "multi-vector"]


@dataclass(frozen=True)
class Dense:
    """One vector a text: values float32 [n, d], which may be a memory map."""

    values: Float32
    representation: ClassVar[Representation] = "dense"

    def __post_init__(self) -> None:
        refuse_masked(self.values)

    @property
    def dim(self) -> int:
        """Numbers of a vector."""
        return int(self.values.shape[1])

    @property
    def bytes(self) -> int:
        """Memory that the vectors take."""
        return int(self.values.nbytes)

    def __len__(self) -> int:
        return len(self.values)


@dataclass(frozen=True)
class Sparse:
    """One sparse vector a text: matrix float32 CSR [n, v]."""

    matrix: csr_matrix
    representation: ClassVar[Representation] = "sparse"

    @property
    def dim(self) -> int:
        """Terms that a vector can weigh."""
        return int(self.matrix.shape[1])

    @property
    def bytes(self) -> int:
        """Memory that the vectors take."""
        matrix = self.matrix
        return int(matrix.data.nbytes + matrix.indices.nbytes + matrix.indptr.nbytes)

    def __len__(self) -> int:
        return int(self.matrix.shape[0])


@dataclass(frozen=True)
class MultiVector:
    """One vector for each token of a text (late interaction).

    values: float32 [t, d], the tokens of all texts in a row, which may be a memory map; offsets:
    int64 [n+1], text i has the tokens from offsets[i] up to offsets[i+1].
    """

    values: Float32
    offsets: Int64
    representation: ClassVar[Representation] = "multi-vector"

    def __post_init__(self) -> None:
        refuse_masked(self.values)

    @property
    def lengths(self) -> Int64:
        """[n]: vectors of each text."""
        return np.diff(self.offsets)

    @property
    def dim(self) -> int:
        """Numbers of a vector."""
        return int(self.values.shape[1])

    @property
    def bytes(self) -> int:
        """Memory that the vectors take."""
        return int(self.values.nbytes + self.offsets.nbytes)

    def take(self, rows: NDArray[np.integer]) -> MultiVector:
        """Copy the texts of some rows [m], in their order."""
        lengths = self.lengths[rows]
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        return MultiVector(self.values[spans(self.offsets[rows], lengths)], offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1


Embeddings = Dense | Sparse | MultiVector
V = TypeVar("V", Dense, Sparse, MultiVector)


def refuse_masked(values: object) -> None:
    """Refuse numbers some of which are masked: what is behind a mask is no number.

    Raises:
        InputError: It names the first row.
    """
    if isinstance(values, np.ma.MaskedArray) and np.ma.is_masked(values):
        row = int(np.argwhere(np.ma.getmaskarray(values))[0][0])
        raise InputError(f"the vector of row {row} has masked numbers: fill them, or leave it out")


def of_kind(vectors: Embeddings, kind: type[V]) -> V:
    """Return vectors that only one way of search can take.

    Args:
        vectors: of any representation.
        kind: the representation that is expected.

    Returns:
        The same vectors.

    Raises:
        InputError: where they are of another representation.
    """
    if isinstance(vectors, kind):
        return vectors
    raise InputError(
        f"got {vectors.representation} vectors where only {kind.representation} ones can be "
        "searched: choose an index that accepts them"
    )


def alone(vectors: Embeddings, row: int) -> Embeddings:
    """One text's vectors, as a set of one."""
    if isinstance(vectors, Sparse):
        return Sparse(vectors.matrix[row : row + 1])
    if isinstance(vectors, MultiVector):
        low, high = vectors.offsets[row : row + 2]
        return MultiVector(vectors.values[low:high], np.array([0, high - low]))
    return Dense(vectors.values[row : row + 1])


@dataclass(frozen=True)
class Run:
    """A ranking for every query: docs int32 [q, k], scores float32 [q, k].

    Score descending, ties by row descending; -1 pads a row with fewer than k results.
    """

    docs: Int32
    scores: Float32
