"""Dense vectors by somebody's function of texts, which is not trusted to keep their order."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from harness.arrays import Float32, Float64
from harness.data import Role
from harness.encoders import Encoded, Similarity
from harness.encoders.mteb import OfMteb
from harness.errors import EncodingError, InputError, reason
from harness.vectors import Representation

Call = Callable[[list[str], Role], object]

COMPARED = 4  # texts of the first batch that are encoded again, alone and in another order
NEAR = 1e-3  # of a vector's length: what rounding may change
FAR = 0.05  # what it cannot


@dataclass
class Called:
    """A function and what was seen of its vectors.

    width: dimensions so far; seen: roles whose first batch was looked at.
    """

    name: str
    call: Call
    similarity: Similarity
    width: int | None = None
    seen: set[Role] = field(default_factory=set)
    warnings: tuple[str, ...] = ()

    makes: ClassVar[Representation] = "dense"

    def fingerprint(self) -> Mapping[str, object]:
        """The instructions that a model of mteb was given; nothing else is known."""
        given = self.call.instructions if isinstance(self.call, OfMteb) else {}
        return {"instructions": dict(given)} if given else {}

    def prompt(self, role: Role) -> str:
        """None that is known."""
        return ""

    def instructed(self, instructions: Mapping[str, str]) -> Called:
        """A model of mteb with a task's instructions; others do not read them."""
        if not isinstance(self.call, OfMteb):
            return self
        return replace(self, call=replace(self.call, instructions=instructions))

    def load(self) -> None:
        """Nothing to load."""

    def encode(self, texts: Sequence[str], role: Role) -> Encoded:
        """Vectors [n, d]; tokens are not known. The first batch of a role is encoded in part again.

        Raises EncodingError for what is no array of a vector for each text, always of one width,
        for vectors in another order than their texts, and for those that do not repeat.
        """
        values = self._rows(list(texts), role)
        if role not in self.seen and len(texts) > 1:
            self._compare(values, texts, role)
            self.seen.add(role)
        return Encoded(values, np.full(len(texts), -1, np.int32), np.zeros(len(texts), np.bool_))

    def _rows(self, texts: list[str], role: Role) -> Float32:
        """What the function returns for texts, as an array [n, d]."""
        n = len(texts)
        try:
            values = as_array(self.call(texts, role))
        except Exception as error:  # anything may be wrong with somebody's model
            raise EncodingError(
                f"{self.name} fails on {n} texts: {type(error).__name__}: {reason(error)}"
            ) from error
        if values.dtype.kind not in "biuf":
            raise EncodingError(f"{self.name} returned no numbers but {values.dtype} for {n} texts")
        if values.ndim != 2 or len(values) != n or not values.shape[1]:
            raise EncodingError(
                f"{self.name} returned an array of shape {values.shape} for {n} texts: "
                f"expected ({n}, d)"
            )
        if self.width not in (None, values.shape[1]):
            raise EncodingError(
                f"{self.name} returned {values.shape[1]}-d vectors after {self.width}-d ones: "
                "expected one width"
            )
        self.width = values.shape[1]
        with np.errstate(over="ignore"):  # infinity is refused where vectors are kept or searched
            return values.astype(np.float32)

    def _compare(self, values: Float32, texts: Sequence[str], role: Role) -> None:
        """Hold vectors of a batch to those of some of its texts alone and in the other order.

        A model that sorts texts by length and does not put their vectors back shows in one of them.
        """
        rows = np.unique(np.linspace(0, len(texts) - 1, COMPARED).astype(int))
        some = [texts[row] for row in rows]
        alone = np.concatenate([self._rows([text], role) for text in some]).astype(np.float64)
        turned = self._rows(some[::-1], role)[::-1]
        if not all(np.isfinite(each).all() for each in (values, alone, turned)):
            return  # refused elsewhere
        worst = np.maximum(_apart(values[rows], alone), _apart(turned, alone))
        text = int(worst.argmax())
        start, far = some[text][:60], worst[text]
        if far <= NEAR:
            return
        if far <= FAR:
            note = f"vectors of {self.name} change by {far:.1%} with the texts encoded beside them"
            self.warnings = (*self.warnings, note)
            return
        others = np.concatenate([np.delete(values, rows[text], 0), np.delete(turned, text, 0)])
        if _apart(others, alone[text]).min() <= NEAR:
            raise EncodingError(
                f"{self.name} returns vectors in another order than texts: that of {start!r} has "
                "the place of another; put them back after sorting"
            )
        raise EncodingError(
            f"{self.name} gives {start!r} another vector alone than among other texts, by "
            f"{far:.0%} of its length: expected one vector a text (dropout off: model.eval())"
        )


def call_of(encode: Callable[..., object]) -> Call:
    """A function of texts and role, by the parameters that a model's own has."""
    takes = set[str]()
    with suppress(TypeError, ValueError):  # functions in C do not tell
        takes = set(inspect.signature(encode).parameters)
    if "task_metadata" in takes:
        return OfMteb(encode)
    if "role" in takes:
        return lambda texts, role: encode(texts, role=role)
    if "prompt_type" in takes:
        return lambda texts, role: encode(texts, prompt_type=None if role == "text" else role)
    return lambda texts, role: encode(texts)


def similarity_of(model: object, name: str) -> Similarity:
    """How a model compares vectors: as it says, or as its function of two arrays does."""
    said = getattr(model, "similarity", "cosine")
    if callable(said):
        three, four = np.array([[3, 0]], np.float32), np.array([[4, 0]], np.float32)
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


def _apart(vectors: Float32, others: Float64) -> Float64:
    """How far vectors [n, d] are from others, [n, d] or [d], relative to the longer of two: [n]."""
    lengths = np.maximum(np.linalg.norm(vectors, axis=-1), np.linalg.norm(others, axis=-1))
    apart: Float64 = np.linalg.norm(vectors - others, axis=-1) / np.where(lengths == 0, 1, lengths)
    return apart
