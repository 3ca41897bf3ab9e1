"""Dense vectors by somebody's function of texts, which is not trusted to keep their order."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from harness.arrays import Float32, Float64
from harness.data import Purpose, Role
from harness.encoders import Encoded, Similarity, TextEncoder
from harness.encoders.blaming import blame_model
from harness.encoders.mteb import OfMteb
from harness.errors import EncodingError, InputError, blame
from harness.vectors import Representation
from harness.wording import count

Call = Callable[[list[str], Role], object]

COMPARED = 4  # texts of the first batch that are encoded again, alone and in another order
NEAR = 1e-3  # of a vector's length: what rounding may change
FAR = 0.05  # what it cannot
RELIEF = "have it encode fewer texts at a time, in 16 bits, or on another device"
LONGEST = float(np.finfo(np.float32).max) ** 0.5  # a vector whose dot products float32 can hold


@dataclass
class Checks:
    """What was looked at of a function's vectors so far; decides no result, only what is checked.

    Attributes:
        dim: Of the vectors seen; None before the first.
        notes: What was noticed of each role whose first batch was held to its texts alone.
    """

    dim: int | None = None
    notes: dict[Role, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class CallableEncoder(TextEncoder):
    """A function of texts and role.

    Attributes:
        name: What people call it.
        call: The function.
        similarity: How its vectors are compared.
        checks: What was looked at of them.
    """

    representation: ClassVar[Representation] = "dense"

    name: str
    call: Call
    similarity: Similarity = "cosine"
    checks: Checks = field(default_factory=Checks, compare=False, repr=False)

    def fingerprint(self) -> Mapping[str, object]:
        """Tell what a model of mteb was told of the task; nothing else is known."""
        told = asdict(self.call.purpose) if isinstance(self.call, OfMteb) else {}
        return {name: value for name, value in told.items() if value}

    def for_task(self, purpose: Purpose) -> CallableEncoder:
        """Give a model of mteb that is told of the task; others are not."""
        if not isinstance(self.call, OfMteb):
            return self
        return replace(self, call=replace(self.call, purpose=purpose))

    def encode(self, texts: Sequence[str], role: Role) -> Encoded:
        """Encode texts; the first batch of a role is encoded in part again.

        Args:
            texts: Any number of texts.
            role: What the texts are.

        Returns:
            Vectors [n, d]; tokens are not known. A note where what is beside a text matters.

        Raises:
            EncodingError: It is no array of a vector for each text, always of one width; vectors
                are in another order than their texts, or do not repeat.
        """
        values, noticed, n = self._rows(list(texts), role), self.checks.notes, len(texts)
        if role not in noticed and n > 1:
            noticed[role] = self._compare(values, texts, role)
        notes = noticed.get(role, ())
        return Encoded(values, np.full(n, -1, np.int32), np.zeros(n, np.bool_), notes)

    def _rows(self, texts: list[str], role: Role) -> Float32:
        """What the function returns for texts, as an array [n, d]."""
        n = len(texts)
        with blame_model(f"{self.name} fails on {count(n, 'text')}", EncodingError, RELIEF):
            returned = self.call(texts, role)
            values = as_array(returned)
        if values.dtype.kind not in "biuf" or np.ma.is_masked(returned):
            found = "masked values" if np.ma.is_masked(returned) else values.dtype
            raise EncodingError(
                f"{self.name} returned no numbers but {found} for "
                f"{count(n, 'text')}: expected an array of "
                f"numbers ({n}, d), got {type(returned).__name__}"
            )
        if values.ndim != 2 or len(values) != n or not values.shape[1]:
            raise EncodingError(
                f"{self.name} returned an array of shape {values.shape} for {count(n, 'text')}: "
                f"expected ({n}, d)"
            )
        if self.checks.dim not in (None, values.shape[1]):
            raise EncodingError(
                f"{self.name} returned {values.shape[1]}-d vectors after {self.checks.dim}-d ones: "
                "expected one width"
            )
        self.checks.dim = values.shape[1]
        with np.errstate(over="ignore"):
            vectors = values.astype(np.float32)
        self._refuse_unbounded(vectors, texts)
        return vectors

    def _refuse_unbounded(self, vectors: Float32, texts: Sequence[str]) -> None:
        """Refuse what cannot be compared: no number, or one too large. Raises EncodingError."""
        most, lengths = LONGEST if self.similarity == "dot" else np.inf, _measure(vectors)
        broken = np.flatnonzero(~(lengths < most))
        if len(broken):
            finite = np.isfinite(lengths[broken]).all()
            what = "vectors too long for dot products" if finite else "NaN or infinity"
            raise EncodingError(
                f"{self.name} returned {what} for {len(broken)} of "
                f"{count(len(texts), 'text')}, the first "
                f"{texts[broken[0]][:60]!r}: expected numbers that float32 can hold"
            )

    def _compare(self, values: Float32, texts: Sequence[str], role: Role) -> tuple[str, ...]:
        """Hold vectors of a batch to those of some of its texts alone and in the other order.

        A model that sorts texts by length and does not put their vectors back shows in one of them.
        What is odd and may be is returned as a note.
        """
        rows = np.unique(np.linspace(0, len(texts) - 1, COMPARED).astype(int))
        some = [texts[row] for row in rows]
        alone = np.concatenate([self._rows([text], role) for text in some]).astype(np.float64)
        turned = self._rows(some[::-1], role)[::-1]
        worst = np.maximum(_distance(values[rows], alone), _distance(turned, alone))
        text = int(worst.argmax())
        start, far = some[text][:60], worst[text]
        if far <= NEAR:
            return ()
        if far <= FAR:
            return (
                f"vectors of {self.name} change by {far:.1%} with the texts encoded beside them",
            )
        others = np.concatenate([np.delete(values, rows[text], 0), np.delete(turned, text, 0)])
        if _distance(others, alone[text]).min() <= NEAR:
            raise EncodingError(
                f"{self.name} returns vectors in another order than texts: that of {start!r} has "
                "the place of another; put them back after sorting"
            )
        raise EncodingError(
            f"{self.name} gives {start!r} another vector alone than among other texts, by "
            f"{far:.0%} of its length: expected one vector a text (dropout off: model.eval())"
        )


@dataclass(frozen=True)
class WithRole:
    """A function that takes the role."""

    encode: Callable[..., object]

    def __call__(self, texts: list[str], role: Role) -> object:
        """Call it with texts and role."""
        return self.encode(texts, role=role)


@dataclass(frozen=True)
class WithPromptType:
    """A function that takes query, document or None."""

    encode: Callable[..., object]

    def __call__(self, texts: list[str], role: Role) -> object:
        """Call it with texts and what mteb calls their role."""
        return self.encode(texts, prompt_type=None if role == "text" else role)


@dataclass(frozen=True)
class OfTexts:
    """A function of texts alone."""

    encode: Callable[..., object]

    def __call__(self, texts: list[str], role: Role) -> object:
        """Call it with texts, whatever their role."""
        return self.encode(texts)


def call_of(encode: Callable[..., object]) -> Call:
    """Make a function of texts and role.

    Args:
        encode: A model's own function.

    Returns:
        A value that calls it by the parameters that it has.
    """
    takes = set[str]()
    with suppress(TypeError, ValueError):  # functions in C do not tell
        takes = set(inspect.signature(encode).parameters)
    if "task_metadata" in takes:
        return OfMteb(encode)
    if "role" in takes:
        return WithRole(encode)
    if "prompt_type" in takes:
        return WithPromptType(encode)
    return OfTexts(encode)


def similarity_of(model: object, name: str) -> Similarity:
    """How a model compares vectors: as it says, or as its function of two arrays does."""
    said = getattr(model, "similarity", "cosine")
    if callable(said):
        three, four = np.array([[3, 0]], np.float32), np.array([[4, 0]], np.float32)
        with blame(f"{name}: its similarity of two arrays fails"):
            found = round(float(as_array(said(three, four)).ravel()[0]), 3)
        known = {1.0: "cosine", 12.0: "dot"}
        said = known.get(found, f"a function that makes {found:g} of (3, 0) and (4, 0)")
    if said not in ("cosine", "dot"):
        raise InputError(f"{name} compares vectors by {said}: expected cosine or dot")
    return "cosine" if said == "cosine" else "dot"


def as_array(values: Any) -> NDArray[Any]:
    """Tensors, of whatever type and device, arrays and lists as an array."""
    if hasattr(values, "detach"):
        values = values.detach().cpu()
        return np.asarray(values.float() if values.is_floating_point() else values)
    if isinstance(values, list | tuple) and any(hasattr(row, "detach") for row in values):
        return np.array([as_array(row) for row in values])
    return np.asarray(values)


def _distance(vectors: Float32, others: Float64) -> Float64:
    """How far vectors [n, d] are from others, [n, d] or [d], relative to the longer of two: [n]."""
    lengths = np.maximum(_measure(vectors), _measure(others))
    return _measure(vectors - others) / np.where(lengths == 0, 1, lengths)


def _measure(vectors: Float32 | Float64) -> Float64:
    """Lengths of vectors [n, d]: [n]. In float64, as those of finite float32 stay finite there."""
    lengths: Float64 = np.linalg.norm(vectors.astype(np.float64), axis=-1)
    return lengths
