"""The texts of a task as vectors: from the store, or made now; and what was counted on the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from harness.arrays import Float32, Int32
from harness.data import Role
from harness.encoders import CollectionEncoder, Encoder, TextEncoder
from harness.errors import InputError
from harness.phases import Clock
from harness.store import Store
from harness.usage import Usage, sum_usage
from harness.vectors import Dense, Embeddings, MultiVector, Sparse, of_kind

BLOCK = 1 << 16  # rows worked on at a time

Counts = dict[str, int | None]


@dataclass(frozen=True)
class Vectors:
    """Vectors by part ("documents", "queries", "sentences"), counts, warnings and what was paid."""

    parts: Mapping[str, Embeddings]
    counts: Counts
    warnings: list[str] = field(default_factory=list)
    usage: Usage = field(default_factory=dict)


def represent(
    label: str,
    encoder: Encoder,
    parts: Mapping[str, tuple[Role, Sequence[str]]],
    store: Store,
    clock: Clock,
    *,
    counts: bool = False,
) -> Vectors:
    """Encode each part of a task in its role. label: the encoder's spec, for people.

    counts: also give the documents' term counts, as the part "counts", where the encoder weighs
    terms by a corpus. Raises what the encoder and the store raise.
    """
    if isinstance(encoder, CollectionEncoder):
        return _by_collection(label, encoder, parts, clock, counts=counts)
    if encoder.cacheable:
        return _by_text(label, encoder, parts, store, clock)
    with TemporaryDirectory() as folder:  # arrays that are mapped outlive their files
        return _by_text(label, encoder, parts, Store(Path(folder)), clock)


def _by_collection(
    label: str,
    encoder: CollectionEncoder,
    parts: Mapping[str, tuple[Role, Sequence[str]]],
    clock: Clock,
    *,
    counts: bool,
) -> Vectors:
    if set(parts) != {"documents", "queries"}:
        return _transductive(label, encoder, parts, clock)
    (_, documents), (_, queries) = parts["documents"], parts["queries"]
    with clock.phase("encode", items=len(documents) + len(queries), unit="texts"):
        made = encoder.encode_collection(documents, queries, counts=counts)
    vectors = {"documents": made.documents, "queries": made.queries}
    counted, warnings = _noted(vectors, [made.document_tokens, made.query_tokens])
    if made.counts is not None:
        vectors["counts"] = made.counts
    return Vectors(vectors, counted, [*made.notes, *warnings])


def _transductive(
    label: str,
    encoder: CollectionEncoder,
    parts: Mapping[str, tuple[Role, Sequence[str]]],
    clock: Clock,
) -> Vectors:
    """Vectors of texts from the encoder fitted on just these, as there is no corpus."""
    if not encoder.symmetric:
        raise InputError(
            f"{label} weighs terms by a corpus, and the task has only pairs of sentences: "
            "choose a model that makes dense vectors"
        )
    texts = [text for _, part in parts.values() for text in part]
    distinct = sorted(set(texts))
    with clock.phase("encode", items=len(texts), unit="texts"):
        made = encoder.encode_collection(distinct, texts)
    queries = of_kind(made.queries, Dense)
    ends = np.cumsum([len(part) for _, part in parts.values()])[:-1]
    values = zip(parts, np.split(queries.values, ends), strict=True)
    vectors: dict[str, Embeddings] = {name: Dense(rows) for name, rows in values}
    counted, warnings = _noted(vectors, np.split(made.query_tokens, ends))
    note = f"{label} is fitted on the task's own texts, {len(distinct)} distinct ones: transductive"
    return Vectors(vectors, counted, [note, *made.notes, *warnings])


def _noted(vectors: Mapping[str, Embeddings], tokens: Sequence[Int32]) -> tuple[Counts, list[str]]:
    """What is counted of each part, and warned of."""
    counts: Counts = {}
    warnings: list[str] = []
    for (name, part), of_texts in zip(vectors.items(), tokens, strict=True):
        zero = _zeros(part)
        counts |= _counted(name, texts=len(part), tokens=_total(of_texts), zero_vectors=zero)
        warnings += _of_zeros(name, part, zero)
    return counts, warnings


def _by_text(
    label: str,
    encoder: TextEncoder,
    parts: Mapping[str, tuple[Role, Sequence[str]]],
    store: Store,
    clock: Clock,
) -> Vectors:
    with clock.phase("load", "store"):
        plans = {
            name: store.plan(encoder, texts, role, label) for name, (role, texts) in parts.items()
        }
    if any(len(plan.missing) for plan in plans.values()):
        with clock.phase("load", "model"):
            encoder.load()
    vectors: dict[str, Embeddings] = {}
    counts: Counts = {}
    warnings: list[str] = []
    noticed, usages = dict[str, None](), list[Usage]()
    for name, plan in plans.items():
        with clock.phase("encode", name, items=len(plan.missing), unit="texts"):
            embedded = plan.fetch(clock.progress, name)
        encoded = embedded.encoded
        made = encoded.values
        vectors[name] = Dense(made) if isinstance(made, np.ndarray) else made
        zero = _zeros(vectors[name])
        counts |= _counted(
            name,
            texts=len(plan.inverse),
            distinct=embedded.distinct,
            encoded_now=embedded.made,
            tokens=_total(encoded.tokens),
            truncated=int(np.count_nonzero(encoded.truncated)),
            zero_vectors=zero,
        )
        noticed |= dict.fromkeys(encoded.notes)
        usages.append(encoded.usage)
        warnings.extend(embedded.warnings)
        warnings.extend(_of_zeros(name, vectors[name], zero))
    return Vectors(vectors, counts, [*noticed, *encoder.notes, *warnings], sum_usage(usages))


def unit(values: Float32) -> Float32:
    """Scale rows to length 1 in place, so that inner product is cosine; zero rows stay. [n, d]

    A row's norm is summed in float64, in an order that does not depend on other rows.
    """
    for low in range(0, len(values), BLOCK):
        block = values[low : low + BLOCK]
        norms = np.sqrt(np.einsum("nd,nd->n", block, block, dtype=np.float64))
        norms[norms == 0] = 1
        block /= norms[:, None].astype(np.float32)
    return values


def _zeros(part: Embeddings) -> int:
    """Texts whose vector is zero, or that have none."""
    if isinstance(part, Sparse):
        return int(np.count_nonzero(np.diff(part.matrix.indptr) == 0))
    if isinstance(part, MultiVector):
        return int(np.count_nonzero(part.lengths == 0))
    return sum(
        int(np.count_nonzero(~part.values[low : low + BLOCK].any(axis=1)))
        for low in range(0, len(part), BLOCK)
    )


def _of_zeros(name: str, part: Embeddings, zero: int) -> list[str]:
    """A warning where texts are similar to nothing."""
    what = "no vector" if isinstance(part, MultiVector) else "the zero vector"
    return [f"{zero} of the {name} have {what}: similar to nothing"] if zero else []


def _counted(name: str, *, texts: int, **more: int | None) -> Counts:
    return {name: texts, **{f"{name}_{what}": value for what, value in more.items()}}


def _total(tokens: Int32) -> int | None:
    return int(tokens.sum()) if (tokens >= 0).all() else None
