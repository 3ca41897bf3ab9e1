"""Systems made of others: each module registers retrievers that a spec can name as a model.

    rerank:MODEL,first=bm25        rrf:bm25+minilm        convex:[bm25,k1=0.9]+minilm@int8

A model that another index than the one asked for is to serve names its own: MODEL@INDEX.
"""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace

from harness.data import Retrieval
from harness.encoders import ENCODERS, OWN, TextEncoder, encoder_spec
from harness.errors import InputError
from harness.indexes import INDEXES
from harness.pipeline import single
from harness.pipeline.single import Ranked, Request
from harness.registry import Registry, unknown
from harness.rerankers import RERANKERS
from harness.rewriting import REWRITERS
from harness.spec import Spec, bare, parse, split
from harness.vectors import Representation

PROCESS = secrets.token_hex(8)  # stands for what another process cannot know again


class Retriever(ABC):
    """Makes one ranking, of those of other systems or by a search of its own."""

    @property
    def parts(self) -> Sequence[str]:
        """Specs of the systems that it is made of; none by default."""
        return ()

    @property
    def readers(self) -> Sequence[Mapping[str, object]]:
        """Fingerprints of models beside the parts that decide its ranking; none by default."""
        return ()

    @abstractmethod
    def rank(self, spec: str, data: Retrieval, request: Request) -> Ranked:
        """Rank the documents. spec: what it was asked by."""


RETRIEVERS: Registry[Retriever] = Registry(
    "retriever", "harness.systems", reserved=(OWN,), beside="harness.encoders"
)


def split_index(model: str) -> tuple[str, str | None]:
    """A model's spec and that of the index it names, if any: "minilm@int8" -> "minilm", "int8".

    Raises InputError for an index that there is not.
    """
    model = bare(model)
    *head, last = split(model, "@")
    if not head or parse(last).name not in INDEXES:
        if "@" in (name := encoder_spec(model).name):  # which no encoder has in its name
            raise unknown("index", name.rpartition("@")[2], INDEXES.names())
        return model, None
    return bare("@".join(head)), last


def choose_index(model: object, index: str) -> str:
    """The index that serves a system: the one it names, else this. What is no text names none."""
    return (split_index(model)[1] if isinstance(model, str) else None) or index


def refuse_idle_index(models: Sequence[object], index: str) -> None:
    """Refuse an index for systems that name none where all name another. Raises InputError."""
    if models and index != "exact" and all(choose_index(model, index) != index for model in models):
        raise InputError(
            f"index {index} plays no part: {', '.join(map(str, models))} names its own"
        )


def resolve(model: str) -> Spec:
    """The full spec of an encoder or a retriever, without its index.

    Raises InputError with the real choices, also for what a retriever is made of.
    """
    named, index = split_index(model)
    if index is not None:
        INDEXES.resolve(index)
    spec = parse(named)
    if spec.name in RETRIEVERS:
        for part in _create(spec).parts:
            resolve(part)
        return RETRIEVERS.resolve(spec)
    encoder = encoder_spec(spec)
    if encoder.name in ENCODERS:
        return ENCODERS.resolve(encoder)
    if spec.name in RERANKERS:
        inner = f"[{named}]" if "," in named else named
        raise InputError(
            f"{named} scores what another model finds: expected rerank:{inner},first=bm25"
        )
    raise unknown("model", spec.name, [*ENCODERS.choices(), *RETRIEVERS.choices()])


def rename(model: str) -> str:
    """A model's spec without an index, its parameters under today's names. Warns of old ones."""
    spec = parse(model)
    if spec.name in RETRIEVERS:
        return RETRIEVERS.rename(model)
    return ENCODERS.rename(model, encoder_spec(spec).name)


def _create(spec: Spec) -> Retriever:
    """The retriever that a spec names. Raises InputError, with a hint where brackets may lack."""
    try:
        return RETRIEVERS.create(spec)
    except InputError as error:
        if not str(error).startswith(f"unknown parameter of {spec.name} "):
            raise
        hint = f"a part with commas stands in brackets, as {spec.name}:[bm25,k1=0.9]"
        raise InputError(f"{error} ({hint})") from None


def list_encoders(model: str) -> list[str]:
    """Specs of the encoders that a system is made of, each once; none of a search of its own."""
    named, _ = split_index(model)
    spec = parse(named)
    if spec.name not in RETRIEVERS:
        return [named]
    parts = (list_encoders(part) for part in _create(spec).parts)
    return list(dict.fromkeys(encoder for part in parts for encoder in part))


def identify_encoder(text: str | Spec) -> dict[str, object]:
    """All that decides an encoder's vectors; what is not known again is so within this process."""
    spec = encoder_spec(text)
    encoder = ENCODERS.create(spec)
    known = not isinstance(encoder, TextEncoder) or encoder.cacheable
    return {
        "full": str(ENCODERS.resolve(spec)),
        "fingerprint": dict(encoder.fingerprint()),
        "code": [ENCODERS.code(spec), *([] if known else [PROCESS])],
    }


def _identify_index(text: str, makes: Representation) -> list[object]:
    """All that decides what an index finds; of one that does not take the vectors, its name."""
    index, full = INDEXES.create(text), str(INDEXES.resolve(text))
    if makes not in index.accepts:
        return [full]
    index.require(makes)
    return [full, INDEXES.code(text), dict(index.describe())]


def identity(model: str, index: str = "exact", rewrite: str = "none") -> dict[str, object]:
    """All that decides a system's rankings, before encoding.

    Full specs, fingerprints of models, what indexes and rewritings say of themselves (`describe`),
    and the code of what is not the harness's own.

    Raises:
        InputError: A name is unknown, or a model cannot be had.
    """
    named, its_own = split_index(model)
    index, spec = its_own or index, parse(named)
    if spec.name in RETRIEVERS:
        retriever = _create(spec)
        parts = [identity(part, index, rewrite) for part in retriever.parts]
        return {
            "full": str(RETRIEVERS.resolve(spec)),
            "code": RETRIEVERS.code(spec),
            "parts": parts,
            "readers": [dict(reader) for reader in retriever.readers],
        }
    makes = ENCODERS.create(encoder_spec(spec)).representation
    rewritten = single.rewriting(rewrite)
    return {
        **identify_encoder(spec),
        "index": _identify_index(index, makes),
        "rewrite": rewritten and [rewritten.full, REWRITERS.code(rewrite), rewritten.details],
    }


def rank(model: str, data: Retrieval, request: Request) -> Ranked:
    """A model's ranking of a collection.

    model: the spec of an encoder or of a retriever, with its index or without. Raises what
    encoders, indexes, rerankers and the store raise.
    """
    handed_over = request.own.get(model)
    if isinstance(handed_over, Retriever):
        return handed_over.rank(model, data, request)
    if handed_over is None:
        model, index = split_index(model)
        if index is not None:
            request = replace(request, index=index, lenient=False)
        spec = parse(model)
        if spec.name in RETRIEVERS:
            return _rank_by(_create(spec), str(spec), data, request)
        model = str(spec)
    return single.rank(model, data, request)


def _rank_by(retriever: Retriever, spec: str, data: Retrieval, request: Request) -> Ranked:
    """A retriever's ranking. Raises InputError where it says nothing of what it is made of."""
    found = retriever.rank(spec, data, request)
    if retriever.parts and not found.parts:
        raise InputError(
            f"{spec} is made of {', '.join(retriever.parts)} and its ranking tells nothing of "
            "them: make it a harness.systems.composite.Composite, or return what join() makes"
        )
    return found
