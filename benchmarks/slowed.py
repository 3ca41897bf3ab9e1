"""A plugin for benchmarks/gate_costs.py: feature hashing that is slower by known factors.

slowed                    as it is
slowed,encode=2,ask=1.5   twice the time to encode, 1.5 times to answer a query
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from harness.data import Retrieval, Role
from harness.encoders import ENCODERS, Encoded
from harness.encoders.hashing import Hashing
from harness.pipeline.single import Ranked, Request
from harness.systems import RETRIEVERS
from harness.systems.composite import Composite
from harness.vectors import Run


def spin(seconds: float) -> None:
    """Compute for so long, however many others want the processor."""
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass


@ENCODERS.register("sluggish")
@dataclass(frozen=True)
class Sluggish(Hashing):
    """Feature hashing whose documents take some times as long to encode."""

    encode_times: float = 1.0

    def encode(self, texts: Sequence[str], role: Role) -> Encoded:
        """Encode, then compute on."""
        begun = time.thread_time()
        found = super().encode(texts, role)
        if role != "query":
            spin((self.encode_times - 1) * (time.thread_time() - begun))
        return found


@RETRIEVERS.register("slowed")
@dataclass(frozen=True)
class Slowed(Composite):
    """Sluggish, and some times as long for a query."""

    encode: float = 1.0
    ask: float = 1.0
    depth: ClassVar[int] = 100

    @property
    def parts(self) -> Sequence[str]:
        """The encoder."""
        return (f"sluggish,encode_times={self.encode}",)

    def combine(self, found: Sequence[Ranked], k: int) -> Run:
        """What it found."""
        run = found[0].run
        return Run(run.docs[:, :k], run.scores[:, :k])

    def rank(self, spec: str, data: Retrieval, request: Request) -> Ranked:
        """Rank as the encoder does, with slower answers."""
        found = super().rank(spec, data, request)
        return replace(found, answer=found.answer and self._slow(found.answer))

    def _slow(self, answer: Callable[[int], Run]) -> Callable[[int], Run]:
        def slower(row: int) -> Run:
            begun = time.thread_time()
            found = answer(row)
            spin((self.ask - 1) * (time.thread_time() - begun))
            return found

        return slower
