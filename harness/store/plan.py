"""Texts looked up in the store: what is missing is known before anything is encoded.

Missing texts are sorted by length and encoded in parts, which their lengths decide; a shard is some
of these, as many as fit or as some seconds allow, and is written while the next one is made. So a
run that was killed goes on where it stopped with the very batches it would have had, and its
vectors are the same to the bit. Of an encoder that is paid for every reply is a shard: what was
paid for is kept, whatever happens next.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import numpy as np
from numpy.typing import NDArray

import harness.store.passing as passing
import harness.store.shards as shards
from harness import disk
from harness.arrays import Int64
from harness.data import Role
from harness.disk.lease import Lease, hold
from harness.encoders import Encoded, TextEncoder
from harness.endpoints.usage import sum_usage
from harness.errors import EncodingError, StoreError, UnkeptWarning, warn_caller
from harness.progress import Progress, silent
from harness.store.held import Held, LostError, look

EMPTY = np.empty((0, 0), np.float32)
PROBE = 1 << 16  # bytes that must fit before anything is paid for
SHARD_S = 10.0  # after so much work a shard ends, so that a killed run loses little of a slow model
ATTEMPTS = 3  # at reading what was encoded, where others remove it meanwhile


@dataclass(frozen=True)
class Embedded:
    """Vectors of texts, in their order, and how they were come by.

    distinct: different texts; made: how many of them were not in the store. warnings: what was
    noticed and mended; makers: what made the vectors, each once, empty for what is not known.
    Notes and usage of what was made now are those of `encoded`.
    """

    encoded: Encoded
    distinct: int
    made: int
    warnings: tuple[str, ...] = ()
    makers: tuple[Mapping[str, str], ...] = ()


@dataclass(frozen=True)
class Plan:
    """Texts looked up in a space; nothing is encoded yet.

    What a space cannot keep, whatever the system's reason, is kept beside it until this process
    ends, with a warning. What is paid for is refused instead, before it is encoded.

    lease: on the space, until the vectors are fetched, None where it was not there yet;
    unique: keys ascending [u]; first: a text of each [u]; inverse: the key of each text [n];
    missing: which keys are to be encoded, the longest text first, so that a model pads little and
    shows soon if memory suffices; shard: texts in a shard, at most; stale: shards to be replaced,
    as all that they hold of these texts is encoded anew, with the `shards.stamp` of each; clock:
    tells seconds.
    """

    space: Path
    description: dict[str, Any]
    encoder: TextEncoder
    role: Role
    shard: int
    lease: Lease | None
    held: Held
    texts: Sequence[str]
    unique: NDArray[np.bytes_]
    first: NDArray[np.intp]
    inverse: NDArray[np.intp]
    missing: NDArray[np.intp]
    stale: Mapping[Path, tuple[int, int]] = field(default_factory=dict)
    clock: Callable[[], float] = time.monotonic

    def fetch(self, progress: Progress = silent, name: str = "texts") -> Embedded:
        """Encode what is missing, shard by shard, and return the vectors of all texts.

        Raises:
            EncodingError: The encoder returned anything but finite vectors for each text.
            StoreError: The store cannot be read, or not be written by what is paid for, or there
                is no other place either; whole shards stay.
        """
        with ExitStack() as leases:
            if self.lease:
                leases.enter_context(self.lease)
            return self._fetch(leases, progress, name)

    def _fetch(self, leases: ExitStack, progress: Progress, name: str) -> Embedded:
        """Encode and read; what went meanwhile is encoded again."""
        held, missing, made = self.held, self.missing, 0
        damaged, parts = held.damaged, list[Encoded]()
        for attempt in range(ATTEMPTS):
            if len(missing):
                parts += self._encode(missing, held.width, leases, progress, f"encode {name}")
                made += len(missing)
                held = self._look(held)
                damaged += held.damaged
                if not self._passes(held):
                    self._drop_stale()
            *_, last = passing.places(self.space)
            folder = self.space.parent.parent if last == self.space else last
            try:
                encoded = held.gather(self.unique, self.inverse, folder)
                break
            except LostError as error:
                if attempt == ATTEMPTS - 1:
                    raise
                held = self._look(held.without(error.path))
            damaged += held.damaged
            missing = lacking(held, self.unique, self.first, self.texts)
            self.encoder.load()
        _touch(self.space)
        if self._passes(held):
            self._warn()
        notes = dict.fromkeys(note for part in parts for note in part.notes)
        usage = sum_usage([self.encoder.no_usage, *(part.usage for part in parts)])
        encoded = replace(encoded, notes=tuple(notes), usage=usage)
        said = dict.fromkeys(held.makers.get(path, "") for path in held.holding(self.unique))
        makers = tuple(json.loads(one) if one else {} for one in said)
        return Embedded(encoded, len(self.unique), made, _describe_damage(damaged), makers)

    def _look(self, held: Held) -> Held:
        """What the space holds now, without what is replaced."""
        old = self._find_replaced()
        return look([path for path in passing.paths(self.space) if path not in old], held)

    def _passes(self, held: Held) -> bool:
        """Whether any of the vectors is not kept."""
        return any(path.parent != self.space for path in held.holding(self.unique))

    def _warn(self) -> None:
        root, label = self.space.parent.parent, self.description["label"] or "the model"
        warn_caller(
            f"{root} cannot be written: vectors of {label} are not kept; "
            "set HARNESS_CACHE to another folder",
            UnkeptWarning,
        )

    def _find_replaced(self) -> list[Path]:
        """The shards that are replaced, but for those that were written again.

        Equal vectors of an equal maker have the name that they had; whoever wrote them since, this
        plan or another program, they are no longer what was to be replaced.
        """
        return [path for path, written in self.stale.items() if shards.stamp(path) == written]

    def _drop_stale(self) -> None:
        for path in self._find_replaced():
            path.unlink(missing_ok=True)

    def _encode(
        self,
        missing: NDArray[np.intp],
        width: int | None,
        leases: ExitStack,
        progress: Progress,
        stage: str,
    ) -> list[Encoded]:
        """Encode texts and write them as shards; what came of each part, but its vectors."""
        made = list[Encoded]()
        with _refusing(self.space) if self.encoder.paid else suppress(OSError):
            leases.enter_context(_prepare(self.space, self.description))
            if self.encoder.paid:
                _probe(self.space)
        with ThreadPoolExecutor(1) as writer:  # a shard is written while the next one is made
            written: Future[None] | None = None
            for arrays, parts in self._shards(missing, width, progress, stage):
                if written is not None:
                    written.result()
                written = writer.submit(self._keep, arrays, self.encoder.made_with(), leases)
                if self.encoder.paid:
                    written.result()
                made += parts
            if written is not None:
                written.result()
        return made

    def _keep(
        self, arrays: list[NDArray[Any]], maker: Mapping[str, str], leases: ExitStack
    ) -> None:
        """Write a shard, beside the space where that cannot be written. Raises StoreError."""
        with _refusing(self.space):
            try:
                try:
                    shards.write(self.space, arrays, maker)
                except FileNotFoundError:  # somebody removed the folder
                    leases.enter_context(_prepare(self.space, self.description))
                    shards.write(self.space, arrays, maker)
            except OSError:
                if self.encoder.paid or not passing.write(self.space, arrays, maker):
                    raise
        _touch(self.space)

    def _shards(
        self, missing: NDArray[np.intp], width: int | None, progress: Progress, stage: str
    ) -> Iterator[tuple[list[NDArray[Any]], list[Encoded]]]:
        """Yield shards as the arrays of their files, and what they were made of, as they come.

        A shard holds whole parts, so that those after it are the same wherever it ends. Of what is
        paid for each part is a shard, so that nothing of it is lost.
        """
        wanted = [self.texts[i] for i in self.first[missing]]
        keys, stored = self.unique[missing], width is not None
        way = _Advance(self.encoder.expect(wanted, self.role), progress, stage)
        parts, made, held, begun = list[list[NDArray[Any]]](), list[Encoded](), 0, self.clock()

        def shard() -> tuple[list[NDArray[Any]], list[Encoded]]:
            nonlocal parts, made, held, begun
            whole = [np.concatenate(arrays) for arrays in zip(*parts, strict=True)], made
            parts, made, held, begun = [], [], 0, self.clock()
            return whole

        for texts, encoded in self.encoder.stream(wanted, self.role, self.shard):
            rows, *items = shards.pack(encoded, wanted[texts])
            width = self._check_width(shards.width_of(rows), width, stored)
            if held + len(rows) > self.shard and parts:
                yield shard()
            rows["key"] = keys[texts]
            parts.append([rows, *items])
            made.append(replace(encoded, values=EMPTY))
            held += len(rows)
            if self.encoder.paid or held == self.shard or self.clock() - begun >= SHARD_S:
                yield shard()
            way.go(texts, encoded.read)
        if parts:
            yield shard()

    def _check_width(self, made: int, known: int | None, stored: bool) -> int:
        """The width of vectors. Raises EncodingError where it is not that of those before."""
        if known in (None, made):
            return made
        remedy = f"; if the model changed, delete {self.space}" if stored else ""
        raise EncodingError(
            f"the encoder returned {made}-d vectors after {known}-d ones: expected one width"
            + remedy
        )


class _Advance:
    """How far encoding is: by tokens where the model tells how many it read, else by texts.

    expected: about how much work each text is [n].
    """

    def __init__(self, expected: Int64, progress: Progress, stage: str) -> None:
        self._expected, self._progress, self._stage = expected, progress, stage
        self._left, self._texts, self._read = int(expected.sum()), 0, 0
        self._total = self._left
        progress(stage, 0, len(expected), "texts")

    def go(self, texts: slice, read: int) -> None:
        """Tell that texts are encoded, of which so many tokens were read."""
        self._left -= int(self._expected[texts].sum())
        self._texts += texts.stop - texts.start
        self._read += read
        if not read:
            self._progress(self._stage, self._texts, len(self._expected), "texts")
            return
        more = self._read * self._left / (self._total - self._left)  # as many as of those so far
        self._progress(self._stage, self._read, self._read + round(more), "tokens")


def lacking(
    held: Held, unique: NDArray[np.bytes_], first: NDArray[np.intp], texts: Sequence[str]
) -> NDArray[np.intp]:
    """Which keys are not held, the longest text first."""
    missing = np.flatnonzero(~held.holds(unique))
    lengths = np.fromiter((len(texts[i]) for i in first[missing]), np.int64, len(missing))
    return missing[np.argsort(-lengths, kind="stable")]


def _refusing(space: Path) -> AbstractContextManager[None]:
    """Raise StoreError, with what to do, where a space cannot be written."""
    remedy = "what was encoded before is kept. Free space, or choose another place with "
    return disk.writing(space, remedy + "--cache DIR or HARNESS_CACHE", StoreError)


def _describe_damage(damaged: int) -> tuple[str, ...]:
    note = f"{damaged} damaged shard(s) of the store were set aside and their texts encoded anew"
    return (note,) if damaged else ()


def _prepare(space: Path, description: dict[str, Any]) -> Lease:
    """Make the folder of a space, with its description, and hold it. Raises OSError."""
    path = space / "space.json"
    while True:
        disk.make_folder(space)
        if (lease := hold(space)) is not None:  # else it was removed between the two
            break
    if not path.exists():
        try:
            disk.write_whole(path, json.dumps(description, indent=2).encode())
        except OSError:
            with suppress(OSError):  # shards of others are in it
                space.rmdir()
            raise
    return lease


def _probe(space: Path) -> None:
    """Raise OSError where a folder that can be written has no room left."""
    with TemporaryFile(dir=space) as file:  # unbuffered, a part that fits would be no error
        file.write(bytes(PROBE))
        file.flush()


def _touch(space: Path) -> None:
    with suppress(OSError):  # a read-only store still serves
        os.utime(space / "space.json")
