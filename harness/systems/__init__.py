"""Systems made of others: each module registers retrievers that a spec can name as a model.

    rerank:MODEL,first=bm25        rrf:bm25+minilm        convex:[bm25,k1=0.9]+minilm@int8

A model that another index than the one asked for is to serve names its own: MODEL@INDEX.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Protocol, TypeVar, runtime_checkable

from harness import single
from harness.data import Retrieval
from harness.encoders import ENCODERS, encoder_spec
from harness.errors import InputError
from harness.indexes import INDEXES
from harness.records import System
from harness.rerankers import RERANKERS
from harness.rewriting import REWRITERS
from harness.single import Ranked, Request
from harness.spec import Registry, Spec, bare, parse, split, unknown

N = TypeVar("N", int | None, float)


@runtime_checkable
class Retriever(Protocol):
    """Makes one ranking of those of other systems. parts: their specs."""

    @property
    def parts(self) -> Sequence[str]:
        """What it is made of."""

    @property
    def readers(self) -> Sequence[Mapping[str, object]]:
        """Fingerprints of models that score what the parts find."""

    def rank(self, spec: str, data: Retrieval, request: Request) -> Ranked:
        """Its ranking of the documents. spec: what it was asked by."""


RETRIEVERS: Registry[Retriever] = Registry("retriever", "harness.systems")


def served(model: str) -> tuple[str, str | None]:
    """A model's spec and that of the index it names, if any: "minilm@int8" -> "minilm", "int8"."""
    model = bare(model)
    *head, last = split(model, "@")
    if not head or parse(last).name not in INDEXES:
        return model, None
    return bare("@".join(head)), last


def resolve(model: str) -> Spec:
    """The full spec of an encoder or a retriever, without its index. Raises InputError with the
    real choices, also for what a retriever is made of.
    """
    named, index = served(model)
    if index is not None:
        INDEXES.resolve(index)
    spec = parse(named)
    if spec.name in RETRIEVERS:
        for part in _created(spec).parts:
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
    if "@" in spec.name:
        raise unknown("index", spec.name.rpartition("@")[2], INDEXES.names())
    raise unknown("model", spec.name, [*ENCODERS.names(), *RETRIEVERS.names()])


def _created(spec: Spec) -> Retriever:
    """The retriever that a spec names. Raises InputError, with a hint where brackets may lack."""
    try:
        return RETRIEVERS.create(spec)
    except InputError as error:
        if not str(error).startswith(f"unknown parameter of {spec.name} "):
            raise
        hint = f"a part with commas stands in brackets, as {spec.name}:[bm25,k1=0.9]"
        raise InputError(f"{error} ({hint})") from None


def identity(model: str, index: str = "exact", rewrite: str = "none") -> dict[str, object]:
    """All that decides a system's rankings, known before anything is encoded: full specs, and
    fingerprints of every model in it.

    Raises:
        InputError: A name is unknown, or a model cannot be had.
    """
    named, its_own = served(model)
    index, spec = its_own or index, parse(named)
    if spec.name in RETRIEVERS:
        retriever = _created(spec)
        parts = [identity(part, index, rewrite) for part in retriever.parts]
        return {
            "full": str(RETRIEVERS.resolve(spec)),
            "parts": parts,
            "readers": [dict(reader) for reader in retriever.readers],
        }
    encoder = encoder_spec(spec)
    return {
        "full": str(ENCODERS.resolve(encoder)),
        "fingerprint": dict(ENCODERS.create(encoder).fingerprint()),
        "index": str(INDEXES.resolve(index)),
        "rewrite": str(REWRITERS.resolve(rewrite)),
    }


def rank(model: str, data: Retrieval, request: Request) -> Ranked:
    """A model's ranking of a collection. model: the spec of an encoder or of a retriever, with its
    index or without.

    Raises what encoders, indexes, rerankers and the store raise.
    """
    handed_over = request.opened.get(model)
    if isinstance(handed_over, Retriever):
        return handed_over.rank(model, data, request)
    if model not in request.opened:
        model, index = served(model)
        if index is not None:
            request = replace(request, index=index, lenient=False)
        spec = parse(model)
        if spec.name in RETRIEVERS:
            return _created(spec).rank(str(spec), data, request)
        model = str(spec)
    return single.rank(model, data, request)


def told(part: str, ranked: Ranked) -> dict[str, object]:
    """What a record says of a part: its search, and what the part alone has counted and spent."""
    about = {"system": part, "index": ranked.index, "counts": ranked.counts, "spent": ranked.spent}
    return {**ranked.details, **{name: value for name, value in about.items() if value}}


def combined(spec: str, parts: Sequence[tuple[System, str]], **decided: object) -> System:
    """What a record says of a system made of others, with the index of each. decided: what else
    decides its rankings.
    """
    full = str(RETRIEVERS.resolve(spec))
    made_of = [
        {"fingerprint": part.fingerprint, "prompts": part.prompts, "index": index}
        for part, index in parts
    ]
    return System(
        spec=spec,
        full=full,
        fingerprint={"retriever": full, "parts": made_of, **decided},
        makes="run",
        similarity="given",
        dimension=None,
        prompts={},
    )


def together(found: Sequence[Mapping[str, N]]) -> dict[str, N]:
    """Sums by name over the parts of a system; None where one is not known."""
    sums: dict[str, N] = {}
    for part in found:
        for name, value in part.items():
            known = sums.get(name, 0)
            sums[name] = None if value is None or known is None else known + value
    return sums
