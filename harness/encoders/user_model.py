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
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from harness.data import Role
from harness.encoders import ENCODERS, Encoded, Encoder, Similarity, TextEncoder, instructed
from harness.encoders.prompting import Prompts, role_prompts
from harness.encoders.callable import Called, as_array, call_of, similarity_of
from harness.encoders.late_interaction import LateInteractionEncoder
from harness.encoders.learned_sparse import LearnedSparseEncoder
from harness.encoders.sentence_transformers import SentenceTransformerEncoder
from harness.encoders.checkpoint import Checkpoint
from harness.errors import InputError, reason
from harness.vectors import Representation

Made = TypeVar("Made", bound=Callable[..., object])

LIBRARY = "sentence_transformers."
BATCH = 32  # texts that a model of sentence-transformers is given at a time


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


def _inner(model: Any, name: str) -> TextEncoder:
    """What encodes, by what a model is. Raises InputError for what is none."""
    bases = [base for base in type(model).__mro__ if base.__module__.startswith(LIBRARY)]
    kinds = {base.__name__ for base in bases}
    if "SparseEncoder" in kinds:
        return LearnedSparseEncoder(*_loaded(model, name))
    if "MultiVectorEncoder" in kinds:
        return LateInteractionEncoder(*_loaded(model, name), seed=None)
    similarity = similarity_of(model, name)
    if "SentenceTransformer" in kinds:
        return SentenceTransformerEncoder(*_loaded(model, name), similarity, model.truncate_dim)
    encode = getattr(model, "encode", model)
    if not callable(encode):
        raise InputError(
            f"{name} is no model: expected a function of texts, an object with encode(texts), or a "
            "model of sentence-transformers or mteb"
        )
    return Called(name, call_of(encode), similarity)


def _loaded(model: Any, name: str) -> tuple[Checkpoint, Callable[[], Any], Prompts, int]:
    """What every encoder of sentence-transformers is made of, of a model in memory already."""
    prompts = role_prompts(model.prompts, default=model.default_prompt_name or "")
    dtype: Any = str(model.dtype).removeprefix("torch.")
    nowhere = Checkpoint(name, Path(), {}, dtype, None, str(model.device), False)
    return nowhere, lambda: model, prompts, BATCH


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
