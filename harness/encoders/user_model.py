"""A model of your own: whatever turns texts into an array becomes an encoder.

    @harness.encoder("letters")
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
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, overload

from harness.data import Purpose, Role
from harness.encoders import (
    ENCODERS,
    OWN,
    CollectionEncoder,
    Encoded,
    Encoder,
    Similarity,
    TextEncoder,
)
from harness.encoders.callable import CallableEncoder, as_array, call_of, similarity_of
from harness.encoders.checkpoint import Checkpoint, ModelOptions, count_positions
from harness.encoders.late_interaction import LateInteractionEncoder
from harness.encoders.learned_sparse import LearnedSparseEncoder
from harness.encoders.models import MODELS
from harness.encoders.prompting import Prompting
from harness.encoders.sentence_transformers import SentenceTransformerEncoder
from harness.errors import InputError, blame, reason
from harness.parameters import read_hints, read_signature
from harness.registry import decorate
from harness.spec import Spec
from harness.vectors import Representation

Made = TypeVar("Made", bound=Callable[..., object])

LIBRARY = "sentence_transformers."
BATCH = 32  # texts that a model of sentence-transformers is given at a time


@overload
def register(name: str) -> Callable[[Made], Made]: ...
@overload
def register(name: Made) -> Made: ...
def register(name: str | Made | None = None) -> Any:
    """Decorate a function of texts, or a class with encode(texts), with the name of a model.

    Args:
        name: What specs call it; without one (`@harness.encoder` alone), the function's own name.

    Returns:
        The decorator, which gives back what it is put on.

    Raises:
        InputError: The name is taken, or cannot be written in a spec.
    """
    return decorate(name, _register, "encoder")


def _register(name: str, made: Made) -> Made:
    """Register what was decorated."""
    model: Any = made
    is_class = inspect.isclass(made)

    def factory(**parameters: Any) -> Encoder:
        if not is_class:
            return _adapt(model, name, parameters)
        # an object may hold weights: it is made once as long as it is among the models held
        key = (model, *sorted(parameters.items()))
        return _adapt(MODELS.get(key, partial(model, **parameters)), name, parameters)

    # what a registry reads of a factory
    signature = read_signature(model, f"encoder {name!r}") if is_class else inspect.Signature()
    vars(factory)["__signature__"] = signature
    factory.__annotations__ = read_hints(made, name) if is_class else {}
    factory.__doc__ = inspect.getdoc(model)
    ENCODERS.register(name, of=made)(factory)
    return made


def adapt(model: object, name: str = "") -> Encoder:
    """Make an encoder of any callable or object with encode(texts) -> array [n, d].

    Args:
        model: Also a loaded model of sentence-transformers or a model of mteb; an encoder is given
            back as it is.
        name: In place of the object's own.

    Returns:
        The encoder.

    Raises:
        InputError: It is anything else.
    """
    return _adapt(model, name, {})


def _adapt(model: Any, name: str, parameters: Mapping[str, object]) -> Encoder:
    if isinstance(model, TextEncoder | CollectionEncoder):
        return model
    label = name or label_of(model)
    if inspect.isclass(model):
        raise InputError(f"{label} is a class: hand over an object of it, {label}()")
    identity = {"own": label, **identify(model, label, parameters)}
    return UserModel(_inner(model, label), label, identity, "fingerprint" in identity)


def identify(model: Any, label: str, parameters: Mapping[str, object]) -> dict[str, object]:
    """What is known of what decides the results of somebody's own model or search.

    Args:
        model: It may have a fingerprint; else it is seen by its code and weights, where these are.
        label: What people call it.
        parameters: What it was made with.

    Raises:
        InputError: Its fingerprint or its weights cannot be had, or are nothing for a record.
    """
    found = dict[str, object]()
    if parameters:
        found["parameters"] = {key: str(value) for key, value in sorted(parameters.items())}
    with blame(f"{label}: what identifies it cannot be read"):
        given = getattr(model, "fingerprint", None)
        given = given() if callable(given) else given
        found |= _traces(model) if given is None else {"fingerprint": given}
    try:
        json.dumps(found)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"{label}: its fingerprint cannot be written as JSON ({reason(error)}): expected text "
            "or a dict of text and numbers"
        ) from None
    return found


def own_spec(model: object, encoder: Encoder) -> str:
    """Name a model that was handed over, as no registered one is named.

    Args:
        model: What was handed over.
        encoder: What was made of it.

    Returns:
        A spec, as own:letters.
    """
    label = encoder.name if isinstance(encoder, UserModel) else label_of(model)
    return str(Spec(OWN, label))


def label_of(model: object) -> str:
    """What a model calls itself, or else its class; of a function not where it was defined."""
    about = getattr(model, "mteb_model_meta", model)
    told = [getattr(about, "name", None), getattr(model, "__qualname__", None)]
    label = next((one for one in told if isinstance(one, str) and one), type(model).__qualname__)
    return label.rpartition("<locals>.")[2].replace("<lambda>", "lambda")


@dataclass(frozen=True)
class UserModel(TextEncoder):
    """A model that somebody brings.

    Attributes:
        inner: What encodes.
        name: What people call it.
        identity: What is known of what decides its vectors.
        cacheable: Whether its vectors can be known again.
    """

    inner: TextEncoder
    name: str
    identity: Mapping[str, object]
    cacheable: bool = False

    @property
    def representation(self) -> Representation:
        """What a text becomes."""
        return self.inner.representation

    @property
    def similarity(self) -> Similarity:
        """How two of its vectors are compared."""
        return self.inner.similarity

    @property
    def asked_dim(self) -> int | None:
        """Dimensions asked of its vectors."""
        return self.inner.asked_dim

    @property
    def notes(self) -> tuple[str, ...]:
        """Whether its vectors are kept."""
        unknown = f"{self.name} has no fingerprint: its vectors are not kept, and made anew"
        return (*self.inner.notes, *([] if self.cacheable else [unknown]))

    def fingerprint(self) -> Mapping[str, object]:
        """Tell its own, or its name with the SHA-256 of code and weights where they are seen."""
        return {**self.identity, **self.inner.fingerprint()}

    def prompt(self, role: Role) -> str:
        """Tell that of a model of sentence-transformers; others put what they like before texts."""
        return self.inner.prompt(role)

    def name_prompt(self, role: Role) -> str:
        """Tell what a model of sentence-transformers calls it."""
        return self.inner.name_prompt(role)

    def for_task(self, purpose: Purpose) -> UserModel:
        """Give the same as it is asked for a task, where that makes a difference."""
        return replace(self, inner=self.inner.for_task(purpose))

    @property
    def device_kind(self) -> str:
        """As far as that can be seen."""
        return self.inner.device_kind

    def made_with(self) -> Mapping[str, str]:
        """Tell what can be seen of it: of a model of sentence-transformers device and libraries."""
        return self.inner.made_with()

    def encode(self, texts: Sequence[str], role: Role) -> Encoded:
        """Encode texts. Raises EncodingError saying what is wrong with them."""
        return self.inner.encode(texts, role)


def _inner(model: Any, name: str) -> TextEncoder:
    """What encodes, by what a model is. Raises InputError for what is none."""
    bases = [base for base in type(model).__mro__ if base.__module__.startswith(LIBRARY)]
    kinds = {base.__name__ for base in bases}
    if "SparseEncoder" in kinds:
        return LearnedSparseEncoder(**_parts(model, name))
    if "MultiVectorEncoder" in kinds:
        return LateInteractionEncoder(**_parts(model, name))
    similarity = similarity_of(model, name)
    if "SentenceTransformer" in kinds:
        parts, dim = _parts(model, name), model.truncate_dim
        return SentenceTransformerEncoder(**parts, similarity=similarity, dim=dim)
    encode = getattr(model, "encode", model)
    if not callable(encode):
        raise InputError(
            f"{name} is no model: expected a function of texts, an object with encode(texts), or a "
            "model of sentence-transformers or mteb"
        )
    return CallableEncoder(name, call_of(encode), similarity)


def _parts(model: Any, name: str) -> dict[str, Any]:
    """What every encoder of sentence-transformers is made of, of a model in memory already."""
    prompts = Prompting(model.prompts, default=model.default_prompt_name or "")
    most = count_positions(model)
    if most is not None and (model.max_seq_length or 0) > most:
        raise InputError(f"{name} has {most} positions: expected model.max_seq_length = {most}")
    dtype: Any = str(model.dtype).removeprefix("torch.")
    options = ModelOptions(dtype=dtype, device=str(model.device), packing="off")
    nowhere = Checkpoint(name, Path(), {}, options)
    return {"checkpoint": nowhere, "prompting": prompts, "batch_size": BATCH, "handed": model}


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
            digest.update(as_array(tensor).tobytes())
        found["weights_sha256"] = digest.hexdigest()
    return found
