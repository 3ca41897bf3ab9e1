"""The texts of a task as vectors: from the store, or made now; and what was counted on the way."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from harness.arrays import Int32
from harness.data import Role
from harness.disk.memory import available_memory
from harness.encoders import CollectionEncoder, Encoder, TextEncoder
from harness.endpoints.usage import Usage, sum_usage
from harness.errors import InputError
from harness.pipeline.phases import Clock
from harness.store import Plan, Store
from harness.vectors import Dense, Embeddings, MultiVector, Sparse, of_kind
from harness.vectors.lengths import unit

AGAIN = "--fresh, or fresh=True, encodes anew"
BLOCK = 1 << 16  # rows worked on at a time

Counts = dict[str, int | None]


Maker = Mapping[str, str]  # what made vectors, by name: device, threads, versions of libraries
Texts = tuple[Role, Sequence[str]]


@dataclass(frozen=True)
class Vectors:
    """The texts of a task as vectors, which nobody changes any more.

    Attributes:
        parts: By name: "documents", "queries", "sentences".
        counts: What was counted, by name.
        warnings: What was noticed, a sentence each.
        usage: What was paid.
        makers: What made them, each once.
    """

    parts: Mapping[str, Embeddings]
    counts: Counts
    warnings: list[str] = field(default_factory=list)
    usage: Usage = field(default_factory=dict)
    makers: Sequence[Maker] = ()


@dataclass
class VectorCache:
    """Vectors that were just used, so that those of a task are read once for all its indexes.

    Attributes:
        limit: Bytes to keep at most; None for a quarter of the memory that is free.
    """

    limit: int | None = None
    _kept: dict[tuple[object, ...], tuple[object, Vectors]] = field(default_factory=dict)

    def get(self, key: tuple[object, ...]) -> Vectors | None:
        """What is kept by a key, which from now on was used last."""
        if key not in self._kept:
            return None
        self._kept[key] = self._kept.pop(key)
        return self._kept[key][1]

    def put(self, key: tuple[object, ...], texts: object, made: Vectors) -> None:
        """Keep vectors, and let those go that were used least recently.

        Args:
            key: May hold identities of `texts`, which are kept alive with the vectors.
            texts: What was encoded.
            made: Its vectors.
        """
        self._kept[key] = texts, made
        limit = available_memory() // 4 if self.limit is None else self.limit
        sizes = {
            key: sum(part.bytes for part in one.parts.values())
            for key, (_, one) in self._kept.items()
        }
        total = sum(sizes.values())
        for old in list(self._kept):
            if total <= limit:
                break
            total -= sizes[old]
            del self._kept[old]


@dataclass(frozen=True)
class Workplace:
    """Where vectors are kept, and who is told how long they take.

    Attributes:
        store: Of vectors of single texts.
        clock: Collects phases.
        cache: Of vectors that were just used.
    """

    store: Store
    clock: Clock = field(default_factory=Clock)
    cache: VectorCache = field(default_factory=VectorCache)


def represent(
    label: str,
    encoder: Encoder,
    parts: Mapping[str, Texts],
    place: Workplace,
    *,
    counts: bool = False,
    scaled: bool = False,
) -> Vectors:
    """Encode each part of a task in its role.

    Args:
        label: The encoder's spec, for people.
        encoder: What encodes.
        parts: Texts by name, with the role that they are encoded in.
        place: Where vectors are kept.
        counts: Also give the documents' term counts, as the part "counts", where the encoder weighs
            terms by a corpus.
        scaled: Give dense vectors at length 1.

    Raises:
        InputError, EncodingError, StoreError: As the encoder and the store do.
    """
    if isinstance(encoder, CollectionEncoder):
        return _by_collection(label, encoder, parts, place, counts=counts, scaled=scaled)
    if encoder.cacheable:
        return _by_text(label, encoder, parts, place, scaled=scaled)
    with TemporaryDirectory() as folder:  # arrays that are mapped outlive their files
        own = Workplace(Store(Path(folder)), place.clock)
        return _by_text(label, encoder, parts, own, scaled=scaled)


def _by_collection(
    label: str,
    encoder: CollectionEncoder,
    parts: Mapping[str, Texts],
    place: Workplace,
    *,
    counts: bool,
    scaled: bool,
) -> Vectors:
    """Vectors of parts that are encoded together."""
    identity = json.dumps(dict(encoder.fingerprint()), sort_keys=True, default=str)
    key = (identity, counts, scaled, *((name, id(texts)) for name, (_, texts) in parts.items()))
    if kept := place.cache.get(key):
        return kept
    made = _encode_together(label, encoder, parts, place.clock, counts=counts)
    fixed = {
        name: part if name == "counts" else _freeze(part, scaled=scaled)
        for name, part in made.parts.items()
    }
    made = replace(made, parts=fixed, makers=[encoder.made_with()])
    place.cache.put(key, parts, made)
    return made


def _encode_together(
    label: str,
    encoder: CollectionEncoder,
    parts: Mapping[str, Texts],
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
    counted, warnings = _count_and_warn(vectors, [made.document_tokens, made.query_tokens])
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
    counted, warnings = _count_and_warn(vectors, np.split(made.query_tokens, ends))
    note = f"{label} is fitted on the task's own texts, {len(distinct)} distinct ones: transductive"
    return Vectors(vectors, counted, [note, *made.notes, *warnings])


def _count_and_warn(
    vectors: Mapping[str, Embeddings], tokens: Sequence[Int32]
) -> tuple[Counts, list[str]]:
    """What is counted of each part, and warned of."""
    counts: Counts = {}
    warnings: list[str] = []
    for (name, part), of_texts in zip(vectors.items(), tokens, strict=True):
        zero = _zeros(part)
        counts |= _count(name, texts=len(part), tokens=_total(of_texts), zero_vectors=zero)
        warnings += _of_zeros(name, part, zero)
    return counts, warnings


def _by_text(
    label: str,
    encoder: TextEncoder,
    parts: Mapping[str, Texts],
    place: Workplace,
    *,
    scaled: bool,
) -> Vectors:
    """Vectors of parts whose texts are encoded one by one, each part from cache, store or model."""
    found = _each_part(label, encoder, parts, place, scaled=scaled)
    makers = each_maker(maker for part in found for maker in part.makers)
    notes = dict.fromkeys(note for part in found for note in part.warnings)
    return Vectors(
        {name: part.parts[name] for name, part in zip(parts, found, strict=True)},
        {key: value for part in found for key, value in part.counts.items()},
        [*encoder.notes, *notes, *_of_makers(label, makers, encoder)],
        sum_usage(part.usage for part in found),
        makers,
    )


def _each_part(
    label: str,
    encoder: TextEncoder,
    parts: Mapping[str, Texts],
    place: Workplace,
    *,
    scaled: bool,
) -> list[Vectors]:
    """The vectors of each part, in their order."""
    clock, cache, root = place.clock, place.cache, str(place.store.root)
    identity = json.dumps(dict(encoder.fingerprint()), sort_keys=True, default=str)
    keys = {
        name: (identity, role, encoder.prompt(role), scaled, root, id(texts))
        for name, (role, texts) in parts.items()
    }
    kept = {name: one for name, key in keys.items() if (one := cache.get(key))}
    with clock.phase("load", "store"):
        plans = {
            name: place.store.plan(encoder, texts, role, label)
            for name, (role, texts) in parts.items()
            if name not in kept
        }
    if any(len(plan.missing) for plan in plans.values()):
        with clock.phase("load", "model"):
            encoder.load()
    for name, plan in plans.items():
        with clock.phase("encode", name, items=len(plan.missing), unit="texts"):
            made = _fetch(label, name, plan, clock, scaled=scaled)
        again = {key: 0 if key == f"{name}_encoded_now" else n for key, n in made.counts.items()}
        cache.put(keys[name], parts[name][1], replace(made, counts=again, usage=encoder.no_usage))
        kept[name] = made
    return [kept[name] for name in parts]


def each_maker(makers: Iterable[Maker]) -> list[Maker]:
    """What made vectors, each once."""
    return [dict(items) for items in dict.fromkeys(tuple(maker.items()) for maker in makers)]


def _fetch(label: str, name: str, plan: Plan, clock: Clock, *, scaled: bool) -> Vectors:
    """One part of a task: what is missing is encoded, the rest is read."""
    embedded = plan.fetch(clock.progress, name)
    encoded = embedded.encoded
    made = encoded.values
    vectors = Dense(made) if isinstance(made, np.ndarray) else made
    asked = plan.encoder.asked_dim
    if isinstance(vectors, Dense) and asked not in (None, vectors.dim):
        # what was kept before it was refused that a model has fewer
        raise InputError(f"{label}: dim={asked}: the model makes {vectors.dim}-d vectors")
    zero = _zeros(vectors)
    counts = _count(
        name,
        texts=len(plan.inverse),
        distinct=embedded.distinct,
        encoded_now=embedded.made,
        tokens=_total(encoded.tokens),
        truncated=int(np.count_nonzero(encoded.truncated)),
        zero_vectors=zero,
    )
    notes = [*encoded.notes, *embedded.warnings, *_of_zeros(name, vectors, zero)]
    part = _freeze(vectors, scaled=scaled)
    return Vectors({name: part}, counts, notes, encoded.usage, embedded.makers)


def _freeze(part: Embeddings, *, scaled: bool) -> Embeddings:
    """Vectors that nobody changes any more, at length 1 where that is asked for."""
    if not isinstance(part, Dense):
        return part
    values = unit(part.values) if scaled else part.values
    values.flags.writeable = False
    return Dense(values)


def _of_makers(label: str, makers: Sequence[Maker], encoder: TextEncoder) -> list[str]:
    """A warning where vectors were made in several ways, or not as they would be made now."""
    known = [maker for maker in makers if maker]
    notes = []
    if len(makers) > 1:
        ways = "; ".join(_differing(makers))
        made = f"vectors of {label} were made in {len(makers)} ways"
        notes.append(f"{made} ({ways}): {AGAIN}")
    elif known and (apart := _compare(known[0], _present(known[0], encoder))):
        notes.append(f"vectors of {label} were made with {', '.join(apart)}: {AGAIN}")
    return notes


def _present(maker: Maker, encoder: TextEncoder) -> Maker:
    """What would make vectors now; of what was said to have made them, where that costs nothing."""
    if "torch" in sys.modules or "torch" not in maker:
        return encoder.made_with()
    return {name: _find_version(name) or value for name, value in maker.items()}


@lru_cache
def _find_version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _compare(maker: Maker, present: Maker) -> list[str]:
    """What is another now: "torch 2.12.0 (this is 2.13.0)"."""
    pairs = {
        name: (maker.get(name, "unknown"), present.get(name, "unknown"))
        for name in {**maker, **present}
    }
    return [f"{name} {was} (this is {now})" for name, (was, now) in pairs.items() if was != now]


def _differing(makers: Sequence[Maker]) -> list[str]:
    """What is not the same everywhere: "torch 2.12.0, 2.13.0"."""
    names = dict.fromkeys(name for maker in makers for name in maker)
    said = {name: dict.fromkeys(maker.get(name, "unknown") for maker in makers) for name in names}
    return [f"{name} {', '.join(values)}" for name, values in said.items() if len(values) > 1]


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
    have = "has" if zero == 1 else "have"
    return [f"{zero:,} of the {name} {have} {what}: similar to nothing"] if zero else []


def _count(name: str, *, texts: int, **more: int | None) -> Counts:
    return {name: texts, **{f"{name}_{what}": value for what, value in more.items()}}


def _total(tokens: Int32) -> int | None:
    return int(tokens.sum()) if (tokens >= 0).all() else None
