"""One way to try a reader: it accepts what an oracle reads, and the rest ends in one line."""

from __future__ import annotations

import os
import resource
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from harness.errors import HarnessError
from tests.fuzz.mutations import damaged

EXAMPLES = int(os.environ.get("HARNESS_FUZZ_EXAMPLES", "60"))
SEED = int(os.environ.get("HARNESS_FUZZ_SEED", "0"))

LENGTH = 2000  # characters of a refusal
CPU_S = 10  # seconds that one small file may take
MEMORY = 512 << 20  # bytes that it may take
UNIT = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss

QUIET = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)


@dataclass(frozen=True)
class Reader:
    """A reader on trial.

    Attributes:
        name: Of the test.
        read: What the harness makes of a file's bytes, as plain values; it may use the folder.
        oracle: What an independent reader makes of the same bytes, however odd they are.
        seeds: Files that are accepted.
        refused: Files that are not: what once ended otherwise.
        damage: How seeds are damaged.
    """

    name: str
    read: Callable[[Path, bytes], object]
    oracle: Callable[[bytes], object]
    seeds: Sequence[bytes]
    refused: Sequence[bytes] = ()
    damage: Callable[[Sequence[bytes]], st.SearchStrategy[bytes]] = damaged

    def __str__(self) -> str:
        return self.name

    def accepts(self, folder: Path, data: bytes) -> bool:
        """Whether the harness reads what the oracle reads; False where it refuses in one line."""
        with bounds(data):
            try:
                found = self.read(folder, data)
            except HarnessError as error:
                said = str(error)
                assert len(said.splitlines()) == 1, said
                assert len(said) <= LENGTH, f"{len(said)} characters: {said[:LENGTH]}"
                return False
        expected = self.oracle(data)
        assert repr(found) == repr(expected), (found, expected)  # NaN is NaN, 1 is not 1.0
        return True


def fuzz(reader: Reader, folder: Path) -> None:
    """Read the seeds, what is known to be refused, and seeds with faults."""
    for data in reader.seeds:
        assert reader.accepts(folder, data), data
    for data in reader.refused:
        assert not reader.accepts(folder, data), data[:100]

    def check(data: bytes) -> None:
        reader.accepts(folder, data)

    seed(SEED)(QUIET(given(reader.damage(reader.seeds or reader.refused))(check)))()


@contextmanager
def bounds(data: bytes) -> Iterator[None]:
    """Raise AssertionError where a file takes too long or too much memory."""

    def stop(*_: Any) -> None:
        raise AssertionError(f"more than {CPU_S} s for {len(data)} bytes: {data[:1000]!r}")

    before, highest = signal.signal(signal.SIGPROF, stop), _peak()
    signal.setitimer(signal.ITIMER_PROF, CPU_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
    taken = _peak() - highest
    assert taken < MEMORY, f"{taken >> 20} MiB for {len(data)} bytes: {data[:1000]!r}"


def _peak() -> int:
    """Bytes of memory that this process ever had at once."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * UNIT


def in_file(name: str, read: Callable[[Path], object]) -> Callable[[Path, bytes], object]:
    """A reader of a file of this name, as one of bytes."""
    return partial(_write_and_read, name, read)


def _write_and_read(name: str, read: Callable[[Path], object], folder: Path, data: bytes) -> object:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return read(path)
