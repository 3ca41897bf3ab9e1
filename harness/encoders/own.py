"""A model of your own: whatever turns texts into an array becomes an encoder.

    @harness.model("letters")
    def letters(texts):
        return np.array([[text.count(letter) for letter in "etaoin"] for text in texts])

A class with encode(texts) may have parameters, which specs then set (letters,case=upper). Where it
takes `role` (query, document or text) or `prompt_type` (query, document or None), it is told. It
may have `similarity` ("cosine" or "dot"), and `fingerprint`: text or JSON that changes whenever its
vectors do. Without one its vectors cannot be known again, and are not kept.
"""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, TypeVar, get_type_hints

import numpy as np
from numpy.typing import NDArray

from harness.encoders import ENCODERS, Encoded, Encoder, Similarity, TextEncoder, instructed
from harness.encoders.late_interaction import LateInteractionEncoder
from harness.encoders.learned_sparse import LearnedSparseEncoder
from harness.encoders.sentence_transformers import SentenceTransformerEncoder
from harness.encoders.weights import Checkpoint, role_prompts
from harness.types import (
    EncodingError,
    Float32,
    Float64,
    InputError,
    Representation,
    Role,
    reason,
)

Made = TypeVar("Made", bound=Callable[..., object])
Call = Callable[[list[str], Role], object]

BATCH = 32  # texts that an object of mteb or sentence-transformers is given at a time
COMPARED = 4  # texts of the first batch that are encoded again, alone and in another order
NEAR = 1e-3  # of a vector's length: what rounding may change
FAR = 0.05  # what it cannot
KINDS = {
    "SentenceTransformer": SentenceTransformerEncoder,
    "SparseEncoder": LearnedSparseEncoder,
    "MultiVectorEncoder": LateInteractionEncoder,
}


def register(name: str) -> Callable[[Made], Made]:
    """Decorate a function of texts, or a class with encode(texts), with the name of a model."""

    def add(made: Made) -> Made:
        model: Any = made
        is_class = inspect.isclass(made)

        def factory(**parameters: Any) -> Encoder:
            return _adapted(model(**parameters) if is_class else model, name, parameters)

        # what a registry reads of a factory
        signature = inspect.signature(model) if is_class else inspect.Signature()
        vars(factory)["__signature__"] = signature
        factory.__annotations__ = get_type_hints(model.__init__) if is_class else {}
        factory.__doc__ = inspect.getdoc(model)
        ENCODERS.register(name)(factory)
        return made

    return add


def adapt(model: object, name: str = "") -> Encoder:
    """An encoder of any callable or object with encode(texts) -> array [n, d].

    Also of a loaded model of sentence-transformers and of a model of mteb; an encoder is given
    back as it is. name: in place of the object's own. Raises InputError for anything else.
    """
    return _adapted(model, name, {})


def _adapted(model: Any, name: str, parameters: Mapping[str, object]) -> Encoder:
    given = getattr(model, "fingerprint", None)
    if callable(given) and hasattr(model, "makes"):
        encoder: Encoder = model
        return encoder
    about = getattr(model, "mteb_model_meta", model)
    told = [name, getattr(about, "name", None), getattr(model, "__qualname__", None)]
    label = next((one for one in told if isinstance(one, str) and one), type(model).__qualname__)
    if inspect.isclass(model):
        raise InputError(f"{label} is a class: hand over an object of it, {label}()")
    identity: dict[str, object] = {"own": label}
    if parameters:
        identity["parameters"] = {key: str(value) for key, value in sorted(parameters.items())}
    if given is None:
        identity |= _traces(model)
    else:
        identity["fingerprint"] = given() if callable(given) else given
    try:
        json.dumps(identity)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"{label}: its fingerprint cannot be written as JSON ({reason(error)}): expected text "
            "or a dict of text and numbers"
        ) from None
    return Own(_inner(model, label), label, identity, given is not None)


@dataclass(frozen=True)
class Own:
    """A model that was handed over. kept: whether its vectors can be known again."""

    inner: TextEncoder
    name: str
    identity: Mapping[str, object]
    kept: bool

    @property
    def makes(self) -> Representation:
        """What a text becomes."""
        return self.inner.makes

    @property
    def similarity(self) -> Similarity:
        """How two of its vectors are compared."""
        return self.inner.similarity

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was seen of its vectors so far, and whether they are kept."""
        unknown = f"{self.name} has no fingerprint: its vectors are not kept, and made anew"
        seen = getattr(self.inner, "warnings", ())
        return (*seen, *([] if self.kept else [unknown]))

    def fingerprint(self) -> Mapping[str, object]:
        """Its own, or its name with the SHA-256 of its code and its weights where they are seen."""
        return {**self.identity, **self.inner.fingerprint()}

    def prompt(self, role: Role) -> str:
        """That of a model of sentence-transformers; any other puts what it likes before a text."""
        return self.inner.prompt(role)

    def instructed(self, instructions: Mapping[str, str]) -> Own:
        """The same for a task's instructions by role, where it reads them."""
        inner: Any = instructed(self.inner, instructions)
        return replace(self, inner=inner)

    def load(self) -> None:
        """Nothing to load: it was handed over as it is."""

    def encode(self, texts: Sequence[str], role: Role) -> Encoded:
        """Vectors of texts. Raises EncodingError saying what is wrong with them."""
        return self.inner.encode(texts, role)


@dataclass
class Called:
    """Dense vectors by a function of texts, which is not trusted to keep their order.

    width: dimensions seen so far; seen: roles whose first batch was looked at.
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
        """What the model returns for texts, as an array [n, d]."""
        n = len(texts)
        try:
            values = _array(self.call(texts, role))
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


@dataclass(frozen=True)
class OfMteb:
    """A model of mteb, called as mteb calls it; it learns of the task only its instructions."""

    encode: Callable[..., object]
    instructions: Mapping[str, str] = field(default_factory=dict)

    def __call__(self, texts: list[str], role: Role) -> object:
        """What it returns for texts in a role."""
        from datasets import Dataset
        from mteb.abstasks.task_metadata import TaskMetadata
        from mteb.types import PromptType
        from torch.utils.data import DataLoader

        task: dict[str, Any] = {
            "name": "Own",
            "description": "texts to be encoded",
            "dataset": {"path": "local/own", "revision": "local"},
            "type": "STS" if role == "text" else "Retrieval",
            "category": "t2t",
            "eval_langs": ["eng-Latn"],
            "main_score": "cosine_spearman" if role == "text" else "ndcg_at_10",
            "prompt": dict(self.instructions) or None,
        }
        return self.encode(
            DataLoader(Dataset.from_dict({"text": texts}), batch_size=BATCH),
            task_metadata=TaskMetadata(**task),
            hf_split="test",
            hf_subset="default",
            prompt_type=None if role == "text" else PromptType(role),
            batch_size=BATCH,
            show_progress_bar=False,
        )


def _inner(model: Any, name: str) -> TextEncoder:
    """What encodes, by what a model is."""
    for base in type(model).__mro__:
        if base.__module__.startswith("sentence_transformers.") and base.__name__ in KINDS:
            return _loaded(model, base.__name__, name)
    encode = getattr(model, "encode", model)
    if not callable(encode):
        raise InputError(
            f"{name} is no model: expected a function of texts, an object with encode(texts), or a "
            "model of sentence-transformers or mteb"
        )
    return Called(name, _call(encode), _similarity(model, name))


def _call(encode: Callable[..., object]) -> Call:
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


def _similarity(model: object, name: str) -> Similarity:
    """How a model compares vectors: as it says, or as its function of two arrays does."""
    said = getattr(model, "similarity", "cosine")
    if callable(said):
        three, four = np.array([[3, 0]], np.float32), np.array([[4, 0]], np.float32)
        found = round(float(_array(said(three, four)).ravel()[0]), 3)
        known = {1.0: "cosine", 12.0: "dot"}
        said = known.get(found, f"a function that makes {found:g} of (3, 0) and (4, 0)")
    if said not in ("cosine", "dot"):
        raise InputError(f"{name} compares vectors by {said}: expected cosine or dot")
    return "cosine" if said == "cosine" else "dot"


def _loaded(model: Any, kind: str, name: str) -> TextEncoder:
    """A model of sentence-transformers that is in memory already."""
    prompts = role_prompts(model.prompts, None, None, model.default_prompt_name or "")
    dtype: Any = str(model.dtype).removeprefix("torch.")
    place = Checkpoint(name, Path(), {}, dtype, None, str(model.device), False)
    options: dict[str, Any] = {"checkpoint": place, "prompts": prompts, "batch_size": BATCH}
    if kind == "SentenceTransformer":
        options |= {"similarity": _similarity(model, name), "truncate_dim": model.truncate_dim}
    if kind == "MultiVectorEncoder":
        options["seed"] = None
    made: Any = KINDS[kind](**options)
    vars(made)["model"] = model  # what the encoder would load
    encoder: TextEncoder = made
    return encoder


def _traces(model: Any) -> dict[str, str]:
    """What tells one model from another in a record, where it can be seen: code and weights."""
    found = {}
    with suppress(OSError, TypeError):
        code = inspect.getsource(model if inspect.isroutine(model) else type(model))
        found["source_sha256"] = hashlib.sha256(code.encode()).hexdigest()
    if callable(weights := getattr(model, "state_dict", None)):
        digest = hashlib.sha256()
        for key, tensor in weights().items():
            digest.update(f"{key}{tensor.dtype}".encode())
            digest.update(_array(tensor).tobytes())
        found["weights_sha256"] = digest.hexdigest()
    return found


def _array(values: Any) -> NDArray[Any]:
    """Tensors, of whatever type and device, arrays and lists as an array."""
    if hasattr(values, "detach"):
        values = values.detach().cpu()
        return np.asarray(values.float() if values.is_floating_point() else values)
    if isinstance(values, list | tuple) and any(hasattr(row, "detach") for row in values):
        return np.array([_array(row) for row in values])
    return np.asarray(values)


def _apart(vectors: Float32, others: Float64) -> Float64:
    """How far vectors [n, d] are from others, [n, d] or [d], relative to the longer of two: [n]."""
    lengths = np.maximum(np.linalg.norm(vectors, axis=-1), np.linalg.norm(others, axis=-1))
    apart: Float64 = np.linalg.norm(vectors - others, axis=-1) / np.where(lengths == 0, 1, lengths)
    return apart
