"""The texts of a task as vectors: from the store, or made now; and what was counted on the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from harness.encoders import CollectionEncoder, Encoder, TextEncoder
from harness.phases import Clock
from harness.store import Store
from harness.types import Dense, Embeddings, Float32, InputError, Int32, MultiVector, Role, Sparse

BLOCK = 1 << 16  # rows worked on at a time

Counts = dict[str, int | None]


@dataclass(frozen=True)
class Vectors:
    """Vectors by part ("documents", "queries", "sentences"), counts and warnings."""

    parts: Mapping[str, Embeddings]
    counts: Counts
    warnings: list[str] = field(default_factory=list)


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
    return _by_text(label, encoder, parts, store, clock)


def _by_collection(
    label: str,
    encoder: CollectionEncoder,
    parts: Mapping[str, tuple[Role, Sequence[str]]],
    clock: Clock,
    *,
    counts: bool,
) -> Vectors:
    if set(parts) != {"documents", "queries"}:
        raise InputError(
            f"{label} weighs terms by a corpus, and the task has only pairs of sentences: "
            "choose a model that makes dense vectors"
        )
    (_, documents), (_, queries) = parts["documents"], parts["queries"]
    texts = len(documents) + len(queries)
    with clock.phase("encode", texts, "texts"):
        made = encoder.encode_collection(documents, queries, counts=counts)
    counted = {
        **_counted("documents", texts=len(documents), tokens=_total(made.document_tokens)),
        **_counted("queries", texts=len(queries), tokens=_total(made.query_tokens)),
    }
    vectors = {"documents": made.documents, "queries": made.queries}
    if made.counts is not None:
        vectors["counts"] = made.counts
    return Vectors(vectors, counted)


def _by_text(
    label: str,
    encoder: TextEncoder,
    parts: Mapping[str, tuple[Role, Sequence[str]]],
    store: Store,
    clock: Clock,
) -> Vectors:
    with clock.phase("read store"):
        plans = {
            name: store.plan(encoder, texts, role, label) for name, (role, texts) in parts.items()
        }
    if any(len(plan.missing) for plan in plans.values()):
        with clock.phase("load model"):
            encoder.load()
    vectors: dict[str, Embeddings] = {}
    counts: Counts = {}
    warnings: list[str] = list(getattr(encoder, "warnings", ()))
    for name, plan in plans.items():
        with clock.phase(f"encode {name}", len(plan.missing), "texts"):
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
        warnings.extend(embedded.warnings)
        if zero:
            what = "no vector" if encoder.makes == "multi-vector" else "the zero vector"
            warnings.append(f"{zero} of the {name} have {what}: similar to nothing")
    return Vectors(vectors, counts, warnings)


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


def _counted(name: str, *, texts: int, **more: int | None) -> Counts:
    return {name: texts, **{f"{name}_{what}": value for what, value in more.items()}}


def _total(tokens: Int32) -> int | None:
    return int(tokens.sum()) if (tokens >= 0).all() else None
