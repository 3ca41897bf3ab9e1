"""The texts of a task as vectors: from the store, or made now; and what was counted on the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from harness.encoders import CollectionEncoder, Encoder, TextEncoder
from harness.phases import Clock
from harness.store import Store
from harness.types import Dense, Float32, InputError, Int32, Role, Sparse

BLOCK = 1 << 16  # rows worked on at a time

Counts = dict[str, int | None]


@dataclass(frozen=True)
class Vectors:
    """Vectors by part ("documents", "queries", "sentences"), counts and warnings."""

    parts: Mapping[str, Dense | Sparse]
    counts: Counts
    warnings: list[str] = field(default_factory=list)


def represent(
    label: str,
    encoder: Encoder,
    parts: Mapping[str, tuple[Role, Sequence[str]]],
    store: Store,
    clock: Clock,
) -> Vectors:
    """Encode each part of a task in its role. label: the encoder's spec, for people.

    Raises what the encoder and the store raise.
    """
    if isinstance(encoder, CollectionEncoder):
        return _by_collection(label, encoder, parts, clock)
    return _by_text(label, encoder, parts, store, clock)


def _by_collection(
    label: str,
    encoder: CollectionEncoder,
    parts: Mapping[str, tuple[Role, Sequence[str]]],
    clock: Clock,
) -> Vectors:
    if set(parts) != {"documents", "queries"}:
        raise InputError(
            f"{label} weighs terms by a corpus, and the task has only pairs of sentences: "
            "choose a model that makes dense vectors"
        )
    (_, documents), (_, queries) = parts["documents"], parts["queries"]
    texts = len(documents) + len(queries)
    with clock.phase("encode", texts, "texts"):
        made = encoder.encode_collection(documents, queries)
    counts = {
        **_counted("documents", texts=len(documents), tokens=_total(made.document_tokens)),
        **_counted("queries", texts=len(queries), tokens=_total(made.query_tokens)),
    }
    return Vectors({"documents": made.documents, "queries": made.queries}, counts)


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
    vectors: dict[str, Dense | Sparse] = {}
    counts: Counts = {}
    warnings: list[str] = []
    for name, plan in plans.items():
        with clock.phase(f"encode {name}", len(plan.missing), "texts"):
            embedded = plan.fetch(clock.progress, name)
        encoded = embedded.encoded
        vectors[name] = Dense(encoded.values)
        zero = sum(
            int(np.count_nonzero(~encoded.values[low : low + BLOCK].any(axis=1)))
            for low in range(0, len(encoded.values), BLOCK)
        )
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
            warnings.append(f"{zero} of the {name} have the zero vector: similar to nothing")
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


def _counted(name: str, *, texts: int, **more: int | None) -> Counts:
    return {name: texts, **{f"{name}_{what}": value for what, value in more.items()}}


def _total(tokens: Int32) -> int | None:
    return int(tokens.sum()) if (tokens >= 0).all() else None
